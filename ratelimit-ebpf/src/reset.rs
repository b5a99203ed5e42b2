//! The answer to a refused request: its segment, turned into the TCP reset that ends the connection.

use crate::frame::Frame;
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use ratelimit_common::packet::{Segment, Source, network};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const TCP_PROTOCOL: u32 = 6;
/// Data offset of a header without options, and the flags ACK and RST (RFC 9293, section 3.1).
const RESET_WITHOUT_OPTIONS: [u8; 2] = [5 << 4, 0x14];

/// Makes the packet the reset that answers `segment`. False if it has a form that is not answered, or could
/// not be made; it is then to be dropped.
#[inline(always)]
pub(crate) fn answer(ctx: &XdpContext, segment: &Segment<Frame>) -> bool {
    try_answer(ctx, segment).is_some()
}

#[inline(always)]
fn try_answer(ctx: &XdpContext, segment: &Segment<Frame>) -> Option<()> {
    let end = segment.sequence.wrapping_add(segment.payload.len() as u32);
    let frame = Frame::new(ctx);
    let network = network(frame).ok()?;
    if network.header != IPV4_HEADER && network.header != IPV6_HEADER {
        return None;
    }
    let surplus = frame.len() as i32 - (network.offset + network.header + TCP_HEADER) as i32;
    // SAFETY: the helper checks the length; all pointers into the packet are made anew below.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, -surplus) } != 0 {
        return None;
    }
    let frame = Frame::new(ctx);
    swap::<6>(frame, 0, 6)?;
    let ip = frame.after(network.offset);
    let sum = if network.header == IPV4_HEADER { answer_ipv4(ip)? } else { answer_ipv6(ip)? };
    answer_tcp(ip.after(network.header), end, sum)
}

/// Swaps the addresses, sets the length and the checksum; returns the pseudo header's sum.
#[inline(always)]
fn answer_ipv4(ip: Frame) -> Option<u32> {
    swap::<4>(ip, 12, 16)?;
    write(ip, 2, ((IPV4_HEADER + TCP_HEADER) as u16).to_be())?;
    write(ip, 8, 64_u8)?;
    write(ip, 10, 0_u16)?;
    let checksum = !fold(sum::<{ IPV4_HEADER / 2 }>(ip, 0)?);
    write(ip, 10, checksum)?;
    Some(sum::<4>(ip, 12)? + pseudo_tail())
}

/// Swaps the addresses and sets the length; returns the pseudo header's sum.
#[inline(always)]
fn answer_ipv6(ip: Frame) -> Option<u32> {
    swap::<16>(ip, 8, 24)?;
    write(ip, 4, (TCP_HEADER as u16).to_be())?;
    write(ip, 7, 64_u8)?;
    Some(sum::<16>(ip, 8)? + pseudo_tail())
}

/// Swaps the ports; the sequence number is the one that the client awaits, and its request is acknowledged.
#[inline(always)]
fn answer_tcp(tcp: Frame, end: u32, pseudo: u32) -> Option<()> {
    swap::<2>(tcp, 0, 2)?;
    let expected = tcp.u32(8)?;
    write(tcp, 4, expected)?;
    write(tcp, 8, end.to_be())?;
    write(tcp, 12, RESET_WITHOUT_OPTIONS)?;
    write(tcp, 14, 0_u16)?;
    write(tcp, 16, 0_u32)?;
    let checksum = !fold(pseudo + sum::<{ TCP_HEADER / 2 }>(tcp, 0)?);
    write(tcp, 16, checksum)
}

/// The part of the pseudo header that both versions share: the protocol and TCP's length.
#[inline(always)]
fn pseudo_tail() -> u32 {
    u32::from((TCP_PROTOCOL as u16).to_be()) + u32::from((TCP_HEADER as u16).to_be())
}

#[inline(always)]
fn write<T>(frame: Frame, offset: usize, value: T) -> Option<()> {
    let place = frame.place::<T>(offset)?;
    // SAFETY: inside the packet, which this program alone has.
    unsafe { place.write_unaligned(value) };
    Some(())
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
