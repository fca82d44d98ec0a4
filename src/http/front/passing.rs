//! Passing a request on to the leader: its body is held, so that it can be sent again where it was certainly not done; the
//! answer is passed back as it comes.

use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::body::BodySize;
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{StreamExt, stream};
use http_body_util::Full;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{LINES, Leader, NodeFront, ROOM, STEP};
use crate::cluster::peers::{NOT_LEADING, PASSED, Passed};
use crate::http::HeadOnly;
use crate::http::body::TIME;
use crate::http::panel_api::OnlyPanel;
use crate::http::problem::Problem;
use crate::panel::device::line::connection::{Address, Afterwards, Broken, Connection};
use crate::panel::device::line::trust::Configs;

/// How long a connection to the leader may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// A leader that does not answer for so long is asked whether it is there at all.
const SILENT: Duration = Duration::from_secs(5);

/// From one piece of a long answer to the next; streams of events have a sign of life in between.
const BETWEEN_PIECES: Duration = Duration::from_mins(1);

fn silent() -> Broken {
    Broken { why: "nothing came for a minute".to_owned(), unsent: false, silent: false, garbled: false }
}

/// How long an answer may be on its way from a node that leads no more.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// Connections that a thread keeps at most.
const KEPT: usize = 64;

/// Answers up to this length, in bytes, are read whole before they are passed back, so that one that breaks off is told.
const SHORT: u64 = 256 * 1024;

/// The connections of a thread.
#[derive(Default)]
pub(super) struct Lines {
    kept: HashMap<String, Vec<Connection>>,
    configs: Rc<Configs>,
}

/// The body of a request, held until it is answered.
pub(super) struct Held {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// The body as the handlers here read it.
pub(super) fn as_payload(held: Held) -> Payload {
    let bytes = held.bytes.clone();
    let once = stream::once(async move {
        let _held = held; // until it is read
        Ok::<_, actix_web::error::PayloadError>(bytes)
    });
    Payload::Stream { payload: Box::pin(once) }
}

/// Reads the body of a request that is to be passed on, as soon as there is room for it.
pub(super) async fn read_body(
    node: &NodeFront,
    request: &HttpRequest,
    mut payload: Payload,
    until: Instant,
) -> Result<Held, Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let length = match announced.and_then(|value| value.parse::<usize>().ok()) {
        Some(length) => length,
        None if chunked => node.body_limit,
        None => 0,
    };
    if length > node.body_limit {
        return Err(Problem::TooLarge(node.body_limit));
    }
    let room = if length == 0 {
        None
    } else {
        let steps = (length / STEP + 1).min(ROOM / STEP) as u32;
        let room = std::sync::Arc::clone(&node.room).acquire_many_owned(steps);
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, room).await {
            Ok(Ok(room)) => Some(room),
            Ok(Err(_)) | Err(_) => return Err(crate::fleet::FleetError::Busy.into()),
        }
    };
    let mut bytes = BytesMut::new();
    let reading = async {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_| Problem::bad_request("the body ended early"))?;
            if bytes.len() + piece.len() > node.body_limit {
                return Err(Problem::TooLarge(node.body_limit));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(())
    };
    tokio::time::timeout(TIME, reading).await.map_err(|_| Problem::TooSlow)??;
    Ok(Held { bytes: bytes.freeze(), _room: room })
}

/// What came of passing a request on.
pub(super) enum Passing {
    /// The leader's answer.
    Answered(HttpResponse),
    /// It was certainly not done, or it does no harm to ask again.
    NotDone,
    /// It was sent, and perhaps done, but there is no answer.
    Lost,
}

/// A request that is passed on.
pub(super) struct Errand<'r> {
    pub(super) node: &'r NodeFront,
    pub(super) request: &'r HttpRequest,
    pub(super) body: &'r Held,
}

