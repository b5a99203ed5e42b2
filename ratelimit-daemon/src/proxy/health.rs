//! Which upstreams can be used, as far as is known: by the last attempt to connect, and by looking at them.

use super::head::{MAX_HEAD, NoHead, ResponseHead, Room};
use super::upstream::open;
use crate::config::{self, Config, Upstream};
use bytes::BytesMut;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// An upstream is down after so many looks in a row that found nothing good. One good look is enough.
const BAD_LOOKS: u32 = 2;

/// The upstreams, and whether they can be used. A clone knows the same.
#[derive(Clone, Debug)]
pub struct Upstreams(pub(super) Arc<[Arc<Health>]>);

impl Upstreams {
    /// Those of `config`: good, until something else is known.
    pub fn new(config: &Config) -> Self {
        let upstream = |upstream| Arc::new(Health::new(upstream, &config.health));
        Self(config.proxy.upstreams.iter().map(upstream).collect())
    }

    /// The address of each, and whether it can be used.
    pub fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|health| (health.name.as_str(), !health.is_down()))
    }
}

/// An upstream, and whether it can be used.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) upstream: Upstream,
    /// The same as text.
    pub(super) name: String,
    /// Whether it is asked how it is, so that being there is not enough.
    is_asked: bool,
    is_down: AtomicBool,
    /// Looks in a row that found nothing good.
    bad_looks: AtomicU32,
}

impl Health {
    /// Good, until something else is known.
    pub(super) fn new(upstream: &Upstream, settings: &config::Health) -> Self {
        Self {
            upstream: upstream.clone(),
            name: upstream.to_string(),
            is_asked: settings.path.is_some(),
            is_down: AtomicBool::new(false),
            bad_looks: AtomicU32::new(0),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// A request could connect to it, or not for this reason.
    pub(super) fn note_connected(&self, error: Option<&io::Error>) {
        if error.is_some() || !self.is_asked {
            self.note(error);
        }
    }

    /// It can be used, or not for this reason.
    fn note(&self, error: Option<&io::Error>) {
        if self.is_down.swap(error.is_some(), Ordering::Relaxed) == error.is_some() {
            return;
        }
        let upstream = &self.name;
        match error {
            Some(error) => warn!(%upstream, %error, "the upstream is down"),
            None => info!(%upstream, "the upstream is back"),
        }
    }

    async fn look(&self, settings: &config::Health) {
        let ask = ask(&self.upstream, settings.path.as_deref());
        let result =
            timeout(settings.timeout, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match result {
            Ok(()) => {
                self.bad_looks.store(0, Ordering::Relaxed);
                self.note(None);
            }
            Err(error) if self.bad_looks.fetch_add(1, Ordering::Relaxed) + 1 >= BAD_LOOKS => {
                self.note(Some(&error));
            }
            Err(_) => {}
        }
    }
}

/// Looks at the upstreams from time to time, for as long as it is polled.
pub(super) async fn watch(upstreams: &[Arc<Health>], settings: &config::Health) {
    loop {
        sleep(settings.interval).await;
        for health in upstreams.iter().filter(|health| settings.path.is_some() || health.is_down()) {
            health.look(settings).await;
        }
    }
}

/// Connects, and asks for `path` if there is one.
async fn ask(upstream: &Upstream, path: Option<&str>) -> io::Result<()> {
    let mut stream = open(upstream).await?;
    let Some(path) = path else { return Ok(()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {upstream}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut input = BytesMut::new();
    loop {
        let mut room = Room::new();
        match ResponseHead::parse(&input, &mut room).map(|head| head.status) {
            Ok(200..=399) => return Ok(()),
            Ok(status) => return Err(io::Error::other(format!("it answered with status {status}"))),
            Err(NoHead::Partial) if input.len() < MAX_HEAD => {}
            Err(_) => return Err(io::Error::other("it sent an invalid response")),
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
