//! What the kernel program and the daemon have in common.
//!
//! Everything here is pure: no clock, no I/O, no allocation outside [`window`] and [`account`]. Times are nanoseconds of
//! `CLOCK_MONOTONIC` handed in by the caller. The XDP program, the proxy and the tests call the same code,
//! so a request is judged by one rule wherever it is judged.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(not(target_arch = "bpf"), forbid(unsafe_code))]

#[cfg(feature = "std")]
pub mod account;
pub mod answer;
pub mod decimal;
pub mod flow;
pub mod hash;
pub mod http;
pub mod layout;
pub mod limit;
pub mod outcome;
pub mod packet;
mod sync;
#[cfg(feature = "std")]
pub mod window;
pub mod word;

/// Length of the hour, in seconds.
pub const HOUR_SECONDS: u64 = 3_600;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
