//! Batches: submit, watch, cancel, retry.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::opening::Opening;
use super::schedules::{CalendarBody, SchedulesRequest};
use super::types::{IdentifierBody, TimeProfileBody};
use super::{Page, Paging};
use crate::access::actor;
use crate::batch::item::ItemId;
use crate::batch::report::{ItemCounts, PanelCounts, Report};
use crate::batch::{BatchRecord, BatchState, PanelState};
use crate::clock;
use crate::coordinator::Submitted;
use crate::fleet::batches::{self as asked, IdempotencyKey, Plan};
use crate::fleet::wanted::Wanted;
use crate::http::auth::{self, Operator, Viewer};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, Shared, body};
use crate::store::{BatchSeq, PanelNo, tables};

/// Seconds that a submission waits for the outcomes without a word on it, and at most.
const WAIT: u64 = 10;
const MAX_WAIT: u64 = 300;

/// A line of JSON for each panel.
const NDJSON: &str = "application/x-ndjson";

/// Panels that are read at once for such an answer: what it takes in memory.
const PIECE: usize = 64;

/// The longest idempotency key, in characters.
const MAX_KEY: usize = 255;

/// What a batch asks for. Exactly one of `selector`, `panels` and `all` says for whom.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BatchRequest {
    /// Panels by their labels.
    #[schema(example = "site=north")]
    pub selector: Option<String>,
    /// Panels by id.
    pub panels: Option<Vec<String>>,
    /// Every panel.
    pub all: Option<bool>,
    /// Profiles to create or update.
    pub upsert: Option<Vec<TimeProfileBody>>,
    /// Link_ids of profiles to delete.
    pub delete: Option<Vec<Uuid>>,
    /// What is asked of identifiers.
    pub identifiers: Option<IdentifiersRequest>,
    /// What is asked of schedules.
    pub schedules: Option<SchedulesRequest>,
    /// The calendars that these name.
    pub calendars: Option<Vec<CalendarBody>>,
    /// Change nothing and say what would change.
    pub dry_run: Option<bool>,
    /// Also delete every other profile with a link_id of those panels.
    pub prune: Option<bool>,
    /// How many deletions are meant. A batch with `prune` that would delete more items than it names needs it, and one to
    /// devices of which nobody has read what they hold.
    #[schema(example = 12)]
    pub confirm_deletes: Option<u64>,
    /// How many door-hours are meant. A batch that would open or close more of them than the server's budget has needs it: the
    /// number that its dry run says.
    #[schema(example = 1240)]
    pub confirm_door_hours: Option<u64>,
}

/// What a batch asks of identifiers.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct IdentifiersRequest {
    /// Identifiers to create or update.
    pub upsert: Option<Vec<IdentifierBody>>,
    /// Link_ids to delete.
    pub delete: Option<Vec<Uuid>>,
    /// Also delete every other identifier with a link_id of those panels.
    pub prune: Option<bool>,
}

/// How many items of each kind came to what.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CountsByKind {
    /// Time profiles.
    pub profile: ItemCounts,
    /// Identifiers.
    pub identifier: ItemCounts,
}

impl CountsByKind {
    fn of(report: &Report) -> Self {
        Self { profile: report.profiles(), identifier: report.identifiers }
    }
}

/// How a batch is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchBody {
    /// Its id.
    pub id: Uuid,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// By whom it was sent: a user's name, `token:ID:NAME`, or `panel-user:NAME`.
    pub created_by: String,
    /// Running until every panel has an outcome.
    pub state: BatchState,
    /// By panel.
    pub panels: PanelCounts,
    /// By item.
    pub items: ItemCounts,
    /// The same, each kind by itself.
    pub by_kind: CountsByKind,
    /// From acceptance to the last outcome, in milliseconds.
    #[schema(required = true)]
    pub duration_ms: Option<u64>,
    /// Of an undo: the batch that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub undoes: Option<Uuid>,
}

