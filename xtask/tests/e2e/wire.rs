//! A wire that loses, doubles and swaps frames, put in between the client and its end of the laboratory's wire.
//!
//! ```text
//! near 10.77.0.1 <-- veth --> far    a thread for each way    wire <-- veth --> the host
//! ```

use anyhow::{Context, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, bind, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use xtask::lab::{Lab, Namespace, WIRE};

/// For how long a frame that is to be swapped waits for another, in milliseconds.
const PATIENCE: i64 = 20;

/// What happens to segments that carry data, each in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) swapped: u64,
}

/// How often it happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) lost: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) swapped: AtomicU64,
}

/// The wire. Passes nothing on any more when dropped.
#[derive(Debug)]
pub(crate) struct BadWire {
    pub(crate) counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl BadWire {
    /// Puts it into a laboratory on whose wire nothing was sent yet; for IPv4 only.
    pub(crate) fn splice(lab: &Lab, to_host: Faults, to_client: Faults) -> Result<Self> {
        let ip = |words: &str| lab.client.output("ip", &words.split(' ').collect::<Vec<_>>());
        // The stack must neither answer here nor see here what is meant for `near`.
        ip(&format!("addr flush dev {WIRE}"))?;
        ip(&format!("link set dev {WIRE} arp off"))?;
        ip("link add near type veth peer name far")?;
        ip("addr add 10.77.0.1/24 dev near")?;
        ip("link set dev far arp off up")?;
        ip("link set dev near up")?;
        // A frame is to be what travels, not a bundle of them that the stack made or is about to cut.
        ip("link set dev near gso_max_segs 1")?;
        ip(&format!("link set dev {WIRE} gro_max_size 1514"))?;
        let (far, wire) = (tap(&lab.client, "far")?, tap(&lab.client, WIRE)?);
        let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let ways = [(far.try_clone()?, wire.try_clone()?, to_host), (wire, far, to_client)];
        let threads = ways.map(|(from, to, faults)| {
            let way = Way { to, faults, dice: 1, held: None, counts: counts.clone() };
            let stop = stop.clone();
            std::thread::spawn(move || way.run(from, &stop))
        });
        Ok(Self { counts, stop, threads: threads.into() })
    }

    /// An error if a thread of it has ended.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.threads.iter().any(JoinHandle::is_finished), "the wire is broken");
        Ok(())
    }
}

impl Drop for BadWire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if !matches!(thread.join(), Ok(Ok(()))) {
                eprintln!("the wire was broken");
            }
        }
    }
}

/// A socket that gets and sends whole frames.
pub(crate) fn tap(client: &Namespace, interface: &str) -> Result<File> {
    client.inside(|| {
        let kind = (AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let socket = socket(kind.0, kind.1, kind.2, kind.3).context("cannot open a packet socket")?;
        let mut interfaces = getifaddrs()?.filter(|address| address.interface_name == interface);
        let link = interfaces.find_map(|address| Some(*address.address?.as_link_addr()?));
        bind(socket.as_raw_fd(), &link.with_context(|| format!("no interface {interface}"))?)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(PATIENCE))?;
        Ok(File::from(socket))
    })
}

/// One way.
struct Way {
    to: File,
    faults: Faults,
    dice: u64,
    /// A frame that waits until another has overtaken it.
    held: Option<Vec<u8>>,
    counts: Arc<Counts>,
}

impl Way {
    fn run(mut self, mut from: File, stop: &AtomicBool) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        while !stop.load(Ordering::Relaxed) {
            match from.read(&mut buffer) {
                Ok(count) => {
                    let frame = &mut buffer[..count];
                    complete_checksum(frame);
                    self.pass_on(frame)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.let_go()?,
                Err(error) => return Err(error).context("cannot read frames"),
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, frame: &[u8]) -> Result<()> {
        let Faults { lost, doubled, swapped } = self.faults;
        let fate = if carries_data(frame) { self.throw() } else { 100 };
        if fate < lost {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if fate < lost + doubled {
            self.counts.doubled.fetch_add(1, Ordering::Relaxed);
            self.send(frame)?;
        } else if fate < lost + doubled + swapped && self.held.is_none() {
            self.held = Some(frame.to_vec());
            return Ok(());
        }
        self.send(frame)?;
        if self.held.is_some() && carries_data(frame) {
            self.counts.swapped.fetch_add(1, Ordering::Relaxed);
            self.let_go()?;
        }
        Ok(())
    }

    fn let_go(&mut self) -> Result<()> {
        self.held.take().map_or(Ok(()), |frame| self.send(&frame))
    }

    fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.to.write_all(frame).with_context(|| format!("cannot send a frame of {} bytes", frame.len()))
    }

    /// 0 to 99, the same numbers in each run (Marsaglia's xorshift).
    fn throw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % 100
    }
}

/// Where TCP starts and ends in a frame, if it is IPv4 and TCP.
pub(crate) fn tcp(frame: &[u8]) -> Option<(usize, usize)> {
    let is_tcp = frame.get(12..14)? == [8, 0] && *frame.get(23)? == 6;
    let start = 14 + usize::from(frame[14] & 0xf) * 4;
    let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    (is_tcp && start + 20 <= end && end <= frame.len()).then_some((start, end))
}

fn carries_data(frame: &[u8]) -> bool {
    tcp(frame).is_some_and(|(start, end)| start + usize::from(frame[start + 12] >> 4) * 4 < end)
}

/// Does what the stack leaves to the network card: the card here takes frames as they are.
pub(crate) fn complete_checksum(frame: &mut [u8]) {
    let Some((start, end)) = tcp(frame) else { return };
    frame[start + 16..start + 18].fill(0);
    let word = |bytes: &[u8]| u64::from(u16::from_be_bytes([bytes[0], bytes.get(1).copied().unwrap_or(0)]));
    let addresses = frame[26..34].chunks(2);
    let mut sum: u64 = addresses.chain(frame[start..end].chunks(2)).map(word).sum();
    sum += 6 + (end - start) as u64;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[start + 16..start + 18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
