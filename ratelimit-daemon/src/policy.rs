//! Who may send how much: the tiers, the endpoint rules and the keys, as a snapshot that never changes.
//!
//! A change of the key file or of the tiers makes a new [`Policy`] from the old one. A key that both have
//! (the same SHA-256, whatever its name) keeps its slot and its usage, so no change loses a count.
#![forbid(unsafe_code)]

use crate::clock;
use crate::document::{Problem, Problems};
use crate::keys::{Entry, KeyFile};
use crate::limiter::Usage;
use crate::places::Places;
use crate::rules::{Router, Rule, Rules};
use ratelimit_common::SECOND_NS;
use ratelimit_common::hash::Secret;
use ratelimit_common::limit::Burst;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What a key may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in any 3,600 s.
    pub requests_per_hour: u32,
    /// Capacity of the burst bucket, and what it refills in 60 s.
    pub burst_per_minute: u32,
    /// What endpoint rules admit, where that is not their own limit. Keys of a tier share it.
    pub rules: Arc<RuleLimits>,
}

/// Limits by the endpoint rule's name.
pub type RuleLimits = BTreeMap<String, u32>;

impl Limits {
    /// What can be asked for as [`Self::requests_per_hour`].
    pub const REQUESTS_PER_HOUR: RangeInclusive<u32> = 1..=1_000_000_000;
    /// What can be asked for as [`Self::burst_per_minute`].
    pub const BURST_PER_MINUTE: RangeInclusive<u32> = 1..=Burst::MAX_CAPACITY;
    /// What can be asked for as the limit of an endpoint rule.
    pub const RULE: RangeInclusive<u32> = 1..=1_000_000_000;

    /// Requests that `rule` admits in its window.
    pub fn of(&self, rule: &Rule) -> u32 {
        self.rules.get(&rule.name).copied().unwrap_or(rule.limit)
    }
}

/// Limits by the tier's name.
pub type Tiers = BTreeMap<String, Limits>;

/// The tiers that need no configuration.
pub fn built_in_tiers() -> Tiers {
    let tier = |name: &str, requests_per_hour, burst_per_minute| {
        (name.to_owned(), Limits { requests_per_hour, burst_per_minute, rules: Arc::default() })
    };
    Tiers::from([tier("professional", 1_000, 100), tier("enterprise", 10_000, 500)])
}

/// Longest name of a key or a tier.
pub const MAX_NAME: usize = 64;

/// Whether a key can be called `name`; else why not.
pub fn check_key_name(name: &str) -> Result<(), String> {
    check_name(name, b"._-", "letters, digits, '.', '_' and '-'")
}

/// Whether a tier or a rule can be called `name`; else why not.
pub fn check_tier_name(name: &str) -> Result<(), String> {
    check_name(name, b"_-", "letters, digits, '_' and '-'")
}

fn check_name(name: &str, marks: &[u8], allowed: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!("{name:?} cannot be a name; allowed: 1 to {MAX_NAME} {allowed}"))
}

/// A key, as it is judged.
#[derive(Debug)]
pub struct Key {
    /// What people call it.
    pub name: String,
    /// The name of its tier.
    pub tier: String,
    /// The first 8 hex digits of its SHA-256: enough to recognise it, far from enough to use it.
    pub fingerprint: String,
    /// Its place in the slots: its own for as long as it is in the key file.
    pub slot: u32,
    /// What the kernel looks it up by.
    pub siphash: u64,
    /// Its tier's limits, with its own in their place where it has any.
    pub limits: Limits,
    /// Whether it may be used.
    pub enabled: bool,
    /// From when on it may not, in seconds of Unix time.
    pub expires: Option<u64>,
    /// What it has used.
    pub usage: Arc<Usage>,
}

impl Key {
    /// True if everything but what was used is the same.
    fn is_same(&self, other: &Self) -> bool {
        let Self { name, tier, fingerprint, slot, siphash, limits, enabled, expires, usage: _ } = self;
        *name == other.name
            && *tier == other.tier
            && *fingerprint == other.fingerprint
            && *slot == other.slot
            && *siphash == other.siphash
            && *limits == other.limits
            && *enabled == other.enabled
            && *expires == other.expires
    }

