//! `ratelimitd status`: how the running daemon fares.

use super::daemon::Daemon;
use super::print;
use super::table::table;
use super::unattended;
use crate::admin::client;
use crate::admin::status::{Counters, Status, UpstreamState};
use crate::kernel::Attached;
use anyhow::{Context, Result};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd status
  ratelimitd status --json | jq .kernel.verdicts.refused_burst
  ratelimitd status --socket /run/other/admin.sock

Exits with 1 if no daemon answers. What the kernel then enforces by itself is shown all the same, to who may open the
pinned maps (root). Counters are over all interfaces, since the program's maps were made.";

/// Asks the daemon and shows what it says.
pub(super) fn status(config: &Path, daemon: &Daemon) -> Result<()> {
    let status: Status = match client::get(&daemon.socket(config)?, "/status") {
        Err(error) if error.is::<client::NotRunning>() => {
            if let Some(unattended) = unattended::look(config) {
                unattended.show(daemon.json)?;
            }
            return Err(error);
        }
        status => status?,
    };
    if daemon.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&status)?));
    }
    print(&text(&status))
}

/// Asks the daemon for the kernel's counters alone, and shows all of them. Without a daemon they are read from the maps.
pub(super) fn counters(config: &Path, daemon: &Daemon) -> Result<()> {
    let counters = match client::get::<Status>(&daemon.socket(config)?, "/status") {
        Err(error) if error.is::<client::NotRunning>() => unattended::look(config).ok_or(error)?.kernel,
        status => status?.kernel.context("no kernel program counts: kernel.interfaces is empty")?,
    };
    if daemon.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&counters)?));
    }
    print(&tables(&counters, 0))
}

fn text(status: &Status) -> String {
    let Status { version, process_id, uptime_seconds, keys, .. } = status;
    let uptime = SignedDuration::from_secs(i64::try_from(*uptime_seconds).unwrap_or(i64::MAX));
    let facts = [
        ("mode", status.mode.to_string()),
        ("action", status.action.to_string()),
        ("listens on", list(&status.listeners)),
        ("upstream", list(status.upstreams.iter().map(upstream))),
        ("ports", list(&status.ports)),
        (
            "keys",
            format!(
                "{} ({} disabled, {} expired), room for {}",
                keys.all, keys.disabled, keys.expired, keys.room
            ),
        ),
    ];
    let facts: Vec<_> = facts.map(|(name, value)| [format!("  {name}"), value]).into();
    let counters =
        status.kernel.as_ref().map(|counters| format!("\n{}", tables(counters, 1))).unwrap_or_default();
    format!(
        "ratelimitd {version}, process {process_id}, up for {uptime:#}\n{}\n{}{counters}",
        table(&facts),
        interfaces(&status.interfaces)
    )
}

fn upstream(UpstreamState { address, is_up }: &UpstreamState) -> String {
    format!("{address} ({})", if *is_up { "up" } else { "down" })
}

pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

pub(super) fn interfaces(attached: &[Attached]) -> String {
    if attached.is_empty() {
        return "Attached to no interface: the proxy enforces the limits alone.\n".to_owned();
    }
    let head = ["INTERFACE", "ATTACHED AS", "PROGRAM"].map(String::from);
    let rows = attached.iter().map(|attached| {
        [attached.interface.clone(), attached.mode.to_string(), attached.program_id.to_string()]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// All verdicts, and the reasons for a skip that there were at least `least` times.
pub(super) fn tables(Counters { verdicts, skips }: &Counters, least: u64) -> String {
    let rows = |head: [&str; 2], counts: &BTreeMap<String, u64>, least: u64| {
        let rows = counts.iter().filter(|(_, count)| **count >= least);
        let rows = rows.map(|(name, count)| [name.clone(), count.to_string()]);
        table(&std::iter::once(head.map(String::from)).chain(rows).collect::<Vec<_>>())
    };
    format!("{}\n{}", rows(["VERDICT", "REQUESTS"], verdicts, 0), rows(["SKIP", "PACKETS"], skips, least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::KeyNumbers;
    use crate::config::{Action, Mode};
    use crate::kernel;

    fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn what_people_read() {
        let attached =
            |interface: &str, mode, program_id| Attached { interface: interface.into(), mode, program_id };
        let upstream = |address: &str, is_up| UpstreamState { address: address.to_owned(), is_up };
        let status = Status {
            version: "1.2.3".to_owned(),
            process_id: 4_711,
            uptime_seconds: 93_784,
            mode: Mode::Proxy,
            action: Action::Reply,
            listeners: vec!["0.0.0.0:8080".parse().unwrap(), "[::]:8080".parse().unwrap()],
            upstreams: vec![upstream("10.0.0.1:9000", true), upstream("api:9000", false)],
            interfaces: vec![
                attached("eth0", kernel::Mode::Native, 90),
                attached("wan1", kernel::Mode::Tc, 1_234),
            ],
            ports: vec![8_080],
            keys: KeyNumbers { all: 12, disabled: 2, expired: 1, room: 65_536 },
            kernel: Some(Counters {
                verdicts: counts([("admitted", 1_000_000), ("refused_burst", 0)]),
                skips: counts([("no_payload", 17), ("busy", 0)]),
            }),
        };
        let expected = "\
ratelimitd 1.2.3, process 4711, up for 26h 3m 4s
  mode        proxy
  action      reply
  listens on  0.0.0.0:8080, [::]:8080
  upstream    10.0.0.1:9000 (up), api:9000 (down)
  ports       8080
  keys        12 (2 disabled, 1 expired), room for 65536

INTERFACE  ATTACHED AS  PROGRAM
eth0       native XDP   90
wan1       TC           1234

VERDICT        REQUESTS
admitted       1000000
refused_burst  0

SKIP        PACKETS
no_payload  17
";
        assert_eq!(text(&status), expected);
        let alone = text(&Status { interfaces: Vec::new(), kernel: None, ..status });
        assert!(
            alone.ends_with("\n\nAttached to no interface: the proxy enforces the limits alone.\n"),
            "{alone}"
        );
    }
}
