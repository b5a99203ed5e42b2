//! A BPF file system.

use crate::command;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Unmounted when dropped, with all that is pinned in it.
#[derive(Debug)]
pub(super) struct BpfFileSystem(PathBuf);

impl BpfFileSystem {
    pub(super) fn mount(path: &Path) -> Result<Self> {
        std::fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
        command::output(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(path))?;
        Ok(Self(path.to_owned()))
    }

    /// One that a killed run may have left behind.
    pub(super) fn left_at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for BpfFileSystem {
    fn drop(&mut self) {
        // Whoever still has a file there keeps it until he ends. Where nothing is mounted there is nothing to say.
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("--lazy").arg(&self.0).stderr(Stdio::null()).status();
    }
}
