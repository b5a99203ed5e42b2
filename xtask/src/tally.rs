//! Counting what became of a key's requests, and what its limits allow in that time.
//!
//! This is a reference of its own: it shares no code with what it checks.

use crate::client::{Answer, Outcome};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// A tier's two numbers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests in any hour.
    pub per_hour: u64,
    /// Capacity of the burst bucket, which refills in a minute.
    pub burst: u64,
}

/// What became of a key's requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// All of them.
    pub sent: u64,
    /// Answered by the API.
    pub admitted: u64,
    /// Refused by the kernel: a 429 without a date, or a reset connection.
    pub by_kernel: u64,
    /// Refused by the proxy: a 429 with a date.
    pub by_proxy: u64,
    /// Everything else, which there should be none of.
    pub other: BTreeMap<String, u64>,
    /// The first 429.
    pub refusal: Option<Answer>,
    /// From sending to the answer, for admitted requests.
    pub latencies: Vec<Duration>,
    span: Option<Span>,
}

/// Instants that enclose what the limiter saw of a key.
#[derive(Clone, Copy, Debug)]
struct Span {
    first_sent: Instant,
    first_done: Instant,
    last_done: Instant,
    last_refused_sent: Option<Instant>,
}

impl Tally {
    /// Adds a request that was sent just after `sent` and whose outcome was known just before `done`.
    pub fn record(&mut self, sent: Instant, done: Instant, outcome: Outcome) {
        self.sent += 1;
        let mut refused = false;
        match outcome {
            Outcome::Reset => {
                self.by_kernel += 1;
                refused = true;
            }
            Outcome::Answered(answer) if answer.status == 429 => {
                // The kernel writes no date.
                let by =
                    if answer.header("date").is_none() { &mut self.by_kernel } else { &mut self.by_proxy };
                *by += 1;
                refused = true;
                self.refusal.get_or_insert(answer);
            }
            Outcome::Answered(answer) if (200..300).contains(&answer.status) => {
                self.admitted += 1;
                self.latencies.push(done - sent);
            }
            Outcome::Answered(answer) => self.count_other(format!("status {}", answer.status)),
            Outcome::Closed => self.count_other("closed without an answer".into()),
            Outcome::Silent => self.count_other("no answer".into()),
        }
        let last_refused_sent = refused.then_some(sent);
        self.widen(Span { first_sent: sent, first_done: done, last_done: done, last_refused_sent });
    }

    fn count_other(&mut self, what: String) {
        *self.other.entry(what).or_default() += 1;
    }

    fn widen(&mut self, by: Span) {
        self.span = Some(match self.span {
            None => by,
            Some(span) => Span {
                first_sent: span.first_sent.min(by.first_sent),
                first_done: span.first_done.min(by.first_done),
                last_done: span.last_done.max(by.last_done),
                last_refused_sent: span.last_refused_sent.max(by.last_refused_sent),
            },
        });
    }

    /// Adds what another sender of the same key counted.
    pub fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.admitted += other.admitted;
        self.by_kernel += other.by_kernel;
        self.by_proxy += other.by_proxy;
        for (what, count) in other.other {
            *self.other.entry(what).or_default() += count;
        }
        self.refusal = self.refusal.take().or(other.refusal);
        self.latencies.extend(other.latencies);
        if let Some(span) = other.span {
            self.widen(span);
        }
    }

    /// How many of the requests the limits allow: no more than the upper bound, and, since the key was
    /// unused before and asked for more than it got, no fewer than the lower.
    ///
    /// A bucket that was full at first holds, as long as it does not run over, its capacity and a token for
    /// each interval gone by, less what was admitted. It held less than one token when it last refused.
    pub fn allowed(&self, limits: Limits) -> RangeInclusive<u64> {
        let Some(span) = self.span else { return 0..=0 };
        let at_most = limits.admits_in(span.last_done - span.first_sent);
        let at_least = match span.last_refused_sent {
            Some(refused) => limits.admits_in(refused.saturating_duration_since(span.first_done)),
            None => u64::MAX,
        };
        at_least.min(at_most).min(self.sent)..=at_most.min(self.sent)
    }
}

impl Limits {
    /// The most that is admitted of an unused key within `elapsed`, which is less than an hour.
    fn admits_in(self, elapsed: Duration) -> u64 {
        let interval = MINUTE.as_nanos().div_ceil(u128::from(self.burst.max(1)));
        let refilled = u64::try_from(elapsed.as_nanos() / interval).unwrap_or(u64::MAX);
        self.burst.saturating_add(refilled).min(self.per_hour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { per_hour: 1_000, burst: 100 };

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    fn ok() -> Outcome {
        Outcome::Answered(Answer { status: 200, headers: Vec::new(), body: Vec::new() })
    }

    #[test]
    fn a_token_comes_back_each_600_ms() {
        assert_eq!(LIMITS.admits_in(Duration::from_millis(599)), 100);
        assert_eq!(LIMITS.admits_in(Duration::from_millis(600)), 101);
        assert_eq!(LIMITS.admits_in(Duration::from_secs(3_000)), 1_000);
    }

    #[test]
    fn without_a_refusal_everything_within_the_limits_is_allowed() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        for number in 0..20 {
            tally.record(after(start, number), after(start, number + 1), ok());
        }
        assert_eq!(tally.allowed(LIMITS), 20..=20);
    }

    #[test]
    fn the_bounds_enclose_the_time_between_first_and_last() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        for number in 0..110 {
            tally.record(after(start, number), after(start, number + 1), ok());
        }
        // Refused after one interval less a millisecond, known refused one interval after the first was sent.
        tally.record(after(start, 600), after(start, 601), Outcome::Reset);
        assert_eq!(tally.allowed(LIMITS), 100..=101);
        tally.record(after(start, 1_201), after(start, 1_202), Outcome::Reset);
        assert_eq!(tally.allowed(LIMITS), 102..=102);
        assert_eq!((tally.sent, tally.admitted, tally.by_kernel), (112, 110, 2));
    }
}
