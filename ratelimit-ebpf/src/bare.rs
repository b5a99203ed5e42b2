//! Answers without payload: a segment, turned into its acknowledgement or into the reset of its connection.

use crate::frame::Frame;
use crate::headers::{self, Answer, TCP_HEADER};
use crate::packet::Packet;
use ratelimit_common::packet::{Segment, Source, TCP_ACK, TCP_RST};

/// Makes `packet` the reset that answers `segment`. `None` if it has a form that is not answered, or could not be
/// made; it is then to be dropped.
#[inline(always)]
pub(crate) fn reset<P: Packet>(packet: &P, segment: &Segment<Frame>) -> Option<()> {
    answer(packet, segment, TCP_RST | TCP_ACK, |_| TCP_HEADER)
}

/// Makes `packet` the acknowledgement of `segment`; `None` likewise.
#[inline(always)]
pub(crate) fn acknowledge<P: Packet>(packet: &P, segment: &Segment<Frame>) -> Option<()> {
    answer(packet, segment, TCP_ACK, headers::tcp_header)
}

/// `header` tells the length of the answer's TCP header from the segment's.
#[inline(always)]
fn answer<P: Packet>(
    packet: &P,
    segment: &Segment<Frame>,
    flags: u8,
    header: impl Fn(Frame) -> usize,
) -> Option<()> {
    let frame = packet.frame();
    let network = headers::plain_network(frame)?;
    let at_tcp = network.offset + network.header;
    let header = header(frame.after(at_tcp));
    if !packet.resize(Frame::settle(at_tcp + header)) {
        return None;
    }
    let (sequence, acknowledged) = (segment.acknowledged, segment.end());
    headers::turn(
        packet,
        &network,
        &Answer { sequence, acknowledged, flags, header, payload: 0, payload_sum: 0 },
    )
}
