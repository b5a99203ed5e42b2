//! Reverse proxies side by side: what a request costs where it is allowed and where it is refused, with one key and with many.
//!
//! Every round measures each target once, and figures are compared within a round, so that drift of the machine hits both sides of
//! a comparison.

mod table;
mod target;

use super::peers::{Bed, Measured, Outcome, Subject};
use crate::interrupt;
use crate::load::Load;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;
use target::{Law, Target};

/// How often and how long.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    run: Duration,
    /// Keys where there are many.
    many: u32,
    /// A run in which many keys send the one request that is allowed.
    spend: Duration,
}

const FULL: Plan =
    Plan { rounds: 7, run: Duration::from_secs(4), many: 100_000, spend: Duration::from_secs(5) };
const QUICK: Plan =
    Plan { rounds: 2, run: Duration::from_secs(1), many: 2_000, spend: Duration::from_secs(1) };

/// Not recorded: connections to the origin and caches are made here.
const WARM_UP: Duration = Duration::from_secs(1);

/// Connections at once.
const CONNECTIONS: u32 = 64;

/// The rate of paced requests, as a share of what the slowest proxy serves.
const PACE: f64 = 0.5;

/// Requests a minute of the scant limits: the slowest that nginx has.
const SCANT: u32 = 1;

/// The share of refused requests that may be allowed after all: the peers allow one a minute of each key, which of many keys is a
/// good part of what a slow proxy serves.
const ALLOWED_OF_REFUSED: f64 = 0.25;

/// Runs in which each of many keys is to send the one request that is allowed.
const SPENDING_RUNS: usize = 10;

/// One run.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_second: f64,
    /// The proxy's CPU time a request, in microseconds; none where there is no proxy.
    cpu: Option<f64>,
    /// In microseconds.
    p99: f64,
}

/// What the rounds gave, for each target.
type Samples = Vec<(Target, Vec<Sample>)>;

/// Scenarios and the keys for them.
#[derive(Debug)]
struct Files<'a> {
    bed: &'a Bed,
    plan: Plan,
    keys: Vec<(Outcome, u32, PathBuf)>,
    /// Requests a second.
    pace: f64,
}

/// The tables.
pub(super) fn measure(peers: &[Subject], rounds: usize, quick: bool) -> Result<String> {
    let plan = if quick { QUICK } else { Plan { rounds, ..FULL } };
    let bed = Bed::set_up(peers, SCANT)?;
    let proxies: Vec<_> = bed.subjects().collect();
    let targets = target::all(&proxies, plan.many);
    let mut files = Files::lay_out(&bed, plan)?;
    files.warm_up(&targets)?;
    let samples = in_turns(&files, targets)?;
    table::all(&samples, &files, !quick)
}

fn in_turns(files: &Files<'_>, targets: Vec<Target>) -> Result<Samples> {
    let mut samples: Samples = targets.into_iter().map(|target| (target, Vec::new())).collect();
    for round in 1..=files.plan.rounds {
        eprintln!("bench: proxies, round {round} of {}", files.plan.rounds);
        for (target, figures) in &mut samples {
            figures.push(files.sample(*target, files.plan.run)?);
        }
        // Whoever was first is last in the next round.
        samples.reverse();
    }
    Ok(samples)
}

impl<'a> Files<'a> {
    fn lay_out(bed: &'a Bed, plan: Plan) -> Result<Self> {
        let mut files = Self { bed, plan, keys: Vec::new(), pace: 0.0 };
        for outcome in [Outcome::Allowed, Outcome::Refused] {
            for keys in [1, plan.many] {
                let target = Target { subject: Subject::Ratelimitd, outcome, law: Law::Closed, keys };
                let scenario = files.scenario(target, plan.run)?;
                files.keys.push((outcome, keys, bed.lay_in_keys(&scenario)?));
            }
        }
        Ok(files)
    }

    /// Looks at an answer of each target, has its connections and tables made, and finds the pace.
    fn warm_up(&mut self, targets: &[Target]) -> Result<()> {
        let mut slowest = f64::INFINITY;
        for target in targets.iter().filter(|target| target.law == Law::Closed) {
            let keys = std::fs::read_to_string(self.keys(*target)?)?;
            let key = keys.split_whitespace().nth(1).context("no key")?;
            self.bed.probe(target.subject, target.outcome, key).with_context(|| target.to_string())?;
            let measured = self.run(*target, WARM_UP)?;
            if target.outcome == Outcome::Refused && target.keys > 1 {
                self.spend(*target)?;
            }
            if target.outcome == Outcome::Allowed && target.subject != Subject::Origin {
                slowest = slowest.min(measured.report.answered_per_second);
            }
        }
        self.pace = (slowest * PACE).round();
        Ok(())
    }

    /// Has nearly each of many keys send the one request that is allowed.
    fn spend(&self, target: Target) -> Result<()> {
        for _ in 0..SPENDING_RUNS {
            interrupt::check()?;
            if check(target, &self.run(target, self.plan.spend)?).is_ok() {
                break;
            }
        }
        Ok(())
    }

    fn sample(&self, target: Target, run: Duration) -> Result<Sample> {
        interrupt::check()?;
        let measured = self.run(target, run)?;
        check(target, &measured).with_context(|| target.to_string())?;
        let Measured { report, cpu } = measured;
        Ok(Sample { per_second: report.answered_per_second, cpu, p99: report.latency.all.p99 })
    }

    fn run(&self, target: Target, run: Duration) -> Result<Measured> {
        let load = Load::new(&self.scenario(target, run)?).with_threads(1).with_keys(self.keys(target)?);
        self.bed.measure(target.subject, target.outcome, load).with_context(|| target.to_string())
    }

    fn keys(&self, target: Target) -> Result<&PathBuf> {
        let own =
            self.keys.iter().find(|(outcome, keys, _)| (*outcome, *keys) == (target.outcome, target.keys));
        own.map(|(.., file)| file).context("no keys were made for this")
    }

    fn scenario(&self, target: Target, run: Duration) -> Result<PathBuf> {
        let Target { outcome, law, keys, .. } = target;
        let seconds = run.as_secs();
        let arrivals = match law {
            Law::Closed => format!("{{ kind = \"closed\", seconds = {seconds} }}"),
            Law::Paced => format!("{{ kind = \"constant\", seconds = {seconds}, rate = {} }}", self.pace),
        };
        let per_hour = if outcome == Outcome::Allowed { 1_000_000_000 } else { SCANT };
        let text = format!(
            "description = \"{target}\"\n[expect]\nrules = false\n[tiers.{outcome}]\nrequests_per_hour = {per_hour}\n\
             burst_per_minute = 10000000\n[[population]]\nname = \"all\"\ntier = \"{outcome}\"\nkeys = {keys}\n\
             connections = {CONNECTIONS}\narrivals = [{arrivals}]\nrequests = [{{ path = \"/courses\" }}]\n"
        );
        self.bed.write(&format!("{outcome}-{keys}-{law:?}.toml"), &text)
    }
}

/// An error unless it is what was to be measured.
fn check(target: Target, measured: &Measured) -> Result<()> {
    let report = &measured.report;
    let right = match target.outcome {
        Outcome::Allowed => report.refused == 0,
        Outcome::Refused => report.admitted as f64 <= ALLOWED_OF_REFUSED * report.sent as f64,
    };
    if report.failed + report.rejected > 0 || !right {
        bail!(
            "not what is to be measured: {} admitted, {} refused, {} rejected, {} failed",
            report.admitted,
            report.refused,
            report.rejected,
            report.failed
        );
    }
    Ok(())
}
