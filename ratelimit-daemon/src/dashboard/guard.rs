//! Who gets through to the dashboard: those who know the token, and browsers on no page but its own.
//!
//! A page of somebody else's can have a browser send requests here. So a request must name this listener as its host (a
//! name that somebody has pointed here is another one), and what changes something must come from a page of this host.

use super::Desk;
use super::token::Token;
use crate::admin::Refusal;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// The cookie that a browser has once its user has shown the token.
pub(super) const COOKIE: &str = "ratelimitd_session";

/// Longest path and query, in bytes.
const MOST_TARGET: usize = 2_048;

/// What a browser says of the page that a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who gets through.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) token: Token,
    /// Names beside `localhost` and addresses.
    pub(super) hosts: Vec<String>,
    pub(super) controls: bool,
}

/// Turns away requests that are not meant for this listener, or that are too long.
pub(super) async fn only_here(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MOST_TARGET {
        return Refusal::new(StatusCode::URI_TOO_LONG, "too_long", "the path and query are too long")
            .into_response();
    }
    let host = text(request.headers(), &header::HOST);
    if !host.is_some_and(|host| desk.guard.knows(host)) {
        let told = "this listener is not called so; admin.hosts says what else it may be called";
        return Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", told).into_response();
    }
    if request.method() != Method::GET
        && request.method() != Method::HEAD
        && !is_own_page(request.headers(), host)
    {
        return Refusal::new(StatusCode::FORBIDDEN, "wrong_origin", "not from another site's page")
            .into_response();
    }
    next.run(request).await
}

/// Turns away requests without the token.
pub(super) async fn only_known(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if !desk.guard.is_known(request.headers()) {
        return unknown();
    }
    if request.method() != Method::GET && request.method() != Method::HEAD && !desk.guard.controls {
        let told = "this listener only shows; admin.controls = true lets it change something";
        return Refusal::new(StatusCode::FORBIDDEN, "read_only", told).into_response();
    }
    next.run(request).await
}

/// The answer to who does not know the token.
pub(super) fn unknown() -> Response {
    let refusal =
        Refusal::new(StatusCode::UNAUTHORIZED, "wrong_token", "the token of admin.token_file is needed");
    ([(header::WWW_AUTHENTICATE, "Bearer")], refusal).into_response()
}

impl Guard {
    /// Whether this listener may be called `host`, which may have a port.
    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
            || address.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether a request with these fields shows the token, or that it was shown.
    pub(super) fn is_known(&self, headers: &HeaderMap) -> bool {
        let bearer = text(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        if let Some((scheme, token)) = bearer {
            return scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim());
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == COOKIE && self.token.is_session(value))
    }
}

/// Whether a request comes from a page of `host`, or from no page at all.
fn is_own_page(headers: &HeaderMap, host: Option<&str>) -> bool {
    let is_own_site = text(headers, &SITE).is_none_or(|site| site == "same-origin" || site == "none");
    let origin = text(headers, &header::ORIGIN);
    let is_own = |origin: &str| origin.split_once("://").map(|(_, authority)| authority) == host;
    is_own_site && (origin.is_none() && !headers.contains_key(header::ORIGIN) || origin.is_some_and(is_own))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
