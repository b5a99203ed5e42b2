//! Starting and stopping.

use crate::{deploy, send};
use anyhow::{Result, ensure};
use std::process::Command;
use xtask::build;
use xtask::deployment::{Deployment, PORT};
use xtask::lab::WIRE;

fn attached(deployment: &Deployment) -> Result<bool> {
    let link = deployment.lab.host.output("ip", &["-details", "link", "show", WIRE])?;
    Ok(link.contains("prog/xdp"))
}

#[test]
fn a_stop_leaves_the_kernel_enforcing_until_it_is_detached() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    ensure!(attached(&deployment)?, "it is attached");
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 10, |_| false)?;
    ensure!(tally.admitted == 10, "{tally:?}");
    let told = Command::new(build::daemon_path(false))
        .arg("detach")
        .arg("--config")
        .arg(deployment.config())
        .output()?;
    let said = String::from_utf8(told.stderr)?;
    ensure!(told.status.code() == Some(1) && said.contains("stop it first"), "while the daemon runs: {said}");
    let counted = deployment.stop()?;
    ensure!(counted.get("admitted") == Some(&10), "{counted:?}");
    ensure!(attached(&deployment)?, "it is attached after the stop");
    let said = deployment.ratelimitd(&["detach"])?;
    ensure!(said == "detached from wire (native XDP)\n", "{said}");
    ensure!(!attached(&deployment)? && !is_pinned(&deployment), "it is detached");
    let said = deployment.ratelimitd(&["detach"])?;
    ensure!(said.starts_with("nothing is pinned in "), "{said}");
    Ok(())
}

#[test]
fn a_stop_detaches_if_it_is_told_to() -> Result<()> {
    let tables = "[kernel]\ndetach_on_stop = true\n";
    let mut deployment = deploy("reset", "", &[])?;
    let config = std::fs::read_to_string(deployment.config())?;
    std::fs::write(deployment.config(), config.replace("[kernel]\n", tables))?;
    // What an earlier daemon has left is taken over, and goes with this one.
    deployment.stop()?;
    deployment.start_again()?;
    ensure!(attached(&deployment)?, "it is attached");
    deployment.stop()?;
    ensure!(!attached(&deployment)? && !is_pinned(&deployment), "it is detached");
    Ok(())
}

/// Whether anything is left pinned.
fn is_pinned(deployment: &Deployment) -> bool {
    deployment.lab.pins().join("ratelimitd").exists()
}

#[test]
fn the_log_holds_no_key() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    send(&deployment, deployment.lab.host_v4(PORT), "key", 150, |number| number % 2 == 0)?;
    deployment.stop()?;
    let log = deployment.daemon().log();
    let key = deployment.key("key")?;
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains(key.get(3..20).unwrap_or(key)), "a key is in the log");
    Ok(())
}
