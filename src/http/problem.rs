//! The fleet API's errors as RFC 9457 `application/problem+json`: the only place that gives them a status and
//! a type. What went wrong inside goes to the log, not into the answer.

#![warn(clippy::wildcard_enum_match_arm)]

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::BodyError;
use crate::access::{AccessError, Role};
use crate::batch::selector::SelectorError;
use crate::coordinator::{SubmitError, Target};
use crate::panel::settings::SettingProblem;
use crate::profile::wire::Unread;
use crate::profile::{self, text};
use crate::store::StoreError;
use crate::store::backup::BackupError;

/// Problems listed in one answer at most.
const LISTED: usize = 100;

/// The longest detail, in bytes: what a request says is told back in part only.
const MAX_DETAIL: usize = 2000;

/// Everything that the fleet API says no with.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The request's form: not JSON, a wrong query parameter.
    #[error("{0}")]
    BadRequest(String),
    /// The request's content, place by place.
    #[error("{}", what_is_wrong(.0, .0.len()))]
    Invalid(Vec<FieldError>),
    /// The same where there are more wrong places than are listed: the first ones, and how many there are.
    #[error("{}", what_is_wrong(.0, *.1))]
    InvalidAmong(Vec<FieldError>, usize),
    /// No token, or one that is not good.
    #[error("a valid bearer token is needed; log in with `panelsync login` or POST /fleet/v1/session")]
    Unauthorized,
    /// Wrong name or password.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// A good token that may not do this.
    #[error("the role {} is needed; this token has the role {}", .needed.as_str(), .has.as_str())]
    Forbidden {
        /// The role that may.
        needed: Role,
        /// The token's role.
        has: Role,
    },
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// There is one already, or its state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// It was there, and is not kept any more.
    #[error("{0}")]
    Gone(String),
    /// Several are there already.
    #[error("{}", what_is_wrong(.0, .0.len()))]
    ConflictAt(Vec<FieldError>),
    /// The body is larger than the limit.
    #[error("the body is larger than {0} bytes, the server's limit; send it in parts or raise --body-limit")]
    TooLarge(usize),
    /// The body is larger than any of this call.
    #[error("the body of this call has at most {0} bytes")]
    TooLargeHere(usize),
    /// The request names more items than this.
    #[error(
        "the request names more than {0} items, the server's limit; send them in parts or raise --max-items"
    )]
    TooManyItems(usize),
    /// A form is larger than any that is filled in by hand.
    #[error(
        "the form is larger than {0} bytes; send so much with `panelsync apply` or through the fleet API"
    )]
    FormTooLarge(usize),
    /// Listeners to events with this token or session, or in all.
    #[error("there are {0} listeners to events already, as many as there may be {1}; close some of them")]
    TooManyListeners(usize, &'static str),
    /// The body is of a type that is not read.
    #[error("the content type must be {0}")]
    WrongContentType(&'static str),
    /// The body is compressed.
    #[error("the content encoding must be identity: send the body as it is")]
    Encoded,
    /// Too many failed logins; seconds to wait.
    #[error("too many failed logins; try again in {0} s")]
    TooManyLogins(u64),
    /// Too many logins wait to be looked at.
    #[error("too many logins at once; try again in a moment")]
    Crowded,
    /// The body took too long to come.
    #[error("the body took too long to come; send it within {} s", crate::http::body::TIME.as_secs())]
    TooSlow,
    /// Too much is going on.
    #[error("the server has too much to do; try again in a moment")]
    Busy,
    /// The disk is full.
    #[error("the server's disk is full; nothing was acknowledged. Make room there, and send it again")]
    NoRoom,
    /// The database has failed a moment ago.
    #[error("the server's database has failed and is being opened again; try again in a moment")]
    StoreFailed,
    /// The database's file is not where it was.
    #[error("{0}")]
    FileGone(String),
    /// Something broke inside.
    #[error("something went wrong in the server; its log says what")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One wrong place in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body.
    #[schema(example = "/upsert/3/repeat_options/repeat_format/repeat_type")]
    pub path: String,
    /// What is wrong there.
    #[schema(example = "Wrong repeat_type")]
    pub message: String,
}

impl FieldError {
    /// At a place.
    /// What is long is cut in its middle.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        let cut = |text: String| match text::short(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(short) => short,
        };
        Self { path: cut(path.into()), message: cut(message.into()) }
    }
}

