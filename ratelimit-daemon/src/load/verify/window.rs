//! A sliding window: in no interval of its length, wherever it starts, are more than a limit of requests admitted.

use super::{Outcome, Sample};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a limiter's window may be late to forget, in nanoseconds.
const STRICTNESS: u64 = 1_000_000_000;

/// The requests of one key that count for one window.
#[derive(Debug)]
pub(super) struct Log<'a> {
    limit: u32,
    length: u64,
    /// The admitted ones, in the order of their answers.
    admitted: Vec<&'a Sample>,
    /// When the admitted ones were answered, and were sent, each in order.
    answered: Vec<u64>,
    sent: Vec<u64>,
    /// When those that may have been charged were sent, and were judged at the latest, each in order.
    maybe_sent: Vec<u64>,
    maybe_judged: Vec<u64>,
}

impl<'a> Log<'a> {
    pub(super) fn new(samples: impl Iterator<Item = &'a Sample>, limit: u32, length: Duration) -> Self {
        let mut maybe: Vec<&Sample> = samples.filter(|sample| sample.outcome != Outcome::Refused).collect();
        let judged = |sample: &&Sample| match sample.outcome {
            Outcome::Unknown => u64::MAX,
            _ => sample.answered,
        };
        let maybe_sent = in_order(maybe.iter().map(|sample| sample.sent));
        let maybe_judged = in_order(maybe.iter().map(judged));
        maybe.retain(|sample| sample.outcome == Outcome::Admitted);
        maybe.sort_by_key(|sample| sample.answered);
        Self {
            limit,
            length: length.as_nanos() as u64,
            answered: maybe.iter().map(|sample| sample.answered).collect(),
            sent: in_order(maybe.iter().map(|sample| sample.sent)),
            admitted: maybe,
            maybe_sent,
            maybe_judged,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The admitted requests that were one too many, whenever all of them were judged: with them, more than the limit were sent
    /// and answered within the length of the window. One that was too many is not counted any further.
    pub(super) fn over(&self) -> Vec<(&'a Sample, String)> {
        let mut over = Vec::new();
        let mut counted: Vec<u64> = Vec::new();
        for sample in &self.admitted {
            let place = counted.partition_point(|sent| *sent <= sample.sent);
            let start = sample.answered.checked_sub(self.length);
            let left = start.map_or(0, |start| counted.partition_point(|sent| *sent <= start));
            // Itself included, unless it took as long as the window is.
            let inside = counted.len() - left + usize::from(start.is_none_or(|start| sample.sent > start));
            if inside > self.limit as usize {
                let seconds = Duration::from_nanos(self.length).as_secs();
                over.push((*sample, format!("admitted as number {inside} of {} in {seconds} s", self.limit)));
            } else {
                counted.insert(place, sample.sent);
            }
        }
        over
    }

    /// Whether the window had room for this request, whenever all were judged.
    pub(super) fn surely_admits(&self, sample: &Sample) -> bool {
        self.most_used(sample) < u64::from(self.limit)
    }

    /// What may remain after this request, at the least and at the most.
    pub(super) fn remaining(&self, sample: &Sample) -> RangeInclusive<u32> {
        let is_admitted = u64::from(sample.outcome == Outcome::Admitted);
        let before = self.answered.partition_point(|answered| *answered <= sample.sent);
        let left = self.sent.partition_point(|sent| *sent <= sample.answered.saturating_sub(self.length));
        let fewest_used = before.saturating_sub(left) as u64 + is_admitted;
        let left_of = |used: u64| self.limit.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
        left_of(self.most_used(sample))..=left_of(fewest_used)
    }

    /// Requests that may have been in the window when this one was judged.
    fn most_used(&self, sample: &Sample) -> u64 {
        let sent = self.maybe_sent.partition_point(|sent| *sent <= sample.answered);
        let start = sample.sent.saturating_sub(self.length + STRICTNESS);
        let left = self.maybe_judged.partition_point(|judged| *judged <= start);
        sent.saturating_sub(left) as u64
    }

    /// When the oldest request may leave the window, at the earliest and at the latest; `None` if that cannot be told because
    /// some may have left already, or none was admitted.
    pub(super) fn oldest_leaves(&self, sample: &Sample) -> Option<(u64, u64)> {
        let (first_sent, first_answered) = (self.maybe_sent.first()?, self.answered.first()?);
        let earliest = first_sent + self.length;
        (sample.answered < earliest).then_some((earliest, first_answered + self.length + STRICTNESS))
    }
}

fn in_order(instants: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut instants: Vec<_> = instants.collect();
    instants.sort_unstable();
    instants
}
