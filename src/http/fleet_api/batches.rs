//! Batches: submit, watch, cancel, retry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::types::TimeProfileBody;
use super::{Page, Paging};
use crate::access::{Principal, actor};
use crate::batch::report::{ItemCounts, PanelCounts, Report};
use crate::batch::selector::Selector;
use crate::batch::{BatchRecord, BatchState, ItemOutcome, Operations, Outcome, PanelState, Zoned};
use crate::clock;
use crate::coordinator::register::Entry;
use crate::coordinator::{Cancel, Progress, Retry, Submit, SubmitError, Submitted, Target, work};
use crate::http::auth::{self, Operator, Viewer};
use crate::http::problem::{FieldError, Gathered, Problem, ProblemBody};
use crate::http::{Shared, body};
use crate::panel::decide::{Limits, decide};
use crate::panel::embedded::SnapshotRows;
use crate::panel::settings::PanelId;
use crate::profile::error::WireError;
use crate::profile::parse::{self, LinkedProfile};
use crate::profile::rule::Family;
use crate::profile::wire::{self, Json, Piece};
use crate::profile::{LinkId, opens};
use crate::store::{BatchSeq, PanelNo, StoreHandle, tables};

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
    /// Link_ids to delete.
    pub delete: Option<Vec<Uuid>>,
    /// Change nothing and say what would change.
    pub dry_run: Option<bool>,
    /// Also delete every other link_id of those panels.
    pub prune: Option<bool>,
    /// How many deletions are meant. A batch with `prune` that would delete more items than it names needs it.
    #[schema(example = 12)]
    pub confirm_deletes: Option<u64>,
}

/// How a batch is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchBody {
    /// Its id.
    pub id: Uuid,
    /// When it was accepted.
    pub created_at: String,
    /// By whom it was sent: a user's name, `token:ID:NAME`, or `panel-user:NAME`.
    pub created_by: String,
    /// Running until every panel has an outcome.
    pub state: BatchState,
    /// By panel.
    pub panels: PanelCounts,
    /// By item.
    pub items: ItemCounts,
    /// From acceptance to the last outcome, in milliseconds.
    pub duration_ms: Option<u64>,
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
            duration_ms: record.duration_ms,
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
    /// Each panel's part, by id.
    pub plan: Vec<PlannedPanel>,
}

/// What a batch would do on one panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PlannedPanel {
    /// Which panel.
    pub panel: String,
    /// What would come of it.
    pub outcome: PanelState,
    /// How many profiles it would create.
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
}

