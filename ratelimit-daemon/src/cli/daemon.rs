//! What all commands that ask the running daemon have in common.

use crate::config::Config;
use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Which daemon is asked, and for whom.
#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// The daemon's admin socket, in place of the configuration's
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// As JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Daemon {
    /// The socket to ask at. The configuration is read only if the command line does not say: a file that has just
    /// become wrong does not keep anybody from asking.
    pub(super) fn socket(&self, config: &Path) -> Result<PathBuf> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let none = || format!("{}: admin.socket is empty, so the daemon cannot be asked", config.display());
        Config::load(config)?.admin.socket.with_context(none)
    }
}
