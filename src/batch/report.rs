//! Adding up the outcomes of a batch's panels.

use serde::{Deserialize, Serialize};

use super::{ItemOutcome, Operations, Outcome, PanelState};

/// How many panels are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanelCounts {
    /// Panels that the batch is for.
    pub total: u64,
    /// Every item succeeded.
    pub applied: u64,
    /// Some items were refused.
    pub partial: u64,
    /// All items were refused.
    pub rejected: u64,
    /// No outcome yet.
    pub pending: u64,
    /// Given up.
    pub failed: u64,
}

/// How many items, over all panels, came to what. Items of failed panels stand only in `total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemCounts {
    /// Items named, times panels, and what pruning deleted.
    pub total: u64,
    /// Created.
    pub created: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
    /// Already as asked for, or asked for differently by a later batch that was delivered.
    pub unchanged: u64,
    /// To be deleted and not there.
    pub entity_not_found: u64,
    /// Refused by the panel.
    pub rejected: u64,
    /// Without an answer yet.
    pub pending: u64,
}

/// The sums of a batch. [`Report::add`] and [`Report::take_back`] are each other's inverse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By panel.
    pub panels: PanelCounts,
    /// By item.
    pub items: ItemCounts,
}

impl Report {
    /// Of a batch that no panel has answered.
    pub fn of_pending(panels: usize, operations: &Operations) -> Self {
        let panels = panels as u64;
        let items = panels * operations.len() as u64;
        Self {
            panels: PanelCounts { total: panels, pending: panels, ..PanelCounts::default() },
            items: ItemCounts { total: items, pending: items, ..ItemCounts::default() },
        }
    }

    /// A panel that was pending has come to this outcome. `named` is the number of items of the batch.
    pub fn add(&mut self, outcome: &Outcome, named: usize) {
        if outcome.state == PanelState::Pending {
            return;
        }
        self.panels.pending = self.panels.pending.saturating_sub(1);
        self.items.pending = self.items.pending.saturating_sub(named as u64);
        *self.panel_count(outcome.state) += 1;
        for item in &outcome.items {
            *self.item_count(*item) += 1;
        }
        self.items.deleted += outcome.pruned.len() as u64;
        self.items.total += outcome.pruned.len() as u64;
    }

    /// A panel that had come to this outcome is pending again.
    pub fn take_back(&mut self, outcome: &Outcome, named: usize) {
        if outcome.state == PanelState::Pending {
            return;
        }
        self.panels.pending += 1;
        self.items.pending += named as u64;
        let count = self.panel_count(outcome.state);
        *count = count.saturating_sub(1);
        for item in &outcome.items {
            let count = self.item_count(*item);
            *count = count.saturating_sub(1);
        }
        let pruned = outcome.pruned.len() as u64;
        self.items.deleted = self.items.deleted.saturating_sub(pruned);
        self.items.total = self.items.total.saturating_sub(pruned);
    }

    /// Whether every panel has an outcome.
    pub fn complete(&self) -> bool {
        self.panels.pending == 0
    }

    fn panel_count(&mut self, state: PanelState) -> &mut u64 {
        match state {
            PanelState::Applied => &mut self.panels.applied,
            PanelState::Partial => &mut self.panels.partial,
            PanelState::Rejected => &mut self.panels.rejected,
            PanelState::Pending => &mut self.panels.pending,
            PanelState::Failed => &mut self.panels.failed,
        }
    }

    fn item_count(&mut self, item: ItemOutcome) -> &mut u64 {
        match item {
            ItemOutcome::Created => &mut self.items.created,
            ItemOutcome::Updated => &mut self.items.updated,
            ItemOutcome::Unchanged | ItemOutcome::Superseded => &mut self.items.unchanged,
            ItemOutcome::Deleted => &mut self.items.deleted,
            ItemOutcome::NotFound => &mut self.items.entity_not_found,
            ItemOutcome::Repeated | ItemOutcome::NeverOpens | ItemOutcome::Full | ItemOutcome::Refused => {
                &mut self.items.rejected
            }
            ItemOutcome::ToCreate | ItemOutcome::ToUpdate | ItemOutcome::ToDelete => &mut self.items.pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_an_outcome_back_restores_the_report() {
        let operations = Operations::default();
        let before = Report::of_pending(3, &operations);
        for outcome in [
            Outcome::decided(vec![ItemOutcome::Created, ItemOutcome::Full], Vec::new(), 1),
            Outcome::decided(vec![ItemOutcome::NotFound], Vec::new(), 1),
            Outcome::failed("cancelled", 1),
        ] {
            let mut report = before;
            report.add(&outcome, 0);
            assert_ne!(report, before);
            report.take_back(&outcome, 0);
            assert_eq!(report, before);
        }
    }

    #[test]
    fn what_was_not_there_to_delete_makes_no_panel_partial() {
        let state = |items: &[ItemOutcome]| Outcome::decided(items.to_vec(), Vec::new(), 1).state;
        assert_eq!(state(&[ItemOutcome::Created, ItemOutcome::NotFound]), PanelState::Applied);
        assert_eq!(state(&[ItemOutcome::NotFound]), PanelState::Applied);
        assert_eq!(state(&[ItemOutcome::Created, ItemOutcome::NeverOpens]), PanelState::Partial);
        assert_eq!(state(&[ItemOutcome::NotFound, ItemOutcome::NeverOpens]), PanelState::Rejected);
    }
}
