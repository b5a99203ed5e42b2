//! The response fields that tell a client how its limits stand.

use crate::clock;
use crate::limiter::{HOUR_SECONDS, Standing};
use ratelimit_common::SECOND_NS;
use ratelimit_common::answer::{self, Described, Item, seconds};
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
    answer::described_fields(output, &Described { limit, remaining, reset });
    if has_ietf {
        let burst = Item {
            name: "burst",
            quota: standing.burst_capacity.into(),
            window: BURST_PERIOD_NS / SECOND_NS,
            remaining: standing.burst_remaining.into(),
            reset: seconds(standing.burst_reset_ns),
        };
        let (window, reset) = (HOUR_SECONDS.into(), seconds(standing.hour_reset_ns));
        let hour = Item { name: "hour", quota: limit, window, remaining, reset };
        answer::item_fields(output, &[burst, hour]);
    }
    if let Some(seconds) = retry_after {
        answer::retry_after_field(output, seconds);
    }
}
