//! What became of each key's requests, and of each population's.

use super::super::scenario::Population;
use super::super::tally::Tally;
use super::{KeyCount, Run};
use std::collections::BTreeMap;

/// The counts of each key, in a row.
pub(super) struct KeyCounts<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) tally: &'a Tally,
    pub(super) names: &'a [String],
}

impl KeyCounts<'_> {
    fn rows(&self) -> impl Iterator<Item = &[u32]> {
        self.tally.keys.chunks(self.tally.limits + 1)
    }

    pub(super) fn admitted(&self) -> u64 {
        self.rows().filter_map(|row| row.first()).map(|count| u64::from(*count)).sum()
    }

    pub(super) fn all(&self) -> Vec<KeyCount> {
        let scenario = &self.run.plan.scenario;
        let tiers = scenario.populations.iter().flat_map(|population| {
            let tier = scenario.tier_of(population).map(|tier| tier.name.as_str());
            std::iter::repeat_n(tier.unwrap_or_default(), population.keys as usize)
        });
        let rows = self.rows().zip(tiers).enumerate();
        let used = rows.filter(|(_, (row, _))| row.iter().any(|count| *count > 0));
        used.map(|(key, (row, tier))| {
            self.count(self.run.shared.clients.keys.name(key), tier, 1, [row].into_iter())
        })
        .collect()
    }

    pub(super) fn populations(&self) -> Vec<KeyCount> {
        let scenario = &self.run.plan.scenario;
        let mut rows = self.rows();
        let count = |population: &Population| {
            let own: Vec<_> = rows.by_ref().take(population.keys as usize).collect();
            let tier = scenario.tier_of(population).map_or("", |tier| tier.name.as_str());
            self.count(&population.name, tier, population.keys, own.into_iter())
        };
        scenario.populations.iter().map(count).collect()
    }

    fn count<'r>(
        &self,
        name: &str,
        tier: &str,
        keys: u32,
        rows: impl Iterator<Item = &'r [u32]>,
    ) -> KeyCount {
        let mut admitted = 0;
        let mut refused = BTreeMap::new();
        for row in rows {
            admitted += row.first().map_or(0, |count| u64::from(*count));
            for (name, count) in self.names.iter().zip(row.iter().skip(1)).filter(|(_, count)| **count > 0) {
                *refused.entry(name.clone()).or_default() += u64::from(*count);
            }
        }
        KeyCount { name: name.to_owned(), tier: tier.to_owned(), keys, admitted, refused }
    }
}
