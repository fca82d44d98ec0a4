//! The store has failed and is there again: what it holds is what is so.

use super::{Batches, Effect, Moment};
use crate::batch::{BatchRecord, BatchState, Outcome};
use crate::coordinator::running::Part;
use crate::store::{BatchSeq, PanelNo};

impl Batches {
    /// This is what it holds of a batch that runs there, and here; says how many parts are to be sent. `is_there` says
    /// which panels are: those wait for their devices where they know of that themselves.
    pub fn stored(
        &mut self,
        seq: BatchSeq,
        record: &BatchRecord,
        outcomes: Vec<(PanelNo, Outcome)>,
        is_there: impl Fn(PanelNo) -> bool,
    ) -> usize {
        let queued = self.change(seq, |running| {
            running.record.cancelled = record.cancelled;
            running.ending = false;
            running.take_stored(outcomes, |panel, before| before == Part::Waits && is_there(panel));
            if !running.complete() {
                // A retry that was refused is there all the same: it runs again, and will end again.
                running.record.state = BatchState::Running;
                running.record.duration_ms = None;
            }
            running.count(Part::Queued)
        });
        queued.unwrap_or(0)
    }

    /// What it holds of a batch cannot be read.
    pub fn unreadable(&mut self, seq: BatchSeq) {
        self.change(seq, |running| {
            running.ending = false;
            running.send_lost_again();
        });
    }

    /// It holds the end of a batch that runs here.
    pub fn ended(&mut self, seq: BatchSeq, record: BatchRecord, now: Moment, effects: &mut Vec<Effect>) {
        let told = self.change(seq, |running| {
            let told = running.record.state != BatchState::Running;
            running.record = record;
            told
        });
        if told == Some(false) {
            self.tell_end(seq, now, effects);
        }
        self.drop_batch(seq);
    }

    /// Everything is in line with it: what was on its way to it is asked for again.
    pub fn recovered(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for seq in self.numbers() {
            if self.get(seq).is_some_and(|running| running.record.cancelled) {
                self.settle_cancelled(seq, None, effects);
            }
            self.end_if_complete(seq, now, effects);
        }
    }
}
