//! What becomes of a request over its limits, by the configured action.

use crate::{deploy, eventually, send, tier};
use anyhow::Result;
use xtask::deployment::PORT;

#[test]
fn a_reset_leaves_no_connection_behind() -> Result<()> {
    let deployment =
        deploy("reset", &tier("small", 1_000, 10), &[("key", "small"), ("other", "enterprise")])?;
    let server = deployment.lab.host_v4(PORT);
    let tally = send(&deployment, server, "key", 300, |_| false)?;
    assert!(tally.by_kernel > 200 && tally.other.is_empty(), "{tally:?}");
    let host = &deployment.lab.host;
    eventually("the host's connections are gone", || {
        let open = host.output("ss", &["-tnH", "state", "established", "sport", "=", ":8080"])?;
        Ok(open.trim().is_empty())
    })?;
    let other = send(&deployment, server, "other", 20, |_| false)?;
    assert_eq!(other.admitted, 20);
    Ok(())
}

/// What is dropped TCP sends again, and by then there is a token: the client waits, and is served.
#[test]
fn a_dropped_request_is_delayed_until_there_is_a_token() -> Result<()> {
    let mut deployment = deploy("drop", &tier("brisk", 10_000, 120), &[("key", "brisk")])?;
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 124, |_| false)?;
    assert_eq!((tally.admitted, tally.by_kernel, tally.by_proxy), (124, 0, 0), "{:?}", tally.other);
    assert_eq!(deployment.seen()?.get("key"), Some(&124));
    let counted = deployment.stop()?;
    assert!(counted.get("refused_burst").is_some_and(|dropped| *dropped >= 1), "{counted:?}");
    Ok(())
}

#[test]
fn a_dry_run_refuses_nothing_and_counts_what_it_would() -> Result<()> {
    let mut deployment = deploy("observe", &tier("small", 15, 10), &[("key", "small")])?;
    let tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 40, |number| number % 2 == 0)?;
    assert_eq!((tally.admitted, tally.by_kernel, tally.by_proxy), (40, 0, 0), "{:?}", tally.other);
    let counted = deployment.stop()?;
    assert!(counted.get("observed").is_some_and(|observed| *observed >= 5), "{counted:?}");
    assert!(!counted.keys().any(|outcome| outcome.starts_with("refused")), "{counted:?}");
    Ok(())
}
