//! Nanoseconds a packet: the daemon's own benchmark, as a table.

use crate::command;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::Command;

/// A line of the benchmark.
#[derive(Debug, Deserialize)]
struct Case {
    case: String,
    median_ns: u64,
    min_ns: u64,
    max_ns: u64,
    beyond_empty_ns: u64,
}

/// An error where it cannot run.
pub(super) fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the packet benchmark loads a kernel program: run it as root, or `--only proxy`");
    }
    Ok(())
}

/// Builds it ahead, so that the machine is idle when it runs.
pub(super) fn build() -> Result<()> {
    command::run(benchmark().arg("--no-run")).context("the packet benchmark does not build")
}

/// The table.
pub(super) fn measure() -> Result<String> {
    eprintln!("bench: packets through the kernel program");
    let said = command::output(&mut benchmark()).context("the packet benchmark")?;
    Ok(table(&parse(&said)?))
}

fn benchmark() -> Command {
    let mut cargo = command::cargo();
    cargo.args(["bench", "--package", "ratelimit-daemon", "--bench", "packet"]);
    cargo
}

fn parse(said: &str) -> Result<Vec<Case>> {
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let read = |line| serde_json::from_str(line).with_context(|| format!("not a case: {line}"));
    let cases: Vec<Case> = lines.map(read).collect::<Result<_>>()?;
    if cases.is_empty() {
        bail!("the packet benchmark printed no case");
    }
    Ok(cases)
}

fn table(cases: &[Case]) -> String {
    let mut table = String::from(
        "| packet | times the empty program | (ns: median, lowest to highest) | (ns beyond the empty program) |\n\
         |---|---|---|---|\n",
    );
    for Case { case, median_ns, min_ns, max_ns, beyond_empty_ns } in cases {
        let empty = median_ns.saturating_sub(*beyond_empty_ns).max(1);
        let times = *median_ns as f64 / empty as f64;
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {case} | {times:.1} | ({median_ns}, {min_ns} to {max_ns}) | ({beyond_empty_ns}) |"
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "noise\n\
        {\"beyond_empty_ns\":0,\"case\":\"empty program\",\"max_ns\":33,\"median_ns\":30,\"min_ns\":27}\n\
        {\"beyond_empty_ns\":120,\"case\":\"a key\",\"max_ns\":170,\"median_ns\":150,\"min_ns\":140}\n";

    #[test]
    fn lines_become_rows() {
        let table = table(&parse(SAID).expect("cases"));
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            ["| empty program | 1.0 | (30, 27 to 33) | (0) |", "| a key | 5.0 | (150, 140 to 170) | (120) |"]
        );
    }

    #[test]
    fn silence_is_an_error() {
        assert!(parse("noise\n").is_err());
        assert!(parse("{\"case\":1}\n").is_err());
    }
}
