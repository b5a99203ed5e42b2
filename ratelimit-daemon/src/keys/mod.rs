//! The key file: which keys there are. It holds their hashes, never a key.
#![forbid(unsafe_code)]

mod expiry;
mod format;
mod plain;
mod store;
#[cfg(test)]
mod tests;

pub use expiry::parse_expiry;
pub use plain::PlainKey;
pub use store::update;

use crate::document::Problems;
use crate::policy::{Limits, RuleLimits, Tiers};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use ratelimit_common::hash::Secret;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the key file says of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What people call it; no other key has this name.
    pub name: String,
    /// The name of its tier.
    pub tier: String,
    /// SHA-256 of the key: what the proxy looks up.
    pub sha256: [u8; 32],
    /// SipHash of the key under the file's secret: what the kernel looks up.
    pub siphash: u64,
    /// Whether it is out of use.
    pub disabled: bool,
    /// From then on it is out of use too.
    pub expires: Option<Timestamp>,
    /// In place of its tier's limit.
    pub requests_per_hour: Option<u32>,
    /// In place of its tier's limit.
    pub burst_per_minute: Option<u32>,
    /// In place of its tier's limits, or of the rules' own.
    pub rules: RuleLimits,
    /// Where it starts in the file (from 1), if it was read from there.
    pub line: Option<usize>,
}

impl Entry {
    /// The first 8 hex digits of its SHA-256.
    pub fn fingerprint(&self) -> String {
        let mut digits = format::hex(&self.sha256);
        digits.truncate(8);
        digits
    }

    /// The limits that it has by its tier and its own; `None` if there is no such tier.
    pub fn limits(&self, tiers: &Tiers) -> Option<Limits> {
        let tier = tiers.get(&self.tier)?;
        Some(Limits {
            requests_per_hour: self.requests_per_hour.unwrap_or(tier.requests_per_hour),
            burst_per_minute: self.burst_per_minute.unwrap_or(tier.burst_per_minute),
            rules: self.rule_limits(tier),
        })
    }

    /// Its tier's limits on endpoint rules, the tier's very own if it has no others.
    fn rule_limits(&self, tier: &Limits) -> Arc<RuleLimits> {
        if self.rules.is_empty() {
            return tier.rules.clone();
        }
        let mut rules = RuleLimits::clone(&tier.rules);
        rules.extend(self.rules.clone());
        Arc::new(rules)
    }
}

/// All that a key file says.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    secret: Secret,
    entries: Vec<Entry>,
}

impl KeyFile {
    /// Reads and checks the key file at `path`. All that is wrong with it is reported together.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        format::load(path)
    }

    /// What a file at `path` with these `entries` would say; no two of them may have a name or a hash in common.
    #[doc(hidden)]
    pub fn of(path: &Path, secret: Secret, entries: Vec<Entry>) -> Self {
        Self { path: path.to_owned(), secret, entries }
    }

    /// A file without keys, to be saved at `path`, with a secret of its own.
    fn new(path: &Path) -> Result<Self> {
        let draw = || getrandom::u64().context("cannot draw a secret: the system has no random numbers");
        Ok(Self { path: path.to_owned(), secret: Secret { k0: draw()?, k1: draw()? }, entries: Vec::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret of its SipHashes.
    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// What it says of each key, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds `key` under the name `name`, which no other key may have.
    pub fn add(
        &mut self,
        key: &PlainKey,
        name: &str,
        tier: &str,
        requests_per_hour: Option<u32>,
        burst_per_minute: Option<u32>,
    ) -> Result<()> {
        let (sha256, siphash) = (key.sha256(), key.siphash(self.secret));
        let (name, tier) = (name.to_owned(), tier.to_owned());
        let entry = Entry { name, tier, sha256, siphash, ..Entry::default() };
        self.add_all(vec![Entry { requests_per_hour, burst_per_minute, ..entry }])
    }

    /// Adds entries, or none of them if a name or a key is there already. Takes no longer for each the more there are.
    pub fn add_all(&mut self, new: Vec<Entry>) -> Result<()> {
        let before = self.entries.len();
        self.entries.extend(new);
        let fault = self.repeated();
        if fault.is_some() {
            self.entries.truncate(before);
        }
        fault.map_or(Ok(()), |fault| bail!(fault))
    }

    /// What is wrong with the first entry that repeats an earlier one's name or key.
    fn repeated(&self) -> Option<String> {
        let (mut names, mut digests, mut hashes) = (HashSet::new(), HashMap::new(), HashMap::new());
        for Entry { name, sha256, siphash, .. } in &self.entries {
            if !names.insert(name) {
                return Some(format!(
                    "there is a key named {name:?} already; choose another name or remove that key first"
                ));
            }
            if let Some(other) = digests.insert(sha256, name).or_else(|| hashes.insert(siphash, name)) {
                return Some(format!("this key is there already, under the name {other:?}"));
            }
        }
        None
    }

    /// The entry named `name`, to be changed.
    pub fn entry_mut(&mut self, name: &str) -> Result<&mut Entry> {
        let path = self.path.display();
        let unknown = || format!("no key is named {name:?} in {path}; `ratelimitd keys list` shows all");
        self.entries.iter_mut().find(|entry| entry.name == name).with_context(unknown)
    }

    /// Removes every key but those that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    /// Removes the key named `name`.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.entry_mut(name)?;
        self.entries.retain(|entry| entry.name != name);
        Ok(())
    }
}