impl From<BatchRecord> for BatchBody {
    fn from(record: BatchRecord) -> Self {
        Self {
            id: record.id,
            created_at: clock::rfc3339(record.created_at_ms),
            created_by: actor::short(&record.created_by).to_owned(),
            state: record.state,
            panels: record.report.panels,
            items: record.report.items,
            by_kind: CountsByKind::of(&record.report),
            duration_ms: record.duration_ms,
            undoes: record.undoes,
        }
    }
}

/// What a batch would do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// Always true.
    pub dry_run: bool,
    /// By panel.
    pub panels: PanelCounts,
    /// By item.
    pub items: ItemCounts,
    /// The same, each kind by itself.
    pub by_kind: CountsByKind,
    /// Each panel's part, by id.
    pub plan: Vec<PlannedPanel>,
    /// On so many devices a batch with `prune` would delete whatever else they hold, and nobody has read what that is.
    #[serde(default, skip_serializing_if = "super::drift::is_none")]
    #[schema(required = false)]
    pub unread_devices: u64,
    /// What it would do to opening hours.
    pub opening: Opening,
}

/// What a submission is answered with: how the batch is, or of a dry run, what it would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document; each is answered by itself")]
pub(super) enum BatchAnswer {
    Batch(BatchBody),
    DryRun(DryRun),
}

/// What a batch would do on one panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PlannedPanel {
    /// Which panel.
    pub panel: String,
    /// What would come of it.
    pub outcome: PanelState,
    /// How many items it would create.
    pub created: u64,
    /// How many it would change.
    pub updated: u64,
    /// How many it would delete, pruned ones included.
    pub deleted: u64,
    /// How many are as asked for.
    pub unchanged: u64,
    /// How many are not there to delete.
    pub entity_not_found: u64,
    /// How many it would refuse.
    pub rejected: u64,
    /// Which ones, and why, and what an undo would leave; the first twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<BatchItem>,
    /// Seconds that its door would be open longer.
    #[serde(default, skip_serializing_if = "super::drift::is_none")]
    #[schema(required = false)]
    pub gained_s: u64,
    /// Seconds that it would be open less long.
    #[serde(default, skip_serializing_if = "super::drift::is_none")]
    #[schema(required = false)]
    pub lost_s: u64,
}

impl From<Plan> for DryRun {
    fn from(plan: Plan) -> Self {
        let panels = plan.panels.into_iter().map(PlannedPanel::from).collect();
        let by_kind = CountsByKind::of(&plan.report);
        Self {
            dry_run: true,
            panels: plan.report.panels,
            items: plan.report.items,
            by_kind,
            plan: panels,
            unread_devices: plan.unread,
            opening: plan.opening.into(),
        }
    }
}

impl From<asked::PlannedPanel> for PlannedPanel {
    fn from(planned: asked::PlannedPanel) -> Self {
        let ItemCounts { created, updated, deleted, unchanged, entity_not_found, rejected, .. } =
            planned.items;
        Self {
            panel: planned.panel.to_string(),
            outcome: planned.outcome,
            created,
            updated,
            deleted,
            unchanged,
            entity_not_found,
            rejected,
            refused: planned.refused.into_iter().map(BatchItem::from).collect(),
            gained_s: planned.opening.gained_s,
            lost_s: planned.opening.lost_s,
        }
    }
}

