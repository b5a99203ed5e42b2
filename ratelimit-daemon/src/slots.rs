//! The keys' slots: one element of shared memory each, judged by the kernel and by the proxy.
#![forbid(unsafe_code)]

use crate::shared_memory::SharedArray;
use anyhow::Result;
use ratelimit_common::layout::Slot;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// All slots. A clone is another handle to the same memory.
#[derive(Clone, Debug)]
pub struct Slots(Arc<SharedArray<Slot>>);

impl Slots {
    /// `count` slots without a kernel program beside the proxy.
    pub fn anonymous(count: u32) -> Result<Self> {
        Ok(Self(Arc::new(SharedArray::anonymous(count as usize)?)))
    }

    /// The slots in the kernel's map.
    pub(crate) fn of_map(map: BorrowedFd<'_>, count: u32) -> Result<Self> {
        Ok(Self(Arc::new(SharedArray::of_map(map, count as usize)?)))
    }

    /// A slot, if there are that many.
    pub fn get(&self, slot: u32) -> Option<&Slot> {
        self.0.get(slot as usize)
    }

    /// The slots that are in use, each with the hash of its key.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..self.len()).filter_map(|slot| Some((slot, self.get(slot)?.owner()?)))
    }

    /// Number of slots.
    pub fn len(&self) -> u32 {
        // Made from a u32.
        self.0.len() as u32
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
