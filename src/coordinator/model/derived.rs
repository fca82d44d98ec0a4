//! What is derived from the parts of all running batches.

use proptest::prelude::*;

use super::*;
use crate::coordinator::running::tests::{applied, batch};

#[derive(Debug, Clone)]
enum Step {
    Now(usize, PanelNo, Part),
    Done(usize, PanelNo),
    Again(usize, PanelNo),
    Cancel(usize),
    Stored(usize, Vec<(PanelNo, bool)>),
}

fn step() -> impl Strategy<Value = Step> {
    let part = prop_oneof![
        Just(Part::Queued),
        Just(Part::Sent),
        Just(Part::Waits),
        Just(Part::Lost),
        Just(Part::Settling)
    ];
    let (of, panel) = (0..3_usize, 1..8_u32);
    prop_oneof![
        6 => (of.clone(), panel.clone(), part).prop_map(|(of, panel, part)| Step::Now(of, panel, part)),
        3 => (of.clone(), panel.clone()).prop_map(|(of, panel)| Step::Done(of, panel)),
        2 => (of.clone(), panel.clone()).prop_map(|(of, panel)| Step::Again(of, panel)),
        1 => of.clone().prop_map(Step::Cancel),
        1 => (of, prop::collection::btree_map(panel, any::<bool>(), 0..6))
            .prop_map(|(of, stored)| Step::Stored(of, stored.into_iter().collect())),
    ]
}

proptest! {
    /// Whatever happens in whatever order, what is derived is what the parts say, every part is counted once,
    /// and a batch is complete just when its report says so.
    #[test]
    fn everything_is_derived_from_the_parts(steps in prop::collection::vec(step(), 0..80)) {
        let mut batches = Batches::default();
        for seq in 1..=3 {
            batches.begin(batch(seq, (1..=6).collect()));
        }
        for step in steps {
            match step {
                Step::Now(of, panel, part) => { batches.change(of as u64 + 1, |r| r.now(panel, part)); }
                Step::Done(of, panel) => { batches.change(of as u64 + 1, |r| r.done(panel, &applied())); }
                Step::Again(of, panel) => { batches.change(of as u64 + 1, |r| r.again(panel, &applied())); }
                Step::Cancel(of) => {
                    // What was decided before was that of a device or a cancellation; here all came out well.
                    batches.change(of as u64 + 1, Running::cancel);
                }
                Step::Stored(of, stored) => {
                    let outcomes = stored.into_iter().map(|(panel, done)| {
                        let taken = Outcome { taken: true, ..Outcome::pending(1) };
                        (panel, if done { applied() } else { taken })
                    });
                    batches.change(of as u64 + 1, |r| r.take_stored(outcomes, |_, _| true));
                }
            }
            let mut in_flight = 0;
            for running in batches.all() {
                let all = [Part::Queued, Part::Sent, Part::Waits, Part::Lost, Part::Settling, Part::Done];
                for part in all {
                    prop_assert_eq!(running.panels(part).len(), running.count(part));
                }
                in_flight += running.panels(Part::Sent).len();
                let panels = running.record.report.panels;
                prop_assert_eq!(panels.applied as usize, running.count(Part::Done));
                prop_assert_eq!(running.complete(), running.record.report.complete());
            }
            prop_assert_eq!(batches.in_flight(), in_flight);
            let queued: Vec<_> = batches.all().filter(|r| r.count(Part::Queued) > 0).map(|r| r.seq).collect();
            prop_assert_eq!(batches.queued(), queued.clone());
            for seq in queued {
                let first = batches.get(seq).map(|r| r.panels(Part::Queued)[0]);
                prop_assert_eq!(batches.change(seq, Running::next_queued).flatten(), first);
            }
        }
    }
}
