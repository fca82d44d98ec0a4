//! Taking a batch back: on each panel that it changed, what stood before is put back, unless something newer has changed it.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::batches::{IdempotencyKey, Plan, PlannedPanel};
use super::opening::{self, Foretelling};
use super::{Fleet, FleetError};
use crate::batch::report::Report;
use crate::batch::selector::Selector;
use crate::batch::{BatchState, Operations};
use crate::clock;
use crate::coordinator::register::Entry;
use crate::coordinator::{SubmitError, Submitted, Target};
use crate::panel::Origin;
use crate::panel::embedded::SnapshotRows;
use crate::panel::undo::Undoing;
use crate::schedule::Day;
use crate::store::read::Snapshot;
use crate::store::read::past::ChangedRun;
use crate::store::{Changed, StoreError};

/// How to what is not kept here.
const BACKUP: &str = "what stood before it is then only in a backup from before it, which `panelsync restore FILE --data-dir DIR` puts into an empty folder";

/// A batch that may be taken back, and on which panels.
struct Undoable {
    id: Uuid,
    panels: Vec<(Entry, Arc<Vec<Changed>>)>,
}

impl Fleet {
    /// What the undo of a batch would do on those of its panels that a selector picks.
    pub async fn plan_undo(&self, id: &str, selector: Option<Selector>) -> Result<Plan, FleetError> {
        let Undoable { mut panels, .. } = self.undoable(id, selector).await?;
        panels.sort_unstable_by(|(a, _), (b, _)| a.settings.id.cmp(&b.settings.id));
        self.read(move |snapshot| plan(snapshot, &panels)).await
    }

    /// Takes a batch back on those of its panels that a selector picks: has the undo made durable and sent out, as a batch.
    pub async fn undo(
        &self,
        id: &str,
        selector: Option<Selector>,
        key: Option<IdempotencyKey>,
        origin: Origin,
    ) -> Result<Submitted, FleetError> {
        let key = key.map(|key| key.of(&origin));
        let (batch, panels) = if self.sent_before(key.as_ref())? {
            (Uuid::try_parse(id).map_err(|_| no_batch(id))?, Vec::new()) // it is answered as it was
        } else {
            let Undoable { id, panels } = self.undoable(id, selector.clone()).await?;
            let mut numbers: Vec<_> = panels.iter().map(|(panel, _)| panel.number).collect();
            numbers.sort_unstable();
            (id, numbers)
        };
        let operations = Arc::new(Operations::undoing(batch));
        let accepted = self.accept(Target::Undo(batch, selector, panels), operations, key, origin).await;
        accepted.map_err(|error| match error {
            SubmitError::NoSuchBatch => no_batch(id),
            error => error.into(),
        })
    }

    /// A batch that can be taken back, with its panels, or why it cannot.
    async fn undoable(&self, id: &str, selector: Option<Selector>) -> Result<Undoable, FleetError> {
        let seq = self.batch(id).map_err(|error| match error {
            FleetError::NotFound(_) => no_batch(id),
            error => error,
        })?;
        let record = self.report(seq).await.map_err(|error| match error {
            FleetError::NotFound(_) => no_batch(id),
            error => error,
        })?;
        if record.state == BatchState::Running {
            let why = "the batch is still running; wait for it, or cancel it first, and then undo it";
            return Err(FleetError::Conflict(why.into()));
        }
        let items = record.report.items;
        let has_changed = items.created + items.updated + items.deleted > 0;
        let register = self.register.now();
        let id = record.id;
        self.read(move |snapshot| {
            let mut any = false;
            let mut panels = Vec::new();
            snapshot.changed_by(seq, |ChangedRun { first, panels: count, changed }| {
                any = true;
                let changed = Arc::new(changed);
                let numbers = first..first.saturating_add(count);
                let entries = numbers.filter_map(|number| register.by_number(number));
                let picked = |entry: &&Entry| selector.as_ref().is_none_or(|of| entry.settings.matches(of));
                panels.extend(entries.filter(picked).map(|entry| (entry.clone(), Arc::clone(&changed))));
                Ok(())
            })?;
            if !any {
                return Err(FleetError::Conflict(if has_changed {
                    format!("what stood before the batch is not kept; {BACKUP}")
                } else {
                    "the batch has changed nothing that could be put back".into()
                }));
            }
            if panels.is_empty() {
                return Err(SubmitError::NoPanels(Target::Undo(id, selector, Vec::new())).into());
            }
            if !stands_anywhere(snapshot, &panels)? {
                let why = "nothing that the batch changed stands there as it left it: something newer has changed it, or it was undone before";
                return Err(FleetError::Conflict(why.into()));
            }
            Ok(Undoable { id, panels })
        })
        .await
    }
}

fn no_batch(id: &str) -> FleetError {
    FleetError::NotFound(format!("batch {id}, or its report is not kept any more; {BACKUP}"))
}

/// Whether anything is as the batch left it, on any of the panels.
fn stands_anywhere(snapshot: &Snapshot, panels: &[(Entry, Arc<Vec<Changed>>)]) -> Result<bool, StoreError> {
    for (panel, changed) in panels {
        let mut rows = SnapshotRows::new(snapshot, panel.number);
        for of in changed.iter() {
            if of.stands(&mut rows)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn plan(snapshot: &Snapshot, panels: &[(Entry, Arc<Vec<Changed>>)]) -> Result<Plan, StoreError> {
    let asked = Operations::default();
    let mut report = Report::of_pending(panels.len(), &asked);
    let mut planned = Vec::with_capacity(panels.len());
    // Of each zone, what is asked of the panels that came last: neighbours have it in common.
    let today = Day::in_utc(clock::now_ms() / 1000);
    let mut foretelling = Foretelling::new(snapshot, today, opening::DAYS);
    let mut of_zones: HashMap<&str, (&Arc<Vec<Changed>>, Undoing)> = HashMap::new();
    for (panel, changed) in panels {
        let zone = &panel.settings.zone;
        let known = of_zones.remove(zone.name()).filter(|(of, _)| Arc::ptr_eq(of, changed));
        let undoing = match known {
            Some((_, undoing)) => undoing,
            None => Undoing::new(changed.to_vec(), zone.rules(), |body| {
                Ok(snapshot.body(body)?.into_boxed_bytes())
            })?,
        };
        let mut rows = SnapshotRows::new(snapshot, panel.number);
        let (part, decision) = undoing.decide(&mut rows, panel.settings.limits())?;
        let opening = foretelling.add(panel.number, zone, &part.zoned, &decision)?;
        let outcome = undoing.outcome(part, decision.items, 0);
        of_zones.insert(zone.name(), (changed, undoing));
        report.add(&outcome, asked.kinds());
        planned.push(PlannedPanel::of(panel, &outcome, &asked, opening));
    }
    Ok(Plan { report, panels: planned, unread: 0, opening: foretelling.finish() })
}
