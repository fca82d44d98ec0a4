//! Letting a visitor in, and taking the forms that one sends.
//!
//! A form that changes something is taken from who may, when it carries the session's own token, and not when its browser
//! says that another site sent it.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use subtle::ConstantTimeEq;

use super::problem::PageProblem;
use super::visitor::{Fields, TOKEN_FIELD, Visitor};
use crate::access::Role;
use crate::http::Shared;
use crate::http::body::{self, BodyError};
use crate::http::problem::Problem;

impl FromRequest for Visitor {
    type Error = PageProblem;
    type Future = Ready<Result<Self, PageProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visitor = Self::of(request).map_err(PageProblem::from);
        ready(visitor.and_then(|visitor| visitor.ok_or_else(|| PageProblem::log_in(request))))
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
    let body = body::read(request, payload, body::FORM, limit).await.map_err(|error| match error {
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
