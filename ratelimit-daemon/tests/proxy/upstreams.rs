//! Several upstreams.

use crate::host::{Host, eventually};
use crate::origin::{Origin, reply};
use crate::upstream_failures::nowhere;
use ratelimit_daemon::config::{Config, Missing, Upstream};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// No key: nobody is over a limit here.
const ANYONE: &str = "";

fn upstreams(addresses: &[SocketAddr]) -> Vec<Upstream> {
    addresses.iter().map(|address| address.to_string().parse().expect("an upstream")).collect()
}

/// In front of several, with one thread, which looks at them often.
fn host(addresses: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Host {
    Host::with(addresses[0], |config| {
        config.proxy.upstreams = upstreams(addresses);
        config.proxy.workers = 1;
        config.keys.missing = Missing::Pass;
        config.health.interval = Duration::from_millis(20);
        change(config);
    })
}

/// An upstream that answers with its name, for as long as it is well.
fn named(name: &'static str, is_well: &Arc<AtomicBool>) -> Origin {
    let is_well = is_well.clone();
    Origin::start(move |_, stream| {
        let status = if is_well.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
        reply(stream, &format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
    })
}

fn well() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

#[test]
fn requests_are_spread_evenly() {
    let origins = ["a", "b", "c"].map(|name| named(name, &well()));
    let host = host(&origins.each_ref().map(|origin| origin.address), |_| {});
    let mut client = host.client();
    for _ in 0..30 {
        assert_eq!(client.get("/", ANYONE).status, 200);
    }
    assert_eq!(origins.each_ref().map(|origin| origin.heads().len()), [10, 10, 10]);
    assert_eq!(origins.each_ref().map(Origin::connections), [1, 1, 1]);
}

#[test]
fn a_busy_upstream_gets_no_more_while_another_is_free() {
    let slow = Origin::start(|_, stream| {
        // Until the proxy hangs up.
        let _ = stream.read(&mut [0]);
        false
    });
    let fast = named("fast", &well());
    let host = host(&[slow.address, fast.address], |_| {});
    let mut waiting = host.client();
    waiting.send(crate::client::get("/", ANYONE).as_bytes());
    let mut client = host.client();
    eventually("the slow one is asked", || slow.heads().len() + fast.heads().len() >= 1);
    let to_fast_first = fast.heads().len();
    let mut second = host.client();
    if to_fast_first == 1 {
        second.send(crate::client::get("/", ANYONE).as_bytes());
    }
    eventually("the slow one is asked", || slow.heads().len() == 1);
    for _ in 0..20 {
        assert_eq!(client.get("/", ANYONE).text(), "fast");
    }
    assert_eq!((slow.heads().len(), fast.heads().len()), (1, 20 + to_fast_first));
}

/// Nothing was sent yet, so any request can go elsewhere, an upload too.
#[test]
fn an_upstream_that_is_away_is_not_seen_by_clients() {
    let origin = named("here", &well());
    let host = host(&[nowhere(), origin.address, nowhere()], |_| {});
    let mut client = host.client();
    for _ in 0..6 {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {ANYONE}\r\nContent-Length: 0\r\n\r\n");
        client.send(head.as_bytes());
        assert_eq!(client.read().text(), "here");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_upstream_that_comes_back_is_found() {
    let (address, here) = (nowhere(), named("here", &well()));
    let host = host(&[address, here.address], |_| {});
    let mut client = host.client();
    (0..4).for_each(|_| assert_eq!(client.get("/", ANYONE).text(), "here"));
    let listener = TcpListener::bind(address).expect("the port again");
    let (arrived, news) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A look sends nothing, a request does.
            if stream.read(&mut [0]).is_ok_and(|length| length > 0) {
                return arrived.send(());
            }
        }
        Ok(())
    });
    eventually("it gets a request again", || {
        host.client().send(crate::client::get("/", ANYONE).as_bytes());
        news.recv_timeout(Duration::from_millis(10)).is_ok()
    });
}

#[test]
fn all_of_them_away_is_502_and_one_is_tried_each_time() {
    let addresses = [nowhere(), nowhere()];
    let host = host(&addresses, |config| config.health.interval = Duration::from_secs(3_600));
    let mut client = host.client();
    for _ in 0..4 {
        let response = client.get("/", ANYONE);
        assert_eq!((response.status, response.code()), (502, "upstream_unavailable"));
    }
    let listeners = addresses.map(|address| TcpListener::bind(address).expect("the port again"));
    client.send(crate::client::get("/", ANYONE).as_bytes());
    let is_reached = |listener: &TcpListener| {
        listener.set_nonblocking(true).expect("non-blocking");
        listener.accept().is_ok()
    };
    eventually("one of them gets the request, without a look", || listeners.iter().any(is_reached));
}

#[test]
fn an_upstream_that_says_it_is_not_well_gets_nothing_until_it_is() {
    let is_well = well();
    let (sick, other) = (named("sick", &is_well), named("other", &well()));
    let host = host(&[sick.address, other.address], |config| config.health.path = Some("/health".to_owned()));
    is_well.store(false, Ordering::SeqCst);
    let ask = |path: &str| host.get(path, ANYONE);
    eventually("only the other is asked", || (0..6).all(|_| ask("/").text() == "other"));
    let heads = sick.heads();
    let looks = heads.iter().filter(|head| head.path() == "/health");
    assert!(looks.clone().count() >= 2);
    let name = sick.address.to_string();
    assert!(looks.clone().all(|head| head.all("Host") == [name.as_str()]));
    is_well.store(true, Ordering::SeqCst);
    eventually("it is asked again", || ask("/").text() == "sick");
}

/// Whatever the looks say: a client is better off with an upstream that may answer than with none.
#[test]
fn if_none_is_well_they_are_asked_all_the_same() {
    let is_well = well();
    let origin = named("only", &is_well);
    let host = host(&[origin.address], |config| config.health.path = Some("/health".to_owned()));
    is_well.store(false, Ordering::SeqCst);
    eventually("it was looked at", || origin.heads().len() >= 4);
    assert_eq!(host.get("/", ANYONE).text(), "only");
}
