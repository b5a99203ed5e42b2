//! Keys that come, change and go while the daemon runs.

use crate::bucket::Bucket;
use crate::segments::{Connection, get};
use crate::{PATH, ask, deploy, eventually, number, send, tier};
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::time::Instant;
use xtask::client::{Answer, Outcome, Request};
use xtask::deployment::{Deployment, PORT};

fn asked_with(deployment: &Deployment, key: &str) -> Result<Answer> {
    let headers = [("X-API-Key", deployment.key(key)?)];
    ask(deployment, deployment.lab.host_v4(PORT), &Request::get(PATH, &headers))
}

#[test]
fn a_key_comes_and_goes_without_a_restart() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("old", "professional")])?;
    deployment.add_key("new", "enterprise")?;
    eventually("the new key is served", || Ok(asked_with(&deployment, "new")?.status == 200))?;
    deployment.change_keys(&["disable", "new"])?;
    eventually("the disabled key is refused", || Ok(asked_with(&deployment, "new")?.status == 401))?;
    deployment.change_keys(&["enable", "new"])?;
    eventually("the enabled key is served", || Ok(asked_with(&deployment, "new")?.status == 200))?;
    deployment.change_keys(&["remove", "new"])?;
    eventually("the removed key is refused", || Ok(asked_with(&deployment, "new")?.status == 401))?;
    assert_eq!(asked_with(&deployment, "old")?.status, 200);
    Ok(())
}

#[test]
fn another_tier_does_not_forget_what_was_used() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 90, |_| false)?;
    assert_eq!(tally.admitted, 90);
    deployment.change_keys(&["set", "key", "--tier", "enterprise"])?;
    deployment.daemon().signal(Signal::HUP)?;
    let mut used = 90;
    eventually("the new tier is in force", || {
        used += 1;
        Ok(number(&asked_with(&deployment, "key")?, "x-ratelimit-limit")? == 10_000)
    })?;
    let answer = asked_with(&deployment, "key")?;
    assert_eq!(number(&answer, "x-ratelimit-remaining")?, 10_000 - used - 1);
    Ok(())
}

/// A key that goes may leave its place to the next one: what it has used must not go with it.
#[test]
fn a_new_key_starts_unused_whoever_was_there_before() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 12, 60), &[("old", "small")])?;
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "old", 20, |_| false)?;
    assert_eq!((tally.admitted, tally.by_kernel + tally.by_proxy), (12, 8), "{:?}", tally.other);
    deployment.change_keys(&["remove", "old"])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("old")?)]);
    eventually("the removed key is unknown", || {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
        connection.segment(&request)?;
        // Until then the kernel resets it.
        Ok(matches!(connection.outcome()?, Outcome::Answered(answer) if answer.status == 401))
    })?;
    deployment.add_key("new", "small")?;
    let (mut first, mut bucket) = (None, Bucket::full(60));
    eventually("the new key is served", || {
        let sent = Instant::now();
        let answer = asked_with(&deployment, "new")?;
        let done = Instant::now();
        Ok(answer.status == 200 && first.replace((answer, sent, done)).is_none())
    })?;
    let (answer, sent, done) = first.context("an answer")?;
    bucket.take(1, sent, done);
    bucket.check(&answer, sent, done)?;
    assert_eq!(number(&answer, "x-ratelimit-remaining")?, 11);
    Ok(())
}

/// Over its limit a key is the kernel's to refuse, by a reset. An expired one is the proxy's, which says why: so the
/// kernel has forgotten it.
#[test]
fn the_kernel_forgets_a_key_that_expires() -> Result<()> {
    let deployment = deploy("reset", &tier("small", 1_000, 1), &[("key", "small")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let outcome = || {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
        connection.segment(&request)?;
        connection.outcome()
    };
    assert!(matches!(outcome()?, Outcome::Answered(answer) if answer.status == 200));
    assert!(matches!(outcome()?, Outcome::Reset));
    deployment.change_keys(&["set", "key", "--expires", "2s"])?;
    eventually("the proxy says why", || {
        Ok(matches!(outcome()?, Outcome::Answered(answer) if answer.status == 401))
    })?;
    deployment.change_keys(&["set", "key", "--expires", "never"])?;
    eventually("the key is the kernel's again", || Ok(matches!(outcome()?, Outcome::Reset)))
}

/// The proxy remembers a connection's key, the kernel what it has charged on it: neither may outlive the key.
#[test]
fn a_connection_does_not_keep_a_disabled_key_alive() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional"), ("other", "professional")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let other = get(&[&format!("X-API-Key: {}", deployment.key("other")?)]);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    connection.segment(&request)?;
    assert_eq!(connection.answer()?.status, 200);
    deployment.change_keys(&["disable", "key"])?;
    let mut served = 1;
    eventually("the disabled key is refused", || {
        connection.segment(&request)?;
        let answer = connection.answer()?;
        served += u64::from(answer.status == 200);
        Ok(answer.status == 401)
    })?;
    connection.segment(&other)?;
    let answer = connection.answer()?;
    assert_eq!((answer.status, number(&answer, "x-ratelimit-remaining")?), (200, 999));
    deployment.change_keys(&["enable", "key"])?;
    eventually("the enabled key is served", || {
        connection.segment(&request)?;
        let answer = connection.answer()?;
        let is_served = answer.status == 200;
        served += u64::from(is_served);
        Ok(is_served && number(&answer, "x-ratelimit-remaining")? == 1_000 - served)
    })?;
    assert_eq!(deployment.seen()?.get("key"), Some(&served));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&(served + 1)), "{counted:?}");
    Ok(())
}

/// A key file that is wrong is not taken over: the keys in force stay in force, and the log says why.
#[test]
fn a_wrong_key_file_changes_nothing() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    let path = deployment.lab.directory().join("keys.toml");
    let right = std::fs::read_to_string(&path)?;
    std::fs::write(&path, format!("{right}\n[[key]]\nname = \"half\"\n"))?;
    eventually("the log tells of it", || Ok(deployment.daemon().log().contains("not taken over")))?;
    assert_eq!(asked_with(&deployment, "key")?.status, 200);
    std::fs::write(&path, right)?;
    deployment.change_keys(&["disable", "key"])?;
    eventually("a right one is taken over", || Ok(asked_with(&deployment, "key")?.status == 401))?;
    Ok(())
}
