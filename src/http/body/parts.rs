//! Reading a form of parts (`multipart/form-data`), as one with a file is sent: fields are kept up to a limit, and of the
//! first file no more than its own limit, while how long it is is counted on. So a file that is too large can be refused by
//! its size, with the fields at hand.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix_multipart::{Field, Multipart};
use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::{BodyError, PARTS, TIME, announced, is_of};
use crate::http::Shared;

/// How much of a form is read, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All of it, with what is not kept.
    pub whole: usize,
    /// The names and values of its fields together.
    pub fields: usize,
    /// What is kept of a file.
    pub file: usize,
}

/// A form has no more parts.
const MOST: usize = 2000;

/// What is kept of a form without a place among the large bodies that are held at once, in bytes. Less than of other bodies,
/// since its reader holds as much again.
const SMALL: usize = 64 * 1024;

/// A form that was read.
#[derive(Default)]
pub struct Parts {
    /// Its fields, in their order.
    pub fields: Vec<(String, String)>,
    /// Its first file.
    pub file: Option<FilePart>,
    /// Whether it has another one.
    pub more_files: bool,
    place: Option<OwnedSemaphorePermit>,
}

/// A file of a form.
pub struct FilePart {
    /// The name of its field.
    pub name: String,
    /// Its type, in lower case, where one is said.
    pub kind: Option<String>,
    /// How long it is.
    pub length: usize,
    /// What is in it; nothing where it is longer than was to be kept.
    pub bytes: Option<Bytes>,
}

/// Whether the body is a form of parts by its own word.
pub fn is_parts(request: &HttpRequest) -> bool {
    request.headers().contains_key(actix_web::http::header::CONTENT_TYPE) && is_of(request, &[PARTS])
}

/// Reads a form of parts.
pub async fn read(request: &HttpRequest, payload: Payload, limits: Limits) -> Result<Parts, BodyError> {
    if !is_of(request, &[PARTS]) {
        return Err(BodyError::WrongContentType(PARTS));
    }
    let announced = announced(request, limits.whole)?;
    let past = Rc::new(Cell::new(0_usize));
    let counted = Rc::clone(&past);
    let stream = payload.map(move |chunk| {
        let chunk = chunk?;
        counted.set(counted.get().saturating_add(chunk.len()));
        if counted.get() > limits.whole { Err(PayloadError::Overflow) } else { Ok(chunk) }
    });
    let waits = Cell::new(false);
    let all = async {
        let mut multipart = Multipart::new(request.headers(), stream);
        let parts = Parts::default();
        let expected = announced.unwrap_or(0).min(limits.file);
        let mut reading =
            Reading { request, limits, expected, parts, in_fields: 0, in_file: 0, waits: &waits };
        let mut seen = 0;
        while let Some(part) = multipart.next().await {
            seen += 1;
            if seen > MOST {
                return Err(BodyError::NoParts);
            }
            reading.take(part.map_err(|_| BodyError::NoParts)?).await?;
        }
        Ok(reading.parts)
    };
    let late = || if waits.get() { BodyError::Busy } else { BodyError::TooSlow };
    let read = tokio::time::timeout(TIME, all).await.unwrap_or_else(|_| Err(late()));
    // What the reader of parts says of it then is that it is broken.
    if past.get() > limits.whole { Err(BodyError::TooLarge(limits.whole)) } else { read }
}

struct Reading<'r> {
    request: &'r HttpRequest,
    limits: Limits,
    /// How long a file may be, as far as that is known.
    expected: usize,
    parts: Parts,
    in_fields: usize,
    in_file: usize,
    waits: &'r Cell<bool>,
}

impl Reading<'_> {
    async fn take(&mut self, part: Field) -> Result<(), BodyError> {
        let of = part.content_disposition();
        let file_name = of.and_then(|of| of.get_filename().or(of.get_filename_ext().map(|_| "one")));
        let kind = part.content_type().map(|kind| kind.essence_str().to_ascii_lowercase());
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = file_name.is_some() || kind.as_ref().is_some_and(|kind| !kind.starts_with("text/"));
        if is_file {
            let none_chosen = file_name.is_none_or(str::is_empty);
            self.take_file(part, name, kind, none_chosen).await
        } else {
            self.take_field(part, name).await
        }
    }

    async fn take_field(&mut self, mut part: Field, name: String) -> Result<(), BodyError> {
        let mut value = BytesMut::new();
        self.in_fields += name.len();
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|_| BodyError::NoParts)?;
            self.in_fields += chunk.len();
            if self.in_fields > self.limits.fields {
                return Err(BodyError::TooLarge(self.limits.fields));
            }
            self.have_place().await?;
            value.extend_from_slice(&chunk);
        }
        let value = String::from_utf8(value.into()).map_err(|_| BodyError::NoParts)?;
        self.parts.fields.push((name, value));
        Ok(())
    }

    async fn take_file(
        &mut self,
        mut part: Field,
        name: String,
        kind: Option<String>,
        none_chosen: bool,
    ) -> Result<(), BodyError> {
        let mut bytes = Some(BytesMut::new());
        let mut length = 0;
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|_| BodyError::NoParts)?;
            length += chunk.len();
            if length > self.limits.file || self.parts.file.is_some() {
                bytes = None;
                continue;
            }
            self.in_file += chunk.len();
            self.have_place().await?;
            if let Some(bytes) = &mut bytes {
                if length > SMALL {
                    bytes.reserve(self.expected.saturating_sub(bytes.len()).max(chunk.len()));
                }
                bytes.extend_from_slice(&chunk);
            }
        }
        // A browser sends an empty one where none was chosen.
        if length == 0 && none_chosen {
            return Ok(());
        }
        match self.parts.file {
            Some(_) => self.parts.more_files = true,
            None => {
                let bytes = bytes.map(BytesMut::freeze);
                self.parts.file = Some(FilePart { name, kind, length, bytes });
            }
        }
        Ok(())
    }

    /// A form that grows large needs a place among the large bodies that are held at once.
    async fn have_place(&mut self) -> Result<(), BodyError> {
        if self.parts.place.is_some() || self.in_fields + self.in_file <= SMALL {
            return Ok(());
        }
        let held = Arc::clone(&Shared::of(self.request).turns.held);
        self.waits.set(true);
        self.parts.place = Some(held.acquire_owned().await.map_err(|_| BodyError::Busy)?);
        self.waits.set(false);
        Ok(())
    }
}
