//! Where a request is found in a frame, and which frames are nobody's business.

use crate::frames::{Frame, Network, request};
use crate::host::{Host, KEY, SLOT, XDP_PASS};
use ratelimit_common::layout::Action;
use ratelimit_common::outcome::Outcome;

fn good() -> Frame {
    Frame::new(request(57, &format!("X-API-Key: {KEY}")))
}

#[test]
fn every_form_of_network_layer_is_read() {
    let mut host = Host::new(Action::Drop, 100);
    let mut port = 40_000;
    for network in [Network::V4, Network::V6] {
        for vlans in 0..=2 {
            for tcp_options in [false, true] {
                for ip_options in [false, network == Network::V4] {
                    port += 1;
                    let frame =
                        Frame { network, vlans, tcp_options, ip_options, client_port: port, ..good() };
                    assert_eq!(host.outcome_of(&frame), Outcome::Admitted, "{frame:?}");
                }
            }
        }
    }
    assert_eq!(host.charged(), u64::from(port - 40_000));
}

#[test]
fn connections_of_both_versions_are_told_apart() {
    let mut host = Host::new(Action::Drop, 100);
    for network in [Network::V4, Network::V6] {
        assert_eq!(host.outcome_of(&Frame { network, ..good() }), Outcome::Admitted);
    }
    assert_eq!(host.outcome_of(&Frame { client_port: 40_001, ..good() }), Outcome::Admitted);
    assert_eq!(host.outcome_of(&good()), Outcome::Retransmit);
}

#[test]
fn only_guarded_ports_are_judged() {
    let mut host = Host::new(Action::Drop, 100);
    for port in [0, 79, 8_079, 8_081, 8_144, 65_535] {
        assert_eq!(host.outcome_of(&Frame { host_port: port, ..good() }), Outcome::OtherPort);
    }
    assert_eq!(host.outcome_of(&Frame { host_port: 443, ..good() }), Outcome::Admitted);
}

#[test]
fn what_is_not_a_request_segment_is_skipped_by_its_reason() {
    let mut host = Host::new(Action::Drop, 100);
    let bytes = good().bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        ("ARP", changed(13, 0x06), Outcome::NotIp),
        ("UDP", changed(23, 17), Outcome::NotTcp),
        ("a later fragment", changed(21, 1), Outcome::Fragment),
        ("a first fragment", changed(20, 0x20), Outcome::Fragment),
        ("IP version 5", changed(14, 0x55), Outcome::Malformed),
        ("an IP header of 16 bytes", changed(14, 0x44), Outcome::Malformed),
        ("a TCP header of 16 bytes", changed(46, 0x40), Outcome::Malformed),
        ("SYN", changed(47, 0x12), Outcome::Control),
        ("FIN", changed(47, 0x11), Outcome::Control),
        ("RST", changed(47, 0x14), Outcome::Control),
        ("no ACK", changed(47, 0x08), Outcome::Control),
        ("an IP length beyond the frame", changed(16, 0x40), Outcome::Malformed),
        ("a bare ACK", Frame { payload: Vec::new(), ..good() }.bytes(), Outcome::NoPayload),
        ("TLS", Frame::new([0x16, 3, 1, 2, 0, 1, 0, 1]).bytes(), Outcome::NotRequest),
        (
            "PROXY protocol 1",
            Frame::new(announced(b"PROXY TCP4 192.0.2.1 192.0.2.9 5 80\r\n")).bytes(),
            Outcome::NotRequest,
        ),
        (
            "PROXY protocol 2",
            Frame::new(announced(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0")).bytes(),
            Outcome::NotRequest,
        ),
        ("HTTP/2", Frame::new("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").bytes(), Outcome::NotRequest),
    ];
    for (what, frame, outcome) in cases {
        assert_eq!(host.outcome(&frame), outcome, "{what}");
        assert_eq!(host.run_bytes(&frame).action, XDP_PASS, "{what}");
    }
    assert_eq!(host.charged(), 0);
}

#[test]
fn ipv6_extension_headers_and_three_tags_are_left_to_the_proxy() {
    let mut host = Host::new(Action::Drop, 100);
    let mut v6 = Frame { network: Network::V6, ..good() }.bytes();
    v6[20] = 0;
    assert_eq!(host.outcome(&v6), Outcome::NotTcp);
    let mut tagged = Frame { vlans: 2, ..good() }.bytes();
    tagged.splice(12..12, [0x81, 0, 0, 9]);
    assert_eq!(host.outcome(&tagged), Outcome::NotIp);
}

#[test]
fn bytes_behind_the_ip_packet_carry_no_key() {
    let mut host = Host::new(Action::Drop, 100);
    let mut frame = Frame::new("GET / HTTP/1.1\r\n").bytes();
    frame.extend(format!("X-API-Key: {KEY}\r\n\r\n").as_bytes());
    assert_eq!(host.outcome(&frame), Outcome::Malformed);
    // The padding of a short Ethernet frame is not a payload.
    let mut short = Frame { payload: Vec::new(), tcp_options: false, ..good() }.bytes();
    short.resize(60, 0);
    assert_eq!(host.outcome(&short), Outcome::NoPayload);
    assert_eq!(host.slot(SLOT).admitted.load(), 0);
}

#[test]
fn a_frame_cut_anywhere_is_passed_and_charges_nobody() {
    let mut host = Host::new(Action::Drop, 100);
    for network in [Network::V4, Network::V6] {
        let bytes = Frame { network, vlans: 1, ..good() }.bytes();
        // The kernel runs no program on less than an Ethernet header.
        for len in 14..bytes.len() {
            let output = host.run_bytes(&bytes[..len]);
            assert_eq!(
                (output.action, output.frame.as_slice()),
                (XDP_PASS, &bytes[..len]),
                "{network:?} {len}"
            );
        }
    }
    assert_eq!(host.charged(), 0);
}

/// A load balancer's header and the client's request in one segment.
fn announced(header: &[u8]) -> Vec<u8> {
    [header, &request(57, &format!("X-API-Key: {KEY}"))].concat()
}