/// Submits a batch. Answers 200 when every panel has an outcome within the time of `Prefer: wait`, else 202.
///
/// One with `prune` that would delete more items than it names is refused with 409 and the number, unless
/// `confirm_deletes` is at least that; so is one that prunes devices of which nobody has read what else they hold, unless
/// `confirm_deletes` is there. One that would open or close more door-hours than the server's budget has is refused likewise,
/// unless `confirm_door_hours` is at least their number.
#[utoipa::path(tag = "batches", operation_id = "submit_batch", request_body = BatchRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Up to 255 characters; the same key and body get the first batch again"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 10 without"),
    ),
    responses((status = 200, body = BatchAnswer, description = "Every panel has an outcome; or with `dry_run`, what would come of it"),
        (status = 202, body = BatchBody, description = "Accepted and durable; some panel has no outcome yet"),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/batches")]
pub async fn submit(
    Operator(who): Operator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let wait = wait(&request)?;
    let key = idempotency_key(&request)?;
    let body = body::read(&request, payload, body::JSON, shared.body_limit).await?;
    let most = shared.max_items;
    let parsed = shared.turns.parse(body, move |body| {
        let key = key.map(|name| IdempotencyKey::new(name, body));
        Wanted::parse(body, most).map(|wanted| (wanted, key))
    });
    let (wanted, key) = parsed.await??;
    if wanted.dry_run {
        let plan = shared.fleet.plan(wanted.target, Arc::new(wanted.operations)).await?;
        return Ok(HttpResponse::Ok().json(DryRun::from(plan)));
    }
    let origin = auth::origin(&request, &who.actor());
    let submitted = shared.fleet.submit(wanted, key, origin).await?;
    answer(&shared, submitted, wait).await
}

/// Waits as long as the client wants and answers with the batch as it is then.
pub(super) async fn answer(
    shared: &Shared,
    submitted: Submitted,
    wait: Duration,
) -> Result<HttpResponse, Problem> {
    let location = format!("/fleet/v1/batches/{}", submitted.id);
    let record = shared.fleet.outcome_within(submitted, wait).await?;
    let mut response =
        if record.state == BatchState::Running { HttpResponse::Accepted() } else { HttpResponse::Ok() };
    Ok(response.insert_header((header::LOCATION, location)).json(BatchBody::from(record)))
}

/// How long the client wants to wait.
pub(super) fn wait(request: &HttpRequest) -> Result<Duration, Problem> {
    let prefer = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    for preference in prefer.flat_map(|value| value.split([',', ';'])) {
        let preference = preference.trim();
        if preference.eq_ignore_ascii_case("respond-async") {
            return Ok(Duration::ZERO);
        }
        if let Some((name, seconds)) = preference.split_once('=')
            && name.trim().eq_ignore_ascii_case("wait")
        {
            let seconds: u64 = seconds
                .trim()
                .parse()
                .map_err(|_| Problem::bad_request("Prefer takes wait=N with N in seconds"))?;
            return Ok(Duration::from_secs(seconds.min(MAX_WAIT)));
        }
    }
    Ok(Duration::from_secs(WAIT))
}

pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request(format!("Idempotency-Key takes 1 to {MAX_KEY} characters"))),
    }
}

/// The batches, newest first.
#[utoipa::path(tag = "batches", operation_id = "list_batches", params(Paging),
    responses((status = 200, body = Page<BatchBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody)))]
#[get("/batches")]
pub async fn list_batches(
    _who: Viewer,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let page = shared.fleet.page_of_batches(paging.number(BatchSeq::MAX)?, paging.limit()?).await?;
    Ok(HttpResponse::Ok().json(Page::of(page, BatchBody::from)))
}

/// One batch.
#[utoipa::path(tag = "batches", operation_id = "show_batch", params(("id" = Uuid, Path)),
    responses((status = 200, body = BatchBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/batches/{id}")]
pub async fn show(_who: Viewer, id: web::Path<String>, shared: Here) -> Result<HttpResponse, Problem> {
    let seq = shared.fleet.batch(&id)?;
    Ok(HttpResponse::Ok().json(BatchBody::from(shared.fleet.report(seq).await?)))
}

/// Which panels of a batch.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OutcomeFilter {
    /// `applied`, `partial`, `rejected`, `pending` or `failed`; all without.
    outcome: Option<String>,
}

/// What came of a batch on one panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchPanel {
    /// Which panel.
    pub panel: String,
    /// What came of it.
    pub outcome: PanelState,
    /// How often it was tried.
    pub attempts: u16,
    /// Why it failed or waits, and what to do.
    #[schema(required = true)]
    pub error: Option<String>,
    /// When the next attempt is; only while it waits after a failed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub next_attempt: Option<String>,
    /// One per item, then those that pruning deleted; empty before the panel has taken its part.
    pub result: Vec<BatchItem>,
}

/// What came of one item on one panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchItem {
    /// `profile` or `identifier`.
    #[schema(example = "profile")]
    pub kind: String,
    /// Which item.
    #[schema(value_type = Uuid)]
    pub link_id: String,
    /// Whether it was done.
    pub success: bool,
    /// How, or why not, in the panel's words.
    #[schema(example = "created")]
    pub extended_info: String,
}

