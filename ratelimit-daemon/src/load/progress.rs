//! The bar that shows how a run goes; on a terminal only.

use super::report::thousands;
use super::scenario::Scenario;
use super::shared::Shared;
use crate::clock;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicU64, Ordering};

const TEMPLATE: &str = "{elapsed_precise} [{bar:30}] {msg}";

/// How much of a new rate is shown: the rest is what was shown before, so that figures can be read.
const SHARE: f64 = 0.2;

/// The bar, with live rates.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    last: u64,
    counts: [u64; 3],
    rates: Option<[f64; 3]>,
}

impl Progress {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let bar = ProgressBar::new(scenario.length().as_millis() as u64);
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        Self { bar, last: clock::now(), counts: [0; 3], rates: None }
    }

    /// Draws it anew.
    pub(super) fn show(&mut self, shared: &Shared) {
        let now = clock::now();
        let seconds = now.saturating_sub(self.last) as f64 / 1e9;
        if seconds < 0.01 {
            return;
        }
        let sum = |read: fn(&super::shared::Board) -> &AtomicU64| -> u64 {
            shared.boards.iter().map(|board| read(board).load(Ordering::Relaxed)).sum()
        };
        let counts = [sum(|board| &board.admitted), sum(|board| &board.refused), sum(|board| &board.failed)];
        let mut rates = [0.0; 3];
        for ((rate, now), before) in rates.iter_mut().zip(counts).zip(self.counts) {
            *rate = (now - before) as f64 / seconds;
        }
        if let Some(shown) = self.rates {
            rates.iter_mut().zip(shown).for_each(|(rate, shown)| *rate = shown + SHARE * (*rate - shown));
        }
        (self.last, self.counts, self.rates) = (now, counts, Some(rates));
        let [admitted, refused, _] = rates.map(thousands);
        let failed = thousands(self.counts[2] as f64);
        self.bar.set_position(now.saturating_sub(shared.start) / 1_000_000);
        self.bar.set_message(format!("{admitted}/s admitted, {refused}/s refused, {failed} failed"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
