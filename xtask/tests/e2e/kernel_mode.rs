//! The kernel alone, before an API server that knows nothing of it.

use crate::segments::{Connection, get};
use crate::{ask, eventually, number, plan, send, tier};
use anyhow::{Context, Result, ensure};
use xtask::client::{Outcome, Request};
use xtask::deployment::{Deployment, Mode, PORT, Plan};

fn alone(tables: &str, keys: &[(&str, &str)]) -> Result<Deployment> {
    Deployment::start(&Plan { mode: Mode::Kernel, tables, keys, ..plan() })
}

#[test]
fn bursts_are_enforced_at_arrival() -> Result<()> {
    let mut deployment = alone(&tier("small", 1_000, 20), &[("key", "small")])?;
    let mut tally = send(&deployment, deployment.lab.host_v4(PORT), "key", 60, |_| false)?;
    tally.merge(send(&deployment, deployment.lab.host_v6(PORT), "key", 60, |_| false)?);
    ensure!(tally.other.is_empty(), "{:?}", tally.other);
    let allowed = tally.allowed(xtask::tally::Limits { per_hour: 1_000, burst: 20 });
    ensure!(allowed.contains(&tally.admitted), "{} admitted, {allowed:?} allowed", tally.admitted);
    ensure!(tally.by_kernel > 0 && tally.by_proxy == 0, "{tally:?}");
    ensure!(deployment.seen()?.get("key") == Some(&tally.admitted), "{tally:?}");
    let counted = deployment.stop()?;
    ensure!(counted.get("refused_burst") == Some(&tally.by_kernel), "{counted:?}");
    Ok(())
}

/// Not one too many, however fast they come: the kernel has the hour's ceiling itself.
#[test]
fn an_hour_is_an_hour() -> Result<()> {
    let deployment = alone(&tier("small", 30, 6_000), &[("key", "small")])?;
    let server = deployment.lab.host_v4(PORT);
    let tally = send(&deployment, server, "key", 80, |_| false)?;
    ensure!((tally.admitted, tally.by_kernel) == (30, 50), "{tally:?}");
    ensure!(deployment.seen()?.get("key") == Some(&30), "{:?}", deployment.seen()?);
    let refusal = tally.refusal.as_ref().context("no refusal was kept")?;
    ensure!(number(refusal, "x-ratelimit-limit")? == 30, "{refusal:?}");
    ensure!(number(refusal, "x-ratelimit-remaining")? == 0, "{refusal:?}");
    let wait = number(refusal, "retry-after")?;
    ensure!((3_590..=3_601).contains(&wait), "{wait} s to wait");

    deployment.change_keys(&["set", "key", "--requests-per-hour", "40"])?;
    let mut admitted = 30;
    eventually("the higher limit is in force", || {
        admitted += send(&deployment, server, "key", 1, |_| false)?.admitted;
        Ok(admitted > 30)
    })?;
    admitted += send(&deployment, server, "key", 30, |_| false)?.admitted;
    ensure!(admitted == 40, "{admitted} admitted");
    Ok(())
}

/// A client that does not wait for its answers gets them in order, and the refusal last.
#[test]
fn a_pipelined_request_over_the_limit_waits_its_turn() -> Result<()> {
    let deployment = alone(&tier("tiny", 1_000, 3), &[("key", "tiny")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let mut connection = Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?;
    for _ in 0..5 {
        connection.segment(&request)?;
    }
    let mut statuses = Vec::new();
    while let Outcome::Answered(answer) = connection.outcome()? {
        statuses.push(answer.status);
    }
    ensure!(statuses == [200, 200, 200, 429], "{statuses:?}");
    ensure!(deployment.seen()?.get("key") == Some(&3), "{:?}", deployment.seen()?);
    Ok(())
}

/// What the kernel does not know is the API server's own business.
#[test]
fn strangers_reach_the_api_server() -> Result<()> {
    let deployment = alone("", &[("key", "professional")])?;
    let stranger = Request::get(crate::PATH, &[("X-API-Key", "rl_0000000000000000000000000000")]);
    let answer = ask(&deployment, deployment.lab.host_v4(PORT), &stranger)?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(answer.header("x-ratelimit-limit") == Some("the API's own"), "{answer:?}");
    Ok(())
}
