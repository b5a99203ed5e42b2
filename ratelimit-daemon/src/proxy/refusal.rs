//! Every answer that is ours and not the upstream's: JSON, in one shape.

use super::forward::write_number;
use super::headers::write_rate_fields;
use super::upstream::Failure;
use crate::config::Headers;
use crate::limiter::Standing;
use crate::records::{Encoding, Objection};
use ratelimit_common::answer::{self, CONNECTION_CLOSE, Sink, seconds};
use tokio::net::TcpStream;

/// Why a request gets no response of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Over a limit for so many nanoseconds more.
    RateLimited(u64),
    MissingKey,
    UnknownKey,
    DisabledKey,
    ExpiredKey,
    ConflictingKeys,
    /// No key, and no room for another client without one.
    TooManyClients,
    /// It cannot be forwarded.
    BadRequest(&'static str),
    /// Its head is too large.
    HeadTooLarge,
    /// Its body does not come.
    BodyTimeout,
    /// Its body is not what it should be.
    Body(Objection),
    /// Too many bodies are held.
    NoRoom,
    Upstream(Failure),
}

/// A refusal of one request.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// How the limits of the request's key stand, if there is a key that may be used.
    pub(super) standing: Option<Standing>,
}

/// What the answer depends on besides the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// Whether it has a body: the answer to HEAD has none.
    pub(super) has_body: bool,
    /// What it says of the connection.
    pub(super) connection: Connection,
    /// The fields that it has about the limits.
    pub(super) wanted: Headers,
    /// The value of `Date`.
    pub(super) date: &'a str,
}

/// What a response says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// It stays, as HTTP/1.1 has it.
    Stays,
    /// It stays, which an HTTP/1.0 client has asked for and has to be told.
    IsKept,
    /// It closes.
    Closes,
}

impl Connection {
    /// The field that says so.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Stays => "",
            Self::IsKept => "Connection: keep-alive\r\n",
            Self::Closes => CONNECTION_CLOSE,
        }
    }
}

impl Reason {
    /// The status line's rest, the code for programs, and the words for people.
    const fn parts(self) -> (&'static str, &'static str, &'static str) {
        const UNAUTHORIZED: &str = "401 Unauthorized";
        const BAD_REQUEST: &str = "400 Bad Request";
        match self {
            // Its text is one with the kernel's.
            Self::RateLimited(_) => ("429 Too Many Requests", "rate_limit_exceeded", ""),
            Self::MissingKey => (UNAUTHORIZED, "missing_key", "The request has no API key."),
            Self::UnknownKey => (UNAUTHORIZED, "unknown_key", "The API key is not known."),
            Self::DisabledKey => (UNAUTHORIZED, "disabled_key", "The API key is disabled."),
            Self::ExpiredKey => (UNAUTHORIZED, "expired_key", "The API key has expired."),
            Self::ConflictingKeys => {
                (BAD_REQUEST, "conflicting_keys", "The request has more than one API key.")
            }
            Self::TooManyClients => (
                "503 Service Unavailable",
                "too_many_clients",
                "The server has too many clients without an API key. Please use one, or try again later.",
            ),
            Self::BadRequest(message) => (BAD_REQUEST, "bad_request", message),
            Self::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "head_too_large",
                "The request line and fields are too large.",
            ),
            Self::BodyTimeout => {
                ("408 Request Timeout", "body_timeout", "The request body did not come in time.")
            }
            Self::Body(objection) => objection_parts(objection),
            Self::NoRoom => (
                "503 Service Unavailable",
                "too_many_uploads",
                "The server has too many bulk requests under way.",
            ),
            Self::Upstream(failure) => failure_parts(failure),
        }
    }
}

const fn objection_parts(objection: Objection) -> (&'static str, &'static str, &'static str) {
    match objection {
        Objection::Uncountable(message) => ("400 Bad Request", "invalid_body", message),
        Objection::TooLarge => {
            ("413 Content Too Large", "body_too_large", "The request body is too large for a bulk request.")
        }
        Objection::UnsupportedEncoding => (
            "415 Unsupported Media Type",
            "unsupported_encoding",
            "The encoding of the request body is not supported.",
        ),
        // Its text has numbers in it.
        Objection::TooMany { .. } => ("422 Unprocessable Content", "too_many_records", ""),
    }
}

const fn failure_parts(failure: Failure) -> (&'static str, &'static str, &'static str) {
    const BAD_GATEWAY: &str = "502 Bad Gateway";
    const GATEWAY_TIMEOUT: &str = "504 Gateway Timeout";
    match failure {
        Failure::Unreachable => (BAD_GATEWAY, "upstream_unavailable", "The API server cannot be reached."),
        Failure::Closed => (BAD_GATEWAY, "upstream_unavailable", "The API server closed the connection."),
        Failure::Invalid => (BAD_GATEWAY, "upstream_invalid", "The API server sent an invalid response."),
        Failure::ConnectTimeout => {
            (GATEWAY_TIMEOUT, "upstream_timeout", "The API server cannot be reached in time.")
        }
        Failure::ResponseTimeout => {
            (GATEWAY_TIMEOUT, "upstream_timeout", "The API server did not respond in time.")
        }
    }
}

