use super::*;
use crate::keys::{self, KeyFile};
use crate::places::Places;
use crate::slots::Slots;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;

fn shared(directory: &Path) -> Shared {
    let path = directory.join("ratelimitd.toml");
    let text =
        "[proxy]\nlisten = [\"127.0.0.1:1\"]\nupstream = \"127.0.0.1:2\"\n[keys]\nfile = \"keys.toml\"\n";
    fs::write(&path, text).expect("written");
    let config = Config::load(&path).expect("a configuration");
    keys::update(&config.keys.file, |_| Ok(())).expect("a key file");
    let file = KeyFile::load(&config.keys.file).expect("the key file");
    let policy = Policy::first(&config.tiers, &config.rules, &file, Places::new(1)).expect("a policy");
    Shared {
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        limiter: Limiter::new(Slots::anonymous(1).expect("slots"), false),
        flows: Flows::anonymous(1).expect("flows"),
        upstreams: Upstreams::new(&config),
        config: Arc::new(config),
        reports: None,
    }
}

fn working() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.set_nonblocking(true).expect("non-blocking");
    listener
}

/// A file is no socket: the runtime cannot listen on it.
fn broken() -> TcpListener {
    OwnedFd::from(File::open("/dev/null").expect("a file")).into()
}

/// Nobody stops this proxy, so it ends only if it notices.
#[test]
fn a_worker_that_fails_ends_the_proxy() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_stop, stopped) = watch::channel(false);
    for workers in [vec![working(), broken()], vec![broken(), working()]] {
        let workers = workers.into_iter().map(|listener| vec![listener]).collect();
        let listeners = Listeners { workers, addresses: Vec::new(), are_kept: false };
        assert!(serve(listeners, shared(directory.path()), stopped.clone()).is_err());
    }
}
