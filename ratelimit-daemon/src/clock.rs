//! The two clocks. Everything is judged by the monotonic one; the wall clock is only shown to people and clients.
#![forbid(unsafe_code)]

use ratelimit_common::SECOND_NS;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};

/// Nanoseconds of `CLOCK_MONOTONIC`: the clock that the kernel program reads as `bpf_ktime_get_ns`.
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Unix time in nanoseconds. May step when somebody sets the clock.
pub fn unix() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)).saturating_add_signed(STEPPED.load(Ordering::Relaxed))
}

/// Unix time in whole seconds, rounded down. May step when somebody sets the clock.
pub fn unix_seconds() -> u64 {
    unix() / SECOND_NS
}

/// How far tests have set the wall clock.
static STEPPED: AtomicI64 = AtomicI64::new(0);

/// Sets the wall clock of this process `seconds` from the host's, as `date --set` sets a host's.
#[doc(hidden)]
pub fn step_unix(seconds: i64) {
    STEPPED.store(seconds * SECOND_NS as i64, Ordering::Relaxed);
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock is negative on a running host; before 1970 there is nothing to show.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * SECOND_NS + nanoseconds
}
