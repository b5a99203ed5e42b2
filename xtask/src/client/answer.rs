//! A whole HTTP/1.1 response.

use std::io::{Error, ErrorKind};

const MAX_HEADERS: usize = 64;

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header fields in order, their names spelled as they came.
    pub headers: Vec<(String, String)>,
    /// The body, without transfer coding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of the first header field of this name, however it is spelled.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn keeps_connection(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The answer in `bytes`, once it is all there. The answer to a HEAD has no body.
    pub fn parse(bytes: &[u8], head: bool) -> Result<Option<Self>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(bytes).map_err(invalid)? else {
            return Ok(None);
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = response.headers.iter();
        let headers = headers.map(|field| (field.name.to_owned(), text(field.value))).collect();
        let status = response.code.unwrap_or_default();
        let mut answer = Self { status, headers, body: Vec::new() };
        let rest = bytes.get(length..).unwrap_or_default();
        Ok(answer.read_body(rest, head)?.then_some(answer))
    }

    /// Takes the body off `rest`; false if it is not all there.
    fn read_body(&mut self, rest: &[u8], head: bool) -> Result<bool, Error> {
        if head || self.status == 204 || self.status == 304 {
            return Ok(true);
        }
        if self.header("transfer-encoding").is_some() {
            return match dechunk(rest)? {
                Some(body) => {
                    self.body = body;
                    Ok(true)
                }
                None => Ok(false),
            };
        }
        let length = self.header("content-length").map_or(Ok(0), str::parse).map_err(invalid)?;
        match rest.get(..length) {
            Some(body) => {
                self.body = body.to_vec();
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// The body of a chunked message, if its end is there. Trailers are not looked for: nobody here sends any.
fn dechunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((start, size)) =
            httparse::parse_chunk_size(rest).map_err(|_| bad_chunk())?
        else {
            return Ok(None);
        };
        let size = usize::try_from(size).map_err(invalid)?;
        let Some((chunk, after)) = rest.get(start..).and_then(|rest| rest.split_at_checked(size)) else {
            return Ok(None);
        };
        let Some(after) = after.get(2..) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        rest = after;
    }
}

fn bad_chunk() -> Error {
    Error::new(ErrorKind::InvalidData, "a chunk's size is not a number")
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Answer> {
        Answer::parse(text.as_bytes(), false).expect("HTTP")
    }

    #[test]
    fn an_answer_is_there_when_all_of_it_is() {
        let whole = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_none(), "{cut}");
        }
        let answer = parse(whole).expect("all there");
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("2")));
        assert_eq!(answer.body, b"hello");
        assert!(answer.keeps_connection());
    }

    #[test]
    fn chunks_are_put_together() {
        let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_none(), "{cut}");
        }
        let answer = parse(whole).expect("all there");
        assert_eq!(answer.body, b"abcde");
        assert!(!answer.keeps_connection());
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(Answer::parse(b"SSH-2.0-OpenSSH\r\n", false).is_err());
    }
}
