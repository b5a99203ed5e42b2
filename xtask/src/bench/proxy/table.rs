//! The tables, and the words that say what is in them.

use super::bed::Bed;
use super::load::CONNECTIONS;
use super::target::{Outcome, Subject};
use super::{Plan, Sample, Samples};
use crate::bench::figures::{Spread, thousands};
use std::fmt::Write as _;

pub(super) fn all(samples: &Samples, bed: &Bed, plan: Plan) -> String {
    let (seconds, rounds) = (plan.run.as_secs(), plan.rounds);
    let (proxy, load) = (bed.cores.proxy, bed.cores.load);
    let allowed = table(samples, Outcome::Allowed, &bed.nginx_version);
    let refused = table(samples, Outcome::Refused, &bed.nginx_version);
    format!(
        "Each figure: {rounds} rounds of `taskset -c {load} wrk -t1 -c{CONNECTIONS} -d{seconds}s`; the proxy on \
         core {proxy}, the origin with wrk on core {load}. Ratios: median of the rounds, lowest to highest; in \
         brackets the median.\n\nRequests within their limits:\n\n{allowed}\n\
         Requests over their limits (429):\n\n{refused}"
    )
}

fn table(samples: &Samples, outcome: Outcome, nginx_version: &str) -> String {
    let mut table = String::from(
        "| | requests a second, to nginx | the proxy's CPU time a request, to nginx |\n|---|---|---|\n",
    );
    let find = |subject: Subject| {
        let wanted = |target: &super::Target| target.subject == subject && target.outcome == outcome;
        samples.iter().find(|(target, _)| wanted(target)).map(|(_, figures)| figures.as_slice())
    };
    let peer = find(Subject::Nginx).unwrap_or_default();
    for (subject, name) in [
        (Subject::Nginx, format!("nginx {nginx_version}, `limit_req`")),
        (Subject::Ratelimitd, "ratelimitd".to_owned()),
        (Subject::Origin, "no proxy".to_owned()),
    ] {
        if let Some(own) = find(subject) {
            let speed = cell(own, peer, |sample| Some(sample.per_second), |figure| thousands(figure) + "/s");
            let cpu = cell(own, peer, |sample| sample.cpu, |figure| format!("{figure:.1} µs"));
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {name} | {speed} | {cpu} |");
        }
    }
    table
}

/// A figure as a ratio to the peer's of the same round, then itself. The peer's own has no ratio but its
/// range: how steady the machine was.
fn cell(
    own: &[Sample],
    peer: &[Sample],
    figure: impl Fn(&Sample) -> Option<f64>,
    write: impl Fn(f64) -> String,
) -> String {
    let Some(absolute) = Spread::of(own.iter().filter_map(&figure)) else { return "–".to_owned() };
    let Spread { median, low, high } = absolute;
    if std::ptr::eq(own, peer) {
        return format!("1 ({}, {} to {})", write(median), write(low), write(high));
    }
    let ratios = own.iter().zip(peer).filter_map(|(own, peer)| Some(figure(own)? / figure(peer)?));
    let ratio = Spread::of(ratios).map(Spread::ratio).unwrap_or_default();
    format!("{ratio} ({})", write(median))
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::*;

    fn samples(subject: Subject, figures: &[(f64, Option<f64>)]) -> (Target, Vec<Sample>) {
        let sample = |(per_second, cpu): &(f64, Option<f64>)| Sample { per_second: *per_second, cpu: *cpu };
        (Target { subject, outcome: Outcome::Allowed }, figures.iter().map(sample).collect())
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let all = vec![
            samples(Subject::Origin, &[(90_000.0, None), (45_000.0, None)]),
            samples(Subject::Ratelimitd, &[(66_000.0, Some(15.0)), (30_000.0, Some(30.0))]),
            samples(Subject::Nginx, &[(60_000.0, Some(20.0)), (30_000.0, Some(30.0))]),
        ];
        let table = table(&all, Outcome::Allowed, "1");
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| nginx 1, `limit_req` | 1 (45,000/s, 30,000/s to 60,000/s) | 1 (25.0 µs, 20.0 µs to 30.0 µs) |",
                "| ratelimitd | 1.05, 1.00 to 1.10 (48,000/s) | 0.88, 0.75 to 1.00 (22.5 µs) |",
                "| no proxy | 1.50, 1.50 to 1.50 (67,500/s) | – |",
            ]
        );
    }
}
