//! What one thread of the proxy has seen since the record was last told.
//!
//! Nothing here is shared: the thread counts in its own memory, and once a second it sends what there is to the control
//! loop, through a bounded queue that it never waits at. If the queue is full it goes on counting.

use super::kind::{Counts, Kind};
use super::route::write_route;
use crate::rules::Applied;
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::sync::mpsc::SyncSender;

/// Routes that are told apart; requests on others are counted together.
pub(crate) const MOST_ROUTES: usize = 256;

/// Keys on routes that are told apart between two reports.
const MOST_PAIRS: usize = 65_536;

/// The route of requests that are not told apart.
pub(crate) const OTHER: u16 = 0;

/// What one thread has to report.
#[derive(Debug, Default)]
pub struct Report {
    /// The thread's.
    pub(super) thread: usize,
    /// Routes that are new, with the numbers that the thread knows them by.
    pub(super) named: Vec<(u16, Box<str>)>,
    /// What came of requests by their route.
    pub(super) routes: Vec<(u16, Counts)>,
    /// What came of requests without a key.
    pub(super) keyless: Counts,
    /// What came of keys' requests by their slot and route.
    pub(super) pairs: HashMap<(u32, u16), Counts>,
    /// How long the upstream took to begin its answers.
    pub(super) waits: Waits,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// By [`Waits::BOUNDS`], and above them.
    pub buckets: [u64; Waits::BOUNDS.len() + 1],
    /// All of it together, in nanoseconds.
    pub sum_ns: u64,
}

impl Waits {
    /// Upper bounds, in nanoseconds.
    pub const BOUNDS: [u64; 12] = [
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        1_000_000_000,
        5_000_000_000,
        30_000_000_000,
    ];

    fn add(&mut self, ns: u64) {
        let index = Self::BOUNDS.partition_point(|bound| *bound < ns);
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
        self.sum_ns += ns;
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(bucket, more)| *bucket += more);
        self.sum_ns += other.sum_ns;
    }
}

/// Whose request it is, and on which route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The slot of its key; `None` for requests without one.
    pub(crate) slot: Option<u32>,
    route: u16,
}

/// What a thread counts.
#[derive(Debug)]
pub(crate) struct Tally {
    inner: RefCell<Inner>,
    reports: Option<SyncSender<Report>>,
}

#[derive(Debug, Default)]
struct Inner {
    numbers: HashMap<Box<str>, u16>,
    routes: Vec<Counts>,
    /// Where a route is written.
    route: String,
    report: Report,
}

impl Tally {
    /// Of the thread with this number, which reports to `reports`, if anybody listens.
    pub(crate) fn new(thread: usize, reports: Option<SyncSender<Report>>) -> Self {
        let report = Report { thread, ..Report::default() };
        Self { inner: RefCell::new(Inner { report, ..Inner::default() }), reports }
    }

    /// Where a request belongs. The route's name too, if it is a new one that there is room for.
    pub(crate) fn origin(
        &self,
        slot: Option<u32>,
        method: &str,
        target: &str,
        rules: &[Applied],
    ) -> (Origin, Option<Box<str>>) {
        let mut inner = self.inner.borrow_mut();
        let Inner { numbers, route, report, .. } = &mut *inner;
        let is_endpoint = write_route(route, method, target, rules);
        let mut known = numbers.get(route.as_str()).copied();
        if known.is_none() && is_endpoint {
            known = learn(numbers, report, route);
        }
        let is_new = known.is_none() && numbers.len() + 1 < MOST_ROUTES;
        (Origin { slot, route: known.unwrap_or(OTHER) }, is_new.then(|| route.as_str().into()))
    }

    /// Tells `route` apart from now on. To be called when the upstream has something there: nobody can fill the room
    /// with paths that lead nowhere.
    pub(crate) fn learn(&self, route: &str) {
        let mut inner = self.inner.borrow_mut();
        let Inner { numbers, report, .. } = &mut *inner;
        if !numbers.contains_key(route) {
            learn(numbers, report, route);
        }
    }

    /// Counts what came of a request.
    pub(crate) fn count(&self, origin: Origin, kind: Kind) {
        let mut inner = self.inner.borrow_mut();
        let Inner { routes, report, .. } = &mut *inner;
        let index = usize::from(origin.route);
        if routes.len() <= index {
            routes.resize(index + 1, Counts::default());
        }
        if let Some(counts) = routes.get_mut(index) {
            counts.add(kind, 1);
        }
        let Some(slot) = origin.slot else { return report.keyless.add(kind, 1) };
        let route = if report.pairs.len() < MOST_PAIRS { origin.route } else { OTHER };
        report.pairs.entry((slot, route)).or_default().add(kind, 1);
    }

    /// Counts a request of nobody that is refused before any limit. Its path may be anything.
    pub(crate) fn reject(&self) {
        self.count(Origin { slot: None, route: OTHER }, Kind::Rejected);
    }

    /// Notes that the upstream has begun its answer with `status`, `wait_ns` after the request was judged.
    pub(crate) fn note_answer(&self, origin: Origin, status: u16, wait_ns: u64) {
        if status >= 500 {
            self.count(origin, Kind::ServerError);
        }
        self.inner.borrow_mut().report.waits.add(wait_ns);
    }

    /// Reports what there is. To be called once a second, and at the end.
    pub(crate) fn send(&self) {
        let Some(reports) = &self.reports else { return };
        let mut inner = self.inner.borrow_mut();
        let Inner { routes, report, .. } = &mut *inner;
        report.routes = (0..).zip(routes.iter().copied()).filter(|(_, counts)| !counts.is_empty()).collect();
        if report.routes.is_empty() && report.named.is_empty() {
            return;
        }
        let empty = Report { thread: report.thread, ..Report::default() };
        match reports.try_send(mem::replace(report, empty)) {
            Ok(()) => routes.fill(Counts::default()),
            // Later; the routes' counts are still here too.
            Err(std::sync::mpsc::TrySendError::Full(unsent)) => *report = unsent,
            // Nobody listens any more.
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => routes.fill(Counts::default()),
        }
    }
}

/// Gives `route` a number, if there is room.
fn learn(numbers: &mut HashMap<Box<str>, u16>, report: &mut Report, route: &str) -> Option<u16> {
    if numbers.len() + 1 >= MOST_ROUTES {
        return None;
    }
    // Below 256.
    let number = numbers.len() as u16 + 1;
    numbers.insert(route.into(), number);
    report.named.push((number, route.into()));
    Some(number)
}
