//! The response fields that tell a client how its limits stand.

use crate::clock;
use crate::config::Headers;
use crate::limiter::{HOUR_SECONDS, RuleStanding, Standing, WindowStanding};
use ratelimit_common::SECOND_NS;
use ratelimit_common::answer::{self, Described, Item, Sink, seconds};
use ratelimit_common::limit::BURST_PERIOD_NS;

/// Writes the fields for `standing`, those of them that `wanted` asks for. With `retry_after`, the seconds that a
/// refused client has to wait, the limits reset when it may come again; else when the oldest request leaves the
/// window that is described.
pub(super) fn write_rate_fields(
    output: &mut Vec<u8>,
    standing: &Standing,
    retry_after: Option<u64>,
    wanted: Headers,
) {
    let Standing { nearest, hour, .. } = standing;
    let reset_ns = retry_after.map_or(nearest.reset_ns, |seconds| seconds * SECOND_NS);
    let reset = (clock::unix() + reset_ns).div_ceil(SECOND_NS);
    let (limit, remaining) = (nearest.limit.into(), nearest.remaining.into());
    answer::described_fields(output, &Described { limit, remaining, reset });
    if wanted.ratelimit_fields {
        let burst = Item {
            name: "burst",
            quota: standing.burst_capacity.into(),
            window: BURST_PERIOD_NS / SECOND_NS,
            remaining: standing.burst_remaining.into(),
            reset: seconds(standing.burst_reset_ns),
        };
        let hour = item("hour", HOUR_SECONDS, *hour);
        if standing.rules.is_empty() {
            answer::item_fields(output, &[burst, hour]);
        } else {
            let rules = standing.rules.iter();
            let rules =
                rules.map(|RuleStanding { rule, window }| item(&rule.name, rule.window_seconds, *window));
            let items: Vec<_> = [burst, hour].into_iter().chain(rules).collect();
            answer::item_fields(output, &items);
        }
    }
    if let Some(seconds) = retry_after {
        answer::retry_after_field(output, seconds);
    }
    if wanted.dry_run && !standing.dry_runs.is_empty() {
        for (index, limit) in standing.dry_runs.iter().enumerate() {
            output.text(if index == 0 { "X-RateLimit-Dry-Run: " } else { ", " });
            output.text(limit.name());
        }
        output.text("\r\n");
    }
}

fn item(name: &str, window_seconds: u32, window: WindowStanding) -> Item<'_> {
    Item {
        name,
        quota: window.limit.into(),
        window: window_seconds.into(),
        remaining: window.remaining.into(),
        reset: seconds(window.reset_ns),
    }
}
