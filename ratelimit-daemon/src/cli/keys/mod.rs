//! `ratelimitd keys`: the key file, changed and shown.

mod list;

use super::daemon::Daemon;
use super::{explain, print, wrong_argument};
use crate::config::Config;
use crate::keys::{self, Entry, KeyFile, PlainKey};
use crate::policy::{Limits, Tiers, check_key_name, unknown_rule_text, unknown_tier_text};
use crate::rules::Rules;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, value_parser};
use jiff::Timestamp;
use ratelimit_common::http::MAX_KEY;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  KEY=$(ratelimitd keys add acme-prod --tier professional)
  ratelimitd keys add acme-bulk --tier enterprise --requests-per-hour 50000
  printf %s \"$EXISTING\" | ratelimitd keys add acme-old --tier professional --key-stdin
  ratelimitd keys set acme-prod --tier enterprise --burst-per-minute default
  ratelimitd keys set acme-bulk --rule export=50 --rule search=default
  ratelimitd keys set acme-prod --expires 90d
  ratelimitd keys disable acme-old
  ratelimitd keys list --json
  ratelimitd keys show acme-prod

A key is shown once, when it is added; the key file holds only hashes of it.
A key keeps what it has used when its tier or its limits change.";

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a key and print it, once, alone on standard output
    Add(Add),
    /// Show all keys
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show how a key's limits stand, and what came of its requests since the daemon started
    Show {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Change a key's tier, its own limits, or when it expires
    Set(Set),
    /// Take a key out of use: its requests are answered with 401
    Disable(Named),
    /// Take a disabled key into use again
    Enable(Named),
    /// Remove a key for good; what it has used is forgotten
    Remove(Named),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The key's name
    #[arg(value_parser = key_name)]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// A name for the key: 1 to 64 letters, digits, '.', '_' and '-'
    #[arg(value_parser = key_name)]
    name: String,
    /// The key's tier
    #[arg(long)]
    tier: String,
    /// A limit of its own in place of the tier's
    #[arg(long, value_name = "N", value_parser = number(Limits::REQUESTS_PER_HOUR))]
    requests_per_hour: Option<u32>,
    /// A limit of its own in place of the tier's
    #[arg(long, value_name = "N", value_parser = number(Limits::BURST_PER_MINUTE))]
    burst_per_minute: Option<u32>,
    /// A limit of its own on an endpoint rule; can be given for several rules
    #[arg(long = "rule", value_name = "RULE=N", value_parser = rule_limit)]
    rules: Vec<(String, Own)>,
    /// Refuse the key from then on: a time such as 2027-01-31T12:00:00Z, or a span from now such as 90d or 12h
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Timestamp>,
    /// Read an existing key (8 to 64 visible ASCII characters) from standard input, and print none
    #[arg(long)]
    key_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// The key's name
    #[arg(value_parser = key_name)]
    name: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Change {
    /// Another tier
    #[arg(long)]
    tier: Option<String>,
    /// A limit of its own, or "default" for the tier's
    #[arg(long, value_name = "N|default", value_parser = |text: &str| own(text, Limits::REQUESTS_PER_HOUR))]
    requests_per_hour: Option<Own>,
    /// A limit of its own, or "default" for the tier's
    #[arg(long, value_name = "N|default", value_parser = |text: &str| own(text, Limits::BURST_PER_MINUTE))]
    burst_per_minute: Option<Own>,
    /// A limit of its own on an endpoint rule, or "default" for the tier's; can be given for several rules
    #[arg(long = "rule", value_name = "RULE=N|default", value_parser = rule_limit)]
    rules: Vec<(String, Own)>,
    /// When the key expires: a time such as 2027-01-31T12:00:00Z, a span from now such as 90d or 12h, or "never"
    #[arg(long, value_name = "WHEN|never", value_parser = changed_expiry)]
    expires: Option<Expires>,
}

/// When a key expires, or that it never does.
#[derive(Clone, Copy, Debug)]
struct Expires(Option<Timestamp>);

fn expiry(text: &str) -> Result<Timestamp, String> {
    keys::parse_expiry(text, Timestamp::now())
}

fn changed_expiry(text: &str) -> Result<Expires, String> {
    if text == "never" { Ok(Expires(None)) } else { expiry(text).map(|time| Expires(Some(time))) }
}

/// A key's own limit, or the tier's.
#[derive(Clone, Copy, Debug)]
struct Own(Option<u32>);

fn own(text: &str, range: RangeInclusive<u32>) -> Result<Own, String> {
    if text == "default" {
        return Ok(Own(None));
    }
    match text.parse().ok().filter(|number| range.contains(number)) {
        Some(number) => Ok(Own(Some(number))),
        None => Err(format!("allowed: {} to {}, or default", range.start(), range.end())),
    }
}

fn rule_limit(text: &str) -> Result<(String, Own), String> {
    let (name, limit) = text.split_once('=').ok_or("write the rule's name, '=' and the limit: export=50")?;
    Ok((name.to_owned(), own(limit, Limits::RULE)?))
}

/// Gives `entry` limits of its own on endpoint rules, or takes them away.
fn set_rules(entry: &mut Entry, rules: Vec<(String, Own)>) {
    for (name, Own(limit)) in rules {
        match limit {
            Some(limit) => drop(entry.rules.insert(name, limit)),
            None => drop(entry.rules.remove(&name)),
        }
    }
}

fn number(range: RangeInclusive<u32>) -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(i64::from(*range.start())..=i64::from(*range.end()))
}

