//! The kernel alone, before an API server that knows nothing of it.

use super::load::{self, Load, Until};
use super::{TABLES, TIERS, curl, interrupt};
use crate::deployment::{Deployment, Mode, PORT, Plan};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// A key for each limit that the kernel enforces.
const KEYS: [(&str, &str); 2] = [("acme", "professional"), ("newcomer", "trial")];

const COUNT: u64 = 150;

/// Shows it, and returns what is not as it should be.
pub(super) fn show(xtask: &Path) -> Result<Vec<String>> {
    interrupt::check()?;
    println!("\nThe kernel alone (mode = \"kernel\"): no proxy, clients find the API server itself");
    let plan = Plan { mode: Mode::Kernel, tables: TABLES, keys: &KEYS, ..Plan::new(xtask) };
    let mut deployment = Deployment::start(&plan)?;
    let mut faults = Vec::new();
    let mut by_kernel = 0;
    for (key, tier) in KEYS {
        let server = deployment.lab.host_v4(PORT);
        let until = Until::Count(COUNT);
        let load = Load { server, key: deployment.key(key)?, connections: 4, until, pace: Duration::ZERO };
        let tally = load::send(&deployment.lab.client, &[load])?.pop().context("no tally")?;
        let (_, limits) = TIERS.into_iter().find(|(name, _)| *name == tier).context("no such tier")?;
        let (allowed, seen) = (tally.allowed(limits), deployment.seen()?.get(key).copied().unwrap_or(0));
        println!(
            "  {key}: {} sent, {} admitted ({} to {} allowed), the API saw {seen}, {} refused by the kernel",
            tally.sent,
            tally.admitted,
            allowed.start(),
            allowed.end(),
            tally.by_kernel
        );
        if !allowed.contains(&tally.admitted) || tally.admitted != seen || !tally.other.is_empty() {
            faults.push(format!(
                "  {key}, by the kernel alone: {allowed:?} allowed, the API saw {seen}: {tally:?}"
            ));
        }
        if tally.by_proxy > 0 {
            faults.push(format!("  {key}: {} refusals have a date, and there is no proxy", tally.by_proxy));
        }
        by_kernel += tally.by_kernel;
        if let Some(refusal) = tally.refusal.as_ref().filter(|_| tier == "trial") {
            curl::show(refusal);
        }
    }
    let counted = deployment.stop()?;
    let refused: u64 = super::report::KERNEL_REFUSALS.iter().filter_map(|name| counted.get(*name)).sum();
    if refused != by_kernel {
        faults.push(format!("  clients saw {by_kernel} refusals of the kernel alone, it counted {refused}"));
    }
    Ok(faults)
}
