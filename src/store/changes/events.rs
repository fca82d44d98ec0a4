//! Events at doors: kept once however often they are told, and for so long and so many as is set.

use redb::{ReadableTable, ReadableTableMetadata};
use rustc_hash::FxHashMap;

use crate::batch::item::ItemId;
use crate::identifier::event::{AccessEvent, Presented};
use crate::profile::LinkId;
use crate::store::event::{EventRecord, Index, Source, open_event, seal_event};
use crate::store::last_held;
use crate::store::row::{self, ItemKey, RowName};
use crate::store::seal::Seal;
use crate::store::tables::{SWEPT_AT_ONCE, Tables};
use crate::store::{PanelNo, StoreError};

/// What is sealed anew, and looked at, at once.
const AT_ONCE: usize = 1000;

/// How many are dropped for one that comes, where there are more than are to be kept.
const DROPPED_FOR_ONE: usize = 4;

/// Of so many panels it is remembered which of their events came first.
const LOUD: usize = 4096;

impl Tables<'_> {
    /// Keeps what happened at a panel's door; says of how many that was news. What is there already is not kept again.
    /// Nothing is kept of a panel that is not there.
    pub fn keep_events(
        &mut self,
        panel: PanelNo,
        events: &[AccessEvent],
        source: Source,
        received_ms: i64,
    ) -> Result<usize, StoreError> {
        if self.panels.get(panel)?.is_none() {
            return Ok(0);
        }
        let identifiers = self.identifiers_of(panel, events)?;
        let first_number = self.next_event()?;
        let mut news = 0;
        for (event, identifier) in events.iter().zip(identifiers) {
            let record = EventRecord::of(event, source);
            news += usize::from(self.keep_event(panel, event, identifier, &record, received_ms)?);
        }
        self.count_events(panel, news as i64)?;
        self.make_room(panel, first_number, DROPPED_FOR_ONE * news)?;
        Ok(news)
    }

    /// [`Tables::keep_events`] of what was read of a device's log, which is to be read from this moment on.
    pub fn keep_pulled(
        &mut self,
        panel: PanelNo,
        events: &[AccessEvent],
        up_to_ms: Option<i64>,
        received_ms: i64,
    ) -> Result<usize, StoreError> {
        if let Some(up_to) = up_to_ms
            && self.panels.get(panel)?.is_some()
        {
            self.events_read.insert(panel, as_key(up_to))?;
        }
        self.keep_events(panel, events, Source::Pull, received_ms)
    }

    /// Whose identifiers these were when they were presented: of those whose numbers were others' then, these; else those
    /// that the panel has with these types and numbers, or whose deletion its device has not confirmed yet. The panel's rows are gone through once for all events, and not at all where nobody has such
    /// an identifier anywhere.
    fn identifiers_of(
        &mut self,
        panel: PanelNo,
        events: &[AccessEvent],
    ) -> Result<Vec<Option<LinkId>>, StoreError> {
        let held_then = self.held_then(panel, events)?;
        let mut wanted: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        for (i, event) in events.iter().enumerate().filter(|(i, _)| held_then[*i].is_none()) {
            let Some(credential) = event.presented.as_ref().and_then(Presented::credential) else { continue };
            for body in self.bodies_with(credential)? {
                wanted.entry(body).or_default().push(i);
            }
        }
        let mut found: Vec<_> = held_then.into_iter().map(Option::flatten).collect();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut take = |item: ItemId, body: u64| {
            for i in wanted.get(&body).into_iter().flatten() {
                found[*i] = found[*i].or(item.identifier_link());
            }
        };
        for (name, row) in self.panel(panel).all()? {
            if let RowName::Link(item) = name {
                take(item, row.body);
            }
        }
        let (first, last) = row::item_range(panel);
        for entry in self.last_held.range::<&ItemKey>(&first..=&last)? {
            let (key, bodies) = entry?;
            for body in last_held::decode(bodies.value()) {
                take(row::item_name(key.value())?.1, body);
            }
        }
        Ok(found)
    }

    fn keep_event(
        &mut self,
        panel: PanelNo,
        event: &AccessEvent,
        identifier: Option<LinkId>,
        record: &EventRecord,
        received_ms: i64,
    ) -> Result<bool, StoreError> {
        let number = self.next_event()?;
        // What happens here is told once; what happened twice at one moment are two events.
        let said_ms = if record.source == Source::Panel { number } else { as_key(event.said_ms) };
        let (at_ms, received_ms) = (as_key(event.at_ms), as_key(received_ms));
        let tag = record.tag(&self.memory.seal);
        let index = Index { panel, at_ms, said_ms, received_ms, tag, identifier };
        if self.access_event_tags.get((panel, index.said_ms, &index.tag))?.is_some() {
            return Ok(false);
        }
        self.memory.next_event = Some(number + 1);
        let sealed = seal_event(&self.memory.seal, number, &index, record)?;
        self.access_events.insert(number, sealed.as_slice())?;
        self.access_event_times.insert((index.at_ms, number), ())?;
        self.access_events_by_panel.insert((panel, index.at_ms, number), ())?;
        if let Some(identifier) = index.identifier {
            self.access_events_by_identifier.insert((identifier.as_bytes(), index.at_ms, number), ())?;
        }
        self.access_event_tags.insert((panel, index.said_ms, &index.tag), number)?;
        Ok(true)
    }

    fn next_event(&self) -> Result<u64, StoreError> {
        match self.memory.next_event {
            Some(number) => Ok(number),
            None => Ok(self.meta.get("next_event")?.map_or(1, |number| number.value())),
        }
    }

    /// How many events of a panel are kept, and so many more or fewer from now on.
    fn count_events(&mut self, panel: PanelNo, more: i64) -> Result<(), StoreError> {
        let count = self.access_event_counts.get(panel)?.map_or(0, |count| count.value());
        match count.saturating_add_signed(more) {
            0 => self.access_event_counts.remove(panel)?.map(|_| ()),
            count => self.access_event_counts.insert(panel, count)?.map(|_| ()),
        };
        Ok(())
    }

    /// Drops events beyond the number that is kept, after some of this panel came under this number and later ones: its own
    /// that came first, as long as it has more than twice its share, so that no door pushes out what happened at all others;
    /// else those that came first of all.
    fn make_room(&mut self, panel: PanelNo, news: u64, most: usize) -> Result<(), StoreError> {
        let kept = self.memory.events.kept();
        let mut beyond = self.access_events.len()?.saturating_sub(kept).min(most as u64);
        if beyond > 0 {
            let share = kept / self.access_event_counts.len()?.max(1);
            let own = self.access_event_counts.get(panel)?.map_or(0, |count| count.value());
            let own = own.saturating_sub(share.saturating_mul(2)).min(beyond);
            for (number, index) in self.first_events_of(panel, news, own as usize)? {
                self.access_events.remove(number)?;
                self.forget_event(number, &index)?;
                beyond -= 1;
            }
        }
        for _ in 0..beyond {
            self.drop_first_event()?;
        }
        Ok(())
    }

    /// At most so many events of a panel that came first, before this number. What is gone through for one is not again.
    fn first_events_of(
        &mut self,
        panel: PanelNo,
        before: u64,
        most: usize,
    ) -> Result<Vec<(u64, Index)>, StoreError> {
        let mut found = Vec::new();
        let from = self.memory.oldest_event.get(&panel).copied().unwrap_or_default();
        let mut next = from;
        for entry in self.access_events.range(from..before)? {
            let (number, stored) = entry?;
            if found.len() == most {
                break;
            }
            next = number.value() + 1;
            let index = Index::decode(stored.value())?;
            if index.panel == panel {
                found.push((number.value(), index));
            }
        }
        if self.memory.oldest_event.len() >= LOUD {
            self.memory.oldest_event.clear();
        }
        self.memory.oldest_event.insert(panel, next);
        Ok(found)
    }

    /// Drops events that came before a moment, and those beyond the number that is kept; says how many. There may be more.
    pub fn drop_old_events(&mut self, before_ms: i64) -> Result<usize, StoreError> {
        let mut dropped = self.drop_events_beyond(SWEPT_AT_ONCE)?;
        while dropped < SWEPT_AT_ONCE {
            let oldest = self.access_events.first()?.map(|(_, stored)| Index::decode(stored.value()));
            let Some(oldest) = oldest.transpose()? else { break };
            if oldest.received_ms >= as_key(before_ms) {
                break;
            }
            self.drop_first_event()?;
            dropped += 1;
        }
        Ok(dropped)
    }

    fn drop_events_beyond(&mut self, most: usize) -> Result<usize, StoreError> {
        let beyond = self.access_events.len()?.saturating_sub(self.memory.events.kept());
        let beyond = usize::try_from(beyond).unwrap_or(most).min(most);
        for _ in 0..beyond {
            self.drop_first_event()?;
        }
        Ok(beyond)
    }

    fn drop_first_event(&mut self) -> Result<(), StoreError> {
        let first = self.access_events.pop_first()?;
        let Some((number, index)) =
            first.map(|(number, stored)| (number.value(), Index::decode(stored.value())))
        else {
            return Ok(());
        };
        self.forget_event(number, &index?)
    }

    /// Takes an event that is gone out of all by which it is found.
    fn forget_event(&mut self, number: u64, index: &Index) -> Result<(), StoreError> {
        self.access_event_times.remove((index.at_ms, number))?;
        self.access_events_by_panel.remove((index.panel, index.at_ms, number))?;
        if let Some(identifier) = index.identifier {
            self.access_events_by_identifier.remove((identifier.as_bytes(), index.at_ms, number))?;
        }
        self.access_event_tags.remove((index.panel, index.said_ms, &index.tag))?;
        self.count_events(index.panel, -1)
    }

    /// Seals all events anew that were sealed with the key before this one.
    pub(in crate::store) fn seal_events_anew(
        &mut self,
        before: &Seal,
        seal: &Seal,
    ) -> Result<(), StoreError> {
        let mut from = 0;
        loop {
            let mut some = Vec::with_capacity(AT_ONCE);
            for entry in self.access_events.range(from..)?.take(AT_ONCE) {
                let (number, stored) = entry?;
                some.push(open_event(before, number.value(), stored.value())?);
            }
            let Some(last) = some.last() else { return Ok(()) };
            from = last.number + 1;
            for event in some {
                let Index { panel, said_ms, tag, .. } = event.index;
                self.access_event_tags.remove((panel, said_ms, &tag))?;
                let index = Index { tag: event.record.tag(seal), ..event.index };
                self.access_event_tags.insert((panel, said_ms, &index.tag), event.number)?;
                let sealed = seal_event(seal, event.number, &index, &event.record)?;
                self.access_events.insert(event.number, sealed.as_slice())?;
            }
        }
    }
}

