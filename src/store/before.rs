//! What stood before a batch on the panels that it changed, and what an undo of it has to put back.
//!
//! A row of `before` is what a batch changed on one panel, and on those behind it where it changed the same: of each item the
//! body before and after, and when. Bodies are shared, so a fleet that is alike costs a row for each commit. `to_undo` has
//! the same of an undo: what its batch had changed, copied when the undo was accepted, so that it can run to its end
//! whatever becomes of that batch. Both name bodies, which stay as long; both go with their batch.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use redb::{AccessGuard, ReadableTable};

use super::row::{self, OutcomeKey};
use super::tables::Tables;
use super::{BatchSeq, PanelNo, StoreError};
use crate::batch::item::{ItemId, Kind};
use crate::clock;

/// An item that a batch has changed on a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Which item.
    pub item: ItemId,
    /// The body that stood there before; 0 for none.
    pub before: u64,
    /// The body that stood there then; 0 for none.
    pub after: u64,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
}

/// The bytes of one: kind (1), link_id (16), body before (8) and after (8), when (8).
const CHANGED: usize = 41;

/// Under which name `meta` has the moment since which all that batches change is kept, in Unix milliseconds: what was pushed
/// out is from before it.
pub(super) const KEPT_SINCE: &str = "changes_since";

/// Panels with consecutive numbers on which a batch changed the same: they are one row.
pub(super) struct BeforeRun {
    seq: BatchSeq,
    first: PanelNo,
    count: u32,
    changed: Rc<[Changed]>,
}

impl BeforeRun {
    fn goes_on(&self, seq: BatchSeq, panel: PanelNo, changed: &Rc<[Changed]>) -> bool {
        self.seq == seq
            && self.first.checked_add(self.count) == Some(panel)
            && (Rc::ptr_eq(&self.changed, changed) || self.changed == *changed)
    }
}

/// As stored: for how many panels it is the same (4), then each item.
fn encode(panels: u32, changed: &[Changed]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + CHANGED * changed.len());
    bytes.extend(panels.to_be_bytes());
    for Changed { item, before, after, at_ms } in changed {
        bytes.push(item.kind as u8);
        bytes.extend(item.link_id.as_bytes());
        bytes.extend(before.to_be_bytes());
        bytes.extend(after.to_be_bytes());
        bytes.extend(at_ms.to_be_bytes());
    }
    bytes
}

/// From what [`encode`] made.
pub(super) fn decode(bytes: &[u8]) -> Result<(u32, Vec<Changed>), StoreError> {
    let corrupt = || StoreError::Corrupt("what stood before a batch");
    let (panels, items) = bytes.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let (items, rest) = items.as_chunks::<CHANGED>();
    if !rest.is_empty() {
        return Err(corrupt());
    }
    let changed = items.iter().map(|item| {
        Some(Changed {
            item: ItemId { kind: Kind::from_byte(item[0])?, link_id: row::link_id(&item[1..17]) },
            before: row::be_u64(&item[17..25]),
            after: row::be_u64(&item[25..33]),
            at_ms: row::be_u64(&item[33..]) as i64,
        })
    });
    let changed = changed.collect::<Option<_>>().ok_or_else(corrupt)?;
    Ok((u32::from_be_bytes(*panels), changed))
}

/// The bodies that such a row names, each as often as it does.
pub(super) fn bodies_of(changed: &[Changed]) -> impl Iterator<Item = u64> + '_ {
    changed.iter().flat_map(|item| [item.before, item.after]).filter(|body| *body != 0)
}

/// What a batch changed on a panel, after it was applied there once more: where nothing newer came between, what stood
/// before is what stood before the first time.
fn applied_again(first: &[Changed], again: &[Changed]) -> Vec<Changed> {
    let mut changed: BTreeMap<ItemId, Changed> = first.iter().map(|of| (of.item, *of)).collect();
    for now in again {
        let before = changed.get(&now.item).filter(|first| first.after == now.before);
        let before = before.map_or(now.before, |first| first.before);
        changed.insert(now.item, Changed { before, ..*now });
    }
    changed.into_values().collect()
}

/// Which of the two tables.
#[derive(Clone, Copy)]
enum Of {
    Before,
    ToUndo,
}

