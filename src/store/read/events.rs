//! Reads of what happened at doors.

use std::ops::RangeBounds;

use redb::{Key, ReadOnlyTable, ReadableTable};

use super::Snapshot;
use crate::profile::LinkId;
use crate::store::event::{Index, StoredEvent, open_event};
use crate::store::seal::Seal;
use crate::store::tables;
use crate::store::{PanelNo, StoreError, damage};

/// Entries of an index that one question looks at, at most.
const LOOKED_AT: usize = 10_000;

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// At this panel.
    pub panel: Option<PanelNo>,
    /// Of this identifier.
    pub identifier: Option<LinkId>,
    /// From this moment on, in Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this moment, in Unix milliseconds.
    pub to_ms: Option<i64>,
}

impl EventFilter {
    fn picks(&self, index: &Index) -> bool {
        self.panel.is_none_or(|panel| index.panel == panel)
            && self.identifier.is_none_or(|identifier| index.identifier == Some(identifier))
            && index.at_ms >= self.first()
            && self.to_ms.is_none_or(|to| index.at_ms < to.max(0).cast_unsigned())
    }

    fn first(&self) -> u64 {
        self.from_ms.unwrap_or(0).max(0).cast_unsigned()
    }
}

/// Where an event stands among those of its time: when, and its number.
pub type EventPlace = (u64, u64);

/// Some events.
#[derive(Debug, Default)]
pub struct EventsFound {
    /// They.
    pub events: Vec<StoredEvent>,
    /// Behind which place the next ones are, where there are more; also where none of those that were looked at was
    /// wanted.
    pub next: Option<EventPlace>,
}

impl Snapshot {
    /// At most so many events before a place in time, newest first. It looks at a bounded number of them.
    pub fn access_events(
        &self,
        filter: &EventFilter,
        before: Option<EventPlace>,
        limit: usize,
    ) -> Result<EventsFound, StoreError> {
        let end = filter.to_ms.map(|to| (to.max(0).cast_unsigned(), 0));
        let (end_at, end_number) = [before, end].into_iter().flatten().min().unwrap_or((u64::MAX, u64::MAX));
        let first = filter.first();
        damage::read(|| match (filter.identifier, filter.panel) {
            (Some(link), _) => {
                let table = self.transaction.open_table(tables::ACCESS_EVENTS_BY_IDENTIFIER)?;
                let link = link.as_bytes();
                self.newest(
                    &table,
                    (link, first, 0)..(link, end_at, end_number),
                    |key| (key.1, key.2),
                    filter,
                    limit,
                )
            }
            (None, Some(panel)) => {
                let table = self.transaction.open_table(tables::ACCESS_EVENTS_BY_PANEL)?;
                self.newest(
                    &table,
                    (panel, first, 0)..(panel, end_at, end_number),
                    |key| (key.1, key.2),
                    filter,
                    limit,
                )
            }
            (None, None) => {
                let table = self.transaction.open_table(tables::ACCESS_EVENT_TIMES)?;
                self.newest(&table, (first, 0)..(end_at, end_number), |key| key, filter, limit)
            }
        })
    }

    fn newest<'k, K: Key + 'static>(
        &self,
        index: &ReadOnlyTable<K, ()>,
        range: impl RangeBounds<K::SelfType<'k>> + 'k,
        place: impl Fn(K::SelfType<'_>) -> EventPlace,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventsFound, StoreError> {
        let events = self.transaction.open_table(tables::ACCESS_EVENTS)?;
        let mut found = EventsFound::default();
        let mut last = None;
        for (looked_at, entry) in index.range::<K::SelfType<'k>>(range)?.rev().enumerate() {
            if found.events.len() == limit || looked_at == LOOKED_AT {
                found.next = last;
                break;
            }
            let here = place(entry?.0.value());
            let stored = events.get(here.1)?.ok_or(StoreError::Corrupt("event's number"))?;
            if filter.picks(&Index::decode(stored.value())?) {
                found.events.push(open_event(&self.seal, here.1, stored.value())?);
            }
            last = Some(here);
        }
        Ok(found)
    }

    /// At most so many events behind a number, in the order in which they came, the last number that was looked at, and how
    /// many up to that are not kept any more, of whatever panel.
    pub fn access_events_after(
        &self,
        number: u64,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<(Vec<StoredEvent>, u64, u64), StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ACCESS_EVENTS)?;
            let (mut found, mut last, mut missed) = (Vec::new(), number, 0);
            let mut entries = table.range(number.saturating_add(1)..)?.take(LOOKED_AT);
            let mut looked_at = 0;
            while found.len() < limit
                && let Some(entry) = entries.next()
            {
                looked_at += 1;
                let (number, stored) = entry?;
                missed += number.value().saturating_sub(last + 1);
                last = number.value();
                if filter.picks(&Index::decode(stored.value())?) {
                    found.push(open_event(&self.seal, last, stored.value())?);
                }
            }
            if found.len() < limit && looked_at < LOOKED_AT {
                let (_, given) = self.access_event_numbers()?;
                missed += given.saturating_sub(last);
                last = last.max(given);
            }
            Ok((found, last, missed))
        })
    }

    /// The first number of an event that is kept, and the last one that was given; 0 where there is none.
    pub fn access_event_numbers(&self) -> Result<(u64, u64), StoreError> {
        damage::read(|| {
            let last = self.transaction.open_table(tables::META)?.get("next_event")?;
            let last = last.map_or(0, |next| next.value() - 1);
            let table = self.transaction.open_table(tables::ACCESS_EVENTS)?;
            Ok((table.first()?.map_or(0, |(number, _)| number.value()), last))
        })
    }

    /// The newest moment in the log of a panel's device that was read, in Unix milliseconds.
    pub fn events_read_up_to(&self, panel: PanelNo) -> Result<Option<i64>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::EVENTS_READ)?;
            Ok(table.get(panel)?.map(|at_ms| at_ms.value().cast_signed()))
        })
    }

    /// An event, while it is kept.
    pub fn access_event(&self, number: u64) -> Result<Option<StoredEvent>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ACCESS_EVENTS)?;
            table.get(number)?.map(|stored| open_event(&self.seal, number, stored.value())).transpose()
        })
    }

    /// With what events are sealed.
    pub(in crate::store) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Calls `each` with every event, in the order in which they came.
    pub(in crate::store) fn each_access_event(
        &self,
        mut each: impl FnMut(StoredEvent) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for entry in self.transaction.open_table(tables::ACCESS_EVENTS)?.iter()? {
            let (number, stored) = entry?;
            each(open_event(&self.seal, number.value(), stored.value())?)?;
        }
        Ok(())
    }
}
