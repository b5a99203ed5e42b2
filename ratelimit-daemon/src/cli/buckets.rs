//! `ratelimitd buckets`: how each key stands in the kernel.

use super::pinned::Pinned;
use super::print;
use super::table::table;
use crate::clock;
use anyhow::Result;
use ratelimit_common::SECOND_NS;
use ratelimit_common::layout::Slot;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd buckets
  ratelimitd buckets --json | jq '.[] | select(.blocked_seconds > 0)'

Read from the pinned maps, so it works without a daemon too. Counts are the kernel's own: of refusals since the last
daemon started, of admissions since the key came. A key without a name is not in the key file, or that cannot be read.
HOUR LEFT is as of a daemon's last look.";

/// How a key stands in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct BucketState {
    /// The key's name, if it is known.
    name: Option<String>,
    slot: u32,
    tokens: u64,
    capacity: u64,
    /// Until it is blocked no longer, rounded up; 0 if it is not.
    blocked_seconds: u64,
    hour_limit: u64,
    hour_remaining: u64,
    admitted: u64,
    refused_burst: u64,
    refused_blocked: u64,
    observed: u64,
}

/// Reads the maps and shows what is in them.
pub(super) fn buckets(config: &Path, pinned: &Pinned) -> Result<()> {
    let (maps, names) = pinned.open(config)?;
    let now = clock::now();
    let slots = maps.slots();
    let states = slots.owners().filter_map(|(slot, owner)| state(slot, owner, slots.get(slot)?, &names, now));
    let mut states: Vec<_> = states.collect();
    // Those without a name last.
    states.sort_by(|one, other| (one.name.is_none(), &one.name).cmp(&(other.name.is_none(), &other.name)));
    if pinned.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&states)?));
    }
    let head =
        ["NAME", "SLOT", "BURST LEFT", "HOUR LEFT", "BLOCKED FOR", "ADMITTED", "REFUSED"].map(String::from);
    print(&table(&std::iter::once(head).chain(states.iter().map(row)).collect::<Vec<_>>()))
}

fn state(
    number: u32,
    owner: u64,
    slot: &Slot,
    names: &HashMap<u64, String>,
    now: u64,
) -> Option<BucketState> {
    let burst = slot.burst()?;
    let hour = slot.hour.load();
    Some(BucketState {
        name: names.get(&owner).cloned(),
        slot: number,
        tokens: burst.tokens(slot.bucket.load(), now),
        capacity: burst.capacity(),
        blocked_seconds: slot.blocked_until_ns.load().saturating_sub(now).div_ceil(SECOND_NS),
        hour_limit: hour >> 32,
        hour_remaining: hour & 0xffff_ffff,
        admitted: slot.admitted.load(),
        refused_burst: slot.refused_burst.load(),
        refused_blocked: slot.refused_blocked.load(),
        observed: slot.observed.load(),
    })
}

fn row(state: &BucketState) -> [String; 7] {
    let BucketState { name, slot, tokens, capacity, blocked_seconds, hour_limit, hour_remaining, .. } = state;
    [
        name.clone().unwrap_or_else(|| "-".to_owned()),
        slot.to_string(),
        format!("{tokens}/{capacity}"),
        format!("{hour_remaining}/{hour_limit}"),
        if *blocked_seconds == 0 { "-".to_owned() } else { format!("{blocked_seconds} s") },
        state.admitted.to_string(),
        (state.refused_burst + state.refused_blocked).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_common::limit::Burst;

    #[test]
    fn a_slot_is_told_as_it_stands() {
        let (slot, now) = (Slot::default(), 1_000 * SECOND_NS);
        slot.set_burst(Burst::per_minute(60));
        slot.bucket.store(now + 10 * SECOND_NS);
        slot.blocked_until_ns.store(now + 1);
        slot.hour.store(1_000 << 32 | 7);
        slot.refused_burst.store(2);
        slot.refused_blocked.store(3);
        let names = HashMap::from([(9, "acme".to_owned())]);
        let known = state(4, 9, &slot, &names, now).unwrap();
        assert_eq!(row(&known), ["acme", "4", "50/60", "7/1000", "1 s", "0", "5"].map(String::from));
        let unknown = state(4, 8, &slot, &names, now + SECOND_NS).unwrap();
        assert_eq!(row(&unknown), ["-", "4", "51/60", "7/1000", "-", "0", "5"].map(String::from));
        assert_eq!(state(4, 9, &Slot::default(), &names, now), None);
    }
}
