//! Refusals in the log: some of them, since a client that hammers must not fill the disk.

use crate::limiter::Limit;
use crate::policy::Key;
use ratelimit_common::SECOND_NS;
use std::cell::Cell;
use tracing::info;

/// So much time is between two lines of one thread.
const INTERVAL_NS: u64 = 10 * SECOND_NS;

/// Which refusals of one thread are told.
#[derive(Debug, Default)]
pub(super) struct Sample {
    next: Cell<u64>,
    untold: Cell<u64>,
}

impl Sample {
    /// Tells of a refusal at `now`, or keeps it for the next line's count.
    pub(super) fn note(&self, key: &Key, limit: &Limit, wait_ns: u64, now: u64) {
        if let Some(untold) = self.take(now) {
            let (key, limit) = (&key.name, limit.name());
            info!(%key, limit, retry_after = wait_ns.div_ceil(SECOND_NS), untold, "refused");
        }
    }

    /// How many were not told since the last line, if it is time for the next.
    fn take(&self, now: u64) -> Option<u64> {
        if now < self.next.get() {
            self.untold.set(self.untold.get() + 1);
            return None;
        }
        self.next.set(now + INTERVAL_NS);
        Some(self.untold.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_seconds_is_told_and_the_others_are_counted() {
        let sample = Sample::default();
        let told: Vec<_> = (0..25).map(|second| sample.take(second * SECOND_NS)).collect();
        let lines: Vec<_> =
            told.iter().enumerate().filter_map(|(second, told)| Some((second, (*told)?))).collect();
        assert_eq!(lines, [(0, 0), (10, 9), (20, 9)]);
    }
}
