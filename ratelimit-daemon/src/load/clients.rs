//! The clients of a run: which key sends next, with what, and whether it may.
//!
//! All workers share this without a lock: what is drawn is drawn by each for itself, and until when a key waits is one word.

use super::endpoint::{Endpoint, Rendered};
use super::keys::Keys;
use super::scenario::{Choice, Population, Scenario};
use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};
use rand_distr::weighted::WeightedIndex;
use rand_distr::{Distribution, Zipf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws of a key before a connection of a closed loop rests, where the keys that were drawn have to wait. In an open loop a
/// request is due for one client, so there one draw decides.
const DRAWS: usize = 8;

/// All of a scenario's populations.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) groups: Vec<Group>,
    pub(crate) keys: Keys,
    /// For each key, the instant before which its client sends nothing.
    holds: Vec<AtomicU64>,
}

/// A population, ready to send.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) population: Population,
    /// Where its keys start among all.
    first_key: usize,
    ranks: Option<Zipf<f64>>,
    mix: WeightedIndex<f64>,
    endpoints: Vec<Ready>,
}

/// An endpoint, ready to be asked.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Its place among all endpoints of the scenario.
    pub(crate) place: usize,
    pub(crate) rendered: Rendered,
    pub(crate) is_head: bool,
}

/// A request that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Job {
    /// When it is due.
    pub(crate) due: u64,
    pub(crate) group: usize,
    /// Among all keys.
    pub(crate) key: usize,
    /// Among its group's endpoints.
    pub(crate) endpoint: usize,
    /// From 0.
    pub(crate) attempt: u32,
}

impl Clients {
    pub(crate) fn new(scenario: &Scenario, keys: Keys, host: &str) -> Result<Self> {
        let (mut first_key, mut place) = (0, 0);
        let mut groups = Vec::new();
        for population in &scenario.populations {
            groups.push(Group::new(population, first_key, &mut place, host)?);
            first_key += population.keys as usize;
        }
        let holds = (0..first_key).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { groups, keys, holds })
    }

    /// A request of this group that is due at `due` and may be sent at `now`; else the instant at which one of the drawn keys
    /// may send again.
    pub(crate) fn draw(&self, group: usize, due: u64, now: u64, random: &mut SmallRng) -> Result<Job, u64> {
        let Some(drawn) = self.groups.get(group) else { return Err(u64::MAX) };
        let draws = if drawn.population.timeline.is_closed() { DRAWS } else { 1 };
        let mut earliest = u64::MAX;
        for _ in 0..draws {
            let key = drawn.first_key + drawn.rank(random);
            let hold = self.hold(key);
            if hold <= now {
                return Ok(Job { due, group, key, endpoint: drawn.mix.sample(random), attempt: 0 });
            }
            earliest = earliest.min(hold);
        }
        Err(earliest)
    }

    pub(crate) fn hold(&self, key: usize) -> u64 {
        self.holds.get(key).map_or(0, |hold| hold.load(Ordering::Relaxed))
    }

    /// Has the client of `key` send nothing before `until`, if it was not to wait longer already.
    pub(crate) fn hold_until(&self, key: usize, until: u64) {
        if let Some(hold) = self.holds.get(key) {
            hold.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// The endpoint that a request asks for.
    pub(crate) fn endpoint(&self, job: &Job) -> Option<&Ready> {
        self.groups.get(job.group)?.endpoints.get(job.endpoint)
    }

    /// Writes a request.
    pub(crate) fn write(&self, job: &Job, output: &mut Vec<u8>, random: &mut SmallRng) {
        if let (Some(ready), Some(key)) = (self.endpoint(job), self.keys.text(job.key)) {
            ready.rendered.write(output, key, random.next_u64());
        }
    }
}

impl Group {
    fn new(population: &Population, first_key: usize, place: &mut usize, host: &str) -> Result<Self> {
        let name = &population.name;
        let ranks = match population.choice {
            Choice::Uniform => None,
            Choice::Zipf { exponent } => Some(
                Zipf::new(f64::from(population.keys), exponent)
                    .with_context(|| format!("population {name}: zipf = {exponent}"))?,
            ),
        };
        let mix = WeightedIndex::new(population.mix.iter().map(|(_, weight)| weight))
            .with_context(|| format!("population {name}: the weights of its requests"))?;
        let ready = |(endpoint, _): &(Endpoint, f64)| {
            let rendered = Rendered::new(endpoint, host, population.carrier, population.keep_alive);
            *place += 1;
            Ready { place: *place - 1, rendered, is_head: endpoint.method == "HEAD" }
        };
        let endpoints = population.mix.iter().map(ready).collect();
        Ok(Self { population: population.clone(), first_key, ranks, mix, endpoints })
    }

    /// A key of the group, from 0.
    fn rank(&self, random: &mut SmallRng) -> usize {
        let most = self.population.keys.max(1);
        match &self.ranks {
            None => random.random_range(0..most) as usize,
            // Ranks count from 1.
            Some(ranks) => (ranks.sample(random) as usize).saturating_sub(1).min(most as usize - 1),
        }
    }
}
