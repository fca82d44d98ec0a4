//! The calls by link_id, as a link management server uses them.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::error::{ErrorBody, PanelError};
use super::filter::Field;
use super::list::Wanted;
use super::{Account, Administrator, by_uid, list, profiles};
use crate::access::sessions::Session;
use crate::batch::{ItemResult, Operations};
use crate::coordinator::register::Entry;
use crate::http::fleet_api::types::TimeProfileBody;
use crate::http::{Here, Shared, auth, body};
use crate::panel::dialect::Dialect;
use crate::panel::{Apply, ProfileName, Reply, Work};
use crate::profile::{LinkId, parse};

/// Many profiles, each with its link_id.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkItems {
    /// The profiles.
    pub list_items: Vec<TimeProfileBody>,
}

/// Many link_ids.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkIds {
    /// The link_ids.
    pub link_ids: Vec<uuid::Uuid>,
}

/// What came of each item, in request order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkResults {
    /// One per item.
    pub result: Vec<LinkResult>,
}

/// What came of one item.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkResult {
    /// Which profile or identifier.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: String,
    /// Whether what was asked for was done.
    pub success: bool,
    /// How, or why not; null where the panel's family has no word for it.
    #[schema(example = "created")]
    pub extended_info: Option<String>,
    /// Whether another one bears the same name; from api 2.10.0 on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub has_dublicates: Option<bool>,
}

impl LinkResult {
    /// As a panel of this dialect answers it, where the call is one in which it would say whose name is taken.
    pub fn new(result: &ItemResult, dialect: &Dialect, names: bool) -> Self {
        Self {
            link_id: result.item.link_id.to_string(),
            success: result.outcome.success(),
            extended_info: dialect.word(result.outcome).map(str::to_owned),
            has_dublicates: (names && dialect.tells_taken_names).then_some(result.name_taken),
        }
    }
}

/// Creates or updates many profiles by link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_upsert_profiles", params(("panel" = String, Path)), request_body = LinkItems,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/timeprofile/items/link")]
pub async fn upsert(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_upserts(who, request, payload, shared).await
}

/// The same at the path beside the documented delete.
#[utoipa::path(tag = "panel", operation_id = "panel_upsert_profiles_at_link", params(("panel" = String, Path)), request_body = LinkItems,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/timeprofile/link")]
pub async fn upsert_at_link(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_upserts(who, request, payload, shared).await
}

/// Reads the profiles and has the panel take them.
pub(super) async fn apply_upserts(
    Administrator { panel, session }: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let body = body::read_of_panel(&request, payload, shared.body_limit).await?;
    let (family, most) = (panel.settings.family(), shared.max_items);
    let profiles =
        shared.turns.parse(body, move |body| parse::link_body_within(body, family, most)).await??;
    let operations = Operations::of_profiles(profiles, Vec::new(), false);
    let results = ask(&panel, &session, &request, operations, "panel.upsert").await?;
    Ok(answer(&panel, results.into_iter(), true))
}

/// Deletes many profiles by link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_profiles", params(("panel" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[delete("/v1/access/timeprofile/items/link")]
pub async fn delete(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_deletes(who, request, payload, shared).await
}

/// The same by `POST`.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_profiles_by_post", params(("panel" = String, Path)), request_body = LinkIds,
    responses((status = 200, body = LinkResults), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/timeprofile/link/delete")]
pub async fn delete_by_post(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    apply_deletes(who, request, payload, shared).await
}

/// Reads the link_ids and has the panel delete their profiles.
pub(super) async fn apply_deletes(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let deletes = read_link_ids(&request, payload, &shared).await?;
    by_uid::detach(&who, &request, deletes.iter().copied().map(ProfileName::Link)).await?;
    let Administrator { panel, session } = who;
    let operations = Operations::of_profiles(Vec::new(), deletes, false);
    let results = ask(&panel, &session, &request, operations, "panel.delete").await?;
    Ok(answer(&panel, results.into_iter(), false))
}

/// The link_ids in the body.
pub async fn read_link_ids(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<Vec<LinkId>, PanelError> {
    let body = body::read_of_panel(request, payload, shared.body_limit).await?;
    let most = shared.max_items;
    Ok(shared.turns.parse(body, move |body| parse::link_ids_body_within(body, most)).await??)
}

/// Gives the operations to the panel, waiting for room in its mailbox, and says what came of each after their commit. A
/// request that is dropped before the panel took them is not done; later it takes nothing back.
pub(super) async fn ask(
    panel: &Entry,
    session: &Session,
    request: &HttpRequest,
    operations: Operations,
    action: &'static str,
) -> Result<Vec<ItemResult>, PanelError> {
    let (reply, answer) = oneshot::channel();
    let origin = Arc::new(auth::origin(request, &session.actor()));
    let work = Work::Call(Arc::new(operations), action);
    panel.address.send(Apply { work, origin, reply: Reply::Caller(reply) }).await?;
    Ok(answer.await??.results)
}

/// The results as the panel answers them, where the call is one in which it would say whose name is taken.
pub(super) fn answer(panel: &Entry, results: impl Iterator<Item = ItemResult>, names: bool) -> HttpResponse {
    let dialect = panel.settings.dialect;
    let result = results.map(|item| LinkResult::new(&item, dialect, names)).collect();
    HttpResponse::Ok().json(LinkResults { result })
}

/// The profiles with a link_id, in the list form.
#[utoipa::path(tag = "panel", operation_id = "panel_list_linked_profiles", params(("panel" = String, Path), list::ListParameters),
    responses((status = 200, body = list::ListBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/timeprofile/items/link")]
pub async fn read(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    list_linked(account, query, shared).await
}

/// The page of the profiles with a link_id that the query asks for.
pub(super) async fn list_linked(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let dialect = account.panel.settings.dialect;
    let wanted = Wanted::parse(&query, dialect, Field::OF_PROFILES)?;
    let mut profiles = profiles(&shared, &account.panel).await?;
    profiles.retain(|profile| profile.link_id.is_some());
    list::answer(profiles, wanted, dialect)
}
