//! Network namespaces, made and removed with iproute2.

use super::WIRE;
use crate::command;
use crate::workspace;
use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where iproute2 keeps them.
pub(super) const DIRECTORY: &str = "/run/netns";

/// A network namespace. Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(super) fn create(name: String) -> Result<Self> {
        ip(&[], &format!("netns add {name}"))?;
        Ok(Self { name })
    }

    pub(super) fn configure(&self, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
        let here = ["-n", self.name.as_str()];
        ip(&here, "link set dev lo up")?;
        ip(&here, &format!("addr add {v4}/24 dev {WIRE}"))?;
        // There is nobody to share the address with, and detecting that would take a second.
        ip(&here, &format!("addr add {v6}/64 dev {WIRE} nodad"))?;
        ip(&here, &format!("link set dev {WIRE} up"))
    }

    /// Puts the XDP program that passes everything on the wire.
    ///
    /// `ip` leaves directories in the BPF file system, so it gets one of its own.
    pub fn attach_pass(&self) -> Result<()> {
        let object = workspace::kernel_object("pass");
        let shown = object.display();
        if !object.is_file() {
            bail!("{shown} is missing: run `cargo xtask build`");
        }
        let script = "mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
        let mut attach = Command::new("unshare");
        attach.args(["--mount", "sh", "-c", script, "sh", "ip", "-n", &self.name]);
        attach.args(["link", "set", "dev", WIRE, "xdp", "obj"]).arg(&object).args(["sec", "xdp.frags"]);
        command::output(&mut attach).map(drop).with_context(|| format!("cannot attach {shown}"))
    }

    /// The name by which `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// A command that will run here. It is killed when the thread that started it ends.
    ///
    /// Not `ip netns exec`: that mounts a new `/sys`, without the BPF file system.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display()));
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Runs to the end and returns standard output.
    pub fn output<Argument: AsRef<OsStr>>(&self, program: &str, arguments: &[Argument]) -> Result<String> {
        command::output(self.command(program).args(arguments))
    }

    /// Calls `work` on a thread that is in this namespace: sockets that it opens are here, and so are those
    /// of threads that it starts.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.door().inside(work)
    }

    /// The way in, for who has no hold on the namespace.
    pub fn door(&self) -> Door {
        Door(self.path())
    }
}

/// The way into a namespace, as long as that is there.
#[derive(Clone, Debug)]
pub struct Door(PathBuf);

impl Door {
    /// See [`Namespace::inside`].
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let shown = self.0.display();
        let file = File::open(&self.0).with_context(|| format!("cannot open {shown}"))?;
        let enter = || move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter().with_context(|| format!("cannot enter the namespace {shown}"))?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err(anyhow!("panicked in the namespace {shown}")))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&[], &format!("netns del {}", self.name)) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Runs `ip`, with options before the words of a command.
pub(super) fn ip(options: &[&str], words: &str) -> Result<()> {
    command::output(Command::new("ip").args(options).args(words.split(' '))).map(drop)
}
