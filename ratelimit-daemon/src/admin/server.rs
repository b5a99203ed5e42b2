//! The daemon's side: requests become questions to the control loop.

use super::socket::{Socket, SocketFile};
use super::status::Status;
use super::{ErrorBody, ErrorText};
use crate::control::Control;
use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::fmt;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// Questions that wait; more of them wait in their connections.
const WAITING: usize = 16;

/// What the control loop is to do; it answers by itself.
pub(crate) type Question = Box<dyn FnOnce(&mut Control) + Send>;

/// Answers on `socket`, if there is one, for as long as the runtime runs. The questions are for the control loop; those
/// that come when the receiver is gone are told that the daemon stops.
pub(crate) fn serve(socket: Option<Socket>) -> Result<mpsc::Receiver<Question>> {
    let (line, questions) = mpsc::channel(WAITING);
    if let Some(Socket { listener, file }) = socket {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tokio::spawn(answer(listener, file, Line(line)));
    }
    Ok(questions)
}

async fn answer(listener: tokio::net::UnixListener, _file: SocketFile, line: Line) {
    let routes = Router::new()
        .route("/status", get(status))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is no such path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        });
    if let Err(error) = axum::serve(listener, routes.with_state(line)).await {
        error!("admin.socket: nobody is answered any more: {error}");
    }
}

/// The way to the control loop.
#[derive(Clone, Debug)]
struct Line(mpsc::Sender<Question>);

impl Line {
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Control) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let stopping =
            || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is about to stop");
        let (tell, told) = oneshot::channel();
        let question: Question = Box::new(move |control| {
            // Who asked may have gone.
            let _ = tell.send(question(control));
        });
        self.0.send(question).await.map_err(|_| stopping())?;
        told.await.map_err(|_| stopping())
    }
}

/// An answer that says no.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    body: ErrorBody,
}

impl Refusal {
    fn new(status: StatusCode, code: &str, message: impl fmt::Display) -> Self {
        let error = ErrorText { code: code.to_owned(), message: message.to_string() };
        Self { status, body: ErrorBody { error } }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", format_args!("{error:#}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

async fn status(State(line): State<Line>) -> Result<Json<Status>, Refusal> {
    Ok(Json(line.ask(|control| Status::of(control)).await??))
}

#[cfg(test)]
mod tests;
