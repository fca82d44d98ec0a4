//! What happens to the world of the laws, and what must hold in the end.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{PANELS, Stored, World};
use crate::batch::BatchState;
use crate::batch::item::Kind;
use crate::batch::report::Report;
use crate::store::PanelNo;

/// The sums of what the store holds.
pub(super) fn report_of(stored: &Stored) -> Report {
    let named = [Kind::Profile];
    let (panels, items) = (stored.outcomes.len() as u64, stored.outcomes.len() as u64);
    let mut report = Report::default();
    (report.panels.total, report.panels.pending) = (panels, panels);
    (report.items.total, report.items.pending) = (items, items);
    for outcome in stored.outcomes.values() {
        report.add(outcome, &named);
    }
    report
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit(BTreeSet<PanelNo>),
    Send(usize),
    Commit,
    Read,
    Confirm(usize, bool),
    Cancel(usize),
    Retry(usize),
    Remove(PanelNo),
    Fail(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..100_usize;
    prop_oneof![
        4 => prop::collection::btree_set(1..=PANELS, 1..=PANELS as usize).prop_map(Step::Submit),
        16 => index.clone().prop_map(Step::Send),
        16 => Just(Step::Commit),
        16 => Just(Step::Read),
        4 => (index.clone(), any::<bool>()).prop_map(|(n, well)| Step::Confirm(n, well)),
        3 => index.clone().prop_map(Step::Cancel),
        3 => index.prop_map(Step::Retry),
        1 => (1..=PANELS).prop_map(Step::Remove),
        2 => (0..6_usize).prop_map(Step::Fail),
        1 => (0..200_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// The laws that are asserted on the way, and: in the end every accepted batch has ended, all who waited were told,
    /// and nothing runs any more.
    #[test]
    fn every_accepted_batch_ends_and_nothing_is_told_before_its_commit(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.finish();
        prop_assert_eq!(world.batches.count(), 0);
        prop_assert!(world.batches.changing.is_empty() && world.batches.retrying.is_empty());
        prop_assert!(world.awaited.is_empty());
        for (seq, stored) in &world.stored {
            prop_assert!(report_of(stored).complete());
            prop_assert_ne!(stored.record.state, BatchState::Running);
            prop_assert_eq!(stored.record.report, report_of(stored));
            prop_assert!(world.ended.contains(seq));
        }
    }
}