impl Errand<'_> {
    /// Sends it to the leader and waits for the answer's head, unless somebody else leads meanwhile.
    pub(super) async fn pass(&self, leader: &Leader, changed: &mut watch::Receiver<()>) -> Passing {
        let asks_only = matches!(*self.request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let unsure = if asks_only { Passing::NotDone } else { Passing::Lost };
        let Ok(address) = Address::parse(&leader.url) else { return Passing::NotDone };
        let kept = LINES.with_borrow_mut(|lines| lines.kept.get_mut(&leader.url).and_then(Vec::pop));
        let was_kept = kept.is_some();
        let mut line = match kept {
            Some(line) => line,
            None => match self.connect(&address).await {
                Some(line) => line,
                None => return Passing::NotDone,
            },
        };
        let Some(outgoing) = self.outgoing(&address) else { return Passing::NotDone };
        let head = {
            let mut asking = pin!(line.send(outgoing));
            loop {
                tokio::select! {
                    biased;
                    head = &mut asking => break head,
                    _ = changed.changed() => {
                        // One that gives the lead away has answered before, and the answer is on its way.
                        match tokio::time::timeout(UNDER_WAY, &mut asking).await {
                            Ok(head) => break head,
                            Err(_) => return unsure,
                        }
                    }
                    () = tokio::time::sleep(SILENT) => {
                        if self.connect(&address).await.is_none() {
                            return unsure;
                        }
                    }
                }
            }
        };
        let head = match head {
            Ok(head) => head,
            // A connection that was kept and is closed has not taken it.
            Err(broken) if broken.unsent || (was_kept && broken.silent && asks_only) => {
                return Passing::NotDone;
            }
            Err(_) => return unsure,
        };
        // A leader that was paused has not read what it takes for slow.
        if head.headers.contains_key(NOT_LEADING) || head.status == hyper::StatusCode::REQUEST_TIMEOUT {
            return Passing::NotDone;
        }
        let mut answer = HttpResponse::build(StatusCode::from_u16(head.status.as_u16()).unwrap_or_default());
        for (name, value) in &head.headers {
            if !is_of_connection(name.as_str())
                && *name != hyper::header::CONTENT_LENGTH
                && let (Ok(name), Ok(value)) = (
                    HeaderName::from_bytes(name.as_str().as_bytes()),
                    HeaderValue::from_bytes(value.as_bytes()),
                )
            {
                answer.append_header((name, value));
            }
        }
        let length = head.headers.get(hyper::header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let url = leader.url.clone();
        if *self.request.method() == Method::HEAD {
            keep(url, line).await;
            let size = length.map_or(BodySize::Stream, BodySize::Sized);
            return Passing::Answered(answer.body(HeadOnly(size)));
        }
        if matches!(head.status.as_u16(), 204 | 304) {
            keep(url, line).await;
            return Passing::Answered(answer.finish()); // it has no body, and nothing that says so
        }
        match length {
            Some(length) if length <= SHORT => {
                match tokio::time::timeout(SILENT * 2, line.whole(SHORT as usize)).await {
                    Ok(Ok(body)) => {
                        keep(url, line).await;
                        Passing::Answered(answer.body(body))
                    }
                    Ok(Err(_)) | Err(_) => unsure,
                }
            }
            length => {
                let pieces = stream::unfold(Some((line, url)), |state| async move {
                    let (mut line, url) = state?;
                    let piece = tokio::time::timeout(BETWEEN_PIECES, line.piece()).await;
                    match piece.unwrap_or_else(|_| Err(silent())) {
                        Ok(Some(piece)) => Some((Ok(piece), Some((line, url)))),
                        Ok(None) => {
                            keep(url, line).await;
                            None
                        }
                        Err(broken) => Some((Err(std::io::Error::other(broken.why)), None)),
                    }
                });
                Passing::Answered(match length {
                    Some(length) => answer.no_chunking(length).streaming(pieces),
                    None => answer.streaming(pieces),
                })
            }
        }
    }

    async fn connect(&self, address: &Address) -> Option<Connection> {
        let configs = LINES.with_borrow(|lines| Rc::clone(&lines.configs));
        match Connection::open(address, &self.node.trust, &configs, CONNECT_WITHIN).await {
            Ok(line) => Some(line),
            Err(error) => {
                tracing::debug!(?error, "the leader is not reached");
                None
            }
        }
    }

    /// The request as the leader gets it: as it came, and for whom.
    fn outgoing(&self, address: &Address) -> Option<hyper::Request<Full<Bytes>>> {
        let request = self.request;
        let mut path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if let Some(OnlyPanel(panel)) = request.app_data::<OnlyPanel>() {
            path = format!("/panels/{}{path}", crate::http::percent(panel));
        }
        let method = hyper::Method::from_bytes(request.method().as_str().as_bytes()).ok()?;
        let mut outgoing = address.request(method, &path, self.body.bytes.clone()).ok()?;
        let headers = outgoing.headers_mut();
        if request.headers().contains_key(header::HOST) {
            headers.remove(hyper::header::HOST); // as the client says it
        }
        for (name, value) in request.headers() {
            let passes = !is_of_connection(name.as_str())
                && name != header::CONTENT_LENGTH
                && name.as_str() != PASSED
                && name != header::EXPECT;
            if passes
                && let (Ok(name), Ok(value)) = (
                    hyper::header::HeaderName::from_bytes(name.as_str().as_bytes()),
                    hyper::header::HeaderValue::from_bytes(value.as_bytes()),
                )
            {
                headers.append(name, value);
            }
        }
        let node = self.node;
        let passed = Passed {
            client: super::client(request, &node.proxies)?,
            secure: super::is_secure(request, &node.proxies),
            node: node.node.clone(),
        };
        let value = node.peers.pass(&passed, request.method().as_str(), &path);
        headers.insert(PASSED, hyper::header::HeaderValue::from_str(&value).ok()?);
        Some(outgoing)
    }
}

/// Keeps a connection for another request, where it may serve for one.
async fn keep(url: String, mut line: Connection) {
    if line.afterwards().await == Afterwards::Kept {
        LINES.with_borrow_mut(|lines| {
            if lines.kept.len() > 1 && !lines.kept.contains_key(&url) {
                lines.kept.clear(); // of leaders that were
            }
            let kept = lines.kept.entry(url).or_default();
            if kept.len() < KEPT {
                kept.push(line);
            }
        });
    }
}

/// Headers that are between two ends of a connection.
fn is_of_connection(name: &str) -> bool {
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
    .iter()
    .any(|other| name.eq_ignore_ascii_case(other))
}
