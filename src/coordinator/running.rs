//! Which panels still owe which batch an outcome: the one place where that stands. Everything else (what is sent next,
//! how many parts are on their way, the report, whether a batch has ended) is derived from it. Nothing here sends,
//! stores or waits.
//!
//! A panel's [`Part`] of a batch goes from queued to sent to done; a device's waits in between until the device has
//! confirmed it. What the store could not take is lost until it can. What nobody has to confirm any more, because the
//! batch was cancelled or the panel removed, is being settled until its outcome is durable.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::batch::report::Report;
use crate::batch::{BatchRecord, BatchState, Operations, Outcome, PanelState, Zoned};
use crate::panel::Origin;
use crate::panel::settings::Zone;
use crate::store::{BatchSeq, PanelNo};

/// Where a panel's part of a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// Not sent yet.
    Queued,
    /// On its way to the panel and through the store.
    Sent,
    /// Taken by a remote panel, whose device has not confirmed it.
    Waits,
    /// The store could not take it. It is sent again when the store can.
    Lost,
    /// Its outcome was decided here and is on its way to the store.
    Settling,
    /// Its outcome is durable and counted.
    Done,
}

const PARTS: usize = 6;

/// A batch with panels that have no outcome yet, or whose end is not durable yet.
pub struct Running {
    /// Its number.
    pub seq: BatchSeq,
    /// Its record; the report is that of the parts that are done.
    pub record: BatchRecord,
    /// What it asks for.
    pub operations: Arc<Operations>,
    /// Who asked.
    pub origin: Arc<Origin>,
    /// Since when it runs.
    pub started: Instant,
    /// When listeners were last told how far it is.
    pub last_progress: Instant,
    /// Whether its end is on its way to the store.
    pub ending: bool,
    /// Who waits for its end.
    pub waiters: Vec<oneshot::Sender<()>>,
    /// The operations by zone, made as zones come up.
    zoned: FxHashMap<String, Arc<Zoned>>,
    /// Ascending.
    targets: Vec<PanelNo>,
    parts: Vec<Part>,
    /// How many parts are in which state.
    counts: [usize; PARTS],
    /// No part before this place is queued.
    next: usize,
    /// Where a panel was looked for last: the next one is mostly its neighbour.
    looked_at: Cell<usize>,
    /// Attempts that failed before, where there were any.
    attempts: FxHashMap<PanelNo, u16>,
}

impl Running {
    /// A batch that was accepted just now, for these panels in ascending order.
    pub fn new(
        seq: BatchSeq,
        record: BatchRecord,
        operations: Arc<Operations>,
        targets: Vec<PanelNo>,
        origin: Arc<Origin>,
    ) -> Self {
        let mut counts = [0; PARTS];
        counts[Part::Queued as usize] = targets.len();
        let now = Instant::now();
        Self {
            seq,
            record: BatchRecord { report: Report::of_pending(targets.len(), &operations), ..record },
            operations,
            origin,
            started: now,
            last_progress: now,
            ending: false,
            waiters: Vec::new(),
            zoned: FxHashMap::default(),
            parts: vec![Part::Queued; targets.len()],
            targets,
            counts,
            next: 0,
            looked_at: Cell::new(0),
            attempts: FxHashMap::default(),
        }
    }

    /// Takes the outcomes as the store has them, all at once and in panel order: what is final is done. What a device
    /// has taken waits, where `waits` says so; everything else is to be sent.
    pub fn take_stored(
        &mut self,
        outcomes: impl IntoIterator<Item = (PanelNo, Outcome)>,
        waits: impl Fn(PanelNo, Part) -> bool,
    ) {
        let before = std::mem::replace(&mut self.parts, vec![Part::Queued; self.targets.len()]);
        self.counts = [0; PARTS];
        self.counts[Part::Queued as usize] = self.targets.len();
        self.record.report = Report::of_pending(self.targets.len(), &self.operations);
        self.next = 0;
        for (panel, outcome) in outcomes {
            let Some(at) = self.place(panel) else { continue };
            if outcome.state != PanelState::Pending {
                self.set(at, Part::Done);
                self.record.report.add(&outcome, self.operations.len());
                continue;
            }
            if outcome.attempts > 0 {
                self.attempts.insert(panel, outcome.attempts);
            }
            if outcome.taken && waits(panel, before[at]) {
                self.set(at, Part::Waits);
            }
        }
    }

    fn place(&self, panel: PanelNo) -> Option<usize> {
        let near = self.looked_at.get();
        let place = (near..near + 2).find(|at| self.targets.get(*at) == Some(&panel));
        let place = place.or_else(|| self.targets.binary_search(&panel).ok())?;
        self.looked_at.set(place);
        Some(place)
    }

    fn set(&mut self, at: usize, part: Part) {
        self.counts[self.parts[at] as usize] -= 1;
        self.counts[part as usize] += 1;
        self.parts[at] = part;
        if part == Part::Queued {
            self.next = self.next.min(at);
        }
    }

