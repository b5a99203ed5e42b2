//! The section `proxy`: the listener, the upstream, and how long each may take.

use super::Upstream;
use crate::document::{Field, Refused, Section};
use http::HeaderName;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

const SECONDS: RangeInclusive<u32> = 1..=86_400;
const WORKERS: RangeInclusive<u32> = 1..=1_024;
const CONNECTIONS: RangeInclusive<u32> = 1..=1 << 20;
const HEAD: RangeInclusive<u32> = 4 << 10..=1 << 20;

/// The listener and the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where clients connect: one address or more, none twice, no port 0.
    pub listen: Vec<SocketAddr>,
    /// The API server.
    pub upstream: Upstream,
    /// Threads, each with a listener of its own (1 to 1,024).
    pub workers: usize,
    /// Client connections at once, over all workers (1 to 1,048,576).
    pub max_connections: usize,
    /// Largest head of a request, in bytes (4,096 to 1,048,576).
    pub max_head: usize,
    /// The protocols that a client may change to, in lower case. `h2c` is none of them.
    pub upgrades: Vec<String>,
    /// Within this time of its first byte, or of the connection's start, a request's head must be there.
    pub head_timeout: Duration,
    /// Longest wait for more of a request's body.
    pub body_timeout: Duration,
    /// A connection on which no request begins for this long is closed.
    pub idle_timeout: Duration,
    /// Longest attempt to connect to the upstream.
    pub connect_timeout: Duration,
    /// Longest wait for the head of the upstream's response.
    pub response_timeout: Duration,
    /// After an upgrade: a connection on which nothing moves for this long is closed.
    pub tunnel_timeout: Duration,
    /// Longest wait for open requests when the daemon stops.
    pub drain_timeout: Duration,
}

pub(super) fn decode(section: &Section<'_>) -> Result<Proxy, Refused> {
    let listen = section.required("listen", "one address or more, such as [\"0.0.0.0:8080\"]", listen);
    let addresses = listen.as_deref().unwrap_or_default();
    let upstream = section.required("upstream", "the API server's host:port, such as \"127.0.0.1:9000\"", {
        |field| upstream(field, addresses)
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = |name, default| {
        let seconds = section.or(name, default, |field| field.whole(SECONDS));
        Duration::from_secs(seconds.into())
    };
    Ok(Proxy {
        workers: section
            .optional("workers", |field| field.whole(WORKERS))
            .map_or(cores, |count| count as usize),
        max_connections: section.or("max_connections", 65_536, |field| field.whole(CONNECTIONS)) as usize,
        max_head: section.or("max_head_bytes", 65_536, |field| field.whole(HEAD)) as usize,
        upgrades: section.or("upgrades", vec!["websocket".to_owned()], |field| {
            field.each_once(|item| item.parsed(upgrade))
        }),
        head_timeout: seconds("head_timeout_seconds", 10),
        body_timeout: seconds("body_timeout_seconds", 30),
        idle_timeout: seconds("idle_timeout_seconds", 60),
        connect_timeout: seconds("connect_timeout_seconds", 2),
        response_timeout: seconds("response_timeout_seconds", 30),
        tunnel_timeout: seconds("tunnel_timeout_seconds", 3_600),
        drain_timeout: seconds("drain_timeout_seconds", 10),
        listen: listen?,
        upstream: upstream?,
    })
}

fn listen(field: &Field<'_>) -> Result<Vec<SocketAddr>, Refused> {
    let addresses = field.each_once(|item| {
        let address: SocketAddr = item.parsed(|text| {
            text.parse().map_err(|_| {
                format!(
                    "{text:?} is not a socket address; write address:port, such as \"0.0.0.0:8080\" or \
                     \"[::]:8080\""
                )
            })
        })?;
        if address.port() == 0 {
            return Err(item.refuse("port 0 is not allowed; allowed: 1 to 65535"));
        }
        Ok(address)
    })?;
    if addresses.is_empty() {
        return Err(field.refuse("empty; write one address or more, such as [\"0.0.0.0:8080\"]"));
    }
    Ok(addresses)
}

/// The upstream, which must not be the proxy itself.
fn upstream(field: &Field<'_>, listen: &[SocketAddr]) -> Result<Upstream, Refused> {
    let upstream: Upstream = field.parsed(str::parse)?;
    let host: Option<IpAddr> = upstream.host.parse().ok();
    let is_self = |address: &SocketAddr| {
        let any = address.ip().is_unspecified();
        let reaches = |host: IpAddr| {
            host == address.ip() || any && host.is_loopback() && host.is_ipv4() == address.is_ipv4()
        };
        address.port() == upstream.port && host.is_some_and(reaches)
    };
    match listen.iter().find(|address| is_self(address)) {
        Some(address) => Err(field.refuse(format_args!(
            "{upstream} is the proxy's own listener {address}; write the address of the API server"
        ))),
        None => Ok(upstream),
    }
}

/// A protocol's name (RFC 9110, 7.8).
fn upgrade(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("h2c") {
        return Err(format!("{text:?} would carry requests past the limits; leave it out"));
    }
    match HeaderName::from_bytes(text.as_bytes()) {
        // The names of fields and protocols have the same letters, and neither's case counts.
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(format!("{text:?} is not the name of a protocol; write one such as \"websocket\"")),
    }
}
