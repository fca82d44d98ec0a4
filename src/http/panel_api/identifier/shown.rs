//! Identifiers as a panel shows them: whole, but for the photo of a face, which is never read back.

use std::collections::HashMap;

use actix_web::web;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Serialize;
use utoipa::ToSchema;

use crate::batch::item::{ItemId, Kind as ItemKind};
use crate::coordinator::register::Entry;
use crate::http::Shared;
use crate::http::fleet_api::types::IdentifierOwnerBody;
use crate::http::panel_api::error::PanelError;
use crate::http::panel_api::filter::Fields;
use crate::http::panel_api::list::{InList, ListOption};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::rule::{Api, Passes, ValidTime};
use crate::panel::dialect::Dialect;
use crate::profile::LinkId;
use crate::store::row::{Row, RowName};
use crate::store::{StoreError, identifier_in};

/// An identifier of a panel.
pub struct Shown {
    /// The panel's number for it.
    pub uid: u32,
    /// The link_id, where it has one.
    pub link_id: Option<LinkId>,
    /// What it says.
    pub identifier: Identifier,
    /// The uids of the profiles that it names, in their order.
    pub profiles: Vec<u32>,
    /// How often it has opened since it was last changed; counted only where it may not open any number of times.
    pub passes_used: u32,
}

/// The panel's identifiers, read on a thread that may take its time.
pub async fn identifiers(shared: &Shared, panel: &Entry) -> Result<Vec<Shown>, PanelError> {
    let (store, number) = (shared.fleet.store.clone(), panel.number);
    let read = web::block(move || -> Result<_, StoreError> {
        let snapshot = store.read()?;
        let rows = snapshot.rows(number)?;
        let used = snapshot.all_passes_used(number, &rows)?;
        let uids = uids_of_profiles(&rows);
        let shown = snapshot.identifiers(number)?.into_iter().map(|item| {
            let passes_used = used.get(&item.name).copied().unwrap_or(0);
            Shown::read((item.name, item.row), &item.json, &uids, passes_used)
        });
        shown.collect()
    });
    Ok(read.await.map_err(|_| PanelError::Busy)??)
}

/// The panel's identifier with this uid; no other one is opened.
pub async fn identifier(shared: &Shared, panel: &Entry, uid: u32) -> Result<Shown, PanelError> {
    let (store, number) = (shared.fleet.store.clone(), panel.number);
    let read = web::block(move || -> Result<_, StoreError> {
        let snapshot = store.read()?;
        let rows = snapshot.rows(number)?;
        let mut identifiers = rows.iter().filter(|(name, _)| name.kind() == ItemKind::Identifier);
        let Some((name, row)) = identifiers.find(|(_, row)| row.uid == uid) else { return Ok(None) };
        let (json, passes_used) = (snapshot.body(row.body)?, snapshot.passes_used(number, *row)?);
        Shown::read((*name, *row), &json, &uids_of_profiles(&rows), passes_used).map(Some)
    });
    read.await.map_err(|_| PanelError::Busy)??.ok_or(PanelError::IdentifierUid)
}

fn uids_of_profiles(rows: &[(RowName, Row)]) -> HashMap<RowName, u32> {
    let profiles = rows.iter().filter(|(name, _)| name.kind() == ItemKind::Profile);
    profiles.map(|(name, row)| (*name, row.uid)).collect()
}

impl Shown {
    fn read(
        (name, row): (RowName, Row),
        json: &str,
        uids: &HashMap<RowName, u32>,
        passes_used: u32,
    ) -> Result<Self, StoreError> {
        let identifier = identifier_in(json.as_bytes())?;
        let uid = |link: &LinkId| uids.get(&RowName::Link(ItemId::profile(*link))).copied();
        let profiles = identifier.profiles.as_slice().iter().filter_map(uid).collect();
        Ok(Self { uid: row.uid, link_id: name.link_id(), identifier, profiles, passes_used })
    }
}

/// What is said of an identifier that may open any number of times.
const ANY_NUMBER: i64 = -1;

/// How often an identifier may open yet.
fn passes_left(Shown { identifier, passes_used, .. }: &Shown) -> i64 {
    identifier.left_after(*passes_used).map_or(ANY_NUMBER, i64::from)
}

/// By what an identifier is sorted and filtered.
pub fn fields(identifier: &Identifier) -> Fields {
    Fields {
        name: identifier.name.as_str().to_owned(),
        date_from: 0,
        date_to: 0,
        number: Some(identifier.credential.clone()),
    }
}

