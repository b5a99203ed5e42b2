//! `GET /api/endpoints`: what came of requests by rule and by route.

use super::Desk;
use crate::admin::Refusal;
use crate::record::{Counts, Kind, Name, OTHER_ROUTES, TOTAL};
use serde::Serialize;
use std::cmp::Reverse;

/// Breakdown of the requests of some time.
#[derive(Debug, Serialize)]
pub(super) struct Endpoints {
    rules: Vec<RuleRow>,
    routes: Vec<RouteRow>,
    /// On routes that are not told apart, and requests that were refused before any limit.
    other: Counts,
    /// Refused by the kernel, which reads no paths.
    kernel: u64,
}

/// A rule.
#[derive(Debug, Serialize)]
struct RuleRow {
    name: String,
    endpoints: Vec<String>,
    limit: u32,
    window_seconds: u32,
    is_dry_run: bool,
    counts: Counts,
}

/// A route.
#[derive(Debug, Serialize)]
struct RouteRow {
    name: String,
    counts: Counts,
}

impl Endpoints {
    /// Of the last `span` seconds.
    pub(super) async fn of(desk: &Desk, span: u64) -> Result<Self, Refusal> {
        let policy = desk.line.ask(|control| control.enforcement.policy().load_full()).await?;
        let record = desk.record.lock();
        let (mut rules, mut routes) = (Vec::new(), Vec::new());
        for (name, id) in record.subjects().names() {
            let counts = record.sum(id, span);
            match name {
                Name::Route(name) => routes.push(RouteRow { name: name.clone(), counts }),
                Name::Rule(name) => {
                    let known =
                        policy.router().windows().into_iter().find(|applied| applied.window_name() == *name);
                    // A rule that is gone has nothing to say.
                    let Some(applied) = known else { continue };
                    let endpoints = match applied.rule.is_shared {
                        true => applied.rule.endpoints.iter().map(ToString::to_string).collect(),
                        false => applied.endpoint().into_iter().map(ToString::to_string).collect(),
                    };
                    rules.push(RuleRow {
                        name: name.clone(),
                        endpoints,
                        limit: applied.rule.limit,
                        window_seconds: applied.rule.window_seconds,
                        is_dry_run: applied.rule.is_dry_run,
                        counts,
                    });
                }
            }
        }
        routes.retain(|route| !route.counts.is_empty());
        routes.sort_by_key(|route| {
            Reverse(route.counts.sum(|kind| kind == Kind::Admitted || kind.is_refusal()))
        });
        let kernel = record.sum(TOTAL, span).sum(Kind::is_kernel_refusal);
        Ok(Self { rules, routes, other: record.sum(OTHER_ROUTES, span), kernel })
    }
}
