//! A batch's operations as they are kept: JSON of the form that `POST /batches` takes.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::batch::Operations;
use crate::batch::item::{ItemId, Kind};
use crate::profile::LinkId;
use crate::profile::parse::{self, LinkedProfile};
use crate::store::StoreError;

#[derive(Serialize, Deserialize)]
struct Work<P> {
    upsert: Vec<Linked<P>>,
    delete: Vec<LinkId>,
    prune: bool,
}

#[derive(Serialize, Deserialize)]
struct Linked<P> {
    link_id: LinkId,
    profile: P,
}

/// The operations as bytes.
pub fn encode(operations: &Operations) -> Vec<u8> {
    let upsert = operations
        .upserts
        .iter()
        .filter_map(|upsert| {
            // A body is JSON that this program wrote.
            let profile: &RawValue = serde_json::from_str(upsert.body.json()).ok()?;
            let ItemId { kind: Kind::Profile, link_id } = upsert.item;
            Some(Linked { link_id, profile })
        })
        .collect();
    let delete = operations.deletes.iter().map(|ItemId { kind: Kind::Profile, link_id }| *link_id).collect();
    let prune = operations.pruned_kinds.contains(&Kind::Profile);
    crate::store::tables::encode(&Work { upsert, delete, prune })
}

/// The operations from what [`encode`] made.
pub fn decode(bytes: &[u8]) -> Result<Operations, StoreError> {
    let corrupt = StoreError::Corrupt("batch's operations");
    let work: Work<Box<RawValue>> = serde_json::from_slice(bytes).map_err(|_| corrupt.clone())?;
    let mut profiles = Vec::with_capacity(work.upsert.len());
    for Linked { link_id, profile } in work.upsert {
        let profile = parse::stored(profile.get().as_bytes()).map_err(|_| corrupt.clone())?;
        profiles.push(LinkedProfile { link_id, profile });
    }
    Ok(Operations::of_profiles(profiles, work.delete, work.prune))
}
