//! Segments from a third host, which nobody sent who has the connection: they get nothing, charge nobody and disturb no
//! connection.

use crate::segments::{Connection, get};
use crate::wire::{complete_checksum, tap, tcp};
use crate::{number, plan, tier};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;
use xtask::client::Answer;
use xtask::deployment::{Deployment, PORT, Plan};
use xtask::lab::{Lab, Namespace, SIDE, SIDE_MAC, WIRE};

/// Somebody who can read every frame of the client's, and sends what he likes from a host of his own.
struct Intruder {
    ear: File,
    wire: File,
    // Held for its end.
    _host: Namespace,
}

impl Intruder {
    /// A deployment that guards his wire too, and him.
    fn beside(tables: &str, keys: &[(&str, &str)]) -> Result<(Deployment, Self)> {
        let lab = Lab::open()?;
        let host = lab.join_third()?;
        let deployment =
            Deployment::start_in(lab, &Plan { interfaces: &[WIRE, SIDE], tables, keys, ..plan() })?;
        let (ear, wire) = (tap(&deployment.lab.client, WIRE)?, tap(&host, WIRE)?);
        Ok((deployment, Self { ear, wire, _host: host }))
    }

    /// The next frame that carries `text`, as it was on the wire.
    fn overhear(&mut self, text: &str) -> Result<Vec<u8>> {
        let (start, mut buffer) = (Instant::now(), vec![0; 1 << 16]);
        while start.elapsed() < crate::SOON {
            match self.ear.read(&mut buffer) {
                Ok(count) => {
                    let frame = &buffer[..count];
                    if frame.windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
                        return Ok(frame.to_vec());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("no frame with {text:?}")
    }

    /// Sends `frame` with another sequence and acknowledgement number and from another port.
    fn send(&mut self, frame: &[u8], sequence: i32, acknowledged: i32, port: u16) -> Result<()> {
        let mut frame = frame.to_vec();
        frame[..6].copy_from_slice(&SIDE_MAC);
        let (start, _) = tcp(&frame).context("not TCP")?;
        for (at, by) in [(start + 4, sequence), (start + 8, acknowledged)] {
            let number = u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
            frame[at..at + 4].copy_from_slice(&number.wrapping_add_signed(by).to_be_bytes());
        }
        let client_port = u16::from_be_bytes([frame[start], frame[start + 1]]).wrapping_add(port);
        frame[start..start + 2].copy_from_slice(&client_port.to_be_bytes());
        complete_checksum(&mut frame);
        self.wire.write_all(&frame).context("cannot send a frame")
    }

    /// Checks that nothing from the API has come to his own host: what is sent to him is there already.
    fn has_got_nothing(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.wire.read(&mut buffer) {
                Ok(count) => {
                    let from = tcp(&buffer[..count]).map(|(start, _)| [buffer[start], buffer[start + 1]]);
                    ensure!(
                        from.is_none_or(|port| u16::from_be_bytes(port) != PORT),
                        "the intruder was answered"
                    );
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn ask(connection: &mut Connection, request: &str) -> Result<Answer> {
    connection.segment(request)?;
    connection.answer()
}

/// The key's bucket is full but for what its own requests took; then it is empty, and a refusal could be had.
fn segments_of_nobody(capacity: u64, is_over: bool) -> Result<()> {
    let (mut deployment, mut intruder) =
        Intruder::beside(&tier("small", 1_000, capacity), &[("key", "small"), ("other", "small")])?;
    let server = deployment.lab.host_v4(PORT);
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?)]);
    let other = get(&[&format!("X-API-Key: {}", deployment.key("other")?)]);
    let mut connection = Connection::open(&deployment.lab, server)?;
    ensure!(ask(&mut connection, &request)?.status == 200, "the first request");
    let frame = intruder.overhear(deployment.key("key")?)?;
    let len = request.len() as i32;
    // The connection awaits what comes `len` behind the frame. Data inside its window is TCP's own affair: who knows
    // the numbers so well can put bytes into any connection.
    let spoofs: [(i32, i32, u16); 8] = [
        (0, 0, 0),
        (len + 100_000_000, 0, 0),
        (len - 100_000_000, 0, 0),
        (-1_000_000, 0, 0),
        (len, 1_000_000, 0),
        (len, -2_000_000, 0),
        (len, 0, 1),
        (1_234_567, 7_654_321, 2),
    ];
    for _ in 0..10 {
        for (sequence, acknowledged, port) in spoofs {
            intruder.send(&frame, sequence, acknowledged, port)?;
        }
    }
    let answer = ask(&mut Connection::open(&deployment.lab, server)?, &other)?;
    ensure!(answer.status == 200, "{answer:?}");
    if is_over {
        // Over its limit: the connection, undisturbed, carries the refusal.
        ensure!(ask(&mut connection, &request)?.status == 429, "the second request");
    } else {
        let answer = ask(&mut connection, &request)?;
        ensure!((answer.status, number(&answer, "x-ratelimit-remaining")?) == (200, 998), "{answer:?}");
    }
    ensure!(deployment.seen()?.get("key") == Some(&if is_over { 1 } else { 2 }), "{:?}", deployment.seen()?);
    intruder.has_got_nothing()?;
    let counted = deployment.stop()?;
    let count = |name: &str| counted.get(name).copied().unwrap_or(0);
    ensure!(count("admitted") == if is_over { 2 } else { 3 }, "{counted:?}");
    ensure!(count("refused_burst") <= u64::from(is_over), "{counted:?}");
    ensure!(count("unexpected") + count("early") + count("retransmit") == 80, "{counted:?}");
    Ok(())
}

#[test]
fn they_charge_nobody_and_disturb_no_connection() -> Result<()> {
    segments_of_nobody(100, false)
}

#[test]
fn they_get_no_refusal() -> Result<()> {
    segments_of_nobody(1, true)
}

/// A whole exchange, sent again by somebody else when the connection is long gone.
#[test]
fn a_recorded_request_is_worth_nothing() -> Result<()> {
    let (mut deployment, mut intruder) = Intruder::beside(&tier("small", 1_000, 100), &[("key", "small")])?;
    let request = get(&[&format!("X-API-Key: {}", deployment.key("key")?), "Connection: close"]);
    let answer = ask(&mut Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?, &request)?;
    ensure!(answer.status == 200, "{answer:?}");
    let frame = intruder.overhear(deployment.key("key")?)?;
    for _ in 0..50 {
        intruder.send(&frame, 0, 0, 0)?;
    }
    let answer = ask(&mut Connection::open(&deployment.lab, deployment.lab.host_v4(PORT))?, &request)?;
    ensure!(number(&answer, "x-ratelimit-remaining")? == 998, "{answer:?}");
    intruder.has_got_nothing()?;
    let counted = deployment.stop()?;
    ensure!(counted.get("admitted") == Some(&2), "{counted:?}");
    Ok(())
}
