//! Answers that say no, in the API's own shape.

use super::line::Stopping;
use super::{ErrorBody, ErrorText, WRONG};
use crate::document::Problems;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::fmt;

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: ErrorBody,
}

impl Refusal {
    /// With this code and these words.
    pub(crate) fn new(status: StatusCode, code: &str, message: impl fmt::Display) -> Self {
        let error = ErrorText { code: code.to_owned(), message: message.to_string() };
        Self { status, body: ErrorBody { error } }
    }
}

impl From<Stopping> for Refusal {
    fn from(Stopping: Stopping) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is about to stop")
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        let (status, code) = match error.is::<Problems>() {
            true => (StatusCode::UNPROCESSABLE_ENTITY, WRONG),
            false => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        Self::new(status, code, format_args!("{error:#}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
