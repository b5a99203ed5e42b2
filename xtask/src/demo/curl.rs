//! Requests by curl, shown with what it shows.

use super::Demo;
use crate::client::{Answer, Outcome};
use crate::interrupt;
use crate::tally::Tally;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::time::Instant;

/// What is asked, of whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) server: SocketAddr,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) fields: &'a [(&'a str, &'a str)],
}

/// A request by curl, counted for the key; the answer, if there was one.
pub(super) fn counted(demo: &mut Demo, key: &'static str, asked: Asked<'_>) -> Result<Option<Answer>> {
    let sent = Instant::now();
    let outcome = run(demo, asked)?;
    let answer = if let Outcome::Answered(answer) = &outcome { Some(answer.clone()) } else { None };
    let mut tally = Tally::default();
    tally.record(sent, Instant::now(), outcome);
    demo.merge(key, tally);
    Ok(answer)
}

/// Runs `curl -i` on the client and shows what it shows.
pub(super) fn run(demo: &Demo, asked: Asked<'_>) -> Result<Outcome> {
    let Asked { server, method, path, fields } = asked;
    interrupt::check()?;
    let mut command = demo.deployment.lab.client.command("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "15", "--request", method]);
    let mut shown = format!("  $ curl -i -X {method}");
    for (name, value) in fields {
        command.args(["--header", &format!("{name}: {value}")]);
        shown.push_str(&format!(" -H '{name}: {}'", shortened(value)));
    }
    let url = format!("http://{server}{path}");
    println!("{shown} '{url}'");
    let done = command.arg(&url).output().context("cannot start curl")?;
    if done.status.success() {
        let answer = Answer::parse(&done.stdout, false)?.context("curl shows half an answer")?;
        show(&answer);
        return Ok(Outcome::Answered(answer));
    }
    let error = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    println!("  {error}");
    match done.status.code() {
        // Receiving or sending failed.
        Some(55 | 56) if error.contains("reset") => Ok(Outcome::Reset),
        Some(52) => Ok(Outcome::Closed),
        Some(28) => Ok(Outcome::Silent),
        _ => bail!("curl failed: {error}"),
    }
}

/// Enough of a key to know it by.
fn shortened(value: &str) -> String {
    const SHOWN: usize = 16;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// Shows an answer, indented.
pub(super) fn show(answer: &Answer) {
    println!("  HTTP/1.1 {}", answer.status);
    for (name, value) in &answer.headers {
        println!("  {name}: {value}");
    }
    println!("\n  {}\n", String::from_utf8_lossy(&answer.body).trim_end());
}
