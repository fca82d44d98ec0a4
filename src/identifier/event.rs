//! What happens at a door: what was presented, and what came of it; read from what devices tell ([`told`]).
//!
//! Devices name no link_id: who it was is found by type and number, by whoever keeps the event.

use std::collections::BTreeMap;

use super::number::{self, Credential};
use super::rule::Kind;

pub mod told;

/// Something that happened at a door. What was presented is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEvent {
    /// When, by the device's clock where that can be right, else when we were told; in Unix milliseconds.
    pub at_ms: i64,
    /// What the device said of when that was. Told again, it says the same.
    pub said_ms: i64,
    /// Whether somebody was let in; nothing where nobody asked, as when a door was opened from inside.
    pub granted: Option<bool>,
    /// What happened, in the device's word.
    pub reason: Box<str>,
    /// What was presented, where anything was.
    pub presented: Option<Presented>,
    /// What else the device said of it.
    pub notes: BTreeMap<Box<str>, Box<str>>,
}

impl AccessEvent {
    /// Whether the device says that it knew what was presented, whatever came of it.
    pub fn is_of_somebody_known(&self) -> bool {
        !self.reason.contains("unknown") && !self.reason.contains("not_valid_input_code")
    }
}

/// What was shown at a door.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// What can be somebody's identifier.
    Known(Credential),
    /// What cannot be read as one.
    Other {
        /// Its type, in the device's word.
        kind: Option<Box<str>>,
        /// Its number, in the device's words.
        number: Box<str>,
    },
}

impl Presented {
    /// Of what a device said.
    pub fn new(kind: Option<&str>, number: &str) -> Self {
        let known = kind.and_then(kind_of).and_then(|kind| Credential::new(kind, number));
        known.map_or_else(|| Self::Other { kind: kind.map(Into::into), number: number.into() }, Self::Known)
    }

    /// Its type, where that is known.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Known(credential) => Some(credential.kind().as_str()),
            Self::Other { kind, .. } => kind.as_deref(),
        }
    }

    /// The whole number, which reads back as the same. It is a secret.
    pub fn number(&self) -> String {
        match self {
            Self::Known(credential) => credential.written(),
            Self::Other { number, .. } => number.to_string(),
        }
    }

    /// What may be shown of it: the last three characters, where it is known for sure to be none that is secret as a whole.
    /// Of codes and faces it is nothing, nor of what has no type, or one that nobody knows: that may be a code too.
    pub fn masked(&self) -> Option<String> {
        match self {
            Self::Known(credential) => credential.masked(),
            Self::Other { kind, number } => match kind_of(kind.as_deref()?)? {
                Kind::Code | Kind::Face => None,
                Kind::Card | Kind::Ukey | Kind::Qr | Kind::Plate => {
                    (!number.is_empty()).then(|| number::masked(number))
                }
            },
        }
    }

    /// What can be looked for among a panel's identifiers.
    pub fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Known(credential) => Some(credential),
            Self::Other { .. } => None,
        }
    }
}

/// No more than [`Presented::masked`] shows.
impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.masked();
        write!(f, "{}({})", self.kind().unwrap_or("?"), shown.as_deref().unwrap_or("…"))
    }
}

/// From the words of devices: that of the panel API, that of their question to a remote server, and what else they may
/// call a code; however they write these.
fn kind_of(word: &str) -> Option<Kind> {
    const CODES: [&str; 6] = ["inputcode", "code", "pin", "pincode", "password", "mastercode"];
    let plain = |word: &str| -> String {
        word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let word = plain(word);
    let is_code = CODES.contains(&&*word);
    let kind = || Kind::ALL.into_iter().find(|kind| plain(kind.as_str()) == word);
    if is_code { Some(Kind::Code) } else { kind() }
}
