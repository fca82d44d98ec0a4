//! A batch's operations as they are kept: JSON of much the form that `POST /batches` takes. Of faces the digests alone: their
//! photos are kept by themselves.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::batch::item::Kind;
use crate::batch::{Content, Operations, Upsert};
use crate::identifier::photo::Photo;
use crate::identifier::{self, LinkedIdentifier};
use crate::profile::LinkId;
use crate::profile::parse::{self, LinkedProfile};
use crate::schedule::compile::ClockPart;
use crate::store::StoreError;

#[derive(Serialize, Deserialize)]
struct Work<P> {
    upsert: Vec<Linked<P>>,
    delete: Vec<LinkId>,
    prune: bool,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    schedules: Option<Schedules<P>>,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    identifiers: Option<Identifiers<P>>,
    /// The batch that is taken back; what that means on each panel, the store has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undoes: Option<Uuid>,
}

/// Parts of schedules by the clock, and the schedules of which no other part stays.
#[derive(Serialize, Deserialize)]
struct Schedules<P> {
    parts: Vec<Linked<P>>,
    replaced: Vec<LinkId>,
}

#[derive(Serialize, Deserialize)]
struct Identifiers<P> {
    upsert: Vec<Identified<P>>,
    delete: Vec<LinkId>,
    prune: bool,
}

#[derive(Serialize, Deserialize)]
struct Linked<P> {
    link_id: LinkId,
    profile: P,
}

#[derive(Serialize, Deserialize)]
struct Identified<P> {
    link_id: LinkId,
    identifier: P,
}

/// The operations as bytes. With identifiers in them they are a secret.
pub fn encode(operations: &Operations) -> Vec<u8> {
    // A body is JSON that this program wrote.
    let body = |json| serde_json::from_str::<&RawValue>(json).ok();
    let of_kind = |kind| operations.upserts.iter().filter(move |upsert| upsert.item.kind == kind);
    let deletes = |kind| {
        let deletes = operations.deletes.iter().filter(move |item| item.kind == kind);
        deletes.map(|item| item.link_id).collect::<Vec<_>>()
    };
    let prune = |kind| operations.pruned_kinds.contains(&kind);
    let is_part = |upsert: &&Upsert| matches!(upsert.content, Content::ByTheClock(_));
    let upsert: Vec<Linked<&RawValue>> =
        of_kind(Kind::Profile).filter(|upsert| !is_part(upsert)).filter_map(linked).collect();
    let schedules = (!operations.schedules.is_empty()).then(|| Schedules {
        parts: of_kind(Kind::Profile).filter(is_part).filter_map(linked).collect(),
        replaced: operations.schedules.clone(),
    });
    let identifiers = operations.concerns(Kind::Identifier).then(|| Identifiers {
        upsert: of_kind(Kind::Identifier)
            .filter_map(|upsert| {
                Some(Identified { link_id: upsert.item.link_id, identifier: body(upsert.body.json())? })
            })
            .collect(),
        delete: deletes(Kind::Identifier),
        prune: prune(Kind::Identifier),
    });
    let (delete, prune) = (deletes(Kind::Profile), prune(Kind::Profile));
    crate::store::tables::encode(&Work {
        upsert,
        delete,
        prune,
        schedules,
        identifiers,
        undoes: operations.undoes,
    })
}

fn linked(upsert: &Upsert) -> Option<Linked<&RawValue>> {
    // A body is JSON that this program wrote.
    let profile = serde_json::from_str(upsert.body.json()).ok()?;
    Some(Linked { link_id: upsert.item.link_id, profile })
}

/// The photos that belong to the operations.
pub fn photos(operations: &Operations) -> Vec<Photo> {
    let photo = |content: &Content| match content {
        Content::Identifier(_, photo) => photo.clone(),
        Content::Profile(_) | Content::ByTheClock(_) => None,
    };
    operations.upserts.iter().filter_map(|upsert| photo(&upsert.content)).collect()
}

/// The operations from what [`encode`] made, in the order in which a batch has them: profiles, then identifiers. Faces come
/// without their photos, which the store has.
pub fn decode(bytes: &[u8]) -> Result<Operations, StoreError> {
    let corrupt = || StoreError::Corrupt("batch's operations");
    let work: Work<Box<RawValue>> = serde_json::from_slice(bytes).map_err(|_| corrupt())?;
    let mut profiles = Vec::with_capacity(work.upsert.len());
    for Linked { link_id, profile } in work.upsert {
        let profile = parse::stored(profile.get().as_bytes()).map_err(|_| corrupt())?;
        profiles.push(LinkedProfile { link_id, profile });
    }
    let mut operations = Operations::of_profiles(profiles, work.delete, work.prune);
    operations.undoes = work.undoes;
    if let Some(Schedules { parts, replaced }) = work.schedules {
        let mut read = Vec::with_capacity(parts.len());
        for Linked { link_id, profile } in parts {
            read.push(ClockPart::read(link_id, profile.get()).ok_or_else(corrupt)?);
        }
        operations = operations.and(Operations::of_parts(read, replaced));
    }
    let Some(Identifiers { upsert, delete, prune }) = work.identifiers else { return Ok(operations) };
    let mut identifiers = Vec::with_capacity(upsert.len());
    for Identified { link_id, identifier } in upsert {
        let identifier = identifier::parse::kept(identifier.get().as_bytes()).map_err(|_| corrupt())?;
        identifiers.push(LinkedIdentifier { link_id, identifier, photo: None });
    }
    Ok(operations.and(Operations::of_identifiers(identifiers, delete, prune)))
}
