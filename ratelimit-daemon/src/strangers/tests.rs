use super::*;
use crate::limiter::Verdict;
use proptest::prelude::*;
use ratelimit_common::SECOND_NS;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

fn limits(requests_per_hour: u32, burst_per_minute: u32) -> Limits {
    Limits { requests_per_hour, burst_per_minute, rules: Arc::default() }
}

fn address(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

/// Whether a request from `address` is admitted; `None` if there is no room for it.
fn ask(strangers: &Strangers, address: IpAddr, limits: &Limits, now: u64) -> Option<bool> {
    let key = strangers.find(address, limits, now)?;
    let judgement = strangers.limiter().judge(&key, &[], None, now);
    Some(matches!(judgement.verdict, Verdict::Admitted))
}

#[test]
fn a_client_is_an_address_or_a_network_of_64_bits() {
    let strangers = Strangers::new("anonymous", 8, false).unwrap();
    let cases = [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
    ];
    for (address, name) in cases {
        let key = strangers.find(address.parse().unwrap(), &limits(1, 1), 1).unwrap();
        assert_eq!((key.name.as_str(), key.tier.as_str()), (name, "anonymous"));
    }
    assert_eq!(strangers.len(), 5);
}

#[test]
fn a_full_room_takes_nobody_until_somebody_has_nothing_left_that_counts() {
    let strangers = Strangers::new("anonymous", 2, false).unwrap();
    let limits = limits(1, 10);
    assert_eq!(ask(&strangers, address(1), &limits, SECOND_NS), Some(true));
    assert_eq!(ask(&strangers, address(2), &limits, 10 * SECOND_NS), Some(true));
    assert_eq!(ask(&strangers, address(3), &limits, 20 * SECOND_NS), None);
    assert_eq!(ask(&strangers, address(1), &limits, 20 * SECOND_NS), Some(false), "it is still known");
    // The first hour is over, counted in whole seconds; the second is not.
    assert_eq!(ask(&strangers, address(3), &limits, 3_602 * SECOND_NS), Some(true));
    assert_eq!(ask(&strangers, address(1), &limits, 3_603 * SECOND_NS), None);
    assert_eq!(ask(&strangers, address(2), &limits, 3_604 * SECOND_NS), Some(false));
}

#[test]
fn who_is_held_is_not_forgotten() {
    let strangers = Strangers::new("anonymous", 1, false).unwrap();
    let held = strangers.find(address(1), &limits(1, 1), 1).unwrap();
    assert!(strangers.find(address(2), &limits(1, 1), u64::MAX / 2).is_none());
    drop(held);
    // Other limits make another key of it, which shares what was used.
    let held = strangers.find(address(1), &limits(1, 1), 1).unwrap();
    assert!(Arc::ptr_eq(&held.usage, &strangers.find(address(1), &limits(2, 2), 1).unwrap().usage));
    assert!(strangers.find(address(2), &limits(1, 1), u64::MAX / 2).is_none());
    drop(held);
    assert!(strangers.find(address(2), &limits(1, 1), u64::MAX / 2).is_some());
}

#[test]
fn other_limits_take_effect_and_forget_nothing() {
    let strangers = Strangers::new("anonymous", 1, false).unwrap();
    for number in 0..5 {
        assert_eq!(ask(&strangers, address(1), &limits(3, 100), SECOND_NS), Some(number < 3));
    }
    for number in 0..5 {
        assert_eq!(ask(&strangers, address(1), &limits(5, 100), 2 * SECOND_NS), Some(number < 2));
    }
}

#[test]
fn a_sweep_forgets_who_has_nothing_left_and_nobody_else() {
    let strangers = Strangers::new("anonymous", 100, false).unwrap();
    for number in 0..100 {
        let now = if number < 50 { SECOND_NS } else { 100 * SECOND_NS };
        assert_eq!(ask(&strangers, address(number), &limits(9, 9), now), Some(true));
    }
    (0..SWEEPS).for_each(|_| strangers.sweep(3_650 * SECOND_NS));
    assert_eq!(strangers.len(), 50);
    (0..SWEEPS).for_each(|_| strangers.sweep(3_702 * SECOND_NS));
    assert!(strangers.is_empty());
}

/// Threads that find, judge and forget at once, all within a second: nobody can have a second bucket.
#[test]
fn threads_do_not_forget_what_others_charge() {
    let strangers = Strangers::new("anonymous", 4, false).unwrap();
    let limits = limits(1_000, 5);
    let admitted: Vec<_> = (0..12).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for start in 0..4 {
            let (strangers, limits, admitted) = (&strangers, &limits, &admitted);
            scope.spawn(move || {
                for step in 0..20_000 {
                    let number = (start * 3 + step) % 12;
                    let is_admitted = ask(strangers, address(number as u8), limits, SECOND_NS) == Some(true);
                    admitted[number].fetch_add(is_admitted.into(), Ordering::Relaxed);
                    strangers.sweep(SECOND_NS);
                }
            });
        }
    });
    let mut counts: Vec<_> = admitted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 5]);
}

/// One request: the address that it is from, and how much time has passed since the last.
fn requests() -> impl Strategy<Value = Vec<(u8, u64)>> {
    let pause = prop_oneof![8 => 0..SECOND_NS, 4 => 0..100 * SECOND_NS, 1 => 0..4_000 * SECOND_NS];
    prop::collection::vec((0..12_u8, pause), 1..400)
}

proptest! {
    /// However addresses come and go, with sweeps between: none is ever admitted more than its limits allow, and
    /// who is in the room is judged as if there were room for all.
    #[test]
    fn no_address_gets_more_by_being_forgotten(requests in requests(), most in 1..8_u32) {
        let limits = limits(5, 3);
        let small = Strangers::new("anonymous", most, false).unwrap();
        let mut admitted: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let mut now = SECOND_NS;
        for (number, pause) in requests {
            now += pause;
            small.sweep(now);
            if ask(&small, address(number), &limits, now) == Some(true) {
                admitted.entry(number).or_default().push(now);
            }
            prop_assert!(small.len() <= most as usize);
        }
        for times in admitted.values() {
            // Within any hour, and within any time by the bucket: 3 at once and one more each 20 s.
            for window in times.windows(6) {
                prop_assert!(window[5] - window[0] >= 3_600 * SECOND_NS, "{times:?}");
            }
            for (from, first) in times.iter().enumerate() {
                for (count, last) in times[from..].iter().enumerate() {
                    let most = 3 + (last - first) / (20 * SECOND_NS);
                    prop_assert!((count as u64) < most, "{times:?}");
                }
            }
        }
    }
}
