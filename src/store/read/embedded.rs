//! Reads of what an embedded panel is beside its items.

use std::collections::HashMap;

use super::Snapshot;
use crate::batch::item::Kind;
use crate::store::json::decode;
use crate::store::passes::CountedOf;
use crate::store::records::LogRecord;
use crate::store::row::{Row, RowName};
use crate::store::seal::NumberTag;
use crate::store::tables;
use crate::store::{PanelNo, StoreError, damage, identifier_in};

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

    /// How often identifiers of an embedded panel have opened, of the passes that each has now, where any has.
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
                let (tag, began_with, used) = of.value();
                counted.insert(key.value().1, (*tag, began_with, used));
            }
            let mut all = HashMap::new();
            for (name, row) in rows.iter().filter(|(name, _)| name.kind() == Kind::Identifier) {
                let Some((tag, began_with, used)) = counted.get(&row.uid) else { continue };
                let used = self.used(row, (tag, *began_with, *used))?;
                if used > 0 {
                    all.insert(*name, used);
                }
            }
            Ok(all)
        })
    }

    /// The same of the identifier in this row.
    pub fn passes_used(&self, panel: PanelNo, row: Row) -> Result<u32, StoreError> {
        damage::read(|| {
            let counted = self.transaction.open_table(tables::PASSES)?.get((panel, row.uid))?;
            counted.map_or(Ok(0), |counted| self.used(&row, counted.value()))
        })
    }

    fn used(&self, row: &Row, counted: (&NumberTag, u32, u32)) -> Result<u32, StoreError> {
        let identifier = identifier_in(self.body(row.body)?.as_bytes())?;
        let of = CountedOf::new(self.seal.tag(&identifier.credential), &identifier);
        Ok(of.map_or(0, |of| of.used(counted)))
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
