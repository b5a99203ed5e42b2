//! What is measured.

use super::super::peers::{Outcome, Subject};
use std::fmt;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    /// As fast as answers come, on 64 connections.
    Closed,
    /// At a rate that every proxy can serve.
    Paced,
}

/// One run of each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) subject: Subject,
    pub(super) outcome: Outcome,
    pub(super) law: Law,
    /// Keys that share the load evenly.
    pub(super) keys: u32,
}

/// All of them, in the order of the first round.
pub(super) fn all(proxies: &[Subject], many: u32) -> Vec<Target> {
    let mut targets = Vec::new();
    for (outcome, law, keys) in [
        (Outcome::Allowed, Law::Closed, 1),
        (Outcome::Allowed, Law::Closed, many),
        (Outcome::Allowed, Law::Paced, 1),
        (Outcome::Allowed, Law::Paced, many),
        (Outcome::Refused, Law::Closed, 1),
        (Outcome::Refused, Law::Closed, many),
    ] {
        targets.extend(proxies.iter().map(|subject| Target { subject: *subject, outcome, law, keys }));
        if outcome == Outcome::Allowed && keys == 1 {
            targets.push(Target { subject: Subject::Origin, outcome, law, keys });
        }
    }
    targets
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, outcome, law, keys } = self;
        write!(f, "{subject}, {outcome} requests, {keys} keys, {law:?}")
    }
}
