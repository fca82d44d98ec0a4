//! What a transaction puts and removes, in the order in which it does: the same put into another copy of the database
//! makes the same of it.
//!
//! Neighbours are alike: panels of a fleet hold the same rows, and keys of a table begin alike. So a key is written without
//! what it shares with the one before, and a value that is that of the one before takes one byte. So does a whole change that is
//! the one before for the next panel. A list of panels is written as its runs of numbers that follow each other.

use super::StoreError;
use super::entry::{EntryTag, NO_ENTRY};

/// The place of a table in the list of all tables.
pub(super) type TableNo = u8;

/// How far the log of all nodes is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The number of the last entry; 0 before the first one.
    pub number: u64,
    /// Its tag.
    pub tag: EntryTag,
}

impl Position {
    /// Before the first entry.
    pub const START: Self = Self { number: 0, tag: NO_ENTRY };
}

/// Where each commit goes before it counts. It runs on the writer's thread, and may block.
pub trait Ledger: Send {
    /// Makes this the entry after the last that is applied here; returns its tag once it is durable.
    fn append(&mut self, after: Position, changes: &Changes) -> Result<EntryTag, Refused>;

    /// The entry after this one, if there is one: it is there though nobody has said so.
    fn entry(&mut self, after: Position) -> Result<Option<(Changes, EntryTag)>, Refused>;
}

/// Why an entry did not become the one of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another one is there: somebody else leads.
    #[error("another node leads")]
    Taken,
    /// There was no answer: perhaps it is there.
    #[error("the log of all nodes does not answer; it is perhaps done")]
    Gone,
    /// What the log has does not follow from what is applied here.
    #[error("the log of all nodes went another way than this node")]
    Apart,
}

/// Puts and removals, as they are written down.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    bytes: Vec<u8>,
    last: Last,
}

/// What the change before was of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Last {
    table: TableNo,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Whether the value before was put by it.
    is_put: bool,
}

/// One change: the table, the key, and the value, or none where the key is removed.
pub(super) type Change<'c> = (TableNo, &'c [u8], Option<&'c [u8]>);

/// In the place of a table: the change before, for the panel whose number is one higher.
const NEXT: u8 = 0xff;

const REMOVED: u64 = 0;
const AS_BEFORE: u64 = 1;
/// A list of numbers follows: how many runs there are, and of each its first number and how many there are in it.
const RUNS: u64 = 2;
/// Lengths of values are written so much greater.
const LENGTH: u64 = 3;

/// Shorter lists of numbers are written as they are, in bytes.
const LONG_LIST: usize = 64;

/// The longest list that is read, in numbers.
const LONGEST_LIST: u64 = 1 << 26;

impl Changes {
    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// As they are written down.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Those that were written down so. Whether they can be read shows when they are.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, last: Last::default() }
    }

    /// Notes that a key has this value from now on, or is removed.
    pub(super) fn note(&mut self, table: TableNo, key: &[u8], value: Option<&[u8]>) {
        let Self { bytes, last } = self;
        if table == last.table && value == Some(&last.value) && last.is_put && is_next(&last.key, key) {
            bytes.push(NEXT);
            last.key.clear();
            last.key.extend_from_slice(key);
            return;
        }
        let shared = if table == last.table {
            key.iter().zip(&last.key).take_while(|(one, other)| one == other).count()
        } else {
            0
        };
        bytes.push(table);
        write_number(bytes, shared as u64);
        write_number(bytes, (key.len() - shared) as u64);
        bytes.extend_from_slice(&key[shared..]);
        match value {
            None => write_number(bytes, REMOVED),
            Some(value) if value == last.value => write_number(bytes, AS_BEFORE),
            Some(value) => {
                match runs_of(value) {
                    Some(runs) => {
                        write_number(bytes, RUNS);
                        write_number(bytes, runs.len() as u64);
                        for (first, count) in runs {
                            write_number(bytes, u64::from(first));
                            write_number(bytes, count);
                        }
                    }
                    None => {
                        write_number(bytes, value.len() as u64 + LENGTH);
                        bytes.extend_from_slice(value);
                    }
                }
                last.value.clear();
                last.value.extend_from_slice(value);
            }
        }
        last.table = table;
        last.is_put = value.is_some();
        last.key.truncate(shared);
        last.key.extend_from_slice(&key[shared..]);
    }

    /// Calls `each` with every change, in order.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(Change<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = self.bytes.as_slice();
        let mut last = Last::default();
        while let Some((table, after)) = rest.split_first() {
            rest = after;
            if *table == NEXT {
                let next = next_of(&last.key).filter(|_| last.is_put).ok_or(UNREADABLE)?;
                last.key[..4].copy_from_slice(&next);
                each((last.table, &last.key, Some(&last.value)))?;
                continue;
            }
            let shared = usize::try_from(read_number(&mut rest)?).map_err(|_| UNREADABLE)?;
            if shared > 0 && (*table != last.table || shared > last.key.len()) {
                return Err(UNREADABLE);
            }
            let own = read_bytes(&mut rest)?;
            last.table = *table;
            last.key.truncate(shared);
            last.key.extend_from_slice(own);
            let value = match read_number(&mut rest)? {
                REMOVED => None,
                AS_BEFORE => Some(last.value.as_slice()),
                RUNS => {
                    read_runs(&mut rest, &mut last.value)?;
                    Some(last.value.as_slice())
                }
                length => {
                    let value = take(&mut rest, length - LENGTH)?;
                    last.value.clear();
                    last.value.extend_from_slice(value);
                    Some(last.value.as_slice())
                }
            };
            let value = value.is_some();
            last.is_put = value;
            each((*table, &last.key, value.then_some(&*last.value)))?;
        }
        Ok(())
    }
}

