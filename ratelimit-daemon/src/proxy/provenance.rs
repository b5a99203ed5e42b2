//! Where a request comes from: whom the proxy believes, and what it tells the upstream.

use super::forward::write;
use super::head::Field;
use super::role::Role;
use super::survey::Survey;
use crate::config::{Forwarded, Forwarding};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Not an IPv4-mapped one.
    pub(super) address: IpAddr,
    /// The same as text, which every request needs.
    text: String,
    /// Whether it is a proxy that is believed.
    is_trusted: bool,
}

impl Peer {
    pub(super) fn new(address: IpAddr, forwarding: &Forwarding) -> Self {
        let address = address.to_canonical();
        Self { address, text: address.to_string(), is_trusted: forwarding.trusted.contain(address) }
    }
}

/// What the upstream is told of where a request comes from.
pub(super) struct Provenance<'a> {
    pub(super) peer: &'a Peer,
    pub(super) forwarding: &'a Forwarding,
}

impl Provenance<'_> {
    /// Whether a field of this `role` goes on as it came.
    pub(super) fn keeps(&self, role: Role) -> bool {
        let is_told = self.forwarding.x_forwarded != Forwarded::Off;
        matches!(role, Role::ForwardedHost | Role::ForwardedProto) && self.peer.is_trusted && is_told
    }

    /// Writes the fields that say where the request with these `fields`, for `host`, comes from.
    pub(super) fn write(&self, output: &mut Vec<u8>, fields: &[Field<'_>], survey: &Survey<'_>, host: &[u8]) {
        if self.forwarding.x_forwarded != Forwarded::Off {
            self.write_x_forwarded(output, fields, survey, host);
        }
        if self.forwarding.forwarded != Forwarded::Off {
            self.write_forwarded(output, fields, survey, host);
        }
    }

    fn write_x_forwarded(
        &self,
        output: &mut Vec<u8>,
        fields: &[Field<'_>],
        survey: &Survey<'_>,
        host: &[u8],
    ) {
        output.extend_from_slice(b"X-Forwarded-For: ");
        match self.told(fields, self.forwarding.x_forwarded) {
            Told::Itself => output.extend_from_slice(self.peer.text.as_bytes()),
            Told::Client(client) => write_address(output, client),
            Told::Hops => {
                write_hops(output, fields, Role::ForwardedFor);
                output.extend_from_slice(self.peer.text.as_bytes());
            }
        }
        output.extend_from_slice(b"\r\n");
        if !(self.peer.is_trusted && survey.forwarded_proto.is_some()) {
            output.extend_from_slice(b"X-Forwarded-Proto: http\r\n");
        }
        if !(self.peer.is_trusted && survey.has_forwarded_host) {
            write(output, &[b"X-Forwarded-Host: ", host, b"\r\n"]);
        }
    }

    /// RFC 7239, 4.
    fn write_forwarded(&self, output: &mut Vec<u8>, fields: &[Field<'_>], survey: &Survey<'_>, host: &[u8]) {
        output.extend_from_slice(b"Forwarded: ");
        let (address, is_https) = match self.told(fields, self.forwarding.forwarded) {
            Told::Itself => (self.peer.address, false),
            Told::Client(client) => (client, survey.forwarded_proto == Some(b"https")),
            Told::Hops => {
                write_hops(output, fields, Role::Forwarded);
                (self.peer.address, false)
            }
        };
        let (open, close): (&[u8], &[u8]) = if address.is_ipv4() { (b"", b"") } else { (b"\"[", b"]\"") };
        write(output, &[b"for=", open]);
        write_address(output, address);
        let proto: &[u8] = if is_https { b"https" } else { b"http" };
        // A host has no quotes and no backslashes.
        write(output, &[close, b";host=\"", host, b"\";proto=", proto, b"\r\n"]);
    }

    /// What to tell of a request with these `fields`, if it is told as `forwarded` says.
    fn told(&self, fields: &[Field<'_>], forwarded: Forwarded) -> Told {
        match forwarded {
            _ if !self.peer.is_trusted => Told::Itself,
            Forwarded::Replace => Told::Client(self.client(fields)),
            Forwarded::Append | Forwarded::Off => Told::Hops,
        }
    }

    /// The client's address: the last that no trusted proxy has.
    pub(super) fn client(&self, fields: &[Field<'_>]) -> IpAddr {
        let lines = fields.iter().rev().filter(|field| Role::of(field.name) == Role::ForwardedFor);
        let mut hops = lines.flat_map(|field| field.value.rsplit(|byte| *byte == b','));
        let mut client = self.peer.address;
        while self.forwarding.trusted.contain(client) {
            let Some(before) = hops.next().and_then(hop) else { break };
            client = before;
        }
        client
    }
}

/// Whom a field tells of.
enum Told {
    /// The peer, which is the client for all that is known.
    Itself,
    /// The client alone.
    Client(IpAddr),
    /// Everyone that trusted proxies tell of, and the peer.
    Hops,
}

/// The address of a hop as proxies write it: alone, or with a port.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = |_| text.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(with_port).ok().map(|address: IpAddr| address.to_canonical())
}

/// Writes what the fields of this `role` tell of the hops before.
fn write_hops(output: &mut Vec<u8>, fields: &[Field<'_>], role: Role) {
    let before = fields.iter().filter(|field| Role::of(field.name) == role && !field.value.is_empty());
    before.for_each(|field| write(output, &[field.value, b", "]));
}

fn write_address(output: &mut Vec<u8>, address: IpAddr) {
    // A vector takes everything.
    let _ = write!(output, "{address}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Networks;

    const FIELDS: &[(&str, &str)] = &[
        ("X-Forwarded-For", "203.0.113.7, 198.51.100.1"),
        ("x-forwarded-for", " 10.0.0.2"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=_hidden"),
    ];

    fn forwarding(x_forwarded: Forwarded, forwarded: Forwarded) -> Forwarding {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        let trusted = Networks::from_iter(networks);
        Forwarding { trusted, proxy_protocol: Networks::default(), x_forwarded, forwarded }
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> Vec<Field<'static>> {
        lines.iter().map(|(name, value)| Field { name, value: value.as_bytes() }).collect()
    }

    fn written(peer: &str, x_forwarded: Forwarded, forwarded: Forwarded) -> String {
        let forwarding = forwarding(x_forwarded, forwarded);
        let peer = Peer::new(peer.parse().expect("an address"), &forwarding);
        let fields = fields(FIELDS);
        let mut output = Vec::new();
        let provenance = Provenance { peer: &peer, forwarding: &forwarding };
        provenance.write(&mut output, &fields, &Survey::of(&fields), b"api:80");
        String::from_utf8(output).expect("text")
    }

    #[test]
    fn a_stranger_is_not_believed() {
        for mode in [Forwarded::Append, Forwarded::Replace] {
            let expected = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: api:80\r\n\
                Forwarded: for=192.0.2.1;host=\"api:80\";proto=http\r\n";
            assert_eq!(written("192.0.2.1", mode, mode), expected);
        }
        assert_eq!(written("192.0.2.1", Forwarded::Off, Forwarded::Off), "");
        let expected = "Forwarded: for=\"[2001:db8::1]\";host=\"api:80\";proto=http\r\n";
        assert_eq!(written("2001:db8::1", Forwarded::Off, Forwarded::Append), expected);
    }

    #[test]
    fn a_trusted_proxy_is_believed_as_far_as_configured() {
        let expected = "X-Forwarded-For: 203.0.113.7, 198.51.100.1, 10.0.0.2, 10.0.0.1\r\n\
            X-Forwarded-Host: api:80\r\nForwarded: for=_hidden, for=10.0.0.1;host=\"api:80\";proto=http\r\n";
        // Written as it was received, but for the blanks that the parser takes off.
        assert_eq!(written("10.0.0.1", Forwarded::Append, Forwarded::Append).replace(",  ", ", "), expected);
        let expected = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Host: api:80\r\n\
            Forwarded: for=198.51.100.1;host=\"api:80\";proto=https\r\n";
        assert_eq!(written("::ffff:10.0.0.1", Forwarded::Replace, Forwarded::Replace), expected);
    }

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let cases: [(&str, &str, &str); 9] = [
            ("192.0.2.1", "203.0.113.7", "192.0.2.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "1.2.3.4, 203.0.113.7, 10.9.9.9,10.8.8.8", "203.0.113.7"),
            ("10.0.0.1", "10.1.1.1", "10.1.1.1"),
            ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
            ("fd00::1", "[2001:db8::7]:4711", "2001:db8::7"),
            ("10.0.0.1", "2001:db8::7, ::ffff:10.0.0.3", "2001:db8::7"),
            // Whoever does not say where it comes from is the client.
            ("10.0.0.1", "203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
        ];
        let forwarding = forwarding(Forwarded::Append, Forwarded::Off);
        for (peer, told, client) in cases {
            let peer = Peer::new(peer.parse().expect("an address"), &forwarding);
            let provenance = Provenance { peer: &peer, forwarding: &forwarding };
            let fields = [Field { name: "X-Forwarded-For", value: told.as_bytes() }];
            assert_eq!(provenance.client(&fields), client.parse::<IpAddr>().expect("an address"), "{told}");
        }
    }
}
