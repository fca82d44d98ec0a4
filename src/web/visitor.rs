//! Who looks at a page, and the fields of their forms.
//!
//! The cookie holds the session's token, which the fleet API would take as a bearer token; it is out of reach of
//! script (`HttpOnly`), of other sites (`SameSite=Strict`) and, under TLS, of the clear wire (`Secure`). A form that
//! changes something carries a token that is derived from the session's, so that nobody else can make one up, and is
//! refused when its browser says that another site sent it.

use actix_web::HttpRequest;
use actix_web::http::header;
use sha2::{Digest, Sha256};

use crate::access::{Principal, Role, SESSION};
use crate::fleet::FleetError;
use crate::fleet::accounts::needs;
use crate::http::auth::COOKIE;
use crate::http::{Shared, auth};
use crate::store::seal::hex;

/// The form field that carries the form's token.
pub const TOKEN_FIELD: &str = "form_token";

/// Someone who is logged in.
pub struct Visitor {
    /// Who.
    pub who: Principal,
    /// What the forms of this session carry.
    pub form_token: String,
    request: HttpRequest,
}

impl Visitor {
    /// The visitor, where the cookie is a good one.
    pub fn of(request: &HttpRequest) -> Result<Option<Self>, FleetError> {
        let Some(token) = auth::cookie(request) else { return Ok(None) };
        let who = Shared::of(request).fleet.access.bearer(token)?;
        Ok(who.map(|who| Self { who, form_token: form_token(token), request: request.clone() }))
    }

    /// Whether the visitor's role is at least this.
    pub fn may(&self, role: Role) -> bool {
        self.who.role >= role
    }

    /// Whether there are nodes to be looked at.
    pub fn has_several_nodes(&self) -> bool {
        Shared::of(&self.request).nodes.is_some()
    }

    /// The problem with a visitor who may not.
    pub fn needs(&self, role: Role) -> Result<(), FleetError> {
        needs(role, &self.who).inspect_err(|_| auth::denied(&self.request, &self.who.actor()))
    }
}

/// The fields of a form, as they were sent. One may be a password, so this has no `Debug`.
#[derive(Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The fields of a body or a query.
    pub fn parse(body: &[u8]) -> Result<Self, FleetError> {
        if body.split(|byte| *byte == b'&').nth(MAX_FIELDS).is_some() {
            return Err(FleetError::Unreadable(format!("a form has at most {MAX_FIELDS} fields")));
        }
        serde_urlencoded::from_bytes(body)
            .map(Self)
            .map_err(|_| FleetError::Unreadable("the form cannot be read".into()))
    }

    /// From pairs.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The first value of this name, trimmed; empty where there is none.
    pub fn one(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// The first value of this name as it was sent.
    pub fn exactly(&self, name: &str) -> String {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// All values of this name, trimmed.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.trim())
    }

    /// Whether this value was chosen.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|chosen| chosen == value)
    }

    /// Whether the box was ticked.
    pub fn ticked(&self, name: &str) -> bool {
        !self.one(name).is_empty()
    }
}

/// A form has no more fields.
const MAX_FIELDS: usize = 2000;

fn form_token(session: &str) -> String {
    hex(&Sha256::digest(format!("form\n{session}"))[..16])
}

/// The header that hands out a session's cookie; without a token the one that takes it back.
pub fn set_cookie(request: &HttpRequest, token: Option<&str>) -> (header::HeaderName, String) {
    let secure = if auth::is_secure(request) { "; Secure" } else { "" };
    let (token, life) = token.map_or(("", 0), |token| (token, SESSION.as_secs()));
    (
        header::SET_COOKIE,
        format!("{COOKIE}={token}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}"),
    )
}
