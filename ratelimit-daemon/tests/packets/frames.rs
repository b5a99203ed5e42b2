//! Frames as clients send them.

use etherparse::{PacketBuilder, TcpOptionElement};

/// The client's and the host's address in every frame, by version of IP.
pub(crate) const CLIENT_V4: [u8; 4] = [10, 77, 0, 2];
pub(crate) const HOST_V4: [u8; 4] = [10, 77, 0, 1];
pub(crate) const CLIENT_V6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(crate) const HOST_V6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The guarded port.
pub(crate) const PORT: u16 = 8080;

/// How the network layers of a frame look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4,
    V6,
}

/// A TCP segment from the client to the host.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) network: Network,
    pub(crate) vlans: usize,
    pub(crate) ip_options: bool,
    pub(crate) tcp_options: bool,
    pub(crate) client_port: u16,
    pub(crate) host_port: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A plain IPv4 segment with `payload`.
    pub(crate) fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            network: Network::V4,
            vlans: 0,
            ip_options: false,
            tcp_options: true,
            client_port: 40_000,
            host_port: PORT,
            sequence: 1_000,
            payload: payload.into(),
        }
    }

    /// The acknowledgement number of every frame.
    pub(crate) const ACKNOWLEDGED: u32 = 7_000;

    /// The frame's bytes, checksums and all.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
        let options = [
            TcpOptionElement::Noop,
            TcpOptionElement::Noop,
            TcpOptionElement::Timestamp(0x0102_0304, 0x0506_0708),
        ];
        let options = if self.tcp_options { &options[..] } else { &[] };
        macro_rules! finish {
            ($link:expr) => {{
                let network = match self.network {
                    Network::V4 if self.ip_options => {
                        let mut header = etherparse::Ipv4Header::new(
                            0,
                            64,
                            etherparse::ip_number::TCP,
                            CLIENT_V4,
                            HOST_V4,
                        )
                        .expect("a header");
                        header.options = [1, 1, 1, 0].into();
                        $link.ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
                    }
                    Network::V4 => $link.ipv4(CLIENT_V4, HOST_V4, 64),
                    Network::V6 => $link.ipv6(CLIENT_V6, HOST_V6, 64),
                };
                let tcp = network
                    .tcp(self.client_port, self.host_port, self.sequence, 65_000)
                    .ack(Self::ACKNOWLEDGED)
                    .psh()
                    .options(options)
                    .expect("options fit");
                let mut bytes = Vec::with_capacity(tcp.size(self.payload.len()));
                tcp.write(&mut bytes, &self.payload).expect("a vector takes every byte");
                bytes
            }};
        }
        let tag = |id: u16| etherparse::VlanId::try_new(id).expect("an id");
        match self.vlans {
            0 => finish!(ethernet),
            1 => finish!(ethernet.single_vlan(tag(5))),
            2 => finish!(ethernet.double_vlan(tag(5), tag(6))),
            many => panic!("{many} tags cannot be built"),
        }
    }
}

/// A request head of about `before` bytes ahead of the field that carries the key.
pub(crate) fn request(before: usize, field: &str) -> Vec<u8> {
    let mut head = b"GET /courses?page=1 HTTP/1.1\r\nHost: api.example.com\r\n".to_vec();
    while head.len() + 40 <= before {
        let name = format!("X-Filler-{:04}: ", head.len());
        head.extend(name.as_bytes());
        head.extend("abcdefghijklmnopqrst\r\n".as_bytes());
    }
    head.extend(field.as_bytes());
    head.extend(b"\r\nAccept: */*\r\n\r\n");
    head
}
