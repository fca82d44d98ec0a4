//! What the delivery to a device reads of the store: all of it is here.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use rustc_hash::FxHashMap;

use crate::batch::ItemOutcome;
use crate::batch::item::{ItemId, Kind};
use crate::identifier::number::Credential;
use crate::identifier::rule::Api;
use crate::identifier::{self, Identifier};
use crate::panel::delivery::call::{self, Call, Kept, Rights, Unsettled};
use crate::panel::delivery::facts::Facts;
use crate::panel::device::ask::Outgoing;
use crate::store::identifier_in;
use crate::store::read::Snapshot;
use crate::store::row::{Drift, Pending, Reported, Row, RowName};
use crate::store::{PanelNo, StoreError, StoreHandle};

/// The facts of one panel, as the store is when the first of them is asked for.
pub(super) struct PanelFacts<'s> {
    pub store: &'s StoreHandle,
    pub panel: PanelNo,
    pub waiting: usize,
    pub readers: usize,
    pub another_leaves: bool,
    pub snapshot: OnceCell<Option<Snapshot>>,
}

impl PanelFacts<'_> {
    fn ask<T>(&self, question: impl FnOnce(&Snapshot) -> Result<T, StoreError>) -> Option<T> {
        let failed = |error: StoreError| {
            // The store has said so once, for all panels.
            tracing::debug!(panel.number = self.panel, %error, "a delivery cannot use the store");
        };
        let snapshot = self.snapshot.get_or_init(|| self.store.read().map_err(failed).ok());
        question(snapshot.as_ref()?).map_err(failed).ok()
    }
}

impl Facts for PanelFacts<'_> {
    fn waiting(&self) -> usize {
        self.waiting
    }

    fn readers(&self) -> usize {
        self.readers
    }

    fn another_leaves(&self) -> bool {
        self.another_leaves
    }

    fn reconcile(&self) -> Option<bool> {
        self.ask(|snapshot| Ok(snapshot.device(self.panel)?.is_some_and(|device| device.reconcile)))
    }

    fn has_unknown(&self) -> Option<bool> {
        self.ask(|snapshot| snapshot.has_pending(self.panel))
    }

    fn deletes_wait(&self) -> Option<bool> {
        self.ask(|snapshot| {
            let mut wait = false;
            snapshot.each_pending(self.panel, |_, pending| {
                wait = pending == Pending::Delete;
                Ok(!wait)
            })?;
            Ok(wait)
        })
    }
}

/// Whether a device has confirmed that it holds something.
pub(super) fn confirmed_any(snapshot: &Snapshot, panel: PanelNo) -> Result<bool, StoreError> {
    let counts = snapshot.reported_counts(panel)?;
    let mut any = counts.held > 0;
    if any || counts.drifted == 0 {
        return Ok(any);
    }
    snapshot.each_reported(panel, |_, known| {
        any = matches!(known, Reported::KeptOtherwise(_)); // which is counted as drifted
        Ok(!any)
    })?;
    Ok(any)
}

/// The next call to a device, with what it needs to say.
pub(super) fn next_call(
    snapshot: &Snapshot,
    panel: PanelNo,
    api: Option<Api>,
    limit: usize,
    held_back: &HashSet<ItemId>,
    known: &KnownRights,
) -> Result<Option<(Call, Vec<Outgoing>)>, StoreError> {
    let is_fresh = !snapshot.has_last_held(panel)?;
    let mut unsettled = Vec::new();
    let mut upserts = 0;
    snapshot.each_pending(panel, |item, pending| {
        let desired = match pending {
            Pending::Upsert => {
                Some(snapshot.row(panel, RowName::Link(item))?.ok_or(StoreError::Corrupt("pending item"))?)
            }
            Pending::Delete => None,
        };
        let (held, perhaps_absent) =
            if is_fresh { Default::default() } else { snapshot.last_held_or_nothing(panel, item)? };
        let is_held = !held.is_empty();
        let (mut before, mut after) = (Vec::new(), None);
        if item.kind == Kind::Identifier && !is_fresh {
            for body in held {
                before.push(known.of(snapshot, body)?);
            }
            after = desired.map(|row| known.of(snapshot, row.body)).transpose()?;
        }
        upserts += usize::from(desired.is_some() && !held_back.contains(&item));
        unsettled.push(Unsettled { item, desired, is_held, perhaps_absent, before, after });
        // Where the device held nothing, the order of what it gets is that of the items.
        Ok(!is_fresh || upserts < limit)
    })?;
    let takes_from =
        |item: &Unsettled| item.item.kind == Kind::Profile && (item.is_held || item.desired.is_none());
    let kept = if unsettled.iter().any(takes_from) { kept(snapshot, panel, known)? } else { Kept::default() };
    let Some(mut call) = call::next_call(&unsettled, limit, held_back, &kept) else { return Ok(None) };
    let mut outgoing = Vec::new();
    if let Call::Upsert(items) = &call
        && let Some(refused) = unfit(snapshot, panel, items)?
    {
        return Ok(Some((refused, Vec::new())));
    }
    if let Call::Upsert(items) = &mut call {
        for (item, row) in items.iter() {
            let json = snapshot.body(row.body)?;
            let item = match item.kind {
                Kind::Profile => Outgoing { link_id: item.link_id, json, secret: "".into(), is_slow: false },
                Kind::Identifier => identifier(snapshot, panel, *item, &json, api)?,
            };
            // A device looks at a photo for a while, so that faces go one by one.
            if item.is_slow && !outgoing.is_empty() {
                break;
            }
            let is_slow = item.is_slow;
            outgoing.push(item);
            if is_slow {
                break;
            }
        }
        items.truncate(outgoing.len());
    }
    Ok(Some((call, outgoing)))
}

