//! Where the servers are started, and with which configurations.

use super::cores::Cores;
use super::probe;
use super::server::{Server, free_address};
use crate::{build, command};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they listen.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) origin: SocketAddr,
    /// nginx has a server for each outcome.
    pub(super) nginx_ample: SocketAddr,
    pub(super) nginx_scant: SocketAddr,
    pub(super) ratelimitd: SocketAddr,
}

impl Addresses {
    pub(super) fn find() -> Result<Self> {
        Ok(Self {
            origin: free_address()?,
            nginx_ample: free_address()?,
            nginx_scant: free_address()?,
            ratelimitd: free_address()?,
        })
    }
}

/// The cores and the directory for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) cores: &'a Cores,
    pub(super) directory: &'a Path,
    pub(super) addresses: &'a Addresses,
}

impl Site<'_> {
    pub(super) fn start_origin(&self) -> Result<Server> {
        let config = self.write("origin.conf", include_str!("origin.conf"))?;
        let command = self.nginx(self.cores.load, &config)?;
        Server::start("origin", command, self.directory, &[self.addresses.origin])
    }

    pub(super) fn start_nginx(&self) -> Result<Server> {
        let config = self.write("nginx.conf", include_str!("nginx.conf"))?;
        let command = self.nginx(self.cores.proxy, &config)?;
        let both = [self.addresses.nginx_ample, self.addresses.nginx_scant];
        Server::start("nginx", command, self.directory, &both)
    }

    pub(super) fn ratelimitd_config(&self) -> Result<PathBuf> {
        self.write("ratelimitd.toml", include_str!("ratelimitd.toml"))
    }

    pub(super) fn start_ratelimitd(&self, config: &Path) -> Result<Server> {
        let mut command = self.cores.pinned(self.cores.proxy, &build::daemon_path(false));
        command.args(["run", "--config"]).arg(config);
        Server::start("ratelimitd", command, self.directory, &[self.addresses.ratelimitd])
    }

    fn nginx(&self, core: usize, config: &Path) -> Result<Command> {
        let mut command = self.cores.pinned(core, &find_nginx()?);
        command.args(["-e", "stderr", "-p"]).arg(self.directory).arg("-c").arg(config);
        Ok(command)
    }

    /// Writes a configuration with what its `@NAMES@` stand for.
    fn write(&self, name: &str, template: &str) -> Result<PathBuf> {
        let directory = self.directory.to_str().context("the temporary directory's name is not UTF-8")?;
        let text = template
            .replace("@DIRECTORY@", directory)
            .replace("@ORIGIN@", &self.addresses.origin.to_string())
            .replace("@NGINX_AMPLE@", &self.addresses.nginx_ample.to_string())
            .replace("@NGINX_SCANT@", &self.addresses.nginx_scant.to_string())
            .replace("@RATELIMITD@", &self.addresses.ratelimitd.to_string())
            .replace("@BODY@", probe::ORIGIN_BODY);
        let path = self.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

fn find_nginx() -> Result<PathBuf> {
    command::find("nginx").context("nginx is missing: run `cargo xtask setup`")
}

/// Such as `1.22.1`.
pub(super) fn nginx_version() -> Result<String> {
    let said = Command::new(find_nginx()?).arg("-v").output().context("cannot start nginx")?;
    // It says so on standard error.
    let said = String::from_utf8_lossy(&said.stderr);
    let (_, version) = said.trim().split_once("nginx/").with_context(|| format!("no version: {said}"))?;
    Ok(version.to_owned())
}
