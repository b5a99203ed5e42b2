//! What happened to one subject over a stretch of time.

use super::frame::Id;
use super::kind::{Counts, Kind};
use super::{HOUR, MINUTE, Record, Track};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Most points of a series.
pub(super) const MOST_POINTS: u64 = 3_600;

/// What came of a subject's requests, in even steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// When the first point begins, in seconds of Unix time.
    pub start: u64,
    /// Length of a point, in seconds.
    pub step: u64,
    /// From when on the record is complete, in seconds of Unix time.
    pub since: u64,
    /// What came of the requests in each step; the last may not be over.
    pub points: Vec<Counts>,
}

impl Record {
    /// The last `span` seconds of `id`, in steps of a second or more, so that there are no more points than `most`; by
    /// the wall clock at `unix`, in seconds, which is `now` of the monotonic clock.
    pub fn series(&self, id: Id, span: u64, most: u64, now: u64, unix: u64) -> Series {
        let (track, step) = self.track(span, most.clamp(1, MOST_POINTS));
        let shift = unix.saturating_sub(self.at(now));
        let back = self.at(now).saturating_sub(unix);
        let end = self.last + 1;
        let count = (span / step).max(1);
        let start = (self.last - self.last % step + step).saturating_sub(count * step);
        let mut points = vec![Counts::default(); count as usize];
        for (at, counts) in track.of(id, start..end) {
            if let Some(point) = points.get_mut(((at - start) / step) as usize) {
                *point += counts;
            }
        }
        let shown = |second: u64| (second + shift).saturating_sub(back);
        Series { start: shown(start), step, since: shown(track.since()), points }
    }

    /// The sum over the last `span` seconds of `id`: exactly of a minute or less, to the minute of an hour or less, and to
    /// the hour of more.
    pub fn sum(&self, id: Id, span: u64) -> Counts {
        let (track, _) = self.track(span, if span <= HOUR { 60 } else { 24 });
        let mut sum = Counts::default();
        let start = (self.last + 1).saturating_sub(span);
        track.of(id, start - start % track.step..self.last + 1).for_each(|(_, counts)| sum += counts);
        sum
    }

    /// Its time at `now` of the monotonic clock.
    fn at(&self, now: u64) -> u64 {
        self.origin + now / ratelimit_common::SECOND_NS
    }

    /// The track for the last `span` seconds in no more than `most` steps, and the length of a step: the longest frames
    /// that are short enough, else the shortest that go back so far.
    fn track(&self, span: u64, most: u64) -> (&Track, u64) {
        let least = STEPS.into_iter().find(|step| span.div_ceil(*step) <= most).unwrap_or(24 * HOUR);
        let start = (self.last + 1).saturating_sub(span).max(self.hours.since());
        let tracks =
            || [&self.seconds, &self.minutes, &self.hours].into_iter().filter(|track| track.since() <= start);
        let track = tracks().rev().find(|track| track.step <= least).or_else(|| tracks().next());
        let track = track.unwrap_or(&self.hours);
        (track, least.max(track.step))
    }
}

/// Lengths of a point, in seconds. Each is so many frames.
const STEPS: [u64; 14] =
    [1, 2, 5, 10, 15, 30, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR];

/// One list for each kind that there was any of.
impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("start", &self.start)?;
        map.serialize_entry("step", &self.step)?;
        map.serialize_entry("since", &self.since)?;
        map.serialize_entry("points", &self.points.len())?;
        for kind in Kind::ALL {
            let counts: Vec<_> = self.points.iter().map(|point| point.of(kind)).collect();
            if counts.iter().any(|count| *count > 0) {
                map.serialize_entry(kind.name(), &counts)?;
            }
        }
        map.end()
    }
}
