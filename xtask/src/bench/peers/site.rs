//! Where the servers are started, and with which configurations.

use super::super::cores::Cores;
use super::super::server::{Server, free_address};
use super::{Outcome, Subject, envoy};
use crate::{build, command};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the origin answers.
pub(super) const ORIGIN_BODY: &str = r#"{"id":42,"name":"Algebra","credits":5}"#;

/// Where a server listens, by the outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    ample: SocketAddr,
    scant: SocketAddr,
}

impl Addresses {
    pub(super) fn of(self, outcome: Outcome) -> SocketAddr {
        match outcome {
            Outcome::Allowed => self.ample,
            Outcome::Refused => self.scant,
        }
    }
}

/// The cores and the directory for the servers.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) cores: &'a Cores,
    pub(super) directory: &'a Path,
    pub(super) origin: SocketAddr,
    /// Requests a minute of the scant limits.
    pub(super) scant_per_minute: u32,
}

impl Site<'_> {
    pub(super) fn start_origin(&self) -> Result<Server> {
        let config = self.write("origin.conf", include_str!("origin.conf"), None)?;
        Server::start("origin", self.nginx(self.cores.load, &config)?, self.directory, &[self.origin])
    }

    /// Starts a proxy before the origin.
    pub(super) fn start(&self, subject: Subject) -> Result<(Server, Addresses)> {
        // ratelimitd has limits by key, so one listener does.
        let ample = free_address()?;
        let scant = if subject == Subject::Ratelimitd { ample } else { free_address()? };
        let addresses = Addresses { ample, scant };
        let command = self.command(subject, addresses)?;
        let server = Server::start(&subject.to_string(), command, self.directory, &[ample, scant])?;
        Ok((server, addresses))
    }

    fn command(&self, subject: Subject, addresses: Addresses) -> Result<Command> {
        let core = self.cores.proxy;
        let write = |name, template| self.write(name, template, Some(addresses));
        match subject {
            Subject::Nginx | Subject::Origin => {
                self.nginx(core, &write("nginx.conf", include_str!("nginx.conf"))?)
            }
            Subject::Haproxy => {
                let config = write("haproxy.cfg", include_str!("haproxy.cfg"))?;
                let haproxy =
                    command::find("haproxy").context("haproxy is missing: run `cargo xtask setup`")?;
                let mut command = self.cores.pinned(core, &haproxy);
                command.arg("-f").arg(config);
                Ok(command)
            }
            Subject::Envoy => {
                let config = write("envoy.yaml", include_str!("envoy.yaml"))?;
                let mut command = self.cores.pinned(core, &envoy::provide()?);
                command.args(["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]);
                command.arg("--config-path").arg(config);
                Ok(command)
            }
            Subject::Ratelimitd => {
                let config = self.ratelimitd_config(addresses.ample)?;
                let mut command = self.cores.pinned(core, &build::daemon_path(false));
                command.args(["run", "--config"]).arg(config);
                Ok(command)
            }
        }
    }

    /// Writes the configuration of a ratelimitd that listens at `listen`.
    pub(super) fn ratelimitd_config(&self, listen: SocketAddr) -> Result<PathBuf> {
        let addresses = Addresses { ample: listen, scant: listen };
        self.write("ratelimitd.toml", include_str!("ratelimitd.toml"), Some(addresses))
    }

    fn nginx(&self, core: usize, config: &Path) -> Result<Command> {
        let nginx = command::find("nginx").context("nginx is missing: run `cargo xtask setup`")?;
        let mut command = self.cores.pinned(core, &nginx);
        command.args(["-e", "stderr", "-p"]).arg(self.directory).arg("-c").arg(config);
        Ok(command)
    }

    /// Writes a configuration with what its `@NAMES@` stand for.
    fn write(&self, name: &str, template: &str, addresses: Option<Addresses>) -> Result<PathBuf> {
        let directory = self.directory.to_str().context("the temporary directory's name is not UTF-8")?;
        let Addresses { ample, scant } =
            addresses.unwrap_or(Addresses { ample: self.origin, scant: self.origin });
        let per_minute = self.scant_per_minute;
        // nginx counts what comes beyond the first, and knows no burst of none.
        let burst = match per_minute.saturating_sub(1) {
            0 => String::new(),
            burst => format!(" burst={burst} nodelay"),
        };
        let text = template
            .replace("@DIRECTORY@", directory)
            .replace("@ORIGIN_PORT@", &self.origin.port().to_string())
            .replace("@AMPLE_PORT@", &ample.port().to_string())
            .replace("@SCANT_PORT@", &scant.port().to_string())
            .replace("@ORIGIN@", &self.origin.to_string())
            .replace("@AMPLE@", &ample.to_string())
            .replace("@SCANT@", &scant.to_string())
            .replace("@PER_MINUTE@", &per_minute.to_string())
            .replace("@BURST@", &burst)
            .replace("@BODY@", ORIGIN_BODY);
        let path = self.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Such as `nginx 1.22.1`.
pub(super) fn version(subject: Subject) -> Result<String> {
    let said = |program: &str| {
        let program = command::find(program).with_context(|| format!("{program} is missing"))?;
        let said = Command::new(program).arg("-v").output()?;
        // nginx says so on standard error.
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let number = said
            .split([' ', '/', '-', '\n'])
            .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
        Ok::<_, anyhow::Error>(number.unwrap_or_default().to_owned())
    };
    Ok(match subject {
        Subject::Nginx => format!("nginx {}, `limit_req`", said("nginx")?),
        Subject::Haproxy => format!("haproxy {}, stick table", said("haproxy")?),
        Subject::Envoy => format!("envoy {}, local rate limit", envoy::VERSION),
        Subject::Ratelimitd => "ratelimitd".to_owned(),
        Subject::Origin => "no proxy".to_owned(),
    })
}
