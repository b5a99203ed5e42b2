//! The bucket: capacity B, refilled continuously at B a minute, full when its key was never used.
//!
//! Tokens are counted in units of 1 / 60,000,000,000 token, in which a refill of B a minute is B units a nanosecond, so that
//! everything is whole numbers and exact.

use super::tree::Tree;
use super::{Outcome, Sample};

/// A token: nanoseconds in a minute.
const TOKEN: i128 = 60_000_000_000;

/// The requests of one key, and its bucket.
#[derive(Debug)]
pub(super) struct Log<'a> {
    capacity: i128,
    samples: &'a [Sample],
}

impl<'a> Log<'a> {
    pub(super) fn new(samples: &'a [Sample], capacity: u32) -> Self {
        Self { capacity: capacity.into(), samples }
    }

    /// The admitted requests for which there was no token, whenever all of them were judged.
    ///
    /// Between any two instants x and y no more can be admitted than the bucket holds and what it gets in that time: B + B (y −
    /// x) / 60 s. Requests that were sent at x or later and answered by y were judged in between. So for each y, the answer to an
    /// admitted request, the tree holds for each x, the sending of one, `requests in between + B x`, and its greatest must
    /// not exceed B + B y. A request that breaks this is not counted any further: the rest may be right without it.
    pub(super) fn over(&self) -> Vec<(&'a Sample, String)> {
        let mut admitted: Vec<&Sample> =
            self.samples.iter().filter(|sample| sample.outcome == Outcome::Admitted).collect();
        let sendings: Vec<u64> = admitted.iter().map(|sample| sample.sent).collect();
        let mut tree = Tree::new(sendings.iter().map(|sent| i128::from(*sent) * self.capacity));
        admitted.sort_by_key(|sample| sample.answered);
        let mut over = Vec::new();
        for sample in admitted {
            let up_to = sendings.partition_point(|sent| *sent <= sample.sent);
            tree.add(up_to, TOKEN);
            let most = self.capacity * TOKEN + i128::from(sample.answered) * self.capacity;
            let begun = sendings.partition_point(|sent| *sent <= sample.answered);
            if tree.greatest(begun).is_some_and(|found| found > most) {
                tree.add(up_to, -TOKEN);
                over.push((sample, format!("admitted although no token of {} was left", self.capacity)));
            }
        }
        over
    }

    /// Keeps, of refused requests, those for which there was a token, whenever all of them were judged.
    ///
    /// The fewest tokens are left if each admitted request was judged as late as possible: then the least has been refilled
    /// since. So for the refusal of a request sent at s and answered at a, the tree holds for each x, the latest judgement of a
    /// request that was sent by a, `requests judged at x or later + B x`; the bucket held B + B s less the greatest of these up to s.
    pub(super) fn retain_surely_admitted(&self, refused: &mut Vec<&Sample>) {
        // What may have been charged counts too.
        let mut charged: Vec<&Sample> =
            self.samples.iter().filter(|sample| sample.outcome != Outcome::Refused).collect();
        let mut answers: Vec<u64> = charged.iter().map(|sample| latest(sample)).collect();
        answers.sort_unstable();
        charged.sort_by_key(|sample| sample.sent);
        let mut tree = Tree::new(answers.iter().map(|answered| i128::from(*answered) * self.capacity));
        let mut charged = charged.into_iter().peekable();
        // Latest judgements of the requests that are in the tree.
        let mut counted: Vec<u64> = Vec::new();
        refused.sort_by_key(|sample| sample.answered);
        refused.retain(|sample| {
            while let Some(one) = charged.next_if(|one| one.sent <= sample.answered) {
                tree.add(answers.partition_point(|answered| *answered <= latest(one)), TOKEN);
                let place = counted.partition_point(|answered| *answered <= latest(one));
                counted.insert(place, latest(one));
            }
            let under_way = counted.len() - counted.partition_point(|answered| *answered < sample.sent);
            let at_once = i128::from(sample.sent) * self.capacity + under_way as i128 * TOKEN;
            let before = tree.greatest(answers.partition_point(|answered| *answered <= sample.sent));
            let most = before.max((under_way > 0).then_some(at_once));
            // A limiter may count whole nanoseconds between tokens and so refill up to B nanoseconds late in a minute.
            let now = (i128::from(sample.sent) - self.capacity) * self.capacity;
            let spent = most.map_or(0, |most| (most - now).max(0));
            self.capacity * TOKEN - spent >= TOKEN
        });
    }
}

/// When a request was judged at the latest. One that was not answered may still be.
fn latest(sample: &Sample) -> u64 {
    if sample.outcome == Outcome::Unknown { u64::MAX } else { sample.answered }
}
