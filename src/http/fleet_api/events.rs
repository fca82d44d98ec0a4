//! Server-sent events of batches and panels.
//!
//! `panel` as each outcome lands, `progress` at most ten times a second, `done` at the end; among the events of all
//! batches also `connection` when a remote panel goes offline or comes back. Every event has
//! an id; a client that comes back with `Last-Event-ID` goes on behind it. One that falls behind what is kept
//! gets an event `lagged` with how many it missed, and should read the batch instead. A stream ends with the token that
//! opened it.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, get, web};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::batches;
use crate::access::Principal;
use crate::batch::BatchState;
use crate::coordinator::events::{Event, What};
use crate::coordinator::{EventsSince, Subscribe};
use crate::http::Shared;
use crate::http::auth::Viewer;
use crate::http::problem::{Problem, ProblemBody};
use crate::store::{BatchSeq, StoreError};

/// Events fetched at once.
const PIECE: usize = 256;

/// A comment goes out when nothing else has for so long, so that a vanished client is noticed.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// The events of one batch, from its beginning as far as it is kept; ends after `done`.
#[utoipa::path(tag = "batches", params(("id" = Uuid, Path), ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/batches/{id}/events")]
pub async fn of_batch(
    Viewer(who): Viewer,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let seq = batches::find(&shared, &id)?;
    stream_events(shared, &who, last_event_id(&request), Some(seq)).await
}

/// The events of all batches and of panels that go offline or come back, from now on or behind `Last-Event-ID`.
#[utoipa::path(tag = "batches", params(("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 401, body = ProblemBody)))]
#[get("/events")]
pub async fn all(
    Viewer(who): Viewer,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    stream_events(shared, &who, last_event_id(&request), None).await
}

/// The last event that the client knows.
pub fn last_event_id(request: &HttpRequest) -> Option<u64> {
    request.headers().get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// A client that listens.
struct Listener {
    shared: web::Data<Shared>,
    /// What it showed; the stream ends with it.
    token: Uuid,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    batch: Option<BatchSeq>,
    from: u64,
    /// Whether the client knows of events before `from`, so that missing some is worth a word.
    resumed: bool,
    ready: VecDeque<Bytes>,
    batch_ids: HashMap<BatchSeq, Uuid>,
    ended: bool,
}

/// The events of a batch, or of all that happens, behind the last one that the client knows.
pub async fn stream_events(
    shared: web::Data<Shared>,
    who: &Principal,
    last: Option<u64>,
    batch: Option<BatchSeq>,
) -> Result<HttpResponse, Problem> {
    let (changes, next) = shared.coordinator.send(Subscribe).await?;
    let from = match (last, batch) {
        (Some(last), _) => last.saturating_add(1),
        (None, Some(_)) => 0,
        (None, None) => next,
    };
    let listener = Listener {
        stopping: shared.stopping.clone(),
        shared,
        token: who.token,
        changes,
        batch,
        from,
        resumed: last.is_some(),
        ready: VecDeque::new(),
        batch_ids: HashMap::new(),
        ended: false,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, actix_web::Error>(event), listener))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        .streaming(events))
}

impl Listener {
    /// The next piece of the stream; nothing at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if !self.shared.access.lasts(self.token).ok()? {
                return None;
            }
            self.changes.mark_unchanged();
            if !self.fetch().await? {
                tokio::select! {
                    changed = self.changes.changed() => changed.ok()?, // or the coordinator has stopped
                    _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                    () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": still here\n\n")),
                }
            }
        }
    }

    /// Fetches a piece; says whether there was any. Nothing when the stream cannot go on.
    async fn fetch(&mut self) -> Option<bool> {
        let question = EventsSince { from: self.from, batch: self.batch, limit: PIECE };
        let (events, go_on, missed) = self.shared.coordinator.send(question).await.ok()?;
        let first = self.from;
        self.from = go_on;
        if missed > 0 && self.resumed {
            self.ready.push_back(text(None, "lagged", &json!({ "missed": missed })));
        }
        self.resumed = true;
        for event in &events {
            let rendered = self.render(event).ok()?;
            self.ready.push_back(rendered);
            if self.batch.is_some() && matches!(event.what, What::Done(..)) {
                self.ended = true;
            }
        }
        if events.is_empty() && !self.ended && first != go_on {
            return Some(true); // others' events were passed over; there may be more
        }
        if events.is_empty()
            && let Some(seq) = self.batch
        {
            self.end_if_over(seq)?;
        }
        Some(!self.ready.is_empty())
    }

    /// A batch that ended before what is kept of its events: its end is told from its record.
    fn end_if_over(&mut self, seq: BatchSeq) -> Option<()> {
        let record = self.shared.store.read().ok()?.batch(seq).ok()??;
        if record.state != BatchState::Running {
            let data = json!({ "batch": record.id, "state": record.state, "panels": record.report.panels, "items": record.report.items });
            self.ready.push_back(text(None, "done", &data));
            self.ended = true;
        }
        Some(())
    }

    fn render(&mut self, event: &Event) -> Result<Bytes, StoreError> {
        let snapshot = self.shared.store.read()?;
        let batch = match event.batch {
            None => None,
            Some(seq) => match self.batch_ids.get(&seq) {
                Some(id) => Some(*id),
                None => {
                    let id = snapshot.batch(seq)?.map(|record| record.id).unwrap_or_default();
                    self.batch_ids.insert(seq, id);
                    Some(id)
                }
            },
        };
        Ok(match &event.what {
            What::Connection { panel, connection, error } => {
                let panel = snapshot.panel_name(*panel)?;
                let data = json!({ "panel": panel, "connection": connection.as_str(), "error": error });
                text(Some(event.id), "connection", &data)
            }
            What::Panel { panel, outcome, attempts, error } => {
                let panel = snapshot.panel_name(*panel)?;
                let data = json!({ "batch": batch, "panel": panel, "outcome": outcome, "attempts": attempts, "error": error });
                text(Some(event.id), "panel", &data)
            }
            What::Progress(report) => {
                let data = json!({ "batch": batch, "panels": report.panels, "items": report.items });
                text(Some(event.id), "progress", &data)
            }
            What::Done(state, report) => {
                let data =
                    json!({ "batch": batch, "state": state, "panels": report.panels, "items": report.items });
                text(Some(event.id), "done", &data)
            }
        })
    }
}

/// An event as it is sent.
pub fn text(id: Option<u64>, event: &str, data: &serde_json::Value) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    Bytes::from(format!("{id}event: {event}\ndata: {data}\n\n"))
}
