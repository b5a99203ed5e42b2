//! The 429: a refused request, turned into the answer to it.

use crate::frame::Frame;
use crate::headers::{self, Answer};
use crate::maps;
use crate::packet::Packet;
use crate::scratch::Scratch;
use aya_ebpf::helpers::bpf_csum_diff;
use ratelimit_common::answer::{self, CONNECTION_CLOSE, Described, Item, Sink, seconds};
use ratelimit_common::layout::Slot;
use ratelimit_common::limit::{BURST_PERIOD_NS, Burst, Decision};
use ratelimit_common::packet::{Segment, Source, TCP_ACK, TCP_FIN, TCP_PSH};
use ratelimit_common::{HOUR_SECONDS, SECOND_NS};

/// What can go wrong.
pub(crate) enum Failure {
    /// The packet cannot be made as long as the answer. It is as it was.
    NoRoom,
    /// No program answers it: its headers are unusual, or the key is gone. It is as it was.
    Unanswerable,
    /// It is no longer what it was, and no answer either.
    Broken,
}

/// Makes `packet`, which carries the request in `segment`, the 429 for the key of `slot`.
#[inline(always)]
pub(crate) fn reply<P: Packet>(
    packet: &P,
    segment: &Segment<Frame>,
    slot: &Slot,
    now: u64,
) -> Result<(), Failure> {
    let frame = packet.frame();
    let network = headers::plain_network(frame).ok_or(Failure::Unanswerable)?;
    let at_tcp = network.offset + network.header;
    let header = headers::tcp_header(frame.after(at_tcp));
    let is_head = segment.payload.u32(0) == Some(u32::from_ne_bytes(*b"HEAD"));
    let mut text = Scratch::take().ok_or(Failure::Unanswerable)?;
    let burst = slot.burst().ok_or(Failure::Unanswerable)?;
    write(&mut text, slot, burst, now, !is_head);
    let (bytes, payload) = text.bytes();
    // The sum is made of whole words.
    text.pad();
    let start = Frame::settle(at_tcp + header);
    if !packet.resize(start + payload) {
        return Err(Failure::NoRoom);
    }
    let sum = sum(bytes, payload).ok_or(Failure::Broken)?;
    if payload == 0 || !packet.store(start, bytes, payload as u32) {
        return Err(Failure::Broken);
    }
    let answer = Answer {
        sequence: segment.acknowledged,
        acknowledged: segment.end(),
        flags: TCP_FIN | TCP_PSH | TCP_ACK,
        header,
        payload,
        payload_sum: sum,
    };
    headers::turn(packet, &network, &answer).ok_or(Failure::Broken)
}

/// Writes what the proxy would write.
#[inline(always)]
fn write(text: &mut Scratch, slot: &Slot, burst: Burst, now: u64, has_body: bool) {
    let (word, blocked_until) = (slot.bucket.load(), slot.blocked_until_ns.load());
    let bucket_wait = match burst.decide(word, now) {
        Decision::Wait(wait) => wait,
        Decision::Admit(_) => 0,
    };
    let leaves = slot.hour_reset_ns.load();
    let hour_reset = if leaves > now { leaves - now } else { HOUR_SECONDS * SECOND_NS };
    // Where there is no proxy, the hour is what the kernel itself has counted.
    let unused = slot.ceiling(now).saturating_sub(slot.admitted.load());
    let hour_wait = if unused == 0 { hour_reset } else { blocked_until.saturating_sub(now) };
    let retry_after = text.forget(seconds(hour_wait.max(bucket_wait)));
    let hour = slot.hour.load();
    let (limit, remaining) = (hour >> 32, unused.min(hour & 0xffff_ffff));
    let unix = now + maps::unix_offset();
    let reset = (unix + retry_after * SECOND_NS).div_ceil(SECOND_NS);
    answer::status_line(text);
    answer::described_fields(text, &Described { limit, remaining, reset });
    if maps::has_items() {
        let burst = Item {
            name: "burst",
            quota: burst.capacity(),
            window: BURST_PERIOD_NS / SECOND_NS,
            remaining: burst.tokens(word, now),
            reset: seconds(burst.next_token_ns(word, now)),
        };
        let (window, reset) = (HOUR_SECONDS, seconds(hour_reset));
        answer::item_fields(text, &[burst, Item { name: "hour", quota: limit, window, remaining, reset }]);
    }
    answer::retry_after_field(text, retry_after);
    text.text(CONNECTION_CLOSE);
    answer::content(text, retry_after, has_body);
}

/// The sum of `len` bytes and the zeros behind them, as the Internet checksum adds them.
#[inline(always)]
fn sum(bytes: *const u8, len: usize) -> Option<u32> {
    let whole = (len as u32 + 3) & !3;
    // SAFETY: the verifier sees that the bytes are there.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, bytes.cast_mut().cast(), whole, 0) };
    u32::try_from(sum).ok()
}
