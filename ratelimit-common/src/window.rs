//! The sliding window: no more than a limit of requests in any interval of its span, wherever it starts.
//!
//! Requests are counted per second of `CLOCK_MONOTONIC`, and a second's count leaves the window when the whole
//! second is older than the span. So a request is forgotten at most one second late and never early: the
//! window is exact but for one second on the strict side. It holds at most min(limit, span) counts.

use crate::SECOND_NS;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    second: u32,
    requests: u32,
}

/// The requests of one key in the last `span` seconds.
#[derive(Clone, Debug)]
pub struct Window {
    span_seconds: u32,
    /// Oldest first, one for each second that has any.
    counts: VecDeque<Count>,
    used: u32,
}

impl Window {
    /// An empty window over `span_seconds` (1 or more).
    pub const fn new(span_seconds: u32) -> Self {
        Self { span_seconds, counts: VecDeque::new(), used: 0 }
    }

    /// Requests in the window at `now`.
    pub fn used(&mut self, now: u64) -> u32 {
        self.forget(now);
        self.used
    }

    /// When the oldest request in the window leaves it; `None` for an empty window.
    pub fn oldest_leaves(&mut self, now: u64) -> Option<u64> {
        self.forget(now);
        self.counts.front().map(|count| self.leaves(*count))
    }

    /// Nanoseconds from `now` until the window admits one more request under `limit`; 0 if it does already.
    ///
    /// The wait is exact if nothing else is charged meanwhile. Under a limit of 0 there is no such time:
    /// the answer is then the span.
    pub fn wait(&mut self, limit: u32, now: u64) -> u64 {
        self.forget(now);
        if limit == 0 {
            return u64::from(self.span_seconds) * SECOND_NS;
        }
        let mut used = self.used;
        for count in &self.counts {
            if used < limit {
                break;
            }
            used -= count.requests;
            if used < limit {
                return self.leaves(*count) - now;
            }
        }
        0
    }

    /// Counts one request at `now`.
    pub fn charge(&mut self, now: u64) {
        self.forget(now);
        // Time may seem to step back between two processors by less than their clocks' skew: count it later.
        let second = second(now).max(self.counts.back().map_or(0, |last| last.second));
        match self.counts.back_mut() {
            Some(last) if last.second == second => last.requests += 1,
            _ => self.counts.push_back(Count { second, requests: 1 }),
        }
        self.used += 1;
    }

    fn leaves(&self, count: Count) -> u64 {
        (u64::from(count.second) + 1 + u64::from(self.span_seconds)) * SECOND_NS
    }

    fn forget(&mut self, now: u64) {
        while let Some(oldest) = self.counts.front().copied()
            && self.leaves(oldest) <= now
        {
            self.counts.pop_front();
            self.used -= oldest.requests;
        }
    }
}

/// The second of a monotonic instant. 32 bits hold 136 years of uptime.
fn second(now: u64) -> u32 {
    u32::try_from(now / SECOND_NS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: the exact log.
    #[derive(Default)]
    struct Log(Vec<u64>);

    impl Log {
        fn used(&self, span: u64, now: u64) -> usize {
            self.0.iter().filter(|at| **at + span * SECOND_NS > now).count()
        }
    }

    fn history() -> impl Strategy<Value = (u32, u32, Vec<u64>)> {
        let gap = prop_oneof![Just(0), 0..1_000_000_u64, 0..2_000_000_000_u64, 0..90_000_000_000_u64];
        (1..60_u32, prop_oneof![1..70_u32, Just(3_600)], prop::collection::vec(gap, 1..500))
    }

    proptest! {
        /// In no interval of the span, wherever it starts, is more than the limit admitted; and what is refused
        /// would have been over the limit of a log that forgets one second late.
        #[test]
        fn is_exact_but_for_a_second_on_the_strict_side((limit, span, gaps) in history()) {
            let (mut window, mut log, mut now) = (Window::new(span), Log::default(), 5 * SECOND_NS);
            for gap in gaps {
                now += gap;
                if window.wait(limit, now) == 0 {
                    prop_assert!(log.used(span.into(), now) < limit as usize, "over the limit");
                    window.charge(now);
                    log.0.push(now);
                } else {
                    prop_assert!(log.used(u64::from(span) + 1, now) >= limit as usize, "refused within the limit");
                }
            }
        }

        /// Refused one nanosecond before the told wait is over, admitted when it is.
        #[test]
        fn the_told_wait_is_exact((limit, span, gaps) in history(), lowered in 1..60_u32) {
            let (mut window, mut now) = (Window::new(span), 5 * SECOND_NS);
            for gap in gaps {
                now += gap;
                if window.wait(limit, now) == 0 { window.charge(now); }
                // An operator may have lowered the limit below what is used.
                for limit in [limit, lowered.min(limit)] {
                    let wait = window.wait(limit, now);
                    if wait > 0 {
                        prop_assert_eq!(window.clone().wait(limit, now + wait - 1), 1);
                        prop_assert_eq!(window.clone().wait(limit, now + wait), 0);
                    }
                }
            }
        }

        #[test]
        fn holds_no_more_counts_than_its_bound((limit, span, gaps) in history()) {
            let (mut window, mut now) = (Window::new(span), 0);
            for gap in gaps {
                now += gap;
                if window.wait(limit, now) == 0 { window.charge(now); }
                prop_assert!(window.counts.len() <= limit.min(span + 1) as usize);
                prop_assert_eq!(window.used, window.counts.iter().map(|count| count.requests).sum::<u32>());
            }
        }
    }

    #[test]
    fn the_oldest_request_tells_when_it_leaves() {
        let mut window = Window::new(3_600);
        assert_eq!(window.oldest_leaves(0), None);
        window.charge(1_500_000_000);
        assert_eq!(window.oldest_leaves(SECOND_NS * 2), Some(3_602 * SECOND_NS));
        assert_eq!(window.used(3_602 * SECOND_NS - 1), 1);
        assert_eq!(window.used(3_602 * SECOND_NS), 0);
    }

    #[test]
    fn a_limit_of_nothing_admits_nothing() {
        assert_eq!(Window::new(60).wait(0, 7), 60 * SECOND_NS);
    }
}
