//! The hour where there is no proxy: the kernel counts what it admits, up to a ceiling that is moved here.
//!
//! The count is taken over at intervals of less than a second. A request is then counted as if it had come at that
//! moment, so it leaves the hour late by as much and never early; and the ceiling stands in the kernel, so that no
//! request too many is admitted between two looks.
#![forbid(unsafe_code)]

use super::{HOUR_SECONDS, Limiter, hour_limit, publish};
use crate::policy::Key;
use crate::slots::Slots;
use ratelimit_common::SECOND_NS;
use ratelimit_common::account::WindowLimit;
use std::sync::atomic::Ordering;

impl Limiter {
    /// A limiter over `slots` that the kernel judges by alone.
    pub fn without_proxy(slots: Slots, observe: bool) -> Self {
        Self { has_proxy: false, ..Self::new(slots, observe) }
    }

    /// Counts what the kernel has admitted of `key` since the last time, and tells it how many more the hour admits.
    /// Only where there is no proxy that counts.
    pub fn follow_kernel(&self, key: &Key, now: u64) {
        let Some(slot) = self.slots.get(key.slot) else { return };
        let mut windows = key.usage.account.lock();
        let admitted = slot.admitted.load();
        // What was admitted while there was no daemon is counted now: late, never too little.
        let new = admitted.saturating_sub(slot.followed.load());
        slot.followed.store(admitted);
        let limit = hour_limit(key, u32::try_from(new).unwrap_or(u32::MAX));
        if new > 0 {
            windows.add(&limit, now);
            key.usage.admitted.fetch_add(new, Ordering::Relaxed);
        }
        publish(key, &[], slot, &mut windows, now);
        let (used, _) = windows.used(&WindowLimit { cost: 1, ..limit }, now);
        slot.ceiling_until_ns.store(now + u64::from(HOUR_SECONDS) * SECOND_NS);
        slot.hour_ceiling.store(admitted + u64::from(limit.limit.saturating_sub(used)));
    }
}
