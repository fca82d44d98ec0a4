//! What real devices do otherwise than the panel API says, without being broken: `panelsync simulate --quirk NAME…`,
//! and `"quirks":["interim"]` among the faults of `POST /sim/faults`.
//!
//! Of the line (how answers travel):
//!
//! | name | what the device does |
//! | --- | --- |
//! | `interim` | sends `100 Continue` and `103 Early Hints` before each answer, unasked |
//! | `late-answer` | sends a second answer, which nobody asked for, right behind each one |
//! | `until-close` | gives no length: each body ends with its connection, in HTTP/1.1 and without `Connection: close` |
//! | `http-10` | answers in HTTP/1.0, without a length |
//! | `close-after` | keeps a connection and closes it soon after an answer |
//! | `second-request-close` | keeps a connection and closes it when a second request comes |
//! | `one-connection` | serves one connection at a time; the others wait until it is closed |
//! | `odd-headers` | ends header lines with LF alone, folds one, writes one without a colon, and gives no reason phrase |
//! | `chunk-slow` | sends bodies in chunks of a few bytes, with pauses between the first of them |
//! | `bom` | puts a byte order mark before its JSON |
//! | `gzip` | packs bodies with gzip though nobody asked for it |
//! | `deflate` | packs bodies with deflate though nobody asked for it |
//!
//! Of what is said:
//!
//! | name | what the device does |
//! | --- | --- |
//! | `no-clock` | has no `/api/v1/device/time` |
//! | `clock-text` | gives its time as a text |
//! | `odd-info` | has null, numbers and second copies in fields of `/api/info`, and its version as a number |
//! | `error-200` | says now and then that it failed, in an answer with status 200 |
//! | `null-info` | has null in `extended_info` |
//! | `list-info` | has a list of codes in `extended_info` |
//! | `small-pages` | gives fewer items on a page than it was asked for, and says so |
//! | `cut-names` | keeps the first 16 characters of a name |
//! | `escape-names` | keeps names with `&`, `<`, `>` and quotes escaped as in HTML |
//! | `forget-account` | answers 401 where the account may not, to every call but the login |
//! | `only-delete` | knows `DELETE …/items/link` alone of the two forms |
//! | `only-post` | knows `POST …/link/delete` alone of the two forms |
//! | `old-paths` | knows identifiers by link_id at `/access/identifiers/link` alone, as camdroid panels before 1.0 perhaps do; for `--api camdroid --api-version 0.6.0` |
//! | `not-found` | says `not_found` where others say `entity_not_found` |
//! | `detaches-profiles` | deletes a profile that identifiers name, and they lose it: one without any other opens always |
//! | `warns-of-profiles` | takes an identifier that names a profile which is not there, without it, and says so with `success:true` |
//! | `no-face-seen` | recognises no face on any photo |
//! | `long-words` | has megabytes, newlines and escape sequences in the texts that say what it is and what went wrong |

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that a device does otherwise; the table above says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[allow(missing_docs, reason = "the table above")]
pub enum Quirk {
    Interim,
    LateAnswer,
    UntilClose,
    Http10,
    CloseAfter,
    SecondRequestClose,
    OneConnection,
    OddHeaders,
    ChunkSlow,
    Bom,
    Gzip,
    Deflate,
    NoClock,
    ClockText,
    OddInfo,
    Error200,
    NullInfo,
    ListInfo,
    SmallPages,
    CutNames,
    EscapeNames,
    ForgetAccount,
    OnlyDelete,
    OnlyPost,
    OldPaths,
    NotFound,
    DetachesProfiles,
    WarnsOfProfiles,
    NoFaceSeen,
    LongWords,
}

/// All that one device does otherwise: the field `quirks` of its [`Faults`](super::faults::Faults).
pub type Quirks = BTreeSet<Quirk>;

impl Quirk {
    /// All of them, those of the line first.
    pub const ALL: [Self; 30] = [
        Self::Interim,
        Self::LateAnswer,
        Self::UntilClose,
        Self::Http10,
        Self::CloseAfter,
        Self::SecondRequestClose,
        Self::OneConnection,
        Self::OddHeaders,
        Self::ChunkSlow,
        Self::Bom,
        Self::Gzip,
        Self::Deflate,
        Self::NoClock,
        Self::ClockText,
        Self::OddInfo,
        Self::Error200,
        Self::NullInfo,
        Self::ListInfo,
        Self::SmallPages,
        Self::CutNames,
        Self::EscapeNames,
        Self::ForgetAccount,
        Self::OnlyDelete,
        Self::OnlyPost,
        Self::OldPaths,
        Self::NotFound,
        Self::DetachesProfiles,
        Self::WarnsOfProfiles,
        Self::NoFaceSeen,
        Self::LongWords,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interim => "interim",
            Self::LateAnswer => "late-answer",
            Self::UntilClose => "until-close",
            Self::Http10 => "http-10",
            Self::CloseAfter => "close-after",
            Self::SecondRequestClose => "second-request-close",
            Self::OneConnection => "one-connection",
            Self::OddHeaders => "odd-headers",
            Self::ChunkSlow => "chunk-slow",
            Self::Bom => "bom",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::NoClock => "no-clock",
            Self::ClockText => "clock-text",
            Self::OddInfo => "odd-info",
            Self::Error200 => "error-200",
            Self::NullInfo => "null-info",
            Self::ListInfo => "list-info",
            Self::SmallPages => "small-pages",
            Self::CutNames => "cut-names",
            Self::EscapeNames => "escape-names",
            Self::ForgetAccount => "forget-account",
            Self::OnlyDelete => "only-delete",
            Self::OnlyPost => "only-post",
            Self::OldPaths => "old-paths",
            Self::NotFound => "not-found",
            Self::DetachesProfiles => "detaches-profiles",
            Self::WarnsOfProfiles => "warns-of-profiles",
            Self::NoFaceSeen => "no-face-seen",
            Self::LongWords => "long-words",
        }
    }

    /// Whether it lies in how answers travel rather than in what they say.
    pub fn is_of_the_line(self) -> bool {
        self <= Self::Deflate
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("there is no quirk {name:?}; there are {}", Quirk::ALL.map(Quirk::as_str).join(", "))]
pub struct NoQuirk {
    name: String,
}

impl FromStr for Quirk {
    type Err = NoQuirk;

    fn from_str(name: &str) -> Result<Self, NoQuirk> {
        Self::ALL
            .into_iter()
            .find(|quirk| quirk.as_str() == name)
            .ok_or_else(|| NoQuirk { name: name.to_owned() })
    }
}

impl TryFrom<String> for Quirk {
    type Error = NoQuirk;

    fn try_from(name: String) -> Result<Self, NoQuirk> {
        name.parse()
    }
}

impl From<Quirk> for &'static str {
    fn from(quirk: Quirk) -> Self {
        quirk.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quirk_is_read_by_its_name_and_stands_in_the_table() {
        let table = include_str!("quirk.rs");
        for quirk in Quirk::ALL {
            assert_eq!(quirk.to_string().parse::<Quirk>().ok(), Some(quirk));
            assert!(table.contains(&format!("//! | `{quirk}` |")), "{quirk}");
        }
        assert!("interims".parse::<Quirk>().is_err_and(|error| error.to_string().contains("late-answer")));
        assert!(Quirk::Deflate.is_of_the_line() && !Quirk::NoClock.is_of_the_line());
    }
}
