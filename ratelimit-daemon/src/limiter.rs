//! The judgement of one request: all limits of its key together, charged to all of them or to none.
//!
//! A key's hour is behind its own mutex, which a judgement holds; its burst bucket is the word that the kernel
//! charges too. Whatever the hour says is decided before the bucket is touched, so a refusal leaves no trace.
#![forbid(unsafe_code)]

use crate::policy::Key;
use crate::slots::Slots;
use ratelimit_common::SECOND_NS;
use ratelimit_common::flow::Credit;
use ratelimit_common::layout::Slot;
use ratelimit_common::limit::{Burst, Charge, Decision};
use ratelimit_common::window::Window;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Length of the hour, in seconds.
pub const HOUR_SECONDS: u32 = 3_600;

/// What a key has used. Lives as long as the key does, over every change of its limits.
#[derive(Debug)]
pub struct Usage {
    hour: Mutex<Window>,
    /// Requests that the proxy admitted, whoever charged them.
    pub admitted: AtomicU64,
    /// Requests that the proxy refused because the bucket was empty.
    pub refused_burst: AtomicU64,
    /// Requests that the proxy refused because the hour was used up.
    pub refused_hour: AtomicU64,
    /// Requests that a dry run admitted and that would have been refused.
    pub observed: AtomicU64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            hour: Mutex::new(Window::new(HOUR_SECONDS)),
            admitted: AtomicU64::new(0),
            refused_burst: AtomicU64::new(0),
            refused_hour: AtomicU64::new(0),
            observed: AtomicU64::new(0),
        }
    }
}

impl Usage {
    fn hour(&self) -> MutexGuard<'_, Window> {
        // A window is consistent between any two statements that could panic.
        self.hour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit that can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The burst bucket.
    Burst,
    /// The sliding hour.
    Hour,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// As `Refused`, but this is a dry run, so it is admitted.
    Observed {
        /// The limit that would have refused.
        limit: Limit,
        /// Nanoseconds from now.
        wait_ns: u64,
    },
}

/// How a key's limits stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests per hour.
    pub hour_limit: u32,
    /// What the hour still admits.
    pub hour_remaining: u32,
    /// Nanoseconds until the oldest counted request leaves the hour; the whole hour if there is none.
    pub hour_reset_ns: u64,
    /// Capacity of the bucket.
    pub burst_capacity: u32,
    /// Tokens in the bucket.
    pub burst_remaining: u32,
    /// Nanoseconds until the bucket has one token more; 0 when it is full.
    pub burst_reset_ns: u64,
}

/// A verdict, and how the limits stand after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Limiter {
    /// A limiter over `slots`; with `observe` it refuses nothing and counts what it would have refused.
    pub fn new(slots: Slots, observe: bool) -> Self {
        Self { slots, observe }
    }

    /// Judges one request of `key` at `now`. `credit` is what the kernel left on the connection for it.
    pub fn judge(&self, key: &Key, credit: Option<Credit>, now: u64) -> Judgement {
        let burst = Burst::per_minute(key.limits.burst_per_minute);
        let mut hour = key.usage.hour();
        let slot = self.slots.get(key.slot);
        let verdict = match over_limit(key, &burst, slot, &mut hour, credit, now) {
            None => {
                hour.charge(now);
                Verdict::Admitted
            }
            Some((limit, wait_ns)) if self.observe => Verdict::Observed { limit, wait_ns },
            Some((limit, wait_ns)) => Verdict::Refused { limit, wait_ns },
        };
        if let Some(slot) = slot {
            self.publish(key, slot, &mut hour, now);
        }
        count(&key.usage, verdict);
        Judgement { verdict, standing: standing(key, &burst, slot, &mut hour, now) }
    }

    /// How the limits of `key` stand at `now`.
    pub fn standing(&self, key: &Key, now: u64) -> Standing {
        let burst = Burst::per_minute(key.limits.burst_per_minute);
        standing(key, &burst, self.slots.get(key.slot), &mut key.usage.hour(), now)
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
    pub fn install(&self, key: &Key, now: u64) {
        let Some(slot) = self.slots.get(key.slot) else { return };
        let mut hour = key.usage.hour();
        slot.set_burst(Burst::per_minute(key.limits.burst_per_minute));
        self.publish(key, slot, &mut hour, now);
    }

    /// Empties the slot of a key that is gone, for the next.
    pub fn uninstall(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot) {
            let words = [&slot.interval_ns, &slot.depth_ns, &slot.bucket, &slot.blocked_until_ns];
            let counts = [&slot.hour, &slot.hour_reset_ns, &slot.admitted, &slot.refused_burst];
            let rest = [&slot.refused_blocked, &slot.observed];
            words.into_iter().chain(counts).chain(rest).for_each(|word| word.store(0));
        }
    }

    /// Tells the kernel how the hour stands; while it admits nothing the kernel refuses by itself.
    fn publish(&self, key: &Key, slot: &Slot, hour: &mut Window, now: u64) {
        let limit = key.limits.requests_per_hour;
        let wait = hour.wait(limit, now);
        let remaining = limit.saturating_sub(hour.used(now));
        slot.hour.store(u64::from(limit) << 32 | u64::from(remaining));
        slot.hour_reset_ns.store(hour.oldest_leaves(now).unwrap_or(0));
        slot.blocked_until_ns.store(if wait == 0 { 0 } else { now + wait });
    }
}

