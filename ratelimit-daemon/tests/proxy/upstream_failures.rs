//! An upstream that is away, slow, or broken.

use crate::client::Response;
use crate::host::{Host, PROFESSIONAL, eventually};
use crate::origin::{Origin, reply};
use socket2::{Domain, Socket, Type};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An address where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address")
}

fn assert_is(response: &Response, status: u16, code: &str, remaining: u64) {
    assert_eq!((response.status, response.code()), (status, code));
    assert_eq!(response.field("Content-Type"), "application/json");
    // Told and charged: see `forward`.
    assert_eq!(response.number("X-RateLimit-Remaining"), remaining);
    assert!(response.all("Retry-After").is_empty());
}

#[test]
fn without_an_upstream_it_is_502() {
    let host = Host::start(nowhere());
    let mut client = host.client();
    assert_is(&client.get("/", PROFESSIONAL), 502, "upstream_unavailable", 999);
    assert_is(&client.get("/", PROFESSIONAL), 502, "upstream_unavailable", 998);
}

/// A listener whose queue is full: whoever connects is not answered.
#[test]
fn an_upstream_that_takes_no_connection_is_504() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket().expect("an address");
    let _waiting = TcpStream::connect(address).expect("the one that the queue takes");
    let host = Host::with(address, |config| config.proxy.connect_timeout = Duration::from_millis(50));
    assert_is(&host.get("/", PROFESSIONAL), 504, "upstream_timeout", 999);
}

#[test]
fn an_upstream_that_hangs_up_is_502() {
    let origin = Origin::start(|_, _| false);
    let host = Host::start(origin.address);
    assert_is(&host.get("/", PROFESSIONAL), 502, "upstream_unavailable", 999);
    assert_eq!(origin.heads().len(), 1, "a new connection was not the reason");
}

#[test]
fn an_answer_that_is_no_http_is_502() {
    let cases = [
        "what?\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ];
    for answer in cases {
        let origin = Origin::fixed(answer);
        let host = Host::start(origin.address);
        assert_is(&host.get("/", PROFESSIONAL), 502, "upstream_invalid", 999);
    }
}

#[test]
fn an_answer_whose_head_does_not_end_is_502() {
    let origin = Origin::start(|_, stream| {
        reply(stream, "HTTP/1.1 200 OK\r\n")
            && (0..1_000).all(|_| reply(stream, &format!("a: {}\r\n", "x".repeat(1_000))))
    });
    let host = Host::start(origin.address);
    assert_is(&host.get("/", PROFESSIONAL), 502, "upstream_invalid", 999);
}

#[test]
fn an_upstream_that_is_too_slow_is_504() {
    let origin = Origin::start(|_, stream| {
        // Until the proxy hangs up.
        let _ = stream.read(&mut [0]);
        false
    });
    let host = Host::with(origin.address, |config| config.proxy.response_timeout = Duration::from_millis(50));
    let mut client = host.client();
    assert_is(&client.get("/", PROFESSIONAL), 504, "upstream_timeout", 999);
    assert_is(&client.get("/", PROFESSIONAL), 504, "upstream_timeout", 998);
}

#[test]
fn a_body_that_breaks_off_breaks_off_at_the_client() {
    let origin = Origin::start(|_, stream| {
        reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(crate::client::get("/", PROFESSIONAL).as_bytes());
    let mut bytes = Vec::new();
    // Reset or closed, with or without what there was: in no way complete.
    let _ = client.0.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.split_once("\r\n\r\n").is_none_or(|(_, body)| body.len() < 100), "{text}");
}

#[test]
fn a_restart_of_the_upstream_is_not_seen_by_clients() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.proxy.workers = 1);
    let mut client = host.client();
    for round in 1..=5 {
        assert_eq!(client.get("/", PROFESSIONAL).status, 200);
        assert_eq!(origin.connections(), round);
        origin.close_all();
    }
}

/// The connection is open when the request is sent and closed when it arrives.
#[test]
fn a_request_on_a_connection_that_dies_is_sent_again_if_that_does_no_harm() {
    static IS_TIRED: AtomicBool = AtomicBool::new(false);
    let origin = Origin::start(|_, stream| {
        let goes_on = !IS_TIRED.swap(false, Ordering::SeqCst);
        goes_on && reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let host = Host::with(origin.address, |config| config.proxy.workers = 1);
    let mut client = host.client();
    let mut request = |method: &str, is_tired: bool| {
        // Longer than a connection counts as fresh.
        std::thread::sleep(Duration::from_millis(30));
        IS_TIRED.store(is_tired, Ordering::SeqCst);
        let head = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-API-Key: {PROFESSIONAL}\r\n\r\n"
        );
        client.send(head.as_bytes());
        client.read().status
    };
    assert_eq!(request("GET", false), 200);
    assert_eq!(request("GET", true), 200);
    assert_eq!(request("DELETE", true), 200);
    assert_eq!(request("POST", true), 502, "it may have been done");
    assert_eq!(request("POST", false), 200);
    eventually("all requests arrived", || origin.heads().len() == 7);
}
