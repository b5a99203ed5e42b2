//! What a burst bucket holds, worked out from what was taken and the time gone by. It shares no code with what
//! it checks.

use anyhow::{Context, Result, ensure};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use xtask::client::Answer;

/// A bucket that is full at first. Exact to the token as long as it does not run full again, which tests see
/// to by taking faster than it refills.
#[derive(Debug)]
pub(crate) struct Bucket {
    capacity: u64,
    taken: u64,
    /// Instants before and after the first token was taken.
    first: Option<(Instant, Instant)>,
}

impl Bucket {
    pub(crate) fn full(capacity: u64) -> Self {
        Self { capacity, taken: 0, first: None }
    }

    /// Takes `count` tokens, at an instant between `sent` and `done`.
    pub(crate) fn take(&mut self, count: u64, sent: Instant, done: Instant) {
        self.first.get_or_insert((sent, done));
        self.taken += count;
    }

    /// What it holds at an instant between `sent` and `done`.
    pub(crate) fn holds(&self, sent: Instant, done: Instant) -> RangeInclusive<u64> {
        let Some((first_sent, first_done)) = self.first else { return self.capacity..=self.capacity };
        let least = self.refilled(sent.saturating_duration_since(first_done));
        let most = self.refilled(done.saturating_duration_since(first_sent));
        let after = |refilled: u64| (self.capacity + refilled).saturating_sub(self.taken).min(self.capacity);
        after(least)..=after(most)
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

    fn refilled(&self, elapsed: Duration) -> u64 {
        let interval = Duration::from_secs(60).as_nanos().div_ceil(u128::from(self.capacity));
        u64::try_from(elapsed.as_nanos() / interval).unwrap_or(u64::MAX)
    }
}

/// Tokens in the burst bucket, by the standard header field.
pub(crate) fn tokens(answer: &Answer) -> Result<u64> {
    let field = answer.header("ratelimit").context("no RateLimit field")?;
    let burst = field.split(',').find_map(|item| item.trim().strip_prefix("\"burst\";r="));
    let tokens = burst.and_then(|burst| burst.split(';').next());
    tokens.and_then(|tokens| tokens.parse().ok()).with_context(|| format!("RateLimit: {field}"))
}
