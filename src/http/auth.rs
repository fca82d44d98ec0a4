//! Extractors that say in a handler's arguments who may call it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};

use super::problem::Problem;
use super::{RequestSpan, Shared};
use crate::access::{Principal, Role};
use crate::panel::Origin;

/// Someone who may read.
pub struct Viewer(pub Principal);

/// Someone who may submit batches.
pub struct Operator(pub Principal);

/// Someone who may change panels, users and tokens.
pub struct Admin(pub Principal);

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
    let token = bearer(request).ok_or(Problem::Unauthorized)?;
    let principal = Shared::of(request).access.bearer(token)?.ok_or(Problem::Unauthorized)?;
    needs(needed, &principal)?;
    Ok(principal)
}

/// The problem with who may do less than is needed.
pub fn needs(needed: Role, who: &Principal) -> Result<(), Problem> {
    if who.role < needed {
        return Err(Problem::Forbidden { needed, has: who.role });
    }
    Ok(())
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Where the request comes from: the connection's other end, which nobody can make up.
pub fn address(request: &HttpRequest) -> String {
    request.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default()
}

/// Who asks, from where, in which span.
pub fn origin(request: &HttpRequest, name: &str) -> Origin {
    let (span, request_id) = RequestSpan::of(request);
    Origin { actor: name.to_owned(), address: address(request), request_id, span }
}
