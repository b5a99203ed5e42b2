use super::*;
use crate::policy::{Limits, RuleLimits};
use crate::rules::{Endpoint, Room, Router, Rule, Rules};
use proptest::prelude::*;
use ratelimit_common::SECOND_NS;
use ratelimit_common::answer::seconds;
use ratelimit_common::limit::Charge;
use std::sync::Arc;

const SLOT: u32 = 3;

pub(super) fn key(requests_per_hour: u32, burst_per_minute: u32) -> Key {
    Key {
        name: "acme".into(),
        tier: "custom".into(),
        fingerprint: "00000000".into(),
        slot: SLOT,
        siphash: 0,
        limits: Limits { requests_per_hour, burst_per_minute, rules: Arc::default() },
        enabled: true,
        expires: None,
        usage: Arc::default(),
    }
}

pub(super) fn rule(name: &str, endpoint: &str, limit: u32) -> Rule {
    Rule {
        name: name.to_owned(),
        endpoints: vec![endpoint.parse::<Endpoint>().unwrap()],
        limit,
        window_seconds: 3_600,
        is_shared: true,
        cost: 1,
        bulk: None,
        is_dry_run: false,
    }
}

pub(super) fn applied(rules: Vec<Rule>, target: &str) -> Vec<Applied> {
    let router = Router::new(&Rules { rules, case_sensitive: false }, None);
    router.matching(&mut Room::default(), "GET", target).unwrap()
}

pub(super) fn limiter(key: &Key, observe: bool) -> Limiter {
    let limiter = Limiter::new(Slots::anonymous(8).unwrap(), observe);
    limiter.install(key, &[], 1);
    limiter
}

fn slot(limiter: &Limiter) -> &Slot {
    limiter.slots.get(SLOT).unwrap()
}

fn is_admitted(judgement: &Judgement) -> bool {
    matches!(judgement.verdict, Verdict::Admitted)
}

