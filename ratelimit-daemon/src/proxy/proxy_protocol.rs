//! The header before everything else on a connection from a load balancer: whose connection it is.
//! <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>

use memchr::memchr;
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::net::IpAddr;

/// Longest header, in bytes. The second version allows 64 KiB, for certificates that nobody sends along.
const MAX_HEADER: usize = 4 << 10;

/// How a header of the first version starts, and the longest there is.
const LINE_START: &[u8] = b"PROXY ";
const MAX_LINE: usize = 107;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// More bytes are needed.
    Partial,
    /// It is no PROXY protocol header.
    Malformed,
    /// A header of `len` bytes.
    Whole {
        /// Bytes that it takes.
        len: usize,
        /// The client's address; `None` if the load balancer speaks for itself, or does not say.
        client: Option<IpAddr>,
    },
}

impl Heading {
    /// What `input` begins with.
    pub(super) fn of(input: &[u8]) -> Self {
        // The parser may take a line that is cut for a malformed one, and a malformed one for one that is cut.
        if is_cut_line(input) {
            return Self::Partial;
        }
        let (len, client) = match HeaderResult::parse(input) {
            HeaderResult::V1(Ok(header)) => (header.header.len(), first_client(&header)),
            HeaderResult::V2(Ok(header)) => (header.len(), second_client(&header)),
            HeaderResult::V2(error) if error.is_incomplete() && input.len() < MAX_HEADER => {
                return Self::Partial;
            }
            _ => return Self::Malformed,
        };
        Self::Whole { len, client: client.map(|address| address.to_canonical()) }
    }
}

/// Whether `input` can be the beginning of a header of the first version, which is a line.
fn is_cut_line(input: &[u8]) -> bool {
    let start = input.get(..LINE_START.len()).unwrap_or(input);
    LINE_START.starts_with(start) && input.len() < MAX_LINE && memchr(b'\n', input).is_none()
}

fn first_client(header: &v1::Header<'_>) -> Option<IpAddr> {
    match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    }
}

fn second_client(header: &v2::Header<'_>) -> Option<IpAddr> {
    match header.addresses {
        _ if header.command == v2::Command::Local => None,
        v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::v2::{Builder, Command, Protocol, Version};
    use std::net::SocketAddr;

    /// `header` and what follows it, cut anywhere.
    fn assert_is(header: &[u8], client: Option<&str>) {
        let client = client.map(|text| text.parse().expect("an address"));
        let stream = [header, b"GET / HTTP/1.1\r\n"].concat();
        for len in 1..header.len() {
            assert_eq!(Heading::of(&stream[..len]), Heading::Partial, "{len} of {header:?}");
        }
        for len in header.len()..=stream.len() {
            assert_eq!(Heading::of(&stream[..len]), Heading::Whole { len: header.len(), client });
        }
    }

    fn second(command: Command, source: &str, more: &[u8]) -> Vec<u8> {
        let (source, host): (SocketAddr, SocketAddr) =
            (source.parse().expect("an address"), "192.0.2.9:80".parse().expect("an address"));
        let host = if source.is_ipv6() { "[2001:db8::9]:80".parse().expect("an address") } else { host };
        let builder = Builder::with_addresses(Version::Two | command, Protocol::Stream, (source, host));
        builder.write_payload(more).and_then(Builder::build).expect("a header")
    }

    #[test]
    fn both_versions_tell_the_client() {
        assert_is(b"PROXY TCP4 192.0.2.1 192.0.2.9 50000 80\r\n", Some("192.0.2.1"));
        assert_is(b"PROXY TCP6 2001:db8::1 2001:db8::9 50000 80\r\n", Some("2001:db8::1"));
        assert_is(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.9 50000 80\r\n", Some("192.0.2.1"));
        assert_is(b"PROXY UNKNOWN\r\n", None);
        assert_is(&second(Command::Proxy, "192.0.2.1:50000", b""), Some("192.0.2.1"));
        assert_is(&second(Command::Proxy, "[2001:db8::1]:50000", b"\x04\x00\x01x"), Some("2001:db8::1"));
        assert_is(&second(Command::Local, "192.0.2.1:50000", b""), None);
    }

    #[test]
    fn what_is_no_header_is_told_at_once_or_at_its_end() {
        let cases: [&[u8]; 8] = [
            b"G",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PROXY TCP4 192.0.2.1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 50000\r\n",
            b"PROXY TCP4 192.0.2.256 192.0.2.9 50000 80\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::9 50000 80\r\n",
            b"PROXY TCP5 192.0.2.1 192.0.2.9 50000 80\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
        ];
        for stream in cases {
            assert_eq!(Heading::of(stream), Heading::Malformed, "{stream:?}");
        }
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; MAX_HEADER]].concat();
        assert_eq!(Heading::of(&endless), Heading::Malformed);
    }
}
