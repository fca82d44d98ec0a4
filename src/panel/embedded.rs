//! The driver for panels that this server itself is: their rows in the store are the panel, so work is done
//! once it is committed.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;

use super::decide::{Change, Decision, Limits, Standing, decide};
use super::undo::{self, Undoing};
use super::{Answer, Landed, Origin, Reply};
use crate::batch::item::{ItemId, Kind};
use crate::batch::{Body, Content, ItemOutcome, ItemResult, Operations, Outcome, PanelState, Zoned};
use crate::identifier::Identifier;
use crate::identifier::number::Credential;
use crate::identifier::rule::Kind::Face;
use crate::profile::LinkId;
use crate::store::identifier_in;
use crate::store::read::Snapshot;
use crate::store::row::{Reported, Row, RowName};
use crate::store::tables::{AuditRecord, Made, PanelRows, Whole};
use crate::store::writer::PanelWork;
use crate::store::{BatchSeq, PanelNo, StoreError};

impl Standing for PanelRows<'_, '_> {
    fn count(&mut self, kind: Kind) -> Result<u32, StoreError> {
        PanelRows::count(self, kind)
    }

    fn row(&mut self, item: ItemId) -> Result<Option<Row>, StoreError> {
        self.get(RowName::Link(item))
    }

    fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        PanelRows::holds(self, row, body)
    }

    fn all(&mut self) -> Result<Vec<(RowName, Row)>, StoreError> {
        PanelRows::all(self)
    }

    fn name(&mut self, kind: Kind, row: &Row) -> Result<Box<str>, StoreError> {
        name_in(kind, &self.json(row)?)
    }

    fn text(&mut self, body: u64) -> Result<Box<[u8]>, StoreError> {
        self.body_text(body)
    }

    fn bodies_with(&mut self, credential: &Credential) -> Result<Vec<u64>, StoreError> {
        PanelRows::bodies_with(self, credential)
    }

    fn bound_to(&mut self, row: &Row) -> Result<Arc<[LinkId]>, StoreError> {
        PanelRows::bound_to(self, row)
    }

    fn is_face(&mut self, row: &Row) -> Result<bool, StoreError> {
        Ok(identifier_in(&self.json(row)?)?.credential.kind() == Face)
    }
}

/// A panel's rows in a snapshot, for a dry run.
pub struct SnapshotRows<'s> {
    snapshot: &'s Snapshot,
    panel: PanelNo,
}

impl<'s> SnapshotRows<'s> {
    /// The panel's rows as the snapshot shows them.
    pub fn new(snapshot: &'s Snapshot, panel: PanelNo) -> Self {
        Self { snapshot, panel }
    }
}

impl Standing for SnapshotRows<'_> {
    fn count(&mut self, kind: Kind) -> Result<u32, StoreError> {
        Ok(self.snapshot.head(self.panel)?.count(kind))
    }

    fn row(&mut self, item: ItemId) -> Result<Option<Row>, StoreError> {
        self.snapshot.row(self.panel, RowName::Link(item))
    }

    fn holds(&mut self, row: &Row, body: &Body) -> Result<bool, StoreError> {
        Ok(*self.snapshot.body(row.body)? == *body.json())
    }

    fn all(&mut self) -> Result<Vec<(RowName, Row)>, StoreError> {
        self.snapshot.rows(self.panel)
    }

    fn name(&mut self, kind: Kind, row: &Row) -> Result<Box<str>, StoreError> {
        name_in(kind, self.snapshot.body(row.body)?.as_bytes())
    }

    fn text(&mut self, body: u64) -> Result<Box<[u8]>, StoreError> {
        Ok(self.snapshot.body(body)?.into_boxed_bytes())
    }

    fn bodies_with(&mut self, credential: &Credential) -> Result<Vec<u64>, StoreError> {
        self.snapshot.bodies_with(credential)
    }

    fn bound_to(&mut self, row: &Row) -> Result<Arc<[LinkId]>, StoreError> {
        Ok(self.identifier(row)?.profiles.as_slice().into())
    }

    fn is_face(&mut self, row: &Row) -> Result<bool, StoreError> {
        Ok(self.identifier(row)?.credential.kind() == Face)
    }
}

impl SnapshotRows<'_> {
    fn identifier(&self, row: &Row) -> Result<Identifier, StoreError> {
        identifier_in(self.snapshot.body(row.body)?.as_bytes())
    }
}

