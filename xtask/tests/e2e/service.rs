//! The daemon as a service: what it tells the service manager, and with how little it runs.

use crate::SOON;
use crate::host::Host;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use xtask::{command, workspace};

/// The user that has nothing, on every system.
const NOBODY: u32 = 65_534;

/// What stands in for the service manager: its end of the notification socket.
struct Manager {
    socket: UnixDatagram,
    /// What the daemon's environment says.
    environment: [String; 2],
}

impl Manager {
    /// Its watchdog wants to be fed as often as this.
    fn listen(host: &Host, watchdog_microseconds: u32) -> Result<Self> {
        let path = host.lab.directory().join("notify.sock");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(SOON))?;
        let environment =
            [format!("NOTIFY_SOCKET={}", path.display()), format!("WATCHDOG_USEC={watchdog_microseconds}")];
        Ok(Self { socket, environment })
    }

    fn wrapper(&self) -> [&str; 3] {
        let [socket, watchdog] = &self.environment;
        ["env", socket, watchdog]
    }

    fn receive(&self) -> Result<String> {
        let mut buffer = [0; 4_096];
        let len = self.socket.recv(&mut buffer).context("nothing is told")?;
        Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// The next that is told, apart from the watchdog's food.
    fn told(&self) -> Result<String> {
        loop {
            match self.receive()? {
                food if food == "WATCHDOG=1\n" => {}
                told => return Ok(told),
            }
        }
    }

    /// Whether the watchdog is fed within `limit`.
    fn is_fed(&self, limit: std::time::Duration) -> Result<bool> {
        self.socket.set_read_timeout(Some(limit))?;
        let fed = self.socket.recv(&mut [0; 4_096]).is_ok();
        self.socket.set_read_timeout(Some(SOON))?;
        Ok(fed)
    }
}

#[test]
fn the_service_manager_is_told_each_step() -> Result<()> {
    let host = Host::prepare()?;
    let manager = Manager::listen(&host, 4_000_000)?;
    let mut daemon = host.launch("ratelimitd", &manager.wrapper())?;
    let ready = manager.told()?;
    ensure!(ready.starts_with("READY=1\nSTATUS=serving on ["), "{ready}");
    for (old, new) in [("\"reset\"", "\"reset\""), ("\"reset\"", "\"no such action\"")] {
        host.configure(old, new)?;
        daemon.signal(Signal::HUP)?;
        let reloading = manager.told()?;
        ensure!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        ensure!(manager.told()? == "READY=1\n", "also a reload that fails is over");
    }
    daemon.signal(Signal::TERM)?;
    let stopping = manager.told()?;
    ensure!(stopping == "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\n", "{stopping}");
    ensure!(daemon.wait(SOON)?.success(), "{}", daemon.tail());
    Ok(())
}

/// The listener cannot be reached while the host's own interface is down, whatever the control loop does.
#[test]
fn the_watchdog_is_fed_only_while_requests_get_through() -> Result<()> {
    const INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);
    let host = Host::prepare()?;
    let manager = Manager::listen(&host, 2_000_000)?;
    let mut daemon = host.launch("ratelimitd", &manager.wrapper())?;
    ensure!(manager.told()?.starts_with("READY=1\n"), "it is ready");
    ensure!(manager.receive()? == "WATCHDOG=1\n", "it is fed");
    host.lab.host.output("ip", &["link", "set", "lo", "down"])?;
    daemon.wait_until(SOON, |daemon| Ok(daemon.log().contains("the self-check failed")))?;
    while manager.is_fed(std::time::Duration::from_millis(1))? {}
    ensure!(!manager.is_fed(INTERVAL)?, "it is fed although no request gets through:\n{}", daemon.tail());
    host.lab.host.output("ip", &["link", "set", "lo", "up"])?;
    ensure!(manager.receive()? == "WATCHDOG=1\n", "it is fed again");
    Ok(())
}

/// The unit's user, capabilities and no new privileges are enough to load the program, attach it and serve.
#[test]
fn three_capabilities_are_enough() -> Result<()> {
    let host = Host::prepare()?;
    let directory = host.lab.directory();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    chown(directory, Some(NOBODY), Some(NOBODY))?;
    for file in fs::read_dir(directory)? {
        chown(file?.path(), Some(NOBODY), Some(NOBODY))?;
    }
    let capabilities = "-all,+bpf,+net_admin,+perfmon";
    let [inheritable, ambient, bounding] =
        ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}={capabilities}"));
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let wrapper = [&["setpriv"], &user[..], &[&inheritable, &ambient, &bounding, "--"]].concat();
    let mut daemon = host.launch("ratelimitd", &wrapper)?;
    daemon.wait_until(SOON, |daemon| Ok(daemon.log().contains("serving on")))?;
    ensure!(host.attached()?.is_some(), "{}", daemon.tail());
    ensure!(daemon.stop(SOON)?.success(), "{}", daemon.tail());
    ensure!(host.attached()?.is_none(), "{}", daemon.tail());
    Ok(())
}

#[test]
fn the_unit_leaves_little_to_attack() -> Result<()> {
    let unit = workspace::root().join("packaging/ratelimitd.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold=25", "--no-pager"]).arg(&unit);
    command::output(&mut analyze).map(drop)
}
