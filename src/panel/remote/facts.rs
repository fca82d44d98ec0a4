//! What the delivery to a device reads of the store: all of it is here.

use std::cell::OnceCell;
use std::collections::HashSet;

use crate::batch::item::ItemId;
use crate::panel::delivery::call::{self, Call};
use crate::panel::delivery::facts::Facts;
use crate::profile::LinkId;
use crate::store::read::Snapshot;
use crate::store::row::{Pending, Reported, RowName};
use crate::store::{PanelNo, StoreError, StoreHandle};

/// Profiles to send, each with its body.
pub(super) type Bodies = Vec<(LinkId, Box<str>)>;

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

/// The next call to a device, with the bodies that it needs.
pub(super) fn next_call(
    snapshot: &Snapshot,
    panel: PanelNo,
    limit: usize,
    held_back: &HashSet<ItemId>,
) -> Result<Option<(Call, Bodies)>, StoreError> {
    let mut unknown = Vec::new();
    let mut upserts = 0;
    snapshot.each_pending(panel, |item, pending| {
        let desired = match pending {
            Pending::Upsert => {
                Some(snapshot.row(panel, RowName::Link(item))?.ok_or(StoreError::Corrupt("pending item"))?)
            }
            Pending::Delete => None,
        };
        upserts += usize::from(desired.is_some() && !held_back.contains(&item));
        unknown.push((item, desired));
        Ok(upserts < limit)
    })?;
    let Some(call) = call::next_call(unknown, limit, held_back) else { return Ok(None) };
    let mut bodies = Vec::new();
    if let Call::Upsert(items) = &call {
        for (item, row) in items {
            bodies.push((item.link_id, snapshot.body(row.body)?));
        }
    }
    Ok(Some((call, bodies)))
}
