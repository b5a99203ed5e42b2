//! What one worker counts. Nothing is shared while a run lasts; the tallies are added up in the end.

use super::verify::{Sample, Seen};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Longest latency that is told apart, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Shortest latency that is told apart, in nanoseconds.
const SHORTEST: u64 = 1_000;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    /// No connection could be made.
    Connect,
    /// The connection was reset, and the scenario expects none.
    Reset,
    /// The connection was closed before an answer.
    Closed,
    /// No answer came in time.
    Timeout,
    /// What came was no HTTP.
    Malformed,
    /// The run was ended before an answer.
    Unfinished,
}

/// What a request's limits said, as far as a client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Answered by the API.
    Admitted,
    /// Refused, by this limit.
    Refused(Refuser),
    /// Answered by the proxy for another reason than a limit.
    Rejected,
    /// Not answered.
    Failed(Failure),
}

/// The limit that refused: a place in the names of [`limit_names`](super::report::limit_names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refuser {
    /// `0` burst, `1` hour, `2` not told, from `3` on the rules.
    pub(crate) limit: usize,
    pub(crate) by_kernel: bool,
}

/// What a single answer was, for counting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) key: usize,
    /// Among all endpoints.
    pub(crate) endpoint: usize,
    /// 0 for a connection that was reset.
    pub(crate) status: u16,
    pub(crate) verdict: Verdict,
    /// From when it was due to the answer, in nanoseconds.
    pub(crate) latency: u64,
    /// From the start of the run to the answer, in nanoseconds.
    pub(crate) at: u64,
}

/// Latencies of one endpoint and one status.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) endpoint: usize,
    pub(crate) status: u16,
    pub(crate) latencies: Histogram<u64>,
}

/// A piece of the run.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) latencies: Histogram<u32>,
}

/// All counts.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) cells: Vec<Cell>,
    /// For each key: admitted, and refused by each limit.
    pub(crate) keys: Vec<u32>,
    pub(crate) limits: usize,
    /// Refusals, by limit and by who refused.
    pub(crate) refusals: BTreeMap<Refuser, u64>,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) sent: u64,
    /// Due while the client had to wait, so not sent.
    pub(crate) withheld: u64,
    /// Given up after the last attempt.
    pub(crate) gave_up: u64,
    /// Due, and not sent before the end for want of a connection.
    pub(crate) unsent: u64,
    pub(crate) intervals: Vec<Interval>,
    interval_ns: u64,
    /// For the verification: what was sent, when, and what came back.
    pub(crate) seen: Seen,
}

impl Tally {
    /// For so many keys and limits; the run in pieces of `interval_ns`.
    pub(crate) fn new(keys: usize, limits: usize, interval_ns: u64) -> Self {
        Self {
            cells: Vec::new(),
            keys: vec![0; keys * (limits + 1)],
            limits,
            refusals: BTreeMap::new(),
            failures: BTreeMap::new(),
            sent: 0,
            withheld: 0,
            gave_up: 0,
            unsent: 0,
            intervals: Vec::new(),
            interval_ns: interval_ns.max(1),
            seen: Seen::default(),
        }
    }

    /// Counts an answer, or that there is none.
    pub(crate) fn note(&mut self, note: &Note) {
        let interval = self.interval(note.at);
        match note.verdict {
            Verdict::Admitted => interval.admitted += 1,
            Verdict::Refused(_) => interval.refused += 1,
            Verdict::Rejected => interval.failed += 1,
            Verdict::Failed(failure) => {
                interval.failed += 1;
                *self.failures.entry(failure).or_default() += 1;
                return;
            }
        }
        interval.latencies.saturating_record(note.latency.max(SHORTEST));
        self.cell(note.endpoint, note.status).latencies.saturating_record(note.latency.max(SHORTEST));
        let column = match note.verdict {
            Verdict::Refused(refuser) => {
                *self.refusals.entry(refuser).or_default() += 1;
                refuser.limit + 1
            }
            Verdict::Admitted => 0,
            _ => return,
        };
        if let Some(count) = self.keys.get_mut(note.key * (self.limits + 1) + column) {
            *count += 1;
        }
    }

    /// Keeps what the verification wants to know.
    pub(crate) fn keep(&mut self, sample: Sample) {
        self.seen.samples.push(sample);
    }

    fn interval(&mut self, at: u64) -> &mut Interval {
        let place = (at / self.interval_ns) as usize;
        if self.intervals.len() <= place {
            self.intervals.resize_with(place + 1, Interval::default);
        }
        let last = self.intervals.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was made just now where it was missing")]
        &mut self.intervals[place.min(last)]
    }

    fn cell(&mut self, endpoint: usize, status: u16) -> &mut Cell {
        let found = self.cells.iter().position(|cell| cell.endpoint == endpoint && cell.status == status);
        let place = found.unwrap_or_else(|| {
            self.cells.push(Cell { endpoint, status, latencies: latencies() });
            self.cells.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or made just now")]
        &mut self.cells[place]
    }

    /// Adds what another worker of the same run has counted.
    pub(crate) fn merge(&mut self, other: Self) {
        for Cell { endpoint, status, latencies } in other.cells {
            add(&mut self.cell(endpoint, status).latencies, &latencies);
        }
        self.keys.iter_mut().zip(other.keys).for_each(|(own, other)| *own += other);
        other.refusals.into_iter().for_each(|(by, count)| *self.refusals.entry(by).or_default() += count);
        other.failures.into_iter().for_each(|(why, count)| *self.failures.entry(why).or_default() += count);
        self.sent += other.sent;
        self.withheld += other.withheld;
        self.gave_up += other.gave_up;
        self.unsent += other.unsent;
        for (place, interval) in other.intervals.into_iter().enumerate() {
            let own = self.interval(place as u64 * self.interval_ns);
            own.admitted += interval.admitted;
            own.refused += interval.refused;
            own.failed += interval.failed;
            add(&mut own.latencies, &interval.latencies);
        }
        self.seen.merge(other.seen);
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self { admitted: 0, refused: 0, failed: 0, latencies: histogram(2) }
    }
}

/// A histogram of latencies to three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    histogram(3)
}

fn histogram<Count: hdrhistogram::Counter>(digits: u8) -> Histogram<Count> {
    // The bounds are right, so only want of memory could make this fail; a histogram without bounds grows as it has to.
    let made = Histogram::new_with_bounds(SHORTEST, LONGEST, digits).or_else(|_| Histogram::new(digits));
    #[expect(clippy::expect_used, reason = "the library takes 0 to 5 digits")]
    made.expect("a histogram")
}

/// Adds histograms of the same bounds, for which it cannot fail.
pub(crate) fn add<Count: hdrhistogram::Counter>(own: &mut Histogram<Count>, other: &Histogram<Count>) {
    let added = own.add(other);
    debug_assert!(added.is_ok(), "the bounds differ");
}
