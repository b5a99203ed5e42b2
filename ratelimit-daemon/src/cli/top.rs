//! `ratelimitd top`: the keys that use most, or are refused most.

use super::daemon::Daemon;
use super::print;
use super::table::table;
use crate::admin::client;
use crate::admin::keys::{Counts, KeyState, LimitStanding};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::cmp::Reverse;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd top
  ratelimitd top --sort hour --rows 50
  watch --interval 1 ratelimitd top --sort refused

Requests count from the daemon's start.";

/// Which keys, and how many of them.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Admitted)]
    sort: Sort,
    /// Most keys that are shown; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// Most requests admitted
    Admitted,
    /// Most requests refused
    Refused,
    /// Smallest share of the hour left
    Hour,
    /// By name
    Name,
}

/// Asks the daemon and shows the first of what it says.
pub(super) fn top(config: &Path, top: &Top) -> Result<()> {
    let mut keys: Vec<KeyState> = client::get(&top.daemon.socket(config)?, "/keys")?;
    sort(&mut keys, top.sort);
    if top.rows > 0 {
        keys.truncate(top.rows);
    }
    if top.daemon.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&keys)?));
    }
    let head = ["NAME", "TIER", "ADMITTED", "REFUSED", "HOUR LEFT", "BURST LEFT"].map(String::from);
    print(&table(&std::iter::once(head).chain(keys.iter().map(row)).collect::<Vec<_>>()))
}

fn sort(keys: &mut [KeyState], by: Sort) {
    // Equal ones stay in the key file's order.
    match by {
        Sort::Admitted => keys.sort_by_key(|key| Reverse(key.requests.admitted)),
        Sort::Refused => keys.sort_by_key(|key| Reverse(refused(&key.requests))),
        Sort::Hour => keys.sort_by_key(|key| limit(key, "hour").map(share)),
        Sort::Name => keys.sort_by(|one, other| one.name.cmp(&other.name)),
    }
}

fn refused(Counts { refused_burst, refused_hour, refused_rule, .. }: &Counts) -> u64 {
    refused_burst + refused_hour + refused_rule
}

fn limit<'a>(key: &'a KeyState, name: &str) -> Option<&'a LimitStanding> {
    key.limits.iter().find(|limit| limit.name == name)
}

/// What is left, in millionths.
fn share(limit: &LimitStanding) -> u64 {
    u64::from(limit.remaining) * 1_000_000 / u64::from(limit.limit.max(1))
}

fn row(key: &KeyState) -> [String; 6] {
    let left = |name| limit(key, name).map(|limit| format!("{}/{}", limit.remaining, limit.limit));
    let (name, tier) = (key.name.clone(), key.tier.clone());
    let (admitted, refused) = (key.requests.admitted.to_string(), refused(&key.requests).to_string());
    [name, tier, admitted, refused, left("hour").unwrap_or_default(), left("burst").unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::keys::Usability;

    fn key(name: &str, admitted: u64, refused_burst: u64, remaining: u32) -> KeyState {
        let hour = LimitStanding {
            name: "hour".to_owned(),
            limit: 1_000,
            remaining,
            window_seconds: 3_600,
            wait_seconds: 0,
            is_dry_run: false,
        };
        KeyState {
            name: name.to_owned(),
            tier: "professional".to_owned(),
            fingerprint: String::new(),
            state: Usability::Enabled,
            limits: vec![hour],
            requests: Counts { admitted, refused_burst, refused_hour: 1, refused_rule: 0, observed: 0 },
        }
    }

    #[test]
    fn what_is_asked_for_comes_first() {
        let mut keys = [key("b", 5, 0, 700), key("a", 9, 2, 800), key("c", 9, 7, 10)];
        for (by, expected) in
            [(Sort::Admitted, "acb"), (Sort::Refused, "cab"), (Sort::Hour, "cba"), (Sort::Name, "abc")]
        {
            sort(&mut keys, Sort::Name);
            sort(&mut keys, by);
            assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<String>(), expected, "{by:?}");
        }
        assert_eq!(row(&keys[2]), ["c", "professional", "9", "8", "10/1000", ""].map(String::from));
    }
}
