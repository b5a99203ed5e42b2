//! The primitives of concurrency, in one place so that a model checker can put its own in theirs.

#[cfg(not(shuttle))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(feature = "std")]
pub(crate) use std::sync::PoisonError;
#[cfg(all(feature = "std", not(shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
