//! What is said on a client's connection: request after request, each judged, then refused or forwarded.

use super::admission::{Admission, Forward, admit};
use super::bulk::{Bulk, Finding};
use super::connection::Client;
use super::exchange::{Outcome, Plan, Side, exchange};
use super::forward;
use super::framing::Framing;
use super::head::{NoHead, RequestHead, Room, may_be_complete};
use super::held;
use super::pace::Phase;
use super::proxy_protocol::Heading;
use super::refusal::{Connection, Manner, Reason, Refusal};
use super::survey::Survey;
use super::upstream::{Choice, Failure, Link, Tried};
use crate::clock;
use crate::record::Kind;
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for one read of a head.
const READ_SIZE: usize = 4 << 10;

/// A refused request's body is read and thrown away if it is no longer; else the connection is closed.
const MOST_SKIPPED: u64 = 64 << 10;

/// Most bytes that a closing connection is read.
const MOST_DISCARDED: usize = 1 << 20;

/// The client has ended the connection, or it is of no use any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request, after so many bytes of this one's body.
    Next(u64),
    /// The end of the connection.
    Close,
}

/// What comes of looking for a request in the input.
enum Found {
    /// It is not complete.
    Nothing,
    /// It is refused: the answer is in the output.
    Refused(After),
    /// It is admitted: what the upstream gets is in `request`.
    Admitted(Plan),
    /// Its body is looked into before it is judged.
    Bulk(Bulk),
}

/// One client's connection.
pub(super) struct Conversation {
    client: Rc<Client>,
    /// What was read and not yet used.
    input: BytesMut,
    /// What the client is about to get.
    output: Vec<u8>,
    /// What the upstream is about to get.
    request: Vec<u8>,
}

impl Conversation {
    pub(super) fn new(client: Rc<Client>) -> Self {
        Self { client, input: BytesMut::new(), output: Vec::new(), request: Vec::new() }
    }

    /// Answers requests until either side wants no more.
    pub(super) async fn run(mut self, mut stream: TcpStream) {
        if self.client.is_announced() {
            match self.greet(&mut stream).await {
                Ok(After::Next(_)) => {}
                Ok(After::Close) => return self.close(stream).await,
                Err(Gone) => return,
            }
        }
        loop {
            match self.answer(&mut stream).await {
                Ok(After::Next(0)) => self.client.pace.enter(Phase::Idle),
                Ok(After::Next(skipped)) => match self.skip(&mut stream, skipped).await {
                    Ok(()) => self.client.pace.enter(Phase::Idle),
                    Err(Gone) => return,
                },
                Ok(After::Close) => break,
                Err(Gone) => return,
            }
        }
        self.close(stream).await;
    }

    /// Reads the PROXY protocol header, without which nothing is believed of this connection.
    async fn greet(&mut self, stream: &mut TcpStream) -> Result<After, Gone> {
        loop {
            match Heading::of(&self.input) {
                Heading::Whole { len, client } => {
                    client.into_iter().for_each(|address| self.client.announce(address));
                    self.input.advance(len);
                    return Ok(After::Next(0));
                }
                Heading::Partial => self.read(stream).await?,
                Heading::Malformed => {
                    let reason =
                        Reason::BadRequest("The connection must begin with a PROXY protocol header.");
                    let refusal = Refusal { reason, standing: None };
                    refuse(&self.client, &mut self.output, refusal, true, Connection::Closes);
                    stream.write_all(&self.output).await?;
                    return Ok(After::Close);
                }
            }
        }
    }

    /// Reads more; an end is none that anybody waits for.
    async fn read(&mut self, stream: &mut TcpStream) -> Result<(), Gone> {
        self.input.reserve(READ_SIZE);
        match stream.read_buf(&mut self.input).await? {
            0 => Err(Gone),
            _ => Ok(()),
        }
    }

    /// Reads one request and answers it.
    async fn answer(&mut self, stream: &mut TcpStream) -> Result<After, Gone> {
        let mut seen = 0;
        let (mut taken, mut finding) = (None, None);
        loop {
            match self.find(seen, finding.as_ref()) {
                Found::Nothing => {}
                Found::Bulk(bulk) => {
                    let Self { client, input, .. } = self;
                    finding = Some(bulk.look(client, stream, input, &mut taken).await?);
                    continue;
                }
                Found::Refused(after) => {
                    self.client.pace.enter(Phase::Response);
                    self.send_refusal(stream, after).await?;
                    return Ok(after);
                }
                Found::Admitted(plan) => return self.forward(stream, &plan).await,
            }
            seen = self.input.len();
            if seen == 0 {
                self.read_first(stream).await?;
            } else {
                self.read(stream).await?;
            }
            self.client.pace.note_head();
        }
    }

