//! One client connection: opened without waiting, written to and read from as far as the socket allows.

use super::response::{self, Answer, Framing, Malformed};
use rustix::event::epoll;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

/// Room for one read: the answers of an API mostly fit.
const READ_SIZE: usize = 16 << 10;

/// A connection, or the place of one that is not open.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    stream: Option<TcpStream>,
    input: Vec<u8>,
    /// Bytes of `input` that were read.
    filled: usize,
    output: Vec<u8>,
    written: usize,
    to_head: bool,
}

/// What a connection has to say.
#[derive(Debug)]
pub(crate) enum Event {
    /// Nothing yet.
    Nothing,
    /// A whole answer; the body of a refusal, and of nothing else.
    Answered(Answer, Vec<u8>),
    /// The server has reset it.
    Reset,
    /// The server has closed it before an answer.
    Closed,
    /// There is no way to the server, or nobody listens there.
    Unreachable,
    /// It answered with something that is not HTTP.
    Malformed,
}

impl Connection {
    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Begins to connect, and has `epoll` tell of everything that happens as `token`.
    pub(crate) fn open(&mut self, server: SocketAddr, epoll: &OwnedFd, token: u64) -> io::Result<()> {
        let socket =
            Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        // Each change is told once, so that nothing has to be changed while a request is under way.
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(epoll, &socket, epoll::EventData::new_u64(token), flags)?;
        (self.filled, self.written) = (0, 0);
        self.output.clear();
        self.stream = Some(socket.into());
        Ok(())
    }

    /// Closes it; `epoll` forgets it by itself.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Begins to send what `write` writes.
    pub(crate) fn send(&mut self, to_head: bool, write: impl FnOnce(&mut Vec<u8>)) -> Event {
        self.output.clear();
        (self.written, self.filled, self.to_head) = (0, 0, to_head);
        write(&mut self.output);
        self.flush()
    }

    /// Sends as much as the socket takes.
    pub(crate) fn flush(&mut self) -> Event {
        let Some(stream) = &mut self.stream else { return Event::Nothing };
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return ended(&error),
            }
        }
        Event::Nothing
    }

    /// Reads what is there. `to_the_end`: the server has closed its half, so all of it has to be read now.
    pub(crate) fn receive(&mut self, to_the_end: bool) -> Event {
        loop {
            if self.input.len() < self.filled + READ_SIZE {
                self.input.resize(self.filled + READ_SIZE, 0);
            }
            let Some(stream) = &mut self.stream else { return Event::Nothing };
            let room = self.input.get_mut(self.filled..).unwrap_or_default();
            let wanted = room.len();
            match stream.read(room) {
                Ok(0) => return self.at_the_end(),
                Ok(count) => {
                    self.filled += count;
                    // Less than there was room for: the socket is empty, and will tell when it is not.
                    if count < wanted && !to_the_end {
                        return self.answer(false);
                    }
                    if let event @ (Event::Answered(..) | Event::Malformed) = self.answer(false) {
                        return event;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.answer(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What came before a reset was read already.
                Err(error) => return ended(&error),
            }
        }
    }

    fn at_the_end(&mut self) -> Event {
        match self.answer(true) {
            Event::Nothing => Event::Closed,
            event => event,
        }
    }

    /// The answer in the input, if it is complete.
    fn answer(&mut self, at_end: bool) -> Event {
        match self.parse(at_end) {
            Err(Malformed) => Event::Malformed,
            Ok(None) => Event::Nothing,
            Ok(Some((answer, body))) => {
                self.filled = 0;
                Event::Answered(answer, body)
            }
        }
    }

    fn parse(&self, at_end: bool) -> Result<Option<(Answer, Vec<u8>)>, Malformed> {
        let input = self.input.get(..self.filled).unwrap_or_default();
        if input.is_empty() {
            return Ok(None);
        }
        let Some(head) = response::head(input, self.to_head)? else { return Ok(None) };
        let rest = input.get(head.length..).unwrap_or_default();
        let length = match head.body {
            Framing::Length(length) => Some(length),
            Framing::Chunked => response::chunked_length(rest)?,
            Framing::Close => at_end.then_some(rest.len()),
        };
        let Some(body) = length.and_then(|length| rest.get(..length)) else { return Ok(None) };
        // Only a refusal's body is looked at.
        let body = if head.answer.status == 429 { body.to_vec() } else { Vec::new() };
        Ok(Some((head.answer, body)))
    }
}

fn ended(error: &io::Error) -> Event {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Event::Reset,
        ErrorKind::ConnectionAborted => Event::Closed,
        _ => Event::Unreachable,
    }
}
