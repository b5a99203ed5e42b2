//! No request passes inside another.

use crate::ambiguous::REQUESTS;
use crate::host::{Host, PROFESSIONAL, eventually};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

/// An upstream that keeps every byte it gets and answers none.
struct Listener {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Listener {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, received) = (listener.local_addr().expect("an address"), Arc::default());
        let kept: Arc<Mutex<Vec<u8>>> = Arc::clone(&received);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                thread::spawn(move || {
                    let mut bytes = [0; 4_096];
                    while let Ok(length @ 1..) = stream.read(&mut bytes) {
                        kept.lock().expect("bytes").extend_from_slice(&bytes[..length]);
                    }
                });
            }
        });
        Self { address, received }
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().expect("bytes")).into_owned()
    }
}

#[test]
fn what_is_ambiguous_is_refused_and_nothing_of_it_reaches_the_upstream() {
    let upstream = Listener::start();
    let host = Host::start(upstream.address);
    for (rule, request) in REQUESTS {
        let mut client = host.client();
        client.send(request.as_bytes());
        let response = client.read();
        assert_eq!((response.status, response.code()), (400, "bad_request"), "{rule}");
        assert_eq!(response.field("Connection"), "close", "{rule}");
        assert!(client.is_closed(), "{rule}");
    }
    // Closes the connections to the upstream, so whatever was under way has arrived.
    host.join();
    assert_eq!(upstream.received(), "");
}

/// However the bytes are cut, they are read in the same way.
#[test]
fn what_is_ambiguous_is_refused_in_any_pieces() {
    let upstream = Listener::start();
    let host = Host::start(upstream.address);
    for (rule, request) in REQUESTS {
        let mut client = host.client();
        for piece in request.as_bytes().chunks(7) {
            client.send(piece);
        }
        let response = client.read();
        assert_eq!((response.status, response.code()), (400, "bad_request"), "{rule}");
        assert!(client.is_closed(), "{rule}");
    }
    host.join();
    let received = upstream.received();
    assert!(!received.contains("smuggled"), "{received}");
    assert!(!received.contains("0\r\n\r\n"), "no body has come to its end: {received}");
}

#[test]
fn a_body_that_turns_out_malformed_never_ends_at_the_upstream() {
    let upstream = Listener::start();
    let host = Host::start(upstream.address);
    let mut client = host.client();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n").as_bytes());
    eventually("the first chunk arrives", || upstream.received().ends_with("4\r\ngood\r\n"));
    client.send(b"worse\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read().status, 400);
    assert!(client.is_closed());
    host.join();
    assert!(upstream.received().ends_with("4\r\ngood\r\n"), "{}", upstream.received());
}
