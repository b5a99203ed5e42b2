//! The verdict on one request.

use crate::act::{Act, Reply};
use crate::connection::{self, Connection};
use crate::frame::Frame;
use crate::maps::{FLOWS, KEYS, SLOTS, action, flow_sets, secret};
use crate::packet::Packet;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use ratelimit_common::flow::{Credit, FlowState, Recorded, set_index};
use ratelimit_common::layout::{Action, FlowCell, FlowSet, Slot};
use ratelimit_common::limit::{Burst, Charge, Decision};
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::Segment;

/// A connection's place in the table of flows.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    set: &'a FlowSet,
    /// The connection's hash.
    pub(crate) flow: u64,
    /// The time of the judgement.
    pub(crate) now: u64,
}

impl<'a> Place<'a> {
    /// The place of the connection of `segment`.
    #[inline(always)]
    pub(crate) fn of(segment: &Segment<Frame>) -> Option<Self> {
        let flow = segment.endpoints.hash(secret());
        let set = FLOWS.get(set_index(flow, flow_sets()))?;
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        Some(Self { set, flow, now })
    }

    /// The connection's cell, if it has one.
    #[inline(always)]
    pub(crate) fn find(&self) -> Option<&'a FlowCell> {
        self.set.find(self.flow)
    }

    /// The connection's cell: `known`, or a new one.
    #[inline(always)]
    fn cell(&self, known: Option<&'a FlowCell>) -> Option<&'a FlowCell> {
        match known {
            Some(cell) => {
                cell.touch(self.flow, self.now);
                Some(cell)
            }
            None => self.set.claim(self.flow, self.now),
        }
    }
}

/// Judges the request in `segment`, whose key has this `hash`, and says what to do. An error is the reason why it is
/// left to the proxy.
#[inline(always)]
pub(crate) fn judge<'a>(
    packet: &impl Packet,
    segment: &Segment<Frame>,
    hash: u64,
) -> Result<(Outcome, Act<'a>), Outcome> {
    // SAFETY: a value is an aligned integer, read whole. The daemon may replace an entry under the reader, which
    // then has another key's slot: the proxy takes no credit of that slot for this request, so it is refunded.
    let slot_index = *unsafe { KEYS.get(hash) }.ok_or(Outcome::UnknownKey)?;
    let slot = SLOTS.get(slot_index).ok_or(Outcome::Fault)?;
    let burst = slot.burst().ok_or(Outcome::UnknownKey)?;
    let place = Place::of(segment).ok_or(Outcome::Fault)?;
    let known = place.find();
    if let Some(cell) = known {
        let state = cell.state();
        if state.is_refused() {
            return Err(Outcome::Closing);
        }
        if state.has_seen(segment.sequence) {
            return Err(Outcome::Retransmit);
        }
    }
    let connection = connection::awaiting(packet, segment).ok_or(Outcome::Unexpected)?;
    let request = Request { slot, slot_index, burst, place, known, segment, connection };
    request.judge()
}

/// A request whose key is known, on a connection that awaits it.
struct Request<'a, 's> {
    slot: &'a Slot,
    slot_index: u32,
    burst: Burst,
    place: Place<'a>,
    known: Option<&'a FlowCell>,
    segment: &'s Segment<Frame>,
    connection: Connection,
}

impl<'a> Request<'a, '_> {
    #[inline(always)]
    fn judge(&self) -> Result<(Outcome, Act<'a>), Outcome> {
        let now = self.place.now;
        if self.slot.blocked_until_ns.load() > now {
            return self.refuse(Outcome::RefusedBlocked);
        }
        // Looked at before a cell is taken, so that refusals take none.
        if let Decision::Wait(_) = self.burst.decide(self.slot.bucket.load(), now) {
            return self.refuse(Outcome::RefusedBurst);
        }
        let cell = self.place.cell(self.known).ok_or(Outcome::FlowFull)?;
        match self.burst.charge(&self.slot.bucket, now) {
            Charge::Taken => {}
            // Another processor was faster: what it has left is for the proxy to see.
            Charge::Wait(_) | Charge::Contended => return Err(Outcome::Contended),
        }
        if let Err(outcome) = self.record(cell, Credit::Paid) {
            self.burst.refund(&self.slot.bucket);
            return Err(outcome);
        }
        self.slot.admitted.add(1);
        Ok((Outcome::Admitted, Act::Pass))
    }

    #[inline(always)]
    fn record(&self, cell: &FlowCell, credit: Credit) -> Result<(), Outcome> {
        match cell.record(self.segment.sequence, self.segment.len, self.slot_index, credit) {
            Recorded::Yes => Ok(()),
            Recorded::Seen => Err(Outcome::Retransmit),
            Recorded::NoRoom => Err(Outcome::FlowFull),
        }
    }

    /// Refuses, if the host has nothing else in hand on this connection; in a dry run leaves word of it for the
    /// proxy instead.
    #[inline(always)]
    fn refuse(&self, outcome: Outcome) -> Result<(Outcome, Act<'a>), Outcome> {
        if action() == Action::Observe as u32 {
            let cell = self.place.cell(self.known).ok_or(Outcome::FlowFull)?;
            self.record(cell, Credit::Observed)?;
            self.slot.observed.add(1);
            return Ok((Outcome::Observed, Act::Pass));
        }
        // Read after the socket: the proxy says that it has something in hand before it takes it.
        let known = self.known.map(|cell| (cell, cell.state()));
        let is_first = self.connection.received == 0;
        let is_idle = known.is_some_and(|(_, state)| state.is_idle());
        if self.connection.under_way != 0 || !(is_first || is_idle) {
            return Err(Outcome::Busy);
        }
        let act = self.refusal(known)?;
        let is_blocked = outcome as u32 == Outcome::RefusedBlocked as u32;
        let counter = if is_blocked { &self.slot.refused_blocked } else { &self.slot.refused_burst };
        counter.add(1);
        Ok((outcome, act))
    }

    /// What the configuration says is done about a refused request.
    #[inline(always)]
    fn refusal(&self, known: Option<(&'a FlowCell, FlowState)>) -> Result<Act<'a>, Outcome> {
        if action() == Action::Drop as u32 {
            return Ok(Act::Drop);
        }
        if action() == Action::Reset as u32 {
            return Ok(Act::Reset);
        }
        // The connection ends with this request.
        let before = match known {
            Some(known) => known,
            None => (self.place.cell(None).ok_or(Outcome::FlowFull)?, FlowState::from_word(0)),
        };
        if !before.0.refuse(before.1, self.segment.sequence, self.slot_index) {
            return Err(Outcome::Busy);
        }
        Ok(Act::Reply(Reply { slot: self.slot, now: self.place.now, before: Some(before) }))
    }
}
