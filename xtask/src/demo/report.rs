//! The closing account.

use super::limits;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// One key's line.
pub(super) struct Row<'a> {
    key: &'static str,
    tier: &'static str,
    tally: &'a Tally,
    /// Requests that the API server counted.
    seen: u64,
    allowed: RangeInclusive<u64>,
}

/// The outcomes by which the kernel program counts refusals.
pub(super) const KERNEL_REFUSALS: [&str; 2] = ["refused_burst", "refused_blocked"];

pub(super) fn rows<'a>(
    tallies: &'a BTreeMap<&'static str, Tally>,
    seen: &BTreeMap<String, u64>,
) -> Vec<Row<'a>> {
    let row = |(key, tally): (&&'static str, &'a Tally)| {
        let (tier, limits) = limits(key)?;
        let seen = seen.get(*key).copied().unwrap_or_default();
        Some(Row { key, tier, tally, seen, allowed: tally.allowed(limits) })
    };
    tallies.iter().filter_map(row).collect()
}

pub(super) fn print(rows: &[Row<'_>], counted: &BTreeMap<String, u64>) {
    println!("\nThe account");
    println!(
        "  {:<12} {:<13} {:>7} {:>9} {:>8} {:>10} {:>9} {:>12}",
        "", "", "", "", "API", "refused by", "refused", "limits"
    );
    println!(
        "  {:<12} {:<13} {:>7} {:>9} {:>8} {:>10} {:>9} {:>12}",
        "key", "tier", "sent", "admitted", "saw", "kernel", "by proxy", "allow"
    );
    for row in rows {
        let Tally { sent, admitted, by_kernel, by_proxy, .. } = row.tally;
        println!(
            "  {:<12} {:<13} {sent:>7} {admitted:>9} {:>8} {by_kernel:>10} {by_proxy:>9} {:>12}",
            row.key,
            row.tier,
            row.seen,
            span(&row.allowed)
        );
    }
    let counted: Vec<_> = counted.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("  the kernel counted: {}", counted.join(", "));
}

fn span(allowed: &RangeInclusive<u64>) -> String {
    let (least, most) = (allowed.start(), allowed.end());
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// What differs, in words.
pub(super) fn faults(rows: &[Row<'_>], counted: &BTreeMap<String, u64>) -> Vec<String> {
    let mut faults: Vec<_> = rows.iter().flat_map(faults_of).collect();
    let told: u64 = rows.iter().map(|row| row.tally.by_kernel).sum();
    let refused: u64 = KERNEL_REFUSALS.iter().filter_map(|name| counted.get(*name)).sum();
    if told != refused {
        faults.push(format!("  clients saw {told} refusals of the kernel, it counted {refused}"));
    }
    faults
}

fn faults_of(row: &Row<'_>) -> Vec<String> {
    let Row { key, tally, seen, allowed, .. } = row;
    let mut faults = Vec::new();
    if !allowed.contains(&tally.admitted) {
        faults.push(format!("  {key}: {} admitted, the limits allow {}", tally.admitted, span(allowed)));
    }
    if tally.admitted != *seen {
        faults.push(format!("  {key}: {} admitted, the API saw {seen}", tally.admitted));
    }
    for (what, count) in &tally.other {
        faults.push(format!("  {key}: {count} times {what}"));
    }
    faults
}
