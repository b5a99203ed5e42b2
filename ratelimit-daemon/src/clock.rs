//! The two clocks. Everything is judged by the monotonic one; the wall clock is only shown to people and clients.
#![forbid(unsafe_code)]

use ratelimit_common::SECOND_NS;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`: the clock that the kernel program reads as `bpf_ktime_get_ns`.
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Unix time in nanoseconds. May step when somebody sets the clock.
pub fn unix() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// Unix time in whole seconds, rounded down. May step when somebody sets the clock.
pub fn unix_seconds() -> u64 {
    unix() / SECOND_NS
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock is negative on a running host; before 1970 there is nothing to show.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * SECOND_NS + nanoseconds
}