/// Submits a batch. Answers 200 when every panel has an outcome within the time of `Prefer: wait`, else 202.
///
/// One with `prune` that would delete more items than it names is refused with 409 and the number, unless
/// `confirm_deletes` is at least that.
#[utoipa::path(tag = "batches", request_body = BatchRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Up to 255 characters; the same key and body get the first batch again"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 10 without"),
    ),
    responses((status = 200, body = BatchBody, description = "Every panel has an outcome; of a dry run, a DryRun"), (status = 202, body = BatchBody),
        (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 409, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/batches")]
pub async fn submit(
    Operator(who): Operator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let wait = wait(&request)?;
    let idempotency = idempotency_key(&request)?;
    let body = body::read(&request, payload, body::JSON, shared.body_limit).await?;
    let most = shared.max_items;
    let parsed = shared.turns.parse(body, move |body| Ok((Wanted::parse(body, most)?, digest(body))));
    let (wanted, digest) = parsed.await?.map_err(|problem: Problem| problem)?;
    if wanted.dry_run {
        return Ok(HttpResponse::Ok().json(plan(&shared, wanted).await?));
    }
    let submitted = accept(&shared, &request, &who, wanted, digest, idempotency).await?;
    answer(&shared, submitted, wait).await
}

/// What an idempotency key stands for.
pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Has a batch made durable and sent out. `digest` is that of its body.
pub async fn accept(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    Wanted { target, operations, confirm_deletes, .. }: Wanted,
    digest: [u8; 32],
    idempotency: Option<String>,
) -> Result<Submitted, Problem> {
    let id = Uuid::new_v4();
    let mut origin = auth::origin(request, &who.actor());
    origin.span = tracing::info_span!(parent: &origin.span, "batch", batch.id = %id);
    // One's keys are not another's. No name holds a line feed.
    let idempotency = idempotency.map(|key| (format!("{}\n{key}", who.actor()), digest));
    let operations = Arc::new(operations);
    if operations.prune && !sent_before(shared, idempotency.as_ref())? {
        is_meant(shared, target.clone(), Arc::clone(&operations), confirm_deletes.unwrap_or(0)).await?;
    }
    let batch = Submit { id, target, operations, idempotency, origin };
    Ok(shared.coordinator.send(batch).await??.await??)
}

/// Whether a batch stands for this key; its answer is the first one again, whatever the panels hold by now.
fn sent_before(shared: &Shared, idempotency: Option<&(String, [u8; 32])>) -> Result<bool, Problem> {
    match idempotency {
        Some((name, _)) => {
            let since_ms = clock::now_ms() - i64::try_from(shared.keep_keys.as_millis()).unwrap_or(i64::MAX);
            Ok(shared.store.read()?.key(name)?.is_some_and(|key| key.at_ms >= since_ms))
        }
        None => Ok(false),
    }
}

/// Refuses a batch that would delete more items than it names, unless so many deletions are confirmed.
async fn is_meant(
    shared: &Shared,
    target: Target,
    operations: Arc<Operations>,
    confirmed: u64,
) -> Result<(), Problem> {
    let named = operations.len() as u64;
    let deletes = planned(shared, target, operations).await?.items.deleted;
    if deletes > named && deletes > confirmed {
        let message = format!(
            "the batch would delete {deletes} items and names {named}; if that is meant, send it with \"confirm_deletes\": {deletes}"
        );
        return Err(Problem::ConflictAt(vec![FieldError::at("/confirm_deletes", message)]));
    }
    Ok(())
}

/// Waits as long as the client wants and answers with the batch as it is then.
async fn answer(shared: &Shared, submitted: Submitted, wait: Duration) -> Result<HttpResponse, Problem> {
    let Submitted { seq, id, done, .. } = submitted;
    wait_until(done, wait).await;
    let record = current(shared, seq).await?;
    let mut response =
        if record.state == BatchState::Running { HttpResponse::Accepted() } else { HttpResponse::Ok() };
    Ok(response
        .insert_header((header::LOCATION, format!("/fleet/v1/batches/{id}")))
        .json(BatchBody::from(record)))
}

/// Waits for the end of a batch, but not longer than this.
pub(super) async fn wait_until(done: oneshot::Receiver<()>, wait: Duration) {
    let _ = tokio::time::timeout(wait, done).await; // the batch's record says which of the two it was
}

/// A batch's record as it is now.
pub async fn current(shared: &Shared, seq: BatchSeq) -> Result<BatchRecord, Problem> {
    let no_batch = || Problem::NotFound("such batch".into());
    let record = shared.store.read()?.batch(seq)?.ok_or_else(no_batch)?;
    if record.state != BatchState::Running {
        return Ok(record);
    }
    match shared.coordinator.send(Progress(seq)).await? {
        Some(record) => Ok(record),
        // It has ended in between.
        None => shared.store.read()?.batch(seq)?.ok_or_else(no_batch),
    }
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
                .map_err(|_| Problem::BadRequest("Prefer takes wait=N with N in seconds".into()))?;
            return Ok(Duration::from_secs(seconds.min(MAX_WAIT)));
        }
    }
    Ok(Duration::from_secs(WAIT))
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::BadRequest(format!("Idempotency-Key takes 1 to {MAX_KEY} characters"))),
    }
}

/// A checked submission.
pub struct Wanted {
    /// Which panels.
    pub target: Target,
    /// What is asked of them.
    pub operations: Operations,
    /// Whether it is only asked what would come of it.
    pub dry_run: bool,
    /// How many deletions are meant.
    pub confirm_deletes: Option<u64>,
}

