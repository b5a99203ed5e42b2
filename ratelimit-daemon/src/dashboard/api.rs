//! What can be asked, and where.

use super::endpoints::Endpoints;
use super::guard::{COOKIE, only_here, only_known, unknown};
use super::keys::{KeyPage, Page, find};
use super::overview::{Meter, Overview, status};
use super::{Desk, assets, keys, live};
use crate::admin::Refusal;
use crate::admin::keys::{Explanation, Request};
use crate::admin::reload::Reloaded;
use crate::clock;
use crate::control::Control;
use crate::metrics;
use crate::record::{Name, OTHER_ROUTES, Series, TOTAL};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// Longest body of a request: a token.
const MOST_BODY: usize = 1_024;

/// Longest stretch of time, in seconds: 90 days.
const MOST_SPAN: u64 = 90 * 24 * 3_600;

/// All of it.
pub(super) fn routes(desk: Desk) -> Router {
    let known = Router::new()
        .route("/api/overview", get(overview))
        .route("/api/live", get(live::watch))
        .route("/api/keys", get(list))
        .route("/api/keys/{name}", get(key))
        .route("/api/endpoints", get(endpoints))
        .route("/api/history", get(history))
        .route("/api/explain", get(explain))
        .route("/api/reload", post(reload))
        .route("/metrics", get(exposition))
        .route_layer(from_fn_with_state(desk.clone(), only_known));
    let open = Router::new().route("/api/session", get(session).post(enter).delete(leave));
    assets::routes()
        .merge(known)
        .merge(open)
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is no such path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        })
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(desk.clone(), only_here))
        .layer(map_response(secure))
        .with_state(desk)
}

/// What every answer tells a browser.
async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, assets::POLICY);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    response
}

type Asked<T> = Result<Query<T>, QueryRejection>;

fn asked<T>(query: Asked<T>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|error| bad_query(error.body_text()))
}

fn bad_query(told: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad_query", told)
}

async fn overview(State(desk): State<Desk>) -> Result<Json<Overview>, Refusal> {
    Ok(Json(Overview::of(&desk, &Meter::default()).await?))
}

async fn list(State(desk): State<Desk>, query: Asked<keys::Query>) -> Result<Json<Page>, Refusal> {
    Page::of(&desk, &asked(query)?).map(Json)
}

async fn key(State(desk): State<Desk>, Path(name): Path<String>) -> Result<Json<KeyPage>, Refusal> {
    KeyPage::of(&desk, name).await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    #[serde(default = "an_hour")]
    span: u64,
}

fn an_hour() -> u64 {
    3_600
}

fn checked(span: u64) -> Result<u64, Refusal> {
    match (1..=MOST_SPAN).contains(&span) {
        true => Ok(span),
        false => Err(bad_query(format_args!("span is 1 to {MOST_SPAN} seconds"))),
    }
}

async fn endpoints(State(desk): State<Desk>, query: Asked<Span>) -> Result<Json<Endpoints>, Refusal> {
    Endpoints::of(&desk, checked(asked(query)?.span)?).await.map(Json)
}

/// Whose history: everybody's, or that of one key, route or rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    key: Option<String>,
    route: Option<String>,
    rule: Option<String>,
    #[serde(default = "an_hour")]
    span: u64,
    #[serde(default = "points")]
    points: u64,
}

fn points() -> u64 {
    600
}

async fn history(State(desk): State<Desk>, query: Asked<History>) -> Result<Json<Series>, Refusal> {
    let History { key, route, rule, span, points } = asked(query)?;
    let span = checked(span)?;
    if !(1..=3_600).contains(&points) {
        return Err(bad_query("points is 1 to 3600"));
    }
    let record = desk.record.lock();
    let named = |name| record.subjects().names().find(|(known, _)| **known == name).map(|(_, id)| id);
    let id = match (key, route, rule) {
        (None, None, None) => Some(TOTAL),
        (Some(key), None, None) => find(&record, &key).map(|watched| watched.id),
        (None, Some(route), None) if route == "other" => Some(OTHER_ROUTES),
        (None, Some(route), None) => named(Name::Route(route)),
        (None, None, Some(rule)) => named(Name::Rule(rule)),
        _ => return Err(bad_query("one of key, route and rule")),
    };
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "unknown", "there is no such key, route or rule");
    let id = id.ok_or_else(unknown)?;
    Ok(Json(record.series(id, span, points, clock::now(), clock::unix_seconds())))
}

async fn explain(State(desk): State<Desk>, query: Asked<Request>) -> Result<Json<Explanation>, Refusal> {
    let request = asked(query)?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "unknown_key", "there is no such key");
    desk.line.ask(move |control| Explanation::of(control, &request)).await?.map(Json).ok_or_else(unknown)
}

async fn reload(State(desk): State<Desk>) -> Result<Json<Reloaded>, Refusal> {
    Ok(Json(desk.line.ask(Control::reload).await??))
}

async fn exposition(State(desk): State<Desk>, headers: HeaderMap) -> Result<Response, Refusal> {
    let status = status(&desk.line).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, text) = metrics::exposition(&desk.record.lock(), &status, accept.contains("openmetrics"))
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", error))?;
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// What the page may do.
#[derive(Debug, Serialize)]
struct Session {
    is_known: bool,
    controls: bool,
}

async fn session(State(desk): State<Desk>, headers: HeaderMap) -> Json<Session> {
    Json(Session { is_known: desk.guard.is_known(&headers), controls: desk.guard.controls })
}

#[derive(Deserialize)]
struct Shown {
    token: String,
}

/// Who shows the token gets a cookie, which no script can read and no other site's page can send.
async fn enter(State(desk): State<Desk>, shown: Result<Json<Shown>, JsonRejection>) -> Response {
    match shown {
        Ok(Json(Shown { token })) if desk.guard.token.is(&token) => {
            let session = desk.guard.token.session();
            let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
            (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
        }
        Ok(_) => unknown(),
        Err(error) => Refusal::new(StatusCode::BAD_REQUEST, "bad_request", error.body_text()).into_response(),
    }
}

async fn leave() -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}
