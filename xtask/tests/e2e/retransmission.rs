//! What TCP sends again, what comes twice and what comes in another order is charged once all the same.

use crate::bucket::Bucket;
use crate::segments::{Connection, get};
use crate::wire::{BadWire, Faults};
use crate::{deploy, number, tier};
use anyhow::{Context, Result, anyhow, ensure};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use xtask::deployment::{Deployment, PORT};

const KEYS: [(&str, &str); 6] =
    [("a", "small"), ("b", "small"), ("c", "small"), ("d", "small"), ("e", "small"), ("f", "small")];
const EACH: u64 = 16;
const CAPACITY: u64 = 20;

/// Requests on one connection, one after the other, by turns whole and in two segments.
fn ask(deployment: &Deployment, key: &str, each: u64, capacity: u64) -> Result<()> {
    let request = get(&[&format!("X-API-Key: {}", deployment.key(key)?)]);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    let mut bucket = Bucket::full(capacity);
    for round in 0..each {
        let sent = Instant::now();
        let (first, rest) = request.split_at(if round % 3 == 2 { 10 } else { 0 });
        if !first.is_empty() {
            connection.segment(first)?;
        }
        connection.segment(rest)?;
        let (answer, done) = (connection.answer()?, Instant::now());
        bucket.take(1, sent, done);
        bucket.check(&answer, sent, done)?;
        let remaining = number(&answer, "x-ratelimit-remaining")?;
        ensure!((answer.status, remaining) == (200, 1_000 - round - 1), "{answer:?}");
    }
    Ok(())
}

#[test]
fn on_a_bad_wire_each_request_is_charged_once() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 1_000, CAPACITY), &KEYS)?;
    let to_host = Faults { lost: 8, doubled: 25, swapped: 10 };
    let wire = BadWire::splice(&deployment.lab, to_host, Faults { lost: 4, ..Faults::default() })?;
    std::thread::scope(|scope| {
        let clients = KEYS.map(|(key, _)| {
            scope.spawn({
                let deployment = &deployment;
                move || ask(deployment, key, EACH, CAPACITY)
            })
        });
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    wire.check()?;
    let counts = &wire.counts;
    for count in [&counts.lost, &counts.doubled, &counts.swapped] {
        assert!(count.load(Ordering::Relaxed) > 0, "the wire was too good: {counts:?}");
    }
    let seen = deployment.seen()?;
    assert!(KEYS.iter().all(|(key, _)| seen.get(*key) == Some(&EACH)), "{seen:?}");
    let counted = deployment.stop()?;
    assert!(counted.get("retransmit").is_some_and(|count| *count > 0), "{counted:?}");
    Ok(())
}

/// One hundred thousand requests of a thousand keys: the hour of each says how many were charged, its bucket whether
/// any was charged twice, and the API how many there were.
#[test]
fn a_hundred_thousand_requests_on_a_bad_wire_are_charged_once() -> Result<()> {
    const COUNT: u64 = 100;
    const BURST: u64 = 110;
    let names: Vec<String> = (0..1_000).map(|number| format!("key-{number}")).collect();
    let keys: Vec<_> = names.iter().map(|name| (name.as_str(), "brisk")).collect();
    let mut deployment = deploy("reply", &tier("brisk", 1_000, BURST), &keys)?;
    let to_host = Faults { lost: 1, doubled: 4, swapped: 2 };
    let wire = BadWire::splice(&deployment.lab, to_host, Faults { lost: 1, ..Faults::default() })?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(key) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            ask(&deployment, key, COUNT, BURST).with_context(|| key.clone())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..64).map(|_| scope.spawn(work)).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    wire.check()?;
    let seen = deployment.seen()?;
    ensure!(names.iter().all(|key| seen.get(key) == Some(&COUNT)), "{seen:?}");
    let counted = deployment.stop()?;
    ensure!(counted.get("retransmit").is_some_and(|count| *count > 0), "{counted:?}");
    Ok(())
}

/// The second of two requests reaches the kernel before the first.
#[test]
fn requests_that_overtake_each_other_are_charged_once() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 1_000, 60), &[("key", "small")])?;
    let swapping = Faults { swapped: 100, ..Faults::default() };
    let wire = BadWire::splice(&deployment.lab, swapping, Faults::default())?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    let mut bucket = Bucket::full(60);
    for round in 1..=12 {
        let sent = Instant::now();
        connection.segment(&request)?;
        connection.segment(&request)?;
        let (first, second) = (connection.answer()?, connection.answer()?);
        let done = Instant::now();
        bucket.take(2, sent, done);
        bucket.check(&second, sent, done)?;
        ensure!(number(&first, "x-ratelimit-remaining")? == 1_001 - 2 * round, "{first:?}");
        ensure!(number(&second, "x-ratelimit-remaining")? == 1_000 - 2 * round, "{second:?}");
    }
    wire.check()?;
    assert_eq!(deployment.seen()?.get("key"), Some(&24));
    let counted = deployment.stop()?;
    // The one that overtakes is not what the host awaits; the proxy charges it.
    assert!(counted.get("early").is_some_and(|count| *count > 0), "{counted:?}");
    Ok(())
}

/// Over the limit TCP's patience decides when a request is admitted, however often it came.
#[test]
fn a_dropped_request_that_comes_again_and_again_is_charged_once() -> Result<()> {
    const COUNT: u64 = 62;
    let mut deployment = deploy("drop", &tier("small", 1_000, 60), &[("key", "small")])?;
    let doubling = Faults { doubled: 50, ..Faults::default() };
    let wire = BadWire::splice(&deployment.lab, doubling, Faults::default())?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    let mut bucket = Bucket::full(60);
    for round in 1..=COUNT {
        let sent = Instant::now();
        connection.segment(&request)?;
        let (answer, done) = (connection.answer()?, Instant::now());
        bucket.take(1, sent, done);
        bucket.check(&answer, sent, done)?;
        ensure!(number(&answer, "x-ratelimit-remaining")? == 1_000 - round, "{answer:?}");
    }
    wire.check()?;
    assert_eq!(deployment.seen()?.get("key"), Some(&COUNT));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&COUNT), "{counted:?}");
    assert!(counted.get("refused_burst").is_some_and(|count| *count >= 2), "{counted:?}");
    Ok(())
}
