//! Bytes of keys and values. Keys are big-endian, so that they sort as their numbers do.

use crate::batch::item::{ItemId, Kind};
use crate::batch::{ItemOutcome, Outcome, PanelState};
use crate::profile::LinkId;

use super::{BatchSeq, PanelNo, StoreError};

pub use super::reported::{
    CountsChange, Drift, ItemKey, Kept, Pending, Reported, ReportedCounts, decode_pending, encode_pending,
    item_key, item_name, item_range,
};

/// The key of an item's row on a panel: panel (4), kind (7 bits), whether it has no link_id (1 bit), then the link_id
/// (16) or, for an item that was made by uid, the uid (4, then zeros).
pub type RowKey = [u8; 21];

/// The value of an item's row: body (8), uid (4), revision (4).
pub type RowBytes = [u8; 16];

/// The key of an outcome: batch (8), panel (4).
pub type OutcomeKey = [u8; 12];

/// The bytes of one item that was pruned: its kind, and its link_id.
const PRUNED: usize = 17;

/// In the byte of the kind of an item that pruning left: the device refused that, or identifiers name it.
const LEFT: u8 = 0x40;
const LEFT_BOUND: u8 = 0x80;

/// In the byte of an outcome's state: it names its items itself.
const NAMED: u8 = 0x80;

/// The byte of a pending outcome whose panel has taken its part.
const PENDING_TAKEN: u8 = 6;

/// In the byte of a row's kind: it has no link_id.
const BY_UID: u8 = 1;

/// By what an item is known on its panel. They sort as their keys do: by kind, those with a link_id first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowName {
    /// Made by a link call.
    Link(ItemId),
    /// Made by a call by uid; has no link_id.
    Uid(Kind, u32),
}

impl RowName {
    /// What the item is.
    pub fn kind(self) -> Kind {
        match self {
            Self::Link(item) => item.kind,
            Self::Uid(kind, _) => kind,
        }
    }

    /// The link_id, where it has one.
    pub fn link_id(self) -> Option<LinkId> {
        match self {
            Self::Link(item) => Some(item.link_id),
            Self::Uid(..) => None,
        }
    }

    fn bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Link(item) => {
                bytes[0] = (item.kind as u8) << 1;
                bytes[1..].copy_from_slice(item.link_id.as_bytes());
            }
            Self::Uid(kind, uid) => {
                bytes[0] = (kind as u8) << 1 | BY_UID;
                bytes[1..5].copy_from_slice(&uid.to_be_bytes());
            }
        }
        bytes
    }
}

impl Ord for RowName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(&other.bytes())
    }
}

impl PartialOrd for RowName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which body.
    pub body: u64,
    /// The panel's own number for the item, at least 1.
    pub uid: u32,
    /// How often the item was written here: 1 when created, one more at each change.
    pub revision: u32,
}

/// Per panel: the next uid and the numbers of rows. It stands in the panel's first pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The uid that the next new item gets.
    pub next_uid: u32,
    /// How many items of each kind the panel holds, by the kinds' numbers.
    pub counts: [u32; Kind::ALL.len()],
}

/// The bytes of a head.
pub const HEAD: usize = 4 + 4 * Kind::ALL.len();

impl Default for Head {
    fn default() -> Self {
        Self { next_uid: 1, counts: [0; Kind::ALL.len()] }
    }
}

/// The row key of a name on a panel.
pub fn row_key(panel: PanelNo, name: RowName) -> RowKey {
    let mut key = [0; 21];
    key[..4].copy_from_slice(&panel.to_be_bytes());
    key[4..].copy_from_slice(&name.bytes());
    key
}

/// The panel and name of a row key.
pub fn row_name(key: &RowKey) -> Result<(PanelNo, RowName), StoreError> {
    let panel = be_u32(&key[..4]);
    let kind = Kind::from_byte(key[4] >> 1).ok_or(StoreError::Corrupt("row key"))?;
    let name = match key[4] & BY_UID {
        BY_UID => RowName::Uid(kind, be_u32(&key[5..9])),
        _ => RowName::Link(ItemId { kind, link_id: link_id(&key[5..]) }),
    };
    Ok((panel, name))
}

