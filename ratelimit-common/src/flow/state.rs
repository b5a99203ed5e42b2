//! What is remembered of one connection, in one word.

/// What is kept of an acknowledgement number. A window is smaller, so no answer can bring the same bits again.
const ACKNOWLEDGED_MASK: u64 = (1 << 30) - 1;

/// A charge that the kernel made, for the proxy to take note of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// The request took a token of the bucket.
    Paid,
    /// A dry run let the request pass although there was no token: nothing was taken.
    Observed,
}

const fn kept(acknowledged: u32) -> u64 {
    (acknowledged >> 4) as u64 & 0x3f
}

/// Whose turn it is on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The host has something of a request in hand, or may have.
    Busy = 0,
    /// The proxy has answered all that it has read, and waits for the first byte of the next request.
    Idle = 1,
    /// The kernel has answered a request and closed the client's side; the host's side is still open.
    Refused = 2,
    /// The host's side is closed too; what the client still sends is acknowledged and thrown away.
    Closed = 3,
}

/// The state word of a cell: sequence number (32 bits), slot (24), credits paid (3) and observed (3), stage (2).
///
/// While requests are charged, the sequence number is the one behind the last of them. Once one is refused, it
/// is the one at which that request starts: the host has received everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowState(u64);

impl FlowState {
    /// Most credits of a kind that can wait for the proxy.
    pub const MAX_CREDITS: u64 = 7;
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

    pub(super) const fn new(sequence: u32, slot: u32, paid: u64, observed: u64, stage: Stage) -> Self {
        let place = (sequence as u64) << 32 | (slot as u64 & 0xff_ffff) << 8;
        Self(place | paid << 5 | observed << 2 | stage as u64)
    }

    /// The slot that the credits are for, or that the refused request was for.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        (self.0 >> 8) as u32 & 0xff_ffff
    }

    /// Requests charged and not yet handled by the proxy.
    #[inline(always)]
    pub const fn paid(self) -> u64 {
        self.0 >> 5 & 7
    }

    /// Requests let pass by a dry run and not yet handled by the proxy.
    #[inline(always)]
    pub const fn observed(self) -> u64 {
        self.0 >> 2 & 7
    }

    /// Whose turn it is.
    #[inline(always)]
    pub const fn stage(self) -> Stage {
        match self.0 & 3 {
            0 => Stage::Busy,
            1 => Stage::Idle,
            2 => Stage::Refused,
            _ => Stage::Closed,
        }
    }

    /// The same in another stage.
    #[inline(always)]
    pub const fn at(self, stage: Stage) -> Self {
        Self(self.0 & !3 | stage as u64)
    }

    /// True once the kernel has answered a request: the connection is over, whatever else comes.
    #[inline(always)]
    pub const fn is_refused(self) -> bool {
        self.0 & 2 != 0
    }

    /// The sequence number.
    #[inline(always)]
    pub const fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// True if the request that starts at `sequence` was charged before. An empty word remembers nothing.
    #[inline(always)]
    pub const fn has_seen(self, sequence: u32) -> bool {
        self.0 >> 2 != 0 && (sequence.wrapping_sub(self.sequence()) as i32) < 0
    }

    /// True if the proxy waits for a request and none is on its way to it.
    #[inline(always)]
    pub const fn is_idle(self) -> bool {
        self.0 & 0xff == Stage::Idle as u64
    }

    /// True if a credit for `slot` fits.
    #[inline(always)]
    pub const fn has_room(self, slot: u32) -> bool {
        (self.paid() | self.observed()) == 0
            || (self.slot() == slot && self.paid() < Self::MAX_CREDITS && self.observed() < Self::MAX_CREDITS)
    }

    /// Everything before `next` charged, where there is no proxy to take credits: in their place stands how far the
    /// client had the host's answers then, in 30 bits.
    #[inline(always)]
    pub const fn unproxied(next: u32, acknowledged: u32) -> Self {
        Self((next as u64) << 32 | (acknowledged as u64 & ACKNOWLEDGED_MASK) << 2)
    }

    /// True if the host has answered since the last request was charged: the client has `acknowledged` more. For
    /// states made by [`Self::unproxied`].
    #[inline(always)]
    pub const fn has_answer(self, acknowledged: u32) -> bool {
        self.0 >> 2 & ACKNOWLEDGED_MASK != acknowledged as u64 & ACKNOWLEDGED_MASK
    }

    /// The request that starts at `sequence` refused. The client has `acknowledged` the host's bytes up to there: the
    /// answer is behind it. Six bits of that are kept in the place of the credits; an answer is longer than 16 bytes
    /// and shorter than 1,000, so it changes them.
    #[inline(always)]
    pub(super) const fn refused(sequence: u32, slot: u32, acknowledged: u32) -> Self {
        let place = (sequence as u64) << 32 | (slot as u64 & 0xff_ffff) << 8;
        Self(place | kept(acknowledged) << 2 | Stage::Refused as u64)
    }

    /// True if the client has received the answer to its refused request: it has `acknowledged` more than before.
    #[inline(always)]
    pub const fn has_refusal(self, acknowledged: u32) -> bool {
        self.0 >> 2 & 0x3f != kept(acknowledged)
    }

    /// With one credit more for `slot`, and everything before `next` charged.
    #[inline(always)]
    pub const fn with_credit(self, next: u32, slot: u32, credit: Credit) -> Self {
        let (paid, observed) = match credit {
            Credit::Paid => (self.paid() + 1, self.observed()),
            Credit::Observed => (self.paid(), self.observed() + 1),
        };
        Self::new(next, slot, paid, observed, self.stage())
    }

    /// Takes a credit for `slot`, if there is one.
    pub const fn take(self, slot: u32) -> Option<(Self, Credit)> {
        if self.is_refused() || self.slot() != slot {
            None
        } else if self.paid() > 0 {
            Some((Self(self.0 - (1 << 5)), Credit::Paid))
        } else if self.observed() > 0 {
            Some((Self(self.0 - (1 << 2)), Credit::Observed))
        } else {
            None
        }
    }
}
