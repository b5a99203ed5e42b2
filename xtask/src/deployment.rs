//! ratelimitd in a laboratory, as an operator would set it up: a configuration file, keys made with its own
//! command line, an API server behind it.

use crate::api::Counts;
use crate::client::{Client, Outcome, Request};
use crate::lab::{Lab, Process, WIRE};
use crate::{build, command};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where clients find the API.
pub const PORT: u16 = 8080;

/// Where the dashboard is, on the host.
pub const DASHBOARD: SocketAddr = localhost(9090);

const UPSTREAM: SocketAddr = localhost(9000);
/// Where the API server listens if there is no proxy: on all addresses of both versions of IP.
const EVERYWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT);
const SEEN: SocketAddr = localhost(9001);

/// Ample on a busy machine. Loading the kernel program takes a quarter of a second.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Everything that runs. Fields are dropped in order: programs before the namespaces they are in.
#[derive(Debug)]
pub struct Deployment {
    daemon: Process,
    program: PathBuf,
    config: PathBuf,
    // Held for its end: killed when the deployment is dropped.
    _api: Process,
    keys: BTreeMap<String, String>,
    /// Where it runs.
    pub lab: Lab,
}

/// Who enforces the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The kernel and a proxy.
    Proxy,
    /// The kernel alone; clients find the API server itself.
    Kernel,
}

/// What to deploy.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The path of this crate's executable, which is the API server as well.
    pub xtask: &'a Path,
    /// Who enforces.
    pub mode: Mode,
    /// `action` of the configuration.
    pub action: &'a str,
    /// How the kernel program is attached: `attach` of the configuration.
    pub attach: &'a str,
    /// To which interfaces.
    pub interfaces: &'a [&'a str],
    /// More of the configuration file: whole tables.
    pub tables: &'a str,
    /// Each key's name and tier.
    pub keys: &'a [(&'a str, &'a str)],
}

impl<'a> Plan<'a> {
    /// A proxy that answers with the 429, without keys. `xtask` is this crate's executable.
    pub const fn new(xtask: &'a Path) -> Self {
        Self {
            xtask,
            mode: Mode::Proxy,
            action: "reply",
            attach: "auto",
            interfaces: &[WIRE],
            tables: "",
            keys: &[],
        }
    }
}

impl Deployment {
    /// Sets everything up and waits until it serves.
    pub fn start(plan: &Plan<'_>) -> Result<Self> {
        Self::start_in(Lab::open()?, plan)
    }

    /// The same in a laboratory that is open already.
    pub fn start_in(lab: Lab, plan: &Plan<'_>) -> Result<Self> {
        let program = build::daemon_path(false);
        if !program.is_file() {
            bail!("{} is missing: run `cargo xtask build`", program.display());
        }
        let config = write_config(&lab, plan)?;
        let mut keys = BTreeMap::new();
        for (name, tier) in plan.keys {
            keys.insert((*name).to_owned(), add_key(&program, &config, name, tier)?);
        }
        let listen = match plan.mode {
            Mode::Proxy => UPSTREAM,
            Mode::Kernel => EVERYWHERE,
        };
        let (listen, seen) = (listen.to_string(), SEEN.to_string());
        let mut api = lab.start("api", plan.xtask, &["api-server", "--listen", &listen, "--seen", &seen])?;
        api.wait_until(START_LIMIT, |api| Ok(api.log().contains("serving")))?;
        let daemon = start_daemon(&lab, &program, &config)?;
        Ok(Self { daemon, program, config, _api: api, keys, lab })
    }

