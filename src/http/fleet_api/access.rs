//! Users, tokens and the audit.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::session::{read_json, read_small_json};
use super::{Page, Paging};
use crate::access::actor::{self, Actor};
use crate::access::{MIN_PASSWORD, NewToken, PasswordMd5, Principal, Role};
use crate::batch::selector::is_key;
use crate::clock;
use crate::http::Shared;
use crate::http::auth::{self, Admin, Viewer};
use crate::http::problem::{FieldError, Problem, ProblemBody};
use crate::store::tables::{AuditRecord, Tables, TokenRecord, UserRecord};

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
    let audit = auth::origin(&request, &who.actor()).audit("user.add", name.as_str());
    let added = name.clone();
    let is_new: Result<(), Problem> = shared
        .access
        .change_users(move |tables| {
            if !tables.has_token(who.token)? {
                return Ok(Err(Problem::Unauthorized)); // revoked while this was under way
            }
            if tables.user(&added)?.is_some() {
                return Ok(Err(Problem::Conflict(format!("there is a user {added} already"))));
            }
            tables.set_user(&added, &record)?;
            tables.audit(&audit)?;
            Ok(Ok(()))
        })
        .await?;
    is_new?;
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
#[utoipa::path(tag = "access", params(("name" = String, Path), Removal),
    responses((status = 200, description = "The user had made tokens", body = Removed), (status = 204), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[delete("/users/{name}")]
pub async fn remove_user(
    Admin(who): Admin,
    name: web::Path<String>,
    removal: web::Query<Removal>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let origin = auth::origin(&request, &who.actor());
    let (removed, revoke) = (name.clone(), removal.revoke_tokens);
    let change = move |tables: &mut Tables<'_>| {
        if !tables.has_token(who.token)? {
            return Ok(Err(Problem::Unauthorized)); // revoked while this was under way
        }
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
        let made = tables.tokens_made_by(&removed, clock::now_ms())?;
        let target = match made.len() {
            left if left > 0 && !revoke => format!("{removed} (tokens that live on: {left})"),
            _ => removed.clone(),
        };
        tables.audit(&origin.audit("user.remove", target))?;
        for token in made.iter().filter(|_| revoke) {
            tables.remove_token(token.id)?;
            tables.audit(&origin.audit("token.revoke", token.actor().to_string()))?;
        }
        Ok(Ok(made))
    };
    let tokens = shared.access.change_users(change).await??;
    if tokens.is_empty() {
        return Ok(HttpResponse::NoContent().finish());
    }
    let tokens = tokens.into_iter().map(TokenBody::from).collect();
    Ok(HttpResponse::Ok().json(Removed { removed: name.into_inner(), revoked: revoke, tokens }))
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
#[utoipa::path(tag = "access", params(("name" = String, Path)), request_body = PasswordChange,
    responses((status = 204), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[post("/users/{name}/password")]
pub async fn set_password(
    Viewer(who): Viewer,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    if !is_own(&who, &name)
        && let Err(problem) = auth::needs(Role::Admin, &who)
    {
        auth::denied(&request, &who.actor());
        return Err(problem);
    }
    let change = read_small_json(&request, payload).await?;
    change_password(&shared, &request, &who, &name, change).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn is_own(who: &Principal, name: &str) -> bool {
    who.session && who.name == name
}

/// Changes the password of who asks, or as an administrator of another user.
pub async fn change_password(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    name: &str,
    change: PasswordChange,
) -> Result<(), Problem> {
    let PasswordChange { password, old_password } = change;
    if password.chars().count() < MIN_PASSWORD {
        return Err(Problem::invalid(
            "/password",
            format!("a password has at least {MIN_PASSWORD} characters"),
        ));
    }
    let own = is_own(who, name);
    if !own {
        auth::needs(Role::Admin, who)?;
    }
    let no_user = || Problem::NotFound(format!("user {name}"));
    shared.store.read()?.user(name)?.ok_or_else(no_user)?;
    let proven = match (own, old_password) {
        (false, _) => None,
        (true, Some(old)) => {
            let proven = auth::verify(request, name, PasswordMd5::of(&old), "the old password").await?;
            Some(proven.ok_or(Problem::WrongPassword)?)
        }
        (true, None) => {
            return Err(Problem::invalid(
                "/old_password",
                "the password of now is needed to change one's own",
            ));
        }
    };
    let address = auth::address(request);
    let verifier = shared.access.new_verifier(&who.name, PasswordMd5::of(&password), &address).await?;
    // One's own changes are counted with one's sessions, which push out nothing else.
    let action = if own { "session.password" } else { "user.password" };
    let audit = auth::origin(request, &who.actor()).audit(action, name);
    let (changed, keep) = (name.to_owned(), who.token);
    let change = move |tables: &mut Tables<'_>| {
        if !tables.has_token(keep)? {
            return Ok(Err(Problem::Unauthorized)); // revoked while this was under way
        }
        let Some(user) = tables.user(&changed)? else {
            return Ok(Err(Problem::NotFound(format!("user {changed}"))));
        };
        if proven.as_ref().is_some_and(|proven| !proven.is(Some(&user))) {
            let meanwhile = "the password was changed by somebody else meanwhile; try again with that one";
            return Ok(Err(Problem::Conflict(meanwhile.into())));
        }
        tables.set_user(&changed, &UserRecord { verifier: verifier.clone(), ..user })?;
        tables.end_sessions(&changed, Some(keep))?;
        tables.audit(&audit)?;
        Ok(Ok(()))
    };
    shared.access.change_users(change).await?
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
    /// Who made it, as the audit names who does something; null for a session, and where that is not known.
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
#[utoipa::path(tag = "access", request_body = TokenInput,
    responses((status = 201, body = CreatedToken), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/tokens")]
pub async fn add_token(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let TokenInput { name, role, expires_in } = read_json(&request, payload, &shared).await?;
    if !is_key(&name) {
        return Err(Problem::invalid("/name", "a name is 1 to 63 letters, digits and -_./"));
    }
    if expires_in == Some(0) {
        return Err(Problem::invalid("/expires_in", "at least one second, or null"));
    }
    let ends = expires_in.map(|seconds| clock::now_ms() + i64::from(seconds) * 1000);
    let origin = auth::origin(&request, &who.actor());
    let audit = |token: &Actor| origin.audit("token.create", token.to_string());
    let made = shared.access.add_token(NewToken { name, role, expires_at_ms: ends }, &who, audit).await?;
    let (token, record) = made.ok_or(Problem::Unauthorized)?;
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
    let origin = auth::origin(&request, &who.actor());
    let removed = shared
        .store
        .change(move |tables| {
            let removed = tables.remove_token(token)?;
            if let Some(removed) = &removed {
                tables.audit(&origin.audit("token.revoke", removed.actor().to_string()))?;
            }
            Ok(removed.is_some())
        })
        .await?;
    if removed { Ok(HttpResponse::NoContent().finish()) } else { Err(no_token()) }
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
            && actor.as_ref().is_none_or(|actor| actor::is(&record.actor, actor))
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
