//! Bodies on their way: as they come, whatever their size, never held whole.

use super::forward;
use super::framing::{Body, Malformed, Piece};
use super::head::{MAX_FIELDS, parse_trailers};
use super::pace::{Pace, Phase};
use bytes::{Buf, BytesMut};
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Room for one read.
const READ_SIZE: usize = 16 << 10;

/// Content of at least this size is written from where it lies; less is copied behind what waits already.
const DIRECT_SIZE: usize = 4 << 10;

/// What made a body end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It stopped coming.
    Source,
    /// What came is malformed.
    Malformed,
    /// It could not be passed on.
    Sink,
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The side that a body comes from.
pub(super) struct Source<'a, 'stream> {
    pub(super) stream: &'a mut ReadHalf<'stream>,
    /// What was read and not yet used.
    pub(super) input: &'a mut BytesMut,
    /// What a read waits for.
    pub(super) phase: Phase,
}

/// The side that a body goes to.
pub(super) struct Sink<'a, 'stream> {
    pub(super) stream: &'a mut WriteHalf<'stream>,
    /// What a write waits for.
    pub(super) phase: Phase,
    /// What is to be written first: the head. Empty afterwards.
    pub(super) output: &'a mut Vec<u8>,
    /// Whether the body goes on in chunks.
    pub(super) is_chunked: bool,
    /// The name of a field that trailers may not have; empty for none.
    pub(super) withheld: &'a str,
}

/// Passes on what `sink` has to write and the rest of `body`.
pub(super) async fn relay(
    mut source: Source<'_, '_>,
    sink: &mut Sink<'_, '_>,
    mut body: Body,
    pace: &Pace,
) -> Result<(), Broken> {
    loop {
        match body.next(source.input)? {
            Piece::Data(len) if len >= DIRECT_SIZE && !sink.is_chunked => {
                sink.flush(pace).await?;
                let content = source.input.get(..len).unwrap_or_default();
                sink.stream.write_all(content).await.map_err(|_| Broken::Sink)?;
                pace.note_moved();
                source.input.advance(len);
            }
            Piece::Data(len) => {
                sink.append(source.input.get(..len).unwrap_or_default());
                source.input.advance(len);
            }
            Piece::Trailers(len) => {
                sink.end_with(source.input.get(..len).unwrap_or_default())?;
                source.input.advance(len);
                return sink.flush(pace).await;
            }
            Piece::More => {
                sink.flush(pace).await?;
                if !source.read(pace).await? {
                    if !body.may_end() {
                        return Err(Broken::Source);
                    }
                    break;
                }
            }
            Piece::End => break,
        }
    }
    if sink.is_chunked {
        sink.output.extend_from_slice(b"0\r\n\r\n");
    }
    sink.flush(pace).await
}

impl Source<'_, '_> {
    /// Reads more; false at the end.
    pub(super) async fn read(&mut self, pace: &Pace) -> Result<bool, Broken> {
        self.input.reserve(READ_SIZE);
        pace.turn(self.phase);
        let len = self.stream.read_buf(self.input).await.map_err(|_| Broken::Source)?;
        pace.note_moved();
        Ok(len > 0)
    }
}

impl Sink<'_, '_> {
    fn append(&mut self, content: &[u8]) {
        if self.is_chunked {
            // A vector takes everything.
            let _ = write!(self.output, "{:x}\r\n", content.len());
            self.output.extend_from_slice(content);
            self.output.extend_from_slice(b"\r\n");
        } else {
            self.output.extend_from_slice(content);
        }
    }

    /// Ends the body with what may be passed on of `trailers`.
    fn end_with(&mut self, trailers: &[u8]) -> Result<(), Broken> {
        let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let fields = parse_trailers(trailers, &mut room).map_err(|_| Broken::Malformed)?;
        if self.is_chunked {
            self.output.extend_from_slice(b"0\r\n");
            forward::write_trailers(self.output, fields, self.withheld);
            self.output.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    async fn flush(&mut self, pace: &Pace) -> Result<(), Broken> {
        pace.turn(self.phase);
        if !self.output.is_empty() {
            self.stream.write_all(self.output).await.map_err(|_| Broken::Sink)?;
            self.output.clear();
            pace.note_moved();
        }
        Ok(())
    }
}
