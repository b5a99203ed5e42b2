//! One thread of the generator: its connections, what is due on them, and one place where it waits for both.

use super::arrival::{Arrivals, Timeline};
use super::clients::Job;
use super::connection::{Connection, Event};
use super::shared::Shared;
use super::tally::{Failure, Tally};
use crate::clock;
use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

/// Longest wait, so that a stop and timeouts are noticed.
const LONGEST_WAIT: u64 = 50_000_000;

/// Pause after a connection that could not be made, so that a dead server is not asked without end.
const CONNECT_PAUSE: u64 = 100_000_000;

const EVENTS: usize = 256;

/// A place for a connection, with the request that is under way on it.
#[derive(Debug)]
struct Place {
    connection: Connection,
    group: usize,
    under_way: Option<UnderWay>,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    job: Job,
    sent: u64,
}

/// One population's part in a worker.
#[derive(Debug)]
struct Line {
    idle: Vec<usize>,
    /// Due, and waiting for a connection.
    backlog: VecDeque<Job>,
    arrivals: Peekable<Arrivals>,
    is_closed: bool,
    /// Nothing new is due from here on.
    end: u64,
}

/// Something to do at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Draw the next request of a closed loop.
    Draw(usize),
    Send(Job),
}

/// Why a place is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freed {
    /// Its request is over.
    Done,
    /// Its client will send the request again, which takes the place of a new one.
    ForRetry,
    /// It could not connect.
    InVain,
}

