//! Starting and stopping.

use crate::{deploy, send};
use anyhow::Result;
use xtask::deployment::{Deployment, PORT};
use xtask::lab::WIRE;

fn attached(deployment: &Deployment) -> Result<bool> {
    let link = deployment.lab.host.output("ip", &["-details", "link", "show", WIRE])?;
    Ok(link.contains("prog/xdp"))
}

#[test]
fn a_stop_detaches_the_kernel_program() -> Result<()> {
    let mut deployment = deploy("reset", "", &[("key", "professional")])?;
    assert!(attached(&deployment)?);
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 10, |_| false)?;
    assert_eq!(tally.admitted, 10);
    let counted = deployment.stop()?;
    assert_eq!(counted.get("admitted"), Some(&10), "{counted:?}");
    assert!(!attached(&deployment)?);
    Ok(())
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
