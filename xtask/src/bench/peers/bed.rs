//! What is measured on: the origin and the proxies before it.

use super::super::cores::Cores;
use super::super::server::{Server, free_address};
use super::site::{self, Addresses, ORIGIN_BODY, Site};
use super::{Outcome, Subject};
use crate::client::{Client, Outcome as Answered, Request};
use crate::load::{Load, Report};
use crate::{build, command};
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ample for a key file of any length that is measured.
const KNOWN_LIMIT: Duration = Duration::from_secs(60);

const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that runs. Servers are dropped before the directory that they write to.
#[derive(Debug)]
pub(in super::super) struct Bed {
    servers: Vec<(Subject, Server, Addresses)>,
    // Held for its end.
    _origin: Server,
    origin: SocketAddr,
    pub(in super::super) cores: Cores,
    directory: TempDir,
}

/// One run of the load.
#[derive(Clone, Debug)]
pub(in super::super) struct Measured {
    pub(in super::super) report: Report,
    /// The proxy's CPU time a request, in microseconds; none where there is no proxy.
    pub(in super::super) cpu: Option<f64>,
}

impl Bed {
    /// Starts the origin, ratelimitd and these peers. `scant_per_minute`: requests a minute of the peers' scant limits.
    pub(in super::super) fn set_up(peers: &[Subject], scant_per_minute: u32) -> Result<Self> {
        let (cores, origin) = (Cores::find()?, free_address()?);
        let directory = tempfile::Builder::new().prefix("rl-bench-").tempdir()?;
        let site = Site { cores: &cores, directory: directory.path(), origin, scant_per_minute };
        // Keys are added by the configuration before the daemon has an address, which it does not need for that.
        site.ratelimitd_config(origin)?;
        let started_origin = site.start_origin()?;
        let mut servers = Vec::new();
        for subject in peers.iter().copied().chain([Subject::Ratelimitd]) {
            match site.start(subject) {
                Ok((server, addresses)) => servers.push((subject, server, addresses)),
                // The only one that is no Debian package.
                Err(error) if subject == Subject::Envoy => eprintln!("bench: without envoy: {error:#}"),
                Err(error) => return Err(error.context(subject.to_string())),
            }
        }
        Ok(Self { servers, _origin: started_origin, origin, cores, directory })
    }

    /// Stops a proxy and starts it again; returns how long it took until it took connections.
    pub(in super::super) fn restart(&mut self, subject: Subject) -> Result<Duration> {
        let place = self.servers.iter().position(|(own, ..)| *own == subject).context("it does not run")?;
        drop(self.servers.remove(place));
        let directory = self.directory.path();
        let site = Site { cores: &self.cores, directory, origin: self.origin, scant_per_minute: 1 };
        let start = Instant::now();
        let (server, addresses) = site.start(subject)?;
        let took = start.elapsed();
        self.servers.push((subject, server, addresses));
        Ok(took)
    }

    /// The proxies that run.
    pub(in super::super) fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.servers.iter().map(|(subject, ..)| *subject)
    }

    /// Writes a file that lives as long as this.
    pub(in super::super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// ratelimitd's configuration.
    pub(in super::super) fn config(&self) -> PathBuf {
        self.directory.path().join("ratelimitd.toml")
    }

    /// Makes keys for a scenario, waits until ratelimitd knows them, and returns the file of them.
    pub(in super::super) fn lay_in_keys(&self, scenario: &Path) -> Result<PathBuf> {
        let mut keys = Command::new(build::daemon_path(false));
        keys.args(["load", "keys", "--scenario"]).arg(scenario).arg("--config").arg(self.config());
        let name = scenario.file_stem().context("a scenario without a name")?.to_string_lossy();
        let keys = command::output(&mut keys)?;
        self.wait_until_known(keys.split_whitespace().last().context("no keys were made")?)?;
        self.write(&format!("{name}.keys"), &keys)
    }

    /// The daemon looks at its key file each second, and reads a long one for some time.
    fn wait_until_known(&self, key: &str) -> Result<()> {
        let headers = [("X-API-Key", key)];
        let mut client = Client::new(self.address(Subject::Ratelimitd, Outcome::Allowed));
        let start = Instant::now();
        while start.elapsed() < KNOWN_LIMIT {
            match client.send(&Request::get("/courses", &headers))? {
                Answered::Answered(answer) if answer.status != 401 => return Ok(()),
                _ => std::thread::sleep(ASK_INTERVAL),
            }
        }
        bail!("ratelimitd did not take the keys over within {KNOWN_LIMIT:?}")
    }

    /// Sends the load, with the CPU time that the proxy took for it.
    pub(in super::super) fn measure(
        &self,
        subject: Subject,
        outcome: Outcome,
        load: Load,
    ) -> Result<Measured> {
        let server = self.server(subject);
        let before = server.map(Server::cpu_time).transpose()?;
        let report = self.run(load.at(self.address(subject, outcome)))?;
        let after = server.map(Server::cpu_time).transpose()?;
        let spent = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        let answered = report.sent.saturating_sub(report.failed).max(1);
        let cpu = spent.map(|spent| spent.as_secs_f64() * 1e6 / answered as f64);
        if cpu == Some(0.0) {
            bail!("the proxy took no CPU time: its processes were not found");
        }
        Ok(Measured { report, cpu })
    }

    /// Sends the load from its core.
    pub(in super::super) fn run(&self, load: Load) -> Result<Report> {
        load.run_by(self.cores.pinned(self.cores.load, &build::daemon_path(false)))
    }

    /// Memory of a proxy, in bytes.
    pub(in super::super) fn memory(&self, subject: Subject) -> Result<u64> {
        self.server(subject).context("it does not run")?.memory()
    }

    pub(in super::super) fn address(&self, subject: Subject, outcome: Outcome) -> SocketAddr {
        let own = self.servers.iter().find(|(own, ..)| *own == subject);
        own.map_or(self.origin, |(.., addresses)| addresses.of(outcome))
    }

    fn server(&self, subject: Subject) -> Option<&Server> {
        self.servers.iter().find(|(own, ..)| *own == subject).map(|(_, server, _)| server)
    }

    /// An error unless a server answers as it should to the second request of a key: the generator counts answers and does not
    /// read them.
    pub(in super::super) fn probe(&self, subject: Subject, outcome: Outcome, key: &str) -> Result<()> {
        let headers = [("X-API-Key", key)];
        let request = Request::get("/courses", &headers);
        let mut client = Client::new(self.address(subject, outcome));
        client.send(&request)?;
        match client.send(&request)? {
            Answered::Answered(answer) => {
                let is_limited = subject == Subject::Origin || answer.header("x-ratelimit-limit").is_some();
                let is_right = match outcome {
                    Outcome::Allowed => answer.status == 200 && answer.body == ORIGIN_BODY.as_bytes(),
                    Outcome::Refused => answer.status == 429,
                };
                if is_limited && is_right { Ok(()) } else { bail!("an unexpected answer: {answer:?}") }
            }
            other => bail!("an unexpected answer: {other:?}"),
        }
    }
}

/// The name with which tables show a subject.
pub(in super::super) fn version(subject: Subject) -> Result<String> {
    site::version(subject)
}
