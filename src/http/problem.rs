//! The fleet API's errors as RFC 9457 `application/problem+json`: the only place that gives them a status and
//! a type. What went wrong inside goes to the log, not into the answer.

#![warn(clippy::wildcard_enum_match_arm)]

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::BodyError;
use crate::fleet::error::LISTED;
use crate::fleet::link::LinkRefusal;
use crate::fleet::{FieldError, FleetError};
use crate::identifier::event::told::PacketFault;
use crate::store::backup::BackupError;

/// The longest detail, in bytes: what a request says is told back in part only.
const MAX_DETAIL: usize = 2000;

/// Everything that the fleet API says no with: what the fleet itself does, and what is wrong with a request as one.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// What the fleet says.
    #[error(transparent)]
    Fleet(FleetError),
    /// The body is larger than the limit.
    #[error("the body is larger than {0} bytes, the server's limit; send it in parts or raise --body-limit")]
    TooLarge(usize),
    /// The body is larger than any of this call.
    #[error("the body of this call has at most {0} bytes")]
    TooLargeHere(usize),
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
    /// The path is there, and takes the methods that are named.
    #[error("this path takes {0}")]
    MethodNotAllowed(String),
    /// What a device says to its Link server is not taken.
    #[error(transparent)]
    Link(LinkRefusal),
    /// A packet of a device.
    #[error(transparent)]
    Packet(PacketFault),
    /// With several nodes: nobody leads.
    #[error(
        "no node leads at the moment, so nothing can be read or changed; try again in a moment. If it stays so, look at the nodes' logs and at the log's database"
    )]
    NoLeader,
    /// With several nodes: the leader, named here, is not reached from this one.
    #[error("the leader, {0}, is not reached from this node; ask another node, or try again in a moment")]
    LeaderAway(String),
    /// With several nodes: the leader was gone before it answered.
    #[error(
        "the leader was gone before it had answered: this is perhaps done. Send it again, a batch with the same Idempotency-Key"
    )]
    AnswerLost,
    /// With several nodes: what is asked for is read at this node only, from its own machine.
    #[error(
        "the metrics of a node that follows are read from its own machine, or with --metrics-access open"
    )]
    OnlyHere,
    /// The body took too long to come.
    #[error("the body took too long to come; send it within {} s", crate::http::body::TIME.as_secs())]
    TooSlow,
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

/// The status, the kind, and the kind in words.
type Parts = (StatusCode, &'static str, &'static str);

impl Problem {
    /// The request's form: a wrong query parameter, a wrong header.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::Fleet(FleetError::Unreadable(detail.into()))
    }

    /// One wrong place.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fleet(FleetError::invalid(path, message))
    }

    fn parts(&self) -> Parts {
        match self {
            Self::Fleet(error) => parts_of(error),
            Self::TooLarge(_) | Self::TooLargeHere(_) | Self::FormTooLarge(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
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
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not take this method")
            }
            Self::Link(refusal) => parts_of_link(refusal),
            Self::Packet(PacketFault::NotJson | PacketFault::NoEvents) => {
                (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read")
            }
            Self::Packet(PacketFault::TooMany) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-many-items", "The request names too many items")
            }
            Self::NoLeader => (StatusCode::SERVICE_UNAVAILABLE, "no-leader", "No node leads"),
            Self::LeaderAway(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "leader-away", "The leader is not reached")
            }
            Self::AnswerLost => (StatusCode::BAD_GATEWAY, "answer-lost", "The answer was lost"),
            Self::OnlyHere => (StatusCode::UNAUTHORIZED, "unauthorized", "Not logged in"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body is too slow"),
        }
    }

    fn errors(&self) -> &[FieldError] {
        match self {
            Self::Fleet(
                FleetError::Invalid(errors)
                | FleetError::InvalidAmong(errors, _)
                | FleetError::ConflictAt(errors),
            ) => &errors[..errors.len().min(LISTED)],
            Self::Fleet(_)
            | Self::TooLarge(_)
            | Self::TooLargeHere(_)
            | Self::FormTooLarge(_)
            | Self::TooManyListeners(..)
            | Self::WrongContentType(_)
            | Self::Encoded
            | Self::MethodNotAllowed(_)
            | Self::Link(_)
            | Self::Packet(_)
            | Self::NoLeader
            | Self::LeaderAway(_)
            | Self::AnswerLost
            | Self::OnlyHere
            | Self::TooSlow => &[],
        }
    }
}

