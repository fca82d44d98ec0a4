//! What a batch asks for and what comes back.
//!
//! Down travel [`Operations`] (upserts and deletes by link_id), bound to a panel's zone as [`Zoned`]; back
//! comes one [`Outcome`] per panel, made of an [`ItemOutcome`] per item, and [`report`] adds them up.
//! [`selector`] says which panels a batch is for. Like [`crate::profile`], this room does no I/O.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch::item::{ItemId, Kind};
use crate::batch::report::Report;
use crate::profile::parse::LinkedProfile;
use crate::profile::rule::Family;
use crate::profile::{LinkId, TimeProfile, Unknown, opens, parse, wire};

pub mod item;
pub mod report;
pub mod selector;

/// A profile's stored text with the digest by which equal ones are recognised. Two texts may say the same: what is sent
/// and read back is the text, and what is judged is what it says ([`Body::says_the_same`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    json: Arc<str>,
    digest: BodyDigest,
}

/// The first half of the SHA-256 of a body.
pub type BodyDigest = [u8; 16];

impl Body {
    /// The stored text of a profile.
    pub fn of(profile: &TimeProfile) -> Self {
        let json = Arc::<str>::from(wire::body(profile));
        let digest = digest_of(&json);
        Self { json, digest }
    }

    /// Whether a stored text says the same, in whatever words.
    pub fn says_the_same(&self, stored: &[u8]) -> bool {
        parse::say_the_same(self.json.as_bytes(), stored).unwrap_or(false)
    }

    /// The JSON, as [`wire::body`] writes it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The same, to keep.
    pub fn shared_json(&self) -> Arc<str> {
        Arc::clone(&self.json)
    }

    /// The digest.
    pub fn digest(&self) -> BodyDigest {
        self.digest
    }
}

/// The digest of what a profile says, whatever its words.
pub fn digest_of_meaning(profile: &TimeProfile) -> BodyDigest {
    digest_of(&wire::meaning(profile))
}

fn digest_of(json: &str) -> BodyDigest {
    let mut digest = BodyDigest::default();
    digest.copy_from_slice(&Sha256::digest(json.as_bytes())[..16]);
    digest
}

/// What an item says, by its kind.
#[derive(Debug)]
pub enum Content {
    /// When a door opens.
    Profile(TimeProfile),
}

/// One item to create or update.
#[derive(Debug)]
pub struct Upsert {
    /// Which item.
    pub item: ItemId,
    /// What it says; of the item's kind.
    pub content: Content,
    /// How it is stored.
    pub body: Body,
    /// An earlier item of the same batch is the same item; that one wins.
    pub repeated: bool,
}

/// What a batch asks of each panel, in order: the upserts, then the deletes, then the pruning.
#[derive(Debug, Default)]
pub struct Operations {
    /// Items to create or update.
    pub upserts: Vec<Upsert>,
    /// Items to delete.
    pub deletes: Vec<ItemId>,
    /// Of these kinds, every other item of the panel is deleted too.
    pub pruned_kinds: Vec<Kind>,
}

impl Operations {
    /// On time profiles, from parsed ones in request order.
    pub fn of_profiles(profiles: Vec<LinkedProfile>, deletes: Vec<LinkId>, prune: bool) -> Self {
        let mut seen = HashSet::with_capacity(profiles.len());
        let upserts = profiles
            .into_iter()
            .map(|LinkedProfile { link_id, profile }| Upsert {
                item: ItemId::profile(link_id),
                body: Body::of(&profile),
                content: Content::Profile(profile),
                repeated: !seen.insert(link_id),
            })
            .collect();
        let deletes = deletes.into_iter().map(ItemId::profile).collect();
        let pruned_kinds = if prune { vec![Kind::Profile] } else { Vec::new() };
        Self { upserts, deletes, pruned_kinds }
    }

    /// Whether any kind is pruned.
    pub fn prune(&self) -> bool {
        !self.pruned_kinds.is_empty()
    }

