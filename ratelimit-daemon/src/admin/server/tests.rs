use super::super::client;
use super::*;
use crate::config::Config;
use crate::document::Problems;
use crate::enforcement::Enforcement;
use crate::key_watch::KeyWatch;
use crate::keys::{self, KeyFile, PlainKey};
use crate::places::Places;
use crate::policy::Policy;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use tempfile::TempDir;
use tokio::sync::oneshot;

const KEY: &str = "key-that-nobody-may-be-told";

/// A daemon without a kernel program, whose control loop ends when it is told to.
struct Daemon {
    socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    directory: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ratelimitd.toml");
        let proxy = "[proxy]\nlisten = ['127.0.0.1:8080']\nupstream = ['127.0.0.1:9000', 'api:9001']\n";
        fs::write(&path, format!("{proxy}[keys]\nfile = 'keys.toml'\n[admin]\nsocket = 'admin.sock'\n"))
            .unwrap();
        let config = Config::load(&path).unwrap();
        keys::update(&config.keys.file, |file| {
            file.add(&PlainKey::import(KEY).unwrap(), "one", "professional", None, None)?;
            file.add(&PlainKey::import("another-key").unwrap(), "two", "professional", None, None)?;
            file.entry_mut("two")?.disabled = true;
            Ok(())
        })
        .unwrap();
        let file = KeyFile::load(&config.keys.file).unwrap();
        let places = Places::new(config.kernel.max_keys);
        let policy = Policy::first(&config.tiers, &config.rules, &file, places).unwrap();
        let socket = config.admin.socket.clone().unwrap();
        let listening = Socket::bind(&socket).unwrap();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let enforcement = Enforcement::new(&config, policy, None).unwrap();
            let control = Control::new(enforcement, KeyWatch::new(&path, config));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(attend(control, listening, ended));
        });
        Self { socket, end: Some(end), thread: Some(thread), directory }
    }

    /// Puts `new` in the place of `old` in the configuration.
    fn configure(&self, old: &str, new: &str) {
        let path = self.directory.path().join("ratelimitd.toml");
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(old), "{before}");
        fs::write(&path, before.replacen(old, new, 1)).unwrap();
    }

    fn reload(&self) -> Result<Value> {
        client::post(&self.socket, "/reload")
    }

    fn get(&self, path: &str) -> Result<Value> {
        client::get(&self.socket, path)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers questions until `ended`.
async fn attend(mut control: Control, socket: Socket, mut ended: oneshot::Receiver<()>) {
    let (line, mut questions) = Line::new();
    serve(socket, line).unwrap();
    loop {
        tokio::select! {
            Some(question) = questions.recv() => question(&mut control),
            _ = &mut ended => break,
        }
    }
}

#[test]
fn the_status_tells_what_runs() {
    let daemon = Daemon::start();
    let status = daemon.get("/status").unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["process_id"], std::process::id());
    assert_eq!((&status["mode"], &status["action"]), (&json!("proxy"), &json!("reply")));
    assert_eq!(status["listeners"], json!(["127.0.0.1:8080"]));
    let upstream = |address| json!({ "address": address, "is_up": true });
    assert_eq!(status["upstreams"], json!([upstream("127.0.0.1:9000"), upstream("api:9001")]));
    assert_eq!(status["keys"], json!({ "all": 2, "disabled": 1, "expired": 0, "room": 65_536 }));
    assert_eq!(
        (&status["interfaces"], &status["ports"], &status["kernel"]),
        (&json!([]), &json!([]), &Value::Null)
    );
}

#[test]
fn a_key_is_told_limit_by_limit() {
    let daemon = Daemon::start();
    let key = daemon.get("/keys/one").unwrap();
    assert_eq!((&key["tier"], &key["state"]), (&json!("professional"), &json!("enabled")));
    let limits = key["limits"].as_array().unwrap();
    let told: Vec<_> =
        limits.iter().map(|limit| (limit["name"].as_str().unwrap(), &limit["limit"])).collect();
    let (burst, hour, bulk, export, search) = (json!(100), json!(1_000), json!(20), json!(10), json!(100));
    let expected =
        [("burst", &burst), ("hour", &hour), ("bulk", &bulk), ("export", &export), ("search", &search)];
    assert_eq!(told, expected);
    assert!(limits.iter().all(|limit| limit["limit"] == limit["remaining"] && limit["wait_seconds"] == 0));
    assert_eq!(daemon.get("/keys/two").unwrap()["state"], "disabled");
    assert_eq!(daemon.get("/keys/three").unwrap_err().to_string(), "there is no key \"three\"");
    assert!(!key.to_string().contains(KEY));
}

