//! Whether this process may have as many connections as it is asked for, said before rather than found out.

use crate::cli::wrong_argument;
use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;

/// Open files that are no connections, generously.
const FILES_BESIDES: u64 = 64;

const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Raises the limit on open files as far as it has to and may; an error where that is not enough, or where there are not as
/// many ports.
pub(crate) fn check(connections: u64, server: SocketAddr) -> Result<()> {
    let needed = connections + FILES_BESIDES;
    let before = getrlimit(Resource::Nofile);
    if let Some(most) = before.maximum.filter(|most| *most < needed) {
        return Err(wrong_argument(format!(
            "{connections} connections take {needed} open files, and this process may have {most}: ask for fewer \
             connections, or raise the limit (`ulimit -Hn {needed}` as root)"
        )));
    }
    if before.current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..before })?;
    }
    if let Some(ports) = ports().filter(|ports| *ports < connections) {
        return Err(wrong_argument(format!(
            "{connections} connections to {server} take a port each, and this host has {ports}: ask for fewer \
             connections, or widen {PORT_RANGE}"
        )));
    }
    Ok(())
}

/// Ports from which connections are made; `None` where that cannot be told.
fn ports() -> Option<u64> {
    let range = std::fs::read_to_string(PORT_RANGE).ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some(last.saturating_sub(first) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_can_be_are_refused_with_what_to_do() {
        let server = SocketAddr::from(([127, 0, 0, 1], 80));
        check(10, server).expect("a few are fine");
        let told = check(100_000_000, server).expect_err("a refusal").to_string();
        assert!(told.contains("100000000 connections") && told.contains("ask for fewer"), "{told}");
    }
}
