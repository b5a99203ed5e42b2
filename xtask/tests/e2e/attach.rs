//! The same program wherever it is attached, and whatever frames look like there.

use crate::host::Host;
use crate::segments::{Connection, get};
use crate::{SOON, deploy, plan, send, tier};
use anyhow::{Result, ensure};
use std::path::Path;
use xtask::deployment::{Deployment, PORT, Plan};
use xtask::lab::WIRE;
use xtask::tally::Limits;

const LIMITS: Limits = Limits { per_hour: 1_000, burst: 20 };

/// Whole requests and requests in two segments, to both addresses; the kernel refuses some of them.
fn is_enforced(deployment: &mut Deployment) -> Result<()> {
    let mut tally = send(deployment, deployment.lab.host_v4(PORT), "key", 60, |number| number % 4 == 3)?;
    tally.merge(send(deployment, deployment.lab.host_v6(PORT), "key", 60, |number| number % 4 == 3)?);
    ensure!(tally.other.is_empty(), "{:?}", tally.other);
    let allowed = tally.allowed(LIMITS);
    ensure!(allowed.contains(&tally.admitted), "{} admitted, {allowed:?} allowed", tally.admitted);
    ensure!(deployment.seen()?.get("key") == Some(&tally.admitted), "{tally:?}");
    // A short request's answer does not fit everywhere; a common one's does.
    let (key, filler) = (format!("X-API-Key: {}", deployment.key("key")?), "f".repeat(400));
    is_refused_by_kernel(deployment, &get(&[&key, &format!("X-Filler: {filler}")]))?;
    let counted = deployment.stop()?;
    let by_kernel = counted.get("refused_burst").copied().unwrap_or(0);
    ensure!(by_kernel > tally.by_kernel, "{by_kernel} counted, {} seen before the last", tally.by_kernel);
    Ok(())
}

fn attached(attach: &str, said: &str) -> Result<()> {
    let tables = tier("small", LIMITS.per_hour, LIMITS.burst);
    let plan = Plan { attach, tables: &tables, keys: &[("key", "small")], ..plan() };
    let mut deployment = Deployment::start(&plan)?;
    let log = deployment.daemon().log();
    ensure!(log.contains(&format!("attached to {WIRE}: {said}")), "{log}");
    is_enforced(&mut deployment)
}

#[test]
fn native() -> Result<()> {
    attached("native", "native XDP")
}

#[test]
fn generic() -> Result<()> {
    attached("generic", "generic XDP")
}

#[test]
fn at_the_entrance_of_the_stack() -> Result<()> {
    attached("tc", "TC")
}

/// Frames of up to 9,000 bytes lie in several buffers.
#[test]
fn jumbo_frames() -> Result<()> {
    let mut deployment = deploy("reply", &tier("small", LIMITS.per_hour, LIMITS.burst), &[("key", "small")])?;
    for end in [&deployment.lab.client, &deployment.lab.host] {
        end.output("ip", &["link", "set", "dev", WIRE, "mtu", "9000"])?;
    }
    let filler = format!("X-Filler: {}", "f".repeat(7_000));
    let key = format!("X-API-Key: {}", deployment.key("key")?);
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let mut connection = Connection::open(&deployment.lab, server)?;
        connection.segment(get(&[&key, &filler]))?;
        ensure!(connection.answer()?.status == 200, "a large head");
    }
    is_refused_by_kernel(&deployment, &get(&[&key, &filler]))?;
    let counted = deployment.stop()?;
    ensure!(counted.get("admitted").is_some_and(|count| *count >= 20), "{counted:?}");
    Ok(())
}

/// What the client's stack and the host's make of many segments, the program sees as one.
#[test]
fn bundles_of_segments() -> Result<()> {
    let deployment = deploy("reply", &tier("small", LIMITS.per_hour, LIMITS.burst), &[("key", "small")])?;
    for end in [&deployment.lab.client, &deployment.lab.host] {
        end.output("ethtool", &["-K", WIRE, "gro", "on", "gso", "on"])?;
    }
    let key = format!("X-API-Key: {}", deployment.key("key")?);
    let body = "b".repeat(60_000);
    let upload = format!(
        "POST /students HTTP/1.1\r\nHost: a\r\n{key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    is_refused_by_kernel(&deployment, &upload)
}

/// Sends the request on connections of its own until the kernel refuses one.
fn is_refused_by_kernel(deployment: &Deployment, request: &str) -> Result<()> {
    for _ in 0..200 {
        let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
        connection.segment(request)?;
        let answer = connection.answer()?;
        if answer.status == 429 && answer.header("date").is_none() {
            return Ok(());
        }
    }
    anyhow::bail!("the kernel refused none")
}

/// The loopback interface takes no native XDP.
#[test]
fn loopback() -> Result<()> {
    let host = Host::prepare()?;
    host.configure(WIRE, "lo")?;
    host.configure("listen = [", "listen = [\"127.0.0.1:8080\", ")?;
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let mut api = host.lab.start("api", xtask, &["api-server", "--listen", crate::host::UPSTREAM])?;
    api.wait_until(SOON, |api| Ok(api.log().contains("serving")))?;
    host.configure("\"reset\"", "\"reply\"")?;
    let mut daemon = host.start()?;
    ensure!(daemon.log().contains("attached to lo: generic XDP"), "{}", daemon.log());
    let header = format!("X-API-Key: {}", host.key);
    // The stack's buffers have little room, so that a short request's answer is left to the proxy.
    let filler = format!("X-Filler: {}", "f".repeat(400));
    let url = "http://127.0.0.1:8080/courses?per_page=1";
    let arguments = [
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\n",
        "-H",
        &header,
        "-H",
        &filler,
        &format!("{url}&n=[1-300]"),
    ];
    let codes = host.lab.host.output("curl", &arguments)?;
    let (served, refused) = ("200", "429");
    let count = |code: &str| codes.lines().filter(|line| *line == code).count();
    ensure!(count(served) + count(refused) == 300 && count(refused) > 150, "{codes}");
    ensure!(daemon.stop(SOON)?.success(), "{}", daemon.log());
    ensure!(daemon.log().contains("refused_burst="), "{}", daemon.log());
    Ok(())
}
