//! `cargo xtask demo`: ratelimitd in a laboratory, before real clients, and a closing account of every
//! request: what was sent, what became of it, and what the limits allow in that time.

mod alone;
mod curl;
mod load;
mod report;
mod scenes;

use crate::deployment::{Deployment, PORT, Plan};
use crate::interrupt;
use crate::tally::{Limits, Tally};
use crate::{build, setup};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// The tiers of the guide, and a small one of the operator's own whose hour is soon used up.
const TIERS: [(&str, Limits); 3] = [
    ("professional", Limits { per_hour: 1_000, burst: 100 }),
    ("enterprise", Limits { per_hour: 10_000, burst: 500 }),
    ("trial", Limits { per_hour: 30, burst: 60 }),
];

const TABLES: &str = "[tiers.trial]\nrequests_per_hour = 30\nburst_per_minute = 60\n";

/// One key for each story.
const KEYS: [(&str, &str); 6] = [
    ("first-steps", "professional"),
    ("acme", "professional"),
    ("globex", "enterprise"),
    ("newcomer", "trial"),
    ("runaway", "professional"),
    ("bystander", "enterprise"),
];

/// The show so far.
struct Demo {
    deployment: Deployment,
    tallies: BTreeMap<&'static str, Tally>,
    faults: Vec<String>,
}

/// Installs and builds what is missing, shows everything, and fails if anything was not as it should be.
pub fn run() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the demonstration loads a kernel program and makes network namespaces: run it as root");
    }
    setup::test_tools()?;
    build::all(false)?;
    interrupt::install()?;
    let start = Instant::now();
    let mut demo = Demo::open()?;
    if let Err(error) = scenes::all(&mut demo) {
        interrupt::check()?;
        return Err(error.context(demo.deployment.daemon().tail()).context("ratelimitd's last words"));
    }
    let mut faults = demo.close()?;
    faults.extend(alone::show(&own_executable())?);
    if !faults.is_empty() {
        bail!("not as it should be:\n{}", faults.join("\n"));
    }
    println!("\nEverything is as it should be ({} s).", start.elapsed().as_secs());
    Ok(())
}

impl Demo {
    fn open() -> Result<Self> {
        let xtask = own_executable();
        let plan = Plan { tables: TABLES, keys: &KEYS, ..Plan::new(&xtask) };
        let deployment = Deployment::start(&plan)?;
        let lab = &deployment.lab;
        println!("client {} ---- API host {}", lab.client.name(), lab.host.name());
        println!("ratelimitd serves {} and {}", lab.host_v4(PORT), lab.host_v6(PORT));
        Ok(Self { deployment, tallies: BTreeMap::new(), faults: Vec::new() })
    }

    fn expect(&mut self, right: bool, otherwise: impl FnOnce() -> String) {
        if !right {
            let fault = otherwise();
            println!("  ! {fault}");
            self.faults.push(format!("  {fault}"));
        }
    }

    fn merge(&mut self, key: &'static str, tally: Tally) {
        self.tallies.entry(key).or_default().merge(tally);
    }

    /// Stops the daemon and prints the closing account.
    fn close(mut self) -> Result<Vec<String>> {
        let seen = self.deployment.seen()?;
        let counted = self.deployment.stop()?;
        let rows = report::rows(&self.tallies, &seen);
        report::print(&rows, &counted);
        self.faults.extend(report::faults(&rows, &counted));
        Ok(self.faults)
    }
}

/// Not by its name: a build since may have put another file there.
fn own_executable() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

/// The limits of one of [`KEYS`].
fn limits(key: &str) -> Option<(&'static str, Limits)> {
    let (_, tier) = KEYS.into_iter().find(|(name, _)| *name == key)?;
    TIERS.into_iter().find(|(name, _)| *name == tier)
}
