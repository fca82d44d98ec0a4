//! Adding up the outcomes of a batch's panels.

use serde::{Deserialize, Serialize};

use super::item::Kind;
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
    /// Not put back by an undo, since something newer has changed them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub changed_since: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "so serde asks")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl ItemCounts {
    fn of(&mut self, item: ItemOutcome) -> &mut u64 {
        match item {
            ItemOutcome::Created => &mut self.created,
            ItemOutcome::Updated => &mut self.updated,
            ItemOutcome::Unchanged | ItemOutcome::Superseded => &mut self.unchanged,
            ItemOutcome::Deleted => &mut self.deleted,
            ItemOutcome::NotFound => &mut self.entity_not_found,
            ItemOutcome::ChangedSince => &mut self.changed_since,
            ItemOutcome::Repeated
            | ItemOutcome::NeverOpens
            | ItemOutcome::Full
            | ItemOutcome::Refused
            | ItemOutcome::NoProfile
            | ItemOutcome::NumberTaken
            | ItemOutcome::Bound
            | ItemOutcome::NoFaces
            | ItemOutcome::FacesFull
            | ItemOutcome::NoPlates
            | ItemOutcome::BadPhoto
            | ItemOutcome::NotRecognized => &mut self.rejected,
            ItemOutcome::ToCreate | ItemOutcome::ToUpdate | ItemOutcome::ToDelete => &mut self.pending,
        }
    }

    /// These without those, which are among them.
    #[must_use]
    fn without(self, others: Self) -> Self {
        Self {
            total: self.total.saturating_sub(others.total),
            created: self.created.saturating_sub(others.created),
            updated: self.updated.saturating_sub(others.updated),
            deleted: self.deleted.saturating_sub(others.deleted),
            unchanged: self.unchanged.saturating_sub(others.unchanged),
            entity_not_found: self.entity_not_found.saturating_sub(others.entity_not_found),
            rejected: self.rejected.saturating_sub(others.rejected),
            pending: self.pending.saturating_sub(others.pending),
            changed_since: self.changed_since.saturating_sub(others.changed_since),
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The sums of a batch. [`Report::add`] and [`Report::take_back`] are each other's inverse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By panel.
    pub panels: PanelCounts,
    /// By item.
    pub items: ItemCounts,
    /// Those of the items that are identifiers.
    #[serde(default, skip_serializing_if = "ItemCounts::is_nothing")]
    pub identifiers: ItemCounts,
}

impl Report {
    /// Of a batch that no panel has answered.
    pub fn of_pending(panels: usize, operations: &Operations) -> Self {
        let kinds = operations.kinds();
        let panels = panels as u64;
        let pending = |items: u64| ItemCounts { total: items, pending: items, ..ItemCounts::default() };
        Self {
            panels: PanelCounts { total: panels, pending: panels, ..PanelCounts::default() },
            items: pending(panels * kinds.len() as u64),
            identifiers: pending(panels * identifiers_among(kinds)),
        }
    }

    /// The items that are profiles.
    pub fn profiles(&self) -> ItemCounts {
        self.items.without(self.identifiers)
    }

    /// A panel that was pending has come to this outcome. `kinds` are those of the items that the batch names.
    pub fn add(&mut self, outcome: &Outcome, kinds: &[Kind]) {
        if outcome.state == PanelState::Pending {
            return;
        }
        self.panels.pending = self.panels.pending.saturating_sub(1);
        *self.panel_count(outcome.state) += 1;
        for (counts, named) in self.counts(kinds) {
            counts.pending = counts.pending.saturating_sub(named);
        }
        self.count(outcome, kinds, |count, by| *count += by);
    }

    /// A panel that had come to this outcome is pending again.
    pub fn take_back(&mut self, outcome: &Outcome, kinds: &[Kind]) {
        if outcome.state == PanelState::Pending {
            return;
        }
        self.panels.pending += 1;
        let count = self.panel_count(outcome.state);
        *count = count.saturating_sub(1);
        for (counts, named) in self.counts(kinds) {
            counts.pending += named;
        }
        self.count(outcome, kinds, |count, by| *count = count.saturating_sub(by));
    }

    /// All counts of items, each with how many of the named items it counts.
    fn counts(&mut self, kinds: &[Kind]) -> [(&mut ItemCounts, u64); 2] {
        [(&mut self.items, kinds.len() as u64), (&mut self.identifiers, identifiers_among(kinds))]
    }

    fn count(&mut self, outcome: &Outcome, kinds: &[Kind], change: impl Fn(&mut u64, u64)) {
        let own = outcome.named.iter().flat_map(|named| named.iter().map(|item| &item.kind));
        for (item, kind) in outcome.items.iter().zip(own.chain(kinds)) {
            change(self.items.of(*item), 1);
            if *kind == Kind::Identifier {
                change(self.identifiers.of(*item), 1);
            }
        }
        // What a batch does not name is known of a panel once it has its outcome, as what pruning finds is.
        for named in outcome.named.iter().flat_map(|named| named.iter()) {
            change(&mut self.items.total, 1);
            if named.kind == Kind::Identifier {
                change(&mut self.identifiers.total, 1);
            }
        }
        for (item, why) in &outcome.left {
            change(self.items.of(*why), 1);
            change(&mut self.items.total, 1);
            if item.kind == Kind::Identifier {
                change(self.identifiers.of(*why), 1);
                change(&mut self.identifiers.total, 1);
            }
        }
        let pruned = outcome.pruned.len() as u64;
        let identifiers = outcome.pruned.iter().filter(|item| item.kind == Kind::Identifier).count() as u64;
        for (counts, pruned) in [(&mut self.items, pruned), (&mut self.identifiers, identifiers)] {
            change(&mut counts.deleted, pruned);
            change(&mut counts.total, pruned);
        }
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
}

fn identifiers_among(kinds: &[Kind]) -> u64 {
    kinds.iter().filter(|kind| **kind == Kind::Identifier).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_an_outcome_back_restores_the_report() {
        let operations = Operations::default();
        let mut before = Report::of_pending(3, &operations);
        (before.items.total, before.items.pending) = (6, 6);
        (before.identifiers.total, before.identifiers.pending) = (3, 3);
        let kinds = [Kind::Profile, Kind::Identifier];
        for outcome in [
            Outcome::decided(vec![ItemOutcome::Created, ItemOutcome::Full], Vec::new(), Vec::new(), 1),
            Outcome::decided(vec![ItemOutcome::NotFound], Vec::new(), Vec::new(), 1),
            Outcome::failed("cancelled", 1),
        ] {
            let mut report = before;
            report.add(&outcome, &kinds);
            assert_ne!(report, before);
            report.take_back(&outcome, &kinds);
            assert_eq!(report, before);
        }
    }

    #[test]
    fn what_was_not_there_to_delete_makes_no_panel_partial() {
        let state = |items: &[ItemOutcome]| Outcome::decided(items.to_vec(), Vec::new(), Vec::new(), 1).state;
        assert_eq!(state(&[ItemOutcome::Created, ItemOutcome::NotFound]), PanelState::Applied);
        assert_eq!(state(&[ItemOutcome::NotFound]), PanelState::Applied);
        assert_eq!(state(&[ItemOutcome::Created, ItemOutcome::NeverOpens]), PanelState::Partial);
        assert_eq!(state(&[ItemOutcome::NotFound, ItemOutcome::NeverOpens]), PanelState::Rejected);
    }
}
