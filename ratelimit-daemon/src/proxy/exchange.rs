//! One exchange with the upstream: the request's body goes out while the response comes in.

use super::connection::Client;
use super::conversation::After;
use super::forward;
use super::framing::{Body, Framing};
use super::head::{MAX_HEAD, NoHead, ResponseHead, Room, Survey};
use super::headers::write_rate_fields;
use super::pace::Phase;
use super::refusal::Connection;
use super::relay::{Broken, Sink, Source, relay};
use super::upstream::{Failure, Link};
use crate::limiter::Standing;
use bytes::{Buf, BytesMut};
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
    pub(super) framing: Framing,
    /// When it was judged.
    pub(super) now: u64,
    /// Whether the client keeps the connection.
    pub(super) keeps_alive: bool,
    pub(super) is_head: bool,
    pub(super) is_http_11: bool,
    pub(super) expects_continue: bool,
    /// Its method allows to send it twice.
    pub(super) may_repeat: bool,
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
    /// One side ended in the middle. The client finds out by the end of its connection.
    Gone,
}

/// A response of which the head is written.
struct Begun {
    body: Body,
    is_chunked: bool,
    client_stays: bool,
    link_stays: bool,
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
/// response goes to the client.
pub(super) async fn exchange(side: Side<'_>, mut link: Link, plan: &Plan, request: &mut Vec<u8>) -> Outcome {
    let client = side.client;
    link.used = plan.now;
    let (delivered, is_sent) = pass(side, &mut link, plan, request).await;
    let is_quiet = link.input.is_empty();
    match delivered {
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

/// Passes request and response on, both at once. Returns also whether the whole request was sent.
async fn pass(
    side: Side<'_>,
    link: &mut Link,
    plan: &Plan,
    request: &mut Vec<u8>,
) -> (Result<Begun, Outcome>, bool) {
    let Side { client, stream, input, output } = side;
    let (mut client_in, mut client_out) = stream.split();
    let (mut link_in, mut link_out) = link.stream.split();
    output.clear();
    let must_ask = plan.expects_continue && plan.has_body() && input.is_empty();
    if must_ask && client_out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return (Err(Outcome::Gone), false);
    }
    let is_sent = Cell::new(false);
    let mut upload = pin!(async {
        let source = Source { stream: &mut client_in, input };
        match send(source, &mut link_out, request, plan, client).await {
            Ok(()) => is_sent.set(true),
            // The upstream wants no more of it, and may say why.
            Err(Broken::Sink) => {}
            Err(Broken::Source) => return Outcome::Gone,
            Err(Broken::Malformed) => return Outcome::Malformed,
        }
        hung_up(&client_in).await;
        Outcome::Gone
    });
    let source = Source { stream: &mut link_in, input: &mut link.input };
    let mut download = pin!(respond(source, &mut client_out, output, plan, client));
    let delivered = poll_fn(|cx| {
        // First what is likely to get on: the request, and when it is sent the response.
        let is_first = !is_sent.get();
        if is_first && let Poll::Ready(outcome) = upload.as_mut().poll(cx) {
            return Poll::Ready(Err(outcome));
        }
        if let Poll::Ready(delivered) = download.as_mut().poll(cx) {
            return Poll::Ready(delivered);
        }
        if !is_first && let Poll::Ready(outcome) = upload.as_mut().poll(cx) {
            return Poll::Ready(Err(outcome));
        }
        if client.pace.is_late() {
            return Poll::Ready(Err(Outcome::Failed(Failure::ResponseTimeout)));
        }
        Poll::Pending
    });
    let delivered = delivered.await;
    (delivered, is_sent.get())
}

/// Sends the request. One without a body stays in `request`, for another attempt.
async fn send(
    source: Source<'_, '_>,
    link_out: &mut WriteHalf<'_>,
    request: &mut Vec<u8>,
    plan: &Plan,
    client: &Client,
) -> Result<(), Broken> {
    if !plan.has_body() {
        return link_out.write_all(request).await.map_err(|_| Broken::Sink);
    }
    let sink = Sink { stream: link_out, output: request, is_chunked: plan.framing == Framing::Chunked };
    relay(source, sink, Body::new(plan.framing), &client.pace).await
}

/// Returns when the client has closed its side. A client that sends its next request early is not looked at
/// again until that one's turn comes.
async fn hung_up(client_in: &ReadHalf<'_>) {
    match client_in.ready(Interest::READABLE).await {
        Ok(ready) if !ready.is_read_closed() => pending().await,
        _ => {}
    }
}

/// Reads the response and passes it on.
async fn respond(
    mut source: Source<'_, '_>,
    client_out: &mut WriteHalf<'_>,
    output: &mut Vec<u8>,
    plan: &Plan,
    client: &Client,
) -> Result<Begun, Outcome> {
    let begun = loop {
        match begin(source.input, output, plan, client) {
            Ok(begun) => break begun,
            Err(NoHead::Partial) if source.input.len() < MAX_HEAD => {}
            Err(_) => return Err(Outcome::Failed(Failure::Invalid)),
        }
        if !source.read(&client.pace).await.unwrap_or(false) {
            return Err(Outcome::Failed(Failure::Closed));
        }
    };
    client.pace.enter(Phase::Response);
    let sink = Sink { stream: client_out, output, is_chunked: begun.is_chunked };
    relay(source, sink, begun.body, &client.pace).await.map_err(|_| Outcome::Gone)?;
    Ok(begun)
}

/// Takes the head of the response off `input`, and interim ones before it, and writes the client's.
fn begin(input: &mut BytesMut, output: &mut Vec<u8>, plan: &Plan, client: &Client) -> Result<Begun, NoHead> {
    loop {
        let mut room = Room::new();
        let head = ResponseHead::parse(input, &mut room)?;
        let len = head.len;
        if !(100..=199).contains(&head.status) {
            let begun = write_head(output, &head, plan, client).ok_or(NoHead::Malformed)?;
            input.advance(len);
            return Ok(begun);
        }
        // The client was told to continue by us, and asked for no other protocol.
        if head.status == 101 {
            return Err(NoHead::Malformed);
        }
        input.advance(len);
    }
}

/// Writes the head of the client's response; `None` if nobody can know where the body ends.
fn write_head(
    output: &mut Vec<u8>,
    head: &ResponseHead<'_, '_>,
    plan: &Plan,
    client: &Client,
) -> Option<Begun> {
    let survey = Survey::of(head.fields);
    let has_no_body = plan.is_head || matches!(head.status, 204 | 304);
    let framing = if has_no_body { Framing::Length(0) } else { survey.response_framing()? };
    let is_open_ended = !matches!(framing, Framing::Length(_));
    let is_chunked = is_open_ended && plan.is_http_11;
    let client_stays = plan.keeps_alive && !client.worker.is_stopping.get() && (is_chunked || !is_open_ended);
    let has_length = !is_open_ended && head.status != 204;
    forward::write_response(output, head, &survey, has_length, plan.standing.is_some());
    if let Some(standing) = &plan.standing {
        write_rate_fields(output, standing, None, client.worker.shared.config.headers);
    }
    if is_chunked {
        output.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let connection = match (client_stays, plan.is_http_11) {
        (false, _) => Connection::Closes,
        (true, true) => Connection::Stays,
        (true, false) => Connection::IsKept,
    };
    output.extend_from_slice(connection.field().as_bytes());
    output.extend_from_slice(b"\r\n");
    let link_stays = survey.keeps_alive(head.is_http_11) && framing != Framing::UntilClose;
    Some(Begun { body: Body::new(framing), is_chunked, client_stays, link_stays })
}
