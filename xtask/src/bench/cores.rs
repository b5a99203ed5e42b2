//! Which core is whose.

use crate::command;
use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two cores that this process may use.
#[derive(Debug)]
pub(super) struct Cores {
    taskset: PathBuf,
    /// The proxy's.
    pub(super) proxy: usize,
    /// The load's and the origin's.
    pub(super) load: usize,
}

impl Cores {
    /// The first two; an error where there is only one.
    pub(super) fn find() -> Result<Self> {
        let taskset = command::find("taskset").context("taskset is missing: install util-linux")?;
        let usable = sched_getaffinity(None).context("cannot tell which cores may be used")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| usable.is_set(*core));
        let (Some(proxy), Some(load)) = (cores.next(), cores.next()) else {
            bail!("the proxy and the load need a core each, and this process may use only one");
        };
        Ok(Self { taskset, proxy, load })
    }

    /// A command that runs `program` on one core only. The process id is the program's own.
    pub(super) fn pinned(&self, core: usize, program: &Path) -> Command {
        let mut command = Command::new(&self.taskset);
        command.arg("--cpu-list").arg(core.to_string()).arg(program);
        command
    }
}