    /// Whether it may be used at `now`, in seconds of Unix time.
    pub fn is_usable(&self, now: u64) -> bool {
        self.enabled && !self.has_expired(now)
    }

    /// Whether it has expired. Costs a look at the clock only for a key that can.
    pub fn has_expired_now(&self) -> bool {
        self.expires.is_some() && self.has_expired(clock::unix_seconds())
    }

    /// Whether it has expired at `now`, in seconds of Unix time.
    pub fn has_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// All keys at one time.
#[derive(Debug)]
pub struct Policy {
    secret: Secret,
    tiers: Tiers,
    router: Router,
    /// In the key file's order.
    keys: Vec<Arc<Key>>,
    by_digest: HashMap<[u8; 32], Arc<Key>>,
    /// The keys that expire, the next first.
    expiring: Vec<Arc<Key>>,
    places: Places,
}

/// What one policy has and an earlier one had not. Apply `removed` first: a slot in it may be in `added` too.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Keys that are gone, as they were. Their slots are to be zeroed.
    pub removed: Vec<&'a Arc<Key>>,
    /// Keys that are new.
    pub added: Vec<&'a Arc<Key>>,
    /// Keys that differ: as they were, and as they are. Slot and usage are the same.
    pub changed: Vec<(&'a Arc<Key>, &'a Arc<Key>)>,
}

impl Changes<'_> {
    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.changed.is_empty()
    }
}

impl Policy {
    /// The policy of `tiers`, `rules` and `file`, the first. Its keys get slots from `places`.
    pub fn first(tiers: &Tiers, rules: &Rules, file: &KeyFile, places: Places) -> Result<Self, Problems> {
        let places = places.for_keys(file.entries().iter().map(|entry| entry.siphash));
        Self::build(tiers, rules, file, None, places)
    }

    /// The policy of `tiers`, `rules` and `file` that follows this one.
    pub fn next(&self, tiers: &Tiers, rules: &Rules, file: &KeyFile) -> Result<Self, Problems> {
        let mut places = self.places.clone();
        places.release(self.missing_in(file));
        Self::build(tiers, rules, file, Some(self), places)
    }

    fn build(
        tiers: &Tiers,
        rules: &Rules,
        file: &KeyFile,
        previous: Option<&Self>,
        mut places: Places,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut keys = Vec::with_capacity(file.entries().len());
        let mut by_digest = HashMap::with_capacity(file.entries().len());
        for entry in file.entries() {
            if let Some(name) = entry.rules.keys().find(|name| rules.get(name).is_none()) {
                problems.push(unknown_rule(file, entry, name, rules));
                continue;
            }
            let Some(limits) = entry.limits(tiers) else {
                problems.push(unknown_tier(file, entry, tiers));
                continue;
            };
            let before = previous.and_then(|previous| previous.by_digest.get(&entry.sha256));
            let Some(slot) = before.map(|key| key.slot).or_else(|| places.take(entry.siphash)) else {
                problems.push(too_many(file, places.count()));
                break;
            };
            let key = key(entry, limits, slot, before);
            by_digest.insert(entry.sha256, key.clone());
            keys.push(key);
        }
        let router = Router::new(rules, previous.map(|previous| &previous.router));
        let mut expiring: Vec<_> = keys.iter().filter(|key| key.expires.is_some()).cloned().collect();
        expiring.sort_by_key(|key| key.expires);
        problems.or(Self {
            secret: file.secret(),
            tiers: tiers.clone(),
            router,
            keys,
            by_digest,
            expiring,
            places,
        })
    }

    /// The slots of the keys that `file` no longer has.
    fn missing_in(&self, file: &KeyFile) -> Vec<u32> {
        let kept: HashSet<_> = file.entries().iter().map(|entry| &entry.sha256).collect();
        let missing = self.by_digest.iter().filter(|(digest, _)| !kept.contains(*digest));
        let mut slots: Vec<_> = missing.map(|(_, key)| key.slot).collect();
        slots.sort_unstable();
        slots
    }

