//! The same calls as door controllers have them: below `/access/time-profiles`, with `items` for `list_items`, `id`
//! for `uid`, and `has_duplicates` spelt right. The document shows the panels' names only.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use utoipa_actix_web::service_config::ServiceConfig;

use super::error::PanelError;
use super::{Account, Administrator, by_uid, link, list};
use crate::http::{Shared, body};
use crate::panel::{UidAnswer, UidOperation};
use crate::profile::parse;

/// The routes, below the panel's base.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .route("/v1/access/time-profiles/items/link", web::post().to(upsert))
        .route("/v1/access/time-profiles/items/link", web::delete().to(delete))
        .route("/v1/access/time-profiles/items/link", web::get().to(read_linked))
        .route("/v1/access/time-profiles/link", web::post().to(upsert))
        .route("/v1/access/time-profiles/link/delete", web::post().to(delete))
        .route("/v1/access/time-profiles", web::post().to(create))
        .route("/v1/access/time-profiles/item/{uid}", web::get().to(show))
        .route("/v1/access/time-profiles/item/{uid}", web::patch().to(replace))
        .route("/v1/access/time-profiles/item/{uid}", web::delete().to(delete_one))
        .route("/v1/access/time-profiles/items", web::get().to(read))
        .route("/v1/access/time-profiles/items", web::delete().to(delete_many));
}

async fn upsert(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    link::apply_upserts(who, request, payload, &shared).await
}

async fn delete(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    link::apply_deletes(who, request, payload, &shared).await
}

async fn read_linked(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    link::list_linked(&account, &query, &shared)
}

async fn read(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    by_uid::read_all(&account, &query, &shared)
}

async fn create(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let profile = by_uid::read_profile(&who, &request, payload, &shared).await?;
    match by_uid::apply(&who, &request, UidOperation::Create(profile), "panel.create").await? {
        UidAnswer::Created(id) => Ok(HttpResponse::Ok().json(json!({ "id": id }))),
        UidAnswer::Done => Ok(HttpResponse::Ok().finish()),
    }
}

async fn show(
    account: Account,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let profile = by_uid::find(&account, &request, &shared)?;
    let item = list::item(&profile, account.panel.settings.family, false);
    Ok(HttpResponse::Ok().content_type(body::JSON).body(item))
}

async fn replace(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    by_uid::replace_one(&who, &request, payload, &shared).await
}

async fn delete_one(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    by_uid::delete_one(&who, &request).await
}

async fn delete_many(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let body = body::read(&request, payload, body::JSON, shared.body_limit).await?;
    let uids = parse::uids_body(&body)?;
    by_uid::apply(&who, &request, UidOperation::Delete(uids), "panel.delete").await?;
    Ok(HttpResponse::Ok().finish())
}
