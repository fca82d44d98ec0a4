//! Batches: plan, submit, report, cancel, retry.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::Gathered;
use super::opening::{self, Difference, Foretelling, Opening};
use super::wanted::Wanted;
use super::{FieldError, Fleet, FleetError, Page, read_after_change};
use crate::batch::item::{ItemId, Kind};
use crate::batch::report::{ItemCounts, Report};
use crate::batch::{BatchRecord, BatchState, ItemOutcome, Operations, Outcome, PanelState, Zoned};
use crate::clock;
use crate::coordinator::batches::refuse_unknown;
use crate::coordinator::register::Entry;
use crate::coordinator::{Cancel, Progress, Retry, Submit, SubmitError, Submitted, Target, work};
use crate::panel::Origin;
use crate::panel::decide::decide;
use crate::panel::embedded::SnapshotRows;
use crate::panel::settings::PanelId;
use crate::schedule::Day;
use crate::store::read::Snapshot;
use crate::store::row::{Drift, Reported, RowName};
use crate::store::{BatchSeq, PanelNo, StoreError};

/// What a client calls its batch, so that sending it twice is sending it once.
pub struct IdempotencyKey {
    name: String,
    digest: [u8; 32],
}

impl IdempotencyKey {
    /// A name for what is asked for in this body.
    pub fn new(name: String, body: &[u8]) -> Self {
        Self { name, digest: Sha256::digest(body).into() }
    }

    /// As it is kept: one's keys are not another's. No name holds a line feed.
    pub(super) fn of(self, origin: &Origin) -> (String, [u8; 32]) {
        (format!("{}\n{}", origin.actor, self.name), self.digest)
    }
}

/// What a batch would do.
pub struct Plan {
    /// The sums over all panels.
    pub report: Report,
    /// Each panel's part, by id.
    pub panels: Vec<PlannedPanel>,
    /// On so many devices it would delete whatever else they hold, and nobody has read what that is.
    pub unread: u64,
    /// What it would do to opening hours.
    pub opening: Opening,
}

/// What a batch would do on one panel.
pub struct PlannedPanel {
    /// Which panel.
    pub panel: PanelId,
    /// What would come of it.
    pub outcome: PanelState,
    /// What its items would come to.
    pub items: ItemCounts,
    /// What it would refuse, or an undo would leave, and why; the first ones.
    pub refused: Vec<ItemResult>,
    /// By how much its door would be open longer, and less long.
    pub opening: Difference,
}

impl PlannedPanel {
    /// What this would come to.
    pub(super) fn of(panel: &Entry, outcome: &Outcome, operations: &Operations, opening: Difference) -> Self {
        let mut alone = Report::of_pending(1, operations);
        alone.add(outcome, operations.kinds());
        let items = outcome.item_ids(operations).zip(&outcome.items);
        let items = items.filter(|(_, came)| came.refused() || **came == ItemOutcome::ChangedSince);
        let left = outcome.left.iter().map(|(item, why)| (*item, why));
        let refused = items.chain(left).take(REFUSALS);
        Self {
            panel: panel.settings.id.clone(),
            outcome: outcome.state,
            items: alone.items,
            refused: refused.map(|(item, why)| ItemResult::new(item, *why, why.extended_info())).collect(),
            opening,
        }
    }
}

/// Refusals of a plan that are named, of each panel.
const REFUSALS: usize = 20;

/// What came of a batch on one panel.
pub struct BatchPanel {
    /// Which panel.
    pub panel: String,
    /// What came of it.
    pub outcome: PanelState,
    /// How often it was tried.
    pub attempts: u16,
    /// Why it failed or waits, and what to do.
    pub error: Option<String>,
    /// When the next attempt is, in Unix milliseconds; only while it waits after a failed one.
    pub next_attempt_ms: Option<i64>,
    /// One per item, then those that pruning deleted; empty before the panel has taken its part.
    pub items: Vec<ItemResult>,
}

/// What came of one item on one panel.
pub struct ItemResult {
    /// Which item.
    pub item: ItemId,
    /// Whether it was done.
    pub success: bool,
    /// How, or why not, in the panel's words.
    pub extended_info: String,
}

