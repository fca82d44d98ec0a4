//! Reading a request's body: its type, and never more of it than the limit.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{self, Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Shared;

pub mod parts;

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than this limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Of another type than this.
    #[error("the content type must be {0}")]
    WrongContentType(&'static str),
    /// It is compressed, or otherwise encoded.
    #[error("the content encoding must be identity: send the body as it is")]
    Encoded,
    /// Other large bodies were before it all the time.
    #[error("too many large bodies wait to be read")]
    Busy,
    /// It took longer than [`TIME`].
    #[error("the body took too long to come")]
    TooSlow,
    /// The connection broke.
    #[error("the body ended early")]
    Broken,
    /// Its parts cannot be told apart.
    #[error("the body is no form of parts, or ends in the middle of one")]
    NoParts,
}

/// How long a body may take to come, from its first byte to its last.
pub const TIME: Duration = Duration::from_mins(1);

/// The largest body of a call that anybody may send, or that takes a password, in bytes.
pub const SMALL: usize = 4096;

/// The JSON type.
pub const JSON: &str = "application/json";

/// The type of a form, as which some clients of panels send JSON.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The type of a form with a file.
pub const PARTS: &str = "multipart/form-data";

/// One JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";

/// Reads a body of this type (or without a type), up to `limit` bytes.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    wanted: &'static str,
    limit: usize,
) -> Result<Body, BodyError> {
    if !is_of(request, &[wanted]) {
        return Err(BodyError::WrongContentType(wanted));
    }
    read_any(request, payload, limit).await
}

/// Reads the JSON body of a call of the panel API, up to `limit` bytes. Clients say of it that it is a form, as
/// `curl -d` does.
pub async fn read_of_panel(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Body, BodyError> {
    if !is_of(request, &[JSON, FORM]) {
        return Err(BodyError::WrongContentType(JSON));
    }
    read_any(request, payload, limit).await
}

/// Reads a body of whatever type, up to `limit` bytes.
pub async fn read_untyped(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Body, BodyError> {
    read_any(request, payload, limit).await
}

/// Whether the body is of one of these types, or of none.
fn is_of(request: &HttpRequest, wanted: &[&str]) -> bool {
    let given = request.headers().get(header::CONTENT_TYPE).filter(|given| !given.is_empty());
    let Some(given) = given else { return true };
    let essence = given.to_str().ok().and_then(|text| text.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| wanted.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted)))
}

/// How long the body will be, as far as that is said; refused where it is too long, or encoded.
fn announced(request: &HttpRequest, limit: usize) -> Result<Option<usize>, BodyError> {
    // To unpack it would be to read a body of any size.
    for encoding in request.headers().get_all(header::CONTENT_ENCODING) {
        let named = encoding.to_str().unwrap_or("?").split(',').map(str::trim);
        if !named.into_iter().all(|one| one.is_empty() || one.eq_ignore_ascii_case("identity")) {
            return Err(BodyError::Encoded);
        }
    }
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    if announced.is_some_and(|len: usize| len > limit) {
        return Err(BodyError::TooLarge(limit));
    }
    Ok(announced)
}

async fn read_any(request: &HttpRequest, mut payload: Payload, limit: usize) -> Result<Body, BodyError> {
    let announced = announced(request, limit)?;
    let waits = Cell::new(false);
    let all = async {
        let mut body = BytesMut::new();
        let mut place = None;
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            if body.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            if place.is_none() && body.len() + chunk.len() > LARGE {
                let held = Arc::clone(&Shared::of(request).turns.held);
                waits.set(true);
                place = Some(held.acquire_owned().await.map_err(|_| BodyError::Busy)?);
                waits.set(false);
                body.reserve(announced.unwrap_or(0).saturating_sub(body.len()).max(chunk.len()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Body { bytes: body.freeze(), _place: place })
    };
    let late = || if waits.get() { BodyError::Busy } else { BodyError::TooSlow };
    tokio::time::timeout(TIME, all).await.unwrap_or_else(|_| Err(late()))
}

/// Bodies that are larger are held a few at once, and parsed on a thread that serves no other request.
const LARGE: usize = 256 * 1024;

/// Large bodies held at once, from when they grow large until they are parsed; others are not read on meanwhile.
const HELD: usize = 8;

/// Large bodies parsed at once.
const AT_ONCE: usize = 2;

/// A body that was read.
pub struct Body {
    bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The turns of large bodies.
pub struct Turns {
    held: Arc<Semaphore>,
    parsing: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { held: Arc::new(Semaphore::new(HELD)), parsing: Semaphore::new(AT_ONCE) }
    }
}

impl Turns {
    /// Parses a body: a large one on another thread, when it is its turn.
    pub async fn parse<T: Send + 'static>(
        &self,
        body: Body,
        parse: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, BodyError> {
        if body.len() <= LARGE {
            return Ok(parse(&body));
        }
        let _turn = self.parsing.acquire().await.map_err(|_| BodyError::Busy)?;
        web::block(move || parse(&body)).await.map_err(|_| BodyError::Busy)
    }
}
