//! The dashboard: what happened and what happens, in a browser, and the same as JSON and for Prometheus.
//!
//! It has a thread of its own, which yields to all others, and never touches what the proxy works with: it reads the
//! [record](crate::record), and asks the control loop. What many watch is made once a second for all of them, and whoever
//! reads slowly misses what he did not read.
#![forbid(unsafe_code)]

mod api;
mod assets;
mod endpoints;
mod guard;
mod keys;
mod listener;
mod live;
mod overview;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use listener::Listener;
pub(crate) use overview::{NEAR, cpu_seconds};

use crate::admin::Line;
use crate::control::{Control, SharedRecord};
use crate::limiter::Limiter;
use bytes::Bytes;
use guard::Guard;
use std::sync::Arc;
use tokio::sync::watch;

/// What the answers are made of.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) line: Line,
    pub(crate) record: SharedRecord,
    pub(crate) limiter: Limiter,
    guard: Arc<Guard>,
    /// The last second, for all who watch.
    live: watch::Sender<Bytes>,
}

impl Desk {
    /// A desk that asks `control` over `line`, and lets in whom `guard` does.
    fn new(control: &Control, line: Line, guard: Guard) -> Self {
        let (record, limiter) = (control.record.clone(), control.enforcement.limiter().clone());
        Self { line, record, limiter, guard: Arc::new(guard), live: watch::Sender::default() }
    }
}
