//! The burst limit: a token bucket held in one 64-bit word.
//!
//! The word is the *theoretical arrival time* of the generic cell rate algorithm (ITU-T I.371, annex A): the
//! instant, in nanoseconds of `CLOCK_MONOTONIC`, at which the bucket will be full again. A bucket of capacity
//! B refilled at B per minute holds `B - (word - now) / interval` tokens, with `interval` = 60 s / B. One word
//! is all there is to synchronise, so the kernel and the daemon enforce one bucket by compare-exchange on it.

use crate::SECOND_NS;
use crate::word::Word;

/// The period over which a bucket refills from empty to full, in nanoseconds.
pub const BURST_PERIOD_NS: u64 = 60 * SECOND_NS;

/// Attempts at a compare-exchange before a bucket is called contended. Each failure means that another
/// enforcer made progress on the same key, so with a handful of enforcers this is never reached.
pub const MAX_ATTEMPTS: u32 = 16;

/// A key's burst limit, in the form in which it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    interval_ns: u64,
    depth_ns: u64,
}

/// The answer of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There are tokens enough; taking them makes the word this.
    Admit(u64),
    /// There are not; they will be there after this many nanoseconds (at least 1).
    Wait(u64),
}

/// What came of charging a shared bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The tokens were taken.
    Taken,
    /// Nothing was taken; tokens enough will be there after this many nanoseconds (at least 1).
    Wait(u64),
    /// Nothing was taken: others changed the word [`MAX_ATTEMPTS`] times in a row meanwhile.
    Contended,
}

impl Burst {
    /// Largest capacity that can be asked for.
    pub const MAX_CAPACITY: u32 = 10_000_000;

    /// A bucket of `capacity` tokens (1 to [`Self::MAX_CAPACITY`]), refilled at `capacity` per minute.
    ///
    /// The interval between tokens is rounded up to a whole nanosecond: over a minute the bucket refills
    /// at most `capacity` nanoseconds late, never early.
    pub const fn per_minute(capacity: u32) -> Self {
        let capacity = if capacity == 0 { 1 } else { capacity as u64 };
        let interval_ns = BURST_PERIOD_NS.div_ceil(capacity);
        Self { interval_ns, depth_ns: interval_ns * capacity }
    }

    /// A limit from the two numbers that a slot carries.
    #[inline(always)]
    pub const fn from_parts(interval_ns: u64, depth_ns: u64) -> Self {
        Self { interval_ns, depth_ns }
    }

    /// Nanoseconds between two tokens.
    #[inline(always)]
    pub const fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// Nanoseconds from empty to full.
    #[inline(always)]
    pub const fn depth_ns(&self) -> u64 {
        self.depth_ns
    }

    /// Tokens in a full bucket.
    #[inline(always)]
    pub const fn capacity(&self) -> u64 {
        self.depth_ns / self.interval_ns
    }

    /// Judges one request at `now` against a bucket whose word is `word`.
    #[inline(always)]
    pub const fn decide(&self, word: u64, now: u64) -> Decision {
        self.decide_many(word, now, 1)
    }

    /// Judges a request that takes `tokens`, no more than the capacity.
    #[inline(always)]
    pub const fn decide_many(&self, word: u64, now: u64, tokens: u64) -> Decision {
        let start = if word > now { word } else { now };
        let next = start + tokens * self.interval_ns;
        let full = now + self.depth_ns;
        if next <= full { Decision::Admit(next) } else { Decision::Wait(next - full) }
    }

    /// Takes one token of a shared bucket at `now`, if there is one.
    #[inline(always)]
    pub fn charge(&self, word: &Word, now: u64) -> Charge {
        self.charge_many(word, now, 1)
    }

    /// Takes `tokens`, no more than the capacity, of a shared bucket at `now`, if there are so many.
    #[inline(always)]
    pub fn charge_many(&self, word: &Word, now: u64, tokens: u64) -> Charge {
        for _ in 0..MAX_ATTEMPTS {
            let seen = word.load();
            match self.decide_many(seen, now, tokens) {
                Decision::Wait(wait) => return Charge::Wait(wait),
                Decision::Admit(next) if word.replace(seen, next) => return Charge::Taken,
                Decision::Admit(_) => {}
            }
        }
        Charge::Contended
    }

    /// Gives one token back. Commutes with every other charge and refund.
    #[inline(always)]
    pub fn refund(&self, word: &Word) {
        word.subtract(self.interval_ns);
    }

    /// Nanoseconds until a bucket whose word is `word` has one token more, at `now`; 0 when it is full.
    #[inline(always)]
    pub const fn next_token_ns(&self, word: u64, now: u64) -> u64 {
        let debt = word.saturating_sub(now);
        if debt == 0 { 0 } else { (debt - 1) % self.interval_ns + 1 }
    }

