//! What keys take of memory: `cargo bench --bench memory`. Of a million keys one in ten uses its hour up, evenly and
//! on all endpoints, which is the most that a key can take.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use ratelimit_common::SECOND_NS;
use ratelimit_common::hash::Secret;
use ratelimit_daemon::keys::{Entry, KeyFile};
use ratelimit_daemon::limiter::{Limiter, Verdict};
use ratelimit_daemon::places::Places;
use ratelimit_daemon::policy::{Policy, built_in_tiers};
use ratelimit_daemon::record::Record;
use ratelimit_daemon::rules::{Room, Rules};
use ratelimit_daemon::slots::Slots;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const KEYS: u32 = 1_000_000;
const ACTIVE: usize = 100_000;
const HOUR: u64 = 3_600;

fn main() {
    println!("at first: {}", memory());
    let policy = policy();
    let limiter = Limiter::new(Slots::anonymous(KEYS).unwrap(), false);
    policy.keys().for_each(|key| limiter.install(key, &[], 1));
    println!("{KEYS} keys: {}", memory());
    let rules = ["GET /", "GET /search/x", "POST /courses/1/export", "POST /students/bulk"].map(|request| {
        let (method, path) = request.split_once(' ').unwrap();
        policy.router().matching(&mut Room::default(), method, path).unwrap()
    });
    let (start, mut judged) = (Instant::now(), 0_u64);
    // Key by key, so that the time is that of a judgement and not that of a cache miss.
    for key in policy.keys().step_by(KEYS as usize / ACTIVE) {
        let step = (HOUR / u64::from(key.limits.requests_per_hour)).max(1);
        for second in (1..=HOUR).step_by(step as usize) {
            // What a rule refuses the hour admits elsewhere.
            let endpoints = [second as usize / 7 % rules.len(), 0];
            let admits = |endpoint: &usize| {
                judged += 1;
                let judged = limiter.judge(key, &rules[*endpoint], None, second * SECOND_NS);
                matches!(judged.verdict, Verdict::Admitted)
            };
            endpoints.iter().any(admits);
        }
    }
    let each = start.elapsed().as_nanos() as u64 / judged;
    println!("{ACTIVE} of them active: {}; {judged} judgements of {each} ns", memory());
    let heap = |policy: &Policy| policy.keys().map(|key| key.usage.heap_bytes()).sum::<usize>();
    println!("of that for windows: {} bytes an active key", heap(&policy) / ACTIVE);
    policy.keys().for_each(|key| key.usage.tidy(3 * HOUR * SECOND_NS));
    println!("two hours later: {} bytes", heap(&policy));
    record(&Arc::new(policy), &limiter);
}

/// What the record of it takes, of which ten minutes are made: a second in which one active key in four has a request.
fn record(policy: &Arc<Policy>, limiter: &Limiter) {
    const SECONDS: u64 = 600;
    let mut record = Record::new(0, 0);
    record.take(policy, limiter, std::iter::empty(), SECOND_NS);
    let (before, empty) = (memory(), record.size());
    let mut time = Duration::ZERO;
    for second in 2..2 + SECONDS {
        let active = policy.keys().step_by(KEYS as usize / ACTIVE).skip(second as usize % 4).step_by(4);
        active.for_each(|key| {
            key.usage.admitted.fetch_add(1, Ordering::Relaxed);
        });
        let start = Instant::now();
        record.take(policy, limiter, std::iter::empty(), second * SECOND_NS);
        time += start.elapsed();
    }
    let size = (record.size() - empty) / SECONDS as usize;
    println!("record: {before} with its list of keys; {size} bytes and {:?} a second", time / SECONDS as u32);
}

fn policy() -> Policy {
    let entries = (0..KEYS).map(|number| {
        let mut sha256 = [0; 32];
        sha256[..4].copy_from_slice(&number.to_be_bytes());
        let tier = if number % 20 < 10 { "professional" } else { "enterprise" }.to_owned();
        Entry { name: format!("customer-{number}"), tier, sha256, siphash: number.into(), ..Entry::default() }
    });
    let file = KeyFile::of(Path::new("keys.toml"), Secret { k0: 1, k1: 2 }, entries.collect());
    Policy::first(&built_in_tiers(), &Rules::built_in(), &file, Places::new(KEYS)).unwrap()
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
    };
    format!("{} MiB, at most {} MiB", line("VmRSS:"), line("VmHWM:"))
}