    /// Sends the refusal in the output. A client that hammers asks again before this thread has come to wait for it, so
    /// the kernel is told that it may answer before the client has this answer: it sees in the socket what is unsent.
    async fn send_refusal(&self, stream: &mut TcpStream, after: After) -> Result<(), Gone> {
        let flow = &self.client.flow;
        if after == After::Next(0) && self.input.is_empty() && flow.is_known() {
            held::write_all(stream, &self.output, || flow.set_idle(true)).await?;
        } else {
            stream.write_all(&self.output).await?;
        }
        Ok(())
    }

    /// Reads the first bytes of a request. While it waits for them, and not a moment longer, the kernel may answer
    /// in its place: what is read from the socket is in hand here.
    async fn read_first(&mut self, stream: &mut TcpStream) -> Result<(), Gone> {
        let Self { client, input, .. } = self;
        input.reserve(READ_SIZE);
        let read = poll_fn(|cx| {
            let mut read = Poll::Pending;
            if stream.poll_read_ready(cx).is_ready() {
                client.flow.set_idle(false);
                read = pin!(stream.read_buf(input)).poll(cx);
            }
            if read.is_pending() {
                client.flow.set_idle(true);
                client.note_unread(stream);
            }
            read
        });
        if read.await? == 0 { Err(Gone) } else { Ok(()) }
    }

    /// Looks for a request in the input, of which the first `seen` bytes were not enough. `finding` is what was found
    /// in its body, if that was looked into.
    fn find(&mut self, seen: usize, finding: Option<&Finding>) -> Found {
        let most = self.client.worker.shared.config.proxy.max_head;
        let is_full = self.input.len() >= most;
        if self.input.is_empty() || (!is_full && !may_be_complete(&self.input, seen)) {
            return Found::Nothing;
        }
        let mut room = Room::new();
        let reason = match RequestHead::parse(&self.input, &mut room) {
            Ok(head) if head.len > most => Reason::HeadTooLarge,
            Ok(head) => {
                let Self { client, request, output, .. } = self;
                let (len, found) = Self::judge(client, &head, finding, request, output);
                if !matches!(found, Found::Bulk(_)) {
                    self.input.advance(len);
                }
                return found;
            }
            Err(NoHead::Partial) if !is_full => return Found::Nothing,
            Err(NoHead::Partial | NoHead::TooLarge) => Reason::HeadTooLarge,
            Err(NoHead::Malformed) => Reason::BadRequest("The request is malformed."),
        };
        refuse(&self.client, &mut self.output, Refusal { reason, standing: None }, true, Connection::Closes);
        self.client.worker.tally.reject();
        Found::Refused(After::Close)
    }