    /// The upserts of which some of these families cannot say something, by their index.
    pub fn unknown_to(&self, families: impl Iterator<Item = Family>) -> Vec<(usize, Unknown)> {
        let unknown_to = |families: &[Family]| -> Vec<_> {
            let upserts = self.upserts.iter().enumerate();
            let unknown = upserts.filter_map(|(i, upsert)| {
                let Content::Profile(profile) = &upsert.content;
                Some((i, families.iter().find_map(|family| profile.unknown_to(*family))?))
            });
            unknown.collect()
        };
        if unknown_to(&Family::ALL).is_empty() {
            return Vec::new(); // as nearly always, and then a large fleet need not be gone through
        }
        let mut kinds = Vec::new();
        for family in families {
            if !kinds.contains(&family) {
                kinds.push(family);
            }
        }
        unknown_to(&kinds)
    }

    /// How many items the batch names (what pruning finds comes on top).
    pub fn len(&self) -> usize {
        self.upserts.len() + self.deletes.len()
    }

    /// Whether the batch names no item and prunes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.prune()
    }

    /// The named items, in item order.
    pub fn items(&self) -> impl Iterator<Item = ItemId> + '_ {
        self.upserts.iter().map(|upsert| upsert.item).chain(self.deletes.iter().copied())
    }
}

/// Operations with the verdict on each profile in one time zone, shared by all panels of that zone.
#[derive(Debug)]
pub struct Zoned {
    operations: Arc<Operations>,
    never_opens: Box<[bool]>,
}

impl Zoned {
    /// Asks each profile once whether it can open a door in this zone.
    pub fn new(operations: Arc<Operations>, zone: &TimeZone) -> Self {
        let never_opens = |upsert: &Upsert| match &upsert.content {
            Content::Profile(profile) => opens::check(profile, zone).is_err(),
        };
        let never_opens = operations.upserts.iter().map(never_opens).collect();
        Self { operations, never_opens }
    }

    /// What is asked for.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Whether the upsert at this index can never open a door here.
    pub fn never_opens(&self, upsert: usize) -> bool {
        self.never_opens.get(upsert).copied().unwrap_or(false)
    }
}

/// What came of one item on one panel. Its number is its byte in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ItemOutcome {
    /// No profile of that link_id stood there.
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
        matches!(self, Self::Repeated | Self::NeverOpens | Self::Full | Self::Refused)
    }

    /// The panel API's `extended_info`, in the panel's own spelling; `pending`, `superseded` and `rejected` are
    /// ours, for what a panel's own answer cannot be.
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
    /// What pruning deleted beyond the named items.
    pub pruned: Vec<ItemId>,
    /// Whether the panel has taken its part. A remote panel's is pending then, but must not be sent to it again:
    /// what later batches asked for would be undone.
    pub taken: bool,
    /// A device's own words for items that it refused, each with the item's index, ascending.
    pub said: Vec<(u32, Box<str>)>,
}

impl Outcome {
    /// Of items that a panel has decided on; pending while a device has not answered for one of them.
    pub fn decided(items: Vec<ItemOutcome>, pruned: Vec<ItemId>, attempts: u16) -> Self {
        let pending = items.iter().any(|item| item.pending());
        let refused = items.iter().any(|item| item.refused());
        let done = !pruned.is_empty() || items.iter().any(|item| item.success());
        let state = match (refused, done) {
            _ if pending => PanelState::Pending,
            (false, _) => PanelState::Applied,
            (true, true) => PanelState::Partial,
            (true, false) => PanelState::Rejected,
        };
        Self { state, attempts, error: None, items, pruned, taken: true, said: Vec::new() }
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
            pruned: Vec::new(),
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

/// The state of a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// Some panel has no outcome yet.
    Running,
    /// Every panel has an outcome.
    Done,
    /// Cancelled; every panel has an outcome.
    Cancelled,
}

/// A batch as it is kept: who asked for it, and how far it is. Its operations, targets and outcomes are kept
/// beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its public id.
    pub id: uuid::Uuid,
    /// When it was accepted, in Unix milliseconds.
    pub created_at_ms: i64,
    /// The user or token that asked for it.
    pub created_by: String,
    /// Which panels it is for, as it was asked: `all`, a selector, or a list of ids.
    pub target: String,
    /// Running until every panel has an outcome.
    pub state: BatchState,
    /// Whether it was cancelled; it is then on its way to [`BatchState::Cancelled`].
    #[serde(default)]
    pub cancelled: bool,
    /// The sums. While the batch runs they are those of its acceptance; the coordinator holds the current ones.
    pub report: Report,
    /// From acceptance to the last outcome, once there.
    pub duration_ms: Option<u64>,
}
