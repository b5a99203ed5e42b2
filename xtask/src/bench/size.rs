//! Memory for each active key, and how long a start takes.

use super::figures::thousands;
use super::peers::{Bed, Outcome, Subject, version};
use crate::load::Load;
use anyhow::Result;
use std::path::Path;

const SCENARIO: &str = "description = \"Keys that are active.\"\n[tiers.ample]\nrequests_per_hour = 1000000000\n\
    burst_per_minute = 10000000\n[[population]]\nname = \"all\"\ntier = \"ample\"\nkeys = @KEYS@\nconnections = 64\n\
    arrivals = [{ kind = \"closed\", seconds = @SECONDS@ }]\nrequests = [{ path = \"/courses\" }]\n";

/// The table.
pub(super) fn measure(peers: &[Subject], quick: bool) -> Result<String> {
    let (keys, seconds) = if quick { (5_000, 2) } else { (100_000, 20) };
    let mut bed = Bed::set_up(peers, 1)?;
    // Long enough for nearly each key to send.
    let text = SCENARIO.replace("@KEYS@", &keys.to_string()).replace("@SECONDS@", &seconds.to_string());
    let scenario = bed.write("active.toml", &text)?;
    let mut rows = String::new();
    let count = f64::from(keys);
    let subjects: Vec<_> = bed.subjects().collect();
    for subject in subjects {
        eprintln!("bench: memory of {subject}");
        // Connections and caches are made here.
        bed.measure(subject, Outcome::Allowed, warm(&bed, subject)?)?;
        let before = bed.memory(subject)?;
        let report = bed.measure(subject, Outcome::Allowed, load(&bed, subject, &scenario)?)?.report;
        let active = report.keys.iter().filter(|key| key.admitted > 0).count() as f64;
        let grown = bed.memory(subject)?.saturating_sub(before) as f64;
        rows.push_str(&format!(
            "| {} | {} bytes | {} MiB | {} | {} ms |\n",
            version(subject)?,
            thousands(grown / active.max(1.0)),
            thousands(before as f64 / f64::from(1 << 20)),
            thousands(active),
            bed.restart(subject)?.as_millis()
        ));
    }
    Ok(format!(
        "Proportional memory (`Pss`) of all of a proxy's processes, before and after each of {} keys has sent requests within \
         its limits; ratelimitd's grows by the keys themselves too, which the peers do not know, and its start is with all of them.\n\n\
         | | for each active key | without keys | active keys | start, to the first connection |\n|---|---|---|---|---|\n{rows}",
        thousands(count)
    ))
}

/// A moment of load with a key of its own.
fn warm(bed: &Bed, subject: Subject) -> Result<Load> {
    let text = SCENARIO.replace("@KEYS@", "1").replace("@SECONDS@", "1");
    load(bed, subject, &bed.write("warm.toml", &text)?)
}

/// ratelimitd has to know the keys.
fn load(bed: &Bed, subject: Subject, scenario: &Path) -> Result<Load> {
    let load = Load::new(scenario).with_threads(1);
    if subject != Subject::Ratelimitd {
        return Ok(load.with_invented_keys());
    }
    let keys = bed.lay_in_keys(scenario)?;
    Ok(load.with_keys(&keys))
}
