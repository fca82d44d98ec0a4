//! Users, tokens and the audit.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::session::{read_json, read_small_json};
use super::{Page, Paging};
use crate::access::Role;
use crate::clock;
use crate::fleet::accounts::{Login, NewPassword, is_own, needs};
use crate::fleet::audit;
use crate::http::Here;
use crate::http::auth::{self, Admin, Viewer};
use crate::http::problem::{Problem, ProblemBody};
use crate::store::tables::{AuditRecord, TokenRecord};

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserBody {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// A new user. Never logged: it has no `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewUser {
    /// 1 to 63 letters, digits and `-_./`.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// At least 8 characters.
    pub password: String,
}

/// The users, by name.
#[utoipa::path(tag = "access", operation_id = "list_users", responses((status = 200, body = Page<UserBody>), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/users")]
pub async fn list_users(_who: Admin, shared: Here) -> Result<HttpResponse, Problem> {
    let users = shared.fleet.users()?;
    let items = users
        .into_iter()
        .map(|(name, user)| UserBody {
            name,
            role: user.role,
            created_at: clock::rfc3339(user.created_at_ms),
        })
        .collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

/// Adds a user.
#[utoipa::path(tag = "access", operation_id = "add_user", request_body = NewUser,
    responses((status = 201, body = UserBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/users")]
pub async fn add_user(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let NewUser { name, role, password } = read_json(&request, payload, &shared).await?;
    let origin = auth::origin(&request, &who.actor());
    let login = Login { name: name.clone(), password };
    let record = shared.fleet.add_user(&who, login, role, &origin).await?;
    let created_at = clock::rfc3339(record.created_at_ms);
    Ok(HttpResponse::Created().json(UserBody { name, role: role.as_str().into(), created_at }))
}

/// A user that is to be removed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Removal {
    /// Whether the tokens that the user made end too.
    #[serde(default)]
    #[param(required = false)]
    revoke_tokens: bool,
}

/// A user was removed who had made tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// Who.
    pub removed: String,
    /// Whether the tokens ended too. If not, they live on: see to them.
    pub revoked: bool,
    /// The tokens that the user made, be it through other tokens.
    pub tokens: Vec<TokenBody>,
}

/// Removes a user and ends the user's sessions. The last administrator stays.
///
/// Tokens that the user made are named; they live on unless `revoke_tokens` is given.
#[utoipa::path(tag = "access", operation_id = "remove_user", params(("name" = String, Path), Removal),
    responses((status = 200, description = "The user had made tokens", body = Removed), (status = 204), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[delete("/users/{name}")]
pub async fn remove_user(
    Admin(who): Admin,
    name: web::Path<String>,
    removal: web::Query<Removal>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let origin = auth::origin(&request, &who.actor());
    let revoked = removal.revoke_tokens;
    let tokens = shared.fleet.remove_user(&who, &name, revoked, origin).await?;
    if tokens.is_empty() {
        return Ok(HttpResponse::NoContent().finish());
    }
    let tokens = tokens.into_iter().map(TokenBody::from).collect();
    Ok(HttpResponse::Ok().json(Removed { removed: name.into_inner(), revoked, tokens }))
}

/// A new password. Never logged: it has no `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct PasswordChange {
    /// At least 8 characters.
    pub password: String,
    /// The one of now: needed for one's own.
    pub old_password: Option<String>,
}

/// Changes a password: everybody's own, and an administrator any.
///
/// The user's other sessions end, those of the panel API too.
#[utoipa::path(tag = "access", operation_id = "set_password", params(("name" = String, Path)), request_body = PasswordChange,
    responses((status = 204), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[post("/users/{name}/password")]
pub async fn set_password(
    Viewer(who): Viewer,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    if !is_own(&who, &name)
        && let Err(error) = needs(Role::Admin, &who)
    {
        auth::denied(&request, &who.actor());
        return Err(error.into());
    }
    let PasswordChange { password, old_password } = read_small_json(&request, payload).await?;
    let origin = auth::origin(&request, &who.actor());
    shared.fleet.change_password(&who, &name, NewPassword { password, old_password }, &origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A token, without its text.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenBody {
    /// By what it is revoked.
    pub id: Uuid,
    /// What people call it; for a session, the user's name.
    pub name: String,
    /// What its bearer may do.
    pub role: String,
    /// `token`, or `session` for a login.
    pub kind: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ends.
    #[schema(required = true, format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was last used, to the minute.
    #[schema(required = true, format = DateTime)]
    pub last_used_at: Option<String>,
    /// Who made it, as the audit names who does something; null for a session, and where that is not known.
    #[schema(required = true)]
    pub made_by: Option<String>,
}

impl From<TokenRecord> for TokenBody {
    fn from(token: TokenRecord) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role,
            kind: if token.session { "session" } else { "token" }.into(),
            created_at: clock::rfc3339(token.created_at_ms),
            expires_at: token.expires_at_ms.map(clock::rfc3339),
            last_used_at: token.last_used_ms.map(clock::rfc3339),
            made_by: token.made_by,
        }
    }
}

/// A token that is to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = NewToken)]
pub struct TokenInput {
    /// 1 to 63 letters, digits and `-_./`.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// How long it lives, in seconds; null is for ever.
    pub expires_in: Option<u32>,
}

/// A new token with its text, which is not shown again.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub about: TokenBody,
}

/// The tokens and sessions that have not expired.
#[utoipa::path(tag = "access", operation_id = "list_tokens", responses((status = 200, body = Page<TokenBody>), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/tokens")]
pub async fn list_tokens(_who: Admin, shared: Here) -> Result<HttpResponse, Problem> {
    let items = shared.fleet.tokens()?.into_iter().map(TokenBody::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

/// Makes a token.
#[utoipa::path(tag = "access", operation_id = "add_token", request_body = TokenInput,
    responses((status = 201, body = CreatedToken), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/tokens")]
pub async fn add_token(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let TokenInput { name, role, expires_in } = read_json(&request, payload, &shared).await?;
    let origin = auth::origin(&request, &who.actor());
    let (token, record) = shared.fleet.add_token(&who, name, role, expires_in, &origin).await?;
    Ok(HttpResponse::Created().json(CreatedToken { token, about: record.into() }))
}

/// Revokes a token or ends a session.
#[utoipa::path(tag = "access", operation_id = "revoke_token", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[delete("/tokens/{id}")]
pub async fn revoke_token(
    Admin(who): Admin,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    shared.fleet.revoke_token(&id, auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Which entries of the audit.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// From this moment on (RFC 3339).
    pub from: Option<String>,
    /// Before this moment (RFC 3339).
    pub to: Option<String>,
    /// By this user or token: a name, `KIND:ID`, or all of what an entry says.
    pub actor: Option<String>,
}

/// An entry of the audit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditBody {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: `user:NAME`, `token:ID:NAME`, `panel-user:NAME` on the panel API, `login:NAME` who was refused as that.
    #[schema(example = "user:anna")]
    pub actor: String,
    /// From where.
    pub address: String,
    /// Did what.
    #[schema(example = "batch.submit")]
    pub action: String,
    /// To what.
    pub target: String,
}

/// Who did what, when, from where; newest first.
///
/// The last 100,000 entries are kept for a year (`--keep-audit`), and beside them the last 20,000 of sessions and of what was
/// refused.
#[utoipa::path(tag = "access", operation_id = "list_audit", params(AuditFilter, Paging),
    responses((status = 200, body = Page<AuditBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/audit")]
pub async fn list_audit(
    _who: Admin,
    filter: web::Query<AuditFilter>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let (before, limit) = (paging.number(u64::MAX)?, paging.limit()?);
    let page = shared.fleet.page_of_audit(filter.into_inner().read()?, before, limit).await?;
    Ok(HttpResponse::Ok().json(Page::of(page, AuditBody::from)))
}

impl From<AuditRecord> for AuditBody {
    fn from(AuditRecord { at_ms, actor, address, action, target }: AuditRecord) -> Self {
        Self { at: clock::rfc3339(at_ms), actor, address, action, target }
    }
}

impl AuditFilter {
    fn read(self) -> Result<audit::AuditFilter, Problem> {
        let (from_ms, to_ms) = (moment("from", self.from.as_deref())?, moment("to", self.to.as_deref())?);
        Ok(audit::AuditFilter { from_ms, to_ms, actor: self.actor })
    }
}

pub(super) fn moment(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let moment: jiff::Timestamp = text
        .parse()
        .map_err(|_| Problem::bad_request(format!("{name} takes a moment such as 2026-01-31T08:00:00Z")))?;
    Ok(Some(moment.as_millisecond()))
}
