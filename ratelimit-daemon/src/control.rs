//! What the daemon's one control loop works on, between signals, looks and operators' questions.
#![forbid(unsafe_code)]

use crate::admin::reload::Reloaded;
use crate::clock;
use crate::config::Config;
use crate::enforcement::Enforcement;
use crate::key_watch::KeyWatch;
use crate::proxy::Upstreams;
use crate::service;
use anyhow::Result;
use tracing::error;

/// The daemon's state, as its control loop has it.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) enforcement: Enforcement,
    pub(crate) watch: KeyWatch,
    /// How the upstreams are; there are none where the kernel enforces alone.
    pub(crate) upstreams: Upstreams,
    /// When it started: see [`clock::now`].
    pub(crate) started: u64,
}

impl Control {
    /// Of a daemon that starts now.
    pub(crate) fn new(enforcement: Enforcement, watch: KeyWatch) -> Self {
        let upstreams = Upstreams::new(watch.config());
        Self { enforcement, watch, upstreams, started: clock::now() }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &Config {
        self.watch.config()
    }

    /// What is to be seen to every second.
    pub(crate) fn look(&mut self) {
        self.enforcement.attend_to_kernel();
        self.enforcement.policy().load().tidy(clock::now());
        let results = [self.enforcement.expire(), self.watch.follow(&mut self.enforcement)];
        results.iter().filter_map(|result| result.as_ref().err()).for_each(report);
    }

    /// Reads tiers, rules and keys again; all is taken over or nothing. The log tells of a failure.
    pub(crate) fn reload(&mut self) -> Result<Reloaded> {
        service::tell_reloading();
        let reloaded = self.watch.reload(&mut self.enforcement).inspect_err(report);
        service::tell_reloaded();
        reloaded
    }
}

/// What is in force stays in force when something new is wrong.
fn report(error: &anyhow::Error) {
    error!("not taken over: {error:#}");
}
