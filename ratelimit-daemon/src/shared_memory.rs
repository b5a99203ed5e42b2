//! Memory that is mapped from a BPF map, or, where there is no kernel program, from nowhere.

use anyhow::{Context, Result};
use ratelimit_common::layout::{Clock, FlowSet, Slot};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

/// A type that may lie in memory which the kernel program changes at the same time.
///
/// # Safety
/// Every byte pattern is a valid value, and every change goes through atomic words.
pub(crate) unsafe trait Shareable {}

// SAFETY: made of nothing but `Word`s, which are atomic and valid with any bits.
unsafe impl Shareable for Slot {}
// SAFETY: made of nothing but `Word`s, which are atomic and valid with any bits.
unsafe impl Shareable for FlowSet {}
// SAFETY: made of nothing but `Word`s, which are atomic and valid with any bits.
unsafe impl Shareable for Clock {}

/// An array of `T` in shared memory, zeroed at first.
#[derive(Debug)]
pub(crate) struct SharedArray<T> {
    base: NonNull<T>,
    count: usize,
    elements: PhantomData<T>,
}

// SAFETY: the array is a block of memory owned by this value, and `T` is changed by atomic words only.
unsafe impl<T: Shareable> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for SharedArray<T> {}

impl<T: Shareable> SharedArray<T> {
    /// `count` zeroed elements that nobody else sees.
    pub(crate) fn anonymous(count: usize) -> Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap_anonymous(null_mut(), Self::bytes(count), Self::ACCESS, MapFlags::SHARED) };
        Self::new(base.with_context(|| format!("cannot get {} bytes of memory", Self::bytes(count)))?, count)
    }

    /// The `count` elements of the mmapable array map behind `map`.
    pub(crate) fn of_map(map: BorrowedFd<'_>, count: usize) -> Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(null_mut(), Self::bytes(count), Self::ACCESS, MapFlags::SHARED, map, 0) };
        Self::new(base.context("cannot map a BPF map into memory")?, count)
    }

    const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

    fn bytes(count: usize) -> usize {
        count * size_of::<T>()
    }

    fn new(base: *mut std::ffi::c_void, count: usize) -> Result<Self> {
        let base = NonNull::new(base.cast()).context("memory was mapped at address zero")?;
        Ok(Self { base, count, elements: PhantomData })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// An element, if there are that many.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        if index >= self.count {
            return None;
        }
        // SAFETY: the mapping holds `count` elements and `index` is below that.
        let element = unsafe { self.base.add(index) };
        // SAFETY: mapped for as long as `self` lives, page-aligned at its start, and valid with any bits.
        Some(unsafe { element.as_ref() })
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping that `new` took over, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.count * size_of::<T>()) };
        debug_assert!(unmapped.is_ok(), "a mapping that we made can be undone");
    }
}
