//! What a batch asks for and what comes back.
//!
//! Down travel [`Operations`] (upserts and deletes by link_id), bound to a panel's zone as [`Zoned`]; back
//! comes one [`Outcome`] per panel, made of an [`ItemOutcome`] per item, and [`report`] adds them up.
//! [`selector`] says which panels a batch is for. Like [`crate::profile`], this room does no I/O.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::batch::item::{ItemId, Kind};
use crate::batch::report::Report;
use crate::identifier::number::Credential;
use crate::identifier::photo::Photo;
use crate::identifier::{self, Identifier, LinkedIdentifier};
use crate::profile::parse::LinkedProfile;
use crate::profile::rule::Family;
use crate::profile::{LinkId, TimeProfile, Unknown, opens, parse, wire};
use crate::schedule::compile::{self, ClockPart};

pub mod item;
mod outcome;
pub mod report;
pub mod selector;

pub use outcome::{ItemOutcome, ItemResult, Outcome, PanelState};

/// An item's stored text with the digest by which equal ones are recognised. Two texts of profiles may say the same: what
/// is sent and read back is the text, and what is judged is what it says ([`Body::says_the_same`]).
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    json: Arc<str>,
    digest: BodyDigest,
    /// What an identifier's text tells, so that it is kept sealed.
    credential: Option<Arc<Credential>>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credential {
            Some(credential) => write!(f, "Body(of {credential:?})"),
            None => write!(f, "Body({})", self.json),
        }
    }
}

/// The first half of the SHA-256 of a body.
pub type BodyDigest = [u8; 16];

impl Body {
    /// The stored text of a profile.
    pub fn of(profile: &TimeProfile) -> Self {
        let json = Arc::<str>::from(wire::body(profile));
        let digest = digest_of(&json);
        Self { json, digest, credential: None }
    }

    /// The kept text of a part of a schedule.
    fn of_part(part: &ClockPart) -> Self {
        let json = Arc::<str>::from(part.kept());
        let digest = digest_of(&json);
        Self { json, digest, credential: None }
    }

    /// The stored text of an identifier, which is a secret.
    pub fn of_identifier(identifier: &Identifier) -> Self {
        let json = Arc::<str>::from(identifier::wire::kept(identifier));
        let digest = digest_of(&json);
        Self { json, digest, credential: Some(Arc::new(identifier.credential.clone())) }
    }

    /// A text as it stands in the store already, word for word; `credential` is what an identifier's tells.
    pub fn stored(json: &str, credential: Option<Credential>) -> Self {
        Self { json: json.into(), digest: digest_of(json), credential: credential.map(Arc::new) }
    }

    /// What an identifier's text tells.
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        self.credential.as_ref()
    }

    /// Whether a stored text says the same, in whatever words. Identifiers that do have the same text.
    pub fn says_the_same(&self, stored: &[u8]) -> bool {
        match self.credential {
            Some(_) => self.json.as_bytes() == stored,
            None => parse::say_the_same(self.json.as_bytes(), stored).unwrap_or(false),
        }
    }

    /// The JSON, as [`wire::body`] or [`identifier::wire::kept`] writes it.
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
#[derive(Debug, Clone)]
pub enum Content {
    /// When a door opens.
    Profile(TimeProfile),
    /// When a door opens by the clock on its wall, whatever the zone: a part of a schedule. Bound to a zone it is a profile.
    ByTheClock(ClockPart),
    /// Who opens it, and the photo where that is a face.
    Identifier(Box<Identifier>, Option<Photo>),
}

/// One item to create or update.
#[derive(Debug, Clone)]
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
    /// Of these schedules, every other part that the panel holds is deleted too.
    pub schedules: Vec<LinkId>,
    /// The batch that is taken back instead: what is asked then differs from panel to panel, and is named nowhere here.
    pub undoes: Option<Uuid>,
    places: OnceLock<Places>,
}

