//! What operators ask a running daemon: HTTP over a unix socket, whose permissions say who may.
//!
//! The control loop answers, between its other duties, so each answer is of one moment, and nothing here waits for
//! the proxy's threads or is waited for by them. Answers are JSON: the types of their bodies are here, for both sides.
#![forbid(unsafe_code)]

pub(crate) mod client;
pub(crate) mod keys;
mod line;
mod refusal;
pub(crate) mod reload;
mod server;
mod socket;
pub(crate) mod status;

pub(crate) use line::{Line, Questions};
pub(crate) use refusal::Refusal;
pub(crate) use server::serve;
pub(crate) use socket::Socket;

use serde::{Deserialize, Serialize};

/// The body of an answer that says no.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    error: ErrorText,
}

/// The code of an answer that says that a file has to be changed.
const WRONG: &str = "wrong";

/// Why not.
#[derive(Debug, Serialize, Deserialize)]
struct ErrorText {
    /// For programs.
    code: String,
    /// For people.
    message: String,
}