    /// How many parts are in this state.
    pub fn count(&self, part: Part) -> usize {
        self.counts[part as usize]
    }

    /// How many panels it is for.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Where a panel's part is; nothing for a panel that it is not for.
    pub fn part(&self, panel: PanelNo) -> Option<Part> {
        self.place(panel).map(|at| self.parts[at])
    }

    /// The panels whose part is in this state.
    pub fn panels(&self, part: Part) -> Vec<PanelNo> {
        let parts = self.parts.iter().zip(&self.targets);
        parts.filter(|(is, _)| **is == part).map(|(_, panel)| *panel).collect()
    }

    /// The next panel to be sent its part.
    pub fn next_queued(&mut self) -> Option<PanelNo> {
        if self.count(Part::Queued) == 0 {
            return None;
        }
        while *self.parts.get(self.next)? != Part::Queued {
            self.next += 1;
        }
        self.targets.get(self.next).copied()
    }

    /// A panel's part is here now. Of a part that is done, nothing changes.
    pub fn now(&mut self, panel: PanelNo, part: Part) {
        if let Some(at) = self.place(panel).filter(|at| self.parts[*at] != Part::Done) {
            self.set(at, part);
        }
    }

    /// What the store could not take, or was being settled, is to be sent again.
    pub fn send_lost_again(&mut self) {
        for at in 0..self.parts.len() {
            if matches!(self.parts[at], Part::Lost | Part::Settling) {
                self.set(at, Part::Queued);
            }
        }
    }

    /// A panel's outcome is durable. Says whether that is news: each counts once.
    pub fn done(&mut self, panel: PanelNo, outcome: &Outcome) -> bool {
        let Some(at) = self.place(panel).filter(|at| self.parts[*at] != Part::Done) else { return false };
        self.set(at, Part::Done);
        self.record.report.add(outcome, self.operations.len());
        true
    }

    /// A panel that had come to this outcome is to be sent its part again. Of one that still waits here, the outcome was
    /// not told yet; when it is, it counts no more.
    pub fn again(&mut self, panel: PanelNo, outcome: &Outcome) {
        let Some(at) = self.place(panel) else { return };
        match self.parts[at] {
            Part::Done => self.record.report.take_back(outcome, self.operations.len()),
            Part::Waits => {}
            Part::Queued | Part::Sent | Part::Lost | Part::Settling => return,
        }
        self.set(at, Part::Queued);
        self.attempts.insert(panel, outcome.attempts);
    }

    /// Attempts on a panel that failed before.
    pub fn attempts(&self, panel: PanelNo) -> u16 {
        self.attempts.get(&panel).copied().unwrap_or(0)
    }

    /// The batch is cancelled: what was not sent, and what waits for a device, is to be settled. Gives those panels. What
    /// is on its way comes out as it does.
    pub fn cancel(&mut self) -> Vec<PanelNo> {
        self.record.cancelled = true;
        let mut panels = Vec::new();
        for at in 0..self.parts.len() {
            if matches!(self.parts[at], Part::Queued | Part::Lost | Part::Waits) {
                self.set(at, Part::Settling);
                panels.push(self.targets[at]);
            }
        }
        panels
    }

    /// The operations in a zone.
    pub fn zoned(&mut self, zone: &Zone) -> Arc<Zoned> {
        match self.zoned.get(zone.name()) {
            Some(zoned) => Arc::clone(zoned),
            None => {
                let zoned = Arc::new(Zoned::new(Arc::clone(&self.operations), zone.rules()));
                self.zoned.insert(zone.name().to_owned(), Arc::clone(&zoned));
                zoned
            }
        }
    }

    /// Whether every panel has a durable outcome.
    pub fn complete(&self) -> bool {
        self.count(Part::Done) == self.targets.len()
    }

    /// Whether nothing is missing but what devices have to confirm.
    pub fn only_waits(&self) -> bool {
        !self.ending && self.count(Part::Done) + self.count(Part::Waits) == self.targets.len()
    }

    /// The record with its state now.
    pub fn record_now(&self) -> BatchRecord {
        if self.complete() && self.record.state != BatchState::Running {
            return self.record.clone();
        }
        BatchRecord { state: BatchState::Running, duration_ms: None, ..self.record.clone() }
    }
}

/// All batches that run, in the order of acceptance. They change through [`Batches::change`] only, which keeps what is
/// derived from all of them.
#[derive(Default)]
pub struct Batches {
    running: BTreeMap<u64, Running>,
    orders: FxHashMap<BatchSeq, u64>,
    next_order: u64,
    /// Those with parts to send.
    queued: BTreeSet<u64>,
    /// Parts on their way.
    in_flight: usize,
}

