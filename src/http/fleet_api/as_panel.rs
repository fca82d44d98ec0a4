//! The fleet as one panel: the panel API over a selection, so that a program written for one panel drives a
//! fleet by changing its base URL.
//!
//! A call becomes a batch. An item's `success` is true only if it succeeded on every selected panel; otherwise
//! its `extended_info` is that of the first panel, in id order, where it did not. Items still pending count as
//! done: they are durable here and will be delivered. What can be read is what is true of every selected panel
//! ([`reads`]). The calls on identifiers ([`identifiers`]) are alike. Accounts of the roles `admin` and `operator` are
//! administrators here, since both may submit batches. A token of the fleet API is good too.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, delete, get, post, web};
use sha2::{Digest as _, Sha256};

use crate::access::Role;
use crate::access::actor::Actor;
use crate::access::sessions::Scope;
use crate::batch::item::ItemId;
use crate::batch::selector::Selector;
use crate::batch::{ItemOutcome, Operations, Outcome, PanelState};
use crate::coordinator::{SubmitError, Submitted, Target};
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::http::panel_api::link::{LinkIds, LinkItems, LinkResult, LinkResults, read_link_ids};
use crate::http::panel_api::session::{self, Accounts, Info, LoggedIn, close, log_in};
use crate::http::{Here, Shared, auth, body};
use crate::panel::dialect::Dialect;
use crate::profile::LinkId;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::store::seal::hex;
use crate::store::{BatchSeq, PanelNo, StoreHandle};
use utoipa_actix_web::service_config::ServiceConfig;

pub mod identifiers;
pub mod reads;

/// How long a call waits for its panels: less than the 10 s after which clients of a panel give up.
const WAIT: Duration = Duration::from_secs(8);

/// The routes, below `/fleet/v1/as-panel/{selector}/api`.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(info)
        .service(login)
        .service(logout)
        .service(logout_by_post)
        .service(upsert)
        .service(upsert_at_link)
        .service(delete_items)
        .service(delete_by_post)
        .configure(reads::routes)
        .configure(identifiers::routes);
}

/// The selector in the path.
pub struct Selection(Selector);

impl FromRequest for Selection {
    type Error = PanelError;
    type Future = std::future::Ready<Result<Self, PanelError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("selector").unwrap_or_default();
        let parsed = Selector::parse(text).map(Self).map_err(|error| PanelError::Selector(error.to_string()));
        std::future::ready(parsed)
    }
}

/// Someone who may submit batches.
pub struct Administrator {
    actor: Actor,
}

impl FromRequest for Administrator {
    type Error = PanelError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PanelError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (actor, role) = who(&request).await?;
            if role < Role::Operator {
                auth::denied(&request, &actor);
                Err(PanelError::NotAdministrator(Family::Android))
            } else {
                Ok(Self { actor })
            }
        })
    }
}

/// Who is calling: as on a panel, or with a token of the fleet API.
async fn who(request: &HttpRequest) -> Result<(Actor, Role), PanelError> {
    if let Some(session) = session::who(request, Scope::Fleet).await? {
        return Ok((session.actor(), session.role));
    }
    let token = auth::bearer(request).ok_or(PanelError::LogIn)?;
    let principal = Shared::of(request).fleet.access.bearer(token)?.ok_or(PanelError::LogIn)?;
    Ok((principal.actor(), principal.role))
}

/// What the fleet says of itself as a panel.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_info", params(("selector" = String, Path)), security(()),
    responses((status = 200, body = Info), (status = 422, body = ErrorBody)))]
#[get("/info")]
pub async fn info(Selection(selector): Selection, shared: Here) -> Result<HttpResponse, PanelError> {
    let (selector, fleet) = (selector.to_string(), shared.fleet.store.read()?.fleet_number()?);
    let selection = hex(&Sha256::digest(selector.as_bytes())[..6]).to_uppercase();
    let serial = format!("PS-{fleet:08X}-S{selection}");
    let version = Dialect::default_version(Family::Android);
    Ok(HttpResponse::Ok().json(Info::new(&selector, serial, version)))
}

/// Logs in with an account of the server.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_login", security(()),
    params(("selector" = String, Path), ("username" = String, Query), ("password" = String, Query, description = "MD5 hex of the password")),
    responses((status = 200, body = LoggedIn), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody)))]
#[get("/v1/login")]
pub async fn login(
    _selection: Selection,
    query: web::Query<HashMap<String, String>>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    log_in(&shared, Scope::Fleet, Accounts::From(Role::Operator), &query, &request).await
}