    /// Judges the request with this `head`, and writes what is to be sent to the upstream or to the client.
    /// Returns the length of the head too.
    fn judge(
        client: &Client,
        head: &RequestHead<'_, '_>,
        finding: Option<&Finding>,
        request: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> (usize, Found) {
        let mut survey = Survey::of(head.fields);
        // A body that was looked into was asked for, and is there.
        survey.expects_continue &= finding.is_none();
        let now = clock::now();
        let keeps_alive = survey.keeps_alive(head.is_http_11) && !client.worker.is_stopping.get();
        let is_head = head.method == "HEAD";
        let config = &client.worker.shared.config.proxy;
        match admit(client, head, &survey, finding, now) {
            Ok(Admission::Look(bulk)) => (head.len, Found::Bulk(bulk)),
            Ok(Admission::Forward(Forward { framing, standing, origin, new_route })) => {
                let may_upgrade = head.is_http_11 && framing == Framing::Length(0);
                let upgrade = survey.upgrade(&config.upgrades).filter(|_| may_upgrade);
                let plan = Plan {
                    standing,
                    origin,
                    new_route,
                    framing,
                    now,
                    keeps_alive,
                    is_head,
                    is_http_11: head.is_http_11,
                    expects_continue: survey.expects_continue && head.is_http_11,
                    upgrades: upgrade.is_some(),
                    may_repeat: matches!(
                        head.method,
                        "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE"
                    ),
                };
                request.clear();
                let default_host = client.worker.pool.host();
                let provenance = client.provenance();
                let onward = forward::Onward { framing, upgrade, provenance, default_host };
                forward::write_request(request, head, &survey, &onward);
                (head.len, Found::Admitted(plan))
            }
            Err(refusal) => {
                let skipped = match finding {
                    None => skippable(forward::framing(head, &survey), &survey),
                    Some(finding) => finding.len,
                };
                let skipped = skipped.filter(|_| keeps_alive);
                let connection = match skipped {
                    None => Connection::Closes,
                    Some(_) if head.is_http_11 => Connection::Stays,
                    Some(_) => Connection::IsKept,
                };
                refuse(client, output, refusal, !is_head, connection);
                (head.len, Found::Refused(skipped.map_or(After::Close, After::Next)))
            }
        }
    }

    /// Forwards an admitted request. It stays charged also if the upstream fails it: the upstream may have done
    /// its work before it failed, and a client that hammers a broken API server is what limits are for.
    async fn forward(&mut self, stream: &mut TcpStream, plan: &Plan) -> Result<After, Gone> {
        let client = self.client.clone();
        let outcome = self.deliver(&client, stream, plan).await;
        let reason = match outcome {
            Outcome::Done(after) => return Ok(after),
            Outcome::Gone => return Err(Gone),
            Outcome::Malformed => Reason::BadRequest("The request body is malformed."),
            Outcome::Late => Reason::BodyTimeout,
            Outcome::Failed(failure) => Reason::Upstream(failure),
            Outcome::Repeat => Reason::Upstream(Failure::Closed),
        };
        if matches!(reason, Reason::Upstream(_)) {
            client.worker.tally.count(plan.origin, Kind::Unanswered);
        }
        let connection = match plan.framing {
            Framing::Length(0) if plan.keeps_alive && plan.is_http_11 => Connection::Stays,
            Framing::Length(0) if plan.keeps_alive => Connection::IsKept,
            _ => Connection::Closes,
        };
        let refusal = Refusal { reason, standing: plan.standing.clone() };
        refuse(&client, &mut self.output, refusal, !plan.is_head, connection);
        client.pace.enter(Phase::Response);
        stream.write_all(&self.output).await?;
        Ok(if connection == Connection::Closes { After::Close } else { After::Next(0) })
    }

    /// Asks one upstream after the other, until one can be reached.
    async fn deliver(&mut self, client: &Client, stream: &mut TcpStream, plan: &Plan) -> Outcome {
        let mut outcome = Outcome::Failed(Failure::Unreachable);
        let mut tried = Tried::default();
        while let Some(upstream) = client.worker.pool.choose(&mut tried) {
            client.pace.enter(Phase::Upstream);
            outcome = self.ask(&upstream, stream, plan).await;
            if !matches!(outcome, Outcome::Failed(Failure::Unreachable | Failure::ConnectTimeout)) {
                break;
            }
        }
        outcome
    }

    /// Over a connection that was used before, if there is one and it lives; else over a new one.
    async fn ask(&mut self, upstream: &Choice<'_>, stream: &mut TcpStream, plan: &Plan) -> Outcome {
        if let Some(link) = upstream.take() {
            let outcome = self.attempt(stream, link, plan).await;
            if outcome != Outcome::Repeat {
                return outcome;
            }
        }
        match upstream.connect(plan.now).await {
            Ok(link) => {
                self.client.pace.enter(Phase::Upstream);
                self.attempt(stream, link, plan).await
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn attempt(&mut self, stream: &mut TcpStream, link: Link, plan: &Plan) -> Outcome {
        let Self { client, input, output, request } = self;
        exchange(Side { client, stream, input, output }, link, plan, request).await
    }

    /// Reads the body of a refused request.
    async fn skip(&mut self, stream: &mut TcpStream, mut left: u64) -> Result<(), Gone> {
        self.client.pace.enter(Phase::Head);
        loop {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            self.input.advance(len);
            left -= len as u64;
            if left == 0 {
                return Ok(());
            }
            self.read(stream).await?;
        }
    }

    /// Closes our side, and reads what the client still sends, within bounds.
    ///
    /// A socket that is closed with unread bytes sends a reset, and the reset may overtake the answer: a client
    /// whose upload was refused would see a broken connection in place of its 429.
    async fn close(&mut self, mut stream: TcpStream) {
        self.client.settle();
        self.client.pace.enter(Phase::Closing);
        let mut discarded = self.input.len();
        if stream.shutdown().await.is_err() {
            return;
        }
        while discarded < MOST_DISCARDED {
            self.input.clear();
            self.input.reserve(READ_SIZE);
            match stream.read_buf(&mut self.input).await {
                Ok(len) if len > 0 => discarded += len,
                _ => return,
            }
        }
    }
}

/// Bytes of a refused request's body that can be skipped; `None` if the connection has to be closed. A client
/// that waits to be told to send its body may send it or not.
fn skippable(framing: Result<Framing, &'static str>, survey: &Survey<'_>) -> Option<u64> {
    match framing {
        Ok(Framing::Length(0)) => Some(0),
        Ok(Framing::Length(length)) if length <= MOST_SKIPPED && !survey.expects_continue => Some(length),
        _ => None,
    }
}

fn refuse(client: &Client, output: &mut Vec<u8>, refusal: Refusal, has_body: bool, connection: Connection) {
    output.clear();
    let wanted = client.worker.shared.config.headers;
    client.worker.date.read(|date| refusal.write(output, &Manner { has_body, connection, wanted, date }));
}