impl Wanted {
    /// Reads a submission of at most so many items and gathers what is wrong with it. Lists are read item by item,
    /// so that no body takes much more memory than what it asks for.
    pub fn parse(body: &[u8], most: usize) -> Result<Self, Problem> {
        let mut errors = Gathered::default();
        let mut items = parse::Items::default();
        let mut fields = Fields::default();
        wire::pieces(body, |key, piece| fields.take(key, piece, most, &mut errors, &mut items))?;
        let Fields { mut targets, panels, profiles, deletes, dry_run, prune, confirm_deletes, .. } = fields;
        targets.extend(panels.map(Target::Panels));
        let (found, all) = items.found();
        if found.is_empty() {
            // Every item is there then, each at its own index.
            let beyond = profiles.iter().map(|item| opens::out_of_calendar(&item.profile)).enumerate();
            for (i, never) in beyond.filter_map(|(i, never)| Some((i, never?))) {
                errors.add(|| FieldError::at(format!("/upsert/{i}{}", never.path()), never.to_string()));
            }
        }
        errors.extend(found.into_iter().map(FieldError::from), all);
        let upserted: HashSet<_> = profiles.iter().map(|item| item.link_id).collect();
        for (i, link) in deletes.iter().enumerate() {
            if upserted.contains(link) {
                errors.add(|| FieldError::at(format!("/delete/{i}"), "the same batch upserts this link_id"));
            }
        }
        let target = targets.pop();
        if !targets.is_empty() || (target.is_none() && errors.is_empty()) {
            errors.add(|| {
                FieldError::at("", "exactly one of selector, panels and all says for which panels it is")
            });
        }
        if profiles.is_empty() && deletes.is_empty() && !prune && errors.is_empty() {
            errors.add(|| FieldError::at("", "there is nothing to do; give upsert, delete or prune"));
        }
        match target {
            Some(target) if errors.is_empty() => {
                let operations = Operations::new(profiles, deletes, prune);
                Ok(Self { target, operations, dry_run, confirm_deletes })
            }
            _ => Err(errors.into_problem()),
        }
    }
}

/// A submission as far as it was read.
#[derive(Default)]
struct Fields {
    /// The keys that were there.
    seen: Vec<&'static str>,
    targets: Vec<Target>,
    panels: Option<Vec<String>>,
    profiles: Vec<LinkedProfile>,
    deletes: Vec<LinkId>,
    /// How many upserts and deletes there were, good or not.
    items: usize,
    dry_run: bool,
    prune: bool,
    confirm_deletes: Option<u64>,
}

