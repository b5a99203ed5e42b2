//! Accepting a connection only once its client has sent something.
//!
//! The kernel program answers a refused client before its request reaches the TCP stack; for the stack that is a
//! client which connected and never spoke. Deferred, such a connection never becomes a socket of ours: else a
//! client that hammers over its limit would fill the proxy with connections that wait for their head timeout.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How long the stack itself waits for the first bytes, in seconds. Then it asks the client whether it is still
/// there; one that is becomes a connection without a request, one that is not is forgotten.
static WAIT_SECONDS: libc::c_int = 1;

/// Defers `accept` on a socket that is to listen (`TCP_DEFER_ACCEPT` of tcp(7)).
pub(crate) fn defer_accept(socket: impl AsFd) -> io::Result<()> {
    let size = size_of_val(&WAIT_SECONDS) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the option's value is an integer of `size` bytes, which is only read; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const WAIT_SECONDS).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
