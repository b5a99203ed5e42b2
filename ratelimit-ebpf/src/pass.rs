//! The empty program: passes every packet. The yardstick for the other one's cost, and what the far end of a
//! veth pair needs before it takes packets that were sent by XDP.
#![no_std]
#![no_main]
// The macro that makes the program's entry makes it public and undocumented.
#![allow(missing_docs, unreachable_pub)]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

#[xdp(frags)]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
