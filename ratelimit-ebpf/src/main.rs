//! The XDP program: judges each request before the TCP stack sees it.
//!
//! Ethernet -> IP -> TCP to a guarded port -> a request's head -> its key -> the key's slot -> the verdict. What
//! can't be judged here is passed on and counted by its reason; the proxy decides it.
#![no_std]
#![no_main]
// The macro that makes the program's entry makes it public and undocumented.
#![allow(missing_docs, unreachable_pub)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod frame;
mod judge;
mod maps;
mod reset;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::error;
use frame::Frame;
use ratelimit_common::http::{is_request, key_hash};
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::{Segment, parse};

#[xdp]
fn ratelimit(ctx: XdpContext) -> u32 {
    let outcome = match request(&ctx) {
        Ok((segment, hash)) => {
            let outcome = judge::judge(&segment, hash);
            if is_refusal(outcome) {
                maps::count(outcome);
                return refuse(&ctx, &segment);
            }
            outcome
        }
        Err(skip) => skip,
    };
    maps::count(outcome);
    if let Outcome::Fault = outcome {
        error!(&ctx, "a key's slot is outside the slot map: the request is passed to the proxy");
    }
    XDP_PASS
}

/// The request in the packet and the hash of its key, or why there is none to judge.
#[inline(always)]
fn request(ctx: &XdpContext) -> Result<(Segment<Frame>, u64), Outcome> {
    let segment = parse(Frame::new(ctx), maps::is_guarded)?;
    if !is_request(segment.payload) {
        return Err(Outcome::NotRequest);
    }
    let hash = key_hash(segment.payload, &maps::key_fields(), maps::secret())?;
    Ok((segment, hash))
}

#[inline(always)]
fn is_refusal(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::RefusedBurst | Outcome::RefusedBlocked)
}

/// Does with a refused request what the configuration says.
#[inline(always)]
fn refuse(ctx: &XdpContext, segment: &Segment<Frame>) -> u32 {
    if maps::action() == Action::Reset as u32 && reset::answer(ctx, segment) { XDP_TX } else { XDP_DROP }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