impl From<asked::BatchPanel> for BatchPanel {
    fn from(came: asked::BatchPanel) -> Self {
        Self {
            panel: came.panel,
            outcome: came.outcome,
            attempts: came.attempts,
            error: came.error,
            next_attempt: came.next_attempt_ms.map(clock::rfc3339),
            result: came.items.into_iter().map(BatchItem::from).collect(),
        }
    }
}

impl From<asked::ItemResult> for BatchItem {
    fn from(item: asked::ItemResult) -> Self {
        let asked::ItemResult { item: ItemId { kind, link_id }, success, extended_info } = item;
        Self { kind: kind.as_str().to_owned(), link_id: link_id.to_string(), success, extended_info }
    }
}

/// A batch's panels, in the order in which they were added to the fleet. With `Accept: application/x-ndjson` all of
/// them from the cursor on, a line each, written as they are read: each piece shows what was so when it was read.
#[utoipa::path(tag = "batches", operation_id = "list_batch_panels", params(("id" = Uuid, Path), OutcomeFilter, Paging),
    responses((status = 200, description = "A page; or of `application/x-ndjson` all of them, a `BatchPanel` as JSON on each line",
        content((Page<BatchPanel> = "application/json"), (String = "application/x-ndjson"))), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/batches/{id}/panels")]
pub async fn list_panels(
    _who: Viewer,
    id: web::Path<String>,
    filter: web::Query<OutcomeFilter>,
    paging: web::Query<Paging>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let seq = shared.fleet.batch(&id)?;
    let limit = paging.limit()?;
    let after: PanelNo = paging.number(0)?;
    let wanted = match filter.outcome.as_deref() {
        None => None,
        Some(word) => {
            Some(PanelState::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
                Problem::bad_request("outcome takes applied, partial, rejected, pending or failed")
            })?)
        }
    };
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains(NDJSON)) {
        return Ok(HttpResponse::Ok().content_type(NDJSON).streaming(lines(shared, seq, wanted, after)));
    }
    let page = shared.fleet.outcomes(seq, wanted, after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::of(page, BatchPanel::from)))
}

/// A batch's panels as lines of JSON. An error cuts the answer off, so that nobody takes it for a whole one.
fn lines(
    shared: Here,
    seq: BatchSeq,
    wanted: Option<PanelState>,
    after: PanelNo,
) -> impl Stream<Item = Result<web::Bytes, Problem>> {
    stream::try_unfold(Some(after), move |after| {
        let shared = shared.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let piece = shared.fleet.outcomes(seq, wanted, after, PIECE).await?;
            let mut text = Vec::new();
            for row in piece.items {
                text.extend(tables::encode(&BatchPanel::from(row)));
                text.push(b'\n');
            }
            Ok(Some((web::Bytes::from(text), piece.next)))
        }
    })
}

/// Cancels a running batch: panels that were not sent their part are failed, and so are panels whose device has not
/// confirmed it, though what they have taken stays desired. The others come out as they do.
#[utoipa::path(tag = "batches", operation_id = "cancel_batch", params(("id" = Uuid, Path)),
    responses((status = 200, body = BatchBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/batches/{id}:cancel")]
pub async fn cancel(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let seq = shared.fleet.cancel(&id, auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::Ok().json(BatchBody::from(shared.fleet.report(seq).await?)))
}

/// Sends a batch again to the panels where it was not applied; of a batch that only waits for devices, these are
/// tried now. It counts as a request of now: it comes after the batches accepted since.
#[utoipa::path(tag = "batches", operation_id = "retry_batch", params(("id" = Uuid, Path), ("Prefer" = Option<String>, Header, description = "`wait=N`")),
    responses((status = 200, body = BatchBody, description = "Every panel has an outcome"),
        (status = 202, body = BatchBody, description = "Accepted and durable; some panel has no outcome yet"), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/batches/{id}:retry")]
pub async fn retry(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let wait = wait(&request)?;
    let submitted = shared.fleet.retry(&id, auth::origin(&request, &who.actor())).await?;
    answer(&shared, submitted, wait).await
}