impl Fields {
    const KEYS: [&'static str; 8] =
        ["selector", "panels", "all", "upsert", "delete", "dry_run", "prune", "confirm_deletes"];

    fn take(
        &mut self,
        key: &str,
        piece: Piece<'_>,
        most: usize,
        errors: &mut Gathered,
        items: &mut parse::Items,
    ) -> Result<(), Problem> {
        let known = Self::KEYS.into_iter().find(|known| *known == key);
        if !matches!(piece, Piece::Item(..)) {
            match known {
                None => errors.add(|| {
                    FieldError::at(
                        wire::step(key),
                        "no such field; a batch has selector, panels, all, upsert, delete, dry_run, prune and confirm_deletes",
                    )
                }),
                Some(known) if self.seen.contains(&known) => {
                    errors.add(|| FieldError::at(format!("/{key}"), WireError::Twice.to_string()));
                }
                Some(known) => self.seen.push(known),
            }
        }
        let wrong = |errors: &mut Gathered, takes| errors.add(|| FieldError::at(format!("/{key}"), takes));
        match (key, piece) {
            (_, Piece::Value(Json::Null))
            | ("all", Piece::Value(Json::Bool(false)))
            | ("upsert" | "delete", Piece::List) => {}
            ("selector", Piece::Value(Json::Text(text))) => match Selector::parse(&text) {
                Ok(selector) => self.targets.push(Target::Selector(selector)),
                Err(error) => errors.add(|| FieldError::at("/selector", error.to_string())),
            },
            ("all", Piece::Value(Json::Bool(true))) => self.targets.push(Target::All),
            ("dry_run", Piece::Value(Json::Bool(value))) => self.dry_run = value,
            ("prune", Piece::Value(Json::Bool(value))) => self.prune = value,
            ("confirm_deletes", Piece::Value(Json::Int(number))) if number >= 0 => {
                self.confirm_deletes = Some(number.unsigned_abs());
            }
            ("panels", Piece::List) => self.panels = Some(self.panels.take().unwrap_or_default()),
            ("panels", Piece::Item(i, item)) => {
                if i >= most {
                    return Err(Problem::TooManyItems(most));
                }
                match (item, &mut self.panels) {
                    (Json::Text(id), Some(panels)) if PanelId::new(&id).is_some() => {
                        panels.push(id.into_owned());
                    }
                    (Json::Text(id), _) => errors
                        .add(|| FieldError::at(format!("/panels/{i}"), format!("there is no panel {id}"))),
                    _ => errors.add(|| FieldError::at(format!("/panels/{i}"), "a panel's id is expected")),
                }
            }
            ("upsert" | "delete", Piece::Item(i, item)) => {
                self.items += 1;
                if self.items > most {
                    return Err(Problem::TooManyItems(most));
                }
                if key == "upsert" {
                    // What a family cannot say is found when its panels are known.
                    self.profiles.extend(items.linked(&item, ("upsert", i), Family::DoorController));
                } else {
                    self.deletes.extend(items.link_id(&item, ("delete", i)));
                }
            }
            ("all" | "dry_run" | "prune", Piece::Value(_) | Piece::List) => {
                wrong(errors, "true or false is expected");
            }
            ("confirm_deletes", Piece::Value(_) | Piece::List) => {
                wrong(errors, "the number of deletions is expected");
            }
            ("panels" | "upsert" | "delete", Piece::Value(_)) => wrong(errors, "a list is expected"),
            ("selector", Piece::Value(_) | Piece::List) => wrong(errors, "a text is expected"),
            _ => {} // of a field that was said to be wrong
        }
        Ok(())
    }
}

/// Asks what the batch would do, on a thread that may take its time.
pub async fn plan(shared: &Shared, Wanted { target, operations, .. }: Wanted) -> Result<DryRun, Problem> {
    planned(shared, target, Arc::new(operations)).await
}

async fn planned(shared: &Shared, target: Target, operations: Arc<Operations>) -> Result<DryRun, Problem> {
    let panels = shared.register.now().resolve(&target)?;
    let unknown = operations.unknown_to(panels.iter().map(|panel| panel.settings.family));
    if !unknown.is_empty() {
        return Err(SubmitError::UnknownToFamily(unknown).into());
    }
    let store = shared.store.clone();
    web::block(move || plan_panels(&store, &panels, operations)).await?
}

fn plan_panels(
    store: &StoreHandle,
    panels: &[Entry],
    operations: Arc<Operations>,
) -> Result<DryRun, Problem> {
    let snapshot = store.read()?;
    let mut zones = std::collections::HashMap::new();
    let mut report = Report::of_pending(panels.len(), &operations);
    let mut plan = Vec::with_capacity(panels.len());
    for panel in panels {
        let zone = &panel.settings.zone;
        let zoned =
            zones.entry(zone.name()).or_insert_with(|| Zoned::new(Arc::clone(&operations), zone.rules()));
        let mut rows = SnapshotRows::new(&snapshot, panel.number);
        // A device judges by itself.
        let embedded = !panel.settings.is_device();
        let capacity = panel.settings.capacity.filter(|_| embedded);
        let limits = Limits { capacity, look_for_names: false };
        let decision = decide(&mut rows, zoned, limits)?;
        let outcome = Outcome::decided(decision.items, decision.pruned, 0);
        report.add(&outcome, operations.len());
        let mut alone = Report::of_pending(1, &operations);
        alone.add(&outcome, operations.len());
        let ItemCounts { created, updated, deleted, unchanged, entity_not_found, rejected, .. } = alone.items;
        plan.push(PlannedPanel {
            panel: panel.settings.id.to_string(),
            outcome: outcome.state,
            created,
            updated,
            deleted,
            unchanged,
            entity_not_found,
            rejected,
        });
    }
    Ok(DryRun { dry_run: true, panels: report.panels, items: report.items, plan })
}

/// The batches, newest first.
#[utoipa::path(tag = "batches", params(Paging),
    responses((status = 200, body = Page<BatchBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody)))]
