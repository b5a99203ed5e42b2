//! The kernel's 429: the whole answer, and a clean end of the connection on both sides.

use crate::{PATH, deploy, eventually, number, tier};
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use xtask::client::{Answer, Client, Outcome, Request};
use xtask::deployment::{Deployment, PORT};

/// Sends a request by a connection of its own until one is refused; returns the refusal.
fn until_refused(deployment: &Deployment, server: SocketAddr, request: &Request<'_>) -> Result<Answer> {
    deployment.lab.client.inside(|| {
        for _ in 0..2_000 {
            match Client::new(server).send(request)? {
                Outcome::Answered(answer) if answer.status == 429 => return Ok(answer),
                Outcome::Answered(answer) => ensure!(answer.status == 200, "{answer:?}"),
                other => anyhow::bail!("{other:?}"),
            }
        }
        anyhow::bail!("never refused")
    })
}

/// No connection to the API's port is left on either side.
fn all_closed(deployment: &Deployment) -> Result<()> {
    let (client, host) = (&deployment.lab.client, &deployment.lab.host);
    eventually("all connections are closed", || {
        let here = host.output("ss", &["-tnaH", "state", "connected", "sport", "=", ":8080"])?;
        let there = client.output("ss", &["-tnaH", "state", "connected", "dport", "=", ":8080"])?;
        Ok(here.trim().is_empty() && there.lines().all(|line| line.contains("TIME-WAIT")))
    })
}

#[test]
fn a_new_connection_gets_the_answer_and_its_end() -> Result<()> {
    let mut deployment = deploy("reply", &tier("small", 1_000, 10), &[("key", "small")])?;
    let headers = [("X-API-Key", deployment.key("key")?)];
    for server in [deployment.lab.host_v4(PORT), deployment.lab.host_v6(PORT)] {
        let answer = until_refused(&deployment, server, &Request::get(PATH, &headers))?;
        ensure!(answer.header("date").is_none(), "the proxy has answered: {answer:?}");
        ensure!(answer.header("connection") == Some("close"), "{answer:?}");
        ensure!(number(&answer, "x-ratelimit-limit")? == 1_000, "{answer:?}");
    }
    all_closed(&deployment)?;
    let counted = deployment.stop()?;
    ensure!(counted.get("refused_burst").is_some_and(|count| *count >= 2), "{counted:?}");
    Ok(())
}
