//! What outlives the daemon: its maps and links, pinned under a directory in the BPF file system.
//!
//! ```text
//! maps/SLOTS  maps/KEYS  ...
//! links/native/eth0  links/answer/eth0  links/tc/eth1:100     (the kernel wants no '.' in these names)
//! ```
//!
//! A link holds its program, so the program needs no pin of its own. Whoever changes any of this has the lock on the
//! directory: one daemon, or `ratelimitd detach`. The kernel gives it back when its holder dies.
#![forbid(unsafe_code)]

mod file_system;

use super::Mode;
use super::inheritance::Inheritance;
use super::sever::sever;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode as Permissions, OFlags, flock, fstat, open};
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The maps that are kept.
pub(super) const MAPS: [&str; 6] = ["ABOUT", "CLOCK", "COUNTERS", "FLOWS", "KEYS", "SLOTS"];

/// Where a link hooks the program in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// The program itself, in this way.
    Judge(Mode),
    /// The program behind it that writes late answers.
    Answer,
}

impl Hook {
    pub(super) const ALL: [Self; 4] =
        [Self::Judge(Mode::Native), Self::Judge(Mode::Generic), Self::Judge(Mode::Tc), Self::Answer];

    fn directory(self) -> &'static str {
        match self {
            Self::Judge(Mode::Native) => "native",
            Self::Judge(Mode::Generic) => "generic",
            Self::Judge(Mode::Tc) => "tc",
            Self::Answer => "answer",
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judge(mode) => mode.fmt(f),
            Self::Answer => f.write_str("late answers"),
        }
    }
}

/// A link that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) hook: Hook,
    pub(super) interface: String,
    pub(super) path: PathBuf,
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.0.join("maps").join(name)
    }

    /// The link at `hook` on `interface`. An interface's name has no ':'.
    pub(super) fn link(&self, hook: Hook, interface: &str) -> PathBuf {
        self.0.join("links").join(hook.directory()).join(interface.replace('.', ":"))
    }

    /// All links.
    pub(super) fn links(&self) -> Result<Vec<Pin>> {
        let mut pins = Vec::new();
        for hook in Hook::ALL {
            for path in entries(&self.0.join("links").join(hook.directory()))? {
                let name = path.file_name().map(|name| name.to_string_lossy().replace(':', "."));
                pins.push(Pin { hook, interface: name.unwrap_or_default(), path });
            }
        }
        Ok(pins)
    }

    /// Makes the directories in which things are pinned.
    fn prepare(&self) -> io::Result<()> {
        let hooks = Hook::ALL.map(|hook| self.0.join("links").join(hook.directory()));
        hooks.iter().chain([&self.0.join("maps")]).try_for_each(fs::create_dir_all)
    }
}

/// The paths in `directory`; none if it is not there.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()),
    };
    listed.with_context(|| format!("cannot list {}", directory.display()))
}

/// The directory, locked. What was made in it goes again unless [`Self::keep`] says that it is in use.
#[derive(Debug)]
pub struct Pins {
    pub(super) directory: Directory,
    /// What an earlier daemon has left.
    inheritance: Option<Inheritance>,
    is_new: bool,
    // Held for its end.
    _lock: OwnedFd,
}

impl Pins {
    /// Locks `directory`, which is made if there is none. Errors: no BPF file system, another daemon, things pinned by a
    /// version that this one does not understand.
    pub fn take(directory: &Path) -> Result<Self> {
        file_system::make(directory)?;
        let mut pins = Self::lock(directory)?;
        pins.inheritance = Inheritance::of(&pins.directory)?;
        pins.is_new = pins.inheritance.is_none();
        if pins.is_new {
            // Whoever began here never came to use it.
            pins.clear()?;
        }
        pins.directory.prepare().with_context(|| refused(directory))?;
        Ok(pins)
    }

    /// The same if anything is pinned there.
    pub fn find(directory: &Path) -> Result<Option<Self>> {
        match entries(&directory.join("maps"))?.is_empty() && entries(&directory.join("links"))?.is_empty() {
            true => Ok(None),
            false => Self::lock(directory).map(Some),
        }
    }

    fn lock(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = open(path, flags, Permissions::empty()).with_context(|| refused(path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(
                "another ratelimitd enforces by what is pinned in {} (kernel.pin_directory): stop it first",
                path.display()
            ),
            Err(error) => Err(error).with_context(|| refused(path))?,
        }
        // Whoever had the lock before may have removed the directory.
        if fstat(&lock)?.st_ino != fs::metadata(path).map_or(0, |metadata| metadata.ino()) {
            bail!("{} is being removed: try again", path.display());
        }
        Ok(Self { directory: Directory::new(path), inheritance: None, is_new: false, _lock: lock })
    }

    /// What an earlier daemon has left; `None` if there is nothing.
    pub fn inheritance(&self) -> Option<&Inheritance> {
        self.inheritance.as_ref()
    }

    /// What is pinned is in use, and stays.
    pub(super) fn keep(&mut self) {
        self.is_new = false;
    }

    /// Detaches and removes everything. Returns what was attached.
    pub fn remove(mut self) -> Result<Vec<String>> {
        self.keep();
        let attached = self.clear()?;
        self.leave();
        Ok(attached)
    }

    /// Removes the empty directory; unless it is somebody else's, or a mount point.
    fn leave(&self) {
        let _ = fs::remove_dir(self.directory.path());
    }

    /// Removes all that is pinned; the links first, so that no program is left with half of its maps.
    fn clear(&self) -> Result<Vec<String>> {
        let pins = self.directory.links()?;
        pins.iter().try_for_each(|pin| detach(&pin.path))?;
        for map in entries(&self.directory.path().join("maps"))? {
            unpin(&map)?;
        }
        let hooks = Hook::ALL.map(|hook| self.directory.path().join("links").join(hook.directory()));
        let rest = ["links", "maps"].map(|name| self.directory.path().join(name));
        // Some may be missing.
        hooks.iter().chain(&rest).for_each(|directory| drop(fs::remove_dir(directory)));
        Ok(pins.iter().map(|pin| format!("{} ({})", pin.interface, pin.hook)).collect())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.is_new {
            match self.clear() {
                Ok(_) => self.leave(),
                Err(error) => warn!("cannot remove what was pinned: {error:#}"),
            }
        }
    }
}

/// Detaches the program of the link that is pinned at `path`, and removes the pin.
pub(super) fn detach(path: &Path) -> Result<()> {
    sever(path).with_context(|| format!("cannot detach what is pinned at {}", path.display()))?;
    unpin(path)
}

/// Removes a pin, if it is there.
pub(super) fn unpin(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn refused(path: &Path) -> String {
    format!(
        "kernel.pin_directory: cannot use {} (it must belong to the daemon's user; \"\" pins nothing)",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_whose_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let pins = Directory::new(directory.path());
        pins.prepare().unwrap();
        let names = [(Hook::Judge(Mode::Tc), "bond0.7"), (Hook::Answer, "eth0")];
        for (hook, interface) in names {
            fs::write(pins.link(hook, interface), "").unwrap();
        }
        let found = pins.links().unwrap();
        let found: Vec<_> = found.iter().map(|pin| (pin.hook, pin.interface.as_str())).collect();
        assert_eq!(found, names);
        assert!(pins.link(Hook::Judge(Mode::Tc), "bond0.7").ends_with("links/tc/bond0:7"));
    }

    #[test]
    fn where_no_bpf_can_be_pinned_the_error_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let told = Pins::take(&directory.path().join("pins")).unwrap_err().to_string();
        assert!(told.contains("kernel.pin_directory") && told.contains("mount -t bpf"), "{told}");
    }
}