/// Of these, identifiers that the device is not to be sent: they name a profile that it refuses, or has lost, so that
/// they would open when nobody wants them to; or their photo is not kept.
fn unfit(snapshot: &Snapshot, panel: PanelNo, items: &[(ItemId, Row)]) -> Result<Option<Call>, StoreError> {
    let (mut unbound, mut without_photo) = (Vec::new(), Vec::new());
    let mut is_there = HashMap::new();
    for (item, row) in items.iter().filter(|(item, _)| item.kind == Kind::Identifier) {
        let Identifier { credential, profiles, .. } = identifier_in(snapshot.body(row.body)?.as_bytes())?;
        for link in profiles.as_slice() {
            let there = match is_there.get(link) {
                Some(there) => *there,
                None => {
                    let known = snapshot.reported(panel, ItemId::profile(*link))?;
                    let there = !matches!(
                        known,
                        Some(Reported::Refused(_) | Reported::Drifted(Drift::Missing)) | None
                    );
                    is_there.insert(*link, there);
                    there
                }
            };
            if !there {
                unbound.push((*item, Some(*row)));
                break;
            }
        }
        if let Credential::Face(face) = credential
            && !snapshot.has_photo(face)?
        {
            without_photo.push((*item, Some(*row)));
        }
    }
    let words = [(unbound, ItemOutcome::NoProfile), (without_photo, ItemOutcome::BadPhoto)];
    let mut refused = words.into_iter().filter(|(items, _)| !items.is_empty());
    Ok(refused.next().map(|(items, why)| Call::Refuse(items, why.extended_info())))
}

/// What identifiers give, by their bodies: the calls to one device look at the same ones again and again, and those to others
/// at the same ones too.
#[derive(Debug, Default)]
pub(super) struct KnownRights(RefCell<FxHashMap<(u64, [u8; 16]), Rights>>);

impl KnownRights {
    /// Those that are known at most; beyond, knowing begins anew.
    const MOST: usize = 32_768;

    fn of(&self, snapshot: &Snapshot, body: u64) -> Result<Rights, StoreError> {
        let key = (body, snapshot.body_print(body)?);
        if let Some(rights) = self.0.borrow().get(&key) {
            return Ok(rights.clone());
        }
        let Identifier { credential, lock, time, passes, profiles, .. } =
            identifier_in(snapshot.body(body)?.as_bytes())?;
        let rights = Rights { credential, lock, time, passes, profiles: profiles.as_slice().into() };
        let mut known = self.0.borrow_mut();
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(key, rights.clone());
        Ok(rights)
    }
}

/// Identifiers that the device holds otherwise than is desired, and which it is not asked to change; and the profiles that
/// they name. Those that were not made from here are looked at when profiles are deleted.
fn kept(snapshot: &Snapshot, panel: PanelNo, rights: &KnownRights) -> Result<Kept, StoreError> {
    let mut kept = Kept::default();
    snapshot.each_reported(panel, |item, known| {
        let refused = matches!(known, Reported::Refused(_));
        if item.kind == Kind::Identifier
            && (refused || matches!(known, Reported::Drifted(_) | Reported::KeptOtherwise(_)))
        {
            let mut before = Vec::new();
            for body in snapshot.last_held(panel, item)? {
                before.push(rights.of(snapshot, body)?);
            }
            kept.named.extend(before.iter().flat_map(|before| before.profiles.iter()));
            if refused && !before.is_empty() {
                let desired = snapshot.row(panel, RowName::Link(item))?;
                let after = desired.map(|row| rights.of(snapshot, row.body)).transpose()?;
                kept.refused.push(Unsettled {
                    item,
                    desired,
                    is_held: true,
                    perhaps_absent: false,
                    before,
                    after,
                });
            }
        }
        Ok(true)
    })?;
    Ok(kept)
}

/// An identifier as it is sent. How many of its passes are left is said once: the device counts from there, and would count
/// anew.
fn identifier(
    snapshot: &Snapshot,
    panel: PanelNo,
    item: ItemId,
    json: &str,
    api: Option<Api>,
) -> Result<Outgoing, StoreError> {
    let mut identifier = identifier_in(json.as_bytes())?;
    if identifier.passes_left.is_some() {
        for body in snapshot.last_held(panel, item)? {
            let before = identifier_in(snapshot.body(body)?.as_bytes())?;
            let is_counted = before.passes_left == identifier.passes_left
                && before.passes == identifier.passes
                && before.credential == identifier.credential;
            if is_counted {
                identifier.passes_left = None;
                break;
            }
        }
    }
    let api = api.unwrap_or(Api::ANY);
    let photo = match &identifier.credential {
        Credential::Face(face) => snapshot.photo(*face)?,
        _ => None,
    };
    let json = identifier::wire::body(&identifier, photo.as_ref(), api).into();
    let secret = identifier.credential.number(api).into();
    Ok(Outgoing { link_id: item.link_id, json, secret, is_slow: photo.is_some() })
}
