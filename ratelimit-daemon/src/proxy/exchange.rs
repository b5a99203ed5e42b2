//! One exchange with the upstream: the request's body goes out while the response comes in.

use super::connection::Client;
use super::conversation::After;
use super::framing::{Body, Framing};
use super::pace::{Late, Phase};
use super::relay::{Broken, Sink, Source, relay};
use super::response::{Begun, respond};
use super::tunnel::tunnel;
use super::upstream::{Failure, Link};
use crate::limiter::Standing;
use crate::record::Origin;
use bytes::BytesMut;
use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// What is known of an admitted request once its head is written.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) standing: Option<Standing>,
    /// Where it is counted.
    pub(super) origin: Origin,
    /// Its route, if that is new.
    pub(super) new_route: Option<Box<str>>,
    pub(super) framing: Framing,
    /// When it was judged.
    pub(super) now: u64,
    /// Whether the client keeps the connection.
    pub(super) keeps_alive: bool,
    pub(super) is_head: bool,
    pub(super) is_http_11: bool,
    /// Its method allows to send it twice.
    pub(super) may_repeat: bool,
    /// Whether the client waits to be told to send the body.
    pub(super) expects_continue: bool,
    /// Whether it asks for another protocol that is allowed.
    pub(super) upgrades: bool,
}

impl Plan {
    fn has_body(&self) -> bool {
        self.framing != Framing::Length(0)
    }
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client has its response.
    Done(After),
    /// The upstream had closed the connection before it could see the request: another is worth a try.
    Repeat,
    /// There is no response.
    Failed(Failure),
    /// The request's body is malformed.
    Malformed,
    /// The request's body does not come.
    Late,
    /// One side ended in the middle. The client finds out by the end of its connection.
    Gone,
}

/// A request on its way, and what has come of it so far.
pub(super) struct Call<'a> {
    pub(super) client: &'a Client,
    pub(super) plan: &'a Plan,
    /// Whether the whole request is sent.
    pub(super) is_sent: Cell<bool>,
    /// Whether the head of the response is written.
    pub(super) has_begun: Cell<bool>,
}

/// The client's side of an exchange.
pub(super) struct Side<'a> {
    pub(super) client: &'a Client,
    pub(super) stream: &'a mut TcpStream,
    /// What was read from it: the request's body, or its beginning, and maybe more.
    pub(super) input: &'a mut BytesMut,
    /// What is written to it.
    pub(super) output: &'a mut Vec<u8>,
}

/// Sends `request`, which is the head, and the body that comes from the client's `side`, over `link`. The
/// response goes to the client, and after an upgrade whatever follows.
pub(super) async fn exchange(
    mut side: Side<'_>,
    mut link: Link,
    plan: &Plan,
    request: &mut Vec<u8>,
) -> Outcome {
    let client = side.client;
    link.used = plan.now;
    let call = Call { client, plan, is_sent: Cell::new(false), has_begun: Cell::new(false) };
    let delivered = pass(&call, &mut side, &mut link, request).await;
    let is_sent = call.is_sent.get();
    let is_quiet = link.input.is_empty();
    match delivered {
        Ok(begun) if begun.is_upgraded => {
            // Boxed: few connections ever need this, and none should be larger for it.
            Box::pin(tunnel(side, &mut link, request)).await;
            Outcome::Done(After::Close)
        }
        Ok(begun) => {
            if begun.link_stays && is_sent && is_quiet {
                client.worker.pool.give_back(link);
            }
            // What is left of a body that the upstream did not want would be taken for the next request.
            Outcome::Done(if begun.client_stays && is_sent { After::Next(0) } else { After::Close })
        }
        Err(Outcome::Failed(Failure::Closed))
            if link.is_reused && is_quiet && plan.may_repeat && !plan.has_body() =>
        {
            Outcome::Repeat
        }
        Err(outcome) => outcome,
    }
}

/// Passes request and response on, both at once.
async fn pass(
    call: &Call<'_>,
    side: &mut Side<'_>,
    link: &mut Link,
    request: &mut Vec<u8>,
) -> Result<Begun, Outcome> {
    let Side { client, stream, input, output } = side;
    let (mut client_in, mut client_out) = stream.split();
    let (mut link_in, mut link_out) = link.stream.split();
    output.clear();
    let mut upload = pin!(async {
        let source = Source { stream: &mut client_in, input, phase: Phase::Body };
        match send(call, source, &mut link_out, request).await {
            Ok(()) => call.is_sent.set(true),
            // The upstream wants no more of it, and may say why.
            Err(Broken::Sink) => {}
            Err(Broken::Malformed) if !call.has_begun.get() => return Outcome::Malformed,
            Err(Broken::Malformed | Broken::Source) => return Outcome::Gone,
        }
        hung_up(&client_in).await;
        Outcome::Gone
    });
    let source = Source { stream: &mut link_in, input: &mut link.input, phase: Phase::Response };
    let mut download = pin!(respond(call, source, &mut client_out, output));
    let delivered = poll_fn(|cx| {
        // First what is likely to get on: the request, and when it is sent the response.
        let is_first = !call.is_sent.get();
        if is_first && let Poll::Ready(outcome) = upload.as_mut().poll(cx) {
            return Poll::Ready(Err(outcome));
        }
        if let Poll::Ready(delivered) = download.as_mut().poll(cx) {
            return Poll::Ready(delivered);
        }
        if !is_first && let Poll::Ready(outcome) = upload.as_mut().poll(cx) {
            return Poll::Ready(Err(outcome));
        }
        match client.pace.late() {
            Some(Late::Client) => Poll::Ready(Err(Outcome::Late)),
            Some(Late::Upstream) => Poll::Ready(Err(Outcome::Failed(Failure::ResponseTimeout))),
            None => Poll::Pending,
        }
    });
    delivered.await
}

/// Sends the request. One without a body stays in `request`, for another attempt.
async fn send(
    call: &Call<'_>,
    source: Source<'_, '_>,
    link_out: &mut WriteHalf<'_>,
    request: &mut Vec<u8>,
) -> Result<(), Broken> {
    let Call { client, plan, .. } = call;
    if !plan.has_body() {
        return link_out.write_all(request).await.map_err(|_| Broken::Sink);
    }
    let is_chunked = plan.framing == Framing::Chunked;
    // A second key would be one that nobody has judged.
    let withheld = client.worker.shared.config.keys.header.as_str();
    let mut sink = Sink { stream: link_out, phase: Phase::Upstream, output: request, is_chunked, withheld };
    relay(source, &mut sink, Body::new(plan.framing), &client.pace).await
}

/// Returns when the client has closed its side. A client that sends its next request early is not looked at
/// again until that one's turn comes.
async fn hung_up(client_in: &ReadHalf<'_>) {
    match client_in.ready(Interest::READABLE).await {
        Ok(ready) if !ready.is_read_closed() => pending().await,
        _ => {}
    }
}
