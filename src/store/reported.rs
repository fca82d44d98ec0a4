//! What is known of items on devices, and what waits for them.

use std::collections::BTreeMap;

use super::row::{be_u32, be_u64, link_id, panel_range};
use super::{PanelNo, StoreError};
use crate::batch::item::{ItemId, Kind};

/// The key of what a device last confirmed of an item: panel (4), kind (1), link_id (16).
pub type ItemKey = [u8; 21];

/// What a device is to do with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Pending {
    /// Take it as it is desired.
    Upsert = 0,
    /// Delete it.
    Delete = 1,
}

impl Pending {
    /// Of an item that is desired, or not.
    pub fn of(desired: bool) -> Self {
        if desired { Self::Upsert } else { Self::Delete }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Upsert, Self::Delete].into_iter().find(|pending| *pending as u8 == byte)
    }
}

/// The bytes of one item that waits: its kind (1), its link_id (16), and what the device is to do with it (1).
const WAITS: usize = 18;

/// All that waits for a panel's device, as stored: one value, since a call settles many of its items at once.
pub fn encode_pending(pending: &BTreeMap<ItemId, Pending>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(WAITS * pending.len());
    for (item, pending) in pending {
        bytes.push(item.kind as u8);
        bytes.extend(item.link_id.as_bytes());
        bytes.push(*pending as u8);
    }
    bytes
}

/// The items of what [`encode_pending`] made, in their order.
pub fn decode_pending(bytes: &[u8]) -> impl Iterator<Item = Result<(ItemId, Pending), StoreError>> {
    let (items, cut) = bytes.as_chunks::<WAITS>();
    let cut = (!cut.is_empty()).then_some(Err(StoreError::Corrupt("pending item")));
    let items = items.iter().map(|item| {
        let (kind, pending) = (Kind::from_byte(item[0]), Pending::from_byte(item[WAITS - 1]));
        let (Some(kind), Some(pending)) = (kind, pending) else {
            return Err(StoreError::Corrupt("pending item"));
        };
        Ok((ItemId { kind, link_id: link_id(&item[1..WAITS - 1]) }, pending))
    });
    items.chain(cut)
}

/// What is known of an item on a device. One that is neither desired nor known there has no row.
///
/// An embedded panel is what this server holds of it, so there is only `Refused`, of what was asked of it last and is not
/// there, or not so.
///
/// `Held` and `Refused` speak of what is desired now: whatever changes that makes it `Unknown` in the same
/// transaction, and it stays so while a call is under way, until an answer makes it known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// To be sent, or sent without an answer: what the device holds is not known.
    Unknown,
    /// The device has confirmed that it holds this body.
    Held(u64),
    /// The device has refused what is desired, in these words. It is not asked again until that changes.
    Refused(Box<str>),
    /// When it was last read, the device held something else than it had confirmed.
    Drifted(Drift),
    /// The device confirms what is desired, and keeps this instead: it was sent again, and held the same as before. It
    /// is not sent again until something else is desired, or somebody asks for it.
    KeptOtherwise(Box<Kept>),
}

/// What a device keeps instead of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// By this it is known again.
    pub print: u64,
    /// Its JSON, where that is short enough to be kept.
    pub json: Box<str>,
}

/// How a device differs from what it had confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// The profile is gone.
    Missing,
    /// Another one stands under its link_id.
    Changed,
    /// One stands there under a link_id that nobody asked for.
    Extra,
}