impl ItemResult {
    fn new(item: ItemId, outcome: ItemOutcome, word: &str) -> Self {
        Self { item, success: outcome.success(), extended_info: word.to_owned() }
    }
}

impl Fleet {
    /// What the batch would do. It is refused as [`Fleet::submit`] would refuse it.
    pub async fn plan(&self, target: Target, operations: Arc<Operations>) -> Result<Plan, FleetError> {
        if operations.concerns(Kind::Identifier) {
            self.refuse_taken(&target, Arc::clone(&operations)).await?;
        }
        self.plan_panels(target, operations, opening::DAYS).await
    }

    /// The same unasked, with opening hours over so many days.
    async fn plan_panels(
        &self,
        target: Target,
        operations: Arc<Operations>,
        days: i64,
    ) -> Result<Plan, FleetError> {
        let panels = self.targets(&target)?;
        refuse_unknown(&operations, panels.iter())?;
        self.read(move |snapshot| plan_panels(snapshot, &panels, operations, days)).await
    }

    /// Has a batch made durable and sent out. One that prunes more than it names has to say how much it means, and so has one
    /// that opens or closes more door-hours than the budget has.
    pub async fn submit(
        &self,
        wanted: Wanted,
        key: Option<IdempotencyKey>,
        origin: Origin,
    ) -> Result<Submitted, FleetError> {
        let Wanted { target, operations, confirm_deletes, confirm_door_hours, .. } = wanted;
        let key = key.map(|key| key.of(&origin));
        // A short number could be found out by trying which one gives the digest.
        let key = match key {
            Some((name, digest)) if operations.concerns(Kind::Identifier) => {
                Some((name, self.store.read()?.keyed(&digest)))
            }
            key => key,
        };
        let operations = Arc::new(operations);
        let sent_before = self.sent_before(key.as_ref())?;
        if operations.concerns(Kind::Identifier) && !sent_before {
            self.refuse_taken(&target, Arc::clone(&operations)).await?;
        }
        if (operations.prune() || self.door_hours_budget.is_some()) && !sent_before {
            // Opening hours are looked at for the budget alone.
            let days = self.door_hours_budget.map_or(0, |_| opening::DAYS);
            let plan = self.plan_panels(target.clone(), Arc::clone(&operations), days).await?;
            if operations.prune() {
                are_deletions_meant(&plan, operations.len() as u64, confirm_deletes)?;
            }
            self.is_within_budget(&plan.opening, confirm_door_hours)?;
        }
        Ok(self.accept(target, operations, key, origin).await?)
    }

    /// Refuses identifiers whose type and number another one has on some of the panels, and keeps.
    pub async fn refuse_taken(&self, target: &Target, operations: Arc<Operations>) -> Result<(), FleetError> {
        let panels = self.targets(target)?;
        self.read(move |snapshot| refuse_taken_numbers(snapshot, &panels, &operations)).await
    }

    /// Has a batch made durable and sent out as it is.
    pub async fn accept(
        &self,
        target: Target,
        operations: Arc<Operations>,
        idempotency: Option<(String, [u8; 32])>,
        mut origin: Origin,
    ) -> Result<Submitted, SubmitError> {
        let id = Uuid::new_v4();
        origin.span = tracing::info_span!(parent: &origin.span, "batch", batch.id = %id);
        let batch = Submit { id, target, operations, idempotency, origin };
        let accepted = self.coordinator.send(batch).await.map_err(|_| StoreError::Busy)??;
        accepted.await.map_err(|_| StoreError::Busy)?
    }

    /// Whether a batch stands for this key; its answer is the first one again, whatever the panels hold by now.
    pub(super) fn sent_before(&self, key: Option<&(String, [u8; 32])>) -> Result<bool, FleetError> {
        match key {
            Some((name, _)) => {
                let since_ms =
                    clock::now_ms() - i64::try_from(self.keep_keys.as_millis()).unwrap_or(i64::MAX);
                Ok(self.store.read()?.key(name)?.is_some_and(|key| key.at_ms >= since_ms))
            }
            None => Ok(false),
        }
    }

