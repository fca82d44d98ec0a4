//! Changes to the register of panels.

use redb::ReadableTable;

use crate::batch::Body;
use crate::batch::item::ItemId;
use crate::profile::LinkId;
use crate::store::memory::Memory;
use crate::store::pack;
use crate::store::row::{self, CountsChange, ItemKey, Reported, ReportedCounts, RowKey, RowName};
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError};

impl Tables<'_> {
    /// Whether the panel was removed, so that there is nothing to write for it.
    pub(in crate::store) fn is_gone(&mut self, panel: PanelNo) -> Result<bool, StoreError> {
        let Memory { gone, going, perhaps_gone, .. } = &mut *self.memory;
        if gone.contains(&panel) || going.contains(&panel) {
            return Ok(true);
        }
        if perhaps_gone.is_empty() || !perhaps_gone.remove(&panel) {
            return Ok(false);
        }
        let is_gone = self.panels.get(panel)?.is_none();
        if is_gone {
            gone.insert(panel);
        }
        Ok(is_gone)
    }

    /// The number of the panel of this id.
    pub fn panel_number(&self, id: &str) -> Result<Option<PanelNo>, StoreError> {
        Ok(self.panel_ids.get(id)?.map(|number| number.value()))
    }

    /// Adds a panel, whose id no other has, and returns its number.
    pub fn add_panel(&mut self, id: &str, record: &[u8]) -> Result<PanelNo, StoreError> {
        let panel = self.next_number("next_panel")?;
        let panel = PanelNo::try_from(panel).map_err(|_| StoreError::Corrupt("panel number"))?;
        self.panels.insert(panel, record)?;
        self.panel_ids.insert(id, panel)?;
        self.panel_names.insert(panel, id)?;
        Ok(panel)
    }

    /// Makes all panels found by their ids, as they are since format 6.
    pub(in crate::store) fn index_panel_ids(&mut self) -> Result<(), StoreError> {
        for entry in self.panels.iter()? {
            let panel = entry?.0.value();
            let id = self.panel_names.get(panel)?.ok_or(StoreError::Corrupt("panel name"))?;
            self.panel_ids.insert(id.value(), panel)?;
        }
        Ok(())
    }

    /// A panel's record, JSON.
    pub fn panel_record(&self, panel: PanelNo) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.panels.get(panel)?.map(|record| record.value().to_vec()))
    }

    /// Replaces a panel's record; returns false where there is no such panel.
    pub fn set_panel(&mut self, panel: PanelNo, record: &[u8]) -> Result<bool, StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(false);
        }
        self.panels.insert(panel, record)?;
        Ok(true)
    }

    /// Takes what a new panel's device holds as desired and as confirmed.
    pub fn adopt(&mut self, panel: PanelNo, profiles: &[(LinkId, Body)]) -> Result<(), StoreError> {
        let mut rows = self.panel(panel);
        for (link, body) in profiles {
            let item = ItemId::profile(*link);
            let row = rows.put(RowName::Link(item), None, body)?;
            rows.set_reported(item, Some(&Reported::Held(row.body)))?;
        }
        rows.finish()
    }

    /// Removes a panel's record and all its rows. Nothing is written for it from now on.
    pub fn remove_panel(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        self.memory.going.insert(panel);
        if let Some(id) = self.panel_names.get(panel)?.map(|id| id.value().to_owned())
            && self.panel_number(&id)? == Some(panel)
        {
            self.panel_ids.remove(id.as_str())?;
        }
        let (first, last) = row::panel_range(panel);
        for entry in self.packs.extract_from_if::<&RowKey, _>(&first..=&last, |_, _| true)? {
            let (_, value) = entry?;
            for row in pack::rows(value.value()) {
                *self.body_changes.users.entry(row?.1.body).or_default() -= 1;
            }
        }
        let (first, last) = row::item_range(panel);
        self.reported.retain_in::<&ItemKey, _>(&first..=&last, |_, _| false)?;
        self.pending.retain_in::<&ItemKey, _>(&first..=&last, |_, _| false)?;
        let counts = self.counts.get(panel)?.map(|counts| ReportedCounts::decode(counts.value()));
        self.counted.insert(panel, CountsChange::away_with(counts.unwrap_or_default()));
        self.devices.remove(panel)?;
        self.connections.remove(panel)?;
        self.secrets.remove(panel)?;
        self.panels.remove(panel)?;
        Ok(())
    }
}
