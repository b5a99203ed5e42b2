//! The packet that a program is called for, from either of the places where the kernel calls one.

use crate::frame::Frame;
use crate::maps;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::tcx_action_base::{TCX_DROP, TCX_NEXT};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_skb_change_tail, bpf_skb_store_bytes, bpf_xdp_adjust_head, bpf_xdp_adjust_meta,
    bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use core::ffi::c_void;
use ratelimit_common::packet::Source;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The host's TCP gets it.
    Pass,
    /// Nobody gets it.
    Drop,
    /// It goes out where it came in.
    Return,
}

/// A packet.
pub(crate) trait Packet: EbpfContext {
    /// Whether a packet from this very machine may come with an unfinished checksum, to be finished on its way out.
    const MAY_LACK_CHECKSUM: bool;

    /// What the kernel wants to be told.
    type Answer;

    /// Its bytes; a long packet's first ones. Any change of its length makes an earlier frame invalid.
    fn frame(&self) -> Frame;

    /// Its length in bytes.
    fn extent(&self) -> usize;

    /// Makes it `len` bytes long. False if there is no room: then nothing has changed.
    fn resize(&self, len: usize) -> bool;

    /// Copies `len` bytes to `offset` in it.
    fn store(&self, offset: usize, bytes: *const u8, len: u32) -> bool;

    /// Has the program behind this one answer the packet. False if there is none.
    fn hand_on(&self) -> bool;

    /// Tells the kernel.
    fn finish(&self, fate: Fate) -> Self::Answer;
}

/// An XDP program's packet, with a TC program behind it.
pub(crate) struct Native(pub(crate) XdpContext);

/// An XDP program's packet without: after generic XDP, TC may get a packet without its link layer's header.
pub(crate) struct Generic(pub(crate) XdpContext);

/// Both are the same but for that.
macro_rules! xdp_packet {
    ($name:ident, $has_next:expr) => {
        impl EbpfContext for $name {
            #[inline(always)]
            fn as_ptr(&self) -> *mut c_void {
                self.0.as_ptr()
            }
        }

        impl Packet for $name {
            const MAY_LACK_CHECKSUM: bool = false;

            type Answer = u32;

            #[inline(always)]
            fn frame(&self) -> Frame {
                Frame::new(self.0.data(), self.0.data_end())
            }

            #[inline(always)]
            fn extent(&self) -> usize {
                // SAFETY: a helper on the program's own context.
                unsafe { bpf_xdp_get_buff_len(self.0.ctx) as usize }
            }

            #[inline(always)]
            fn resize(&self, len: usize) -> bool {
                resize_xdp(&self.0, len as i32 - self.extent() as i32)
            }

            #[inline(always)]
            fn store(&self, offset: usize, bytes: *const u8, len: u32) -> bool {
                let bytes = bytes.cast_mut().cast::<c_void>();
                // SAFETY: the verifier sees that `len` bytes are there; the helper checks the place in the packet.
                unsafe { bpf_xdp_store_bytes(self.0.ctx, offset as u32, bytes, len) == 0 }
            }

            #[inline(always)]
            fn hand_on(&self) -> bool {
                $has_next && mark(&self.0)
            }

            #[inline(always)]
            fn finish(&self, fate: Fate) -> u32 {
                match fate {
                    Fate::Pass => XDP_PASS,
                    Fate::Drop => XDP_DROP,
                    Fate::Return => XDP_TX,
                }
            }
        }
    };
}

xdp_packet!(Native, maps::tc_answers());
xdp_packet!(Generic, false);

/// Makes the packet longer by `growth`, which may be negative: at its end, or where the driver has left no room
/// there, at its beginning.
#[inline(always)]
fn resize_xdp(ctx: &XdpContext, growth: i32) -> bool {
    // SAFETY: the helper checks the length; callers take a new frame.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, growth) == 0 } {
        return true;
    }
    // SAFETY: as above.
    if growth <= 0 || unsafe { bpf_xdp_adjust_head(ctx.ctx, -growth) != 0 } {
        return false;
    }
    // The headers stand behind the new room, and have to stand before it.
    let frame = Frame::new(ctx.data(), ctx.data_end());
    let old = frame.after(Frame::settle(growth as usize));
    let moved = old.place::<Headers>(0).zip(frame.place::<Headers>(0));
    let Some((from, to)) = moved else {
        // SAFETY: as above. What was just added can be taken away.
        unsafe { bpf_xdp_adjust_head(ctx.ctx, growth) };
        return false;
    };
    // SAFETY: both are inside the packet, which this program alone has; all is read before any is written.
    let headers = unsafe { from.read_unaligned() };
    // SAFETY: as above.
    unsafe { to.write_unaligned(headers) };
    true
}

/// Stands before a packet that the next program is to answer.
const HANDED_ON: u32 = u32::from_ne_bytes(*b"429!");

/// Puts the mark before the packet, where the next program finds it and the host's TCP does not look.
#[inline(always)]
fn mark(ctx: &XdpContext) -> bool {
    // SAFETY: the helper checks that there is room.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<u32>() as i32)) != 0 } {
        return false;
    }
    Frame::new(ctx.metadata(), ctx.metadata_end()).write(0, HANDED_ON).is_some()
}

/// True if the program before this one has left the packet to it. What the packet is, is looked at all the same.
#[inline(always)]
pub(crate) fn is_handed_on(ctx: &TcContext) -> bool {
    // SAFETY: the program's own context.
    let start = unsafe { (*ctx.skb.skb).data_meta };
    Frame::new(start as usize, ctx.data()).u32(0) == Some(HANDED_ON)
}

/// Room for the longest headers that are answered: Ethernet with two tags, IPv6, TCP with a time stamp.
type Headers = [u64; 12];

impl Packet for TcContext {
    const MAY_LACK_CHECKSUM: bool = true;

    type Answer = i32;

    #[inline(always)]
    fn frame(&self) -> Frame {
        Frame::new(self.data(), self.data_end())
    }

    #[inline(always)]
    fn extent(&self) -> usize {
        self.len() as usize
    }

    #[inline(always)]
    fn resize(&self, len: usize) -> bool {
        // SAFETY: the helper checks the length; callers take a new frame.
        unsafe { bpf_skb_change_tail(self.skb.skb, len as u32, 0) == 0 }
    }

    #[inline(always)]
    fn store(&self, offset: usize, bytes: *const u8, len: u32) -> bool {
        // SAFETY: the verifier sees that `len` bytes are there; the helper checks the place in the packet.
        unsafe { bpf_skb_store_bytes(self.skb.skb, offset as u32, bytes.cast::<c_void>(), len, 0) == 0 }
    }

    #[inline(always)]
    fn hand_on(&self) -> bool {
        false
    }

    #[inline(always)]
    fn finish(&self, fate: Fate) -> i32 {
        match fate {
            // Other programs on the interface have their turn.
            Fate::Pass => TCX_NEXT,
            Fate::Drop => TCX_DROP,
            Fate::Return => {
                // SAFETY: the program's own context.
                let interface = unsafe { (*self.skb.skb).ifindex };
                // SAFETY: a helper that only notes where the packet shall go.
                unsafe { bpf_redirect(interface, 0) as i32 }
            }
        }
    }
}
