//! Where a message's body ends.

use bytes::Buf;
use memchr::memmem;
use std::ops::Deref;

const LINE_END: &[u8] = b"\r\n";

/// Longest line between chunks.
const MAX_CHUNK_LINE: usize = 1_024;

/// Longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 << 10;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes. A message without a body has none.
    Length(u64),
    /// In chunks.
    Chunked,
    /// All that comes until the connection ends. Only responses have it.
    UntilClose,
}

/// What a body has next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes at the start of the input, 1 or more, are its content.
    Data(usize),
    /// So many bytes at the start of the input are its trailer section, with the empty line that ends it.
    Trailers(usize),
    /// Nothing before there is more input.
    More,
    /// Its end.
    End,
}

/// The framing is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A body being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    framing: Framing,
    chunk: Chunk,
}

/// Within a chunked body.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    /// Before the line with a chunk's size.
    Size,
    /// Bytes that are left of a chunk.
    Data(u64),
    /// Before the line end after a chunk.
    LineEnd,
    /// After the last chunk: the trailer section.
    Trailers,
    End,
}

impl Body {
    pub(super) const fn new(framing: Framing) -> Self {
        Self { framing, chunk: Chunk::Size }
    }

    /// Whether the input may end here without anything missing.
    pub(super) const fn may_end(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// What comes next. Content and trailers are for the caller to take off `input`; everything else is taken
    /// off here.
    pub(super) fn next(&mut self, input: &mut (impl Buf + Deref<Target = [u8]>)) -> Result<Piece, Malformed> {
        match &mut self.framing {
            Framing::Length(0) => Ok(Piece::End),
            Framing::Length(left) => Ok(content(left, input)),
            Framing::UntilClose => Ok(content(&mut u64::MAX.clone(), input)),
            Framing::Chunked => self.chunk.next(input),
        }
    }
}

/// What there is of content of which `left` bytes are left.
fn content(left: &mut u64, input: &[u8]) -> Piece {
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= len as u64;
    if len == 0 { Piece::More } else { Piece::Data(len) }
}

impl Chunk {
    fn next(&mut self, input: &mut (impl Buf + Deref<Target = [u8]>)) -> Result<Piece, Malformed> {
        loop {
            match self {
                Self::Data(0) => *self = Self::LineEnd,
                Self::Data(left) => return Ok(content(left, input)),
                Self::End => return Ok(Piece::End),
                Self::Trailers => {
                    let Some(len) = trailers(input)? else { return Ok(Piece::More) };
                    *self = Self::End;
                    if len > LINE_END.len() {
                        return Ok(Piece::Trailers(len));
                    }
                    input.advance(len);
                }
                Self::Size | Self::LineEnd => {
                    let Some(len) = line(input)? else { return Ok(Piece::More) };
                    *self = self.after(input.get(..len).unwrap_or_default())?;
                    input.advance(len + 2);
                }
            }
        }
    }

    /// What follows a line, which is given without its end.
    fn after(self, line: &[u8]) -> Result<Self, Malformed> {
        match self {
            Self::Size => Ok(match size(line)? {
                0 => Self::Trailers,
                size => Self::Data(size),
            }),
            Self::LineEnd if line.is_empty() => Ok(Self::Size),
            _ => Err(Malformed),
        }
    }
}

/// Length of the line at the start of `input`, which ends with CR LF; `None` if it is not complete.
fn line(input: &[u8]) -> Result<Option<usize>, Malformed> {
    match input.iter().take(MAX_CHUNK_LINE).position(|byte| matches!(byte, b'\r' | b'\n')) {
        None if input.len() < MAX_CHUNK_LINE => Ok(None),
        None => Err(Malformed),
        Some(end) => match (input.get(end), input.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => Ok(Some(end)),
            (Some(b'\r'), None) => Ok(None),
            _ => Err(Malformed),
        },
    }
}

/// Length of the trailer section at the start of `input`; `None` if it is not complete.
fn trailers(input: &[u8]) -> Result<Option<usize>, Malformed> {
    const END: &[u8] = b"\r\n\r\n";
    if input.starts_with(LINE_END) {
        return Ok(Some(LINE_END.len()));
    }
    let end = memmem::find(input.get(..MAX_TRAILERS).unwrap_or(input), END);
    match end {
        None if input.len() >= MAX_TRAILERS => Err(Malformed),
        end => Ok(end.map(|end| end + END.len())),
    }
}

/// The hexadecimal number before the extensions, which are ignored.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at_checked(end).ok_or(Malformed)?;
    // RFC 9112, 7.1.1: blanks may stand before an extension, and nowhere else.
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let has_valid_end = rest.is_empty() || rest.iter().find(|byte| !is_blank(byte)) == Some(&b';');
    if !has_valid_end || !(1..=15).contains(&digits.len()) {
        return Err(Malformed);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(u64::from);
    digits.iter().try_fold(0, |size, byte| Some(size << 4 | digit(byte)?)).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    /// The content of `stream` and the trailers behind it, which arrives in parts of `step` bytes, and what follows the body.
    fn read(framing: Framing, stream: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let (mut body, mut input, mut content) = (Body::new(framing), BytesMut::new(), Vec::new());
        let mut parts = stream.chunks(step);
        loop {
            match body.next(&mut input)? {
                Piece::Data(len) | Piece::Trailers(len) => content.extend_from_slice(&input.split_to(len)),
                Piece::End => break,
                Piece::More => match parts.next() {
                    Some(part) => input.extend_from_slice(part),
                    None => panic!("{framing:?} does not end"),
                },
            }
        }
        Ok((content, parts.fold(input.to_vec(), |rest, part| [&rest, part].concat())))
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_chunk() {
        let stream = b"3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n1\t ;\r\n!\r\n0\r\nA: x\r\n\r\nGET";
        for step in 1..stream.len() {
            let expected = (b"abc0123456789!A: x\r\n\r\n".to_vec(), b"GET".to_vec());
            assert_eq!(read(Framing::Chunked, stream, step), Ok(expected), "{step}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let cases: [&[u8]; 12] = [
            b"1 \r\n",
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b"1\n",
            b"1\r\r\n",
            b"1;\n\r\n",
            b"1 1\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1000000000000000\r\n",
        ];
        for stream in cases {
            assert_eq!(read(Framing::Chunked, stream, 100), Err(Malformed), "{stream:?}");
        }
        let endless = vec![b'1'; MAX_CHUNK_LINE];
        assert_eq!(read(Framing::Chunked, &endless, 100), Err(Malformed));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(MAX_TRAILERS / 6 + 1)].concat();
        assert_eq!(read(Framing::Chunked, &trailers, 100), Err(Malformed));
    }

    proptest! {
        #[test]
        fn a_body_is_read_whole_and_not_a_byte_of_the_next(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..9),
            step in 1..100_usize,
        ) {
            let whole = chunks.concat();
            let chunk = |chunk: &Vec<u8>| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            let chunked: Vec<u8> = chunks.iter().flat_map(chunk).collect();
            let stream = [&chunked[..], b"0\r\n\r\nnext"].concat();
            prop_assert_eq!(read(Framing::Chunked, &stream, step), Ok((whole.clone(), b"next".to_vec())));
            let stream = [&whole[..], b"next"].concat();
            let framing = Framing::Length(whole.len() as u64);
            prop_assert_eq!(read(framing, &stream, step), Ok((whole, b"next".to_vec())));
        }
    }
}
