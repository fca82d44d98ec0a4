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
use crate::http::body::parts::{self, Limits, Parts};
use crate::http::body::{self, BodyError};
use crate::http::problem::Problem;
use crate::identifier::photo::Photo;

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
            let visitor = let_in::<N>(&request)?;
            let limit = Shared::of(&request).body_limit.min(FORM_LIMIT);
            let fields = read(&request, payload, limit).await?;
            is_of_session(&visitor, &fields)?;
            Ok(Self { visitor, fields, role: PhantomData })
        })
    }
}

/// What a form with a photo says beside it at most: as much as any, and the photo of the step before, sealed.
const BESIDE_PHOTO: usize = FORM_LIMIT + 2 * Photo::MAX_BYTES;

/// The same of a form that may bring a photo.
pub struct PostedWithPhoto<N> {
    /// Who sent it.
    pub visitor: Visitor,
    /// What it says.
    pub fields: Fields,
    /// Its files. As long as this is there, it has its place among the large bodies that are held at once.
    pub parts: Parts,
    role: PhantomData<N>,
}

impl<N: Needed + 'static> FromRequest for PostedWithPhoto<N> {
    type Error = PageProblem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageProblem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let visitor = let_in::<N>(&request)?;
            let limit = Shared::of(&request).body_limit;
            let (fields, parts) = if parts::is_parts(&request) {
                // Of a photo that is too large no more is kept; it is read on, so that its size can be told.
                let limits = Limits { whole: limit, fields: limit.min(BESIDE_PHOTO), file: Photo::MAX_BYTES };
                let mut parts = read_parts(&request, payload, limits).await?;
                (Fields::of(std::mem::take(&mut parts.fields)), parts)
            } else {
                (read(&request, payload, limit.min(FORM_LIMIT)).await?, Parts::default())
            };
            is_of_session(&visitor, &fields)?;
            Ok(Self { visitor, fields, parts, role: PhantomData })
        })
    }
}

/// The visitor, who may send such a form.
fn let_in<N: Needed>(request: &HttpRequest) -> Result<Visitor, PageProblem> {
    let visitor = Visitor::of(request)?.ok_or_else(|| PageProblem::log_in(request))?;
    visitor.needs(N::ROLE)?;
    Ok(visitor)
}

/// Whether the form carries the session's own token.
fn is_of_session(visitor: &Visitor, fields: &Fields) -> Result<(), PageProblem> {
    let given = fields.one(TOKEN_FIELD).as_bytes();
    let own = bool::from(given.ct_eq(visitor.form_token.as_bytes()));
    if own { Ok(()) } else { Err(PageProblem::NotOurForm) }
}

/// The fields of a form that was sent from one of our own pages, as far as its browser says.
pub async fn read(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Fields, PageProblem> {
    let payload = ours(request, payload).await?;
    let body = body::read(request, payload, body::FORM, limit).await.map_err(of_form)?;
    Ok(Fields::parse(&body)?)
}

/// The same of a form of parts.
async fn read_parts(request: &HttpRequest, payload: Payload, limits: Limits) -> Result<Parts, PageProblem> {
    let payload = ours(request, payload).await?;
    Ok(parts::read(request, payload, limits).await.map_err(of_form)?)
}

/// What is still to be read of a form, where it is from one of our own pages.
async fn ours(request: &HttpRequest, mut payload: Payload) -> Result<web::Payload, PageProblem> {
    if !same_origin(request) {
        return Err(PageProblem::NotOurForm);
    }
    let payload = web::Payload::from_request(request, &mut payload).await;
    Ok(payload.map_err(|_| Problem::bad_request("the form cannot be read"))?)
}

fn of_form(error: BodyError) -> Problem {
    match error {
        BodyError::TooLarge(limit) => Problem::FormTooLarge(limit),
        error => error.into(),
    }
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
