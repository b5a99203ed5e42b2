//! The section `forwarding`: what the upstream is told of clients, and whom the proxy believes.

use crate::document::{Field, Refused, Section};
use ipnet::IpNet;
use std::net::IpAddr;

/// What the upstream is told of clients, and whom the proxy believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Proxies in front of this one: what they say of the client in fields is believed.
    pub trusted: Networks,
    /// Proxies whose connections begin with a PROXY protocol header.
    pub proxy_protocol: Networks,
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    pub x_forwarded: Forwarded,
    /// `Forwarded` (RFC 7239).
    pub forwarded: Forwarded,
}

/// What becomes of the fields that say where a request comes from. What an untrusted sender says is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// The hops that trusted proxies tell of, and the one that the request came from.
    Append,
    /// The client alone.
    Replace,
    /// They are left out.
    Off,
}

pub(super) const FORWARDED: &[(&str, Forwarded)] =
    &[("append", Forwarded::Append), ("replace", Forwarded::Replace), ("off", Forwarded::Off)];

/// Networks by address and prefix length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// Whether `address`, which is no IPv4-mapped one, lies in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

pub(super) fn decode(section: &Section<'_>) -> Forwarding {
    let networks = |name| section.or(name, Networks::default(), networks);
    let forwarded = |name, default| section.or(name, default, |field| field.one_of(FORWARDED));
    Forwarding {
        trusted: networks("trusted"),
        proxy_protocol: networks("proxy_protocol"),
        x_forwarded: forwarded("x_forwarded", Forwarded::Append),
        forwarded: forwarded("forwarded", Forwarded::Off),
    }
}

fn networks(field: &Field<'_>) -> Result<Networks, Refused> {
    field.each_once(|item| item.parsed(network)).map(Networks)
}

/// A network, or an address, which is one of a single host.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    let network: IpNet = network.map_err(|_| {
        format!(
            "{text:?} is not a network; write one such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"10.1.2.3\""
        )
    })?;
    // Whoever writes 10.1.2.3/8 means one of two things.
    match network.trunc() {
        trunc if trunc == network => Ok(network),
        trunc => Err(format!("{text:?} has bits behind its prefix; write {trunc} for that network")),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_refused, with};

    #[test]
    fn networks() {
        assert_refused(
            &with("[forwarding]\ntrusted = ['10.0.0.1/8', '10.0.0.0/33', 'lan']"),
            "/etc/x.toml:5: forwarding.trusted: \"10.0.0.1/8\" has bits behind its prefix; write 10.0.0.0/8 for that \
             network\n\
             /etc/x.toml:5: forwarding.trusted: \"10.0.0.0/33\" is not a network; write one such as \"10.0.0.0/8\", \
             \"2001:db8::/32\" or \"10.1.2.3\"\n\
             /etc/x.toml:5: forwarding.trusted: \"lan\" is not a network; write one such as \"10.0.0.0/8\", \
             \"2001:db8::/32\" or \"10.1.2.3\"",
        );
    }
}
