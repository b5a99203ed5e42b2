//! Bytes that wait in the socket until something has been done.
#![forbid(unsafe_code)]

use rustix::net::{SendFlags, send};
use std::io;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// Writes all of `bytes` to `stream`, and does `before` when the socket has them and the other end does not have the
/// last of them: unless they are more than the socket takes at once, or end where a segment does.
pub(super) async fn write_all(stream: &mut TcpStream, bytes: &[u8], before: impl FnOnce()) -> io::Result<()> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    let held = match stream.try_io(Interest::WRITABLE, || Ok(send(&*stream, bytes, flags)?)) {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    match bytes.get(held..) {
        Some(rest) if !rest.is_empty() => stream.write_all(rest).await,
        _ => {
            before();
            // Said again, it sends what is held back (tcp(7)).
            stream.set_nodelay(true)
        }
    }
}
