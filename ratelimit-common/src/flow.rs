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

use crate::SECOND_NS;
use crate::hash::Secret;
use crate::layout::{FlowCell, FlowSet};
use crate::limit::MAX_ATTEMPTS;

/// A cell unused for this long may be given to another connection when its set is full.
pub const IDLE_SECONDS: u64 = 120;

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

/// A charge that the kernel made, for the proxy to take note of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// The request took a token of the bucket.
    Paid,
    /// A dry run let the request pass although there was no token: nothing was taken.
    Observed,
}

/// The state word of a cell: sequence number (32 bits), slot (24), credits paid (4) and observed (4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowState(u64);

impl FlowState {
    /// Most credits of a kind that can wait for the proxy.
    pub const MAX_CREDITS: u64 = 15;
    /// Slots that a cell can name: the limit on the number of keys in the kernel.
    pub const MAX_SLOTS: u32 = 1 << 24;

    /// The state in a word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As a word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    const fn new(next: u32, slot: u32, paid: u64, observed: u64) -> Self {
        Self((next as u64) << 32 | (slot as u64 & 0xff_ffff) << 8 | paid << 4 | observed)
    }

    /// The slot that the credits are for.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        (self.0 >> 8) as u32 & 0xff_ffff
    }

    /// Requests charged and not yet handled by the proxy.
    #[inline(always)]
    pub const fn paid(self) -> u64 {
        self.0 >> 4 & 0xf
    }

    /// Requests let pass by a dry run and not yet handled by the proxy.
    #[inline(always)]
    pub const fn observed(self) -> u64 {
        self.0 & 0xf
    }

    const fn next(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// True if the request that starts at `sequence` was charged before. An empty word remembers nothing.
    #[inline(always)]
    pub const fn has_seen(self, sequence: u32) -> bool {
        self.0 != 0 && (sequence.wrapping_sub(self.next()) as i32) < 0
    }

    /// True if a credit for `slot` fits.
    #[inline(always)]
    pub const fn has_room(self, slot: u32) -> bool {
        (self.paid() | self.observed()) == 0
            || (self.slot() == slot && self.paid() < Self::MAX_CREDITS && self.observed() < Self::MAX_CREDITS)
    }

    /// With one credit more for `slot`, and everything before `next` charged.
    #[inline(always)]
    pub const fn with_credit(self, next: u32, slot: u32, credit: Credit) -> Self {
        match credit {
            Credit::Paid => Self::new(next, slot, self.paid() + 1, self.observed()),
            Credit::Observed => Self::new(next, slot, self.paid(), self.observed() + 1),
        }
    }

    /// Takes a credit for `slot`, if there is one.
    pub const fn take(self, slot: u32) -> Option<(Self, Credit)> {
        if self.slot() != slot {
            None
        } else if self.paid() > 0 {
            Some((Self(self.0 - (1 << 4)), Credit::Paid))
        } else if self.observed() > 0 {
            Some((Self(self.0 - 1), Credit::Observed))
        } else {
            None
        }
    }
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

const fn is_idle(word: u64, now: u64) -> bool {
    (clock(now).wrapping_sub(word & TIME_MASK) & TIME_MASK) > IDLE_SECONDS
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
            let claimed = (old == 0 || is_idle(old, now)) && cell.tag.replace(old, tag(hash) | clock(now));
            if claimed {
                cell.state.store(0);
            }
            claimed
        })
    }
}

impl FlowCell {
    /// True if the request that starts at `sequence` was charged before.
    #[inline(always)]
    pub fn has_seen(&self, sequence: u32) -> bool {
        FlowState::from_word(self.state.load()).has_seen(sequence)
    }