/// The number as a panel of this family shows it. That of a face is one that the panel made itself of the photo, as Base64.
pub(super) fn number(credential: &Credential, dialect: &Dialect) -> String {
    match credential {
        Credential::Face(digest) => BASE64_STANDARD.encode(digest.as_bytes()),
        other => other.number(Api::of(dialect.family, None).unwrap_or(Api::ANY)),
    }
}

/// A page of identifiers in the form of the link calls.
#[derive(Serialize, ToSchema)]
pub struct LinkedIdentifierList {
    /// The page's identifiers.
    list_items: Vec<LinkedIdentifierItem>,
    /// Which page, and of what.
    list_option: ListOption,
}

/// An identifier as the link calls read it.
#[derive(Serialize, ToSchema)]
pub struct LinkedIdentifierItem {
    /// Absent of one that was not made by a link call; of the oldest panels null.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    link_id: Option<Option<LinkId>>,
    /// The apartment's link_id.
    #[schema(value_type = Option<uuid::Uuid>)]
    apartment_link_id: Option<LinkId>,
    #[serde(flatten)]
    said: Said,
    time_profiles: LinkedProfiles,
    /// Absent where several panels are asked as one and it may not open any number of times: each counts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    additional: Option<Additional>,
}

impl LinkedIdentifierItem {
    fn of(
        link_id: Option<LinkId>,
        identifier: &Identifier,
        passes_left: Option<i64>,
        dialect: &Dialect,
    ) -> Self {
        Self {
            link_id: if dialect.null_link_ids { Some(link_id) } else { link_id.map(Some) },
            apartment_link_id: identifier.apartment,
            said: Said::of(identifier, dialect),
            time_profiles: LinkedProfiles { link_ids: identifier.profiles.as_slice().to_vec() },
            additional: passes_left.map(|passes_left| Additional { passes_left }),
        }
    }

    /// As several panels hold it that are asked as one. No code is told.
    pub fn of_many(link_id: Option<LinkId>, identifier: &Identifier, dialect: &Dialect) -> Self {
        let passes_left = identifier.left_after(0).is_none().then_some(ANY_NUMBER);
        let mut item = Self::of(link_id, identifier, passes_left, dialect);
        if matches!(identifier.credential, Credential::Code(_)) {
            "…".clone_into(&mut item.said.identifier_number);
        }
        item
    }

