//! The configuration file: what can be set, and what holds where it is not.
//!
//! A [`Config`] exists only if every value in it is allowed; nothing that uses it has to check again.
#![forbid(unsafe_code)]

mod admin;
mod anonymous;
mod decode;
mod effective;
mod forwarding;
mod health;
mod proxy;
mod rules;
#[cfg(test)]
mod tests;
mod upstream;

pub use admin::Admin;
pub use anonymous::Anonymous;
pub use forwarding::{Forwarded, Forwarding, Networks};
pub use health::Health;
pub use proxy::Proxy;
pub use upstream::Upstream;

use crate::document::{self, Problems};
use crate::policy::Tiers;
use crate::rules::Rules;
use http::HeaderName;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything that the configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who enforces the limits.
    pub mode: Mode,
    /// What happens to a request over its limits.
    pub action: Action,
    /// The listener and the upstream; neither in [`Mode::Kernel`].
    pub proxy: Proxy,
    /// How upstreams are looked at.
    pub health: Health,
    /// What the upstream is told of clients, and whom the proxy believes.
    pub forwarding: Forwarding,
    /// Enforcement in the kernel.
    pub kernel: Kernel,
    /// Where keys are and how a request carries one.
    pub keys: Keys,
    /// What clients without a key may send; there if [`Keys::missing`] is [`Missing::Anonymous`].
    pub anonymous: Option<Anonymous>,
    /// Optional response fields.
    pub headers: Headers,
    /// Bodies that are looked into.
    pub bulk: Bulk,
    /// Where operators ask the daemon.
    pub admin: Admin,
    /// The endpoint rules, the built-in ones among them.
    pub rules: Rules,
    /// The tiers by name, the built-in ones among them.
    pub tiers: Tiers,
}

impl Config {
    /// Reads and checks the file at `path`. All that is wrong with it is reported together.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        document::read(path, |top| decode::config(top, directory(path)))
    }
}

impl Config {
    /// The sections that only a restart takes over, and that differ in `other`.
    pub(crate) fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            mode,
            action,
            proxy,
            health,
            forwarding,
            kernel,
            keys,
            anonymous,
            headers,
            bulk,
            admin,
            rules: _,
            tiers: _,
        } = self;
        let differs = [
            ("mode", *mode != other.mode),
            ("action", *action != other.action),
            ("proxy", *proxy != other.proxy),
            ("health", *health != other.health),
            ("forwarding", *forwarding != other.forwarding),
            ("kernel", *kernel != other.kernel),
            ("keys", *keys != other.keys),
            ("anonymous", *anonymous != other.anonymous),
            ("headers", *headers != other.headers),
            ("bulk", *bulk != other.bulk),
            ("admin", *admin != other.admin),
        ];
        differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// Relative paths in a configuration file start where the file is.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Who enforces the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The kernel the bursts, and a proxy before the API server all of them.
    Proxy,
    /// The kernel alone, bursts and hours, on the API server's own ports.
    Kernel,
}

/// What happens to a request over its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The kernel answers with the full 429 and closes the connection, as the proxy answers.
    Reply,
    /// The kernel drops its packets; the proxy answers 429.
    Drop,
    /// The kernel resets its connection; the proxy answers 429.
    Reset,
    /// It is admitted and counted: a dry run of the whole system.
    Observe,
}

/// How the kernel program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// In the driver where it can, else generic, else by TC.
    Auto,
    /// In the driver or not at all.
    Native,
    /// Behind the driver: slower, and possible on nearly every interface.
    Generic,
    /// At the entrance of the TCP stack, without XDP.
    Tc,
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is refused with 401.
    Reject,
    /// Its client's address has limits of its own.
    Anonymous,
    /// It is forwarded, unlimited.
    Pass,
}

/// Enforcement in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Interfaces to attach to; none: the proxy enforces alone.
    pub interfaces: Vec<String>,
    /// TCP ports that are judged, each of them one of the listener's if there is one.
    pub ports: Vec<u16>,
    /// How to attach.
    pub attach: Attach,
    /// Keys that there is room for (1 to 16,777,216).
    pub max_keys: u32,
    /// Connections that are remembered: a power of two (64 to 16,777,216).
    pub max_flows: u32,
    /// Where the program and its maps are kept when the daemon is gone; none: they go with it. Relative in the
    /// configuration file, it starts at that file's directory.
    pub pin_directory: Option<PathBuf>,
    /// Whether an orderly stop detaches the program, too.
    pub detach_on_stop: bool,
}

/// Where keys are and how a request carries one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key file. Relative in the configuration file, it starts at that file's directory.
    pub file: PathBuf,
    /// The request field whose whole value is the key, of 3 to 24 bytes; in lower case.
    pub header: HeaderName,
    /// Whether `Authorization: Bearer KEY` carries a key too.
    pub bearer: bool,
    /// What happens to a request without a key.
    pub missing: Missing,
}

/// Bodies that are looked into: they are held whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Most bytes of one, decoded or not.
    pub max_body_bytes: usize,
    /// Most bytes of all at once.
    pub max_total_bytes: usize,
}

/// Optional response fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Whether responses have the IETF draft's `RateLimit-Policy` and `RateLimit`.
    pub ratelimit_fields: bool,
    /// Whether a response to a request that only a dry run admitted has `X-RateLimit-Dry-Run`.
    pub dry_run: bool,
}
