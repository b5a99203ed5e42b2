//! What those who keep within their limits notice of one who does not.

use super::super::figures::{Spread, thousands};
use super::super::plot::{self, Bar};
use super::bed::Bed;
use crate::interrupt;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Requests a second of the key that floods.
const RATE: u32 = 5_000;

/// The row of those who do not flood.
const BYSTANDERS: &str = "GET /courses/{n}, 200";

/// The 99th percentile of those who do not flood, beside a key that does and beside none.
pub(super) fn measure(bed: &Bed, rounds: usize, seconds: u64, is_kept: bool) -> Result<String> {
    let scenarios = scenarios(bed, seconds)?;
    let mut figures: Vec<_> = [("ratelimitd", bed.ratelimitd()), ("nginx", bed.nginx())]
        .into_iter()
        .flat_map(|(name, server)| [(name, server, false, Vec::new()), (name, server, true, Vec::new())])
        .collect();
    for round in 1..=rounds {
        eprintln!("bench: others beside a flood, round {round} of {rounds}");
        for (_, server, is_flooded, figures) in &mut figures {
            interrupt::check()?;
            figures.push(p99(bed, *server, &scenarios, *is_flooded)?);
        }
    }
    let mut text = format!(
        "{rounds} rounds of {seconds} s in a laboratory: 20 keys send 200 requests a second within their limits, alone and beside a \
         key that sends {} a second over its own. 99th percentile of the 20, from when a request was due.\n\n\
         | | alone | beside the flood | ratio |\n|---|---|---|---|\n",
        thousands(RATE.into())
    );
    let mut bars = Vec::new();
    for pair in figures.chunks(2) {
        let [(name, _, _, alone), (_, _, _, beside)] = pair else { continue };
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied()).context("nothing was measured");
        let (quiet, loud) = (spread(alone)?, spread(beside)?);
        let ratio = Spread::of(beside.iter().zip(alone).map(|(beside, alone)| beside / alone));
        let ratio = ratio.map(Spread::ratio).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {name} | {} µs | {} µs | {ratio} |",
            thousands(quiet.median),
            thousands(loud.median)
        );
        for (spread, when) in [(quiet, "alone"), (loud, "beside a flood")] {
            let figure = thousands(spread.median) + " µs";
            bars.push(Bar { name: format!("{name}, {when}"), spread, figure, is_own: *name == "ratelimitd" });
        }
    }
    let plot = plot::write("others", "99th percentile of those who do not flood", &bars, is_kept)?;
    Ok(format!("{text}\n{plot}"))
}

/// Of those who do not flood, and of the key that does.
fn scenarios(bed: &Bed, seconds: u64) -> Result<[PathBuf; 2]> {
    let others = format!("kind = \"poisson\", seconds = {seconds}, rate = 200");
    // It is there before the others come and until they are gone.
    let flood = format!("kind = \"constant\", seconds = {}, rate = {RATE}", seconds + 2);
    Ok([
        bed.scenario("others", 20, 32, &others, "/courses/{n}")?,
        bed.scenario("flood", 1, 64, &flood, "/courses?per_page=1")?,
    ])
}

/// The flood comes from a program of its own, so that those who are measured do not wait for it at home.
fn p99(bed: &Bed, server: SocketAddr, [others, flood]: &[PathBuf; 2], is_flooded: bool) -> Result<f64> {
    let report = std::thread::scope(|scope| {
        let flood = is_flooded.then(|| scope.spawn(|| bed.load(server, flood)));
        let report = bed.load(server, others);
        let flood =
            flood.map(|flood| flood.join().map_err(|_| anyhow!("the flood panicked"))?).transpose()?;
        ensure!(flood.is_none_or(|flood| flood.refused > 0), "the flood was not refused");
        report
    })?;
    let row = report.latency.by_endpoint_and_status.iter().find(|row| row.of == BYSTANDERS);
    match row {
        Some(row) if report.failed == 0 => Ok(row.p99),
        _ => bail!("not what is to be measured: {} failed, {:?}", report.failed, report.failures),
    }
}