    /// It, JSON.
    pub fn json(&self) -> String {
        // Only a map with keys that are not texts, or a failing writer, can fail; neither is here.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A page of identifiers in the form of the calls by uid.
#[derive(Serialize, ToSchema)]
pub struct IdentifierList {
    /// The page's identifiers.
    list_items: Vec<IdentifierItem>,
    /// Which page, and of what.
    list_option: ListOption,
}

/// An identifier as the calls by uid read it.
#[derive(Serialize, ToSchema)]
pub struct IdentifierItem {
    /// The panel's number for it; absent in the answer for a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier_uid: Option<u32>,
    /// Absent of one that was not made by a link call; of the oldest panels null.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    link_id: Option<Option<LinkId>>,
    #[serde(flatten)]
    said: Said,
    time_profiles: BoundProfiles,
    apartment: Apartment,
    additional: Additional,
}

/// By which time profiles an identifier is bound, as the calls by uid say it.
#[derive(Serialize, ToSchema)]
struct BoundProfiles {
    /// How many.
    count: usize,
    /// Their uids.
    uid_items: Vec<u32>,
    /// Their link_ids.
    #[schema(value_type = Vec<uuid::Uuid>)]
    link_ids: Vec<LinkId>,
}

/// The apartment of an identifier.
#[derive(Serialize, ToSchema)]
struct Apartment {
    /// −1 for none.
    uid: i64,
    /// The apartment's link_id, carried as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    link_id: Option<LinkId>,
}

/// What an identifier says in every form.
#[derive(Serialize, ToSchema)]
struct Said {
    identifier_owner: IdentifierOwnerBody,
    /// `card`, `ukey`, `inputCode`, `qr`, `license_plate` or `face_id`.
    #[schema(example = "card")]
    identifier_type: &'static str,
    /// The whole number. Of a face, one that the panel made of it.
    #[schema(example = "0A-1B-2C-3D")]
    identifier_number: String,
    /// `first`, `second` or `all`.
    #[schema(example = "all")]
    lock: &'static str,
    /// Absent in the calls by uid of camdroid panels before 1.0, which have its two parts beside the other fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<Valid>,
    /// Of these panels alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
    /// Of these panels alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    passes: Option<ShownPasses>,
}

/// Until when an identifier is valid, and how often it opens.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownValid)]
struct Valid {
    time: Time,
    passes: ShownPasses,
}

/// When an identifier is valid at all.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownTime)]
struct Time {
    is_permanent: bool,
    /// Unix seconds; 0 when permanent.
    from: i64,
    /// Unix seconds; 0 when permanent.
    to: i64,
}

/// How often an identifier opens.
#[derive(Serialize, ToSchema)]
struct ShownPasses {
    is_permanent: bool,
    /// 0 when permanent.
    max_passes: i64,
}

/// By which time profiles an identifier is bound.
#[derive(Serialize, ToSchema)]
struct LinkedProfiles {
    /// Their link_ids; an empty list is at any time.
    #[schema(value_type = Vec<uuid::Uuid>)]
    link_ids: Vec<LinkId>,
}

/// What else an identifier has.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownAdditional)]
struct Additional {
    /// How often it may open yet; -1 for any number of times.
    passes_left: i64,
}

impl Said {
    fn of(identifier: &Identifier, dialect: &Dialect) -> Self {
        let time = match identifier.time {
            ValidTime::Permanent => Time { is_permanent: true, from: 0, to: 0 },
            ValidTime::Between { from, to } => Time { is_permanent: false, from, to },
        };
        let passes = match identifier.passes {
            Passes::Permanent => ShownPasses { is_permanent: true, max_passes: 0 },
            Passes::AtMost(most) => ShownPasses { is_permanent: false, max_passes: most.get() },
        };
        Self {
            identifier_owner: IdentifierOwnerBody {
                name: identifier.name.as_str().to_owned(),
                r#type: identifier.owner.as_str().to_owned(),
            },
            identifier_type: identifier.credential.kind().as_str(),
            identifier_number: number(&identifier.credential, dialect),
            lock: identifier.lock.as_str(),
            valid: Some(Valid { time, passes }),
            time: None,
            passes: None,
        }
    }

    /// As the calls by uid say it.
    fn by_uid(identifier: &Identifier, dialect: &Dialect) -> Self {
        let mut said = Self::of(identifier, dialect);
        if dialect.older_identifiers
            && let Some(Valid { time, passes }) = said.valid.take()
        {
            (said.time, said.passes) = (Some(time), Some(passes));
        }
        said
    }
}

/// An identifier in the form of the link calls.
pub struct InLinkForm(pub Shown);

impl InList for InLinkForm {
    fn fields(&self) -> Result<Fields, StoreError> {
        Ok(fields(&self.0.identifier))
    }

    fn key(&self) -> (Option<u32>, Option<LinkId>) {
        (Some(self.0.uid), self.0.link_id)
    }

    fn json(&self, dialect: &Dialect) -> String {
        let shown @ Shown { link_id, identifier, .. } = &self.0;
        LinkedIdentifierItem::of(*link_id, identifier, Some(passes_left(shown)), dialect).json()
    }
}

/// An identifier in the form of the calls by uid.
pub struct InUidForm {
    /// It.
    pub shown: Shown,
    /// Whether it stands in a list.
    pub in_list: bool,
}

impl InList for InUidForm {
    fn fields(&self) -> Result<Fields, StoreError> {
        Ok(fields(&self.shown.identifier))
    }

    fn key(&self) -> (Option<u32>, Option<LinkId>) {
        (Some(self.shown.uid), self.shown.link_id)
    }

    fn json(&self, dialect: &Dialect) -> String {
        let shown @ Shown { uid, link_id, identifier, profiles, .. } = &self.shown;
        let item = IdentifierItem {
            identifier_uid: self.in_list.then_some(*uid),
            link_id: if dialect.null_link_ids { Some(*link_id) } else { link_id.map(Some) },
            said: Said::by_uid(identifier, dialect),
            time_profiles: BoundProfiles {
                count: profiles.len(),
                uid_items: profiles.clone(),
                link_ids: identifier.profiles.as_slice().to_vec(),
            },
            apartment: Apartment {
                uid: identifier.apartment_uid.map_or(-1, |uid| i64::from(uid.get())),
                link_id: identifier.apartment,
            },
            additional: Additional { passes_left: passes_left(shown) },
        };
        // Only a map with keys that are not texts, or a failing writer, can fail; neither is here.
        serde_json::to_string(&item).unwrap_or_default()
    }
}