/// A moment as it stands in keys. What a device says may be before 1970; that is only told apart, never compared.
fn as_key(ms: i64) -> u64 {
    ms.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::identifier::event::Presented;
    use crate::store::backup::{self, KeyFound};
    use crate::store::read::events::EventFilter;
    use crate::store::{Store, render};
    use crate::telemetry::Metrics;

    fn event(ms: i64, number: &str) -> AccessEvent {
        AccessEvent {
            at_ms: ms,
            said_ms: ms,
            granted: Some(true),
            reason: "access_granted_by_valid_identifier".into(),
            presented: Some(Presented::new(Some("card"), number)),
            notes: BTreeMap::new(),
        }
    }

    fn with<T: Send + 'static>(
        store: &Store,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let result = runtime.block_on(store.handle().change_along(1, change)).expect("committed");
        let snapshot = store.handle().read().expect("a snapshot");
        assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
        result
    }

    fn keep(store: &Store, panel: PanelNo, events: Vec<AccessEvent>) -> usize {
        with(store, move |tables| tables.keep_events(panel, &events, Source::Link, 50))
    }

    fn seen(store: &Store, filter: &EventFilter) -> Vec<String> {
        let found = store.handle().read().expect("a snapshot").access_events(filter, None, 100);
        let shown = |event: &crate::store::event::StoredEvent| {
            format!("{} {}", event.index.at_ms, event.record.presented().expect("a card").number())
        };
        found.expect("readable").events.iter().map(shown).collect()
    }

    #[test]
    fn an_event_is_kept_once_found_by_what_it_is_and_pushed_out_by_newer_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        for id in ["p1", "p2"] {
            with(&store, move |tables| tables.add_panel(id, b"{}"));
        }
        assert_eq!(keep(&store, 1, vec![event(10, "1"), event(30, "3"), event(20, "2"), event(20, "2")]), 3);
        assert_eq!(keep(&store, 1, vec![event(20, "0002"), event(20, "4"), event(21, "2")]), 2);
        assert_eq!(keep(&store, 2, vec![event(20, "2")]), 1);
        assert_eq!(keep(&store, 3, vec![event(20, "2")]), 0, "there is no such panel");
        let all = EventFilter::default();
        assert_eq!(seen(&store, &all), ["30 3", "21 2", "20 2", "20 4", "20 2", "10 1"]);
        let second = EventFilter { panel: Some(2), ..all.clone() };
        assert_eq!(seen(&store, &second), ["20 2"]);
        let middle = EventFilter { panel: Some(1), from_ms: Some(20), to_ms: Some(30), ..all.clone() };
        assert_eq!(seen(&store, &middle), ["21 2", "20 4", "20 2"]);
        let none =
            EventFilter { identifier: Some(crate::profile::LinkId::from_bytes([1; 16])), ..all.clone() };
        assert!(seen(&store, &none).is_empty());

        store.handle().events().keep(4);
        assert_eq!(keep(&store, 2, vec![event(5, "5")]), 1);
        assert_eq!(seen(&store, &all), ["21 2", "20 2", "20 4", "5 5"], "the first that came are gone");
        assert_eq!(keep(&store, 1, vec![event(10, "1")]), 1, "of which nothing is known any more");
        assert_eq!(with(&store, |tables| tables.drop_old_events(50)), 0);
        assert_eq!(with(&store, |tables| tables.drop_old_events(51)), 4);
        assert!(seen(&store, &all).is_empty());
    }

    #[test]
    fn a_door_with_more_than_twice_its_share_pushes_out_its_own_events() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        for id in ["quiet", "loud", "third"] {
            with(&store, move |tables| tables.add_panel(id, b"{}"));
        }
        store.handle().events().keep(12);
        assert_eq!(keep(&store, 1, vec![event(1, "1"), event(2, "2")]), 2);
        assert_eq!(keep(&store, 3, vec![event(3, "3")]), 1);
        // What it says of when does not matter.
        for n in 0..40 {
            assert_eq!(keep(&store, 2, vec![event(1_000 - n, &format!("{}", 100 + n))]), 1);
        }
        let of = |panel| seen(&store, &EventFilter { panel: Some(panel), ..EventFilter::default() });
        assert_eq!((of(1), of(3)), (vec!["2 2".to_owned(), "1 1".into()], vec!["3 3".into()]));
        let stay: Vec<_> = (31..40).map(|n| format!("{} {}", 1_000 - n, 100 + n)).collect();
        assert_eq!(of(2), stay, "those that came last");
        // One with less than that pushes out whatever is oldest.
        assert_eq!(keep(&store, 3, vec![event(50, "5")]), 1);
        assert_eq!((of(1), of(3)), (vec!["2 2".to_owned()], vec!["50 5".into(), "3 3".into()]));
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_ended_and_a_stream_behind_a_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        with(&store, |tables| tables.add_panel("p1", b"{}"));
        keep(&store, 1, (0..25).map(|n| event(100 + n / 10, &n.to_string())).collect());
        let snapshot = store.handle().read().expect("a snapshot");
        let (mut numbers, mut before) = (Vec::new(), None);
        loop {
            let page = snapshot.access_events(&EventFilter::default(), before, 4).expect("readable");
            numbers.extend(page.events.iter().map(|event| event.number));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(numbers, (1..=25).rev().collect::<Vec<_>>());
        let (events, last, _) =
            snapshot.access_events_after(20, &EventFilter::default(), 3).expect("readable");
        assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [21, 22, 23]);
        assert_eq!((last, snapshot.access_event_numbers().expect("readable")), (23, (1, 25)));
    }

    #[test]
    fn events_are_sealed_anew_with_another_key_and_known_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        with(&store, |tables| tables.add_panel("p1", b"{}"));
        let many: Vec<_> = (0..2500).map(|n| event(n, "1234567")).collect();
        assert_eq!(keep(&store, 1, many.clone()), 2500);
        let other = Arc::new(Seal::new([9; 32]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let with_other = Arc::clone(&other);
        runtime.block_on(store.handle().change(move |tables| tables.seal_anew(&with_other))).expect("sealed");
        store.close();
        let store = Store::open_with(folder.path(), Seal::new([9; 32]), &Metrics::default()).expect("opened");
        assert_eq!(keep(&store, 1, many), 0);
        assert_eq!(
            store.handle().read().expect("a snapshot").access_event_numbers().expect("read"),
            (1, 2500)
        );
        store.close();
        let path = folder.path().join(crate::store::FILE_NAME);
        let found = |key: Option<[u8; 32]>| {
            backup::look_at_key(&path, key.map(Seal::new).as_ref()).expect("a database")
        };
        assert_eq!(found(Some([9; 32])), KeyFound::Fits);
        assert_eq!([found(None), found(Some([1; 32]))], [KeyFound::Other(2500); 2]);
        let file = std::fs::read(&path).expect("a file");
        assert!(!file.windows(7).any(|bytes| bytes == b"1234567"));
    }
}
