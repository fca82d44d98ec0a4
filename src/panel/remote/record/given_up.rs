//! Batches wait no longer for a device that does not take what they ask for.

use tokio::sync::oneshot;

use super::Settled;
use crate::batch::{Outcome, PanelState};
use crate::panel::remote::Waiting;
use crate::store::tables::PanelRows;
use crate::store::writer::PanelWork;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// No batch is to wait for this panel any longer, for a reason that a person has to see to. What is desired stays.
pub(in crate::panel) struct GiveUp {
    pub panel: PanelNo,
    pub why: Box<str>,
    pub waiting: Vec<(BatchSeq, Waiting)>,
    pub settled: Vec<Settled>,
    pub done: oneshot::Sender<Result<Vec<Settled>, StoreError>>,
}

impl PanelWork for GiveUp {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        self.waiting.len().max(2)
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let panel = rows.number();
        self.settled.clear();
        for (seq, batch) in &self.waiting {
            let Some(mut outcome) = rows.tables().outcome(*seq, panel)? else { continue };
            if outcome.state == PanelState::Pending {
                outcome = Outcome::failed(self.why.clone(), batch.attempts);
                rows.tables().set_outcome(*seq, panel, &outcome)?;
            }
            self.settled.push(Settled { batch: *seq, sent: batch.sent, outcome });
        }
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { done, settled, .. } = *self;
        let _ = done.send(result.map(|()| settled)); // gone only at the end
    }
}
