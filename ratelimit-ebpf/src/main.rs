//! The kernel's programs: judge each request before the TCP stack sees it, and answer those that are refused.
//!
//! `ratelimit` does all of it as an XDP program in the driver. `answer` stands behind it at the entrance of the TCP
//! stack (TC), and writes the answers for which a driver's buffers have no room. `ratelimit_generic` is the first one
//! without the second, for generic XDP. `ratelimit_tc` does all of it at TC, for interfaces that take no XDP program.
//!
//! Ethernet -> IP -> TCP to a guarded port -> a request's head -> its key -> the key's slot -> the connection ->
//! the verdict. What can't be judged here is passed on and counted by its reason; the proxy decides it.
#![no_std]
#![no_main]
// The macros that make a program's entry make it public and undocumented.
#![allow(missing_docs, unreachable_pub)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod act;
mod bare;
mod closing;
mod connection;
mod frame;
mod headers;
mod judge;
mod maps;
mod packet;
mod reply;
mod scratch;

use act::Act;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::error;
use frame::Frame;
use judge::Place;
use packet::{Fate, Generic, Native, Packet};
use ratelimit_common::http::{MAX_KEY, MAX_SCAN, request_key};
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::{Segment, Source, parse};

#[xdp(frags)]
pub fn ratelimit(ctx: XdpContext) -> u32 {
    run(&Native(ctx))
}

#[xdp(frags)]
pub fn ratelimit_generic(ctx: XdpContext) -> u32 {
    run(&Generic(ctx))
}

#[classifier]
pub fn ratelimit_tc(ctx: TcContext) -> i32 {
    make_readable(&ctx, MOST_READ);
    run(&ctx)
}

#[classifier]
pub fn answer(ctx: TcContext) -> i32 {
    if !packet::is_handed_on(&ctx) {
        return ctx.finish(Fate::Pass);
    }
    make_readable(&ctx, MOST_HEADERS);
    let fate = match closing::unanswered(&ctx) {
        Some((segment, answer)) => act::perform(&ctx, &segment, &answer, Outcome::Closing).1,
        None => Fate::Pass,
    };
    ctx.finish(fate)
}

/// Bytes of a packet that are looked at in search of a key: its headers, the head, and a key at the end of it.
const MOST_READ: u32 = (MOST_HEADERS as usize + MAX_SCAN + MAX_KEY) as u32;

/// Bytes of headers at most, and the method behind them.
const MOST_HEADERS: u32 = 160;

/// Makes the first `most` bytes of the packet readable where they lie; a packet may be scattered.
#[inline(always)]
fn make_readable(ctx: &TcContext, most: u32) {
    let wanted = if ctx.len() < most { ctx.len() } else { most };
    if ctx.frame().len() < wanted as usize {
        // What cannot be made readable is skipped for want of bytes.
        let _ = ctx.pull_data(wanted);
    }
}

/// What becomes of `packet`.
#[inline(always)]
fn run<P: Packet>(packet: &P) -> P::Answer {
    let (outcome, fate) = match parse(packet.frame(), || packet.extent(), maps::is_guarded) {
        Ok(segment) => of_segment(packet, &segment),
        Err(skip) => (skip, Fate::Pass),
    };
    maps::count(outcome);
    if let Outcome::Fault = outcome {
        error!(packet, "a slot or a connection is outside its map: the packet is passed to the proxy");
    }
    packet.finish(fate)
}

#[inline(always)]
fn of_segment<P: Packet>(packet: &P, segment: &Segment<Frame>) -> (Outcome, Fate) {
    let (outcome, act) = match Place::of(segment) {
        Some(place) => of_connection(packet, segment, &place),
        None => (Outcome::Fault, Act::Pass),
    };
    act::perform(packet, segment, &act, outcome)
}

/// What a segment is and what is to be done about it, on the connection at `place`.
#[inline(always)]
fn of_connection<'a>(
    packet: &impl Packet,
    segment: &Segment<Frame>,
    place: &Place<'a>,
) -> (Outcome, Act<'a>) {
    if let Some(cell) = place.find()
        && cell.state().is_refused()
    {
        return (Outcome::Closing, closing::follow(segment, place, cell));
    }
    let key = request_key(segment, &maps::key_fields(), maps::secret());
    match key.and_then(|hash| judge::judge(packet, segment, place, hash)) {
        Ok(ruling) => ruling,
        Err(skip) if must_wait(skip) => (skip, Act::Drop),
        Err(skip) => (skip, Act::Pass),
    }
}

/// True if a request that was not judged for the reason `skip` must not reach the host. Where there is no proxy to
/// judge it in the kernel's place, it is dropped: TCP sends it again, when what stood in the way may be over.
#[inline(always)]
fn must_wait(skip: Outcome) -> bool {
    let may_be_over = matches!(
        skip,
        Outcome::Early | Outcome::Busy | Outcome::Contended | Outcome::FlowFull | Outcome::NoRoom
    );
    may_be_over && !maps::has_proxy()
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
