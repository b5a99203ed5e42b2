//! What the daemon's one control loop works on, between signals, looks and operators' questions.
#![forbid(unsafe_code)]

use crate::admin::reload::Reloaded;
use crate::clock;
use crate::config::Config;
use crate::enforcement::Enforcement;
use crate::key_watch::KeyWatch;
use crate::proxy::Upstreams;
use crate::record::{Record, Report};
use crate::service;
use anyhow::Result;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::error;

/// Reports that wait for the control loop. Threads whose reports find no room send them a second later.
const WAITING_REPORTS: usize = 1_024;

/// The daemon's state, as its control loop has it.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) enforcement: Enforcement,
    pub(crate) watch: KeyWatch,
    /// How the upstreams are; there are none where the kernel enforces alone.
    pub(crate) upstreams: Upstreams,
    /// When it started: see [`clock::now`].
    pub(crate) started: u64,
    /// What happened. Shared with those who show it, and with nobody else.
    pub(crate) record: SharedRecord,
    /// What the proxy's threads report, and where they do.
    reports: (SyncSender<Report>, Receiver<Report>),
}

/// The record, for the control loop that writes it and those who read it.
#[derive(Clone, Debug)]
pub(crate) struct SharedRecord(Arc<Mutex<Record>>);

impl SharedRecord {
    /// Nobody holds it for long: what is asked of it at once is bounded.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Record> {
        // A record in which a second is half counted is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Of a daemon that starts now.
    pub(crate) fn new(enforcement: Enforcement, watch: KeyWatch) -> Self {
        let upstreams = Upstreams::new(watch.config());
        let started = clock::now();
        let mut record = Record::new(started, clock::unix());
        record.begin(&enforcement.policy().load_full(), enforcement.limiter());
        let record = SharedRecord(Arc::new(Mutex::new(record)));
        Self { enforcement, watch, upstreams, started, record, reports: sync_channel(WAITING_REPORTS) }
    }

    /// Where the proxy's threads report what they have counted.
    pub(crate) fn reports(&self) -> SyncSender<Report> {
        self.reports.0.clone()
    }

    /// Takes up what has happened since the last time.
    pub(crate) fn take_record(&self) {
        let policy = self.enforcement.policy().load_full();
        let reports = self.reports.1.try_iter();
        self.record.lock().take(&policy, self.enforcement.limiter(), reports, clock::now());
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &Config {
        self.watch.config()
    }

    /// What is to be seen to every second.
    pub(crate) fn look(&mut self) {
        self.take_record();
        self.enforcement.attend_to_kernel();
        self.enforcement.policy().load().tidy(clock::now());
        let results = [self.enforcement.expire(), self.watch.follow(&mut self.enforcement)];
        results.iter().filter_map(|result| result.as_ref().err()).for_each(report);
    }

    /// Reads tiers, rules and keys again; all is taken over or nothing. The log tells of a failure.
    pub(crate) fn reload(&mut self) -> Result<Reloaded> {
        service::tell_reloading();
        // Before a key goes, and its counters with it.
        self.take_record();
        let reloaded = self.watch.reload(&mut self.enforcement).inspect_err(report);
        service::tell_reloaded();
        reloaded
    }
}

/// What is in force stays in force when something new is wrong.
fn report(error: &anyhow::Error) {
    error!("not taken over: {error:#}");
}