impl Reported {
    /// As stored: kind (1), then the body (8), the words, or what is kept: its print (8) and its JSON.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Unknown => vec![0],
            Self::Held(body) => [&[1][..], &body.to_be_bytes()].concat(),
            Self::Refused(words) => [&[2][..], words.as_bytes()].concat(),
            Self::Drifted(Drift::Missing) => vec![3],
            Self::Drifted(Drift::Changed) => vec![4],
            Self::Drifted(Drift::Extra) => vec![5],
            Self::KeptOtherwise(kept) => [&[6][..], &kept.print.to_be_bytes(), kept.json.as_bytes()].concat(),
        }
    }

    /// Whether what is stored is [`Reported::Unknown`].
    pub fn is_unknown(bytes: &[u8]) -> bool {
        bytes.first() == Some(&0)
    }

    /// From what is stored.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt("reported state");
        let (kind, rest) = bytes.split_first().ok_or(corrupt.clone())?;
        Ok(match (kind, rest.len()) {
            (0, 0) => Self::Unknown,
            (1, 8) => Self::Held(be_u64(rest)),
            (2, _) => Self::Refused(std::str::from_utf8(rest).map_err(|_| corrupt)?.into()),
            (3, 0) => Self::Drifted(Drift::Missing),
            (4, 0) => Self::Drifted(Drift::Changed),
            (5, 0) => Self::Drifted(Drift::Extra),
            (6, 8..) => {
                let (print, json) = rest.split_at(8);
                let json = std::str::from_utf8(json).map_err(|_| corrupt)?.into();
                Self::KeptOtherwise(Box::new(Kept { print: be_u64(print), json }))
            }
            _ => return Err(corrupt),
        })
    }
}

/// How many link_ids are in which state on devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportedCounts {
    /// Confirmed.
    pub held: u64,
    /// Desired and not confirmed.
    pub pending: u64,
    /// Refused by the device.
    pub refused: u64,
    /// Found to be different.
    pub drifted: u64,
}

impl ReportedCounts {
    fn numbers(self) -> [u64; 4] {
        let Self { held, pending, refused, drifted } = self;
        [held, pending, refused, drifted]
    }

    fn from_numbers([held, pending, refused, drifted]: [u64; 4]) -> Self {
        Self { held, pending, refused, drifted }
    }

    /// As stored: 8 bytes each.
    pub fn encode(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, number) in bytes.chunks_exact_mut(8).zip(self.numbers()) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// From what is stored.
    pub fn decode(bytes: &[u8; 32]) -> Self {
        Self::from_numbers([0, 8, 16, 24].map(|at| be_u64(&bytes[at..at + 8])))
    }
}

/// By how much such counts change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountsChange([i64; 4]);

impl CountsChange {
    /// To nothing.
    pub fn away_with(counts: ReportedCounts) -> Self {
        Self(counts.numbers().map(|number| -(number as i64)))
    }

    /// So many more of a state as it is stored.
    pub fn count(&mut self, stored: &[u8], more: i64) {
        let at = match stored.first() {
            Some(1) => 0,
            Some(0) => 1,
            Some(2) => 2,
            _ => 3,
        };
        self.0[at] += more;
    }

    /// This one and that one.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// What the counts become; none if one of them would be less than nothing.
    pub fn of(self, counts: ReportedCounts) -> Option<ReportedCounts> {
        let mut numbers = counts.numbers();
        for (number, change) in numbers.iter_mut().zip(self.0) {
            *number = number.checked_add_signed(change)?;
        }
        Some(ReportedCounts::from_numbers(numbers))
    }
}

/// The key of an item on a device.
pub fn item_key(panel: PanelNo, item: ItemId) -> ItemKey {
    let mut key = [0; 21];
    key[..4].copy_from_slice(&panel.to_be_bytes());
    key[4] = item.kind as u8;
    key[5..].copy_from_slice(item.link_id.as_bytes());
    key
}

/// The panel and the item of such a key.
pub fn item_name(key: &ItemKey) -> Result<(PanelNo, ItemId), StoreError> {
    let kind = Kind::from_byte(key[4]).ok_or(StoreError::Corrupt("kind of an item"))?;
    Ok((be_u32(&key[..4]), ItemId { kind, link_id: link_id(&key[5..]) }))
}

/// The keys between which all items of a panel's device lie.
pub fn item_range(panel: PanelNo) -> (ItemKey, ItemKey) {
    panel_range(panel) // keys of rows are as long
}
