//! `ratelimitd reload`: lets the daemon read tiers, rules and keys again, and says what that changed.

use super::daemon::Daemon;
use super::print;
use crate::admin::client;
use crate::admin::reload::{Changed, Reloaded};
use anyhow::Result;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd reload
  ratelimitd check && ratelimitd reload --json

All of it is taken over or nothing. What is wrong is told with its file and line, exits with 2, and what was in force
stays in force. Nobody's usage and no connection is touched.";

/// Asks the daemon to reload and shows what it says.
pub(super) fn reload(config: &Path, daemon: &Daemon) -> Result<()> {
    let reloaded: Reloaded = client::post(&daemon.socket(config)?, "/reload")?;
    if daemon.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&reloaded)?));
    }
    print(&text(&reloaded))
}

fn text(reloaded: &Reloaded) -> String {
    let Reloaded { keys, tiers, rules, waiting_for_restart } = reloaded;
    let mut lines: Vec<_> = [("keys", keys), ("tiers", tiers), ("rules", rules)]
        .into_iter()
        .flat_map(|(what, changed)| told(what, changed))
        .collect();
    if lines.is_empty() {
        lines.push("no key, tier or rule has changed".to_owned());
    }
    if !waiting_for_restart.is_empty() {
        lines.push(format!("changed, and in force after a restart: {}", waiting_for_restart.join(", ")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn told(what: &str, Changed { added, changed, removed }: &Changed) -> Vec<String> {
    let lines = [("added", added), ("changed", changed), ("removed", removed)];
    let lines = lines.into_iter().filter(|(_, names)| !names.is_empty());
    lines.map(|(how, names)| format!("{what} {how}: {}", shown(names))).collect()
}

/// So many names fit a line or two.
const SHOWN: usize = 20;

fn shown(names: &[String]) -> String {
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => {
            let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
            format!("{} and {more} more", shown.join(", "))
        }
        _ => names.join(", "),
    }
}
