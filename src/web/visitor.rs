//! Who looks at a page, and the forms they send.
//!
//! The cookie holds the session's token, which the fleet API would take as a bearer token; it is out of reach of
//! script (`HttpOnly`), of other sites (`SameSite=Strict`) and, under TLS, of the clear wire (`Secure`). A form that
//! changes something carries a token that is derived from the session's, so that nobody else can make one up, and is
//! refused when its browser says that another site sent it.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::PageProblem;
use crate::access::{Principal, Role, SESSION, hex};
use crate::fleet::FleetError;
use crate::fleet::accounts::needs;
use crate::http::body::BodyError;
use crate::http::problem::Problem;
use crate::http::{Shared, auth, body};

/// The cookie's name.
const COOKIE: &str = "panelsync_session";

/// The form field that carries the form's token.
pub const TOKEN_FIELD: &str = "form_token";

const FORM: &str = "application/x-www-form-urlencoded";

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
    pub fn of(request: &HttpRequest) -> Result<Option<Self>, Problem> {
        let Some(token) = cookie(request) else { return Ok(None) };
        let who = Shared::of(request).fleet.access.bearer(token)?;
        Ok(who.map(|who| Self { who, form_token: form_token(token), request: request.clone() }))
    }

    /// Whether the visitor's role is at least this.
    pub fn may(&self, role: Role) -> bool {
        self.who.role >= role
    }

    /// The problem with a visitor who may not.
    pub fn needs(&self, role: Role) -> Result<(), FleetError> {
        needs(role, &self.who).inspect_err(|_| auth::denied(&self.request, &self.who.actor()))
    }
}

impl FromRequest for Visitor {
    type Error = PageProblem;
    type Future = Ready<Result<Self, PageProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visitor = Self::of(request).map_err(PageProblem::from);
        ready(visitor.and_then(|visitor| visitor.ok_or_else(|| PageProblem::log_in(request))))
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

/// The role that a form needs; it is looked at before the form is read.
pub trait Needed {
    /// The role.
    const ROLE: Role;
}

/// A form that whoever is logged in may send.
pub struct ByViewer;

/// A form for who may submit batches.
pub struct ByOperator;

/// A form for who may change panels.
pub struct ByAdmin;

impl Needed for ByViewer {
    const ROLE: Role = Role::Viewer;
}

impl Needed for ByOperator {
    const ROLE: Role = Role::Operator;
}

impl Needed for ByAdmin {
    const ROLE: Role = Role::Admin;
}

/// The largest form, in bytes: some thousand profiles as text.
const FORM_LIMIT: usize = 1024 * 1024;

/// A form has no more fields.
const MAX_FIELDS: usize = 2000;

/// A form that a visitor who may has sent from one of our own pages.
pub struct Posted<N> {
    /// Who sent it.
    pub visitor: Visitor,
    /// What it says.
    pub fields: Fields,
    role: PhantomData<N>,
}

impl<N: Needed + 'static> FromRequest for Posted<N> {
    type Error = PageProblem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageProblem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let visitor = Visitor::of(&request)?.ok_or_else(|| PageProblem::log_in(&request))?;
            visitor.needs(N::ROLE)?;
            let limit = Shared::of(&request).body_limit.min(FORM_LIMIT);
            let fields = read(&request, payload, limit).await?;
            let given = fields.one(TOKEN_FIELD).as_bytes();
            if !bool::from(given.ct_eq(visitor.form_token.as_bytes())) {
                return Err(PageProblem::NotOurForm);
            }
            Ok(Self { visitor, fields, role: PhantomData })
        })
    }
}

/// The fields of a form that was sent from one of our own pages, as far as its browser says.
pub async fn read(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Fields, PageProblem> {
    if !same_origin(request) {
        return Err(PageProblem::NotOurForm);
    }
    let payload = web::Payload::from_request(request, &mut { payload }).await;
    let payload = payload.map_err(|_| Problem::bad_request("the form cannot be read"))?;
    let body = body::read(request, payload, FORM, limit).await.map_err(|error| match error {
        BodyError::TooLarge(limit) => Problem::FormTooLarge(limit),
        error => error.into(),
    })?;
    Ok(Fields::parse(&body)?)
}

/// Whether the request comes from one of our own pages. A browser says so in `Sec-Fetch-Site`, or on a plain
/// connection in `Origin`; who says neither is no browser, and cannot have been tricked.
fn same_origin(request: &HttpRequest) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match text("origin") {
        Some(origin) => origin.split_once("://").map(|(_, host)| host) == text("host"),
        None => true,
    }
}

fn cookie(request: &HttpRequest) -> Option<&str> {
    let headers = request.headers().get_all(header::COOKIE);
    let mut pairs = headers.filter_map(|value| value.to_str().ok()).flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

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
