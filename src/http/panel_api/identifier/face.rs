//! The call that takes the photo of a face as a file. Only android panels have it.
//!
//! The uid is that of an identifier of type `face_id`, which has its photo in place of the one before; any other is
//! `Wrong identifier-uid. Missed temporary identifier for adding faceId`. Decisions where the panel API is silent: the field
//! of the form may have any name; a file that says of itself that it is no JPEG is `Wrong file format`, one that is none
//! all the same `Wrong image file`; a form without a file, with several, or that ends in the middle is `Loading file error`.

use actix_web::{HttpRequest, HttpResponse, post, web};
use utoipa::ToSchema;

use crate::http::body::parts::{self, FilePart, Limits, Parts};
use crate::http::panel_api::Administrator;
use crate::http::panel_api::by_uid::{apply, uid_in};
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::http::{Here, body};
use crate::identifier::photo::Photo;
use crate::panel::UidOperation;
use crate::profile::rule::Family;

/// What stands around the photo in a form, at most.
const AROUND: usize = 64 * 1024;

/// A form with a photo.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document")]
struct FaceForm {
    /// A JPEG of at most 1 MiB. The field may have another name.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Gives a face another photo.
#[utoipa::path(tag = "panel", operation_id = "panel_upload_face", params(("panel" = String, Path), ("uid" = u32, Path)),
    request_body(content = FaceForm, content_type = "multipart/form-data"),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/identifier/item/face/file/{uid}")]
pub async fn upload(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    if who.panel.settings.family() != Family::Android {
        return Err(PanelError::NotFound);
    }
    let uid = uid_in(&request, "uid").ok_or(PanelError::FaceUid)?;
    let whole = shared.body_limit.min(Photo::MAX_BYTES + AROUND);
    let limits = Limits { whole, fields: AROUND, file: Photo::MAX_BYTES };
    // It has its place among the large bodies until the photo is on disk.
    let mut form = parts::read(&request, payload, limits).await.map_err(|error| match error {
        body::BodyError::Broken => PanelError::Loading,
        body::BodyError::TooLarge(limit) => PanelError::TooLarge(limit.min(Photo::MAX_BYTES)),
        error => error.into(),
    })?;
    let photo = photo_in(&mut form)?;
    if super::sees_no_face(&request) {
        return Err(PanelError::NoFaceSeen);
    }
    let operation = UidOperation::ReplaceFace(uid, photo);
    apply(&who, &request, operation, "panel.identifiers.replace").await.map_err(|error| match error {
        PanelError::IdentifierUid => PanelError::FaceUid,
        error => error,
    })?;
    Ok(HttpResponse::Ok().finish())
}

/// The one photo of a form.
fn photo_in(form: &mut Parts) -> Result<Photo, PanelError> {
    let Some(FilePart { kind, bytes, .. }) = form.file.take().filter(|_| !form.more_files) else {
        return Err(PanelError::Loading);
    };
    let is_jpeg = |kind: &str| matches!(kind, "image/jpeg" | "image/jpg" | "application/octet-stream");
    if !kind.as_deref().is_none_or(is_jpeg) {
        return Err(PanelError::FileFormat);
    }
    let bytes = bytes.ok_or(PanelError::TooLarge(Photo::MAX_BYTES))?;
    Photo::from_jpeg(bytes.into()).map_err(|_| PanelError::ImageFile)
}
