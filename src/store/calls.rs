//! Which items calls of the panel API have changed on a panel, and who called: so that the history of an item says nothing
//! untrue. A call belongs to no batch, and what it replaced is not kept.
//!
//! Of a panel the last [`KEPT_CALLS`] calls are kept that changed anything with a link_id. A call that changed very many is
//! kept as one that changed others, too.

use redb::ReadableTable;

use super::before::Changed;
use super::row;
use super::tables::Tables;
use super::{PanelNo, StoreError};
use crate::batch::item::{ItemId, Kind};

/// Calls that are kept of each panel; older ones go.
pub const KEPT_CALLS: u64 = 64;

/// Items of a call that are kept.
const KEPT_ITEMS: usize = 256;

/// Bytes of who called, at most.
const KEPT_ACTOR: usize = 255;

/// A call that changed something on a panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Who called.
    pub actor: String,
    /// What it changed: the items, and whether each was there afterwards.
    pub items: Vec<(ItemId, bool)>,
    /// Whether it changed others, too.
    pub others: bool,
}

impl CallRecord {
    /// As stored: when (8), whether others (1), the actor's length (1) and text, then of each item kind (1), link_id (16) and
    /// whether it was there (1).
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.at_ms.to_be_bytes().to_vec();
        bytes.push(self.others.into());
        let actor = &self.actor[..self.actor.floor_char_boundary(KEPT_ACTOR)];
        bytes.push(actor.len() as u8);
        bytes.extend(actor.as_bytes());
        for (item, there) in &self.items {
            bytes.push(item.kind as u8);
            bytes.extend(item.link_id.as_bytes());
            bytes.push((*there).into());
        }
        bytes
    }

    /// From what is stored.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::read(bytes).ok_or(StoreError::Corrupt("call of the panel API"))
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let at_ms = row::be_u64(bytes.split_off(..8)?) as i64;
        let others = *bytes.split_off_first()? != 0;
        let length = usize::from(*bytes.split_off_first()?);
        let actor = std::str::from_utf8(bytes.split_off(..length)?).ok()?.to_owned();
        let (items, rest) = bytes.as_chunks::<18>();
        let items = items.iter().map(|item| {
            let id = ItemId { kind: Kind::from_byte(item[0])?, link_id: row::link_id(&item[1..17]) };
            Some((id, item[17] != 0))
        });
        let items = items.collect::<Option<_>>()?;
        rest.is_empty().then_some(Self { at_ms, actor, items, others })
    }
}

impl Tables<'_> {
    /// Keeps that a call has just changed these items on a panel.
    pub(super) fn keep_call(
        &mut self,
        panel: PanelNo,
        actor: &str,
        changed: &[Changed],
    ) -> Result<(), StoreError> {
        let Some(first) = changed.first() else { return Ok(()) };
        let items = changed.iter().take(KEPT_ITEMS).map(|of| (of.item, of.after != 0)).collect();
        let others = changed.len() > KEPT_ITEMS;
        let call = CallRecord { at_ms: first.at_ms, actor: actor.to_owned(), items, others };
        let last = self.calls.range((panel, 0)..=(panel, u64::MAX))?.next_back().transpose()?;
        let number = last.map_or(0, |(key, _)| key.value().1) + 1;
        self.calls.insert((panel, number), call.encode().as_slice())?;
        if let Some(oldest) = number.checked_sub(KEPT_CALLS) {
            self.calls.remove((panel, oldest))?;
        }
        Ok(())
    }

    /// A panel goes, and with it what is kept of calls.
    pub(super) fn forget_calls(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        Ok(self.calls.retain_in((panel, 0)..=(panel, u64::MAX), |_, _| false)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::LinkId;

    #[test]
    fn a_call_reads_back_as_it_was() {
        let item = ItemId::identifier(LinkId::from_bytes([3; 16]));
        let call = CallRecord {
            at_ms: 7,
            actor: "panel-user:ä".into(),
            items: vec![(item, true), (item, false)],
            others: true,
        };
        let bytes = call.encode();
        assert_eq!(CallRecord::decode(&bytes).expect("a call"), call);
        assert!(CallRecord::decode(&bytes[..bytes.len() - 1]).is_err(), "it is cut");
        let long = CallRecord { actor: "ä".repeat(200), ..call };
        assert_eq!(CallRecord::decode(&long.encode()).expect("a call").actor, "ä".repeat(127));
    }
}
