//! Which panels there are: every read of the register that the fleet needs. It is read as the coordinator published it last.

use super::{Fleet, FleetError, Page};
use crate::batch::selector::Selector;
use crate::coordinator::fleet::Changes;
use crate::coordinator::register::Entry;
use crate::coordinator::{SubmitError, Target};
use crate::panel::remote::Condition;
use crate::panel::settings::PanelId;
use crate::store::PanelNo;

impl Fleet {
    /// The panel of this id.
    pub fn panel(&self, id: &str) -> Result<Entry, FleetError> {
        self.find_panel(id).ok_or_else(|| FleetError::no_panel(id))
    }

    /// The panel of this id, where there is one.
    pub fn find_panel(&self, id: &str) -> Option<Entry> {
        self.register.find(id)
    }

    /// At most `limit` panels that a selector picks (all without one), by id, after one of them. Where that stood in the
    /// order is where the list goes on, be the panel there or not.
    pub fn page_of_panels(
        &self,
        selector: Option<&Selector>,
        after: Option<&PanelId>,
        limit: usize,
    ) -> Page<Entry, PanelId> {
        let register = self.register.now();
        let panels = register.select(selector, after.map(PanelId::as_str)).take(limit + 1).cloned().collect();
        Page::cut(panels, limit, |panel: &Entry| panel.settings.id.clone())
    }

    /// All panels that have a device.
    pub(super) fn panels_with_a_device(&self) -> Vec<Entry> {
        let register = self.register.now();
        register.select(None, None).filter(|panel| panel.settings.is_device()).cloned().collect()
    }

    /// The panels that a target picks, by id, as a batch would.
    pub fn targets(&self, target: &Target) -> Result<Vec<Entry>, SubmitError> {
        self.register.now().resolve(target)
    }

    /// How the devices of these panels are; none of those panels that are gone.
    pub(super) fn conditions(&self, panels: impl Iterator<Item = PanelNo>) -> Vec<Option<Condition>> {
        let register = self.register.now();
        panels.map(|panel| Some(register.by_number(panel)?.condition.clone())).collect()
    }

    /// The panels that have changed after a version of the register, by number; all of them after version 0.
    pub fn changed_since(&self, version: u64) -> Changes {
        self.register.now().changes_since(version)
    }
}
