//! Taking a batch back.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::batches::{self, BatchAnswer, BatchBody, DryRun};
use super::session::parse_json;
use crate::batch::selector::Selector;
use crate::fleet::batches::IdempotencyKey;
use crate::http::auth::{self, Operator};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, body};

/// Where a batch is to be taken back, and whether really.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// Of the batch's panels, only those that this picks by their labels; without it all.
    #[schema(example = "site=north")]
    pub selector: Option<String>,
    /// Change nothing and say what would change.
    pub dry_run: Option<bool>,
}

/// Takes a batch back: on each panel that it changed, puts back what stood before it, and deletes what it created. What
/// something newer has changed since is left as it is, and said to be `changed_since`.
///
/// The undo is a batch of its own, in the order of all batches, and can itself be undone. Like a submission it answers 200 when
/// every panel has an outcome within the time of `Prefer: wait`, else 202. The body may be left out.
#[utoipa::path(tag = "batches", operation_id = "undo_batch", request_body = UndoRequest,
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Up to 255 characters; the same key, batch and body get the first undo again"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 10 without"),
    ),
    responses((status = 200, body = BatchAnswer, description = "Every panel has an outcome; or with `dry_run`, what would come of it"),
        (status = 202, body = BatchBody, description = "Accepted and durable; some panel has no outcome yet"),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody, description = "There is no such batch, or its report is not kept any more"),
        (status = 409, body = ProblemBody, description = "The batch is still running, or nothing of what it changed stands any more"),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/batches/{id}:undo")]
pub async fn undo(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let wait = batches::wait(&request)?;
    let key = batches::idempotency_key(&request)?;
    let body = body::read(&request, payload, body::JSON, shared.body_limit).await?;
    let UndoRequest { selector, dry_run } =
        if body.is_empty() { UndoRequest::default() } else { parse_json(&body)? };
    let selector = selector.map(|selector| Selector::parse(&selector)).transpose()?;
    if dry_run == Some(true) {
        let plan = shared.fleet.plan_undo(&id, selector).await?;
        return Ok(HttpResponse::Ok().json(DryRun::from(plan)));
    }
    let key = key.map(|name| IdempotencyKey::new(name, &[b"undo ", id.as_bytes(), b"\n", &body].concat()));
    let origin = auth::origin(&request, &who.actor());
    let submitted = shared.fleet.undo(&id, selector, key, origin).await?;
    batches::answer(&shared, submitted, wait).await
}
