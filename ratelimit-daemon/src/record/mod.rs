//! What happened: for each second, minute and hour, what came of the requests of each key, on each route, under each
//! rule.
//!
//! Nothing is counted twice for it. The keys' own counters, the kernel's and the proxy's, are looked at once a second by
//! the control loop, and what they have grown by is that second's [`Frame`]. Routes, which nobody else counts, each
//! thread of the proxy counts by itself and reports ([`tally`]). So a request pays for no lock and no shared word, and
//! the sums of the frames are the counters.
//!
//! Time is that of the monotonic clock, in seconds from an origin that was Unix time when the daemon started. People are
//! shown it by the wall clock as it is when they ask, so a clock that is set moves the whole history and tears no hole
//! into it.
#![forbid(unsafe_code)]

mod frame;
mod kind;
mod route;
mod series;
mod subjects;
mod tally;
#[cfg(test)]
mod tests;
mod track;

pub use frame::{Frame, Id};
pub use kind::{Counts, Kind};
pub use series::Series;
pub use subjects::{FIRST_KEY, KEYLESS, Name, OTHER_ROUTES, Subjects, TOTAL, Watched};
pub(crate) use tally::{Origin, Tally};
pub use tally::{Report, Waits};

use crate::limiter::Limiter;
use crate::policy::Policy;
use ratelimit_common::SECOND_NS;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use track::Track;

/// Memory for the frames: those of a second go back an hour, those of a minute two days, those of an hour 90 days, or
/// as far as there is room. The oldest go first.
const ROOM: [usize; 3] = [192 << 20, 48 << 20, 16 << 20];

/// Keys on routes that are told apart since the start; each takes about 120 bytes.
const MOST_PAIRS: usize = 200_000;

/// Keys whose requests no longer count are looked at again in so many seconds.
const REVISIT: u64 = 15;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What happened, and who is who.
#[derive(Debug)]
pub struct Record {
    subjects: Subjects,
    followed: Weak<Policy>,
    /// The origin of its time: Unix time in seconds less the monotonic clock's, when it began.
    origin: u64,
    seconds: Track,
    minutes: Track,
    hours: Track,
    /// The minutes of the last hour, whatever there is room for in the track.
    hour: VecDeque<(u64, Arc<Frame>)>,
    /// The last second that is complete.
    last: u64,
    /// Everything since the start.
    since_start: BTreeMap<Id, Counts>,
    pairs: HashMap<(Id, Id), Counts>,
    waits: Waits,
    /// The numbers of the threads' routes.
    routes: Vec<HashMap<u16, Id>>,
}

impl Record {
    /// Nothing has happened by `now` (see [`crate::clock`]), which is `unix` in nanoseconds of Unix time.
    pub fn new(now: u64, unix: u64) -> Self {
        let origin = unix.saturating_sub(now) / SECOND_NS;
        let since = origin + now / SECOND_NS;
        let track = |step, keep, room| Track::new(step, keep, room, since);
        let [seconds, minutes, hours] = ROOM;
        Self {
            subjects: Subjects::default(),
            followed: Weak::new(),
            origin,
            seconds: track(1, HOUR, seconds),
            minutes: track(MINUTE, 2 * DAY, minutes),
            hours: track(HOUR, 90 * DAY, hours),
            hour: VecDeque::new(),
            last: since,
            since_start: BTreeMap::new(),
            pairs: HashMap::new(),
            waits: Waits::default(),
            routes: Vec::new(),
        }
    }

    /// Begins with the counters as they stand: what the kernel has counted before this daemon was there is not its to
    /// tell.
    pub fn begin(&mut self, policy: &Arc<Policy>, limiter: &Limiter) {
        self.subjects.follow(policy);
        self.followed = Arc::downgrade(policy);
        for watched in self.subjects.keys_mut() {
            watched.look(limiter);
        }
    }

