//! Style, script and icon, which are part of the binary.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, get, web};
use sha2::{Digest, Sha256};

use super::problem::PageProblem;
use crate::access::hex;
use crate::fleet::FleetError;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

static ASSETS: [Asset; 5] = [
    Asset { name: "page.css", kind: "text/css; charset=utf-8", text: include_str!("assets/page.css") },
    Asset { name: "page.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/page.js") },
    Asset { name: "fleet.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/fleet.js") },
    Asset {
        name: "profile.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("assets/profile.js"),
    },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("assets/icon.svg") },
];

/// Names this build's assets: a browser keeps them for ever, and another build's have another name.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for asset in &ASSETS {
        digest.update(asset.text);
    }
    hex(&digest.finalize()[..6])
});

/// Where an asset is.
pub fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// An asset.
#[get("/assets/{version}/{name}")]
pub async fn file(path: web::Path<(String, String)>) -> Result<HttpResponse, PageProblem> {
    let (version, name) = path.into_inner();
    let asset = ASSETS.iter().find(|asset| asset.name == name).filter(|_| version == *VERSION);
    let asset = asset.ok_or_else(|| FleetError::NotFound(format!("file {name} of this version")))?;
    Ok(HttpResponse::Ok()
        .content_type(asset.kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.text))
}
