//! The calls by uid, as the panel's own web page uses them.

use std::collections::HashMap;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::error::{ErrorBody, PanelError};
use super::filter::Field;
use super::list::{Listed, Wanted};
use super::{Account, Administrator, Detaches, list, profiles};
use crate::batch::item::Kind;
use crate::batch::{Body, ItemOutcome};
use crate::http::fleet_api::types::TimeProfileBody;
use crate::http::{Here, Shared, auth, body};
use crate::panel::{ApplyByUid, ProfileName, UidAnswer, UidItem, UidOperation};
use crate::profile::error::WireError;
use crate::profile::{opens, parse};

/// The panel's number for a new item.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// At least 1.
    pub uid: u32,
}

/// Several uids.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UidItems {
    /// The uids.
    pub uid_items: Vec<u32>,
}

/// Creates a profile without link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_create_profile", params(("panel" = String, Path)), request_body = TimeProfileBody,
    responses((status = 200, body = Created), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/timeprofile")]
pub async fn create(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let profile = read_profile(&who, &request, payload, &shared).await?;
    match apply(&who, &request, UidOperation::Create(profile), "panel.create").await? {
        UidAnswer::Created(uid) => Ok(HttpResponse::Ok().json(Created { uid })),
        UidAnswer::Done => Ok(HttpResponse::Ok().finish()),
    }
}

/// One profile.
#[utoipa::path(tag = "panel", operation_id = "panel_show_profile", params(("panel" = String, Path), ("uid" = u32, Path)),
    responses((status = 200, body = list::ListItem), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/timeprofile/item/{uid}")]
pub async fn show(account: Account, request: HttpRequest, shared: Here) -> Result<HttpResponse, PanelError> {
    let profile = find(&account, &request, &shared).await?;
    let item = list::item(&profile, account.panel.settings.family(), false);
    Ok(HttpResponse::Ok().content_type(body::JSON).body(item))
}

/// The profile of the uid in the path.
pub(super) async fn find(
    account: &Account,
    request: &HttpRequest,
    shared: &Shared,
) -> Result<Listed, PanelError> {
    let uid = uid(request)?;
    let profiles = profiles(shared, &account.panel).await?;
    let profile = profiles.into_iter().find(|profile| profile.uid == Some(uid));
    profile.ok_or(PanelError::Body(WireError::Uid))
}

/// Replaces one profile; its uid and link_id stay.
#[utoipa::path(tag = "panel", operation_id = "panel_replace_profile", params(("panel" = String, Path), ("uid" = u32, Path)), request_body = TimeProfileBody,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[patch("/v1/access/timeprofile/item/{uid}")]
pub async fn replace(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    replace_one(who, request, payload, shared).await
}

/// Replaces the profile of the uid in the path.
pub(super) async fn replace_one(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let uid = uid(&request)?;
    let profile = read_profile(&who, &request, payload, &shared).await?;
    apply(&who, &request, UidOperation::Replace(uid, profile), "panel.replace").await?;
    Ok(HttpResponse::Ok().finish())
}

/// Deletes one profile.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_profile", params(("panel" = String, Path), ("uid" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[delete("/v1/access/timeprofile/item/{uid}")]
pub async fn delete(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    delete_one(who, request).await
}

/// Deletes the profile of the uid in the path.
pub(super) async fn delete_one(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    let uid = uid(&request)?;
    detach(&who, &request, [ProfileName::Uid(uid)]).await?;
    apply(&who, &request, UidOperation::Delete(Kind::Profile, vec![uid]), "panel.delete").await?;
    Ok(HttpResponse::Ok().finish())
}

/// All profiles, in the list form.
#[utoipa::path(tag = "panel", operation_id = "panel_list_profiles", params(("panel" = String, Path), list::ListParameters),
    responses((status = 200, body = list::ListBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/timeprofile/items")]
pub async fn read(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    read_all(account, query, shared).await
}

/// The same at its older path.
#[utoipa::path(tag = "panel", operation_id = "panel_list_profiles_older", params(("panel" = String, Path), list::ListParameters),
    responses((status = 200, body = list::ListBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/timeprofile/items/list")]
pub async fn read_older(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    read_all(account, query, shared).await
}

/// The page of all profiles that the query asks for.
pub(super) async fn read_all(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let dialect = account.panel.settings.dialect;
    let wanted = Wanted::parse(&query, dialect, Field::OF_PROFILES)?;
    let profiles = profiles(&shared, &account.panel).await?;
    list::answer(profiles, wanted, dialect)
}

/// Deletes several profiles, all or none.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_profiles_by_uid", params(("panel" = String, Path)), request_body = UidItems,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[delete("/v1/access/timeprofile/items")]
pub async fn delete_many(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    delete_named(who, request, payload, shared).await
}

/// Deletes the profiles of the uids in the body.
pub(super) async fn delete_named(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let uids = read_uids(&request, payload, &shared).await?;
    detach(&who, &request, uids.iter().copied().map(ProfileName::Uid)).await?;
    apply(&who, &request, UidOperation::Delete(Kind::Profile, uids), "panel.delete").await?;
    Ok(HttpResponse::Ok().finish())
}

/// The uid in the path.
pub fn uid(request: &HttpRequest) -> Result<u32, PanelError> {
    uid_in(request, "uid").ok_or(PanelError::Body(WireError::Uid))
}

/// A uid in the path, under this name.
pub(super) fn uid_in(request: &HttpRequest, name: &str) -> Option<u32> {
    request.match_info().get(name).and_then(|uid| uid.parse().ok()).filter(|uid| *uid >= 1)
}

/// The uids in the body.
pub(super) async fn read_uids(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<Vec<u32>, PanelError> {
    let body = body::read_of_panel(request, payload, shared.body_limit).await?;
    let most = shared.max_items;
    Ok(shared.turns.parse(body, move |body| parse::uids_body_within(body, most)).await??)
}

/// The profile in the body, which must be one that can open the door.
pub(super) async fn read_profile(
    who: &Administrator,
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<UidItem, PanelError> {
    let body = body::read_of_panel(request, payload, shared.body_limit).await?;
    let settings = &who.panel.settings;
    let family = settings.family();
    let profile = shared.turns.parse(body, move |body| parse::profile_body(body, family)).await??;
    opens::check(&profile, settings.zone.rules())
        .map_err(|_| PanelError::Refused(ItemOutcome::NeverOpens))?;
    Ok(UidItem::Profile(Body::of(&profile)))
}

/// Before these profiles go, has a panel that detaches them do so.
pub(super) async fn detach(
    who: &Administrator,
    request: &HttpRequest,
    profiles: impl IntoIterator<Item = ProfileName>,
) -> Result<(), PanelError> {
    if request.extensions().get::<Detaches>().is_some() {
        let operation = UidOperation::Detach(profiles.into_iter().collect());
        apply(who, request, operation, "panel.detach").await?;
    }
    Ok(())
}

/// Gives the operation to the panel and answers after its commit.
pub(super) async fn apply(
    Administrator { panel, session }: &Administrator,
    request: &HttpRequest,
    operation: UidOperation,
    action: &str,
) -> Result<UidAnswer, PanelError> {
    let (reply, answer) = oneshot::channel();
    let audit = auth::origin(request, &session.actor()).audit(action, panel.settings.id.as_str());
    panel.address.send(ApplyByUid { operation, audit, reply }).await?;
    Ok(answer.await???)
}
