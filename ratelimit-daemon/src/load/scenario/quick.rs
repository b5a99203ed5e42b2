//! A scenario of one population from the command line: what a load generator is mostly asked for.

use super::{Carrier, Choice, Expect, Population, Scenario, Tier};
use crate::document::{Problem, Problems};
use crate::load::arrival::{Law, Phase, Timeline};
use crate::load::behaviour::Behaviour;
use crate::load::endpoint::{Body, Endpoint};
use std::time::Duration;

/// What the command line says in place of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Quick {
    pub(crate) path: String,
    pub(crate) connections: u32,
    pub(crate) seconds: f64,
    /// Requests a second; `None` for a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) poisson: bool,
    pub(crate) keep_alive: bool,
    /// Keys that share the load evenly.
    pub(crate) keys: u32,
}

impl Quick {
    pub(crate) fn scenario(self) -> Result<Scenario, Problems> {
        let Self { path, connections, seconds, rate, poisson, keep_alive, keys } = self;
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text =
                format!("--path: {path:?} cannot be sent; allowed: visible ASCII that starts with '/'");
            return Err(Problem::in_arguments(text).into());
        }
        let law = match rate {
            None => Law::Closed,
            Some(rate) if poisson => Law::Poisson { rate },
            Some(rate) => Law::Constant { rate },
        };
        let endpoint = Endpoint {
            name: format!("GET {path}"),
            method: "GET".into(),
            path,
            rule: None,
            body: Body::Nothing,
        };
        let tier = Tier { name: "professional".into(), requests_per_hour: 1_000, burst_per_minute: 100 };
        let population = Population {
            name: "all".into(),
            tier: 0,
            keys,
            choice: Choice::Uniform,
            behaviour: Behaviour::Hammer,
            connections,
            keep_alive,
            carrier: Carrier::ApiKey,
            timeline: Timeline(vec![Phase { length: Duration::from_secs_f64(seconds), law }]),
            mix: vec![(endpoint, 1.0)],
        };
        Ok(Scenario {
            name: "command line".into(),
            description: "What the command line says.".into(),
            seed: 1,
            tiers: vec![tier],
            rules: Vec::new(),
            populations: vec![population],
            expect: Expect { rules: false, headers: true, reset_refuses: true },
        })
    }
}
