//! The changing calls by uid, each decided and written in one transaction.
//!
//! What holds between a panel's items holds here too: an identifier names profiles that are there, one number belongs to one
//! identifier, and a profile that identifiers name does not go. An identifier names profiles by their link_ids, as it is kept
//! everywhere; so a profile without one cannot be bound, and its uid counts as wrong there.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Panel;
use super::decide::{self, Limits};
use crate::batch::Body;
use crate::batch::item::{ItemId, Kind};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::parse::UidIdentifier;
use crate::identifier::photo::Photo;
use crate::identifier::rule::Kind::Face;
use crate::identifier::rule::ProfileIds;
use crate::profile::LinkId;
use crate::store::row::{Row, RowName};
use crate::store::tables::{AuditRecord, PanelRows};
use crate::store::writer::PanelWork;
use crate::store::{PanelNo, StoreError, identifier_in};

/// Change items by uid.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ApplyByUid {
    /// What to do.
    pub operation: UidOperation,
    /// For the audit.
    pub audit: AuditRecord,
    /// Whom to tell after the commit.
    pub reply: oneshot::Sender<Result<Result<UidAnswer, UidRefusal>, StoreError>>,
}

/// What an item says that is made or replaced by uid.
#[derive(Debug)]
pub enum UidItem {
    /// A profile, as it is kept.
    Profile(Body),
    /// An identifier.
    Identifier(Box<UidIdentifier>),
}

impl UidItem {
    fn kind(&self) -> Kind {
        match self {
            Self::Profile(_) => Kind::Profile,
            Self::Identifier(_) => Kind::Identifier,
        }
    }
}

/// The changing calls by uid.
#[derive(Debug)]
pub enum UidOperation {
    /// A new item without link_id.
    Create(UidItem),
    /// Another text for the item of this uid; a link_id stays.
    Replace(u32, UidItem),
    /// Away with all of these, or none.
    Delete(Kind, Vec<u32>),
    /// The identifier of the first uid names the profile of the second one, or does not any more.
    Bind(u32, u32, bool),
    /// The face of this uid is known by this photo from now on.
    ReplaceFace(u32, Photo),
    /// The identifier belongs to the apartment of this uid.
    Attach(u32, NonZeroU32),
    /// The identifier belongs to no apartment.
    LeaveApartment(u32),
    /// The identifier's passes are counted from the start.
    ResetPasses(u32),
    /// No identifier names these profiles any more; then some open always. No call asks for it: it is what a simulated panel
    /// does which only detaches a profile that goes.
    Detach(Vec<ProfileName>),
    /// Away with everything. No call asks for it: it is what becomes of a simulated panel that is reset.
    Clear,
}

/// By what a profile is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileName {
    /// Its link_id.
    Link(LinkId),
    /// Its uid.
    Uid(u32),
}

/// What a call by uid came to.
#[derive(Debug, PartialEq, Eq)]
pub enum UidAnswer {
    /// The uid of the new item.
    Created(u32),
    /// Done otherwise.
    Done,
}

/// Why a call by uid changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum UidRefusal {
    /// A uid that no item of this kind has.
    NoSuchUid(Kind),
    /// The panel's capacity is used up.
    Full,
    /// It has no room for another face.
    FacesFull,
    /// Another identifier has this type and number.
    NumberTaken,
    /// A profile that the identifier names is not on the panel.
    NoProfile,
    /// The identifier belongs to another apartment.
    Attached,
    /// The identifier belongs to no apartment.
    Unattached,
    /// The identifier names as many profiles as one may.
    TooManyProfiles,
    /// Identifiers name the profile that is to be deleted.
    Bound,
}

type Answered<T> = Result<Result<T, UidRefusal>, StoreError>;

