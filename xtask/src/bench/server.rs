//! A server that is measured: all of its processes' CPU time, and all of them gone at the end.

use crate::lab::Process;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A server in the background.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
}

impl Server {
    /// Starts a command and waits until it takes connections at all of its addresses.
    pub(super) fn start(
        name: &str,
        command: Command,
        directory: &Path,
        addresses: &[SocketAddr],
    ) -> Result<Self> {
        let process = Process::start(name, command, &directory.join(format!("{name}.log")))?;
        let mut server = Self { process };
        let listens = |address: &SocketAddr| TcpStream::connect(address).is_ok();
        server.process.wait_until(START_LIMIT, |_| Ok(addresses.iter().all(listens)))?;
        Ok(server)
    }

    /// The CPU time so far, in user space and in the kernel, of the process and its children: nginx serves
    /// from a child.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.process.id())
    }

    /// Memory of the process and its children, in bytes; what they share counts once.
    pub(super) fn memory(&self) -> Result<u64> {
        let pid = self.process.id();
        let children = children(pid)?;
        [pid].into_iter().chain(children).map(proportional_set).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its workers when asked to stop, not when it is killed: what is left is killed with it.
        if self.process.stop(STOP_LIMIT).is_err()
            && let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The CPU time so far of a process and its children, in user space and in the kernel.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut ticks = ticks(pid)?;
    for child in children(pid)? {
        ticks += self::ticks(child)?;
    }
    Ok(duration(ticks))
}

/// The time that all processors together were not idle, since the machine started (`/proc/stat`, proc(5)).
pub(super) fn busy_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let fields = line.context("/proc/stat is not as expected")?.split_whitespace().map(str::parse::<u64>);
    // User, nice, system, idle, waiting, interrupts, soft interrupts; what follows is no work of ours.
    let fields: Vec<_> = fields.take(7).collect::<Result<_, _>>()?;
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Ok(duration(fields.iter().sum::<u64>() - idle))
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// An address of this host that nothing listens at.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let listed = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let parse = |child: &str| child.parse().with_context(|| format!("{path} holds {child}"));
    listed.split_whitespace().map(parse).collect()
}

fn proportional_set(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("{path} has no Pss"))? << 10)
}

fn ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_ticks(&stat).with_context(|| format!("{path} is not as expected: {stat}"))
}

/// `utime` and `stime`, fields 14 and 15. The second, in parentheses, is a name that may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) 1 (b c) S 1 42 42 0 -1 4194560 100 0 0 0 350 127 9 8 20 0 1 0 99\n";
        assert_eq!(parse_ticks(stat), Some(477));
        assert_eq!(parse_ticks("42 (a) S 1 2\n"), None);
    }
}
