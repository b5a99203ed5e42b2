//! `ratelimitd load`: real load, honest latency, and proof that the limits held.
//!
//! A [`scenario`] says who sends what. Each [`worker`] is a thread with connections of its own that sends what is due by the
//! [`arrival`] law and settles what comes back; nothing between them is locked. In the end their tallies are added up to a
//! [`report`], and with `--verify` a reference model looks at every single request.
#![forbid(unsafe_code)]

mod arrival;
mod behaviour;
mod clients;
mod connection;
mod endpoint;
pub(crate) mod flood;
mod interrupt;
pub(crate) mod keys;
mod process_limits;
mod progress;
pub(crate) mod report;
mod response;
pub(crate) mod scenario;
mod settle;
mod shared;
mod tally;
mod target;
mod verify;
mod worker;

pub(crate) use keys::Source;
pub(crate) use target::Target;

use crate::clock;
use anyhow::{Context, Result, anyhow};
use clients::Clients;
use keys::Keys;
use progress::Progress;
use report::Report;
use scenario::Scenario;
use shared::{Board, Shared};
use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use tally::Tally;
use worker::Worker;

/// Until all threads are there, nobody starts.
const LEAD: Duration = Duration::from_millis(20);

/// Pieces of a run of which a report shows the course.
const PIECES: u64 = 120;

const SHORTEST_PIECE: Duration = Duration::from_millis(250);

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) target: Target,
    pub(crate) keys: Source,
    pub(crate) threads: usize,
    /// Longest wait for an answer.
    pub(crate) timeout: Duration,
    pub(crate) verify: bool,
}

/// Sends everything, and tells what came of it; of a run that was interrupted, what came of it so far.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let scenario = &plan.scenario;
    process_limits::check(scenario.connections(), plan.target.address)?;
    plan.target.reach()?;
    let keys = Keys::provide(&plan.keys, scenario)?;
    if let Some(probe) = keys.probe() {
        plan.target.wait_until_known(probe)?;
    }
    let piece = piece(scenario.length());
    let limits = settle::RULES + scenario.rules.len();
    let tally = || Tally::new(scenario.keys(), limits, piece.as_nanos() as u64);
    let mut shared = shared(plan, keys)?;
    shared.start = clock::now() + LEAD.as_nanos() as u64;
    let (tally, is_interrupted) = send(&shared, scenario, tally)?;
    let elapsed = Duration::from_nanos(clock::now().saturating_sub(shared.start));
    let run = report::Run { plan, shared: &shared, elapsed, piece, is_interrupted };
    Ok(Report::new(&run, tally))
}

fn piece(length: Duration) -> Duration {
    (length / PIECES as u32).max(SHORTEST_PIECE)
}

fn shared(plan: &Plan, keys: Keys) -> Result<Shared> {
    let scenario = &plan.scenario;
    let endpoints = scenario.populations.iter().flat_map(|population| &population.mix);
    let rule = |place: usize| scenario.rules.get(place).map(|rule| (place, rule.limit));
    let rules = endpoints.map(|(endpoint, _)| endpoint.rule.filter(|_| scenario.expect.rules).and_then(rule));
    let rules = rules.collect();
    Ok(Shared {
        clients: Clients::new(scenario, keys, &plan.target.host)?,
        server: plan.target.address,
        workers: plan.threads,
        seed: scenario.seed,
        start: 0,
        rules,
        timeout: plan.timeout.as_nanos() as u64,
        reset_refuses: scenario.expect.reset_refuses,
        verify: plan.verify,
        stop: AtomicBool::new(false),
        boards: (0..plan.threads).map(|_| Board::default()).collect(),
    })
}

/// Runs the workers; true if they were interrupted.
fn send(shared: &Shared, scenario: &Scenario, tally: impl Fn() -> Tally) -> Result<(Tally, bool)> {
    std::thread::scope(|scope| {
        let start = |index| {
            let worker = Worker::new(shared, index, tally())?;
            let thread = std::thread::Builder::new().name(format!("load-{index}"));
            thread.spawn_scoped(scope, move || worker.run()).context("cannot start a thread")
        };
        let workers: Vec<_> = (0..shared.workers).map(start).collect::<Result<_>>()?;
        let mut progress = Progress::new(scenario);
        let is_done = || workers.iter().all(ScopedJoinHandle::is_finished);
        let is_interrupted = interrupt::until_done(&shared.stop, is_done, || progress.show(shared))?;
        drop(progress);
        let mut sum = tally();
        for worker in workers {
            sum.merge(worker.join().map_err(|_| anyhow!("a worker panicked"))??);
        }
        Ok((sum, is_interrupted))
    })
}
