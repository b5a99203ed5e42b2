//! A client that decides what travels in which segment, and what is sent before an answer is awaited.

use crate::SOON;
use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use xtask::client::{Answer, Outcome};
use xtask::lab::Lab;

/// A connection from the client to the host.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    is_reset: bool,
}

impl Connection {
    pub(crate) fn open(lab: &Lab, server: SocketAddr) -> Result<Self> {
        let stream = lab.client.inside(|| Ok(TcpStream::connect_timeout(&server, SOON)?))?;
        // Each write is a segment, as long as it fits into one.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(Self { stream, received: Vec::new(), is_reset: false })
    }

    /// Sends bytes in a segment of their own.
    pub(crate) fn segment(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        match self.stream.write_all(bytes.as_ref()) {
            // The system tells of a reset once: reading would find an orderly end.
            Err(error) if is_reset(error.kind()) => self.is_reset = true,
            result => result.context("cannot send")?,
        }
        Ok(())
    }

    /// Waits for what becomes of the first request that has no answer yet.
    pub(crate) fn outcome(&mut self) -> Result<Outcome> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(answer) = self.next_answer()? {
                return Ok(Outcome::Answered(answer));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) if self.is_reset => return Ok(Outcome::Reset),
                Ok(0) => return Ok(Outcome::Closed),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if is_reset(error.kind()) => return Ok(Outcome::Reset),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Silent),
                Err(error) => return Err(error).context("cannot read the answer"),
            }
        }
    }

    /// The answer to the first request that has none yet; anything else is an error.
    pub(crate) fn answer(&mut self) -> Result<Answer> {
        match self.outcome()? {
            Outcome::Answered(answer) => Ok(answer),
            other => bail!("{other:?} in place of an answer"),
        }
    }

    /// Takes the first whole answer off what was received.
    fn next_answer(&mut self) -> Result<Option<Answer>> {
        let Some(head) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&self.received[..head]).to_ascii_lowercase();
        let body = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body: usize = body.context("an answer without Content-Length")?.parse()?;
        let end = head + 4 + body;
        if self.received.len() < end {
            return Ok(None);
        }
        let answer: Vec<u8> = self.received.drain(..end).collect();
        Ok(Answer::parse(&answer, false)?)
    }
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// A request without a body, with these lines after `Host`.
pub(crate) fn get(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {} HTTP/1.1\r\nHost: school.example\r\n{lines}\r\n", crate::PATH)
}
