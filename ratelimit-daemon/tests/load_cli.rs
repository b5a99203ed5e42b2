//! `ratelimitd load` against small servers that do one thing, and what it says when it cannot work.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";
const REFUSED: &str = "HTTP/1.1 429 Too Many Requests\r\nX-RateLimit-Limit: 1000\r\nX-RateLimit-Remaining: 9\r\n\
    X-RateLimit-Reset: 9\r\nRetry-After: 60\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A server for as long as the test runs.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// `answer` gets the connection and the number of the request, from 0, and says whether the connection stays.
    fn start(answer: impl Fn(&mut TcpStream, usize) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = Self { address, connections: connections.clone(), requests: requests.clone() };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answer, requests) =
                    (stream.expect("a client"), answer.clone(), requests.clone());
                let connections = connections.clone();
                std::thread::spawn(move || {
                    let mut is_new = true;
                    while read_request(&mut stream) {
                        // The generator also connects to see whether anybody is there.
                        connections.fetch_add(usize::from(std::mem::take(&mut is_new)), Ordering::SeqCst);
                        if !answer(&mut stream, requests.fetch_add(1, Ordering::SeqCst)) {
                            break;
                        }
                    }
                });
            }
        });
        server
    }

    fn load(&self, arguments: &[&str]) -> Command {
        let mut load = Command::new(env!("CARGO_BIN_EXE_ratelimitd"));
        load.args(["load", &self.address.to_string(), "--json", "--threads", "1"]).args(arguments);
        load
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let done = self.load(arguments).output().expect("a run");
        report(&done)
    }
}

fn report(done: &Output) -> Value {
    let text = String::from_utf8_lossy(&done.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)))
}

/// Reads a request without a body; false at the end of the connection.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn say(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).is_ok()
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// A server that stalls must not be helped by a client that waits for it: what was due meanwhile is late.
#[test]
fn latency_is_counted_from_when_a_request_was_due() {
    let server = Server::start(|stream, number| {
        if number == 50 {
            sleep(Duration::from_secs(1));
        }
        say(stream, OK)
    });
    let report = server.report(&["--invent-keys", "--connections", "1", "--rate", "100", "--seconds", "3"]);
    assert_eq!(count(&report, "sent") + count(&report, "unsent"), 300);
    // A hundred of three hundred were due during the stall: a sixth of all is late by half of it or more.
    let p90 = report["latency"]["all"]["p90"].as_f64().expect("a figure");
    assert!(p90 >= 500_000.0, "{p90} µs");
}

#[test]
fn connections_are_kept_or_not_as_asked() {
    let server = Server::start(|stream, _| say(stream, OK));
    let report = server.report(&["--invent-keys", "--connections", "3", "--seconds", "0.3"]);
    assert!(count(&report, "admitted") > 3);
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    let server = Server::start(|stream, _| say(stream, OK));
    let arguments = ["--invent-keys", "--connections", "3", "--rate", "100", "--seconds", "0.3", "--close"];
    let report = server.report(&arguments);
    assert_eq!(count(&report, "admitted"), 30);
    assert_eq!(server.connections.load(Ordering::SeqCst), 30);
}

#[test]
fn the_kernels_refusals_are_told_from_the_proxys() {
    let with_date = REFUSED.replace("\r\nConnection", "\r\nDate: x\r\nConnection");
    let server = Server::start(move |stream, number| {
        say(stream, if number % 2 == 0 { REFUSED } else { &with_date });
        false
    });
    let report = server.report(&["--invent-keys", "--connections", "1", "--rate", "100", "--seconds", "0.2"]);
    assert_eq!(count(&report, "refused"), 20);
    let limit = &report["limits"][0];
    assert_eq!(
        (&limit["limit"], count(limit, "by_kernel"), count(limit, "by_proxy")),
        (&"burst".into(), 10, 10)
    );
}

