//! `ratelimitd flows`: the connections that the kernel remembers.

use super::pinned::Pinned;
use super::print;
use super::table::table;
use crate::clock;
use anyhow::Result;
use clap::Args;
use ratelimit_common::flow::{FlowState, Stage};
use serde::Serialize;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd flows
  ratelimitd flows --limit 20
  ratelimitd flows --json | jq .paid

Read from the pinned maps, so it works without a daemon too. CREDITS are requests that the kernel has charged and the
proxy has not yet handled. Whose a connection is, the kernel does not keep: only a hash of its addresses.";

/// How much is shown.
#[derive(Debug, Args)]
pub(super) struct Flows {
    /// Show so many connections, those first that were used last
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
    #[command(flatten)]
    pinned: Pinned,
}

/// All connections, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    /// Places for connections.
    room: usize,
    /// The host may have something of a request in hand.
    busy: usize,
    /// The proxy waits for a request.
    idle: usize,
    /// The kernel has answered, and the host's side is open.
    refused: usize,
    /// Both sides are closed.
    closed: usize,
    /// Requests charged and not yet handled.
    paid: u64,
    connections: Vec<Connection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Connection {
    stage: &'static str,
    /// Of the key, where a request of one waits or was refused.
    slot: Option<u32>,
    credits: u64,
    unused_seconds: u64,
}

/// Reads the maps and shows what is in them.
pub(super) fn flows(config: &Path, flows: &Flows) -> Result<()> {
    let (maps, _) = flows.pinned.open(config)?;
    let room = maps.flows().room();
    let summary = Summary::of(maps.flows().in_use(clock::now()), room, maps.has_proxy(), flows.limit);
    if flows.pinned.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&summary)?));
    }
    print(&summary.text())
}

impl Summary {
    fn of(cells: impl Iterator<Item = (FlowState, u64)>, room: usize, has_proxy: bool, limit: usize) -> Self {
        let mut summary = Self { room, ..Self::default() };
        for (state, unused_seconds) in cells {
            let (count, stage) = match state.stage() {
                Stage::Busy => (&mut summary.busy, "busy"),
                Stage::Idle => (&mut summary.idle, "idle"),
                Stage::Refused => (&mut summary.refused, "refused"),
                Stage::Closed => (&mut summary.closed, "closed"),
            };
            *count += 1;
            // Where there is no proxy, or the request was refused, something else stands in the credits' place.
            let has_credits = has_proxy && !state.is_refused();
            let credits = if has_credits { state.paid() } else { 0 };
            summary.paid += credits;
            let slot = (credits > 0 || state.is_refused()).then(|| state.slot());
            summary.connections.push(Connection { stage, slot, credits, unused_seconds });
        }
        summary.connections.sort_by_key(|connection| connection.unused_seconds);
        summary.connections.truncate(limit);
        summary
    }

    fn text(&self) -> String {
        let Self { room, busy, idle, refused, closed, paid, connections } = self;
        let all = busy + idle + refused + closed;
        let stages = [("busy", busy), ("idle", idle), ("refused", refused), ("closed", closed)];
        let rows = stages.map(|(stage, count)| [stage.to_owned(), count.to_string()]);
        let head = ["STAGE", "CONNECTIONS"].map(String::from);
        let stages = table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
        let head = ["STAGE", "SLOT", "CREDITS", "UNUSED FOR"].map(String::from);
        let rows = connections.iter().map(|connection| {
            let slot = connection.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
            let unused = format!("{} s", connection.unused_seconds);
            [connection.stage.to_owned(), slot, connection.credits.to_string(), unused]
        });
        let listed = match connections.as_slice() {
            [] => String::new(),
            _ => format!("\n{}", table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())),
        };
        format!("{all} connections remembered, room for {room}; {paid} credits\n\n{stages}{listed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_common::flow::Credit;

    #[test]
    fn connections_are_summed_up_and_the_latest_are_listed() {
        let free = FlowState::from_word(0);
        let charged = free.with_credit(1_000, 7, Credit::Paid);
        let cells = [(charged, 9), (free.at(Stage::Idle), 2), (free.at(Stage::Closed), 60)];
        let summary = Summary::of(cells.into_iter(), 64, true, 2);
        let expected = "\
3 connections remembered, room for 64; 1 credits

STAGE    CONNECTIONS
busy     1
idle     1
refused  0
closed   1

STAGE  SLOT  CREDITS  UNUSED FOR
idle   -     0        2 s
busy   7     1        9 s
";
        assert_eq!(summary.text(), expected);
        // The kernel alone keeps no credits.
        assert_eq!(Summary::of(cells.into_iter(), 64, false, 0).paid, 0);
    }
}