impl Tables<'_> {
    /// Now, as all that this transaction does is dated.
    pub(super) fn at_ms(&mut self) -> i64 {
        *self.at_ms.get_or_insert_with(clock::now_ms)
    }

    /// Keeps what a batch has just changed on a panel.
    pub(super) fn keep_before(
        &mut self,
        seq: BatchSeq,
        panel: PanelNo,
        changed: &Rc<[Changed]>,
    ) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        if let Some(run) = self.before_run.as_mut().filter(|run| run.goes_on(seq, panel, changed)) {
            run.count += 1;
            return Ok(());
        }
        self.write_before_run()?;
        // No text takes the place of theirs from here on.
        self.body_changes.name(bodies_of(changed));
        self.before_run = Some(BeforeRun { seq, first: panel, count: 1, changed: Rc::clone(changed) });
        Ok(())
    }

    /// Writes the gathered run together with what stands for its panels, where the batch comes to them once more.
    pub(super) fn write_before_run(&mut self) -> Result<(), StoreError> {
        let Some(BeforeRun { seq, first, count, changed }) = self.before_run.take() else { return Ok(()) };
        let end = u64::from(first) + u64::from(count);
        let from = row_of(&*self.before, seq, first)?.map_or(first, |(begins, _)| begins);
        let last = (end - 1) as PanelNo; // the number of a panel
        let mut standing = Vec::new();
        for entry in
            self.before.range::<&OutcomeKey>(&row::outcome_key(seq, from)..=&row::outcome_key(seq, last))?
        {
            let (key, value) = entry?;
            standing.push((row::outcome_panel(key.value()), decode(value.value())?));
        }
        let mut next = u64::from(first);
        for (begins, (panels, stood)) in standing {
            let (begins, ends) = (u64::from(begins), u64::from(begins) + u64::from(panels));
            self.before.remove(&row::outcome_key(seq, begins as PanelNo))?;
            self.body_changes.count(bodies_of(&stood), -1);
            let (within, until) = (begins.max(u64::from(first)), ends.min(end));
            self.insert_before(Of::Before, seq, begins..within, &stood)?;
            self.insert_before(Of::Before, seq, next..within, &changed)?;
            self.insert_before(Of::Before, seq, within..until, &applied_again(&stood, &changed))?;
            self.insert_before(Of::Before, seq, until..ends, &stood)?;
            next = until;
        }
        self.insert_before(Of::Before, seq, next..end, &changed)
    }

    /// A row for these panels, if these are any.
    fn insert_before(
        &mut self,
        of: Of,
        seq: BatchSeq,
        panels: std::ops::Range<u64>,
        changed: &[Changed],
    ) -> Result<(), StoreError> {
        if panels.is_empty() {
            return Ok(());
        }
        let key = row::outcome_key(seq, panels.start as PanelNo);
        let value = encode((panels.end - panels.start) as u32, changed);
        match of {
            Of::Before => self.before.insert(&key, value.as_slice())?.is_some(),
            Of::ToUndo => self.to_undo.insert(&key, value.as_slice())?.is_some(),
        };
        self.body_changes.count(bodies_of(changed), 1);
        Ok(())
    }

    /// Copies what a batch changed on these panels, ascending, for the undo of this number. What is put back comes first, and
    /// then what is deleted, as batches have it.
    pub(super) fn copy_to_undo(
        &mut self,
        of: BatchSeq,
        seq: BatchSeq,
        panels: &[PanelNo],
    ) -> Result<(), StoreError> {
        self.write_before_run()?;
        let (first, last) = (row::outcome_key(of, 0), row::outcome_key(of, PanelNo::MAX));
        let mut next = 0;
        let mut runs = Vec::new();
        for entry in self.before.range::<&OutcomeKey>(&first..=&last)? {
            let (key, value) = entry?;
            let begins = row::outcome_panel(key.value());
            let (count, mut changed) = decode(value.value())?;
            changed.sort_by_key(|of| of.before == 0);
            next += panels[next..].partition_point(|panel| *panel < begins);
            while let Some(panel) = panels.get(next).filter(|panel| **panel - begins < count) {
                let from = u64::from(*panel);
                let until = panels[next..]
                    .iter()
                    .zip(from..)
                    .take_while(|(panel, at)| u64::from(**panel) == *at && **panel - begins < count);
                let length = until.count();
                next += length;
                runs.push((from..from + length as u64, changed.clone()));
            }
        }
        for (panels, changed) in runs {
            self.insert_before(Of::ToUndo, seq, panels, &changed)?;
        }
        Ok(())
    }

    /// What an undo has to put back on a panel, and on how many panels from which one on it is the same.
    pub fn to_undo(&self, seq: BatchSeq, panel: PanelNo) -> Result<Option<ToUndo>, StoreError> {
        read_row(&*self.to_undo, seq, panel)
    }

    /// A batch goes, and with it what stood before it.
    pub(super) fn forget_before(&mut self, seq: BatchSeq) -> Result<(), StoreError> {
        self.write_before_run()?;
        let (first, last) = (row::outcome_key(seq, 0), row::outcome_key(seq, PanelNo::MAX));
        let mut newest = None;
        for entry in self.before.extract_all::<&OutcomeKey>(&first..=&last)? {
            let (_, changed) = decode(entry?.1.value())?;
            newest = newest.max(changed.iter().map(|of| of.at_ms).max());
            self.body_changes.count(bodies_of(&changed), -1);
        }
        for entry in self.to_undo.extract_all::<&OutcomeKey>(&first..=&last)? {
            self.body_changes.count(bodies_of(&decode(entry?.1.value())?.1), -1);
        }
        if let Some(newest) = newest {
            self.changes_are_kept_since(newest.saturating_add(1))?;
        }
        Ok(())
    }

    /// What batches changed before this moment is not kept, or not all of it.
    pub(super) fn changes_are_kept_since(&mut self, at_ms: i64) -> Result<(), StoreError> {
        let at_ms = at_ms.max(0).unsigned_abs();
        if self.meta.get(KEPT_SINCE)?.is_none_or(|since| since.value() < at_ms) {
            self.meta.insert(KEPT_SINCE, at_ms)?;
        }
        Ok(())
    }

    /// The key to identifiers is lost: what stood of them before batches goes.
    pub(super) fn forget_identifiers_before(&mut self) -> Result<(), StoreError> {
        let mut runs = Vec::new();
        for (of, table) in [(Of::Before, &*self.before), (Of::ToUndo, &*self.to_undo)] {
            for entry in table.iter()? {
                let (key, value) = entry?;
                let (seq, first) = (row::be_u64(&key.value()[..8]), row::outcome_panel(key.value()));
                runs.push((of, seq, first, decode(value.value())?));
            }
        }
        for (of, seq, first, (panels, changed)) in runs {
            let key = row::outcome_key(seq, first);
            match of {
                Of::Before => self.before.remove(&key)?.is_some(),
                Of::ToUndo => self.to_undo.remove(&key)?.is_some(),
            };
            self.body_changes.count(bodies_of(&changed), -1);
            let left: Vec<_> = changed.into_iter().filter(|of| of.item.kind != Kind::Identifier).collect();
            if !left.is_empty() {
                let first = u64::from(first);
                self.insert_before(of, seq, first..first + u64::from(panels), &left)?;
            }
        }
        Ok(())
    }
}

