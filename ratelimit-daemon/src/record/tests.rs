use super::tally::MOST_ROUTES;
use super::*;
use crate::keys::{Entry, KeyFile};
use crate::limiter::Verdict;
use crate::places::Places;
use crate::policy::{Key, built_in_tiers};
use crate::rules::{Room, Rules};
use crate::slots::Slots;
use proptest::prelude::*;
use ratelimit_common::hash::Secret;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

const START: u64 = 1_000 * SECOND_NS;
const UNIX: u64 = 1_700_000_000 * SECOND_NS;

fn policy(keys: Range<u8>, previous: Option<&Policy>) -> Arc<Policy> {
    let entry = |number: u8| {
        let (name, tier) = (format!("key-{number}"), "professional".to_owned());
        Entry { name, tier, sha256: [number; 32], siphash: number.into(), ..Entry::default() }
    };
    let file = KeyFile::of(Path::new("keys.toml"), Secret { k0: 1, k1: 2 }, keys.map(entry).collect());
    let (tiers, rules) = (built_in_tiers(), Rules::built_in());
    let policy = match previous {
        None => Policy::first(&tiers, &rules, &file, Places::new(16)),
        Some(previous) => previous.next(&tiers, &rules, &file),
    };
    Arc::new(policy.unwrap())
}

/// A proxy of one thread, as far as it counts.
struct Host {
    policy: Arc<Policy>,
    limiter: Limiter,
    tally: Tally,
    reports: Receiver<Report>,
    record: Record,
}

impl Host {
    fn new(keys: Range<u8>) -> Self {
        let policy = policy(keys, None);
        let limiter = Limiter::new(Slots::anonymous(16).unwrap(), false);
        policy.keys().for_each(|key| limiter.install(key, &[], START));
        let (sender, reports) = sync_channel(4);
        Self {
            policy,
            limiter,
            tally: Tally::new(0, Some(sender)),
            reports,
            record: Record::new(START, UNIX),
        }
    }

    /// One request, counted as the proxy counts it.
    fn request(&self, key: usize, method: &str, path: &str, now: u64) {
        let key = self.policy.keys().nth(key).unwrap();
        let rules = self.policy.router().matching(&mut Room::default(), method, path).unwrap();
        let (origin, new) = self.tally.origin(Some(key.slot), method, path, &rules);
        match self.limiter.judge(key, &rules, None, now).verdict {
            Verdict::Refused { limit, .. } => self.tally.count(origin, limit.refusal()),
            _ => {
                self.tally.count(origin, Kind::Admitted);
                new.into_iter().for_each(|route| self.tally.learn(&route));
            }
        }
    }

    fn take(&mut self, now: u64) {
        self.tally.send();
        self.record.take(&self.policy, &self.limiter, self.reports.try_iter(), now);
    }

    /// What all frames of each length say of `id`.
    fn sums(&self, id: Id) -> [Counts; 3] {
        [&self.record.seconds, &self.record.minutes, &self.record.hours].map(|track| {
            let mut sum = Counts::default();
            track.of(id, 0..u64::MAX).for_each(|(_, counts)| sum += counts);
            sum
        })
    }
}

