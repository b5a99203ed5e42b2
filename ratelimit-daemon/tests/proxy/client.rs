//! A client that sends and reads bytes as they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A response as it was read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names as spelt on the wire.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The only value of the field `name`, spelt as it is here.
    pub(crate) fn field(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {self:?}");
        all[0]
    }

    /// The number in the field `name`.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.field(name).parse().expect("a number")
    }

    /// All values of the field `name`, in whatever letters.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let is_named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_named).map(|(_, value)| value.as_str()).collect()
    }

    /// True if a name is spelt so.
    pub(crate) fn spells(&self, name: &str) -> bool {
        self.fields.iter().any(|(other, _)| other == name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The `code` of an error body.
    pub(crate) fn code(&self) -> &str {
        let rest = self.text().strip_prefix(r#"{"error":{"code":""#).expect("the shape of an error");
        rest.split_once('"').expect("the end of the code").0
    }

    /// What the `RateLimit` field says is left of the limit `name`.
    pub(crate) fn left_of(&self, name: &str) -> u64 {
        let item = format!("\"{name}\";r=");
        let (_, rest) = self.field("RateLimit").split_once(&item).expect("the limit");
        rest.split(';').next().expect("a part").parse().expect("a number")
    }
}

/// A connection to the proxy.
#[derive(Debug)]
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self(BufReader::new(stream))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.get_ref().local_addr().expect("an address")
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("sent");
    }

    /// GET of `path` with `key`, answered.
    pub(crate) fn get(&mut self, path: &str, key: &str) -> Response {
        self.send(get(path, key).as_bytes());
        self.read()
    }

    /// A request of `method` without a body, answered.
    pub(crate) fn ask(&mut self, method: &str, path: &str, key: &str) -> Response {
        self.send(get(path, key).replacen("GET", method, 1).as_bytes());
        if method == "HEAD" { self.read_head() } else { self.read() }
    }

    /// Reads a response to anything but HEAD.
    pub(crate) fn read(&mut self) -> Response {
        let mut response = self.read_head();
        match response.all("content-length").first().map(|text| text.parse().expect("a length")) {
            Some(length) => {
                response.body = vec![0; length];
                self.0.read_exact(&mut response.body).expect("a whole body");
            }
            None if response.all("transfer-encoding") == ["chunked"] => response.body = self.read_chunks(),
            None if response.status == 304 || response.status == 204 => {}
            None => drop(self.0.read_to_end(&mut response.body).expect("a body")),
        }
        response
    }

    /// Reads a response's head.
    pub(crate) fn read_head(&mut self) -> Response {
        let status = self.line();
        let status = status.strip_prefix("HTTP/1.").expect("a status line")[2..5].parse().expect("a status");
        let lines = std::iter::from_fn(|| Some(self.line()).filter(|line| !line.is_empty()));
        let split = |line: String| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.to_owned(), value.to_owned())
        };
        Response { status, fields: lines.map(split).collect(), body: Vec::new() }
    }

    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = u64::from_str_radix(&self.line(), 16).expect("a chunk length");
            self.0.by_ref().take(length).read_to_end(&mut body).expect("a chunk");
            assert_eq!(self.line(), "");
            if length == 0 {
                return body;
            }
        }
    }

    /// A line without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("the end of the line {line:?}")).to_owned()
    }

    /// True if the proxy closes the connection without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }
}

/// The bytes of a GET.
pub(crate) fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nX-API-Key: {key}\r\n\r\n")
}