fn scenario(directory: &Path, expect: &str, population: &str) -> String {
    let path = directory.join("s.toml");
    let text = format!(
        "description = 'x'\n[expect]\nrules = false\n{expect}\n[[population]]\nname = 'p'\ntier = 'professional'\n\
         requests = [{{ endpoint = 'course' }}]\n{population}\n"
    );
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn a_reset_is_what_the_scenario_says_it_is() {
    let server = Server::start(|stream, _| {
        socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).expect("an option");
        false
    });
    let directory = tempfile::tempdir().expect("a directory");
    let population = "arrivals = [{ kind = 'constant', seconds = 0.2, rate = 100 }]";
    let run = |expect| {
        server.report(&["--invent-keys", "--scenario", &scenario(directory.path(), expect, population)])
    };
    let refused = run("reset = 'refused'");
    assert_eq!((count(&refused, "refused"), count(&refused, "failed")), (20, 0));
    let failed = run("reset = 'error'");
    assert_eq!((count(&failed, "refused"), count(&failed["failures"], "reset")), (0, 20));
}

#[test]
fn a_polite_client_sends_nothing_until_it_may() {
    let server = Server::start(|stream, _| {
        say(stream, REFUSED);
        false
    });
    let directory = tempfile::tempdir().expect("a directory");
    let closed =
        "keys = 3\nconnections = 5\nbehaviour = 'polite'\narrivals = [{ kind = 'closed', seconds = 0.5 }]";
    let report = server.report(&["--invent-keys", "--scenario", &scenario(directory.path(), "", closed)]);
    // Each of the keys can be under way on each of the connections before its first answer.
    assert!((3..=15).contains(&count(&report, "sent")), "{report}");
    let open = "keys = 1\nbehaviour = 'polite'\narrivals = [{ kind = 'constant', seconds = 1, rate = 50 }]";
    let report = server.report(&["--invent-keys", "--scenario", &scenario(directory.path(), "", open)]);
    assert_eq!(count(&report, "sent") + count(&report, "withheld"), 50);
    assert!(count(&report, "withheld") > 0, "{report}");
}

#[test]
fn an_interrupt_gives_the_report_so_far() {
    let server = Server::start(|stream, _| say(stream, OK));
    let mut load = server.load(&["--invent-keys", "--seconds", "600", "--connections", "2"]);
    let child = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a run");
    while server.requests.load(Ordering::SeqCst) < 10 {
        sleep(Duration::from_millis(10));
    }
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process id");
    kill_process(pid, Signal::INT).expect("a signal");
    let done = child.wait_with_output().expect("its end");
    let report = report(&done);
    assert!(done.status.success() && report["interrupted"] == true, "{report}");
    assert!(count(&report, "admitted") >= 9);
}

#[test]
fn the_page_loads_nothing() {
    let server = Server::start(|stream, _| say(stream, OK));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("r.html").display().to_string();
    server.report(&["--invent-keys", "--seconds", "0.5", "--connections", "1", "--html", &path]);
    let page = std::fs::read_to_string(path).expect("a page");
    assert_eq!(page.matches("<svg").count(), 3);
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!elsewhere.contains(word), "{word}");
    }
}

#[test]
fn what_cannot_work_is_told_with_what_to_do() {
    let server = Server::start(|stream, _| say(stream, OK));
    let directory = tempfile::tempdir().expect("a directory");
    let wrong = scenario(directory.path(), "", "keys = 0");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--invent-keys", "--scenario", &wrong], 2, "s.toml:9: population.keys: 0 is out of range"),
        (&["--invent-keys", "--scenario", "nonesuch"], 2, "no scenario and no file is named \"nonesuch\""),
        (&["--invent-keys", "--connections", "1000000"], 2, "ask for fewer connections"),
        (&[], 2, "no keys: give --key KEY"),
        (&["--invent-keys", "--rate", "0"], 2, "--rate: out of range"),
    ];
    for (arguments, code, text) in cases {
        let done = server.load(arguments).output().expect("a run");
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(code) && told.contains(text), "{arguments:?}: {told}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn nobody_there_is_told_and_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let mut load = Command::new(env!("CARGO_BIN_EXE_ratelimitd"));
    let done = load.args(["load", &address, "--invent-keys"]).output().expect("a run");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.code() == Some(1) && told.contains(&format!("cannot connect to {address}")),
        "{told}"
    );
}
