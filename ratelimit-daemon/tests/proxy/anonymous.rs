//! Clients without a key, each with limits of its own.

use crate::client::Response;
use crate::host::{BURST, Host, KEY};
use crate::origin::Origin;
use ratelimit_daemon::config::{Anonymous, Config, Missing, Networks};

/// A host whose clients without a key have the tier of [`KEY`], and which believes whoever is near.
fn host(origin: &Origin, max_clients: u32) -> Host {
    Host::with(origin.address, |config: &mut Config| {
        config.keys.missing = Missing::Anonymous;
        config.anonymous = Some(Anonymous { tier: "slow".to_owned(), max_clients });
        config.forwarding.trusted = loopback();
    })
}

fn loopback() -> Networks {
    ["127.0.0.0/8".parse().expect("a network")].into_iter().collect()
}

/// The answer to a GET from `address`, as a proxy nearby says.
fn ask(host: &Host, address: &str) -> Response {
    let mut client = host.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n").as_bytes());
    client.read()
}

#[test]
fn each_address_has_limits_of_its_own_and_is_told_them() {
    let origin = Origin::echo_path();
    let host = host(&origin, 100);
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"] {
        for used in 1..=BURST {
            let response = ask(&host, address);
            assert_eq!((response.status, response.left_of("burst")), (200, u64::from(BURST - used)));
            assert_eq!(response.number("X-RateLimit-Remaining"), u64::from(1_000 - used));
            assert_eq!(response.number("X-RateLimit-Limit"), 1_000);
        }
        let response = ask(&host, address);
        assert_eq!((response.status, response.code()), (429, "rate_limit_exceeded"));
        assert!((1..=20).contains(&response.number("Retry-After")), "{response:?}");
    }
    assert_eq!(ask(&host, "2001:db8:0:1:ffff::2").status, 429, "the same network of 64 bits");
    assert_eq!(ask(&host, "2001:db8:0:2::1").status, 200, "another");
    assert_eq!(origin.heads().len() as u32, 3 * BURST + 1);
}

#[test]
fn keys_and_strangers_have_nothing_to_do_with_each_other() {
    let origin = Origin::echo_path();
    let host = host(&origin, 100);
    let mut client = host.client();
    for used in 1..=u64::from(BURST) {
        assert_eq!(client.get("/", KEY).left_of("burst"), u64::from(BURST) - used);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read().left_of("burst"), u64::from(BURST) - used);
    }
    assert_eq!(client.get("/", "no-such-key").status, 401);
    assert_eq!(client.get("/", KEY).status, 429);
}

#[test]
fn requests_of_one_connection_are_charged_to_whom_they_come_from() {
    let origin = Origin::echo_path();
    let host = host(&origin, 100);
    let mut client = host.client();
    for used in 1..=u64::from(BURST) {
        for address in ["192.0.2.1", "192.0.2.2"] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n");
            client.send(head.as_bytes());
            assert_eq!(client.read().left_of("burst"), u64::from(BURST) - used);
        }
    }
}

#[test]
fn a_stranger_cannot_choose_its_address() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config: &mut Config| {
        config.keys.missing = Missing::Anonymous;
        config.anonymous = Some(Anonymous { tier: "slow".to_owned(), max_clients: 100 });
    });
    for number in 1..=BURST {
        assert_eq!(ask(&host, &format!("192.0.2.{number}")).status, 200);
    }
    assert_eq!(ask(&host, "192.0.2.99").status, 429);
}

#[test]
fn a_load_balancer_tells_whom_to_charge() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config: &mut Config| {
        config.keys.missing = Missing::Anonymous;
        config.anonymous = Some(Anonymous { tier: "slow".to_owned(), max_clients: 100 });
        config.forwarding.proxy_protocol = loopback();
    });
    let ask = |address: &str| {
        let mut client = host.client();
        let header = format!("PROXY TCP4 {address} 192.0.2.99 50000 80\r\n");
        client.send(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client.read().status
    };
    for _ in 0..BURST {
        assert_eq!((ask("192.0.2.1"), ask("192.0.2.2")), (200, 200));
    }
    assert_eq!((ask("192.0.2.1"), ask("192.0.2.3")), (429, 200));
}

#[test]
fn a_full_room_turns_newcomers_away_and_refills_nobody() {
    let origin = Origin::echo_path();
    let host = host(&origin, 2);
    for address in ["192.0.2.1", "192.0.2.2"] {
        (0..BURST).for_each(|_| assert_eq!(ask(&host, address).status, 200));
    }
    for number in 3..50 {
        let response = ask(&host, &format!("192.0.2.{number}"));
        assert_eq!((response.status, response.code()), (503, "too_many_clients"));
    }
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(ask(&host, address).status, 429);
    }
    assert_eq!(host.get("/", KEY).status, 200, "keys need no room");
}

#[test]
fn another_limit_of_their_tier_takes_effect_at_once_and_forgets_nothing() {
    let origin = Origin::echo_path();
    let host = host(&origin, 100);
    let mut client = host.client();
    let mut ask = || {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read()
    };
    assert_eq!(ask().number("X-RateLimit-Remaining"), 999);
    host.change_tiers(|tiers| tiers.get_mut("slow").expect("the tier").requests_per_hour = 3);
    assert_eq!(ask().number("X-RateLimit-Remaining"), 1);
    assert_eq!(ask().number("X-RateLimit-Remaining"), 0);
    assert_eq!(ask().status, 429);
    host.change_tiers(|_| {});
    let response = ask();
    // Its bucket is empty as well.
    assert_eq!((response.status, response.number("X-RateLimit-Remaining")), (429, 997));
}

#[test]
fn what_cannot_be_forwarded_takes_no_room() {
    let origin = Origin::echo_path();
    let host = host(&origin, 1);
    let mut client = host.client();
    client.send(b"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(client.read().status, 400);
    assert_eq!(ask(&host, "192.0.2.2").status, 200);
}
