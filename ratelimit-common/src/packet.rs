//! From a frame to the TCP payload in it, over any source of bytes: a packet in the kernel, a slice in tests.

use crate::flow::Endpoints;
use crate::outcome::Outcome;

/// Bytes that can be read at an offset, if they are there.
pub trait Source: Copy {
    /// Number of bytes.
    fn len(&self) -> usize;
    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// One byte.
    fn u8(&self, offset: usize) -> Option<u8>;
    /// Two bytes as they lie in memory, in the order of the machine.
    fn u16(&self, offset: usize) -> Option<u16>;
    /// Four bytes, likewise.
    fn u32(&self, offset: usize) -> Option<u32>;
    /// Eight bytes, likewise.
    fn u64(&self, offset: usize) -> Option<u64>;
    /// Thirty-two bytes, likewise.
    fn block(&self, offset: usize) -> Option<[u64; 4]>;
    /// What follows after `offset` bytes, none if there are fewer.
    fn after(&self, offset: usize) -> Self;
    /// The same offset, below 4,096, of which the kernel's verifier forgets how it came about: what follows
    /// is then verified once and not once for each way that led there.
    #[inline(always)]
    fn settle(offset: usize) -> usize {
        offset
    }
}

/// A TCP segment with payload, on its way to a guarded port.
#[derive(Clone, Copy, Debug)]
pub struct Segment<S> {
    /// The connection.
    pub endpoints: Endpoints,
    /// Sequence number of the first payload byte.
    pub sequence: u32,
    /// The payload, not empty.
    pub payload: S,
}

const ETH_IPV4: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
const ETH_VLAN: u16 = 0x8100;
const ETH_QINQ: u16 = 0x88a8;
const IP_TCP: u8 = 6;
const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;

/// Longest segment that is judged, in bytes. Bounds every offset, which the kernel's verifier wants to see.
pub const MAX_SEGMENT: usize = 16 * 1024;

/// Finds the TCP payload of a frame, if it goes to a port that `guarded` knows.
#[inline(always)]
pub fn parse<S: Source>(frame: S, guarded: impl Fn(u16) -> bool) -> Result<Segment<S>, Outcome> {
    let network = network(frame)?;
    let at_ip = frame.after(network.offset);
    let segment = at_ip.after(network.header);
    let host_port = u16::from_be(segment.u16(2).ok_or(Outcome::Malformed)?);
    if !guarded(host_port) {
        return Err(Outcome::OtherPort);
    }
    let offset_and_flags = segment.u16(12).ok_or(Outcome::Malformed)?.to_ne_bytes();
    if offset_and_flags[1] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK) != TCP_ACK {
        return Err(Outcome::Control);
    }
    let header = usize::from(offset_and_flags[0] >> 4) * 4;
    // Bytes behind the end of the IP packet are nobody's: a frame that has some is either padded, and then
    // too short for a request, or odd.
    if header < 20 || network.header + header > network.total || at_ip.len() < network.total {
        return Err(Outcome::Malformed);
    }
    if network.header + header == network.total {
        return Err(Outcome::NoPayload);
    }
    if at_ip.len() != network.total || network.total > MAX_SEGMENT {
        return Err(Outcome::Malformed);
    }
    let client_port = u16::from_be(segment.u16(0).ok_or(Outcome::Malformed)?);
    let sequence = u32::from_be(segment.u32(4).ok_or(Outcome::Malformed)?);
    let endpoints = Endpoints { client: network.client, host: network.host, client_port, host_port };
    let payload = frame.after(S::settle(network.offset + network.header + header));
    Ok(Segment { endpoints, sequence, payload })
}

/// Finds the IP packet in a frame.
#[inline(always)]
pub fn network<S: Source>(frame: S) -> Result<Network, Outcome> {
    let (offset, ethertype) = skip_ethernet(frame)?;
    match ethertype {
        ETH_IPV4 => ipv4(frame.after(offset), offset),
        ETH_IPV6 => ipv6(frame.after(offset), offset),
        _ => Err(Outcome::NotIp),
    }
}

/// Skips Ethernet and up to two VLAN tags.
#[inline(always)]
fn skip_ethernet<S: Source>(frame: S) -> Result<(usize, u16), Outcome> {
    let mut offset = 14;
    let mut ethertype = u16::from_be(frame.u16(12).ok_or(Outcome::Malformed)?);
    for _ in 0..2 {
        if ethertype == ETH_VLAN || ethertype == ETH_QINQ {
            ethertype = u16::from_be(frame.u16(offset + 2).ok_or(Outcome::Malformed)?);
            offset += 4;
        }
    }
    Ok((offset, ethertype))
}

/// An IP packet with TCP in it, on its way from a client to the host.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Its place in the frame, in bytes.
    pub offset: usize,
    /// Length of its header, in bytes.
    pub header: usize,
    /// Length of all of it as it says itself, in bytes.
    pub total: usize,
    client: [u64; 2],
    host: [u64; 2],
}

#[inline(always)]
fn ipv4<S: Source>(packet: S, offset: usize) -> Result<Network, Outcome> {
    let version_and_length = packet.u8(0).ok_or(Outcome::Malformed)?;
    let total = u16::from_be(packet.u16(2).ok_or(Outcome::Malformed)?);
    let fragment = u16::from_be(packet.u16(6).ok_or(Outcome::Malformed)?);
    let protocol = packet.u8(9).ok_or(Outcome::Malformed)?;
    let client = packet.u32(12).ok_or(Outcome::Malformed)?;
    let host = packet.u32(16).ok_or(Outcome::Malformed)?;
    let header = usize::from(version_and_length & 0xf) * 4;
    if version_and_length >> 4 != 4 || header < 20 {
        return Err(Outcome::Malformed);
    }
    // More fragments to come, or not the first.
    if fragment & 0x3fff != 0 {
        return Err(Outcome::Fragment);
    }
    if protocol != IP_TCP {
        return Err(Outcome::NotTcp);
    }
    Ok(Network { offset, header, total: total.into(), client: [client.into(), 0], host: [host.into(), 0] })
}

#[inline(always)]
fn ipv6<S: Source>(packet: S, offset: usize) -> Result<Network, Outcome> {
    let version = packet.u8(0).ok_or(Outcome::Malformed)? >> 4;
    let payload = u16::from_be(packet.u16(4).ok_or(Outcome::Malformed)?);
    let protocol = packet.u8(6).ok_or(Outcome::Malformed)?;
    if version != 6 {
        return Err(Outcome::Malformed);
    }
    if protocol != IP_TCP {
        return Err(Outcome::NotTcp);
    }
    let addresses = packet.block(8).ok_or(Outcome::Malformed)?;
    let [client_high, client_low, host_high, host_low] = addresses;
    Ok(Network {
        offset,
        header: 40,
        total: 40 + usize::from(payload),
        client: [client_high, client_low],
        host: [host_high, host_low],
    })
}

impl Source for &[u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn u8(&self, offset: usize) -> Option<u8> {
        self.get(offset).copied()
    }

    fn u16(&self, offset: usize) -> Option<u16> {
        self.get(offset..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        self.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        self.get(offset..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    fn block(&self, offset: usize) -> Option<[u64; 4]> {
        Some([self.u64(offset)?, self.u64(offset + 8)?, self.u64(offset + 16)?, self.u64(offset + 24)?])
    }

    fn after(&self, offset: usize) -> Self {
        self.get(offset..).unwrap_or_default()
    }
}