/// The name of the limit that refused, and the wait.
fn refused(judgement: &Judgement) -> (String, u64) {
    match &judgement.verdict {
        Verdict::Refused { limit, wait_ns } => (limit.name().to_owned(), *wait_ns),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Over any history: a client that waits as many seconds as it was told is admitted, one second less is too
    /// early, and what remains comes back when the reset said and not before.
    #[test]
    fn what_a_client_is_told_is_exact(
        limits in (1..40_u32, 1..30_u32, 1..20_u32, 1..20_u32),
        windows in (1..100_u32, 1..7_200_u32),
        costs in (1..4_u32, 1..4_u32),
        history in prop::collection::vec(
            (0..400_000_000_000_u64, 1..8_usize, prop::sample::select(vec!["/", "/a", "/b", "/a/b"]), any::<bool>()),
            1..20,
        ),
    ) {
        let (hour, burst, a, b) = limits;
        let a = Rule { window_seconds: windows.0, cost: costs.0, ..rule("a", "* /a/*", a) };
        let b = Rule { window_seconds: windows.1, cost: costs.1, ..rule("b", "* /:x/b", b) };
        let key = key(hour, burst);
        let limiter = limiter(&key, false);
        let bucket = Burst::per_minute(burst);
        let mut now = SECOND_NS;
        for (gap, requests, target, kernel_first) in history {
            now += gap;
            let rules = applied(vec![a.clone(), b.clone()], target);
            for _ in 0..requests {
                let charged = kernel_first && bucket.charge(&slot(&limiter).bucket, now) == Charge::Taken;
                let judged = limiter.judge(&key, &rules, charged.then_some(Credit::Paid), now);
                let nearest = judged.standing.nearest;
                prop_assert!(nearest.reset_ns > 0 && nearest.remaining <= nearest.limit);
                if let Verdict::Refused { wait_ns, .. } = judged.verdict {
                    let told = seconds(wait_ns) * SECOND_NS;
                    prop_assert!(!is_admitted(&limiter.judge(&key, &rules, None, now + told - SECOND_NS)));
                    now += told;
                    prop_assert!(is_admitted(&limiter.judge(&key, &rules, None, now)), "told {}", told);
                } else {
                    let later = |at| limiter.standing(&key, &[], at).hour.remaining;
                    let hour = judged.standing.hour;
                    prop_assert_eq!(later(now + hour.reset_ns - 1), hour.remaining);
                    if gap % 4 == 0 {
                        now += hour.reset_ns;
                        prop_assert!(later(now) > hour.remaining);
                    }
                }
            }
        }
    }
}

#[test]
fn of_the_hour_and_the_rules_the_nearest_to_refusing_is_described() {
    let key = key(10, 100);
    let limiter = limiter(&key, false);
    let rules = applied(vec![rule("search", "GET /search/*", 4)], "/search/x");
    let described = |rules: &[Applied]| {
        let nearest = limiter.judge(&key, rules, None, SECOND_NS).standing.nearest;
        (nearest.limit, nearest.remaining)
    };
    assert_eq!(described(&rules), (4, 3));
    // Elsewhere the rule has no say.
    assert_eq!(described(&[]), (10, 8));
    assert_eq!([(); 4].map(|()| described(&[])), [(10, 7), (10, 6), (10, 5), (10, 4)]);
    // Of three in four and three in ten the latter is the smaller share.
    assert_eq!(described(&rules), (10, 3));
    assert_eq!(described(&rules), (10, 2));
    assert_eq!(described(&rules), (4, 0));
    let judged = limiter.judge(&key, &rules, None, SECOND_NS);
    assert_eq!(refused(&judged).0, "search");
    assert_eq!((judged.standing.nearest.limit, judged.standing.hour.remaining), (4, 1));
    assert_eq!(key.usage.refused_rule.load(Ordering::Relaxed), 1);
    assert_eq!(rules[0].counts.refused.load(Ordering::Relaxed), 1);
}

#[test]
fn where_the_burst_alone_refuses_the_hour_is_described() {
    let key = key(10, 1);
    let limiter = limiter(&key, false);
    let rules = applied(vec![rule("search", "GET /search/*", 2)], "/search/x");
    assert!(is_admitted(&limiter.judge(&key, &rules, None, SECOND_NS)));
    let judged = limiter.judge(&key, &rules, None, SECOND_NS);
    assert_eq!(refused(&judged), ("burst".into(), 60 * SECOND_NS));
    assert_eq!((judged.standing.nearest.limit, judged.standing.nearest.remaining), (10, 9));
}

#[test]
fn a_request_costs_what_its_rule_says() {
    let key = key(10, 8);
    let limiter = limiter(&key, false);
    let dear = Rule { cost: 3, ..rule("dear", "GET /dear", 5) };
    let rules = applied(vec![dear, rule("cheap", "* /*", 100)], "/dear");
    let standing = limiter.judge(&key, &rules, Some(Credit::Paid), SECOND_NS).standing;
    // The kernel took a token that is not in this bucket.
    assert_eq!((standing.hour.remaining, standing.burst_remaining), (7, 6));
    assert_eq!(standing.rules.iter().map(|rule| rule.window.remaining).collect::<Vec<_>>(), [4, 99]);
    let standing = limiter.judge(&key, &rules, None, SECOND_NS).standing;
    assert_eq!((standing.hour.remaining, standing.burst_remaining), (4, 3));
    assert!(is_admitted(&limiter.judge(&key, &rules, None, SECOND_NS)));
    assert_eq!(refused(&limiter.judge(&key, &rules, None, SECOND_NS)).0, "hour");
    assert!(is_admitted(&limiter.judge(&key, &[], None, 61 * SECOND_NS)));
}

#[test]
fn a_key_and_its_tier_may_have_other_limits_than_the_rule() {
    let mut key = key(10, 100);
    key.limits.rules = Arc::new(RuleLimits::from([("search".to_owned(), 1)]));
    let limiter = limiter(&key, false);
    let rules = applied(vec![rule("search", "GET /search/*", 4)], "/search/x");
    assert!(is_admitted(&limiter.judge(&key, &rules, None, SECOND_NS)));
    assert_eq!(refused(&limiter.judge(&key, &rules, None, SECOND_NS)).0, "search");
}

#[test]
fn a_dry_run_of_a_rule_hides_none_in_force_and_refuses_nothing() {
    let key = key(10, 100);
    let limiter = limiter(&key, false);
    let tried = Rule { is_dry_run: true, cost: 9, ..rule("tried", "GET /a/*", 1) };
    let rules = applied(vec![tried, rule("in-force", "GET /a/*", 2)], "/a");
    let judged = limiter.judge(&key, &rules, None, SECOND_NS);
    assert!(is_admitted(&judged) && judged.standing.dry_runs.is_empty());
    assert_eq!(judged.standing.rules.len(), 1, "clients are not told of it");
    let judged = limiter.judge(&key, &rules, None, SECOND_NS);
    assert!(is_admitted(&judged));
    assert_eq!(judged.standing.dry_runs.iter().map(Limit::name).collect::<Vec<_>>(), ["tried"]);
    assert_eq!(refused(&limiter.judge(&key, &rules, None, SECOND_NS)).0, "in-force");
    let tried = rules.iter().find(|applied| applied.rule.is_dry_run).unwrap();
    assert_eq!(
        (key.usage.observed.load(Ordering::Relaxed), tried.counts.observed.load(Ordering::Relaxed)),
        (1, 1)
    );
    assert_eq!(limiter.standing(&key, &rules, SECOND_NS).hour.remaining, 8, "it costs nothing");
}

#[test]
fn a_spent_hour_blocks_the_key_in_the_kernel_until_it_admits_again() {
    let key = key(2, 100);
    let limiter = limiter(&key, false);
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 0);
    limiter.judge(&key, &[], None, 10 * SECOND_NS);
    assert_eq!(slot(&limiter).hour.load(), 2 << 32 | 1);
    limiter.judge(&key, &[], None, 20 * SECOND_NS);
    let until = slot(&limiter).blocked_until_ns.load();
    assert_eq!(until, (10 + 3_601) * SECOND_NS);
    assert_eq!(refused(&limiter.judge(&key, &[], None, until - 1)), ("hour".into(), 1));
    assert!(is_admitted(&limiter.judge(&key, &[], None, until)));
}

