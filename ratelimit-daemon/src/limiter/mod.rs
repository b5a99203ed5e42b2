//! The judgement of one request: all limits of its key together, charged to all of them or to none.
//!
//! What a key has used is its [`Account`]; its burst bucket is the word in its slot, which the kernel charges too.
//! A rule's dry run is judged last, when everything in force has admitted the request: so it hides nothing, and
//! nothing that it finds changes the answer.
#![forbid(unsafe_code)]

mod foresight;
mod standing;
#[cfg(test)]
mod tests;
mod unproxied;

pub use foresight::{Foresight, LimitState};
pub use standing::{RuleStanding, Standing, WindowStanding};

use crate::policy::Key;
use crate::record::Kind;
use crate::rules::{Applied, HOUR};
use crate::slots::Slots;
use ratelimit_common::account::{Account, Bucket, Over, Refusal, WindowLimit, Windows};
use ratelimit_common::flow::Credit;
use ratelimit_common::layout::Slot;
use ratelimit_common::limit::Burst;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length of the hour, in seconds.
pub const HOUR_SECONDS: u32 = ratelimit_common::HOUR_SECONDS as u32;

/// What a key has used. Lives as long as the key does, over every change of its limits.
#[derive(Debug, Default)]
pub struct Usage {
    account: Account,
    /// Requests that the proxy admitted, whoever charged them.
    pub admitted: AtomicU64,
    /// Requests that the proxy refused because the bucket was empty.
    pub refused_burst: AtomicU64,
    /// Requests that the proxy refused because the hour was used up.
    pub refused_hour: AtomicU64,
    /// Requests that the proxy refused by an endpoint rule.
    pub refused_rule: AtomicU64,
    /// Requests that a dry run admitted and that would have been refused.
    pub observed: AtomicU64,
}

impl Usage {
    /// Gives up memory that nothing counted at `now` needs.
    pub fn tidy(&self, now: u64) {
        self.account.lock().tidy(now);
    }

    /// Bytes of the heap that the counts take.
    pub fn heap_bytes(&self) -> usize {
        self.account.lock().heap_bytes()
    }
}

/// A limit that can refuse.
#[derive(Clone, Debug)]
pub enum Limit {
    /// The burst bucket.
    Burst,
    /// The sliding hour.
    Hour,
    /// An endpoint rule.
    Rule(Applied),
}

impl Limit {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Burst => "burst",
            Self::Hour => "hour",
            Self::Rule(applied) => &applied.rule.name,
        }
    }

    /// What a refusal by it counts as, if the proxy refuses.
    pub fn refusal(&self) -> Kind {
        match self {
            Self::Burst => Kind::RefusedBurst,
            Self::Hour => Kind::RefusedHour,
            Self::Rule(_) => Kind::RefusedRule,
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Within all limits, and charged to all.
    Admitted,
    /// Over `limit`, and charged to none; admitted after `wait_ns` nanoseconds (1 or more) if nothing else comes.
    Refused {
        /// The limit with the longest wait.
        limit: Limit,
        /// Nanoseconds from now.
        wait_ns: u64,
    },
    /// As `Refused`, but this is a dry run of everything, so it is admitted.
    Observed {
        /// The limit that would have refused.
        limit: Limit,
        /// Nanoseconds from now.
        wait_ns: u64,
    },
}

/// A verdict, and how the limits stand after it.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The answer.
    pub verdict: Verdict,
    /// The limits after it.
    pub standing: Standing,
}

/// Judges requests. A clone judges by the same state.
#[derive(Clone, Debug)]
pub struct Limiter {
    slots: Slots,
    observe: bool,
    has_proxy: bool,
}

impl Limiter {
    /// A limiter over `slots`; with `observe` it refuses nothing and counts what it would have refused.
    pub fn new(slots: Slots, observe: bool) -> Self {
        Self { slots, observe, has_proxy: true }
    }

    /// Judges one request of `key` at `now`, to which `rules` apply. `credit` is what the kernel left on the
    /// connection for it.
    pub fn judge(&self, key: &Key, rules: &[Applied], credit: Option<Credit>, now: u64) -> Judgement {
        self.judge_looked_into(key, rules, &[], credit, now)
    }

    /// The same for a request whose body was looked into: `objecting` are the rules that would refuse it for that,
    /// were they no dry run.
    pub fn judge_looked_into(
        &self,
        key: &Key,
        rules: &[Applied],
        objecting: &[Applied],
        credit: Option<Credit>,
        now: u64,
    ) -> Judgement {
        let slot = self.slots.get(key.slot);
        let mut windows = key.usage.account.lock();
        let bucket = slot.map(|slot| bucket(key, rules, slot));
        let judged = windows.judge(limits(key, rules), bucket, credit, now);
        let judgement = self.conclude(key, rules, objecting, &mut windows, judged, now);
        if let Some(slot) = slot {
            publish(key, rules, slot, &mut windows, now);
        }
        judgement
    }

