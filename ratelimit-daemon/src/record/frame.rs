//! What came of everybody's requests in one stretch of time, packed.
//!
//! Most subjects have one kind of event in a second, and few of it. So an event is the distance to the subject before
//! it, and a byte with its kind and its number: two bytes for nearly all. A subject is found by the blocks, each of
//! which starts anew.

use super::kind::{Counts, Kind};

/// Bytes after which a new block begins with the next subject.
const BLOCK: usize = 256;

/// A number of at least this many does not fit beside the kind, and the rest follows.
const LARGE: u64 = 15;

/// Whoever, or whatever, has requests: see [`super::subjects`].
pub type Id = u32;

/// Events in the order of their subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    /// The first subject of each block, and where the block begins.
    blocks: Vec<(Id, u32)>,
}

impl Frame {
    /// The frame of `events`, which are in the order of their subjects. One subject's kinds come together.
    pub fn of(events: impl IntoIterator<Item = (Id, Counts)>) -> Self {
        let mut frame = Self::default();
        let mut last = None;
        for (id, counts) in events {
            frame.push(id, &counts, &mut last);
        }
        frame.bytes.shrink_to_fit();
        frame.blocks.shrink_to_fit();
        frame
    }

    fn push(&mut self, id: Id, counts: &Counts, last: &mut Option<Id>) {
        debug_assert!(last.is_none_or(|last| last < id), "events are in order");
        let is_full = self.blocks.last().is_none_or(|(_, start)| self.bytes.len() - *start as usize >= BLOCK);
        for (kind, count) in counts.iter().filter(|(_, count)| *count > 0) {
            if is_full && *last != Some(id) {
                // A frame of four gigabytes would be one of a billion subjects.
                self.blocks.push((id, self.bytes.len() as u32));
                *last = Some(id);
            }
            self.number(u64::from(id - last.unwrap_or(id)));
            *last = Some(id);
            self.bytes.push((kind as u8) << 4 | count.min(LARGE) as u8);
            if count >= LARGE {
                self.number(count - LARGE);
            }
        }
    }

    /// Seven bits in each byte, the low ones first.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// The events of both frames.
    pub fn merge(one: &Self, other: &Self) -> Self {
        let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
        Self::of(std::iter::from_fn(|| match (one.peek(), other.peek()) {
            (Some((left, _)), Some((right, _))) if left == right => {
                let ((id, mut counts), (_, more)) = (one.next()?, other.next()?);
                counts += more;
                Some((id, counts))
            }
            (Some((left, _)), Some((right, _))) => {
                if left < right {
                    one.next()
                } else {
                    other.next()
                }
            }
            (Some(_), None) => one.next(),
            (None, _) => other.next(),
        }))
    }

    /// Each subject with its events, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Id, Counts)> {
        (0..self.blocks.len()).flat_map(|index| self.block(index))
    }

    /// The events of one subject.
    pub fn get(&self, id: Id) -> Counts {
        let after = self.blocks.partition_point(|(first, _)| *first <= id);
        let block = after.checked_sub(1).map(|index| self.block(index));
        let found = block.and_then(|mut block| block.find(|(found, _)| *found >= id));
        found.filter(|(found, _)| *found == id).map(|(_, counts)| counts).unwrap_or_default()
    }

    /// True if nothing happened.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity() + self.blocks.capacity() * size_of::<(Id, u32)>()
    }

    fn block(&self, index: usize) -> Subjects<'_> {
        let start = self.blocks.get(index).copied().unwrap_or_default();
        let end = self.blocks.get(index + 1).map_or(self.bytes.len(), |(_, end)| *end as usize);
        let bytes = self.bytes.get(start.1 as usize..end).unwrap_or_default();
        Subjects { bytes, id: start.0, ahead: None }
    }
}

/// The subjects of a block.
struct Subjects<'a> {
    bytes: &'a [u8],
    /// The subject of the last event.
    id: Id,
    /// An event that was read and belongs to the next subject.
    ahead: Option<(Id, Kind, u64)>,
}

impl Subjects<'_> {
    fn event(&mut self) -> Option<(Id, Kind, u64)> {
        if let Some(event) = self.ahead.take() {
            return Some(event);
        }
        let distance = self.number()?;
        let byte = self.byte()?;
        let low = u64::from(byte & 0x0f);
        let count = if low == LARGE { LARGE + self.number()? } else { low };
        self.id += distance as Id;
        Some((self.id, Kind::from_index(byte >> 4)?, count))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Some(number)
    }
}

impl Iterator for Subjects<'_> {
    type Item = (Id, Counts);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, kind, count) = self.event()?;
        let mut counts = Counts::default();
        counts.add(kind, count);
        while let Some(event) = self.event() {
            if event.0 != id {
                self.ahead = Some(event);
                break;
            }
            counts.add(event.1, event.2);
        }
        Some((id, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn events() -> impl Strategy<Value = BTreeMap<Id, Counts>> {
        let counts = prop::collection::vec(
            (0..Kind::COUNT as u8, prop_oneof![1..40_u64, any::<u32>().prop_map(u64::from)]),
            1..4,
        )
        .prop_map(|events| {
            let mut counts = Counts::default();
            for (kind, count) in events {
                counts.add(Kind::from_index(kind).unwrap(), count);
            }
            counts
        })
        .prop_filter("something", |counts| !counts.is_empty());
        prop::collection::btree_map(prop_oneof![0..500_u32, any::<u32>()], counts, 0..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_frame_has_what_was_put_into_it(events in events(), other in events()) {
            let frame = Frame::of(events.clone());
            prop_assert_eq!(frame.iter().collect::<BTreeMap<_, _>>(), events.clone());
            for id in events.keys().flat_map(|id| [id.saturating_sub(1), *id, id.saturating_add(1)]) {
                prop_assert_eq!(frame.get(id), events.get(&id).copied().unwrap_or_default());
            }
            let merged = Frame::merge(&frame, &Frame::of(other.clone()));
            let mut both = events;
            for (id, counts) in other {
                *both.entry(id).or_default() += counts;
            }
            prop_assert_eq!(merged.iter().collect::<BTreeMap<_, _>>(), both);
        }
    }

    #[test]
    fn an_event_takes_about_two_bytes() {
        let mut once = Counts::default();
        once.add(Kind::Admitted, 1);
        let frame = Frame::of((0..28_000).map(|number| (number * 36, once)));
        assert!(frame.size() < 28_000 * 21 / 10, "{}", frame.size());
    }
}
