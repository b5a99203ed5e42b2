//! Two reverse proxies side by side: nginx with `limit_req`, and ratelimitd with the proxy alone.
//!
//! Either has one worker, pinned to one core; wrk and the origin, which is another nginx, share a second core.
//! Every round measures each target once, and figures are compared within a round, so that drift of the
//! machine hits both sides of a comparison.

mod bed;
mod cores;
mod load;
mod probe;
mod server;
mod site;
mod table;
mod target;

use crate::interrupt;
use anyhow::{Context, Result};
use bed::Bed;
use std::time::Duration;
use target::{TARGETS, Target};

/// How often and how long.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    run: Duration,
}

const FULL: Plan = Plan { rounds: 7, run: Duration::from_secs(4) };
const QUICK: Plan = Plan { rounds: 3, run: Duration::from_secs(1) };

/// Not recorded: connections to the origin and caches are made here.
const WARM_UP: Duration = Duration::from_secs(1);

/// One run of wrk.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_second: f64,
    /// The proxy's CPU time a request, in microseconds; none where there is no proxy.
    cpu: Option<f64>,
}

/// What the rounds gave, for each of [`TARGETS`].
type Samples = Vec<(Target, Vec<Sample>)>;

/// The tables.
pub(super) fn measure(quick: bool) -> Result<String> {
    let plan = if quick { QUICK } else { FULL };
    let bed = Bed::set_up()?;
    for target in TARGETS {
        sample(&bed, target, WARM_UP)?;
    }
    let samples = rounds(&bed, plan)?;
    Ok(table::all(&samples, &bed, plan))
}

fn rounds(bed: &Bed, plan: Plan) -> Result<Samples> {
    let mut samples: Samples = TARGETS.map(|target| (target, Vec::new())).to_vec();
    for round in 1..=plan.rounds {
        eprintln!("bench: proxies, round {round} of {}", plan.rounds);
        for (target, figures) in &mut samples {
            figures.push(sample(bed, *target, plan.run)?);
        }
        // Whoever was first is last in the next round.
        samples.reverse();
    }
    Ok(samples)
}

fn sample(bed: &Bed, target: Target, run: Duration) -> Result<Sample> {
    interrupt::check()?;
    bed.measure(target, run).with_context(|| format!("{target}"))
}
