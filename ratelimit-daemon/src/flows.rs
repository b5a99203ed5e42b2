//! The connections' cells: which requests the kernel has charged and the proxy has not yet handled.
//! See [`ratelimit_common::flow`].
#![forbid(unsafe_code)]

use crate::shared_memory::SharedArray;
use anyhow::Result;
use ratelimit_common::flow::{Credit, Endpoints, FlowState, set_index};
use ratelimit_common::hash::Secret;
use ratelimit_common::layout::{FLOW_WAYS, FlowCell, FlowSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// All cells. A clone is another handle to the same memory.
#[derive(Clone, Debug)]
pub struct Flows {
    sets: Arc<SharedArray<FlowSet>>,
    secret: Secret,
}

/// Number of sets for at least `flows` connections: a power of two, 1 or more.
pub fn sets_for(flows: u32) -> u32 {
    flows.div_ceil(FLOW_WAYS as u32).next_power_of_two()
}

impl Flows {
    /// Room for at least `count` connections, without a kernel program beside the proxy.
    pub fn anonymous(count: u32) -> Result<Self> {
        let secret = Secret { k0: 0, k1: 0 };
        Ok(Self { sets: Arc::new(SharedArray::anonymous(sets_for(count) as usize)?), secret })
    }

    /// The `sets` sets in the kernel's map, which the program fills by hashes under `secret`.
    pub(crate) fn of_map(map: BorrowedFd<'_>, sets: u32, secret: Secret) -> Result<Self> {
        Ok(Self { sets: Arc::new(SharedArray::of_map(map, sets as usize)?), secret })
    }

    /// The cells that are in use, each with the seconds since it was last used.
    pub(crate) fn in_use(&self, now: u64) -> impl Iterator<Item = (FlowState, u64)> {
        let used = move |cell: &FlowCell| Some((cell.state(), cell.unused_seconds(now)?));
        self.cells().filter_map(used)
    }

    /// Places for connections.
    pub(crate) fn room(&self) -> usize {
        self.sets.len() * FLOW_WAYS
    }

    fn cells(&self) -> impl Iterator<Item = &FlowCell> {
        (0..self.sets.len()).filter_map(|index| self.sets.get(index)).flat_map(|set| &set.cells)
    }

    /// Forgets all connections, of a proxy that is no more. Returns what the kernel charged on each and no request took.
    /// Connections that the kernel is about to end itself stay.
    pub(crate) fn abandon(&self) -> impl Iterator<Item = FlowState> {
        self.cells().map(FlowCell::abandon)
    }

    /// The flow of the connection between `client` and `host`.
    pub fn open(&self, client: SocketAddr, host: SocketAddr) -> Flow {
        let endpoints = Endpoints {
            client: address_words(client.ip()),
            host: address_words(host.ip()),
            client_port: client.port(),
            host_port: host.port(),
        };
        Flow { sets: self.sets.clone(), hash: endpoints.hash(self.secret) }
    }
}

/// An address as it lies in a packet.
fn address_words(address: IpAddr) -> [u64; 2] {
    match address.to_canonical() {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()).into(), 0],
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
            [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
        }
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Flow {
    sets: Arc<SharedArray<FlowSet>>,
    hash: u64,
}

impl Flow {
    /// Takes a credit for `slot`: `Some` if the kernel has judged this request.
    pub fn take(&self, slot: u32) -> Option<Credit> {
        self.set()?.find(self.hash)?.take(slot)
    }

    /// True if the kernel has judged a request of the connection.
    pub fn is_known(&self) -> bool {
        self.set().is_some_and(|set| set.find(self.hash).is_some())
    }

    /// Tells the kernel whether something of a request is in hand here: while there is, it answers none.
    pub fn set_idle(&self, is_idle: bool) {
        if let Some(cell) = self.set().and_then(|set| set.find(self.hash)) {
            cell.set_idle(is_idle);
        }
    }

    /// Forgets the connection. Returns what the kernel charged on it and no request took.
    pub fn release(&self) -> FlowState {
        let cell = self.set().and_then(|set| set.find(self.hash));
        cell.map_or(FlowState::from_word(0), |cell| cell.release(self.hash))
    }

    /// Does what the kernel does when it judges a request of `len` bytes at `sequence`: leaves a credit.
    #[doc(hidden)]
    pub fn leave_credit(&self, sequence: u32, len: u32, slot: u32, credit: Credit) {
        let now = crate::clock::now();
        let cell = self.set().and_then(|set| set.find(self.hash).or_else(|| set.claim(self.hash, now)));
        if let Some(cell) = cell {
            cell.record(sequence, len, slot, credit);
        }
    }

    /// Forgets the connection whatever there is to remember of it: for who has no client that ends it.
    #[doc(hidden)]
    pub fn forget(&self) {
        if let Some(cell) = self.set().and_then(|set| set.find(self.hash)) {
            cell.forget(self.hash);
        }
    }

    fn set(&self) -> Option<&FlowSet> {
        // Made from a u32.
        self.sets.get(set_index(self.hash, self.sets.len() as u32) as usize)
    }
}