    /// Kills the daemon, which gets no chance to do anything about it.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.signal(Signal::KILL)?;
        self.daemon.wait(STOP_LIMIT).map(drop)
    }

    /// Starts the daemon again, after its end, and waits until it serves.
    pub fn start_again(&mut self) -> Result<()> {
        self.daemon = start_daemon(&self.lab, &self.program, &self.config)?;
        Ok(())
    }

    /// The same with the program of another version.
    pub fn start_version(&mut self, program: &Path) -> Result<()> {
        self.daemon = start_daemon(&self.lab, program, &self.config)?;
        Ok(())
    }

    /// The daemon's program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs `ratelimitd` with these arguments and this deployment's configuration.
    pub fn ratelimitd(&self, arguments: &[&str]) -> Result<String> {
        command::output(Command::new(&self.program).args(arguments).arg("--config").arg(&self.config))
    }

    /// The plain text of a key of the plan.
    pub fn key(&self, name: &str) -> Result<&str> {
        self.keys.get(name).map(String::as_str).with_context(|| format!("no key {name} was planned"))
    }

    /// Makes a key while the daemon runs.
    pub fn add_key(&mut self, name: &str, tier: &str) -> Result<()> {
        let key = add_key(&self.program, &self.config, name, tier)?;
        self.keys.insert(name.to_owned(), key);
        Ok(())
    }

    /// Runs `ratelimitd keys` with these arguments.
    pub fn change_keys(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command::output(command.arg("keys").args(arguments).arg("--config").arg(&self.config))
    }

    /// The dashboard's token.
    pub fn token(&self) -> Result<String> {
        let path = self.lab.directory().join("admin.token");
        let token =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(token.trim().to_owned())
    }

    /// The daemon's configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The daemon.
    pub fn daemon(&mut self) -> &mut Process {
        &mut self.daemon
    }

    /// The daemon's process.
    pub fn process_id(&self) -> u32 {
        self.daemon.id()
    }

    /// How many requests of each key reached the API, by the key's name.
    pub fn seen(&self) -> Result<BTreeMap<String, u64>> {
        let answer = self.lab.host.inside(|| Client::new(SEEN).send(&Request::get("/_seen", &[])))?;
        let Outcome::Answered(answer) = answer else { bail!("the API's counts: {answer:?}") };
        let counts: Counts = serde_json::from_slice(&answer.body).context("the API's counts")?;
        let count = |key: &String| counts.get(key).copied().unwrap_or_default();
        Ok(self.keys.iter().map(|(name, key)| (name.clone(), count(key))).collect())
    }

    /// Stops the daemon in good order and returns what the kernel counted, by the outcome's name.
    pub fn stop(&mut self) -> Result<BTreeMap<String, u64>> {
        let status = self.daemon.stop(STOP_LIMIT)?;
        if !status.success() {
            bail!("ratelimitd ended with {status}:\n{}", self.daemon.tail());
        }
        let log = self.daemon.log();
        let found = log.lines().find_map(|line| line.split_once("the kernel found: "));
        let (_, found) = found.context("ratelimitd did not say what the kernel found")?;
        found.split_whitespace().map(counter).collect()
    }
}

impl Drop for Deployment {
    /// A test that fails says what the daemon had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("ratelimitd's last words:\n{}", self.daemon.tail());
        }
    }
}

fn start_daemon(lab: &Lab, program: &Path, config: &Path) -> Result<Process> {
    let mut daemon = lab.start("ratelimitd", program, &["run", "--config", text(config)?])?;
    // The last thing that a start does, after the kernel program is attached.
    let serves = |log: &str| log.contains("serving on") || log.contains("enforcing on");
    daemon.wait_until(START_LIMIT, |daemon| Ok(serves(&daemon.log())))?;
    Ok(daemon)
}

fn counter(word: &str) -> Result<(String, u64)> {
    let (name, count) = word.split_once('=').with_context(|| format!("not a counter: {word}"))?;
    Ok((name.to_owned(), count.parse().with_context(|| format!("not a count: {word}"))?))
}

fn write_config(lab: &Lab, plan: &Plan<'_>) -> Result<PathBuf> {
    let (v4, v6) = (lab.host_v4(PORT), lab.host_v6(PORT));
    let keys = lab.directory().join("keys.toml");
    let mut config = format!("action = {:?}\n", plan.action);
    match plan.mode {
        Mode::Proxy => {
            write!(config, "[proxy]\nlisten = [\"{v4}\", \"{v6}\"]\nupstream = \"{UPSTREAM}\"\n[kernel]\n")?;
        }
        Mode::Kernel => write!(config, "mode = \"kernel\"\n[kernel]\nports = [{PORT}]\n")?,
    }
    write!(
        config,
        "attach = {:?}\ninterfaces = {:?}\npin_directory = \"bpf/ratelimitd\"\n[admin]\nsocket = \"admin.sock\"\n\
         listen = \"{DASHBOARD}\"\ntoken_file = \"admin.token\"\n[keys]\nfile = {keys:?}\n{}",
        plan.attach, plan.interfaces, plan.tables
    )?;
    let path = lab.directory().join("ratelimitd.toml");
    std::fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn add_key(program: &Path, config: &Path, name: &str, tier: &str) -> Result<String> {
    let mut add = Command::new(program);
    add.args(["keys", "add", name, "--tier", tier, "--config"]).arg(config);
    Ok(command::output(&mut add)?.trim().to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

const fn localhost(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
