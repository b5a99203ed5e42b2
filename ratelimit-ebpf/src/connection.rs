//! What the host's TCP knows of the connection that a segment claims to belong to.
//!
//! Nothing is charged to anybody and nothing is answered unless the segment is the next one that the host awaits
//! on an established connection. Whoever can send that segment has seen the host's sequence numbers, so he has
//! the address that he says he has: nobody can be made to receive answers, or to pay, who did not ask.

use crate::frame::Frame;
use crate::maps;
use crate::packet::Packet;
use aya_ebpf::bindings::{
    bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
};
use aya_ebpf::helpers::{
    bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_request_sock, bpf_skc_to_tcp_sock,
};
use core::ffi::c_void;
use ratelimit_common::packet::Segment;

/// `TCP_ESTABLISHED` of the kernel's `bpf.h`.
const ESTABLISHED: u32 = 1;
/// `BPF_F_CURRENT_NETNS`: the connection is looked up where the packet's interface is.
const CURRENT_NETWORK: u64 = u64::MAX;

/// An established connection, of which a segment is the next.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    /// Zero if the host has sent all that it has written, the client has it, and the application has read all
    /// that came: nothing is under way in either direction.
    pub(crate) under_way: u32,
    /// Bytes that came on it before this segment.
    pub(crate) received: u64,
}

/// Why a segment is not the next one of an established connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is no such connection, or the segment is old or implausible.
    Stray,
    /// There is one, and something before the segment has not come yet.
    Early,
}

/// The connection of `segment`, if it is established and awaits just this segment.
#[inline(always)]
pub(crate) fn awaiting(packet: &impl Packet, segment: &Segment<Frame>) -> Result<Connection, Miss> {
    let mut tuple = tuple(segment);
    let size = if segment.is_ipv6 { size_of::<Tuple6>() } else { size_of::<Tuple4>() };
    // SAFETY: the tuple is initialised as far as its size says.
    let socket =
        unsafe { bpf_skc_lookup_tcp(packet.as_ptr(), &raw mut tuple, size as u32, CURRENT_NETWORK, 0) };
    if socket.is_null() {
        return Err(Miss::Stray);
    }
    // SAFETY: a socket that the kernel has just found, referenced until it is released below.
    let full = unsafe { bpf_skc_to_tcp_sock(socket.cast()) };
    let connection = if full.is_null() {
        // SAFETY: as above.
        let request = unsafe { bpf_skc_to_tcp_request_sock(socket.cast()) };
        if request.is_null() { Err(Miss::Stray) } else { shaken(request.cast(), segment) }
    } else {
        // SAFETY: as above.
        let state = unsafe { (*socket).state };
        if state == ESTABLISHED { established(full.cast(), segment) } else { Err(Miss::Stray) }
    };
    // SAFETY: as above, and not used any more.
    unsafe { bpf_sk_release(socket.cast()) };
    connection
}

/// A full socket.
#[inline(always)]
fn established(socket: *const c_void, segment: &Segment<Frame>) -> Result<Connection, Miss> {
    let at = maps::socket_offsets();
    let awaited = read::<u32>(socket, at.rcv_nxt);
    let (acknowledged, sent) = (read::<u32>(socket, at.snd_una), read::<u32>(socket, at.snd_nxt));
    let is_plausible = segment.acknowledged.wrapping_sub(acknowledged) <= sent.wrapping_sub(acknowledged);
    if !is_plausible {
        return Err(Miss::Stray);
    }
    next(segment, awaited)?;
    let unread = awaited ^ read::<u32>(socket, at.copied_seq);
    let unsent = sent ^ read::<u32>(socket, at.write_seq);
    let under_way = unread | unsent | (sent ^ segment.acknowledged);
    Ok(Connection { under_way, received: read::<u64>(socket, at.bytes_received) })
}

/// Whether `segment` is the one that starts at the `awaited` number.
#[inline(always)]
fn next(segment: &Segment<Frame>, awaited: u32) -> Result<(), Miss> {
    match segment.sequence.wrapping_sub(awaited) as i32 {
        0 => Ok(()),
        ahead if ahead > 0 => Err(Miss::Early),
        _ => Err(Miss::Stray),
    }
}

/// A connection of which the host has not yet made a full socket: the handshake is over with this segment at the
/// latest, since it acknowledges the host's initial sequence number.
#[inline(always)]
fn shaken(request: *const c_void, segment: &Segment<Frame>) -> Result<Connection, Miss> {
    let at = maps::socket_offsets();
    let awaited = read::<u32>(request, at.rcv_isn).wrapping_add(1);
    let sent = read::<u32>(request, at.snt_isn).wrapping_add(1);
    if sent != segment.acknowledged {
        return Err(Miss::Stray);
    }
    next(segment, awaited)?;
    Ok(Connection { under_way: 0, received: 0 })
}

/// Reads a field of one of the kernel's own structures.
#[inline(always)]
fn read<T>(structure: *const c_void, offset: u32) -> T {
    let field = structure.wrapping_byte_add(offset as usize).cast::<T>();
    // SAFETY: the verifier knows the type of the structure, and that a field of this size is at this offset.
    unsafe { field.read_volatile() }
}

#[inline(always)]
fn tuple(segment: &Segment<Frame>) -> bpf_sock_tuple {
    let ends = &segment.endpoints;
    let (sport, dport) = (ends.client_port.to_be(), ends.host_port.to_be());
    let ipv6 = Tuple6 { saddr: halves(ends.client), daddr: halves(ends.host), sport, dport };
    let mut tuple = bpf_sock_tuple { __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 { ipv6 } };
    if !segment.is_ipv6 {
        let (saddr, daddr) = (ends.client[0] as u32, ends.host[0] as u32);
        tuple.__bindgen_anon_1.ipv4 = Tuple4 { saddr, daddr, sport, dport };
    }
    tuple
}

#[inline(always)]
const fn halves(words: [u64; 2]) -> [u32; 4] {
    let [first, second] = words;
    [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32]
}
