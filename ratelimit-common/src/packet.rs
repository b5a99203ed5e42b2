//! From a frame to the TCP segment in it, over any source of bytes: a packet in the kernel, a slice in tests.

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
    /// Zero, of which the verifier does not know that it is, for the same reason.
    #[inline(always)]
    fn zero(&self) -> u64 {
        0
    }
}

/// A TCP segment on its way to a guarded port.
#[derive(Clone, Copy, Debug)]
pub struct Segment<S> {
    /// The connection.
    pub endpoints: Endpoints,
    /// Whether it came by IPv6.
    pub is_ipv6: bool,
    /// Its flags, as TCP has them.
    pub flags: u8,
    /// Sequence number of the first payload byte.
    pub sequence: u32,
    /// The sequence number that the client awaits.
    pub acknowledged: u32,
    /// Bytes of payload, as the IP header has it.
    pub len: u32,
    /// The payload, or as much of it as can be read here.
    pub payload: S,
}

impl<S> Segment<S> {
    /// The sequence number behind it.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        let flag = u32::from(self.flags & (TCP_FIN | TCP_SYN) != 0);
        self.sequence.wrapping_add(self.len).wrapping_add(flag)
    }

    /// True if it neither opens nor closes nor resets a connection.
    #[inline(always)]
    pub const fn is_plain(&self) -> bool {
        self.flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK) == TCP_ACK
    }

    /// True if it has any of these flags.
    #[inline(always)]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

const ETH_IPV4: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
const ETH_VLAN: u16 = 0x8100;
const ETH_QINQ: u16 = 0x88a8;
const IP_TCP: u8 = 6;
/// The sender has no more to say (RFC 9293, section 3.1, as those that follow).
pub const TCP_FIN: u8 = 0x01;
/// Opens a connection.
pub const TCP_SYN: u8 = 0x02;
/// Resets it.
pub const TCP_RST: u8 = 0x04;
/// Hands what came so far to the receiver.
pub const TCP_PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const TCP_ACK: u8 = 0x10;

/// Finds the TCP segment in a frame, if it goes to a port that `guarded` knows. `extent` tells the frame's length;
/// `frame` may have less of it, if the rest lies elsewhere.
#[inline(always)]
pub fn parse<S: Source>(
    frame: S,
    extent: impl Fn() -> usize,
    guarded: impl Fn(u16) -> bool,
) -> Result<Segment<S>, Outcome> {
    let network = network(frame)?;
    let at_ip = frame.after(network.offset);
    let tcp = at_ip.after(network.header);
    let host_port = u16::from_be(tcp.u16(2).ok_or(Outcome::Malformed)?);
    if !guarded(host_port) {
        return Err(Outcome::OtherPort);
    }
    let [offset, flags] = tcp.u16(12).ok_or(Outcome::Malformed)?.to_ne_bytes();
    let header = usize::from(offset >> 4) * 4;
    if header < 20 || network.header + header > network.total {
        return Err(Outcome::Malformed);
    }
    let len = network.total - network.header - header;
    // Bytes behind the end of the IP packet are nobody's: a frame that has some is either padded, and then
    // too short for a request, or odd.
    if at_ip.len() != network.total {
        let extent = extent() - network.offset;
        if extent < network.total || (len > 0 && extent > network.total) {
            return Err(Outcome::Malformed);
        }
    }
    let client_port = u16::from_be(tcp.u16(0).ok_or(Outcome::Malformed)?);
    let sequence = u32::from_be(tcp.u32(4).ok_or(Outcome::Malformed)?);
    let acknowledged = u32::from_be(tcp.u32(8).ok_or(Outcome::Malformed)?);
    let endpoints = Endpoints { client: network.client, host: network.host, client_port, host_port };
    let is_ipv6 = S::settle(network.is_ipv6.into()) != 0;
    let payload = frame.after(S::settle(network.offset + network.header + header));
    Ok(Segment { endpoints, is_ipv6, flags, sequence, acknowledged, len: len as u32, payload })
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
    /// Its version is 6, not 4.
    pub is_ipv6: bool,
    /// The sender's address, as [`Endpoints`] has it.
    pub client: [u64; 2],
    /// The receiver's address.
    pub host: [u64; 2],
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
    let (client, host) = ([client.into(), packet.zero()], [host.into(), packet.zero()]);
    Ok(Network { offset, header, total: total.into(), is_ipv6: false, client, host })
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
        is_ipv6: true,
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
