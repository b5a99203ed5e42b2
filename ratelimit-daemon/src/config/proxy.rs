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
const MAX_UPSTREAMS: usize = 64;
const HEAD: RangeInclusive<u32> = 4 << 10..=1 << 20;

/// The listener and the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where clients connect: one address or more, none twice, no port 0.
    pub listen: Vec<SocketAddr>,
    /// The API servers: one to 64, none twice.
    pub upstreams: Vec<Upstream>,
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

/// The section as it is where there is a proxy.
pub(super) fn decode(section: &Section<'_>) -> Result<Proxy, Refused> {
    let listen = section.required("listen", "one address or more, such as [\"0.0.0.0:8080\"]", listen);
    let addresses = listen.as_deref().unwrap_or_default();
    let upstreams = section.required("upstream", "the API server's host:port, such as \"127.0.0.1:9000\"", {
        |field| upstreams(field, addresses)
    });
    let rest = settings(section);
    Ok(Proxy { listen: listen?, upstreams: upstreams?, ..rest })
}

/// The section as it may stay where there is none: it is checked, and nobody listens.
pub(super) fn decode_unused(section: &Section<'_>) -> Proxy {
    let listen = section.or("listen", Vec::new(), listen);
    section.or("upstream", Vec::new(), |field| upstreams(field, &listen));
    settings(section)
}

/// Everything that has a default.
fn settings(section: &Section<'_>) -> Proxy {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = |name, default| {
        let seconds = section.or(name, default, |field| field.whole(SECONDS));
        Duration::from_secs(seconds.into())
    };
    Proxy {
        listen: Vec::new(),
        upstreams: Vec::new(),
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
    }
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

/// One upstream, or a list of several.
fn upstreams(field: &Field<'_>, listen: &[SocketAddr]) -> Result<Vec<Upstream>, Refused> {
    if !field.is_list() {
        return Ok(vec![upstream(field, listen)?]);
    }
    let upstreams = field.each_once(|item| upstream(item, listen))?;
    match upstreams.len() {
        1..=MAX_UPSTREAMS => Ok(upstreams),
        count => Err(field.refuse(format_args!("{count} upstreams; allowed: 1 to {MAX_UPSTREAMS}"))),
    }
}

/// An upstream, which must not be the proxy itself.
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

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_refused, parse, with};

    #[test]
    fn listeners() {
        let example = "write address:port, such as \"0.0.0.0:8080\" or \"[::]:8080\"";
        for (listen, expected) in [
            ("[]", "empty; write one address or more, such as [\"0.0.0.0:8080\"]".to_owned()),
            ("['8080']", format!("\"8080\" is not a socket address; {example}")),
            ("['localhost:80']", format!("\"localhost:80\" is not a socket address; {example}")),
            ("['[::]:0']", "port 0 is not allowed; allowed: 1 to 65535".to_owned()),
            ("['[::]:80', '[0::0]:80']", "[::]:80 is listed twice; list it once".to_owned()),
            ("'0.0.0.0:80'", "expected a list, found a string".to_owned()),
        ] {
            let text = format!("[proxy]\nupstream = 'a:1'\nlisten = {listen}\n[kernel]\nports = [81]");
            assert_refused(&text, &format!("/etc/x.toml:3: proxy.listen: {expected}"));
        }
    }

    #[test]
    fn upstreams() {
        let upstream = |text: &str| {
            parse(&format!("[proxy]\nlisten = ['0.0.0.0:80', '10.0.0.1:81']\nupstream = '{text}'"))
        };
        for right in
            ["127.0.0.1:9000", "[::1]:9000", "api:80", "api-1.example.com:443", "10.0.0.2:80", "[::1]:80"]
        {
            assert_eq!(upstream(right).unwrap().proxy.upstreams[0].to_string(), right);
        }
        assert_eq!(upstream("[::1]:9000").unwrap().proxy.upstreams[0].host, "::1");
        for wrong in [
            "",
            ":80",
            "api",
            "http://api:80",
            "api:80/",
            "127.0.0:80",
            "::1:80",
            "api:65536",
            "-a:1",
            "a..b:1",
            "a b:1",
        ] {
            let told = upstream(wrong).expect_err(wrong).to_string();
            assert!(
                told.starts_with(&format!(
                    "/etc/x.toml:3: proxy.upstream: {wrong:?} is not an upstream; write"
                )),
                "{told}"
            );
        }
        assert!(
            upstream("api:0")
                .unwrap_err()
                .to_string()
                .ends_with("port 0 is not allowed; allowed: 1 to 65535")
        );
        for (itself, listener) in
            [("127.0.0.1:80", "0.0.0.0:80"), ("10.0.0.1:81", "10.0.0.1:81"), ("0.0.0.0:80", "0.0.0.0:80")]
        {
            let told = upstream(itself).expect_err(itself).to_string();
            assert!(told.contains(&format!("{itself} is the proxy's own listener {listener}")), "{told}");
        }
    }

    #[test]
    fn several_upstreams() {
        let text =
            |list| format!("[proxy]\nlisten = ['0.0.0.0:80']\nupstream = {list}\n[health]\npath = 'up'");
        assert_refused(
            &text("['a:1', 'a:1', '127.0.0.1:80']"),
            "/etc/x.toml:3: proxy.upstream: a:1 is listed twice; list it once\n\
             /etc/x.toml:3: proxy.upstream: 127.0.0.1:80 is the proxy's own listener 0.0.0.0:80; write the address of \
             the API server\n\
             /etc/x.toml:5: health.path: \"up\" is not a path; write one such as \"/health\"",
        );
        assert!(parse(&text("[]")).unwrap_err().to_string().contains("0 upstreams; allowed: 1 to 64"));
    }

    #[test]
    fn protocols_to_change_to() {
        assert!(parse(&with("upgrades = []")).unwrap().proxy.upgrades.is_empty());
        assert_refused(
            &with("upgrades = ['H2C', 'a b']"),
            "/etc/x.toml:4: proxy.upgrades: \"H2C\" would carry requests past the limits; leave it out\n\
             /etc/x.toml:4: proxy.upgrades: \"a b\" is not the name of a protocol; write one such as \"websocket\"",
        );
    }
}
