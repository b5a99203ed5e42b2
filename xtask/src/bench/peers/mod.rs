//! The servers that are measured side by side: ratelimitd's proxy, its peers, and the origin behind all of them.
//!
//! Each proxy has one worker, pinned to one core; the load and the origin, which is another nginx, share a second core. Every proxy
//! has two listeners: under the limits of one everything is allowed, under those of the other next to nothing.

mod bed;
mod envoy;
mod site;

pub(super) use bed::{Bed, Measured, version};

use clap::ValueEnum;
use std::fmt;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Subject {
    /// nginx with limit_req: ratios are to it
    Nginx,
    /// haproxy with a stick table
    Haproxy,
    /// envoy with its local rate limit, if it can be had
    Envoy,
    /// ratelimitd, the proxy alone
    #[value(skip)]
    Ratelimitd,
    /// The API server, without a proxy
    #[value(skip)]
    Origin,
}

/// What becomes of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All are within their limit.
    Allowed,
    /// All are over it.
    Refused,
}

impl Subject {
    pub(super) const PEERS: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Envoy];
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Ratelimitd => "ratelimitd",
            Self::Origin => "no proxy",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
        })
    }
}
