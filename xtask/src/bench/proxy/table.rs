//! The tables, and the words that say what is in them.

use super::super::figures::{Spread, thousands};
use super::super::peers::{Outcome, Subject, version};
use super::super::plot::{self, Bar};
use super::target::{Law, Target};
use super::{CONNECTIONS, Files, Sample, Samples};
use anyhow::Result;
use std::fmt::Write as _;

/// A figure of a sample, and how it is written.
type Column = (&'static str, fn(&Sample) -> Option<f64>, fn(f64) -> String);

const SPEED: Column =
    ("requests a second", |sample| Some(sample.per_second), |figure| thousands(figure) + "/s");
const CPU: Column =
    ("the proxy's CPU time a request", |sample| sample.cpu, |figure| format!("{figure:.1} µs"));
const P99: Column = ("99th percentile", |sample| Some(sample.p99), |figure| thousands(figure) + " µs");

pub(super) fn all(samples: &Samples, files: &Files<'_>, is_kept: bool) -> Result<String> {
    let plan = files.plan;
    let (proxy, load) = (files.bed.cores.proxy, files.bed.cores.load);
    let mut text = format!(
        "Each figure: {} rounds of {} s of `taskset -c {load} ratelimitd load --threads 1` with {CONNECTIONS} connections; the \
         proxy on core {proxy}, the origin with the load on core {load}. Ratios are to nginx: median of the rounds, lowest to \
         highest; in brackets the median. Paced: {} requests a second, half of what the slowest proxy serves.\n",
        plan.rounds,
        plan.run.as_secs(),
        thousands(files.pace)
    );
    let parts: [(&str, Outcome, Law, &[Column]); 3] = [
        ("Requests within their limits", Outcome::Allowed, Law::Closed, &[SPEED, CPU]),
        ("Requests over their limits (429)", Outcome::Refused, Law::Closed, &[SPEED, CPU]),
        ("Requests within their limits, paced", Outcome::Allowed, Law::Paced, &[P99, CPU]),
    ];
    for (title, outcome, law, columns) in parts {
        for keys in [1, plan.many] {
            let title = format!("{title}, {} key(s)", thousands(keys.into()));
            let own: Vec<_> = samples
                .iter()
                .filter(|(target, _)| (target.outcome, target.law, target.keys) == (outcome, law, keys))
                .collect();
            let _ = write!(text, "\n{title}:\n\n{}", table(&own, columns)?);
            let name = format!("proxy-{outcome}-{}-{keys}", format!("{law:?}").to_lowercase());
            if let Some(column) = columns.first() {
                let plot =
                    plot::write(&name, &format!("{title}: {}", column.0), &bars(&own, column)?, is_kept)?;
                let _ = write!(text, "\n{plot}");
            }
        }
    }
    Ok(text)
}

/// In the order of the subjects, whatever the order of the rounds was.
fn sorted<'a>(own: &[&'a (Target, Vec<Sample>)]) -> Vec<&'a (Target, Vec<Sample>)> {
    let mut own = own.to_vec();
    own.sort_by_key(|(target, _)| target.subject);
    own
}

fn table(own: &[&(Target, Vec<Sample>)], columns: &[Column]) -> Result<String> {
    let heads: String = columns.iter().map(|(name, ..)| format!(" {name}, to nginx |")).collect();
    let mut table = format!("| |{heads}\n|---|{}\n", "---|".repeat(columns.len()));
    let peer = own.iter().find(|(target, _)| target.subject == Subject::Nginx);
    for (target, figures) in sorted(own) {
        let _ = write!(table, "| {} |", version(target.subject)?);
        for (_, figure, write) in columns {
            let peer = peer.map(|(_, figures)| figures.as_slice()).unwrap_or_default();
            let is_peer = target.subject == Subject::Nginx;
            let _ = write!(table, " {} |", cell(figures, peer, is_peer, figure, write));
        }
        table.push('\n');
    }
    Ok(table)
}

/// A figure as a ratio to the peer's of the same round, then itself. The peer's own has no ratio but its range: how steady the
/// machine was.
fn cell(
    own: &[Sample],
    peer: &[Sample],
    is_peer: bool,
    figure: impl Fn(&Sample) -> Option<f64>,
    write: impl Fn(f64) -> String,
) -> String {
    let Some(absolute) = Spread::of(own.iter().filter_map(&figure)) else { return "–".to_owned() };
    let Spread { median, low, high } = absolute;
    if is_peer || peer.is_empty() {
        return format!("1 ({}, {} to {})", write(median), write(low), write(high));
    }
    let ratios = own.iter().zip(peer).filter_map(|(own, peer)| Some(figure(own)? / figure(peer)?));
    let ratio = Spread::of(ratios).map(Spread::ratio).unwrap_or_default();
    format!("{ratio} ({})", write(median))
}

fn bars(own: &[&(Target, Vec<Sample>)], (_, figure, write): &Column) -> Result<Vec<Bar>> {
    let mut bars = Vec::new();
    for (target, figures) in sorted(own) {
        if let Some(spread) = Spread::of(figures.iter().filter_map(figure)) {
            let (name, is_own) = (version(target.subject)?, target.subject == Subject::Ratelimitd);
            bars.push(Bar { name, spread, figure: write(spread.median), is_own });
        }
    }
    Ok(bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(figures: &[(f64, Option<f64>)]) -> Vec<Sample> {
        figures
            .iter()
            .map(|(per_second, cpu)| Sample { per_second: *per_second, cpu: *cpu, p99: 1.0 })
            .collect()
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let peer = samples(&[(60_000.0, Some(20.0)), (30_000.0, Some(30.0))]);
        let own = samples(&[(66_000.0, Some(15.0)), (30_000.0, Some(30.0))]);
        let origin = samples(&[(90_000.0, None), (45_000.0, None)]);
        let speed = |own: &[Sample], is_peer| cell(own, &peer, is_peer, SPEED.1, SPEED.2);
        let cpu = |own: &[Sample], is_peer| cell(own, &peer, is_peer, CPU.1, CPU.2);
        assert_eq!(speed(&peer, true), "1 (45,000/s, 30,000/s to 60,000/s)");
        assert_eq!(cpu(&peer, true), "1 (25.0 µs, 20.0 µs to 30.0 µs)");
        assert_eq!(speed(&own, false), "1.05, 1.00 to 1.10 (48,000/s)");
        assert_eq!(cpu(&own, false), "0.88, 0.75 to 1.00 (22.5 µs)");
        assert_eq!(
            (speed(&origin, false), cpu(&origin, false)),
            ("1.50, 1.50 to 1.50 (67,500/s)".into(), "–".into())
        );
    }
}
