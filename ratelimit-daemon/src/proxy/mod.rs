//! The reverse proxy: judges what needs HTTP, tells clients how their limits stand, forwards the rest.
//!
//! Each worker is a thread with a runtime, listeners and upstream connections of its own. Workers share what
//! never changes under them (the configuration), what is swapped whole (the policy) and what is atomic (the
//! buckets, the flows, the count of connections); the one lock on a request's way is its key's own.
//!
//! A client's connection is one task and a request on it costs no other: [`conversation`] reads heads and judges
//! them ([`admission`]), [`exchange`] sends a request over a connection that it borrows from the worker's
//! [`upstream`] pool, while [`response`] passes back what comes. Heads are parsed where they lie ([`head`]), looked
//! through once ([`survey`]) and written anew ([`forward`]), field by field in the sender's spelling; bodies are
//! framed anew ([`framing`], [`relay`]). So nothing ambiguous passes, and a request allocates nothing once its
//! connection's buffers have grown.
#![forbid(unsafe_code)]

mod admission;
mod bulk;
mod connection;
mod conversation;
mod date;
mod exchange;
mod forward;
mod framing;
mod head;
mod headers;
mod health;
mod held;
mod identify;
mod listen;
mod pace;
mod provenance;
mod proxy_protocol;
mod refusal;
mod relay;
mod response;
mod role;
mod room;
mod sample;
mod survey;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;
mod worker;

pub use health::Upstreams;
pub(crate) use listen::take_over;
pub use listen::{Listeners, bind};

use crate::config::Config;
use crate::flows::Flows;
use crate::limiter::Limiter;
use crate::policy::Policy;
use crate::record::Report;
use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use tokio::sync::watch;
use tracing::error;
use worker::{Common, Worker};

/// What every worker works with.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The keys and their limits; a request sees one policy from beginning to end.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The judge.
    pub limiter: Limiter,
    /// What the kernel has charged.
    pub flows: Flows,
    /// The upstreams, and how they are.
    pub upstreams: Upstreams,
    /// The configuration.
    pub config: Arc<Config>,
    /// Where each thread reports what it has counted, if anybody listens.
    pub reports: Option<SyncSender<Report>>,
}

/// Serves on `listeners` until `shutdown` becomes true and the open requests are answered or the drain
/// timeout is over. A thread that fails ends the others in the same way.
pub fn serve(listeners: Listeners, shared: Shared, shutdown: watch::Receiver<bool>) -> Result<()> {
    let common = Arc::new(Common::new(&shared.config, listeners.are_kept)?);
    let mut threads = Vec::new();
    for (index, listeners) in listeners.into_workers().into_iter().enumerate() {
        let (shared, common, shutdown) = (shared.clone(), common.clone(), shutdown.clone());
        let thread = thread::Builder::new()
            .name(format!("proxy-{index}"))
            .spawn(move || {
                Worker::run(&shared, &common, index, listeners, shutdown)
                    .inspect_err(|error| error!("a proxy thread failed; the others end too: {error:#}"))
            })
            .context("cannot start a proxy thread; allow the service more threads")?;
        threads.push(thread);
    }
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a proxy thread panicked"))??;
    }
    Ok(())
}
