//! A panel's rows, packed: up to [`MAX_ROWS`] of them stand in one value, sorted by name.
//!
//! Most panels hold tens of items, and a batch touches most of what it finds there; so a panel costs one look
//! and one write, not one for each row. A panel with more rows has more packs, each from its key's name on up to
//! the next pack's, so that a change to one row never rewrites more than one pack.
//!
//! The value: flags (1), the panel's [`Head`] (12), then for each row its name (kind 1, then the link_id 16 or the uid
//! 4 and zeros: [`RowKey`] without the panel) and [`Row`] (16). The first pack's key has a name of zeros. Its flags say whether there are others,
//! and only its head counts, so that one look finds all that most work needs; it stays when its rows go.

use super::row::{self, HEAD, Head, Row, RowBytes, RowKey, RowName};
use super::{PanelNo, StoreError};

/// Rows in a pack at most; one with more is split in halves.
pub const MAX_ROWS: usize = 64;

/// The flag of a first pack that others follow.
const OTHERS: u8 = 1;

const HEADER: usize = 1 + HEAD;
const NAME: usize = 17;
const ENTRY: usize = NAME + 16;

/// A pack, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack(Vec<u8>);

impl Pack {
    /// A pack without rows, of a panel that never had any.
    pub fn empty() -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[1..].copy_from_slice(&Head::default().encode());
        Self(bytes)
    }

    /// From what is stored.
    pub fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        check(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// As stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many rows it has.
    pub fn count(&self) -> usize {
        self.0.len() / ENTRY // the header is fewer bytes than a row
    }

    /// The panel's head, in its first pack.
    pub fn head(&self) -> Head {
        head(&self.0)
    }

    /// Writes the panel's head.
    pub fn set_head(&mut self, head: Head) {
        self.0[1..HEADER].copy_from_slice(&head.encode());
    }

    /// Whether other packs of the panel follow this first one.
    pub fn has_others(&self) -> bool {
        has_others(&self.0)
    }

    /// Other packs of the panel follow this first one from now on.
    pub fn set_others(&mut self) {
        self.0[0] |= OTHERS;
    }

    /// The row of a name, given as the row key that it has.
    pub fn get(&self, key: &RowKey) -> Option<Row> {
        get(&self.0, key)
    }

    /// Writes a row under a name.
    pub fn put(&mut self, key: &RowKey, row: Row) {
        let row = row.encode();
        match find(&self.0, key) {
            Ok(at) => self.0[at + NAME..at + ENTRY].copy_from_slice(&row),
            Err(at) => {
                self.0.splice(at..at, key[4..].iter().copied().chain(row));
            }
        }
    }

    /// Takes the row of a name out.
    pub fn remove(&mut self, key: &RowKey) {
        if let Ok(at) = find(&self.0, key) {
            self.0.drain(at..at + ENTRY);
        }
    }

    /// Keeps the lower half and gives the upper one, with its key.
    pub fn split(&mut self, panel: PanelNo) -> (RowKey, Self) {
        let at = HEADER + self.count() / 2 * ENTRY;
        let mut upper = Self::empty();
        upper.0.extend(self.0.drain(at..));
        let mut key = row::panel_range(panel).0;
        key[4..].copy_from_slice(&upper.0[HEADER..HEADER + NAME]);
        (key, upper)
    }

    /// All rows, in the order of their names.
    pub fn rows(&self) -> impl Iterator<Item = Result<(RowName, Row), StoreError>> {
        rows(&self.0)
    }
}

/// A pack of formats 4 to 8, whose heads count profiles alone, as it is stored now.
pub fn from_format_8(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    const HEADER_8: usize = 9;
    if bytes.len() % ENTRY != HEADER_8 {
        return Err(StoreError::Corrupt("pack"));
    }
    let (header, entries) = bytes.split_at(HEADER_8);
    Ok([header, &[0; HEADER - HEADER_8], entries].concat())
}

/// Whether the value is one of a pack.
fn check(bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() % ENTRY == HEADER { Ok(()) } else { Err(StoreError::Corrupt("pack")) }
}

