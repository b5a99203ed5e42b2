//! The frames of a flood, made before it starts.

use super::handshake::Connection;
use super::host::{Host, PORT};
use super::network::{HOST, HOST_MAC, OUTSIDE, OUTSIDE_MAC};
use super::sender::Tap;
use super::{Kind, Plan};
use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The first port that is sent from.
const FIRST_PORT: u16 = 10_000;

const WINDOW: u16 = 65_535;
const HOPS: u8 = 64;

/// Whole frames, which are sent again and again.
#[derive(Debug)]
pub(super) struct Frames(pub(super) Vec<Vec<u8>>);

/// A segment from outside to the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) port: u16,
    pub(super) sequence: u32,
    /// `None` for one that opens a connection.
    pub(super) acknowledged: Option<u32>,
    pub(super) payload: &'a [u8],
}

impl Segment<'_> {
    pub(super) fn frame(&self) -> Result<Vec<u8>> {
        let builder = PacketBuilder::ethernet2(OUTSIDE_MAC, HOST_MAC)
            .ipv4(OUTSIDE.octets(), HOST.octets(), HOPS)
            .tcp(self.port, PORT, self.sequence, WINDOW);
        let builder = match self.acknowledged {
            None => builder.syn(),
            Some(acknowledged) if self.payload.is_empty() => builder.ack(acknowledged),
            Some(acknowledged) => builder.ack(acknowledged).psh(),
        };
        let mut frame = Vec::with_capacity(builder.size(self.payload.len()));
        builder.write(&mut frame, self.payload).context("cannot make a frame")?;
        Ok(frame)
    }
}

/// A request as a client sends it.
pub(super) fn request(key: &str) -> Vec<u8> {
    format!("GET /courses HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nX-API-Key: {key}\r\n\r\n").into_bytes()
}

impl Frames {
    /// One for each connection. Has to be called where the flood comes from.
    pub(super) fn make(plan: &Plan<'_>, host: &Host) -> Result<Self> {
        let ports = (0..plan.connections).map(|number| FIRST_PORT.saturating_add(number));
        let mut random = SmallRng::seed_from_u64(1);
        let frames = match plan.kind {
            Kind::Requests => requests(ports, host),
            Kind::Syn => ports
                .map(|port| {
                    Segment { port, sequence: random.random(), acknowledged: None, payload: &[] }.frame()
                })
                .collect(),
            Kind::Ack => ports
                .map(|port| {
                    let acknowledged = Some(random.random());
                    Segment { port, sequence: random.random(), acknowledged, payload: &[] }.frame()
                })
                .collect(),
        };
        frames.map(Self)
    }
}

/// The next segment of each of some established connections: a request of a key that has used up what it had.
fn requests(ports: impl Iterator<Item = u16>, host: &Host) -> Result<Vec<Vec<u8>>> {
    let mut tap = Tap::open()?;
    let (ample, scant) = (request(host.ample.reveal()), request(host.scant.reveal()));
    let mut is_first = true;
    let frame = |port| {
        let mut connection = Connection::establish(&mut tap, port, &ample)?;
        if std::mem::take(&mut is_first) {
            connection.ask(&mut tap, &scant).context("the only request of a key")?;
        }
        connection.segment(&scant).frame()
    };
    ports.map(frame).collect()
}