/// Wrong places as they are found: the first hundred, and how many there are.
#[derive(Debug, Default)]
pub struct Gathered {
    listed: Vec<FieldError>,
    all: usize,
}

impl Gathered {
    /// One more; it is put in words only while there is room for it.
    pub fn add(&mut self, error: impl FnOnce() -> FieldError) {
        self.all += 1;
        if self.listed.len() < LISTED {
            self.listed.push(error());
        }
    }

    /// Those of many, of which the first are in words.
    pub fn extend(&mut self, listed: impl IntoIterator<Item = FieldError>, all: usize) {
        self.all += all;
        let room = LISTED - self.listed.len();
        self.listed.extend(listed.into_iter().take(room));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The problem with all of it.
    pub fn into_problem(self) -> Problem {
        if self.all > self.listed.len() {
            Problem::InvalidAmong(self.listed, self.all)
        } else {
            Problem::Invalid(self.listed)
        }
    }
}

fn what_is_wrong(errors: &[FieldError], all: usize) -> String {
    match errors {
        [one] if one.path.is_empty() => one.message.clone(),
        [one] => format!("{}: {}", one.path, one.message),
        _ if all > LISTED => format!("{all} places are wrong; the first {LISTED} are listed"),
        _ => format!("{all} places are wrong"),
    }
}

/// The body of an error (RFC 9457).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// Names the kind of problem; stable.
    #[serde(rename = "type")]
    #[schema(example = "urn:panelsync:problem:invalid")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This very problem in words.
    pub detail: String,
    /// The wrong places, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// One wrong place.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::at(path, message)])
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read"),
            Self::Invalid(_) | Self::InvalidAmong(..) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is not valid")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Not logged in"),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong-password", "Login refused"),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::Conflict(_) | Self::ConflictAt(_) => {
                (StatusCode::CONFLICT, "conflict", "In conflict with what is there")
            }
            Self::Gone(_) => (StatusCode::GONE, "gone", "Not kept any more"),
            Self::TooLarge(_) | Self::TooLargeHere(_) | Self::FormTooLarge(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
            }
            Self::TooManyItems(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-many-items", "The request names too many items")
            }
            Self::TooManyListeners(..) => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-listeners", "Too many listeners")
            }
            Self::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "wrong-content-encoding",
                "The body is encoded in a way that is not read",
            ),
            Self::WrongContentType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "wrong-content-type",
                "The body is of a type that is not read",
            ),
            Self::TooManyLogins(_) | Self::Crowded => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-logins", "Login refused")
            }
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body is too slow"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much to do"),
            Self::NoRoom => (StatusCode::INSUFFICIENT_STORAGE, "no-room", "No room on the disk"),
            Self::StoreFailed => {
                (StatusCode::SERVICE_UNAVAILABLE, "store-failed", "The database is being opened again")
            }
            Self::FileGone(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "file-gone", "The database's file is not where it was")
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
        }
    }

    fn errors(&self) -> &[FieldError] {
        match self {
            Self::Invalid(errors) | Self::InvalidAmong(errors, _) | Self::ConflictAt(errors) => {
                &errors[..errors.len().min(LISTED)]
            }
            Self::BadRequest(_)
            | Self::Unauthorized
            | Self::WrongPassword
            | Self::Forbidden { .. }
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Gone(_)
            | Self::TooLarge(_)
            | Self::TooLargeHere(_)
            | Self::TooManyItems(_)
            | Self::FormTooLarge(_)
            | Self::TooManyListeners(..)
            | Self::Encoded
            | Self::WrongContentType(_)
            | Self::TooManyLogins(_)
            | Self::Crowded
            | Self::TooSlow
            | Self::Busy
            | Self::NoRoom
            | Self::StoreFailed
            | Self::FileGone(_)
            | Self::Internal(_) => &[],
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.parts().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, kind, title) = self.parts();
        if let Self::Internal(cause) = self {
            tracing::error!(error = %cause, "a request failed inside");
        }
        let mut detail = self.to_string();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        let body = ProblemBody {
            kind: format!("urn:panelsync:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            errors: self.errors().to_vec(),
        };
        let mut response = HttpResponse::build(status).json(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self, Self::Encoded) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Self::TooManyLogins(seconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::Crowded) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Closed => Self::Busy,
            StoreError::Failed => Self::StoreFailed,
            StoreError::NoRoom => Self::NoRoom,
            StoreError::Database(_) if error.no_room() => Self::NoRoom,
            StoreError::Gone => Self::FileGone(error.to_string()),
            StoreError::NoSuchPanel => Self::NotFound("such panel".into()),
            StoreError::Database(_) | StoreError::Corrupt(_) | StoreError::Damaged => {
                Self::Internal(Box::new(error))
            }
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => error.into(),
            AccessError::Hashing => Self::Internal(Box::new(error)),
            AccessError::TooMany(wait) => Self::TooManyLogins(wait.as_secs() + 1),
            AccessError::Crowded => Self::Crowded,
        }
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::WrongContentType(wanted) => Self::WrongContentType(wanted),
            BodyError::Encoded => Self::Encoded,
            BodyError::Busy => Self::Busy,
            BodyError::TooSlow => Self::TooSlow,
            BodyError::Broken => Self::BadRequest("the body ended early".into()),
        }
    }
}