    /// Records that the request which starts at `sequence` and is `len` bytes long here was charged to `slot`.
    #[inline(always)]
    pub fn record(&self, sequence: u32, len: u32, slot: u32, credit: Credit) -> Recorded {
        for _ in 0..MAX_ATTEMPTS {
            let state = FlowState::from_word(self.state.load());
            if state.has_seen(sequence) {
                return Recorded::Seen;
            }
            if !state.has_room(slot) {
                return Recorded::NoRoom;
            }
            let next = state.with_credit(sequence.wrapping_add(len), slot, credit);
            if self.state.replace(state.word(), next.word()) {
                return Recorded::Yes;
            }
        }
        Recorded::NoRoom
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
            let state = FlowState::from_word(self.state.load());
            let (rest, credit) = state.take(slot)?;
            if self.state.replace(state.word(), rest.word()) {
                return Some(credit);
            }
        }
    }

    /// Frees the cell of `hash` and returns what it still held.
    pub fn release(&self, hash: u64) -> FlowState {
        let tag = self.tag.load();
        loop {
            let state = self.state.load();
            if !is_tagged(tag, hash) {
                return FlowState::from_word(0);
            }
            if self.state.replace(state, 0) {
                self.tag.replace(tag, 0);
                return FlowState::from_word(state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: Secret = Secret { k0: 1, k1: 2 };

    #[test]
    fn a_credit_is_taken_once_and_only_by_its_slot() {
        let cell = FlowCell::default();
        assert_eq!(cell.record(100, 50, 7, Credit::Paid), Recorded::Yes);
        assert_eq!(cell.take(8), None);
        assert_eq!(cell.take(7), Some(Credit::Paid));
        assert_eq!(cell.take(7), None);
    }

    #[test]
    fn a_retransmission_is_seen_and_the_next_request_is_not() {
        let cell = FlowCell::default();
        assert_eq!(cell.record(u32::MAX - 9, 50, 7, Credit::Paid), Recorded::Yes);
        assert_eq!(cell.record(u32::MAX - 9, 50, 7, Credit::Paid), Recorded::Seen);
        assert_eq!(cell.record(40, 50, 7, Credit::Paid), Recorded::Yes);
        assert_eq!(FlowState::from_word(cell.state.load()).paid(), 2);
    }

    #[test]
    fn another_key_waits_until_the_credits_are_taken() {
        let cell = FlowCell::default();
        assert_eq!(cell.record(0, 50, 7, Credit::Paid), Recorded::Yes);
        assert_eq!(cell.record(50, 50, 8, Credit::Paid), Recorded::NoRoom);
        assert_eq!(cell.take(7), Some(Credit::Paid));
        assert_eq!(cell.record(50, 50, 8, Credit::Paid), Recorded::Yes);
    }

    #[test]
    fn credits_are_bounded() {
        let cell = FlowCell::default();
        for request in 0..15 {
            assert_eq!(cell.record(request * 10, 10, 7, Credit::Paid), Recorded::Yes);
        }
        assert_eq!(cell.record(150, 10, 7, Credit::Paid), Recorded::NoRoom);
    }

    #[test]
    fn a_full_set_gives_up_only_idle_cells() {
        let set = FlowSet::default();
        let now = 1_000 * SECOND_NS;
        for connection in 1..=4_u64 {
            assert!(set.claim(connection << 40, now).is_some());
        }
        assert!(set.claim(5 << 40, now + IDLE_SECONDS * SECOND_NS).is_none());
        set.find(1 << 40).expect("there").touch(1 << 40, now + IDLE_SECONDS * SECOND_NS);
        assert!(set.claim(5 << 40, now + (IDLE_SECONDS + 1) * SECOND_NS).is_some());
        assert!(set.find(1 << 40).is_some() && set.find(2 << 40).is_none());
    }

    #[test]
    fn a_released_cell_is_free_and_tells_what_was_left() {
        let set = FlowSet::default();
        let cell = set.claim(9 << 40, 1).expect("free");
        cell.record(5, 5, 3, Credit::Paid);
        assert_eq!(cell.release(8 << 40).paid(), 0);
        assert_eq!(cell.release(9 << 40).paid(), 1);
        assert!(set.find(9 << 40).is_none());
    }

    proptest! {
        #[test]
        fn the_state_word_keeps_its_parts(next: u32, slot in 0..FlowState::MAX_SLOTS, paid in 0..15_u64, observed in 0..15_u64) {
            let state = FlowState::new(next, slot, paid, observed);
            prop_assert_eq!((state.next(), state.slot(), state.paid(), state.observed()), (next, slot, paid, observed));
        }

        #[test]
        fn both_ends_of_a_connection_matter(client: [u64; 2], host: [u64; 2], ports: [u16; 2]) {
            let forth = Endpoints { client, host, client_port: ports[0], host_port: ports[1] };
            let back = Endpoints { client: host, host: client, client_port: ports[1], host_port: ports[0] };
            prop_assert_eq!(forth == back, forth.hash(SECRET) == back.hash(SECRET));
        }
    }
}
