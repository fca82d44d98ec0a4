//! Who the panel is, and logging in.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ErrorBody, PanelError};
use super::{Account, PanelRef, is_head};
use crate::access::actor::Actor;
use crate::access::sessions::{Scope, Session};
use crate::access::{PasswordMd5, Role};
use crate::batch::selector::is_key;
use crate::clock;
use crate::http::body::SMALL;
use crate::http::{Here, Shared, auth};
use crate::panel::settings::ApiVersion;
use crate::profile::rule::Family;

/// What a panel says of itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Info {
    firmware_version: String,
    framework_version: String,
    frontend_version: String,
    api_version: String,
    device_name: String,
    device_type: String,
    device_model: String,
    device_serial_number: String,
    hybrid_enable: bool,
    hybrid_version: String,
    commit: String,
}

impl Info {
    /// Of a device of this name and serial number. The versions are those of this program.
    pub fn new(name: &str, serial: String, api_version: ApiVersion) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            firmware_version: version.clone(),
            framework_version: version.clone(),
            frontend_version: version,
            api_version: api_version.to_string(),
            device_name: name.to_owned(),
            device_type: "panel".into(),
            device_model: "panelsync".into(),
            device_serial_number: serial,
            hybrid_enable: false,
            hybrid_version: String::new(),
            commit: String::new(),
        }
    }
}

/// What the panel is; needs no token.
#[utoipa::path(tag = "panel", operation_id = "panel_info", params(("panel" = String, Path)), security(()),
    responses((status = 200, body = Info), (status = 404, body = ErrorBody)))]
#[get("/info")]
pub async fn info(PanelRef(panel): PanelRef, shared: Here) -> Result<HttpResponse, PanelError> {
    let settings = &panel.settings;
    let fleet = shared.fleet.store.read()?.fleet_number()?;
    let serial = format!("PS-{fleet:08X}-{:06}", panel.number);
    Ok(HttpResponse::Ok().json(Info::new(settings.id.as_str(), serial, settings.api_version)))
}

/// Who is calling: by the token of a session, or by the name and password of HTTP Basic. Nothing where neither is shown,
/// or the token is not known. What is right is remembered, so that Basic costs a verification only now and then.
pub async fn who(request: &HttpRequest, scope: Scope) -> Result<Option<Session>, PanelError> {
    let shared = Shared::of(request);
    if let Some(token) = auth::bearer(request) {
        return Ok(shared.fleet.access.session(&shared.sessions, scope, token)?);
    }
    let Some((username, password)) = auth::basic(request).transpose()? else { return Ok(None) };
    let origin = auth::origin(request, &Actor::PanelUser(username.clone()));
    let password = PasswordMd5::of(&password);
    let proven = shared.fleet.verify(&username, password, place(request), &origin).await?;
    Ok(Some(Session::of(scope, proven.ok_or(PanelError::WrongBasic)?)))
}

/// Where somebody logs in, as the audit names it.
fn place(request: &HttpRequest) -> &str {
    request.match_info().get("panel").filter(|panel| is_key(panel)).unwrap_or("as-panel")
}

/// A new session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LoggedIn {
    /// For `Authorization: Bearer`; lives two hours.
    pub token: String,
    /// `admin`, or `user` who may only read.
    pub account_type: String,
}

/// Which accounts there are where somebody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// Of every role; those from this one on are administrators.
    From(Role),
    /// Of administrators only, as on door controllers.
    OfAdministrators,
}

