//! Reading a response: its status, what it says of the limits, and where it ends.

use httparse::{EMPTY_HEADER, Response, Status};

/// Most fields in a head.
const MAX_FIELDS: usize = 64;

/// Longest head or chunk line that is waited for, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// What a client looks at in a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `X-RateLimit-Limit`.
    pub(crate) limit: Option<u32>,
    /// `X-RateLimit-Remaining`.
    pub(crate) remaining: Option<u32>,
    /// `X-RateLimit-Reset`, in Unix seconds.
    pub(crate) reset: Option<u64>,
    /// In seconds.
    pub(crate) retry_after: Option<u32>,
    /// The proxy's answers have a `Date`, the kernel's have none.
    pub(crate) has_date: bool,
    pub(crate) is_json: bool,
    /// Whether the connection ends with it.
    pub(crate) closes: bool,
}

/// A response's head and the place of its body in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) answer: Answer,
    /// Bytes of the head.
    pub(crate) length: usize,
    pub(crate) body: Framing,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// It is no HTTP/1.x response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The head at the start of `input`; `None` while it is not complete. `to_head`: whether the request was `HEAD`, whose
/// response has no body.
pub(crate) fn head(input: &[u8], to_head: bool) -> Result<Option<Head>, Malformed> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = Response::new(&mut fields);
    let length = match response.parse(input) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() <= MAX_HEAD => return Ok(None),
        _ => return Err(Malformed),
    };
    let mut answer = Answer { status: response.code.unwrap_or_default(), ..Answer::default() };
    let mut body = if response.version == Some(0) { Framing::Close } else { Framing::Length(usize::MAX) };
    answer.closes = response.version == Some(0);
    for field in response.headers.iter() {
        if let Some(framing) = note(&mut answer, field.name, field.value)? {
            body = framing;
        }
    }
    if to_head || matches!(answer.status, 100..=199 | 204 | 304) {
        body = Framing::Length(0);
    } else if body == Framing::Length(usize::MAX) {
        body = Framing::Close;
    }
    answer.closes |= body == Framing::Close;
    Ok(Some(Head { answer, length, body }))
}

/// Notes what a field says, and returns how it frames the body if that is what it says.
fn note(answer: &mut Answer, name: &str, value: &[u8]) -> Result<Option<Framing>, Malformed> {
    // By length first: most fields are none of these.
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    match name.len() {
        4 if is("date") => answer.has_date = true,
        10 if is("connection") => {
            answer.closes = value.eq_ignore_ascii_case(b"close")
                || answer.closes && !value.eq_ignore_ascii_case(b"keep-alive");
        }
        11 if is("retry-after") => answer.retry_after = number(value).and_then(|n| u32::try_from(n).ok()),
        12 if is("content-type") => answer.is_json = value == b"application/json",
        14 if is("content-length") => {
            let length = number(value).and_then(|n| usize::try_from(n).ok()).ok_or(Malformed)?;
            return Ok(Some(Framing::Length(length)));
        }
        17 if is("x-ratelimit-limit") => answer.limit = number(value).and_then(|n| u32::try_from(n).ok()),
        17 if is("x-ratelimit-reset") => answer.reset = number(value),
        17 if is("transfer-encoding") => return Ok(Some(Framing::Chunked)),
        21 if is("x-ratelimit-remaining") => {
            answer.remaining = number(value).and_then(|n| u32::try_from(n).ok());
        }
        _ => {}
    }
    Ok(None)
}

/// A whole number in decimal digits.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Bytes of a chunked body at the start of `input`, with its trailers; `None` while it is not complete.
pub(crate) fn chunked_length(input: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut length = 0;
    loop {
        let rest = input.get(length..).unwrap_or_default();
        let (line, size) = match httparse::parse_chunk_size(rest) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed),
        };
        let size = usize::try_from(size).map_err(|_| Malformed)?;
        length += line;
        if size == 0 {
            return Ok(
                trailers_length(input.get(length..).unwrap_or_default()).map(|trailers| length + trailers)
            );
        }
        length = length.checked_add(size + 2).ok_or(Malformed)?;
        if length > input.len() {
            return Ok(None);
        }
    }
}

/// Bytes up to the empty line that ends trailers.
fn trailers_length(input: &[u8]) -> Option<usize> {
    if input.starts_with(b"\r\n") {
        return Some(2);
    }
    input.windows(4).position(|four| four == b"\r\n\r\n").map(|place| place + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nX-RateLimit-Limit: 1000\r\n\
        x-ratelimit-remaining: 0\r\nX-RateLimit-Reset: 1633028400\r\nRetry-After: 1800\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn a_refusal_of_the_kernel() {
        let head = head(REFUSAL, false).expect("a response").expect("a complete one");
        let answer = Answer {
            status: 429,
            limit: Some(1_000),
            remaining: Some(0),
            reset: Some(1_633_028_400),
            retry_after: Some(1_800),
            has_date: false,
            is_json: true,
            closes: true,
        };
        assert_eq!(head, Head { answer, length: REFUSAL.len() - 2, body: Framing::Length(2) });
    }

    #[test]
    fn a_head_is_waited_for_and_nonsense_is_not() {
        for length in 0..REFUSAL.len() - 2 {
            assert_eq!(head(&REFUSAL[..length], false), Ok(None));
        }
        assert_eq!(head(b"SSH-2.0-x\r\n", false), Err(Malformed));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false), Err(Malformed));
        assert_eq!(head(&[b'a'; MAX_HEAD + 1], false), Err(Malformed));
    }

    #[test]
    fn what_has_no_body_and_what_ends_with_the_connection() {
        let body =
            |text: &[u8], to_head| head(text, to_head).expect("a response").expect("a complete one").body;
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true), Framing::Length(0));
        assert_eq!(body(b"HTTP/1.1 204 No Content\r\n\r\n", false), Framing::Length(0));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\n", false), Framing::Close);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false), Framing::Chunked);
    }

    #[test]
    fn chunks_end_where_they_end() {
        let text = b"4\r\nabcd\r\n0\r\n\r\nrest";
        assert_eq!(chunked_length(text), Ok(Some(text.len() - 4)));
        for length in 0..text.len() - 4 {
            assert_eq!(chunked_length(&text[..length]), Ok(None), "{length}");
        }
        assert_eq!(chunked_length(b"0\r\nA: b\r\n\r\n"), Ok(Some(11)));
        assert_eq!(chunked_length(b"xyz\r\n"), Err(Malformed));
    }
}
