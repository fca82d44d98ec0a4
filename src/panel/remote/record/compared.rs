//! All that a device holds was read: it is compared with what is desired.
//!
//! Where it holds nothing of what it had confirmed, it was replaced or reset, and all is sent again. What is put right and
//! found as it was before is kept otherwise by the device, and not sent again.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Settled, settle};
use crate::batch::item::{ItemId, Kind};
use crate::batch::{Body, PanelState};
use crate::identifier::{self, Identifier};
use crate::panel::device::Held;
use crate::panel::device::ask::DeviceItem;
use crate::panel::embedded::name_in;
use crate::panel::remote::Waiting;
use crate::store::identifier_in;
use crate::store::row::{Drift, Kept, Reported, Row, RowName};
use crate::store::tables::{DeviceRecord, PanelRows};
use crate::store::writer::PanelWork;
use crate::store::{BatchSeq, PanelNo, StoreError};

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

impl Difference {
    /// Whether the device was changed by someone else.
    pub fn is_drift(self) -> bool {
        matches!(self, Self::Missing | Self::Changed | Self::Extra)
    }
}

/// A profile in which a device differs from what is desired.
#[derive(Debug, Clone)]
pub struct Found {
    /// How.
    pub difference: Difference,
    /// What it is.
    pub kind: Kind,
    /// Which; none where it was made on the device.
    pub item: Option<ItemId>,
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
const SHOWN: usize = 10_000;

/// What was found when a device was read.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The differences, by item; those that were made on the device last.
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
    /// Its zone, as it says it.
    pub zone: Option<Box<str>>,
}

