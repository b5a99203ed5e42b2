//! Sending whole frames.

use super::frames::Frames;
use super::network::WIRE;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind, sendmmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Frames in one call. More of them make no difference.
const BATCH: usize = 64;

/// For how long a frame is waited for, in milliseconds.
const PATIENCE: i64 = 100;

/// The end of the wire in this namespace: sends and receives whole frames.
#[derive(Debug)]
pub(super) struct Tap {
    file: File,
    buffer: Vec<u8>,
}

impl Tap {
    pub(super) fn open() -> Result<Self> {
        let socket = open(SockProtocol::EthAll)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(PATIENCE))?;
        Ok(Self { file: socket.into(), buffer: vec![0; 1 << 16] })
    }

    pub(super) fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.file.write_all(frame).context("cannot send a frame")
    }

    /// The next frame, if one comes soon.
    pub(super) fn receive(&mut self) -> Result<Option<&[u8]>> {
        match self.file.read(&mut self.buffer) {
            Ok(count) => Ok(self.buffer.get(..count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error).context("cannot receive frames"),
        }
    }
}

fn open(protocol: SockProtocol) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("cannot open a packet socket")?;
    let mut interfaces = getifaddrs()?.filter(|address| address.interface_name == WIRE);
    let link = interfaces.find_map(|address| Some(*address.address?.as_link_addr()?));
    bind(socket.as_raw_fd(), &link.with_context(|| format!("no interface {WIRE}"))?)?;
    Ok(socket)
}

/// Sends the frames again and again until `end`; returns how many.
pub(super) fn send(frames: &Frames, end: Instant, stop: &AtomicBool) -> Result<u64> {
    // It only sends: what comes back is not even copied for it.
    let socket = open(SockProtocol::EthLoop)?;
    let slices: Vec<_> =
        frames.0.iter().map(|frame| [IoSlice::new(frame)]).cycle().take(BATCH.max(frames.0.len())).collect();
    let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, None);
    let addresses = [None; BATCH];
    let mut sent = 0;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        for batch in slices.chunks(BATCH) {
            match sendmmsg(socket.as_raw_fd(), &mut headers, batch, addresses, [], MsgFlags::empty()) {
                Ok(results) => sent += results.count() as u64,
                // The other end is busy.
                Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot send frames"),
            }
        }
    }
    Ok(sent)
}
