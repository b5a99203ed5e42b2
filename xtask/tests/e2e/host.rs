//! An API host on which ratelimitd is started by hand: with any configuration, by any user, with any neighbour.

use crate::SOON;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::build;
use xtask::command;
use xtask::deployment::PORT;
use xtask::lab::{Lab, Process, WIRE};

/// Where the configuration expects the API.
pub(crate) const UPSTREAM: &str = "127.0.0.1:9000";

/// The host, with a configuration and a key file.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) lab: Lab,
    /// The configuration file.
    pub(crate) config: PathBuf,
    /// A professional's key.
    pub(crate) key: String,
}

/// A start that came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// What it said that is no line of its log.
    pub(crate) said: Vec<String>,
}

impl Host {
    pub(crate) fn prepare() -> Result<Self> {
        let lab = Lab::open()?;
        let config = lab.directory().join("ratelimitd.toml");
        let (v4, v6) = (lab.host_v4(PORT), lab.host_v6(PORT));
        let proxy = format!("[proxy]\nlisten = [\"{v4}\", \"{v6}\"]\nupstream = \"{UPSTREAM}\"\n");
        let rest = format!(
            "[kernel]\ninterfaces = [\"{WIRE}\"]\npin_directory = \"bpf/ratelimitd\"\ndetach_on_stop = true\n[admin]\nsocket = \"admin.sock\"\n[keys]\nfile = \"keys.toml\"\n"
        );
        std::fs::write(&config, format!("action = \"reset\"\n{proxy}{rest}"))?;
        let key = add_key(&config, &["key", "--tier", "professional"])?;
        Ok(Self { lab, config, key })
    }

    /// Makes a key as `ratelimitd keys add` does with these arguments.
    pub(crate) fn add_key(&self, arguments: &[&str]) -> Result<String> {
        add_key(&self.config, arguments)
    }

    /// Puts `new` in the place of `old` in the configuration.
    pub(crate) fn configure(&self, old: &str, new: &str) -> Result<()> {
        let before = std::fs::read_to_string(&self.config)?;
        if !before.contains(old) {
            bail!("{old:?} is not in the configuration");
        }
        let after = before.replacen(old, new, 1);
        Ok(std::fs::write(&self.config, after)?)
    }

    /// Starts the daemon by way of `wrapper`, which is a command line before its own.
    pub(crate) fn launch(&self, name: &str, wrapper: &[&str]) -> Result<Process> {
        let program = build::daemon_path(false);
        let program = program.to_str().context("the daemon's path is not UTF-8")?;
        let config = self.config.to_str().context("the configuration's path is not UTF-8")?;
        let line = [wrapper, &[program, "run", "--config", config]].concat();
        let (first, arguments) = line.split_first().context("no program")?;
        self.lab.start(name, first.as_ref(), arguments)
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn start(&self) -> Result<Process> {
        let mut daemon = self.launch("ratelimitd", &[])?;
        daemon.wait_until(SOON, |daemon| Ok(daemon.log().contains("serving on")))?;
        Ok(daemon)
    }

    /// Starts the daemon, which cannot work, and waits for its end.
    pub(crate) fn fail(&self, wrapper: &[&str]) -> Result<Ended> {
        let mut daemon = self.launch("failing", wrapper)?;
        let code = daemon.wait(SOON)?.code();
        let log = daemon.log();
        // A line of the log starts with its time.
        let said = log.lines().filter(|line| !line.starts_with(|first: char| first.is_ascii_digit()));
        Ok(Ended { code, said: said.map(str::to_owned).collect() })
    }

    /// The id of the XDP program on the wire, if there is one.
    pub(crate) fn attached(&self) -> Result<Option<u64>> {
        let links = self.lab.host.output("ip", &["-json", "-details", "link", "show", WIRE])?;
        let links: serde_json::Value = serde_json::from_str(&links)?;
        Ok(links.pointer("/0/xdp/prog/id").and_then(serde_json::Value::as_u64))
    }

    /// Whether anybody listens on the API's port.
    pub(crate) fn is_listening(&self) -> Result<bool> {
        let sockets = self.lab.host.output("ss", &["-tlnH", "sport", "=", &format!(":{PORT}")])?;
        Ok(!sockets.trim().is_empty())
    }
}

fn add_key(config: &Path, arguments: &[&str]) -> Result<String> {
    let mut add = Command::new(build::daemon_path(false));
    add.args(["keys", "add"]).args(arguments).arg("--config").arg(config);
    Ok(command::output(&mut add)?.trim().to_owned())
}