pub(super) fn key_name(text: &str) -> Result<String, String> {
    check_key_name(text).map(|()| text.to_owned())
}

/// Does what was asked for with the keys of the configuration at `config`.
pub(super) fn execute(config: &Path, command: Command) -> Result<()> {
    let load = || Config::load(config);
    match command {
        Command::Add(add) => self::add(&load()?, add),
        Command::List { json } => {
            let config = load()?;
            list::list(&KeyFile::load(&config.keys.file)?, &config.tiers, json)
        }
        // The daemon is asked, also if the configuration has just become wrong.
        Command::Show { named: Named { name }, daemon } => explain::show(config, &name, &daemon),
        Command::Set(set) => self::set(&load()?, set),
        Command::Disable(Named { name }) => set_disabled(&load()?.keys.file, &name, true),
        Command::Enable(Named { name }) => set_disabled(&load()?.keys.file, &name, false),
        Command::Remove(Named { name }) => {
            keys::update(&load()?.keys.file, |file| file.remove(&name))?;
            eprintln!("removed key {name}");
            Ok(())
        }
    }
}

fn add(config: &Config, add: Add) -> Result<()> {
    let Add { name, tier, requests_per_hour, burst_per_minute, rules, expires, key_stdin } = add;
    check_tier(&tier, &config.tiers)?;
    check_rules(&rules, &config.rules)?;
    let key = if key_stdin { read_key()? } else { PlainKey::generate()? };
    keys::update(&config.keys.file, |file| {
        file.add(&key, &name, &tier, requests_per_hour, burst_per_minute)?;
        let entry = file.entry_mut(&name)?;
        entry.expires = expires;
        set_rules(entry, rules);
        Ok(())
    })?;
    if key_stdin {
        eprintln!("added key {name} ({tier})");
        return Ok(());
    }
    print(&format!("{}\n", key.reveal())).with_context(|| {
        format!(
            "key {name} was added but nobody has seen it; `ratelimitd keys remove {name}`, then add it again"
        )
    })?;
    eprintln!("added key {name} ({tier}); it is shown this once only");
    Ok(())
}

/// The key on standard input, without the end of its line.
fn read_key() -> Result<PlainKey> {
    // Enough for the longest key and the end of its line; a byte more shows that it is too long.
    let most = MAX_KEY as u64 + 3;
    let mut bytes = Vec::new();
    io::stdin().lock().take(most).read_to_end(&mut bytes).context("cannot read a key from standard input")?;
    // What is not UTF-8 is not ASCII either, nor is what stands for it here.
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    PlainKey::import(text).map_err(|text| wrong_argument(format!("standard input: {text}")))
}

fn set(config: &Config, set: Set) -> Result<()> {
    let Set { name, change: Change { tier, requests_per_hour, burst_per_minute, rules, expires } } = set;
    if let Some(tier) = &tier {
        check_tier(tier, &config.tiers)?;
    }
    check_rules(&rules, &config.rules)?;
    keys::update(&config.keys.file, |file| {
        let entry = file.entry_mut(&name)?;
        if let Some(tier) = tier {
            entry.tier = tier;
        }
        if let Some(Own(limit)) = requests_per_hour {
            entry.requests_per_hour = limit;
        }
        if let Some(Own(limit)) = burst_per_minute {
            entry.burst_per_minute = limit;
        }
        if let Some(Expires(time)) = expires {
            entry.expires = time;
        }
        set_rules(entry, rules);
        Ok(())
    })?;
    eprintln!("changed key {name}");
    Ok(())
}

fn set_disabled(path: &Path, name: &str, disabled: bool) -> Result<()> {
    keys::update(path, |file| {
        file.entry_mut(name)?.disabled = disabled;
        Ok(())
    })?;
    eprintln!("{} key {name}", if disabled { "disabled" } else { "enabled" });
    Ok(())
}

fn check_tier(tier: &str, tiers: &Tiers) -> Result<()> {
    if tiers.contains_key(tier) {
        Ok(())
    } else {
        Err(wrong_argument(format!("--tier: {}", unknown_tier_text(tier, tiers))))
    }
}

fn check_rules(limits: &[(String, Own)], rules: &Rules) -> Result<()> {
    match limits.iter().find(|(name, _)| rules.get(name).is_none()) {
        Some((name, _)) => Err(wrong_argument(format!("--rule: {}", unknown_rule_text(name, rules)))),
        None => Ok(()),
    }
}
