//! Which apartment an identifier belongs to, by the uids of both.
//!
//! Apartments are not managed here: a panel takes any uid as that of one, and keeps it with the identifier, whose reads show
//! it. It is none of what a link management server says, so an identifier that comes by link_id has none.
//!
//! Decisions where the panel API is silent: attaching again to the same apartment is done already; detaching takes the
//! apartment's link_id away too, since both name the one apartment; how often it may open yet stays as it is. The text for an
//! apartment's uid that is none is this project's.

use std::num::NonZeroU32;

use actix_web::{HttpRequest, HttpResponse, post};

use super::by_uid::uid;
use crate::http::panel_api::Administrator;
use crate::http::panel_api::by_uid::{apply, uid_in};
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::panel::UidOperation;

/// Attaches an identifier to an apartment.
#[utoipa::path(tag = "panel", operation_id = "panel_attach_identifier", params(("panel" = String, Path), ("apartment" = u32, Path), ("uid" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[post("/v1/apartment/item/{apartment}/identifier/{uid}")]
pub async fn attach(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    let apartment = uid_in(&request, "apartment").and_then(NonZeroU32::new);
    let apartment = apartment.ok_or(PanelError::ApartmentUid)?;
    let operation = UidOperation::Attach(uid(&request)?, apartment);
    apply(&who, &request, operation, "panel.identifiers.attach").await?;
    Ok(HttpResponse::Ok().finish())
}

/// Detaches an identifier from its apartment.
#[utoipa::path(tag = "panel", operation_id = "panel_detach_identifier", params(("panel" = String, Path), ("uid" = u32, Path)),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[post("/v1/apartment/item/unbind/identifier/{uid}")]
pub async fn detach(who: Administrator, request: HttpRequest) -> Result<HttpResponse, PanelError> {
    let operation = UidOperation::LeaveApartment(uid(&request)?);
    apply(&who, &request, operation, "panel.identifiers.detach").await?;
    Ok(HttpResponse::Ok().finish())
}