/// What the counters of a key say.
fn counters(limiter: &Limiter, key: &Arc<Key>) -> Counts {
    Watched::new(FIRST_KEY, key).look(limiter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes when, in the kernel or in the proxy, and whenever it is looked at: the frames of each length add
    /// up to the counters, of each key and of all, and the routes to what the proxy counted.
    #[test]
    fn the_sums_are_the_counters(
        history in prop::collection::vec(
            (0..4_usize, prop::sample::select(vec!["/", "/courses/7", "/search/x", "/students"]), 0..4_u8, 0..3_000_000_000_u64),
            1..300,
        ),
    ) {
        let mut host = Host::new(0..4);
        let mut now = START;
        for (key, path, way, gap) in history {
            match way {
                0 => {
                    let slot = host.limiter.slot(host.policy.keys().nth(key).unwrap()).unwrap();
                    slot.refused_burst.store(slot.refused_burst.load() + 3);
                }
                1 => host.tally.reject(),
                _ => host.request(key, "GET", path, now),
            }
            if gap % 3 == 0 {
                now += gap;
                host.take(now);
            }
        }
        host.take(now + SECOND_NS);
        let mut all = Counts::default();
        for watched in host.record.subjects().keys() {
            let counted = counters(&host.limiter, &watched.key);
            prop_assert_eq!(host.sums(watched.id), [counted; 3]);
            all += counted;
        }
        all += host.sums(KEYLESS)[0];
        prop_assert_eq!(host.sums(TOTAL), [all; 3]);
        prop_assert_eq!(host.record.since_start(TOTAL), all);
        let mut routes = host.record.since_start(OTHER_ROUTES);
        for (name, id) in host.record.subjects().names() {
            if matches!(name, Name::Route(_)) {
                routes += host.record.since_start(id);
            }
        }
        for (kind, count) in all.iter().filter(|(kind, _)| !kind.is_kernel_refusal()) {
            prop_assert_eq!(routes.of(kind), count, "{:?}", kind);
        }
    }
}

#[test]
fn a_key_that_goes_takes_nothing_along_and_a_new_one_inherits_nothing() {
    let mut host = Host::new(0..2);
    (0..5).for_each(|_| host.request(0, "GET", "/", START));
    host.take(START + SECOND_NS);
    let before = host.record.subjects().keys()[0].id;
    let next = policy(1..3, Some(&host.policy));
    host.policy = next;
    host.take(START + 2 * SECOND_NS);
    assert_eq!(host.sums(before)[0].of(Kind::Admitted), 5);
    assert!(host.record.subjects().key(before).is_none());
    let names: Vec<_> =
        host.record.subjects().keys().iter().map(|watched| watched.key.name.as_str()).collect();
    assert_eq!(names, ["key-1", "key-2"]);
    assert!(host.record.subjects().keys().iter().all(|watched| host.sums(watched.id)[0].is_empty()));
    assert_eq!(host.sums(TOTAL)[0].of(Kind::Admitted), 5);
}

#[test]
fn what_the_kernel_counted_before_the_start_is_not_told() {
    let mut host = Host::new(0..1);
    let refused = |host: &Host, count| {
        let slot = host.limiter.slot(host.policy.keys().next().unwrap()).unwrap();
        slot.refused_burst.store(count);
    };
    refused(&host, 70);
    host.record.begin(&host.policy, &host.limiter);
    refused(&host, 75);
    host.take(START + SECOND_NS);
    assert_eq!(host.sums(TOTAL)[0].of(Kind::KernelBurst), 5);
}

#[test]
fn a_second_has_what_came_in_it_and_a_wall_clock_that_is_set_tears_no_hole() {
    let mut host = Host::new(0..1);
    for second in 1..=5 {
        (0..second).for_each(|_| host.request(0, "GET", "/", START + second * SECOND_NS));
        // The look is a little late.
        host.take(START + second * SECOND_NS + 40_000_000);
    }
    let (now, unix) = (START + 5 * SECOND_NS, UNIX / SECOND_NS + 5);
    let admitted =
        |series: &Series| series.points.iter().map(|point| point.of(Kind::Admitted)).collect::<Vec<_>>();
    let series = host.record.series(TOTAL, 5, 60, now, unix);
    assert_eq!((series.start, series.step, admitted(&series)), (UNIX / SECOND_NS, 1, vec![1, 2, 3, 4, 5]));
    let set = host.record.series(TOTAL, 5, 60, now, unix - 7_200);
    assert_eq!((set.start, admitted(&set)), (UNIX / SECOND_NS - 7_200, vec![1, 2, 3, 4, 5]));
    let long = host.record.series(TOTAL, 7 * 24 * 3_600, 200, now, unix);
    assert_eq!((long.step, admitted(&long).iter().sum::<u64>()), (3_600, 15));
}

#[test]
fn what_a_key_did_in_the_last_hour_leaves_it() {
    let mut host = Host::new(0..1);
    host.request(0, "GET", "/", START);
    host.take(START + SECOND_NS);
    let watched =
        |host: &Host| (host.record.subjects().keys()[0].admitted, host.record.subjects().keys()[0].used);
    assert_eq!(watched(&host), (1, 1));
    (2..=3_800).for_each(|second| host.take(START + second * SECOND_NS));
    assert_eq!(watched(&host), (0, 0));
}

#[test]
fn a_path_that_leads_nowhere_is_no_route() {
    let tally = Tally::new(0, None);
    let (origin, new) = tally.origin(None, "GET", "/wp-login.php", &[]);
    tally.count(origin, Kind::Admitted);
    assert_eq!(new.as_deref(), Some("GET /wp-login.php"));
    // Nobody called `learn`: the next one is as unknown.
    assert_eq!(tally.origin(None, "GET", "/wp-login.php", &[]), (origin, new));
    (0..2 * MOST_ROUTES).for_each(|number| tally.learn(&format!("GET /a{number}")));
    assert_eq!(tally.origin(None, "GET", "/new", &[]), (origin, None), "there is no room for more");
    assert_ne!(tally.origin(None, "GET", "/a7", &[]).0, origin);
}
