//! A batch's part is taken: what it asks for is the desired state from now on. Every link_id that differs from what the
//! device has confirmed is marked as unknown in the same transaction, so it is unknown from before the first call.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::batch::item::{ItemId, Kind};
use crate::batch::{Content, ItemOutcome, Operations, Outcome, PanelState, Upsert, Zoned};
use crate::panel::decide::rules::Rules;
use crate::panel::decide::{self, Limits};
use crate::panel::undo;
use crate::panel::{Landed, Origin, Reply};
use crate::store::row::{Drift, Reported, RowName};
use crate::store::tables::PanelRows;
use crate::store::writer::PanelWork;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// Makes a batch's part the desired state of a panel.
pub(in crate::panel) struct Accept {
    pub panel: PanelNo,
    pub zoned: Arc<Zoned>,
    /// What identifiers the panel takes.
    pub limits: Limits,
    pub batch: BatchSeq,
    pub attempts: u16,
    pub origin: Arc<Origin>,
    pub reply: Reply,
    pub sent: Instant,
    pub outcome: Outcome,
    /// Told whether the panel has to wait for its device now.
    pub done: oneshot::Sender<bool>,
}

impl PanelWork for Accept {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        match self.zoned.operations().undoes {
            Some(_) => 2 * undo::ITEMS,
            None => 2 * self.zoned.operations().len(),
        }
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let undoing = match self.zoned.operations().undoes {
            Some(_) => Some(undo::undoing(rows, self.batch, self.zoned.zone())?),
            None => None,
        };
        let part = undoing.as_ref().map(|undoing| undoing.part(rows)).transpose()?;
        let zoned = part.as_ref().map_or(&self.zoned, |part| &part.zoned);
        let operations = zoned.operations();
        let mut items = Vec::with_capacity(operations.len());
        let unfit: Vec<_> =
            operations.upserts.iter().map(|upsert| decide::unfit(upsert, self.limits)).collect();
        let mut rules = Rules::of(rows, operations, |i| unfit[i].is_some() || self.zoned.is_unsaid(i))?;
        for (i, upsert) in operations.upserts.iter().enumerate() {
            let refused = if upsert.repeated {
                Some(ItemOutcome::Repeated)
            } else {
                unfit[i]
                    .or_else(|| self.zoned.is_unsaid(i).then_some(ItemOutcome::NeverOpens))
                    .or_else(|| rules.refuses_upsert(i))
            };
            items.push(match refused {
                Some(refusal) => refusal,
                None => desire(rows, upsert)?,
            });
        }
        for item in &operations.deletes {
            items.push(if rules.refuses_delete(rows, *item)? {
                ItemOutcome::Bound
            } else {
                undesire(rows, *item)?
            });
        }
        let (mut pruned, mut left) =
            if operations.prune() { prune(rows, operations, &mut rules)? } else { Default::default() };
        for (item, _) in decide::replaced_parts(rows, operations, &items)? {
            if rules.refuses_delete(rows, item)? {
                left.push(item);
                continue;
            }
            undesire(rows, item)?;
            pruned.push(item);
        }
        let deletes_more = !pruned.is_empty();
        if operations.concerns(Kind::Identifier) {
            let panel = rows.number();
            rows.tables().mark_identifiers(panel)?;
        }
        let prunes = operations.prune();
        self.outcome = match undoing.zip(part) {
            Some((undoing, part)) => undoing.outcome(part, items, self.attempts),
            None => Outcome::decided(items, pruned, decide::bound(left), self.attempts),
        };
        self.outcome.taken = true;
        if deletes_more {
            self.outcome.state = PanelState::Pending;
        }
        rows.keep_before(self.batch)?;
        if prunes {
            // What else the device holds is known only when it has been read.
            self.outcome.state = PanelState::Pending;
            let panel = rows.number();
            rows.tables().mark_to_reconcile(panel)?;
        }
        let panel = rows.number();
        rows.tables().set_outcome(self.batch, panel, &self.outcome)
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { panel, batch, origin, reply, sent, outcome, done, .. } = *self;
        origin.span.in_scope(|| {
            tracing::debug!(
                panel.number = panel,
                outcome = outcome.state.as_str(),
                committed = result.is_ok(),
                "a panel's part is desired of its device"
            );
        });
        let _ = done.send(result.is_ok() && outcome.state == PanelState::Pending); // gone only at the end
        if let Reply::Batch(tell) = reply {
            tell(Landed {
                batch,
                panel,
                outcome: Arc::new(outcome),
                result,
                sent,
                first: true,
                noted: false,
            });
        }
    }
}

/// From now on this is what the device should hold as the item.
fn desire(rows: &mut PanelRows<'_, '_>, upsert: &Upsert) -> Result<ItemOutcome, StoreError> {
    let Upsert { item, body, content, .. } = upsert;
    if let Content::Identifier(_, Some(photo)) = content {
        rows.tables().keep_photo(photo);
    }
    let item = *item;
    let name = RowName::Link(item);
    let standing = rows.get(name)?;
    let known = rows.reported(item)?;
    match standing {
        Some(row) if rows.holds(&row, body)? => match known {
            // What a device keeps otherwise comes out the same when it is sent again.
            Some(Reported::Held(_) | Reported::KeptOtherwise(_)) => return Ok(ItemOutcome::Unchanged),
            Some(Reported::Unknown) => {}
            // Asked for once more: so it is tried once more.
            Some(Reported::Refused(_) | Reported::Drifted(_)) | None => {
                rows.set_reported(item, Some(&Reported::Unknown))?;
            }
        },
        // Also what says the same in other words is sent: it is read back in those in which it was sent last.
        standing => {
            if known == Some(Reported::Unknown) {
                match standing {
                    Some(row) => rows.perhaps_holds(item, row.body)?,
                    None => rows.perhaps_lacks(item)?,
                }
            }
            rows.put(name, standing, body)?;
            rows.set_reported(item, Some(&Reported::Unknown))?;
        }
    }
    Ok(if standing.is_some() || known.is_some() { ItemOutcome::ToUpdate } else { ItemOutcome::ToCreate })
}

/// From now on the device should hold nothing as the item. What is not known to stand there is asked of the
/// device too: it may hold more than was ever sent from here.
fn undesire(rows: &mut PanelRows<'_, '_>, item: ItemId) -> Result<ItemOutcome, StoreError> {
    if let Some(row) = rows.get(RowName::Link(item))? {
        if rows.reported(item)? == Some(Reported::Unknown) {
            rows.perhaps_holds(item, row.body)?;
        }
        rows.remove(RowName::Link(item), row)?;
    }
    rows.set_reported(item, Some(&Reported::Unknown))?;
    Ok(ItemOutcome::ToDelete)
}

/// What is to go, and what identifiers name, and is left.
fn prune(
    rows: &mut PanelRows<'_, '_>,
    operations: &Operations,
    rules: &mut Rules<'_>,
) -> Result<(Vec<ItemId>, Vec<ItemId>), StoreError> {
    let named: HashSet<_> = operations.items().collect();
    let (mut pruned, mut left) = (Vec::new(), Vec::new());
    for (item, known) in rows.all_reported()? {
        if named.contains(&item) || !operations.pruned_kinds.contains(&item.kind) {
            continue;
        }
        let desired = rows.get(RowName::Link(item))?;
        if rules.refuses_delete(rows, item)? {
            left.push(item);
            continue;
        }
        if desired.is_some() || matches!(known, Reported::Drifted(Drift::Extra)) {
            undesire(rows, item)?;
            pruned.push(item);
        }
    }
    Ok((pruned, left))
}
