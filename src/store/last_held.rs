//! What devices held last of items of which something else is reported by now.
//!
//! In which order a device is told of changes depends on what it holds until then: a right must not be wider, nor
//! narrower, between two calls than it was before or is after them. So what a device has confirmed is not forgotten as soon
//! as something else is desired. A body that stands here is kept, as one is that a row names.

use redb::ReadableTable;

use super::row::{self, ItemKey, Reported};
use super::tables::Tables;
use super::{PanelNo, StoreError};
use crate::batch::item::ItemId;

impl Tables<'_> {
    /// Follows a change of what is reported of an item, each as it is stored.
    pub(super) fn follow_reported(
        &mut self,
        key: &ItemKey,
        before: Option<&[u8]>,
        now: Option<&Reported>,
    ) -> Result<(), StoreError> {
        let last = match (before.map(Reported::decode).transpose()?, now) {
            (_, None | Some(Reported::Held(_))) => None,
            (Some(Reported::Held(body)), Some(_)) => Some(body),
            (_, Some(_)) => return Ok(()), // as it was
        };
        let had = match last {
            Some(body) => self.last_held.insert(key, body)?,
            None => self.last_held.remove(key)?,
        };
        let had = had.map(|body| body.value());
        for (body, more) in last.map(|body| (body, 1)).into_iter().chain(had.map(|body| (body, -1))) {
            *self.body_changes.users.entry(body).or_default() += more;
        }
        Ok(())
    }

    /// A panel's device does not hold the item any more, whatever is reported of it.
    pub(super) fn forget_last_held(&mut self, key: &ItemKey) -> Result<(), StoreError> {
        if let Some(body) = self.last_held.remove(key)?.map(|body| body.value()) {
            *self.body_changes.users.entry(body).or_default() -= 1;
        }
        Ok(())
    }

    /// The panel goes.
    pub(super) fn forget_all_last_held(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let (first, last) = row::item_range(panel);
        for entry in self.last_held.extract_from_if::<&ItemKey, _>(&first..=&last, |_, _| true)? {
            *self.body_changes.users.entry(entry?.1.value()).or_default() -= 1;
        }
        Ok(())
    }

    /// The body that a panel's device held last of an item of which something else is reported.
    pub(super) fn last_held(&self, panel: PanelNo, item: ItemId) -> Result<Option<u64>, StoreError> {
        Ok(self.last_held.get(&row::item_key(panel, item))?.map(|body| body.value()))
    }
}