/// Charges the bucket if every limit admits; else names the limit with the longest wait, nothing charged.
fn over_limit(
    key: &Key,
    burst: &Burst,
    slot: Option<&Slot>,
    hour: &mut Window,
    credit: Option<Credit>,
    now: u64,
) -> Option<(Limit, u64)> {
    let hour_wait = hour.wait(key.limits.requests_per_hour, now);
    let Some(slot) = slot else { return (hour_wait > 0).then_some((Limit::Hour, hour_wait)) };
    let bucket_wait = match credit {
        _ if hour_wait > 0 => {
            if credit == Some(Credit::Paid) {
                burst.refund(&slot.bucket);
            }
            bucket_wait(burst, slot, now)
        }
        Some(Credit::Paid) => 0,
        // The kernel has seen the bucket empty in this dry run; it may have a token again.
        Some(Credit::Observed) => bucket_wait(burst, slot, now).max(1),
        None => charge(burst, slot, now),
    };
    match hour_wait.max(bucket_wait) {
        0 => None,
        wait_ns if wait_ns == hour_wait => Some((Limit::Hour, wait_ns)),
        wait_ns => Some((Limit::Burst, wait_ns)),
    }
}

/// Takes a token; returns 0, or the nanoseconds until there is one.
fn charge(burst: &Burst, slot: &Slot, now: u64) -> u64 {
    loop {
        match burst.charge(&slot.bucket, now) {
            Charge::Taken => return 0,
            Charge::Wait(wait) => return wait,
            // Each failed attempt is a charge of someone else: the bucket runs empty before this goes on for long.
            Charge::Contended => {}
        }
    }
}

/// Nanoseconds until there is a token; 0 if there is one.
fn bucket_wait(burst: &Burst, slot: &Slot, now: u64) -> u64 {
    match burst.decide(slot.bucket.load(), now) {
        Decision::Wait(wait) => wait,
        Decision::Admit(_) => 0,
    }
}

fn count(usage: &Usage, verdict: Verdict) {
    let counter = match verdict {
        Verdict::Admitted => &usage.admitted,
        Verdict::Observed { .. } => &usage.observed,
        Verdict::Refused { limit: Limit::Burst, .. } => &usage.refused_burst,
        Verdict::Refused { limit: Limit::Hour, .. } => &usage.refused_hour,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

fn standing(key: &Key, burst: &Burst, slot: Option<&Slot>, hour: &mut Window, now: u64) -> Standing {
    let hour_limit = key.limits.requests_per_hour;
    let full = u64::from(HOUR_SECONDS) * SECOND_NS;
    let word = slot.map_or(0, |slot| slot.bucket.load());
    let tokens = burst.tokens(word, now);
    let debt = word.saturating_sub(now);
    Standing {
        hour_limit,
        hour_remaining: hour_limit.saturating_sub(hour.used(now)),
        hour_reset_ns: hour.oldest_leaves(now).map_or(full, |leaves| leaves - now),
        burst_capacity: key.limits.burst_per_minute,
        burst_remaining: u32::try_from(tokens).unwrap_or(u32::MAX),
        burst_reset_ns: if debt == 0 { 0 } else { (debt - 1) % burst.interval_ns() + 1 },
    }
}

#[cfg(test)]
mod tests;
