//! The connections to the API server: a pool for each worker, last in first out.
//!
//! While a connection is in the pool nobody waits for anything on it: that the upstream has closed it is found
//! when it is taken out, and by a sweep each second.

use super::worker::Common;
use crate::config::{Proxy, Upstream};
use bytes::BytesMut;
use ratelimit_common::SECOND_NS;
use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{info, warn};

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

/// Whether the upstream could be reached when a worker last tried.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_down: AtomicBool,
}

impl Health {
    /// Logs the change, if it is one.
    fn note(&self, upstream: &Upstream, error: Option<&dyn Display>) {
        if self.is_down.swap(error.is_some(), Ordering::Relaxed) == error.is_some() {
            return;
        }
        match error {
            Some(error) => warn!(%upstream, %error, "cannot connect to the upstream; clients get 502 or 504"),
            None => info!(%upstream, "the upstream is back"),
        }
    }
}

/// A connection to the upstream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    /// What was read and not yet used.
    pub(super) input: BytesMut,
    /// When its last request began.
    pub(super) used: u64,
    /// Whether it has carried a request before.
    pub(super) is_reused: bool,
}

impl Link {
    /// Whether a request can be sent, as far as we have been told. This costs no system call while nothing
    /// was received, which is what has to be so.
    fn is_quiet(&self) -> bool {
        self.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A worker's connections to the upstream that carry no request now.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: Upstream,
    /// The upstream's name, for requests that name no host.
    pub(super) host: String,
    connect_timeout: Duration,
    common: Arc<Common>,
    /// The one used last is last.
    idle: RefCell<Vec<Link>>,
}

impl Pool {
    pub(super) fn new(proxy: &Proxy, common: Arc<Common>) -> Self {
        let (upstream, connect_timeout) = (proxy.upstream.clone(), proxy.connect_timeout);
        Self { host: upstream.to_string(), upstream, connect_timeout, common, idle: RefCell::default() }
    }

    /// Takes out a connection that was used before, if there is one.
    pub(super) fn take(&self) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(Link::is_quiet)
    }

    /// Takes `link` back, on which nothing is under way.
    pub(super) fn give_back(&self, link: Link) {
        self.idle.borrow_mut().push(Link { is_reused: true, ..link });
    }

    /// Closes the connections that the upstream has closed and those that were not used for long.
    pub(super) fn sweep(&self, now: u64) {
        self.idle.borrow_mut().retain(|link| link.is_quiet() && now < link.used.saturating_add(IDLE_NS));
    }

    /// Makes a new connection.
    pub(super) async fn connect(&self, now: u64) -> Result<Link, Failure> {
        let (result, failure) = match timeout(self.connect_timeout, self.open()).await {
            Ok(result) => (result, Failure::Unreachable),
            Err(_) => (Err(io::ErrorKind::TimedOut.into()), Failure::ConnectTimeout),
        };
        self.common.health.note(&self.upstream, result.as_ref().err().map(|error| error as &dyn Display));
        let stream = result.map_err(|_| failure)?;
        Ok(Link { stream, input: BytesMut::new(), used: now, is_reused: false })
    }

    /// A name is looked up for every connection, so a change of its addresses is followed.
    async fn open(&self) -> io::Result<TcpStream> {
        let Upstream { host, port } = &self.upstream;
        let stream = match host.parse::<IpAddr>() {
            Ok(address) => TcpStream::connect((address, *port)).await?,
            Err(_) => TcpStream::connect((host.as_str(), *port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