    /// Refuses a batch that would open or close more door-hours than the budget has, unless so many are confirmed.
    fn is_within_budget(&self, opening: &Opening, confirmed: Option<u64>) -> Result<(), FleetError> {
        let (Some(budget), hours) = (self.door_hours_budget, opening.door_hours()) else { return Ok(()) };
        if hours <= budget.max(confirmed.unwrap_or(0)) {
            return Ok(());
        }
        let Opening { gained_s, lost_s, panels_gaining, panels_losing, .. } = opening;
        let (opens, closes) = (gained_s.div_ceil(3600), lost_s.div_ceil(3600));
        let message = format!(
            "within four weeks the batch would open doors for {opens} hours more, on {panels_gaining} panels, and for {closes} hours less, on {panels_losing}; that is {hours} door-hours, and the budget is {budget}. If that is meant, send it with \"confirm_door_hours\": {hours}"
        );
        Err(FleetError::ConflictAt(vec![FieldError::at("/confirm_door_hours", message)]))
    }

    /// A batch that was submitted, as it is at its end, or after a while.
    pub async fn outcome_within(
        &self,
        Submitted { seq, done, .. }: Submitted,
        wait: Duration,
    ) -> Result<BatchRecord, FleetError> {
        let _ = tokio::time::timeout(wait, done).await; // the batch's record says which of the two it was
        read_after_change(async || self.report(seq).await).await
    }

    /// The number of a batch.
    pub fn batch(&self, id: &str) -> Result<BatchSeq, FleetError> {
        let no_batch = || FleetError::NotFound(format!("batch {id}"));
        let uuid = Uuid::try_parse(id).map_err(|_| no_batch())?;
        self.store.read()?.batch_seq(uuid)?.ok_or_else(no_batch)
    }

    /// A batch's record as it is now.
    pub async fn report(&self, seq: BatchSeq) -> Result<BatchRecord, FleetError> {
        let record = self.store.read()?.batch(seq)?.ok_or_else(no_such_batch)?;
        if record.state != BatchState::Running {
            return Ok(record);
        }
        match self.coordinator.send(Progress(seq)).await? {
            Some(record) => Ok(record),
            // It has ended in between.
            None => self.store.read()?.batch(seq)?.ok_or_else(no_such_batch),
        }
    }

    /// At most `limit` batches before one, newest first, as they are now.
    pub async fn page_of_batches(
        &self,
        before: BatchSeq,
        limit: usize,
    ) -> Result<Page<BatchRecord, BatchSeq>, FleetError> {
        let batches = self.read(move |snapshot| snapshot.batches(before, limit + 1)).await?;
        let mut page = Page::cut(batches, limit, |(seq, _)| *seq);
        for (seq, record) in &mut page.items {
            if record.state == BatchState::Running
                && let Some(current) = self.coordinator.send(Progress(*seq)).await?
            {
                *record = current;
            }
        }
        Ok(page.map(|(_, record)| record))
    }

    /// What a batch asks for.
    pub async fn asked_by(&self, seq: BatchSeq) -> Result<Operations, FleetError> {
        self.read(move |snapshot| {
            let work = snapshot.batch_work(seq)?.ok_or_else(no_such_batch)?;
            Ok::<_, FleetError>(work::decode(&work)?)
        })
        .await
    }

    /// At most `limit` panels of a batch after one, with what came of it there.
    pub async fn outcomes(
        &self,
        seq: BatchSeq,
        wanted: Option<PanelState>,
        after: PanelNo,
        limit: usize,
    ) -> Result<Page<BatchPanel, PanelNo>, FleetError> {
        let mut page = self.read(move |snapshot| outcomes(snapshot, seq, wanted, after, limit)).await?;
        let waiting = page.items.iter().filter(|(_, row)| row.outcome == PanelState::Pending);
        let conditions = self.conditions(waiting.map(|(panel, _)| *panel));
        let pending = page.items.iter_mut().filter(|(_, row)| row.outcome == PanelState::Pending);
        for ((_, row), condition) in pending.zip(conditions) {
            let Some(condition) = condition else { continue };
            row.attempts = row.attempts.saturating_add(condition.failures.min(u16::MAX.into()) as u16);
            row.error = condition.last_error.map(Into::into);
            row.next_attempt_ms = condition.next_attempt_ms;
        }
        Ok(page.map(|(_, row)| row))
    }

