//! The ratelimitd that is flooded: this program, with a configuration and keys of its own.

use super::network::{HOST, Network, WIRE};
use crate::keys::{self, PlainKey};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where it listens.
pub(super) const PORT: u16 = 8080;

/// Ample on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The daemon. Killed when dropped.
#[derive(Debug)]
pub(super) struct Host {
    child: Child,
    log: PathBuf,
    /// A key whose every request but the first is over its limits.
    pub(super) scant: PlainKey,
    /// A key with room for everything.
    pub(super) ample: PlainKey,
    // Held for its end.
    _directory: TempDir,
}

impl Host {
    /// Starts it and waits until it serves.
    pub(super) fn start(network: &Network, action: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("rl-flood-").tempdir()?;
        let path = |name: &str| directory.path().join(name);
        // Nothing listens at the upstream, which is answered with 502: no more is needed for a connection to be established.
        let config = format!(
            "action = {action:?}\n[proxy]\nlisten = [\"{HOST}:{PORT}\"]\nupstream = \"127.0.0.1:9\"\n\
             [kernel]\ninterfaces = [{WIRE:?}]\npin_directory = \"\"\n[admin]\nsocket = \"admin.sock\"\n[keys]\nfile = \"keys.toml\"\n\
             [tiers.scant]\nrequests_per_hour = 1\nburst_per_minute = 1\n\
             [tiers.ample]\nrequests_per_hour = 1000000\nburst_per_minute = 1000000\n"
        );
        std::fs::write(path("ratelimitd.toml"), config)?;
        let (scant, ample) = (PlainKey::generate()?, PlainKey::generate()?);
        keys::update(&path("keys.toml"), |file| {
            file.add(&scant, "scant", "scant", None, None)?;
            file.add(&ample, "ample", "ample", None, None)
        })?;
        let log = path("log");
        let output = File::create(&log)?;
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = network.command(&program);
        command.args(["run", "--config"]).arg(path("ratelimitd.toml"));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child =
            command.spawn().context("cannot start ratelimitd: install util-linux (nsenter, setpriv)")?;
        let mut host = Self { child, log, scant, ample, _directory: directory };
        host.wait_until("start", |log| log.contains("serving on"))?;
        Ok(host)
    }

    /// Stops it, and returns what the kernel program found by the outcome's name.
    pub(super) fn stop(&mut self) -> Result<BTreeMap<String, u64>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(pid, Signal::TERM).context("cannot stop ratelimitd")?;
        let found = |log: &str| log.lines().find_map(|line| line.split_once("the kernel found: ")).is_some();
        self.wait_until("stop", found)?;
        self.child.wait()?;
        let log = self.said();
        let line = log.lines().find_map(|line| line.split_once("the kernel found: "));
        let (_, found) = line.context("ratelimitd did not say what the kernel found")?;
        let counter = |word: &str| {
            word.split_once('=').and_then(|(name, count)| Some((name.into(), count.parse().ok()?)))
        };
        Ok(found.split_whitespace().filter_map(counter).collect())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_until(&mut self, what: &str, has_happened: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        while !has_happened(&self.said()) {
            if self.child.try_wait()?.is_some() && !has_happened(&self.said()) || start.elapsed() > LIMIT {
                bail!("ratelimitd does not {what}:\n{}", self.said().trim_end());
            }
            sleep(LOOK_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
