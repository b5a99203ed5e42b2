//! How much is admitted.

use crate::client::{Client, get};
use crate::host::{BURST, HOURLY, Host, KEY, PROFESSIONAL, WIDE};
use crate::origin::Origin;
use ratelimit_daemon::config::Action;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn connections_share_a_bucket_without_a_token_too_many() {
    const CONNECTIONS: u64 = 40;
    const REQUESTS: u64 = 10;
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let barrier = Barrier::new(CONNECTIONS as usize);
    let start = Instant::now();
    let admitted: u64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = host.client();
                    barrier.wait();
                    let statuses = (0..REQUESTS).map(|_| client.get("/", PROFESSIONAL).status);
                    statuses.map(|status| u64::from(status == 200)).sum::<u64>()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    // A full bucket, and a token each 600 ms.
    let refilled = u64::try_from(start.elapsed().as_nanos() / 600_000_000).expect("a small number");
    assert!((100..=100 + refilled).contains(&admitted), "{admitted}, {refilled} refilled");
    assert_eq!(origin.heads().len() as u64, admitted, "what is refused does not reach the upstream");
}

/// All limits at once: 256 connections ask for more than the hour and the rule admit, and get exactly that.
#[test]
fn connections_share_all_limits_without_a_request_too_many() {
    const CONNECTIONS: u64 = 256;
    const REQUESTS: u64 = 4;
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let barrier = Barrier::new(CONNECTIONS as usize);
    let admitted = |client: &mut Client, path, requests: u64| -> u64 {
        (0..requests).map(|_| u64::from(client.get(path, WIDE).status == 200)).sum()
    };
    let counts: Vec<(u64, u64)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = host.client();
                    barrier.wait();
                    let searches = admitted(&mut client, "/search/x", 1);
                    (searches, admitted(&mut client, "/", REQUESTS))
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let (searches, others) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(searches <= 100, "{searches}");
    assert_eq!(searches + others, 500);
    assert_eq!(origin.heads().len(), 500, "what is refused does not reach the upstream");
    let sought = origin.heads().iter().filter(|head| head.path() == "/search/x").count();
    assert_eq!(sought as u64, searches);
}

/// On the real clock; over thousands of histories on a virtual one: `limiter::tests`.
#[test]
fn who_waits_as_long_as_it_was_told_is_admitted() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| {
        let slow = config.tiers.get_mut("slow").expect("the tier");
        (slow.burst_per_minute, slow.requests_per_hour) = (60, 1_000);
        let search = config.rules.rules.iter_mut().find(|rule| rule.name == "search").expect("the rule");
        (search.limit, search.window_seconds) = (2, 1);
    });
    let refused = |client: &mut Client, path| {
        let answers = std::iter::repeat_with(|| client.get(path, KEY));
        answers.take(200).find(|answer| answer.status == 429).expect("a refusal")
    };
    let mut client = host.client();
    for _ in 0..3 {
        let refusal = refused(&mut client, "/search/x");
        let wait = refusal.number("Retry-After");
        assert!((1..=2).contains(&wait) && refusal.left_of("search") == 0, "{refusal:?}");
        thread::sleep(Duration::from_secs(wait));
        assert_eq!(client.get("/search/x", KEY).status, 200);
    }
    for _ in 0..3 {
        let refusal = refused(&mut client, "/");
        assert_eq!((refusal.number("Retry-After"), refusal.left_of("burst")), (1, 0));
        thread::sleep(Duration::from_secs(1));
        assert_eq!(client.get("/", KEY).status, 200);
    }
}

#[test]
fn keys_do_not_share_limits() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let statuses: Vec<_> = (0..=BURST).map(|_| client.get("/", KEY).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let statuses: Vec<_> = (0..4).map(|_| client.get("/", HOURLY).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn a_refusal_charges_nothing() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let left: Vec<_> = (0..6).map(|_| client.get("/", KEY).number("X-RateLimit-Remaining")).collect();
    assert_eq!(left, [999, 998, 997, 997, 997, 997]);
}

#[test]
fn a_dry_run_admits_what_it_would_refuse() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.action = Action::Observe);
    let mut client = host.client();
    let statuses: Vec<_> = (0..BURST + 2).map(|_| client.get("/", KEY).status).collect();
    assert_eq!(statuses, [200; 5]);
    let observed = &host.key(KEY).usage.observed;
    assert_eq!(observed.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn pipelined_requests_are_judged_each_and_answered_in_order() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let all: String = (0..BURST + 2).map(|number| get(&format!("/{number}"), KEY)).collect();
    client.send(all.as_bytes());
    for number in 0..BURST {
        let response = client.read();
        assert_eq!((response.status, response.text()), (200, format!("/{number}").as_str()));
    }
    assert_eq!(client.read().status, 429);
    assert_eq!(client.read().status, 429);
}
