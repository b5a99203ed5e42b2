//! The kernel and the proxy read the same heads: what the one refuses the other would not admit, and no request is
//! charged to a key that it does not carry.

use crate::segments::{Connection, get};
use crate::{PATH, deploy, number, tier};
use anyhow::{Result, ensure};
use xtask::client::Outcome;
use xtask::deployment::{Deployment, PORT};

/// Heads as they should not be, and as they may be, with `key` and another one.
fn corpus(key: &str, other: &str) -> Vec<String> {
    let (named, bearer) = (format!("X-API-Key: {key}"), format!("Authorization: Bearer {key}"));
    let other_named = format!("X-API-Key: {other}");
    let plain = get(&[&named]);
    vec![
        plain.clone(),
        get(&[&bearer]),
        get(&[&named, &named]),
        get(&[&named, &bearer]),
        get(&[&named, &other_named]),
        get(&[&other_named, &bearer]),
        get(&[&format!("X-API-Key:{key}")]),
        get(&[&format!("X-API-Key: \t {key}\t ")]),
        get(&[&format!("X-API-Key : {key}")]),
        get(&[&format!(" X-API-Key: {key}")]),
        get(&[&format!("X-API-Key:\r\n {key}")]),
        get(&["X-Folded: a", &format!(" b\r\n{named}")]),
        get(&["X-Note: X-API-Key: none", &named]),
        get(&[&format!("X-API-Key: {key}, {other}")]),
        get(&[&format!("X-API-Key: \"{key}\"")]),
        get(&[&format!("Authorization: Basic {key}")]),
        get(&[&format!("Authorization: Bearer {key} {other}")]),
        get(&[&format!("X-API-Key: {key}\u{7f}")]),
        get(&["X-API-Key:", &named]),
        plain.replace("\r\n", "\n"),
        plain.replacen("\r\n", "\n", 2),
        plain.replace(PATH, &format!("http://school.example{PATH}")),
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        plain.replace("HTTP/1.1", "HTTP/2.0"),
        plain.replace("GET ", "GET  "),
        plain.replace("Host: school.example\r\n", ""),
        format!(
            "POST /students HTTP/1.1\r\nHost: a\r\n{named}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
        ),
        format!(
            "POST /students HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n{named}\r\n{named}\r\n      "
        ),
    ]
}

/// The status of the answer to a request on a connection of its own; 0 if there is none.
fn status(deployment: &Deployment, segments: &[&str]) -> Result<u16> {
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    segments.iter().try_for_each(|segment| connection.segment(segment))?;
    Ok(match connection.outcome()? {
        Outcome::Answered(answer) => answer.status,
        _ => 0,
    })
}

fn is_admitted(status: u16) -> bool {
    !matches!(status, 0 | 400 | 401 | 429)
}

/// Within its limits a key gets the same answers whoever sees the request first; over them, the kernel refuses
/// nothing that the proxy admits.
#[test]
fn whoever_sees_it_first_the_answer_is_the_same() -> Result<()> {
    let tables = [tier("large", 1_000, 1_000), tier("spent", 1, 1_000)].concat();
    let keys = [("key", "large"), ("spent", "spent"), ("other", "large")];
    let deployment = deploy("reply", &tables, &keys)?;
    let (key, spent, other) = (deployment.key("key")?, deployment.key("spent")?, deployment.key("other")?);
    ensure!(
        status(&deployment, &[&get(&[&format!("X-API-Key: {spent}")])])? == 200,
        "the hour's only request"
    );
    for (of_key, of_spent) in corpus(key, other).iter().zip(&corpus(spent, other)) {
        let whole = status(&deployment, &[of_key])?;
        let (start, rest) = of_key.split_at(3);
        let cut = status(&deployment, &[start, rest])?;
        ensure!(whole == cut, "{whole} as a whole and {cut} cut: {of_key}");
        let (start, rest) = of_spent.split_at(3);
        let (by_proxy, whole) = (status(&deployment, &[start, rest])?, status(&deployment, &[of_spent])?);
        ensure!(
            is_admitted(whole) == is_admitted(by_proxy),
            "{whole}, and {by_proxy} by the proxy: {of_spent}"
        );
    }
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    connection.segment(get(&[&format!("X-API-Key: {other}")]))?;
    let answer = connection.answer()?;
    ensure!(number(&answer, "x-ratelimit-remaining")? == 999, "the other key was charged: {answer:?}");
    ensure!(answer.header("ratelimit").is_some_and(|text| text.contains("\"burst\";r=999")), "{answer:?}");
    Ok(())
}