impl Refusal {
    /// Writes the whole response.
    pub(super) fn write(self, output: &mut Vec<u8>, manner: &Manner<'_>) {
        match self.reason {
            Reason::RateLimited(wait_ns) => self.write_rate_limited(output, manner, seconds(wait_ns)),
            _ => self.write_error(output, manner),
        }
    }

    fn write_rate_limited(self, output: &mut Vec<u8>, manner: &Manner<'_>, retry_after: u64) {
        answer::status_line(output);
        if let Some(standing) = &self.standing {
            write_rate_fields(output, standing, Some(retry_after), manner.wanted);
        }
        write_manner(output, manner);
        answer::content(output, retry_after, manner.has_body);
    }

    fn write_error(self, output: &mut Vec<u8>, manner: &Manner<'_>) {
        let (status, code, message) = self.reason.parts();
        ["HTTP/1.1 ", status, "\r\n"].into_iter().for_each(|part| output.text(part));
        if let Some(standing) = &self.standing {
            write_rate_fields(output, standing, None, manner.wanted);
        }
        if status.starts_with("401") {
            output.text("WWW-Authenticate: Bearer\r\n");
        }
        if self.reason == Reason::Body(Objection::UnsupportedEncoding) {
            ["Accept-Encoding: ", Encoding::SUPPORTED, "\r\n"].into_iter().for_each(|part| output.text(part));
        }
        write_manner(output, manner);
        output.text("Content-Type: application/json\r\nContent-Length: ");
        match self.reason {
            Reason::Body(Objection::TooMany { records, most }) => {
                write_too_many(output, manner.has_body, code, records, most);
            }
            _ => write_error_body(output, manner.has_body, &["\"", code, MESSAGE, message, "\""]),
        }
    }
}

fn write_manner(output: &mut Vec<u8>, manner: &Manner<'_>) {
    let parts = [manner.connection.field(), "Date: ", manner.date, "\r\n"];
    parts.into_iter().for_each(|part| output.text(part));
}

fn write_too_many(output: &mut Vec<u8>, has_body: bool, code: &str, records: u64, most: u32) {
    let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (records, most) = (one.format(records), other.format(most));
    let (open, middle, end) = ("The request has ", " records; at most ", " are allowed.\",\"max_records\":");
    let parts = ["\"", code, MESSAGE, open, records, middle, most, end, most, ",\"records\":", records];
    write_error_body(output, has_body, &parts);
}

const MESSAGE: &str = "\",\"message\":\"";

/// Writes the length of an error's body, the end of the head, and the body. `error` is what follows `"code":` and
/// holds nothing that JSON would escape.
fn write_error_body(output: &mut Vec<u8>, has_body: bool, error: &[&str]) {
    let (open, close) = ("{\"error\":{\"code\":", "}}");
    let length: usize = error.iter().map(|part| part.len()).sum();
    write_number(output, "", (open.len() + length + close.len()) as u64);
    output.text("\r\n\r\n");
    if has_body {
        output.text(open);
        error.iter().for_each(|part| output.text(part));
        output.text(close);
    }
}

/// Answers a connection over the number that is allowed. Nothing is read: there is no time for it.
pub(super) fn turn_away(stream: TcpStream) {
    let mut response =
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: "
            .to_vec();
    let parts = ["\"too_many_connections", MESSAGE, "The server has too many connections.\""];
    write_error_body(&mut response, true, &parts);
    // A new socket's buffer is empty, so this fits, or the client is gone.
    let _ = stream.try_write(&response);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_well_formed() {
        let failures = [
            Failure::Unreachable,
            Failure::Closed,
            Failure::Invalid,
            Failure::ConnectTimeout,
            Failure::ResponseTimeout,
        ];
        let reasons = [
            Reason::RateLimited(u64::MAX),
            Reason::RateLimited(0),
            Reason::MissingKey,
            Reason::UnknownKey,
            Reason::DisabledKey,
            Reason::ExpiredKey,
            Reason::ConflictingKeys,
            Reason::TooManyClients,
            Reason::BadRequest("Words."),
            Reason::HeadTooLarge,
            Reason::BodyTimeout,
            Reason::Body(Objection::Uncountable("Words.")),
            Reason::Body(Objection::TooLarge),
            Reason::Body(Objection::UnsupportedEncoding),
            Reason::Body(Objection::TooMany { records: u64::MAX, most: 100 }),
            Reason::NoRoom,
        ];
        let wanted = Headers { ratelimit_fields: true, dry_run: true };
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        let manner = Manner { has_body: true, connection: Connection::Closes, wanted, date };
        for reason in failures.map(Reason::Upstream).into_iter().chain(reasons) {
            let (mut with, mut without) = (Vec::new(), Vec::new());
            Refusal { reason, standing: None }.write(&mut with, &manner);
            Refusal { reason, standing: None }.write(&mut without, &Manner { has_body: false, ..manner });
            let text = String::from_utf8(with).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert_eq!(format!("{head}\r\n\r\n").into_bytes(), without);
            let (_, length) = head.rsplit_once("Content-Length: ").expect("a length");
            assert_eq!(length.parse(), Ok(body.len()), "{head}");
            assert!(body.starts_with("{\"error\":{\"code\":\"") && body.ends_with("}}"), "{body}");
            assert!(!body.contains('\\') && body.is_ascii());
        }
    }
}
