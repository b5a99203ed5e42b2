//! Bulk requests: the body is read before the request is judged, looked into, and goes on as it came.
//!
//! It stays in the connection's input, behind the head. When its records are counted, the request is judged and
//! forwarded like any other.

use super::connection::Client;
use super::conversation::Gone;
use super::framing::{Body, Framing, Malformed, Piece};
use super::head::{Field, RequestHead};
use super::pace::{Late, Phase};
use super::refusal::Reason;
use super::room::Taken;
use crate::config;
use crate::records::{self, Encoding, Objection};
use crate::rules::Applied;
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for one read.
const READ_SIZE: usize = 64 << 10;

/// A body of more bytes is counted on another thread, so that other connections need not wait for it.
const MOST_AT_ONCE: usize = 64 << 10;

/// A bulk request, of which only the head is known to be there.
#[derive(Debug)]
pub(super) struct Bulk {
    head_len: usize,
    framing: Framing,
    /// `None` if it is not supported.
    encoding: Option<Encoding>,
    asks_first: bool,
    /// The rules that count records and apply to it.
    rules: Vec<Applied>,
    /// Whether nothing is refused.
    observe: bool,
}

/// What a look into a body found.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// Why the request is refused.
    pub(super) refusal: Option<Reason>,
    /// The rules that would refuse it, were they no dry run.
    pub(super) dry_runs: Vec<Applied>,
    /// Bytes that the body takes in the input, if all of it is there.
    pub(super) len: Option<u64>,
}

/// Why a body is not there.
enum Missing {
    Gone,
    Because(Reason),
}

impl From<Objection> for Missing {
    fn from(objection: Objection) -> Self {
        Self::Because(Reason::Body(objection))
    }
}

impl From<std::io::Error> for Missing {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<Malformed> for Missing {
    fn from(_: Malformed) -> Self {
        Self::Because(Reason::BadRequest("The request body is malformed."))
    }
}

/// The content of a body that is in the input.
struct Content {
    /// Bytes that the body takes there.
    len: usize,
    /// The content, if chunks are around it there.
    unchunked: Option<Vec<u8>>,
}

impl Bulk {
    /// The request with this `head`, if one of `rules` counts records and it can have some.
    pub(super) fn of(
        head: &RequestHead<'_, '_>,
        framing: Framing,
        asks_first: bool,
        rules: &[Applied],
        observe: bool,
    ) -> Option<Self> {
        let rules: Vec<_> = rules.iter().filter(|applied| applied.rule.bulk.is_some()).cloned().collect();
        let is_bodiless = framing == Framing::Length(0)
            && ["GET", "HEAD", "DELETE", "OPTIONS"]
                .iter()
                .any(|method| head.method.eq_ignore_ascii_case(method));
        if rules.is_empty() || is_bodiless {
            return None;
        }
        let is_encoding = |field: &&Field<'_>| field.name.eq_ignore_ascii_case("content-encoding");
        let encoding = Encoding::of(head.fields.iter().filter(is_encoding).map(|field| field.value));
        let asks_first = asks_first && head.is_http_11;
        Some(Self { head_len: head.len, framing, encoding, asks_first, rules, observe })
    }

    /// Reads the body behind the head in `input` and counts its records. What it takes of the memory for bodies is
    /// kept in `taken`.
    pub(super) async fn look(
        self,
        client: &Client,
        stream: &mut TcpStream,
        input: &mut BytesMut,
        taken: &mut Option<Taken>,
    ) -> Result<Finding, Gone> {
        client.pace.enter(Phase::Body);
        match self.fetch(client, stream, input, taken).await {
            Ok(content) => Ok(self.count(content, input, client.worker.shared.config.bulk).await),
            Err(Missing::Gone) => Err(Gone),
            Err(Missing::Because(Reason::Body(objection))) => {
                Ok(self.conclude(self.rules.iter().map(|applied| (applied, objection)), None))
            }
            Err(Missing::Because(reason)) => Ok(Finding { refusal: Some(reason), ..Finding::default() }),
        }
    }

