//! Connections that change their protocol.

use crate::client::Client;
use crate::host::{BURST, Host, KEY, PROFESSIONAL, eventually};
use crate::origin::{Origin, read_body, reply};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::{HandshakeError, Message, WebSocket};

/// A WebSocket server that says everything back.
fn websocket_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                // What asks for no WebSocket gets no answer.
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).expect("sent");
                    }
                }
            });
        }
    });
    address
}

/// A WebSocket through the proxy, and the handshake's answer; else the answer that refuses it.
fn try_websocket(host: &Host, key: &str) -> Result<(WebSocket<TcpStream>, Response), Box<Response>> {
    let mut request = format!("ws://{}/live", host.address).into_client_request().expect("a request");
    request.headers_mut().insert("X-API-Key", key.parse().expect("a value"));
    let stream = TcpStream::connect(host.address).expect("connected");
    tungstenite::client(request, stream).map_err(|error| match error {
        HandshakeError::Failure(tungstenite::Error::Http(response)) => response.map(|_| None).into(),
        error => panic!("{error}"),
    })
}

fn websocket(host: &Host) -> (WebSocket<TcpStream>, Response) {
    try_websocket(host, PROFESSIONAL).expect("a handshake")
}

#[test]
fn a_websocket_is_one_request_however_much_is_said() {
    let host = Host::start(websocket_server());
    let (mut socket, response) = websocket(&host);
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["X-RateLimit-Remaining"], "999");
    for number in 0..50 {
        let text = Message::text(format!("message {number}"));
        socket.send(text.clone()).expect("sent");
        assert_eq!(socket.read().expect("an echo"), text);
    }
    let large = Message::binary(vec![7; 1 << 20]);
    socket.send(large.clone()).expect("sent");
    assert_eq!(socket.read().expect("an echo"), large);
    socket.close(None).expect("closed");
    while socket.read().is_ok() {}
    assert_eq!(host.get("/", PROFESSIONAL).number("X-RateLimit-Remaining"), 998);
}

#[test]
fn a_websocket_over_the_limits_is_429() {
    let host = Host::start(websocket_server());
    for _ in 0..BURST {
        assert!(try_websocket(&host, KEY).is_ok());
    }
    let response = try_websocket(&host, KEY).expect_err("a refusal");
    assert_eq!(response.status(), 429);
}

/// An upstream that changes to whatever is asked for, and then tells what it hears.
fn willing() -> Origin {
    Origin::start(|head, stream| {
        let protocol = head.all("Upgrade").first().map_or("websocket", |protocol| *protocol).to_owned();
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ";
        assert!(reply(stream, &format!("{switch}{protocol}\r\nX-RateLimit-Limit: 7\r\n\r\nhello")));
        let said = String::from_utf8(read_body(stream, 4)).expect("text");
        reply(stream, &format!("heard {said}")) && stream.read(&mut [0]).is_ok_and(|length| length > 0)
    })
}

fn ask(client: &mut Client, fields: &str) {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {PROFESSIONAL}\r\n{fields}\r\n");
    client.send(head.as_bytes());
}

#[test]
fn what_is_said_at_once_is_not_lost_and_either_end_ends_it() {
    let origin = willing();
    let host = Host::start(origin.address);
    let mut client = host.client();
    ask(&mut client, "connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n");
    client.send(b"quick");
    let head = client.read_head();
    assert_eq!((head.status, head.field("Upgrade"), head.field("Connection")), (101, "WebSocket", "Upgrade"));
    assert_eq!(head.field("X-RateLimit-Limit"), "1000");
    let mut heard = [0; 15];
    client.0.read_exact(&mut heard).expect("an answer");
    assert_eq!(&heard, b"helloheard quic");
    // The client ends its half; the upstream ends the other.
    client.0.get_ref().shutdown(Shutdown::Write).expect("shut down");
    assert!(client.is_closed());
    assert_eq!(origin.heads()[0].all("Connection"), ["Upgrade"]);
}

#[test]
fn nobody_changes_to_a_protocol_that_is_not_allowed_or_was_not_asked_for() {
    let cases = [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "",
    ];
    let origin = willing();
    let host = Host::start(origin.address);
    for fields in cases {
        let mut client = host.client();
        ask(&mut client, fields);
        assert_eq!(client.read().code(), "upstream_invalid", "{fields}");
    }
    let heads = origin.heads();
    assert_eq!(heads.len(), cases.len());
    assert!(heads.iter().all(|head| head.all("Upgrade").is_empty() && head.all("HTTP2-Settings").is_empty()));
}

#[test]
fn an_upstream_that_does_not_change_answers_as_ever() {
    let origin = Origin::echo_path();
    let host = Host::start(origin.address);
    let mut client = host.client();
    for _ in 0..2 {
        ask(&mut client, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
        assert_eq!(client.read().text(), "/");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_silent_tunnel_is_closed_on_both_sides() {
    let (ended, news) = std::sync::mpsc::channel();
    let origin = Origin::start(move |_, stream| {
        reply(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        ended.send(matches!(stream.read(&mut [0]), Ok(0) | Err(_))).expect("sent");
        false
    });
    let host = Host::with(origin.address, |config| config.proxy.tunnel_timeout = Duration::from_millis(50));
    let mut client = host.client();
    ask(&mut client, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_eq!(client.read_head().status, 101);
    assert!(client.is_closed());
    assert!(news.recv().expect("news"));
}

/// As long as either side speaks, however slowly, it is open.
#[test]
fn a_tunnel_in_use_outlives_the_other_timeouts() {
    let host = Host::with(websocket_server(), |config| {
        config.proxy.head_timeout = Duration::from_millis(50);
        config.proxy.idle_timeout = Duration::from_millis(50);
        config.proxy.response_timeout = Duration::from_millis(500);
    });
    let (mut socket, _) = websocket(&host);
    let begin = std::time::Instant::now();
    eventually("longer than the others are", || begin.elapsed() > Duration::from_millis(600));
    socket.send(Message::text("still here")).expect("sent");
    assert_eq!(socket.read().expect("an echo"), Message::text("still here"));
    socket.get_mut().flush().expect("flushed");
}
