//! What the proxies are measured on: the origin, both proxies, their keys, the load.

use super::Sample;
use super::cores::Cores;
use super::load::{Counts, Load};
use super::probe;
use super::server::Server;
use super::site::{self, Addresses, Site};
use super::target::{Outcome, Subject, Target};
use crate::{build, command};
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// nginx's slowest rate is one request a minute, so one in a run may be allowed.
const ALLOWED_OF_REFUSED: u64 = 1;

/// Everything that runs. Servers are dropped before the directory that they write to.
#[derive(Debug)]
pub(super) struct Bed {
    // Held for its end.
    _origin: Server,
    nginx: Server,
    ratelimitd: Server,
    addresses: Addresses,
    keys: Keys,
    load: Load,
    pub(super) cores: Cores,
    pub(super) nginx_version: String,
    _directory: TempDir,
}

/// nginx gets the same keys, so that all requests are the same.
#[derive(Debug)]
struct Keys {
    ample: String,
    scant: String,
}

impl Bed {
    pub(super) fn set_up() -> Result<Self> {
        let (cores, addresses) = (Cores::find()?, Addresses::find()?);
        let directory = tempfile::Builder::new().prefix("rl-bench-").tempdir()?;
        let site = Site { cores: &cores, directory: directory.path(), addresses: &addresses };
        let config = site.ratelimitd_config()?;
        Ok(Self {
            _origin: site.start_origin()?,
            nginx: site.start_nginx()?,
            keys: Keys::add(&config)?,
            ratelimitd: site.start_ratelimitd(&config)?,
            load: Load::prepare(directory.path())?,
            nginx_version: site::nginx_version()?,
            addresses,
            cores,
            _directory: directory,
        })
    }

    /// Looks at an answer, then runs the load and looks at its counts.
    pub(super) fn measure(&self, target: Target, run: Duration) -> Result<Sample> {
        let (address, key) = (self.address(target), self.key(target.outcome));
        probe::check(target, address, key)?;
        let proxy = self.proxy(target.subject);
        let before = proxy.map(Server::cpu_time).transpose()?;
        let counts = self.load.run(&self.cores, address, key, run)?;
        let after = proxy.map(Server::cpu_time).transpose()?;
        check(target.outcome, &counts)?;
        let spent = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        let cpu = spent.map(|spent| spent.as_secs_f64() * 1e6 / counts.requests as f64);
        if cpu == Some(0.0) {
            bail!("the proxy took no CPU time: its processes were not found");
        }
        Ok(Sample { per_second: counts.per_second(), cpu })
    }

    const fn proxy(&self, subject: Subject) -> Option<&Server> {
        match subject {
            Subject::Nginx => Some(&self.nginx),
            Subject::Ratelimitd => Some(&self.ratelimitd),
            Subject::Origin => None,
        }
    }

    const fn address(&self, target: Target) -> SocketAddr {
        match (target.subject, target.outcome) {
            (Subject::Nginx, Outcome::Allowed) => self.addresses.nginx_ample,
            (Subject::Nginx, Outcome::Refused) => self.addresses.nginx_scant,
            (Subject::Ratelimitd, _) => self.addresses.ratelimitd,
            (Subject::Origin, _) => self.addresses.origin,
        }
    }

    fn key(&self, outcome: Outcome) -> &str {
        match outcome {
            Outcome::Allowed => &self.keys.ample,
            Outcome::Refused => &self.keys.scant,
        }
    }
}

impl Keys {
    fn add(config: &Path) -> Result<Self> {
        let add = |tier: &str| {
            let mut add = Command::new(build::daemon_path(false));
            add.args(["keys", "add", tier, "--tier", tier, "--config"]).arg(config);
            Ok::<_, anyhow::Error>(command::output(&mut add)?.trim().to_owned())
        };
        Ok(Self { ample: add("ample")?, scant: add("scant")? })
    }
}

fn check(outcome: Outcome, counts: &Counts) -> Result<()> {
    let right = match outcome {
        Outcome::Allowed => counts.refused == 0,
        Outcome::Refused => counts.requests - counts.refused.min(counts.requests) <= ALLOWED_OF_REFUSED,
    };
    if counts.failed > 0 || !right {
        bail!("not what is to be measured: {counts:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_to_fit_the_outcome() {
        let right = |outcome, refused, failed| {
            check(outcome, &Counts { requests: 100, microseconds: 1, refused, failed }).is_ok()
        };
        assert!(right(Outcome::Allowed, 0, 0) && right(Outcome::Refused, 100, 0));
        assert!(right(Outcome::Refused, 99, 0));
        assert!(!right(Outcome::Allowed, 1, 0) && !right(Outcome::Refused, 98, 0));
        assert!(!right(Outcome::Allowed, 0, 1) && !right(Outcome::Refused, 100, 1));
    }
}
