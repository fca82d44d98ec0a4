//! The events of the fleet API; [`crate::http::events`] streams them.

use actix_web::{HttpRequest, HttpResponse, get, web};

use crate::http::Here;
use crate::http::auth::Listening;
use crate::http::events::{last_event_id, stream_events};
use crate::http::problem::{Problem, ProblemBody};

/// The events of one batch, from its beginning as far as it is kept; ends after `done`.
///
/// A browser's `EventSource` comes back then, with the `Last-Event-ID` of `done`, and stops where it is answered 204.
#[utoipa::path(tag = "batches", operation_id = "stream_batch_events", security(("bearer" = []), ("access_token" = []), ("page" = [])),
    params(("id" = Uuid, Path), ("Last-Event-ID" = Option<u64>, Header, description = "The last event that is known: what comes is behind it")),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "Events `panel`, `progress` and `done`, perhaps `lagged`; what each says is JSON"),
        (status = 204, description = "The batch is over, and its end is known: nothing comes any more"), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[get("/batches/{id}/events")]
pub async fn of_batch(
    Listening(who): Listening,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let seq = shared.fleet.batch(&id)?;
    stream_events(shared, &who, last_event_id(&request), Some(seq)).await
}

/// The events of all batches and of panels that go offline or come back, from now on or behind `Last-Event-ID`.
#[utoipa::path(tag = "batches", operation_id = "stream_events", security(("bearer" = []), ("access_token" = []), ("page" = [])),
    params(("Last-Event-ID" = Option<u64>, Header, description = "The last event that is known: what comes is behind it")),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "Events `panel`, `progress`, `done` and `connection`, perhaps `lagged`; what each says is JSON"), (status = 401, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[get("/events")]
pub async fn all(
    Listening(who): Listening,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    stream_events(shared, &who, last_event_id(&request), None).await
}
