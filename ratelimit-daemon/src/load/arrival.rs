//! When requests are due: phases one after the other, each with a law of its own.
//!
//! An arrival is an instant that depends on nothing but the law. However slowly the server answers, requests stay due
//! when they were due, and their latency is counted from then.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp};
use std::time::Duration;

/// Phases one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timeline(pub(crate) Vec<Phase>);

/// A part of a timeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) length: Duration,
    pub(crate) law: Law,
}

/// How requests arrive. Rates are in requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Each connection sends its next request when the last one is answered: a closed loop without think time.
    Closed,
    /// Evenly.
    Constant { rate: f64 },
    /// Evenly, at a rate that changes from one to the other.
    Ramp { from: f64, to: f64 },
    /// Independently of one another.
    Poisson { rate: f64 },
    /// `size` at once, again and again.
    Bursts { size: u32, every: Duration },
    /// Not at all.
    Pause,
}

impl Timeline {
    pub(crate) fn length(&self) -> Duration {
        self.0.iter().map(|phase| phase.length).sum()
    }

    /// A closed loop is the only phase of its timeline.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.iter().any(|phase| phase.law == Law::Closed)
    }
}

impl Phase {
    /// Seconds from the start of the phase to its arrival number `index`, where the law says so.
    fn due(&self, index: u64) -> Option<f64> {
        let number = index as f64;
        match self.law {
            Law::Closed | Law::Pause | Law::Poisson { .. } => None,
            Law::Constant { rate } => Some(number / rate),
            Law::Ramp { .. } if index == 0 => Some(0.0),
            Law::Ramp { from, to } => {
                // from·t + slope·t² / 2 requests are due by t; solved for t in the form that never subtracts.
                let slope = (to - from) / self.length.as_secs_f64();
                let root = from * from + 2.0 * slope * number;
                (root >= 0.0).then(|| 2.0 * number / (from + root.sqrt()))
            }
            Law::Bursts { size, every } => {
                Some((index / u64::from(size.max(1))) as f64 * every.as_secs_f64())
            }
        }
    }
}

/// One worker's share of a timeline's arrivals: nanoseconds from the start, in order. The shares of all workers together are
/// the timeline's.
#[derive(Debug)]
pub(crate) struct Arrivals {
    phases: std::vec::IntoIter<Phase>,
    phase: Option<Phase>,
    /// When the phase started, in seconds.
    start: f64,
    /// The next arrival's number in the phase, of all workers' or, where arrivals are drawn, its seconds.
    index: u64,
    drawn: f64,
    worker: u64,
    workers: u64,
    random: SmallRng,
}

impl Arrivals {
    pub(crate) fn new(timeline: &Timeline, worker: usize, workers: usize, seed: u64) -> Self {
        let mut phases = timeline.0.clone().into_iter();
        let phase = phases.next();
        let (worker, workers) = (worker as u64, workers.max(1) as u64);
        let random = SmallRng::seed_from_u64(seed ^ (worker << 32));
        Self { phases, phase, start: 0.0, index: worker, drawn: 0.0, worker, workers, random }
    }

    fn draw(&mut self, rate: f64) -> Option<f64> {
        let gap = Exp::new(rate / self.workers as f64).ok()?;
        self.drawn += gap.sample(&mut self.random);
        Some(self.drawn)
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let phase = self.phase?;
            let due = match phase.law {
                Law::Poisson { rate } => self.draw(rate),
                _ => phase.due(self.index),
            };
            self.index += self.workers;
            if let Some(due) = due.filter(|due| *due < phase.length.as_secs_f64()) {
                return Some(((self.start + due) * 1e9) as u64);
            }
            self.start += phase.length.as_secs_f64();
            self.phase = self.phases.next();
            (self.index, self.drawn) = (self.worker, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Requests that are due in a phase.
    fn expected(phase: &Phase) -> f64 {
        let seconds = phase.length.as_secs_f64();
        match phase.law {
            Law::Closed | Law::Pause => 0.0,
            Law::Constant { rate } | Law::Poisson { rate } => rate * seconds,
            Law::Ramp { from, to } => (from + to) / 2.0 * seconds,
            Law::Bursts { size, every } => f64::from(size) * (seconds / every.as_secs_f64()).ceil(),
        }
    }

    fn law() -> impl Strategy<Value = Law> {
        prop_oneof![
            (0.5..2_000.0_f64).prop_map(|rate| Law::Constant { rate }),
            (0.0..2_000.0_f64, 0.5..2_000.0_f64).prop_map(|(from, to)| Law::Ramp { from, to }),
            (0.5..2_000.0_f64, 0.0..2_000.0_f64).prop_map(|(from, to)| Law::Ramp { from, to }),
            (1..200_u32, 1..3_000_u64)
                .prop_map(|(size, ms)| Law::Bursts { size, every: Duration::from_millis(ms) }),
            Just(Law::Pause),
        ]
    }

    fn timeline() -> impl Strategy<Value = Timeline> {
        let phase =
            (law(), 1..3_000_u64).prop_map(|(law, ms)| Phase { length: Duration::from_millis(ms), law });
        prop::collection::vec(phase, 1..4).prop_map(Timeline)
    }

    proptest! {
        /// However many workers share a timeline, together they send what one alone would.
        #[test]
        fn shares_add_up((timeline, workers) in (timeline(), 1..5_usize)) {
            let alone: Vec<_> = Arrivals::new(&timeline, 0, 1, 1).collect();
            let mut shared: Vec<_> =
                (0..workers).flat_map(|worker| Arrivals::new(&timeline, worker, workers, 1)).collect();
            shared.sort_unstable();
            prop_assert_eq!(alone, shared);
        }

        /// As many as the law says, in order, within the timeline.
        #[test]
        fn as_many_as_the_law_says(timeline in timeline()) {
            let due: Vec<_> = Arrivals::new(&timeline, 0, 1, 1).collect();
            prop_assert!(due.is_sorted());
            prop_assert!(due.last().is_none_or(|last| *last <= timeline.length().as_nanos() as u64));
            let phases = timeline.0.len() as f64;
            let expected: f64 = timeline.0.iter().map(expected).sum();
            prop_assert!((due.len() as f64 - expected).abs() <= phases + 1e-6);
        }
    }

    #[test]
    fn random_arrivals_have_their_rate_and_are_the_same_in_each_run() {
        let phase = Phase { length: Duration::from_secs(100), law: Law::Poisson { rate: 200.0 } };
        let draw = |seed| Arrivals::new(&Timeline(vec![phase]), 0, 1, seed).collect::<Vec<_>>();
        let due = draw(1);
        // 20,000 with a deviation of 141.
        assert!((19_000..21_000).contains(&due.len()), "{}", due.len());
        assert_eq!(due, draw(1));
        assert_ne!(due, draw(2));
    }

    #[test]
    fn a_burst_is_all_at_once() {
        let law = Law::Bursts { size: 3, every: Duration::from_secs(1) };
        let phase = Phase { length: Duration::from_millis(1_500), law };
        let due: Vec<_> = Arrivals::new(&Timeline(vec![phase]), 0, 1, 1).collect();
        assert_eq!(due, [0, 0, 0, 1_000_000_000, 1_000_000_000, 1_000_000_000]);
    }
}