#[test]
fn a_rule_blocks_the_key_in_the_kernel_only_if_it_applies_to_every_request() {
    let one = applied(vec![rule("one", "GET /a", 1)], "/a");
    let key_of_one = key(5, 100);
    let limiter = limiter(&key_of_one, false);
    limiter.judge(&key_of_one, &one, None, SECOND_NS);
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 0);
    let all = applied(vec![Rule { window_seconds: 60, ..rule("all", "* /*", 1) }], "/a");
    let key_of_all = key(5, 100);
    limiter.judge(&key_of_all, &all, None, SECOND_NS);
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 62 * SECOND_NS);
    // What the kernel tells is what the proxy would tell.
    assert_eq!(slot(&limiter).hour.load(), 1 << 32);
    // The rule is gone.
    limiter.install(&key_of_all, &[], SECOND_NS);
    assert_eq!((slot(&limiter).blocked_until_ns.load(), slot(&limiter).hour.load()), (0, 5 << 32 | 4));
    let tried = applied(vec![Rule { is_dry_run: true, ..rule("all", "* /*", 1) }], "/a");
    limiter.judge(&key_of_all, &tried, None, SECOND_NS);
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 0);
}

#[test]
fn a_raised_limit_lifts_the_block_and_a_lowered_one_sets_it() {
    let mut key = key(1, 100);
    let limiter = limiter(&key, false);
    limiter.judge(&key, &[], None, SECOND_NS);
    assert!(slot(&limiter).blocked_until_ns.load() > 0);
    key.limits.requests_per_hour = 5;
    limiter.install(&key, &[], SECOND_NS);
    assert_eq!((slot(&limiter).blocked_until_ns.load(), slot(&limiter).hour.load()), (0, 5 << 32 | 4));
    key.limits.requests_per_hour = 1;
    limiter.install(&key, &[], SECOND_NS);
    assert!(slot(&limiter).blocked_until_ns.load() > 0);
}

#[test]
fn a_dry_run_of_everything_admits_and_charges_nothing_that_it_would_have_refused() {
    let key = key(1, 100);
    let limiter = limiter(&key, true);
    let trace = || (slot(&limiter).bucket.load(), limiter.standing(&key, &[], SECOND_NS).hour.remaining);
    limiter.judge(&key, &[], None, SECOND_NS);
    let before = trace();
    let judged = limiter.judge(&key, &[], None, SECOND_NS);
    assert!(matches!(judged.verdict, Verdict::Observed { limit: Limit::Hour, .. }));
    assert_eq!(judged.standing.dry_runs.iter().map(Limit::name).collect::<Vec<_>>(), ["hour"]);
    assert_eq!(trace(), before);
    // The kernel has let one pass, too.
    let judged = limiter.judge(&key, &[], Some(Credit::Observed), SECOND_NS);
    assert!(matches!(judged.verdict, Verdict::Observed { .. }));
    assert_eq!(trace(), before);
    assert_eq!(key.usage.observed.load(Ordering::Relaxed), 2);
}

#[test]
fn what_the_windows_refuse_is_refused_before_its_body_is_there() {
    let key = key(1, 100);
    let limiter = limiter(&key, false);
    let no_credit = || -> Option<Credit> { panic!("nothing is taken of a request that may be admitted") };
    assert!(limiter.refuse_early(&key, &[], no_credit, SECOND_NS).is_none());
    assert!(is_admitted(&limiter.judge(&key, &[], None, SECOND_NS)));
    let word = slot(&limiter).bucket.load();
    let bucket = Burst::per_minute(100);
    assert_eq!(bucket.charge(&slot(&limiter).bucket, SECOND_NS), Charge::Taken);
    let judged = limiter.refuse_early(&key, &[], || Some(Credit::Paid), SECOND_NS).unwrap();
    assert_eq!(refused(&judged).0, "hour");
    assert_eq!(slot(&limiter).bucket.load(), word);
}

#[test]
fn an_emptied_slot_gives_the_next_key_a_full_bucket() {
    let key = key(1, 2);
    let limiter = limiter(&key, false);
    limiter.judge(&key, &[], None, SECOND_NS);
    limiter.uninstall(SLOT);
    assert!(slot(&limiter).burst().is_none());
    let next = self::key(10, 2);
    limiter.install(&next, &[], SECOND_NS);
    let standing = limiter.standing(&next, &[], SECOND_NS);
    assert_eq!((standing.burst_remaining, standing.hour.remaining), (2, 10));
    assert_eq!(slot(&limiter).blocked_until_ns.load(), 0);
}
