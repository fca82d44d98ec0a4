//! The calls on identifiers by uid, as the panel's own web page uses them.
//!
//! Decisions where the panel API is silent: a body that names no profiles (these calls bind by calls of their own) leaves those
//! bound that are; a profile without link_id cannot be bound ([`crate::panel::by_uid`]), and its uid counts as wrong; what has
//! no documented text here is refused in the word that the link calls have for it. A face is taken by its photo alone: what
//! another panel has made of one cannot be judged, and is `Wrong face_id image data`.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};

use super::shown::{self, InUidForm};
use crate::batch::ItemOutcome;
use crate::batch::item::Kind;
use crate::http::fleet_api::types::IdentifierBody;
use crate::http::panel_api::Administrator;
use crate::http::panel_api::by_uid::{Created, UidItems, apply, read_uids, uid_in};
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::http::panel_api::filter::Field;
use crate::http::panel_api::list::{self, InList, Wanted};
use crate::http::{Here, Shared, body};
use crate::identifier::parse::{UidIdentifier, uid_body};
use crate::identifier::{Refusal, error};
use crate::panel::{UidAnswer, UidItem, UidOperation};
use crate::profile::error::WireError;

/// Creates an identifier without link_id.
#[utoipa::path(tag = "panel", operation_id = "panel_create_identifier", params(("panel" = String, Path)), request_body = IdentifierBody,
    responses((status = 200, body = Created), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/identifier")]
pub async fn create(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let identifier = read_identifier(&who, &request, payload, &shared).await?;
    let item = UidItem::Identifier(Box::new(identifier));
    match apply(&who, &request, UidOperation::Create(item), "panel.identifiers.create").await? {
        UidAnswer::Created(uid) => Ok(HttpResponse::Ok().json(Created { uid })),
        UidAnswer::Done => Ok(HttpResponse::Ok().finish()),
    }
}

/// One identifier.
#[utoipa::path(tag = "panel", operation_id = "panel_show_identifier", params(("panel" = String, Path), ("uid" = u32, Path)),
    responses((status = 200, body = shown::IdentifierItem), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/identifier/item/{uid}")]
pub async fn show(
    who: Administrator,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let shown = shown::identifier(&shared, &who.panel, uid(&request)?).await?;
    let item = InUidForm { shown, in_list: false }.json(who.panel.settings.dialect);
    Ok(HttpResponse::Ok().content_type(body::JSON).body(item))
}

/// Replaces one identifier; its uid and link_id stay.
#[utoipa::path(tag = "panel", operation_id = "panel_replace_identifier", params(("panel" = String, Path), ("uid" = u32, Path)), request_body = IdentifierBody,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[patch("/v1/access/identifier/item/{uid}")]
pub async fn replace(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let uid = uid(&request)?;
    let identifier = read_identifier(&who, &request, payload, &shared).await?;
    let item = UidItem::Identifier(Box::new(identifier));
    apply(&who, &request, UidOperation::Replace(uid, item), "panel.identifiers.replace").await?;
    Ok(HttpResponse::Ok().finish())
}

/// Deletes one identifier.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_identifier", params(("panel" = String, Path), ("uid" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[delete("/v1/access/identifier/item/{uid}")]
pub async fn delete(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    let uid = uid(&request)?;
    let operation = UidOperation::Delete(Kind::Identifier, vec![uid]);
    apply(&who, &request, operation, "panel.identifiers.delete").await?;
    Ok(HttpResponse::Ok().finish())
}

/// All identifiers, in the list form.
#[utoipa::path(tag = "panel", operation_id = "panel_list_identifiers", params(("panel" = String, Path), list::ListParameters),
    responses((status = 200, body = shown::IdentifierList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/identifier/items")]
pub async fn read(
    who: Administrator,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let dialect = who.panel.settings.dialect;
    let wanted = Wanted::parse(&query, dialect, Field::OF_IDENTIFIERS)?;
    let identifiers = shown::identifiers(&shared, &who.panel).await?;
    let listed = identifiers.into_iter().map(|shown| InUidForm { shown, in_list: true });
    list::answer(listed, wanted, dialect)
}

/// Deletes several identifiers, all or none.
#[utoipa::path(tag = "panel", operation_id = "panel_delete_identifiers_by_uid", params(("panel" = String, Path)), request_body = UidItems,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[delete("/v1/access/identifier/items")]
pub async fn delete_many(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let uids = read_uids(&request, payload, &shared).await.map_err(|error| match error {
        PanelError::Body(WireError::Uid) => PanelError::IdentifierUid,
        error => error,
    })?;
    let operation = UidOperation::Delete(Kind::Identifier, uids);
    apply(&who, &request, operation, "panel.identifiers.delete").await?;
    Ok(HttpResponse::Ok().finish())
}

/// Counts an identifier's passes from the start.
#[utoipa::path(tag = "panel", operation_id = "panel_reset_passes", params(("panel" = String, Path), ("uid" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[post("/v1/access/identifier/item/{uid}/passes/reset")]
pub async fn reset_passes(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    let uid = uid(&request)?;
    apply(&who, &request, UidOperation::ResetPasses(uid), "panel.identifiers.reset-passes").await?;
    Ok(HttpResponse::Ok().finish())
}

/// Binds an identifier to a profile.
#[utoipa::path(tag = "panel", operation_id = "panel_bind_identifier", params(("panel" = String, Path), ("uid" = u32, Path), ("profile" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[post("/v1/access/identifier/item/{uid}/timeprofile/{profile}")]
pub async fn bind(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    set_bound(&who, &request, true, "panel.identifiers.bind").await
}

/// Unbinds an identifier from a profile. Without its last one it opens at any time.
#[utoipa::path(tag = "panel", operation_id = "panel_unbind_identifier", params(("panel" = String, Path), ("uid" = u32, Path), ("profile" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[delete("/v1/access/identifier/item/{uid}/timeprofile/{profile}")]
pub async fn unbind(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    set_bound(&who, &request, false, "panel.identifiers.unbind").await
}

async fn set_bound(
    who: &Administrator,
    request: &HttpRequest,
    bound: bool,
    action: &str,
) -> Result<HttpResponse, PanelError> {
    let identifier = uid(request)?;
    let profile = uid_in(request, "profile").ok_or(PanelError::Body(WireError::Uid))?;
    apply(who, request, UidOperation::Bind(identifier, profile, bound), action).await?;
    Ok(HttpResponse::Ok().finish())
}

/// The identifier's uid in the path.
pub(super) fn uid(request: &HttpRequest) -> Result<u32, PanelError> {
    uid_in(request, "uid").ok_or(PanelError::IdentifierUid)
}

/// The identifier in the body, which must be one that the panel can take.
async fn read_identifier(
    who: &Administrator,
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<UidIdentifier, PanelError> {
    let api = who.panel.settings.identifier_api().ok_or(PanelError::NotFound)?;
    let body = body::read_of_panel(request, payload, shared.body_limit).await?;
    let given = shared.turns.parse(body, move |body| uid_body(body, api)).await?;
    let given = given.map_err(|problem| match problem.error {
        error::WireError::Body(WireError::Missing("face_image") | WireError::WrongType("face_image")) => {
            PanelError::FaceData
        }
        _ => problem.into(),
    })?;
    let identifier = given.map_err(|refusal| match refusal {
        Refusal::NoFaces => PanelError::NoFaces,
        Refusal::Photo(_) => PanelError::FaceData,
        Refusal::NeverOpens | Refusal::NoPlates => PanelError::Refused(refusal.into()),
    })?;
    if super::sees_no_face(request) && identifier.photo.is_some() {
        return Err(PanelError::Refused(ItemOutcome::NotRecognized));
    }
    if super::master_code(shared, &who.panel).await?.as_ref() == Some(&identifier.identifier.credential) {
        return Err(PanelError::MasterCode);
    }
    Ok(identifier)
}
