//! Logging in and out of the fleet API.

use actix_web::{HttpRequest, HttpResponse, delete, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::actor::Actor;
use crate::access::{MAX_NAME, PasswordMd5, Principal, Role, can_be_a_name};
use crate::clock;
use crate::http::auth::{self, Viewer};
use crate::http::body::BodyError;
use crate::http::problem::{FieldError, Problem, ProblemBody};
use crate::http::{Shared, body};
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
    pub expires_at: String,
}

/// Logs in.
#[utoipa::path(tag = "session", request_body = Credentials, security(()),
    responses((status = 200, body = SessionBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[post("/session")]
pub async fn open(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let credentials = read_small_json(&request, payload).await?;
    Ok(HttpResponse::Ok().json(log_in(&shared, &request, credentials).await?))
}

/// Opens a session for whoever knows the password.
pub async fn log_in(
    shared: &Shared,
    request: &HttpRequest,
    Credentials { username, password }: Credentials,
) -> Result<SessionBody, Problem> {
    if !can_be_a_name(&username) {
        let wrong = format!("a user's name has 1 to {MAX_NAME} characters, and none that controls");
        return Err(Problem::invalid("/username", wrong));
    }
    let proven = auth::verify(request, &username, PasswordMd5::of(&password), "").await?;
    let proven = proven.ok_or(Problem::WrongPassword)?;
    let role = proven.role;
    let audit = auth::origin(request, &Actor::User(username)).audit("session.open", "");
    let opened = shared.access.open_session(proven, audit).await?;
    let (token, ends) = opened.ok_or(Problem::WrongPassword)?;
    Ok(SessionBody { token, role, expires_at: clock::rfc3339(ends) })
}

/// Ends the session, or revokes the token that is shown.
#[utoipa::path(tag = "session", responses((status = 204), (status = 401, body = ProblemBody)))]
#[delete("/session")]
pub async fn close(
    Viewer(who): Viewer,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    log_out(&shared, &request, &who).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Ends the session, or revokes the token that was shown.
pub async fn log_out(shared: &Shared, request: &HttpRequest, who: &Principal) -> Result<(), Problem> {
    let audit = auth::origin(request, &who.actor()).audit("session.close", "");
    let token = who.token;
    let change = move |tables: &mut crate::store::tables::Tables<'_>| {
        tables.remove_token(token)?;
        tables.audit(&audit)
    };
    Ok(shared.store.change(change).await?)
}

/// The largest body of a call that anybody may send, or that takes a password, in bytes.
pub const SMALL: usize = 4096;

/// [`read_json`] of such a call.
pub(super) async fn read_small_json<T: for<'de> Deserialize<'de>>(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<T, Problem> {
    let body = body::read(request, payload, body::JSON, SMALL).await;
    parse_json(&body.map_err(|error| match error {
        BodyError::TooLarge(limit) => Problem::TooLargeHere(limit),
        error @ (BodyError::WrongContentType(_)
        | BodyError::Encoded
        | BodyError::Busy
        | BodyError::TooSlow
        | BodyError::Broken) => error.into(),
    })?)
}

/// A JSON body of a type, or the problem with it.
pub(super) async fn read_json<T: for<'de> Deserialize<'de>>(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
) -> Result<T, Problem> {
    let body = body::read(request, payload, body::JSON, shared.body_limit).await?;
    parse_json(&body)
}

/// Values in a body that is read as a whole.
const MAX_VALUES: usize = 100_000;

/// 400 for what is no JSON, 422 for JSON of another form, or with a key twice.
pub fn parse_json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Problem> {
    let twice = match Json::object(body, MAX_VALUES) {
        Ok(json) => json.twice(MAX_TWICE),
        Err(Unread::TooManyValues(..)) => {
            return Err(Problem::invalid("", format!("the body holds more than {MAX_VALUES} values")));
        }
        Err(Unread::NotJson(_) | Unread::NotAnObject | Unread::Stopped(_)) => Vec::new(), // said below
    };
    if !twice.is_empty() {
        let words = WireError::Twice.to_string();
        return Err(Problem::Invalid(
            twice.into_iter().map(|path| FieldError::at(path, words.clone())).collect(),
        ));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::invalid("", error.to_string()),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => Problem::BadRequest(format!("the body is not JSON: {error}")),
    })
}

/// Keys that are given twice and named so in an answer.
const MAX_TWICE: usize = 100;
