//! `ratelimitd load`, run as a program: in a laboratory's client namespace or on this host.

use crate::build;
use crate::command;
use crate::lab::Namespace;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A run.
#[derive(Clone, Debug)]
pub struct Load {
    server: Option<SocketAddr>,
    arguments: Vec<String>,
}

/// What it reports, as far as anybody here looks at it.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were answered by the API.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that were not answered.
    pub failed: u64,
    /// Requests that the proxy refused for another reason than a limit.
    pub rejected: u64,
    /// Answers a second.
    pub answered_per_second: f64,
    /// Why requests were not answered.
    pub failures: BTreeMap<String, u64>,
    /// Refusals by limit.
    pub limits: Vec<LimitCount>,
    /// What became of each key's requests.
    pub keys: Vec<KeyCount>,
    /// Percentiles.
    pub latency: Latency,
    verification: Option<Verification>,
    /// Whether it said so by its exit code that the limits held.
    #[serde(skip)]
    pub held: bool,
}

/// How often a limit refused.
#[derive(Clone, Debug, Deserialize)]
pub struct LimitCount {
    /// Its name.
    pub limit: String,
    /// Refusals in the kernel.
    pub by_kernel: u64,
    /// Refusals in the proxy.
    pub by_proxy: u64,
}

/// What became of a key's requests.
#[derive(Clone, Debug, Deserialize)]
pub struct KeyCount {
    /// Its population and its number.
    pub name: String,
    /// Requests that were admitted.
    pub admitted: u64,
}

/// The part of the latencies that is compared.
#[derive(Clone, Debug, Deserialize)]
pub struct Latency {
    /// Of all answers.
    pub all: Percentiles,
    /// Of each endpoint and status, as `ENDPOINT, STATUS`.
    pub by_endpoint_and_status: Vec<Percentiles>,
}

/// Percentiles, in microseconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Percentiles {
    /// Of what.
    pub of: String,
    /// Answers.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 99th.
    pub p99: f64,
}

/// What the referee has found.
#[derive(Clone, Debug, Deserialize)]
pub struct Verification {
    /// Requests that were admitted or refused.
    pub judged: u64,
    /// Requests of which it cannot be told.
    pub unknown: u64,
    /// Admitted although a limit refuses.
    pub wrongly_admitted: u64,
    /// Refused although no limit does.
    pub wrongly_refused: u64,
    /// Answers that do not tell the truth.
    pub wrong_answers: u64,
    /// The first ones.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: String,
    /// From the start of the run.
    pub seconds: f64,
    /// Whose request it was.
    pub key: String,
    /// Which limit it was about.
    pub limit: String,
    /// In words.
    pub text: String,
}

impl Load {
    /// By a scenario.
    pub fn new(scenario: &Path) -> Self {
        Self { server: None, arguments: Vec::new() }.with(&["--json", "--scenario"]).with_path(scenario)
    }

    /// Against a server.
    pub fn at(mut self, server: SocketAddr) -> Self {
        self.server = Some(server);
        self
    }

    /// Judged by the referee.
    pub fn verified(self) -> Self {
        self.with(&["--verify"])
    }

    /// With keys that it adds to the key file of this configuration.
    pub fn with_made_keys(self, config: &Path) -> Self {
        self.with(&["--make-keys", "--config"]).with_path(config)
    }

    /// With the keys of a file.
    pub fn with_keys(self, file: &Path) -> Self {
        self.with(&["--keys"]).with_path(file)
    }

    /// With keys that nobody knows.
    pub fn with_invented_keys(self) -> Self {
        self.with(&["--invent-keys"])
    }

    /// With so many threads.
    pub fn with_threads(self, threads: u32) -> Self {
        self.with(&["--threads", &threads.to_string()])
    }

    fn with(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn with_path(self, path: &Path) -> Self {
        self.with(&[&path.display().to_string()])
    }

    /// Runs it in a namespace.
    pub fn run(self, namespace: &Namespace) -> Result<Report> {
        self.run_by(namespace.command(build::daemon_path(false)))
    }

    /// Runs it by a command that starts `ratelimitd`.
    pub fn run_by(self, mut ratelimitd: Command) -> Result<Report> {
        let server = self.server.context("a load without a server")?;
        ratelimitd.arg("load").arg(server.to_string()).args(&self.arguments).stdin(Stdio::null());
        let shown = command::describe(&ratelimitd);
        let done = ratelimitd.output().with_context(|| format!("cannot start `{shown}`"))?;
        let mut report: Report = serde_json::from_slice(&done.stdout).with_context(|| {
            format!("`{shown}` did not report ({}):\n{}", done.status, String::from_utf8_lossy(&done.stderr))
        })?;
        report.held = done.status.success();
        Ok(report)
    }
}

impl Report {
    /// What the referee has found.
    pub fn verification(&self) -> Result<&Verification> {
        self.verification.as_ref().context("the report has no verification")
    }

    /// Refusals in the kernel.
    pub fn refused_by_kernel(&self) -> u64 {
        self.limits.iter().map(|count| count.by_kernel).sum()
    }
}
