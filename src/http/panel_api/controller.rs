//! The same calls as door controllers have them: below `/access/time-profiles`, with `items` for `list_items`, `id`
//! for `uid`, and `has_duplicates` spelt right; a login by `POST`; errors that are objects ([`error_body`]). Of
//! these the document shows the login only.

use std::collections::HashMap;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::error::{ErrorBody, PanelError};
use super::session::Accounts;
use super::{Account, Administrator, PanelRef, by_uid, link, list, session};
use crate::access::sessions::Scope;
use crate::http::{Here, body};
use crate::panel::{UidAnswer, UidOperation};
use crate::profile::error::WireError;
use crate::profile::rule::Family;

/// Marks a request as one to a door controller.
pub(super) struct ToController;

/// The body of an error of a door controller, where the request was to one.
pub fn error_body(request: &HttpRequest, error: &PanelError) -> Option<Value> {
    request.extensions().get::<ToController>()?;
    let code = match error.status_code() {
        _ if matches!(error, PanelError::NotAdministrator(_)) => "permission_denied",
        _ if matches!(error, PanelError::WrongLogin) => "invalid_authentication",
        StatusCode::UNAUTHORIZED => "invalid_authentication",
        StatusCode::FORBIDDEN => "permission_denied",
        StatusCode::REQUEST_TIMEOUT => "connection_timeout",
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "not_valid",
        status if status.is_server_error() => "system_error",
        _ => "bad_request",
    };
    Some(json!({ "error": { "code": code, "message": error.to_string(), "data": null } }))
}

/// From one list of calls: the routes below the panel's base, and what each path takes.
macro_rules! calls {
    ($($path:literal: $($method:ident $handler:expr),+;)+) => {
        /// The paths below the panel's base, with what they take.
        pub const PATHS: &[(&str, &[Method])] = &[$(($path, &[$(Method::$method),+])),+];

        /// The routes, below the panel's base.
        pub fn routes(config: &mut ServiceConfig<'_>) {
            config.service(log_in);
            $($(config.route($path, web::method(Method::$method).to($handler));)+)+
        }
    };
}

calls! {
    "/v1/access/time-profiles/items/link": GET link::list_linked, POST link::apply_upserts, DELETE link::apply_deletes;
    "/v1/access/time-profiles/link": POST link::apply_upserts;
    "/v1/access/time-profiles/link/delete": POST link::apply_deletes;
    "/v1/access/time-profiles": POST create;
    r"/v1/access/time-profiles/{uid:-?\d+}": GET show, PATCH by_uid::replace_one, DELETE by_uid::delete_one;
    "/v1/access/time-profiles/item/{uid}": GET show, PATCH by_uid::replace_one, DELETE by_uid::delete_one;
    "/v1/access/time-profiles/items": GET by_uid::read_all, DELETE by_uid::delete_named;
}

/// The name of an account, and the MD5 of its password.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LoginBody {
    /// The name.
    pub username: String,
    /// MD5 hex of the password.
    #[schema(example = "e10adc3949ba59abbe56e057f20f883e")]
    pub password: String,
}

/// Logs in on a door controller, whose login is this one. Other families have that by `GET`.
#[utoipa::path(tag = "panel", operation_id = "panel_login_controller", security(()), params(("panel" = String, Path)), request_body = LoginBody,
    responses((status = 200, body = session::LoggedIn), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 405, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 429, body = ErrorBody)))]
#[post("/v1/login")]
pub async fn log_in(
    PanelRef(panel): PanelRef,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    if panel.settings.family() != Family::DoorController {
        return Err(PanelError::MethodNotAllowed("GET, HEAD".into()));
    }
    let body = body::read_of_panel(&request, payload, body::SMALL).await?;
    let login: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|_| PanelError::Body(WireError::NotAJsonObject))?;
    let texts = login.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
    let query: HashMap<_, _> = texts.collect();
    session::log_in(&shared, Scope::Panel(panel.number), Accounts::OfAdministrators, &query, &request).await
}

async fn create(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let profile = by_uid::read_profile(&who, &request, payload, &shared).await?;
    match by_uid::apply(&who, &request, UidOperation::Create(profile), "panel.create").await? {
        UidAnswer::Created(id) => Ok(HttpResponse::Ok().json(json!({ "id": id }))),
        UidAnswer::Done => Ok(HttpResponse::Ok().finish()),
    }
}

async fn show(account: Account, request: HttpRequest, shared: Here) -> Result<HttpResponse, PanelError> {
    let profile = by_uid::find(&account, &request, &shared).await?;
    let item = list::item(&profile, account.panel.settings.family(), false);
    Ok(HttpResponse::Ok().content_type(body::JSON).body(item))
}