    /// Cancels the batch of this id.
    pub async fn cancel(&self, id: &str, origin: Origin) -> Result<BatchSeq, FleetError> {
        let seq = self.batch(id)?;
        self.coordinator.send(Cancel(seq, origin)).await??.await??;
        Ok(seq)
    }

    /// Sends the batch of this id again to the panels where it was not applied.
    pub async fn retry(&self, id: &str, mut origin: Origin) -> Result<Submitted, FleetError> {
        let seq = self.batch(id)?;
        origin.span = tracing::info_span!(parent: &origin.span, "batch", batch.id = %id, retry = true);
        Ok(self.coordinator.send(Retry(seq, origin)).await??.await??)
    }
}

/// Refuses a batch that would delete more items than it names, unless so many deletions are confirmed.
fn are_deletions_meant(plan: &Plan, named: u64, confirmed: Option<u64>) -> Result<(), FleetError> {
    let (unread, deletes) = (plan.unread, plan.report.items.deleted);
    if unread > 0 && confirmed.is_none() {
        let message = format!(
            "the batch would delete {deletes} items, and on {unread} devices whatever else they hold, which was not read yet; if that is meant, send it with \"confirm_deletes\": {deletes}"
        );
        return Err(FleetError::ConflictAt(vec![FieldError::at("/confirm_deletes", message)]));
    }
    if deletes > named && deletes > confirmed.unwrap_or(0) {
        let message = format!(
            "the batch would delete {deletes} items and names {named}; if that is meant, send it with \"confirm_deletes\": {deletes}"
        );
        return Err(FleetError::ConflictAt(vec![FieldError::at("/confirm_deletes", message)]));
    }
    Ok(())
}

fn no_such_batch() -> FleetError {
    FleetError::NotFound("such batch".into())
}

fn refuse_taken_numbers(
    snapshot: &Snapshot,
    panels: &[Entry],
    operations: &Operations,
) -> Result<(), FleetError> {
    let mut by_body: HashMap<u64, Vec<(usize, ItemId)>> = HashMap::new();
    for (i, link_id, identifier) in operations.identifiers() {
        for body in snapshot.bodies_with(&identifier.credential)? {
            by_body.entry(body).or_default().push((i, ItemId::identifier(link_id)));
        }
    }
    if by_body.is_empty() {
        return Ok(());
    }
    let credential = |i: usize| operations.upserts.get(i).and_then(|upsert| upsert.body.credential());
    let keeps = |name: RowName, wanted: usize| match name {
        RowName::Uid(..) => true,
        RowName::Link(item) => {
            let gives_up =
                operations.upsert_of(item).is_some_and(|changed| credential(changed) != credential(wanted));
            !gives_up && !operations.deletes_item(item)
        }
    };
    let mut taken: BTreeMap<usize, String> = BTreeMap::new();
    for panel in panels {
        for (name, row) in snapshot.rows(panel.number)? {
            for (i, me) in by_body.get(&row.body).into_iter().flatten() {
                if name == RowName::Link(*me) || !keeps(name, *i) || taken.contains_key(i) {
                    continue;
                }
                let holder = match name {
                    RowName::Link(item) => item.to_string(),
                    RowName::Uid(_, uid) => format!("the identifier that was made there with uid {uid}"),
                };
                taken.insert(*i, format!("panel {}: {holder} has this type and number", panel.settings.id));
            }
        }
    }
    let mut errors = Gathered::default();
    for (i, why) in taken {
        errors.add(|| FieldError::at(format!("/identifiers/upsert/{i}/identifier_number"), why));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.into_error()) }
}

