//! Frames of one length, the latest ones.

use super::frame::{Frame, Id};
use super::kind::Counts;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The frames of one length, in order. Those in which nothing happened are left out.
#[derive(Debug)]
pub(super) struct Track {
    /// Length of a frame, in seconds.
    pub(super) step: u64,
    /// How far back it goes, in seconds.
    keep: u64,
    /// Most bytes that it takes; the oldest frames go first.
    room: usize,
    frames: VecDeque<(u64, Arc<Frame>)>,
    bytes: usize,
    /// What happened before has been forgotten, or was never here.
    since: u64,
}

impl Track {
    /// An empty track that begins at `since`.
    pub(super) fn new(step: u64, keep: u64, room: usize, since: u64) -> Self {
        Self { step, keep, room, frames: VecDeque::new(), bytes: 0, since }
    }

    /// Adds to the frame in which second `at` is, which is the last or a new one.
    pub(super) fn add(&mut self, at: u64, frame: &Arc<Frame>) {
        let start = at - at % self.step;
        match self.frames.back_mut() {
            Some((last, present)) if *last == start => {
                self.bytes -= present.size();
                *present = Arc::new(Frame::merge(present, frame));
                self.bytes += present.size();
            }
            _ => {
                self.bytes += frame.size();
                self.frames.push_back((start, frame.clone()));
            }
        }
        self.forget(at);
    }

    /// The last frame, and when it began.
    pub(super) fn last(&self) -> Option<(u64, &Arc<Frame>)> {
        self.frames.back().map(|(start, frame)| (*start, frame))
    }

    fn forget(&mut self, now: u64) {
        while let Some((start, frame)) = self.frames.front() {
            let end = start + self.step;
            if end + self.keep > now && (self.bytes <= self.room || self.frames.len() == 1) {
                break;
            }
            self.bytes -= frame.size();
            self.since = self.since.max(end);
            self.frames.pop_front();
        }
        self.since = self.since.max(now.saturating_sub(self.keep));
    }

    /// From when on all that happened is here.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// Bytes that the frames take.
    pub(super) fn size(&self) -> usize {
        self.bytes
    }

    /// What came of the requests of `id` in each frame that begins in `range`.
    pub(super) fn of(&self, id: Id, range: Range<u64>) -> impl Iterator<Item = (u64, Counts)> {
        self.within(range)
            .map(move |(start, frame)| (start, frame.get(id)))
            .filter(|(_, counts)| !counts.is_empty())
    }

    /// The frames that begin in `range`.
    pub(super) fn within(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Arc<Frame>)> {
        let first = self.frames.partition_point(|(start, _)| *start < range.start);
        self.frames
            .range(first..)
            .take_while(move |(start, _)| *start < range.end)
            .map(|(start, frame)| (*start, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    fn frame(count: u64) -> Arc<Frame> {
        let mut counts = Counts::default();
        counts.add(Kind::Admitted, count);
        Arc::new(Frame::of([(7, counts)]))
    }

    #[test]
    fn what_is_too_old_goes_and_what_there_is_no_room_for() {
        let mut track = Track::new(1, 10, 1 << 20, 100);
        (100..130).for_each(|second| track.add(second, &frame(second)));
        assert_eq!(
            track.of(7, 0..200).map(|(start, _)| start).collect::<Vec<_>>(),
            (119..130).collect::<Vec<_>>()
        );
        assert_eq!(track.since(), 119);
        let mut small = Track::new(1, 1_000, frame(100).size() * 3, 100);
        (100..110).for_each(|second| small.add(second, &frame(100)));
        assert_eq!((small.since(), small.of(7, 0..200).count()), (107, 3));
        assert!(small.size() <= frame(100).size() * 3);
    }

    #[test]
    fn a_longer_frame_has_the_sum_of_its_seconds() {
        let mut track = Track::new(60, 3_600, 1 << 20, 0);
        (0..125).for_each(|second| track.add(second, &frame(1)));
        let counts: Vec<_> = track.of(7, 0..200).map(|(_, counts)| counts.of(Kind::Admitted)).collect();
        assert_eq!(counts, [60, 60, 5]);
    }
}
