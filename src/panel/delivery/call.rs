//! What the next call to a device asks for.
//!
//! Work is the difference between what is desired and what the device has confirmed, read anew for every call.
//! So the first send, a retry, a restart, a device that is back and a repair are all the same, only the latest
//! desired state of an item is ever sent, and nothing beside the state can disagree with it.
//!
//! **Nobody is locked out.** Upserts come before deletes, and a device is never cleared: a right that holds before
//! and after is there in between. Where a device is too full for an upsert while deletes wait, the upsert waits
//! for them.

use std::collections::HashSet;

use crate::batch::item::ItemId;
use crate::store::row::Row;

/// The next call to a device. Its items are of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Create or update these, each as it is desired by its row.
    Upsert(Vec<(ItemId, Row)>),
    /// Delete these.
    Delete(Vec<ItemId>),
}

impl Call {
    /// How many items it has.
    pub fn count(&self) -> usize {
        match self {
            Self::Upsert(items) => items.len(),
            Self::Delete(items) => items.len(),
        }
    }

    /// Its items, in order.
    pub fn items(&self) -> Vec<ItemId> {
        match self {
            Self::Upsert(items) => items.iter().map(|(item, _)| *item).collect(),
            Self::Delete(items) => items.clone(),
        }
    }
}

/// The next call of at most `limit` items. `unknown` are the items whose state on the device is not known, each
/// with what is desired; `held_back` are upserts that wait until there is nothing left to delete.
pub fn next_call(
    unknown: impl IntoIterator<Item = (ItemId, Option<Row>)>,
    limit: usize,
    held_back: &HashSet<ItemId>,
) -> Option<Call> {
    let (mut upserts, mut deletes, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (item, desired) in unknown {
        match desired {
            Some(row) if held_back.contains(&item) => last.push((item, row)),
            Some(row) => upserts.push((item, row)),
            None => deletes.push(item),
        }
        if upserts.len() >= limit {
            break;
        }
    }
    deletes.truncate(limit);
    last.truncate(limit);
    if !upserts.is_empty() {
        Some(Call::Upsert(upserts))
    } else if !deletes.is_empty() {
        Some(Call::Delete(deletes))
    } else if !last.is_empty() {
        Some(Call::Upsert(last))
    } else {
        None
    }
}

/// Whether a device refuses an upsert because it is full.
pub fn says_full(word: &str) -> bool {
    matches!(
        word,
        "number_of_identifiers_exceeded"
            | "number_of_entities_exceeded"
            | "number_of_face_identifiers_exceeded"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::LinkId;

    fn item(n: u8) -> ItemId {
        ItemId::profile(LinkId::from_bytes([n; 16]))
    }

    fn upsert(n: u8) -> (ItemId, Row) {
        (item(n), Row { body: u64::from(n), uid: 1, revision: 1 })
    }

    fn desired(n: u8) -> (ItemId, Option<Row>) {
        let (item, row) = upsert(n);
        (item, Some(row))
    }

    #[test]
    fn every_upsert_comes_before_any_delete() {
        let unknown = [(item(1), None), desired(2), (item(3), None), desired(4), desired(5)];
        let none = HashSet::new();
        let next = |unknown: &[_], limit| next_call(unknown.iter().copied(), limit, &none);
        assert_eq!(next(&unknown, 2), Some(Call::Upsert(vec![upsert(2), upsert(4)])));
        assert_eq!(next(&unknown, 9), Some(Call::Upsert(vec![upsert(2), upsert(4), upsert(5)])));
        assert_eq!(next(&[unknown[0], unknown[2]], 1), Some(Call::Delete(vec![item(1)])));
        assert_eq!(next(&[], 9), None);
    }

    #[test]
    fn what_a_full_device_refused_waits_for_the_deletes() {
        let held_back = HashSet::from([item(2)]);
        let unknown = [desired(2), (item(3), None), desired(4)];
        let next = |unknown: &[_]| next_call(unknown.iter().copied(), 9, &held_back);
        assert_eq!(next(&unknown), Some(Call::Upsert(vec![upsert(4)])));
        assert_eq!(next(&unknown[..2]), Some(Call::Delete(vec![item(3)])));
        assert_eq!(next(&unknown[..1]), Some(Call::Upsert(vec![upsert(2)])));
    }
}
