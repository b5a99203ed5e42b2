//! The maps, and what the daemon sets before the program is loaded.

use crate::scratch;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use ratelimit_common::hash::Secret;
use ratelimit_common::http::{FieldName, KeyFields};
use ratelimit_common::layout::{About, Clock, FlowSet, Settings, Slot, SocketOffsets};
use ratelimit_common::outcome::Outcome;

/// `BPF_F_MMAPABLE` of the kernel's `bpf.h`: the daemon maps the array into its own memory.
const MMAPABLE: u32 = 1 << 10;

/// A key's keyed hash to its slot. Only the daemon writes; nothing is ever evicted. Sized when loaded.
#[map]
pub(crate) static KEYS: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// The keys' slots. Sized when loaded.
#[map]
pub(crate) static SLOTS: Array<Slot> = Array::with_max_entries(1, MMAPABLE);

/// The connections' cells, in sets. Sized when loaded, to a power of two.
#[map]
pub(crate) static FLOWS: Array<FlowSet> = Array::with_max_entries(1, MMAPABLE);

/// How often each outcome was found.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Outcome::COUNT as u32, 0);

/// What the maps are, for whoever finds them pinned. Nothing to the program.
#[map]
pub(crate) static ABOUT: Array<About> = Array::with_max_entries(1, 0);

/// The wall clock, from the daemon.
#[map]
pub(crate) static CLOCK: Array<Clock> = Array::with_max_entries(1, MMAPABLE);

/// Where each processor writes an answer before it goes into a packet.
#[map]
pub(crate) static SCRATCH: PerCpuArray<[u8; scratch::SIZE]> = PerCpuArray::with_max_entries(1, 0);

/// Set by the daemon before loading.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings {
    secret: Secret { k0: 0, k1: 0 },
    fields: KeyFields { name: FieldName { words: [0; 3], masks: [0; 3], len: 0 }, bearer: 0 },
    action: 0,
    flow_sets: 1,
    has_items: 0,
    has_proxy: 0,
    reserved: 0,
    tc_answers: 0,
    socket: SocketOffsets {
        rcv_nxt: 0,
        copied_seq: 0,
        snd_una: 0,
        snd_nxt: 0,
        write_seq: 0,
        bytes_received: 0,
        rcv_isn: 0,
        snt_isn: 0,
    },
};

/// One bit for each guarded TCP port. Set by the daemon before loading.
#[unsafe(no_mangle)]
static PORTS: [u64; 1024] = [0; 1024];

/// Reads what the loader has put in place of a static's bytes, which the compiler must not believe it knows.
macro_rules! loaded {
    ($place:expr) => {
        // SAFETY: a live, aligned, initialised static of a plain type.
        unsafe { (&raw const $place).read_volatile() }
    };
}

/// The secret under which keys and connections are hashed.
#[inline(always)]
pub(crate) fn secret() -> Secret {
    Secret { k0: loaded!(SETTINGS.secret.k0), k1: loaded!(SETTINGS.secret.k1) }
}

/// Where a key is found. Read word by word, so that what is not used here costs nothing.
#[inline(always)]
pub(crate) fn key_fields() -> KeyFields {
    let words = [
        loaded!(SETTINGS.fields.name.words[0]),
        loaded!(SETTINGS.fields.name.words[1]),
        loaded!(SETTINGS.fields.name.words[2]),
    ];
    let masks = [
        loaded!(SETTINGS.fields.name.masks[0]),
        loaded!(SETTINGS.fields.name.masks[1]),
        loaded!(SETTINGS.fields.name.masks[2]),
    ];
    let name = FieldName { words, masks, len: loaded!(SETTINGS.fields.name.len) };
    KeyFields { name, bearer: loaded!(SETTINGS.fields.bearer) }
}

/// What to do with a request over its limits: an `Action`.
#[inline(always)]
pub(crate) fn action() -> u32 {
    loaded!(SETTINGS.action)
}

/// Whether a 429 has the IETF draft's fields.
#[inline(always)]
pub(crate) fn has_items() -> bool {
    loaded!(SETTINGS.has_items) != 0
}

/// Whether a proxy judges what is left to it; else the API server itself gets it.
#[inline(always)]
pub(crate) fn has_proxy() -> bool {
    loaded!(SETTINGS.has_proxy) != 0
}

/// Whether the TC program answers where a frame has no room for the answer.
#[inline(always)]
pub(crate) fn tc_answers() -> bool {
    loaded!(SETTINGS.tc_answers) != 0
}

/// Where the kernel's TCP keeps things.
#[inline(always)]
pub(crate) fn socket_offsets() -> SocketOffsets {
    SocketOffsets {
        rcv_nxt: loaded!(SETTINGS.socket.rcv_nxt),
        copied_seq: loaded!(SETTINGS.socket.copied_seq),
        snd_una: loaded!(SETTINGS.socket.snd_una),
        snd_nxt: loaded!(SETTINGS.socket.snd_nxt),
        write_seq: loaded!(SETTINGS.socket.write_seq),
        bytes_received: loaded!(SETTINGS.socket.bytes_received),
        rcv_isn: loaded!(SETTINGS.socket.rcv_isn),
        snt_isn: loaded!(SETTINGS.socket.snt_isn),
    }
}

/// Unix time less the monotonic clock, in nanoseconds.
#[inline(always)]
pub(crate) fn unix_offset() -> u64 {
    CLOCK.get(0).map_or(0, |clock| clock.unix_offset_ns.load())
}

/// Number of flow sets.
#[inline(always)]
pub(crate) fn flow_sets() -> u32 {
    loaded!(SETTINGS.flow_sets)
}

/// True if requests to `port` are judged.
#[inline(always)]
pub(crate) fn is_guarded(port: u16) -> bool {
    PORTS.get((port >> 6) as usize).is_some_and(|bits| loaded!(*bits) >> (port & 63) & 1 == 1)
}

/// Counts an outcome.
#[inline(always)]
pub(crate) fn count(outcome: Outcome) {
    if let Some(counter) = COUNTERS.get_ptr_mut(outcome as u32) {
        // SAFETY: a live element of this processor's own array; a program is not preempted by itself.
        unsafe { *counter += 1 };
    }
}
