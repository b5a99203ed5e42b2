//! Killed, restarted and upgraded again and again, under traffic.

use crate::sender::{Connections, Sender};
use crate::{eventually, plan, tier};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use xtask::build;
use xtask::deployment::{Deployment, Mode, PORT, Plan};
use xtask::lab::WIRE;
use xtask::tally::Limits;

const CYCLES: usize = 50;

const BUSY: Limits = Limits { per_hour: 1_000_000, burst: 240 };

/// What changes from one daemon to the next.
const FIELDS: [&str; 2] = ["ratelimit_fields = true", "ratelimit_fields = false"];

/// No interval without enforcement, nobody over his limit, nobody refused wrongly; and no packet that no program judged.
#[test]
fn fifty_daemons_come_and_go_and_the_traffic_does_not_notice() -> Result<()> {
    let tables = format!(
        "[headers]\n{}\n{}{}",
        FIELDS[0],
        tier("busy", BUSY.per_hour, BUSY.burst),
        tier("calm", 1_000_000, 100_000)
    );
    let keys = &[("busy", "busy"), ("calm", "calm")];
    let mut deployment =
        Deployment::start(&Plan { mode: Mode::Kernel, action: "reset", tables: &tables, keys, ..plan() })?;
    let versions = [deployment.program().to_owned(), newer(&deployment)?];
    let unjudged_before = unjudged(&deployment)?;
    let senders = ["busy", "calm"].map(|name| -> Result<_> {
        let (door, server) = (deployment.lab.client.door(), deployment.lab.host_v4(PORT));
        Ok(Sender::start(door, server, deployment.key(name)?, Connections::Kept))
    });
    let cycled = cycle(&mut deployment, &versions);
    let [busy, calm] = senders.map(|sender| sender.and_then(Sender::stop));
    cycled?;
    let (busy, calm) = (busy?, calm?);
    let allowed = busy.allowed(BUSY);
    ensure!(busy.other.is_empty() && calm.other.is_empty(), "{:?}, {:?}", busy.other, calm.other);
    ensure!(allowed.contains(&busy.admitted), "{} admitted, {allowed:?} allowed", busy.admitted);
    ensure!(calm.admitted == calm.sent, "{} of {} admitted", calm.admitted, calm.sent);
    let seen = deployment.seen()?;
    ensure!(
        seen.get("busy") == Some(&busy.admitted),
        "the API saw {seen:?}, {} were admitted",
        busy.admitted
    );
    ensure!(
        seen.get("calm") == Some(&calm.admitted),
        "the API saw {seen:?}, {} were admitted",
        calm.admitted
    );
    eventually("every packet was judged by one program", || Ok(unjudged(&deployment)? == unjudged_before))?;
    println!("{} and {} requests during {CYCLES} takeovers", busy.sent, calm.sent);
    Ok(())
}

/// Ends the daemon and starts another: mostly by force, sometimes in order; now the same version, now another.
fn cycle(deployment: &mut Deployment, versions: &[PathBuf; 2]) -> Result<()> {
    for number in 0..CYCLES {
        match number % 5 {
            0 => drop(deployment.stop()?),
            _ => deployment.kill()?,
        }
        let [before, after] = if number % 2 == 0 { FIELDS } else { [FIELDS[1], FIELDS[0]] };
        let config = std::fs::read_to_string(deployment.config())?;
        std::fs::write(deployment.config(), config.replace(before, after))?;
        deployment.start_version(&versions[number / 2 % 2]).with_context(|| format!("cycle {number}"))?;
    }
    Ok(())
}

/// A daemon that says of itself that it is of another version.
fn newer(deployment: &Deployment) -> Result<PathBuf> {
    let told = deployment.ratelimitd(&["version"])?;
    let version = told.trim().to_owned();
    let other = version.replace("0.1.0", "0.1.9");
    ensure!(version != other, "{version:?} is no version that can be changed");
    let mut program = std::fs::read(build::daemon_path(false))?;
    let mut found = 0;
    while let Some(at) = position(&program, b"0.1.0") {
        program[at..at + 5].copy_from_slice(b"0.1.9");
        found += 1;
    }
    ensure!(found > 0, "the program does not hold its version");
    let path = deployment.lab.directory().join("ratelimitd-newer");
    std::fs::copy(build::daemon_path(false), &path)?;
    std::fs::write(&path, program)?;
    Ok(path)
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Packets that came by the wire, less those that a program has counted.
fn unjudged(deployment: &Deployment) -> Result<i64> {
    let links = deployment.lab.host.output("ip", &["-json", "-statistics", "link", "show", WIRE])?;
    let links: Value = serde_json::from_str(&links)?;
    let counters: Value = serde_json::from_str(&deployment.ratelimitd(&["counters", "--json"])?)?;
    let counted: i64 = ["verdicts", "skips"]
        .iter()
        .filter_map(|kind| counters[kind].as_object())
        .flat_map(|counts| counts.values().filter_map(Value::as_i64))
        .sum();
    let came = links.pointer("/0/stats64/rx/packets").and_then(Value::as_i64).context("no statistics")?;
    Ok(came - counted)
}
