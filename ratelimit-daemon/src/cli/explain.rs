//! `ratelimitd explain` and `ratelimitd keys show`: how limits stand, and what a request would get.

use super::daemon::Daemon;
use super::print;
use super::table::table;
use crate::admin::client;
use crate::admin::keys::{Answer, Explanation, KeyState, LimitStanding, Request, Usability};
use anyhow::Result;
use clap::Args;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd explain acme-prod GET '/search/courses?q=rust'
  ratelimitd explain acme-prod POST /courses/7/export --json | jq -r .verdict

The request is judged as if it came now, and charged to nothing. KEY is the key's name, not the key.";

/// A request that is not sent.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The key's name
    #[arg(value_parser = super::keys::key_name)]
    key: String,
    /// The request's method
    method: String,
    /// The request's path, with or without a query
    path: String,
    #[command(flatten)]
    daemon: Daemon,
}

/// Asks the daemon what a request would get.
pub(super) fn explain(config: &Path, explain: Explain) -> Result<()> {
    let Explain { key, method, path, daemon } = explain;
    let query = serde_urlencoded::to_string(Request { key, method, path })?;
    let explanation: Explanation = client::get(&daemon.socket(config)?, &format!("/explain?{query}"))?;
    if daemon.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&explanation)?));
    }
    let Explanation { key, tier, limits, .. } = &explanation;
    print(&format!("{} (key {key}, tier {tier})\n\n{}", verdict(&explanation), table(&rows(limits))))
}

fn verdict(explanation: &Explanation) -> String {
    let by = explanation.refused_by.as_deref().unwrap_or_default();
    match (explanation.verdict, explanation.retry_after) {
        (Answer::Admitted, _) => "admitted".to_owned(),
        (Answer::Refused, Some(wait)) => format!("refused by its limit {by}, Retry-After {wait}"),
        (Answer::Refused, None) => format!("refused: {by}"),
        (Answer::Observed, _) => format!("admitted by the dry run; its limit {by} would refuse it"),
    }
}

/// Asks the daemon how a key stands.
pub(super) fn show(config: &Path, name: &str, daemon: &Daemon) -> Result<()> {
    let state: KeyState = client::get(&daemon.socket(config)?, &format!("/keys/{name}"))?;
    if daemon.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&state)?));
    }
    let KeyState { name, tier, fingerprint, requests, .. } = &state;
    let usability = match state.state {
        Usability::Enabled => "enabled",
        Usability::Disabled => "disabled",
        Usability::Expired => "expired",
    };
    let counts = [
        ("admitted", requests.admitted),
        ("refused by burst", requests.refused_burst),
        ("refused by hour", requests.refused_hour),
        ("refused by a rule", requests.refused_rule),
        ("observed", requests.observed),
    ];
    let counts = counts.map(|(name, count)| [name.to_owned(), count.to_string()]);
    let head = format!("{name}: tier {tier}, {usability}, fingerprint {fingerprint}");
    print(&format!("{head}\n\n{}\n{}", table(&rows(&state.limits)), table(&counts)))
}

fn rows(limits: &[LimitStanding]) -> Vec<[String; 5]> {
    let head = ["LIMIT", "REMAINING", "OF", "IN", "ADMITS"].map(String::from);
    let row = |limit: &LimitStanding| {
        let note = if limit.is_dry_run { " (dry run)" } else { "" };
        [
            format!("{}{note}", limit.name),
            limit.remaining.to_string(),
            limit.limit.to_string(),
            format!("{} s", limit.window_seconds),
            if limit.wait_seconds == 0 { "now".to_owned() } else { format!("in {} s", limit.wait_seconds) },
        ]
    };
    std::iter::once(head).chain(limits.iter().map(row)).collect()
}
