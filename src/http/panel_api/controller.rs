//! The same calls as door controllers have them: below `/access/time-profiles`, with `items` for `list_items`, `id`
//! for `uid`, and `has_duplicates` spelt right. The document shows the panels' names only.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use utoipa_actix_web::service_config::ServiceConfig;

use super::error::PanelError;
use super::{Account, Administrator, by_uid, link, list};
use crate::http::{Shared, body};
use crate::panel::{UidAnswer, UidOperation};

/// The routes, below the panel's base.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .route("/v1/access/time-profiles/items/link", web::post().to(link::apply_upserts))
        .route("/v1/access/time-profiles/items/link", web::delete().to(link::apply_deletes))
        .route("/v1/access/time-profiles/items/link", web::get().to(link::list_linked))
        .route("/v1/access/time-profiles/link", web::post().to(link::apply_upserts))
        .route("/v1/access/time-profiles/link/delete", web::post().to(link::apply_deletes))
        .route("/v1/access/time-profiles", web::post().to(create))
        .route("/v1/access/time-profiles/item/{uid}", web::get().to(show))
        .route("/v1/access/time-profiles/item/{uid}", web::patch().to(by_uid::replace_one))
        .route("/v1/access/time-profiles/item/{uid}", web::delete().to(by_uid::delete_one))
        .route("/v1/access/time-profiles/items", web::get().to(by_uid::read_all))
        .route("/v1/access/time-profiles/items", web::delete().to(by_uid::delete_named));
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
    let profile = by_uid::find(&account, &request, &shared).await?;
    let item = list::item(&profile, account.panel.settings.family, false);
    Ok(HttpResponse::Ok().content_type(body::JSON).body(item))
}
