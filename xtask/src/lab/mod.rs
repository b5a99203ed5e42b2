//! A laboratory: a client and an API host, each in a network namespace of its own, joined by a wire.
//!
//! ```text
//! namespace rl-client-PID-N                 namespace rl-host-PID-N
//!   wire  10.77.0.1  fd77::1   <-- veth -->   wire  10.77.0.2  fd77::2
//!
//! namespace rl-third-PID-N, where there is a third host
//!   wire                       <-- veth -->   side
//! ```
//!
//! Nothing of it touches the machine's own network, and any number of laboratories can be open at once. All
//! of one is gone when it is dropped, also while a panic unwinds; what a killed run left behind, the next
//! one removes.

mod bpf;
mod namespace;
mod process;

use bpf::BpfFileSystem;
pub use namespace::{Door, Namespace};
pub use process::Process;

use anyhow::{Context, Result, bail};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// The interface in either namespace.
pub const WIRE: &str = "wire";

/// The API host's interface to a third host.
pub const SIDE: &str = "side";

/// Its link address.
pub const SIDE_MAC: [u8; 6] = [2, 0x77, 0, 0, 0, 2];

const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// The two namespaces, and a directory for the files and logs of what runs there.
#[derive(Debug)]
pub struct Lab {
    /// Where requests come from.
    pub client: Namespace,
    /// Where the API server and ratelimitd run.
    pub host: Namespace,
    // Before the directory in which it is mounted.
    bpf: BpfFileSystem,
    directory: TempDir,
}

impl Lab {
    /// Opens a laboratory. Needs root, and the kernel objects built.
    pub fn open() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces need root: run this as root");
        }
        sweep()?;
        let (pid, number) = (std::process::id(), next_number());
        let directory = tempfile::Builder::new().prefix(&format!("rl-lab-{pid}-")).tempdir()?;
        let client = Namespace::create(format!("rl-client-{pid}-{number}"))?;
        let host = Namespace::create(format!("rl-host-{pid}-{number}"))?;
        let bpf = BpfFileSystem::mount(&directory.path().join("bpf"))?;
        let lab = Self { client, host, bpf, directory };
        lab.join()?;
        Ok(lab)
    }

    fn join(&self) -> Result<()> {
        let (client, host) = (self.client.name(), self.host.name());
        let pair = format!("link add {WIRE} netns {client} type veth peer name {WIRE} netns {host}");
        namespace::ip(&[], &pair).context("cannot create the wire")?;
        self.client.configure(CLIENT_V4, CLIENT_V6)?;
        self.host.configure(HOST_V4, HOST_V6)?;
        // What an XDP program sends back through a veth arrives only where the other end has one as well.
        self.client.attach_pass()
    }

    /// Joins a third host to the API host, by a wire of its own. It has no address there: it sends what it likes.
    pub fn join_third(&self) -> Result<Namespace> {
        let third = Namespace::create(format!("rl-third-{}-{}", std::process::id(), next_number()))?;
        let [a, b, c, d, e, f] = SIDE_MAC;
        let pair = format!(
            "link add {WIRE} netns {} type veth peer name {SIDE} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} netns {}",
            third.name(),
            self.host.name()
        );
        namespace::ip(&[], &pair).context("cannot create the third host's wire")?;
        namespace::ip(&["-n", self.host.name()], &format!("link set dev {SIDE} up"))?;
        namespace::ip(&["-n", third.name()], &format!("link set dev {WIRE} up"))?;
        third.attach_pass()?;
        Ok(third)
    }

    /// A directory that lives as long as the laboratory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A BPF file system of the laboratory's own, in its directory. What is pinned there is gone with it.
    pub fn pins(&self) -> &Path {
        self.bpf.path()
    }

    /// The API host's IPv4 address, as clients see it.
    pub fn host_v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(HOST_V4), port)
    }

    /// The API host's IPv6 address, as clients see it.
    pub fn host_v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(HOST_V6), port)
    }

    /// Starts a program on the API host; its output goes to `NAME.log` in the directory.
    pub fn start(&self, name: &str, program: &Path, arguments: &[&str]) -> Result<Process> {
        let mut command = self.host.command(program);
        command.args(arguments);
        Process::start(name, command, &self.directory().join(format!("{name}.log")))
    }
}

/// Removes what runs that are no more have left behind.
fn sweep() -> Result<()> {
    for name in abandoned(Path::new(namespace::DIRECTORY))? {
        // Another laboratory may sweep at the same time.
        let _ = namespace::ip(&[], &format!("netns del {name}"));
    }
    let temporary = std::env::temp_dir();
    for name in abandoned(&temporary)? {
        let directory = temporary.join(name);
        drop(BpfFileSystem::left_at(&directory.join("bpf")));
        let _ = std::fs::remove_dir_all(directory);
    }
    Ok(())
}

/// Names in `directory` that belong to processes that are no more.
fn abandoned(directory: &Path) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot list {}", directory.display()))?.file_name();
        names.extend(name.into_string());
    }
    let gone = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
    names.retain(|name| owner(name).is_some_and(gone));
    Ok(names)
}

/// The process to which a thing of this name belongs, if it is a laboratory's.
fn owner(name: &str) -> Option<u32> {
    let rest = ["rl-client-", "rl-host-", "rl-third-", "rl-lab-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    let (pid, _) = rest.split_once('-')?;
    pid.parse().ok()
}

fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
