//! Exactly once: what the kernel has charged, the proxy does not charge again, and nothing stays charged for
//! what never became a request.

use crate::client::{Client, get};
use crate::host::{BURST, DISABLED, EXPIRED, Host, KEY, PROFESSIONAL, eventually};
use crate::origin::Origin;
use ratelimit_common::flow::Credit;
use ratelimit_common::limit::Charge;
use ratelimit_daemon::clock;

/// What the kernel does when it charges a request of `key` that `client` sends as its `number`th: it takes a
/// token and leaves a credit.
fn charge_as_the_kernel(host: &Host, client: &Client, key: &str, number: u32) {
    let slot_index = host.key(key).slot;
    let slot = host.slots.get(slot_index).expect("a slot");
    let burst = slot.burst().expect("limits");
    assert_eq!(burst.charge(&slot.bucket, clock::now()), Charge::Taken);
    let flow = host.flows.open(client.address(), host.address);
    flow.leave_credit(1_000 + number * 100, 100, slot_index, Credit::Paid);
}

fn tokens(host: &Host, key: &str) -> u32 {
    host.limiter.standing(&host.key(key), &[], clock::now()).burst_remaining
}

#[test]
fn a_request_that_the_kernel_charged_is_not_charged_again() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    charge_as_the_kernel(&host, &client, KEY, 0);
    let response = client.get("/", KEY);
    assert_eq!((response.status, response.left_of("burst")), (200, u64::from(BURST) - 1));
    assert_eq!(response.number("X-RateLimit-Remaining"), 999, "the hour is the proxy's alone");
    // The next is not paid for.
    assert_eq!(client.get("/", KEY).left_of("burst"), u64::from(BURST) - 2);
}

#[test]
fn the_last_token_admits_whoever_took_it() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for number in 0..BURST {
        charge_as_the_kernel(&host, &client, KEY, number);
    }
    let statuses: Vec<_> = (0..=BURST).map(|_| client.get("/", KEY).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn another_key_does_not_spend_the_credit() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    charge_as_the_kernel(&host, &client, KEY, 0);
    assert_eq!(client.get("/", PROFESSIONAL).left_of("burst"), 99);
    assert_eq!(client.get("/", KEY).left_of("burst"), u64::from(BURST) - 1);
}

#[test]
fn what_is_left_when_the_connection_ends_is_given_back() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    assert_eq!(client.get("/", PROFESSIONAL).status, 200);
    for number in 0..2 {
        charge_as_the_kernel(&host, &client, KEY, number);
    }
    assert_eq!(tokens(&host, KEY), BURST - 2);
    drop(client);
    eventually("the tokens are back", || tokens(&host, KEY) == BURST);
}

#[test]
fn what_is_left_is_back_when_the_client_sees_the_close() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    charge_as_the_kernel(&host, &client, KEY, 0);
    client.send(b"this is not HTTP\r\n\r\n");
    assert_eq!(client.read().status, 400);
    assert!(client.is_closed());
    assert_eq!(tokens(&host, KEY), BURST);
}

#[test]
fn what_is_left_is_given_back_when_the_proxy_is_cut_off() {
    let origin = Origin::start(|_, stream| {
        let _ = std::io::Read::read(stream, &mut [0]);
        false
    });
    let host = Host::with(origin.address, |config| config.proxy.drain_timeout = std::time::Duration::ZERO);
    let mut client = host.client();
    client.send(get("/", PROFESSIONAL).as_bytes());
    eventually("the request is there", || origin.heads().len() == 1);
    charge_as_the_kernel(&host, &client, KEY, 0);
    let (limiter, key) = (host.limiter.clone(), host.key(KEY));
    host.join();
    assert_eq!(limiter.standing(&key, &[], clock::now()).burst_remaining, BURST);
}

#[test]
fn a_charge_for_a_request_that_no_limit_refused_is_given_back() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let conflict =
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n");
    let malformed = format!("GET / HTTP/1.1\r\nX-API-Key: {KEY}\r\n\r\n");
    let disabled = get("/", DISABLED);
    let cases = [
        (KEY, BURST, conflict, 400),
        (KEY, BURST, malformed, 400),
        (DISABLED, 100, disabled, 401),
        (EXPIRED, 100, get("/", EXPIRED), 401),
    ];
    for (key, full, request, status) in cases {
        let mut client = host.client();
        charge_as_the_kernel(&host, &client, key, 0);
        client.send(request.as_bytes());
        assert_eq!(client.read().status, status);
        assert_eq!(tokens(&host, key), full, "{request}");
    }
}

#[test]
fn a_request_that_the_hour_refuses_gives_its_token_back() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let key = crate::host::HOURLY;
    for _ in 0..3 {
        assert_eq!(client.get("/", key).status, 200);
    }
    charge_as_the_kernel(&host, &client, key, 0);
    assert_eq!(client.get("/", key).status, 429);
    assert_eq!(tokens(&host, key), 97);
}

#[test]
fn a_request_that_a_rule_refuses_gives_its_token_back() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..10 {
        assert_eq!(client.ask("POST", "/courses/7/export", PROFESSIONAL).status, 200);
    }
    charge_as_the_kernel(&host, &client, PROFESSIONAL, 0);
    let refusal = client.ask("POST", "/courses/7/export", PROFESSIONAL);
    assert_eq!((refusal.status, refusal.left_of("burst")), (429, 90));
    // The next request finds no credit, and pays for itself.
    assert_eq!(client.get("/", PROFESSIONAL).left_of("burst"), 89);
}
