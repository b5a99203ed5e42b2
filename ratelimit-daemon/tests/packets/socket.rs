//! Established connections without a peer: the kernel's TCP is told their state, as is done to move a connection
//! from one machine to another (`TCP_REPAIR`, tcp(7)). What the program finds is a real socket.

use crate::frames::{CLIENT_V4, CLIENT_V6, Frame, HOST_V4, HOST_V6, Network};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::cell::Cell;
use std::ffi::c_int;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::Command;

/// The receiving and the sending half, for `TCP_REPAIR_QUEUE`: the kernel's `tcp.h`.
const RECEIVING: c_int = 1;
const SENDING: c_int = 2;

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Puts this thread into a network of its own, which has the host's addresses.
pub(crate) fn enter_network() {
    if IS_INSIDE.replace(true) {
        return;
    }
    // SAFETY: only the network changes, and no other thread shares in it.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("these tests need root");
    for words in ["link set lo up", "addr add 10.77.0.1/24 dev lo", "addr add fd77::1/64 dev lo nodad"] {
        let status = Command::new("ip").args(words.split(' ')).status().expect("iproute2");
        assert!(status.success(), "ip {words}");
    }
}

/// The host's end of the connection of `frame`, which awaits just that frame, and of which the client has received
/// everything.
pub(crate) fn established(frame: &Frame) -> Socket {
    let (domain, host, client): (_, SocketAddr, SocketAddr) = match frame.network {
        Network::V4 => {
            (Domain::IPV4, (HOST_V4, frame.host_port).into(), (CLIENT_V4, frame.client_port).into())
        }
        Network::V6 => {
            (Domain::IPV6, (HOST_V6, frame.host_port).into(), (CLIENT_V6, frame.client_port).into())
        }
    };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_reuse_address(true).expect("the address can be shared");
    set(&socket, libc::TCP_REPAIR, 1);
    socket.bind(&SockAddr::from(host)).expect("the host's address");
    set(&socket, libc::TCP_REPAIR_QUEUE, SENDING);
    set(&socket, libc::TCP_QUEUE_SEQ, Frame::ACKNOWLEDGED as c_int);
    set(&socket, libc::TCP_REPAIR_QUEUE, RECEIVING);
    set(&socket, libc::TCP_QUEUE_SEQ, frame.sequence as c_int);
    socket.connect(&SockAddr::from(client)).expect("established at once");
    socket
}

fn set(socket: &Socket, option: c_int, value: c_int) {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option's value is a live integer of this size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), len)
    };
    assert_eq!(result, 0, "option {option}: {}", std::io::Error::last_os_error());
}