/// The keys between which all rows and packs of a panel lie; the first one is that of its first pack.
pub fn panel_range(panel: PanelNo) -> (RowKey, RowKey) {
    let mut first = [0; 21];
    let mut last = [0xff; 21];
    first[..4].copy_from_slice(&panel.to_be_bytes());
    last[..4].copy_from_slice(&panel.to_be_bytes());
    (first, last)
}

impl Row {
    /// As stored.
    pub fn encode(self) -> RowBytes {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.body.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.uid.to_be_bytes());
        bytes[12..].copy_from_slice(&self.revision.to_be_bytes());
        bytes
    }

    /// From what is stored.
    pub fn decode(bytes: &RowBytes) -> Self {
        Self { body: be_u64(&bytes[..8]), uid: be_u32(&bytes[8..12]), revision: be_u32(&bytes[12..]) }
    }
}

impl Head {
    /// How many items of this kind the panel holds.
    pub fn count(&self, kind: Kind) -> u32 {
        self.counts[kind as usize]
    }

    /// As stored: next uid (4), then the numbers of items (4 each).
    pub fn encode(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let numbers = std::iter::once(self.next_uid).chain(self.counts);
        for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// From what is stored.
    pub fn decode(bytes: &[u8; HEAD]) -> Self {
        let mut head = Self { next_uid: be_u32(&bytes[..4]), ..Self::default() };
        for (count, place) in head.counts.iter_mut().zip(bytes[4..].chunks_exact(4)) {
            *count = be_u32(place);
        }
        head
    }
}

/// The key of a panel's outcome in a batch, and of those after it that are the same.
pub fn outcome_key(batch: BatchSeq, panel: PanelNo) -> OutcomeKey {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&batch.to_be_bytes());
    key[8..].copy_from_slice(&panel.to_be_bytes());
    key
}

/// The panel of an outcome's key.
pub fn outcome_panel(key: &OutcomeKey) -> PanelNo {
    be_u32(&key[8..])
}

/// An outcome as stored: state (1), attempts (2), number of items (4), a byte per item, where it names them itself the kind (1)
/// and the link_id (16) of each, number of pruned
/// items (4), each with its kind and whether it was left there (1) and its link_id (16), number of words (4), each with its item's index (4), its length (4) and its
/// text, and the error's text up to the end.
pub fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    let error = outcome.error.as_deref().unwrap_or_default();
    let mut bytes =
        Vec::with_capacity(11 + outcome.items.len() + PRUNED * outcome.pruned.len() + error.len());
    let named = if outcome.named.is_some() { NAMED } else { 0 };
    bytes.push(match outcome.state {
        PanelState::Pending if outcome.taken => PENDING_TAKEN | named,
        state => state as u8 | named,
    });
    bytes.extend(outcome.attempts.to_be_bytes());
    bytes.extend((outcome.items.len() as u32).to_be_bytes());
    bytes.extend(outcome.items.iter().map(|item| *item as u8));
    for item in outcome.named.iter().flat_map(|named| named.iter()) {
        bytes.push(item.kind as u8);
        bytes.extend(item.link_id.as_bytes());
    }
    let left = outcome.left.iter();
    let left = left.map(|(item, why)| (item, if *why == ItemOutcome::Bound { LEFT_BOUND } else { LEFT }));
    bytes.extend(((outcome.pruned.len() + outcome.left.len()) as u32).to_be_bytes());
    for (item, left) in outcome.pruned.iter().map(|item| (item, 0)).chain(left) {
        bytes.push(item.kind as u8 | left);
        bytes.extend(item.link_id.as_bytes());
    }
    bytes.extend((outcome.said.len() as u32).to_be_bytes());
    for (item, word) in &outcome.said {
        bytes.extend(item.to_be_bytes());
        bytes.extend((word.len() as u32).to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(error.as_bytes());
    bytes
}

/// An outcome with the number of panels whose outcome it is, as stored: the number (4), then the outcome.
pub fn join_outcome(panels: u32, outcome: &[u8]) -> Vec<u8> {
    [&panels.to_be_bytes()[..], outcome].concat()
}

/// The number of panels and the outcome, still as stored, of what [`join_outcome`] put together.
pub fn split_outcome(mut bytes: &[u8]) -> Result<(u32, &[u8]), StoreError> {
    let panels = bytes.split_off(..4).ok_or(StoreError::Corrupt("outcome"))?;
    Ok((be_u32(panels), bytes))
}

/// An outcome of format 1, which had no words, as it is stored now.
pub fn outcome_from_format_1(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let whole = bytes;
    bytes.split_off(..3)?;
    let items = be_u32(bytes.split_off(..4)?) as usize;
    bytes.split_off(..items)?;
    let pruned = be_u32(bytes.split_off(..4)?) as usize;
    bytes.split_off(..pruned.checked_mul(16)?)?;
    let mut now = whole[..whole.len() - bytes.len()].to_vec();
    now.extend(0_u32.to_be_bytes());
    now.extend(bytes);
    Some(now)
}

/// An outcome of formats 2 to 6, where what was pruned had no kind, as it is stored now.
pub fn outcome_from_format_6(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let whole = bytes;
    bytes.split_off(..3)?;
    let items = be_u32(bytes.split_off(..4)?) as usize;
    bytes.split_off(..items)?;
    let pruned = be_u32(bytes.split_off(..4)?) as usize;
    let mut now = whole[..whole.len() - bytes.len()].to_vec();
    for link in bytes.split_off(..pruned.checked_mul(16)?)?.chunks_exact(16) {
        now.push(Kind::Profile as u8);
        now.extend(link);
    }
    now.extend(bytes);
    Some(now)
}

/// From what [`encode_outcome`] stored.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, StoreError> {
    read_outcome(bytes).ok_or(StoreError::Corrupt("outcome"))
}