/// A body that was not read to its end, by one who does not stop.
impl From<Unread<Problem>> for Problem {
    fn from(unread: Unread<Problem>) -> Self {
        match unread {
            Unread::NotJson(error) => Self::BadRequest(format!("the body is not JSON: {error}")),
            Unread::NotAnObject => Self::BadRequest("the body is not a JSON object".into()),
            Unread::TooManyValues(key, at) => {
                let at = at.map_or(String::new(), |at| format!("/{at}"));
                let path = if key.is_empty() { at } else { format!("{}{at}", profile::wire::step(&key)) };
                Self::invalid(path, profile::error::WireError::TooManyValues.to_string())
            }
            Unread::Stopped(problem) => problem,
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NoPanels(ref target) => {
                let path = match target {
                    Target::All => "/all",
                    Target::Selector(_) => "/selector",
                    Target::Panels(_) => "/panels",
                };
                Self::invalid(path, error.to_string())
            }
            SubmitError::UnknownPanels(ids) => {
                let mut errors = Gathered::default();
                for (i, id) in ids {
                    errors.add(|| FieldError::at(format!("/panels/{i}"), format!("there is no panel {id}")));
                }
                errors.into_problem()
            }
            SubmitError::UnknownToFamily(ref upserts) => {
                let message = error.to_string();
                let mut errors = Gathered::default();
                for i in upserts {
                    errors.add(|| FieldError::at(format!("/upsert/{i}"), message.clone()));
                }
                errors.into_problem()
            }
            SubmitError::KeyReused => Self::Invalid(vec![FieldError::at("", error.to_string())]),
            SubmitError::ReportGone(_) => Self::Gone(error.to_string()),
            SubmitError::WrongState(_) => Self::Conflict(error.to_string()),
            SubmitError::NoSuchBatch => Self::NotFound("such batch".into()),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<SelectorError> for Problem {
    fn from(error: SelectorError) -> Self {
        Self::invalid("/selector", error.to_string())
    }
}

impl From<actix::MailboxError> for Problem {
    fn from(_: actix::MailboxError) -> Self {
        Self::Busy
    }
}

impl From<tokio::sync::oneshot::error::RecvError> for Problem {
    fn from(_: tokio::sync::oneshot::error::RecvError) -> Self {
        Self::Busy
    }
}

impl From<actix_web::error::BlockingError> for Problem {
    fn from(_: actix_web::error::BlockingError) -> Self {
        Self::Busy
    }
}

impl From<profile::error::Problem> for FieldError {
    fn from(problem: profile::error::Problem) -> Self {
        Self::at(problem.path, problem.error.to_string())
    }
}

impl From<SettingProblem> for FieldError {
    fn from(problem: SettingProblem) -> Self {
        Self::at(problem.path, problem.message)
    }
}
