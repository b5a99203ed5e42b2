//! ratelimitd as clients meet it: over a wire, with its kernel program attached, before a real API.
#![forbid(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it did not expect, in its helping functions too"
)]

mod actions;
mod agreement;
mod attach;
mod browser;
mod bucket;
mod crowd;
mod curl;
mod cycles;
mod dashboard;
mod flood;
mod heads;
mod host;
mod hour;
mod keep_alive;
mod kernel_mode;
mod keys;
mod lifecycle;
mod limits;
mod load;
mod metrics;
mod operator;
mod pipelines;
mod reply;
mod restart;
mod retransmission;
mod segments;
mod sender;
mod service;
mod spoof;
mod starts;
mod status;
mod stops;
mod takeover;
mod wire;

use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use xtask::client::{Answer, Client, Outcome, Request};
use xtask::deployment::{Deployment, Plan};
use xtask::tally::Tally;

const PATH: &str = "/courses?per_page=1";

/// For what happens soon, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn deploy(action: &str, tables: &str, keys: &[(&str, &str)]) -> Result<Deployment> {
    Deployment::start(&Plan { action, tables, keys, ..plan() })
}

/// What there is to change.
fn plan() -> Plan<'static> {
    Plan::new(env!("CARGO_BIN_EXE_xtask").as_ref())
}

/// A tier of this name, as the configuration has it.
fn tier(name: &str, per_hour: u64, burst: u64) -> String {
    format!("[tiers.{name}]\nrequests_per_hour = {per_hour}\nburst_per_minute = {burst}\n")
}

/// Sends requests one after the other, by one client. The kernel can judge a request unless it is `split`.
fn send(
    deployment: &Deployment,
    server: SocketAddr,
    key: &str,
    count: u64,
    split: fn(u64) -> bool,
) -> Result<Tally> {
    let headers = [("X-API-Key", deployment.key(key)?)];
    deployment.lab.client.inside(|| {
        let mut client = Client::new(server);
        let mut tally = Tally::default();
        for number in 0..count {
            let request = Request { split: split(number), ..Request::get(PATH, &headers) };
            let sent = Instant::now();
            let outcome = client.send(&request)?;
            tally.record(sent, Instant::now(), outcome);
        }
        Ok(tally)
    })
}

/// Asks once, by a connection of its own.
fn ask(deployment: &Deployment, server: SocketAddr, request: &Request<'_>) -> Result<Answer> {
    match deployment.lab.client.inside(|| Client::new(server).send(request))? {
        Outcome::Answered(answer) => Ok(answer),
        other => bail!("{other:?} in place of an answer"),
    }
}

/// The number in a header field.
fn number(answer: &Answer, name: &str) -> Result<u64> {
    match answer.header(name).map(str::parse) {
        Some(Ok(number)) => Ok(number),
        other => bail!("{name}: {other:?}"),
    }
}

/// Waits for what happens soon; an error if it does not.
fn eventually(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !happened()? {
        if start.elapsed() > SOON {
            bail!("{what}: not within {SOON:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
