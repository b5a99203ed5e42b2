//! wrk: keep-alive connections, each with one request under way.

use super::cores::Cores;
use crate::command;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections at once.
pub(super) const CONNECTIONS: usize = 64;

const REPORT: &str = include_str!("report.lua");

/// The generator.
#[derive(Debug)]
pub(super) struct Load {
    wrk: PathBuf,
    report: PathBuf,
}

/// What one run of it counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Counts {
    /// Answers.
    pub(super) requests: u64,
    pub(super) microseconds: u64,
    /// Answers with a status from 400 on.
    pub(super) refused: u64,
    /// Connections and requests that came to nothing.
    pub(super) failed: u64,
}

impl Load {
    pub(super) fn prepare(directory: &Path) -> Result<Self> {
        let wrk = command::find("wrk").context("wrk is missing: run `cargo xtask setup`")?;
        let report = directory.join("report.lua");
        std::fs::write(&report, REPORT).with_context(|| format!("cannot write {}", report.display()))?;
        Ok(Self { wrk, report })
    }

    /// Sends requests with this key for whole seconds.
    pub(super) fn run(&self, cores: &Cores, server: SocketAddr, key: &str, run: Duration) -> Result<Counts> {
        let mut wrk = cores.pinned(cores.load, &self.wrk);
        wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string()]);
        wrk.arg("--duration").arg(format!("{}s", run.as_secs())).arg("--script").arg(&self.report);
        wrk.arg("--header").arg(format!("X-API-Key: {key}")).arg(format!("http://{server}/courses"));
        Counts::parse(&command::output(&mut wrk)?)
    }
}

impl Counts {
    fn parse(said: &str) -> Result<Self> {
        let line = said.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("wrk did not report:\n{said}"))?;
        let counts: Self = serde_json::from_str(line).with_context(|| format!("wrk reported {line}"))?;
        if counts.requests == 0 || counts.microseconds == 0 {
            bail!("nothing was answered:\n{said}");
        }
        Ok(counts)
    }

    pub(super) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.microseconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_what_wrk_says() {
        let said = "Running 1s test\n  2 threads\n\
            {\"requests\":3000,\"microseconds\":1500000,\"refused\":1,\"failed\":0}\n";
        let counts = Counts::parse(said).expect("a report");
        assert_eq!((counts.requests, counts.refused, counts.failed), (3_000, 1, 0));
        assert!((counts.per_second() - 2_000.0).abs() < 1e-9);
    }

    #[test]
    fn no_answers_are_an_error() {
        assert!(Counts::parse("{\"requests\":0,\"microseconds\":9,\"refused\":0,\"failed\":64}").is_err());
        assert!(Counts::parse("unable to connect").is_err());
    }
}
