//! The identifier: who may open a door, and the time profiles that say when.
//!
//! This room is pure, as [`crate::profile`] is, and stands beside it: it uses that room's link_ids, families and reader of
//! JSON, and that room knows nothing of this one. It is responsible for
//!
//! 1. the [`Identifier`], which cannot hold anything the panel API calls wrong ([`rule`] has its parts), and what opens:
//!    numbers, codes, plates and faces in one form each, in which alone they are compared ([`number`], [`photo`]);
//! 2. reading one from JSON ([`parse`]) with every problem's JSON path and text ([`error`]), and writing it as a family's
//!    panels take it ([`wire`]);
//! 3. whether it opens at a moment, when in a range, and why ([`opens`]);
//! 4. saying that to people without telling the number ([`sentence`]), and what is surely unintended ([`lint`]);
//! 5. what files hold: profiles, identifiers, or both ([`mod@file`]), and lists of people ([`people`]);
//! 6. what happens at a door, as devices tell it ([`event`]).
//!
//! Numbers, codes and faces are secrets of people: no `Debug`, no problem and no sentence tells one whole.

use std::num::NonZeroU32;

use crate::profile::LinkId;
use crate::profile::rule::Name;

pub mod error;
pub mod event;
pub mod file;
#[cfg(test)]
mod laws;
pub mod lint;
pub mod number;
pub mod opens;
pub mod parse;
pub mod people;
pub mod photo;
pub mod rule;
pub mod sentence;
pub mod wire;

use number::Credential;
use photo::{FaceDigest, Photo, PhotoFault};
use rule::{Api, Kind, Lock, OwnerKind, Passes, PassesLeft, ProfileIds, ValidTime};

/// An identifier whose every field holds a value that the panel API accepts.
///
/// A well-formed one may still be refused by a panel: [`Identifier::refused_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    /// The apartment's link_id, carried as it is.
    pub apartment: Option<LinkId>,
    /// A panel's own number for the apartment, where somebody attached it there. No call by link_id knows it.
    pub apartment_uid: Option<NonZeroU32>,
    /// What its owner is called.
    pub name: Name,
    /// Who that is.
    pub owner: OwnerKind,
    /// What opens.
    pub credential: Credential,
    /// Which lock it opens.
    pub lock: Lock,
    /// When it is valid at all.
    pub time: ValidTime,
    /// How often it opens.
    pub passes: Passes,
    /// The time profiles any of which must be open; none of them means at any time.
    pub profiles: ProfileIds,
    /// A counter to be restored.
    pub passes_left: Option<PassesLeft>,
}

/// An identifier with its link_id, and the photo where it is a face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedIdentifier {
    /// The identifier's link_id.
    pub link_id: LinkId,
    /// The identifier.
    pub identifier: Identifier,
    /// The photo whose digest a face is known by.
    pub photo: Option<Photo>,
}

/// Why a panel refuses a well-formed item. It answers the call with 200, and this item with `success:false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is never valid.
    #[error("it ends before it begins, so it would never open")]
    NeverOpens,
    /// The panel knows no faces.
    #[error("panels of this family know no faces")]
    NoFaces,
    /// The panel's version knows no plates yet.
    #[error("panels of this version know no plates")]
    NoPlates,
    /// The photo is none.
    #[error("{0}")]
    Photo(#[from] PhotoFault),
}

impl Refusal {
    /// The panel API's word. It has none for a plate, which an old panel takes for a wrong type in the whole call: that
    /// one is this project's, said of what is not sent.
    pub fn extended_info(self) -> &'static str {
        match self {
            Self::NeverOpens => "invalid_time_rules_settings",
            Self::NoFaces => "face_id_not_supported",
            Self::NoPlates => "license_plate_not_supported",
            Self::Photo(_) => "bad_base_64_image_file",
        }
    }

    /// Its place within the identifier: a JSON pointer.
    pub fn path(self) -> &'static str {
        match self {
            Self::NeverOpens => "/valid/time/to",
            Self::NoFaces | Self::NoPlates => "/identifier_type",
            Self::Photo(_) => "/face_image",
        }
    }
}

impl Identifier {
    /// As much of it as a device tells when it is read back: not how many passes are left, which changes, no uid of an
    /// apartment, and no photo.
    #[must_use]
    pub fn as_read(&self) -> Self {
        let credential = match &self.credential {
            Credential::Face(_) => Credential::Face(FaceDigest::NONE),
            other => other.clone(),
        };
        Self { credential, passes_left: None, apartment_uid: None, ..self.clone() }
    }

    /// How often it may open yet, when it has opened so often since it was last changed; nothing for any number of times.
    pub fn left_after(&self, used: u32) -> Option<u32> {
        let Passes::AtMost(most) = self.passes else { return None };
        let restored = self.passes_left.and_then(|left| u32::try_from(left.get()).ok());
        // Both are 31 bits long.
        let first = restored.or_else(|| u32::try_from(most.get()).ok())?;
        Some(first.saturating_sub(used))
    }

    /// Why panels that speak so would refuse it, if they would.
    pub fn refused_by(&self, api: Api) -> Option<Refusal> {
        match self.credential.kind() {
            Kind::Face if !api.knows_faces() => Some(Refusal::NoFaces),
            Kind::Plate if !api.knows(Kind::Plate) => Some(Refusal::NoPlates),
            _ => self.time.never().then_some(Refusal::NeverOpens),
        }
    }
}