/// Goes on with what was not refused.
macro_rules! allowed {
    ($answered:expr) => {
        match $answered {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl Handler<ApplyByUid> for Panel {
    type Result = ();

    fn handle(&mut self, ApplyByUid { operation, audit, reply }: ApplyByUid, _: &mut Self::Context) {
        self.store.submit(Box::new(ByUid {
            panel: self.number,
            operation,
            limits: self.settings.limits(),
            audit,
            answer: Ok(UidAnswer::Done),
            reply,
        }));
    }
}

struct ByUid {
    panel: PanelNo,
    operation: UidOperation,
    limits: Limits,
    audit: AuditRecord,
    answer: Result<UidAnswer, UidRefusal>,
    reply: oneshot::Sender<Result<Result<UidAnswer, UidRefusal>, StoreError>>,
}

impl PanelWork for ByUid {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        1
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        self.answer = change(rows, &self.operation, self.limits)?;
        if self.answer.is_ok() {
            rows.keep_call(&self.audit.actor)?;
            rows.tables().audit(&self.audit)?;
        }
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { answer, reply, .. } = *self;
        let _ = reply.send(result.map(|()| answer)); // the caller may have left
    }
}

fn change(rows: &mut PanelRows<'_, '_>, operation: &UidOperation, limits: Limits) -> Answered<UidAnswer> {
    match operation {
        UidOperation::Create(item) => {
            let kind = item.kind();
            if let Some(most) = limits.capacity[kind as usize]
                && rows.count(kind)? >= most
            {
                return Ok(Err(UidRefusal::Full));
            }
            let body = allowed!(body_of(rows, item, None, limits)?);
            Ok(Ok(UidAnswer::Created(rows.put_by_uid(kind, &body)?)))
        }
        UidOperation::Replace(uid, item) => {
            let found = allowed!(find_one(rows, item.kind(), *uid)?);
            let body = allowed!(body_of(rows, item, Some(found), limits)?);
            put(rows, found, &body)
        }
        UidOperation::Delete(kind, uids) => delete(rows, *kind, uids),
        UidOperation::Bind(uid, profile, bound) => {
            let found = allowed!(find_one(rows, Kind::Identifier, *uid)?);
            let link = match allowed!(find_one(rows, Kind::Profile, *profile)?) {
                (RowName::Link(ItemId { link_id, .. }), _) => link_id,
                (RowName::Uid(..), _) => return Ok(Err(UidRefusal::NoSuchUid(Kind::Profile))),
            };
            let mut identifier = read(rows, &found.1)?;
            let others = identifier.profiles.as_slice().iter().copied().filter(|other| *other != link);
            let named: Vec<_> = others.chain(bound.then_some(link)).collect();
            let Some(profiles) = ProfileIds::new(named) else {
                return Ok(Err(UidRefusal::TooManyProfiles));
            };
            if identifier.profiles.as_slice().contains(&link) == *bound {
                return Ok(Ok(UidAnswer::Done)); // and the order stays
            }
            identifier.profiles = profiles;
            put(rows, found, &Body::of_identifier(&identifier))
        }
        UidOperation::ReplaceFace(uid, photo) => replace_face(rows, *uid, photo),
        UidOperation::Attach(uid, apartment) => {
            let found = allowed!(find_one(rows, Kind::Identifier, *uid)?);
            let identifier = read(rows, &found.1)?;
            if identifier.apartment_uid.is_some_and(|other| other != *apartment) {
                return Ok(Err(UidRefusal::Attached));
            }
            let attached = Identifier { apartment_uid: Some(*apartment), ..identifier };
            put(rows, found, &Body::of_identifier(&attached))
        }
        UidOperation::LeaveApartment(uid) => {
            let found = allowed!(find_one(rows, Kind::Identifier, *uid)?);
            let identifier = read(rows, &found.1)?;
            if identifier.apartment_uid.is_none() && identifier.apartment.is_none() {
                return Ok(Err(UidRefusal::Unattached));
            }
            let left = Identifier { apartment: None, apartment_uid: None, ..identifier };
            put(rows, found, &Body::of_identifier(&left))
        }
        UidOperation::ResetPasses(uid) => {
            let found = allowed!(find_one(rows, Kind::Identifier, *uid)?);
            let panel = rows.number();
            rows.tables().reset_passes(panel, *uid)?;
            let mut identifier = read(rows, &found.1)?;
            identifier.passes_left = None;
            put(rows, found, &Body::of_identifier(&identifier))
        }
        UidOperation::Detach(profiles) => detach(rows, profiles),
        UidOperation::Clear => {
            for (name, row) in rows.all()? {
                rows.remove(name, row)?;
            }
            Ok(Ok(UidAnswer::Done))
        }
    }
}

fn put(rows: &mut PanelRows<'_, '_>, (name, row): (RowName, Row), body: &Body) -> Answered<UidAnswer> {
    if !rows.holds(&row, body)? {
        rows.put_in_place(name, Some(row), body)?;
    }
    Ok(Ok(UidAnswer::Done))
}

fn read(rows: &PanelRows<'_, '_>, row: &Row) -> Result<Identifier, StoreError> {
    identifier_in(&rows.json(row)?)
}

/// What is to be kept of an item that takes the place of another one, or of none.
fn body_of(
    rows: &mut PanelRows<'_, '_>,
    item: &UidItem,
    standing: Option<(RowName, Row)>,
    limits: Limits,
) -> Answered<Body> {
    let given = match item {
        UidItem::Profile(body) => return Ok(Ok(body.clone())),
        UidItem::Identifier(given) => given,
    };
    let before = standing.map(|(_, row)| read(rows, &row)).transpose()?;
    let mut identifier = given.identifier.clone();
    if let (false, Some(before)) = (given.names_profiles, &before) {
        identifier.profiles = before.profiles.clone();
    }
    if let Some(before) = &before
        && identifier.apartment.is_none_or(|apartment| Some(apartment) == before.apartment)
    {
        (identifier.apartment, identifier.apartment_uid) = (before.apartment, before.apartment_uid);
    }
    for profile in identifier.profiles.as_slice() {
        if rows.get(RowName::Link(ItemId::profile(*profile)))?.is_none() {
            return Ok(Err(UidRefusal::NoProfile));
        }
    }
    let holder = rows.holder(&identifier.credential)?;
    if holder.is_some_and(|(name, _)| standing.is_none_or(|(own, _)| own != name)) {
        return Ok(Err(UidRefusal::NumberTaken));
    }
    let is_face = |identifier: &Identifier| identifier.credential.kind() == Face;
    if let Some(most) = limits.faces
        && is_face(&identifier)
        && !before.as_ref().is_some_and(is_face)
        && decide::faces(rows)? >= most
    {
        return Ok(Err(UidRefusal::FacesFull));
    }
    if let Some(photo) = &given.photo {
        rows.tables().keep_photo(photo);
    }
    Ok(Ok(Body::of_identifier(&identifier)))
}

fn replace_face(rows: &mut PanelRows<'_, '_>, uid: u32, photo: &Photo) -> Answered<UidAnswer> {
    let found = allowed!(find_one(rows, Kind::Identifier, uid)?);
    let mut identifier = read(rows, &found.1)?;
    if identifier.credential.kind() != Face {
        return Ok(Err(UidRefusal::NoSuchUid(Kind::Identifier))); // none of a face
    }
    identifier.credential = Credential::Face(photo.digest());
    if rows.holder(&identifier.credential)?.is_some_and(|(name, _)| name != found.0) {
        return Ok(Err(UidRefusal::NumberTaken));
    }
    rows.tables().keep_photo(photo);
    put(rows, found, &Body::of_identifier(&identifier))
}

fn delete(rows: &mut PanelRows<'_, '_>, kind: Kind, uids: &[u32]) -> Answered<UidAnswer> {
    let wanted: HashSet<_> = uids.iter().copied().collect();
    let found = find(rows, kind, &wanted)?;
    if found.len() < wanted.len() {
        return Ok(Err(UidRefusal::NoSuchUid(kind)));
    }
    if kind == Kind::Profile && rows.count(Kind::Identifier)? > 0 {
        let bound = bound(rows)?;
        let names_one = |(name, _): &(RowName, Row)| name.link_id().is_some_and(|link| bound.contains(&link));
        if found.iter().any(names_one) {
            return Ok(Err(UidRefusal::Bound));
        }
    }
    for (name, row) in found {
        rows.remove(name, row)?;
    }
    Ok(Ok(UidAnswer::Done))
}

/// The profiles that the panel's identifiers name.
fn bound(rows: &mut PanelRows<'_, '_>) -> Result<HashSet<LinkId>, StoreError> {
    let mut bound = HashSet::new();
    for (name, row) in rows.all()? {
        if name.kind() == Kind::Identifier {
            bound.extend(rows.bound_to(&row)?.iter());
        }
    }
    Ok(bound)
}

fn detach(rows: &mut PanelRows<'_, '_>, profiles: &[ProfileName]) -> Answered<UidAnswer> {
    let all = rows.all()?;
    let uids: BTreeMap<u32, LinkId> = all
        .iter()
        .filter(|(name, _)| name.kind() == Kind::Profile)
        .filter_map(|(name, row)| Some((row.uid, name.link_id()?)))
        .collect();
    let gone: HashSet<LinkId> = profiles
        .iter()
        .filter_map(|name| match name {
            ProfileName::Link(link) => Some(*link),
            ProfileName::Uid(uid) => uids.get(uid).copied(),
        })
        .collect();
    for (name, row) in all {
        if name.kind() != Kind::Identifier || !rows.bound_to(&row)?.iter().any(|link| gone.contains(link)) {
            continue;
        }
        let mut identifier = read(rows, &row)?;
        let left = identifier.profiles.as_slice().iter().copied().filter(|link| !gone.contains(link));
        identifier.profiles = ProfileIds::new(left).unwrap_or_default(); // fewer than there were
        rows.put_in_place(name, Some(row), &Body::of_identifier(&identifier))?;
    }
    Ok(Ok(UidAnswer::Done))
}

fn find_one(rows: &PanelRows<'_, '_>, kind: Kind, uid: u32) -> Answered<(RowName, Row)> {
    Ok(find(rows, kind, &HashSet::from([uid]))?.pop().ok_or(UidRefusal::NoSuchUid(kind)))
}

/// The rows with these uids. There is no table by uid: the calls are rare, a panel's rows lie together, and a
/// second table would slow down every fan-out.
fn find(
    rows: &PanelRows<'_, '_>,
    kind: Kind,
    uids: &HashSet<u32>,
) -> Result<Vec<(RowName, Row)>, StoreError> {
    let mut all = rows.all()?;
    all.retain(|(name, row)| name.kind() == kind && uids.contains(&row.uid));
    Ok(all)
}