    /// Judges one request by the windows alone, before its body is there; `None` unless they refuse it. `credit`
    /// is asked for what the kernel left only then.
    pub fn refuse_early(
        &self,
        key: &Key,
        rules: &[Applied],
        credit: impl FnOnce() -> Option<Credit>,
        now: u64,
    ) -> Option<Judgement> {
        let mut windows = key.usage.account.lock();
        if self.observe || windows.refusal(limits(key, rules), now).is_none() {
            return None;
        }
        let bucket = self.slots.get(key.slot).map(|slot| bucket(key, rules, slot));
        let judged = windows.judge(limits(key, rules), bucket, credit(), now);
        Some(self.conclude(key, rules, &[], &mut windows, judged, now))
    }

    /// Makes a judgement of what was `judged`, and counts it.
    fn conclude(
        &self,
        key: &Key,
        rules: &[Applied],
        objecting: &[Applied],
        windows: &mut Windows,
        judged: Result<(), Refusal>,
        now: u64,
    ) -> Judgement {
        let verdict = match judged.map_err(|refusal| (limit_of(refusal.over, rules), refusal.wait_ns)) {
            Ok(()) => Verdict::Admitted,
            Err((limit, wait_ns)) if self.observe => Verdict::Observed { limit, wait_ns },
            Err((limit, wait_ns)) => Verdict::Refused { limit, wait_ns },
        };
        let refused_by = if let Verdict::Refused { limit, .. } = &verdict { Some(limit) } else { None };
        let mut standing = Standing::of(key, rules, self.slots.get(key.slot), windows, refused_by, now);
        standing.dry_runs = match &verdict {
            Verdict::Admitted => dry_runs(key, rules, objecting, windows, now),
            Verdict::Observed { limit, .. } => vec![limit.clone()],
            Verdict::Refused { .. } => Vec::new(),
        };
        count(&key.usage, rules, &verdict, &standing.dry_runs);
        Judgement { verdict, standing }
    }

    /// How the limits of `key` stand at `now` for a request to which `rules` apply.
    pub fn standing(&self, key: &Key, rules: &[Applied], now: u64) -> Standing {
        let mut windows = key.usage.account.lock();
        Standing::of(key, rules, self.slots.get(key.slot), &mut windows, None, now)
    }

    /// Whether `key` has used nothing at `now` that any limit still counts.
    pub fn is_unused(&self, key: &Key, now: u64) -> bool {
        let mut windows = key.usage.account.lock();
        windows.tidy(now);
        let is_full = self.slots.get(key.slot).is_none_or(|slot| slot.bucket.load() <= now);
        windows.is_empty() && is_full
    }

    /// Requests that the hour of `key` counts at `now`.
    pub fn hour_used(&self, key: &Key, now: u64) -> u32 {
        key.usage.account.lock().used(&hour_limit(key, 1), now).0
    }

    /// Whether a proxy judges what the kernel leaves.
    pub fn has_proxy(&self) -> bool {
        self.has_proxy
    }

    /// The slot of `key`.
    pub fn slot(&self, key: &Key) -> Option<&Slot> {
        self.slots.get(key.slot)
    }

    /// Gives back `paid` tokens that the kernel took for requests which no limit counts.
    pub fn refund(&self, slot: u32, paid: u64) {
        let Some(slot) = self.slots.get(slot) else { return };
        if let Some(burst) = slot.burst() {
            for _ in 0..paid {
                burst.refund(&slot.bucket);
            }
        }
    }

    /// Brings the slot of `key` up to its limits as they are now: after a start, a new key, or a change of limits.
    /// `everywhere` are the rules that apply to every request.
    pub fn install(&self, key: &Key, everywhere: &[Applied], now: u64) {
        let Some(slot) = self.slots.get(key.slot) else { return };
        slot.owner.store(key.siphash);
        slot.set_burst(Burst::per_minute(key.limits.burst_per_minute));
        if !self.has_proxy {
            return self.follow_kernel(key, now);
        }
        publish(key, everywhere, slot, &mut key.usage.account.lock(), now);
        // The proxy counts the hour, so nothing that the kernel counts ends it.
        slot.hour_ceiling.store(u64::MAX);
    }

    /// Empties the slot of a key that is gone, for the next.
    pub fn uninstall(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot) {
            slot.clear();
        }
    }
}