impl Batches {
    /// A batch runs from now on, behind all others.
    pub fn begin(&mut self, running: Running) {
        let (order, seq) = (self.next_order, running.seq);
        self.next_order += 1;
        self.orders.insert(seq, order);
        self.in_flight += running.count(Part::Sent);
        if running.count(Part::Queued) > 0 {
            self.queued.insert(order);
        }
        self.running.insert(order, running);
    }

    /// Whether it runs.
    pub fn contains(&self, seq: BatchSeq) -> bool {
        self.orders.contains_key(&seq)
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// A batch that runs.
    pub fn get(&self, seq: BatchSeq) -> Option<&Running> {
        self.running.get(self.orders.get(&seq)?)
    }

    /// All, in the order of acceptance.
    pub fn all(&self) -> impl Iterator<Item = &Running> {
        self.running.values()
    }

    /// Their numbers, in the order of acceptance.
    pub fn numbers(&self) -> Vec<BatchSeq> {
        self.all().map(|running| running.seq).collect()
    }

    /// Changes a batch, if it runs.
    pub fn change<T>(&mut self, seq: BatchSeq, change: impl FnOnce(&mut Running) -> T) -> Option<T> {
        let order = *self.orders.get(&seq)?;
        let running = self.running.get_mut(&order)?;
        let (sent, queued) = (running.count(Part::Sent), running.count(Part::Queued) > 0);
        let result = change(running);
        self.in_flight = self.in_flight + running.count(Part::Sent) - sent;
        match (queued, running.count(Part::Queued) > 0) {
            (false, true) => _ = self.queued.insert(order),
            (true, false) => _ = self.queued.remove(&order),
            (true, true) | (false, false) => {}
        }
        Some(result)
    }

    /// A batch has ended.
    pub fn end(&mut self, seq: BatchSeq) -> Option<Running> {
        let order = self.orders.remove(&seq)?;
        self.queued.remove(&order);
        let running = self.running.remove(&order)?;
        self.in_flight -= running.count(Part::Sent);
        Some(running)
    }

    /// Parts on their way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Those with parts to send, in the order of acceptance.
    pub fn queued(&self) -> Vec<BatchSeq> {
        self.queued.iter().filter_map(|order| Some(self.running.get(order)?.seq)).collect()
    }

    /// Those accepted before this one whose part this panel has not been sent yet, in the order of acceptance.
    pub fn queued_before(&self, seq: BatchSeq, panel: PanelNo) -> Vec<BatchSeq> {
        let Some(order) = self.orders.get(&seq) else { return Vec::new() };
        let earlier = self.queued.range(..order).filter_map(|order| self.running.get(order));
        let earlier = earlier.filter(|running| running.part(panel) == Some(Part::Queued));
        earlier.map(|running| running.seq).collect()
    }

    /// Those in which this panel's part is in this state.
    pub fn with(&self, panel: PanelNo, part: Part) -> Vec<BatchSeq> {
        let with = self.all().filter(|running| running.part(panel) == Some(part));
        with.map(|running| running.seq).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::ItemOutcome;

    fn batch(seq: BatchSeq, targets: Vec<PanelNo>) -> Running {
        let record = BatchRecord {
            id: uuid::Uuid::from_u128(u128::from(seq)),
            created_at_ms: 0,
            created_by: "model".into(),
            target: "all".into(),
            state: BatchState::Running,
            cancelled: false,
            report: Report::default(),
            duration_ms: None,
        };
        let origin = Origin {
            actor: String::new(),
            address: String::new(),
            request_id: "".into(),
            span: tracing::Span::none(),
        };
        let operations =
            Operations::new(Vec::new(), vec![crate::profile::LinkId::from_bytes([1; 16])], false);
        Running::new(seq, record, Arc::new(operations), targets, Arc::new(origin))
    }

    fn applied() -> Outcome {
        Outcome::decided(vec![ItemOutcome::Deleted], Vec::new(), 1)
    }

    #[test]
    fn parts_are_sent_in_panel_order_and_those_that_come_back_again() {
        let mut running = batch(1, vec![1, 3, 5]);
        assert_eq!(running.next_queued(), Some(1));
        running.now(1, Part::Sent);
        running.now(5, Part::Sent);
        assert_eq!(running.next_queued(), Some(3));
        running.now(3, Part::Sent);
        assert_eq!(running.next_queued(), None);
        running.now(1, Part::Queued);
        assert_eq!(running.next_queued(), Some(1));
        running.now(7, Part::Sent); // it is not for this one
        assert_eq!(running.part(7), None);
    }

    #[test]
    fn an_outcome_counts_once_whoever_tells_it() {
        let mut running = batch(1, vec![1, 2]);
        assert!(running.done(1, &applied()));
        assert!(!running.done(1, &Outcome::failed("late", 1)));
        assert_eq!((running.record.report.panels.applied, running.record.report.panels.failed), (1, 0));
        let cancelled = running.cancel();
        assert_eq!(cancelled, [2]);
        assert!(running.done(2, &Outcome::failed("cancelled", 1)) && running.complete());
    }

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
}
