//! A head looked through once for everything that a proxy has to know of the message and its connection.

use super::framing::Framing;
use super::head::Field;
use super::role::Role;

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
    /// The value of the last `X-Forwarded-Proto`.
    pub(super) forwarded_proto: Option<&'a [u8]>,
    pub(super) has_forwarded_host: bool,
    /// `TE` says that trailers are welcome.
    pub(super) takes_trailers: bool,
    /// `Connection` announces a change of protocol.
    has_upgrade: bool,
    /// What `Upgrade` says.
    protocol: Option<&'a [u8]>,
    has_many_protocols: bool,
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
                Role::Te => survey.takes_trailers |= list(field.value).any(|item| is(item, b"trailers")),
                Role::Upgrade => survey.note_protocol(field.value),
                Role::Expect => survey.expects_continue |= is(field.value, b"100-continue"),
                Role::ForwardedProto => survey.forwarded_proto = Some(field.value),
                Role::ForwardedHost => survey.has_forwarded_host = true,
                _ => {}
            }
        }
        survey
    }

    fn note_host(&mut self, value: &'a [u8]) {
        self.has_bad_host |= self.host.replace(value).is_some() || !is_host(value);
    }

    /// Once, even if it is the same again: RFC 9112, 6.3 allows either.
    fn note_length(&mut self, value: &[u8]) {
        let length = number(value);
        self.has_bad_framing |= length.is_none() || self.length.is_some();
        self.length = length;
    }

    fn note_coding(&mut self, value: &[u8]) {
        // Once, and nothing but chunked: whoever compresses in this layer is alone in the world.
        self.has_bad_framing |= self.is_chunked || !is(value, b"chunked");
        self.is_chunked = true;
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if is(option, b"close") {
                self.closes = true;
            } else if is(option, b"keep-alive") {
                self.stays = true;
            } else if is(option, b"upgrade") {
                self.has_upgrade = true;
            } else if !is(option, b"te") {
                self.nominates = true;
            }
        }
    }

    /// A choice of protocols is not taken apart: the proxy would have to know which one the upstream took.
    fn note_protocol(&mut self, value: &'a [u8]) {
        self.has_many_protocols |= self.protocol.replace(value).is_some();
    }

    /// The protocol that the message asks for, or changes to, if it is one of `allowed`.
    pub(super) fn upgrade(&self, allowed: &[String]) -> Option<&'a [u8]> {
        let is_allowed = |protocol: &&[u8]| allowed.iter().any(|name| is(protocol, name.as_bytes()));
        self.protocol.filter(is_allowed).filter(|_| self.has_upgrade && !self.has_many_protocols)
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

    /// Whether the sender keeps the connection after this message. One that frames it in a way that others
    /// could read differently (RFC 9112, 6.1 and 6.3) is not trusted with another.
    pub(super) fn keeps_alive(&self, is_http_11: bool) -> bool {
        let is_doubtful = self.is_chunked && (self.length.is_some() || !is_http_11);
        !self.closes && (is_http_11 || self.stays) && !is_doubtful
    }
}

fn is(value: &[u8], expected: &[u8]) -> bool {
    value.eq_ignore_ascii_case(expected)
}

/// Whether `text` can be a host and a port (RFC 3986, 3.2.2), as far as its characters tell. It may be empty.
pub(super) fn is_host(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii() && HOST_BYTES >> byte & 1 == 1)
}

/// A bit for each byte that a host and a port may have: every request has its host looked at.
const HOST_BYTES: u128 = {
    let mut bits = 0;
    let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%:[]!$&'()*+;=";
    while let [byte, others @ ..] = rest {
        bits |= 1 << *byte;
        rest = others;
    }
    bits
};

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
    fn hosts_have_the_characters_of_hosts() {
        for host in ["", "api.example:80", "[2001:db8::1]:80", "a_b-c~d%20", "A!$&'()*+;="] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for other in ["a b", "a/b", "a,b", "a@b", "a\"b", "a\\b", "a\tb", "\u{e4}", "a\u{7f}", "a\0"] {
            assert!(!is_host(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_request_has_one_length_or_is_chunked() {
        assert_eq!(survey(&[], true), Ok(Framing::Length(0)));
        assert_eq!(survey(&[("Content-Length", "007")], true), Ok(Framing::Length(7)));
        assert_eq!(survey(&[("Transfer-Encoding", "Chunked")], true), Ok(Framing::Chunked));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let cases: [&[_]; 13] = [
            &[("Content-Length", "5"), ("content-length", "5")],
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
}
