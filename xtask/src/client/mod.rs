//! An HTTP/1.1 client that tells apart what most clients hide: an answer, a reset, a silent end.

mod answer;

pub use answer::Answer;

use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything that is waited for in earnest.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A request. It has no defaults beyond `Host`: what is sent is what the caller says.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The request target, as sent.
    pub path: &'a str,
    /// Header fields, in order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; a `Content-Length` goes with it unless it is empty.
    pub body: &'a [u8],
    /// Whether the head's first line travels in a segment of its own, so that the segment in which the key
    /// is does not look like a request.
    pub split: bool,
}

impl<'a> Request<'a> {
    /// A GET with these header fields.
    pub fn get(path: &'a str, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { method: "GET", path, headers, body: &[], split: false }
    }

    fn first_line(&self) -> String {
        format!("{} {} HTTP/1.1\r\n", self.method, self.path)
    }

    fn rest(&self, host: SocketAddr) -> Vec<u8> {
        let mut rest = format!("Host: {host}\r\n");
        for (name, value) in self.headers {
            rest.extend([*name, ": ", *value, "\r\n"]);
        }
        if !self.body.is_empty() {
            rest.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        rest.push_str("\r\n");
        let mut rest = rest.into_bytes();
        rest.extend_from_slice(self.body);
        rest
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered.
    Answered(Answer),
    /// The connection was reset before an answer.
    Reset,
    /// The connection ended orderly before a whole answer.
    Closed,
    /// Nothing came for a long time.
    Silent,
}

/// A client with at most one connection, which it keeps while the server does.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    connection: Option<TcpStream>,
}

impl Client {
    /// A client of `server`; connects when there is something to send.
    pub fn new(server: SocketAddr) -> Self {
        Self { server, connection: None }
    }

    /// Sends a request and waits for what becomes of it. An error if the server cannot be connected to, or
    /// answers with what is not HTTP.
    pub fn send(&mut self, request: &Request<'_>) -> Result<Outcome> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let (outcome, keep) = match exchange(&mut connection, self.server, request) {
            Ok(answer) => {
                let keep = answer.keeps_connection();
                (Outcome::Answered(answer), keep)
            }
            Err(error) => (failure(error)?, false),
        };
        if keep {
            self.connection = Some(connection);
        }
        Ok(outcome)
    }

    fn connect(&self) -> Result<TcpStream> {
        let connection = TcpStream::connect_timeout(&self.server, TIMEOUT)
            .with_context(|| format!("cannot connect to {}", self.server))?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        Ok(connection)
    }
}

fn exchange(connection: &mut TcpStream, host: SocketAddr, request: &Request<'_>) -> std::io::Result<Answer> {
    let (first, rest) = (request.first_line(), request.rest(host));
    if request.split {
        // Without delay each write is a segment of its own.
        connection.write_all(first.as_bytes())?;
        connection.write_all(&rest)?;
    } else {
        connection.write_all(&[first.as_bytes(), &rest].concat())?;
    }
    let mut received = Vec::with_capacity(4096);
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = connection.read(&mut chunk)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(answer) = Answer::parse(&received, request.method == "HEAD")? {
            return Ok(answer);
        }
    }
}

fn failure(error: std::io::Error) -> Result<Outcome> {
    match error.kind() {
        // Writing finds a broken pipe where the reset came before.
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Outcome::Reset),
        ErrorKind::UnexpectedEof => Ok(Outcome::Closed),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Outcome::Silent),
        _ => Err(error).context("the answer cannot be read"),
    }
}
