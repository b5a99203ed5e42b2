//! The machine, as far as figures depend on it: what it is, and whether it was idle.

use crate::command;
use anyhow::{Context, Result};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// How long the machine is watched before measuring.
const WATCH: Duration = Duration::from_secs(1);

/// The share of the machine in use from which figures are called disturbed.
const DISTURBED: f64 = 0.05;

/// Two sentences for above a table.
pub(super) fn describe() -> Result<String> {
    let cpuinfo = read("/proc/cpuinfo")?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let date = command::output(Command::new("date").args(["--utc", "+%F"]))?;
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = field(&cpuinfo, "model name").unwrap_or(std::env::consts::ARCH);
    let guest = if is_guest(&cpuinfo) { ", a virtual machine" } else { "" };
    let idle = idle()?;
    Ok(format!("Measured on {}: {model}, {cores} cores{guest}, Linux {}.{idle}", date.trim(), kernel.trim()))
}

/// The value of a field of the first processor.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim())
}

fn is_guest(cpuinfo: &str) -> bool {
    field(cpuinfo, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
}

/// A sentence where something else was running.
fn idle() -> Result<String> {
    let before = Ticks::read()?;
    sleep(WATCH);
    let busy = Ticks::read()?.busy_since(&before);
    if busy < DISTURBED {
        return Ok(String::new());
    }
    let percent = busy * 100.0;
    eprintln!("bench: other work takes {percent:.0} % of this machine: the figures will not mean much");
    Ok(format!(" **Other work took {percent:.0} % of the machine just before: read with care.**"))
}

/// Time since boot, of all processors together, in ticks.
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn read() -> Result<Self> {
        Self::parse(&read("/proc/stat")?).context("/proc/stat is not as expected")
    }

    /// From the line `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests' time is
    /// in the users' as well.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { idle: fields.get(3..5)?.iter().sum(), all: fields.get(..8)?.iter().sum() })
    }

    fn busy_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        let idle = self.idle.saturating_sub(before.idle);
        1.0 - idle as f64 / all as f64
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_described() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 3: x\nflags\t\t: fpu hypervisor sse\n";
        assert_eq!(field(cpuinfo, "model name"), Some("Some CPU @ 3: x"));
        assert!(is_guest(cpuinfo));
        assert!(!is_guest("flags : fpu nohypervisor\n"));
    }

    #[test]
    fn idle_and_waiting_is_not_busy() {
        let before = Ticks::parse("cpu  10 0 10 100 20 0 0 0 5 0\ncpu0 1 1").expect("a line");
        let after = Ticks::parse("cpu  20 0 30 150 30 5 5 0 9 0\n").expect("a line");
        assert!((after.busy_since(&before) - 0.4).abs() < 1e-9);
        assert!(Ticks::parse("cpu  1 2 3\n").is_none());
    }
}
