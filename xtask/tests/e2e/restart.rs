//! Planned restarts under a service manager that keeps the listeners open meanwhile, as systemd does.

use crate::SOON;
use crate::host::{Host, UPSTREAM};
use crate::sender::{Connections, Sender};
use anyhow::{Context, Result, bail, ensure};
use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;
use xtask::build;
use xtask::deployment::PORT;
use xtask::lab::Process;

const RESTARTS: usize = 5;

/// Keeps what it is given from one daemon to the next.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
    kept: Vec<OwnedFd>,
}

impl Manager {
    fn listen(host: &Host) -> Result<Self> {
        let path = host.lab.directory().join("notify.sock");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(SOON))?;
        Ok(Self { path, socket, kept: Vec::new() })
    }

    /// Starts the daemon with all that is kept, and waits until it says that it is ready.
    fn start(&mut self, host: &Host) -> Result<Process> {
        let script = "export LISTEN_PID=$$; exec \"$@\"";
        let mut command = host.lab.host.command("sh");
        command
            .args(["-c", script, "sh"])
            .arg(build::daemon_path(false))
            .args(["run", "--config"])
            .arg(&host.config);
        command.env("NOTIFY_SOCKET", &self.path).env("FDSTORE", "1000");
        command.env("LISTEN_FDS", self.kept.len().to_string());
        let given = self.kept.iter().map(OwnedFd::try_clone).collect::<std::io::Result<Vec<_>>>()?;
        let mappings =
            given.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect())?;
        let daemon = Process::start("ratelimitd", command, &host.lab.directory().join("ratelimitd.log"))?;
        loop {
            let told = self.receive().with_context(|| daemon.tail())?;
            if told.starts_with("READY=1") {
                return Ok(daemon);
            }
        }
    }

    fn receive(&mut self) -> Result<String> {
        let mut text = [0; 4_096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let received = recvmsg(&self.socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let given = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(given) => Some(given),
            _ => None,
        });
        let given: Vec<_> = given.flatten().collect();
        let told = String::from_utf8_lossy(text.get(..received.bytes).unwrap_or_default()).into_owned();
        match told.as_str() {
            "FDSTOREREMOVE=1\nFDNAME=listener\n" => self.kept.clear(),
            "FDSTORE=1\nFDNAME=listener\n" => self.kept.extend(given),
            _ if given.is_empty() => {}
            other => bail!("descriptors with {other:?}"),
        }
        Ok(told)
    }
}

/// Who connects while nobody accepts waits for the next daemon. Also when that has fewer workers.
#[test]
fn a_planned_restart_turns_nobody_away() -> Result<()> {
    let host = Host::prepare()?;
    host.configure("detach_on_stop = true", "detach_on_stop = false")?;
    host.configure(
        "[proxy]\n",
        "[tiers.ample]\nrequests_per_hour = 1000000\nburst_per_minute = 1000000\n[proxy]\nworkers = 3\n",
    )?;
    let key = host.add_key(&["ample", "--tier", "ample"])?;
    let xtask = env!("CARGO_BIN_EXE_xtask").as_ref();
    let mut api = host.lab.start("api", xtask, &["api-server", "--listen", UPSTREAM])?;
    api.wait_until(SOON, |api| Ok(api.log().contains("serving")))?;
    let mut manager = Manager::listen(&host)?;
    let mut daemon = manager.start(&host)?;
    ensure!(manager.kept.len() == 6, "{} listeners are kept", manager.kept.len());
    let servers = [host.lab.host_v4(PORT), host.lab.host_v6(PORT)];
    let start = |server| Sender::start(host.lab.client.door(), server, &key, Connections::OneEach);
    let senders: Vec<_> = servers.into_iter().cycle().take(4).map(start).collect();
    let cycled = (|| {
        for number in 0..RESTARTS {
            std::thread::sleep(Duration::from_millis(100));
            ensure!(daemon.stop(SOON)?.success(), "{}", daemon.tail());
            if number == 1 {
                host.configure("workers = 3", "workers = 1")?;
            }
            daemon = manager.start(&host)?;
        }
        Ok(())
    })();
    let mut sent = 0;
    for sender in senders {
        let tally = sender.stop()?;
        ensure!(tally.admitted == tally.sent && tally.sent > 0, "{:?}: {tally:?}", tally.other);
        sent += tally.sent;
    }
    cycled?;
    println!("{sent} requests during {RESTARTS} restarts");
    Ok(())
}
