//! What can be wrong with an identifier on the wire: the panel API's text, where it is, and what helps.
//!
//! The texts of absent and mistyped fields are documented. Those of wrong values are not: the pages of the calls by uid
//! name some that only a panel can say (`Identifier with that type and number already exist`), and none of these. The
//! others here are this project's choice, in the style of the time profiles' texts.

#![warn(clippy::wildcard_enum_match_arm)]

use std::fmt;

use super::photo::PhotoFault;
use super::rule::{Kind, ProfileIds};
use crate::profile::error as body;

/// One problem at one place of a JSON body.
pub type Problem = body::Problem<WireError>;

/// Everything that is said about a faulty body. `Display` gives the text of the `error` field. None of it tells a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// What can be wrong with any body.
    Body(body::WireError),
    /// `identifier_owner.type` is none of the enum. The text is this project's.
    OwnerType,
    /// `identifier_type` is none that the panel knows. The text is this project's.
    Type,
    /// No number of this kind. The text is this project's.
    Number(Kind),
    /// `lock` is none of the enum. The text is this project's.
    Lock,
    /// `max_passes` below 1. The text is this project's.
    MaxPasses,
    /// `passes_left` below −1. The text is this project's.
    PassesLeft,
    /// More time profiles than are taken. The text is this project's.
    TooManyProfiles,
    /// The photo is none. A panel answers the call, and says `bad_base_64_image_file` of the item.
    Photo(PhotoFault),
    /// `time` within `passes`, where it does not count and the identifier would be valid for ever. Panels let it pass.
    MisplacedTime,
}

impl From<body::WireError> for WireError {
    fn from(error: body::WireError) -> Self {
        Self::Body(error)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::OwnerType => f.write_str("Wrong identifier_owner type enum name"),
            Self::Type => f.write_str("Wrong identifier_type"),
            Self::Number(_) => f.write_str("Wrong identifier_number"),
            Self::Lock => f.write_str("Wrong lock"),
            Self::MaxPasses => f.write_str("Wrong max_passes range"),
            Self::PassesLeft => f.write_str("Wrong passes_left range"),
            Self::TooManyProfiles => f.write_str("Wrong time_profiles range"),
            Self::Photo(fault) => write!(f, "bad_base_64_image_file: {fault}"),
            Self::MisplacedTime => f.write_str("`time` stands within `passes`, where it does not count"),
        }
    }
}

impl WireError {
    /// What the place takes, for people; the panel API does not send it.
    pub fn hint(&self) -> String {
        match self {
            Self::Body(error) => of_body(error),
            Self::OwnerType => "owner or guest".into(),
            Self::Type => {
                "one of card, ukey, inputCode, qr, license_plate, face_id, as far as the panel knows it"
                    .into()
            }
            Self::Number(kind) => number(*kind).into(),
            Self::Lock => "one of first, second, all".into(),
            Self::MaxPasses => "a whole number from 1 on; leave it out where is_permanent is true".into(),
            Self::PassesLeft => "a whole number from -1 on".into(),
            Self::TooManyProfiles => format!("at most {} of them", ProfileIds::MOST),
            Self::Photo(_) => field("face_image"),
            Self::MisplacedTime => "move it out, so that it stands beside passes".into(),
        }
    }
}

fn of_body(error: &body::WireError) -> String {
    use body::WireError as Body;
    match error {
        Body::Missing(name) | Body::WrongType(name) => field(name),
        Body::TooManyValues => "leave out what is no part of an identifier".into(),
        Body::NotAJsonObject
        | Body::RepeatType
        | Body::Format
        | Body::RepeatPointType
        | Body::RepeatOptions
        | Body::RepeatLooper
        | Body::NoWeekdays
        | Body::DayOfMonth
        | Body::NoDayNumbers
        | Body::Month
        | Body::NoMonths
        | Body::YearRange
        | Body::Uid
        | Body::TooManyItems(_)
        | Body::Twice
        | Body::NameCharacter(_) => error.hint(),
    }
}

fn field(name: &str) -> String {
    match name {
        "apartment_link_id" => "null, or a UUID such as 91c615e3-1040-4815-8ecb-039a18b756b5".into(),
        "identifier_number" => r#"a text; in YAML with quotes around it, such as "0012345678""#.into(),
        "identifier_type" | "type" | "lock" => "a text".into(),
        "is_permanent" => "true or false".into(),
        "from" | "to" => "a whole number of Unix seconds".into(),
        "max_passes" => "a whole number from 1 on".into(),
        "passes_left" => "a whole number from -1 on".into(),
        "time_profiles" => r#"{"link_ids":["UUID"]}; with an empty list it opens at any time"#.into(),
        "link_ids" => "a list of UUIDs; with an empty one it opens at any time".into(),
        "face_image" => "a JPEG of at most 1 MiB as bare Base64".into(),
        "face_sha256" => "64 hex digits".into(),
        _ => body::field_takes(name),
    }
}

fn number(kind: Kind) -> &'static str {
    match kind {
        Kind::Card | Kind::Ukey => {
            "1 to 10 decimal digits, or 2 to 8 pairs of hex digits with - or : between them, such as 0A-1B-2C-3D"
        }
        Kind::Code => "1 to 10 decimal digits",
        Kind::Qr => "a UUID such as 91c615e3-1040-4815-8ecb-039a18b756b5",
        Kind::Plate => "1 to 100 characters",
        Kind::Face => "a face takes none",
    }
}
