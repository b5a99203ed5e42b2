//! Starts that fail: one line says why, the exit code too, and nothing is left behind. And a start that does not
//! fail although the API is not there yet.

use crate::host::{Ended, Host, UPSTREAM};
use crate::segments::{Connection, get};
use crate::{SOON, eventually};
use anyhow::Result;
use std::net::TcpListener;
use std::path::Path;
use xtask::client::Answer;
use xtask::deployment::PORT;
use xtask::lab::WIRE;

/// Checks the one line and the code; nothing may be left of the attempt.
fn assert_failed(host: &Host, ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    let [line] = ended.said.as_slice() else { panic!("not one line: {ended:?}") };
    assert_eq!(ended.code, Some(code), "{line}");
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    assert!(!line.contains(&host.key), "a key is in {line:?}");
    Ok(())
}

fn assert_nothing_left(host: &Host) -> Result<()> {
    assert_eq!(host.attached()?, None, "a program is still attached");
    assert!(!host.is_listening()?, "somebody still listens");
    Ok(())
}

#[test]
fn a_wrong_configuration() -> Result<()> {
    let host = Host::prepare()?;
    host.configure("\"reset\"", "\"explode\"")?;
    assert_failed(&host, &host.fail(&[])?, 2, &["ratelimitd.toml:1: ", "action", "explode", "observe"])?;
    assert_nothing_left(&host)
}

#[test]
fn a_key_of_a_tier_that_does_not_exist() -> Result<()> {
    let host = Host::prepare()?;
    let keys = host.lab.directory().join("keys.toml");
    let text = std::fs::read_to_string(&keys)?;
    std::fs::write(&keys, text.replace("\"professional\"", "\"imaginary\""))?;
    assert_failed(&host, &host.fail(&[])?, 2, &["keys.toml", "imaginary", "professional"])?;
    assert_nothing_left(&host)
}

#[test]
fn an_interface_that_does_not_exist() -> Result<()> {
    let host = Host::prepare()?;
    host.configure(WIRE, "eth77")?;
    assert_failed(&host, &host.fail(&[])?, 1, &["kernel.interfaces", "eth77"])?;
    assert_nothing_left(&host)
}

#[test]
fn a_second_interface_that_does_not_exist() -> Result<()> {
    let host = Host::prepare()?;
    host.configure(&format!("\"{WIRE}\""), &format!("\"{WIRE}\", \"eth77\""))?;
    assert_failed(&host, &host.fail(&[])?, 1, &["kernel.interfaces", "eth77"])?;
    assert_nothing_left(&host)
}

#[test]
fn a_port_that_another_program_uses() -> Result<()> {
    let host = Host::prepare()?;
    let taken = host.lab.host_v6(PORT);
    let listener = host.lab.host.inside(|| Ok(TcpListener::bind(taken)?))?;
    assert_failed(&host, &host.fail(&[])?, 1, &["proxy.listen", &taken.to_string()])?;
    drop(listener);
    assert_nothing_left(&host)
}

#[test]
fn a_second_daemon_leaves_the_first_alone() -> Result<()> {
    let host = Host::prepare()?;
    let _first = host.start()?;
    let program = host.attached()?;
    let ended = host.fail(&[])?;
    assert!(program.is_some() && host.attached()? == program, "{program:?} was attached");
    assert_failed(&host, &ended, 1, &[])?;
    assert_eq!(ask(&host)?.status, 502);
    Ok(())
}

/// Without a kernel program nothing but the port stands between two daemons that each grant the whole limit.
#[test]
fn a_second_daemon_does_not_share_the_port() -> Result<()> {
    let host = Host::prepare()?;
    host.configure(&format!("[\"{WIRE}\"]"), "[]")?;
    let _first = host.start()?;
    assert_failed(&host, &host.fail(&["timeout", "10"])?, 1, &["proxy.listen"])?;
    Ok(())
}

#[test]
fn no_privileges() -> Result<()> {
    let host = Host::prepare()?;
    let ended = host.fail(&["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"])?;
    assert_failed(&host, &ended, 1, &["CAP_BPF", "CAP_NET_ADMIN", "not permitted"])?;
    assert_nothing_left(&host)
}

/// Puts another XDP program on the wire; returns its id.
fn attach_another(host: &Host) -> Result<Option<u64>> {
    host.lab.host.attach_pass()?;
    host.attached()
}

#[test]
fn an_interface_with_another_program() -> Result<()> {
    let host = Host::prepare()?;
    host.configure("[kernel]", "[kernel]\nattach = \"native\"")?;
    let other = attach_another(&host)?;
    assert_failed(&host, &host.fail(&[])?, 1, &[WIRE, "another XDP program"])?;
    assert!(other.is_some() && host.attached()? == other, "the other program {other:?} stays");
    assert!(!host.is_listening()?, "somebody still listens");
    Ok(())
}

#[test]
fn another_program_s_interface_is_enforced_behind_it() -> Result<()> {
    let host = Host::prepare()?;
    let other = attach_another(&host)?;
    let mut daemon = host.start()?;
    assert!(daemon.log().contains("attached to wire: TC"), "{}", daemon.log());
    // There is no API, and the request is charged all the same.
    assert_eq!(ask(&host)?.status, 502);
    assert!(daemon.stop(SOON)?.success());
    assert!(daemon.log().contains("admitted=1"), "{}", daemon.log());
    assert!(other.is_some() && host.attached()? == other, "the other program {other:?} stays");
    Ok(())
}

fn ask(host: &Host) -> Result<Answer> {
    let mut connection = Connection::open(&host.lab, host.lab.host_v4(PORT))?;
    connection.segment(get(&[&format!("X-API-Key: {}", host.key)]))?;
    connection.answer()
}

#[test]
fn an_api_that_comes_later_is_no_reason_to_fail() -> Result<()> {
    let host = Host::prepare()?;
    let mut daemon = host.start()?;
    let answer = ask(&host)?;
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("application/json")));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("999"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(body.pointer("/error/code").and_then(|code| code.as_str()), Some("upstream_unavailable"));
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let _api = host.lab.start("api", xtask, &["api-server", "--listen", UPSTREAM])?;
    eventually("the API is served", || Ok(ask(&host)?.status == 200))?;
    assert!(daemon.stop(SOON)?.success());
    assert_nothing_left(&host)
}
