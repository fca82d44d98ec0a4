//! Reads of what an embedded panel is beside its items.

use std::collections::HashMap;

use super::Snapshot;
use crate::store::json::decode;
use crate::store::records::LogRecord;
use crate::store::row::{Row, RowName};
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

    /// How often identifiers of an embedded panel have opened since each was last changed, where any has, by the rows.
    pub fn all_passes_used(
        &self,
        panel: PanelNo,
        rows: &[(RowName, Row)],
    ) -> Result<HashMap<RowName, u32>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::PASSES)?;
            let mut counted = HashMap::new();
            for entry in table.range((panel, 0)..=(panel, u32::MAX))? {
                let (key, of) = entry?;
                counted.insert(key.value().1, of.value());
            }
            let used =
                rows.iter().map(|(name, row)| (*name, row.passes_used(counted.get(&row.uid).copied())));
            Ok(used.filter(|(_, used)| *used > 0).collect())
        })
    }

    /// How often the identifier in this row has opened since it was last changed.
    pub fn passes_used(&self, panel: PanelNo, row: Row) -> Result<u32, StoreError> {
        damage::read(|| {
            let counted = self.transaction.open_table(tables::PASSES)?.get((panel, row.uid))?;
            Ok(row.passes_used(counted.map(|counted| counted.value())))
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
