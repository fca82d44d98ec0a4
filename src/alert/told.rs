//! What an alert has told of a panel, so that it tells nothing twice.
//!
//! Of a panel that is offline it is since when; of items that are refused, or drifted, a print of each. What is not the case
//! any more is forgotten: when it comes again, it is told again.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::batch::item::ItemId;

/// By this an item is known again.
pub type Print = u64;

/// Items of one panel that are remembered at most; of more it is told as far as they are.
pub const MOST_ITEMS: usize = 4096;

/// The print of an item.
pub fn print_of(item: ItemId) -> Print {
    let digest =
        Sha256::new().chain_update([item.kind as u8]).chain_update(item.link_id.as_bytes()).finalize();
    digest[..8].iter().fold(0, |print, byte| print << 8 | u64::from(*byte))
}

/// Prints as they are stored, ascending, 8 bytes each.
pub fn encode(prints: &BTreeSet<Print>) -> Vec<u8> {
    prints.iter().flat_map(|print| print.to_be_bytes()).collect()
}

/// From what [`encode`] made; what is cut is left out.
pub fn decode(bytes: &[u8]) -> BTreeSet<Print> {
    bytes.as_chunks::<8>().0.iter().map(|print| Print::from_be_bytes(*print)).collect()
}

/// What is to be told of items that are the case now, and what is told then.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// Not told yet.
    pub new: BTreeSet<Print>,
    /// What is told, once the new ones are.
    pub told: BTreeSet<Print>,
}

/// Of what was told and what is the case now.
pub fn fresh(told: &BTreeSet<Print>, now: &BTreeSet<Print>) -> Fresh {
    let now: BTreeSet<Print> = now.iter().copied().take(MOST_ITEMS).collect();
    Fresh { new: now.difference(told).copied().collect(), told: now }
}

/// How a panel is to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Not asked since the start: nothing is known.
    Unknown,
    /// It answers, for so long, in milliseconds.
    Online(u64),
    /// It does not, since this moment in Unix milliseconds, which is so long, in milliseconds.
    Offline {
        /// Since when.
        since_ms: i64,
        /// How long that is.
        for_ms: u64,
    },
}

/// What follows for an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// That it is offline is to be told.
    WentOffline(i64),
    /// That it is back is to be told; it was gone since then.
    CameBack(i64),
}

/// What follows from how a panel is, where it was told that it is offline since then, or not.
pub fn turn(told_since: Option<i64>, reach: Reach, after_ms: u64, settles_ms: u64) -> Turn {
    match (told_since, reach) {
        (None, Reach::Offline { since_ms, for_ms }) if for_ms >= after_ms => Turn::WentOffline(since_ms),
        (Some(since), Reach::Online(for_ms)) if for_ms >= settles_ms => Turn::CameBack(since),
        _ => Turn::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::LinkId;

    #[test]
    fn a_panel_is_told_once_when_it_has_been_gone_long_enough_and_once_when_it_is_back() {
        let offline = |for_ms| Reach::Offline { since_ms: 5, for_ms };
        for (told, reach, expected) in [
            (None, Reach::Unknown, Turn::None),
            (None, offline(99), Turn::None),
            (None, offline(100), Turn::WentOffline(5)),
            (None, Reach::Online(1_000), Turn::None),
            (Some(5), offline(1_000), Turn::None),
            (Some(5), Reach::Unknown, Turn::None),
            (Some(5), Reach::Online(9), Turn::None),
            (Some(5), Reach::Online(10), Turn::CameBack(5)),
        ] {
            assert_eq!(turn(told, reach, 100, 10), expected, "{told:?} {reach:?}");
        }
    }

    #[test]
    fn items_of_two_kinds_are_two() {
        let link = LinkId::from_bytes([7; 16]);
        assert_ne!(print_of(ItemId::profile(link)), print_of(ItemId::identifier(link)));
    }

    proptest! {
        /// Over any run of looks, each thing is told exactly as often as it came about.
        #[test]
        fn everything_is_told_as_often_as_it_comes(
            looks in proptest::collection::vec(proptest::collection::btree_set(0..6_u64, 0..6), 1..30)
        ) {
            let (mut told, mut before) = (BTreeSet::new(), BTreeSet::new());
            for now in looks {
                let came: BTreeSet<_> = now.difference(&before).copied().collect();
                let found = fresh(&told, &now);
                prop_assert_eq!(&found.new, &came);
                prop_assert_eq!(fresh(&found.told, &now).new.len(), 0);
                told = decode(&encode(&found.told));
                before = now;
            }
        }
    }
}
