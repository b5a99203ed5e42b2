//! Requests that do not wait for the answer before them, and bodies between them.

use crate::bucket::Bucket;
use crate::segments::{Connection, get};
use crate::{deploy, eventually, number, tier};
use anyhow::{Result, ensure};
use std::time::Instant;
use xtask::deployment::{Deployment, PORT};

/// Checks `count` answers, all of which took a token between `sent` and now.
fn all_charged_once(
    connection: &mut Connection,
    bucket: &mut Bucket,
    count: u64,
    sent: Instant,
    hour: &mut u64,
) -> Result<()> {
    let mut last = None;
    for _ in 0..count {
        let answer = connection.answer()?;
        *hour -= 1;
        ensure!(matches!(answer.status, 200 | 201), "{answer:?}");
        ensure!(number(&answer, "x-ratelimit-remaining")? == *hour, "{answer:?}");
        last = Some(answer);
    }
    let done = Instant::now();
    bucket.take(count, sent, done);
    // The kernel may have charged all before the proxy answered the first: only the last tells of all.
    last.map_or(Ok(()), |last| bucket.check(&last, sent, done))
}

fn key_line(deployment: &Deployment) -> Result<String> {
    Ok(format!("X-API-Key: {}", deployment.key("key")?))
}

/// The kernel sees the first of them only; the proxy charges the others.
#[test]
fn requests_in_one_segment_are_charged_one_by_one() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 1_000, 60), &[("key", "small")])?;
    let request = get(&[&key_line(&deployment)?]);
    let (mut bucket, mut hour) = (Bucket::full(60), 1_000);
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let mut connection = Connection::open(&deployment.lab, server)?;
        for _ in 0..3 {
            let sent = Instant::now();
            connection.segment(request.repeat(5))?;
            all_charged_once(&mut connection, &mut bucket, 5, sent, &mut hour)?;
        }
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&30));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&6), "{counted:?}");
    Ok(())
}

/// More than there is room to note for, so that the kernel leaves some of them to the proxy.
#[test]
fn requests_in_a_row_of_segments_are_charged_one_by_one() -> Result<()> {
    let deployment = deploy("reset", &tier("small", 1_000, 120), &[("key", "small")])?;
    let request = get(&[&key_line(&deployment)?]);
    let (mut bucket, mut hour) = (Bucket::full(120), 1_000);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    let sent = Instant::now();
    for _ in 0..80 {
        connection.segment(&request)?;
    }
    all_charged_once(&mut connection, &mut bucket, 80, sent, &mut hour)?;
    assert_eq!(deployment.seen()?.get("key"), Some(&80));
    Ok(())
}

/// Those within the limit are served in order, and so are the refusals of those over it.
#[test]
fn a_pipeline_over_the_limit_is_refused_from_there_on() -> Result<()> {
    let deployment = deploy("reset", &tier("small", 7, 1_000), &[("key", "small")])?;
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    connection.segment(get(&[&key_line(&deployment)?]).repeat(10))?;
    let statuses: Result<Vec<_>> = (0..10).map(|_| Ok(connection.answer()?.status)).collect();
    assert_eq!(statuses?, [200, 200, 200, 200, 200, 200, 200, 429, 429, 429]);
    assert_eq!(deployment.seen()?.get("key"), Some(&7));
    Ok(())
}

/// A request to add a student: its head, and its body apart.
fn post(key_line: &str, body: &str) -> String {
    let length = body.len();
    let fields = format!("Host: school.example\r\n{key_line}\r\nContent-Type: application/json");
    format!("POST /students HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_body_in_segments_of_its_own_is_not_charged() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 1_000, 60), &[("key", "small")])?;
    let body = r#"{"name": "Emmy", "email": "emmy@school.example"}"#;
    let head = post(&key_line(&deployment)?, body);
    let (mut bucket, mut hour) = (Bucket::full(60), 1_000);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v6(PORT))?;
    for pieces in 1..=10 {
        let sent = Instant::now();
        connection.segment(&head)?;
        for piece in body.as_bytes().chunks(body.len().div_ceil(pieces)) {
            connection.segment(piece)?;
        }
        all_charged_once(&mut connection, &mut bucket, 1, sent, &mut hour)?;
    }
    assert_eq!(deployment.seen()?.get("key"), Some(&10));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&10), "{counted:?}");
    Ok(())
}

/// The kernel cannot know that it is a body. What it takes for that is given back when the connection ends.
#[test]
fn a_body_that_looks_like_a_request_costs_nothing_in_the_end() -> Result<()> {
    let mut deployment = deploy("reset", &tier("small", 1_000, 60), &[("key", "small")])?;
    let key_line = key_line(&deployment)?;
    let inner = get(&[&key_line]);
    let body = format!("{inner}{inner}");
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    let first_sent = Instant::now();
    connection.segment(post(&key_line, &body))?;
    connection.segment(&inner)?;
    connection.segment(&inner)?;
    // It is no JSON, as the API says.
    let answer = connection.answer()?;
    let mut bucket = Bucket::full(60);
    bucket.take(1, first_sent, Instant::now());
    ensure!((answer.status, number(&answer, "x-ratelimit-remaining")?) == (400, 999), "{answer:?}");
    drop(connection);
    let mut asked = 0;
    eventually("the tokens are given back", || {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
        let sent = Instant::now();
        connection.segment(&inner)?;
        let (answer, done) = (connection.answer()?, Instant::now());
        asked += 1;
        ensure!(number(&answer, "x-ratelimit-remaining")? == 999 - asked, "{answer:?}");
        bucket.take(1, sent, done);
        Ok(bucket.check(&answer, sent, done).is_ok())
    })?;
    assert_eq!(deployment.seen()?.get("key"), Some(&(1 + asked)));
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&(3 + asked)), "{counted:?}");
    Ok(())
}
