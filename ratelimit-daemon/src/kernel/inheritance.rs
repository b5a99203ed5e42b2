//! What an earlier daemon has left pinned: checked before any of it is used, and read as it was meant.

use super::KernelSettings;
use super::pins::{Directory, unpin};
use crate::flows::Flows;
use crate::limiter::Limiter;
use crate::slots::Slots;
use anyhow::{Context, Result, bail};
use aya::Pod;
use aya::maps::{Array, Map, MapData, MapInfo};
use ratelimit_common::hash::Secret;
use ratelimit_common::layout::{About, Clock, FlowSet, LAYOUT, Slot};
use ratelimit_common::outcome::Outcome;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use tracing::{info, warn};

/// [`About`] in the form in which a map is read and written.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Noted(pub(super) About);

// SAFETY: `repr(C)`, made of integers only, without padding: its size is asserted beside its definition.
unsafe impl Pod for Noted {}

/// The maps of an earlier daemon.
#[derive(Debug)]
pub struct Inheritance {
    /// What they say of themselves.
    pub(super) about: About,
    slots: Slots,
    flows: Flows,
    /// Sets of flow cells.
    sets: u32,
}

impl Inheritance {
    /// What is pinned in `directory`, whether a daemon has it or not: to be looked at. Error: nothing is, or it is of
    /// another version.
    pub fn look(directory: &Path) -> Result<Self> {
        Self::of(&Directory::new(directory))?
            .with_context(|| format!("nothing is pinned in {} (kernel.pin_directory)", directory.display()))
    }

    /// What is pinned in `directory`, if a program was ever attached with it.
    pub(super) fn of(directory: &Directory) -> Result<Option<Self>> {
        let about = directory.map("ABOUT");
        if !about.try_exists().with_context(|| format!("cannot look at {}", about.display()))? {
            return Ok(None);
        }
        let told = || {
            format!(
                "{} (kernel.pin_directory) was pinned by another version of ratelimitd: \
                 run that version, or remove it by `ratelimitd detach` (buckets are then full)",
                directory.path().display()
            )
        };
        if expect(directory, "ABOUT", size_of::<About>(), 1).is_err() {
            bail!(told());
        }
        let about = read_about(directory)?;
        if about.layout == 0 {
            return Ok(None);
        }
        if about.layout != LAYOUT {
            bail!("{}; its layout is {}, that of this version {LAYOUT}", told(), about.layout);
        }
        let slots = size_of_map(directory, "SLOTS", size_of::<Slot>()).with_context(told)?;
        expect(directory, "KEYS", size_of::<u32>(), slots).with_context(told)?;
        expect(directory, "CLOCK", size_of::<Clock>(), 1).with_context(told)?;
        let sets = size_of_map(directory, "FLOWS", size_of::<FlowSet>()).with_context(told)?;
        let map = |name| MapData::from_pin(directory.map(name)).with_context(told);
        // Cells are only looked through here, so their hashes do not matter.
        let secret = Secret { k0: 0, k1: 0 };
        Ok(Some(Self {
            about,
            slots: Slots::of_map(map("SLOTS")?.fd().as_fd(), slots)?,
            flows: Flows::of_map(map("FLOWS")?.fd().as_fd(), sets, secret)?,
            sets,
        }))
    }

    /// The keys' slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The connections' cells.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Whether a proxy takes the credits that the kernel leaves on connections.
    pub fn has_proxy(&self) -> bool {
        self.about.has_proxy != 0
    }

    /// The slots that are in use, by their keys' hashes.
    pub fn owners(&self) -> HashMap<u64, u32> {
        self.slots.owners().map(|(slot, owner)| (owner, slot)).collect()
    }

    /// Closes the account of a proxy that is dead: all its connections are over, so what the kernel has charged on them
    /// and no request took is given back. To be called before anybody listens again.
    pub fn settle(&self) {
        if self.about.has_proxy == 0 {
            return;
        }
        let limiter = Limiter::new(self.slots.clone(), false);
        let mut tokens = 0;
        for left in self.flows.abandon() {
            limiter.refund(left.slot(), left.paid());
            tokens += left.paid();
        }
        if tokens > 0 {
            info!("{tokens} requests were charged and never came to the proxy that died: refunded");
        }
    }

    /// Sees to it that the maps fit a program with these `settings` and `sets` sets of flow cells. What does not fit and
    /// can be done without is unpinned, to be made anew. Returns the number of slots.
    pub(super) fn fit(&self, directory: &Directory, settings: &KernelSettings, sets: u32) -> Result<u32> {
        let (room, wanted) = (self.slots.len(), settings.max_keys);
        if room != wanted {
            warn!(
                "kernel.max_keys = {wanted}, and what is pinned has room for {room}: so it stays until \
                 `ratelimitd detach` removes it"
            );
        }
        if sets != self.sets || settings.has_proxy != (self.about.has_proxy != 0) {
            info!("the connections are remembered anew: kernel.max_flows or the mode has changed");
            unpin(&directory.map("FLOWS"))?;
        }
        if expect(directory, "COUNTERS", size_of::<u64>(), Outcome::COUNT as u32).is_err() {
            unpin(&directory.map("COUNTERS"))?;
        }
        Ok(room)
    }
}

/// Reads what the pinned maps say of themselves.
fn read_about(directory: &Directory) -> Result<About> {
    let map = Map::from_map_data(MapData::from_pin(directory.map("ABOUT"))?)?;
    let Noted(about) = Array::<_, Noted>::try_from(map)?.get(&0, 0)?;
    Ok(about)
}

/// Fails unless the pinned map `name` has `count` values of `size` bytes.
fn expect(directory: &Directory, name: &str, size: usize, count: u32) -> Result<()> {
    match size_of_map(directory, name, size)? {
        found if found == count => Ok(()),
        found => bail!("{name} has {found} elements in place of {count}"),
    }
}

/// The number of elements of the pinned map `name`, which have to be of `size` bytes.
fn size_of_map(directory: &Directory, name: &str, size: usize) -> Result<u32> {
    let path = directory.map(name);
    let map = MapInfo::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if map.value_size() as usize != size {
        bail!("{name} has elements of {} bytes in place of {size}", map.value_size());
    }
    Ok(map.max_entries())
}
