use super::*;
use crate::config::Config;
use crate::enforcement::Enforcement;
use crate::key_watch::KeyWatch;
use crate::keys::{self, KeyFile, PlainKey};
use crate::places::Places;
use crate::policy::Policy;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// As hostile as names of keys can be.
const NAME: &str = "a..b_-c";

/// A daemon without a kernel program, with a dashboard.
struct Daemon {
    address: SocketAddr,
    token: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Daemon {
    fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ratelimitd.toml");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let proxy =
            "[proxy]\nlisten = ['127.0.0.1:8080']\nupstream = '127.0.0.1:9000'\n[keys]\nfile = 'keys.toml'\n";
        let admin = format!("[admin]\nsocket = ''\nlisten = '{free}'\ntoken_file = 'token'\n{more}\n");
        fs::write(&path, format!("{proxy}{admin}")).unwrap();
        let config = Config::load(&path).unwrap();
        keys::update(&config.keys.file, |file| {
            file.add(&PlainKey::import("a-key-in-the-clear").unwrap(), NAME, "professional", None, None)
        })
        .unwrap();
        let file = KeyFile::load(&config.keys.file).unwrap();
        let places = Places::new(config.kernel.max_keys);
        let policy = Policy::first(&config.tiers, &config.rules, &file, places).unwrap();
        let listener = Listener::bind(&config.admin).unwrap().unwrap();
        let token = fs::read_to_string(&config.admin.token_file).unwrap().trim().to_owned();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let enforcement = Enforcement::new(&config, policy, None).unwrap();
            let control = Control::new(enforcement, KeyWatch::new(&path, config));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(attend(control, listener, ended));
        });
        Self { address: free, token, end: Some(end), thread: Some(thread), _directory: directory }
    }

    /// Sends a request with these fields, each with its line end.
    fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> Answer {
        let mut stream = self.connect();
        let host = if fields.contains("Host:") { "" } else { "Host: localhost:9090\r\n" };
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\n{host}{fields}Content-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &self.bearer(), "")
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Does what the control loop does, until `ended`.
async fn attend(mut control: Control, listener: Listener, mut ended: oneshot::Receiver<()>) {
    let (line, mut questions) = Line::new();
    listener.serve(&control, line).unwrap();
    control.look();
    loop {
        tokio::select! {
            Some(question) = questions.recv() => question(&mut control),
            _ = &mut ended => break,
        }
    }
}

const KNOWN: [&str; 7] = [
    "/api/overview",
    "/api/keys",
    "/api/keys/a..b_-c",
    "/api/endpoints",
    "/api/history",
    "/api/explain?key=a..b_-c&method=GET&path=/",
    "/metrics",
];