    /// Whole tokens in a bucket whose word is `word`, at `now`.
    #[inline(always)]
    pub const fn tokens(&self, word: u64, now: u64) -> u64 {
        let debt = word.saturating_sub(now);
        self.depth_ns.saturating_sub(debt) / self.interval_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, kept slowly: the exact log of what was admitted, and the tokens recomputed from it in
    /// units of 1/60,000,000,000 token, in which a refill of B per minute is B units a nanosecond.
    struct Model {
        capacity: u128,
        units: u128,
        at: u64,
    }

    impl Model {
        const TOKEN: u128 = BURST_PERIOD_NS as u128;

        fn new(capacity: u32) -> Self {
            Self { capacity: capacity.into(), units: u128::from(capacity) * Self::TOKEN, at: 0 }
        }

        fn refill(&mut self, now: u64) {
            let full = self.capacity * Self::TOKEN;
            self.units = full.min(self.units + u128::from(now - self.at) * self.capacity);
            self.at = now;
        }
    }

    fn history() -> impl Strategy<Value = (u32, Vec<u64>)> {
        let gap = prop_oneof![Just(0), 0..1_000_u64, 0..2_000_000_000_u64, 0..90_000_000_000_u64];
        (prop_oneof![1..20_u32, 1..2_000_u32, Just(Burst::MAX_CAPACITY)], prop::collection::vec(gap, 1..400))
    }

    proptest! {
        /// Whatever is admitted, the exact bucket had a token for it; and where the bucket refuses, the exact
        /// one had less than a token more than the rounding of the interval explains.
        #[test]
        fn agrees_with_the_exact_bucket((capacity, gaps) in history()) {
            let burst = Burst::per_minute(capacity);
            let (mut word, mut now, mut model) = (0, 1, Model::new(capacity));
            for gap in gaps {
                now += gap;
                model.refill(now);
                match burst.decide(word, now) {
                    Decision::Admit(next) => {
                        prop_assert!(model.units >= Model::TOKEN, "admitted without a token");
                        model.units -= Model::TOKEN;
                        word = next;
                    }
                    Decision::Wait(_) => {
                        // Rounding makes each token of a full bucket up to 1 ns late, B ns for all of them.
                        let late = u128::from(capacity) * u128::from(capacity);
                        prop_assert!(model.units < Model::TOKEN + late, "refused with a token");
                    }
                }
            }
        }

        /// In no interval of length t are more than B + B * t / 60 s admitted.
        #[test]
        fn never_over_admits_in_any_interval((capacity, gaps) in history()) {
            let burst = Burst::per_minute(capacity);
            let (mut word, mut now, mut admitted) = (0, 1, Vec::new());
            for gap in gaps {
                now += gap;
                if let Decision::Admit(next) = burst.decide(word, now) {
                    word = next;
                    admitted.push(now);
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u128;
                    let refill = u128::from(end - start) * u128::from(capacity) / u128::from(BURST_PERIOD_NS);
                    prop_assert!(count <= u128::from(capacity) + refill);
                }
            }
        }

        /// Refused one nanosecond before the told wait is over, admitted when it is; and a refusal changes nothing.
        #[test]
        fn the_told_wait_is_exact((capacity, gaps) in history()) {
            let burst = Burst::per_minute(capacity);
            let word = Word::new(0);
            let mut now = 1;
            for gap in gaps {
                now += gap;
                let before = word.load();
                if let Charge::Wait(wait) = burst.charge(&word, now) {
                    prop_assert_eq!(word.load(), before);
                    prop_assert!(wait >= 1);
                    prop_assert_eq!(burst.decide(before, now + wait - 1), Decision::Wait(1));
                    prop_assert!(matches!(burst.decide(before, now + wait), Decision::Admit(_)));
                }
            }
        }

        /// A refund undoes a charge, whatever happened between the two.
        #[test]
        fn a_refund_commutes((capacity, others) in (2..500_u32, 0..20_u32)) {
            let burst = Burst::per_minute(capacity);
            let now = 10 * BURST_PERIOD_NS;
            let (with, without) = (Word::new(now), Word::new(now));
            prop_assert_eq!(burst.charge(&with, now), Charge::Taken);
            for _ in 0..others.min(capacity - 1) {
                burst.charge(&with, now);
                burst.charge(&without, now);
            }
            burst.refund(&with);
            prop_assert_eq!(with.load(), without.load());
        }

        /// Tokens taken together are as many taken one by one, and the told wait for them is exact.
        #[test]
        fn many_tokens_are_one_and_one_and_one((capacity, gaps) in history(), many in 1..50_u64) {
            let burst = Burst::per_minute(capacity);
            let many = many.min(capacity.into());
            let (together, single) = (Word::new(0), Word::new(0));
            let mut now = 1;
            for gap in gaps {
                now += gap;
                match burst.charge_many(&together, now, many) {
                    Charge::Taken => (0..many).for_each(|_| assert_eq!(burst.charge(&single, now), Charge::Taken)),
                    Charge::Wait(wait) => {
                        let word = together.load();
                        prop_assert_eq!(burst.decide_many(word, now + wait - 1, many), Decision::Wait(1));
                        prop_assert!(matches!(burst.decide_many(word, now + wait, many), Decision::Admit(_)));
                    }
                    Charge::Contended => prop_assert!(false, "nobody else is there"),
                }
                prop_assert_eq!(together.load(), single.load());
            }
        }

        #[test]
        fn tokens_are_what_can_be_taken_at_once(capacity in 1..300_u32, taken in 0..300_u32, later in 0..70_000_000_000_u64) {
            let burst = Burst::per_minute(capacity);
            let mut now = BURST_PERIOD_NS;
            let word = Word::new(0);
            for _ in 0..taken { burst.charge(&word, now); }
            now += later;
            let told = burst.tokens(word.load(), now);
            let really = (0..).take_while(|_| burst.charge(&word, now) == Charge::Taken).count();
            prop_assert_eq!(told, really as u64);
        }
    }

    #[test]
    fn the_tiers_of_the_guide() {
        assert_eq!(Burst::per_minute(100).interval_ns(), 600_000_000);
        assert_eq!(Burst::per_minute(500).interval_ns(), 120_000_000);
        assert_eq!(Burst::per_minute(100).depth_ns(), BURST_PERIOD_NS);
    }

    #[test]
    fn threads_share_a_bucket_without_a_token_too_many() {
        let burst = Burst::per_minute(1_000);
        let word = Word::new(0);
        let grants: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..5_000).filter(|_| burst.charge(&word, 1) == Charge::Taken).count())
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("worker")).sum()
        });
        assert_eq!(grants, 1_000);
    }
}
