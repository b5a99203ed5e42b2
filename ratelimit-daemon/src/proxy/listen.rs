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
    /// Whether they stay open when the proxy ends.
    pub(super) are_kept: bool,
}

impl Listeners {
    /// Where they listen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &TcpListener> {
        self.workers.iter().flatten()
    }

    /// Somebody keeps them open for the next proxy: whoever waits there when this one stops is the next one's.
    pub(crate) fn keep(&mut self) {
        self.are_kept = true;
    }

    pub(super) fn into_workers(self) -> Vec<Vec<TcpListener>> {
        self.workers
    }
}

/// Binds every configured address once for each worker. From here on clients can connect.
pub fn bind(config: &Config) -> Result<Listeners> {
    take_over(config, Vec::new())
}

/// The same where an earlier proxy's listeners are still open. Those of an address that is configured are used, so that
/// nobody who waits there is lost, also if there are more of them than workers; others are closed.
pub(crate) fn take_over(config: &Config, mut inherited: Vec<TcpListener>) -> Result<Listeners> {
    let mut addresses = config.proxy.listen.clone();
    let count = config.proxy.workers.max(1);
    let mut workers: Vec<Vec<TcpListener>> = (0..count).map(|_| Vec::new()).collect();
    for address in &mut addresses {
        let is_here = |listener: &mut TcpListener| listener.local_addr().is_ok_and(|local| local == *address);
        let mut listeners: Vec<_> = inherited.extract_if(.., is_here).collect();
        if listeners.is_empty() {
            claim(*address).with_context(|| explain(*address))?;
        }
        while listeners.len() < count {
            let listener = listen(*address).with_context(|| explain(*address))?;
            // Where the system chose the port, the other workers take the same.
            *address = listener.local_addr().context("cannot read a listener's address")?;
            listeners.push(listener);
        }
        for (turn, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true)?;
            if let Some(worker) = workers.get_mut(turn % count) {
                worker.push(listener);
            }
        }
    }
    Ok(Listeners { workers, addresses, are_kept: false })
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