#[test]
fn who_does_not_know_the_token_is_told_nothing() {
    let daemon = Daemon::start("");
    for target in KNOWN {
        assert_eq!(daemon.get(target).status, 200, "{target}");
        for fields in ["", "Authorization: Bearer wrong\r\n", "Cookie: ratelimitd_session=wrong\r\n"] {
            let answer = daemon.send("GET", target, fields, "");
            assert_eq!((answer.status, answer.code()), (401, "wrong_token".to_owned()), "{target} {fields}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    assert_eq!(daemon.send("GET", "/api/live", "", "").status, 401);
    assert_eq!(daemon.send("GET", "/api/session", "", "").json()["is_known"], false);
    assert_eq!(daemon.send("POST", "/api/session", "", r#"{"token":"wrong"}"#).status, 401);
}

#[test]
fn a_browser_shows_the_token_once() {
    let daemon = Daemon::start("");
    let entered = daemon.send("POST", "/api/session", "", &format!(r#"{{"token":"{}"}}"#, daemon.token));
    assert_eq!(entered.status, 204);
    let cookie = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("httponly; samesite=strict"), "{cookie}");
    assert!(!cookie.contains(&daemon.token.to_ascii_lowercase()));
    let fields = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(daemon.send("GET", "/api/overview", &fields, "").status, 200);
    assert_eq!(daemon.send("GET", "/api/session", &fields, "").json()["is_known"], true);
}

#[test]
fn other_names_and_other_sites_pages_are_turned_away() {
    let daemon = Daemon::start("hosts = ['ops.example']\ncontrols = true");
    for (host, status) in [
        ("ops.example", 200),
        ("Ops.Example:443", 200),
        ("10.1.2.3:9090", 200),
        ("[::1]:9090", 200),
        ("evil.example", 421),
        ("localhost.evil.example:9090", 421),
    ] {
        let fields = format!("Host: {host}\r\n{}", daemon.bearer());
        assert_eq!(daemon.send("GET", "/api/overview", &fields, "").status, status, "{host}");
    }
    for (fields, status) in [
        ("", 200),
        ("Origin: http://localhost:9090\r\nSec-Fetch-Site: same-origin\r\n", 200),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let answer = daemon.send("POST", "/api/reload", &format!("{fields}{}", daemon.bearer()), "");
        assert_eq!(answer.status, status, "{fields}: {}", answer.body);
    }
}

#[test]
fn it_only_shows_unless_it_is_told_otherwise() {
    let daemon = Daemon::start("");
    let answer = daemon.send("POST", "/api/reload", &daemon.bearer(), "");
    assert_eq!((answer.status, answer.code()), (403, "read_only".to_owned()));
    assert_eq!(daemon.get("/api/session").json()["controls"], false);
}

#[test]
fn what_is_too_much_is_refused() {
    let daemon = Daemon::start("");
    for target in [
        "/api/keys?limit=201",
        "/api/keys?limit=0",
        "/api/keys?limit=-1",
        "/api/keys?sort=size",
        "/api/keys?what=1",
        "/api/keys?offset=99999999",
        &format!("/api/keys?search={}", "x".repeat(65)),
        "/api/history?span=7776001",
        "/api/history?span=0",
        "/api/history?points=3601",
        "/api/history?key=a&route=b",
        "/api/endpoints?span=1e9",
        "/api/explain?key=a",
    ] {
        let answer = daemon.get(target);
        assert_eq!((answer.status, answer.code()), (400, "bad_query".to_owned()), "{target}");
    }
    assert_eq!(daemon.get(&format!("/api/keys?search={}", "x".repeat(3_000))).status, 414);
    let body = format!(r#"{{"token":"{}"}}"#, "x".repeat(2_000));
    assert_eq!(daemon.send("POST", "/api/session", "", &body).status, 400);
    for unknown in
        ["/api/keys/nobody", "/api/history?key=nobody", "/api/history?rule=none", "/api", "/etc/passwd"]
    {
        assert_eq!(daemon.get(unknown).status, 404, "{unknown}");
    }
    assert_eq!(daemon.send("DELETE", "/api/keys", &daemon.bearer(), "").status, 405);
}

#[test]
fn every_answer_tells_browsers_to_be_careful() {
    let daemon = Daemon::start("");
    for target in ["/", "/app.js", "/api/overview", "/api/nothing"] {
        let head = daemon.get(target).head;
        for field in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-",
        ] {
            assert!(head.contains(field), "{target}: {head}");
        }
    }
}

#[test]
fn a_key_in_the_clear_is_nowhere() {
    let daemon = Daemon::start("");
    for target in KNOWN {
        assert!(!daemon.get(target).body.contains("in-the-clear"), "{target}");
    }
    let keys = daemon.get("/api/keys?search=A..B").json();
    assert_eq!((&keys["total"], &keys["keys"][0]["name"]), (&1.into(), &NAME.into()));
    assert!(!daemon.get("/metrics").body.contains(NAME), "no label has a key's name");
}

#[test]
fn who_watches_is_told_every_second() {
    let daemon = Daemon::start("");
    let mut stream = daemon.connect();
    write!(stream, "GET /api/live HTTP/1.1\r\nHost: localhost\r\n{}\r\n", daemon.bearer()).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let events: Vec<Value> =
        lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).take(3).collect();
    assert_eq!(events.len(), 3);
    assert!(events[2]["at"].as_u64() > events[0]["at"].as_u64());
    assert_eq!(events[0]["status"]["keys"]["all"], 1);
}

#[test]
fn metrics_come_in_either_form() {
    let daemon = Daemon::start("");
    let accept = format!("Accept: application/openmetrics-text; version=1.0.0\r\n{}", daemon.bearer());
    let new = daemon.send("GET", "/metrics", &accept, "");
    assert!(new.head.contains("openmetrics-text") && new.body.ends_with("# EOF\n"), "{}", new.body);
    let old = daemon.get("/metrics");
    assert!(old.head.contains("text/plain") && !old.body.contains("# EOF"), "{}", old.head);
    for text in [&new.body, &old.body] {
        assert!(text.contains("\nratelimitd_requests_total{outcome=\"admitted\"} 0\n"), "{text}");
    }
    assert!(old.body.contains("# TYPE ratelimitd_requests_total counter\n"), "{}", old.body);
    assert!(old.body.contains("\nratelimitd_upstream_wait_seconds_count 0\n"), "{}", old.body);
}