    /// Reads until the whole body is in `input`.
    async fn fetch(
        &self,
        client: &Client,
        stream: &mut TcpStream,
        input: &mut BytesMut,
        taken: &mut Option<Taken>,
    ) -> Result<Content, Missing> {
        let most = client.worker.shared.config.bulk.max_body_bytes;
        self.encoding.ok_or(Objection::UnsupportedEncoding)?;
        if matches!(self.framing, Framing::Length(length) if length > most as u64) {
            return Err(Objection::TooLarge.into());
        }
        if self.asks_first && input.len() == self.head_len {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let (mut body, mut len, mut size) = (Body::new(self.framing), 0, 0);
        let mut unchunked = (self.framing == Framing::Chunked).then(Vec::new);
        loop {
            let mut rest = input.get(self.head_len + len..).unwrap_or_default();
            let before = rest.len();
            let is_whole = loop {
                match body.next(&mut rest)? {
                    Piece::Data(piece) => {
                        size += piece;
                        let content = rest.get(..piece).unwrap_or_default();
                        unchunked.iter_mut().for_each(|unchunked| unchunked.extend_from_slice(content));
                        rest.advance(piece);
                    }
                    Piece::Trailers(piece) => rest.advance(piece),
                    Piece::More => break false,
                    Piece::End => break true,
                }
            };
            len += before - rest.len();
            // What is around small chunks takes memory too.
            if size > most || len > 2 * most + READ_SIZE {
                return Err(Objection::TooLarge.into());
            }
            if is_whole {
                return Ok(Content { len, unchunked });
            }
            if !client.worker.take_room(taken, input.len()) {
                return Err(Missing::Because(Reason::NoRoom));
            }
            read_more(client, stream, input).await?;
        }
    }

    /// Counts the records in the body, on another thread if it is large.
    async fn count(self, content: Content, input: &mut BytesMut, limits: config::Bulk) -> Finding {
        let Content { len, unchunked } = content;
        let most = limits.max_body_bytes;
        if len <= MOST_AT_ONCE {
            let body = input.get(self.head_len..self.head_len + len).unwrap_or_default();
            return self.check(unchunked.as_deref().unwrap_or(body), most, len);
        }
        let body = input.split_off(self.head_len);
        let counting = tokio::task::spawn_blocking(move || {
            let content = unchunked.as_deref().or(body.get(..len)).unwrap_or_default();
            (self.check(content, most, len), body)
        });
        match counting.await {
            Ok((finding, body)) => {
                input.unsplit(body);
                finding
            }
            // The thread panicked, and the body is gone with it.
            Err(_) => Finding {
                refusal: Some(Reason::BadRequest("The request body cannot be read.")),
                ..Finding::default()
            },
        }
    }

    fn check(&self, content: &[u8], most: usize, len: usize) -> Finding {
        let encoding = self.encoding.unwrap_or(Encoding::Identity);
        let objections = self.rules.iter().filter_map(|applied| {
            let bulk = applied.rule.bulk.as_ref()?;
            let objection = records::check(content, encoding, most, bulk).err()?;
            Some((applied, objection))
        });
        self.conclude(objections, Some(len as u64))
    }

    /// A rule in force refuses; the others say what they would do.
    fn conclude<'a>(
        &self,
        objections: impl Iterator<Item = (&'a Applied, Objection)>,
        len: Option<u64>,
    ) -> Finding {
        let mut finding = Finding { len, ..Finding::default() };
        for (applied, objection) in objections {
            if self.observe || applied.rule.is_dry_run {
                finding.dry_runs.push(applied.clone());
            } else {
                finding.refusal = finding.refusal.or(Some(Reason::Body(objection)));
            }
        }
        finding
    }
}

/// Reads more of the body, within the time that it has.
async fn read_more(client: &Client, stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), Missing> {
    input.reserve(READ_SIZE);
    let mut read = pin!(stream.read_buf(input));
    let read = poll_fn(|cx| match read.as_mut().poll(cx) {
        Poll::Ready(read) => Poll::Ready(read.map_err(Missing::from)),
        Poll::Pending if client.pace.late() == Some(Late::Client) => {
            Poll::Ready(Err(Missing::Because(Reason::BodyTimeout)))
        }
        Poll::Pending => Poll::Pending,
    });
    let len = read.await?;
    client.pace.note_moved();
    if len == 0 { Err(Missing::Gone) } else { Ok(()) }
}
