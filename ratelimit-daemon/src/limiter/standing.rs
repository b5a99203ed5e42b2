//! How a key's limits stand, as its clients are told.

use super::{Limit, hour_limit, in_force, rule_limit};
use crate::policy::Key;
use crate::rules::{Applied, Rule};
use ratelimit_common::SECOND_NS;
use ratelimit_common::account::{WindowLimit, Windows};
use ratelimit_common::layout::Slot;
use ratelimit_common::limit::Burst;
use std::sync::Arc;

/// How a key's limits stand for one of its requests.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The limit that describes all: of the hour and the rules the one that is nearest to refusing.
    pub nearest: WindowStanding,
    /// The hour.
    pub hour: WindowStanding,
    /// The rules in force that apply to the request.
    pub rules: Vec<RuleStanding>,
    /// Capacity of the bucket.
    pub burst_capacity: u32,
    /// Tokens in the bucket.
    pub burst_remaining: u32,
    /// Nanoseconds until the bucket has one token more; 0 when it is full.
    pub burst_reset_ns: u64,
    /// What would have refused the request, if it were not a dry run.
    pub dry_runs: Vec<Limit>,
}

/// How a window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStanding {
    /// Requests that it admits.
    pub limit: u32,
    /// What it still admits.
    pub remaining: u32,
    /// Nanoseconds until the oldest counted request leaves it; its whole length if there is none.
    pub reset_ns: u64,
}

/// How a rule's window stands.
#[derive(Clone, Debug)]
pub struct RuleStanding {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Its window.
    pub window: WindowStanding,
}

impl Standing {
    /// How the limits of `key` stand at `now` for a request to which `rules` apply and which was `refused_by` a limit.
    pub(super) fn of(
        key: &Key,
        rules: &[Applied],
        slot: Option<&Slot>,
        windows: &mut Windows,
        refused_by: Option<&Limit>,
        now: u64,
    ) -> Self {
        let burst = Burst::per_minute(key.limits.burst_per_minute);
        let word = slot.map_or(0, |slot| slot.bucket.load());
        let hour = WindowStanding::of(&hour_limit(key, 1), windows, now);
        let rule = |applied: &Applied| RuleStanding {
            rule: applied.rule.clone(),
            window: WindowStanding::of(&rule_limit(key, applied), windows, now),
        };
        let rules: Vec<_> = in_force(rules).map(rule).collect();
        let nearest = match refused_by {
            // The bucket has no header of its own: the hour as it stands.
            Some(Limit::Burst | Limit::Hour) => hour,
            Some(Limit::Rule(applied)) => WindowStanding::of(&rule_limit(key, applied), windows, now),
            None => rules.iter().map(|rule| rule.window).fold(hour, WindowStanding::nearer),
        };
        Self {
            nearest,
            hour,
            rules,
            burst_capacity: key.limits.burst_per_minute,
            burst_remaining: u32::try_from(burst.tokens(word, now)).unwrap_or(u32::MAX),
            burst_reset_ns: burst.next_token_ns(word, now),
            dry_runs: Vec::new(),
        }
    }
}

impl WindowStanding {
    fn of(limit: &WindowLimit, windows: &mut Windows, now: u64) -> Self {
        let (used, leaves) = windows.used(limit, now);
        Self {
            limit: limit.limit,
            remaining: limit.limit.saturating_sub(used),
            reset_ns: leaves.map_or(u64::from(limit.span_seconds) * SECOND_NS, |leaves| leaves - now),
        }
    }

    /// The one of which the smaller share remains; `self` if the shares are the same.
    fn nearer(self, other: Self) -> Self {
        let share = |this: Self, that: Self| u64::from(this.remaining) * u64::from(that.limit);
        if share(other, self) < share(self, other) { other } else { self }
    }
}