/// Logs in for a scope with the name and the MD5 in the query.
pub async fn log_in(
    shared: &Shared,
    scope: Scope,
    accounts: Accounts,
    query: &HashMap<String, String>,
    request: &HttpRequest,
) -> Result<HttpResponse, PanelError> {
    if request.query_string().len() > SMALL {
        return Err(PanelError::TooLarge(SMALL));
    }
    let given = |name: &str| query.get(name).filter(|value| !value.is_empty());
    let (Some(username), Some(password)) = (given("username"), given("password")) else {
        return Err(PanelError::LoginWithoutName);
    };
    let password = PasswordMd5::from_hex(password).ok_or(PanelError::WrongLogin)?;
    let place = place(request);
    let origin = auth::origin(request, &Actor::PanelUser(username.clone()));
    let proven =
        shared.fleet.verify(username, password, place, &origin).await?.ok_or(PanelError::WrongLogin)?;
    let administrator = match accounts {
        Accounts::From(role) => role,
        Accounts::OfAdministrators if proven.role < Role::Admin => {
            auth::denied(request, &Actor::PanelUser(username.clone()));
            return Err(PanelError::NotAdministrator(Family::DoorController));
        }
        Accounts::OfAdministrators => Role::Admin,
    };
    let role = proven.role;
    let account_type = if role >= administrator { "admin" } else { "user" };
    if is_head(request) {
        return Ok(HttpResponse::Ok().finish());
    }
    let audit = origin.audit("session.open", place);
    let token = shared.fleet.access.open_panel_session(&shared.sessions, scope, proven, audit).await?;
    let token = token.ok_or(PanelError::WrongLogin)?;
    Ok(HttpResponse::Ok().json(LoggedIn { token, account_type: account_type.into() }))
}

/// Logs in on this panel with an account of the server.
#[utoipa::path(tag = "panel", operation_id = "panel_login", security(()),
    params(("panel" = String, Path), ("username" = String, Query), ("password" = String, Query, description = "MD5 hex of the password")),
    responses((status = 200, body = LoggedIn), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 405, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody)))]
#[get("/v1/login")]
pub async fn login(
    PanelRef(panel): PanelRef,
    query: web::Query<HashMap<String, String>>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    if panel.settings.family() == Family::DoorController {
        return Err(PanelError::MethodNotAllowed("POST".into()));
    }
    log_in(&shared, Scope::Panel(panel.number), Accounts::From(Role::Admin), &query, &request).await
}

/// Ends the session; its token is dead afterwards.
#[utoipa::path(tag = "panel", operation_id = "panel_logout", params(("panel" = String, Path)),
    responses((status = 200), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/logout")]
pub async fn logout(account: Account, request: HttpRequest, shared: Here) -> HttpResponse {
    close(&request, &shared, &account.session, account.panel.settings.id.as_str()).await
}

/// The same as `GET`.
#[utoipa::path(tag = "panel", operation_id = "panel_logout_by_post", params(("panel" = String, Path)),
    responses((status = 200), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[post("/v1/logout")]
pub async fn logout_by_post(account: Account, request: HttpRequest, shared: Here) -> HttpResponse {
    close(&request, &shared, &account.session, account.panel.settings.id.as_str()).await
}

/// Ends the session of the request's token, which is this one; nothing ends where only a password was shown.
pub async fn close(request: &HttpRequest, shared: &Shared, session: &Session, place: &str) -> HttpResponse {
    if let Some(token) = auth::bearer(request).filter(|_| !is_head(request)) {
        shared.sessions.close(token);
        let audit = auth::origin(request, &session.actor()).audit("session.close", place);
        if let Err(error) = shared.fleet.store.change(move |tables| tables.audit(&audit)).await {
            tracing::warn!(%error, "the end of a session was not kept in the audit"); // it is over all the same
        }
    }
    HttpResponse::Ok().finish()
}

/// The panel's clock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceTime {
    /// Unix seconds.
    time_unix: i64,
    /// IANA name.
    timezone: String,
}

impl DeviceTime {
    /// The time as it is now, in a zone.
    pub fn now(timezone: String) -> Self {
        Self { time_unix: clock::now_ms() / 1000, timezone }
    }
}

/// The panel's time and zone.
#[utoipa::path(tag = "panel", operation_id = "panel_device_time", params(("panel" = String, Path)),
    responses((status = 200, body = DeviceTime), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/device/time")]
pub async fn device_time(account: Account) -> HttpResponse {
    let timezone = account.panel.settings.zone.name().to_owned();
    HttpResponse::Ok().json(DeviceTime::now(timezone))
}
