//! The bytes that the kernel program and the daemon share through mapped memory.
//!
//! Both sides use these very types, so there is no second copy to keep in step.

use crate::hash::Secret;
use crate::http::KeyFields;
use crate::limit::Burst;
use crate::word::Word;

/// A key's place in the kernel: two cache lines, the first what a judgement reads and writes, the second what
/// it counts. All times are nanoseconds of `CLOCK_MONOTONIC`. All zero: not in use.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// The bucket's word: see [`crate::limit`]. Changed by compare-exchange, by both sides.
    pub bucket: Word,
    /// [`Burst::interval_ns`]. Written by the daemon, like all that follows.
    pub interval_ns: Word,
    /// [`Burst::depth_ns`].
    pub depth_ns: Word,
    /// Before this instant every request of the key is refused. Zero: not blocked.
    pub blocked_until_ns: Word,
    /// The hour as of the proxy's last judgement: the limit in the high 32 bits, what remains in the low.
    pub hour: Word,
    /// When the oldest counted request leaves the hour.
    pub hour_reset_ns: Word,
    /// The count of `admitted` up to which the hour admits, where there is no proxy to count it; else the largest.
    pub hour_ceiling: Word,
    /// The keyed hash of the key that the slot is for: so whoever finds the slot knows whose it is.
    pub owner: Word,
    /// Requests that the kernel admitted and charged. Written by the kernel, like all that follows.
    pub admitted: Word,
    /// Requests that the kernel refused because the bucket was empty.
    pub refused_burst: Word,
    /// Requests that the kernel refused because the key is blocked.
    pub refused_blocked: Word,
    /// Requests that a dry run let pass and that would have been refused.
    pub observed: Word,
    /// How much of `admitted` the daemon has counted, where there is no proxy. Written by the daemon, like what follows.
    pub followed: Word,
    /// Until when `hour_ceiling` holds. A daemon renews it; once there was none for an hour, all that it had counted has
    /// left the hour, and nobody can tell what came since.
    pub ceiling_until_ns: Word,
    reserved: [Word; 2],
}

impl Slot {
    /// The keyed hash of the key that it is for, if it is in use.
    pub fn owner(&self) -> Option<u64> {
        (self.interval_ns.load() != 0).then(|| self.owner.load())
    }

    /// The count of `admitted` up to which the hour admits at `now`. Without a branch, for the verifier's sake.
    #[inline(always)]
    pub fn ceiling(&self, now: u64) -> u64 {
        let is_over = (self.ceiling_until_ns.load().wrapping_sub(now) as i64 >> 63) as u64;
        self.hour_ceiling.load() | is_over
    }

    /// Empties it, for the next.
    pub fn clear(&self) {
        // Without an interval nobody judges by it any more.
        let words = [&self.interval_ns, &self.depth_ns, &self.owner, &self.bucket, &self.blocked_until_ns];
        let hour = [&self.hour, &self.hour_reset_ns, &self.hour_ceiling, &self.ceiling_until_ns];
        let counts =
            [&self.admitted, &self.refused_burst, &self.refused_blocked, &self.observed, &self.followed];
        words.into_iter().chain(hour).chain(counts).for_each(|word| word.store(0));
    }

    /// The burst limit, if the slot is in use.
    #[inline(always)]
    pub fn burst(&self) -> Option<Burst> {
        let interval_ns = self.interval_ns.load();
        if interval_ns == 0 { None } else { Some(Burst::from_parts(interval_ns, self.depth_ns.load())) }
    }

    /// Sets the burst limit. The bucket keeps its word: what was used of the old capacity stays used in
    /// proportion.
    pub fn set_burst(&self, burst: Burst) {
        self.depth_ns.store(burst.depth_ns());
        self.interval_ns.store(burst.interval_ns());
    }
}

/// Cells in a set: the places where one connection can be remembered.
pub const FLOW_WAYS: usize = 4;

/// What is remembered of one connection: see [`crate::flow`].
#[derive(Debug, Default)]
#[repr(C)]
pub struct FlowCell {
    /// Whose cell this is, and when it was last used.
    pub tag: Word,
    /// What was charged on this connection.
    pub state: Word,
}

/// One cache line of cells.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct FlowSet {
    /// The cells, in no order.
    pub cells: [FlowCell; FLOW_WAYS],
}

