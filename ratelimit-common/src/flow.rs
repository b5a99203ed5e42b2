//! Exactly once: what the kernel has charged on a connection, and what the proxy has yet to take note of.
//!
//! Each connection on which the kernel charged a request has a cell of two words. The state word says up to
//! which TCP sequence number requests were charged, so that a retransmission is not charged again, and how
//! many *credits* there are: requests that the kernel has charged and the proxy has not yet handled. The proxy
//! takes a credit of the request's key where there is one and charges the bucket itself where there is none;
//! when the connection ends it gives the tokens of left-over credits back. So each request is charged once,
//! whichever of the two saw it, in whatever order: the sum over a connection is right whenever both have seen it.
//!
//! All credits of a cell are for one key at a time. A request for another key while there are some is left to
//! the proxy.
//!
//! The state also says whose turn it is on the connection: see [`Stage`]. The kernel answers a request by itself
//! only while the proxy has nothing of an earlier one in hand, so that no answer overtakes another.

mod state;

pub use state::{Credit, FlowState, Stage};

use crate::SECOND_NS;
use crate::hash::Secret;
use crate::layout::{FlowCell, FlowSet};
use crate::limit::MAX_ATTEMPTS;

/// A cell unused for this long may be given to another connection when its set is full.
pub const IDLE_SECONDS: u64 = 120;

/// The same for a connection on which a request was refused: its client has long had the answer, or is gone.
pub const REFUSED_SECONDS: u64 = 10;

const TIME_BITS: u32 = 20;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// A connection's identity: the client's end and the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client's address; an IPv4 address in the first word, the second zero. Network byte order, as it
    /// lies in memory.
    pub client: [u64; 2],
    /// The host's address, likewise.
    pub host: [u64; 2],
    /// The client's port.
    pub client_port: u16,
    /// The host's port.
    pub host_port: u16,
}

impl Endpoints {
    /// The keyed hash by which the connection is found.
    ///
    /// Not SipHash, which would take as long as the rest of a judgement: a client chooses few of these bits and
    /// sees nothing of the result, and all that two connections in one cell do to each other is to leave
    /// requests to the proxy.
    #[inline(always)]
    pub const fn hash(&self, secret: Secret) -> u64 {
        let ports = self.client_port as u64 | (self.host_port as u64) << 16;
        let mut hash = mix(self.client[0] ^ secret.k0);
        hash = mix(hash ^ self.host[0] ^ (ports << 32));
        // IPv4 has nothing here.
        if self.client[1] | self.host[1] != 0 {
            hash = mix(hash ^ self.client[1]);
            hash = mix(hash ^ self.host[1] ^ ports);
        }
        hash ^ secret.k1
    }
}

/// Stafford's variant 13 of the finaliser of MurmurHash3: each bit of the input changes half of the output's.
#[inline(always)]
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The low bits of a hash choose the set, the high ones the tag.
#[inline(always)]
pub const fn set_index(hash: u64, sets: u32) -> u32 {
    hash as u32 & (sets - 1)
}

const fn tag(hash: u64) -> u64 {
    // Never zero, which is a free cell.
    (hash | 1 << 63) & !TIME_MASK
}

const fn clock(now: u64) -> u64 {
    (now / SECOND_NS) & TIME_MASK
}

const fn is_tagged(word: u64, hash: u64) -> bool {
    word & !TIME_MASK == tag(hash)
}

#[inline(always)]
const fn is_unused(word: u64, now: u64, seconds: u64) -> bool {
    (clock(now).wrapping_sub(word & TIME_MASK) & TIME_MASK) > seconds
}

/// What came of recording a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The connection has one credit more.
    Yes,
    /// The request was charged before, so the charge must be undone.
    Seen,
    /// There is no room for the credit, or others changed the word too often: the charge must be undone.
    NoRoom,
}

impl FlowSet {
    /// The cell of the connection with this `hash`, if it has one.
    #[inline(always)]
    pub fn find(&self, hash: u64) -> Option<&FlowCell> {
        self.cells.iter().find(|cell| is_tagged(cell.tag.load(), hash))
    }

    /// A cell for the connection with this `hash`: a free one, or one that has been idle.
    #[inline(always)]
    pub fn claim(&self, hash: u64, now: u64) -> Option<&FlowCell> {
        self.cells.iter().find(|cell| {
            let old = cell.tag.load();
            let is_free = old == 0 || is_unused(old, now, IDLE_SECONDS) || cell.is_over(old, now);
            let claimed = is_free && cell.tag.replace(old, tag(hash) | clock(now));
            if claimed {
                cell.state.store(0);
            }
            claimed
        })
    }
}

impl FlowCell {
    /// What is remembered.
    #[inline(always)]
    pub fn state(&self) -> FlowState {
        FlowState::from_word(self.state.load())
    }

