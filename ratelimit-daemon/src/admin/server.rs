//! The daemon's side: requests become questions to the control loop.

use super::keys::{Explanation, KeyState, Request};
use super::line::Line;
use super::refusal::Refusal;
use super::reload::Reloaded;
use super::socket::{Socket, SocketFile};
use super::status::Status;
use crate::control::Control;
use anyhow::Result;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tracing::error;

/// Answers on `socket` for as long as the runtime runs.
pub(crate) fn serve(socket: Socket, line: Line) -> Result<()> {
    let Socket { listener, file } = socket;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    tokio::spawn(answer(listener, file, line));
    Ok(())
}

async fn answer(listener: tokio::net::UnixListener, _file: SocketFile, line: Line) {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/keys", get(keys))
        .route("/keys/{name}", get(key))
        .route("/explain", get(explain))
        .route("/reload", post(reload))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is no such path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        });
    if let Err(error) = axum::serve(listener, routes.with_state(line)).await {
        error!("admin.socket: nobody is answered any more: {error}");
    }
}

async fn status(State(line): State<Line>) -> Result<Json<Status>, Refusal> {
    Ok(Json(line.ask(|control| Status::of(control)).await??))
}

async fn keys(State(line): State<Line>) -> Result<Json<Vec<KeyState>>, Refusal> {
    Ok(Json(line.ask(|control| KeyState::all(control)).await?))
}

async fn key(State(line): State<Line>, Path(name): Path<String>) -> Result<Json<KeyState>, Refusal> {
    let unknown = no_key(&name);
    line.ask(move |control| KeyState::of(control, &name)).await?.map(Json).ok_or(unknown)
}

async fn explain(
    State(line): State<Line>,
    Query(request): Query<Request>,
) -> Result<Json<Explanation>, Refusal> {
    let unknown = no_key(&request.key);
    line.ask(move |control| Explanation::of(control, &request)).await?.map(Json).ok_or(unknown)
}

async fn reload(State(line): State<Line>) -> Result<Json<Reloaded>, Refusal> {
    Ok(Json(line.ask(Control::reload).await??))
}

fn no_key(name: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "unknown_key", format_args!("there is no key {name:?}"))
}

#[cfg(test)]
mod tests;
