//! The heads of messages: parsed, and looked through once for everything that a proxy has to know.
//!
//! What is ambiguous is refused and not repaired: a message that two readers could take for different ones is
//! how requests are smuggled past a proxy.

use super::framing::Framing;
use std::mem::MaybeUninit;

/// Largest head, in bytes.
pub(super) const MAX_HEAD: usize = 64 << 10;

const MAX_FIELDS: usize = 100;

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
        Err(_) => Err(NoHead::Malformed),
    }
}

/// Whether a head can be complete, of which the first `seen` bytes were not. Spares parsing a head again for
/// every byte of it that drips in.
pub(super) fn may_be_complete(bytes: &[u8], seen: usize) -> bool {
    let new = bytes.get(seen.saturating_sub(3)..).unwrap_or_default();
    seen == 0 || new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

/// What a field is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Authorization,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    /// Ours to set on responses.
    Rate,
    /// For one connection only, and of no use to us. Trailers among them: none are passed on.
    HopByHop,
    /// Passed on as it is.
    Other,
}

impl Role {
    /// The role of the field `name`.
    pub(super) fn of(name: &str) -> Self {
        // Few names share a length, so nearly every field costs one comparison.
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::HopByHop)],
            4 => &[("host", Self::Host)],
            6 => &[("expect", Self::Expect)],
            7 => &[("upgrade", Self::HopByHop), ("trailer", Self::HopByHop)],
            9 => &[("ratelimit", Self::Rate)],
            10 => &[("connection", Self::Connection), ("keep-alive", Self::HopByHop)],
            13 => &[("authorization", Self::Authorization)],
            14 => &[("content-length", Self::ContentLength)],
            15 => &[("x-forwarded-for", Self::ForwardedFor)],
            16 => &[
                ("proxy-connection", Self::HopByHop),
                ("x-forwarded-host", Self::ForwardedHost),
                ("ratelimit-policy", Self::Rate),
            ],
            17 => &[
                ("transfer-encoding", Self::TransferEncoding),
                ("x-ratelimit-limit", Self::Rate),
                ("x-ratelimit-reset", Self::Rate),
                ("x-forwarded-proto", Self::ForwardedProto),
            ],
            18 => &[("proxy-authenticate", Self::HopByHop)],
            19 => &[("proxy-authorization", Self::HopByHop), ("x-ratelimit-dry-run", Self::Rate)],
            21 => &[("x-ratelimit-remaining", Self::Rate)],
            _ => &[],
        };
        let found = candidates.iter().find(|(candidate, _)| name.eq_ignore_ascii_case(candidate));
        found.map_or(Self::Other, |(_, role)| *role)
    }
}

/// What the fields of a message say about it and its connection.
#[derive(Debug, Default)]
pub(super) struct Survey<'a> {
    pub(super) host: Option<&'a [u8]>,
    /// More than one `Host`, or one that is no host.
    has_bad_host: bool,
    pub(super) length: Option<u64>,
    is_chunked: bool,
    /// Lengths or codings that contradict each other, or that nobody should send.
    has_bad_framing: bool,
    /// `Connection` asks to close.
    pub(super) closes: bool,
    /// `Connection` asks to stay.
    pub(super) stays: bool,
    /// `Connection` names other fields.
    pub(super) nominates: bool,
    pub(super) expects_continue: bool,
    pub(super) is_forwarded: bool,
}

