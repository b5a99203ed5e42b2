//! Many requests on one connection: each is charged once, by the kernel or by the proxy, never by both.

use crate::bucket::{Bucket, tokens};
use crate::segments::{Connection, get};
use crate::{deploy, number, tier};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use xtask::client::Outcome;
use xtask::deployment::PORT;

/// Sends `count` requests on a connection to each of the host's addresses; those for which `cut` says so in two
/// segments, between which the kernel cannot find the key.
fn each_takes_one_token(count: u64, cut: fn(u64) -> bool) -> Result<()> {
    // So long an interval that few tokens come back meanwhile, however slow the machine.
    let capacity = 2 * count + 10;
    let mut deployment = deploy("reset", &tier("small", 1_000, capacity), &[("key", "small")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut bucket = Bucket::full(capacity);
    let mut sent_before = 0;
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let mut connection = Connection::open(&deployment.lab, server)?;
        for round in 0..count {
            let sent = Instant::now();
            let (first, rest) = request.split_at(if cut(round) { 10 } else { 0 });
            if !first.is_empty() {
                connection.segment(first)?;
            }
            connection.segment(rest)?;
            let (answer, done) = (connection.answer()?, Instant::now());
            bucket.take(1, sent, done);
            sent_before += 1;
            bucket.check(&answer, sent, done)?;
            ensure!(answer.status == 200, "request {sent_before}: {answer:?}");
            ensure!(number(&answer, "x-ratelimit-remaining")? == 1_000 - sent_before, "{answer:?}");
        }
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&(2 * count)));
    let by_kernel = 2 * (0..count).filter(|round| !cut(*round)).count() as u64;
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted").copied().unwrap_or_default(), by_kernel, "{counted:?}");
    Ok(())
}

#[test]
fn each_request_that_the_kernel_judges_takes_one_token() -> Result<()> {
    each_takes_one_token(25, |_| false)
}

#[test]
fn each_request_that_the_proxy_judges_takes_one_token() -> Result<()> {
    each_takes_one_token(25, |_| true)
}

#[test]
fn each_request_takes_one_token_whoever_judges_it() -> Result<()> {
    each_takes_one_token(25, |round| round % 3 == 0)
}

/// The proxy's refusal leaves the connection open; and who waits as long as it says is served on it.
#[test]
fn a_refused_client_that_waits_as_told_is_served_on_the_same_connection() -> Result<()> {
    const CAPACITY: u64 = 60;
    let deployment = deploy("reset", &tier("small", 1_000, CAPACITY), &[("key", "small")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let (first, rest) = request.split_at(10);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    let mut admitted = 0;
    let refusal = loop {
        connection.segment(first)?;
        connection.segment(rest)?;
        let answer = connection.answer()?;
        if answer.status == 429 {
            break answer;
        }
        admitted += 1;
        ensure!(admitted < 3 * CAPACITY, "never refused");
    };
    assert_eq!(tokens(&refusal)?, 0);
    assert_eq!(number(&refusal, "x-ratelimit-remaining")?, 1_000 - admitted);
    std::thread::sleep(Duration::from_secs(number(&refusal, "retry-after")?));
    // By the kernel this time, which finds the token that the proxy promised.
    connection.segment(&request)?;
    let Outcome::Answered(answer) = connection.outcome()? else { panic!("refused in spite of the wait") };
    assert_eq!((answer.status, number(&answer, "x-ratelimit-remaining")?), (200, 1_000 - admitted - 1));
    assert_eq!(deployment.seen()?.get("key"), Some(&(admitted + 1)));
    Ok(())
}
