use super::*;
use crate::policy::Limits;
use proptest::prelude::*;
use std::sync::Arc;
use std::thread;

const SLOT: u32 = 3;

fn key(requests_per_hour: u32, burst_per_minute: u32) -> Key {
    Key {
        name: "acme".into(),
        tier: "custom".into(),
        fingerprint: "00000000".into(),
        slot: SLOT,
        siphash: 0,
        limits: Limits { requests_per_hour, burst_per_minute },
        enabled: true,
        usage: Arc::default(),
    }
}

fn limiter(key: &Key, observe: bool) -> Limiter {
    let limiter = Limiter::new(Slots::anonymous(8).unwrap(), observe);
    limiter.install(key, 1);
    limiter
}

fn slot(limiter: &Limiter) -> &Slot {
    limiter.slots.get(SLOT).unwrap()
}

/// What a refusal must leave as it was.
fn trace(limiter: &Limiter, key: &Key, now: u64) -> (u64, u32) {
    (slot(limiter).bucket.load(), key.usage.hour().used(now))
}

proptest! {
    /// Over any history, with and without the kernel's charges: what is refused leaves no trace, the told wait
    /// is exact, and neither limit is ever passed.
    #[test]
    fn a_request_is_charged_to_all_limits_or_to_none(
        hour in 1..40_u32,
        burst in 1..30_u32,
        history in prop::collection::vec((0..400_000_000_000_u64, 1..20_usize, any::<bool>()), 1..40),
    ) {
        let key = key(hour, burst);
        let limiter = limiter(&key, false);
        let bucket = Burst::per_minute(burst);
        let mut now = SECOND_NS;
        for (gap, requests, kernel_first) in history {
            now += gap;
            for _ in 0..requests {
                let before = trace(&limiter, &key, now);
                // The kernel sees the request first, and the proxy only what the kernel admits.
                let charged = kernel_first && bucket.charge(&slot(&limiter).bucket, now) == Charge::Taken;
                let credit = charged.then_some(Credit::Paid);
                let judged = limiter.judge(&key, credit, now);
                let after = trace(&limiter, &key, now);
                match judged.verdict {
                    Verdict::Admitted => {
                        prop_assert_eq!(after, (before.0.max(now) + bucket.interval_ns(), before.1 + 1));
                        prop_assert!(after.1 <= hour);
                    }
                    Verdict::Refused { wait_ns, .. } => {
                        // A refund may leave a bucket that was full as full as it is now.
                        prop_assert_eq!((after.0.max(now), after.1), (before.0.max(now), before.1));
                        let early = limiter.judge(&key, None, now + wait_ns - 1).verdict;
                        prop_assert!(matches!(early, Verdict::Refused { .. }), "admitted before its time");
                        now += wait_ns;
                        prop_assert_eq!(limiter.judge(&key, None, now).verdict, Verdict::Admitted);
                    }
                    Verdict::Observed { .. } => prop_assert!(false, "this is no dry run"),
                }
            }
        }
    }
}

#[test]
fn threads_admit_exactly_the_smaller_limit() {
    for (hour, burst) in [(1_000, 5_000), (5_000, 1_000)] {
        let key = key(hour, burst);
        let limiter = limiter(&key, false);
        let admit = || {
            (0..2_000).filter(|_| limiter.judge(&key, None, SECOND_NS).verdict == Verdict::Admitted).count()
        };
        let admitted: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1_000);
        assert_eq!(key.usage.hour().used(SECOND_NS), 1_000);
        assert_eq!(
            Burst::per_minute(burst).tokens(slot(&limiter).bucket.load(), SECOND_NS),
            u64::from(burst) - 1_000
        );
    }
}

#[test]
fn a_spent_hour_blocks_the_key_in_the_kernel_until_it_admits_again() {
    let key = key(2, 100);
    let limiter = limiter(&key, false);
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 0);
    limiter.judge(&key, None, 10 * SECOND_NS);
    assert_eq!(slot(&limiter).hour.load(), 2 << 32 | 1);
    limiter.judge(&key, None, 20 * SECOND_NS);
    let until = slot(&limiter).blocked_until_ns.load();
    assert_eq!(until, (10 + 3_601) * SECOND_NS);
    assert!(matches!(
        limiter.judge(&key, None, until - 1).verdict,
        Verdict::Refused { limit: Limit::Hour, wait_ns: 1 }
    ));
    assert_eq!(limiter.judge(&key, None, until).verdict, Verdict::Admitted);
}

#[test]
fn a_raised_limit_lifts_the_block_and_a_lowered_one_sets_it() {
    let mut key = key(1, 100);
    let limiter = limiter(&key, false);
    limiter.judge(&key, None, SECOND_NS);
    assert!(slot(&limiter).blocked_until_ns.load() > 0);
    key.limits.requests_per_hour = 5;
    limiter.install(&key, SECOND_NS);
    assert_eq!((slot(&limiter).blocked_until_ns.load(), slot(&limiter).hour.load()), (0, 5 << 32 | 4));
    key.limits.requests_per_hour = 1;
    limiter.install(&key, SECOND_NS);
    assert!(slot(&limiter).blocked_until_ns.load() > 0);
}

#[test]
fn a_dry_run_admits_and_charges_nothing_that_it_would_have_refused() {
    let key = key(1, 100);
    let limiter = limiter(&key, true);
    limiter.judge(&key, None, SECOND_NS);
    let before = trace(&limiter, &key, SECOND_NS);
    let judged = limiter.judge(&key, None, SECOND_NS);
    assert!(matches!(judged.verdict, Verdict::Observed { limit: Limit::Hour, .. }));
    assert_eq!(trace(&limiter, &key, SECOND_NS), before);
    // The kernel has let one pass, too.
    assert!(matches!(
        limiter.judge(&key, Some(Credit::Observed), SECOND_NS).verdict,
        Verdict::Observed { .. }
    ));
    assert_eq!(trace(&limiter, &key, SECOND_NS), before);
}

#[test]
fn an_emptied_slot_gives_the_next_key_a_full_bucket() {
    let key = key(1, 2);
    let limiter = limiter(&key, false);
    limiter.judge(&key, None, SECOND_NS);
    limiter.uninstall(SLOT);
    assert!(slot(&limiter).burst().is_none());
    let next = self::key(10, 2);
    limiter.install(&next, SECOND_NS);
    let standing = limiter.standing(&next, SECOND_NS);
    assert_eq!((standing.burst_remaining, standing.hour_remaining), (2, 10));
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 0);
}
