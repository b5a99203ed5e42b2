//! What all commands that look at the pinned maps have in common. They need no daemon, but the right to open the maps:
//! root's, or CAP_BPF and the daemon's user.

use crate::config::Config;
use crate::kernel::Inheritance;
use crate::keys::KeyFile;
use anyhow::{Context, Result};
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Which maps are looked at, and for whom.
#[derive(Debug, Args)]
pub(super) struct Pinned {
    /// Where the maps are pinned, in place of the configuration's directory
    #[arg(long, value_name = "PATH")]
    pin_directory: Option<PathBuf>,
    /// As JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Pinned {
    /// The maps, and the names of the keys by their hashes. The names are the key file's; without it there are none.
    pub(super) fn open(&self, config: &Path) -> Result<(Inheritance, HashMap<u64, String>)> {
        let config = match (&self.pin_directory, Config::load(config)) {
            (Some(_), config) => config.ok(),
            (None, config) => Some(config?),
        };
        let configured = config.as_ref().and_then(|config| config.kernel.pin_directory.clone());
        let directory = self.pin_directory.clone().or(configured);
        let maps =
            Inheritance::look(&directory.context("nothing is pinned: kernel.pin_directory is empty")?)?;
        let file = config.and_then(|config| KeyFile::load(&config.keys.file).ok());
        let entries = file.iter().flat_map(KeyFile::entries);
        Ok((maps, entries.map(|entry| (entry.siphash, entry.name.clone())).collect()))
    }
}
