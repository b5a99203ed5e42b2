//! What would come of a request, without charging it: for operators who ask why.
#![forbid(unsafe_code)]

use super::{Limit, Limiter, Verdict, bucket, hour_limit, limit_of, limits, rule_limit};
use crate::policy::Key;
use crate::rules::Applied;
use ratelimit_common::account::{WindowLimit, Windows};
use ratelimit_common::limit::Burst;

/// What would come of a request.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// The answer that it would get.
    pub verdict: Verdict,
    /// How the limits that apply to it stand.
    pub limits: Vec<LimitState>,
}

/// How one limit of a key stands.
#[derive(Clone, Debug)]
pub struct LimitState {
    /// Which one.
    pub limit: Limit,
    /// Requests that it admits in [`Self::window_seconds`].
    pub most: u32,
    /// What it admits now.
    pub remaining: u32,
    /// Length of its window, or the time in which the bucket refills.
    pub window_seconds: u32,
    /// Nanoseconds until it admits a request; 0 if it does now.
    pub wait_ns: u64,
}

/// Seconds from an empty bucket to a full one.
const REFILL_SECONDS: u32 = 60;

impl Limiter {
    /// What a request of `key` to which `rules` apply would get at `now`. Charges nothing.
    pub fn foresee(&self, key: &Key, rules: &[Applied], now: u64) -> Foresight {
        let mut windows = key.usage.account.lock();
        let bucket = self.slots.get(key.slot).map(|slot| bucket(key, rules, slot));
        let refusal = windows.foresee(limits(key, rules), bucket.as_ref(), now);
        let verdict = match refusal.map(|refusal| (limit_of(refusal.over, rules), refusal.wait_ns)) {
            None => Verdict::Admitted,
            Some((limit, wait_ns)) if self.observe => Verdict::Observed { limit, wait_ns },
            Some((limit, wait_ns)) => Verdict::Refused { limit, wait_ns },
        };
        let burst = self.burst_state(key, bucket.map_or(0, |bucket| bucket.wait(now)), now);
        let hour = window_state(Limit::Hour, &hour_limit(key, super::cost(rules)), &mut windows, now);
        let rules = rules.iter().map(|applied| {
            window_state(Limit::Rule(applied.clone()), &rule_limit(key, applied), &mut windows, now)
        });
        Foresight { verdict, limits: [burst, hour].into_iter().chain(rules).collect() }
    }

    fn burst_state(&self, key: &Key, wait_ns: u64, now: u64) -> LimitState {
        let most = key.limits.burst_per_minute;
        let word = self.slots.get(key.slot).map_or(0, |slot| slot.bucket.load());
        let remaining = u32::try_from(Burst::per_minute(most).tokens(word, now)).unwrap_or(u32::MAX);
        LimitState { limit: Limit::Burst, most, remaining, window_seconds: REFILL_SECONDS, wait_ns }
    }
}

fn window_state(limit: Limit, window: &WindowLimit, windows: &mut Windows, now: u64) -> LimitState {
    let (used, _) = windows.used(window, now);
    LimitState {
        limit,
        most: window.limit,
        remaining: window.limit.saturating_sub(used),
        window_seconds: window.span_seconds,
        wait_ns: windows.wait(window, now),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{applied, key, limiter, rule};
    use super::*;
    use ratelimit_common::SECOND_NS;

    /// What is foreseen comes, and asking changes nothing.
    #[test]
    fn what_is_foreseen_comes() {
        let key = key(5, 3);
        let limiter = limiter(&key, false);
        let rules = applied(vec![rule("search", "GET /search/*", 2)], "/search/x");
        for step in 0..12 {
            let now = SECOND_NS + step * 7 * SECOND_NS;
            let rules = if step % 3 == 0 { rules.as_slice() } else { &[] };
            let foreseen = limiter.foresee(&key, rules, now);
            let again = limiter.foresee(&key, rules, now);
            let came = limiter.judge(&key, rules, None, now);
            assert_eq!(format!("{foreseen:?}"), format!("{again:?}"));
            assert_eq!(format!("{:?}", foreseen.verdict), format!("{:?}", came.verdict), "step {step}");
        }
    }

    #[test]
    fn each_limit_is_told_with_its_state() {
        let key = key(5, 3);
        let limiter = limiter(&key, false);
        let rules = applied(vec![rule("search", "GET /search/*", 1)], "/search/x");
        limiter.judge(&key, &rules, None, SECOND_NS);
        let Foresight { verdict, limits } = limiter.foresee(&key, &rules, SECOND_NS);
        let told: Vec<_> = limits
            .iter()
            .map(|state| (state.limit.name(), state.most, state.remaining, state.wait_ns > 0))
            .collect();
        assert_eq!(told, [("burst", 3, 2, false), ("hour", 5, 4, false), ("search", 1, 0, true)]);
        assert!(matches!(verdict, Verdict::Refused { limit, .. } if limit.name() == "search"));
    }
}
