//! The same calls as door controllers have them: below `/access/time-profiles`, with `items` for `list_items`, `id`
//! for `uid`, and `has_duplicates` spelt right; a login by `POST`; errors that are objects ([`error_body`]). The
//! document shows the panels' names only.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_actix_web::service_config::ServiceConfig;

use super::error::PanelError;
use super::{Account, Administrator, PanelRef, by_uid, link, list, session};
use crate::access::Role;
use crate::access::sessions::Scope;
use crate::http::{Shared, body};
use crate::panel::{UidAnswer, UidOperation};
use crate::profile::error::WireError;
use crate::profile::rule::Family;

/// A login's body in bytes, at most.
const LOGIN: usize = 4096;

/// Marks a request as one to a door controller.
pub(super) struct ToController;

/// The body of an error of a door controller, where the request was to one.
pub fn error_body(request: &HttpRequest, error: &PanelError) -> Option<Value> {
    request.extensions().get::<ToController>()?;
    let code = match error.status_code() {
        StatusCode::UNAUTHORIZED => "invalid_authentication",
        StatusCode::FORBIDDEN => "permission_denied",
        StatusCode::REQUEST_TIMEOUT => "connection_timeout",
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "not_valid",
        status if status.is_server_error() => "system_error",
        _ => "bad_request",
    };
    Some(json!({ "error": { "code": code, "message": error.to_string(), "data": null } }))
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// Logs in with the name and the MD5 in the body.
async fn log_in(
    PanelRef(panel): PanelRef,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    if panel.settings.family != Family::DoorController {
        return Err(PanelError::NotFound);
    }
    let body = body::read(&request, payload, body::JSON, LOGIN).await?;
    let Login { username, password } =
        serde_json::from_slice(&body).map_err(|_| PanelError::Body(WireError::NotAJsonObject))?;
    let query = HashMap::from([("username".to_owned(), username), ("password".to_owned(), password)]);
    session::log_in(&shared, Scope::Panel(panel.number), Role::Admin, &query, &request).await
}

/// The routes, below the panel's base.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .route("/v1/access/time-profiles/items/link", web::post().to(link::apply_upserts))
        .route("/v1/access/time-profiles/items/link", web::delete().to(link::apply_deletes))
        .route("/v1/access/time-profiles/items/link", web::get().to(link::list_linked))
        .route("/v1/access/time-profiles/link", web::post().to(link::apply_upserts))
        .route("/v1/access/time-profiles/link/delete", web::post().to(link::apply_deletes))
        .route("/v1/login", web::post().to(log_in))
        .route("/v1/access/time-profiles", web::post().to(create))
        .route(r"/v1/access/time-profiles/{uid:\d+}", web::get().to(show))
        .route(r"/v1/access/time-profiles/{uid:\d+}", web::patch().to(by_uid::replace_one))
        .route(r"/v1/access/time-profiles/{uid:\d+}", web::delete().to(by_uid::delete_one))
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
