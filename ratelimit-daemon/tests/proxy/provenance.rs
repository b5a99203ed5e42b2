//! Who a request is said to come from, and who is believed.

use crate::client::get;
use crate::host::{Host, KEY, PROFESSIONAL};
use crate::origin::Origin;
use ppp::v2::{Builder, Command, Protocol, Version};
use ratelimit_daemon::config::{Config, Forwarded, Networks};
use std::net::SocketAddr;

fn loopback() -> Networks {
    ["127.0.0.0/8".parse().expect("a network")].into_iter().collect()
}

fn told(host: &Host, origin: &Origin, fields: &str) -> Vec<(String, Vec<String>)> {
    let mut client = host.client();
    client
        .send(format!("GET / HTTP/1.1\r\nHost: api\r\n{fields}X-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
    assert_eq!(client.read().status, 200);
    let head = origin.heads().pop().expect("a request");
    let names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"];
    let values = |name: &str| head.all(name).into_iter().map(str::to_owned).collect();
    names.iter().map(|name| ((*name).to_owned(), values(name))).collect()
}

const FIELDS: &str = "X-Forwarded-For: 203.0.113.7\r\nx-forwarded-for: 198.51.100.1, 127.0.0.9\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example\r\nForwarded: for=203.0.113.7\r\n";

#[test]
fn what_the_upstream_is_told_is_configured() {
    let origin = Origin::echo_path();
    let forwarded = "for=127.0.0.1;host=\"api\";proto=http";
    let appended = format!("for=203.0.113.7, {forwarded}");
    let hops = "203.0.113.7, 198.51.100.1, 127.0.0.9, 127.0.0.1";
    let client = "for=198.51.100.1;host=\"api\";proto=https";
    let cases: [(Networks, Forwarded, [&[&str]; 4]); 5] = [
        (Networks::default(), Forwarded::Append, [&["127.0.0.1"], &["http"], &["api"], &[forwarded]]),
        (Networks::default(), Forwarded::Replace, [&["127.0.0.1"], &["http"], &["api"], &[forwarded]]),
        (loopback(), Forwarded::Append, [&[hops], &["https"], &["www.example"], &[&appended]]),
        (loopback(), Forwarded::Replace, [&["198.51.100.1"], &["https"], &["www.example"], &[client]]),
        (loopback(), Forwarded::Off, [&[], &[], &[], &[]]),
    ];
    for (trusted, mode, expected) in cases {
        let change = |config: &mut Config| {
            (config.forwarding.x_forwarded, config.forwarding.forwarded) = (mode, mode);
            config.forwarding.trusted = trusted.clone();
        };
        let host = Host::with(origin.address, change);
        let told = told(&host, &origin, FIELDS);
        let values: Vec<_> = told.iter().map(|(_, values)| values.as_slice()).collect();
        assert_eq!(values, expected, "{mode:?}, {trusted:?}");
    }
}

fn behind_a_load_balancer(origin: &Origin) -> Host {
    Host::with(origin.address, |config| config.forwarding.proxy_protocol = loopback())
}

fn second_version(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let host = SocketAddr::new(client.ip(), 80);
    let builder = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, (client, host));
    builder.build().expect("a header")
}

#[test]
fn a_proxy_protocol_header_tells_the_client_of_all_requests() {
    let origin = Origin::echo_path();
    let host = behind_a_load_balancer(&origin);
    let cases = [
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 50000 80\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::9 50000 80\r\n".to_vec(), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (second_version("192.0.2.2:50000"), "192.0.2.2"),
        (second_version("[2001:db8::2]:50000"), "2001:db8::2"),
    ];
    for (header, address) in cases {
        let mut client = host.client();
        // In one segment with the first request, and in pieces before it.
        if address.ends_with('1') {
            client.send(&[&header, get("/", PROFESSIONAL).as_bytes()].concat());
        } else {
            header.chunks(5).for_each(|piece| client.send(piece));
            client.send(get("/", PROFESSIONAL).as_bytes());
        }
        assert_eq!(client.read().status, 200);
        assert_eq!(client.get("/again", PROFESSIONAL).status, 200);
        for head in origin.heads().iter().rev().take(2) {
            assert_eq!(head.all("X-Forwarded-For"), [address]);
        }
    }
}

#[test]
fn a_connection_without_the_header_it_needs_is_told_so() {
    let origin = Origin::echo_path();
    let host = behind_a_load_balancer(&origin);
    for stream in [get("/", KEY), "PROXY TCP4 192.0.2.1\r\n".to_owned() + &get("/", KEY)] {
        let mut client = host.client();
        client.send(stream.as_bytes());
        let response = client.read();
        assert_eq!((response.status, response.code()), (400, "bad_request"));
        assert!(response.text().contains("PROXY protocol"), "{response:?}");
        assert!(client.is_closed());
    }
    assert!(origin.heads().is_empty());
}

#[test]
fn a_header_from_anyone_else_is_no_http() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    for header in [b"PROXY TCP4 192.0.2.1 192.0.2.9 50000 80\r\n".to_vec(), second_version("192.0.2.2:5")] {
        let mut client = host.client();
        client.send(&[&header, get("/", KEY).as_bytes()].concat());
        assert_eq!((client.read().status, client.is_closed()), (400, true));
    }
    assert!(origin.heads().is_empty());
}
