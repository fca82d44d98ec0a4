//! A device has answered to a call.

use std::collections::{HashMap, HashSet};

use tokio::sync::oneshot;

use super::{Settled, keep_device, settle};
use crate::batch::item::ItemId;
use crate::panel::delivery::call::{Call, says_gone, says_no_profile};
use crate::panel::device::ask::Said;
use crate::panel::remote::Waiting;
use crate::store::row::{Drift, Reported, Row, RowName};
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

/// Has profiles that an identifier names sent again where such is known of them, and then the identifier; says whether there
/// are any.
fn send_profiles_again(
    rows: &mut PanelRows<'_, '_>,
    row: &Row,
    where_known: impl Fn(&Reported) -> bool,
) -> Result<bool, StoreError> {
    let mut any = false;
    for profile in rows.bound_to(row)?.iter() {
        let profile = ItemId::profile(*profile);
        if rows.reported(profile)?.is_some_and(|known| where_known(&known)) {
            rows.set_reported(profile, Some(&Reported::Unknown))?;
            rows.forget_last_held(profile)?;
            any = true;
        }
    }
    Ok(any)
}

/// A device was found to have lost it.
fn is_lost(known: &Reported) -> bool {
    *known == Reported::Drifted(Drift::Missing)
}

/// A device had confirmed it, whatever became of it since.
fn was_held(known: &Reported) -> bool {
    matches!(known, Reported::Held(_) | Reported::KeptOtherwise(_)) || is_lost(known)
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
                    // Where it took the identifier all the same, that was taken down at once; else it is as it was.
                    let taken_down = said.success && says_no_profile(&said.word);
                    if taken_down {
                        rows.forget_last_held(*item)?;
                    }
                    if self.ignored.contains(item) {
                        if says_no_profile(&said.word) {
                            send_profiles_again(rows, row, was_held)?;
                        }
                        continue;
                    }
                    let said = Said { success: said.success && !taken_down, word: said.word.clone() };
                    // The same number of a body in another revision may stand for another text by now.
                    if rows.get(RowName::Link(*item))? == Some(*row) {
                        let known = if said.success {
                            Reported::Held(row.body)
                        } else {
                            Reported::Refused(said.word.clone())
                        };
                        rows.set_reported(*item, Some(&known))?;
                    }
                    answers.insert(*item, said);
                }
            }
            Call::Delete(items) | Call::Refuse(items, _) => {
                for ((item, desired_then), said) in items.iter().zip(&self.said) {
                    let Some(said) = said else { continue };
                    let desired = rows.get(RowName::Link(*item))?;
                    let gone = said.success || says_gone(&said.word);
                    let refused = Reported::Refused(said.word.clone());
                    if desired.is_none() {
                        rows.set_reported(*item, (!gone).then_some(&refused))?;
                    } else if gone {
                        // It was taken down to be made anew, which comes next.
                        rows.forget_last_held(*item)?;
                        continue;
                    } else if desired != *desired_then {
                        continue; // this is no answer to what is desired by now
                    } else if let (Call::Refuse(..), Some(row)) = (&self.call, &desired)
                        && says_no_profile(&said.word)
                        && send_profiles_again(rows, row, is_lost)?
                    {
                        continue;
                    } else {
                        rows.set_reported(*item, Some(&refused))?;
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
