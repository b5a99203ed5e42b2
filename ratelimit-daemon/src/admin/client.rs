//! The asking side: one request over the socket, and the answer or why there is none.

use super::{ErrorBody, WRONG};
use crate::document::{Problem, Problems};
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::fmt::{self, Display};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longest wait for an answer. A daemon that takes longer is not well.
const LIMIT: Duration = Duration::from_secs(30);

/// Nobody answers.
#[derive(Debug)]
pub(crate) struct NotRunning(String);

impl Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRunning {}

/// What `GET path` tells. Errors: nobody listens at `socket`, this user may not ask, the daemon says no.
pub(crate) fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T> {
    send(socket, Method::GET, path)
}

/// The same with `POST path`, which changes something.
pub(crate) fn post<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T> {
    send(socket, Method::POST, path)
}

fn send<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shown = socket.display();
    let answer = runtime.block_on(async { timeout(LIMIT, exchange(socket, method, path)).await });
    let (is_good, body) = answer
        .with_context(|| format!("ratelimitd at {shown} did not answer within {} s", LIMIT.as_secs()))??;
    if is_good {
        return serde_json::from_slice(&body).context("the daemon's answer is of another version's form");
    }
    let body: ErrorBody = serde_json::from_slice(&body)
        .with_context(|| format!("what answers at {shown} is no ratelimitd of this version"))?;
    match body.error.code.as_str() {
        WRONG => Err(Problems::from(Problem::in_arguments(body.error.message)).into()),
        _ => bail!("{}", body.error.message),
    }
}

/// Whether the answer is a good one, and its body.
async fn exchange(socket: &Path, method: Method, path: &str) -> Result<(bool, Bytes)> {
    let stream = UnixStream::connect(socket).await.map_err(|error| explain(&error, socket))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "ratelimitd")
        .body(Empty::<Bytes>::new())?;
    let asked = async {
        let answer = sender.send_request(request).await?;
        let is_good = answer.status().is_success();
        anyhow::Ok((is_good, answer.into_body().collect().await?.to_bytes()))
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        ended = connection => {
            ended?;
            asked.await
        }
    }
}

fn explain(error: &io::Error, socket: &Path) -> anyhow::Error {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            NotRunning(format!("ratelimitd is not running: nobody answers at {socket}")).into()
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("not allowed to ask at {socket}: its owner and its group are (`ls -l {socket}`)")
        }
        _ => anyhow!("cannot connect to {socket}: {error}"),
    }
}
