//! Users, tokens and the audit.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::session::read_json;
use super::{Page, Paging};
use crate::access::{MIN_PASSWORD, PasswordMd5, Role};
use crate::batch::selector::is_key;
use crate::clock;
use crate::http::Shared;
use crate::http::auth::{self, Admin};
use crate::http::problem::{FieldError, Problem, ProblemBody};
use crate::store::tables::{AuditRecord, TokenRecord};

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserBody {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: String,
    /// Since when.
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
#[utoipa::path(tag = "access", responses((status = 200, body = Page<UserBody>), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/users")]
pub async fn list_users(_who: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let users = shared.store.read()?.users()?;
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
#[utoipa::path(tag = "access", request_body = NewUser,
    responses((status = 201, body = UserBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/users")]
pub async fn add_user(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let NewUser { name, role, password } = read_json(&request, payload, &shared).await?;
    let mut errors = Vec::new();
    if !is_key(&name) || matches!(name.as_str(), "." | "..") {
        errors.push(FieldError::at("/name", "a name is 1 to 63 letters, digits and -_./"));
    }
    if password.chars().count() < MIN_PASSWORD {
        errors
            .push(FieldError::at("/password", format!("a password has at least {MIN_PASSWORD} characters")));
    }
    if !errors.is_empty() {
        return Err(Problem::Invalid(errors));
    }
    let record = shared.access.user_record(PasswordMd5::of(&password), role).await?;
    let created_at = clock::rfc3339(record.created_at_ms);
    let audit = auth::origin(&request, &who.name).audit("user.add", name.as_str());
    let added = name.clone();
    let is_new = shared
        .store
        .change(move |tables| {
            if tables.user(&added)?.is_some() {
                return Ok(false);
            }
            tables.set_user(&added, &record)?;
            tables.audit(&audit)?;
            Ok(true)
        })
        .await?;
    if !is_new {
        return Err(Problem::Conflict(format!("there is a user {name} already")));
    }
    Ok(HttpResponse::Created().json(UserBody { name, role: role.as_str().into(), created_at }))
}

/// Removes a user and ends the user's sessions. The last administrator stays.
#[utoipa::path(tag = "access", params(("name" = String, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[delete("/users/{name}")]
pub async fn remove_user(
    Admin(who): Admin,
    name: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let audit = auth::origin(&request, &who.name).audit("user.remove", name.as_str());
    let removed = name.clone();
    let result = shared
        .store
        .change(move |tables| {
            let Some(user) = tables.user(&removed)? else {
                return Ok(Err(Problem::NotFound(format!("user {removed}"))));
            };
            let admin = Role::Admin.as_str();
            if user.role == admin && tables.users_with_role(admin)? == 1 {
                return Ok(Err(Problem::Conflict(format!(
                    "{removed} is the last administrator; add another one first"
                ))));
            }
            tables.remove_user(&removed)?;
            tables.audit(&audit)?;
            Ok(Ok(()))
        })
        .await?;
    result?;
    shared.sessions.close_user(&name);
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
    pub created_at: String,
    /// When it ends.
    pub expires_at: Option<String>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<String>,
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
        }
    }
}

/// A token that is to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
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
#[utoipa::path(tag = "access", responses((status = 200, body = Page<TokenBody>), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/tokens")]
pub async fn list_tokens(_who: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let now = clock::now_ms();
    let mut tokens = shared.store.read()?.tokens()?;
    tokens.retain(|token| token.expires_at_ms.is_none_or(|end| end > now));
    tokens.sort_by_key(|token| (token.created_at_ms, token.id));
    for token in &mut tokens {
        token.last_used_ms = shared.access.last_used(token);
    }
    let items = tokens.into_iter().map(TokenBody::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

/// Makes a token.
#[utoipa::path(tag = "access", request_body = NewToken,
    responses((status = 201, body = CreatedToken), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/tokens")]
pub async fn add_token(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let NewToken { name, role, expires_in } = read_json(&request, payload, &shared).await?;
    if !is_key(&name) {
        return Err(Problem::invalid("/name", "a name is 1 to 63 letters, digits and -_./"));
    }
    if expires_in == Some(0) {
        return Err(Problem::invalid("/expires_in", "at least one second, or null"));
    }
    let ends = expires_in.map(|seconds| clock::now_ms() + i64::from(seconds) * 1000);
    let (token, record) = shared.access.add_token(&name, role, false, ends).await?;
    let audit = auth::origin(&request, &who.name).audit("token.create", name);
    shared.store.change(move |tables| tables.audit(&audit)).await?;
    Ok(HttpResponse::Created().json(CreatedToken { token, about: record.into() }))
}

/// Revokes a token or ends a session.
#[utoipa::path(tag = "access", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[delete("/tokens/{id}")]
pub async fn revoke_token(
    Admin(who): Admin,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let no_token = || Problem::NotFound(format!("token {id}"));
    let token = Uuid::try_parse(&id).map_err(|_| no_token())?;
    let audit = auth::origin(&request, &who.name).audit("token.revoke", token);
    let removed = shared
        .store
        .change(move |tables| {
            let removed = tables.remove_tokens(|stored| stored.id == token)?;
            if removed > 0 {
                tables.audit(&audit)?;
            }
            Ok(removed)
        })
        .await?;
    if removed == 0 { Err(no_token()) } else { Ok(HttpResponse::NoContent().finish()) }
}

/// Which entries of the audit.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// From this moment on (RFC 3339).
    pub from: Option<String>,
    /// Before this moment (RFC 3339).
    pub to: Option<String>,
    /// By this user or token.
    pub actor: Option<String>,
}

/// An entry of the audit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditBody {
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// Did what.
    #[schema(example = "batch.submit")]
    pub action: String,
    /// To what.
    pub target: String,
}

/// Who did what, when, from where; newest first. The last 100,000 entries are kept.
#[utoipa::path(tag = "access", params(AuditFilter, Paging),
    responses((status = 200, body = Page<AuditBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/audit")]
pub async fn list_audit(
    _who: Admin,
    filter: web::Query<AuditFilter>,
    paging: web::Query<Paging>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let page = page_of_audit(&shared, &filter, paging.number(u64::MAX)?, paging.limit()?).await?;
    let items = page
        .items
        .into_iter()
        .map(|AuditRecord { at_ms, actor, address, action, target }| AuditBody {
            at: clock::rfc3339(at_ms),
            actor,
            address,
            action,
            target,
        })
        .collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

/// At most `limit` entries of the audit before one, newest first.
pub async fn page_of_audit(
    shared: &Shared,
    filter: &AuditFilter,
    before: u64,
    limit: usize,
) -> Result<Page<AuditRecord>, Problem> {
    let from = moment("from", filter.from.as_deref())?;
    let to = moment("to", filter.to.as_deref())?;
    let actor = filter.actor.clone();
    let store = shared.store.clone();
    let wanted = move |record: &AuditRecord| {
        from.is_none_or(|from| record.at_ms >= from)
            && to.is_none_or(|to| record.at_ms < to)
            && actor.as_ref().is_none_or(|actor| record.actor == *actor)
    };
    let entries = web::block(move || store.read()?.audit(before, limit + 1, wanted)).await??;
    let page = Page::cut(entries, limit, |(number, _)| number.to_string());
    let items = page.items.into_iter().map(|(_, record)| record).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let moment: jiff::Timestamp = text
        .parse()
        .map_err(|_| Problem::BadRequest(format!("{name} takes a moment such as 2026-01-31T08:00:00Z")))?;
    Ok(Some(moment.as_millisecond()))
}
