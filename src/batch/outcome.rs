//! What came of a batch on one panel, and of each of its items.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Operations;
use super::item::ItemId;
use crate::identifier::Refusal;

/// What came of one item on one panel. Its number is its byte in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ItemOutcome {
    /// No item of that link_id stood there.
    Created = 1,
    /// Another one stood there.
    Updated = 2,
    /// The same one stood there; panels call this updated.
    Unchanged = 3,
    /// It stood there and is gone.
    Deleted = 4,
    /// It was to be deleted and did not stand there. What was asked for holds.
    NotFound = 5,
    /// Refused: an earlier item of the batch has the same link_id.
    Repeated = 6,
    /// Refused: the rules can never open a door.
    NeverOpens = 7,
    /// Refused: the panel is full.
    Full = 8,
    /// Asked of a device that has not answered yet; as far as is known here it creates the profile.
    ToCreate = 9,
    /// The same, for a profile that should stand there already.
    ToUpdate = 10,
    /// The same, for a profile to delete.
    ToDelete = 11,
    /// A later batch asked for something else, and the device has confirmed that.
    Superseded = 12,
    /// Refused by a device in words of its own; they stand in [`Outcome::said`].
    Refused = 13,
    /// Refused: a time profile that the identifier names would not be on the panel.
    NoProfile = 14,
    /// Refused: another identifier of the panel has the same type and number.
    NumberTaken = 15,
    /// Refused: identifiers of the panel name the profile that is to be deleted.
    Bound = 16,
    /// Refused: the panel knows no faces.
    NoFaces = 17,
    /// Refused: the panel has no room for another face.
    FacesFull = 18,
    /// Refused: the panel's version knows no plates.
    NoPlates = 19,
    /// Refused: the photo is none.
    BadPhoto = 20,
    /// Refused: there is no face on the photo.
    NotRecognized = 21,
    /// Not put back by an undo: something newer has changed it since.
    ChangedSince = 22,
}

impl ItemOutcome {
    /// From its byte in the store.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Created,
            2 => Self::Updated,
            3 => Self::Unchanged,
            4 => Self::Deleted,
            5 => Self::NotFound,
            6 => Self::Repeated,
            7 => Self::NeverOpens,
            8 => Self::Full,
            9 => Self::ToCreate,
            10 => Self::ToUpdate,
            11 => Self::ToDelete,
            12 => Self::Superseded,
            13 => Self::Refused,
            14 => Self::NoProfile,
            15 => Self::NumberTaken,
            16 => Self::Bound,
            17 => Self::NoFaces,
            18 => Self::FacesFull,
            19 => Self::NoPlates,
            20 => Self::BadPhoto,
            21 => Self::NotRecognized,
            22 => Self::ChangedSince,
            _ => return None,
        })
    }

    /// The panel API's `success`.
    pub fn success(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Unchanged | Self::Deleted | Self::Superseded)
    }

    /// Whether a device has not answered yet.
    pub fn pending(self) -> bool {
        matches!(self, Self::ToCreate | Self::ToUpdate | Self::ToDelete)
    }

    /// What a pending item comes to when all goes well; any other is what it is.
    #[must_use]
    pub fn foretold(self) -> Self {
        match self {
            Self::ToCreate => Self::Created,
            Self::ToUpdate => Self::Updated,
            Self::ToDelete => Self::Deleted,
            settled => settled,
        }
    }

    /// Whether the panel said no. What is not there to delete is no refusal.
    pub fn refused(self) -> bool {
        match self {
            Self::Repeated
            | Self::NeverOpens
            | Self::Full
            | Self::Refused
            | Self::NoProfile
            | Self::NumberTaken
            | Self::Bound
            | Self::NoFaces
            | Self::FacesFull
            | Self::NoPlates
            | Self::BadPhoto
            | Self::NotRecognized => true,
            Self::Created
            | Self::Updated
            | Self::Unchanged
            | Self::Deleted
            | Self::NotFound
            | Self::ToCreate
            | Self::ToUpdate
            | Self::ToDelete
            | Self::Superseded
            | Self::ChangedSince => false,
        }
    }

    /// The panel API's `extended_info`, in the panel's own spelling; `pending`, `superseded`, `rejected`,
    /// `bound_by_identifiers`, `changed_since` and `license_plate_not_supported` are ours, for what a panel's own answer cannot be.
    pub fn extended_info(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated | Self::Unchanged => "updated",
            Self::Deleted => "deleted",
            Self::NotFound => "entity_not_found",
            Self::Repeated => "has_dublicates",
            Self::NeverOpens => "invalid_time_rules_settings",
            Self::Full => "number_of_identifiers_exceeded",
            Self::ToCreate | Self::ToUpdate | Self::ToDelete => "pending",
            Self::Superseded => "superseded",
            Self::Refused => "rejected",
            Self::NoProfile => "bound_time_profile_doesnt_exist",
            Self::NumberTaken => "number_taken_by_another_identifier",
            Self::Bound => "bound_by_identifiers",
            Self::NoFaces => Refusal::NoFaces.extended_info(),
            Self::FacesFull => "number_of_face_identifiers_exceeded",
            Self::NoPlates => Refusal::NoPlates.extended_info(),
            Self::BadPhoto => "bad_base_64_image_file",
            Self::NotRecognized => "face_has_not_recognized",
            Self::ChangedSince => "changed_since",
        }
    }
}

