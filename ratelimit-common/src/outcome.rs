//! What the kernel program can find about a packet: a verdict on a request, or the reason why it was skipped.

/// Each is a counter, per CPU; the number is its index in the kernel's counter map.
///
/// A *verdict* is an answer to a request. A *skip* is the reason why a packet was passed on unjudged: what
/// the kernel skips, the proxy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Outcome {
    /// Verdict: within all limits that the kernel knows, and charged.
    Admitted = 0,
    /// Verdict: the burst bucket is empty.
    RefusedBurst = 1,
    /// Verdict: the key is blocked until its window admits again.
    RefusedBlocked = 2,
    /// Verdict of a dry run: passed, but an enforcing host would have refused it.
    Observed = 3,
    /// A segment whose request was charged before: a retransmission. Passed, not charged again.
    Retransmit = 4,
    /// Neither IPv4 nor IPv6 (ARP and the like), or more VLAN tags than two.
    NotIp = 5,
    /// Not TCP, or an IPv6 extension header stands before it.
    NotTcp = 6,
    /// A fragment of an IP packet.
    Fragment = 7,
    /// A port that is not guarded.
    OtherPort = 8,
    /// A header that does not fit its packet, or bytes behind the IP packet's end.
    Malformed = 9,
    /// A segment that opens, closes or resets a connection.
    Control = 10,
    /// A segment without payload: a bare acknowledgement.
    NoPayload = 11,
    /// A payload that does not start with an HTTP/1 method: the middle of a request, TLS, HTTP/2.
    NotRequest = 12,
    /// A request head without a key in this segment.
    NoKey = 13,
    /// A key whose end is not in this segment, or that is longer than the kernel reads.
    KeyCut = 14,
    /// A spelling of the head or the key that only the proxy judges.
    Unusual = 15,
    /// A key that is not in the kernel's table.
    UnknownKey = 16,
    /// No room to remember the connection, or too many of its requests wait for the proxy.
    FlowFull = 17,
    /// Others changed the same word too often meanwhile.
    Contended = 18,
    /// The tables contradict each other; the daemon's log has the details.
    Fault = 19,
    /// A request on no established connection, or one that its connection does not await: spoofed, or old.
    Unexpected = 20,
    /// Over a limit, but the host has an earlier request of the connection in hand: the proxy answers both.
    Busy = 21,
    /// Over a limit, but the answer does not fit the frame, or the frame's headers are of an unusual form.
    NoRoom = 22,
    /// A segment on a connection whose request the kernel has answered. Not passed on as it came.
    Closing = 23,
    /// A request before which something else of its connection has yet to come.
    Early = 24,
}

impl Outcome {
    /// Number of outcomes: the length of the counter map.
    pub const COUNT: usize = 25;

    /// All of them, by index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Admitted,
        Self::RefusedBurst,
        Self::RefusedBlocked,
        Self::Observed,
        Self::Retransmit,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::OtherPort,
        Self::Malformed,
        Self::Control,
        Self::NoPayload,
        Self::NotRequest,
        Self::NoKey,
        Self::KeyCut,
        Self::Unusual,
        Self::UnknownKey,
        Self::FlowFull,
        Self::Contended,
        Self::Fault,
        Self::Unexpected,
        Self::Busy,
        Self::NoRoom,
        Self::Closing,
        Self::Early,
    ];

    /// Whether it is a verdict; else it is a skip.
    pub const fn is_verdict(self) -> bool {
        matches!(self, Self::Admitted | Self::RefusedBurst | Self::RefusedBlocked | Self::Observed)
    }

    /// The name in counters, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::RefusedBurst => "refused_burst",
            Self::RefusedBlocked => "refused_blocked",
            Self::Observed => "observed",
            Self::Retransmit => "retransmit",
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::Fragment => "fragment",
            Self::OtherPort => "other_port",
            Self::Malformed => "malformed",
            Self::Control => "control",
            Self::NoPayload => "no_payload",
            Self::NotRequest => "not_request",
            Self::NoKey => "no_key",
            Self::KeyCut => "key_cut",
            Self::Unusual => "unusual",
            Self::UnknownKey => "unknown_key",
            Self::FlowFull => "flow_full",
            Self::Contended => "contended",
            Self::Fault => "fault",
            Self::Unexpected => "unexpected",
            Self::Busy => "busy",
            Self::NoRoom => "no_room",
            Self::Closing => "closing",
            Self::Early => "early",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_each_outcome_is_its_place() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
