//! The picture of a QR code, as a panel's web page gives it to print: the identifier's number, as it is read back.
//!
//! Decisions where the panel API is silent: an identifier of another type has none, and is `Wrong identifier_type`; `locale`
//! says nothing here, since there is no text on the picture.

use std::io::Write;

use actix_web::{HttpRequest, HttpResponse, get};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use qrcode::{Color, QrCode};
use utoipa::{IntoParams, ToSchema};

use super::by_uid::uid;
use super::shown;
use crate::http::Here;
use crate::http::panel_api::Administrator;
use crate::http::panel_api::error::{ErrorBody, PanelError};
use crate::identifier::error::WireError;
use crate::identifier::rule::Kind;

/// A picture.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the document")]
struct QrPicture(Vec<u8>);

/// What the call takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document")]
struct QrParameters {
    /// The language of the picture, which has no words.
    locale: Option<String>,
}

/// The QR code of an identifier of type `qr`.
#[utoipa::path(tag = "panel", operation_id = "panel_show_qr_code", params(("panel" = String, Path), ("uid" = u32, Path), QrParameters),
    responses((status = 200, body = QrPicture, content_type = "image/png", description = "A PNG"), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/identifier/item/{uid}/qr")]
pub async fn show(
    who: Administrator,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let found = shown::identifier(&shared, &who.panel, uid(&request)?).await?;
    let credential = &found.identifier.credential;
    if credential.kind() != Kind::Qr {
        return Err(PanelError::Identifier(WireError::Type));
    }
    let number = shown::number(credential, who.panel.settings.dialect);
    let picture = picture(&number).map_err(PanelError::Internal)?;
    Ok(HttpResponse::Ok().content_type("image/png").body(picture))
}

/// Pixels of a side of a module.
const MODULE: usize = 8;

/// The light border that readers need, in modules.
const BORDER: usize = 4;

type Unpaintable = Box<dyn std::error::Error + Send + Sync>;

/// A PNG with the QR code of a text: black on white, a bit a pixel.
fn picture(text: &str) -> Result<Vec<u8>, Unpaintable> {
    let code = QrCode::new(text)?;
    let (modules, colors) = (code.width(), code.into_colors());
    let side = (modules + 2 * BORDER) * MODULE;
    let is_dark = |pixel: usize, row: usize| {
        let at = |pixel: usize| (pixel / MODULE).checked_sub(BORDER).filter(|at| *at < modules);
        match (at(pixel), at(row)) {
            (Some(x), Some(y)) => colors.get(y * modules + x) == Some(&Color::Dark),
            _ => false,
        }
    };
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in 0..side {
        let mut line = vec![0]; // no filter
        line.extend((0..side).step_by(8).map(|first| {
            (first..first + 8).fold(0_u8, |bits, pixel| bits << 1 | u8::from(!is_dark(pixel, row)))
        }));
        lines.write_all(&line)?;
    }
    let size = u32::try_from(side)?.to_be_bytes();
    // A bit a pixel, grey, and the only ways of packing, filtering and ordering that there are.
    let header = [&size[..], &size, &[1, 0, 0, 0, 0]].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IHDR", header), (b"IDAT", lines.finish()?), (b"IEND", Vec::new())] {
        let mut sum = Crc::new();
        sum.update(name);
        sum.update(&content);
        png.extend(u32::try_from(content.len())?.to_be_bytes());
        png.extend(name);
        png.extend(&content);
        png.extend(sum.sum().to_be_bytes());
    }
    Ok(png)
}