impl From<Refusal> for ItemOutcome {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NeverOpens => Self::NeverOpens,
            Refusal::NoFaces => Self::NoFaces,
            Refusal::NoPlates => Self::NoPlates,
            Refusal::Photo(_) => Self::BadPhoto,
        }
    }
}

/// An item's outcome as a panel answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemResult {
    /// Which item.
    pub item: ItemId,
    /// What came of it.
    pub outcome: ItemOutcome,
    /// Another profile of the panel bears the same name. Only panels of `api_version` 2.10.0 and later look.
    pub name_taken: bool,
}

/// What came of a batch on one panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The panel's state in the batch.
    pub state: PanelState,
    /// How often it was tried.
    pub attempts: u16,
    /// Why it failed, with what to do; only for [`PanelState::Failed`].
    pub error: Option<Box<str>>,
    /// One per named item, in item order; empty before the panel has taken its part, and when failed.
    pub items: Vec<ItemOutcome>,
    /// Which items those are, where the batch does not name them: of an undo, which finds others on each panel.
    pub named: Option<Arc<[ItemId]>>,
    /// What pruning deleted beyond the named items.
    pub pruned: Vec<ItemId>,
    /// What pruning left there, and why: [`ItemOutcome::Bound`] or [`ItemOutcome::Refused`].
    pub left: Vec<(ItemId, ItemOutcome)>,
    /// Whether the panel has taken its part. A remote panel's is pending then, but must not be sent to it again:
    /// what later batches asked for would be undone.
    pub taken: bool,
    /// A device's own words for items that it refused, each with the item's index, ascending.
    pub said: Vec<(u32, Box<str>)>,
}

impl Outcome {
    /// Of items that a panel has decided on; pending while a device has not answered for one of them.
    pub fn decided(
        items: Vec<ItemOutcome>,
        pruned: Vec<ItemId>,
        left: Vec<(ItemId, ItemOutcome)>,
        attempts: u16,
    ) -> Self {
        let pending = items.iter().any(|item| item.pending());
        let refused = !left.is_empty() || items.iter().any(|item| item.refused());
        let done = !pruned.is_empty() || items.iter().any(|item| item.success());
        let state = match (refused, done) {
            _ if pending => PanelState::Pending,
            (false, _) => PanelState::Applied,
            (true, true) => PanelState::Partial,
            (true, false) => PanelState::Rejected,
        };
        let taken = true;
        Self { state, attempts, error: None, items, named: None, pruned, left, taken, said: Vec::new() }
    }

    /// The items whose outcomes these are; `operations` are those of the batch.
    pub fn item_ids<'o>(&'o self, operations: &'o Operations) -> impl Iterator<Item = ItemId> + 'o {
        let own = self.named.iter().flat_map(|named| named.iter().copied());
        own.chain(operations.items().filter(|_| self.named.is_none()))
    }

    /// The `extended_info` of the item at this index: the device's own word where it had one.
    pub fn extended_info(&self, item: usize) -> &str {
        match self.said.binary_search_by_key(&(item as u32), |(index, _)| *index) {
            Ok(at) => &self.said[at].1,
            Err(_) => self.items.get(item).map_or("", |item| item.extended_info()),
        }
    }

    /// Given up for a reason.
    pub fn failed(why: impl Into<Box<str>>, attempts: u16) -> Self {
        Self { state: PanelState::Failed, attempts, error: Some(why.into()), ..Self::pending(attempts) }
    }

    /// Not taken by the panel yet, after so many attempts.
    pub fn pending(attempts: u16) -> Self {
        Self {
            state: PanelState::Pending,
            attempts,
            error: None,
            items: Vec::new(),
            named: None,
            pruned: Vec::new(),
            left: Vec::new(),
            taken: false,
            said: Vec::new(),
        }
    }
}

/// The state of a panel in a batch. Its number is its byte in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum PanelState {
    /// Every item succeeded, or was to be deleted and is not there.
    Applied = 1,
    /// The panel refused some items.
    Partial = 2,
    /// The panel refused every item.
    Rejected = 3,
    /// Not delivered yet; it will be.
    Pending = 4,
    /// Given up; the reason is in `error`.
    Failed = 5,
}

impl PanelState {
    /// All of them, in the order of the reports.
    pub const ALL: [Self; 5] = [Self::Applied, Self::Partial, Self::Rejected, Self::Pending, Self::Failed];

    /// From its byte in the store.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == byte)
    }

    /// The word in answers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Partial => "partial",
            Self::Rejected => "rejected",
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }
}
