//! A client's half of TCP, as far as a connection needs it to be established and to carry a request and its answer.
//!
//! The stack cannot be used for that: it does not tell the numbers that the flood's segments have to have.

use super::frames::Segment;
use super::sender::Tap;
use anyhow::{Context, Result, bail};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::time::{Duration, Instant};

/// Longest wait for what the host sends.
const PATIENCE: Duration = Duration::from_secs(5);

/// An established connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    port: u16,
    /// Of the next byte that is sent.
    sequence: u32,
    /// Of the next byte that the host sends.
    acknowledged: u32,
}

/// A segment from the host.
#[derive(Debug)]
struct Received {
    port: u16,
    is_syn: bool,
    is_reset: bool,
    sequence: u32,
    payload: Vec<u8>,
}

impl Connection {
    /// Opens a connection from `port` and sends `request` on it. The host's listener may take a client for one only when that has
    /// sent something.
    pub(super) fn establish(tap: &mut Tap, port: u16, request: &[u8]) -> Result<Self> {
        let sequence = u32::from(port) << 12;
        tap.send(&Segment { port, sequence, acknowledged: None, payload: &[] }.frame()?)?;
        let answer =
            receive(tap, port, |segment| segment.is_syn).context("the host does not take connections")?;
        let mut connection =
            Self { port, sequence: sequence + 1, acknowledged: answer.sequence.wrapping_add(1) };
        tap.send(&connection.segment(&[]).frame()?)?;
        connection.ask(tap, request)?;
        Ok(connection)
    }

    /// Sends a request and acknowledges its answer.
    pub(super) fn ask(&mut self, tap: &mut Tap, request: &[u8]) -> Result<()> {
        tap.send(&self.segment(request).frame()?)?;
        self.sequence = self.sequence.wrapping_add(request.len() as u32);
        let expected = self.acknowledged;
        let is_next = |segment: &Received| segment.sequence == expected && !segment.payload.is_empty();
        let answer = receive(tap, self.port, is_next).context("the host does not answer a request")?;
        self.acknowledged = self.acknowledged.wrapping_add(answer.payload.len() as u32);
        tap.send(&self.segment(&[]).frame()?)
    }

    /// The next segment.
    pub(super) const fn segment<'a>(&self, payload: &'a [u8]) -> Segment<'a> {
        Segment { port: self.port, sequence: self.sequence, acknowledged: Some(self.acknowledged), payload }
    }
}

/// Waits for a segment to `port` that is `wanted`.
fn receive(tap: &mut Tap, port: u16, wanted: impl Fn(&Received) -> bool) -> Result<Received> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let Some(segment) = tap.receive()?.and_then(parse).filter(|segment| segment.port == port) else {
            continue;
        };
        if segment.is_reset {
            bail!("the host has reset the connection");
        }
        if wanted(&segment) {
            return Ok(segment);
        }
    }
    bail!("nothing within {PATIENCE:?}")
}

/// Of a frame that is TCP over IPv4.
fn parse(frame: &[u8]) -> Option<Received> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Tcp(tcp))) = (packet.net, packet.transport) else {
        return None;
    };
    Some(Received {
        port: tcp.destination_port(),
        is_syn: tcp.syn(),
        is_reset: tcp.rst(),
        sequence: tcp.sequence_number(),
        payload: tcp.payload().to_vec(),
    })
}
