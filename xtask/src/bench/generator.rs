//! The generator beside wrk, against the origin: one thread on one core each, the origin on the other.

use super::figures::{Spread, thousands};
use super::peers::{Bed, Outcome, Subject};
use super::plot::{self, Bar};
use super::wrk::Wrk;
use crate::interrupt;
use crate::load::Load;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

const CONNECTIONS: u32 = 64;

/// The table.
pub(super) fn measure(quick: bool) -> Result<String> {
    let (rounds, seconds) = if quick { (2, 1) } else { (9, 3) };
    let bed = Bed::set_up(&[], 1)?;
    let wrk = Wrk::prepare(bed.config().parent().unwrap_or(Path::new(".")))?;
    let scenario = bed.write(
        "closed.toml",
        &format!(
            "description = \"As fast as answers come.\"\n[[population]]\nname = \"all\"\ntier = \"professional\"\n\
             connections = {CONNECTIONS}\narrivals = [{{ kind = \"closed\", seconds = {seconds} }}]\n\
             requests = [{{ path = \"/courses\" }}]\n"
        ),
    )?;
    let server = bed.address(Subject::Origin, Outcome::Allowed);
    let ours = || Load::new(&scenario).at(server).with_threads(1).with_invented_keys();
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("bench: generators, round {round} of {rounds}");
        interrupt::check()?;
        // Whoever was first is last in the next round.
        if round % 2 == 0 {
            own.push(bed.run(ours())?.answered_per_second);
        }
        theirs.push(wrk.run(&bed.cores, server, CONNECTIONS, Duration::from_secs(seconds))?);
        if round % 2 == 1 {
            own.push(bed.run(ours())?.answered_per_second);
        }
    }
    table(&own, &theirs, seconds, !quick)
}

fn table(own: &[f64], theirs: &[f64], seconds: u64, is_kept: bool) -> Result<String> {
    let (Some(ours), Some(wrk)) = (Spread::of(own.iter().copied()), Spread::of(theirs.iter().copied()))
    else {
        anyhow::bail!("nothing was measured");
    };
    let ratio = Spread::of(own.iter().zip(theirs).map(|(own, theirs)| own / theirs));
    let ratio = ratio.map(Spread::ratio).unwrap_or_default();
    let written = |figure: f64| thousands(figure) + "/s";
    let bar = |name: &str, spread: Spread, is_own| Bar {
        name: name.into(),
        spread,
        figure: written(spread.median),
        is_own,
    };
    let bars = [bar("wrk", wrk, false), bar("ratelimitd load", ours, true)];
    let plot = plot::write("generator", "Closed loop against the origin: requests a second", &bars, is_kept)?;
    Ok(format!(
        "{} rounds of {seconds} s each: `wrk -t1 -c{CONNECTIONS}` and `ratelimitd load --threads 1 --connections \
         {CONNECTIONS}`, pinned to one core, nginx as the origin to the other.\n\n\
         | | requests a second, to wrk |\n|---|---|\n| wrk | 1 ({}, {} to {}) |\n| ratelimitd load | {ratio} ({}) |\n\n{plot}",
        own.len(),
        written(wrk.median),
        written(wrk.low),
        written(wrk.high),
        written(ours.median)
    ))
}
