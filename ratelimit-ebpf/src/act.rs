//! What is done to a packet once it is known what it is.

use crate::bare::{acknowledge, reset};
use crate::frame::Frame;
use crate::headers;
use crate::maps;
use crate::packet::{Fate, Packet};
use crate::reply::{Failure, reply};
use ratelimit_common::flow::FlowState;
use ratelimit_common::layout::{FlowCell, Slot};
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::{Segment, Source};
use ratelimit_common::word::Word;

/// What is to be done.
pub(crate) enum Act<'a> {
    /// Nothing: the host's TCP gets the packet.
    Pass,
    /// Nobody gets it.
    Drop,
    /// Its connection is reset.
    Reset,
    /// It is answered with the 429.
    Reply(Reply<'a>),
    /// It is acknowledged.
    Acknowledge,
    /// It becomes the end of the host's side, which awaits this sequence number.
    EndHost(u32),
}

/// A 429 to be made.
pub(crate) struct Reply<'a> {
    /// The key's slot.
    pub(crate) slot: &'a Slot,
    /// The time of the judgement.
    pub(crate) now: u64,
    /// `None` if the request was answered before.
    pub(crate) first: Option<First<'a>>,
}

/// What there is to do when a request is answered for the first time, or cannot be.
pub(crate) struct First<'a> {
    /// The connection's cell.
    pub(crate) cell: &'a FlowCell,
    /// What was in it before the refusal.
    pub(crate) before: FlowState,
    /// Counts it.
    pub(crate) counter: &'a Word,
}

/// Does it. Returns what becomes of the packet, and `outcome`, or another if it could not be done.
#[inline(always)]
pub(crate) fn perform<P: Packet>(
    packet: &P,
    segment: &Segment<Frame>,
    act: &Act<'_>,
    outcome: Outcome,
) -> (Outcome, Fate) {
    let fate = match act {
        Act::Pass => Fate::Pass,
        Act::Drop => Fate::Drop,
        Act::Reset => returned(reset(packet, segment)),
        Act::Acknowledge => returned(acknowledge(packet, segment)),
        Act::EndHost(sequence) => end_host(packet, *sequence),
        Act::Reply(plan) => {
            let fate = match reply(packet, segment, plan.slot, plan.now) {
                Ok(()) => Fate::Return,
                Err(Failure::NoRoom) if packet.hand_on() => Fate::Pass,
                Err(Failure::NoRoom | Failure::Unanswerable) => {
                    return give_up(packet, segment, plan, outcome);
                }
                Err(Failure::Broken) => Fate::Drop,
            };
            if let Some(first) = &plan.first {
                first.counter.add(1);
            }
            fate
        }
    };
    (outcome, fate)
}

/// Leaves a request that cannot be answered to the proxy, on a connection as it was.
#[inline(always)]
fn give_up<P: Packet>(
    packet: &P,
    segment: &Segment<Frame>,
    plan: &Reply<'_>,
    outcome: Outcome,
) -> (Outcome, Fate) {
    let Some(first) = &plan.first else { return (outcome, Fate::Drop) };
    first.cell.restore(first.before);
    // Where nobody else can say it, the client is told by a reset.
    let fate = if maps::has_proxy() { Fate::Pass } else { returned(reset(packet, segment)) };
    (Outcome::NoRoom, fate)
}

/// Sends what was made, if it was.
#[inline(always)]
fn returned(made: Option<()>) -> Fate {
    if made.is_some() { Fate::Return } else { Fate::Drop }
}

/// Makes the client's segment the end of the host's side.
#[inline(always)]
fn end_host(packet: &impl Packet, sequence: u32) -> Fate {
    let frame = packet.frame();
    let Some(network) = headers::plain_network(frame) else { return Fate::Drop };
    let tcp = frame.after(network.offset + network.header);
    match headers::into_reset(tcp, sequence) {
        Some(()) => Fate::Pass,
        None => Fate::Drop,
    }
}
