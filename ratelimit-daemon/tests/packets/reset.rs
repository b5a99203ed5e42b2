//! The reset that answers a refused request.

use crate::frames::{CLIENT_V4, CLIENT_V6, Frame, HOST_V4, HOST_V6, Network, PORT, request};
use crate::host::{Host, KEY, XDP_DROP, XDP_TX};
use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use ratelimit_common::layout::Action;

fn host_without_tokens() -> Host {
    let mut host = Host::new(Action::Reset, 1);
    host.run(&Frame { client_port: 1, ..refused(Network::V4) });
    host
}

fn refused(network: Network) -> Frame {
    Frame { network, ..Frame::new(request(57, &format!("X-API-Key: {KEY}"))) }
}

#[test]
fn it_is_what_the_client_s_tcp_accepts() {
    let mut host = host_without_tokens();
    for network in [Network::V4, Network::V6] {
        for vlans in 0..=2 {
            for tcp_options in [false, true] {
                let frame = Frame { vlans, tcp_options, ..refused(network) };
                let output = host.run(&frame);
                assert_eq!(output.action, XDP_TX, "{frame:?}");
                check(&frame, &output.frame);
            }
        }
    }
}

/// Everything about the reset, by a parser of its own.
fn check(request: &Frame, reset: &[u8]) {
    let headers = PacketHeaders::from_ethernet_slice(reset).expect("a well-formed frame");
    let link = headers.link.and_then(|link| link.ethernet2()).expect("Ethernet");
    assert_eq!((link.source, link.destination), ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]));
    assert_eq!(headers.link_exts.len(), request.vlans, "tags are kept");
    assert!(headers.payload.slice().is_empty());
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("not TCP") };
    assert!(tcp.rst && tcp.ack && !tcp.syn && !tcp.fin && !tcp.psh);
    assert_eq!((tcp.source_port, tcp.destination_port), (PORT, request.client_port));
    assert_eq!(tcp.sequence_number, Frame::ACKNOWLEDGED, "the number that the client awaits");
    assert_eq!(tcp.acknowledgment_number, request.sequence + request.payload.len() as u32);
    assert_eq!(tcp.header_len(), 20);
    match headers.net.expect("IP") {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!((ip.source, ip.destination), (HOST_V4, CLIENT_V4));
            assert_eq!((ip.total_len, ip.header_checksum), (40, ip.calc_header_checksum()));
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(&ip, &[]).expect("short enough"));
        }
        NetHeaders::Ipv6(ip, _) => {
            assert_eq!((ip.source, ip.destination), (HOST_V6, CLIENT_V6));
            assert_eq!(ip.payload_length, 20);
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv6(&ip, &[]).expect("short enough"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_packet_with_ip_options_is_dropped_instead() {
    let mut host = host_without_tokens();
    let frame = Frame { ip_options: true, ..refused(Network::V4) };
    assert_eq!(host.run(&frame).action, XDP_DROP);
}
