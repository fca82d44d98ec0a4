//! What is kept of the past: what stood before batches, and what calls have changed.

use redb::ReadableTable;

use super::Snapshot;
use crate::batch::BatchRecord;
use crate::batch::item::ItemId;
use crate::store::before::{self, Changed, KEPT_SINCE, ToUndo};
use crate::store::calls::CallRecord;
use crate::store::json::decode;
use crate::store::row::{self, OutcomeKey};
use crate::store::{BatchSeq, PanelNo, StoreError, damage, tables};

/// Panels with consecutive numbers on which a batch changed the same.
pub struct ChangedRun {
    /// The first of them.
    pub first: PanelNo,
    /// How many there are.
    pub panels: u32,
    /// What it changed.
    pub changed: Vec<Changed>,
}

/// What is kept of the past of one item on a panel.
pub struct Past {
    /// What batches changed of it, each with the batch, in the order of their acceptance.
    pub batches: Vec<(BatchRecord, Changed)>,
    /// What calls of the panel API changed, in their order, perhaps among other things: when, who, and whether it was there
    /// afterwards, where that is kept.
    pub calls: Vec<(i64, String, Option<bool>)>,
    /// What changed it before this moment is not kept, or not all of it, in Unix milliseconds.
    pub since_ms: Option<i64>,
}

impl Snapshot {
    /// What a batch changed, by panel, ascending.
    pub fn changed_by(
        &self,
        seq: BatchSeq,
        mut each: impl FnMut(ChangedRun) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::BEFORE)?;
            let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
            for entry in table.range::<&OutcomeKey>(&first..=&last)? {
                let (key, value) = entry?;
                let (panels, changed) = before::decode(value.value())?;
                each(ChangedRun { first: row::outcome_panel(key.value()), panels, changed })?;
            }
            Ok(())
        })
    }

    /// Since when all that batches change is kept, in Unix milliseconds; nothing where it always was.
    pub fn changes_are_kept_since(&self) -> Result<Option<i64>, StoreError> {
        damage::read(|| {
            let meta = self.transaction.open_table(tables::META)?;
            Ok(meta.get(KEPT_SINCE)?.map(|since| i64::try_from(since.value()).unwrap_or(i64::MAX)))
        })
    }

    /// What is kept of the past of an item on a panel. It costs a look for each batch that is kept.
    pub fn past_of(&self, panel: PanelNo, item: ItemId) -> Result<Past, StoreError> {
        let mut since_ms = self.changes_are_kept_since()?;
        damage::read(|| {
            let mut past = Past { batches: Vec::new(), calls: Vec::new(), since_ms: None };
            let before = self.transaction.open_table(tables::BEFORE)?;
            for entry in self.transaction.open_table(tables::BATCHES)?.iter()? {
                let (seq, record) = entry?;
                let Some(ToUndo { changed, .. }) = before::read_row(&before, seq.value(), panel)? else {
                    continue;
                };
                if let Some(changed) = changed.into_iter().find(|of| of.item == item) {
                    past.batches.push((decode(record.value(), "batch")?, changed));
                }
            }
            let calls = self.transaction.open_table(tables::CALLS)?;
            for (i, entry) in calls.range((panel, 0)..=(panel, u64::MAX))?.enumerate() {
                let (key, call) = entry?;
                let CallRecord { at_ms, actor, items, others } = CallRecord::decode(call.value())?;
                if i == 0 && key.value().1 > 1 {
                    since_ms = since_ms.max(Some(at_ms)); // others came before it
                }
                match items.iter().find(|(of, _)| *of == item) {
                    Some((_, there)) => past.calls.push((at_ms, actor, Some(*there))),
                    None if others => past.calls.push((at_ms, actor, None)),
                    None => {}
                }
            }
            past.since_ms = since_ms;
            Ok(past)
        })
    }
}
