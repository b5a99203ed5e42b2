//! How exact the limiters are: the same scenario against each, and what the referee says.

use super::figures::thousands;
use super::peers::{Bed, Outcome, Subject, version};
use crate::interrupt;
use crate::load::Load;
use anyhow::Result;
use std::fmt::Write as _;

/// Requests a minute of every key's bucket, for which each peer is configured as well as it can be.
const PER_MINUTE: u32 = 180;

/// What is sent, with the promised hour.
const SCENARIO: &str = include_str!("scenario.toml");

/// Title, and requests an hour.
const PROMISES: [(&str, u32); 2] = [
    ("a bucket of 180, refilled in a minute", 1_000_000),
    ("the same, and at most 200 in any hour, which no peer can be told", 200),
];

/// The tables.
pub(super) fn measure(peers: &[Subject], quick: bool) -> Result<String> {
    let mut text = String::new();
    for (title, per_hour) in PROMISES {
        // Limiters that have seen nothing yet.
        let bed = Bed::set_up(peers, PER_MINUTE)?;
        let seconds = if quick { 4 } else { 20 };
        let scenario = SCENARIO.replace("@PER_HOUR@", &per_hour.to_string());
        let scenario = scenario.replace("@PER_MINUTE@", &PER_MINUTE.to_string());
        let scenario = bed.write("accuracy.toml", &scenario.replace("@SECONDS@", &seconds.to_string()))?;
        let _ = write!(
            text,
            "Promised: {title}. `ratelimitd load --verify` for {seconds} s with `xtask/src/bench/accuracy/scenario.toml`:\n\n\
             | | wrongly admitted | wrongly refused | of | first, after |\n|---|---|---|---|---|\n"
        );
        for subject in bed.subjects() {
            interrupt::check()?;
            eprintln!("bench: accuracy of {subject}: {title}");
            text.push_str(&row(&bed, subject, &Load::new(&scenario))?);
        }
        text.push('\n');
    }
    Ok(text)
}

fn row(bed: &Bed, subject: Subject, load: &Load) -> Result<String> {
    let load = load.clone().verified();
    let load = match subject {
        Subject::Ratelimitd => load.with_made_keys(&bed.config()),
        _ => load.with_invented_keys(),
    };
    let report = bed.measure(subject, Outcome::Refused, load)?.report;
    let found = report.verification()?;
    let count = |number: u64| thousands(number as f64);
    let first = found.findings.first().map(|first| {
        let what = first.kind.replace('_', " ");
        format!("{what}, {}, {:.3} s", first.limit, first.seconds)
    });
    Ok(format!(
        "| {} | {} | {} | {} | {} |\n",
        version(subject)?,
        count(found.wrongly_admitted),
        count(found.wrongly_refused),
        count(found.judged),
        first.unwrap_or_else(|| "–".to_owned())
    ))
}