fn read_outcome(mut bytes: &[u8]) -> Option<Outcome> {
    let first = bytes.split_off_first().copied()?;
    let (state, taken) = match first & !NAMED {
        PENDING_TAKEN => (PanelState::Pending, true),
        byte => PanelState::from_byte(byte)
            .map(|state| (state, !matches!(state, PanelState::Pending | PanelState::Failed)))?,
    };
    let attempts = u16::from_be_bytes(bytes.split_off(..2)?.try_into().ok()?);
    let items = be_u32(bytes.split_off(..4)?) as usize;
    let items: Vec<_> =
        bytes.split_off(..items)?.iter().map(|b| ItemOutcome::from_byte(*b)).collect::<Option<_>>()?;
    let named = match first & NAMED {
        0 => None,
        _ => {
            let named = bytes.split_off(..items.len().checked_mul(PRUNED)?)?.chunks_exact(PRUNED);
            Some(named.map(item_id).collect::<Option<_>>()?)
        }
    };
    let pruned = be_u32(bytes.split_off(..4)?) as usize;
    let pruned = bytes.split_off(..pruned.checked_mul(PRUNED)?)?.chunks_exact(PRUNED);
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for item in pruned {
        let how = item[0] & (LEFT | LEFT_BOUND);
        let item = ItemId { kind: Kind::from_byte(item[0] & !how)?, link_id: link_id(&item[1..]) };
        match how {
            0 => gone.push(item),
            LEFT_BOUND => left.push((item, ItemOutcome::Bound)),
            _ => left.push((item, ItemOutcome::Refused)),
        }
    }
    let mut said = Vec::new();
    for _ in 0..be_u32(bytes.split_off(..4)?) {
        let item = be_u32(bytes.split_off(..4)?);
        let length = be_u32(bytes.split_off(..4)?) as usize;
        said.push((item, std::str::from_utf8(bytes.split_off(..length)?).ok()?.into()));
    }
    let error = std::str::from_utf8(bytes).ok()?;
    let error = (!error.is_empty()).then(|| error.into());
    Some(Outcome { state, attempts, error, items, named, pruned: gone, left, taken, said })
}

/// The item whose kind and link_id these bytes are.
fn item_id(bytes: &[u8]) -> Option<ItemId> {
    Some(ItemId { kind: Kind::from_byte(*bytes.first()?)?, link_id: link_id(bytes.get(1..PRUNED)?) })
}

/// The link_id that these 16 bytes are.
pub(super) fn link_id(bytes: &[u8]) -> LinkId {
    let mut link = [0; 16];
    link.copy_from_slice(bytes);
    LinkId::from_bytes(link)
}

/// A list of panel numbers as stored: 4 bytes each.
pub fn encode_panels(panels: &[PanelNo]) -> Vec<u8> {
    panels.iter().flat_map(|panel| panel.to_be_bytes()).collect()
}

