//! One running batch, and which panels still owe it an outcome: the one place where that stands. Everything else (what is
//! sent next, how many parts are on their way, the report, whether it has ended) is derived from it. Nothing here sends,
//! stores or waits.
//!
//! A panel's [`Part`] of a batch goes from queued to sent to done; a device's waits in between until the device has
//! confirmed it. What the store could not take is lost until it can. What nobody has to confirm any more, because the
//! batch was cancelled or the panel removed, is being settled until its outcome is durable.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::model::Waiter;
use crate::batch::report::Report;
use crate::batch::{BatchRecord, BatchState, Operations, Outcome, PanelState, Zoned};
use crate::panel::Origin;
use crate::panel::settings::Zone;
use crate::store::{BatchSeq, PanelNo};
use rustc_hash::FxHashMap;

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
    pub waiters: Vec<Waiter>,
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
    /// A batch that is accepted now, for these panels in ascending order.
    pub fn new(
        seq: BatchSeq,
        record: BatchRecord,
        operations: Arc<Operations>,
        targets: Vec<PanelNo>,
        origin: Arc<Origin>,
        now: Instant,
    ) -> Self {
        let mut counts = [0; PARTS];
        counts[Part::Queued as usize] = targets.len();
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
                self.record.report.add(&outcome, self.operations.kinds());
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
        self.record.report.add(outcome, self.operations.kinds());
        true
    }

    /// A panel that had come to this outcome is to be sent its part again. Of one that still waits here, the outcome was
    /// not told yet; when it is, it counts no more.
    pub fn again(&mut self, panel: PanelNo, outcome: &Outcome) {
        let Some(at) = self.place(panel) else { return };
        match self.parts[at] {
            Part::Done => self.record.report.take_back(outcome, self.operations.kinds()),
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::batch::ItemOutcome;

    /// A batch for tests.
    pub(in crate::coordinator) fn batch(seq: BatchSeq, targets: Vec<PanelNo>) -> Running {
        let record = BatchRecord {
            id: uuid::Uuid::from_u128(u128::from(seq)),
            created_at_ms: 0,
            created_by: "model".into(),
            target: "all".into(),
            state: BatchState::Running,
            cancelled: false,
            report: Report::default(),
            duration_ms: None,
            undoes: None,
        };
        let origin = Origin {
            actor: String::new(),
            address: String::new(),
            request_id: "".into(),
            span: tracing::Span::none(),
        };
        let operations =
            Operations::of_profiles(Vec::new(), vec![crate::profile::LinkId::from_bytes([1; 16])], false);
        Running::new(seq, record, Arc::new(operations), targets, Arc::new(origin), Instant::now())
    }

    /// What comes of it where all goes well.
    pub(in crate::coordinator) fn applied() -> Outcome {
        Outcome::decided(vec![ItemOutcome::Deleted], Vec::new(), Vec::new(), 1)
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
}