    /// Takes up what has happened since the last time: by the counters of the keys, and by the threads' `reports`. To
    /// be called once a second, and before a key goes.
    pub fn take(
        &mut self,
        policy: &Arc<Policy>,
        limiter: &Limiter,
        reports: impl Iterator<Item = Report>,
        now: u64,
    ) {
        if self.followed.as_ptr() != Arc::as_ptr(policy) {
            self.subjects.follow(policy);
            self.followed = Arc::downgrade(policy);
        }
        let mut others: BTreeMap<Id, Counts> = self.subjects.look_at_rules().collect();
        // What only the threads know of keys' requests.
        let mut reported: BTreeMap<Id, Counts> = BTreeMap::new();
        reports.for_each(|report| self.take_report(report, &mut others, &mut reported));
        let mut total = others.get(&KEYLESS).copied().unwrap_or_default();
        let second = now / SECOND_NS;
        let mut events = Vec::new();
        for watched in self.subjects.keys_mut() {
            let mut counts = watched.look(limiter);
            let is_due = watched.used > 0 && u64::from(watched.id) % REVISIT == second % REVISIT;
            if !counts.is_empty() || is_due {
                watched.used = limiter.hour_used(&watched.key, now);
            }
            if !reported.is_empty()
                && let Some(more) = reported.get(&watched.id)
            {
                counts += *more;
            }
            if !counts.is_empty() {
                watched.admitted += counts.of(Kind::Admitted) as u32;
                watched.refused += counts.refused() as u32;
                total += counts;
                events.push((watched.id, counts));
            }
        }
        others.insert(TOTAL, total);
        others.retain(|_, counts| !counts.is_empty());
        others.iter().for_each(|(id, counts)| *self.since_start.entry(*id).or_default() += *counts);
        self.add(Frame::of(others.into_iter().chain(events)), now);
    }

    /// The frame of what happened until `now`.
    fn add(&mut self, frame: Frame, now: u64) {
        // A look that is late by less than half a second is of the second that it was meant for.
        let second = (self.origin + (now + SECOND_NS / 2) / SECOND_NS).saturating_sub(1).max(self.last);
        self.last = second;
        self.end_minute(second);
        if !frame.is_empty() {
            let frame = Arc::new(frame);
            [&mut self.seconds, &mut self.minutes, &mut self.hours]
                .into_iter()
                .for_each(|track| track.add(second, &frame));
        }
    }

    /// Lets the minutes that are over count for an hour.
    fn end_minute(&mut self, second: u64) {
        if let Some((start, frame)) = self.minutes.last()
            && start + MINUTE <= second
            && self.hour.back().is_none_or(|(last, _)| *last < start)
        {
            self.hour.push_back((start, frame.clone()));
        }
        while self.hour.front().is_some_and(|(start, _)| start + MINUTE + HOUR <= second) {
            let Some((_, gone)) = self.hour.pop_front() else { break };
            for (id, counts) in gone.iter().filter(|(id, _)| *id >= FIRST_KEY) {
                if let Some(watched) = self.subjects.key_mut(id) {
                    watched.admitted = watched.admitted.saturating_sub(counts.of(Kind::Admitted) as u32);
                    watched.refused = watched.refused.saturating_sub(counts.refused() as u32);
                }
            }
        }
    }

    fn take_report(
        &mut self,
        report: Report,
        others: &mut BTreeMap<Id, Counts>,
        keys: &mut BTreeMap<Id, Counts>,
    ) {
        if self.routes.len() <= report.thread {
            self.routes.resize_with(report.thread + 1, HashMap::new);
        }
        for (number, name) in report.named {
            let id = self.subjects.id(Name::Route(name.into()));
            if let Some(routes) = self.routes.get_mut(report.thread) {
                routes.insert(number, id);
            }
        }
        let routes = self.routes.get(report.thread);
        let route =
            |number: u16| routes.and_then(|routes| routes.get(&number)).copied().unwrap_or(OTHER_ROUTES);
        for (number, counts) in report.routes {
            *others.entry(route(number)).or_default() += counts;
        }
        *others.entry(KEYLESS).or_default() += report.keyless;
        for ((slot, number), counts) in report.pairs {
            // The key may have gone meanwhile.
            let Some(key) = self.subjects.in_slot(slot) else { continue };
            let pair = (key, route(number));
            let pair = if self.pairs.len() < MOST_PAIRS || self.pairs.contains_key(&pair) {
                pair
            } else {
                (key, OTHER_ROUTES)
            };
            *self.pairs.entry(pair).or_default() += counts;
            for kind in [Kind::Rejected, Kind::Unanswered, Kind::ServerError] {
                if counts.of(kind) > 0 {
                    keys.entry(key).or_default().add(kind, counts.of(kind));
                }
            }
        }
        self.waits.join(&report.waits);
    }

    /// Who is who.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// What happened since the start, of everybody together, of routes and of rules.
    pub fn since_start(&self, id: Id) -> Counts {
        self.since_start.get(&id).copied().unwrap_or_default()
    }

    /// What came of the requests of `key` since the start, by route.
    pub fn routes_of(&self, key: Id) -> impl Iterator<Item = (Id, &Counts)> {
        self.pairs.iter().filter(move |((id, _), _)| *id == key).map(|((_, route), counts)| (*route, counts))
    }

    /// How long the upstream took to begin its answers, since the start.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Bytes that the frames take.
    pub fn size(&self) -> usize {
        [&self.seconds, &self.minutes, &self.hours].into_iter().map(Track::size).sum()
    }
}
