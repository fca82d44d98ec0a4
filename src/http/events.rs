//! Server-sent events of batches and panels, for the fleet API and for the pages.
//!
//! `panel` as each outcome lands, `progress` at most ten times a second, `done` at the end; among the events of all
//! batches also `connection` when a remote panel goes offline or comes back. Every event has
//! an id; a client that comes back with `Last-Event-ID` goes on behind it. One that falls behind what is kept
//! gets an event `lagged` with how many it missed (null where that is not known, since its id is none that was given),
//! and should read the batch instead. A stream ends with the token that opened it.
//!
//! A browser's `EventSource` comes back whenever a stream ends, and stops where it is answered 204: so is one who comes
//! back behind the `done` of the batch that it listens to.
//!
//! An event is written once for all listeners ([`Chunk::wire`]), and the more listeners there are, the more rarely each
//! of them looks: they must not take from a batch the time that it needs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::access::Principal;
use crate::batch::{BatchRecord, BatchState};
use crate::coordinator::events::{Chunk, Event, Feed, Found, What};
use crate::coordinator::{Progress, Subscribe};
use crate::fleet::FleetError;
use crate::http::listeners::Place;
use crate::http::problem::Problem;
use crate::http::{Here, Shared};
use crate::store::read::Snapshot;
use crate::store::{BatchSeq, StoreError, StoreHandle};

/// Chunks of events fetched at once.
const PIECE: usize = 4;

/// Between two looks of a listener while there is something new; and how much later it looks for each listener there is.
const PACE: Duration = Duration::from_millis(100);
const PACE_EACH: Duration = Duration::from_micros(250);

/// Between two looks whether the token that opened a stream is still good.
const TOKEN_LOOK: Duration = Duration::from_secs(1);

/// How long a client waits before it comes back, in milliseconds; the first thing on each stream.
pub const RETRY: &[u8] = b"retry: 3000\n\n";

