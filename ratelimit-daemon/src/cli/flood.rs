//! `ratelimitd load flood`: packets against the kernel program, in a network of its own.

use super::print;
use crate::load::flood::{self, Kind, Plan};
use anyhow::Result;
use clap::Args;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd load flood
  ratelimitd load flood --kind syn --seconds 10 --json

It makes two network namespaces, starts a ratelimitd in one of them, floods it from the other, and removes
everything. It needs root, and it can reach nothing else: there is no option for another network.";

/// What is sent.
#[derive(Debug, Args)]
pub(super) struct Flood {
    /// What the packets are
    #[arg(long, value_enum, default_value = "requests")]
    kind: Kind,
    /// How long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections, or ports where there are none
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Threads that send
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// What the kernel program does with refused requests, as in a configuration
    #[arg(long, default_value = "drop")]
    action: String,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Floods, and tells what came of it.
pub(super) fn execute(flood: &Flood) -> Result<()> {
    let Flood { kind, seconds, connections, threads, action, json } = flood;
    let report = flood::run(&Plan {
        kind: *kind,
        length: Duration::from_secs(u64::from(*seconds)),
        connections: *connections,
        threads: usize::from(*threads),
        action,
    })?;
    print(&if *json { serde_json::to_string(&report)? + "\n" } else { report.text() })
}
