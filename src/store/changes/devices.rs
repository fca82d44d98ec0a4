//! Changes to what is kept of remote panels' devices: what they said of themselves, their connections, the passwords of
//! their accounts, and how much of them is in which state.

use redb::ReadableTable;

use crate::store::json::{decode, encode};
use crate::store::records::{AuditRecord, ConnectionRecord, DeviceRecord};
use crate::store::row::{CountsChange, ReportedCounts};
use crate::store::tables::{ALL_PANELS, KEY_CHECK, Tables};
use crate::store::{PanelNo, StoreError};

/// How many changes of a panel's connection are kept.
pub const KEPT_CONNECTIONS: usize = 100;

impl Tables<'_> {
    /// Has these panels' devices read, and put right, as soon as they can be reached.
    pub fn ask_to_reconcile(&mut self, panels: &[PanelNo], audit: &AuditRecord) -> Result<(), StoreError> {
        for panel in panels {
            self.mark_to_reconcile(*panel)?;
        }
        self.audit(audit)
    }

    /// Has a panel's device read, and put right, as soon as it can be reached.
    pub fn mark_to_reconcile(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let device = self.device(panel)?.unwrap_or_default();
        self.set_device(panel, &DeviceRecord { reconcile: true, ..device })
    }

    /// From now on the panel's device is asked which identifiers it holds, too.
    pub fn mark_identifiers(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let device = self.device(panel)?.unwrap_or_default();
        if device.identifiers {
            return Ok(());
        }
        self.set_device(panel, &DeviceRecord { identifiers: true, ..device })
    }

    /// Keeps what a panel's device said of itself; the wish to reconcile is not the device's to say.
    pub fn keep_device(&mut self, panel: PanelNo, said: &DeviceRecord) -> Result<(), StoreError> {
        let DeviceRecord { reconcile, identifiers, .. } = self.device(panel)?.unwrap_or_default();
        self.set_device(panel, &DeviceRecord { reconcile, identifiers, ..said.clone() })
    }

    /// What a panel's device said of itself.
    pub(crate) fn device(&self, panel: PanelNo) -> Result<Option<DeviceRecord>, StoreError> {
        self.devices.get(panel)?.map(|record| decode(record.value(), "device")).transpose()
    }

    /// Keeps what a panel's device said of itself.
    /// Nothing where the panel is gone.
    pub(crate) fn set_device(&mut self, panel: PanelNo, record: &DeviceRecord) -> Result<(), StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(());
        }
        let before = self.devices.insert(panel, encode(record).as_slice())?;
        let before: Option<DeviceRecord> =
            before.map(|before| decode(before.value(), "device")).transpose()?;
        if before.map(|before| before.serial).unwrap_or_default() != record.serial {
            self.memory.changes_serials = true;
        }
        Ok(())
    }

    /// Keeps that a panel's connection is another one than the last that was kept.
    pub fn connection_changed(&mut self, panel: PanelNo, now: ConnectionRecord) -> Result<(), StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(());
        }
        let kept = self.connections.get(panel)?;
        let mut changes: Vec<ConnectionRecord> = match &kept {
            Some(kept) => decode(kept.value(), "connections")?,
            None => Vec::new(),
        };
        drop(kept);
        if changes.last().is_some_and(|last| last.connection == now.connection) {
            return Ok(());
        }
        changes.drain(..changes.len().saturating_sub(KEPT_CONNECTIONS - 1));
        changes.push(now);
        self.connections.insert(panel, encode(&changes).as_slice())?;
        Ok(())
    }

    /// Sets or changes the password of a remote panel's account.
    pub(in crate::store) fn set_credential(
        &mut self,
        panel: PanelNo,
        password_md5: &str,
    ) -> Result<(), StoreError> {
        let sealed = self.memory.seal.seal(panel, password_md5)?;
        self.secrets.insert(panel, sealed.as_slice())?;
        Ok(())
    }

    /// Whether the key is the one that the passwords were sealed with. The first one that is asked becomes it, and so does
    /// another one where nothing is sealed.
    pub(in crate::store) fn key_fits(&mut self) -> Result<bool, StoreError> {
        let checked = match self.secrets.get(KEY_CHECK)? {
            Some(sealed) => Some(self.memory.seal.open(KEY_CHECK, sealed.value()).is_ok()),
            None => None,
        };
        if checked == Some(true) {
            return Ok(true);
        }
        if checked == Some(false) {
            if self.seals_something()? {
                return Ok(false);
            }
            tracing::warn!(
                "the key is another one than before; nothing is sealed, so this one takes its place"
            );
        }
        self.set_credential(KEY_CHECK, "panelsync")?;
        Ok(true)
    }

    /// Writes by how much the counts of states have changed.
    pub(in crate::store) fn write_counts(&mut self) -> Result<(), StoreError> {
        let mut changed: Vec<_> = self.counted.drain().collect();
        changed.sort_unstable_by_key(|(panel, _)| *panel);
        let mut all = CountsChange::default();
        for (_, change) in &changed {
            all.add(change);
        }
        for (panel, change) in std::iter::once((ALL_PANELS, all)).chain(changed) {
            if change == CountsChange::default() {
                continue;
            }
            let counts = self.counts.get(panel)?.map(|counts| ReportedCounts::decode(counts.value()));
            let counts =
                change.of(counts.unwrap_or_default()).ok_or(StoreError::Corrupt("count of states"))?;
            if counts == ReportedCounts::default() {
                self.counts.remove(panel)?;
            } else {
                self.counts.insert(panel, &counts.encode())?;
            }
        }
        Ok(())
    }
}
