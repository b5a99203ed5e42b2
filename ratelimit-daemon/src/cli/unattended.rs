//! What `status` shows when no daemon answers: the kernel goes on by what is pinned.

use super::print;
use super::status::{interfaces, list, tables};
use super::table::table;
use crate::admin::status::Counters;
use crate::config::Config;
use crate::kernel::Unattended;
use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::path::Path;

/// What is pinned, with the kernel's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct State {
    /// Always null: in its place a daemon's status has its own.
    process_id: Option<u32>,
    #[serde(flatten)]
    unattended: Unattended,
    pub(super) kernel: Counters,
}

/// What is pinned where the configuration says; `None` if nothing is, or this user may not look.
pub(super) fn look(config: &Path) -> Option<State> {
    let directory = Config::load(config).ok()?.kernel.pin_directory?;
    let (unattended, counters) = Unattended::look(&directory).ok()?;
    Some(State { process_id: None, unattended, kernel: Counters::of(counters) })
}

impl State {
    pub(super) fn show(&self, as_json: bool) -> Result<()> {
        if as_json {
            return print(&format!("{}\n", serde_json::to_string_pretty(self)?));
        }
        print(&self.text())
    }

    fn text(&self) -> String {
        let Unattended { loaded_by, loaded_at, unattended_seconds, .. } = &self.unattended;
        let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let ago = SignedDuration::from_secs(seconds(*unattended_seconds));
        let loaded =
            Timestamp::from_second(seconds(*loaded_at)).map_or_else(|_| "?".to_owned(), |at| at.to_string());
        let facts = [
            ("mode", self.unattended.mode.to_string()),
            ("action", self.unattended.action.to_string()),
            ("ports", list(&self.unattended.ports)),
            ("keys", self.unattended.keys.to_string()),
            ("loaded", format!("{loaded}, by ratelimitd {loaded_by}")),
        ];
        let facts: Vec<_> = facts.map(|(name, value)| [format!("  {name}"), value]).into();
        format!(
            "no daemon for {ago:#}; the kernel goes on enforcing\n{}\n{}\n{}",
            table(&facts),
            interfaces(&self.unattended.interfaces),
            tables(&self.kernel, 1)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, Mode};
    use crate::kernel::{self, Attached};
    use ratelimit_common::outcome::Outcome;

    #[test]
    fn what_people_read() {
        let attached = Attached { interface: "eth0".to_owned(), mode: kernel::Mode::Native, program_id: 90 };
        let unattended = Unattended {
            loaded_by: "1.2.3".to_owned(),
            loaded_at: 1_700_000_000,
            unattended_seconds: 75,
            mode: Mode::Kernel,
            action: Action::Drop,
            interfaces: vec![attached],
            ports: vec![8_080],
            keys: 3,
        };
        let kernel = Counters::of(vec![(Outcome::Admitted, 7), (Outcome::Busy, 1)]);
        let state = State { process_id: None, unattended, kernel };
        let expected = "\
no daemon for 1m 15s; the kernel goes on enforcing
  mode    kernel
  action  drop
  ports   8080
  keys    3
  loaded  2023-11-14T22:13:20Z, by ratelimitd 1.2.3

INTERFACE  ATTACHED AS  PROGRAM
eth0       native XDP   90

VERDICT   REQUESTS
admitted  7

SKIP  PACKETS
busy  1
";
        assert_eq!(state.text(), expected);
        let json = serde_json::to_value(&state).unwrap();
        assert!(
            json["process_id"].is_null() && json["unattended_seconds"] == 75 && json["mode"] == "kernel",
            "{json}"
        );
    }
}
