//! Which panels there are: every read of the coordinator's register that the fleet needs.

use super::{Fleet, FleetError, Page};
use crate::batch::selector::Selector;
use crate::coordinator::fleet::{ChangedSince, Changes, Conditions, FindPanel, ListPanels, Resolve};
use crate::coordinator::register::Entry;
use crate::coordinator::{SubmitError, Target};
use crate::panel::remote::Condition;
use crate::panel::settings::PanelId;
use crate::store::{PanelNo, StoreError};

impl Fleet {
    /// The panel of this id.
    pub async fn panel(&self, id: &str) -> Result<Entry, FleetError> {
        self.find_panel(id).await?.ok_or_else(|| FleetError::no_panel(id))
    }

    /// The panel of this id, where there is one.
    pub async fn find_panel(&self, id: &str) -> Result<Option<Entry>, actix::MailboxError> {
        self.coordinator.send(FindPanel(id.to_owned())).await
    }

    /// At most `limit` panels that a selector picks (all without one), by id, after one of them. Where that stood in the
    /// order is where the list goes on, be the panel there or not.
    pub async fn page_of_panels(
        &self,
        selector: Option<Selector>,
        after: Option<PanelId>,
        limit: usize,
    ) -> Result<Page<Entry, PanelId>, FleetError> {
        let after = after.map(|id| id.to_string());
        let panels = self.coordinator.send(ListPanels { selector, after, limit: limit + 1 }).await?;
        Ok(Page::cut(panels, limit, |panel| panel.settings.id.clone()))
    }

    /// All panels that have a device.
    pub(super) async fn panels_with_a_device(&self) -> Result<Vec<Entry>, FleetError> {
        let all = ListPanels { selector: None, after: None, limit: usize::MAX };
        let mut panels = self.coordinator.send(all).await?;
        panels.retain(|panel| panel.settings.remote.is_some());
        Ok(panels)
    }

    /// The panels that a target picks, by id, as a batch would.
    pub async fn targets(&self, target: Target) -> Result<Vec<Entry>, SubmitError> {
        self.coordinator.send(Resolve(target)).await.map_err(|_| StoreError::Busy)?
    }

    /// How the devices of these panels are; none of those panels that are gone.
    pub(super) async fn conditions(
        &self,
        panels: Vec<PanelNo>,
    ) -> Result<Vec<Option<Condition>>, FleetError> {
        Ok(self.coordinator.send(Conditions(panels)).await?)
    }

    /// The panels that have changed after a version of the register, by number; all of them after version 0.
    pub async fn changed_since(&self, version: u64) -> Result<Changes, FleetError> {
        Ok(self.coordinator.send(ChangedSince(version)).await?)
    }
}
