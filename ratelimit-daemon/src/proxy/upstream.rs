//! The connections to the API servers: a pool for each worker, last in first out.
//!
//! While a connection is in the pool nobody waits for anything on it: that the upstream has closed it is found
//! when it is taken out, and by a sweep each second.

use super::health::Health;
use crate::config::Upstream;
use bytes::BytesMut;
use ratelimit_common::SECOND_NS;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Unused for longer, a connection is closed.
const IDLE_NS: u64 = 30 * SECOND_NS;

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody listens there, or the name or the host cannot be reached.
    Unreachable,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// No response within the response timeout.
    ResponseTimeout,
    /// The connection ended before the response.
    Closed,
    /// What came is no response that can be passed on.
    Invalid,
}

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    /// What was read and not yet used.
    pub(super) input: BytesMut,
    /// When its last request began.
    pub(super) used: u64,
    /// Whether it has carried a request before.
    pub(super) is_reused: bool,
    /// Which upstream it leads to.
    upstream: usize,
}

impl Link {
    /// Whether a request can be sent, as far as we have been told. This costs no system call while nothing
    /// was received, which is what has to be so.
    fn is_quiet(&self) -> bool {
        self.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Upstreams that a request was sent to, or almost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried(u64);

/// A worker's connections to the upstreams that carry no request now.
#[derive(Debug)]
pub(super) struct Pool {
    members: Vec<Member>,
    connect_timeout: Duration,
    /// Where the next choice among equals begins.
    next: Cell<usize>,
}

/// What a worker has of one upstream.
#[derive(Debug)]
struct Member {
    health: Arc<Health>,
    index: usize,
    /// Requests of this worker that are under way.
    under_way: Cell<u32>,
    /// The one used last is last.
    idle: RefCell<Vec<Link>>,
}

impl Pool {
    pub(super) fn new(upstreams: &[Arc<Health>], connect_timeout: Duration) -> Self {
        let member = |(index, health): (usize, &Arc<Health>)| Member {
            health: health.clone(),
            index,
            under_way: Cell::new(0),
            idle: RefCell::default(),
        };
        let members = upstreams.iter().enumerate().map(member).collect();
        Self { members, connect_timeout, next: Cell::new(0) }
    }

    /// The first upstream's name, for requests that name no host.
    pub(super) fn host(&self) -> &str {
        self.members.first().map_or("", |member| &member.health.name)
    }

    /// Chooses the upstream for the next attempt: of those that are up the one with the fewest requests under
    /// way here. If all are down one of them is tried, once: it may be back, and it costs the client nothing else.
    pub(super) fn choose(&self, tried: &mut Tried) -> Option<Choice<'_>> {
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let rotated = (0..self.members.len()).map(|step| start.wrapping_add(step) % self.members.len());
        let members = rotated.filter_map(|index| self.members.get(index));
        let is_first = tried.0 == 0;
        let candidates = members.filter(|member| tried.0 & 1 << member.index == 0);
        let best = candidates.min_by_key(|member| (member.health.is_down(), member.under_way.get()))?;
        if best.health.is_down() && !is_first {
            return None;
        }
        tried.0 |= 1 << best.index;
        best.under_way.set(best.under_way.get() + 1);
        Some(Choice { member: best, connect_timeout: self.connect_timeout })
    }

    /// Takes `link` back, on which nothing is under way.
    pub(super) fn give_back(&self, link: Link) {
        if let Some(member) = self.members.get(link.upstream) {
            member.idle.borrow_mut().push(Link { is_reused: true, ..link });
        }
    }

    /// Closes the connections that the upstreams have closed and those that were not used for long.
    pub(super) fn sweep(&self, now: u64) {
        for member in &self.members {
            let is_of_use = |link: &Link| link.is_quiet() && now < link.used.saturating_add(IDLE_NS);
            member.idle.borrow_mut().retain(is_of_use);
        }
    }
}

/// The upstream that a request goes to. The request counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    member: &'a Member,
    connect_timeout: Duration,
}

impl Choice<'_> {
    /// Takes out a connection that was used before, if there is one.
    pub(super) fn take(&self) -> Option<Link> {
        let mut idle = self.member.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(Link::is_quiet)
    }

    /// Makes a new connection.
    pub(super) async fn connect(&self, now: u64) -> Result<Link, Failure> {
        let health = &self.member.health;
        let (result, failure) = match timeout(self.connect_timeout, open(&health.upstream)).await {
            Ok(result) => (result, Failure::Unreachable),
            Err(_) => (Err(io::ErrorKind::TimedOut.into()), Failure::ConnectTimeout),
        };
        health.note_connected(result.as_ref().err());
        let stream = result.map_err(|_| failure)?;
        let upstream = self.member.index;
        Ok(Link { stream, input: BytesMut::new(), used: now, is_reused: false, upstream })
    }
}

impl Drop for Choice<'_> {
    fn drop(&mut self) {
        self.member.under_way.set(self.member.under_way.get() - 1);
    }
}

/// Connects to `upstream`. A name is looked up for every connection, so a change of its addresses is followed.
pub(super) async fn open(Upstream { host, port }: &Upstream) -> io::Result<TcpStream> {
    let stream = match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, *port)).await?,
        Err(_) => TcpStream::connect((host.as_str(), *port)).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}