    /// The key that is `presented`, disabled ones too. Compares hashes, so how long it takes tells nothing of
    /// a key.
    pub fn authenticate(&self, presented: &[u8]) -> Option<&Arc<Key>> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        self.by_digest.get(&digest)
    }

    /// All keys, disabled ones too, in the key file's order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter()
    }

    /// The tiers.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// The endpoint rules.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The keys that expire after `from` and no later than `to`, in seconds of Unix time.
    pub fn expiring(&self, from: u64, to: u64) -> impl Iterator<Item = &Arc<Key>> {
        let is_before = |time: u64| move |key: &Arc<Key>| key.expires.is_some_and(|expires| expires <= time);
        let (start, end) =
            (self.expiring.partition_point(is_before(from)), self.expiring.partition_point(is_before(to)));
        self.expiring.iter().take(end).skip(start)
    }

    /// Gives up memory of keys whose requests no longer count. To be called about once a second: each time it looks
    /// at another part of the keys, and at all of them in ten minutes.
    pub fn tidy(&self, now: u64) {
        const PARTS: usize = 600;
        let size = self.keys.len().div_ceil(PARTS);
        let part = (now / SECOND_NS) as usize % PARTS;
        self.keys.iter().skip(part * size).take(size).for_each(|key| key.usage.tidy(now));
    }

    /// The secret under which [`Key::siphash`] is.
    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// How this policy differs from `previous`, from which it was built.
    pub fn changes<'a>(&'a self, previous: &'a Self) -> Changes<'a> {
        let mut changes = Changes::default();
        for (digest, before) in &previous.by_digest {
            match self.by_digest.get(digest) {
                None => changes.removed.push(before),
                Some(key) if !Arc::ptr_eq(before, key) => changes.changed.push((before, key)),
                Some(_) => {}
            }
        }
        let is_new = |(digest, _): &(&[u8; 32], _)| !previous.by_digest.contains_key(*digest);
        changes.added.extend(self.by_digest.iter().filter(is_new).map(|(_, key)| key));
        changes
    }
}

/// The key of `entry`: the very one that was `before`, if nothing about it changed.
fn key(entry: &Entry, limits: Limits, slot: u32, before: Option<&Arc<Key>>) -> Arc<Key> {
    let key = Key {
        name: entry.name.clone(),
        tier: entry.tier.clone(),
        fingerprint: entry.fingerprint(),
        slot,
        siphash: entry.siphash,
        limits,
        enabled: !entry.disabled,
        // Before 1970 it has expired as well.
        expires: entry.expires.map(|time| u64::try_from(time.as_second()).unwrap_or(0)),
        usage: before.map(|key| key.usage.clone()).unwrap_or_default(),
    };
    match before {
        Some(before) if before.is_same(&key) => before.clone(),
        _ => Arc::new(key),
    }
}

fn unknown_tier(file: &KeyFile, entry: &Entry, tiers: &Tiers) -> Problem {
    let text = format!("key.tier: key {:?} has the {}", entry.name, unknown_tier_text(&entry.tier, tiers));
    Problem::in_file(file.path(), entry.line, text)
}

fn unknown_rule(file: &KeyFile, entry: &Entry, name: &str, rules: &Rules) -> Problem {
    let text = format!("key.rules: key {:?} has the {}", entry.name, unknown_rule_text(name, rules));
    Problem::in_file(file.path(), entry.line, text)
}

/// Says that there is no endpoint rule `name`, and which there are.
pub fn unknown_rule_text(name: &str, rules: &Rules) -> String {
    let names: Vec<_> = rules.rules.iter().map(|rule| rule.name.as_str()).collect();
    format!("unknown rule {name:?}; allowed: {}", names.join(", "))
}

/// Says that there is no tier `name`, and which there are.
pub fn unknown_tier_text(name: &str, tiers: &Tiers) -> String {
    let names: Vec<_> = tiers.keys().map(String::as_str).collect();
    format!("unknown tier {name:?}; allowed: {}", names.join(", "))
}

fn too_many(file: &KeyFile, max_keys: u32) -> Problem {
    let count = file.entries().len();
    Problem::in_file(file.path(), None, format!("{count} keys; kernel.max_keys allows {max_keys}"))
}

#[cfg(test)]
mod tests;
