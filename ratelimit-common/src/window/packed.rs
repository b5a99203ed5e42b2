//! Counts of seconds, packed.
//!
//! A count is stored with the gap to the second of the next one: three bits of a byte for a gap of 1 to 7
//! seconds, five for 1 to 31 requests. What is larger has a zero there and follows in groups of seven bits
//! (LEB128), the gap first. A key that uses up an hour of 1,000 requests evenly takes a byte for each.

use std::collections::VecDeque;

const GAP_SHIFT: u32 = 5;
const MOST_REQUESTS: u32 = (1 << GAP_SHIFT) - 1;
const MOST_GAP: u32 = 7;
/// Least growth, and what is left unused without being given back.
const SLACK: usize = 16;

/// The requests of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) second: u32,
    pub(super) requests: u32,
}

/// A queue of counts.
#[derive(Clone, Debug)]
pub(super) struct Packed(VecDeque<u8>);

impl Packed {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Appends a count of `requests`, which the next count follows after `gap` seconds; both are 1 or more.
    pub(super) fn push(&mut self, gap: u32, requests: u32) {
        let (short_gap, short_requests) = (short(gap, MOST_GAP), short(requests, MOST_REQUESTS));
        self.append(short_gap << GAP_SHIFT | short_requests);
        if short_gap == 0 {
            self.append_long(gap);
        }
        if short_requests == 0 {
            self.append_long(requests);
        }
    }

    /// Takes the oldest count off: the gap to the next, and the requests.
    pub(super) fn pop(&mut self) -> Option<(u32, u32)> {
        let count = unpack(&mut || self.0.pop_front())?;
        if self.0.capacity() > 4 * (self.0.len() + SLACK) {
            self.0.shrink_to(self.0.len() + SLACK);
        }
        Some(count)
    }

    /// All counts, oldest first, of which the first is that of second `first`.
    pub(super) fn counts(&self, first: u32) -> impl Iterator<Item = Count> + '_ {
        let mut bytes = self.0.iter().copied();
        let mut second = first;
        std::iter::from_fn(move || {
            let (gap, requests) = unpack(&mut || bytes.next())?;
            let count = Count { second, requests };
            second += gap;
            Some(count)
        })
    }

    /// Bytes of the heap that the queue takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }

    fn append(&mut self, byte: u32) {
        // A quarter more in place of twice as much: a million queues should not be half empty.
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(SLACK.max(self.0.len() / 4));
        }
        // Eight bits by construction.
        self.0.push_back(byte as u8);
    }

    fn append_long(&mut self, mut number: u32) {
        while number > 0x7f {
            self.append(number & 0x7f | 0x80);
            number >>= 7;
        }
        self.append(number);
    }
}

/// `number`, if it is no more than `most`; else 0.
const fn short(number: u32, most: u32) -> u32 {
    if number <= most { number } else { 0 }
}

fn unpack(next: &mut impl FnMut() -> Option<u8>) -> Option<(u32, u32)> {
    let byte = u32::from(next()?);
    let mut long = |short| if short == 0 { unpack_long(next) } else { Some(short) };
    let gap = long(byte >> GAP_SHIFT)?;
    let requests = long(byte & MOST_REQUESTS)?;
    Some((gap, requests))
}

fn unpack_long(next: &mut impl FnMut() -> Option<u8>) -> Option<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let byte = u32::from(next()?);
        number |= (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![1..40_u32, 1..4_000_u32, Just(u32::MAX), 1..u32::MAX]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(counts in prop::collection::vec((1..5_000_u32, number()), 0..300)) {
            let mut packed = Packed::new();
            counts.iter().for_each(|(gap, requests)| packed.push(*gap, *requests));
            let seen: Vec<_> = packed.counts(7).map(|count| count.requests).collect();
            let requests: Vec<_> = counts.iter().map(|(_, requests)| *requests).collect();
            prop_assert_eq!(seen, requests);
            let popped: Vec<_> = std::iter::from_fn(|| packed.pop()).collect();
            prop_assert_eq!(popped, counts);
            prop_assert!(packed.heap_bytes() <= 4 * SLACK);
        }
    }

    #[test]
    fn an_hour_of_a_thousand_takes_a_byte_a_count() {
        let mut packed = Packed::new();
        (0..1_000).for_each(|_| packed.push(3, 1));
        assert_eq!(packed.0.len(), 1_000);
        assert!(packed.heap_bytes() <= 1_250);
    }
}