#[test]
fn all_keys_are_told_without_their_rules() {
    let daemon = Daemon::start();
    let keys = daemon.get("/keys").unwrap();
    let told =
        keys.as_array().unwrap().iter().map(|key| (&key["name"], key["limits"].as_array().unwrap().len()));
    assert_eq!(told.collect::<Vec<_>>(), [(&json!("one"), 2), (&json!("two"), 2)]);
}

#[test]
fn a_request_is_explained_and_not_charged() {
    let daemon = Daemon::start();
    let explain = |key: &str, method: &str, path: &str| {
        let query = serde_urlencoded::to_string([("key", key), ("method", method), ("path", path)]).unwrap();
        daemon.get(&format!("/explain?{query}")).unwrap()
    };
    let names = |explanation: &Value| {
        let limits = explanation["limits"].as_array().unwrap();
        limits.iter().map(|limit| limit["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        let export = explain("one", "POST", "/courses//7/%65xport?a=b&c");
        assert_eq!((&export["verdict"], &export["refused_by"]), (&json!("admitted"), &Value::Null));
        assert_eq!(names(&export), ["burst", "hour", "export"]);
        assert_eq!(export["limits"][2]["remaining"], 10);
    }
    assert_eq!(names(&explain("one", "GET", "/courses")), ["burst", "hour"]);
    let disabled = explain("two", "GET", "/courses");
    assert_eq!((&disabled["verdict"], &disabled["refused_by"]), (&json!("refused"), &json!("disabled_key")));
    let ambiguous = explain("one", "GET", "/a%2fb/%00");
    assert_eq!(ambiguous["refused_by"], "bad_request");
}

#[test]
fn a_reload_tells_what_it_changed() {
    let daemon = Daemon::start();
    let nothing = daemon.reload().unwrap();
    let unchanged = json!({ "added": [], "changed": [], "removed": [] });
    assert_eq!(
        (&nothing["keys"], &nothing["tiers"], &nothing["rules"]),
        (&unchanged, &unchanged, &unchanged)
    );
    let more = "[tiers.professional]\nburst_per_minute = 7\n[tiers.partner]\nrequests_per_hour = 5\n\
                burst_per_minute = 5\n[rules.search]\nenabled = false\n[admin]";
    daemon.configure("[admin]", more);
    daemon.configure("[keys]", "max_connections = 9\n[keys]");
    let reloaded = daemon.reload().unwrap();
    assert_eq!(reloaded["keys"], json!({ "added": [], "changed": ["one", "two"], "removed": [] }));
    assert_eq!(
        reloaded["tiers"],
        json!({ "added": ["partner"], "changed": ["professional"], "removed": [] })
    );
    assert_eq!(reloaded["rules"], json!({ "added": [], "changed": [], "removed": ["search"] }));
    assert_eq!(reloaded["waiting_for_restart"], json!(["proxy"]));
    assert_eq!(daemon.get("/keys/one").unwrap()["limits"][0]["limit"], 7);
}

#[test]
fn a_reload_that_is_wrong_changes_nothing_and_tells_where() {
    let daemon = Daemon::start();
    daemon.configure("[admin]", "[tiers.professional]\nburst_per_minute = 7\nrequests_per_hour = 0\n[admin]");
    let error = daemon.reload().unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("ratelimitd.toml:8: tiers.professional.requests_per_hour: 0 is out of range"),
        "{told}"
    );
    assert!(error.is::<Problems>(), "it exits with 2");
    assert_eq!(daemon.get("/keys/one").unwrap()["limits"][0]["limit"], 100);
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let daemon = Daemon::start();
    assert_eq!(daemon.get("/other").unwrap_err().to_string(), "there is no such path");
}

#[test]
fn nobody_there_is_told_so() {
    let daemon = Daemon::start();
    let socket = daemon.socket.clone();
    drop(daemon);
    let told = client::get::<Value>(&socket, "/status").unwrap_err().to_string();
    assert_eq!(told, format!("ratelimitd is not running: nobody answers at {}", socket.display()));
}
