//! The events of the fleet API; [`crate::http::events`] streams them.

use actix_web::{HttpRequest, HttpResponse, get, web};

use crate::http::Shared;
use crate::http::auth::Viewer;
use crate::http::events::{last_event_id, stream_events};
use crate::http::problem::{Problem, ProblemBody};

/// The events of one batch, from its beginning as far as it is kept; ends after `done`.
#[utoipa::path(tag = "batches", operation_id = "stream_batch_events", params(("id" = Uuid, Path), ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[get("/batches/{id}/events")]
pub async fn of_batch(
    Viewer(who): Viewer,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let seq = shared.fleet.batch(&id)?;
    stream_events(shared, &who, last_event_id(&request), Some(seq)).await
}

/// The events of all batches and of panels that go offline or come back, from now on or behind `Last-Event-ID`.
#[utoipa::path(tag = "batches", operation_id = "stream_events", params(("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 401, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[get("/events")]
pub async fn all(
    Viewer(who): Viewer,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    stream_events(shared, &who, last_event_id(&request), None).await
}
