//! Clients' connections: how many, how long, and how they end.

use crate::client::{Client, get};
use crate::host::{Host, KEY, PROFESSIONAL, eventually};
use crate::origin::{Origin, reply};
use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn a_connection_over_the_number_is_turned_away_until_another_ends() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.proxy.max_connections = 2);
    let mut first = host.client();
    let mut second = host.client();
    assert_eq!(first.get("/", PROFESSIONAL).status, 200);
    assert_eq!(second.get("/", PROFESSIONAL).status, 200);
    let response = host.client().read();
    assert_eq!((response.status, response.code()), (503, "too_many_connections"));
    drop(first);
    eventually("there is room again", || {
        let mut client = host.client();
        client.send(get("/", PROFESSIONAL).as_bytes());
        client.read().status == 200
    });
    assert_eq!(second.get("/", PROFESSIONAL).status, 200);
}

#[test]
fn a_client_that_sends_nothing_or_half_a_head_is_left() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.proxy.head_timeout = Duration::from_millis(50));
    assert!(host.client().is_closed());
    let mut client = host.client();
    client.send(b"GET / HTTP/1.1\r\nHost");
    assert!(client.is_closed());
    let mut client = host.client();
    assert_eq!(client.get("/", PROFESSIONAL).status, 200);
    client.send(b"GET / HTTP/1.1\r\nHost");
    assert!(client.is_closed());
}

#[test]
fn a_body_that_does_not_come_is_408() {
    // One that answers at the end of the body, which never comes.
    let origin = Origin::start(|_, stream| stream.read_to_end(&mut Vec::new()).is_err());
    let host = Host::with(origin.address, |config| config.proxy.body_timeout = Duration::from_millis(50));
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
    for body in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nha"] {
        let mut client = host.client();
        client.send(format!("{head}{body}").as_bytes());
        let response = client.read();
        assert_eq!((response.status, response.code()), (408, "body_timeout"));
        assert_eq!(response.field("Connection"), "close");
        assert!(client.is_closed());
    }
}

#[test]
fn a_head_may_have_the_size_that_is_configured_and_no_more() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.proxy.max_head = 4_096);
    let head = |length: usize| {
        let start = format!("GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\nX-Long: ");
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    for (length, status) in [(4_096, 200), (4_097, 431), (8_192, 431)] {
        let mut client = host.client();
        client.send(head(length).as_bytes());
        assert_eq!(client.read().status, status, "{length}");
    }
    let mut client = host.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100)).as_bytes());
    assert_eq!(client.read().status, 431);
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| config.proxy.idle_timeout = Duration::from_millis(50));
    let mut client = host.client();
    assert_eq!(client.get("/", PROFESSIONAL).status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_connection_is_kept_or_closed_as_the_client_wishes() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\nConnection: close\r\n\r\n");
    client.send(head.as_bytes());
    let response = client.read();
    assert_eq!((response.status, response.field("Connection")), (200, "close"));
    assert!(client.is_closed());
}

/// An upstream whose answers wait for a word of the test. Gives the word, and the news that a request is there.
fn patient_origin() -> (Origin, std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>) {
    let (go_on, word) = channel::<()>();
    let (arrive, arrived) = channel::<()>();
    let word = Arc::new(Mutex::new(word));
    let origin = Origin::start(move |_, stream| {
        arrive.send(()).expect("sent");
        word.lock().expect("the word").recv().expect("the word");
        reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    });
    (origin, go_on, arrived)
}

#[test]
fn a_stop_answers_what_is_open_and_closes_what_is_idle() {
    let (origin, go_on, arrived) = patient_origin();
    let host = Host::start(origin.address);
    let mut idle = host.client();
    idle.send(get("/", "no-such-key").as_bytes());
    assert_eq!(idle.read().status, 401);
    let mut busy = host.client();
    busy.send(get("/", PROFESSIONAL).as_bytes());
    arrived.recv().expect("arrived");
    let mut begun = host.client();
    begun.send(b"GET / HTTP/1.1\r\nHost");
    let mut new = host.client();
    new.send(get("/", "no-such-key").as_bytes());
    host.stop();
    assert!(idle.is_closed());
    assert!(begun.is_closed());
    assert_eq!(new.read().status, 401);
    assert!(new.is_closed());
    go_on.send(()).expect("sent");
    let response = busy.read();
    assert_eq!((response.status, response.text(), response.field("Connection")), (200, "done", "close"));
    assert!(busy.is_closed());
    drop((busy, new));
    let address = host.address;
    host.join();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let (origin, _go_on, arrived) = patient_origin();
    let host = Host::with(origin.address, |config| config.proxy.drain_timeout = Duration::from_millis(50));
    let mut client = host.client();
    client.send(get("/", PROFESSIONAL).as_bytes());
    arrived.recv().expect("arrived");
    host.join();
    let mut rest = Vec::new();
    // Closed or reset, but ended.
    let _ = client.0.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn a_client_that_goes_away_takes_its_request_along() {
    let (hung_up, news) = channel();
    let origin = Origin::start(move |_, stream| {
        // Returns when the proxy closes its connection.
        hung_up.send(matches!(stream.read(&mut [0]), Ok(0) | Err(_))).expect("sent");
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(get("/", PROFESSIONAL).as_bytes());
    eventually("the request is there", || origin.heads().len() == 1);
    drop(client);
    assert!(news.recv().expect("news"));
}

/// However its body is framed, an upload that breaks off must not look complete.
#[test]
fn a_client_that_goes_away_in_its_upload_leaves_it_unfinished() {
    let (ended, news) = channel();
    let origin = Origin::start(move |_, stream| {
        let mut body = String::new();
        // Reset or closed.
        let _ = stream.read_to_string(&mut body);
        ended.send(body).expect("sent");
        false
    });
    let host = Host::start(origin.address);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n");
    for body in ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = host.client();
        client.send(format!("{head}{body}").as_bytes());
        drop(client);
        let body = news.recv().expect("news");
        assert!(["half", "4\r\nhalf\r\n", ""].contains(&body.as_str()), "{body:?}");
    }
}

/// An upstream that goes on sending to nobody is cut off, and its connection not used again.
#[test]
fn a_client_that_goes_away_in_its_download_ends_it() {
    let (ended, news) = channel();
    let origin = Origin::start(move |_, stream| {
        assert!(reply(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        while reply(stream, "4\r\nmore\r\n") {}
        ended.send(()).expect("sent");
        false
    });
    let host = Host::start(origin.address);
    let mut client = host.client();
    client.send(get("/", PROFESSIONAL).as_bytes());
    assert_eq!(client.read_head().status, 200);
    drop(client);
    news.recv().expect("news");
}

#[test]
fn both_families_are_served_on_one_port() {
    let origin = Origin::echo_path();
    let host = Host::with(origin.address, |config| {
        config.proxy.listen = vec!["[::1]:0".parse().expect("an address")];
    });
    assert!(host.address.is_ipv6());
    let response = Client::connect(host.address).get("/six", KEY);
    assert_eq!(response.text(), "/six");
    assert_eq!(origin.heads()[0].all("X-Forwarded-For"), ["::1"]);
}
