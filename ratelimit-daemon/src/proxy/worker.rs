//! One thread of the proxy: its runtime, its listeners, its upstream connections.

use super::Shared;
use super::connection::{self, Client};
use super::date::Date;
use super::health;
use super::listen::BACKLOG;
use super::refusal;
use super::room::{Room, Taken};
use super::sample::Sample;
use super::upstream::Pool;
use crate::clock;
use crate::config::{Action, Anonymous, Config};
use crate::record::Tally;
use crate::rules;
use crate::strangers::Strangers;
use anyhow::{Context, Result};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// Pause after an `accept` that failed for want of something that closing connections give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Least time between two lines in the log that say so.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What the workers share beside [`Shared`].
#[derive(Debug)]
pub(super) struct Common {
    /// Whether a worker has ended: then all do.
    has_ended: watch::Sender<bool>,
    /// Whether the listeners are kept open for the next proxy.
    listeners_stay: bool,
    /// Client connections of all workers.
    connections: AtomicUsize,
    /// What is held of bodies.
    room: Room,
    /// Whether connections are being turned away: one line in the log for each change.
    is_full: AtomicBool,
    /// Whether a worker looks at the upstreams, and after the strangers.
    is_watched: AtomicBool,
    /// The clients without a key, if they have limits.
    strangers: Option<Strangers>,
}

impl Common {
    pub(super) fn new(config: &Config, listeners_stay: bool) -> Result<Self> {
        let observe = config.action == Action::Observe;
        let strangers =
            |Anonymous { tier, max_clients }: &Anonymous| Strangers::new(tier, *max_clients, observe);
        Ok(Self {
            has_ended: watch::Sender::default(),
            listeners_stay,
            connections: AtomicUsize::new(0),
            room: Room::default(),
            is_full: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            strangers: config.anonymous.as_ref().map(strangers).transpose()?,
        })
    }
}

/// The end of a worker, however it comes. Its listeners would go on to take their share of the clients, so
/// none can be missing for long: the others answer what is open and end too.
struct End<'a>(&'a Common);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.has_ended.send_replace(true);
    }
}

/// What the connections of one thread share.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Shared,
    pub(super) pool: Pool,
    pub(super) date: Date,
    /// Refusals that the log tells of.
    pub(super) sample: Sample,
    /// What came of the requests.
    pub(super) tally: Tally,
    /// Where paths are read.
    pub(super) paths: RefCell<rules::Room>,
    common: Arc<Common>,
    connections: Cell<usize>,
    emptied: Notify,
    /// Set before `stop` is notified.
    pub(super) is_stopping: Cell<bool>,
    pub(super) stop: Notify,
}

impl Worker {
    /// Serves until `shutdown` is true and the connections are drained. `index` is the thread's number.
    pub(super) fn run(
        shared: &Shared,
        common: &Arc<Common>,
        index: usize,
        listeners: Vec<TcpListener>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<()> {
        let _end = End(common);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context("cannot start a proxy thread's runtime")?;
        // Dropped before the runtime, with all connections that are left: each still closes its flow.
        let tasks = LocalSet::new();
        let worker = Rc::new(Self::new(shared, common, index));
        tasks.block_on(&runtime, worker.serve(listeners, shutdown))
    }

    fn new(shared: &Shared, common: &Arc<Common>, index: usize) -> Self {
        Self {
            pool: Pool::new(&shared.upstreams.0, shared.config.proxy.connect_timeout),
            date: Date::default(),
            sample: Sample::default(),
            tally: Tally::new(index, shared.reports.clone()),
            paths: RefCell::default(),
            shared: shared.clone(),
            common: common.clone(),
            connections: Cell::new(0),
            emptied: Notify::new(),
            is_stopping: Cell::new(false),
            stop: Notify::new(),
        }
    }

    /// Lets a body that is held take so many bytes in all; false if there is no room for them.
    pub(super) fn take_room(&self, taken: &mut Option<Taken>, bytes: usize) -> bool {
        self.common.room.take(taken, bytes, self.shared.config.bulk.max_total_bytes)
    }

    async fn serve(
        self: &Rc<Self>,
        listeners: Vec<TcpListener>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<()> {
        let mut accepting = Vec::new();
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.push(spawn_local(self.clone().accept(listener)));
        }
        let sweeping = spawn_local(self.clone().sweep());
        let watching = spawn_local(self.clone().watch());
        let mut ended = self.common.has_ended.subscribe();
        // An error says that whoever could stop the proxy is gone: stop.
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
        self.is_stopping.set(true);
        self.stop.notify_waiters();
        for task in accepting {
            task.await?;
        }
        self.drain().await;
        sweeping.abort();
        watching.abort();
        self.tally.send();
        Ok(())
    }

    /// Lets the open requests end, within the drain timeout.
    async fn drain(&self) {
        let emptied = async {
            while self.connections.get() > 0 {
                self.emptied.notified().await;
            }
        };
        if timeout(self.shared.config.proxy.drain_timeout, emptied).await.is_err() {
            warn!(connections = self.connections.get(), "drain timeout: open connections are cut off");
        }
    }

    /// Accepts clients until the proxy stops. Those that have connected by then are still accepted, since closing the
    /// listener would reset them; unless the next proxy gets it.
    async fn accept(self: Rc<Self>, listener: tokio::net::TcpListener) {
        // The stop may have come before this task was first run.
        let mut stop = pin!(async {
            if !self.is_stopping.get() {
                self.stop.notified().await;
            }
        });
        let mut last_warning = None;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address),
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn_at_times(&mut last_warning, &error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if !self.common.listeners_stay {
            self.accept_waiting(listener);
        }
    }

    /// Accepts those who wait now. The runtime may not have heard of them yet, so the listener itself is asked.
    fn accept_waiting(self: &Rc<Self>, listener: tokio::net::TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        // No more than can be waiting, so that a flood of new clients cannot put the end off.
        for _ in 0..BACKLOG {
            let Ok((stream, address)) = listener.accept() else { return };
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                self.admit(stream, address);
            }
        }
    }

