//! An entry of the log of several nodes: what one commit changes, compressed and sealed.
//!
//! It is bound to its number, to the reign of the node that wrote it, and to the tag of the entry before. So whoever keeps the
//! log reads nothing of it, can forge none, and cannot put one in another one's place; and a node whose history went another
//! way than the log's cannot open the first entry after.

use lz4_flex::block::{compress_prepend_size, decompress, uncompressed_size};

use super::StoreError;
use super::seal::Seal;
use super::shipped::Changes;

/// By this an entry is known: the last bytes of it, which authenticate it.
pub type EntryTag = [u8; 16];

/// The tag before the first entry.
pub const NO_ENTRY: EntryTag = [0; 16];

/// The changes of one entry take no more bytes than this.
pub const LARGEST: usize = 1 << 30;

/// The place of an entry in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number; the first is 1.
    pub number: u64,
    /// The number of the reign in which it was written: how often the lead has changed.
    pub reign: u64,
    /// The tag of the entry before.
    pub before: EntryTag,
}

impl Place {
    fn bytes(&self) -> Vec<u8> {
        [&self.number.to_be_bytes()[..], &self.reign.to_be_bytes(), &self.before].concat()
    }
}

/// An entry as it stands in the log.
pub fn seal_entry(seal: &Seal, place: &Place, changes: &Changes) -> Result<Vec<u8>, StoreError> {
    seal.seal_in("commits", &place.bytes(), &compress_prepend_size(changes.as_bytes()))
}

/// What an entry changes, and its tag. One that was written elsewhere, with another key, or after another entry, is refused.
pub fn open_entry(seal: &Seal, place: &Place, entry: &[u8]) -> Result<(Changes, EntryTag), StoreError> {
    let unreadable = || StoreError::Corrupt("entry of the log");
    let packed = seal.open_in("commits", &place.bytes(), entry).map_err(|_| unreadable())?;
    let (length, packed) = uncompressed_size(&packed).map_err(|_| unreadable())?;
    if length > LARGEST {
        return Err(unreadable());
    }
    let bytes = decompress(packed, length).map_err(|_| unreadable())?;
    Ok((Changes::from_bytes(bytes), tag_of(entry).ok_or_else(unreadable)?))
}

/// The tag of an entry.
pub fn tag_of(entry: &[u8]) -> Option<EntryTag> {
    entry.last_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_opens_in_its_own_place_and_nowhere_else() {
        let seal = Seal::new([7; 32]);
        let mut changes = Changes::default();
        for panel in 0..10_000_u32 {
            changes.note(3, &panel.to_be_bytes(), Some(&[1; 339]));
        }
        let place = Place { number: 5, reign: 2, before: [9; 16] };
        let entry = seal_entry(&seal, &place, &changes).expect("sealed");
        let (opened, tag) = open_entry(&seal, &place, &entry).expect("its own place");
        assert_eq!((opened.as_bytes(), tag), (changes.as_bytes(), tag_of(&entry).expect("a tag")));
        for other in
            [Place { number: 6, ..place }, Place { reign: 3, ..place }, Place { before: [8; 16], ..place }]
        {
            open_entry(&seal, &other, &entry).expect_err("another place");
        }
        open_entry(&Seal::new([8; 32]), &place, &entry).expect_err("another key");
        for at in [0, 1, 20, entry.len() - 1] {
            let mut turned = entry.clone();
            turned[at] ^= 1;
            open_entry(&seal, &place, &turned).expect_err("a bit was turned");
        }
        for short in [0, 10, 28, entry.len() - 1] {
            open_entry(&seal, &place, &entry[..short]).expect_err("cut");
        }
    }
}
