//! Which numbers devices held under other link_ids than now, and until when.
//!
//! What happens at a door is often told late: a device that was away tells of days at once. By then a card may be somebody
//! else's, so an event is matched to what its device held when it happened. Of a number only its tag is kept, and nothing
//! once the fleet's key is another one.

use redb::{ReadableTable, ReadableTableMetadata};
use rustc_hash::FxHashMap;

use super::row::{self, ItemKey};
use super::seal::NumberTag;
use super::tables::Tables;
use super::{PanelNo, StoreError};
use crate::batch::item::Kind;
use crate::clock;
use crate::identifier::event::{AccessEvent, Presented};
use crate::profile::LinkId;

/// How many are dropped of a panel for one that comes, where there are more in all than are to be kept.
const DROPPED_FOR_ONE: usize = 4;

/// Entries of a panel that one packet of events looks at, at most.
const LOOKED_AT: usize = 10_000;

/// Who had a number at some moment: somebody, or nobody; or it is not known.
pub(super) type HeldThen = Option<Option<LinkId>>;

impl Tables<'_> {
    /// A device held, or perhaps held, these bodies of an item, and holds this one now.
    pub(super) fn note_held_before(
        &mut self,
        key: &ItemKey,
        held: &[u64],
        holds: Option<u64>,
    ) -> Result<(), StoreError> {
        let (panel, item) = row::item_name(key)?;
        if item.kind != Kind::Identifier {
            return Ok(());
        }
        let mut tags = Vec::with_capacity(held.len());
        for body in held {
            tags.extend(self.body_tag(*body)?);
        }
        let now = holds.map(|body| self.body_tag(body)).transpose()?.flatten();
        let until_ms = clock::now_ms().cast_unsigned();
        for tag in tags.iter().filter(|tag| Some(**tag) != now) {
            self.held_before.insert((panel, until_ms, tag), Some(item.link_id.as_bytes()))?;
        }
        if let Some(tag) = now.filter(|tag| !tags.contains(tag))
            && self.held_before.get((panel, until_ms, &tag))?.is_none()
        {
            self.held_before.insert((panel, until_ms, &tag), None)?;
        }
        self.drop_held_before(panel)
    }

    /// There are as many at most as events are kept: a panel to which some come loses its oldest ones.
    fn drop_held_before(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let beyond = self.held_before.len()?.saturating_sub(self.memory.events.kept());
        for _ in 0..beyond.min(DROPPED_FOR_ONE as u64) {
            let (first, last) = panel_range(panel);
            let oldest =
                self.held_before.range::<(PanelNo, u64, &NumberTag)>(first..=last)?.next().transpose()?;
            let Some((panel, until_ms, tag)) = oldest.map(|(key, _)| {
                let (panel, until_ms, tag) = key.value();
                (panel, until_ms, *tag)
            }) else {
                break;
            };
            self.held_before.remove((panel, until_ms, &tag))?;
        }
        Ok(())
    }

    /// Who had on the panel's device what was presented, when it was: as far as that is not how it is now.
    pub(super) fn held_then(
        &self,
        panel: PanelNo,
        events: &[AccessEvent],
    ) -> Result<Vec<HeldThen>, StoreError> {
        let mut found = vec![None; events.len()];
        let Some(since) = events.iter().map(|event| event.at_ms.cast_unsigned()).min() else {
            return Ok(found);
        };
        let (_, last) = panel_range(panel);
        let mut later = self
            .held_before
            .range::<(PanelNo, u64, &NumberTag)>((panel, since, &NumberTag::default())..=last)?
            .take(LOOKED_AT)
            .peekable();
        if later.peek().is_none() {
            return Ok(found);
        }
        let mut by_tag: FxHashMap<NumberTag, Vec<usize>> = FxHashMap::default();
        for (i, event) in events.iter().enumerate() {
            if let Some(credential) = event.presented.as_ref().and_then(Presented::credential) {
                by_tag.entry(self.memory.seal.tag(credential)).or_default().push(i);
            }
        }
        for entry in later {
            let (key, holder) = entry?;
            let (_, until_ms, tag) = key.value();
            let holder = holder.value().map(|link| LinkId::from_bytes(*link));
            for i in by_tag.get(tag).into_iter().flatten() {
                let event = &events[*i];
                let is_then = event.at_ms.cast_unsigned() <= until_ms;
                // Whom the device knew, somebody was.
                if found[*i].is_none() && is_then && (holder.is_some() || !event.is_of_somebody_known()) {
                    found[*i] = Some(holder);
                }
            }
        }
        Ok(found)
    }

    /// The panel goes.
    pub(super) fn forget_held_before(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        let (first, last) = panel_range(panel);
        self.held_before.retain_in::<(PanelNo, u64, &NumberTag)>(first..=last, |_, _| false)?;
        Ok(())
    }

    /// The key is another one, with which the tags here are worth nothing.
    pub(super) fn forget_all_held_before(&mut self) -> Result<(), StoreError> {
        self.held_before.clear()?;
        Ok(())
    }
}

type Place<'t> = (PanelNo, u64, &'t NumberTag);

fn panel_range(panel: PanelNo) -> (Place<'static>, Place<'static>) {
    ((panel, 0, &[0; 16]), (panel, u64::MAX, &[0xff; 16]))
}
