//! Two network namespaces and a wire between them, for as long as this lives.

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The interface at either end.
pub(super) const WIRE: &str = "wire";

/// Where iproute2 keeps namespaces.
const DIRECTORY: &str = "/run/netns";

/// Where the flood comes from. No stack has this address: every answer to it comes to nothing.
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);

pub(super) const OUTSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The two namespaces. Removed when dropped.
#[derive(Debug)]
pub(super) struct Network {
    outside: Namespace,
    host: Namespace,
}

/// A network namespace.
#[derive(Debug)]
pub(super) struct Namespace(String);

impl Network {
    pub(super) fn make() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the flood makes network namespaces and loads a kernel program: run it as root");
        }
        sweep();
        let pid = std::process::id();
        let network = Self {
            outside: Namespace::create(format!("rl-flood-outside-{pid}"))?,
            host: Namespace::create(format!("rl-flood-host-{pid}"))?,
        };
        network.join()?;
        Ok(network)
    }

    fn join(&self) -> Result<()> {
        let (outside, host) = (&self.outside.0, &self.host.0);
        let (outside_mac, host_mac) = (mac(OUTSIDE_MAC), mac(HOST_MAC));
        ip(&format!(
            "link add {WIRE} netns {outside} address {outside_mac} type veth peer name {WIRE} netns {host} address {host_mac}"
        ))?;
        ip(&format!("-n {outside} link set dev {WIRE} up"))?;
        ip(&format!("-n {host} link set dev lo up"))?;
        ip(&format!("-n {host} addr add {HOST}/24 dev {WIRE}"))?;
        ip(&format!("-n {host} link set dev {WIRE} up"))?;
        // Nobody out there answers when asked for a hardware address.
        ip(&format!("-n {host} neigh replace {OUTSIDE} lladdr {outside_mac} dev {WIRE} nud permanent"))
    }

    /// Where the flood comes from.
    pub(super) const fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// A command that runs in the host's namespace and is killed when the calling thread ends.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.host.path().display()));
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Calls `work` on a thread that is in a namespace: sockets that it opens are there.
    pub(super) fn inside<T: Send>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let path = namespace.path();
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter the namespace {}", namespace.0))?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err(anyhow!("panicked in the namespace {}", namespace.0)))
        })
    }
}

impl Namespace {
    fn create(name: String) -> Result<Self> {
        ip(&format!("netns add {name}"))?;
        Ok(Self(name))
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&format!("netns del {}", self.0)) {
            eprintln!("load: {error:#}");
        }
    }
}

/// Removes what floods that were killed have left.
fn sweep() {
    let names = std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| is_abandoned(name)) {
        // Another flood may be sweeping at the same time.
        let _ = ip(&format!("netns del {name}"));
    }
}

fn is_abandoned(name: &str) -> bool {
    let pid = ["rl-flood-outside-", "rl-flood-host-"].iter().find_map(|prefix| name.strip_prefix(prefix));
    pid.and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn ip(words: &str) -> Result<()> {
    let mut command = Command::new("ip");
    let done = command.args(words.split(' ')).stdin(Stdio::null()).output();
    let done = done.context("cannot start `ip`: install iproute2")?;
    if !done.status.success() {
        bail!("`ip {words}` failed: {}", String::from_utf8_lossy(&done.stderr).trim_end());
    }
    Ok(())
}
