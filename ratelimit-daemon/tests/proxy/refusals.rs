//! Requests that are refused for what they are.

use crate::client::Response;
use crate::host::{DISABLED, EXPIRED, EXPIRING, Host, KEY, PROFESSIONAL};
use crate::origin::Origin;
use ratelimit_daemon::config::Missing;
use std::fmt::Write;

/// The answer to a GET with these fields.
fn send(host: &Host, fields: &[(&str, &str)]) -> Response {
    let mut head = "GET / HTTP/1.1\r\n".to_owned();
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n").expect("written");
    }
    let mut client = host.client();
    client.send(format!("{head}\r\n").as_bytes());
    client.read()
}

fn refusal(response: &Response) -> (u16, &str) {
    assert_eq!(response.field("Content-Type"), "application/json");
    (response.status, response.code())
}

#[test]
fn without_a_valid_key_nothing_is_forwarded() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let host_field = ("Host", "api");
    let bearer = format!("Bearer {PROFESSIONAL}");
    let cases: [(&[_], _); 7] = [
        (&[], (401, "missing_key")),
        (&[("Authorization", "Basic a2V5")], (401, "missing_key")),
        (&[("X-API-Key", "no-such-key")], (401, "unknown_key")),
        (&[("X-API-Key", DISABLED)], (401, "disabled_key")),
        (&[("X-API-Key", EXPIRED)], (401, "expired_key")),
        (&[("X-API-Key", KEY), ("Authorization", &bearer)], (400, "conflicting_keys")),
        (&[("X-API-Key", KEY), ("X-API-Key", PROFESSIONAL)], (400, "conflicting_keys")),
    ];
    for (fields, expected) in cases {
        let response = send(&host, &[&[host_field], fields].concat());
        assert_eq!(refusal(&response), expected, "{fields:?}");
        assert_eq!(response.all("WWW-Authenticate"), if expected.0 == 401 { vec!["Bearer"] } else { vec![] });
        assert!(response.all("X-RateLimit-Limit").is_empty(), "{response:?}");
    }
    assert!(origin.heads().is_empty());
    assert_eq!(host.get("/", EXPIRING).status, 200);
    assert_eq!(host.get("/", KEY).left_of("burst"), 2, "none of them was charged");
}

#[test]
fn a_key_may_stand_in_either_field_in_any_letters_or_in_both() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let bearer = format!("bearer  {PROFESSIONAL}");
    let cases: [&[_]; 4] = [
        &[("x-api-key", PROFESSIONAL)],
        &[("AUTHORIZATION", &bearer)],
        &[("X-API-Key", PROFESSIONAL), ("Authorization", &bearer)],
        &[("X-API-Key", PROFESSIONAL), ("X-API-KEY", PROFESSIONAL)],
    ];
    for (number, fields) in cases.into_iter().enumerate() {
        let response = send(&host, &[&[("Host", "api")], fields].concat());
        assert_eq!((response.status, response.number("X-RateLimit-Remaining")), (200, 999 - number as u64));
    }
}

#[test]
fn requests_without_a_key_may_pass_if_so_configured() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-RateLimit-Limit: 7\r\n\r\n");
    let host = Host::with(origin.address, |config| config.keys.missing = Missing::Pass);
    let response = send(&host, &[("Host", "api")]);
    // Whatever the upstream says of its own limits: we have none for this request.
    assert_eq!((response.status, response.number("X-RateLimit-Limit")), (200, 7));
    assert!(response.all("RateLimit").is_empty());
    assert_eq!(refusal(&send(&host, &[("Host", "api"), ("X-API-Key", "no-such-key")])), (401, "unknown_key"));
}

#[test]
fn what_cannot_be_forwarded_is_refused_uncharged_and_told_how_the_limits_stand() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let key = format!("X-API-Key: {KEY}\r\n\r\n");
    let heads = [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "CONNECT api:443 HTTP/1.1\r\nHost: api\r\n",
    ];
    for head in heads {
        let mut client = host.client();
        client.send(format!("{head}{key}").as_bytes());
        let response = client.read();
        assert_eq!(refusal(&response), (400, "bad_request"), "{head:?}");
        assert_eq!(response.left_of("burst"), 3);
        assert_eq!(response.number("X-RateLimit-Remaining"), 1_000);
    }
    assert!(origin.heads().is_empty());
}

#[test]
fn what_is_no_http_is_answered_and_the_connection_closed() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(b"this is not HTTP\r\n\r\n");
    let response = client.read();
    assert_eq!(refusal(&response), (400, "bad_request"));
    assert_eq!(response.field("Connection"), "close");
    assert!(client.is_closed());
}

#[test]
fn a_refused_upload_gets_its_answer_though_nobody_reads_it() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let length = 600_000;
    let head = format!("POST / HTTP/1.1\r\nHost: api\r\nContent-Length: {length}\r\n\r\n");
    client.send(head.as_bytes());
    client.send(&vec![b'x'; length]);
    let response = client.read();
    assert_eq!(refusal(&response), (401, "missing_key"));
}

#[test]
fn a_refused_request_with_a_small_body_leaves_the_connection_open() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 11\r\n\r\nGET / ");
    let response = client.read();
    assert_eq!(refusal(&response), (401, "missing_key"));
    assert!(response.all("Connection").is_empty());
    client.send(b"HTTP/");
    assert_eq!(client.get("/next", PROFESSIONAL).text(), "/next");
    assert_eq!(origin.heads().len(), 1);
}

#[test]
fn what_two_readers_could_read_differently_is_refused_and_the_connection_closed() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: \tchunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: 5\r\n folded: 1\r\n",
    ];
    for case in cases {
        let mut client = host.client();
        let head = format!("POST / HTTP/1.1\r\nHost: api\r\nX-API-Key: {PROFESSIONAL}\r\n{case}\r\n");
        client.send((head + smuggled).as_bytes());
        assert_eq!(refusal(&client.read()), (400, "bad_request"), "{case}");
        assert!(client.is_closed(), "{case}");
    }
    assert!(origin.heads().is_empty());
}

#[test]
fn a_head_that_does_not_end_is_refused() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
    client.send(&[b'x'; 64 << 10]);
    let response = client.read();
    assert_eq!(refusal(&response), (431, "head_too_large"));
    assert!(client.is_closed());
}
