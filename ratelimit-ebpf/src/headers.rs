//! The headers of a client's segment, turned round into those of the host's answer.

use crate::frame::Frame;
use crate::packet::Packet;
use ratelimit_common::packet::{Network, Source, network};

pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV6_HEADER: usize = 40;
/// A TCP header without options.
pub(crate) const TCP_HEADER: usize = 20;
/// A TCP header with a time stamp and nothing else, as all common systems lay it out (RFC 7323, appendix A).
pub(crate) const TCP_HEADER_WITH_TIME: usize = 32;
/// The first four of its options' bytes: two blanks, the option's kind, its length.
const TIME_OPTION: u32 = u32::from_ne_bytes([1, 1, 8, 10]);
const TCP_PROTOCOL: u16 = 6;
const TIME_TO_LIVE: u8 = 64;

/// What the host answers.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// Sequence number: what the client awaits.
    pub(crate) sequence: u32,
    /// Acknowledgement number.
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
    /// Length of the TCP header: one of the two above.
    pub(crate) header: usize,
    /// Bytes of payload behind it.
    pub(crate) payload: usize,
    /// Their sum, as the Internet checksum adds them.
    pub(crate) payload_sum: u32,
}

/// Length of the TCP header of an answer to the segment at `tcp`: with a time stamp if that has one.
#[inline(always)]
pub(crate) fn tcp_header(tcp: Frame) -> usize {
    let has_time = tcp.u8(12).is_some_and(|offset| offset >> 4 >= 8) && tcp.u32(20) == Some(TIME_OPTION);
    if has_time { TCP_HEADER_WITH_TIME } else { TCP_HEADER }
}

/// The IP packet in `frame`, if its headers have the plain form that can be answered.
#[inline(always)]
pub(crate) fn plain_network(frame: Frame) -> Option<Network> {
    let network = network(frame).ok()?;
    if network.header != if network.is_ipv6 { IPV6_HEADER } else { IPV4_HEADER } {
        return None;
    }
    let (offset, header) = (Frame::settle(network.offset), Frame::settle(network.header));
    Some(Network { offset, header, is_ipv6: Frame::settle(network.is_ipv6.into()) != 0, ..network })
}

/// Makes the headers of `packet` those of `answer`. The packet has the answer's length already.
#[inline(always)]
pub(crate) fn turn<P: Packet>(packet: &P, network: &Network, answer: &Answer) -> Option<()> {
    let frame = packet.frame();
    let ip = frame.after(network.offset);
    let lacks_checksum = P::MAY_LACK_CHECKSUM && lacks_checksum(ip, network)?;
    swap::<6>(frame, 0, 6)?;
    let len = answer.header + answer.payload;
    let addresses = if network.is_ipv6 { turn_ipv6(ip, len)? } else { turn_ipv4(ip, len)? };
    let pseudo = addresses + u32::from(TCP_PROTOCOL.to_be()) + u32::from((len as u16).to_be());
    let tcp = ip.after(network.header);
    turn_tcp(tcp, answer)?;
    if lacks_checksum {
        return tcp.write(16, fold(pseudo));
    }
    let mut total = pseudo + u32::from(fold(answer.payload_sum)) + sum::<{ TCP_HEADER / 2 }>(tcp, 0)?;
    if answer.header == TCP_HEADER_WITH_TIME {
        total += sum_of_options(tcp)?;
    }
    tcp.write(16, !fold(total))
}

#[inline(always)]
fn sum_of_options(tcp: Frame) -> Option<u32> {
    sum::<{ (TCP_HEADER_WITH_TIME - TCP_HEADER) / 2 }>(tcp, TCP_HEADER)
}

/// True if the sender has left the checksum to the network card and there was none: then the field holds the sum
/// of the pseudo header, and the kernel finishes it where the packet leaves the machine.
#[inline(always)]
fn lacks_checksum(ip: Frame, network: &Network) -> Option<bool> {
    let addresses = if network.is_ipv6 { sum::<16>(ip, 8)? } else { sum::<4>(ip, 12)? };
    let len = (network.total - network.header) as u16;
    let pseudo = addresses + u32::from(TCP_PROTOCOL.to_be()) + u32::from(len.to_be());
    let tcp = ip.after(network.header);
    Some(tcp.u16(16)? == fold(pseudo))
}

/// Returns the sum of the addresses.
#[inline(always)]
fn turn_ipv4(ip: Frame, len: usize) -> Option<u32> {
    swap::<4>(ip, 12, 16)?;
    ip.write(2, ((IPV4_HEADER + len) as u16).to_be())?;
    ip.write(8, TIME_TO_LIVE)?;
    ip.write(10, 0_u16)?;
    let checksum = !fold(sum::<{ IPV4_HEADER / 2 }>(ip, 0)?);
    ip.write(10, checksum)?;
    sum::<4>(ip, 12)
}

/// Returns the sum of the addresses.
#[inline(always)]
fn turn_ipv6(ip: Frame, len: usize) -> Option<u32> {
    swap::<16>(ip, 8, 24)?;
    ip.write(4, (len as u16).to_be())?;
    ip.write(7, TIME_TO_LIVE)?;
    sum::<16>(ip, 8)
}

#[inline(always)]
fn turn_tcp(tcp: Frame, answer: &Answer) -> Option<()> {
    swap::<2>(tcp, 0, 2)?;
    tcp.write(4, answer.sequence.to_be())?;
    tcp.write(8, answer.acknowledged.to_be())?;
    tcp.write(12, [(answer.header as u8 / 4) << 4, answer.flags])?;
    tcp.write(16, 0_u32)?;
    if answer.header == TCP_HEADER_WITH_TIME {
        // The time that the client has echoed is one that it takes for fresh.
        swap::<4>(tcp, 24, 28)?;
    }
    Some(())
}

/// Makes the client's segment at `tcp` a reset of the host's side at `sequence`, the checksum changed in step
/// (RFC 1624).
#[inline(always)]
pub(crate) fn into_reset(tcp: Frame, sequence: u32) -> Option<()> {
    const RST: u8 = 4;
    let old = [tcp.u16(4)?, tcp.u16(6)?, tcp.u16(12)?];
    let checksum = tcp.u16(16)?;
    tcp.write(4, sequence.to_be())?;
    tcp.write(13, RST)?;
    let new = [tcp.u16(4)?, tcp.u16(6)?, tcp.u16(12)?];
    let gone: u32 = old.into_iter().map(|word| u32::from(!word)).sum();
    let come: u32 = new.into_iter().map(u32::from).sum();
    tcp.write(16, !fold(u32::from(!checksum) + gone + come))
}

#[inline(always)]
fn swap<const N: usize>(frame: Frame, a: usize, b: usize) -> Option<()> {
    let (a, b) = (frame.place::<[u8; N]>(a)?, frame.place::<[u8; N]>(b)?);
    // SAFETY: inside the packet, which this program alone has.
    let old_a = unsafe { a.read() };
    // SAFETY: as above.
    let old_b = unsafe { b.read() };
    // SAFETY: as above.
    unsafe { a.write(old_b) };
    // SAFETY: as above.
    unsafe { b.write(old_a) };
    Some(())
}

/// The sum of `N` 16-bit words as the Internet checksum adds them (RFC 1071).
#[inline(always)]
fn sum<const N: usize>(frame: Frame, offset: usize) -> Option<u32> {
    let words = frame.place::<[u16; N]>(offset)?;
    // SAFETY: inside the packet, which this program alone has.
    let words = unsafe { words.read_unaligned() };
    Some(words.into_iter().map(u32::from).sum())
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
