//! Logging in and out of the fleet API.

use actix_web::{HttpRequest, HttpResponse, delete, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Role;
use crate::access::actor::Actor;
use crate::clock;
use crate::fleet::accounts::{Login, OpenedSession};
use crate::fleet::{FieldError, FleetError};
use crate::http::auth::{self, Viewer};
use crate::http::body::{BodyError, SMALL};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, Shared, body};
use crate::profile::error::WireError;
use crate::profile::wire::{Json, Unread};

/// A user's name and password. Never logged: it has no `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Credentials {
    /// The user.
    #[schema(example = "admin")]
    pub username: String,
    /// The password.
    pub password: String,
}

/// A new session.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct SessionBody {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// What it may do.
    pub role: Role,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Logs in.
#[utoipa::path(tag = "session", operation_id = "log_in", request_body = Credentials, security(()),
    responses((status = 200, body = SessionBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[post("/session")]
pub async fn open(
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let Credentials { username, password } = read_small_json(&request, payload).await?;
    let origin = auth::origin(&request, &Actor::Claimed(username.clone()));
    let session = shared.fleet.log_in(Login { name: username, password }, &origin).await?;
    let OpenedSession { token, role, ends_ms } = session;
    Ok(HttpResponse::Ok().json(SessionBody { token, role, expires_at: clock::rfc3339(ends_ms) }))
}

/// Ends the session, or revokes the token that is shown.
#[utoipa::path(tag = "session", operation_id = "log_out", responses((status = 204), (status = 401, body = ProblemBody)))]
#[delete("/session")]
pub async fn close(Viewer(who): Viewer, request: HttpRequest, shared: Here) -> Result<HttpResponse, Problem> {
    shared.fleet.log_out(&who, &auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// [`read_json`] of such a call.
pub(super) async fn read_small_json<T: for<'de> Deserialize<'de>>(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<T, Problem> {
    let body = body::read(request, payload, body::JSON, SMALL).await;
    let body = body.map_err(|error| match error {
        BodyError::TooLarge(limit) => Problem::TooLargeHere(limit),
        error @ (BodyError::WrongContentType(_)
        | BodyError::Encoded
        | BodyError::Busy
        | BodyError::TooSlow
        | BodyError::Broken
        | BodyError::NoParts) => error.into(),
    })?;
    Ok(parse_json(&body)?)
}

/// A JSON body of a type, or the problem with it.
pub(super) async fn read_json<T: for<'de> Deserialize<'de>>(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<T, Problem> {
    let body = body::read(request, payload, body::JSON, shared.body_limit).await?;
    Ok(parse_json(&body)?)
}

/// Values in a body that is read as a whole.
const MAX_VALUES: usize = 100_000;

/// 400 for what is no JSON, 422 for JSON of another form, or with a key twice.
pub fn parse_json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, FleetError> {
    let twice = match Json::object(body, MAX_VALUES) {
        Ok(json) => json.twice(MAX_TWICE),
        Err(Unread::TooManyValues(..)) => {
            return Err(FleetError::invalid("", format!("the body holds more than {MAX_VALUES} values")));
        }
        Err(Unread::NotJson(_) | Unread::NotAnObject | Unread::Stopped(_)) => Vec::new(), // said below
    };
    if !twice.is_empty() {
        let words = WireError::Twice.to_string();
        return Err(FleetError::Invalid(
            twice.into_iter().map(|path| FieldError::at(path, words.clone())).collect(),
        ));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => FleetError::of_form(&error),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            FleetError::Unreadable(format!("the body is not JSON: {error}"))
        }
    })
}

/// Keys that are given twice and named so in an answer.
const MAX_TWICE: usize = 100;
