//! How a panel is.

use crate::batch::item::{ItemId, Kind};
use crate::coordinator::register::Entry;
use crate::store::read::Snapshot;
use crate::store::row::{Reported, ReportedCounts};
use crate::store::tables::DeviceRecord;
use crate::store::{PanelNo, StoreError};

/// A panel and how it is.
pub struct PanelStatus {
    /// Its settings, and how its device is.
    pub panel: Entry,
    /// How many profiles it should hold.
    pub profiles: u32,
    /// How many identifiers.
    pub identifiers: u32,
    /// What is known of both; of an embedded panel only what it refuses.
    pub counts: ReportedCounts,
    /// What it refuses, the first hundred: of an embedded panel also what was asked of it last and is not there.
    pub refused: Vec<Refusal>,
    /// Of a remote panel.
    pub device: Option<DeviceStatus>,
}

/// An item that a panel refuses.
pub struct Refusal {
    /// Which item.
    pub item: ItemId,
    /// Why, in the panel's words.
    pub extended_info: String,
}

/// How the device of a remote panel is.
pub struct DeviceStatus {
    /// What it said of itself.
    pub record: DeviceRecord,
    /// When it last answered, in Unix milliseconds.
    pub last_seen_ms: Option<i64>,
}

/// Refusals listed of a panel at most.
const REFUSALS: usize = 100;

impl PanelStatus {
    /// As the snapshot has it.
    pub fn of(snapshot: &Snapshot, panel: Entry) -> Result<Self, StoreError> {
        let mut counts = snapshot.reported_counts(panel.number)?;
        let mut device = None;
        if panel.settings.is_device() {
            let record = snapshot.device(panel.number)?.unwrap_or_default();
            let kept = (record.last_seen_ms > 0).then_some(record.last_seen_ms);
            let last_seen_ms = panel.condition.last_seen_ms.max(kept);
            device = Some(DeviceStatus { record, last_seen_ms });
        } else {
            (counts.pending, counts.drifted) = (0, 0);
        }
        let head = snapshot.head(panel.number)?;
        Ok(Self {
            profiles: head.count(Kind::Profile),
            identifiers: head.count(Kind::Identifier),
            refused: if counts.refused > 0 { refusals(snapshot, panel.number)? } else { Vec::new() },
            counts,
            device,
            panel,
        })
    }
}

/// What a panel refuses, as far as it is listed.
fn refusals(snapshot: &Snapshot, panel: PanelNo) -> Result<Vec<Refusal>, StoreError> {
    let mut refused = Vec::new();
    snapshot.each_reported(panel, |item, known| {
        if let Reported::Refused(words) = known {
            refused.push(Refusal { item, extended_info: words.into() });
        }
        Ok(refused.len() < REFUSALS)
    })?;
    Ok(refused)
}
