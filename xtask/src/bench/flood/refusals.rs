//! What a refusal costs where clients hammer: the kernel's, each on a connection of its own, which it ends, beside nginx's, which
//! keeps the connection.

use super::super::figures::{Spread, thousands};
use super::super::server;
use super::bed::Bed;
use crate::interrupt;
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::time::Duration;

/// Turned on while the kernel shall measure how long its programs run.
const PROGRAMS_ARE_TIMED: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What one refusal took, in microseconds.
struct Sample {
    per_second: f64,
    /// Of all processors: client, wire and server together.
    machine: f64,
    /// Of the server's processes.
    process: f64,
    /// Of the kernel's programs.
    programs: f64,
}

/// The table.
pub(super) fn measure(bed: &Bed, rounds: usize, seconds: u64) -> Result<String> {
    let scenario = bed.scenario(
        "hammer",
        1,
        64,
        &format!("kind = \"closed\", seconds = {seconds}"),
        "/courses?per_page=1",
    )?;
    let _timing = Timing::start()?;
    let mut rows = [
        ("nginx, by its worker", bed.nginx(), bed.nginx.id(), Vec::new()),
        ("ratelimitd, by the kernel", bed.ratelimitd(), bed.deployment.process_id(), Vec::new()),
    ];
    for round in 1..=rounds {
        eprintln!("bench: refusals, round {round} of {rounds}");
        for (_, server, pid, samples) in &mut rows {
            interrupt::check()?;
            let before = Spent::of(*pid)?;
            let report = bed.load(*server, &scenario)?;
            let spent = Spent::of(*pid)?.since(&before);
            ensure!(report.refused > 10 * report.admitted, "not what is to be measured: {report:?}");
            let each = |spent: Duration| spent.as_secs_f64() * 1e6 / report.refused as f64;
            samples.push(Sample {
                per_second: report.answered_per_second,
                machine: each(spent.machine),
                process: each(spent.process),
                programs: each(spent.programs),
            });
        }
        rows.reverse();
    }
    rows.sort_by_key(|(name, ..)| *name);
    let mut text = format!(
        "{rounds} rounds of {seconds} s in a laboratory: one key hammers over its limits, by 64 connections. A refusal of the kernel ends \
         its connection, and the client opens another; nginx keeps the connection. Microseconds of CPU time a refusal.\n\n\
         | refused | a second | all of the machine: client, wire, server | the server's processes | the kernel's programs |\n|---|---|---|---|---|\n"
    );
    for (name, _, _, samples) in &rows {
        let of = |figure: fn(&Sample) -> f64| {
            Spread::of(samples.iter().map(figure)).context("nothing was measured")
        };
        let shown =
            |spread: Spread| format!("{:.2} ({:.2} to {:.2})", spread.median, spread.low, spread.high);
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            thousands(of(|sample| sample.per_second)?.median),
            shown(of(|sample| sample.machine)?),
            shown(of(|sample| sample.process)?),
            shown(of(|sample| sample.programs)?)
        );
    }
    Ok(text)
}

/// CPU time.
struct Spent {
    machine: Duration,
    process: Duration,
    programs: Duration,
}

impl Spent {
    /// So far: of the machine, of the process `pid` and its children, and of the kernel's programs that it has loaded.
    fn of(pid: u32) -> Result<Self> {
        let programs = programs(pid)?;
        Ok(Self { machine: server::busy_time()?, process: server::cpu_time(pid)?, programs })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            machine: self.machine.saturating_sub(before.machine),
            process: self.process.saturating_sub(before.process),
            programs: self.programs.saturating_sub(before.programs),
        }
    }
}

/// How long the programs have run that a process has open: see `bpf_prog_show_fdinfo` in the kernel.
fn programs(pid: u32) -> Result<Duration> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut nanoseconds = 0;
    for entry in std::fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        // A file may have been closed meanwhile.
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("run_time_ns:"));
        nanoseconds += line.map_or(Ok(0), |number| number.trim().parse::<u64>())?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// While this lives the kernel times its programs, which costs each run some 20 ns.
struct Timing {
    before: String,
}

impl Timing {
    fn start() -> Result<Self> {
        let before = std::fs::read_to_string(PROGRAMS_ARE_TIMED).context(PROGRAMS_ARE_TIMED)?;
        std::fs::write(PROGRAMS_ARE_TIMED, "1").context(PROGRAMS_ARE_TIMED)?;
        Ok(Self { before })
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(PROGRAMS_ARE_TIMED, &self.before) {
            eprintln!("bench: {PROGRAMS_ARE_TIMED}: {error}");
        }
    }
}
