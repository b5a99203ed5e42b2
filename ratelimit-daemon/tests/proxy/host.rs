//! A host: the proxy in front of an upstream, with five keys.

use crate::client::{Client, Response};
use arc_swap::ArcSwap;
use ratelimit_daemon::clock;
use ratelimit_daemon::config::{Config, Missing};
use ratelimit_daemon::flows::Flows;
use ratelimit_daemon::keys::{self, KeyFile, PlainKey};
use ratelimit_daemon::limiter::Limiter;
use ratelimit_daemon::places::Places;
use ratelimit_daemon::policy::{Key, Policy, Tiers};
use ratelimit_daemon::proxy::{self, Shared, Upstreams};
use ratelimit_daemon::record::{Record, Report};
use ratelimit_daemon::slots::Slots;
use std::fs;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// 1,000 an hour, and a bucket that gets a token each 20 s.
pub(crate) const KEY: &str = "key-of-three-a-minute";
/// 1,000 an hour, 100 a minute.
pub(crate) const PROFESSIONAL: &str = "key-of-the-professional-tier";
/// 3 an hour, 100 a minute.
pub(crate) const HOURLY: &str = "key-of-three-an-hour";
/// 500 an hour, and a bucket that is never empty here.
pub(crate) const WIDE: &str = "key-of-five-hundred-an-hour";
/// May not be used.
pub(crate) const DISABLED: &str = "key-that-is-disabled";
/// May not be used any more.
pub(crate) const EXPIRED: &str = "key-that-has-expired";
/// May be used until 2099.
pub(crate) const EXPIRING: &str = "key-that-will-expire";

/// Tokens in the bucket of [`KEY`].
pub(crate) const BURST: u32 = 3;

/// The running proxy. Stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) slots: Slots,
    pub(crate) flows: Flows,
    pub(crate) limiter: Limiter,
    policy: Arc<ArcSwap<Policy>>,
    config: Arc<Config>,
    stop: watch::Sender<bool>,
    record: Record,
    reports: Mutex<Receiver<Report>>,
    proxy: Option<JoinHandle<anyhow::Result<()>>>,
    _directory: TempDir,
}

impl Host {
    /// In front of `upstream`, configured as by default.
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, |_| {})
    }

    /// In front of `upstream`, with a configuration changed by `change`.
    pub(crate) fn with(upstream: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = config(&directory, upstream, change);
        let policy = Policy::first(&config.tiers, &config.rules, &key_file(&config), Places::new(16))
            .expect("a policy");
        let (slots, flows) = (Slots::anonymous(16).expect("slots"), Flows::anonymous(1_024).expect("flows"));
        let limiter = Limiter::new(slots.clone(), config.action == ratelimit_daemon::config::Action::Observe);
        policy.keys().for_each(|key| limiter.install(key, policy.router().everywhere(), clock::now()));
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let listeners = proxy::bind(&config).expect("bound");
        let address = listeners.addresses()[0];
        let (stop, stopped) = watch::channel(false);
        let config = Arc::new(config);
        let (sender, reports) = sync_channel(1_024);
        let (record, reports) = (Record::new(clock::now(), clock::unix()), Mutex::new(reports));
        let shared = Shared {
            policy: policy.clone(),
            limiter: limiter.clone(),
            flows: flows.clone(),
            upstreams: Upstreams::new(&config),
            config: config.clone(),
            reports: Some(sender),
        };
        let proxy = Some(thread::spawn(move || proxy::serve(listeners, shared, stopped)));
        Self {
            address,
            slots,
            flows,
            limiter,
            policy,
            config,
            stop,
            record,
            reports,
            proxy,
            _directory: directory,
        }
    }

    /// A new connection to the proxy.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// GET of `path` with `key` on a connection of its own.
    pub(crate) fn get(&self, path: &str, key: &str) -> Response {
        self.client().get(path, key)
    }

    /// The key as it is judged.
    pub(crate) fn key(&self, key: &str) -> Arc<Key> {
        self.policy.load().authenticate(key.as_bytes()).expect("a key").clone()
    }

    /// Puts other tiers in force, as a reload does.
    pub(crate) fn change_tiers(&self, change: impl FnOnce(&mut Tiers)) {
        let mut tiers = self.config.tiers.clone();
        change(&mut tiers);
        let file = KeyFile::load(&self.config.keys.file).expect("the key file");
        let before = self.policy.load_full();
        let policy = before.next(&tiers, &self.config.rules, &file).expect("a policy");
        self.policy.store(Arc::new(policy));
    }

    /// Tells the proxy to stop.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the proxy's end.
    pub(crate) fn join(mut self) {
        self.end();
    }

    /// Waits for the proxy's end, and tells what happened.
    pub(crate) fn record(mut self) -> Record {
        self.end();
        let reports = std::mem::replace(&mut self.reports, Mutex::new(sync_channel(1).1));
        let reports = reports.into_inner().expect("no panic");
        let mut record = std::mem::replace(&mut self.record, Record::new(0, 0));
        record.take(&self.policy.load(), &self.limiter, reports.try_iter(), clock::now());
        record
    }

    fn end(&mut self) {
        self.stop();
        let proxy = self.proxy.take().expect("not joined yet");
        proxy.join().expect("no panic").expect("no error");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
        if let Some(proxy) = self.proxy.take() {
            // A test that has failed already says so itself.
            let _ = proxy.join();
        }
    }
}

fn config(directory: &TempDir, upstream: SocketAddr, change: impl FnOnce(&mut Config)) -> Config {
    let path = directory.path().join("ratelimitd.toml");
    let text = format!(
        "[proxy]\nlisten = [\"127.0.0.1:8080\"]\nupstream = \"{upstream}\"\nworkers = 2\n\
         [keys]\nfile = \"keys.toml\"\n\
         [tiers.slow]\nrequests_per_hour = 1000\nburst_per_minute = {BURST}\n\
         [tiers.wide]\nrequests_per_hour = 500\nburst_per_minute = 100000\n\
         [tiers.hourly]\nrequests_per_hour = 3\nburst_per_minute = 100\n"
    );
    fs::write(&path, text).expect("written");
    let mut config = Config::load(&path).expect("a configuration");
    config.proxy.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    // A test that fails with a connection open should say so soon.
    config.proxy.drain_timeout = Duration::from_secs(5);
    assert_eq!(config.keys.missing, Missing::Reject);
    change(&mut config);
    config
}

fn key_file(config: &Config) -> KeyFile {
    let path = &config.keys.file;
    let keys = [
        (KEY, "slow"),
        (PROFESSIONAL, "professional"),
        (HOURLY, "hourly"),
        (WIDE, "wide"),
        (DISABLED, "professional"),
        (EXPIRED, "professional"),
        (EXPIRING, "professional"),
    ];
    keys::update(path, |file| {
        for (key, tier) in keys {
            file.add(&PlainKey::import(key).expect("a key"), key, tier, None, None)?;
        }
        file.entry_mut(DISABLED)?.disabled = true;
        file.entry_mut(EXPIRED)?.expires = Some("2020-01-01T00:00:00Z".parse().expect("a time"));
        file.entry_mut(EXPIRING)?.expires = Some("2099-01-01T00:00:00Z".parse().expect("a time"));
        Ok(())
    })
    .expect("a key file");
    KeyFile::load(path).expect("the key file")
}

/// Waits until `condition` holds; panics if it does not for long.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
