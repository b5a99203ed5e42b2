//! The verdict on one request: blocked-until first, then the bucket; charged at most once per connection and
//! sequence number.

use crate::frame::Frame;
use crate::maps::{FLOWS, KEYS, SLOTS, action, flow_sets, secret};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use ratelimit_common::flow::{Credit, Recorded, set_index};
use ratelimit_common::layout::{Action, FlowCell, FlowSet, Slot};
use ratelimit_common::limit::{Burst, Charge, Decision};
use ratelimit_common::outcome::Outcome;
use ratelimit_common::packet::{Segment, Source};

/// A request whose key is known.
struct Request<'a> {
    slot: &'a Slot,
    slot_index: u32,
    burst: Burst,
    set: &'a FlowSet,
    flow: u64,
    sequence: u32,
    len: u32,
    now: u64,
}

/// Judges the request in `segment`, whose key has this `hash`.
#[inline(always)]
pub(crate) fn judge(segment: &Segment<Frame>, hash: u64) -> Outcome {
    match try_judge(segment, hash) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

#[inline(always)]
fn try_judge(segment: &Segment<Frame>, hash: u64) -> Result<Outcome, Outcome> {
    // SAFETY: a value is an aligned integer, read whole. The daemon may replace an entry under the reader, which
    // then has another key's slot: the proxy takes no credit of that slot for this request, so it is refunded.
    let slot_index = *unsafe { KEYS.get(hash) }.ok_or(Outcome::UnknownKey)?;
    let slot = SLOTS.get(slot_index).ok_or(Outcome::Fault)?;
    let burst = slot.burst().ok_or(Outcome::UnknownKey)?;
    let flow = segment.endpoints.hash(secret());
    let set = FLOWS.get(set_index(flow, flow_sets())).ok_or(Outcome::Fault)?;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let len = segment.payload.len() as u32;
    let request = Request { slot, slot_index, burst, set, flow, sequence: segment.sequence, len, now };
    request.judge()
}

impl Request<'_> {
    #[inline(always)]
    fn judge(&self) -> Result<Outcome, Outcome> {
        let known = self.set.find(self.flow);
        if known.is_some_and(|cell| cell.has_seen(self.sequence)) {
            return Ok(Outcome::Retransmit);
        }
        if self.slot.blocked_until_ns.load() > self.now {
            return self.refuse(known, Outcome::RefusedBlocked, &self.slot.refused_blocked);
        }
        // Looked at before a cell is taken, so that refusals take none.
        if let Decision::Wait(_) = self.burst.decide(self.slot.bucket.load(), self.now) {
            return self.refuse(known, Outcome::RefusedBurst, &self.slot.refused_burst);
        }
        let cell = self.cell(known)?;
        match self.burst.charge(&self.slot.bucket, self.now) {
            Charge::Taken => {}
            Charge::Wait(_) => {
                return self.refuse(Some(cell), Outcome::RefusedBurst, &self.slot.refused_burst);
            }
            Charge::Contended => return Err(Outcome::Contended),
        }
        if let Err(outcome) = self.record(cell, Credit::Paid) {
            self.burst.refund(&self.slot.bucket);
            return Err(outcome);
        }
        self.slot.admitted.add(1);
        Ok(Outcome::Admitted)
    }

    /// The connection's cell, a new one if it has none.
    #[inline(always)]
    fn cell<'a>(&'a self, known: Option<&'a FlowCell>) -> Result<&'a FlowCell, Outcome> {
        match known {
            Some(cell) => {
                cell.touch(self.flow, self.now);
                Ok(cell)
            }
            None => self.set.claim(self.flow, self.now).ok_or(Outcome::FlowFull),
        }
    }

    #[inline(always)]
    fn record(&self, cell: &FlowCell, credit: Credit) -> Result<(), Outcome> {
        match cell.record(self.sequence, self.len, self.slot_index, credit) {
            Recorded::Yes => Ok(()),
            Recorded::Seen => Err(Outcome::Retransmit),
            Recorded::NoRoom => Err(Outcome::FlowFull),
        }
    }

    /// Counts a refusal; in a dry run leaves word of it for the proxy instead.
    #[inline(always)]
    fn refuse(
        &self,
        known: Option<&FlowCell>,
        outcome: Outcome,
        counter: &ratelimit_common::word::Word,
    ) -> Result<Outcome, Outcome> {
        if action() != Action::Observe as u32 {
            counter.add(1);
            return Ok(outcome);
        }
        self.record(self.cell(known)?, Credit::Observed)?;
        self.slot.observed.add(1);
        Ok(Outcome::Observed)
    }
}
