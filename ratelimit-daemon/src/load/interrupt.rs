//! Waiting for threads, and ending them early when the user asks for it.

use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Calls `look` again and again until `is_done`. SIGINT and SIGTERM set `stop`, which has to make it done; true if one came.
pub(super) fn until_done(
    stop: &AtomicBool,
    is_done: impl Fn() -> bool,
    mut look: impl FnMut(),
) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let mut tick = tokio::time::interval(LOOK_INTERVAL);
        let mut is_interrupted = false;
        while !is_done() {
            tokio::select! {
                _ = interrupt.recv() => is_interrupted = true,
                _ = terminate.recv() => is_interrupted = true,
                _ = tick.tick() => look(),
            }
            if is_interrupted {
                stop.store(true, Ordering::Relaxed);
            }
        }
        Ok(is_interrupted)
    })
}
