use super::super::client;
use super::*;
use crate::config::Config;
use crate::enforcement::Enforcement;
use crate::key_watch::KeyWatch;
use crate::keys::{self, KeyFile, PlainKey};
use crate::policy::Policy;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

const KEY: &str = "key-that-nobody-may-be-told";

/// A daemon without a kernel program, whose control loop ends when it is told to.
struct Daemon {
    socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
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
        let policy =
            Policy::build(&config.tiers, &config.rules, &file, None, config.kernel.max_keys).unwrap();
        let socket = config.admin.socket.clone().unwrap();
        let listening = Socket::bind(&socket).unwrap();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let enforcement = Enforcement::new(&config, policy).unwrap();
            let control = Control::new(enforcement, KeyWatch::new(&path, config));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(attend(control, listening, ended));
        });
        Self { socket, end: Some(end), thread: Some(thread), _directory: directory }
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
    let mut questions = serve(Some(socket)).unwrap();
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

/// While the proxy drains, the control loop answers nobody any more.
#[tokio::test]
async fn who_asks_a_daemon_that_stops_is_told_so() {
    let (line, questions) = mpsc::channel(1);
    drop(questions);
    let refusal = Line(line).ask(|_| ()).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
}
