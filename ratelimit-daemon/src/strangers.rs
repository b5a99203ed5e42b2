//! Clients without a key: each address has limits of its own, as if it were a key of one tier.
//!
//! There is room for so many of them, and an address that is forgotten comes back with a full bucket and an empty
//! hour. So one is only ever forgotten when it has both anyway: whoever sends from many addresses can fill the
//! room, and never empty it. While it is full of addresses that count, others are turned away.
#![forbid(unsafe_code)]

use crate::limiter::{Limiter, Usage};
use crate::policy::{Key, Limits};
use crate::slots::Slots;
use anyhow::Result;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{info, warn};

/// Looks at places for one that can be given to a newcomer, when there is no free one.
const LOOKS: usize = 8;

/// In so many calls of [`Strangers::sweep`] every place is looked at.
const SWEEPS: usize = 600;

/// The addresses of clients without a key.
#[derive(Debug)]
pub struct Strangers {
    limiter: Limiter,
    tier: String,
    room: Mutex<Room>,
}

#[derive(Debug)]
struct Room {
    /// As many as there were ever needed at once. A place's index is its slot.
    places: Vec<Option<Place>>,
    by_address: HashMap<IpAddr, usize>,
    free: Vec<usize>,
    /// The place that is looked at next.
    next: usize,
    most: usize,
    /// Whether newcomers are turned away: one line in the log for each change.
    is_full: bool,
}

#[derive(Debug)]
struct Place {
    address: IpAddr,
    key: Arc<Key>,
}

impl Strangers {
    /// Room for `most` addresses, which have the limits of `tier`; with `observe` they are refused nothing.
    pub fn new(tier: &str, most: u32, observe: bool) -> Result<Self> {
        let room = Room {
            places: Vec::new(),
            by_address: HashMap::new(),
            free: Vec::new(),
            next: 0,
            most: most as usize,
            is_full: false,
        };
        let limiter = Limiter::new(Slots::anonymous(most)?, observe);
        Ok(Self { limiter, tier: tier.to_owned(), room: Mutex::new(room) })
    }

    /// The name of their tier.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// The judge of these clients.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// What the clients at `address` have used, with `limits` as they are now; `None` if there is no room. It is
    /// not forgotten while anybody holds it.
    pub fn find(&self, address: IpAddr, limits: &Limits, now: u64) -> Option<Arc<Key>> {
        let address = network(address);
        let mut room = self.room();
        let index = match room.by_address.get(&address) {
            Some(index) => *index,
            None => self.take_place(&mut room, now).or_else(|| room.turn_away())?,
        };
        let place = room.places.get_mut(index)?;
        let usage = match place {
            Some(Place { key, .. }) if key.limits == *limits => return Some(key.clone()),
            Some(Place { key, .. }) => key.usage.clone(),
            None => Arc::default(),
        };
        let key = Arc::new(self.key(address, index, limits, usage));
        // What a rule for everything says to the kernel, nobody hears: it knows no strangers.
        self.limiter.install(&key, &[], now);
        *place = Some(Place { address, key: key.clone() });
        room.by_address.insert(address, index);
        Some(key)
    }

    /// Forgets some of those that have used nothing that still counts. To be called once a second or so.
    pub fn sweep(&self, now: u64) {
        let mut room = self.room();
        let looks = room.places.len().div_ceil(SWEEPS);
        for _ in 0..looks {
            if let Some(index) = room.look(&self.limiter, now) {
                room.free.push(index);
            }
        }
        // Well below the limit, so that the log does not tell of every client that comes and goes at it.
        if room.is_full && room.by_address.len() <= room.most / 8 * 7 {
            room.is_full = false;
            info!("there is room for clients without a key again");
        }
    }

    /// The number of addresses that are remembered.
    pub fn len(&self) -> usize {
        self.room().by_address.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An empty place, its slot like new.
    fn take_place(&self, room: &mut Room, now: u64) -> Option<usize> {
        if room.free.is_empty() && room.places.len() < room.most {
            room.places.push(None);
            return Some(room.places.len() - 1);
        }
        let index = room.free.pop().or_else(|| (0..LOOKS).find_map(|_| room.look(&self.limiter, now)))?;
        // Made from a u32.
        self.limiter.uninstall(index as u32);
        Some(index)
    }

    fn key(&self, address: IpAddr, index: usize, limits: &Limits, usage: Arc<Usage>) -> Key {
        let name = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{address}/64"),
        };
        Key {
            name,
            tier: self.tier.clone(),
            fingerprint: String::new(),
            // Made from a u32.
            slot: index as u32,
            siphash: 0,
            limits: limits.clone(),
            enabled: true,
            expires: None,
            usage,
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        // It is consistent between any two statements that could panic.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn turn_away(&mut self) -> Option<usize> {
        if !self.is_full {
            self.is_full = true;
            let max_clients = self.most;
            warn!(
                max_clients,
                "too many clients without a key: others are turned away (anonymous.max_clients)"
            );
        }
        None
    }

    /// Looks at the next place, and empties it if whoever has it would be the same as a newcomer.
    fn look(&mut self, limiter: &Limiter, now: u64) -> Option<usize> {
        let index = self.next;
        self.next = (index + 1) % self.places.len().max(1);
        let taken = self.places.get_mut(index)?;
        let Place { address, key } = taken.as_mut()?;
        // A connection that holds it may charge it at any time.
        let is_held = Arc::get_mut(key).is_none_or(|key| Arc::get_mut(&mut key.usage).is_none());
        if is_held || !limiter.is_unused(key, now) {
            return None;
        }
        self.by_address.remove(address);
        *taken = None;
        Some(index)
    }
}

/// What is one client: an IPv4 address, or an IPv6 network of 64 bits, of which one customer has all addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests;
