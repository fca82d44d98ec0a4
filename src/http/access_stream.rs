//! Server-sent events of doors: `access` for each, as they come to this server.
//!
//! Every event has its number as its id, and a stream begins with the id of its place, so that one that breaks before any
//! event is taken up from there. A client that comes back with `Last-Event-ID` goes on behind it, as far as events
//! are kept, and else gets an event `lagged` with how many it missed. They are read from the store, so that a slow client costs
//! nothing but its turns. A stream ends with the token that opened it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::Here;
use super::events::{HEARTBEAT, RETRY, text};
use super::fleet_api::access_events::AccessEventBody;
use super::listeners::Place;
use super::problem::Problem;
use crate::access::Principal;
use crate::store::read::events::EventFilter;

/// Events read at once.
const PIECE: usize = 200;

/// Between two readings, and how much later for each listener there is.
const PACE: Duration = Duration::from_millis(100);
const PACE_EACH: Duration = Duration::from_millis(1);

/// Between two looks whether the token that opened a stream is still good.
const TOKEN_LOOK: Duration = Duration::from_secs(1);

struct Listener {
    shared: Here,
    place: Place,
    token: Uuid,
    token_seen: Instant,
    filter: EventFilter,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// The last number that was looked at.
    last: u64,
    ready: VecDeque<Bytes>,
}

/// The events that a filter picks, behind the last one that the client knows.
pub async fn stream_events(
    shared: Here,
    who: &Principal,
    filter: EventFilter,
    last: Option<u64>,
) -> Result<HttpResponse, Problem> {
    let place = shared.listeners.join(who.token)?;
    let changes = shared.fleet.store.events().subscribe();
    let begin = shared.fleet.events_after(filter.clone(), last, 0).await?;
    let place_in_events = Bytes::from(format!("id: {}\n\n", begin.last));
    let missed = (begin.missed > 0).then(|| lagged(begin.missed));
    let mut listener = Listener {
        place,
        token: who.token,
        token_seen: Instant::now(),
        filter,
        changes,
        stopping: shared.fleet.stopping.clone(),
        last: begin.last,
        ready: [Bytes::from_static(RETRY), place_in_events].into_iter().chain(missed).collect(),
        shared,
    };
    listener.changes.mark_changed();
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
            if let Some(events) = self.ready.pop_front() {
                return Some(events);
            }
            if self.token_seen.elapsed() >= TOKEN_LOOK {
                if !self.shared.fleet.access.lasts(self.token).ok()? {
                    return None;
                }
                self.token_seen = Instant::now();
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?, // or the store has stopped
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": still here\n\n")),
            }
            self.fetch().await?;
            tokio::select! {
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                () = tokio::time::sleep(PACE + PACE_EACH * self.place.of() as u32) => {}
            }
        }
    }

    /// Fetches what is new. Nothing when the stream cannot go on.
    async fn fetch(&mut self) -> Option<()> {
        let last = self.last;
        let new = self.shared.fleet.events_after(self.filter.clone(), Some(last), PIECE).await.ok()?;
        if new.missed > 0 {
            self.ready.push_back(lagged(new.missed));
        }
        if new.last != last {
            self.last = new.last;
            self.changes.mark_changed(); // there may be more
        }
        let mut piece = Vec::new();
        for event in new.events {
            let body = AccessEventBody::from(event);
            piece.extend_from_slice(&text(Some(body.id), "access", &json!(body)));
        }
        if !piece.is_empty() {
            self.ready.push_back(piece.into());
        }
        Some(())
    }
}

fn lagged(missed: u64) -> Bytes {
    text(None, "lagged", &json!({ "missed": missed }))
}
