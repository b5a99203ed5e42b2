//! The address of the API server.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// A host name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || {
            format!(
                "{text:?} is not an upstream; write host:port, such as \"127.0.0.1:9000\", \"[::1]:9000\" or \
                 \"api.internal:9000\" (no scheme, no path)"
            )
        };
        let (host, port) = match text.parse::<SocketAddr>() {
            Ok(address) => (address.ip().to_string(), address.port()),
            Err(_) => {
                let (host, port) = text.rsplit_once(':').ok_or_else(refusal)?;
                let port = port.parse().map_err(|_| refusal())?;
                (Some(host).filter(|host| is_host_name(host)).ok_or_else(refusal)?.to_owned(), port)
            }
        };
        if port == 0 {
            return Err("port 0 is not allowed; allowed: 1 to 65535".to_owned());
        }
        Ok(Self { host, port })
    }
}

/// RFC 1123: labels of letters, digits and hyphens. A name that ends in digits alone is a mistyped address.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = host.rsplit('.').next().unwrap_or(host);
    host.len() <= 253 && host.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
