//! The reset: a refused request, turned into the end of its connection.

use crate::frame::Frame;
use crate::headers::{self, Answer, TCP_HEADER};
use crate::packet::Packet;
use ratelimit_common::packet::{Segment, TCP_ACK, TCP_RST};

/// Makes `packet` the reset that answers `segment`. `None` if it has a form that is not answered, or could not be
/// made; it is then to be dropped.
#[inline(always)]
pub(crate) fn reset<P: Packet>(packet: &P, segment: &Segment<Frame>) -> Option<()> {
    let network = headers::plain_network(packet.frame())?;
    if !packet.resize(network.offset + network.header + TCP_HEADER) {
        return None;
    }
    let answer = Answer {
        sequence: segment.acknowledged,
        acknowledged: segment.end(),
        flags: TCP_RST | TCP_ACK,
        header: TCP_HEADER,
        payload: 0,
        payload_sum: 0,
    };
    headers::turn(packet, &network, &answer)
}
