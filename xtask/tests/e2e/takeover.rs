//! What outlives the daemon, and how the next one takes it over.

use crate::{deploy, plan, send, tier};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;
use xtask::deployment::{Deployment, Mode, PORT, Plan};
use xtask::lab::WIRE;

fn program_id(deployment: &Deployment) -> Result<u64> {
    let links = deployment.lab.host.output("ip", &["-json", "-details", "link", "show", WIRE])?;
    let links: serde_json::Value = serde_json::from_str(&links)?;
    let id = links.pointer("/0/xdp/prog/id").and_then(serde_json::Value::as_u64);
    id.context("no program is attached")
}

/// A key of each kind of limit; requests far above either.
fn alone(attach: &str) -> Result<Deployment> {
    let tables = format!("{}{}", tier("small", 100_000, 20), tier("hourly", 15, 6_000));
    let keys = &[("one", "small"), ("other", "small"), ("hour", "hourly")];
    Deployment::start(&Plan { mode: Mode::Kernel, attach, tables: &tables, keys, ..plan() })
}

#[test]
fn the_kernel_goes_on_without_the_daemon_and_the_next_one_goes_on_from_there() -> Result<()> {
    for attach in ["native", "generic", "tc"] {
        let mut deployment = alone(attach)?;
        let server = deployment.lab.host_v4(PORT);
        let mut tally = send(&deployment, server, "one", 10, |_| false)?;
        let hour = send(&deployment, server, "hour", 10, |_| false)?;
        deployment.kill()?;
        tally.merge(send(&deployment, server, "one", 40, |_| false)?);
        // Without a daemon nothing leaves the hour.
        let dead = send(&deployment, server, "hour", 20, |_| false)?;
        ensure!(
            (hour.admitted, dead.admitted, dead.by_kernel) == (10, 5, 15),
            "{attach}: {hour:?}, {dead:?}"
        );
        // The file's order is not what the slots go by.
        deployment.change_keys(&["remove", "other"])?;
        deployment.change_keys(&["add", "another", "--tier", "small"])?;
        deployment.start_again()?;
        tally.merge(send(&deployment, server, "one", 40, |_| false)?);
        let allowed = tally.allowed(xtask::tally::Limits { per_hour: 100_000, burst: 20 });
        ensure!(
            tally.other.is_empty() && allowed.contains(&tally.admitted),
            "{attach}: {} admitted, {allowed:?} allowed: {tally:?}",
            tally.admitted
        );
        deployment.stop()?;
        deployment.ratelimitd(&["detach"])?;
        let tally = send(&deployment, server, "one", 40, |_| false)?;
        ensure!(tally.admitted == 40, "{attach}: detached: {tally:?}");
    }
    Ok(())
}

/// Another program by the same link: the answers show that it is the new one's.
#[test]
fn the_next_daemon_s_program_is_in_force() -> Result<()> {
    let mut deployment = deploy("reply", &tier("small", 1_000, 3), &[("key", "small")])?;
    let server = deployment.lab.host_v4(PORT);
    let before = program_id(&deployment)?;
    let tally = send(&deployment, server, "key", 6, |_| false)?;
    ensure!(tally.admitted == 3, "{tally:?}");
    deployment.kill()?;
    ensure!(program_id(&deployment)? == before, "it is attached");
    let config = std::fs::read_to_string(deployment.config())?;
    let changed = config.replacen("[keys]", "[headers]\nratelimit_fields = false\n[keys]", 1);
    std::fs::write(deployment.config(), changed)?;
    deployment.start_again()?;
    ensure!(program_id(&deployment)? != before, "it was replaced");
    let tally = send(&deployment, server, "key", 3, |_| false)?;
    ensure!(tally.admitted == 0, "the bucket was not refilled: {tally:?}");
    let refusal = tally.refusal.context("no refusal was kept")?;
    ensure!(refusal.header("retry-after").is_some(), "{refusal:?}");
    ensure!(refusal.header("ratelimit-policy").is_none(), "{refusal:?}");
    Ok(())
}

