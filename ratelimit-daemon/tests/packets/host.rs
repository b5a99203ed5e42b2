//! A loaded program with keys, and what it does to frames.

use crate::frames::{Frame, Network, PORT};
use crate::socket;
use ratelimit_common::hash::{Secret, hash_bytes};
use ratelimit_common::http::{FieldName, KeyFields};
use ratelimit_common::layout::{Action, Slot};
use ratelimit_common::limit::Burst;
use ratelimit_common::outcome::Outcome;
use ratelimit_daemon::kernel::{Kernel, KernelSettings, TestRunOutput};
use socket2::Socket;
use std::collections::HashMap;

pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;

/// Keys of the length that `ratelimitd keys add` makes.
pub(crate) const KEY: &str = "rl_0123456789ABCDEFGHIJabcdefgh";
pub(crate) const OTHER_KEY: &str = "rl_9876543210ABCDEFGHIJabcdefgh";
/// Slots of the two.
pub(crate) const SLOT: u32 = 0;
pub(crate) const OTHER_SLOT: u32 = 1;

pub(crate) const SECRET: Secret = Secret { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };

/// Where the program looks for a key.
pub(crate) fn fields() -> KeyFields {
    KeyFields { name: FieldName::new("X-API-Key").expect("a name of a good length"), bearer: 1 }
}

/// A program that no interface has.
pub(crate) struct Host {
    pub(crate) kernel: Kernel,
    client_port: u16,
    connections: HashMap<(Network, u16, u16), Connection>,
}

/// A connection of which the host's end is there.
struct Connection {
    awaits: u32,
    // Held for its end.
    _socket: Socket,
}

/// What the program is loaded with.
pub(crate) fn settings(action: Action) -> KernelSettings {
    KernelSettings {
        secret: SECRET,
        header: "X-API-Key".into(),
        bearer: true,
        action,
        has_proxy: true,
        ratelimit_fields: true,
        late_answers: false,
        ports: vec![PORT, 443],
        max_keys: 128,
        max_flows: 65_536,
    }
}

impl Host {
    /// Two keys with a bucket of `burst` tokens each.
    pub(crate) fn new(action: Action, burst: u32) -> Self {
        Self::with(settings(action), burst)
    }

    pub(crate) fn with(settings: KernelSettings, burst: u32) -> Self {
        socket::enter_network();
        let kernel =
            Kernel::load(&settings).expect("these tests need root and the kernel program (cargo xtask test)");
        let mut host = Self { kernel, client_port: 1_000, connections: HashMap::new() };
        host.add_key(KEY, SLOT, burst);
        host.add_key(OTHER_KEY, OTHER_SLOT, burst);
        host
    }

    pub(crate) fn add_key(&mut self, key: &str, slot: u32, burst: u32) {
        self.slot(slot).set_burst(Burst::per_minute(burst));
        self.slot(slot).hour_ceiling.store(u64::MAX);
        self.kernel.insert_key(hash_bytes(SECRET, key.as_bytes()), slot).expect("room for a key");
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        self.kernel.slots().get(slot).expect("a slot")
    }

    /// Runs the program on bytes, whatever they are.
    pub(crate) fn run_bytes(&mut self, frame: &[u8]) -> TestRunOutput {
        self.kernel.test_run(frame, 1).expect("a test run")
    }

    /// Runs the program on a frame that a connection awaits.
    pub(crate) fn run(&mut self, frame: &Frame) -> TestRunOutput {
        self.establish(frame);
        self.run_bytes(&frame.bytes())
    }

    /// Makes the connection of `frame` await it.
    pub(crate) fn establish(&mut self, frame: &Frame) {
        let (key, awaits) = ((frame.network, frame.client_port, frame.host_port), frame.sequence);
        if self.connections.get(&key).is_none_or(|connection| connection.awaits != awaits) {
            // Two sockets cannot have the same ends.
            self.connections.remove(&key);
            self.connections.insert(key, Connection { awaits, _socket: socket::established(frame) });
        }
    }

    /// Closes the connection of `frame`.
    pub(crate) fn disconnect(&mut self, frame: &Frame) {
        self.connections.remove(&(frame.network, frame.client_port, frame.host_port));
    }

    /// Runs a frame through the program and tells what it found.
    pub(crate) fn outcome(&mut self, frame: &[u8]) -> Outcome {
        let before = self.kernel.counters().expect("counters");
        self.run_bytes(frame);
        let after = self.kernel.counters().expect("counters");
        let mut changed = after.iter().zip(&before).filter(|(after, before)| after.1 != before.1);
        let (outcome, _) = changed.next().expect("every packet is counted").0;
        assert!(changed.next().is_none(), "a packet is counted once");
        *outcome
    }

    /// The same with a frame that a connection awaits.
    pub(crate) fn outcome_of(&mut self, frame: &Frame) -> Outcome {
        self.establish(frame);
        self.outcome(&frame.bytes())
    }

    /// What the program finds about `payload` on a connection of its own.
    pub(crate) fn outcome_of_payload(&mut self, payload: impl Into<Vec<u8>>) -> Outcome {
        self.client_port += 1;
        let frame = Frame { client_port: self.client_port, ..Frame::new(payload) };
        let outcome = self.outcome_of(&frame);
        self.disconnect(&frame);
        outcome
    }

    /// Tokens that were taken from both keys together.
    pub(crate) fn charged(&self) -> u64 {
        self.slot(SLOT).admitted.load() + self.slot(OTHER_SLOT).admitted.load()
    }
}
