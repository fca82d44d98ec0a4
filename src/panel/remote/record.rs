//! What the remote driver writes: each piece of work is one transaction's part on one panel's rows.
//!
//! `Accept` makes what a batch asks for the desired state. It marks every link_id that differs from what the
//! device has confirmed as unknown in the same transaction, so it is unknown from before the first call.
//! `Confirm` records a device's answers, `Compare` what was read back, `StartOver` that the device holds
//! nothing of what it had confirmed. Whatever settles an item also settles it in every batch that waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::Waiting;
use crate::batch::item::ItemId;
use crate::batch::{Body, ItemOutcome, Outcome, PanelState, Zoned};
use crate::panel::delivery::Call;
use crate::panel::device::Held;
use crate::panel::device::ask::{DeviceProfile, Said};
use crate::panel::{Landed, Origin, Reply};
use crate::profile::LinkId;
use crate::store::row::{Drift, Kept, Reported, Row, RowName};
use crate::store::tables::{AuditRecord, DeviceRecord, PanelRows};
use crate::store::writer::PanelWork;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// Makes a batch's part the desired state of a panel.
pub(in crate::panel) struct Accept {
    pub panel: PanelNo,
    pub zoned: Arc<Zoned>,
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
        2 * self.zoned.operations().len()
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let operations = self.zoned.operations();
        let mut items = Vec::with_capacity(operations.len());
        for upsert in &operations.upserts {
            items.push(if upsert.repeated {
                ItemOutcome::Repeated
            } else {
                desire(rows, upsert.link_id, &upsert.body)?
            });
        }
        for link in &operations.deletes {
            items.push(undesire(rows, *link)?);
        }
        let pruned =
            if operations.prune { prune(rows, operations.link_ids().collect())? } else { Vec::new() };
        self.outcome = Outcome::decided(items, pruned, self.attempts);
        self.outcome.taken = true;
        if operations.prune {
            // What else the device holds is known only when it has been read.
            self.outcome.state = PanelState::Pending;
            let panel = rows.number();
            let mut device = rows.tables().device(panel)?.unwrap_or_default();
            device.reconcile = true;
            rows.tables().set_device(panel, &device)?;
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

/// From now on this is what the device should hold under the link_id.
fn desire(rows: &mut PanelRows<'_, '_>, link: LinkId, body: &Body) -> Result<ItemOutcome, StoreError> {
    let name = RowName::Link(ItemId::profile(link));
    let standing = rows.get(name)?;
    let known = rows.reported(ItemId::profile(link))?;
    match standing {
        Some(row) if rows.holds(&row, body)? => match known {
            // What a device keeps otherwise comes out the same when it is sent again.
            Some(Reported::Held(_) | Reported::KeptOtherwise(_)) => return Ok(ItemOutcome::Unchanged),
            Some(Reported::Unknown) => {}
            // Asked for once more: so it is tried once more.
            Some(Reported::Refused(_) | Reported::Drifted(_)) | None => {
                rows.set_reported(ItemId::profile(link), Some(&Reported::Unknown))?;
            }
        },
        standing => {
            rows.put(name, standing, body)?;
            rows.set_reported(ItemId::profile(link), Some(&Reported::Unknown))?;
        }
    }
    Ok(if standing.is_some() || known.is_some() { ItemOutcome::ToUpdate } else { ItemOutcome::ToCreate })
}

/// From now on the device should hold nothing under the link_id. What is not known to stand there is asked of the
/// device too: it may hold more than was ever sent from here.
fn undesire(rows: &mut PanelRows<'_, '_>, link: LinkId) -> Result<ItemOutcome, StoreError> {
    if let Some(row) = rows.get(RowName::Link(ItemId::profile(link)))? {
        rows.remove(RowName::Link(ItemId::profile(link)), row)?;
    }
    rows.set_reported(ItemId::profile(link), Some(&Reported::Unknown))?;
    Ok(ItemOutcome::ToDelete)
}

fn prune(rows: &mut PanelRows<'_, '_>, named: HashSet<LinkId>) -> Result<Vec<LinkId>, StoreError> {
    let mut pruned = Vec::new();
    for (ItemId { link_id: link, .. }, known) in rows.all_reported()? {
        let desired = rows.get(RowName::Link(ItemId::profile(link)))?;
        if !named.contains(&link) && (desired.is_some() || matches!(known, Reported::Drifted(Drift::Extra))) {
            undesire(rows, link)?;
            pruned.push(link);
        }
    }
    Ok(pruned)
}

/// What a device answered to a call, or that it refused the one item of it.
pub(in crate::panel) struct Confirm {
    pub panel: PanelNo,
    pub call: Call,
    /// Of an item that the device says nothing of, nothing is known.
    pub said: Vec<Option<Said>>,
    /// Answers that are not taken as final.
    pub ignored: HashSet<LinkId>,
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
        self.call.items().max(1)
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let mut answers = HashMap::with_capacity(self.said.len());
        match &self.call {
            Call::Upsert(items) => {
                for ((link, body), said) in items.iter().zip(&self.said) {
                    let Some(said) = said else { continue };
                    if self.ignored.contains(link) {
                        continue;
                    }
                    let desired = rows.get(RowName::Link(ItemId::profile(*link)))?;
                    if desired.is_some_and(|row| row.body == *body) {
                        let known = if said.success {
                            Reported::Held(*body)
                        } else {
                            Reported::Refused(said.word.clone())
                        };
                        rows.set_reported(ItemId::profile(*link), Some(&known))?;
                    }
                    answers.insert(*link, said.clone());
                }
            }
            Call::Delete(links) => {
                for (link, said) in links.iter().zip(&self.said) {
                    let Some(said) = said else { continue };
                    let gone = said.success || &*said.word == "entity_not_found";
                    if rows.get(RowName::Link(ItemId::profile(*link)))?.is_none() {
                        let refused = Reported::Refused(said.word.clone());
                        rows.set_reported(ItemId::profile(*link), (!gone).then_some(&refused))?;
                    }
                    answers.insert(*link, said.clone());
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

/// Keeps what a device said of itself; the wish to reconcile is not the device's to say.
fn keep_device(rows: &mut PanelRows<'_, '_>, device: Option<&DeviceRecord>) -> Result<(), StoreError> {
    let Some(device) = device else { return Ok(()) };
    let panel = rows.number();
    let reconcile = rows.tables().device(panel)?.is_some_and(|known| known.reconcile);
    rows.tables().set_device(panel, &DeviceRecord { reconcile, ..device.clone() })
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
    answers: Option<&HashMap<LinkId, Said>>,
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
        let operations = batch.zoned.operations();
        let mut changed = false;
        for (i, link) in operations.link_ids().enumerate() {
            let Some(item) = outcome.items.get(i).copied().filter(|item| item.pending()) else { continue };
            let answer = answers.and_then(|answers| answers.get(&link));
            if answers.is_some() && answer.is_none() {
                continue;
            }
            let known = rows.reported(ItemId::profile(link))?;
            if known == Some(Reported::Unknown) {
                continue;
            }
            let upsert = operations.upserts.get(i);
            let desired = rows.get(RowName::Link(ItemId::profile(link)))?;
            let as_asked = match (upsert, desired) {
                (Some(upsert), Some(row)) => rows.holds(&row, &upsert.body)?,
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
        if complete && operations.prune {
            let device = rows.tables().device(panel)?;
            complete = !device.is_some_and(|device| device.reconcile);
            for link in &outcome.pruned {
                complete &= rows.reported(ItemId::profile(*link))? != Some(Reported::Unknown);
            }
        }
        if complete {
            outcome.said.sort_unstable();
            let said = outcome.said;
            outcome = Outcome { said, ..Outcome::decided(outcome.items, outcome.pruned, batch.attempts) };
            settled.push(Settled { batch: *seq, sent: batch.sent, outcome: outcome.clone() });
        }
        if changed || complete {
            outcome.said.sort_unstable();
            rows.tables().set_outcome(*seq, panel, &outcome)?;
        }
    }
    Ok(settled)
}

/// How a profile on a device differs from what is desired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The device lacks it.
    Missing,
    /// The device holds another one under its link_id.
    Changed,
    /// The device holds one under a link_id that nobody asked for.
    Extra,
    /// It was made on the device, without link_id: shown, and never touched.
    Unlinked,
    /// To be delivered, or to be deleted there.
    Pending,
    /// The device refuses it.
    Rejected,
    /// The device confirms what is desired, and keeps something else.
    KeptOtherwise,
}

/// A profile in which a device differs from what is desired.
#[derive(Debug, Clone)]
pub struct Found {
    /// How.
    pub difference: Difference,
    /// Which; none where it was made on the device.
    pub link_id: Option<LinkId>,
    /// Its name, as it is desired or else as the device has it.
    pub name: String,
    /// The desired JSON.
    pub desired: Option<Box<RawValue>>,
    /// The device's JSON.
    pub on_device: Option<Box<RawValue>>,
    /// Why the device refuses it.
    pub refused: Option<Box<str>>,
}

/// Of the differences of one device, so many are shown; all of them are put right.
pub const SHOWN: usize = 10_000;

/// What was found when a device was read.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The differences, by link_id; those without one last.
    pub found: Vec<Found>,
    /// How many more there are.
    pub not_shown: u64,
    /// How many of all have drifted.
    pub drifted: usize,
    /// Whether the device holds nothing of what it had confirmed, so that everything is sent again.
    pub reset: bool,
    /// How many of them are being put right.
    pub repairing: usize,
    /// How far the device's clock is ahead of ours, in seconds.
    pub clock_ahead_s: Option<i64>,
}

/// What a device held instead of which body before it was sent that again: the print of its profile, by link_id.
pub(in crate::panel) type Repairs = HashMap<LinkId, (u64, u64)>;

/// The longest JSON that is kept of what a device keeps otherwise, in bytes.
const KEPT: usize = 4096;

/// Compares all that a device holds with what is desired, and marks what has drifted, or has it put right.
pub(in crate::panel) struct Compare {
    pub panel: PanelNo,
    pub held: Held,
    /// Whether everything was sent to it again before, since it held nothing.
    pub emptied: bool,
    pub repair: bool,
    /// What was put right before.
    pub repaired: Repairs,
    /// What is put right now, and what was and is not known to hold.
    pub repairs: Repairs,
    /// The panel's device as it is kept now.
    pub device: DeviceRecord,
    pub waiting: Vec<(BatchSeq, Waiting)>,
    pub findings: Findings,
    pub settled: Vec<Settled>,
    pub done: oneshot::Sender<Result<Compared, StoreError>>,
}

/// What a read-back found, what it puts right, and the batches that it settled.
pub(in crate::panel) type Compared = (Findings, Repairs, Vec<Settled>);

impl PanelWork for Compare {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        self.held.profiles.len().max(2)
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let panel = rows.number();
        let asked = rows.tables().device(panel)?.is_some_and(|device| device.reconcile);
        // What such a device confirms it does not keep; it is sent again when a person wants that.
        let repair = (self.repair && !self.emptied) || asked;
        // A batch that prunes has the device read; that is no wish to write in vain once more.
        let asked = asked && !self.waiting.iter().any(|(_, batch)| batch.zoned.operations().prune);
        let mut on_device: BTreeMap<LinkId, &DeviceProfile> = BTreeMap::new();
        for profile in &self.held.profiles {
            if let Some(link) = profile.link_id {
                on_device.insert(link, profile);
            }
        }
        let known: BTreeMap<_, _> =
            rows.all_reported()?.into_iter().map(|(item, known)| (item.link_id, known)).collect();
        let mut confirmed = known
            .iter()
            .filter(|(_, known)| matches!(known, Reported::Held(_) | Reported::KeptOtherwise(_)))
            .peekable();
        let reset = !self.emptied
            && confirmed.peek().is_some()
            && !confirmed.any(|(link, _)| on_device.contains_key(link));
        let links: BTreeSet<_> = known.keys().chain(on_device.keys()).copied().collect();
        let mut findings =
            Findings { clock_ahead_s: self.device.clock_ahead_s, reset, ..Findings::default() };
        let mut repairs = Repairs::new();
        let mut extra = Vec::new();
        for link in links {
            let profile = on_device.get(&link).copied();
            let desired = rows.get(RowName::Link(ItemId::profile(link)))?;
            let before = known.get(&link);
            let mut verdict = Verdict::of(rows, before, desired, profile)?;
            if let (Verdict::Drifted(Drift::Changed), Some(row), Some(profile)) = (&verdict, desired, profile)
            {
                let same_as_before = match before {
                    Some(Reported::KeptOtherwise(kept)) => kept.print == profile.print(),
                    _ => self.repaired.get(&link) == Some(&(profile.print(), row.body)),
                };
                if same_as_before && !asked {
                    verdict = Verdict::KeptOtherwise(kept(profile));
                } else if repair || same_as_before {
                    repairs.insert(link, (profile.print(), row.body));
                }
            } else if let (Verdict::Waits(Difference::Pending), Some(repaired)) =
                (&verdict, self.repaired.get(&link))
            {
                repairs.insert(link, *repaired);
            }
            let send_again = match &verdict {
                Verdict::Drifted(Drift::Extra) => repair,
                Verdict::Drifted(_) => repair || reset,
                Verdict::Waits(Difference::Rejected) => reset && profile.is_none(),
                _ => false,
            };
            let now = match &verdict {
                _ if send_again => Some(Reported::Unknown),
                Verdict::AsDesired(body) => body.map(Reported::Held),
                Verdict::Waits(_) => before.cloned(),
                Verdict::Drifted(drift) => Some(Reported::Drifted(*drift)),
                Verdict::KeptOtherwise(kept) => Some(Reported::KeptOtherwise(Box::new(kept.clone()))),
            };
            if now.as_ref() != before {
                rows.set_reported(ItemId::profile(link), now.as_ref())?;
            }
            findings.repairing += usize::from(send_again);
            let difference = match verdict {
                Verdict::AsDesired(_) => continue,
                Verdict::Waits(difference) => difference,
                Verdict::KeptOtherwise(_) => Difference::KeptOtherwise,
                Verdict::Drifted(Drift::Missing) => Difference::Missing,
                Verdict::Drifted(Drift::Changed) => Difference::Changed,
                Verdict::Drifted(Drift::Extra) => {
                    extra.push(link);
                    Difference::Extra
                }
            };
            findings.drifted += usize::from(difference.is_drift());
            if findings.found.len() >= SHOWN {
                findings.not_shown += 1;
                continue;
            }
            let refused = match before {
                Some(Reported::Refused(words)) => Some(words.clone()),
                _ => None,
            };
            findings.found.push(found(rows, difference, Some(link), desired, profile, refused)?);
        }
        for profile in self.held.profiles.iter().filter(|profile| profile.link_id.is_none()) {
            findings.found.push(found(rows, Difference::Unlinked, None, None, Some(profile), None)?);
        }
        self.device.reconcile = false;
        rows.tables().set_device(panel, &self.device)?;
        if repair {
            self.prune_too(rows, &extra)?;
        }
        self.findings = findings;
        self.repairs = repairs;
        self.settled = settle(rows, &self.waiting, None)?;
        Ok(())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { done, findings, repairs, settled, .. } = *self;
        let _ = done.send(result.map(|()| (findings, repairs, settled))); // gone only at the end
    }
}

/// What a device keeps instead of what was sent, as far as it is kept here.
fn kept(profile: &DeviceProfile) -> Kept {
    let json = profile.json().filter(|json| json.get().len() <= KEPT);
    Kept { print: profile.print(), json: json.map_or("".into(), |json| json.get().into()) }
}

impl Compare {
    /// What a batch that prunes could not know of before the device was read.
    fn prune_too(&self, rows: &mut PanelRows<'_, '_>, extra: &[LinkId]) -> Result<(), StoreError> {
        let panel = rows.number();
        for (seq, batch) in &self.waiting {
            if !batch.zoned.operations().prune || extra.is_empty() {
                continue;
            }
            if let Some(mut outcome) = rows.tables().outcome(*seq, panel)?
                && outcome.state == PanelState::Pending
            {
                outcome.pruned.extend(extra);
                outcome.pruned.sort_unstable();
                outcome.pruned.dedup();
                rows.tables().set_outcome(*seq, panel, &outcome)?;
            }
        }
        Ok(())
    }
}

/// What is to be said of a link_id after a device was read.
enum Verdict {
    /// It stands there as desired (then with its body), or is desired and there no more.
    AsDesired(Option<u64>),
    /// It differs, and that is known: it is to be delivered, or was refused.
    Waits(Difference),
    /// It differs from what the device had confirmed.
    Drifted(Drift),
    /// The device confirms what is desired, and keeps something else.
    KeptOtherwise(Kept),
}

impl Verdict {
    fn of(
        rows: &mut PanelRows<'_, '_>,
        before: Option<&Reported>,
        desired: Option<Row>,
        on_device: Option<&DeviceProfile>,
    ) -> Result<Self, StoreError> {
        let same = match (desired, on_device) {
            (Some(row), Some(profile)) => match &profile.body {
                Some(body) => rows.holds(&row, body)?,
                None => false,
            },
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        Ok(match before {
            // Perhaps a call is to come yet; its answer makes this known.
            Some(Reported::Unknown) => Self::Waits(Difference::Pending),
            _ if same => Self::AsDesired(desired.map(|row| row.body)),
            Some(Reported::Refused(_)) => Self::Waits(Difference::Rejected),
            Some(Reported::Held(_) | Reported::Drifted(_) | Reported::KeptOtherwise(_)) | None => {
                Self::Drifted(match (desired, on_device) {
                    (Some(_), None) => Drift::Missing,
                    (Some(_), Some(_)) => Drift::Changed,
                    (None, _) => Drift::Extra,
                })
            }
        })
    }
}

fn found(
    rows: &PanelRows<'_, '_>,
    difference: Difference,
    link_id: Option<LinkId>,
    desired: Option<Row>,
    on_device: Option<&DeviceProfile>,
    refused: Option<Box<str>>,
) -> Result<Found, StoreError> {
    let desired = match desired {
        Some(row) => {
            let text = String::from_utf8(rows.json(&row)?.into()).map_err(|_| StoreError::Corrupt("body"))?;
            Some(RawValue::from_string(text).map_err(|_| StoreError::Corrupt("body"))?)
        }
        None => None,
    };
    let name = match (&desired, on_device) {
        (Some(json), _) => super::super::embedded::name_in(json.get().as_bytes())?.into_string(),
        (None, Some(profile)) => profile.name.clone(),
        (None, None) => String::new(),
    };
    let on_device = on_device.and_then(DeviceProfile::json);
    Ok(Found { difference, link_id, name, desired, on_device, refused })
}

/// The device holds nothing of what it had confirmed: it is another one, or was reset. Everything is to be sent.
pub(in crate::panel) struct StartOver {
    pub panel: PanelNo,
    pub device: Option<DeviceRecord>,
    pub audit: Option<AuditRecord>,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

impl PanelWork for StartOver {
    fn panel(&self) -> PanelNo {
        self.panel
    }

    fn items(&self) -> usize {
        64 // as many as the panel has profiles; about
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        for (ItemId { link_id: link, .. }, known) in rows.all_reported()? {
            match known {
                Reported::Unknown => {}
                Reported::Drifted(Drift::Extra) => rows.set_reported(ItemId::profile(link), None)?,
                Reported::Held(_)
                | Reported::Refused(_)
                | Reported::Drifted(_)
                | Reported::KeptOtherwise(_) => {
                    rows.set_reported(ItemId::profile(link), Some(&Reported::Unknown))?;
                }
            }
        }
        if let Some(audit) = &self.audit {
            rows.tables().audit(audit)?;
        }
        keep_device(rows, self.device.as_ref())
    }

    fn committed(self: Box<Self>, result: Result<(), StoreError>) {
        let _ = self.done.send(result); // gone only at the end
    }
}

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
