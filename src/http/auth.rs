//! Extractors that say in a handler's arguments who may call it.

use std::borrow::Cow;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::panel_api::error::PanelError;
use super::problem::Problem;
use super::{RequestSpan, Shared, front, panel_api};
use crate::access::actor::Actor;
use crate::access::{Principal, Role};
use crate::batch::selector::is_key;
use crate::clock;
use crate::cluster::peers::NODE;
use crate::fleet::FleetError;
use crate::fleet::accounts::needs;
use crate::panel::Origin;

/// The parameter of a query that holds a token.
pub const ACCESS_TOKEN: &str = "access_token";

/// The name of the cookie that holds the token of the page's session.
pub const COOKIE: &str = "panelsync_session";

/// Someone who may read.
pub struct Viewer(pub Principal);

/// Someone who may submit batches.
pub struct Operator(pub Principal);

/// Someone who may change panels, users and tokens.
pub struct Admin(pub Principal);

/// Someone who may read events. A browser's `EventSource` sends no header, so the token may also stand in the query
/// (`access_token`, RFC 6750 section 2.3) or be that of the page's cookie; the first of these that is there counts alone.
pub struct Listening(pub Principal);

impl FromRequest for Listening {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = if request.headers().contains_key(header::AUTHORIZATION) {
            bearer(request).map(Cow::Borrowed)
        } else {
            token_of_query(request).map(Cow::Owned).or_else(|| cookie(request).map(Cow::Borrowed))
        };
        ready(whose(token.as_deref(), Role::Viewer, request).map(Self))
    }
}

macro_rules! role_extractor {
    ($type:ident, $role:expr) => {
        impl FromRequest for $type {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(at_least($role, request).map(Self))
            }
        }
    };
}
role_extractor!(Viewer, Role::Viewer);
role_extractor!(Operator, Role::Operator);
role_extractor!(Admin, Role::Admin);

/// Who shows a token of at least this role.
pub fn at_least(needed: Role, request: &HttpRequest) -> Result<Principal, Problem> {
    whose(bearer(request), needed, request)
}

/// Whose token it is, where it is one of at least this role.
fn whose(token: Option<&str>, needed: Role, request: &HttpRequest) -> Result<Principal, Problem> {
    let token = token.ok_or(FleetError::Unauthorized)?;
    let principal = Shared::of(request).fleet.access.bearer(token)?.ok_or(FleetError::Unauthorized)?;
    if let Err(error) = needs(needed, &principal) {
        denied(request, &principal.actor());
        return Err(error.into());
    }
    Ok(principal)
}

/// Keeps in the audit that somebody may not do what was asked for.
pub fn denied(request: &HttpRequest, actor: &Actor) {
    let pattern = request.match_pattern().unwrap_or_default();
    let panel = request.match_info().get("panel").filter(|panel| is_key(panel)).unwrap_or("{panel}");
    let method = if panel_api::is_head(request) { "HEAD" } else { request.method().as_str() };
    let target = format!("{method} {}", pattern.replace("{panel}", panel));
    Shared::of(request).fleet.access.refused(origin(request, actor).audit("session.denied", target), true);
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The longest name and password of HTTP Basic, in the characters in which they are sent.
const MAX_BASIC: usize = 4096;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Someone's name and password.
pub type Credentials = (String, String);

/// The name and the password of an `Authorization: Basic` header; nothing where there is no such header, and an error
/// where it cannot be read. What is no UTF-8 is Latin-1, as older clients send it.
pub fn basic(request: &HttpRequest) -> Option<Result<Credentials, PanelError>> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let scheme = value.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case(b"basic"))?;
    let sent = value[scheme.len()..].trim_ascii();
    let read = || {
        let bytes = BASE64.decode(sent).ok().filter(|_| sent.len() <= MAX_BASIC)?;
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|not| not.as_bytes().iter().copied().map(char::from).collect());
        let (name, password) = text.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    };
    Some(read().ok_or(PanelError::WrongBasic))
}

/// The token in the query. Nobody logs a query.
fn token_of_query(request: &HttpRequest) -> Option<String> {
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(request.query_string()).ok()?;
    fields.into_iter().find_map(|(name, value)| (name == ACCESS_TOKEN).then_some(value))
}

/// The token of the page's session.
pub fn cookie(request: &HttpRequest) -> Option<&str> {
    let headers = request.headers().get_all(header::COOKIE);
    let mut pairs = headers.filter_map(|value| value.to_str().ok()).flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Where the request comes from, which nobody can make up.
pub fn address(request: &HttpRequest) -> String {
    front::client(request, &Shared::of(request).proxies).map_or_else(String::new, |client| client.to_string())
}

/// Whether the client speaks TLS.
pub fn is_secure(request: &HttpRequest) -> bool {
    front::is_secure(request, &Shared::of(request).proxies)
}

/// The node of the fleet that shows itself.
pub fn node(request: &HttpRequest, shared: &Shared) -> Option<String> {
    let shown = request.headers().get(NODE)?.to_str().ok()?;
    shared.nodes.as_ref()?.peers.shown(shown, clock::now_ms())
}

/// Who asks, from where, in which span.
pub fn origin(request: &HttpRequest, actor: &Actor) -> Origin {
    let (span, request_id) = RequestSpan::of(request);
    Origin { actor: actor.to_string(), address: address(request), request_id, span }
}
