//! Style, script and icon, as they are asked for.

use actix_web::http::header;
use actix_web::{HttpResponse, get, web};

use super::files;
use super::problem::PageProblem;
use crate::fleet::FleetError;

/// An asset.
#[get("/assets/{version}/{name}")]
pub async fn file(path: web::Path<(String, String)>) -> Result<HttpResponse, PageProblem> {
    let (version, name) = path.into_inner();
    let asset = files::find(&version, &name)
        .ok_or_else(|| FleetError::NotFound(format!("file {name} of this version")))?;
    Ok(HttpResponse::Ok()
        .content_type(asset.kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.text))
}