fn plan_panels(
    snapshot: &Snapshot,
    panels: &[Entry],
    operations: Arc<Operations>,
    days: i64,
) -> Result<Plan, StoreError> {
    let mut zones = HashMap::new();
    let mut report = Report::of_pending(panels.len(), &operations);
    let mut planned = Vec::with_capacity(panels.len());
    let mut unread = 0;
    let named: HashSet<_> = operations.items().collect();
    let today = Day::in_utc(clock::now_ms() / 1000);
    let mut foretelling = Foretelling::new(snapshot, today, days);
    for panel in panels {
        let zone = &panel.settings.zone;
        let zoned = zones
            .entry(zone.name())
            .or_insert_with(|| Arc::new(Zoned::new(Arc::clone(&operations), zone.rules())));
        let mut rows = SnapshotRows::new(snapshot, panel.number);
        let decision = decide(&mut rows, zoned, panel.settings.limits())?;
        let opening = foretelling.add(panel.number, zone, zoned, &decision)?;
        let mut outcome = decision.into_outcome(0);
        if operations.prune() && panel.settings.is_device() {
            unread += u64::from(!is_read(snapshot, panel, &operations)?);
            snapshot.each_reported(panel.number, |item, known| {
                let is_extra = known == Reported::Drifted(Drift::Extra);
                if is_extra && operations.pruned_kinds.contains(&item.kind) && !named.contains(&item) {
                    outcome.pruned.push(item);
                }
                Ok(true)
            })?;
        }
        report.add(&outcome, operations.kinds());
        planned.push(PlannedPanel::of(panel, &outcome, &operations, opening));
    }
    Ok(Plan { report, panels: planned, unread, opening: foretelling.finish() })
}

/// Whether a device was read, with all kinds of which such a batch prunes.
fn is_read(snapshot: &Snapshot, panel: &Entry, operations: &Operations) -> Result<bool, StoreError> {
    let device = snapshot.device(panel.number)?.unwrap_or_default();
    let prunes_identifiers = operations.pruned_kinds.contains(&Kind::Identifier);
    let identifiers =
        !prunes_identifiers || device.told_identifiers || panel.settings.identifier_api().is_none();
    Ok(device.last_read_ms.is_some() && identifiers)
}

fn outcomes(
    snapshot: &Snapshot,
    seq: BatchSeq,
    wanted: Option<PanelState>,
    after: PanelNo,
    limit: usize,
) -> Result<Page<(PanelNo, BatchPanel), PanelNo>, FleetError> {
    let work = snapshot.batch_work(seq)?.ok_or_else(no_such_batch)?;
    let asked = work::decode(&work)?;
    let mut decided = snapshot.outcomes(seq, after.saturating_add(1))?.peekable();
    let mut rows = Vec::new();
    for panel in snapshot.batch_targets(seq)?.into_iter().filter(|panel| *panel > after) {
        if rows.len() > limit {
            break;
        }
        let outcome = match decided.next_if(|next| !matches!(next, Ok((number, _)) if *number > panel)) {
            Some(next) => next?.1,
            None => Outcome::pending(0),
        };
        if wanted.is_some_and(|wanted| wanted != outcome.state) {
            continue;
        }
        let items = outcome.item_ids(&asked).zip(&outcome.items).enumerate();
        let items =
            items.map(|(i, (item, came_of_it))| ItemResult::new(item, *came_of_it, outcome.extended_info(i)));
        let fate = match outcome.state {
            PanelState::Pending => ItemOutcome::ToDelete,
            _ => ItemOutcome::Deleted,
        };
        let pruned = outcome.pruned.iter().map(|item| ItemResult::new(*item, fate, fate.extended_info()));
        let left = outcome.left.iter().map(|(item, why)| ItemResult::new(*item, *why, why.extended_info()));
        rows.push((
            panel,
            BatchPanel {
                panel: snapshot.panel_name(panel)?.unwrap_or_default(),
                outcome: outcome.state,
                attempts: outcome.attempts,
                error: outcome.error.as_deref().map(str::to_owned),
                next_attempt_ms: None,
                items: items.chain(pruned).chain(left).collect(),
            },
        ));
    }
    Ok(Page::cut(rows, limit, |(panel, _)| *panel))
}
