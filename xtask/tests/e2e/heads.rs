//! Spellings of a request and cuts through it: whatever the kernel makes of them, each is charged once, and none
//! gets round a limit.

use crate::bucket::Bucket;
use crate::segments::{Connection, get};
use crate::{PATH, deploy, number, tier};
use anyhow::{Context, Result, ensure};
use std::time::Instant;
use xtask::client::Outcome;
use xtask::deployment::PORT;

/// Who can judge a request first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judge {
    Kernel,
    Proxy,
}

use Judge::{Kernel, Proxy};

/// Requests with `key`, and who judges each where it is.
fn spellings(key: &str) -> Vec<(Judge, String)> {
    let (named, bearer) = (format!("X-API-Key: {key}"), format!("Authorization: Bearer {key}"));
    let padding = |bytes: usize| format!("X-Padding: {}", "p".repeat(bytes));
    let many: Vec<_> = (0..40).map(|number| format!("X-Field-{number}: some value")).collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.push(&named);
    let first = format!("GET {PATH} HTTP/1.1\r\n{named}\r\nHost: school.example\r\nAccept: */*\r\n\r\n");
    vec![
        (Kernel, first),
        (Kernel, get(&["Accept: */*", "User-Agent: curl/8", &named])),
        (Kernel, get(&[&padding(1_000), &named])),
        (Kernel, get(&many)),
        (Kernel, get(&[&named.to_lowercase().replace(&key.to_lowercase(), key)])),
        (Kernel, get(&[&format!("X-API-KEY:{key}")])),
        (Kernel, get(&[&bearer])),
        (Kernel, get(&[&format!("aUTHORIZATION: bEARER {key}")])),
        (Kernel, get(&[&named, &bearer])),
        (Kernel, get(&["X-API-Keyring: none", &named]).replace("X-API-Keyring", "X-Keyring")),
        (Proxy, get(&["X-API-Keyring: none", &named])),
        (Proxy, get(&["Authorization: Basic eHk6eg==", &named])),
        (Proxy, get(&[&format!("X-API-Key:  \t{key}")])),
        (Proxy, get(&[&format!("X-API-Key: {key} ")])),
        (Proxy, get(&[&padding(3_000), &named])),
        (Proxy, get(&[&named]).replacen("GET", "BREW", 1)),
    ]
}

#[test]
fn a_key_is_found_wherever_and_however_it_stands() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 1_000, 60), &[("key", "small")])?;
    let spellings = spellings(deployment.key("key")?);
    let mut bucket = Bucket::full(60);
    for (round, (judge, request)) in (1..).zip(&spellings) {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
        let sent = Instant::now();
        connection.segment(request)?;
        let (answer, done) = (connection.answer()?, Instant::now());
        bucket.take(1, sent, done);
        bucket.check(&answer, sent, done).with_context(|| format!("{judge:?}: {request}"))?;
        // The API has no method BREW: what it says to that is its own business, and counts.
        ensure!(answer.status == 200 || answer.status == 405, "{request}{answer:?}");
        ensure!(number(&answer, "x-ratelimit-remaining")? == 1_000 - round, "{request}{answer:?}");
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&(spellings.len() as u64)));
    let by_kernel = spellings.iter().filter(|(judge, _)| *judge == Kernel).count() as u64;
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&by_kernel), "{counted:?}");
    Ok(())
}

/// A deployment with a key whose hour is used up, so that no token that comes back blurs what is seen.
fn deploy_spent() -> Result<xtask::deployment::Deployment> {
    let deployment = deploy("reset", &tier("tiny", 1, 1_000), &[("spent", "tiny")])?;
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    connection.segment(get(&[&format!("X-API-Key: {}", deployment.key("spent")?)]))?;
    ensure!(connection.answer()?.status == 200, "the first request of all is admitted");
    Ok(deployment)
}

#[test]
fn no_spelling_evades_a_limit() -> Result<()> {
    let deployment = deploy_spent()?;
    for (judge, request) in spellings(deployment.key("spent")?) {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v6(PORT))?;
        connection.segment(&request)?;
        match (judge, connection.outcome()?) {
            (Kernel, Outcome::Reset) => {}
            (Proxy, Outcome::Answered(answer)) if answer.status == 429 => {}
            (_, outcome) => panic!("{judge:?}: {request}{outcome:?}"),
        }
    }
    assert_eq!(deployment.seen()?.get("spent"), Some(&1));
    Ok(())
}

#[test]
fn a_request_cut_anywhere_is_charged_once() -> Result<()> {
    let mut deployment = deploy("reset", &tier("large", 1_000, 600), &[("key", "large")])?;
    let request = get(&["Accept: */*", &format!("X-API-Key: {}", deployment.key("key")?), "Via: 1.1 cut"]);
    let mut bucket = Bucket::full(600);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    for cut in 1..request.len() {
        let sent = Instant::now();
        let (first, rest) = request.split_at(cut);
        connection.segment(first)?;
        connection.segment(rest)?;
        let (answer, done) = (connection.answer()?, Instant::now());
        bucket.take(1, sent, done);
        bucket.check(&answer, sent, done).with_context(|| format!("cut at {cut}"))?;
        let remaining = number(&answer, "x-ratelimit-remaining")?;
        ensure!((answer.status, remaining) == (200, 1_000 - cut as u64), "cut at {cut}: {answer:?}");
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&(request.len() as u64 - 1)));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&judged_when_cut(&request)), "{counted:?}");
    Ok(())
}

/// The number of cuts that leave the key's line whole in the first segment.
fn judged_when_cut(request: &str) -> u64 {
    (request.len() - end_of_key(request)) as u64
}

fn end_of_key(request: &str) -> usize {
    let key = request.find("X-API-Key").unwrap_or_default();
    let (_, line) = request.split_at(key);
    key + line.find("\r\n").unwrap_or_default() + 2
}

#[test]
fn no_cut_evades_a_limit() -> Result<()> {
    let deployment = deploy_spent()?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("spent")?), "Via: 1.1 cut"]);
    let end = end_of_key(&request);
    for cut in (1..end - 43).step_by(7).chain(end - 43..request.len()) {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
        let (first, rest) = request.split_at(cut);
        connection.segment(first)?;
        connection.segment(rest)?;
        match connection.outcome()? {
            Outcome::Answered(answer) if answer.status == 429 && cut < end => {}
            Outcome::Reset if cut >= end => {}
            outcome => panic!("cut at {cut}, the key's line ends at {end}: {outcome:?}"),
        }
    }
    assert_eq!(deployment.seen()?.get("spent"), Some(&1));
    Ok(())
}