impl<'a> Survey<'a> {
    /// Looks through `fields`.
    pub(super) fn of(fields: &[Field<'a>]) -> Self {
        let mut survey = Self::default();
        for field in fields {
            match Role::of(field.name) {
                Role::Host => survey.note_host(field.value),
                Role::ContentLength => survey.note_length(field.value),
                Role::TransferEncoding => survey.note_coding(field.value),
                Role::Connection => survey.note_connection(field.value),
                Role::Expect => survey.expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue"),
                Role::ForwardedFor => survey.is_forwarded = true,
                _ => {}
            }
        }
        survey
    }

    fn note_host(&mut self, value: &'a [u8]) {
        self.has_bad_host |= self.host.replace(value).is_some();
    }

    /// Repetitions of the same length are one; lists are not taken apart.
    fn note_length(&mut self, value: &[u8]) {
        let length = number(value);
        self.has_bad_framing |= length.is_none() || self.length.is_some_and(|other| Some(other) != length);
        self.length = length;
    }

    fn note_coding(&mut self, value: &[u8]) {
        // Once, and nothing but chunked: whoever compresses in this layer is alone in the world.
        self.has_bad_framing |= self.is_chunked || !value.eq_ignore_ascii_case(b"chunked");
        self.is_chunked = true;
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.stays = true;
            } else {
                self.nominates = true;
            }
        }
    }

    /// How the body of a request is framed.
    pub(super) fn request_framing(&self, is_http_11: bool) -> Result<Framing, &'static str> {
        if self.has_bad_framing || (self.is_chunked && (self.length.is_some() || !is_http_11)) {
            return Err("The length of the request body is ambiguous.");
        }
        Ok(if self.is_chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) })
    }

    /// How the body of a response is framed that may have one; `None` if nobody can know.
    pub(super) fn response_framing(&self) -> Option<Framing> {
        match (self.is_chunked, self.length) {
            _ if self.has_bad_framing => None,
            // RFC 9112, 6.3: of both, the length is the lie.
            (true, _) => Some(Framing::Chunked),
            (false, Some(length)) => Some(Framing::Length(length)),
            (false, None) => Some(Framing::UntilClose),
        }
    }

    /// Whether a request has the one `Host` that it needs.
    pub(super) fn has_valid_host(&self, is_http_11: bool) -> bool {
        !self.has_bad_host && (self.host.is_some() || !is_http_11)
    }

    /// Whether the sender keeps the connection after this message.
    pub(super) fn keeps_alive(&self, is_http_11: bool) -> bool {
        !self.closes && (is_http_11 || self.stays)
    }
}

/// A number of 1 to 18 digits.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// The members of a comma-separated list.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether a `Connection` field among `fields` names the field `name`.
pub(super) fn is_nominated(fields: &[Field<'_>], name: &str) -> bool {
    let connection = fields.iter().filter(|field| Role::of(field.name) == Role::Connection);
    connection.flat_map(|field| list(field.value)).any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(lines: &[(&'static str, &'static str)], is_http_11: bool) -> Result<Framing, &'static str> {
        let field = |(name, value): &(&'static str, &'static str)| Field { name, value: value.as_bytes() };
        let fields: Vec<_> = lines.iter().map(field).collect();
        Survey::of(&fields).request_framing(is_http_11)
    }

    #[test]
    fn a_request_has_one_length_or_is_chunked() {
        assert_eq!(survey(&[], true), Ok(Framing::Length(0)));
        assert_eq!(survey(&[("Content-Length", "007")], true), Ok(Framing::Length(7)));
        assert_eq!(survey(&[("content-length", "5"), ("Content-Length", "5")], true), Ok(Framing::Length(5)));
        assert_eq!(survey(&[("Transfer-Encoding", "Chunked")], true), Ok(Framing::Chunked));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let cases: [&[_]; 12] = [
            &[("Content-Length", "5"), ("Content-Length", "6")],
            &[("Content-Length", "5, 5")],
            &[("Content-Length", "+5")],
            &[("Content-Length", "-1")],
            &[("Content-Length", "0x5")],
            &[("Content-Length", "")],
            &[("Content-Length", "99999999999999999999")],
            &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("Transfer-Encoding", "identity")],
            &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "xchunked")],
        ];
        for lines in cases {
            assert!(survey(lines, true).is_err(), "{lines:?}");
        }
        assert!(survey(&[("Transfer-Encoding", "chunked")], false).is_err());
    }

    #[test]
    fn names_have_their_roles_in_any_letters() {
        let roles = [
            ("HOST", Role::Host),
            ("Te", Role::HopByHop),
            ("KEEP-Alive", Role::HopByHop),
            ("X-RateLimit-Remaining", Role::Rate),
            ("RateLimit", Role::Rate),
            ("RateLimiT-Policy", Role::Rate),
            ("x-forwarded-proto", Role::ForwardedProto),
            ("Retry-After", Role::Other),
            ("Hosts", Role::Other),
        ];
        for (name, role) in roles {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }

    #[test]
    fn a_dripping_head_is_parsed_again_only_at_an_empty_line() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let parses = (1..head.len()).filter(|seen| may_be_complete(&head[..=*seen], *seen)).count();
        assert_eq!(parses, 1);
        assert!(may_be_complete(head, 0));
        assert!(may_be_complete(b"GET / HTTP/1.1\n\n", 15));
    }
}