/// What a request to which `rules` apply takes of the bucket in `slot`.
fn bucket<'a>(key: &Key, rules: &[Applied], slot: &'a Slot) -> Bucket<'a> {
    let burst = Burst::per_minute(key.limits.burst_per_minute);
    Bucket { burst, word: &slot.bucket, cost: cost(rules) }
}

/// The window limits in force: the hour, then those of `rules`.
fn limits(key: &Key, rules: &[Applied]) -> impl Iterator<Item = WindowLimit> + Clone {
    std::iter::once(hour_limit(key, cost(rules)))
        .chain(in_force(rules).map(|applied| rule_limit(key, applied)))
}

/// The limit with this place among [`limits`].
fn limit_of(over: Over, rules: &[Applied]) -> Limit {
    let rule = match over {
        Over::Burst => return Limit::Burst,
        Over::Window(index) => index.checked_sub(1).and_then(|index| in_force(rules).nth(index)),
    };
    rule.map_or(Limit::Hour, |applied| Limit::Rule(applied.clone()))
}

fn in_force(rules: &[Applied]) -> impl Iterator<Item = &Applied> + Clone {
    rules.iter().filter(|applied| !applied.rule.is_dry_run)
}

/// How many requests one counts as against the hour and the bucket: of several rules the dearest says.
fn cost(rules: &[Applied]) -> u32 {
    in_force(rules).map(|applied| applied.rule.cost).max().unwrap_or(1)
}

fn hour_limit(key: &Key, cost: u32) -> WindowLimit {
    WindowLimit { window: HOUR, span_seconds: HOUR_SECONDS, limit: key.limits.requests_per_hour, cost }
}

/// Against its own limit a request is one, whatever it costs.
fn rule_limit(key: &Key, applied: &Applied) -> WindowLimit {
    let Applied { rule, window, .. } = applied;
    WindowLimit { window: *window, span_seconds: rule.window_seconds, limit: key.limits.of(rule), cost: 1 }
}

/// Tells the kernel how the hour stands. While the hour, or a rule that applies to every request, admits nothing,
/// the kernel refuses by itself and describes that limit.
fn publish(key: &Key, rules: &[Applied], slot: &Slot, windows: &mut Windows, now: u64) {
    let everywhere = in_force(rules).filter(|applied| applied.is_everywhere);
    let limits =
        std::iter::once(hour_limit(key, 1)).chain(everywhere.map(|applied| rule_limit(key, applied)));
    let refusal = windows.refusal(limits.clone(), now);
    let described = match refusal.map(|refusal| refusal.over) {
        Some(Over::Window(index)) => limits.clone().nth(index),
        _ => limits.clone().next(),
    };
    let Some(limit) = described else { return };
    let (used, leaves) = windows.used(&limit, now);
    slot.hour.store(u64::from(limit.limit) << 32 | u64::from(limit.limit.saturating_sub(used)));
    slot.hour_reset_ns.store(leaves.unwrap_or(0));
    slot.blocked_until_ns.store(refusal.map_or(0, |refusal| now + refusal.wait_ns));
}

/// Tries those of `rules` that are in a dry run on an admitted request, and that are not among those `objecting` to its
/// body. Returns all that would have refused it.
fn dry_runs(
    key: &Key,
    rules: &[Applied],
    objecting: &[Applied],
    windows: &mut Windows,
    now: u64,
) -> Vec<Limit> {
    let objects = |applied: &Applied| objecting.iter().any(|other| other.window == applied.window);
    let tried = rules.iter().filter(|applied| applied.rule.is_dry_run && !objects(applied));
    let refusing = tried.filter(|applied| !windows.charge(&rule_limit(key, applied), now));
    objecting.iter().chain(refusing).cloned().map(Limit::Rule).collect()
}

fn count(usage: &Usage, rules: &[Applied], verdict: &Verdict, dry_runs: &[Limit]) {
    let add = |counter: &AtomicU64| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    match verdict {
        Verdict::Admitted => {
            add(&usage.admitted);
            rules.iter().for_each(|applied| add(&applied.counts.admitted));
        }
        Verdict::Observed { .. } => {}
        Verdict::Refused { limit: Limit::Burst, .. } => add(&usage.refused_burst),
        Verdict::Refused { limit: Limit::Hour, .. } => add(&usage.refused_hour),
        Verdict::Refused { limit: Limit::Rule(_), .. } => add(&usage.refused_rule),
    }
    if let Verdict::Refused { limit: Limit::Rule(applied), .. } = verdict {
        add(&applied.counts.refused);
    }
    if !dry_runs.is_empty() {
        add(&usage.observed);
    }
    for limit in dry_runs {
        if let Limit::Rule(applied) = limit {
            add(&applied.counts.observed);
        }
    }
}