/// Ends the session.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_logout", params(("selector" = String, Path)),
    responses((status = 200), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[get("/v1/logout")]
pub async fn logout(
    _selection: Selection,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    end_session(&request, &shared).await
}

/// The same as `GET`.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_logout_by_post", params(("selector" = String, Path)),
    responses((status = 200), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[post("/v1/logout")]
pub async fn logout_by_post(
    _selection: Selection,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    end_session(&request, &shared).await
}

async fn end_session(request: &HttpRequest, shared: &Shared) -> Result<HttpResponse, PanelError> {
    let session = session::who(request, Scope::Fleet).await?.ok_or(PanelError::LogIn)?;
    Ok(close(request, shared, &session, "as-panel").await)
}

/// Creates or updates many profiles by link_id on every selected panel.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_upsert_profiles", params(("selector" = String, Path)), request_body = LinkItems,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[post("/v1/access/timeprofile/items/link")]
pub async fn upsert(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_upserts(selector, who, request, payload, &shared).await
}

/// The same at the other path.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_upsert_profiles_at_link", params(("selector" = String, Path)), request_body = LinkItems,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[post("/v1/access/timeprofile/link")]
pub async fn upsert_at_link(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_upserts(selector, who, request, payload, &shared).await
}

async fn apply_upserts(
    selector: Selector,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<HttpResponse, PanelError> {
    let body = body::read_of_panel(&request, payload, shared.body_limit).await?;
    let most = shared.max_items;
    let operations = shared.turns.parse(body, move |body| {
        let profiles = parse::link_body_within(body, Family::Android, most)?;
        Ok::<_, PanelError>(Operations::of_profiles(profiles, Vec::new(), false))
    });
    let operations = operations.await??;
    let result = apply(shared, &request, who, selector, operations).await?;
    Ok(HttpResponse::Ok().json(LinkResults { result }))
}

/// Deletes many profiles by link_id on every selected panel.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_delete_profiles", params(("selector" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[delete("/v1/access/timeprofile/items/link")]
pub async fn delete_items(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let of_profiles = |deletes| Operations::of_profiles(Vec::new(), deletes, false);
    apply_deletes(selector, who, request, payload, &shared, of_profiles).await
}

/// The same by `POST`.
#[utoipa::path(tag = "as-panel", operation_id = "as_panel_delete_profiles_by_post", params(("selector" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
#[post("/v1/access/timeprofile/link/delete")]
pub async fn delete_by_post(
    Selection(selector): Selection,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let of_profiles = |deletes| Operations::of_profiles(Vec::new(), deletes, false);
    apply_deletes(selector, who, request, payload, &shared, of_profiles).await
}

/// Deletes what is in the body by link_id, on every selected panel.
async fn apply_deletes(
    selector: Selector,
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: &Shared,
    operations: impl FnOnce(Vec<LinkId>) -> Operations,
) -> Result<HttpResponse, PanelError> {
    let deletes = read_link_ids(&request, payload, shared).await?;
    let result = apply(shared, &request, who, selector, operations(deletes)).await?;
    Ok(HttpResponse::Ok().json(LinkResults { result }))
}

/// Has every selected panel do this, and says what came of each item over all of them.
async fn apply(
    shared: &Shared,
    request: &HttpRequest,
    who: Administrator,
    selector: Selector,
    operations: Operations,
) -> Result<Vec<LinkResult>, PanelError> {
    let operations = Arc::new(operations);
    let (target, origin) = (Target::Selector(selector), auth::origin(request, &who.actor));
    let accepted = shared.fleet.accept(target, Arc::clone(&operations), None, origin).await?;
    let Submitted { seq, done, .. } = accepted;
    let _ = tokio::time::timeout(WAIT, done).await; // what is pending by then counts as done
    let store = shared.fleet.store.clone();
    web::block(move || results(&store, seq, &operations)).await.map_err(|_| PanelError::Busy)?
}

/// One result per item, over all panels of the batch.
fn results(
    store: &StoreHandle,
    seq: BatchSeq,
    operations: &Operations,
) -> Result<Vec<LinkResult>, PanelError> {
    let snapshot = store.read()?;
    let mut answered = Vec::new();
    for outcome in snapshot.outcomes(seq, PanelNo::MIN)? {
        let (panel, outcome) = outcome?;
        if outcome.state != PanelState::Failed {
            answered.push((snapshot.panel_name(panel)?.unwrap_or_default(), outcome));
        }
    }
    answered.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let result = |(i, ItemId { link_id, .. }): (usize, ItemId)| {
        // What is pending comes to what it should: it is durable here, and will be delivered.
        let of = |outcome: &Outcome| outcome.items.get(i).map(|item| item.foretold());
        let first = |wanted: fn(ItemOutcome) -> bool| {
            answered.iter().map(|(_, outcome)| outcome).find(|outcome| of(outcome).is_some_and(wanted))
        };
        let expected = if i < operations.upserts.len() { ItemOutcome::Created } else { ItemOutcome::Deleted };
        let deciding = first(|item| !item.success()).or_else(|| first(ItemOutcome::success));
        let outcome = deciding.and_then(of).unwrap_or(expected);
        let word = match deciding {
            Some(deciding) if outcome == ItemOutcome::Refused => deciding.extended_info(i),
            _ => outcome.extended_info(),
        };
        LinkResult {
            link_id: link_id.to_string(),
            success: outcome.success(),
            extended_info: Some(word.to_owned()),
            has_dublicates: None,
        }
    };
    Ok(operations.items().enumerate().map(result).collect())
}

impl From<SubmitError> for PanelError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::NoPanels(_)
            | SubmitError::UnknownPanels(_)
            | SubmitError::UnknownToFamily(_)
            | SubmitError::NoIdentifiers(_)
            | SubmitError::KeyReused
            | SubmitError::ReportGone(_)
            | SubmitError::WrongState(_)
            | SubmitError::NoSuchBatch => Self::Selector(error.to_string()),
        }
    }
}
