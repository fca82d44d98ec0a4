//! What devices hold, or perhaps hold, of items of which something else is desired or reported by now.
//!
//! In which order a device is told of changes depends on what it holds until then: a right must not be wider, nor
//! narrower, between two calls than it was before or is after them. So what a device has confirmed is not forgotten as soon
//! as something else is desired, nor what it was perhaps sent meanwhile. A body that stands here is kept, as one is that a
//! row names.

use redb::ReadableTable;

use super::row::{self, ItemKey, Reported};
use super::tables::Tables;
use super::{PanelNo, StoreError};

/// Of an item, so many bodies are kept that its device perhaps holds: the one that it has confirmed, and the last ones that
/// it was perhaps sent.
const MOST: usize = 32;

/// What stands before the bodies where the device perhaps holds none of them. No body has this number.
const NOTHING: u64 = 0;

/// Bodies as stored: 8 bytes each.
pub(super) fn decode(value: &[u8]) -> Vec<u64> {
    value.chunks_exact(8).map(row::be_u64).filter(|body| *body != NOTHING).collect()
}

/// Whether the device perhaps holds none of them.
pub(super) fn or_nothing(value: &[u8]) -> bool {
    value.first_chunk() == Some(&NOTHING.to_be_bytes())
}

impl Tables<'_> {
    /// Follows a change of what is reported of an item, each as it is stored.
    pub(super) fn follow_reported(
        &mut self,
        key: &ItemKey,
        before: Option<&[u8]>,
        now: Option<&Reported>,
    ) -> Result<(), StoreError> {
        match (before.map(Reported::decode).transpose()?, now) {
            (before, None | Some(Reported::Held(_))) => {
                let mut held = self.set_last_held(key, &[], false)?;
                if let Some(Reported::Held(body)) = before {
                    held.push(body);
                }
                let Some(Reported::Held(holds)) = now else { return self.note_held_before(key, &held, None) };
                self.note_held_before(key, &held, Some(*holds))
            }
            (Some(Reported::Held(body)), Some(_)) => self.set_last_held(key, &[body], false).map(drop),
            (_, Some(_)) => Ok(()), // as it was
        }
    }

    /// Something else is desired of an item of which this was to be sent, and perhaps was; and perhaps the item was taken
    /// down meanwhile, or never came there.
    pub(super) fn perhaps_holds(&mut self, key: &ItemKey, body: u64) -> Result<(), StoreError> {
        self.add_last_held(key, body, true)
    }

    /// The device was found to hold this.
    pub(super) fn is_found_to_hold(&mut self, key: &ItemKey, body: u64) -> Result<(), StoreError> {
        self.add_last_held(key, body, false)
    }

    fn add_last_held(&mut self, key: &ItemKey, body: u64, or_nothing: bool) -> Result<(), StoreError> {
        let mut bodies = self.last_held(key)?;
        if !bodies.contains(&body) {
            if bodies.len() == MOST {
                bodies.remove(1);
            }
            bodies.push(body);
        }
        self.set_last_held(key, &bodies, or_nothing).map(drop)
    }

    /// An item that was to be deleted, and perhaps was, is desired again.
    pub(super) fn perhaps_lacks(&mut self, key: &ItemKey) -> Result<(), StoreError> {
        let bodies = self.last_held(key)?;
        self.set_last_held(key, &bodies, true).map(drop)
    }

    /// A panel's device does not hold the item any more, whatever is reported of it.
    pub(super) fn forget_last_held(&mut self, key: &ItemKey) -> Result<(), StoreError> {
        let held = self.set_last_held(key, &[], false)?;
        self.note_held_before(key, &held, None)
    }

    /// Says which they were until then.
    fn set_last_held(
        &mut self,
        key: &ItemKey,
        bodies: &[u64],
        or_nothing: bool,
    ) -> Result<Vec<u64>, StoreError> {
        let nothing = or_nothing.then_some(&NOTHING);
        let bytes: Vec<_> = nothing.into_iter().chain(bodies).flat_map(|body| body.to_be_bytes()).collect();
        let had = match bodies {
            [] => self.last_held.remove(key)?,
            _ => self.last_held.insert(key, bytes.as_slice())?,
        };
        let had = had.map(|had| decode(had.value())).unwrap_or_default();
        for (body, more) in bodies.iter().map(|body| (*body, 1)).chain(had.iter().map(|body| (*body, -1))) {
            *self.body_changes.users.entry(body).or_default() += more;
        }
        Ok(had)
    }

    /// The panel goes.
    pub(super) fn forget_all_last_held(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let (first, last) = row::item_range(panel);
        for entry in self.last_held.extract_all::<&ItemKey>(&first..=&last)? {
            for body in decode(entry?.1.value()) {
                *self.body_changes.users.entry(body).or_default() -= 1;
            }
        }
        Ok(())
    }

    /// Whether there is anything that the device perhaps holds.
    pub(super) fn has_last_held(&self, key: &ItemKey) -> Result<bool, StoreError> {
        Ok(self.last_held.get(key)?.is_some())
    }

    fn last_held(&self, key: &ItemKey) -> Result<Vec<u64>, StoreError> {
        Ok(self.last_held.get(key)?.map(|bodies| decode(bodies.value())).unwrap_or_default())
    }
}
