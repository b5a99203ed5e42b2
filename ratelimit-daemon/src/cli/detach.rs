//! `ratelimitd detach`: ends the kernel's part, whether there is a daemon or not.

use super::print;
use crate::config::Config;
use crate::kernel::Pins;
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "\
Examples:
  systemctl stop ratelimitd && ratelimitd detach
  ratelimitd detach --pin-directory /sys/fs/bpf/ratelimitd

Detaches the program from all interfaces and removes its maps: from then on nothing is limited, and when the daemon is
started again every burst bucket is full. Refuses while a daemon runs. That nothing is attached is no failure.";

/// What is removed.
#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Where it is pinned, in place of the configuration's directory
    #[arg(long, value_name = "PATH")]
    pin_directory: Option<PathBuf>,
}

/// Removes it and says what it was.
pub(super) fn detach(config: &Path, detach: Detach) -> Result<()> {
    let directory = match detach.pin_directory {
        Some(directory) => Some(directory),
        None => Config::load(config)?.kernel.pin_directory,
    };
    let Some(directory) = directory else {
        return print("nothing is pinned: kernel.pin_directory is empty\n");
    };
    match Pins::find(&directory)? {
        None => print(&format!("nothing is pinned in {}\n", directory.display())),
        Some(pins) => match pins.remove()?.as_slice() {
            [] => print(&format!("removed {}; no program was attached\n", directory.display())),
            attached => print(&format!("detached from {}\n", attached.join(", "))),
        },
    }
}
