//! By what an item is known.

use std::fmt;

use crate::profile::LinkId;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A time profile.
    Profile = 0,
    /// An identifier.
    Identifier = 1,
}

impl Kind {
    /// All of them, in the order in which a batch names its upserts.
    pub const ALL: [Self; 2] = [Self::Profile, Self::Identifier];

    /// The word in files, answers and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Identifier => "identifier",
        }
    }

    /// From the number that it has in keys, which has seven bits.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// By what an item is known on every panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    /// What it is.
    pub kind: Kind,
    /// Its link_id, which items of other kinds may have too.
    pub link_id: LinkId,
}

impl ItemId {
    /// Of a time profile.
    pub const fn profile(link_id: LinkId) -> Self {
        Self { kind: Kind::Profile, link_id }
    }

    /// Of an identifier.
    pub const fn identifier(link_id: LinkId) -> Self {
        Self { kind: Kind::Identifier, link_id }
    }

    /// The link_id, where it is a time profile's.
    pub fn profile_link(self) -> Option<LinkId> {
        (self.kind == Kind::Profile).then_some(self.link_id)
    }

    /// The link_id, where it is an identifier's.
    pub fn identifier_link(self) -> Option<LinkId> {
        (self.kind == Kind::Identifier).then_some(self.link_id)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Profile => self.link_id.fmt(f),
            Kind::Identifier => write!(f, "identifier {}", self.link_id),
        }
    }
}
