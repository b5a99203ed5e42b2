//! `ratelimitd keys list`: a table for people, JSON for programs.

use super::super::table::table;
use super::print;
use crate::keys::{Entry, KeyFile};
use crate::policy::{RuleLimits, Tiers};
use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    tier: &'a str,
    fingerprint: String,
    enabled: bool,
    /// None if it never does.
    expires: Option<String>,
    has_expired: bool,
    /// None if the configuration has no such tier.
    requests_per_hour: Option<u32>,
    burst_per_minute: Option<u32>,
    /// Where endpoint rules have another limit for the key than their own.
    rules: RuleLimits,
    /// The limits that are the key's own.
    overrides: Vec<String>,
}

pub(super) fn list(file: &KeyFile, tiers: &Tiers, json: bool) -> Result<()> {
    let now = Timestamp::now();
    let rows: Vec<_> = file.entries().iter().map(|entry| row(entry, tiers, now)).collect();
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
    }
    let mut cells = vec![
        ["NAME", "TIER", "REQUESTS/HOUR", "BURST/MINUTE", "STATE", "EXPIRES", "FINGERPRINT", "RULES"]
            .map(String::from),
    ];
    cells.extend(rows.iter().map(row_cells));
    print(&table(&cells))?;
    if rows.iter().any(|row| !row.overrides.is_empty()) {
        eprintln!("* the key's own limit, in place of its tier's");
    }
    if let Some(row) = rows.iter().find(|row| row.requests_per_hour.is_none()) {
        eprintln!("? the configuration has no tier {:?}: the daemon refuses this key file", row.tier);
    }
    Ok(())
}

fn row<'a>(entry: &'a Entry, tiers: &Tiers, now: Timestamp) -> Row<'a> {
    let limits = entry.limits(tiers);
    let own = [
        entry.requests_per_hour.map(|_| "requests_per_hour"),
        entry.burst_per_minute.map(|_| "burst_per_minute"),
    ];
    let own_rules = entry.rules.keys().map(|name| format!("rules.{name}"));
    Row {
        name: &entry.name,
        tier: &entry.tier,
        fingerprint: entry.fingerprint(),
        enabled: !entry.disabled,
        expires: entry.expires.map(|time| time.to_string()),
        has_expired: entry.expires.is_some_and(|time| time <= now),
        requests_per_hour: limits.as_ref().map(|limits| limits.requests_per_hour),
        burst_per_minute: limits.as_ref().map(|limits| limits.burst_per_minute),
        rules: limits.map(|limits| RuleLimits::clone(&limits.rules)).unwrap_or_default(),
        overrides: own.into_iter().flatten().map(str::to_owned).chain(own_rules).collect(),
    }
}

fn row_cells(row: &Row<'_>) -> [String; 8] {
    let limit = |name: &str, limit: Option<u32>| match limit {
        None => "?".to_owned(),
        Some(limit) if row.overrides.iter().any(|other| other == name) => format!("{limit}*"),
        Some(limit) => limit.to_string(),
    };
    let rules = row
        .rules
        .iter()
        .map(|(name, number)| format!("{name}={}", limit(&format!("rules.{name}"), Some(*number))));
    [
        row.name.to_owned(),
        row.tier.to_owned(),
        limit("requests_per_hour", row.requests_per_hour),
        limit("burst_per_minute", row.burst_per_minute),
        match (row.enabled, row.has_expired) {
            (false, _) => "disabled",
            (true, true) => "expired",
            (true, false) => "enabled",
        }
        .to_owned(),
        row.expires.clone().unwrap_or_else(|| "never".to_owned()),
        row.fingerprint.clone(),
        if row.rules.is_empty() { "-".to_owned() } else { rules.collect::<Vec<_>>().join(" ") },
    ]
}