#[derive(Deserialize)]
struct Named {
    name: Box<str>,
}

/// The name in an item's JSON, of an identifier its owner's.
pub(super) fn name_in(kind: Kind, json: &[u8]) -> Result<Box<str>, StoreError> {
    if kind == Kind::Identifier {
        return Ok(identifier_in(json)?.name.as_str().into());
    }
    let named: Named = serde_json::from_slice(json).map_err(|_| StoreError::Corrupt("body"))?;
    Ok(named.name)
}

/// Operations by link_id on one panel, decided and written in one transaction, with the outcome in the batch.
pub struct ApplyToRows {
    /// Which panel.
    pub panel: PanelNo,
    /// What to do.
    pub zoned: Arc<Zoned>,
    /// The panel's limits.
    pub limits: Limits,
    /// The batch that this is a part of.
    pub batch: Option<BatchSeq>,
    /// How often it was tried, this time included.
    pub attempts: u16,
    /// Who asked.
    pub origin: Arc<Origin>,
    /// What goes into the audit.
    pub audit: Option<AuditRecord>,
    /// Whom to tell after the commit.
    pub reply: Reply,
    /// When the panel was told.
    pub sent: Instant,
    /// What was decided for a caller; empty before.
    pub decision: Decision,
    /// What came of a batch's part; nothing before.
    pub outcome: Option<Arc<Outcome>>,
    /// Whether what the panel refuses has changed.
    pub noted: bool,
}

impl PanelWork for ApplyToRows {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        match self.zoned.operations().undoes {
            Some(_) => undo::ITEMS,
            None => self.zoned.operations().len(),
        }
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        match self.batch {
            Some(batch) => {
                let undoing = match self.zoned.operations().undoes {
                    Some(_) => Some(undo::undoing(rows, batch, self.zoned.zone())?),
                    None => None,
                };
                let outcome = self.run_or_repeat(rows, batch, undoing.as_ref())?;
                let refused = matches!(outcome.state, PanelState::Partial | PanelState::Rejected);
                let asked = undoing.as_ref().map_or(&self.zoned, |undoing| undoing.zoned());
                self.noted = note_refusals(rows, asked.operations(), &outcome.items, refused)?;
                let panel = rows.number();
                rows.tables().set_outcome(batch, panel, &outcome)?;
                self.outcome = Some(outcome);
            }
            None => {
                self.decision = decide(rows, &self.zoned, self.limits)?;
                write(rows, self.zoned.operations(), std::mem::take(&mut self.decision.changes), false)?;
                rows.keep_call(&self.origin.actor)?;
                // Whoever calls the panel is told of refusals right here.
                note_refusals(rows, self.zoned.operations(), &self.decision.items, false)?;
            }
        }
        if let Some(audit) = &self.audit {
            rows.tables().audit(audit)?;
        }
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { panel, batch, attempts, origin, reply, sent, zoned, decision, outcome, noted, .. } = *self;
        if tracing::enabled!(tracing::Level::DEBUG) {
            origin.span.in_scope(|| {
                tracing::debug!(
                    panel.number = panel,
                    committed = result.is_ok(),
                    "a panel's part is through the store"
                );
            });
        }
        match reply {
            Reply::Batch(tell) => {
                let batch = batch.unwrap_or_default();
                let outcome = outcome.unwrap_or_else(|| Arc::new(Outcome::pending(attempts)));
                tell(Landed { batch, panel, outcome, result, sent, first: true, noted });
            }
            Reply::Caller(caller) => {
                let results = zoned
                    .operations()
                    .items()
                    .zip(decision.items)
                    .enumerate()
                    .map(|(i, (item, outcome))| ItemResult {
                        item,
                        outcome,
                        name_taken: decision.names_taken.get(i).copied().unwrap_or(false),
                    })
                    .collect();
                let _ = caller.send(result.map(|()| Answer { results })); // the caller may have left
            }
        }
    }
}

