//! The sliding window: no more than a limit of requests in any interval of its span, wherever it starts.
//!
//! Requests are counted per second of `CLOCK_MONOTONIC`, and a second's count leaves the window when the whole
//! second is older than the span. So a request is forgotten at most one second late and never early: the
//! window is exact but for one second on the strict side. It holds at most min(limit, span + 1) counts, most of
//! them in one byte each: see [`packed`].

mod packed;
#[cfg(test)]
mod tests;

use crate::SECOND_NS;
use packed::{Count, Packed};

/// The requests of one key in the last `span` seconds.
#[derive(Clone, Debug)]
pub struct Window {
    span_seconds: u32,
    used: u32,
    /// The second of the oldest count.
    oldest: u32,
    /// The newest count; zero requests in an empty window.
    newest: Count,
    /// All counts before the newest.
    earlier: Packed,
}

impl Window {
    /// An empty window over `span_seconds` (1 or more).
    pub const fn new(span_seconds: u32) -> Self {
        let newest = Count { second: 0, requests: 0 };
        Self { span_seconds, used: 0, oldest: 0, newest, earlier: Packed::new() }
    }

    /// Changes the span. What a shorter one has forgotten stays forgotten.
    pub fn set_span(&mut self, span_seconds: u32) {
        self.span_seconds = span_seconds;
    }

    /// Requests in the window at `now`.
    pub fn used(&mut self, now: u64) -> u32 {
        self.forget(now);
        self.used
    }

    /// When the oldest request in the window leaves it; `None` for an empty window.
    pub fn oldest_leaves(&mut self, now: u64) -> Option<u64> {
        self.forget(now);
        (self.used > 0).then(|| self.leaves(self.oldest))
    }

    /// Nanoseconds from `now` until the window admits `requests` more under `limit`, which is not less than
    /// that; 0 if it does already. The wait is exact if nothing else is charged meanwhile.
    pub fn wait(&mut self, limit: u32, requests: u32, now: u64) -> u64 {
        self.forget(now);
        let most = limit.saturating_sub(requests);
        if self.used <= most {
            return 0;
        }
        let mut used = self.used;
        let enough = self.counts().find(|count| {
            used -= count.requests;
            used <= most
        });
        self.leaves(enough.unwrap_or(self.newest).second) - now
    }

    /// Counts `requests` at `now`.
    pub fn charge(&mut self, requests: u32, now: u64) {
        self.forget(now);
        // Time may seem to step back between two processors by less than their clocks' skew: count it later.
        let second = second(now).max(self.newest.second);
        if self.newest.requests == 0 {
            self.oldest = second;
        } else if self.newest.second < second {
            self.earlier.push(second - self.newest.second, self.newest.requests);
            self.newest.requests = 0;
        }
        self.newest = Count { second, requests: self.newest.requests + requests };
        self.used += requests;
    }

    /// Bytes of the heap that the window takes.
    pub fn heap_bytes(&self) -> usize {
        self.earlier.heap_bytes()
    }

    /// All counts, oldest first.
    fn counts(&self) -> impl Iterator<Item = Count> + '_ {
        self.earlier.counts(self.oldest).chain((self.newest.requests > 0).then_some(self.newest))
    }

    fn leaves(&self, second: u32) -> u64 {
        (u64::from(second) + 1 + u64::from(self.span_seconds)) * SECOND_NS
    }

    /// Lets go what is too old. Each count goes once, so on average a request lets go one.
    fn forget(&mut self, now: u64) {
        if self.used == 0 || self.leaves(self.oldest) > now {
            return;
        }
        if self.leaves(self.newest.second) <= now {
            // Its last second stays known: time may seem to step back.
            *self = Self { newest: Count { requests: 0, ..self.newest }, ..Self::new(self.span_seconds) };
            return;
        }
        while self.leaves(self.oldest) <= now
            && let Some((gap, requests)) = self.earlier.pop()
        {
            self.oldest += gap;
            self.used -= requests;
        }
    }
}

/// The second of a monotonic instant. 32 bits hold 136 years of uptime.
fn second(now: u64) -> u32 {
    u32::try_from(now / SECOND_NS).unwrap_or(u32::MAX)
}
