//! `ratelimitd status`: what it says is so.

use crate::host::Host;
use crate::{SOON, deploy, eventually, send};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use xtask::deployment::PORT;
use xtask::lab::WIRE;
use xtask::{build, command};

fn status(config: &Path) -> Result<Value> {
    let mut asking = Command::new(build::daemon_path(false));
    let told = command::output(asking.args(["status", "--json", "--config"]).arg(config))?;
    serde_json::from_str(&told).context("the status is not JSON")
}

#[test]
fn it_tells_what_was_judged_and_what_was_not() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    let server = deployment.lab.host_v4(PORT);
    let tally = send(&deployment, server, "key", 130, |_| false)?;
    let status = status(deployment.config())?;
    let verdicts = status.pointer("/kernel/verdicts").context("no verdicts")?;
    ensure!(verdicts["admitted"] == json!(tally.admitted), "{verdicts} for {tally:?}");
    let skips = status.pointer("/kernel/skips").context("no skips")?;
    // The kernel leaves a request to the proxy while that has the last one in hand.
    let refused =
        [&verdicts["refused_burst"], &skips["busy"]].into_iter().filter_map(Value::as_u64).sum::<u64>();
    ensure!(refused == 130 - tally.admitted, "{status} for {tally:?}");
    ensure!(skips["no_payload"].as_u64() > Some(0), "{status}");
    ensure!(status["process_id"] == json!(deployment.daemon().id()), "{status}");
    ensure!(status["mode"] == "proxy" && status["action"] == "reset", "{status}");
    ensure!(status["keys"]["all"] == 1, "{status}");
    let key = deployment.key("key")?;
    ensure!(!status.to_string().contains(key.get(3..20).unwrap_or(key)), "a key is in the status");
    Ok(())
}

#[test]
fn it_tells_how_the_program_is_attached() -> Result<()> {
    let host = Host::prepare()?;
    host.configure("[kernel]\n", "[kernel]\nattach = \"auto\"\n")?;
    for (attach, found, next) in
        [("auto", "native", "generic"), ("generic", "generic", "tc"), ("tc", "tc", "")]
    {
        let mut daemon = host.start()?;
        let interfaces = status(&host.config)?["interfaces"].clone();
        ensure!(
            interfaces[0]["interface"] == WIRE && interfaces[0]["mode"] == found,
            "{attach}: {interfaces}"
        );
        let xdp = host.attached()?;
        let id = interfaces[0]["program_id"].as_u64();
        ensure!(id.is_some() && (xdp == id || attach == "tc" && xdp.is_none()), "{interfaces}, {xdp:?}");
        daemon.stop(SOON)?;
        host.configure(&format!("attach = {attach:?}"), &format!("attach = {next:?}"))?;
    }
    Ok(())
}

#[test]
fn it_tells_which_upstream_is_down() -> Result<()> {
    let host = Host::prepare()?;
    let upstreams =
        "[\"127.0.0.1:9000\", \"127.0.0.1:9009\"]\n[health]\npath = \"/\"\ninterval_seconds = 1\n";
    host.configure("\"127.0.0.1:9000\"\n", upstreams)?;
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let mut api = host.lab.start("api", xtask, &["api-server", "--listen", crate::host::UPSTREAM])?;
    api.wait_until(SOON, |api| Ok(api.log().contains("serving")))?;
    let _daemon = host.start()?;
    eventually("one upstream is down", || {
        let upstreams = status(&host.config)?["upstreams"].clone();
        Ok(upstreams[1] == json!({ "address": "127.0.0.1:9009", "is_up": false }))
    })
}

#[test]
fn nobody_to_ask_exits_with_1() -> Result<()> {
    let host = Host::prepare()?;
    let ask =
        || Command::new(build::daemon_path(false)).args(["status", "--config"]).arg(&host.config).output();
    let asked = ask()?;
    let told = String::from_utf8(asked.stderr)?;
    ensure!(asked.status.code() == Some(1) && told.contains("ratelimitd is not running"), "{told}");
    let mut daemon = host.start()?;
    let asked = ask()?;
    ensure!(asked.status.success() && asked.stdout.starts_with(b"ratelimitd "), "{asked:?}");
    daemon.stop(SOON)?;
    ensure!(ask()?.status.code() == Some(1), "it has stopped");
    Ok(())
}