/// Whether other packs of the panel follow the first one, which has this value.
pub fn has_others(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|flags| flags & OTHERS != 0)
}

/// The panel's head, in its first pack's value.
pub fn head(bytes: &[u8]) -> Head {
    let head = bytes.get(1..HEADER).and_then(|head| head.try_into().ok());
    head.map(Head::decode).unwrap_or_default()
}

/// The row of a name in a pack's value.
pub fn get(bytes: &[u8], key: &RowKey) -> Option<Row> {
    let at = find(bytes, key).ok()?;
    let row: &RowBytes = bytes.get(at + NAME..at + ENTRY)?.try_into().ok()?;
    Some(Row::decode(row))
}

/// All rows in a pack's value.
pub fn rows(bytes: &[u8]) -> impl Iterator<Item = Result<(RowName, Row), StoreError>> {
    let (entries, _) = bytes.get(HEADER..).unwrap_or_default().as_chunks::<ENTRY>();
    entries.iter().map(|entry| {
        let mut key = [0; 4 + NAME];
        key[4..].copy_from_slice(&entry[..NAME]);
        let mut row = [0; ENTRY - NAME];
        row.copy_from_slice(&entry[NAME..]);
        Ok((row::row_name(&key)?.1, Row::decode(&row)))
    })
}

/// Where in the value the name's entry begins, or where it would.
fn find(bytes: &[u8], key: &RowKey) -> Result<usize, usize> {
    let (entries, _) = bytes.get(HEADER..).unwrap_or_default().as_chunks::<ENTRY>();
    let place = entries.binary_search_by(|entry| entry[..NAME].cmp(&key[4..]));
    place.map(|n| HEADER + n * ENTRY).map_err(|n| HEADER + n * ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::item::ItemId;
    use crate::profile::LinkId;

    fn key(n: u8) -> RowKey {
        row::row_key(7, RowName::Link(ItemId::profile(LinkId::from_bytes([n; 16]))))
    }

    fn row(n: u8) -> Row {
        Row { body: u64::from(n), uid: u32::from(n), revision: 1 }
    }

    #[test]
    fn rows_are_found_changed_and_taken_out() {
        let mut pack = Pack::empty();
        for n in [5, 1, 9, 3] {
            pack.put(&key(n), row(n));
        }
        pack.put(&key(3), Row { revision: 2, ..row(3) });
        pack.remove(&key(9));
        pack.remove(&key(8));
        let head = Head { next_uid: 10, counts: [3, 0] };
        pack.set_head(head);
        let read = Pack::read(pack.bytes()).expect("a pack");
        assert_eq!(read.head(), head);
        assert_eq!(read.count(), 3);
        assert_eq!(read.get(&key(3)), Some(Row { revision: 2, ..row(3) }));
        assert_eq!((read.get(&key(5)), read.get(&key(9))), (Some(row(5)), None));
        let bodies: Vec<_> = read.rows().map(|entry| entry.expect("a row").1.body).collect();
        assert_eq!(bodies, [1, 3, 5]);
    }

    #[test]
    fn the_upper_half_begins_with_its_key() {
        let mut pack = Pack::empty();
        (0..5).for_each(|n| pack.put(&key(n), row(n)));
        pack.set_others();
        let (from, upper) = pack.split(7);
        assert_eq!((pack.count(), upper.count(), from), (2, 3, key(2)));
        assert!(pack.has_others() && !upper.has_others());
        assert_eq!((pack.get(&key(2)), upper.get(&key(2))), (None, Some(row(2))));
    }

    #[test]
    fn what_is_no_pack_is_an_error() {
        for bytes in [&[][..], &[0; 1], &[0; 14], &[0; 45], &[0; 47]] {
            assert!(Pack::read(bytes).is_err(), "{}", bytes.len());
        }
        let mut bytes = Pack::empty();
        bytes.put(&key(1), row(1));
        bytes.0[HEADER] = 9;
        assert!(bytes.rows().next().expect("an entry").is_err(), "a kind that is not there");
    }
}
