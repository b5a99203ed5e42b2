//! The response fields that tell a client how its limits stand.

use crate::clock;
use crate::limiter::{HOUR_SECONDS, Standing};
use ratelimit_common::SECOND_NS;
use ratelimit_common::limit::BURST_PERIOD_NS;

/// Writes the fields for `standing`; the IETF draft's too if `has_ietf`. With `retry_after`, the seconds that a
/// refused client has to wait, the limits reset when it may come again; else when the oldest request leaves the
/// hour.
pub(super) fn write_rate_fields(
    output: &mut Vec<u8>,
    standing: &Standing,
    retry_after: Option<u64>,
    has_ietf: bool,
) {
    let reset_ns = retry_after.map_or(standing.hour_reset_ns, |seconds| seconds * SECOND_NS);
    let reset = (clock::unix() + reset_ns).div_ceil(SECOND_NS);
    let (limit, remaining) = (standing.hour_limit.into(), standing.hour_remaining.into());
    write_number(output, "X-RateLimit-Limit: ", limit);
    write_number(output, "\r\nX-RateLimit-Remaining: ", remaining);
    write_number(output, "\r\nX-RateLimit-Reset: ", reset);
    if has_ietf {
        write_number(output, "\r\nRateLimit-Policy: \"burst\";q=", standing.burst_capacity.into());
        write_number(output, ";w=", BURST_PERIOD_NS / SECOND_NS);
        write_number(output, ", \"hour\";q=", limit);
        write_number(output, ";w=", HOUR_SECONDS.into());
        // What is left, and the seconds until there is more.
        write_number(output, "\r\nRateLimit: \"burst\";r=", standing.burst_remaining.into());
        write_number(output, ";t=", seconds(standing.burst_reset_ns));
        write_number(output, ", \"hour\";r=", remaining);
        write_number(output, ";t=", seconds(standing.hour_reset_ns));
    }
    if let Some(seconds) = retry_after {
        write_number(output, "\r\nRetry-After: ", seconds);
    }
    output.extend_from_slice(b"\r\n");
}

/// Whole seconds, rounded up, at least 1: a client that waits that long has waited long enough.
pub(super) fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(SECOND_NS).max(1)
}

/// Writes `text` and `number` behind it.
pub(super) fn write_number(output: &mut Vec<u8>, text: &str, number: u64) {
    output.extend_from_slice(text.as_bytes());
    output.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_none() {
        let cases = [(0, 1), (1, 1), (SECOND_NS, 1), (SECOND_NS + 1, 2), (1_800 * SECOND_NS, 1_800)];
        for (nanoseconds, expected) in cases {
            assert_eq!(seconds(nanoseconds), expected);
        }
    }
}
