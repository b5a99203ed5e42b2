//! Somebody who sends requests of one key, one after the other, while something else happens.

use crate::PATH;
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};
use xtask::client::{Client, Request};
use xtask::lab::Door;
use xtask::tally::Tally;

/// From an answer to the next request.
const PACE: Duration = Duration::from_millis(4);

/// How he connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// He keeps his connection while the server does.
    Kept,
    /// Each request has one of its own.
    OneEach,
}

#[derive(Debug)]
pub(crate) struct Sender {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tally>>,
}

impl Sender {
    pub(crate) fn start(door: Door, server: SocketAddr, key: &str, connections: Connections) -> Self {
        let (key, is_over) = (key.to_owned(), Arc::<AtomicBool>::default());
        let end = is_over.clone();
        let thread = std::thread::spawn(move || door.inside(|| send(server, &key, connections, &end)));
        Self { is_over, thread }
    }

    /// What became of all his requests.
    pub(crate) fn stop(self) -> Result<Tally> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| bail!("a sender panicked"))
    }
}

fn send(server: SocketAddr, key: &str, connections: Connections, is_over: &AtomicBool) -> Result<Tally> {
    let headers = [("X-API-Key", key)];
    let (mut client, mut tally) = (Client::new(server), Tally::default());
    while !is_over.load(Ordering::Relaxed) {
        if connections == Connections::OneEach {
            client = Client::new(server);
        }
        let sent = Instant::now();
        let outcome = client.send(&Request::get(PATH, &headers))?;
        tally.record(sent, Instant::now(), outcome);
        sleep(PACE);
    }
    Ok(tally)
}
