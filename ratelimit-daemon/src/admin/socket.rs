//! The socket itself: who may connect, and whose it is.

use anyhow::{Context, Result, bail};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The daemon's user and group may ask.
const SOCKET_MODE: u32 = 0o660;
/// A directory that is made for the socket.
const DIRECTORY_MODE: u32 = 0o750;

/// A listening socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The name of a socket.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Socket {
    /// Listens at `path`, in place of a daemon that is no more.
    pub(crate) fn bind(path: &Path) -> Result<Self> {
        let told = || format!("admin.socket: cannot listen at {}", path.display());
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).with_context(told)?;
        }
        remove_abandoned(path)?;
        let listener = UnixListener::bind(path).with_context(told)?;
        // Until now it had what the process's mask allows, which is usually less: to ask one has to write.
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).with_context(told)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, file: SocketFile(path.to_owned()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whoever removed it before has done what is to be done.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes a socket on which nobody listens any more. Anything else there is somebody's.
fn remove_abandoned(path: &Path) -> Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            bail!("admin.socket: {shown} is there and is no socket; remove it or write another path")
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove the abandoned socket {shown}"))
        }
        Ok(_) => bail!("admin.socket: another ratelimitd answers at {shown}; stop it or write another path"),
        Err(error) => Err(error).with_context(|| format!("admin.socket: cannot tell whose {shown} is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_may_not_ask_and_the_end_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/admin.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o750));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_of_the_dead_is_replaced_and_of_the_living_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path).unwrap();
        let told = Socket::bind(&path).unwrap_err().to_string();
        assert!(told.contains("another ratelimitd answers at"), "{told}");
        drop(socket);
        fs::write(&path, "words").unwrap();
        let told = Socket::bind(&path).unwrap_err().to_string();
        assert!(told.contains("is no socket"), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "words");
    }
}
