//! What the workers of a run share, none of it behind a lock.

use super::clients::{Clients, Job};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What all workers read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clients: Clients,
    pub(crate) server: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    /// When the run starts, on the monotonic clock.
    pub(crate) start: u64,
    /// For each endpoint of the scenario, the place and the limit of its rule, if one is in force.
    pub(crate) rules: Vec<Option<(usize, u32)>>,
    /// Longest wait for an answer, in nanoseconds.
    pub(crate) timeout: u64,
    pub(crate) reset_refuses: bool,
    pub(crate) verify: bool,
    pub(crate) stop: AtomicBool,
    /// What each worker has counted so far, for whoever wants to show it.
    pub(crate) boards: Vec<Board>,
}

impl Shared {
    /// The place and the limit of the rule that a request falls under.
    pub(super) fn rule_of(&self, job: &Job) -> Option<(usize, u32)> {
        self.rules.get(self.clients.endpoint(job)?.place).copied().flatten()
    }
}

/// One worker's counts so far. On a cache line of its own: only its worker writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Board {
    pub(crate) admitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}