/// What an undo has to put back on panels that follow each other.
pub struct ToUndo {
    /// The first of the panels.
    pub first: PanelNo,
    /// How many there are.
    pub panels: u32,
    /// What their batch had changed.
    pub changed: Vec<Changed>,
}

/// A row of such a table, and the first of its panels.
type Found<'a> = (PanelNo, AccessGuard<'a, &'static [u8]>);

/// The row of such a table that has this panel.
fn row_of(
    table: &impl ReadableTable<&'static OutcomeKey, &'static [u8]>,
    seq: BatchSeq,
    panel: PanelNo,
) -> Result<Option<Found<'_>>, StoreError> {
    let upper = row::outcome_key(seq, panel);
    let Some((key, value)) = table.upper_bound(Bound::Included(&upper))?.peek_prev()? else {
        return Ok(None);
    };
    let first = row::outcome_panel(key.value());
    if key.value()[..8] != upper[..8] {
        return Ok(None);
    }
    let (panels, _) = value.value().split_first_chunk::<4>().ok_or(StoreError::Corrupt("panels of a row"))?;
    Ok((panel - first < u32::from_be_bytes(*panels)).then_some((first, value)))
}

/// What such a row says of a panel.
pub(super) fn read_row(
    table: &impl ReadableTable<&'static OutcomeKey, &'static [u8]>,
    seq: BatchSeq,
    panel: PanelNo,
) -> Result<Option<ToUndo>, StoreError> {
    let Some((first, value)) = row_of(table, seq, panel)? else { return Ok(None) };
    let (panels, changed) = decode(value.value())?;
    Ok(Some(ToUndo { first, panels, changed }))
}

#[cfg(test)]
mod tests;