    fn admit(self: &Rc<Self>, stream: TcpStream, address: SocketAddr) {
        let Ok(client) = Client::new(self, &stream, address) else {
            // Reset already.
            return;
        };
        let Some(place) = Place::take(self) else {
            return refusal::turn_away(stream);
        };
        spawn_local(connection::serve(place, client, stream));
    }

    /// The clients without a key, if they have limits.
    pub(super) fn strangers(&self) -> Option<&Strangers> {
        self.common.strangers.as_ref()
    }

    /// Looks at the upstreams and after the strangers, if no other worker does.
    async fn watch(self: Rc<Self>) {
        if !self.common.is_watched.swap(true, Ordering::Relaxed) {
            let looks = health::watch(&self.shared.upstreams.0, &self.shared.config.health);
            tokio::join!(
                looks,
                each_second(|| self.strangers().into_iter().for_each(|all| all.sweep(clock::now())))
            );
        }
    }

    /// Forgets upstream connections that are closed or have long not been used, and reports what was counted.
    async fn sweep(self: Rc<Self>) {
        each_second(|| {
            self.pool.sweep(clock::now());
            self.tally.send();
        })
        .await;
    }
}

async fn each_second(act: impl Fn()) {
    loop {
        sleep(Duration::from_secs(1)).await;
        act();
    }
}

/// Says that no connection can be accepted: at the limit of open files every other attempt may fail for hours.
fn warn_at_times(last: &mut Option<Instant>, error: &io::Error) {
    if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
        *last = Some(Instant::now());
        warn!(%error, "cannot accept connections; trying again");
    }
}

/// A connection's place among those that are allowed.
#[derive(Debug)]
pub(super) struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let (common, most) = (&worker.common, worker.shared.config.proxy.max_connections);
        worker.connections.set(worker.connections.get() + 1);
        // From here on dropping the place gives it back.
        let place = Self(worker.clone());
        if common.connections.fetch_add(1, Ordering::Relaxed) < most {
            return Some(place);
        }
        if !common.is_full.swap(true, Ordering::Relaxed) {
            warn!(max_connections = most, "connections are turned away");
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Worker { common, connections, emptied, shared, .. } = &*self.0;
        let left = common.connections.fetch_sub(1, Ordering::Relaxed) - 1;
        // Well below the limit, so that the log does not tell of every connection that comes and goes at it.
        let enough = shared.config.proxy.max_connections / 8 * 7;
        if common.is_full.load(Ordering::Relaxed)
            && left <= enough
            && common.is_full.swap(false, Ordering::Relaxed)
        {
            info!("connections are accepted again");
        }
        connections.set(connections.get() - 1);
        if connections.get() == 0 {
            emptied.notify_one();
        }
    }
}
