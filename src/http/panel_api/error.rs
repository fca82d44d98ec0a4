//! The panel API's errors: the only place that gives them a status and their exact text.

#![warn(clippy::wildcard_enum_match_arm)]

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::AccessError;
use crate::batch::ItemOutcome;
use crate::batch::item::Kind;
use crate::http::body::BodyError;
use crate::identifier;
use crate::panel::UidRefusal;
use crate::profile;
use crate::profile::error::WireError;
use crate::profile::rule::Family;
use crate::store::StoreError;

/// Everything that a panel says no with. `Display` gives the exact text of the `error` field.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// No token, an unknown one, or one that has expired.
    #[error("Log In")]
    LogIn,
    /// Wrong credentials of a login.
    #[error("Wrong login or password")]
    WrongLogin,
    /// Wrong credentials of HTTP Basic.
    #[error("Wrong login or password")]
    WrongBasic,
    /// A login without a name or a password.
    #[error("Required parameters missed")]
    LoginWithoutName,
    /// The path is there, and takes the methods that are named.
    #[error("Method not allowed")]
    MethodNotAllowed(String),
    /// A good token of an account that is not an administrator.
    #[error("{}", not_administrator(*.0).1)]
    NotAdministrator(Family),
    /// A faulty body.
    #[error("{0}")]
    Body(WireError),
    /// A faulty body of a call on identifiers.
    #[error("{0}")]
    Identifier(identifier::error::WireError),
    /// A query parameter that must be there is not.
    #[error("No value for parameter `{0}`")]
    MissingParameter(&'static str),
    /// A query parameter with a value that it does not take.
    #[error("Wrong value of parameter `{0}`")]
    Parameter(&'static str),
    /// A well-formed item is refused, in a call that has no result per item: the word that the link calls have for it.
    #[error("{}", .0.extended_info())]
    Refused(ItemOutcome),
    /// No identifier of that uid, or not a uid.
    #[error("Wrong Identifier uid")]
    IdentifierUid,
    /// Not a uid of an apartment.
    #[error("Wrong Apartment uid")]
    ApartmentUid,
    /// The identifier belongs to another apartment.
    #[error("Identifier uid is already attached to another apartment")]
    Attached,
    /// The identifier belongs to no apartment.
    #[error("Identifier already unbound")]
    Unattached,
    /// Another identifier has this type and number.
    #[error("Identifier with that type and number already exist")]
    NumberTaken,
    /// A code that is the master code.
    #[error("Cannot create identifier with the same input code number as master code")]
    MasterCode,
    /// A panel that knows no faces.
    #[error("You cannot create face_id identifier on this panel")]
    NoFaces,
    /// A face that is none.
    #[error("Wrong face_id image data")]
    FaceData,
    /// No face of that uid, in the call that takes a photo for one.
    #[error("Wrong identifier-uid. Missed temporary identifier for adding faceId")]
    FaceUid,
    /// A file that is no JPEG by its own word.
    #[error("Wrong file format")]
    FileFormat,
    /// A file that is no JPEG.
    #[error("Wrong image file")]
    ImageFile,
    /// A photo without a face.
    #[error("Face hasn't been detected on image")]
    NoFaceSeen,
    /// A form without a file, with several, or that cannot be read to its end.
    #[error("Loading file error")]
    Loading,
    /// There is no such panel.
    #[error("Panel not found")]
    NoSuchPanel,
    /// There is no such path.
    #[error("Not found")]
    NotFound,
    /// A selector that does not follow the grammar, or picks nothing.
    #[error("{0}")]
    Selector(String),
    /// The time of panels that are asked as one, and have different zones.
    #[error("The selected panels are in different time zones")]
    DifferentZones,
    /// The body is larger than the limit.
    #[error("Body larger than {0} bytes")]
    TooLarge(usize),
    /// The body names more items than this.
    #[error("More than {0} items, the server's limit; send them in parts or raise --max-items")]
    TooManyItems(usize),
    /// The body is compressed.
    #[error("Wrong content encoding: send the body as it is")]
    Encoded,
    /// The body is not JSON by its own word.
    #[error("Wrong content type")]
    WrongContentType,
    /// Too many failed logins, or too many at once; seconds to wait.
    #[error("Too many failed logins")]
    TooManyLogins(u64),
    /// The body took too long to come.
    #[error("Body too slow")]
    TooSlow,
    /// Too much is going on.
    #[error("Busy")]
    Busy,
    /// The server's file is not where it was.
    #[error("Storage unavailable")]
    Unavailable,
    /// The disk is full.
    #[error("the server's disk is full; nothing was acknowledged. Make room there, and send it again")]
    NoRoom,
    /// Something broke inside.
    #[error("Internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The body of a panel's error.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong.
    #[schema(value_type = ErrorText)]
    pub error: String,
}

/// What is wrong: a text, or of a door controller an object.
#[derive(ToSchema)]
#[schema(as = ErrorText)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document")]
enum ErrorText {
    /// As most families say it.
    #[schema(example = "Wrong repeat_type")]
    Text(String),
    /// As door controllers say it.
    OfController {
        /// `invalid_authentication`, `permission_denied`, `not_valid`, `system_error`, `bad_request` or `connection_timeout`.
        code: String,
        /// In words.
        message: String,
        /// Always null here.
        data: Option<String>,
    },
}

/// Android panels tell the two apart; the other families know no 403.
fn not_administrator(family: Family) -> (StatusCode, &'static str) {
    match family {
        Family::Android => (StatusCode::FORBIDDEN, "Administrator rights required"),
        Family::Camdroid | Family::IngenicMips => (StatusCode::UNAUTHORIZED, "Log In"),
        Family::DoorController => (StatusCode::UNAUTHORIZED, "Administrator rights required"),
    }
}

impl ResponseError for PanelError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::LogIn | Self::WrongBasic => StatusCode::UNAUTHORIZED,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAdministrator(family) => not_administrator(*family).0,
            Self::WrongLogin
            | Self::LoginWithoutName
            | Self::Body(_)
            | Self::Identifier(_)
            | Self::MissingParameter(_)
            | Self::Parameter(_)
            | Self::DifferentZones
            | Self::Refused(_)
            | Self::IdentifierUid
            | Self::ApartmentUid
            | Self::Attached
            | Self::Unattached
            | Self::NumberTaken
            | Self::MasterCode
            | Self::NoFaces
            | Self::FaceData
            | Self::FaceUid
            | Self::FileFormat
            | Self::ImageFile
            | Self::NoFaceSeen
            | Self::Loading => StatusCode::BAD_REQUEST,
            Self::NoSuchPanel | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Selector(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge(_) | Self::TooManyItems(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongContentType | Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyLogins(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Internal(cause) = self {
            tracing::error!(error = %cause, "a request of the panel API failed inside");
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Self::TooManyLogins(seconds) = self {
            response.insert_header((header::RETRY_AFTER, *seconds));
        }
        if let Self::MethodNotAllowed(methods) = self {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        if matches!(self, Self::Encoded) {
            response.insert_header((header::ACCEPT_ENCODING, "identity"));
        }
        response.json(ErrorBody { error: self.to_string() })
    }
}

impl From<profile::error::Problem> for PanelError {
    fn from(problem: profile::error::Problem) -> Self {
        if let WireError::TooManyItems(most) = problem.error {
            return Self::TooManyItems(most);
        }
        Self::Body(problem.error)
    }
}

impl From<identifier::error::Problem> for PanelError {
    fn from(problem: identifier::error::Problem) -> Self {
        if let identifier::error::WireError::Body(error) = problem.error {
            return profile::error::Problem { path: problem.path, error }.into();
        }
        Self::Identifier(problem.error)
    }
}

impl From<UidRefusal> for PanelError {
    fn from(refusal: UidRefusal) -> Self {
        match refusal {
            UidRefusal::NoSuchUid(Kind::Profile) => Self::Body(WireError::Uid),
            UidRefusal::NoSuchUid(Kind::Identifier) => Self::IdentifierUid,
            UidRefusal::Full => Self::Refused(ItemOutcome::Full),
            UidRefusal::FacesFull => Self::Refused(ItemOutcome::FacesFull),
            UidRefusal::NumberTaken => Self::NumberTaken,
            UidRefusal::NoProfile => Self::Refused(ItemOutcome::NoProfile),
            UidRefusal::Attached => Self::Attached,
            UidRefusal::Unattached => Self::Unattached,
            UidRefusal::TooManyProfiles => Self::Identifier(identifier::error::WireError::TooManyProfiles),
            UidRefusal::Bound => Self::Refused(ItemOutcome::Bound),
        }
    }
}

impl From<BodyError> for PanelError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::WrongContentType(_) => Self::WrongContentType,
            BodyError::Encoded => Self::Encoded,
            BodyError::Busy => Self::Busy,
            BodyError::TooSlow => Self::TooSlow,
            BodyError::Broken => Self::Body(WireError::NotAJsonObject),
            BodyError::NoParts => Self::Loading,
        }
    }
}

impl From<StoreError> for PanelError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Closed => Self::Busy,
            StoreError::NoRoom => Self::NoRoom,
            StoreError::Database(_) if error.no_room() => Self::NoRoom,
            StoreError::Gone | StoreError::Failed | StoreError::Ledger(_) => Self::Unavailable,
            StoreError::NoSuchPanel => Self::NoSuchPanel,
            StoreError::Database(_) | StoreError::Corrupt(_) | StoreError::Damaged => {
                Self::Internal(Box::new(error))
            }
        }
    }
}

impl From<AccessError> for PanelError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => error.into(),
            AccessError::Hashing => Self::Internal(Box::new(error)),
            AccessError::TooMany(wait) => Self::TooManyLogins(wait.as_secs() + 1),
            AccessError::Crowded => Self::TooManyLogins(1),
        }
    }
}

impl From<actix::MailboxError> for PanelError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Busy
    }
}

impl From<tokio::sync::oneshot::error::RecvError> for PanelError {
    fn from(_: tokio::sync::oneshot::error::RecvError) -> Self {
        Self::Busy
    }
}
