//! wrk, beside which the generator is measured: keep-alive connections, each with one request under way.

use super::cores::Cores;
use crate::command;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const REPORT: &str = include_str!("report.lua");

/// The program and its script.
#[derive(Debug)]
pub(super) struct Wrk {
    program: PathBuf,
    report: PathBuf,
}

/// What one run of it counted.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Counts {
    /// Answers.
    requests: u64,
    microseconds: u64,
    /// Answers with a status from 400 on.
    refused: u64,
    /// Connections and requests that came to nothing.
    failed: u64,
}

impl Wrk {
    pub(super) fn prepare(directory: &Path) -> Result<Self> {
        let program = command::find("wrk").context("wrk is missing: run `cargo xtask setup`")?;
        let report = directory.join("report.lua");
        std::fs::write(&report, REPORT).with_context(|| format!("cannot write {}", report.display()))?;
        Ok(Self { program, report })
    }

    /// Sends requests for whole seconds; returns the answers a second.
    pub(super) fn run(
        &self,
        cores: &Cores,
        server: SocketAddr,
        connections: u32,
        run: Duration,
    ) -> Result<f64> {
        let mut wrk = cores.pinned(cores.load, &self.program);
        wrk.args(["--threads", "1", "--connections", &connections.to_string()]);
        wrk.arg("--duration").arg(format!("{}s", run.as_secs())).arg("--script").arg(&self.report);
        wrk.args(["--header", "X-API-Key: rl_0123456789012345678901234567"])
            .arg(format!("http://{server}/courses"));
        Counts::parse(&command::output(&mut wrk)?)?.per_second()
    }
}

impl Counts {
    fn parse(said: &str) -> Result<Self> {
        let line = said.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("wrk did not report:\n{said}"))?;
        serde_json::from_str(line).with_context(|| format!("wrk reported {line}"))
    }

    fn per_second(&self) -> Result<f64> {
        if self.requests == 0 || self.microseconds == 0 || self.failed + self.refused > 0 {
            bail!("not what is to be measured: {self:?}");
        }
        Ok(self.requests as f64 * 1e6 / self.microseconds as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_second(said: &str) -> Result<f64> {
        Counts::parse(said)?.per_second()
    }

    #[test]
    fn the_report_is_found_among_what_wrk_says() {
        let said = "Running 1s test\n  2 threads\n\
            {\"requests\":3000,\"microseconds\":1500000,\"refused\":0,\"failed\":0}\n";
        assert!((per_second(said).expect("a report") - 2_000.0).abs() < 1e-9);
    }

    #[test]
    fn no_answers_are_an_error() {
        assert!(per_second("{\"requests\":0,\"microseconds\":9,\"refused\":0,\"failed\":64}").is_err());
        assert!(per_second("{\"requests\":9,\"microseconds\":9,\"refused\":1,\"failed\":0}").is_err());
        assert!(per_second("unable to connect").is_err());
    }
}
