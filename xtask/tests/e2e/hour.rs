//! An hour that is used up: who says so, in which words, and how it is lifted.

use crate::bucket::tokens;
use crate::segments::{Connection, get};
use crate::{SOON, deploy, eventually, number, send, tier};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use xtask::client::{Answer, Outcome};
use xtask::deployment::{Deployment, PORT};

/// Seconds of wall-clock time.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A request whose key the kernel cannot find.
fn ask_proxy(deployment: &Deployment, key: &str) -> Result<Answer> {
    let request = get(&[&format!("X-API-Key: {}", deployment.key(key)?)]);
    let (first, rest) = request.split_at(10);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    connection.segment(first)?;
    connection.segment(rest)?;
    connection.answer()
}

#[test]
fn the_request_over_the_hour_is_refused_in_all_the_words_of_the_guide() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 20, 6_000), &[("key", "small")])?;
    let (started, start) = (now(), Instant::now());
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 20, |_| false)?;
    assert_eq!((tally.admitted, tally.sent), (20, 20), "{:?}", tally.other);
    let refusal = ask_proxy(&deployment, "key")?;
    let ended = now();
    assert_eq!((refusal.status, refusal.header("content-type")), (429, Some("application/json")));
    assert_eq!(number(&refusal, "x-ratelimit-limit")?, 20);
    assert_eq!(number(&refusal, "x-ratelimit-remaining")?, 0);
    let wait = number(&refusal, "retry-after")?;
    // From the first request on, which was sent after `start`; the window is coarser by a second at most.
    let passed = start.elapsed().as_secs();
    assert!((3_600 - passed..=3_601).contains(&wait), "{wait} s to wait, {passed} s after the first");
    let reset = number(&refusal, "x-ratelimit-reset")?;
    assert!((started + wait..=ended + wait + 1).contains(&reset), "{reset}: not {wait} s from now");
    let body: serde_json::Value = serde_json::from_slice(&refusal.body)?;
    let message = format!("API rate limit exceeded. Please retry after {wait} seconds.");
    let error = json!({ "code": "rate_limit_exceeded", "message": message, "retry_after": wait });
    assert_eq!(body, json!({ "error": error }));

    // A refused request takes nothing: the bucket refills while it is asked.
    let before = tokens(&refusal)?;
    for _ in 0..5 {
        let again = ask_proxy(&deployment, "key")?;
        ensure!(again.status == 429 && tokens(&again)? >= before, "{before} tokens before {again:?}");
    }
    let refused = send(&deployment, deployment.lab.host_v6(PORT), "key", 10, |_| false)?;
    assert_eq!(refused.by_kernel, 10, "{refused:?}");
    assert_eq!(deployment.seen()?.get("key"), Some(&20));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("refused_blocked"), Some(&10), "{counted:?}");
    Ok(())
}

/// The daemon takes it over by itself; nothing of what was used is forgotten.
#[test]
fn a_higher_limit_lifts_the_refusal_and_a_lower_one_brings_it_back() -> Result<()> {
    let deployment = deploy("reset", &tier("small", 20, 6_000), &[("key", "small")])?;
    let server = deployment.lab.host_v4(PORT);
    let tally = send(&deployment, server, "key", 25, |_| false)?;
    assert_eq!((tally.admitted, tally.by_kernel + tally.by_proxy), (20, 5), "{:?}", tally.other);

    deployment.change_keys(&["set", "key", "--requests-per-hour", "40"])?;
    let mut admitted = 20;
    eventually("the higher limit is in force", || {
        let lifted = send(&deployment, server, "key", 1, |_| false)?.admitted;
        admitted += lifted;
        Ok(lifted == 1)
    })?;
    let tally = send(&deployment, server, "key", 30, |_| false)?;
    admitted += tally.admitted;
    assert_eq!((admitted, deployment.seen()?.get("key").copied()), (40, Some(40)), "{tally:?}");

    deployment.change_keys(&["set", "key", "--requests-per-hour", "41"])?;
    eventually("one more is admitted", || Ok(send(&deployment, server, "key", 1, |_| false)?.admitted == 1))?;
    deployment.change_keys(&["set", "key", "--requests-per-hour", "default"])?;
    eventually("the tier's limit is in force again", || {
        let answer = ask_proxy(&deployment, "key")?;
        ensure!(answer.status == 429, "41 of an hour's 20 or 41 are used: {answer:?}");
        Ok(number(&answer, "x-ratelimit-limit")? == 20)
    })?;
    assert_eq!(deployment.seen()?.get("key"), Some(&41));
    Ok(())
}

/// The kernel lets a request pass that the proxy judges, and neither admits what the other would refuse.
#[test]
fn the_last_request_of_an_hour_is_whoevers_comes_first() -> Result<()> {
    let deployment = deploy("reset", &tier("tiny", 1, 6_000), &[("key", "tiny")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?);
    }
    for connection in &mut connections {
        connection.segment(&request)?;
    }
    let mut admitted = 0;
    for connection in &mut connections {
        match connection.outcome().context("within the time of an answer")? {
            Outcome::Answered(answer) if answer.status == 200 => admitted += 1,
            Outcome::Answered(answer) if answer.status == 429 => {}
            Outcome::Reset => {}
            other => panic!("{other:?} within {SOON:?}"),
        }
    }
    assert_eq!((admitted, deployment.seen()?.get("key")), (1, Some(&1)));
    Ok(())
}
