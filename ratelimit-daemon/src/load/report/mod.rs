//! What a run has shown: for people, for programs, and as a page.

mod html;
mod keys;
mod latency;
mod plot;
mod text;

use super::settle::{BURST, HOUR, RULES, UNTOLD};
use super::shared::Shared;
use super::tally::{Failure, Interval, Refuser, Tally};
use super::verify::{self, Finding, Judgement};
use super::{Plan, clock};
use keys::KeyCounts;
use latency::{Latencies, Row};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What there was besides counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) shared: &'a Shared,
    pub(super) elapsed: Duration,
    /// Length of an interval.
    pub(super) piece: Duration,
    pub(super) is_interrupted: bool,
}

/// The report. Its JSON is these fields by these names.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) description: String,
    pub(crate) target: String,
    pub(crate) threads: usize,
    pub(crate) interrupted: bool,
    pub(crate) seconds: f64,
    pub(crate) sent: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Answers of the proxy for another reason than a limit.
    pub(crate) rejected: u64,
    pub(crate) answered_per_second: f64,
    /// Due while a client had to wait.
    pub(crate) withheld: u64,
    pub(crate) gave_up: u64,
    /// Due, and not sent for want of a connection.
    pub(crate) unsent: u64,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) latency: Latencies,
    /// Refusals by limit.
    pub(crate) limits: Vec<LimitCount>,
    pub(crate) populations: Vec<KeyCount>,
    /// Those that sent anything.
    pub(crate) keys: Vec<KeyCount>,
    pub(crate) course: Vec<Piece>,
    pub(crate) verification: Option<Verification>,
}

/// How often a limit refused, and who said so.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LimitCount {
    pub(crate) limit: String,
    pub(crate) by_kernel: u64,
    pub(crate) by_proxy: u64,
}

/// What became of the requests of a key, or of a population's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyCount {
    pub(crate) name: String,
    pub(crate) tier: String,
    pub(crate) keys: u32,
    pub(crate) admitted: u64,
    /// By limit.
    pub(crate) refused: BTreeMap<String, u64>,
}

/// A piece of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Piece {
    /// Its start, from that of the run.
    pub(crate) seconds: f64,
    pub(crate) admitted_per_second: f64,
    pub(crate) refused_per_second: f64,
    pub(crate) failed_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// What the referee says.
#[derive(Debug, Serialize)]
pub(crate) struct Verification {
    pub(crate) judged: u64,
    pub(crate) unknown: u64,
    pub(crate) wrongly_admitted: u64,
    pub(crate) wrongly_refused: u64,
    pub(crate) wrong_answers: u64,
    /// The first ones, in order.
    pub(crate) findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// From the start of the run.
    pub(crate) seconds: f64,
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) finding: Finding,
}

impl Report {
    pub(super) fn new(run: &Run<'_>, mut tally: Tally) -> Self {
        let Run { plan, shared, .. } = *run;
        let scenario = &plan.scenario;
        let seen = std::mem::take(&mut tally.seen);
        let judgement = plan.verify.then(|| {
            let epoch = clock::unix().saturating_sub(clock::now());
            verify::judge(seen, scenario, epoch)
        });
        let names = limit_names(run);
        let keys = KeyCounts { run, tally: &tally, names: &names };
        let answered: u64 = tally.cells.iter().map(|cell| cell.latencies.len()).sum();
        let refused = tally.refusals.values().sum();
        let admitted = keys.admitted();
        Self {
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            target: plan.target.host.clone(),
            threads: plan.threads,
            interrupted: run.is_interrupted,
            seconds: run.elapsed.as_secs_f64(),
            sent: tally.sent,
            admitted,
            refused,
            failed: tally.failures.values().sum(),
            rejected: answered - admitted - refused,
            answered_per_second: answered as f64 / run.elapsed.min(scenario.length()).as_secs_f64().max(1e-9),
            withheld: tally.withheld,
            gave_up: tally.gave_up,
            unsent: tally.unsent,
            failures: tally.failures.clone(),
            latency: Latencies::new(&tally.cells, scenario),
            limits: limits(&tally, &names),
            populations: keys.populations(),
            keys: keys.all(),
            course: tally
                .intervals
                .iter()
                .enumerate()
                .map(|(place, piece)| course(run, place, piece))
                .collect(),
            verification: judgement.map(|judgement| verification(judgement, shared)),
        }
    }

    /// True unless the referee has found something.
    pub(crate) fn is_clean(&self) -> bool {
        self.verification.as_ref().is_none_or(|verification| verification.findings.is_empty())
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        text::write(self)
    }

    /// A page in one file.
    pub(crate) fn html(&self) -> anyhow::Result<String> {
        html::write(self)
    }
}

/// The limits' names by their places.
fn limit_names(run: &Run<'_>) -> Vec<String> {
    let mut names = vec![String::new(); RULES];
    for (place, name) in [(BURST, "burst"), (HOUR, "hour"), (UNTOLD, "not told (reset)")] {
        if let Some(own) = names.get_mut(place) {
            name.clone_into(own);
        }
    }
    names.extend(run.plan.scenario.rules.iter().map(|rule| rule.name.clone()));
    names
}

fn limits(tally: &Tally, names: &[String]) -> Vec<LimitCount> {
    let count =
        |limit, by_kernel| tally.refusals.get(&Refuser { limit, by_kernel }).copied().unwrap_or_default();
    let counts = names.iter().enumerate().map(|(place, name)| LimitCount {
        limit: name.clone(),
        by_kernel: count(place, true),
        by_proxy: count(place, false),
    });
    counts.filter(|count| count.by_kernel + count.by_proxy > 0).collect()
}

fn course(run: &Run<'_>, place: usize, piece: &Interval) -> Piece {
    let length = run.piece.as_secs_f64();
    Piece {
        seconds: place as f64 * length,
        admitted_per_second: piece.admitted as f64 / length,
        refused_per_second: piece.refused as f64 / length,
        failed_per_second: piece.failed as f64 / length,
        p50_us: piece.latencies.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: piece.latencies.value_at_quantile(0.99) as f64 / 1e3,
    }
}

fn verification(judgement: Judgement, shared: &Shared) -> Verification {
    debug_assert_eq!(judgement.is_clean(), judgement.findings.is_empty());
    let found = |finding: Finding| Found {
        seconds: finding.at.saturating_sub(shared.start) as f64 / 1e9,
        key: shared.clients.keys.name(finding.key).to_owned(),
        finding,
    };
    Verification {
        judged: judgement.judged,
        unknown: judgement.unknown,
        wrongly_admitted: judgement.wrongly_admitted,
        wrongly_refused: judgement.wrongly_refused,
        wrong_answers: judgement.wrong_answers,
        findings: judgement.findings.into_iter().map(found).collect(),
    }
}

/// A whole number with its thousands apart: `49,712`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