/// What the kernel does with a request over its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Drops the segment. The client's TCP sends it again and again until the bucket has a token.
    Drop = 0,
    /// Answers with a TCP reset: the client sees its connection end at once.
    Reset = 1,
    /// Counts it and lets it pass: a dry run.
    Observe = 2,
    /// Answers it with the 429, and ends the connection in good order.
    Reply = 3,
}

/// Where the kernel's TCP keeps what it knows of a connection: offsets in bytes, as its own type information
/// (BTF) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketOffsets {
    /// `tcp_sock.rcv_nxt`: the sequence number that the host awaits.
    pub rcv_nxt: u32,
    /// `tcp_sock.copied_seq`: up to where the application has read.
    pub copied_seq: u32,
    /// `tcp_sock.snd_una`: up to where the client has acknowledged.
    pub snd_una: u32,
    /// `tcp_sock.snd_nxt`: up to where the host has sent.
    pub snd_nxt: u32,
    /// `tcp_sock.write_seq`: up to where the application has written.
    pub write_seq: u32,
    /// `tcp_sock.bytes_received`: bytes of payload that the host has received.
    pub bytes_received: u32,
    /// `tcp_request_sock.rcv_isn`: the client's initial sequence number.
    pub rcv_isn: u32,
    /// `tcp_request_sock.snt_isn`: the host's initial sequence number.
    pub snt_isn: u32,
}

/// What the daemon sets before it loads the program; read-only from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// Hashes keys and connections.
    pub secret: Secret,
    /// Where a key is found.
    pub fields: KeyFields,
    /// An [`Action`].
    pub action: u32,
    /// Number of sets in the flow map: a power of two.
    pub flow_sets: u32,
    /// 1 if a 429 has the IETF draft's fields, else 0.
    pub has_items: u32,
    /// 1 if a proxy judges what the kernel leaves, 0 if the API server itself gets it.
    pub has_proxy: u32,
    /// Nothing.
    pub reserved: u32,
    /// 1 if the TC program answers where a frame has no room for the answer, else 0.
    pub tc_answers: u32,
    /// Where the kernel's TCP keeps things.
    pub socket: SocketOffsets,
}

/// What the daemon tells the program while it runs.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Clock {
    /// Unix time less `CLOCK_MONOTONIC`, in nanoseconds.
    pub unix_offset_ns: Word,
    /// When the daemon was last here, in nanoseconds of `CLOCK_MONOTONIC`.
    pub seen_ns: Word,
}

/// The version of all that is laid down here, in [`crate::flow`] and in [`crate::outcome`]. To be raised when bytes that
/// outlive a daemon get another place or meaning.
pub const LAYOUT: u64 = 1;

/// Most bytes of a version that are kept in [`About`].
pub const VERSION_BYTES: usize = 32;

/// What the maps that outlive a daemon say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct About {
    /// [`LAYOUT`] of the daemon that made them. It stands first in every version. Zero: they were never in use.
    pub layout: u64,
    /// Unix time in seconds at which the program in force was loaded.
    pub loaded_at: u64,
    /// An [`Action`].
    pub action: u32,
    /// 1 if a proxy judges what the kernel leaves, 0 if the API server itself gets it.
    pub has_proxy: u32,
    /// The version of the daemon that loaded the program, and zeros.
    pub version: [u8; VERSION_BYTES],
    /// One bit for each guarded TCP port.
    pub ports: [u64; 1024],
}

// A word that the model checker watches is larger.
#[cfg(not(shuttle))]
const _: () = {
    assert!(size_of::<Settings>() == 2 * 8 + 8 * 8 + 6 * 4 + 8 * 4);
    assert!(size_of::<Slot>() == 128 && align_of::<Slot>() == 64);
    assert!(core::mem::offset_of!(Slot, admitted) == 64);
    // No padding: the fields' sizes add up to the type's.
    assert!(size_of::<Slot>() == (8 + 6 + 2) * size_of::<Word>());
    assert!(size_of::<About>() == 2 * 8 + 2 * 4 + VERSION_BYTES + 1024 * 8);
    assert!(size_of::<FlowCell>() == 2 * size_of::<Word>());
    assert!(size_of::<FlowSet>() == FLOW_WAYS * size_of::<FlowCell>() && align_of::<FlowSet>() == 64);
};
