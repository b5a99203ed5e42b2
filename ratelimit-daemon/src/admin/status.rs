//! `GET /status`: what the daemon is, what it is attached to, how it fares.

use crate::clock;
use crate::config::{Action, Config, Mode};
use crate::control::Control;
use crate::kernel::Attached;
use crate::policy::Policy;
use anyhow::Result;
use ratelimit_common::SECOND_NS;
use ratelimit_common::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The answer to `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The daemon's own, which may be another than the asking program's.
    pub(crate) version: String,
    pub(crate) process_id: u32,
    pub(crate) uptime_seconds: u64,
    pub(crate) mode: Mode,
    pub(crate) action: Action,
    /// Where the proxy listens.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) upstreams: Vec<UpstreamState>,
    /// The interfaces that the kernel program is attached to.
    pub(crate) interfaces: Vec<Attached>,
    /// The ports that the kernel program judges.
    pub(crate) ports: Vec<u16>,
    pub(crate) keys: KeyNumbers,
    /// What the kernel program has found since it was loaded; nothing where there is none.
    pub(crate) kernel: Option<Counters>,
}

/// An upstream, and whether requests are sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamState {
    pub(crate) address: String,
    pub(crate) is_up: bool,
}

/// How many keys there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyNumbers {
    pub(crate) all: usize,
    pub(crate) disabled: usize,
    /// Of those that are not disabled.
    pub(crate) expired: usize,
    /// `kernel.max_keys`.
    pub(crate) room: u32,
}

/// How often the kernel program found what, over all interfaces, by the outcome's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Requests by their verdict.
    pub(crate) verdicts: BTreeMap<String, u64>,
    /// Packets that were not judged, by the reason.
    pub(crate) skips: BTreeMap<String, u64>,
}

impl Status {
    /// As it is now. Error: the kernel's counters cannot be read.
    pub(crate) fn of(control: &Control) -> Result<Self> {
        let config = control.config();
        let upstreams = control.upstreams.states();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_id: std::process::id(),
            uptime_seconds: clock::now().saturating_sub(control.started) / SECOND_NS,
            mode: config.mode,
            action: config.action,
            listeners: config.proxy.listen.clone(),
            upstreams: upstreams
                .map(|(address, is_up)| UpstreamState { address: address.to_owned(), is_up })
                .collect(),
            interfaces: control.enforcement.attached().to_vec(),
            ports: ports(config),
            keys: KeyNumbers::of(&control.enforcement.policy().load(), config.kernel.max_keys),
            kernel: control.enforcement.counters()?.map(Counters::of),
        })
    }
}

fn ports(config: &Config) -> Vec<u16> {
    if config.kernel.interfaces.is_empty() { Vec::new() } else { config.kernel.ports.clone() }
}

impl KeyNumbers {
    fn of(policy: &Policy, room: u32) -> Self {
        let count =
            |is_meant: fn(&crate::policy::Key) -> bool| policy.keys().filter(|key| is_meant(key)).count();
        Self {
            all: count(|_| true),
            disabled: count(|key| !key.enabled),
            expired: count(|key| key.enabled && key.has_expired_now()),
            room,
        }
    }
}

impl Counters {
    pub(crate) fn of(counters: Vec<(Outcome, u64)>) -> Self {
        let (verdicts, skips): (Vec<_>, Vec<_>) =
            counters.into_iter().partition(|(outcome, _)| outcome.is_verdict());
        let named = |counters: Vec<(Outcome, u64)>| {
            counters.into_iter().map(|(outcome, count)| (outcome.name().to_owned(), count)).collect()
        };
        Self { verdicts: named(verdicts), skips: named(skips) }
    }
}
