//! Pages that change while somebody looks: a stream of server-sent events that looks once a second, and says
//! something when there is something new.

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use futures_util::{StreamExt, future, stream};
use tokio::sync::watch;
use uuid::Uuid;

use super::visitor::Visitor;

use crate::http::Here;
use crate::http::events::{HEARTBEAT, RETRY};
use crate::http::listeners::Place;
use crate::http::problem::Problem;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What a page watches.
pub trait Watch: 'static {
    /// What is new since the last look, as an event; the error is that it can be watched no longer.
    fn look(&mut self) -> impl Future<Output = Result<Option<Bytes>, Over>>;
}

/// There is nothing more to watch: the page asks again, and is told why.
pub struct Over;

impl<E: std::error::Error> From<E> for Over {
    fn from(_: E) -> Self {
        Self
    }
}

struct Stream<W> {
    watch: W,
    shared: Here,
    /// Held while it is watched.
    _place: Place,
    /// The session's; the stream ends with it.
    token: Uuid,
    stopping: watch::Receiver<bool>,
    looked: bool,
    told: Instant,
}

/// The stream.
pub fn stream<W: Watch>(shared: Here, visitor: &Visitor, watch: W) -> Result<HttpResponse, Problem> {
    let (token, stopping) = (visitor.who.token, shared.fleet.stopping.clone());
    let place = shared.listeners.join(token)?;
    let stream =
        Stream { watch, shared, _place: place, token, stopping, looked: false, told: Instant::now() };
    let events = stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, actix_web::Error>(event), stream))
    });
    let events = stream::once(future::ready(Ok(Bytes::from_static(RETRY)))).chain(events);
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        .streaming(events))
}

impl<W: Watch> Stream<W> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.looked {
                tokio::select! {
                    _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
            self.looked = true;
            if !self.shared.fleet.access.lasts(self.token).ok()? {
                return None;
            }
            let event = self.watch.look().await.ok()?;
            if event.is_some() || self.told.elapsed() >= HEARTBEAT {
                self.told = Instant::now();
                return Some(event.unwrap_or_else(|| Bytes::from_static(b": still here\n\n")));
            }
        }
    }
}
