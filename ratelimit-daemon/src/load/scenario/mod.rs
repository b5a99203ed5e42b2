//! A scenario: who sends what, when, and what the server has promised them.

mod decode;
mod quick;
mod ready;
#[cfg(test)]
mod tests;

pub(crate) use quick::Quick;
pub(crate) use ready::READY;

use super::arrival::Timeline;
use super::behaviour::Behaviour;
use super::endpoint::Endpoint;
use crate::document::{self, Problem, Problems};
use std::path::Path;
use std::time::Duration;

/// Everything that a scenario file says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// What it is for, in a sentence or two.
    pub(crate) description: String,
    /// Of everything that is drawn.
    pub(crate) seed: u64,
    pub(crate) tiers: Vec<Tier>,
    /// Limits of single endpoints, which an [`Endpoint`] names by its place here.
    pub(crate) rules: Vec<Rule>,
    pub(crate) populations: Vec<Population>,
    pub(crate) expect: Expect,
}

/// The limits of a key of this tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) name: String,
    /// Requests in any hour.
    pub(crate) requests_per_hour: u32,
    /// Capacity of the bucket, which refills in a minute.
    pub(crate) burst_per_minute: u32,
}

/// A limit of some endpoints, for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// Requests in any interval as long as `window`.
    pub(crate) limit: u32,
    pub(crate) window: Duration,
}

/// Keys of one tier whose clients behave alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Population {
    pub(crate) name: String,
    /// Place of its tier in the scenario's.
    pub(crate) tier: usize,
    pub(crate) keys: u32,
    pub(crate) choice: Choice,
    pub(crate) behaviour: Behaviour,
    /// At most so many at once.
    pub(crate) connections: u32,
    /// Whether a connection carries more than one request.
    pub(crate) keep_alive: bool,
    pub(crate) carrier: Carrier,
    pub(crate) timeline: Timeline,
    /// What is sent, each with its weight.
    pub(crate) mix: Vec<(Endpoint, f64)>,
}

/// Which of a population's keys sends the next request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Choice {
    /// Any, with the same probability.
    Uniform,
    /// The key of rank n with a probability in proportion to 1 / n^exponent.
    Zipf { exponent: f64 },
}

/// How a request presents its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    ApiKey,
    Bearer,
}

/// What the server has promised, for the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expect {
    /// Whether the endpoints' rules are in force.
    pub(crate) rules: bool,
    /// Whether answers have the rate limit fields and refusals the contract's body.
    pub(crate) headers: bool,
    /// Whether a connection that is reset in place of an answer is a refusal; else it is an error.
    pub(crate) reset_refuses: bool,
}

impl Scenario {
    /// Reads the file at `path`. All that is wrong with it is reported together.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        document::read(path, |top| decode::scenario(top, &name.unwrap_or_default()))
    }

    /// A ready scenario of this name, else the file at that path.
    pub(crate) fn find(name: &str) -> Result<Self, Problems> {
        if let Some((_, text)) = READY.iter().find(|(ready, _)| *ready == name) {
            return document::parse(Path::new(name), text, |top| decode::scenario(top, name));
        }
        if Path::new(name).exists() {
            return Self::load(Path::new(name));
        }
        let known: Vec<_> = READY.iter().map(|(ready, _)| *ready).collect();
        let text = format!(
            "no scenario and no file is named {name:?}; the ready scenarios are {}",
            known.join(", ")
        );
        Err(Problem::in_arguments(text).into())
    }

    /// How long requests are sent for.
    pub(crate) fn length(&self) -> Duration {
        self.populations.iter().map(|population| population.timeline.length()).max().unwrap_or_default()
    }

    /// Keys of all populations.
    pub(crate) fn keys(&self) -> usize {
        self.populations.iter().map(|population| population.keys as usize).sum()
    }

    /// Connections of all populations.
    pub(crate) fn connections(&self) -> u64 {
        self.populations.iter().map(|population| u64::from(population.connections)).sum()
    }

    /// The tier of a population.
    pub(crate) fn tier_of(&self, population: &Population) -> Option<&Tier> {
        self.tiers.get(population.tier)
    }
}
