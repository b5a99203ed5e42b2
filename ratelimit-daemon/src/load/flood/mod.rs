//! `ratelimitd load flood`: more packets than sockets can send, to load the kernel program and nothing else.
//!
//! It is a weapon, so it has no aim: it makes two network namespaces and a wire between them, starts a ratelimitd at one end,
//! floods it from the other, and takes everything away again. There is no option for another network.

mod frames;
mod handshake;
mod host;
mod network;
mod sender;

use super::interrupt;
use anyhow::{Context, Result, anyhow};
use frames::Frames;
use host::Host;
use network::Network;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Outcomes of the kernel program that answer a request.
const VERDICTS: [&str; 4] = ["admitted", "refused_burst", "refused_blocked", "observed"];

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Segments with a request of a key over its limits, on established connections
    Requests,
    /// Segments that open a connection
    Syn,
    /// Segments without payload, of no connection
    Ack,
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) kind: Kind,
    pub(crate) length: Duration,
    /// Connections, or ports where there are none.
    pub(crate) connections: u16,
    pub(crate) threads: usize,
    /// What the kernel program does with a refused request: `action` of a configuration.
    pub(crate) action: &'a str,
}

/// What came of it. Its JSON is these fields by these names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    kind: Kind,
    action: String,
    threads: usize,
    interrupted: bool,
    seconds: f64,
    sent: u64,
    sent_per_second: f64,
    /// Requests to which the kernel program has given an answer.
    judged: u64,
    judged_per_second: f64,
    refused: u64,
    refused_per_second: f64,
    /// What the kernel program found, by the outcome's name.
    found: BTreeMap<String, u64>,
}

/// Makes the network, floods it for the time of the plan, and removes it.
pub(crate) fn run(plan: &Plan<'_>) -> Result<Report> {
    let network = Network::make()?;
    let mut host = Host::start(&network, plan.action)?;
    let frames = network.inside(network.outside(), || Frames::make(plan, &host))?;
    let (sent, elapsed, interrupted) = send(plan, &network, &frames)?;
    let found = host.stop()?;
    let sum = |names: &[&str]| names.iter().filter_map(|name| found.get(*name)).sum::<u64>();
    let refused = sum(VERDICTS.get(1..).unwrap_or_default());
    let (judged, seconds) = (sum(&VERDICTS), elapsed.as_secs_f64());
    let per_second = |count: u64| count as f64 / seconds.max(1e-9);
    Ok(Report {
        kind: plan.kind,
        action: plan.action.to_owned(),
        threads: plan.threads,
        interrupted,
        seconds,
        sent,
        sent_per_second: per_second(sent),
        judged,
        judged_per_second: per_second(judged),
        refused,
        refused_per_second: per_second(refused),
        found,
    })
}

fn send(plan: &Plan<'_>, network: &Network, frames: &Frames) -> Result<(u64, Duration, bool)> {
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let end = start + plan.length;
    std::thread::scope(|scope| {
        let sender = || network.inside(network.outside(), || sender::send(frames, end, &stop));
        let senders: Vec<_> = (0..plan.threads).map(|_| scope.spawn(sender)).collect();
        let is_done = || senders.iter().all(ScopedJoinHandle::is_finished);
        let is_interrupted = interrupt::until_done(&stop, is_done, || ())?;
        let elapsed = start.elapsed();
        let mut sent = 0;
        for sender in senders {
            sent += sender.join().map_err(|_| anyhow!("a sender panicked"))?.context("cannot flood")?;
        }
        Ok((sent, elapsed, is_interrupted))
    })
}

impl Report {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let count = |number: f64| super::report::thousands(number);
        let mut text = String::new();
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "flood of {:?}, action {}: {:.1} s, {} thread(s){interrupted}\n",
            self.kind, self.action, self.seconds, self.threads
        );
        let rows = [
            ("sent", self.sent, self.sent_per_second),
            ("judged", self.judged, self.judged_per_second),
            ("refused", self.refused, self.refused_per_second),
        ];
        for (name, number, per_second) in rows {
            let _ = writeln!(
                text,
                "  {name:<8} {:>14} packets {:>12}/s",
                count(number as f64),
                count(per_second)
            );
        }
        text.push_str("\n  the kernel program found\n");
        for (name, number) in &self.found {
            let _ = writeln!(text, "    {name:<16} {:>14}", count(*number as f64));
        }
        text
    }
}
