//! A stop: what has begun is answered, what is idle is closed, and nothing stays attached.

use crate::host::{Host, UPSTREAM};
use crate::segments::{Connection, get};
use crate::{SOON, eventually};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use xtask::client::Outcome;
use xtask::deployment::PORT;

/// An API that answers when it is told to.
struct SlowApi {
    arrived: Receiver<TcpStream>,
}

impl SlowApi {
    fn start(host: &Host) -> Result<Self> {
        let listener = host.lab.host.inside(|| Ok(TcpListener::bind(UPSTREAM)?))?;
        let (report, arrived) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let report = report.clone();
                std::thread::spawn(move || await_request(stream, &report));
            }
        });
        Ok(Self { arrived })
    }

    /// The next request that has arrived.
    fn request(&self) -> Result<TcpStream> {
        self.arrived.recv_timeout(SOON).context("no request arrives at the API")
    }
}

fn await_request(stream: TcpStream, report: &Sender<TcpStream>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    lines.find(|line| line.as_ref().is_ok_and(String::is_empty))?.ok()?;
    report.send(stream).ok()
}

fn respond(mut request: TcpStream) -> Result<()> {
    Ok(request.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")?)
}

#[test]
fn what_has_begun_is_answered_and_then_nothing_is_left() -> Result<()> {
    let host = Host::prepare()?;
    let api = SlowApi::start(&host)?;
    let mut daemon = host.start()?;
    let request = get(&[&format!("X-API-Key: {}", host.key)]);
    let servers = [host.lab.host_v4(PORT), host.lab.host_v6(PORT)];

    // One that has been served before, and stays open.
    let mut idle = Connection::open(&host.lab, servers[0])?;
    idle.segment(&request)?;
    respond(api.request()?)?;
    ensure!(idle.answer()?.status == 200, "served");
    // One that has never sent anything.
    let mut fresh = Connection::open(&host.lab, servers[1])?;

    let mut waiting = Vec::new();
    for server in servers.into_iter().cycle().take(4) {
        let mut connection = Connection::open(&host.lab, server)?;
        connection.segment(&request)?;
        waiting.push((connection, api.request()?));
    }
    daemon.signal(Signal::TERM)?;
    let outcome = idle.outcome()?;
    ensure!(matches!(outcome, Outcome::Closed), "{outcome:?} in place of an orderly end");
    eventually("nobody listens any more", || Ok(!host.is_listening()?))?;
    // Nobody owes it more than the news that it is too late.
    fresh.segment(&request)?;
    let outcome = fresh.outcome()?;
    ensure!(matches!(outcome, Outcome::Closed | Outcome::Reset), "{outcome:?}: served after the stop");
    for (mut connection, request) in waiting {
        respond(request)?;
        let answer = connection.answer()?;
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"late".as_slice()));
        let outcome = connection.outcome()?;
        ensure!(matches!(outcome, Outcome::Closed), "{outcome:?} after the last answer");
    }
    let status = daemon.wait(SOON)?;
    let log = daemon.log();
    assert!(status.success() && !log.contains("drain timeout"), "{status}: {log}");
    // The late one among them: the kernel goes on until the last answer is given.
    assert!(log.contains("admitted=6"), "{log}");
    assert_eq!(host.attached()?, None);
    Ok(())
}

/// A client that keeps its connection although it was told of the end does not delay the stop.
#[test]
fn a_client_that_does_not_hang_up_is_not_waited_for() -> Result<()> {
    let host = Host::prepare()?;
    host.configure("[proxy]\n", "[proxy]\ndrain_timeout_seconds = 3600\n")?;
    let api = SlowApi::start(&host)?;
    let mut daemon = host.start()?;
    let mut connection = Connection::open(&host.lab, host.lab.host_v4(PORT))?;
    connection.segment(get(&[&format!("X-API-Key: {}", host.key)]))?;
    respond(api.request()?)?;
    ensure!(connection.answer()?.status == 200, "served");
    assert!(daemon.stop(SOON)?.success());
    assert_eq!(host.attached()?, None);
    // Held until here.
    drop(connection);
    Ok(())
}

/// A second signal while requests are open changes nothing; the drain timeout ends what never ends.
#[test]
fn an_api_that_never_answers_does_not_prevent_the_stop() -> Result<()> {
    let host = Host::prepare()?;
    host.configure("[proxy]\n", "[proxy]\ndrain_timeout_seconds = 1\n")?;
    let api = SlowApi::start(&host)?;
    let mut daemon = host.start()?;
    let mut connection = Connection::open(&host.lab, host.lab.host_v4(PORT))?;
    connection.segment(get(&[&format!("X-API-Key: {}", host.key)]))?;
    let _never = api.request()?;
    daemon.signal(Signal::TERM)?;
    eventually("it is stopping", || Ok(daemon.log().contains("stopping")))?;
    daemon.signal(Signal::TERM)?;
    daemon.signal(Signal::HUP)?;
    assert!(daemon.wait(SOON)?.success(), "{}", daemon.log());
    assert!(matches!(connection.outcome()?, Outcome::Closed | Outcome::Reset));
    assert!(daemon.log().contains("drain timeout"), "{}", daemon.log());
    assert_eq!(host.attached()?, None);
    Ok(())
}
