//! A request to the proxy, as a client makes it, that is answered in any configuration, charged to nobody and
//! forwarded to nobody: it carries two keys, and so is refused after everything about it has been looked at.

use crate::config::{Config, Mode};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What every answer begins with, whatever it says: also that there are too many connections.
const ANSWER: &[u8] = b"HTTP/1.1 ";

/// The request, and where it goes to. None of the proxy's listeners where there is no proxy.
#[derive(Debug)]
pub(super) struct SelfCheck {
    listeners: Vec<SocketAddr>,
    request: String,
}

impl SelfCheck {
    pub(super) fn new(config: &Config) -> Self {
        let key = |number| format!("{}: self-check-{number}\r\n", config.keys.header);
        let (one, other) = (key(1), key(2));
        Self {
            listeners: match config.mode {
                Mode::Proxy => config.proxy.listen.iter().copied().map(reachable).collect(),
                Mode::Kernel => Vec::new(),
            },
            request: format!("GET / HTTP/1.1\r\nHost: self-check\r\nConnection: close\r\n{one}{other}\r\n"),
        }
    }

    /// Asks at each listener, one after the other, each within `limit`.
    pub(super) async fn run(&self, limit: Duration) -> io::Result<()> {
        for listener in &self.listeners {
            let asked = timeout(limit, self.ask(*listener)).await;
            let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            asked.map_err(|error| io::Error::new(error.kind(), format!("{listener}: {error}")))?;
        }
        Ok(())
    }

    async fn ask(&self, listener: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect(listener).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await?;
        if answer == ANSWER { Ok(()) } else { Err(io::Error::other("what answers is no HTTP")) }
    }
}

/// Where a listener on all addresses is reached.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let address = match listener.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listener.port())
}
