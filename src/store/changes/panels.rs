//! Changes to the register of panels.

use redb::ReadableTable;

use crate::batch::Body;
use crate::batch::item::ItemId;
use crate::store::memory::Memory;
use crate::store::pack;
use crate::store::records::{AuditRecord, ConnectionRecord, DeviceRecord};
use crate::store::row::{self, CountsChange, ItemKey, Reported, ReportedCounts, RowKey, RowName};
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError};

/// A panel to be added.
pub struct NewPanelRecord<'p> {
    /// The panel's id.
    pub id: &'p str,
    /// Its record, JSON.
    pub record: &'p [u8],
    /// Of a remote panel, the MD5 hex of the account's password.
    pub password_md5: Option<&'p str>,
    /// Of a remote panel that was met already, what it said of itself, and that it is online.
    pub met: Option<(&'p DeviceRecord, ConnectionRecord)>,
    /// What its device holds and is desired from now on, in link_id order.
    pub adopted: &'p [(ItemId, Body)],
}

/// A panel to be changed.
pub struct PanelChange {
    /// Its number.
    pub panel: PanelNo,
    /// Its new record, JSON.
    pub record: Vec<u8>,
    /// Of a remote panel, the MD5 hex of a new password.
    pub password_md5: Option<String>,
}

/// What came of a panel's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelChanged {
    /// It holds.
    Done,
    /// Others have changed the panel meanwhile; nothing was done.
    Overtaken,
    /// The panel is gone.
    Gone,
}

impl Tables<'_> {
    /// Adds panels, all or none, and gives their numbers; or the indexes of those whose ids are taken. No two of them
    /// have the same id.
    pub fn add_panels(
        &mut self,
        panels: &[NewPanelRecord<'_>],
        audit: &AuditRecord,
    ) -> Result<Result<Vec<PanelNo>, Vec<usize>>, StoreError> {
        let mut taken = Vec::new();
        for (i, panel) in panels.iter().enumerate() {
            if self.panel_number(panel.id)?.is_some() {
                taken.push(i);
            }
        }
        if !taken.is_empty() {
            return Ok(Err(taken));
        }
        let mut numbers = Vec::with_capacity(panels.len());
        for NewPanelRecord { id, record, password_md5, met, adopted } in panels {
            let panel = self.add_panel(id, record)?;
            if let Some(password) = password_md5 {
                self.set_credential(panel, password)?;
            }
            if let Some((device, connection)) = met {
                self.set_device(panel, device)?;
                self.connection_changed(panel, connection.clone())?;
            }
            self.adopt(panel, adopted)?;
            numbers.push(panel);
        }
        self.audit(audit)?;
        Ok(Ok(numbers))
    }

    /// Replaces a panel's record, and its password where there is another one, unless the record that stands is not as
    /// expected.
    pub fn change_panel(
        &mut self,
        change: &PanelChange,
        is_expected: impl FnOnce(&[u8]) -> bool,
        audit: &AuditRecord,
    ) -> Result<PanelChanged, StoreError> {
        let PanelChange { panel, record, password_md5 } = change;
        let expected = self.panels.get(*panel)?.map(|stored| is_expected(stored.value()));
        match expected {
            None => return Ok(PanelChanged::Gone),
            Some(false) => return Ok(PanelChanged::Overtaken),
            Some(true) => {}
        }
        self.panels.insert(*panel, record.as_slice())?;
        if let Some(password) = password_md5 {
            self.set_credential(*panel, password)?;
        }
        self.audit(audit)?;
        Ok(PanelChanged::Done)
    }

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
    fn panel_number(&self, id: &str) -> Result<Option<PanelNo>, StoreError> {
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

    /// Takes what a new panel's device holds as desired and as confirmed.
    fn adopt(&mut self, panel: PanelNo, items: &[(ItemId, Body)]) -> Result<(), StoreError> {
        let mut rows = self.panel(panel);
        for (item, body) in items {
            let row = rows.put(RowName::Link(*item), None, body)?;
            rows.set_reported(*item, Some(&Reported::Held(row.body)))?;
        }
        rows.finish()
    }

    /// Removes a panel's record and all its rows. Nothing is written for it from now on.
    pub fn remove_panel(&mut self, panel: PanelNo, audit: &AuditRecord) -> Result<(), StoreError> {
        self.delete_panel(panel)?;
        self.audit(audit)
    }

    /// [`Tables::remove_panel`] without an entry of the audit.
    pub(in crate::store) fn delete_panel(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        self.memory.going.insert(panel);
        if let Some(id) = self.panel_names.get(panel)?.map(|id| id.value().to_owned())
            && self.panel_number(&id)? == Some(panel)
        {
            self.panel_ids.remove(id.as_str())?;
        }
        let (first, last) = row::panel_range(panel);
        for entry in self.packs.extract_all::<&RowKey>(&first..=&last)? {
            let (_, value) = entry?;
            for row in pack::rows(value.value()) {
                *self.body_changes.users.entry(row?.1.body).or_default() -= 1;
            }
        }
        let (first, last) = row::item_range(panel);
        self.reported.retain_in::<&ItemKey>(&first..=&last, |_, _| false)?;
        self.forget_all_last_held(panel)?;
        self.forget_held_before(panel)?;
        self.pending.remove(panel)?;
        let counts = self.counts.get(panel)?.map(|counts| ReportedCounts::decode(counts.value()));
        self.counted.insert(panel, CountsChange::away_with(counts.unwrap_or_default()));
        self.devices.remove(panel)?;
        self.connections.remove(panel)?;
        self.secrets.remove(panel)?;
        self.forget_embedded(panel)?;
        self.forget_passes(panel)?;
        self.forget_told(panel)?;
        self.forget_calls(panel)?;
        self.events_read.remove(panel)?;
        self.panels.remove(panel)?;
        Ok(())
    }
}
