//! What passes through, and what does not.

use crate::host::{Host, PROFESSIONAL};
use crate::origin::{Origin, read_body, reply};
use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;

#[test]
fn path_and_query_go_as_they_came() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for path in ["/", "/a%2Fb//c/../d?x=%20&y=[1]", "/?", "/search/%E2%82%AC?q=a+b"] {
        assert_eq!(client.get(path, PROFESSIONAL).text(), path);
    }
    assert_eq!(client.get("http://other.example/a?b", PROFESSIONAL).text(), "/a?b");
    assert_eq!(origin.heads().last().expect("a request").all("Host"), ["other.example"]);
}

#[test]
fn fields_for_one_connection_stay_on_it_and_the_client_is_named() {
    let origin = Origin::fixed(
        "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
         Upgrade: h2c\r\nX-Outer: 1\r\n\r\n",
    );
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(
        format!(
            "GET / HTTP/1.1\r\nHost: api.example:81\r\nX-API-Key: {PROFESSIONAL}\r\nConnection: keep-alive, X-Private\r\n\
             X-Private: 1\r\nUpgrade: websocket\r\nTE: gzip\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nAccept: */*\r\n\r\n"
        )
        .as_bytes(),
    );
    let response = client.read();
    assert!(response.all("X-Inner").is_empty() && response.all("Keep-Alive").is_empty(), "{response:?}");
    assert!(response.all("Upgrade").is_empty() && response.all("Connection").is_empty(), "{response:?}");
    assert_eq!(response.field("X-Outer"), "1");
    let head = origin.heads().remove(0);
    for name in ["Connection", "X-Private", "Upgrade", "TE"] {
        assert!(head.all(name).is_empty(), "{name} in {head:?}");
    }
    assert_eq!(head.all("Host"), ["api.example:81"]);
    assert_eq!(head.all("Accept"), ["*/*"]);
    assert_eq!(head.all("X-API-Key"), [PROFESSIONAL]);
    assert_eq!(head.all("X-Forwarded-For"), ["127.0.0.1"]);
    assert_eq!(head.all("X-Forwarded-Host"), ["api.example:81"]);
    assert_eq!(head.all("X-Forwarded-Proto"), ["http"]);
    assert_eq!(head.line, "GET / HTTP/1.1");
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let origin = Origin::start(|head, stream| {
        assert_eq!(head.path(), "/drip");
        // The chunks may be cut anew.
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            body.push(char::from(read_body(stream, 1)[0]));
        }
        assert_eq!(body.split("\r\n").skip(1).step_by(2).collect::<String>(), "body");
        reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head = "POST /drip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    for byte in format!("{head}X-API-Key: {PROFESSIONAL}\r\n\r\n4\r\nbody\r\n0\r\n\r\n").bytes() {
        client.send(&[byte]);
    }
    assert_eq!(client.read().text(), "done");
}

