//! The BPF file system, in which things can be pinned.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use rustix::fs::{FsWord, statfs};
use rustix::mount::{MountFlags, mount};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// `BPF_FS_MAGIC` of the kernel's `magic.h`.
const MAGIC: FsWord = 0xcafe_4a11;

/// Where the system has it.
const STANDARD: &str = "/sys/fs/bpf";

/// What is pinned is the daemon's alone.
const DIRECTORY_MODE: u32 = 0o700;

/// Makes `directory`, which has to be in a BPF file system. Mounts the system's, if that is what is missing.
pub(super) fn make(directory: &Path) -> Result<()> {
    let ancestor = directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let mounted = if is_bpf(ancestor)? { Ok(()) } else { mount_standard(directory) };
    if let Err(error) = mounted {
        bail!(
            "kernel.pin_directory: {} is in no BPF file system ({error}): mount one (`mount -t bpf bpf {}`), or write \
             \"\" and nothing outlives the daemon",
            directory.display(),
            directory.parent().unwrap_or(directory).display()
        );
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
        .with_context(|| super::refused(directory))
}

fn is_bpf(path: &Path) -> Result<bool> {
    let info = statfs(path).with_context(|| super::refused(path))?;
    Ok(info.f_type == MAGIC)
}

fn mount_standard(directory: &Path) -> rustix::io::Result<()> {
    if !directory.starts_with(STANDARD) {
        return Err(rustix::io::Errno::INVAL);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", STANDARD, "bpf", flags, Some(c"mode=700"))
}
