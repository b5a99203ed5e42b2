//! Whether a target answers as it should: the load generator counts answers and does not read them.

use super::target::{Outcome, Subject, Target};
use crate::client::{self, Answer, Client, Request};
use anyhow::{Result, bail};
use std::net::SocketAddr;

/// What the origin answers.
pub(super) const ORIGIN_BODY: &str = r#"{"id":42,"name":"Algebra","credits":5}"#;

/// Sends two requests, as the first one may be the only one that a scant limit allows, and looks at the
/// second answer.
pub(super) fn check(target: Target, address: SocketAddr, key: &str) -> Result<()> {
    let headers = [("X-API-Key", key)];
    let request = Request::get("/courses", &headers);
    let mut client = Client::new(address);
    client.send(&request)?;
    match client.send(&request)? {
        client::Outcome::Answered(answer) if is_right(target, &answer) => Ok(()),
        other => bail!("an unexpected answer: {other:?}"),
    }
}

fn is_right(target: Target, answer: &Answer) -> bool {
    let has = |name| answer.header(name).is_some();
    let limited = target.subject == Subject::Origin || has("x-ratelimit-limit");
    limited
        && match target.outcome {
            Outcome::Allowed => answer.status == 200 && answer.body == ORIGIN_BODY.as_bytes(),
            Outcome::Refused => {
                let body = String::from_utf8_lossy(&answer.body);
                answer.status == 429 && has("retry-after") && body.contains("rate_limit_exceeded")
            }
        }
}