#[test]
fn one_connection_on_either_side_carries_many_requests() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.proxy.workers = 1);
    let mut client = host.client();
    for number in 0..20 {
        let path = format!("/{number}");
        assert_eq!(client.get(&path, PROFESSIONAL).text(), path);
    }
    assert_eq!(host.get("/other", PROFESSIONAL).text(), "/other");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn head_has_the_length_and_no_body() {
    let origin = Origin::start(|head, stream| {
        assert!(head.line.starts_with("HEAD "));
        reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    for remaining in [999, 998] {
        client.send(format!("HEAD / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
        let head = client.read_head();
        assert_eq!((head.status, head.number("Content-Length")), (200, 12_345));
        assert_eq!(head.number("X-RateLimit-Remaining"), remaining);
    }
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_head();
    assert_eq!(head.status, 401);
    assert!(head.number("Content-Length") > 0);
    client.send(format!("HEAD / HTTP/1.0\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
    assert_eq!(client.read_head().status, 200, "nothing lay between the two");
}

/// Both sides wait for each other's bytes: whoever held a body back would hang this test.
#[test]
fn bodies_stream_both_ways() {
    let origin = Origin::start(|head, stream| {
        assert_eq!(head.all("Transfer-Encoding"), ["chunked"]);
        assert!(reply(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for expected in ["one", "two"] {
            // A chunk: its length, itself, and the line ends.
            assert_eq!(read_body(stream, 3 + 5), format!("3\r\n{expected}\r\n").as_bytes());
            assert!(reply(stream, &format!("3\r\n{expected}\r\n")));
        }
        assert_eq!(read_body(stream, 5), b"0\r\n\r\n");
        reply(stream, "0\r\n\r\n")
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..2 {
        client.send(
            format!("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\nTransfer-Encoding: chunked\r\n\r\n")
                .as_bytes(),
        );
        let head = client.read_head();
        assert_eq!(head.all("Transfer-Encoding"), ["chunked"]);
        assert!(head.all("Content-Length").is_empty());
        for part in ["one", "two"] {
            client.send(format!("3\r\n{part}\r\n").as_bytes());
            assert_eq!((client.line(), client.line()), ("3".to_owned(), part.to_owned()));
        }
        client.send(b"0\r\n\r\n");
        assert_eq!((client.line(), client.line()), ("0".to_owned(), String::new()));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn large_bodies_pass_whole() {
    let body: Vec<u8> = (0..16_usize << 20).map(|index| (index / 7 % 251) as u8).collect();
    let (length, expected, sent) = (body.len(), body.clone(), body.clone());
    let origin = Origin::start(move |head, stream| {
        assert_eq!(head.all("Content-Length"), [length.to_string()]);
        assert!(read_body(stream, length) == expected);
        assert!(reply(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")));
        stream.get_mut().write_all(&expected).is_ok()
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head =
        format!("PUT / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\nContent-Length: {length}\r\n\r\n");
    client.send(head.as_bytes());
    let mut sender = client.0.get_ref().try_clone().expect("a handle");
    let sending = thread::spawn(move || sender.write_all(&sent));
    let response = client.read();
    sending.join().expect("no panic").expect("sent");
    assert_eq!(response.status, 200);
    assert!(response.body == body);
}

/// An upstream that is not read from must not fill the proxy's memory: it is made to wait.
#[test]
fn a_client_that_does_not_read_makes_the_upstream_wait() {
    const LENGTH: usize = 256 << 20;
    let (progress, sent) = channel();
    let origin = Origin::start(move |_, stream| {
        assert!(reply(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")));
        stream.get_mut().set_nonblocking(true).expect("non-blocking");
        let (mut total, mut stalls) = (0, 0);
        while total < LENGTH && stalls < 100 {
            match stream.get_mut().write(&[0; 65_536]) {
                Ok(length) => (total, stalls) = (total + length, 0),
                Err(_) => {
                    stalls += 1;
                    thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        }
        progress.send(total).expect("sent");
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(crate::client::get("/", PROFESSIONAL).as_bytes());
    assert_eq!(client.read_head().status, 200);
    // What the sockets' buffers take, and no more.
    let total = sent.recv().expect("a number");
    assert!(total < LENGTH / 4, "{total} bytes went somewhere");
}

#[test]
fn an_old_client_gets_an_old_answer() {
    let origin = Origin::start(|head, stream| {
        assert_eq!(head.line, "GET /old HTTP/1.1");
        assert_eq!(head.all("Host").len(), 1);
        reply(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n0\r\n\r\n")
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(format!("GET /old HTTP/1.0\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
    let mut text = String::new();
    client.0.read_to_string(&mut text).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nConnection: close") && !head.to_lowercase().contains("chunked"), "{head}");
    assert_eq!(body, "old");
}

#[test]
fn an_old_client_may_stay() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for path in ["/one", "/two"] {
        let head =
            format!("GET {path} HTTP/1.0\r\nX-API-Key: {PROFESSIONAL}\r\nConnection: Keep-Alive\r\n\r\n");
        client.send(head.as_bytes());
        let response = client.read();
        assert_eq!((response.text(), response.field("Connection")), (path, "keep-alive"));
    }
}

#[test]
fn names_keep_their_letters_and_their_order() {
    let origin = Origin::fixed(
        "HTTP/1.1 200 OK\r\nb-B: 1\r\nETag: \"x\"\r\nA-A: 2\r\nb-b: 3\r\ncontent-length: 0\r\n\r\n",
    );
    let host = Host::start(origin.address);
    let response = host.get("/", PROFESSIONAL);
    let names: Vec<_> = response.fields.iter().map(|(name, _)| name.as_str()).take(5).collect();
    assert_eq!(names, ["b-B", "ETag", "A-A", "b-b", "content-length"]);
}

#[test]
fn a_body_that_ends_with_the_upstreams_connection_is_passed_on_in_chunks() {
    let origin = Origin::start(|_, stream| {
        reply(stream, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..2 {
        assert_eq!(client.get("/", PROFESSIONAL).text(), "until the end");
    }
    assert_eq!(origin.connections(), 2);
}
