//! One connection over which HTTP requests go one after the other, with as little in between as can be: whoever measures
//! shares the machine with what is measured.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request as it is sent. Each of `headers` ends with a line break.
pub fn request(method: &str, path: &str, token: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer {token}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The connection. Where the server has closed it, it is made anew.
pub struct Line {
    at: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    pub async fn to(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).await.expect("a connection");
        stream.set_nodelay(true).expect("set");
        Self { at, stream, buffer: Vec::new() }
    }

    /// Gives the body of the answer, which has to be a success.
    pub async fn ask(&mut self, request: &[u8]) -> &[u8] {
        let from = match self.exchange(request).await {
            Some(from) => from,
            None => {
                *self = Self::to(self.at).await;
                self.exchange(request).await.expect("an answer")
            }
        };
        assert!(self.buffer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&self.buffer));
        &self.buffer[from..]
    }

    /// Where the body of the answer begins; nothing where the connection was closed.
    async fn exchange(&mut self, request: &[u8]) -> Option<usize> {
        self.stream.write_all(request).await.ok()?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
            if let Some(from) = body_of(&self.buffer) {
                return Some(from);
            }
        }
    }
}

/// Where the body begins, once a message is whole.
pub fn body_of(message: &[u8]) -> Option<usize> {
    let from = message.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&message[..from]).expect("a text").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
    (message.len() >= from + length).then_some(from)
}