#[get("/batches")]
pub async fn list_batches(
    _who: Viewer,
    paging: web::Query<Paging>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let page = page_of_batches(&shared, paging.number(BatchSeq::MAX)?, paging.limit()?).await?;
    let items = page.items.into_iter().map(BatchBody::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

/// At most `limit` batches before one, newest first, as they are now.
pub async fn page_of_batches(
    shared: &Shared,
    before: BatchSeq,
    limit: usize,
) -> Result<Page<BatchRecord>, Problem> {
    let store = shared.store.clone();
    let batches = web::block(move || store.read()?.batches(before, limit + 1)).await??;
    let mut page = Page::cut(batches, limit, |(seq, _)| seq.to_string());
    for (seq, record) in &mut page.items {
        if record.state == BatchState::Running
            && let Some(current) = shared.coordinator.send(Progress(*seq)).await?
        {
            *record = current;
        }
    }
    let items = page.items.into_iter().map(|(_, record)| record).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// One batch.
#[utoipa::path(tag = "batches", params(("id" = Uuid, Path)),
    responses((status = 200, body = BatchBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/batches/{id}")]
pub async fn show(
    _who: Viewer,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let seq = find(&shared, &id)?;
    Ok(HttpResponse::Ok().json(BatchBody::from(current(&shared, seq).await?)))
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
    pub error: Option<String>,
    /// When the next attempt is; only while it waits after a failed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    /// One per item, then those that pruning deleted; empty before the panel has taken its part.
    pub result: Vec<BatchItem>,
}

/// What came of one item on one panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchItem {
    /// Which profile.
    #[schema(value_type = Uuid)]
    pub link_id: String,
    /// Whether it was done.
    pub success: bool,
    /// How, or why not, in the panel's words.
    #[schema(example = "created")]
    pub extended_info: String,
}

impl BatchItem {
    fn new(link_id: String, outcome: ItemOutcome, word: &str) -> Self {
        Self { link_id, success: outcome.success(), extended_info: word.to_owned() }
    }
}

/// A batch's panels, in the order in which they were added to the fleet. With `Accept: application/x-ndjson` all of
/// them from the cursor on, a line each, written as they are read: each piece shows what was so when it was read.
#[utoipa::path(tag = "batches", params(("id" = Uuid, Path), OutcomeFilter, Paging),
    responses((status = 200, content((Page<BatchPanel> = "application/json"), (BatchPanel = "application/x-ndjson"))), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/batches/{id}/panels")]
pub async fn list_panels(
    _who: Viewer,
    id: web::Path<String>,
    filter: web::Query<OutcomeFilter>,
    paging: web::Query<Paging>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let seq = find(&shared, &id)?;
    let limit = paging.limit()?;
    let after: PanelNo = paging.number(0)?;
    let wanted = match filter.outcome.as_deref() {
        None => None,
        Some(word) => {
            Some(PanelState::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
                Problem::BadRequest("outcome takes applied, partial, rejected, pending or failed".into())
            })?)
        }
    };
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains(NDJSON)) {
        return Ok(HttpResponse::Ok().content_type(NDJSON).streaming(lines(shared, seq, wanted, after)));
    }
    Ok(HttpResponse::Ok().json(page_of_panels(&shared, seq, wanted, after, limit).await?))
}

/// A batch's panels as lines of JSON. An error cuts the answer off, so that nobody takes it for a whole one.
fn lines(
    shared: web::Data<Shared>,
    seq: BatchSeq,
    wanted: Option<PanelState>,
    after: PanelNo,
) -> impl Stream<Item = Result<web::Bytes, Problem>> {
    stream::try_unfold(Some(after), move |after| {
        let shared = shared.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let piece = page_of_panels(&shared, seq, wanted, after, PIECE).await?;
            let mut text = Vec::new();
            for row in &piece.items {
                text.extend(tables::encode(row));
                text.push(b'\n');
            }
            let next = piece.next_cursor.and_then(|cursor| cursor.parse().ok());
            Ok(Some((web::Bytes::from(text), next)))
        }
    })
}

/// At most `limit` panels of a batch after one, with what came of it there.
pub async fn page_of_panels(
    shared: &Shared,
    seq: BatchSeq,
    wanted: Option<PanelState>,
    after: PanelNo,
    limit: usize,
) -> Result<Page<BatchPanel>, Problem> {
    let store = shared.store.clone();
    let (mut page, waiting) = web::block(move || outcomes(&store, seq, wanted, after, limit)).await??;
    let register = shared.register.now();
    let conditions =
        waiting.into_iter().map(|panel| register.by_number(panel).map(|entry| entry.condition.clone()));
    let pending = page.items.iter_mut().filter(|row| row.outcome == PanelState::Pending);
    for (row, condition) in pending.zip(conditions) {
        let Some(condition) = condition else { continue };
        row.attempts = row.attempts.saturating_add(condition.failures.min(u16::MAX.into()) as u16);
        row.error = condition.last_error.map(Into::into);
        row.next_attempt = condition.next_attempt_ms.map(clock::rfc3339);
    }
    Ok(page)
}

fn outcomes(
    store: &StoreHandle,
    seq: BatchSeq,
    wanted: Option<PanelState>,
    after: PanelNo,
    limit: usize,
) -> Result<(Page<BatchPanel>, Vec<PanelNo>), Problem> {
    let snapshot = store.read()?;
    let work = snapshot.batch_work(seq)?.ok_or_else(|| Problem::NotFound("such batch".into()))?;
    let links: Vec<_> = work::decode(&work)?.link_ids().map(|link| link.to_string()).collect();
    let mut decided = snapshot.outcomes(seq, after.saturating_add(1))?.peekable();
    let mut rows = Vec::new();
    for panel in snapshot.batch_targets(seq)?.into_iter().filter(|panel| *panel > after) {
        if rows.len() > limit {
            break;
        }
        let outcome = match decided.next_if(|next| !matches!(next, Ok((number, _)) if *number > panel)) {
            Some(next) => next?.1,
            None => Outcome::pending(0),
        };
        if wanted.is_some_and(|wanted| wanted != outcome.state) {
            continue;
        }
        let items = links.iter().zip(&outcome.items).enumerate();
        let items =
            items.map(|(i, (link, item))| BatchItem::new(link.clone(), *item, outcome.extended_info(i)));
        let fate = match outcome.state {
            PanelState::Pending => ItemOutcome::ToDelete,
            _ => ItemOutcome::Deleted,
        };
        let pruned =
            outcome.pruned.iter().map(|link| BatchItem::new(link.to_string(), fate, fate.extended_info()));
        rows.push((
            panel,
            BatchPanel {
                panel: snapshot.panel_name(panel)?.unwrap_or_default(),
                outcome: outcome.state,
                attempts: outcome.attempts,
                error: outcome.error.as_deref().map(str::to_owned),
                next_attempt: None,
                result: items.chain(pruned).collect(),
            },
        ));
    }
    let page = Page::cut(rows, limit, |(panel, _)| panel.to_string());
    let pending = page.items.iter().filter(|(_, row)| row.outcome == PanelState::Pending);
    let waiting = pending.map(|(panel, _)| *panel).collect();
    let items = page.items.into_iter().map(|(_, row)| row).collect();
    Ok((Page { items, next_cursor: page.next_cursor }, waiting))
}

/// Cancels a running batch: panels that were not sent their part are failed, and so are panels whose device has not
/// confirmed it, though what they have taken stays desired. The others come out as they do.
#[utoipa::path(tag = "batches", params(("id" = Uuid, Path)),
    responses((status = 200, body = BatchBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/batches/{id}:cancel")]
pub async fn cancel(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let seq = cancel_batch(&shared, &request, &who, &id).await?;
    Ok(HttpResponse::Ok().json(BatchBody::from(current(&shared, seq).await?)))
}

/// Cancels the batch of this id.
pub async fn cancel_batch(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    id: &str,
) -> Result<BatchSeq, Problem> {
    let seq = find(shared, id)?;
    shared.coordinator.send(Cancel(seq, auth::origin(request, &who.actor()))).await??.await??;
    Ok(seq)
}

/// Sends a batch again to the panels where it was not applied; of a batch that only waits for devices, these are
/// tried now. It counts as a request of now: it comes after the batches accepted since.
#[utoipa::path(tag = "batches", params(("id" = Uuid, Path), ("Prefer" = Option<String>, Header, description = "`wait=N`")),
    responses((status = 200, body = BatchBody), (status = 202, body = BatchBody), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/batches/{id}:retry")]
pub async fn retry(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let wait = wait(&request)?;
    let submitted = retry_batch(&shared, &request, &who, &id).await?;
    answer(&shared, submitted, wait).await
}

/// Sends the batch of this id again to the panels where it was not applied.
pub async fn retry_batch(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    id: &str,
) -> Result<Submitted, Problem> {
    let seq = find(shared, id)?;
    let mut origin = auth::origin(request, &who.actor());
    origin.span = tracing::info_span!(parent: &origin.span, "batch", batch.id = %id, retry = true);
    Ok(shared.coordinator.send(Retry(seq, origin)).await??.await??)
}

/// The number of a batch, or 404.
pub fn find(shared: &Shared, id: &str) -> Result<BatchSeq, Problem> {
    let no_batch = || Problem::NotFound(format!("batch {id}"));
    let uuid = Uuid::try_parse(id).map_err(|_| no_batch())?;
    shared.store.read()?.batch_seq(uuid)?.ok_or_else(no_batch)
}
