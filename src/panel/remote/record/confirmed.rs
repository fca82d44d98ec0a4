//! A device has answered to a call.

use std::collections::{HashMap, HashSet};

use tokio::sync::oneshot;

use super::{Settled, keep_device, settle};
use crate::batch::item::ItemId;
use crate::panel::delivery::call::Call;
use crate::panel::device::ask::Said;
use crate::panel::remote::Waiting;
use crate::store::row::{Reported, RowName};
use crate::store::tables::{DeviceRecord, PanelRows};
use crate::store::writer::PanelWork;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// What a device answered to a call, or that it refused the one item of it.
pub(in crate::panel) struct Confirm {
    pub panel: PanelNo,
    pub call: Call,
    /// Of an item that the device says nothing of, nothing is known.
    pub said: Vec<Option<Said>>,
    /// Answers that are not taken as final.
    pub ignored: HashSet<ItemId>,
    pub device: Option<DeviceRecord>,
    pub waiting: Vec<(BatchSeq, Waiting)>,
    pub settled: Vec<Settled>,
    pub done: oneshot::Sender<Result<Vec<Settled>, StoreError>>,
}

impl PanelWork for Confirm {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        self.call.count().max(1)
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let mut answers = HashMap::with_capacity(self.said.len());
        match &self.call {
            Call::Upsert(items) => {
                for ((item, row), said) in items.iter().zip(&self.said) {
                    let Some(said) = said else { continue };
                    if self.ignored.contains(item) {
                        continue;
                    }
                    // The same number of a body in another revision may stand for another text by now.
                    if rows.get(RowName::Link(*item))? == Some(*row) {
                        let known = if said.success {
                            Reported::Held(row.body)
                        } else {
                            Reported::Refused(said.word.clone())
                        };
                        rows.set_reported(*item, Some(&known))?;
                    }
                    answers.insert(*item, said.clone());
                }
            }
            Call::Delete(items) => {
                for (item, said) in items.iter().zip(&self.said) {
                    let Some(said) = said else { continue };
                    let gone = said.success || &*said.word == "entity_not_found";
                    if rows.get(RowName::Link(*item))?.is_none() {
                        let refused = Reported::Refused(said.word.clone());
                        rows.set_reported(*item, (!gone).then_some(&refused))?;
                    }
                    answers.insert(*item, said.clone());
                }
            }
        }
        keep_device(rows, self.device.as_ref())?;
        self.settled = settle(rows, &self.waiting, Some(&answers))?;
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { done, settled, .. } = *self;
        let _ = done.send(result.map(|()| settled)); // gone only at the end
    }
}
