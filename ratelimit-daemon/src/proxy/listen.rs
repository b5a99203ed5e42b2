//! The sockets on which clients arrive.

use crate::config::Config;
use crate::deferred_accept::defer_accept;
use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that wait for `accept`; the kernel lowers it to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 65_535;

/// Listeners for every worker, each with all addresses.
#[derive(Debug)]
pub struct Listeners {
    pub(super) workers: Vec<Vec<TcpListener>>,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Listeners {
    /// Where they listen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(super) fn into_workers(self) -> Vec<Vec<TcpListener>> {
        self.workers
    }
}

/// Binds every configured address once for each worker. From here on clients can connect.
pub fn bind(config: &Config) -> Result<Listeners> {
    let mut addresses = config.proxy.listen.clone();
    for address in &addresses {
        claim(*address).with_context(|| explain(*address))?;
    }
    let mut workers = Vec::new();
    for _ in 0..config.proxy.workers.max(1) {
        let mut listeners = Vec::new();
        for address in &mut addresses {
            let listener = listen(*address).with_context(|| explain(*address))?;
            // Where the system chose the port, the other workers take the same.
            *address = listener.local_addr().context("cannot read a listener's address")?;
            listeners.push(listener);
        }
        workers.push(listeners);
    }
    Ok(Listeners { workers, addresses })
}

/// With `SO_REUSEPORT` the kernel spreads the connections over the workers' listeners.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be configured for one port.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    defer_accept(&socket)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Fails if another program listens there. Our own listeners share their port, and would share it with another
/// daemon too, which would grant every key its limits a second time.
fn claim(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier run that still linger are no hindrance.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn explain(address: SocketAddr) -> String {
    format!(
        "cannot listen on {address} (proxy.listen): see that this host has the address, that no other program \
         uses the port, and that the service may use ports below 1024 if it is one"
    )
}
