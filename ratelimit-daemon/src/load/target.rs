//! The server under load.

use super::connection::{Connection, Event};
use crate::cli::wrong_argument;
use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, epoll};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long new keys may take to be known. A daemon looks at its key file each second.
const KNOWN_LIMIT: Duration = Duration::from_secs(15);

const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As in the `Host` field.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

impl Target {
    /// From `http://host:port` or `host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let host = text.strip_prefix("http://").unwrap_or(text);
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.contains('/') {
            let form = "write http://host:port, and paths in a scenario or with --path";
            return Err(wrong_argument(format!("{text:?} is not a target: {form}")));
        }
        let with_port = if host.parse::<SocketAddr>().is_ok() || has_port(host) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let mut addresses = with_port.to_socket_addrs().map_err(|error| {
            wrong_argument(format!("{text:?} is not a target ({error}); write http://host:port"))
        })?;
        let address = addresses.next().with_context(|| format!("{host} has no address"))?;
        Ok(Self { host: host.to_owned(), address })
    }

    /// An error if nobody listens there.
    pub(crate) fn reach(&self) -> Result<()> {
        let connected = TcpStream::connect_timeout(&self.address, CONNECT_LIMIT);
        let advice =
            || format!("cannot connect to {}: is the server running, and is this its address?", self.host);
        connected.map(drop).with_context(advice)
    }

    /// Waits until the server does not answer requests of `key` with 401.
    pub(crate) fn wait_until_known(&self, key: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.ask(key)? {
                401 if start.elapsed() > KNOWN_LIMIT => bail!(
                    "{} does not know the keys that were made: does it run with the key file of this configuration?",
                    self.host
                ),
                401 => std::thread::sleep(ASK_INTERVAL),
                _ => return Ok(()),
            }
        }
    }

    /// The status of the answer to one request.
    fn ask(&self, key: &str) -> Result<u16> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connection = Connection::default();
        connection.open(self.address, &epoll, 0)?;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-API-Key: {key}\r\n\r\n", self.host);
        let mut event = connection.send(false, |output| output.extend_from_slice(request.as_bytes()));
        let start = Instant::now();
        while start.elapsed() < CONNECT_LIMIT {
            match event {
                Event::Answered(answer, _) => return Ok(answer.status),
                Event::Nothing => {}
                _ => bail!("{} does not answer like an HTTP server", self.host),
            }
            let mut events = Vec::with_capacity(1);
            let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            connection.flush();
            event = connection.receive(false);
        }
        bail!("{} does not answer within {CONNECT_LIMIT:?}", self.host)
    }
}

/// Whether a host ends with a port. The colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    behind.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_with_or_without_its_scheme_and_port() {
        let target = |text| Target::parse(text).expect("a target");
        assert_eq!(target("http://127.0.0.1:8080/"), target("127.0.0.1:8080"));
        assert_eq!(target("http://[::1]").address, "[::1]:80".parse().expect("an address"));
        assert_eq!(target("127.0.0.1").host, "127.0.0.1");
        for wrong in ["https://h/x", "http://127.0.0.1:8080/courses", "127.0.0.1:port", ""] {
            let told = Target::parse(wrong).expect_err("a refusal").to_string();
            assert!(told.contains("write http://host:port"), "{told}");
        }
    }

    #[test]
    fn nobody_there_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let told = format!(
            "{:#}",
            Target::parse(&address.to_string()).expect("a target").reach().expect_err("a refusal")
        );
        assert!(told.contains("cannot connect") && told.contains("refused"), "{told}");
    }
}