fn parts_of(error: &FleetError) -> Parts {
    match error {
        FleetError::Unreadable(_) => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read"),
        FleetError::Invalid(_) | FleetError::InvalidAmong(..) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is not valid")
        }
        FleetError::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Not logged in"),
        FleetError::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong-password", "Login refused"),
        FleetError::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
        FleetError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
        FleetError::Conflict(_) | FleetError::ConflictAt(_) => {
            (StatusCode::CONFLICT, "conflict", "In conflict with what is there")
        }
        FleetError::Gone(_) => (StatusCode::GONE, "gone", "Not kept any more"),
        FleetError::TooManyItems(_) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too-many-items", "The request names too many items")
        }
        FleetError::TooManyLogins(_) | FleetError::Crowded => {
            (StatusCode::TOO_MANY_REQUESTS, "too-many-logins", "Login refused")
        }
        FleetError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much to do"),
        FleetError::NoRoom => (StatusCode::INSUFFICIENT_STORAGE, "no-room", "No room on the disk"),
        FleetError::StoreFailed => {
            (StatusCode::SERVICE_UNAVAILABLE, "store-failed", "The database is being opened again")
        }
        FleetError::FileGone(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "file-gone", "The database's file is not where it was")
        }
        FleetError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
    }
}

fn parts_of_link(refusal: &LinkRefusal) -> Parts {
    match refusal {
        LinkRefusal::Closed => {
            (StatusCode::SERVICE_UNAVAILABLE, "link-closed", "No events are taken of devices")
        }
        LinkRefusal::Unknown => (StatusCode::UNAUTHORIZED, "wrong-password", "Login refused"),
        LinkRefusal::NoSession => (StatusCode::UNAUTHORIZED, "unauthorized", "Not logged in"),
        LinkRefusal::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "Too much to do"),
        LinkRefusal::Fleet(error) => parts_of(error),
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.parts().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, kind, title) = self.parts();
        if let Self::Fleet(FleetError::Internal(cause)) = self {
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
        if let Self::MethodNotAllowed(methods) = self
            && let Ok(methods) = HeaderValue::from_str(methods)
        {
            headers.insert(header::ALLOW, methods);
        }
        if matches!(self, Self::Encoded) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Self::Fleet(FleetError::TooManyLogins(seconds)) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::Fleet(FleetError::Crowded)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl<E: Into<FleetError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Fleet(error.into())
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        Self::Fleet(FleetError::Internal(Box::new(error)))
    }
}

impl From<LinkRefusal> for Problem {
    fn from(refusal: LinkRefusal) -> Self {
        match refusal {
            LinkRefusal::Fleet(error) => Self::Fleet(error),
            refusal @ (LinkRefusal::Closed
            | LinkRefusal::Unknown
            | LinkRefusal::NoSession
            | LinkRefusal::Busy) => Self::Link(refusal),
        }
    }
}

impl From<PacketFault> for Problem {
    fn from(fault: PacketFault) -> Self {
        Self::Packet(fault)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Fleet(FleetError::Internal(Box::new(error)))
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::WrongContentType(wanted) => Self::WrongContentType(wanted),
            BodyError::Encoded => Self::Encoded,
            BodyError::Busy => FleetError::Busy.into(),
            BodyError::TooSlow => Self::TooSlow,
            error @ (BodyError::Broken | BodyError::NoParts) => Self::bad_request(error.to_string()),
        }
    }
}

impl From<actix_web::error::BlockingError> for Problem {
    fn from(_: actix_web::error::BlockingError) -> Self {
        FleetError::Busy.into()
    }
}
