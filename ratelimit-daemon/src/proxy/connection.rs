//! A client's connection: one task, from `accept` to the close, with one timer.

use super::conversation::Conversation;
use super::identify::KnownKey;
use super::pace::{Pace, Phase, Strike};
use super::provenance::{Peer, Provenance};
use super::worker::{Place, Worker};
use crate::clock;
use crate::flows::Flow;
use crate::policy::{Key, Limits};
use crate::strangers::Strangers;
use rustix::net::{RecvFlags, recv};
use std::cell::{OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// What all requests of a connection have in common.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) pace: Pace,
    /// What the kernel charged on this connection.
    pub(super) flow: Flow,
    /// The other end of the connection.
    address: IpAddr,
    /// Whose connection it is: the other end's, unless a PROXY protocol header has said otherwise.
    peer: OnceCell<Peer>,
    pub(super) known: KnownKey,
    /// The client without a key that a request came from last.
    stranger: RefCell<Option<Stranger>>,
}

/// A client without a key, at an address.
#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    key: Arc<Key>,
}

impl Client {
    pub(super) fn new(worker: &Rc<Worker>, stream: &TcpStream, address: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            worker: worker.clone(),
            pace: Pace::new(&worker.shared.config.proxy),
            flow: worker.shared.flows.open(address, stream.local_addr()?),
            address: address.ip().to_canonical(),
            peer: OnceCell::new(),
            known: KnownKey::default(),
            stranger: RefCell::default(),
        })
    }

    /// Whether the connection begins with a PROXY protocol header.
    pub(super) fn is_announced(&self) -> bool {
        self.worker.shared.config.forwarding.proxy_protocol.contain(self.address)
    }

    /// Takes over whose connection it is, before its first request.
    pub(super) fn announce(&self, address: IpAddr) {
        // Said once, since nobody has asked yet.
        let _ = self.peer.set(Peer::new(address, &self.worker.shared.config.forwarding));
    }

    /// Where the requests of this connection come from.
    pub(super) fn provenance(&self) -> Provenance<'_> {
        let forwarding = &self.worker.shared.config.forwarding;
        Provenance { peer: self.peer.get_or_init(|| Peer::new(self.address, forwarding)), forwarding }
    }

    /// What the client without a key at `address` has used; `None` if there is no room for it. Most connections have
    /// one client for life.
    pub(super) fn stranger(
        &self,
        strangers: &Strangers,
        address: IpAddr,
        limits: &Limits,
    ) -> Option<Arc<Key>> {
        let mut last = self.stranger.borrow_mut();
        match &*last {
            Some(stranger) if stranger.address == address && stranger.key.limits == *limits => {
                Some(stranger.key.clone())
            }
            _ => {
                let key = strangers.find(address, limits, clock::now())?;
                *last = Some(Stranger { address, key: key.clone() });
                Some(key)
            }
        }
    }

    /// When the proxy stops, a connection that waits for its next request is closed; unless that has come, and the
    /// runtime has not heard of it yet.
    pub(super) fn note_unread(&self, stream: &TcpStream) {
        let is_there = |stream| {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            recv(stream, &mut [0_u8], flags).is_ok_and(|(len, _)| len > 0)
        };
        if self.worker.is_stopping.get() && is_there(stream) {
            self.pace.enter(Phase::Head);
        }
    }

    /// Gives back what the kernel charged for requests that never became one here: broken off, or malformed.
    ///
    /// Done twice. Before the socket closes, so that a client which sees the close has its tokens back. After
    /// it, when this is dropped, because until then the kernel may charge what arrives and nobody will read.
    pub(super) fn settle(&self) {
        let left = self.flow.release();
        self.worker.shared.limiter.refund(left.slot(), left.paid());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Serves the connection until it closes. `place` is its place among the connections that are allowed.
pub(super) async fn serve(place: Place, client: Client, stream: TcpStream) {
    // These outlive the socket, which is dropped before them, also if this task is dropped.
    let _place = place;
    let client = Rc::new(client);
    let mut conversation = pin!(Conversation::new(client.clone()).run(stream));
    let mut timer = Timer::new();
    let mut stop = pin!(client.worker.stop.notified());
    let (mut is_listening, mut is_hurried) = (false, false);
    poll_fn(|cx| {
        if !is_listening {
            // Once is enough: from now on a stop wakes this task.
            is_listening = true;
            let _ = stop.as_mut().poll(cx);
        }
        loop {
            if conversation.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if client.worker.is_stopping.get() {
                if client.pace.is_idle() {
                    return Poll::Ready(());
                }
                if !is_hurried {
                    is_hurried = true;
                    client.pace.hurry(clock::now());
                }
            }
            match timer.poll_over(&client.pace, cx) {
                Poll::Pending => return Poll::Pending,
                // The request finds who is late, and answers.
                Poll::Ready(Phase::Body | Phase::Upstream) => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    })
    .await;
    client.settle();
}

/// The connection's one timer.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it fires.
    due: u64,
    /// Whether it will wake this task.
    is_heard: bool,
}

impl Timer {
    fn new() -> Self {
        Self { sleep: Box::pin(sleep(Duration::MAX)), due: u64::MAX, is_heard: false }
    }

    /// Ready when the present wait is over, with what was waited for.
    fn poll_over(&mut self, pace: &Pace, cx: &mut Context<'_>) -> Poll<Phase> {
        let due = pace.due(clock::now);
        if due < self.due {
            self.set(due, clock::now());
        }
        // The task's waker stays the same, so that one poll lasts until the timer fires.
        while !self.is_heard || self.sleep.is_elapsed() {
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.is_heard = true;
                break;
            }
            let now = clock::now();
            match pace.strike(now) {
                Strike::Later(due) => self.set(due, now),
                Strike::Over(phase) => {
                    self.due = u64::MAX;
                    return Poll::Ready(phase);
                }
            }
        }
        Poll::Pending
    }

    fn set(&mut self, due: u64, now: u64) {
        let wait = Duration::from_nanos(due.saturating_sub(now));
        self.sleep.as_mut().reset(Instant::now() + wait);
        self.due = due;
        self.is_heard = false;
    }
}
