//! By what an item is known.

use std::fmt;

use crate::profile::LinkId;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A time profile.
    Profile = 0,
}

impl Kind {
    /// All of them, in the order in which a batch names its upserts.
    pub const ALL: [Self; 1] = [Self::Profile];

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
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A second kind will want a word before its link_id.
        let Self { kind: Kind::Profile, link_id } = self;
        link_id.fmt(f)
    }
}
