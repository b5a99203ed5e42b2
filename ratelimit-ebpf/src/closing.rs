//! What follows an answered request: both ends of its connection are closed, in good order and without either
//! seeing the other.
//!
//! The client has read the end of the stream behind its 429; the host knows of nothing yet. So the next segment
//! without payload becomes a reset for the host, at exactly the number that it awaits (RFC 5961, section 3.2). What
//! else the client sends (the rest of a body, its own end) is acknowledged here, so that it need not repeat it. But
//! as long as the client has not acknowledged the answer, whatever it sends is answered with it again, and not
//! charged: the answer may be lost, and a client that knew all of its request received would wait for it in vain.

use crate::act::{Act, Reply};
use crate::frame::Frame;
use crate::judge::{Place, now};
use crate::maps::{self, SLOTS};
use crate::packet::Packet;
use ratelimit_common::flow::FlowState;
use ratelimit_common::layout::FlowCell;
use ratelimit_common::packet::{Segment, TCP_FIN, TCP_RST, TCP_SYN, parse};

/// What to do with a segment on a connection whose request was refused.
#[inline(always)]
pub(crate) fn follow<'a>(segment: &Segment<Frame>, place: &Place<'a>, cell: &'a FlowCell) -> Act<'a> {
    let state = cell.state();
    if segment.has(TCP_SYN) {
        // The host knows best whether the old connection still stands in the way of this one.
        return Act::Pass;
    }
    if segment.has(TCP_RST) {
        cell.forget(place.flow);
        return Act::EndHost(state.sequence());
    }
    if is_unanswered(segment, state) {
        return again(state).unwrap_or(Act::Drop);
    }
    if segment.len == 0 && cell.close() {
        return Act::EndHost(state.sequence());
    }
    if segment.has(TCP_FIN) {
        cell.forget(place.flow);
    } else if segment.len == 0 {
        return Act::Drop;
    }
    Act::Acknowledge
}

/// The segment in `packet`, if it is a refused request for the answer to which the program before this one had no
/// room; and that answer.
#[inline(always)]
pub(crate) fn unanswered<'a>(packet: &impl Packet) -> Option<(Segment<Frame>, Act<'a>)> {
    let segment = parse(packet.frame(), || packet.extent(), maps::is_guarded).ok()?;
    let place = Place::of(&segment)?;
    let state = place.find()?.state();
    if !state.is_refused() || !is_unanswered(&segment, state) {
        return None;
    }
    Some((segment, again(state)?))
}

/// True if the client sends something, and the answer to its refused request has not reached it.
#[inline(always)]
fn is_unanswered(segment: &Segment<Frame>, state: FlowState) -> bool {
    segment.len > 0 && !state.has_refusal(segment.acknowledged)
}

/// The answer, once more.
#[inline(always)]
fn again<'a>(state: FlowState) -> Option<Act<'a>> {
    Some(Act::Reply(Reply { slot: SLOTS.get(state.slot())?, now: now(), first: None }))
}
