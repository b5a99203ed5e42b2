//! Which slots are free, and which belong to whom.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};

/// The slots that no key has.
///
/// A freed slot is given to another key as late as can be: after all slots that never had one, and after all
/// that were freed before it. The daemon zeroes a slot when its key is removed and sets a new key's limits
/// when it is added, so the newcomer starts with a full bucket. Only a request that was under way when its
/// key was removed can still charge or refund the slot, and that one is over long before the slot's turn
/// comes; if it is not, the newcomer is a token off, once.
#[derive(Clone, Debug)]
pub struct Places {
    count: u32,
    /// From here to `count` no slot was ever taken, but for those that are `kept`.
    next: u32,
    /// In the order in which they were freed.
    freed: VecDeque<u32>,
    /// Slots that an earlier daemon gave out, by the keyed hash of the key: each gets its own again.
    kept: HashMap<u64, u32>,
    /// The same slots.
    skipped: HashSet<u32>,
}

impl Places {
    /// `count` slots, all of them free.
    pub fn new(count: u32) -> Self {
        Self::keeping(count, HashMap::new())
    }

    /// `count` slots, of which some are kept for the keys with these hashes.
    pub fn keeping(count: u32, kept: HashMap<u64, u32>) -> Self {
        Self { count, next: 0, freed: VecDeque::new(), kept, skipped: HashSet::new() }
    }

    /// The same, where only the keys with these `hashes` come. What was kept for others is free.
    pub(crate) fn for_keys(mut self, hashes: impl IntoIterator<Item = u64>) -> Self {
        let coming: HashSet<_> = hashes.into_iter().collect();
        self.kept.retain(|hash, slot| *slot < self.count && coming.contains(hash));
        self.skipped = self.kept.values().copied().collect();
        self
    }

    /// Number of slots, free or not.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// A slot for the key with this `hash`; `None` if there is none left.
    pub(crate) fn take(&mut self, hash: u64) -> Option<u32> {
        if let Some(slot) = self.kept.remove(&hash) {
            return Some(slot);
        }
        while self.next < self.count {
            let slot = self.next;
            self.next += 1;
            if !self.skipped.contains(&slot) {
                return Some(slot);
            }
        }
        self.freed.pop_front()
    }

    /// Frees `slots`.
    pub(crate) fn release(&mut self, slots: impl IntoIterator<Item = u32>) {
        self.freed.extend(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_had_a_slot_gets_it_again_and_nobody_else_does() {
        let mut places = Places::keeping(4, HashMap::from([(10, 0), (12, 2)])).for_keys(10..16);
        assert_eq!([11, 12, 13].map(|hash| places.take(hash)), [Some(1), Some(2), Some(3)]);
        assert_eq!(places.take(10), Some(0));
        assert_eq!(places.take(14), None);
        places.release([3]);
        assert_eq!(places.take(15), Some(3));
    }

    /// The place of a key that is gone is free, and so is one that is no longer there.
    #[test]
    fn nothing_is_kept_for_who_does_not_come() {
        let kept = HashMap::from([(10, 0), (11, 1), (12, 7)]);
        let mut places = Places::keeping(2, kept).for_keys([11, 12, 13]);
        assert_eq!([13, 12, 11].map(|hash| places.take(hash)), [Some(0), None, Some(1)]);
    }
}
