//! The parts of an identifier as types that hold only values in range, and what each family takes.

use std::fmt;

use crate::profile::LinkId;
use crate::profile::rule::Family;

/// What opens a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A card, a tag, or whatever else reaches the panel as a card's number.
    Card,
    /// The vendor's phone key.
    Ukey,
    /// A code that is typed in.
    Code,
    /// A QR code.
    Qr,
    /// A car's plate.
    Plate,
    /// A face.
    Face,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Card, Self::Ukey, Self::Code, Self::Qr, Self::Plate, Self::Face];

    /// The panel API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Ukey => "ukey",
            Self::Code => "inputCode",
            Self::Qr => "qr",
            Self::Plate => "license_plate",
            Self::Face => "face_id",
        }
    }

    /// From the panel API's spelling, where case matters.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Ukey => "phone key",
            Self::Code => "code",
            Self::Qr => "QR code",
            Self::Plate => "plate",
            Self::Face => "face",
        }
    }
}

/// What panels of a family take in one of their versions. There is none for door controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    family: Family,
    plates: bool,
    valid_beside: bool,
}

/// Door controllers have identifiers of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "identifiers of door controllers cannot be managed yet; they are for android, camdroid and ingenic-mips panels"
)]
pub struct NoIdentifiers;

impl Api {
    /// What some panels take: android's of today, which leaves least to be said.
    pub const ANY: Self = Self { family: Family::Android, plates: true, valid_beside: false };

    /// What a family takes in this version, or in its newest. Plates came to android panels after 2.1, and to camdroid
    /// ones with 1.0.4; these have `valid` from 1.0 on.
    pub fn of(family: Family, version: Option<[u16; 3]>) -> Result<Self, NoIdentifiers> {
        let since = |first: [u16; 3]| version.is_none_or(|version| version >= first);
        let plates = match family {
            Family::Android => since([2, 2, 0]),
            Family::Camdroid => since([1, 0, 4]),
            Family::IngenicMips => true,
            Family::DoorController => return Err(NoIdentifiers),
        };
        let valid_beside = family == Family::Camdroid && !since([1, 0, 0]);
        Ok(Self { family, plates, valid_beside })
    }

    /// The family, which is none of door controllers.
    pub fn family(self) -> Family {
        self.family
    }

    /// Whether it is in the family's list of types. `face_id` counts as known to all: a panel without faces has a word
    /// for that ([`super::Refusal::NoFaces`]).
    pub fn knows(self, kind: Kind) -> bool {
        match kind {
            Kind::Plate => self.plates,
            Kind::Card | Kind::Ukey | Kind::Code | Kind::Qr | Kind::Face => true,
        }
    }

    /// Whether its panels know faces. On android only some models do, and no version says which.
    pub fn knows_faces(self) -> bool {
        self.family == Family::Android
    }

    /// Whether `valid` and its parts have to be there. Android panels take what is absent as permanent.
    pub(super) fn wants_valid(self) -> bool {
        self.family != Family::Android
    }

    /// Whether the calls by uid have `time` and `passes` beside the other fields rather than in `valid`. Of the calls by
    /// link_id that is not known, so these are told both.
    pub(super) fn has_valid_beside(self) -> bool {
        self.valid_beside
    }

    /// Whether `max_passes` has to be there though it does not count, as 0: AA-07BD wants it.
    pub(super) fn wants_max_passes(self) -> bool {
        self.family != Family::Android
    }

    /// What stands between a number's pairs of hex digits. All families take a hyphen.
    pub(super) fn between_pairs(self) -> char {
        match self.family {
            Family::Android | Family::Camdroid | Family::IngenicMips | Family::DoorController => '-',
        }
    }
}

/// `identifier_owner.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// Who lives or works there.
    Owner,
    /// A guest.
    Guest,
}

impl OwnerKind {
    /// From the panel API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Guest].into_iter().find(|kind| kind.as_str() == text)
    }

    /// The panel API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Guest => "guest",
        }
    }
}

/// `lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// The first.
    First,
    /// The second.
    Second,
    /// All of the panel's locks.
    All,
}

impl Lock {
    /// Whether that one opens all that this one opens.
    pub fn is_within(self, that: Self) -> bool {
        self == that || that == Self::All
    }

    /// From the panel API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::First, Self::Second, Self::All].into_iter().find(|lock| lock.as_str() == text)
    }

    /// The panel API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::All => "all",
        }
    }
}

/// `valid.time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidTime {
    /// For ever.
    Permanent,
    /// Only then.
    Between {
        /// The first second of it, in Unix seconds.
        from: i64,
        /// The end, in Unix seconds. Half-open, as a profile's windows are.
        to: i64,
    },
}

impl ValidTime {
    /// Whether that one holds whenever this one does.
    pub fn is_within(self, that: Self) -> bool {
        match (self, that) {
            (_, Self::Permanent) => true,
            (Self::Permanent, Self::Between { .. }) => false,
            (Self::Between { from, to }, Self::Between { from: first, to: end }) => {
                self.never() || (first <= from && to <= end)
            }
        }
    }

    /// Whether there is no moment in it.
    pub fn never(self) -> bool {
        matches!(self, Self::Between { from, to } if to <= from)
    }

    /// Whether it is valid at a moment, in Unix seconds.
    pub fn holds(self, at: i64) -> bool {
        match self {
            Self::Permanent => true,
            Self::Between { from, to } => (from..to).contains(&at),
        }
    }
}

/// `valid.passes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Any number.
    Permanent,
    /// So many.
    AtMost(MaxPasses),
}

impl Passes {
    /// Whether that one opens as often as this one.
    pub fn is_within(self, that: Self) -> bool {
        match (self, that) {
            (_, Self::Permanent) => true,
            (Self::Permanent, Self::AtMost(_)) => false,
            (Self::AtMost(this), Self::AtMost(that)) => this.get() <= that.get(),
        }
    }
}

/// `valid.passes.max_passes`: 1 to 2,147,483,647. The newest pages name no bound; a panel counts in some integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPasses(i32);

impl MaxPasses {
    /// `None` outside its range.
    pub fn new(n: i64) -> Option<Self> {
        i32::try_from(n).ok().filter(|n| *n >= 1).map(Self)
    }

    /// The number.
    pub fn get(self) -> i64 {
        i64::from(self.0)
    }
}

/// `additional.passes_left`: −1, which is documented as permanent, to 2,147,483,647.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassesLeft(i32);

impl PassesLeft {
    /// `None` outside its range.
    pub fn new(n: i64) -> Option<Self> {
        i32::try_from(n).ok().filter(|n| *n >= -1).map(Self)
    }

    /// The number.
    pub fn get(self) -> i64 {
        i64::from(self.0)
    }
}

/// The time profiles that bind an identifier: each once, in the order given, at most [`ProfileIds::MOST`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProfileIds(Box<[LinkId]>);

impl ProfileIds {
    /// The most of them. Any one that is open opens, so nobody needs many.
    pub const MOST: usize = 64;

    /// `None` where there are too many. One that stands there twice counts once.
    pub fn new(ids: impl IntoIterator<Item = LinkId>) -> Option<Self> {
        let mut kept: Vec<LinkId> = Vec::new();
        for id in ids {
            if kept.contains(&id) {
                continue;
            }
            if kept.len() == Self::MOST {
                return None;
            }
            kept.push(id);
        }
        Some(Self(kept.into()))
    }

    /// In the order given.
    pub fn as_slice(&self) -> &[LinkId] {
        &self.0
    }
}

impl fmt::Debug for ProfileIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}