    /// True if the connection, last noted as in use in `tag`, is over and may be forgotten.
    #[inline(always)]
    fn is_over(&self, tag: u64, now: u64) -> bool {
        self.state().is_refused() && is_unused(tag, now, REFUSED_SECONDS)
    }

    /// Seconds since the cell was last used; `None` if it is free.
    pub fn unused_seconds(&self, now: u64) -> Option<u64> {
        let tag = self.tag.load();
        (tag != 0).then(|| clock(now).wrapping_sub(tag & TIME_MASK) & TIME_MASK)
    }

    /// Records that the request which starts at `sequence` and is `len` bytes long here was charged to `slot`.
    #[inline(always)]
    pub fn record(&self, sequence: u32, len: u32, slot: u32, credit: Credit) -> Recorded {
        for _ in 0..MAX_ATTEMPTS {
            let state = self.state();
            if state.has_seen(sequence) {
                return Recorded::Seen;
            }
            if state.is_refused() || !state.has_room(slot) {
                return Recorded::NoRoom;
            }
            let next = state.with_credit(sequence.wrapping_add(len), slot, credit);
            if self.state.replace(state.word(), next.word()) {
                return Recorded::Yes;
            }
        }
        Recorded::NoRoom
    }

    /// The same where there is no proxy: see [`FlowState::unproxied`].
    #[inline(always)]
    pub fn record_unproxied(&self, sequence: u32, len: u32, acknowledged: u32) -> Recorded {
        let state = self.state();
        if state.has_seen(sequence) {
            return Recorded::Seen;
        }
        let next = FlowState::unproxied(sequence.wrapping_add(len), acknowledged);
        if self.state.replace(state.word(), next.word()) { Recorded::Yes } else { Recorded::NoRoom }
    }

    /// Ends the connection with the refusal of the request that starts at `sequence` and is for `slot`; up to where
    /// the client has `acknowledged` tells whether it has the answer. False if the state is no longer `seen`: then
    /// something else happens on the connection.
    #[inline(always)]
    pub fn refuse(&self, seen: FlowState, sequence: u32, slot: u32, acknowledged: u32) -> bool {
        self.state.replace(seen.word(), FlowState::refused(sequence, slot, acknowledged).word())
    }

    /// Takes the refusal of a request back: the connection is as it was in `before`, and the host has the request.
    #[inline(always)]
    pub fn restore(&self, before: FlowState) {
        self.state.store(before.at(Stage::Busy).word());
    }

    /// Notes that the host's side is closed. False if that was noted before.
    #[inline(always)]
    pub fn close(&self) -> bool {
        let state = self.state();
        state.word() & 3 == Stage::Refused as u64
            && self.state.replace(state.word(), state.at(Stage::Closed).word())
    }

    /// Forgets a connection that is over.
    #[inline(always)]
    pub fn forget(&self, hash: u64) {
        let tag = self.tag.load();
        if is_tagged(tag, hash) {
            self.tag.replace(tag, 0);
        }
    }

    /// Says whether the proxy has something of a request in hand.
    pub fn set_idle(&self, is_idle: bool) {
        let stage = if is_idle { Stage::Idle } else { Stage::Busy };
        loop {
            let state = self.state();
            if state.is_refused() || state.stage() == stage {
                return;
            }
            if self.state.replace(state.word(), state.at(stage).word()) {
                return;
            }
        }
    }

    /// Notes that the cell of `hash` is in use at `now`.
    #[inline(always)]
    pub fn touch(&self, hash: u64, now: u64) {
        let (old, new) = (self.tag.load(), tag(hash) | clock(now));
        // Lost to another processor: that one has noted the same.
        if old != new && is_tagged(old, hash) {
            self.tag.replace(old, new);
        }
    }

    /// Takes a credit for `slot`, if there is one.
    pub fn take(&self, slot: u32) -> Option<Credit> {
        loop {
            let state = self.state();
            let (rest, credit) = state.take(slot)?;
            if self.state.replace(state.word(), rest.word()) {
                return Some(credit);
            }
        }
    }

    /// Frees the cell of `hash` and returns what it still held. One of a refused connection stays: the kernel has
    /// yet to deal with what the client sends.
    pub fn release(&self, hash: u64) -> FlowState {
        let tag = self.tag.load();
        if is_tagged(tag, hash) { self.empty(tag) } else { FlowState::from_word(0) }
    }

    /// The same whosever cell it is: for connections of which nobody is left who would release them.
    pub fn abandon(&self) -> FlowState {
        self.empty(self.tag.load())
    }

    fn empty(&self, tag: u64) -> FlowState {
        loop {
            let state = self.state();
            if state.is_refused() {
                return FlowState::from_word(0);
            }
            if self.state.replace(state.word(), 0) {
                self.tag.replace(tag, 0);
                return state;
            }
        }
    }
}

#[cfg(test)]
mod tests;
