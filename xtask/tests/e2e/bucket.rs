//! What a burst bucket holds, worked out from what was taken and the time gone by. It shares no code with what
//! it checks.

use anyhow::{Context, Result, ensure};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use xtask::client::Answer;

/// A bucket that is full at first. Exact to the token while it does not run full again; where it may have, it allows for
/// the time between a request and its answer.
#[derive(Debug)]
pub(crate) struct Bucket {
    capacity: u64,
    taken: u64,
    /// When it will be full again, at the earliest and at the latest; `None` if nothing was taken.
    full: Option<(Instant, Instant)>,
}

impl Bucket {
    pub(crate) fn full(capacity: u64) -> Self {
        Self { capacity, taken: 0, full: None }
    }

    /// Takes `count` tokens, at an instant between `sent` and `done`.
    pub(crate) fn take(&mut self, count: u64, sent: Instant, done: Instant) {
        let (earliest, latest) = self.full.unwrap_or((sent, done));
        let refill = self.interval() * u32::try_from(count).unwrap_or(u32::MAX);
        self.full = Some((earliest.max(sent) + refill, latest.max(done) + refill));
        self.taken += count;
    }

    /// What it holds at an instant between `sent` and `done`.
    pub(crate) fn holds(&self, sent: Instant, done: Instant) -> RangeInclusive<u64> {
        let Some((earliest, latest)) = self.full else { return self.capacity..=self.capacity };
        self.tokens(latest, sent)..=self.tokens(earliest, done)
    }

    /// What it holds at `now`, if it will be full at `full`.
    fn tokens(&self, full: Instant, now: Instant) -> u64 {
        let lacking = full.saturating_duration_since(now).as_nanos().div_ceil(self.interval().as_nanos());
        self.capacity.saturating_sub(u64::try_from(lacking).unwrap_or(u64::MAX))
    }

    /// From one token to the next.
    fn interval(&self) -> Duration {
        Duration::from_nanos(Duration::from_secs(60).as_nanos().div_ceil(self.capacity.into()) as u64)
    }

    /// An error unless `answer`, which was had between `sent` and `done`, tells what the bucket holds.
    pub(crate) fn check(&self, answer: &Answer, sent: Instant, done: Instant) -> Result<()> {
        let (told, holds) = (tokens(answer)?, self.holds(sent, done));
        ensure!(
            holds.contains(&told),
            "{told} tokens left after {} were taken; {holds:?} expected",
            self.taken
        );
        Ok(())
    }
}

/// Tokens in the burst bucket, by the standard header field.
pub(crate) fn tokens(answer: &Answer) -> Result<u64> {
    let field = answer.header("ratelimit").context("no RateLimit field")?;
    let burst = field.split(',').find_map(|item| item.trim().strip_prefix("\"burst\";r="));
    let tokens = burst.and_then(|burst| burst.split(';').next());
    tokens.and_then(|tokens| tokens.parse().ok()).with_context(|| format!("RateLimit: {field}"))
}
