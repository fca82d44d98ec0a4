//! What the remote driver writes, by what has happened: each piece of work is one transaction's part on one panel's rows.
//!
//! Whatever settles an item also settles it in every batch that waits for it.

use std::collections::HashMap;
use std::time::Instant;

use super::Waiting;
use crate::batch::item::ItemId;
use crate::batch::{ItemOutcome, Outcome, PanelState};
use crate::panel::device::ask::Said;
use crate::panel::undo;
use crate::store::row::{Reported, RowName};
use crate::store::tables::{DeviceRecord, PanelRows};
use crate::store::{BatchSeq, StoreError};

pub(in crate::panel) mod accepted;
pub mod compared;
pub(in crate::panel) mod confirmed;
pub(in crate::panel) mod given_up;
pub(in crate::panel) mod started_over;

pub use compared::{Difference, Findings, Found};

/// Keeps what a device said of itself, where it said something.
fn keep_device(rows: &mut PanelRows<'_, '_>, device: Option<&DeviceRecord>) -> Result<(), StoreError> {
    let Some(device) = device else { return Ok(()) };
    let panel = rows.number();
    rows.tables().keep_device(panel, device)
}

/// A batch that waits for this panel no longer, since it has this outcome.
pub(in crate::panel) struct Settled {
    pub batch: BatchSeq,
    /// When the panel was sent what waited.
    pub sent: Instant,
    pub outcome: Outcome,
}

/// Brings the batches that wait for this panel up to date, and gives those that wait no longer. `answers` are what
/// the device said just now; without them every item is looked at.
fn settle(
    rows: &mut PanelRows<'_, '_>,
    waiting: &[(BatchSeq, Waiting)],
    answers: Option<&HashMap<ItemId, Said>>,
) -> Result<Vec<Settled>, StoreError> {
    let mut settled = Vec::new();
    let panel = rows.number();
    for (seq, batch) in waiting {
        let Some(mut outcome) = rows.tables().outcome(*seq, panel)? else { continue };
        if outcome.state != PanelState::Pending {
            settled.push(Settled { batch: *seq, sent: batch.sent, outcome }); // decided in between, by a cancellation
            continue;
        }
        if !outcome.taken {
            continue; // it is on its way once more, to be taken anew
        }
        let asked = undo::asked(rows, *seq, &batch.zoned)?;
        let operations = asked.operations();
        let mut changed = false;
        for (i, named) in operations.items().enumerate() {
            let Some(item) = outcome.items.get(i).copied().filter(|item| item.pending()) else { continue };
            let answer = answers.and_then(|answers| answers.get(&named));
            if answers.is_some() && answer.is_none() {
                continue;
            }
            let known = rows.reported(named)?;
            if known == Some(Reported::Unknown) {
                continue;
            }
            let upsert = operations.upserts.get(i);
            let desired = rows.get(RowName::Link(named))?;
            let as_asked = match (upsert, desired) {
                (Some(upsert), Some(row)) => rows.says_the_same(&row, &upsert.body)?,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let now = if !as_asked {
                ItemOutcome::Superseded
            } else if let Some(Reported::Refused(words)) = &known {
                outcome.said.push((i as u32, words.clone()));
                ItemOutcome::Refused
            } else {
                match answer {
                    Some(said) if upsert.is_none() && !said.success => ItemOutcome::NotFound,
                    Some(said) if upsert.is_some() && &*said.word == "created" => ItemOutcome::Created,
                    Some(said) if upsert.is_some() && &*said.word == "updated" => ItemOutcome::Updated,
                    _ => item.foretold(),
                }
            };
            outcome.items[i] = now;
            changed = true;
        }
        let mut complete = !outcome.items.iter().any(|item| item.pending());
        if complete && operations.prune() {
            let device = rows.tables().device(panel)?;
            complete = !device.is_some_and(|device| device.reconcile);
        }
        if complete {
            for pruned in &outcome.pruned {
                complete &= rows.reported(*pruned)? != Some(Reported::Unknown);
            }
        }
        if complete {
            outcome.said.sort_unstable();
            let Outcome { said, items, named, pruned: to_go, mut left, .. } = outcome;
            let mut pruned = Vec::with_capacity(to_go.len());
            for item in to_go {
                if matches!(rows.reported(item)?, Some(Reported::Refused(_))) {
                    left.push((item, ItemOutcome::Refused));
                } else {
                    pruned.push(item);
                }
            }
            outcome = Outcome { named, said, ..Outcome::decided(items, pruned, left, batch.attempts) };
            settled.push(Settled { batch: *seq, sent: batch.sent, outcome: outcome.clone() });
        }
        if changed || complete {
            outcome.said.sort_unstable();
            rows.tables().set_outcome(*seq, panel, &outcome)?;
        }
    }
    Ok(settled)
}
