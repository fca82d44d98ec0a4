//! Changes to what an embedded panel is beside its profiles: the settings that clients have set on it, and its log.

use redb::ReadableTable;

use crate::store::json::encode;
use crate::store::records::{AuditRecord, LogRecord};
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError};

/// Entries of a panel's log that are kept; older ones go.
pub const KEPT_LOG: u64 = 1000;

impl Tables<'_> {
    /// Changes a setting, JSON, as `change` makes it of what was kept; says whether it did, which `change` may refuse by
    /// giving nothing. Some settings hold passwords, so all are sealed.
    pub fn change_panel_setting(
        &mut self,
        panel: PanelNo,
        name: &str,
        change: impl FnOnce(Option<String>) -> Option<String>,
        audit: &AuditRecord,
    ) -> Result<bool, StoreError> {
        self.there(panel)?;
        let kept = self.panel_settings.get((panel, name))?;
        let kept = kept.map(|sealed| self.memory.seal.open(panel, sealed.value())).transpose()?;
        let Some(value) = change(kept) else { return Ok(false) };
        let sealed = self.memory.seal.seal(panel, &value)?;
        self.panel_settings.insert((panel, name), sealed.as_slice())?;
        self.audit(audit)?;
        Ok(true)
    }

    /// Adds entries to a panel's log.
    pub fn log_at_panel(
        &mut self,
        panel: PanelNo,
        entries: &[LogRecord],
        audit: &AuditRecord,
    ) -> Result<(), StoreError> {
        self.there(panel)?;
        let last = self.panel_log.range((panel, 0)..=(panel, u64::MAX))?.next_back().transpose()?;
        let last = last.map_or(0, |(key, _)| key.value().1);
        for (number, entry) in (last + 1..).zip(entries) {
            self.panel_log.insert((panel, number), encode(entry).as_slice())?;
            if let Some(oldest) = number.checked_sub(KEPT_LOG) {
                self.panel_log.remove((panel, oldest))?;
            }
        }
        self.audit(audit)
    }

    pub(in crate::store) fn there(&self, panel: PanelNo) -> Result<(), StoreError> {
        self.panels.get(panel)?.map(|_| ()).ok_or(StoreError::NoSuchPanel)
    }

    /// Removes all of a panel that goes.
    pub(in crate::store) fn forget_embedded(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let names: Vec<String> = self
            .panel_settings
            .range((panel, "")..(panel.saturating_add(1), ""))?
            .map(|entry| Ok(entry?.0.value().1.to_owned()))
            .collect::<Result<_, StoreError>>()?;
        for name in names {
            self.panel_settings.remove((panel, name.as_str()))?;
        }
        self.panel_log.retain_in((panel, 0)..=(panel, u64::MAX), |_, _| false)?;
        Ok(())
    }
}
