//! Changing the key file: one at a time, and never half.

use super::{KeyFile, format};
use anyhow::{Context, Result};
use rustix::process::geteuid;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Changes the key file at `path` by `change`, and saves it if that succeeds. A file that does not exist is
/// created. Whoever else changes it at the same time waits, so no change is lost; readers need no lock,
/// because the file is replaced whole.
pub fn update<T>(path: &Path, change: impl FnOnce(&mut KeyFile) -> Result<T>) -> Result<T> {
    // Through a symbolic link, the file that it points to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = lock(path)?;
    let mut file = if fs::exists(path)? { KeyFile::load(path)? } else { KeyFile::new(path)? };
    let value = change(&mut file)?;
    save(&file).with_context(|| format!("cannot save the key file {}", path.display()))?;
    Ok(value)
}

/// Waits for the lock beside the key file: on the file itself it would be lost when the file is replaced.
/// It is released when the handle is dropped, or the process ends however it may.
fn lock(path: &Path) -> Result<File> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
    let lock = open.with_context(|| {
        let path = lock_path.display();
        format!("cannot open the lock file {path}: its directory must exist and be writable")
    })?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    Ok(lock)
}

/// Replaces the file in one step. After a crash at any point there is either the old file or the new one.
fn save(file: &KeyFile) -> Result<()> {
    let path = file.path();
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Made with mode 0600.
    let mut new = NamedTempFile::with_prefix_in(".ratelimitd-keys-", directory)?;
    new.write_all(format::text(file)?.as_bytes())?;
    keep_owner(new.as_file(), path, directory)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    // The rename is durable once the directory is.
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Gives the new file the owner and group of the one that it replaces. The first one that root makes belongs to whom
/// its directory belongs to: the daemon, which has to read it.
fn keep_owner(new: &File, path: &Path, directory: &Path) -> Result<()> {
    let old = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && geteuid().is_root() => {
            fs::metadata(directory)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        old => old?,
    };
    let made = new.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid())).with_context(|| {
            format!("cannot give it to its owner (uid {}, gid {}); run this as root", old.uid(), old.gid())
        })?;
    }
    Ok(())
}
