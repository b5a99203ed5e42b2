//! What a flood costs: packets a second through the kernel program, and what everybody else notices of a key that floods.

mod bed;
mod others;
mod refusals;

use super::figures::{Spread, thousands};
use super::plot::{self, Bar};
use crate::{build, command, interrupt};
use anyhow::{Context, Result};
use bed::Bed;
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::Command;

/// What is sent, what the kernel program does with what it refuses, and what that means.
const KINDS: [(&str, &str, &str); 4] = [
    ("requests", "drop", "requests over their limits, on established connections: dropped"),
    ("requests", "reply", "requests over their limits, again and again: answered with the 429"),
    ("syn", "drop", "segments that open a connection: passed on"),
    ("ack", "drop", "segments without payload: passed on"),
];

/// The tables.
pub(super) fn measure(rounds: usize, quick: bool) -> Result<String> {
    let (rounds, seconds) = if quick { (2, 1) } else { (rounds, 4) };
    let packets = packets(rounds, seconds, !quick)?;
    let bed = Bed::set_up()?;
    let refusals = refusals::measure(&bed, rounds, seconds)?;
    let others = others::measure(&bed, rounds, seconds.max(2), !quick)?;
    Ok(format!("{packets}\n{refusals}\n{others}"))
}

#[derive(Deserialize)]
struct Flood {
    sent_per_second: f64,
}

fn packets(rounds: usize, seconds: u64, is_kept: bool) -> Result<String> {
    let mut figures: Vec<_> = KINDS.map(|kind| (kind, Vec::new())).to_vec();
    for round in 1..=rounds {
        eprintln!("bench: packets in a flood, round {round} of {rounds}");
        for ((kind, action, _), figures) in &mut figures {
            interrupt::check()?;
            let seconds = seconds.to_string();
            let arguments =
                ["load", "flood", "--kind", kind, "--action", action, "--seconds", &seconds, "--json"];
            let said = command::output(Command::new(build::daemon_path(false)).args(arguments))?;
            figures.push(serde_json::from_str::<Flood>(&said).context("the flood's report")?.sent_per_second);
        }
        figures.reverse();
    }
    figures.sort_by_key(|(kind, _)| KINDS.iter().position(|own| own == kind));
    let mut text = format!(
        "{rounds} rounds of {seconds} s of `ratelimitd load flood --kind KIND --action ACTION`: one thread sends, and the kernel program judges on \
         the same core, so a packet's time is that of both.\n\n\
         | packets | a second | ns a packet, with its sending |\n|---|---|---|\n"
    );
    let mut bars = Vec::new();
    for ((kind, action, meaning), figures) in figures {
        let spread = Spread::of(figures).context("nothing was measured")?;
        let Spread { median, low, high } = spread;
        let (per_second, per_packet) = (thousands(median), thousands(1e9 / median));
        let _ = writeln!(
            text,
            "| `{kind}`, `{action}`: {meaning} | {per_second} ({} to {}) | {per_packet} |",
            thousands(low),
            thousands(high)
        );
        bars.push(Bar { name: format!("{kind}, {action}"), spread, figure: per_second + "/s", is_own: true });
    }
    let plot = plot::write("flood", "Packets a second through the kernel program, one core", &bars, is_kept)?;
    Ok(format!("{text}\n{plot}"))
}
