//! A client that goes on although the kernel refuses it: nobody else may notice.

use crate::host::{Host, UPSTREAM};
use crate::segments::{Connection, get};
use anyhow::{Result, ensure};
use std::path::Path;
use xtask::client::Outcome;
use xtask::deployment::PORT;

/// A connection whose only request was refused before the TCP stack saw it is none that the proxy has to hold.
fn refused_requests_take_nobodys_place(action: &str) -> Result<()> {
    const ROOM: u64 = 50;
    let host = Host::prepare()?;
    host.configure("\"reset\"", &format!("{action:?}"))?;
    host.configure("[proxy]\n", &format!("[proxy]\nmax_connections = {ROOM}\n"))?;
    let flooding = host.add_key(&["flood", "--tier", "professional", "--requests-per-hour", "1"])?;
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let mut api = host.lab.start("api", xtask, &["api-server", "--listen", UPSTREAM])?;
    api.wait_until(crate::SOON, |api| Ok(api.log().contains("serving")))?;
    let _daemon = host.start()?;
    let ask = |key: &str| {
        let mut connection = Connection::open(&host.lab, host.lab.host_v4(PORT))?;
        connection.segment(get(&[&format!("X-API-Key: {key}")]))?;
        Ok::<_, anyhow::Error>(connection)
    };
    ensure!(ask(&flooding)?.answer()?.status == 200, "the hour's only request");
    let mut flood = Vec::new();
    for _ in 0..4 * ROOM {
        let mut connection = ask(&flooding)?;
        if action == "reset" {
            let outcome = connection.outcome()?;
            ensure!(matches!(outcome, Outcome::Reset), "{outcome:?} in place of a reset");
        }
        flood.push(connection);
    }
    let answer = ask(&host.key)?.answer()?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(())
}

#[test]
fn reset_requests_take_nobodys_place() -> Result<()> {
    refused_requests_take_nobodys_place("reset")
}

#[test]
fn dropped_requests_take_nobodys_place() -> Result<()> {
    refused_requests_take_nobodys_place("drop")
}
