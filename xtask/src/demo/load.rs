//! Sending many requests at once, from the client's namespace.

use crate::client::{Client, Outcome, Request};
use crate::interrupt;
use crate::lab::Namespace;
use crate::tally::Tally;
use anyhow::{Result, anyhow};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

const DRAW: Duration = Duration::from_millis(100);

/// When a sender stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After this many requests, of all connections together.
    Count(u64),
    /// At this instant.
    Time(Instant),
}

/// Requests with one key, as fast as answers come, or at a pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    pub(super) server: SocketAddr,
    pub(super) key: &'a str,
    pub(super) connections: usize,
    pub(super) until: Until,
    /// Time between the starts of two requests of a connection.
    pub(super) pace: Duration,
}

/// What has happened so far, for a line that changes while it does.
#[derive(Debug, Default)]
struct Board {
    sent: AtomicU64,
    admitted: AtomicU64,
}

/// Sends all loads at once; a tally for each, in order.
pub(super) fn send(client: &Namespace, loads: &[Load<'_>]) -> Result<Vec<Tally>> {
    let board = &Board::default();
    let issued: Vec<_> = loads.iter().map(|_| AtomicU64::new(0)).collect();
    client.inside(|| {
        thread::scope(|scope| {
            let senders: Vec<Vec<_>> = (loads.iter().zip(&issued))
                .map(|(load, issued)| {
                    let start = |_| scope.spawn(move || work(load, issued, board));
                    (0..load.connections).map(start).collect()
                })
                .collect();
            board.show(&senders);
            senders.into_iter().map(gather).collect()
        })
    })
}

fn gather(senders: Vec<ScopedJoinHandle<'_, Result<Tally>>>) -> Result<Tally> {
    let mut tally = Tally::default();
    for sender in senders {
        tally.merge(sender.join().map_err(|_| anyhow!("a sender panicked"))??);
    }
    Ok(tally)
}

fn work(load: &Load<'_>, issued: &AtomicU64, board: &Board) -> Result<Tally> {
    let headers = [("X-API-Key", load.key)];
    let request = Request::get("/courses?per_page=5", &headers);
    let mut client = Client::new(load.server);
    let mut tally = Tally::default();
    let mut due = Instant::now();
    while load.goes_on(issued) {
        interrupt::check()?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += load.pace;
        let sent = Instant::now();
        let outcome = client.send(&request)?;
        board.count(&outcome);
        tally.record(sent, Instant::now(), outcome);
    }
    Ok(tally)
}

impl Load<'_> {
    fn goes_on(&self, issued: &AtomicU64) -> bool {
        match self.until {
            Until::Count(count) => issued.fetch_add(1, Ordering::Relaxed) < count,
            Until::Time(end) => Instant::now() < end,
        }
    }
}

impl Board {
    fn count(&self, outcome: &Outcome) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if matches!(outcome, Outcome::Answered(answer) if answer.status < 300) {
            self.admitted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Draws the line until all senders are done; on a terminal only.
    fn show<T>(&self, senders: &[Vec<ScopedJoinHandle<'_, T>>]) {
        if !std::io::stdout().is_terminal() {
            return;
        }
        while !senders.iter().flatten().all(ScopedJoinHandle::is_finished) {
            let (sent, admitted) = (self.sent.load(Ordering::Relaxed), self.admitted.load(Ordering::Relaxed));
            print!("\r  {sent} sent, {admitted} admitted\x1b[K");
            // A line that is not drawn is no failure.
            let _ = std::io::stdout().flush();
            thread::sleep(DRAW);
        }
        print!("\r\x1b[K");
    }
}
