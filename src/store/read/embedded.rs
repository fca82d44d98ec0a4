//! Reads of what an embedded panel is beside its profiles.

use super::Snapshot;
use crate::store::json::decode;
use crate::store::records::LogRecord;
use crate::store::tables;
use crate::store::{PanelNo, StoreError, damage};

impl Snapshot {
    /// A setting of an embedded panel as a client has set it, JSON.
    pub fn panel_setting(&self, panel: PanelNo, name: &str) -> Result<Option<String>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PANEL_SETTINGS)?;
            table.get((panel, name))?.map(|sealed| self.seal.open(panel, sealed.value())).transpose()
        })
    }

    /// What happened at an embedded panel, newest first; the last [`tables::KEPT_LOG`] times.
    pub fn panel_log(&self, panel: PanelNo) -> Result<Vec<LogRecord>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PANEL_LOG)?;
            let entries = table.range((panel, 0)..=(panel, u64::MAX))?.rev();
            entries.map(|entry| decode(entry?.1.value(), "log")).collect()
        })
    }

    /// The fleet's own number, by which serial numbers of its panels differ from those of other fleets.
    pub fn fleet_number(&self) -> Result<u32, StoreError> {
        damage::read(|| {
            let number = self.transaction.open_table(tables::META)?.get("fleet")?;
            number
                .and_then(|number| u32::try_from(number.value()).ok())
                .ok_or(StoreError::Corrupt("number of the fleet"))
        })
    }
}
