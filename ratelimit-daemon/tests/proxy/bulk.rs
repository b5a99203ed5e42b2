//! Bulk requests: their records are counted, and their bodies go on as they came.

use crate::client::{Client, Response};
use crate::host::{Host, KEY, PROFESSIONAL, WIDE};
use crate::origin::{Head, Origin, Stream, read_body, reply};
use flate2::Compression;
use flate2::write::GzEncoder;
use ratelimit_common::flow::Credit;
use ratelimit_common::limit::Charge;
use ratelimit_daemon::clock;
use ratelimit_daemon::config::{Action, Config};
use std::io::{BufRead, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An upstream that keeps the bodies it gets.
fn keeping() -> (Origin, Arc<Mutex<Vec<Vec<u8>>>>) {
    let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = bodies.clone();
    let origin = Origin::start(move |head, stream| {
        kept.lock().expect("bodies").push(body(head, stream));
        reply(stream, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    });
    (origin, bodies)
}

fn body(head: &Head, stream: &mut Stream) -> Vec<u8> {
    if let [length] = head.all("Content-Length")[..] {
        return read_body(stream, length.parse().expect("a length"));
    }
    let mut body = Vec::new();
    while head.all("Transfer-Encoding") == ["chunked"] {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        let length = u64::from_str_radix(line.trim_end(), 16).expect("a length");
        stream.by_ref().take(length).read_to_end(&mut body).expect("a chunk");
        stream.read_line(&mut line).expect("a line");
        if length == 0 {
            break;
        }
    }
    body
}

fn records(count: usize) -> String {
    format!("[{}]", vec!["{\"name\":\"x\"}"; count].join(", "))
}

/// Sends a bulk request with these fields and this body.
fn send(client: &mut Client, key: &str, fields: &str, body: &[u8]) -> Response {
    let length = body.len();
    let head = format!("POST /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n{fields}");
    client.send(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes());
    client.send(body);
    client.read()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("packed")
}

#[test]
fn a_body_goes_on_to_the_byte_and_counts_as_one_request() {
    let (origin, bodies) = keeping();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let plain = format!(" {}\n", records(100)).into_bytes();
    let packed = gzip(records(100).as_bytes());
    for (number, (fields, body)) in (1..).zip([("", &plain), ("Content-Encoding: gzip\r\n", &packed)]) {
        let response = send(&mut client, PROFESSIONAL, fields, body);
        assert_eq!((response.status, response.number("X-RateLimit-Limit")), (201, 20));
        let left = ["bulk", "hour", "burst"].map(|name| response.left_of(name));
        assert_eq!(left, [20 - number, 1_000 - number, 100 - number]);
    }
    assert_eq!(*bodies.lock().expect("bodies"), [plain, packed]);
    assert_eq!(origin.heads()[1].all("Content-Encoding"), ["gzip"]);
}

#[test]
fn the_endpoints_share_their_limit() {
    let (origin, _) = keeping();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let statuses: Vec<_> = (0..22)
        .map(|number| {
            let path = if number % 2 == 0 { "/students/bulk" } else { "//enrollments/BULK/" };
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
            client.send(format!("{head}Content-Length: 3\r\n\r\n[1]").as_bytes());
            client.read().status
        })
        .collect();
    assert_eq!(statuses, [vec![201; 20], vec![429; 2]].concat());
    assert_eq!(origin.heads().len(), 20);
}

#[test]
fn what_cannot_be_taken_is_told_why_and_charged_to_nothing() {
    let (origin, bodies) = keeping();
    let host = Host::with(origin.address, |config| config.bulk.max_body_bytes = 10_000);
    let bomb = gzip(&vec![b' '; 1 << 20]);
    let (one, many, long) = (records(1), records(150), " ".repeat(10_001));
    let cases: [(&str, &[u8], u16, &str); 10] = [
        ("", many.as_bytes(), 422, "too_many_records"),
        ("", b"no JSON", 400, "invalid_body"),
        ("", b"", 400, "invalid_body"),
        ("", b"{\"a\":[1],\"b\":[2]}", 400, "invalid_body"),
        ("", b"[\"\xff\"]", 400, "invalid_body"),
        ("Content-Encoding: gzip\r\n", one.as_bytes(), 400, "invalid_body"),
        ("Content-Encoding: br\r\n", one.as_bytes(), 415, "unsupported_encoding"),
        ("Content-Encoding: gzip, gzip\r\n", one.as_bytes(), 415, "unsupported_encoding"),
        ("Content-Encoding: gzip\r\n", &bomb, 413, "body_too_large"),
        ("", long.as_bytes(), 413, "body_too_large"),
    ];
    for (number, (fields, body, status, code)) in (1..).zip(cases) {
        let mut client = host.client();
        charge_as_the_kernel(&host, &client, KEY, number);
        let response = send(&mut client, KEY, fields, body);
        assert_eq!((response.status, response.code()), (status, code), "{fields}{body:?}");
        assert_eq!(response.field("Content-Type"), "application/json");
        let left = ["bulk", "hour", "burst"].map(|name| response.left_of(name));
        assert_eq!(left, [20, 1_000, 3], "{fields}{body:?}");
        assert_eq!(
            response.all("Accept-Encoding"),
            if status == 415 { vec!["gzip, deflate"] } else { vec![] }
        );
        if status == 422 {
            let expected = r#"{"error":{"code":"too_many_records","message":"The request has 150 records; at most 100 are allowed.","max_records":100,"records":150}}"#;
            assert_eq!(response.text(), expected);
        }
        if !matches!(status, 413 | 415) {
            // The body was read, so the connection goes on.
            assert_eq!(send(&mut client, PROFESSIONAL, "", one.as_bytes()).status, 201);
        }
    }
    assert_eq!(bodies.lock().expect("bodies").len(), 6, "nothing else reached the upstream");
}

/// What the kernel does when it charges a request of `key`: it takes a token and leaves a credit.
fn charge_as_the_kernel(host: &Host, client: &Client, key: &str, number: u32) {
    let index = host.key(key).slot;
    let slot = host.slots.get(index).expect("a slot");
    assert_eq!(slot.burst().expect("limits").charge(&slot.bucket, clock::now()), Charge::Taken);
    host.flows.open(client.address(), host.address).leave_credit(number * 1_000, 100, index, Credit::Paid);
}

#[test]
fn a_body_in_chunks_is_counted_too() {
    let (origin, bodies) = keeping();
    let host = Host::start(origin.address);
    let head = format!(
        "POST /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunked = |text: &str| -> String {
        let chunks = text
            .as_bytes()
            .chunks(7)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).expect("text")));
        chunks.collect::<String>() + "0\r\n\r\n"
    };
    let mut client = host.client();
    for (count, status) in [(100, 201), (101, 422), (3, 201)] {
        // Byte by byte, and the next request right behind it.
        for byte in format!("{head}{}", chunked(&records(count))).as_bytes() {
            client.send(&[*byte]);
        }
        assert_eq!(client.read().status, status);
    }
    client.send(format!("{head}{}{head}{}", chunked("[1]"), chunked("[2]")).as_bytes());
    assert_eq!([client.read().status, client.read().status], [201, 201]);
    client.send(format!("{head}3\r\n[1]x0\r\n\r\n").as_bytes());
    assert_eq!(client.read().status, 400);
    let expected = [records(100), records(3), "[1]".into(), "[2]".into()].map(String::into_bytes);
    assert_eq!(*bodies.lock().expect("bodies"), expected);
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked_unless_it_is_refused_anyway() {
    let (origin, bodies) = keeping();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let ask = |client: &mut Client| {
        let head = format!("POST /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {WIDE}\r\n");
        client.send(format!("{head}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n").as_bytes());
    };
    for _ in 0..20 {
        ask(&mut client);
        assert_eq!(client.read_head().status, 100);
        client.send(b"[1]");
        assert_eq!(client.read().status, 201);
    }
    ask(&mut client);
    assert_eq!(client.read().status, 429);
    assert!(client.is_closed(), "the body may come or not");
    let mut client = host.client();
    let head = format!("POST /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
    client.send(format!("{head}Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n").as_bytes());
    assert_eq!(client.read().status, 413);
    assert_eq!(bodies.lock().expect("bodies").len(), 20);
    assert!(origin.heads().iter().all(|head| head.all("Expect").is_empty()), "the body is there already");
}

#[test]
fn a_large_body_is_counted_and_goes_on_whole() {
    let (origin, bodies) = keeping();
    let host = Host::start(origin.address);
    let long = format!("[{}\"{}\"]", "0,".repeat(99), "x".repeat(2 << 20)).into_bytes();
    let longer = format!("[{}\"{}\"]", "0,".repeat(100), "x".repeat(2 << 20)).into_bytes();
    let mut client = host.client();
    let statuses = [&long, &longer, &long].map(|body| send(&mut client, PROFESSIONAL, "", body).status);
    assert_eq!(statuses, [201, 422, 201]);
    assert_eq!(*bodies.lock().expect("bodies"), [long.clone(), long]);
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let (origin, bodies) = keeping();
    let host = Host::with(origin.address, |config| config.bulk.max_total_bytes = 1_000);
    let begin = |length: usize, part: &str| {
        let mut client = host.client();
        let head = format!("POST /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
        client.send(format!("{head}Content-Length: {length}\r\n\r\n{part}").as_bytes());
        client
    };
    let mut small = begin(5, "[1,2");
    let response = begin(3_000, &" ".repeat(2_000)).read();
    assert_eq!((response.status, response.code()), (503, "too_many_uploads"));
    assert_eq!((response.left_of("bulk"), response.left_of("burst")), (20, 100));
    small.send(b"]");
    assert_eq!(small.read().status, 201);
    assert_eq!(*bodies.lock().expect("bodies"), [b"[1,2]"]);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_and_not_charged() {
    let (origin, bodies) = keeping();
    let host = Host::with(origin.address, |config| config.proxy.body_timeout = Duration::from_millis(300));
    let mut client = host.client();
    let head =
        format!("POST /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: 9\r\n\r\n[1");
    client.send(head.as_bytes());
    let response = client.read();
    assert_eq!((response.status, response.code()), (408, "body_timeout"));
    assert_eq!(response.left_of("burst"), 3);
    let mut client = host.client();
    client.send(head.as_bytes());
    drop(client);
    assert_eq!(host.get("/", KEY).left_of("burst"), 2);
    assert_eq!(*bodies.lock().expect("bodies"), [b""], "only this one came");
}

#[test]
fn a_dry_run_looks_into_bodies_and_refuses_none() {
    let (origin, bodies) = keeping();
    let dry = |config: &mut Config| config.headers.dry_run = true;
    let rule_alone = |config: &mut Config| {
        dry(config);
        let rule = config.rules.rules.iter_mut().find(|rule| rule.name == "bulk").expect("the rule");
        rule.is_dry_run = true;
    };
    let everything = |config: &mut Config| {
        dry(config);
        config.action = Action::Observe;
    };
    for change in [&rule_alone as &dyn Fn(&mut Config), &everything] {
        let host = Host::with(origin.address, |config| change(config));
        let mut client = host.client();
        for (fields, body) in [
            ("", records(101).into_bytes()),
            ("", b"no JSON".to_vec()),
            ("Content-Encoding: br\r\n", records(1).into_bytes()),
            ("", vec![b'x'; 9 << 20]),
        ] {
            let response = send(&mut client, PROFESSIONAL, fields, &body);
            assert_eq!((response.status, response.field("X-RateLimit-Dry-Run")), (201, "bulk"));
            assert_eq!(bodies.lock().expect("bodies").pop(), Some(body));
        }
        assert!(send(&mut client, PROFESSIONAL, "", b"[1]").all("X-RateLimit-Dry-Run").is_empty());
    }
}

#[test]
fn elsewhere_bodies_are_not_looked_into() {
    let (origin, bodies) = keeping();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head = format!("PUT /students/bulk HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
    client.send(format!("{head}Content-Encoding: br\r\nContent-Length: 7\r\n\r\nno JSON").as_bytes());
    assert_eq!(client.read().status, 201);
    assert_eq!(*bodies.lock().expect("bodies"), [b"no JSON"]);
}
