//! The section `health`: how upstreams are looked at while nobody asks them anything.

use crate::document::{Field, Refused, Section};
use std::time::Duration;

/// How upstreams are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for by GET: 2xx and 3xx are good. Without it only upstreams that are down are looked at,
    /// by connecting to them.
    pub path: Option<String>,
    /// From one look to the next.
    pub interval: Duration,
    /// Longest wait for the answer.
    pub timeout: Duration,
}

pub(super) fn decode(section: &Section<'_>) -> Health {
    let seconds = |name, default| {
        let seconds = section.or(name, default, |field| field.whole(1..=3_600));
        Duration::from_secs(seconds.into())
    };
    Health {
        path: section.optional("path", path),
        interval: seconds("interval_seconds", 2),
        timeout: seconds("timeout_seconds", 2),
    }
}

fn path(field: &Field<'_>) -> Result<String, Refused> {
    field.parsed(|text| match text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not a path; write one such as \"/health\"")),
    })
}
