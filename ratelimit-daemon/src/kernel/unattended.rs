//! The kernel's part as it stands, read from what is pinned: for who asks while there is no daemon.
#![forbid(unsafe_code)]

use super::attach::Attached;
use super::inheritance::Inheritance;
use super::pins::{Directory, Hook};
use crate::clock;
use crate::config::{Action, Mode};
use crate::shared_memory::SharedArray;
use anyhow::{Context, Result};
use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::links::{FdLink, PinnedLink};
use ratelimit_common::SECOND_NS;
use ratelimit_common::layout::{self, Clock};
use ratelimit_common::outcome::Outcome;
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::Path;

/// What enforces, and since when nobody looks after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unattended {
    /// The version of the daemon that loaded the program.
    pub loaded_by: String,
    /// When it did, in seconds of Unix time.
    pub loaded_at: u64,
    /// Seconds since a daemon was last there.
    pub unattended_seconds: u64,
    /// Whether a proxy is meant to judge what the kernel leaves.
    pub mode: Mode,
    /// What happens to a request over its limits.
    pub action: Action,
    /// Where the program is attached.
    pub interfaces: Vec<Attached>,
    /// The guarded ports.
    pub ports: Vec<u16>,
    /// Keys that the kernel knows.
    pub keys: usize,
}

impl Unattended {
    /// What is pinned in `directory`. Error: nothing is, it is of another version, or this user may not look.
    pub fn look(directory: &Path) -> Result<(Self, Vec<(Outcome, u64)>)> {
        let maps = Inheritance::look(directory)?;
        let directory = Directory::new(directory);
        let about = &maps.about;
        let clock_map = MapData::from_pin(directory.map("CLOCK"))?;
        let clock = SharedArray::<Clock>::of_map(clock_map.fd().as_fd(), 1)?;
        let seen = clock.get(0).map_or(0, |clock| clock.seen_ns.load());
        let version: Vec<u8> = about.version.into_iter().take_while(|byte| *byte != 0).collect();
        let state = Self {
            loaded_by: String::from_utf8_lossy(&version).into_owned(),
            loaded_at: about.loaded_at,
            unattended_seconds: clock::now().saturating_sub(seen) / SECOND_NS,
            mode: if about.has_proxy == 0 { Mode::Kernel } else { Mode::Proxy },
            action: action(about.action),
            interfaces: attached(&directory)?,
            ports: (0..=u16::MAX).filter(|port| is_set(&about.ports, *port)).collect(),
            keys: maps.slots().owners().count(),
        };
        Ok((state, counters(&directory)?))
    }
}

fn action(number: u32) -> Action {
    match number {
        number if number == layout::Action::Drop as u32 => Action::Drop,
        number if number == layout::Action::Reset as u32 => Action::Reset,
        number if number == layout::Action::Observe as u32 => Action::Observe,
        _ => Action::Reply,
    }
}

fn is_set(bits: &[u64; 1024], port: u16) -> bool {
    bits.get(usize::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
}

fn attached(directory: &Directory) -> Result<Vec<Attached>> {
    let mut attached = Vec::new();
    for pin in directory.links()? {
        let Hook::Judge(mode) = pin.hook else { continue };
        let link =
            PinnedLink::from_pin(&pin.path).with_context(|| format!("cannot open {}", pin.path.display()))?;
        let program_id = FdLink::from(link).info()?.program_id();
        attached.push(Attached { interface: pin.interface, mode, program_id });
    }
    Ok(attached)
}

fn counters(directory: &Directory) -> Result<Vec<(Outcome, u64)>> {
    let map = Map::from_map_data(MapData::from_pin(directory.map("COUNTERS"))?)?;
    super::sums(&PerCpuArray::try_from(&map)?)
}
