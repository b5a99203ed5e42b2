//! The heads of messages, parsed where they lie.
//!
//! What is ambiguous is refused and not repaired: a message that two readers could take for different ones is
//! how requests are smuggled past a proxy.

use memchr::memchr_iter;
use std::mem::MaybeUninit;

/// Largest head of a response, in bytes.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// Most fields of a head or a trailer section.
pub(super) const MAX_FIELDS: usize = 100;

/// A field line. The name is a token and the value has no control characters but tabs: the parser sees to it.
pub(super) type Field<'a> = httparse::Header<'a>;

/// Memory for the fields of a head.
pub(super) struct Room<'a>([MaybeUninit<Field<'a>>; MAX_FIELDS]);

impl Room<'_> {
    pub(super) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_FIELDS])
    }
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// More bytes are needed.
    Partial,
    /// It has too many fields.
    TooLarge,
    /// It is malformed.
    Malformed,
}

/// The head of a request.
#[derive(Debug)]
pub(super) struct RequestHead<'room, 'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    /// Else it is HTTP/1.0.
    pub(super) is_http_11: bool,
    pub(super) fields: &'room [Field<'a>],
    /// Bytes that it takes.
    pub(super) len: usize,
}

impl<'room, 'a> RequestHead<'room, 'a> {
    pub(super) fn parse(bytes: &'a [u8], room: &'room mut Room<'a>) -> Result<Self, NoHead> {
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut room.0);
        let len = complete(parsed)?;
        if has_bare_line_feed(bytes.get(..len).unwrap_or_default()) {
            return Err(NoHead::Malformed);
        }
        match (request.method, request.path, request.version) {
            (Some(method), Some(target), Some(version)) => {
                Ok(Self { method, target, is_http_11: version == 1, fields: request.headers, len })
            }
            _ => Err(NoHead::Malformed),
        }
    }
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct ResponseHead<'room, 'a> {
    pub(super) status: u16,
    pub(super) reason: &'a str,
    pub(super) is_http_11: bool,
    pub(super) fields: &'room [Field<'a>],
    pub(super) len: usize,
}

impl<'room, 'a> ResponseHead<'room, 'a> {
    pub(super) fn parse(bytes: &'a [u8], room: &'room mut Room<'a>) -> Result<Self, NoHead> {
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut room.0);
        let len = complete(parsed)?;
        match (response.code, response.version) {
            (Some(status @ 100..), Some(version)) => {
                let reason = response.reason.unwrap_or_default();
                Ok(Self { status, reason, is_http_11: version == 1, fields: response.headers, len })
            }
            _ => Err(NoHead::Malformed),
        }
    }
}

fn complete(parsed: httparse::Result<usize>) -> Result<usize, NoHead> {
    match parsed {
        Ok(httparse::Status::Complete(len)) => Ok(len),
        Ok(httparse::Status::Partial) => Err(NoHead::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(NoHead::TooLarge),
        Err(_) => Err(NoHead::Malformed),
    }
}

/// The fields of a trailer section, which ends with an empty line.
pub(super) fn parse_trailers<'room, 'a>(
    bytes: &'a [u8],
    room: &'room mut [Field<'a>; MAX_FIELDS],
) -> Result<&'room [Field<'a>], NoHead> {
    match httparse::parse_headers(bytes, room) {
        Ok(httparse::Status::Complete((len, fields))) if len == bytes.len() && !has_bare_line_feed(bytes) => {
            Ok(fields)
        }
        _ => Err(NoHead::Malformed),
    }
}

/// Whether a line ends without a carriage return. The parser takes it for a line; another reader may not.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut feeds = memchr_iter(b'\n', bytes);
    feeds.any(|feed| feed.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r'))
}

/// Whether a head can be complete, of which the first `seen` bytes were not. Spares parsing a head again for
/// every byte of it that drips in.
pub(super) fn may_be_complete(bytes: &[u8], seen: usize) -> bool {
    let new = bytes.get(seen.saturating_sub(3)..).unwrap_or_default();
    seen == 0 || new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dripping_head_is_parsed_again_only_at_an_empty_line() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let parses = (1..head.len()).filter(|seen| may_be_complete(&head[..=*seen], *seen)).count();
        assert_eq!(parses, 1);
        assert!(may_be_complete(head, 0));
        assert!(may_be_complete(b"GET / HTTP/1.1\n\n", 15));
    }
}