/// Tokens of requests that the kernel charged and that a proxy never took, because it was dead, are not lost.
#[test]
fn what_a_dead_proxy_never_took_is_given_back() -> Result<()> {
    let mut deployment = deploy("reply", &tier("small", 1_000, 5), &[("key", "small")])?;
    let server = deployment.lab.host_v4(PORT);
    deployment.daemon().signal(rustix::process::Signal::STOP)?;
    crate::eventually("each of its threads stands still", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", deployment.process_id()))?;
        let stat = threads.map(|thread| std::fs::read_to_string(thread?.path().join("stat")));
        let mut stat = stat.collect::<std::io::Result<Vec<_>>>()?.into_iter();
        Ok(stat.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))))
    })?;
    let request = crate::segments::get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut connection = crate::segments::Connection::open(&deployment.lab, server)?;
        connection.segment(&request)?;
        connections.push(connection);
    }
    crate::eventually("the kernel has charged them", || {
        let told = deployment.ratelimitd(&["buckets", "--json"])?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        Ok(told.pointer("/0/tokens") == Some(&serde_json::json!(1)))
    })?;
    deployment.kill()?;
    drop(connections);
    deployment.start_again()?;
    ensure!(deployment.daemon().log().contains("4 requests were charged"), "{}", deployment.daemon().log());
    let tally = send(&deployment, server, "key", 5, |_| false)?;
    ensure!(tally.admitted == 5, "{tally:?}");
    Ok(())
}

/// Who asks while there is no daemon is told what the kernel does by itself, and that there is none.
#[test]
fn without_a_daemon_the_maps_tell() -> Result<()> {
    let mut deployment = alone("native")?;
    send(&deployment, deployment.lab.host_v4(PORT), "one", 30, |_| false)?;
    let daemon: Value = serde_json::from_str(&deployment.ratelimitd(&["status", "--json"])?)?;
    deployment.kill()?;
    let ask = |arguments: &[&str]| {
        Command::new(deployment.program()).args(arguments).arg("--config").arg(deployment.config()).output()
    };
    let told = ask(&["status"])?;
    let (said, why) = (String::from_utf8(told.stdout)?, String::from_utf8(told.stderr)?);
    ensure!(told.status.code() == Some(1) && why.contains("ratelimitd is not running"), "{why}");
    ensure!(said.starts_with("no daemon for ") && said.contains("wire       native XDP"), "{said}");
    let told: Value = serde_json::from_slice(&ask(&["status", "--json"])?.stdout)?;
    for same in ["mode", "action", "interfaces", "ports"] {
        ensure!(told[same] == daemon[same], "{same}: {} for {}", told[same], daemon[same]);
    }
    ensure!(
        told["process_id"].is_null() && told["keys"] == 3 && told["loaded_by"] == daemon["version"],
        "{told}"
    );
    let counters: Value = serde_json::from_slice(&ask(&["counters", "--json"])?.stdout)?;
    ensure!(
        counters == told["kernel"] && counters["verdicts"]["refused_burst"].as_u64() > Some(0),
        "{counters}"
    );
    let buckets: Value = serde_json::from_slice(&ask(&["buckets", "--json"])?.stdout)?;
    let one = buckets.as_array().and_then(|all| all.iter().find(|bucket| bucket["name"] == "one"));
    ensure!(
        one.is_some_and(|one| one["capacity"] == 20 && one["admitted"].as_u64() >= Some(20)),
        "{buckets}"
    );
    let flows: Value = serde_json::from_slice(&ask(&["flows", "--json", "--limit", "1"])?.stdout)?;
    ensure!(flows["room"] == 65_536 && flows["connections"].as_array().map(Vec::len) == Some(1), "{flows}");
    let key = deployment.key("one")?;
    ensure!(!said.contains(key.get(3..20).unwrap_or(key)), "a key is in {said}");
    deployment.ratelimitd(&["detach"])?;
    let told =
        Command::new(deployment.program()).args(["buckets", "--config"]).arg(deployment.config()).output()?;
    let why = String::from_utf8(told.stderr)?;
    ensure!(told.status.code() == Some(1) && why.contains("nothing is pinned in "), "{why}");
    Ok(())
}