/// Keeps beside the panel's rows what it refused of a batch, until the same is taken or deleted, or pruned away: that a
/// profile is not there, though somebody wants it, is a fact about the panel. Says whether there was anything to change.
fn note_refusals(
    rows: &mut PanelRows<'_, '_>,
    operations: &Operations,
    items: &[ItemOutcome],
    refused: bool,
) -> Result<bool, StoreError> {
    if !refused && !rows.has_reported()? {
        return Ok(false);
    }
    let before = rows.all_reported()?;
    if operations.prune() {
        let named: HashSet<_> = operations.items().collect();
        let pruned = |item: &ItemId| operations.pruned_kinds.contains(&item.kind) && !named.contains(item);
        for (item, _) in before.iter().filter(|(item, _)| pruned(item)) {
            rows.set_reported(*item, None)?;
        }
    }
    for (item, outcome) in operations.items().zip(items) {
        if *outcome == ItemOutcome::ChangedSince {
            continue; // an undo has left it, and what was refused of it since stays so
        }
        if !outcome.refused() {
            rows.set_reported(item, None)?;
        } else if refused {
            rows.set_reported(item, Some(&Reported::Refused(outcome.extended_info().into())))?;
        }
    }
    Ok(rows.all_reported()? != before)
}

/// What the same operations made of the same rows: panels of a fleet hold much the same, and a batch comes to one
/// after the other.
struct Repeat {
    zoned: Arc<Zoned>,
    undoing: Option<Arc<Undoing>>,
    limits: Limits,
    attempts: u16,
    before: Whole,
    made: Made,
    outcome: Arc<Outcome>,
}

impl Repeat {
    fn is_of(&self, work: &ApplyToRows, undoing: Option<&Arc<Undoing>>) -> bool {
        Arc::ptr_eq(&self.zoned, &work.zoned)
            && self.undoing.as_ref().map(Arc::as_ptr) == undoing.map(Arc::as_ptr)
            && (self.limits, self.attempts) == (work.limits, work.attempts)
    }
}

impl ApplyToRows {
    fn run_or_repeat(
        &mut self,
        rows: &mut PanelRows<'_, '_>,
        batch: BatchSeq,
        undoing: Option<&Arc<Undoing>>,
    ) -> Result<Arc<Outcome>, StoreError> {
        if let Some(repeat) = rows.tables().note::<Rc<Repeat>>().cloned()
            && repeat.is_of(self, undoing)
            && rows.make_where(&repeat.before, &repeat.made)?
        {
            rows.keep_before_as_made(batch, &repeat.made)?;
            return Ok(Arc::clone(&repeat.outcome));
        }
        let before = rows.whole()?;
        let outcome = match undoing {
            Some(undoing) => {
                let (part, decision) = undoing.decide(rows, self.limits)?;
                write(rows, part.zoned.operations(), decision.changes, true)?;
                undoing.outcome(part, decision.items, self.attempts)
            }
            None => {
                let mut decision = decide(rows, &self.zoned, self.limits)?;
                write(rows, self.zoned.operations(), std::mem::take(&mut decision.changes), true)?;
                decision.into_outcome(self.attempts)
            }
        };
        let outcome = Arc::new(outcome);
        if let (Some(before), Some(made)) = (before, rows.made()?) {
            rows.keep_before_as_made(batch, &made)?;
            rows.tables().set_note(Rc::new(Repeat {
                zoned: Arc::clone(&self.zoned),
                undoing: undoing.cloned(),
                limits: self.limits,
                attempts: self.attempts,
                before,
                made,
                outcome: Arc::clone(&outcome),
            }));
        } else {
            rows.keep_before(batch)?;
        }
        Ok(outcome)
    }
}

/// Makes the changes that were decided on.
fn write(
    rows: &mut PanelRows<'_, '_>,
    operations: &Operations,
    changes: Vec<Change>,
    of_batch: bool,
) -> Result<(), StoreError> {
    for change in changes {
        match change {
            Change::Put(index, standing) => {
                let upsert = &operations.upserts[index]; // decide() gives indexes of this list
                if let Content::Identifier(_, Some(photo)) = &upsert.content {
                    rows.tables().keep_photo(photo);
                }
                let name = RowName::Link(upsert.item);
                if of_batch {
                    rows.put(name, standing, &upsert.body)?;
                } else {
                    rows.put_in_place(name, standing, &upsert.body)?;
                }
            }
            Change::Remove(item, standing) => rows.remove(RowName::Link(item), standing)?,
        }
    }
    Ok(())
}

/// Takes a panel with all its rows out of the store.
pub(super) struct Remove {
    pub panel: PanelNo,
    pub audit: AuditRecord,
    pub done: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

impl PanelWork for Remove {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        // Not small: it must not overtake anything of its panel, nor anything else.
        256
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let panel = rows.number();
        rows.tables().remove_panel(panel, &self.audit)
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        (self.done)(result);
    }
}