/// Where in operations what is: they are asked once for each of many panels.
#[derive(Debug, Default)]
struct Places {
    upserts: HashMap<ItemId, usize>,
    deletes: HashSet<ItemId>,
    credentials: HashMap<Credential, usize>,
    kinds: Vec<Kind>,
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
        Self { upserts, deletes, pruned_kinds, ..Self::default() }
    }

    /// On schedules: these parts of them, and no others.
    pub fn of_parts(parts: Vec<ClockPart>, schedules: Vec<LinkId>) -> Self {
        let upserts = parts.into_iter().map(|part| Upsert {
            item: ItemId::profile(part.link_id),
            body: Body::of_part(&part),
            content: Content::ByTheClock(part),
            repeated: false,
        });
        Self { upserts: upserts.collect(), schedules, ..Self::default() }
    }

    /// On identifiers, from parsed ones in request order.
    pub fn of_identifiers(identifiers: Vec<LinkedIdentifier>, deletes: Vec<LinkId>, prune: bool) -> Self {
        let mut seen = HashSet::with_capacity(identifiers.len());
        let upserts = identifiers
            .into_iter()
            .map(|LinkedIdentifier { link_id, identifier, photo }| Upsert {
                item: ItemId::identifier(link_id),
                body: Body::of_identifier(&identifier),
                content: Content::Identifier(Box::new(identifier), photo),
                repeated: !seen.insert(link_id),
            })
            .collect();
        let deletes = deletes.into_iter().map(ItemId::identifier).collect();
        let pruned_kinds = if prune { vec![Kind::Identifier] } else { Vec::new() };
        Self { upserts, deletes, pruned_kinds, ..Self::default() }
    }

    /// To put back, on each panel, what stood before this batch.
    pub fn undoing(batch: Uuid) -> Self {
        Self { undoes: Some(batch), ..Self::default() }
    }

    /// These and those. Those of the kind that is upserted first come first, and so with deletes.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.upserts.extend(other.upserts);
        self.deletes.extend(other.deletes);
        self.pruned_kinds.extend(other.pruned_kinds);
        self.schedules.extend(other.schedules);
        self.undoes = self.undoes.or(other.undoes);
        self.places = OnceLock::new();
        self
    }

    fn places(&self) -> &Places {
        self.places.get_or_init(|| {
            let mut places = Places::default();
            for (i, upsert) in self.upserts.iter().enumerate().rev() {
                places.upserts.insert(upsert.item, i);
                if let Some(credential) = upsert.body.credential() {
                    places.credentials.insert((**credential).clone(), i);
                }
            }
            places.deletes.extend(&self.deletes);
            places.kinds.extend(self.items().map(|item| item.kind));
            places
        })
    }

    /// Whether no part of a schedule is refused by these outcomes of the items.
    pub fn parts_are_whole(&self, items: &[ItemOutcome]) -> bool {
        self.schedules.is_empty()
            || !self
                .upserts
                .iter()
                .zip(items)
                .any(|(upsert, item)| item.refused() && compile::is_derived(upsert.item.link_id))
    }

    /// The kinds of the named items, in item order.
    pub fn kinds(&self) -> &[Kind] {
        &self.places().kinds
    }

    /// The index of the first upsert of an item.
    pub fn upsert_of(&self, item: ItemId) -> Option<usize> {
        self.places().upserts.get(&item).copied()
    }

    /// The index of the first upsert of an identifier with this type and number.
    pub fn first_with(&self, credential: &Credential) -> Option<usize> {
        self.places().credentials.get(credential).copied()
    }

    /// Whether an item is deleted, by name or since it is not named.
    pub fn deletes_item(&self, item: ItemId) -> bool {
        let places = self.places();
        places.deletes.contains(&item)
            || (self.pruned_kinds.contains(&item.kind) && !places.upserts.contains_key(&item))
    }

    /// Whether anything in it is about this kind.
    pub fn concerns(&self, kind: Kind) -> bool {
        self.items().any(|item| item.kind == kind) || self.pruned_kinds.contains(&kind)
    }

    /// The identifiers to create or update, by the index of their upserts.
    pub fn identifiers(&self) -> impl Iterator<Item = (usize, LinkId, &Identifier)> {
        self.upserts.iter().enumerate().filter_map(|(i, upsert)| match &upsert.content {
            Content::Identifier(identifier, _) => Some((i, upsert.item.link_id, &**identifier)),
            Content::Profile(_) | Content::ByTheClock(_) => None,
        })
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
                let Content::Profile(profile) = &upsert.content else { return None };
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

    /// Whether the batch names no item, prunes nothing and takes nothing back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.prune() && self.schedules.is_empty() && self.undoes.is_none()
    }

    /// The same for panels of a zone, with profiles for what is said by the clock and can be said there. None where nothing is.
    fn in_zone(&self, zone: &TimeZone) -> Option<Self> {
        let by_the_clock = |upsert: &Upsert| matches!(upsert.content, Content::ByTheClock(_));
        if !self.upserts.iter().any(by_the_clock) {
            return None;
        }
        let upserts = self.upserts.iter().map(|upsert| {
            let mut upsert = upsert.clone();
            if let Content::ByTheClock(part) = &upsert.content
                && let Some(profile) = part.profile_in(zone)
            {
                upsert.body = Body::of(&profile);
                upsert.content = Content::Profile(profile);
            }
            upsert
        });
        Some(Self {
            upserts: upserts.collect(),
            deletes: self.deletes.clone(),
            pruned_kinds: self.pruned_kinds.clone(),
            schedules: self.schedules.clone(),
            undoes: self.undoes,
            places: OnceLock::new(),
        })
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
    zone: TimeZone,
}

impl Zoned {
    /// Asks each profile once whether it can open a door in this zone.
    pub fn new(operations: Arc<Operations>, zone: &TimeZone) -> Self {
        let operations = operations.in_zone(zone).map_or(operations, Arc::new);
        let never_opens = |upsert: &Upsert| match &upsert.content {
            Content::Profile(profile) => opens::check(profile, zone).is_err(),
            Content::ByTheClock(_) => true,
            Content::Identifier(identifier, _) => identifier.time.never(),
        };
        let never_opens = operations.upserts.iter().map(never_opens).collect();
        Self { operations, never_opens, zone: zone.clone() }
    }

    /// Whether no profile can say the upsert at this index here.
    pub fn is_unsaid(&self, upsert: usize) -> bool {
        let upsert = self.operations.upserts.get(upsert);
        upsert.is_some_and(|upsert| matches!(upsert.content, Content::ByTheClock(_)))
    }

    /// The zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
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
    pub id: Uuid,
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
    /// The batch that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Uuid>,
}
