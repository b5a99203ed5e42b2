//! An upstream that does what a test tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request's head as the upstream got it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// All values of the field `name`.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let is_named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_named).map(|(_, value)| value.as_str()).collect()
    }

    /// The path and query.
    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).expect("a target")
    }
}

/// A connection on which a request has been read up to the end of its head.
pub(crate) type Stream = BufReader<TcpStream>;

/// The running upstream.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<Head>>>,
    connections: Arc<AtomicUsize>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Origin {
    /// Answers each request by `answer`, which returns whether the connection goes on.
    pub(crate) fn start(answer: impl Fn(&Head, &mut Stream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let origin =
            Self { address, heads: Arc::default(), connections: Arc::default(), streams: Arc::default() };
        let (heads, connections, streams) =
            (origin.heads.clone(), origin.connections.clone(), origin.streams.clone());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                streams.lock().expect("streams").push(stream.try_clone().expect("a handle"));
                let (heads, answer) = (heads.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while let Some(head) = read_head(&mut stream) {
                        heads.lock().expect("heads").push(head.clone());
                        if !answer(&head, &mut stream) {
                            break;
                        }
                    }
                    // `close_all` has a handle too: dropping this one would not close the connection.
                    let _ = stream.get_ref().shutdown(Shutdown::Both);
                });
            }
        });
        origin
    }

    /// Answers everything with 200 and the request's path.
    pub(crate) fn echo_path() -> Self {
        Self::start(|head, stream| {
            let path = head.path();
            reply(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
        })
    }

    /// Answers everything with these bytes.
    pub(crate) fn fixed(response: &'static str) -> Self {
        Self::start(move |_, stream| reply(stream, response))
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.heads.lock().expect("heads").clone()
    }

    /// The connections that there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections, as a restart does.
    pub(crate) fn close_all(&self) {
        for stream in self.streams.lock().expect("streams").drain(..) {
            // Closed by the proxy already, if this fails.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Writes `response`; true if it could be written.
pub(crate) fn reply(stream: &mut Stream, response: &str) -> bool {
    stream.get_mut().write_all(response.as_bytes()).is_ok()
}

fn read_head(stream: &mut Stream) -> Option<Head> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let fields = lines.split_off(1).into_iter().map(|line| {
        let (name, value) = line.split_once(':').expect("a field");
        (name.to_owned(), value.trim().to_owned())
    });
    Some(Head { fields: fields.collect(), line: lines.remove(0) })
}

/// Reads a body of `length` bytes.
pub(crate) fn read_body(stream: &mut Stream, length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    body
}
