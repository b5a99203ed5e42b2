//! Who and what has requests: everybody together, each key, each route, each rule.

use super::frame::Id;
use super::kind::{Counts, Kind};
use crate::limiter::{Limiter, Usage};
use crate::policy::{Key, Policy};
use crate::rules;
use ratelimit_common::layout::Slot;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Everybody together.
pub const TOTAL: Id = 0;

/// Everybody without a key.
pub const KEYLESS: Id = 1;

/// Routes that are not told apart.
pub const OTHER_ROUTES: Id = 2;

/// Routes and rules have numbers from here on,
const FIRST_NAMED: Id = 3;

/// and keys from here on.
pub const FIRST_KEY: Id = 512;

/// A key, and what was last seen of it.
#[derive(Debug)]
pub struct Watched {
    /// Its number, for as long as it is in the key file.
    pub id: Id,
    /// The key.
    pub key: Arc<Key>,
    /// What its counters said at the last look.
    seen: [u64; SEEN.len()],
    /// Requests that its hour counts, as of the last time that it was looked at.
    pub used: u32,
    /// Requests that were admitted in the last hour, to the minute.
    pub admitted: u32,
    /// Requests that were refused in the last hour, to the minute.
    pub refused: u32,
}

/// What the counters of a key tell.
const SEEN: [Kind; 7] = [
    Kind::Admitted,
    Kind::RefusedBurst,
    Kind::RefusedHour,
    Kind::RefusedRule,
    Kind::Observed,
    Kind::KernelBurst,
    Kind::KernelHour,
];

impl Watched {
    pub(super) fn new(id: Id, key: &Arc<Key>) -> Self {
        Self { id, key: key.clone(), seen: [0; SEEN.len()], used: 0, admitted: 0, refused: 0 }
    }

    /// What came of its requests since the last look.
    pub(super) fn look(&mut self, limiter: &Limiter) -> Counts {
        let now = seen(&self.key.usage, limiter.slot(&self.key), limiter.has_proxy());
        let mut counts = Counts::default();
        if now == self.seen {
            return counts;
        }
        for ((kind, now), before) in SEEN.into_iter().zip(now).zip(self.seen) {
            // A counter that went back has begun anew.
            counts.add(kind, now.checked_sub(before).unwrap_or(now));
        }
        self.seen = now;
        counts
    }
}

/// In the order of [`SEEN`].
fn seen(usage: &Usage, slot: Option<&Slot>, has_proxy: bool) -> [u64; SEEN.len()] {
    let [burst, blocked, observed] = slot.map_or([0; 3], |slot| {
        [slot.refused_burst.load(), slot.refused_blocked.load(), slot.observed.load()]
    });
    let [admitted, refused_burst, refused_hour, refused_rule, would] =
        [&usage.admitted, &usage.refused_burst, &usage.refused_hour, &usage.refused_rule, &usage.observed]
            .map(|count| count.load(Ordering::Relaxed));
    // What the kernel lets pass reaches the proxy, where there is one, and is counted there.
    let observed = if has_proxy { would } else { observed };
    [admitted, refused_burst, refused_hour, refused_rule, observed, burst, blocked]
}

/// A rule, or one endpoint of a rule whose endpoints do not share their limit.
#[derive(Debug)]
struct WatchedRule {
    id: Id,
    counts: Arc<rules::Counts>,
    seen: [u64; 3],
}

/// Everybody and everything by number.
#[derive(Debug, Default)]
pub struct Subjects {
    /// In the order of their numbers.
    keys: Vec<Watched>,
    by_slot: HashMap<u32, Id>,
    next_key: Id,
    rules: Vec<WatchedRule>,
    tiers: Vec<String>,
    /// Routes and rules.
    names: BTreeMap<Name, Id>,
}

/// What a route or a rule is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A method and a path without what differs from request to request.
    Route(String),
    /// A rule, and its endpoint if it does not share its limit.
    Rule(String),
}

impl Subjects {
    /// Takes over the keys and rules of `policy`. Keys are known again by what they have used, whatever their name.
    pub(super) fn follow(&mut self, policy: &Policy) {
        let mut known: HashMap<_, _> = std::mem::take(&mut self.keys)
            .into_iter()
            .map(|watched| (address(&watched.key), watched))
            .collect();
        self.by_slot.clear();
        self.tiers = policy.tiers().keys().cloned().collect();
        for key in policy.keys() {
            let watched = match known.remove(&address(key)) {
                Some(watched) => Watched { key: key.clone(), ..watched },
                None => {
                    self.next_key += 1;
                    Watched::new(FIRST_KEY - 1 + self.next_key, key)
                }
            };
            self.by_slot.insert(key.slot, watched.id);
            self.keys.push(watched);
        }
        self.keys.sort_unstable_by_key(|watched| watched.id);
        // A rule that is gone keeps its place: it may come back with the same counts.
        for applied in policy.router().windows() {
            if self.rules.iter().any(|rule| Arc::ptr_eq(&applied.counts, &rule.counts)) {
                continue;
            }
            let id = self.id(Name::Rule(applied.window_name()));
            self.rules.push(WatchedRule { id, counts: applied.counts.clone(), seen: [0; 3] });
        }
    }

    /// The number of a route or a rule; that of all others when there is no number left.
    pub(super) fn id(&mut self, name: Name) -> Id {
        let next = FIRST_NAMED + self.names.len() as Id;
        if next >= FIRST_KEY {
            return self.names.get(&name).copied().unwrap_or(OTHER_ROUTES);
        }
        *self.names.entry(name).or_insert(next)
    }

    /// The routes and rules, each with its number.
    pub fn names(&self) -> impl Iterator<Item = (&Name, Id)> {
        self.names.iter().map(|(name, id)| (name, *id))
    }

    /// The tiers' names.
    pub fn tiers(&self) -> impl Iterator<Item = &str> {
        self.tiers.iter().map(String::as_str)
    }

    /// The keys, in the order of their numbers.
    pub fn keys(&self) -> &[Watched] {
        &self.keys
    }

    pub(super) fn keys_mut(&mut self) -> &mut [Watched] {
        &mut self.keys
    }

    /// The key with this number.
    pub fn key(&self, id: Id) -> Option<&Watched> {
        let index = self.keys.binary_search_by_key(&id, |watched| watched.id).ok()?;
        self.keys.get(index)
    }

    pub(super) fn key_mut(&mut self, id: Id) -> Option<&mut Watched> {
        let index = self.keys.binary_search_by_key(&id, |watched| watched.id).ok()?;
        self.keys.get_mut(index)
    }

    /// The number of the key in `slot`.
    pub(super) fn in_slot(&self, slot: u32) -> Option<Id> {
        self.by_slot.get(&slot).copied()
    }

    /// What came of requests under each rule since the last look.
    pub(super) fn look_at_rules(&mut self) -> impl Iterator<Item = (Id, Counts)> {
        self.rules.iter_mut().map(|rule| {
            let now = [&rule.counts.admitted, &rule.counts.refused, &rule.counts.observed]
                .map(|count| count.load(Ordering::Relaxed));
            let mut counts = Counts::default();
            let kinds = [Kind::Admitted, Kind::RefusedRule, Kind::Observed];
            for ((kind, now), before) in kinds.into_iter().zip(now).zip(rule.seen) {
                counts.add(kind, now.saturating_sub(before));
            }
            rule.seen = now;
            (rule.id, counts)
        })
    }
}

/// What tells a key from all others for as long as anybody holds it.
fn address(key: &Key) -> *const Usage {
    Arc::as_ptr(&key.usage)
}
