//! What is known of a device when it is looked at: what it has shown so far, so that what it says now can be doubted.

use std::collections::HashSet;

use crate::batch::item::{ItemId, Kind};
use crate::panel::device::Held;
use crate::store::read::Snapshot;
use crate::store::row::Reported;
use crate::store::tables::DeviceRecord;
use crate::store::{PanelNo, StoreError};

/// Whether the device may know no identifiers at all: it never told which it holds, and has confirmed none.
pub(super) fn may_lack_identifiers(
    snapshot: &Snapshot,
    panel: PanelNo,
    device: &DeviceRecord,
) -> Result<bool, StoreError> {
    if device.told_identifiers || !device.identifiers {
        return Ok(!device.told_identifiers);
    }
    let mut lacks = true;
    snapshot.each_reported(panel, |item, known| {
        if item.kind == Kind::Identifier {
            lacks = !is_held(&known) && snapshot.last_held(panel, item)?.is_empty();
        }
        Ok(lacks)
    })?;
    Ok(lacks)
}

/// Of which kinds the device has confirmed that it holds some, by all that is known.
pub(super) fn confirmed_kinds(snapshot: &Snapshot, panel: PanelNo) -> Result<Vec<Kind>, StoreError> {
    let mut kinds = Vec::new();
    if snapshot.reported_counts(panel)?.held == 0 {
        return Ok(kinds);
    }
    snapshot.each_reported(panel, |item, known| {
        if matches!(known, Reported::Held(_)) && !kinds.contains(&item.kind) {
            kinds.push(item.kind);
        }
        Ok(kinds.len() < Kind::ALL.len())
    })?;
    Ok(kinds)
}

/// Whether something is not in what the device listed that it has confirmed.
pub(super) fn lacks_confirmed(snapshot: &Snapshot, panel: PanelNo, held: &Held) -> Result<bool, StoreError> {
    let on_device = |item: &ItemId| (item.kind, Some(item.link_id));
    let listed: HashSet<_> = held.items.iter().map(|item| (item.kind, item.link_id)).collect();
    let mut lacks = false;
    snapshot.each_reported(panel, |item, known| {
        lacks = is_held(&known) && !listed.contains(&on_device(&item));
        Ok(!lacks)
    })?;
    Ok(lacks)
}

fn is_held(known: &Reported) -> bool {
    matches!(known, Reported::Held(_) | Reported::KeptOtherwise(_))
}
