//! The verdict on one request.

use crate::act::{Act, First, Reply};
use crate::connection::{self, Connection, Miss};
use crate::frame::Frame;
use crate::maps::{FLOWS, KEYS, SLOTS, action, flow_sets, has_proxy, secret};
use crate::packet::Packet;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use ratelimit_common::flow::{Credit, FlowState, Recorded, set_index};
use ratelimit_common::layout::{Action, FlowCell, FlowSet, Slot};
use ratelimit_common::limit::{Burst, Charge, Decision};
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::Segment;
use ratelimit_common::word::Word;

/// A connection's place in the table of flows.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    set: &'a FlowSet,
    /// The connection's hash.
    pub(crate) flow: u64,
}

/// The time of a judgement.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

impl<'a> Place<'a> {
    /// The place of the connection of `segment`.
    #[inline(always)]
    pub(crate) fn of(segment: &Segment<Frame>) -> Option<Self> {
        let flow = segment.endpoints.hash(secret());
        let set = FLOWS.get(set_index(flow, flow_sets()))?;
        Some(Self { set, flow })
    }

    /// The connection's cell, if it has one.
    #[inline(always)]
    pub(crate) fn find(&self) -> Option<&'a FlowCell> {
        self.set.find(self.flow)
    }

    /// The connection's cell: `known`, or a new one.
    #[inline(always)]
    fn cell(&self, known: Option<&'a FlowCell>, now: u64) -> Option<&'a FlowCell> {
        match known {
            Some(cell) => {
                cell.touch(self.flow, now);
                Some(cell)
            }
            None => self.set.claim(self.flow, now),
        }
    }
}

/// Judges the request in `segment`, on the connection at `place`, whose key has this `hash`, and says what to do. An error is the reason why it is
/// left to the proxy.
#[inline(always)]
pub(crate) fn judge<'a>(
    packet: &impl Packet,
    segment: &Segment<Frame>,
    place: &Place<'a>,
    hash: u64,
) -> Result<(Outcome, Act<'a>), Outcome> {
    // SAFETY: a value is an aligned integer, read whole. The daemon may replace an entry under the reader, which
    // then has another key's slot: the proxy takes no credit of that slot for this request, so it is refunded.
    let slot_index = *unsafe { KEYS.get(hash) }.ok_or(Outcome::UnknownKey)?;
    let slot = SLOTS.get(slot_index).ok_or(Outcome::Fault)?;
    let burst = slot.burst().ok_or(Outcome::UnknownKey)?;
    let known = place.find();
    if let Some(cell) = known {
        let state = cell.state();
        // Since the caller looked, on another processor.
        if state.is_refused() {
            return Err(Outcome::Busy);
        }
        if state.has_seen(segment.sequence) {
            return Err(Outcome::Retransmit);
        }
    }
    let connection = connection::awaiting(packet, segment).map_err(|miss| match miss {
        Miss::Stray => Outcome::Unexpected,
        Miss::Early => Outcome::Early,
    })?;
    let request = Request { slot, slot_index, burst, place: *place, known, segment, connection, now: now() };
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
    now: u64,
}

impl<'a> Request<'a, '_> {
    #[inline(always)]
    fn judge(&self) -> Result<(Outcome, Act<'a>), Outcome> {
        let now = self.now;
        if self.slot.blocked_until_ns.load() > now {
            return self.refuse(Outcome::RefusedBlocked);
        }
        // Looked at before a cell is taken, so that refusals take none.
        if let Decision::Wait(_) = self.burst.decide(self.slot.bucket.load(), now) {
            return self.refuse(Outcome::RefusedBurst);
        }
        // Where there is no proxy, this count is the hour's: it is taken before anybody else can take the last of it.
        if self.slot.admitted.fetch_add(1) >= self.slot.ceiling(now) {
            self.slot.admitted.subtract(1);
            return self.refuse(Outcome::RefusedBlocked);
        }
        let charged = self.charge();
        if charged.is_err() {
            self.slot.admitted.subtract(1);
        }
        charged.map(|()| (Outcome::Admitted, Act::Pass))
    }

    /// Takes a token and leaves word of it on the connection.
    #[inline(always)]
    fn charge(&self) -> Result<(), Outcome> {
        let cell = self.place.cell(self.known, self.now);
        if cell.is_none() && has_proxy() {
            return Err(Outcome::FlowFull);
        }
        match self.burst.charge(&self.slot.bucket, self.now) {
            Charge::Taken => {}
            // Another processor was faster: whoever is asked next sees what it has left.
            Charge::Wait(_) | Charge::Contended => return Err(Outcome::Contended),
        }
        // Without a cell a repetition will be charged again. Better than a request that is not charged at all.
        let Some(cell) = cell else { return Ok(()) };
        let recorded = self.record(cell, Credit::Paid);
        if recorded.is_err() {
            self.burst.refund(&self.slot.bucket);
        }
        recorded
    }

    #[inline(always)]
    fn record(&self, cell: &FlowCell, credit: Credit) -> Result<(), Outcome> {
        let Segment { sequence, len, acknowledged, .. } = *self.segment;
        let recorded = if has_proxy() {
            cell.record(sequence, len, self.slot_index, credit)
        } else {
            cell.record_unproxied(sequence, len, acknowledged)
        };
        match recorded {
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
            let cell = self.place.cell(self.known, self.now).ok_or(Outcome::FlowFull)?;
            self.record(cell, Credit::Observed)?;
            self.slot.observed.add(1);
            return Ok((Outcome::Observed, Act::Pass));
        }
        if action() == Action::Drop as u32 {
            // Nothing is answered, so nothing can be overtaken.
            self.counter(outcome).add(1);
            return Ok((outcome, Act::Drop));
        }
        // Read after the socket: the proxy says that it has something in hand before it takes it.
        let known = self.known.map(|cell| (cell, cell.state()));
        let is_first = self.connection.received == 0;
        let is_idle = match known {
            Some((_, state)) if has_proxy() => state.is_idle(),
            Some((_, state)) => state.has_answer(self.segment.acknowledged),
            None => !has_proxy(),
        };
        if self.connection.under_way != 0 || !(is_first || is_idle) {
            if known.is_none() && has_proxy() {
                // Where the proxy notes that it waits for the next one, which then is refused here.
                let _ = self.place.cell(None, self.now);
            }
            return Err(Outcome::Busy);
        }
        Ok((outcome, self.refusal(known, self.counter(outcome))?))
    }

    /// What counts the refusals of this kind.
    #[inline(always)]
    fn counter(&self, outcome: Outcome) -> &'a Word {
        let is_blocked = outcome as u32 == Outcome::RefusedBlocked as u32;
        if is_blocked { &self.slot.refused_blocked } else { &self.slot.refused_burst }
    }

    /// What the configuration says is answered to a refused request, which `counter` counts.
    #[inline(always)]
    fn refusal(
        &self,
        known: Option<(&'a FlowCell, FlowState)>,
        counter: &'a Word,
    ) -> Result<Act<'a>, Outcome> {
        if action() == Action::Reset as u32 {
            counter.add(1);
            return Ok(Act::Reset);
        }
        // The connection ends with this request.
        let (cell, before) = match known {
            Some(known) => known,
            None => (self.place.cell(None, self.now).ok_or(Outcome::FlowFull)?, FlowState::from_word(0)),
        };
        let Segment { sequence, acknowledged, .. } = *self.segment;
        if !cell.refuse(before, sequence, self.slot_index, acknowledged) {
            return Err(Outcome::Busy);
        }
        let first = Some(First { cell, before, counter });
        Ok(Act::Reply(Reply { slot: self.slot, now: self.now, first }))
    }
}