/// The first four bytes of the key of the next panel, where the key begins with a panel's number, the highest byte first.
fn next_of(key: &[u8]) -> Option<[u8; 4]> {
    let panel = u32::from_be_bytes(*key.first_chunk()?);
    panel.checked_add(1).map(u32::to_be_bytes)
}

fn is_next(before: &[u8], key: &[u8]) -> bool {
    let (Some(next), Some((panel, rest))) = (next_of(before), key.split_first_chunk()) else { return false };
    next == *panel && before[4..] == *rest
}

/// The runs of a long list of numbers, the highest byte first, where writing these is shorter by far.
fn runs_of(value: &[u8]) -> Option<Vec<(u32, u64)>> {
    let (numbers, rest) = value.as_chunks::<4>();
    if value.len() < LONG_LIST || !rest.is_empty() {
        return None;
    }
    let mut runs: Vec<(u32, u64)> = Vec::new();
    for number in numbers.iter().map(|bytes| u32::from_be_bytes(*bytes)) {
        let many = runs.len() >= numbers.len() / 8;
        match runs.last_mut() {
            Some((first, count)) if u64::from(*first) + *count == u64::from(number) => *count += 1,
            _ if many => return None,
            _ => runs.push((number, 1)),
        }
    }
    Some(runs)
}

fn read_runs(rest: &mut &[u8], value: &mut Vec<u8>) -> Result<(), StoreError> {
    value.clear();
    let mut left = LONGEST_LIST;
    for _ in 0..read_number(rest)? {
        let first = u32::try_from(read_number(rest)?).map_err(|_| UNREADABLE)?;
        let count = read_number(rest)?;
        left = left.checked_sub(count.max(1)).ok_or(UNREADABLE)?;
        let end = u64::from(first) + count;
        if end > 1 << 32 {
            return Err(UNREADABLE);
        }
        (u64::from(first)..end).for_each(|number| value.extend_from_slice(&(number as u32).to_be_bytes()));
    }
    Ok(())
}

const UNREADABLE: StoreError = StoreError::Corrupt("changes of another node");

/// Seven bits a byte, the lowest first; the highest bit says that there are more.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(rest: &mut &[u8]) -> Result<u64, StoreError> {
    let mut number = 0;
    for place in 0..9 {
        let (byte, after) = rest.split_first().ok_or(UNREADABLE)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return Ok(number);
        }
    }
    Err(UNREADABLE)
}

fn take<'b>(rest: &mut &'b [u8], length: u64) -> Result<&'b [u8], StoreError> {
    let length = usize::try_from(length).map_err(|_| UNREADABLE)?;
    let (taken, after) = rest.split_at_checked(length).ok_or(UNREADABLE)?;
    *rest = after;
    Ok(taken)
}

fn read_bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], StoreError> {
    let length = read_number(rest)?;
    take(rest, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Noted = (TableNo, Vec<u8>, Option<Vec<u8>>);

    fn all(changes: &Changes) -> Result<Vec<Noted>, StoreError> {
        let mut all = Vec::new();
        changes.each(|(table, key, value)| {
            all.push((table, key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn neighbours_that_hold_the_same_take_few_bytes() {
        let mut changes = Changes::default();
        let pack = vec![7; 339];
        for panel in 0..1000_u32 {
            let key = [&panel.to_be_bytes()[..], &[0; 17]].concat();
            changes.note(4, &key, Some(&pack));
        }
        assert!(changes.as_bytes().len() < 1000 + 400, "{}", changes.as_bytes().len());
        assert_eq!(
            all(&changes).expect("readable").last().map(|change| change.1.clone()),
            Some([&999_u32.to_be_bytes()[..], &[0; 17]].concat())
        );
    }

    #[test]
    fn lists_of_panels_are_short() {
        let list = |panels: &[u32]| panels.iter().flat_map(|panel| panel.to_be_bytes()).collect::<Vec<_>>();
        let all: Vec<_> = (1..100_000_u32).filter(|panel| panel % 1000 != 7).collect();
        for panels in
            [all, vec![u32::MAX; 40], (0..40).map(|panel| panel * 2).collect(), vec![u32::MAX - 1, u32::MAX]]
        {
            let mut changes = Changes::default();
            changes.note(1, b"a", Some(&list(&panels)));
            changes.note(1, b"b", Some(&list(&panels)));
            let [(.., one), (.., other)] = all_of(&changes);
            assert_eq!((one.as_deref(), other.as_deref()), (Some(&*list(&panels)), Some(&*list(&panels))));
            assert!(panels.len() < 1000 || changes.as_bytes().len() < 1000, "{}", changes.as_bytes().len());
        }
    }

    fn all_of(changes: &Changes) -> [Noted; 2] {
        all(changes).expect("readable").try_into().expect("two")
    }

    proptest! {
        #[test]
        fn what_was_noted_is_read_again(
            noted in proptest::collection::vec(
                (0..2_u8, prop_oneof![
                    proptest::collection::vec(0..3_u8, 0..6),
                    (0..6_u32).prop_map(|panel| [&(panel + 254).to_be_bytes()[..], &[7]].concat()),
                ], proptest::option::of(prop_oneof![
                    Just(vec![7]),
                    proptest::collection::vec(0..3_u8, 0..300),
                    (0..300_u32).prop_map(|end| (0..end).flat_map(u32::to_be_bytes).collect::<Vec<u8>>()),
                ])),
                0..40,
            )
        ) {
            let mut changes = Changes::default();
            for (table, key, value) in &noted {
                changes.note(*table, key, value.as_deref());
            }
            prop_assert_eq!(all(&Changes::from_bytes(changes.as_bytes().to_vec())).expect("readable"), noted);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&Changes::from_bytes(bytes));
        }
    }
}