/// From what [`encode_panels`] stored.
pub fn decode_panels(bytes: &[u8]) -> Vec<PanelNo> {
    bytes.chunks_exact(4).map(be_u32).collect()
}

/// Of at most four bytes, the number that they spell.
pub(super) fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Of at most eight bytes, the number that they spell.
pub(super) fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_reads_back_as_it_was() {
        let link = LinkId::from_bytes([7; 16]);
        let item = ItemId::profile(link);
        let of_kind = |kind| [RowName::Link(ItemId { kind, ..item }), RowName::Uid(kind, 0x0102_0304)];
        for name in Kind::ALL.into_iter().flat_map(of_kind) {
            assert_eq!(row_name(&row_key(9, name)).expect("a key"), (9, name));
        }
        let row = Row { body: u64::MAX - 5, uid: 3, revision: u32::MAX };
        assert_eq!(Row::decode(&row.encode()), row);
        let head = Head { next_uid: 77, counts: [12, 5] };
        assert_eq!(Head::decode(&head.encode()), head);
        let items = (1..=22).filter_map(ItemOutcome::from_byte).collect();
        let left = vec![(item, ItemOutcome::Refused), (ItemId::identifier(link), ItemOutcome::Bound)];
        let mut outcome = Outcome::decided(items, vec![item, item], left, 3);
        outcome.said = vec![(2, "".into()), (12, "face_id_not_supported".into())];
        outcome.error = Some("because".into());
        assert_eq!(item_name(&item_key(7, item)).expect("a key"), (7, item));
        for reported in [
            Reported::Unknown,
            Reported::Held(u64::MAX - 1),
            Reported::Refused("".into()),
            Reported::Refused("no".into()),
            Reported::Drifted(Drift::Missing),
            Reported::Drifted(Drift::Changed),
            Reported::Drifted(Drift::Extra),
            Reported::KeptOtherwise(Box::new(Kept { print: u64::MAX - 7, json: "{}".into() })),
            Reported::KeptOtherwise(Box::new(Kept { print: 0, json: "".into() })),
        ] {
            assert_eq!(Reported::decode(&reported.encode()).expect("a state"), reported);
        }
        assert_eq!(decode_outcome(&encode_outcome(&outcome)).expect("an outcome"), outcome);
        let items = vec![ItemOutcome::ToDelete, ItemOutcome::ChangedSince];
        let mut outcome = Outcome::decided(items, Vec::new(), Vec::new(), 1);
        outcome.named = Some([item, ItemId::identifier(link)].into());
        assert_eq!(decode_outcome(&encode_outcome(&outcome)).expect("an outcome"), outcome);
        assert_eq!(decode_panels(&encode_panels(&[1, 500, u32::MAX])), [1, 500, u32::MAX]);
    }

    #[test]
    fn what_was_pruned_before_there_were_kinds_are_profiles() {
        let pruned = [1, 2].map(|n| ItemId::profile(LinkId::from_bytes([n; 16]))).to_vec();
        let mut outcome = Outcome::decided(vec![ItemOutcome::Created; 3], pruned, Vec::new(), 1);
        outcome.said = vec![(1, "why".into())];
        let now = encode_outcome(&outcome);
        let (head, rest) = now.split_at(3 + 4 + 3 + 4);
        let (pruned, rest) = rest.split_at(2 * PRUNED);
        let links = pruned.chunks_exact(PRUNED).flat_map(|item| item[1..].to_vec());
        let before: Vec<_> = head.iter().copied().chain(links).chain(rest.iter().copied()).collect();
        assert_eq!(outcome_from_format_6(&before), Some(now));
        let none = encode_outcome(&Outcome::failed("why", 1));
        assert_eq!(outcome_from_format_6(&none).as_ref(), Some(&none));
        assert_eq!(outcome_from_format_6(&before[..20]), None, "it is cut");
    }

    #[test]
    fn a_cut_outcome_is_corrupt_and_never_a_panic() {
        let mut outcome = Outcome::decided(
            vec![ItemOutcome::Created; 3],
            vec![ItemId::profile(LinkId::from_bytes([1; 16]))],
            Vec::new(),
            1,
        );
        outcome.said = vec![(1, "why".into())];
        let bytes = encode_outcome(&outcome);
        for end in 0..bytes.len() {
            assert!(decode_outcome(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