/// A comment goes out when nothing else has for so long, so that a vanished client is noticed.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// The last event that the client knows.
pub fn last_event_id(request: &HttpRequest) -> Option<u64> {
    request.headers().get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// A client that listens.
struct Listener {
    shared: Here,
    place: Place,
    /// What it showed; the stream ends with it.
    token: Uuid,
    /// When it was last looked at the token.
    token_seen: Instant,
    feed: Arc<Feed>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    batch: Option<BatchSeq>,
    from: u64,
    /// Whether the client knows of events before `from`, so that missing some is worth a word.
    resumed: bool,
    /// Whether the batch's end may be among what is kept no more.
    perhaps_over: bool,
    /// When something was last found for this client.
    found: Instant,
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// The events of a batch, or of all that happens, behind the last one that the client knows. Of a batch that is over, whose
/// end it knows: no content.
pub async fn stream_events(
    shared: Here,
    who: &Principal,
    last: Option<u64>,
    batch: Option<BatchSeq>,
) -> Result<HttpResponse, Problem> {
    let place = shared.listeners.join(who.token)?;
    let feed = shared.fleet.coordinator.send(Subscribe).await?;
    if let (Some(last), Some(batch)) = (last, batch)
        && is_told(&shared, &feed, batch, last).await?
    {
        return Ok(HttpResponse::NoContent().finish());
    }
    let from = match (last, batch) {
        (Some(last), _) => last.saturating_add(1),
        (None, Some(_)) => 0,
        (None, None) => feed.next(),
    };
    let now = Instant::now();
    let listener = Listener {
        stopping: shared.fleet.stopping.clone(),
        changes: feed.subscribe(),
        shared,
        place,
        token: who.token,
        token_seen: now,
        feed,
        batch,
        from,
        resumed: last.is_some(),
        perhaps_over: true,
        found: now.checked_sub(PACE * 10).unwrap_or(now),
        ready: VecDeque::from([Bytes::from_static(RETRY)]),
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

/// Whether the batch is over, and a client that knows the events up to `last` knows its end.
async fn is_told(shared: &Shared, feed: &Feed, batch: BatchSeq, last: u64) -> Result<bool, Problem> {
    let over = ended(shared, batch).await?.is_some();
    let kept = feed.since(0, usize::MAX).chunks; // they are shared, and not copied
    let mut events = kept.iter().rev().flat_map(|chunk| &chunk.events);
    // Its end is told before it is recorded.
    let done = events.find(|event| event.batch == Some(batch) && matches!(event.what, What::Done(..)));
    Ok(match done {
        Some(done) => done.id <= last,
        // It ended before what is kept, and so before all that such a client knows.
        None => over && feed.since(last.saturating_add(1), 0).missed == Some(0),
    })
}

/// The batch, where it is over. Its last events are published then.
async fn ended(shared: &Shared, batch: BatchSeq) -> Result<Option<BatchRecord>, Problem> {
    let record = shared.fleet.store.read()?.batch(batch)?;
    let record = record.ok_or_else(|| FleetError::NotFound("the batch is kept no more".to_owned()))?;
    if record.state == BatchState::Running {
        return Ok(None);
    }
    // Its record may be written and its last events be on their way: they are here when the coordinator answers.
    let running = shared.fleet.coordinator.send(Progress(batch)).await?;
    Ok(running.is_none().then_some(record))
}

impl Listener {
    /// The next piece of the stream; nothing at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(events) = self.ready.pop_front() {
                return Some(events);
            }
            if self.ended {
                return None;
            }
            if self.token_seen.elapsed() >= TOKEN_LOOK {
                if !self.shared.fleet.access.lasts(self.token).ok()? {
                    return None;
                }
                self.token_seen = Instant::now();
            }
            // With many listeners each takes its pieces at a distance, or what they are sent is all that is done.
            self.pause((PACE_EACH * self.place.of() as u32).saturating_sub(self.found.elapsed())).await?;
            self.changes.mark_unchanged();
            if self.fetch()? || (self.perhaps_over && self.look_for_the_end().await?) {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?, // or the coordinator has stopped
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": still here\n\n")),
            }
            // What happens at once is told together, and not while it happens: the more listeners, the later.
            let others = PACE_EACH * self.place.of() as u32;
            self.pause((PACE + others).saturating_sub(self.found.elapsed()).max(others)).await?;
        }
    }

    /// Waits; nothing when the server stops.
    async fn pause(&mut self, time: Duration) -> Option<()> {
        if time.is_zero() {
            return Some(());
        }
        tokio::select! {
            _ = self.stopping.wait_for(|stopping| *stopping) => None,
            () = tokio::time::sleep(time) => Some(()),
        }
    }

    /// Fetches a piece; says whether there was any. Nothing when the stream cannot go on.
    fn fetch(&mut self) -> Option<bool> {
        let Found { chunks, from, missed } = self.feed.since(self.from, PIECE);
        self.from = from;
        if missed != Some(0) {
            self.perhaps_over = true;
            if self.resumed {
                self.ready.push_back(text(None, "lagged", &json!({ "missed": missed })));
            }
        }
        self.resumed = true;
        for chunk in &chunks {
            self.take_chunk(chunk).ok()?;
            self.from = chunk.next();
            if self.ended {
                break;
            }
        }
        if !self.ready.is_empty() {
            self.found = Instant::now();
        }
        Some(!chunks.is_empty() || !self.ready.is_empty())
    }

    /// Takes the events of a chunk that this listener wants.
    fn take_chunk(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let wanted =
            |event: &Event| event.id >= self.from && (self.batch.is_none() || self.batch == event.batch);
        if !chunk.events.iter().any(wanted) {
            return Ok(());
        }
        let (wire, ends) = on_the_wire(chunk, &self.shared.fleet.store)?;
        // Neighbours go out together.
        let mut run: Option<(usize, usize)> = None;
        let mut runs = Vec::new();
        for (i, event) in chunk.events.iter().enumerate() {
            if !wanted(event) {
                runs.extend(run.take());
                continue;
            }
            let begin = if i == 0 { 0 } else { ends[i - 1] };
            run = Some((run.map_or(begin, |(begin, _)| begin), ends[i]));
            if self.batch.is_some() && matches!(event.what, What::Done(..)) {
                self.ended = true;
                break;
            }
        }
        runs.extend(run);
        self.ready.extend(runs.into_iter().map(|(begin, end)| wire.slice(begin..end)));
        Ok(())
    }

    /// Whether there is more to send: where the batch ended before what is kept of its events, its end from its record.
    async fn look_for_the_end(&mut self) -> Option<bool> {
        let ended = match self.batch {
            None => None,
            Some(seq) => ended(&self.shared, seq).await.ok()?,
        };
        let Some(record) = ended else {
            self.perhaps_over = false; // its end will be an event
            return Some(false);
        };
        if self.fetch()? {
            return Some(true);
        }
        let data = json!({ "batch": record.id, "state": record.state, "panels": record.report.panels, "items": record.report.items });
        // All that was published by now is behind the client: whoever comes back with this number knows the end.
        self.ready.push_back(text(Some(self.feed.next().saturating_sub(1)), "done", &data));
        self.ended = true;
        Some(true)
    }
}

/// What a chunk looks like on the wire, and where each of its events ends there; made once.
fn on_the_wire<'c>(chunk: &'c Chunk, store: &StoreHandle) -> Result<&'c (Bytes, Vec<usize>), StoreError> {
    if let Some(wire) = chunk.wire.get() {
        return Ok(wire);
    }
    let snapshot = store.read()?;
    let mut batch_ids = HashMap::new();
    let (mut wire, mut ends) = (Vec::new(), Vec::with_capacity(chunk.events.len()));
    for event in &chunk.events {
        wire.extend_from_slice(&render(event, &snapshot, &mut batch_ids)?);
        ends.push(wire.len());
    }
    // Two listeners may have made it at once, and both the same.
    Ok(chunk.wire.get_or_init(|| (Bytes::from(wire), ends)))
}

fn render(
    event: &Event,
    snapshot: &Snapshot,
    batch_ids: &mut HashMap<BatchSeq, Uuid>,
) -> Result<Bytes, StoreError> {
    let batch = match event.batch {
        None => None,
        Some(seq) => match batch_ids.get(&seq) {
            Some(id) => Some(*id),
            None => {
                let id = snapshot.batch(seq)?.map(|record| record.id).unwrap_or_default();
                batch_ids.insert(seq, id);
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

/// An event as it is sent.
pub fn text(id: Option<u64>, event: &str, data: &serde_json::Value) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    Bytes::from(format!("{id}event: {event}\ndata: {data}\n\n"))
}
