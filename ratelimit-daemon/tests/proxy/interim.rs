//! What comes before a response, beside a request, and behind a body.

use crate::host::{Host, PROFESSIONAL};
use crate::origin::{Origin, Stream, read_body, reply};
use std::io::{BufRead, Read};

/// A client that asks whether to send its body asks the upstream: only that knows.
#[test]
fn a_client_that_asks_before_it_sends_is_told_to_by_the_upstream() {
    let origin = Origin::start(|head, stream| {
        assert_eq!(head.all("Expect"), ["100-continue"]);
        if head.path() == "/no" {
            return reply(stream, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        }
        assert!(reply(stream, "HTTP/1.1 100 Continue\r\n\r\n"));
        assert_eq!(read_body(stream, 4), b"body");
        reply(stream, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head = "HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n";
    client.send(format!("POST / {head}X-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
    let interim = client.read_head();
    assert_eq!((interim.status, interim.fields.len()), (100, 0));
    client.send(b"body");
    assert_eq!(client.read().status, 201);
    // One that the proxy refuses never gets there, and one that the upstream refuses is not waited for.
    client.send(format!("POST / {head}\r\n").as_bytes());
    assert_eq!(client.read().status, 401);
    let mut client = host.client();
    client.send(format!("POST /no {head}X-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
    let response = client.read();
    assert_eq!((response.status, response.field("Connection")), (417, "close"));
    assert!(client.is_closed(), "its body may come or not");
    assert_eq!(origin.heads().len(), 2);
}

#[test]
fn an_old_clients_expectation_is_none() {
    let origin = Origin::start(|head, stream| {
        assert!(head.all("Expect").is_empty());
        read_body(stream, 4);
        reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head = "POST / HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n";
    client.send(format!("{head}X-API-Key: {PROFESSIONAL}\r\n\r\nbody").as_bytes());
    assert_eq!(client.read().status, 200);
}

/// The upstream sends the response only when the client has got the hints.
#[test]
fn interim_responses_are_passed_on_at_once() {
    let origin = Origin::start(|_, stream| {
        assert!(reply(stream, "HTTP/1.1 103 Early Hints\r\nLink: x\r\nX-RateLimit-Limit: 7\r\n\r\n"));
        assert_eq!(read_body(stream, 4), b"body");
        let rest = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
        reply(stream, rest)
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..2 {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n";
        client.send(format!("{head}X-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
        let hints = client.read_head();
        assert_eq!((hints.status, hints.field("Link"), hints.fields.len()), (103, "x", 1));
        client.send(b"body");
        assert_eq!(client.read_head().status, 102);
        let response = client.read();
        assert_eq!((response.status, response.text()), (200, "done"));
        assert_eq!(response.all("X-RateLimit-Limit"), ["1000"]);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_old_client_gets_no_interim_response() {
    let origin = Origin::fixed(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    );
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(format!("GET / HTTP/1.0\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n").as_bytes());
    let response = client.read();
    assert_eq!((response.status, response.text()), (200, "body"));
}

/// A request that the upstream has answered in part is not sent to it again.
#[test]
fn an_interim_response_and_no_other_is_502() {
    let origin = Origin::start(|head, stream| match head.path() {
        "/first" => reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        _ => {
            reply(stream, "HTTP/1.1 103 Early Hints\r\n\r\n");
            false
        }
    });
    let host = Host::with(origin.address, |config| config.proxy.workers = 1);
    let mut client = host.client();
    assert_eq!(client.get("/first", PROFESSIONAL).status, 200);
    client.send(crate::client::get("/second", PROFESSIONAL).as_bytes());
    assert_eq!(client.read_head().status, 103);
    assert_eq!((client.read().status, origin.heads().len()), (502, 2));
}

/// The upstream answers before it has read the upload, and closes.
#[test]
fn an_answer_that_comes_before_the_upload_ends_arrives() {
    let origin = Origin::start(|_, stream| {
        reply(stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\nContent-Length: 600000\r\n\r\n");
    client.send(head.as_bytes());
    client.send(&[b'x'; 300_000]);
    let response = client.read();
    assert_eq!((response.status, response.text()), (413, "big"));
    assert_eq!(response.number("X-RateLimit-Remaining"), 999);
    client.send(&[b'x'; 300_000]);
    assert!(client.is_closed());
}

/// The refusal of the rest of a request must not come as a part of its response.
#[test]
fn a_body_that_is_malformed_after_the_response_has_begun_ends_both() {
    let origin = Origin::start(|_, stream| {
        assert!(reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun"));
        // Until the proxy hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    client.send(format!("{head}X-API-Key: {PROFESSIONAL}\r\n\r\n4\r\nbody\r\n").as_bytes());
    assert_eq!(client.read_head().status, 200);
    client.send(b"no size\r\n");
    let mut rest = Vec::new();
    // Closed or reset.
    let _ = client.0.read_to_end(&mut rest);
    assert!(b"begun".starts_with(&rest), "{rest:?}");
}

/// The lines of a chunked body, up to the empty one.
fn read_lines(stream: &mut Stream) -> Vec<String> {
    let lines = stream.by_ref().lines().map(|line| line.expect("a line"));
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn trailers_pass_both_ways_but_those_that_belong_in_a_head() {
    let origin = Origin::start(|head, stream| {
        assert_eq!((head.all("TE"), head.all("Connection")), (vec!["trailers"], vec!["TE"]));
        assert_eq!(head.all("Trailer"), ["X-Sum"]);
        assert_eq!(read_lines(stream), ["4", "body", "0", "X-Sum: 1", "x-other: 2"]);
        let head = "HTTP/1.1 200 OK\r\nTrailer: Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        let trailers = "Sum: 3\r\nContent-Length: 9\r\nX-RateLimit-Limit: 7\r\nConnection: close\r\n";
        reply(stream, &format!("{head}4\r\ndone\r\n0\r\n{trailers}\r\n"))
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..2 {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n";
        let trailers = "X-Sum: 1\r\nX-API-Key: other\r\nHost: evil\r\nTransfer-Encoding: x\r\nx-other: 2\r\n";
        let request = format!("{head}Connection: TE\r\nTrailer: X-Sum\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n");
        client.send(format!("{request}4\r\nbody\r\n0\r\n{trailers}\r\n").as_bytes());
        let head = client.read_head();
        assert_eq!((head.status, head.field("Trailer")), (200, "Sum"));
        let lines: Vec<_> = (0..5).map(|_| client.line()).collect();
        assert_eq!(lines, ["4", "done", "0", "Sum: 3", ""]);
    }
    assert_eq!(origin.connections(), 1, "both ends agree on where a message ends");
}

#[test]
fn an_upstreams_malformed_trailers_end_the_response_unfinished() {
    let origin = Origin::fixed(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\nno colon\r\n\r\n",
    );
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(crate::client::get("/", PROFESSIONAL).as_bytes());
    let mut bytes = String::new();
    client.0.read_to_string(&mut bytes).expect("text");
    assert!(!bytes.contains("0\r\n\r\n") && !bytes.contains("no colon"), "{bytes}");
}
