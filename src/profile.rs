//! The time profile: when an identifier may open a door.
//!
//! This room is pure: no I/O, no clock, no actor, no database. It is responsible for
//!
//! 1. the [`TimeProfile`], which cannot hold anything the panel API calls wrong ([`rule`] has its parts);
//! 2. reading one from JSON ([`wire`] reads without checking, [`parse`] checks) with every problem's
//!    JSON path and exact panel-API text ([`error`]), and writing it back ([`wire::body`]);
//! 3. what the rules mean in time: which dates they name ([`recurrence`]), whether a door can ever open under
//!    them in a zone ([`opens`]), and when it does ([`windows`]);
//! 4. saying that to people: in a sentence ([`sentence`]), as a calendar file ([`ical`]), and what is surely
//!    unintended ([`lint`]);
//! 5. reading the files in which people keep profiles ([`text`]).

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

pub mod error;
pub mod ical;
pub mod lint;
pub mod opens;
pub mod parse;
pub mod recurrence;
pub mod rule;
pub mod sentence;
pub mod text;
pub mod windows;
pub mod wire;

use error::WireError;
use rule::{Family, Name, Repeat};
use wire::Wording;

/// A time profile whose every field holds a value that the panel API accepts.
///
/// Well-formed rules may still never open a door; that depends on the panel's zone and is asked with
/// [`opens::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeProfile {
    /// What people call it.
    pub name: Name,
    /// Whether the window covers whole local days; then the times of day in `from` and `to` are not read.
    pub all_day: bool,
    /// Start of the first window, in Unix seconds.
    pub from: i64,
    /// End of the first window, in Unix seconds. Half-open: at this second the door is shut.
    pub to: i64,
    /// How the first window repeats; `None` when it does not.
    pub repeat: Option<Repeat>,
    /// How it was written, where [`wire::body`] would write what it says otherwise. Read back as sent, and by nothing
    /// that judges.
    pub wording: Option<Box<Wording>>,
}

impl TimeProfile {
    /// Whether both say the same, in whatever words.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |profile: &Self| (profile.all_day, profile.from, profile.to);
        said(self) == said(other) && self.name == other.name && self.repeat == other.repeat
    }

    /// What of it a family's API cannot say.
    pub fn unknown_to(&self, family: Family) -> Option<Unknown> {
        if family == Family::DoorController {
            return None;
        }
        if self.repeat.as_ref().is_some_and(|repeat| !repeat.rule.known_to(family)) {
            return Some(Unknown::AnyDay);
        }
        self.wording.as_ref()?.dates_left_out().next().map(Unknown::NoDate)
    }
}

/// What door controllers know and other panels do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The day type `DAY`.
    #[error("the day type DAY is known to door controllers only, and the batch is for other panels too")]
    AnyDay,
    /// A first window without this date.
    #[error("{}", WireError::Missing(.0))]
    NoDate(&'static str),
}

impl Unknown {
    /// Its place within the profile: a JSON pointer, empty for the whole.
    pub fn path(self) -> String {
        match self {
            Self::AnyDay => String::new(),
            Self::NoDate(date) => format!("/time_options/{date}"),
        }
    }
}

/// The UUID by which the link management server knows a profile on every panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(Uuid);

impl LinkId {
    /// The 16 bytes, big-endian, as they stand in the store's keys.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From the 16 bytes of a store key.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl serde::Serialize for LinkId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for LinkId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not a UUID of the form `91c615e3-1040-4815-8ecb-039a18b756b5`.
#[derive(Debug, thiserror::Error)]
#[error("not a UUID of the form 91c615e3-1040-4815-8ecb-039a18b756b5")]
pub struct NotALinkId;

impl FromStr for LinkId {
    type Err = NotALinkId;

    /// Takes the hyphenated form in either case, and no other spelling of a UUID.
    fn from_str(text: &str) -> Result<Self, NotALinkId> {
        if text.len() != 36 {
            return Err(NotALinkId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| NotALinkId)
    }
}