/// A thread's part of a run.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) index: usize,
    epoll: OwnedFd,
    places: Vec<Place>,
    lines: Vec<Line>,
    pub(super) timers: BinaryHeap<Reverse<(u64, Timer)>>,
    random: SmallRng,
    pub(super) tally: Tally,
    under_way: usize,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(shared: &'a Shared, index: usize, tally: Tally) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot wait for connections")?;
        let random = SmallRng::seed_from_u64(shared.seed.wrapping_add(index as u64 * 0x9e37_79b9));
        let (places, lines, timers) = (Vec::new(), Vec::new(), BinaryHeap::new());
        let mut worker = Self { shared, index, epoll, places, lines, timers, random, tally, under_way: 0 };
        worker.lay_out();
        Ok(worker)
    }

    /// Makes places for this worker's share of each population's connections. A population with fewer connections than there
    /// are workers is left to as many workers.
    fn lay_out(&mut self) {
        for (group, clients) in self.shared.clients.groups.iter().enumerate() {
            let population = &clients.population;
            let connections = population.connections as usize;
            let sharers = self.shared.workers.min(connections);
            let own = match self.index < sharers {
                true => connections / sharers + usize::from(self.index < connections % sharers),
                false => 0,
            };
            let first = self.places.len();
            let place = || Place { connection: Connection::default(), group, under_way: None };
            self.places.extend(std::iter::repeat_with(place).take(own));
            let seed = self.shared.seed.wrapping_add(group as u64);
            let timeline = if own == 0 { &Timeline(Vec::new()) } else { &population.timeline };
            self.lines.push(Line {
                idle: (first..first + own).rev().collect(),
                backlog: VecDeque::new(),
                arrivals: Arrivals::new(timeline, self.index, sharers, seed).peekable(),
                is_closed: population.timeline.is_closed(),
                end: self.shared.start + population.timeline.length().as_nanos() as u64,
            });
            if population.timeline.is_closed() {
                let draws = (0..own).map(|_| Reverse((self.shared.start, Timer::Draw(group))));
                self.timers.extend(draws);
            }
        }
    }

    /// Sends until everything that is due was sent and answered, or the run is stopped.
    pub(crate) fn run(mut self) -> Result<Tally> {
        let mut events = Vec::with_capacity(EVENTS);
        let end = self.lines.iter().map(|line| line.end).max().unwrap_or_default();
        let mut last_look = 0;
        loop {
            let now = clock::now();
            let is_over = now >= end && self.under_way == 0 || now >= end + self.shared.timeout;
            if is_over || self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            self.send_due(now);
            if now >= last_look + LONGEST_WAIT {
                self.time_out(now);
                last_look = now;
            }
            events.clear();
            let wait = self.next_due().saturating_sub(clock::now()).min(LONGEST_WAIT);
            // Always less than a second.
            let wait = Timespec { tv_sec: 0, tv_nsec: wait as i64 };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for connections"),
            }
            for event in &events {
                self.attend(event.data.u64() as usize, event.flags);
            }
        }
        Ok(self.close())
    }

    /// When something is due next.
    fn next_due(&mut self) -> u64 {
        let timer = self.timers.peek().map_or(u64::MAX, |Reverse((due, _))| *due);
        let start = self.shared.start;
        let arrivals = self.lines.iter_mut().filter_map(|line| line.arrivals.peek().map(|due| start + due));
        arrivals.fold(timer, u64::min)
    }

    /// Sends what is due at `now`.
    fn send_due(&mut self, now: u64) {
        while let Some(Reverse((due, timer))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            self.act(timer, now);
        }
        for group in 0..self.lines.len() {
            while let Some(due) = self.arrived(group, now) {
                match self.shared.clients.draw(group, due, now, &mut self.random) {
                    Ok(job) => self.dispatch(job, now),
                    Err(_) => self.tally.withheld += 1,
                }
            }
        }
    }

    fn arrived(&mut self, group: usize, now: u64) -> Option<u64> {
        let start = self.shared.start;
        let due = self.lines.get_mut(group)?.arrivals.next_if(|due| start + due <= now)?;
        Some(start + due)
    }

    /// The next request of a closed loop, now or when one of its clients may send again.
    fn draw(&mut self, group: usize, now: u64) {
        let Some(line) = self.lines.get(group).filter(|line| now < line.end) else { return };
        let end = line.end;
        match self.shared.clients.draw(group, now, now, &mut self.random) {
            Ok(job) => self.dispatch(job, now),
            Err(until) if until < end => self.timers.push(Reverse((until, Timer::Draw(group)))),
            Err(_) => {}
        }
    }

    /// Sends a request on an idle connection of its population, or has it wait for one.
    fn dispatch(&mut self, job: Job, now: u64) {
        let Some(line) = self.lines.get_mut(job.group) else { return };
        if now >= line.end {
            self.tally.unsent += 1;
        } else if let Some(place) = line.idle.pop() {
            self.start(place, job);
        } else {
            line.backlog.push_back(job);
        }
    }

    fn start(&mut self, index: usize, job: Job) {
        let Self { places, shared, epoll, random, .. } = self;
        let (Some(place), Some(endpoint)) = (places.get_mut(index), shared.clients.endpoint(&job)) else {
            return;
        };
        // Before anything is sent: the server cannot have judged it earlier.
        let sent = clock::now();
        place.under_way = Some(UnderWay { job, sent });
        self.under_way += 1;
        self.tally.sent += 1;
        let opened = match place.connection.is_open() {
            true => Ok(()),
            false => place.connection.open(shared.server, epoll, index as u64),
        };
        let event = match opened {
            Ok(()) => {
                place.connection.send(endpoint.is_head, |output| shared.clients.write(&job, output, random))
            }
            Err(_) => Event::Unreachable,
        };
        self.happened(index, event);
    }

    /// Looks after a connection of which `epoll` has told something.
    fn attend(&mut self, index: usize, flags: epoll::EventFlags) {
        let Some(place) = self.places.get_mut(index) else { return };
        let is_ended =
            flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        if place.under_way.is_none() {
            if is_ended {
                place.connection.close();
            }
            return;
        }
        let mut event = Event::Nothing;
        if flags.contains(epoll::EventFlags::OUT) {
            event = place.connection.flush();
        }
        // What can be read may tell more than a failure to write: a refusal that came before the whole request was sent.
        if is_ended || flags.contains(epoll::EventFlags::IN) {
            event = match place.connection.receive(is_ended) {
                Event::Nothing => event,
                told => told,
            };
        }
        self.happened(index, event);
    }

    /// Settles the request on a connection, if that is what has happened, and goes on with the next.
    fn happened(&mut self, index: usize, event: Event) {
        if matches!(event, Event::Nothing) {
            return;
        }
        let Some(place) = self.places.get_mut(index) else { return };
        let Some(UnderWay { job, sent }) = place.under_way.take() else { return };
        let (group, now) = (place.group, clock::now());
        let keep_alive =
            self.shared.clients.groups.get(group).is_some_and(|group| group.population.keep_alive);
        let stays = matches!(&event, Event::Answered(answer, _) if keep_alive && !answer.closes);
        if !stays {
            place.connection.close();
        }
        self.under_way -= 1;
        let is_unreachable = matches!(event, Event::Unreachable);
        let freed = match self.settle(&job, sent, now, event) {
            true => Freed::ForRetry,
            false if is_unreachable => Freed::InVain,
            false => Freed::Done,
        };
        self.go_on_with(index, group, now, freed);
    }

    /// Has a free place take what waits for one, or the next request of a closed loop.
    fn go_on_with(&mut self, index: usize, group: usize, now: u64, freed: Freed) {
        let Some(line) = self.lines.get_mut(group) else { return };
        line.idle.push(index);
        let next = line.backlog.pop_front().map(Timer::Send);
        let draws = line.is_closed && freed != Freed::ForRetry;
        match next.or(draws.then_some(Timer::Draw(group))) {
            // Not at once: that would be tried without end.
            Some(timer) if freed == Freed::InVain => {
                self.timers.push(Reverse((now + CONNECT_PAUSE, timer)));
            }
            Some(timer) => self.act(timer, now),
            None => {}
        }
    }

    fn act(&mut self, timer: Timer, now: u64) {
        match timer {
            Timer::Draw(group) => self.draw(group, now),
            Timer::Send(job) => self.dispatch(job, now),
        }
    }

    /// Gives up requests whose answer is overdue.
    fn time_out(&mut self, now: u64) {
        for index in 0..self.places.len() {
            let under_way = self.places.get(index).and_then(|place| place.under_way);
            if under_way.is_some_and(|under_way| now > under_way.sent + self.shared.timeout) {
                self.give_up(index, now, Failure::Timeout);
            }
        }
    }

    fn give_up(&mut self, index: usize, now: u64, why: Failure) {
        let Some(place) = self.places.get_mut(index) else { return };
        let Some(UnderWay { job, sent }) = place.under_way.take() else { return };
        let group = place.group;
        place.connection.close();
        self.under_way -= 1;
        self.fail(&job, sent, now, why);
        self.go_on_with(index, group, now, Freed::Done);
    }

    /// Counts what is left, and lets go of it.
    fn close(mut self) -> Tally {
        let now = clock::now();
        self.tally.unsent += self.lines.iter().map(|line| line.backlog.len() as u64).sum::<u64>();
        self.lines.iter_mut().for_each(|line| {
            line.backlog.clear();
            line.end = 0;
        });
        for index in 0..self.places.len() {
            self.give_up(index, now, Failure::Unfinished);
        }
        self.tally
    }
}