/// What a device held instead of which body before it was sent that again: the print of its profile, by item.
pub(in crate::panel) type Repairs = HashMap<ItemId, (u64, u64)>;

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
        self.held.items.len().max(2)
    }

    fn run(&mut self, rows: &mut PanelRows<'_, '_>) -> Result<(), StoreError> {
        let panel = rows.number();
        let asked = rows.tables().device(panel)?.is_some_and(|device| device.reconcile);
        // What such a device confirms it does not keep; it is sent again when a person wants that.
        let repair = (self.repair && !self.emptied) || asked;
        // A batch that prunes has the device read; that is no wish to write in vain once more.
        let asked = asked && !self.waiting.iter().any(|(_, batch)| batch.zoned.operations().prune());
        let prunes = |kind| {
            self.waiting.iter().any(|(_, batch)| batch.zoned.operations().pruned_kinds.contains(&kind))
        };
        let (on_device, twice) = by_item(&self.held);
        let mut known: BTreeMap<_, _> = rows.all_reported()?.into_iter().collect();
        if !self.held.identifiers {
            known.retain(|item, _| item.kind == Kind::Profile); // the rest was not asked for then
        }
        let mut confirmed = known
            .iter()
            .filter(|(_, known)| matches!(known, Reported::Held(_) | Reported::KeptOtherwise(_)))
            .peekable();
        let reset = !self.emptied
            && confirmed.peek().is_some()
            && !confirmed.any(|(item, _)| on_device.contains_key(item));
        let items: BTreeSet<_> = known.keys().chain(on_device.keys()).copied().collect();
        let DeviceRecord { clock_ahead_s, zone, .. } = &self.device;
        let (clock_ahead_s, zone) = (*clock_ahead_s, zone.clone());
        let mut findings = Findings { reset, clock_ahead_s, zone, ..Findings::default() };
        let mut repairs = Repairs::new();
        let mut extra = Vec::new();
        for item in items {
            let profile = on_device.get(&item).map(|held| &**held);
            let desired = rows.get(RowName::Link(item))?;
            let before = known.get(&item);
            let mut verdict = Verdict::of(rows, before, desired, profile)?;
            if let (Verdict::Drifted(Drift::Changed), Some(row), Some(profile)) = (&verdict, desired, profile)
            {
                let same_as_before = match before {
                    Some(Reported::KeptOtherwise(kept)) => kept.print == profile.print(),
                    _ => self.repaired.get(&item) == Some(&(profile.print(), row.body)),
                };
                if same_as_before && !asked {
                    verdict = Verdict::KeptOtherwise(kept(profile));
                } else if repair || same_as_before {
                    repairs.insert(item, (profile.print(), row.body));
                }
            } else if let (Verdict::Waits(Difference::Pending), Some(repaired)) =
                (&verdict, self.repaired.get(&item))
            {
                repairs.insert(item, *repaired);
            }
            let send_again = match &verdict {
                // What nobody asked for goes where that is wanted of its kind.
                Verdict::Drifted(Drift::Extra) => {
                    (self.repair && !self.emptied) || asked || prunes(item.kind)
                }
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
                rows.set_reported(item, now.as_ref())?;
            }
            match profile {
                // What a list that is shorter than it says does not name may be there.
                None if self.held.short.is_some() => {}
                None => rows.forget_last_held(item)?,
                Some(held) => {
                    // What it is changed from decides when it is; and what is refused may be there all the same.
                    let is_refused = matches!(verdict, Verdict::Waits(Difference::Rejected));
                    // Nothing is known of a device that has taken another one's place, until it is read.
                    let is_news = before == Some(&Reported::Unknown) && !rows.holds_perhaps(item)?;
                    if (send_again || is_refused) && held.kind == Kind::Identifier {
                        let bodies = twice.get(&item).into_iter().flatten().copied();
                        for body in held.body.iter().chain(bodies) {
                            rows.is_found_to_hold(item, body)?;
                        }
                    } else if let (true, Some(body)) = (is_news, &held.body) {
                        rows.is_found_to_hold(item, body)?;
                    }
                }
            }
            findings.repairing += usize::from(send_again);
            let difference = match verdict {
                Verdict::AsDesired(_) => continue,
                Verdict::Waits(difference) => difference,
                Verdict::KeptOtherwise(_) => Difference::KeptOtherwise,
                Verdict::Drifted(Drift::Missing) => Difference::Missing,
                Verdict::Drifted(Drift::Changed) => Difference::Changed,
                Verdict::Drifted(Drift::Extra) => {
                    extra.push(item);
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
            findings.found.push(found(rows, difference, Some(item), desired, profile, refused)?);
        }
        for profile in self.held.items.iter().filter(|profile| profile.link_id.is_none()) {
            findings.found.push(found(rows, Difference::Unlinked, None, None, Some(profile), None)?);
        }
        self.device.reconcile = false;
        self.device.told_identifiers |= self.held.identifiers;
        self.device.unread = false;
        self.device.identifiers |= rows.tables().device(panel)?.is_some_and(|device| device.identifiers);
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

/// What a device holds by link_id. Of those that stand there twice neither is believed; what they say is beside that.
#[expect(clippy::type_complexity, reason = "two maps that are read where they are made")]
fn by_item(held: &Held) -> (BTreeMap<ItemId, Cow<'_, DeviceItem>>, BTreeMap<ItemId, Vec<&Body>>) {
    let mut by_item: BTreeMap<ItemId, Cow<'_, DeviceItem>> = BTreeMap::new();
    let mut twice: BTreeMap<ItemId, Vec<&Body>> = BTreeMap::new();
    for held in &held.items {
        let Some(link_id) = held.link_id else { continue };
        let item = ItemId { kind: held.kind, link_id };
        match by_item.entry(item) {
            Entry::Vacant(entry) => _ = entry.insert(Cow::Borrowed(held)),
            Entry::Occupied(mut entry) => {
                let bodies = twice.entry(item).or_default();
                if let Cow::Borrowed(first) = entry.get() {
                    bodies.extend(&first.body);
                }
                bodies.extend(&held.body);
                let both = entry.get().beside(held);
                entry.insert(Cow::Owned(both));
            }
        }
    }
    (by_item, twice)
}

/// What a device keeps instead of what was sent, as far as it is kept here.
fn kept(profile: &DeviceItem) -> Kept {
    let json = profile.json().filter(|json| json.get().len() <= KEPT);
    Kept { print: profile.print(), json: json.map_or("".into(), |json| json.get().into()) }
}

impl Compare {
    /// What a batch that prunes could not know of before the device was read.
    fn prune_too(&self, rows: &mut PanelRows<'_, '_>, extra: &[ItemId]) -> Result<(), StoreError> {
        let panel = rows.number();
        for (seq, batch) in &self.waiting {
            if !batch.zoned.operations().prune() || extra.is_empty() {
                continue;
            }
            if let Some(mut outcome) = rows.tables().outcome(*seq, panel)?
                && outcome.state == PanelState::Pending
            {
                let kinds = &batch.zoned.operations().pruned_kinds;
                outcome.pruned.extend(extra.iter().filter(|item| kinds.contains(&item.kind)));
                outcome.pruned.sort_unstable();
                outcome.pruned.dedup();
                rows.tables().set_outcome(*seq, panel, &outcome)?;
            }
        }
        Ok(())
    }
}

/// What is to be said of an item after a device was read.
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
        on_device: Option<&DeviceItem>,
    ) -> Result<Self, StoreError> {
        let same = match (desired, on_device) {
            (Some(row), Some(held)) => match &held.body {
                Some(body) if held.kind == Kind::Identifier => {
                    let desired = identifier_in(&rows.json(&row)?)?;
                    Body::of_identifier(&desired.as_read()).digest() == body.digest()
                }
                Some(body) => rows.says_the_same(&row, body)?,
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
    item: Option<ItemId>,
    desired: Option<Row>,
    on_device: Option<&DeviceItem>,
    refused: Option<Box<str>>,
) -> Result<Found, StoreError> {
    let kind = item.map_or(on_device.map_or(Kind::Profile, |held| held.kind), |item| item.kind);
    if kind == Kind::Identifier {
        return found_identifier(rows, (difference, item, refused), desired, on_device);
    }
    let desired = match desired {
        Some(row) => {
            let text = String::from_utf8(rows.json(&row)?.into()).map_err(|_| StoreError::Corrupt("body"))?;
            Some(RawValue::from_string(text).map_err(|_| StoreError::Corrupt("body"))?)
        }
        None => None,
    };
    let name = match (&desired, on_device) {
        (Some(json), _) => name_in(kind, json.get().as_bytes())?.into_string(),
        (None, Some(profile)) => profile.name.clone(),
        (None, None) => String::new(),
    };
    let on_device = on_device.and_then(DeviceItem::json);
    Ok(Found { difference, kind, item, name, desired, on_device, refused })
}

/// No number of an identifier is told whole.
fn found_identifier(
    rows: &PanelRows<'_, '_>,
    (difference, item, refused): (Difference, Option<ItemId>, Option<Box<str>>),
    desired: Option<Row>,
    on_device: Option<&DeviceItem>,
) -> Result<Found, StoreError> {
    let masked = |identifier: &Identifier| RawValue::from_string(identifier::wire::masked(identifier)).ok();
    let desired = desired.map(|row| identifier_in(&rows.json(&row)?)).transpose()?;
    let read = on_device.and_then(|held| held.body.as_ref());
    let read = read.map(|body| identifier_in(body.json().as_bytes())).transpose()?;
    let name = match (&desired, on_device) {
        (Some(desired), _) => desired.name.as_str().to_owned(),
        (None, Some(held)) => held.name.clone(),
        (None, None) => String::new(),
    };
    let (desired, on_device) = (desired.as_ref().and_then(masked), read.as_ref().and_then(masked));
    Ok(Found { difference, kind: Kind::Identifier, item, name, desired, on_device, refused })
}
