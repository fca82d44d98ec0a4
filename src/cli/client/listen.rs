//! Listening to server-sent events.

use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;
use serde_json::Value;

use super::{Answer, Client, MAX_ANSWER};
use crate::cli::{Exit, Failure};
use crate::panel::device::line::connection::Connection;

/// A server that is there says something within this time.
const SILENCE: Duration = Duration::from_mins(1);

/// Bytes of one event at most.
const MAX_EVENT: usize = 64 * 1024;

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// What kind of event it is.
    pub event: String,
    /// What it says.
    pub data: String,
}

/// A stream that is open.
pub struct Listening<'c> {
    client: &'c Client,
    connection: Connection,
    come: Vec<u8>,
    place: Option<String>,
}

impl Client {
    /// Listens at a path below `/fleet/v1`, behind the last event that is known.
    pub fn listen(&self, path: &str, last: Option<&str>) -> Result<Listening<'_>, Failure> {
        let mut request = self.request(Method::GET, &format!("/fleet/v1{path}"))?;
        if let Some(last) = last {
            let last = HeaderValue::from_str(last).map_err(|error| Failure::usage(error.to_string()))?;
            request.headers_mut().insert("last-event-id", last);
        }
        self.runtime.block_on(async {
            let (mut connection, head) = self.ask(request).await?;
            if !head.status.is_success() {
                let text = connection.whole(MAX_ANSWER).await.unwrap_or_default();
                let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
                self.good(Answer { status: head.status, body })?;
            }
            Ok(Listening { client: self, connection, come: Vec::new(), place: last.map(str::to_owned) })
        })
    }
}

impl Listening<'_> {
    /// Behind what a stream is opened again that goes on where this one is: the last id that came, of an event or alone.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The next event; nothing at the stream's end.
    pub fn next(&mut self) -> Result<Option<Sent>, Failure> {
        loop {
            while let Some(end) = self.come.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.come.drain(..end + 2).collect();
                let text = String::from_utf8_lossy(&text);
                if let Some(id) = field(&text, "id") {
                    self.place = Some(id.to_owned());
                }
                if let Some(sent) = read(&text) {
                    return Ok(Some(sent));
                }
            }
            if self.come.len() > MAX_EVENT {
                return Err(Failure::new(Exit::Failed, "the server sends an event without an end"));
            }
            let connection = &mut self.connection;
            let piece = async { tokio::time::timeout(SILENCE, connection.piece()).await };
            let piece = self.client.runtime.block_on(piece);
            let piece = piece.map_err(|_| self.client.broken_off("the server says nothing any more"))?;
            match piece.map_err(|broken| self.client.broken_off(&broken.why))? {
                Some(piece) => self.come.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// One event. Comments, and what only says when to come back, are none.
fn read(text: &str) -> Option<Sent> {
    let owned = |name| field(text, name).map(str::to_owned);
    Some(Sent { event: owned("event")?, data: owned("data")? })
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let text = "id: 7\nevent: access\ndata: {}";
        let (event, data) = ("access".to_owned(), "{}".to_owned());
        assert_eq!((read(text), field(text, "id")), (Some(Sent { event, data }), Some("7")));
        assert_eq!(field("event: lagged\ndata: 1", "id"), None);
        assert_eq!((read("id: 7"), field("id: 7", "id")), (None, Some("7")), "a place alone");
        assert_eq!(read("retry: 3000"), None);
        assert_eq!(read(": still here"), None);
    }
}
