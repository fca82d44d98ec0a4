//! What happened at doors, for whoever asks.

use super::{Fleet, FleetError, Page};
use crate::profile::LinkId;
use crate::store::StoreError;
use crate::store::event::StoredEvent;
use crate::store::read::Snapshot;
use crate::store::read::events::{EventFilter, EventPlace};

/// Which events, as they are asked for.
#[derive(Debug, Default)]
pub struct EventsWanted {
    /// At this panel.
    pub panel: Option<String>,
    /// Of this identifier.
    pub identifier: Option<LinkId>,
    /// From this moment on, in Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this moment, in Unix milliseconds.
    pub to_ms: Option<i64>,
}

/// An event, and the id of its panel, which may have been removed.
#[derive(Debug)]
pub struct DoorEvent {
    /// At which panel.
    pub panel: String,
    /// What happened.
    pub event: StoredEvent,
}

/// What is new behind a number.
#[derive(Debug)]
pub struct NewEvents {
    /// In the order in which they came.
    pub events: Vec<DoorEvent>,
    /// How many between the number and the first of them are not kept any more; they may have been of others.
    pub missed: u64,
    /// The last number that was looked at.
    pub last: u64,
}

impl Fleet {
    /// The filter for what is asked.
    pub fn events_wanted(&self, wanted: EventsWanted) -> Result<EventFilter, FleetError> {
        let EventsWanted { panel, identifier, from_ms, to_ms } = wanted;
        let panel = panel.map(|id| self.panel(&id)).transpose()?.map(|panel| panel.number);
        Ok(EventFilter { panel, identifier, from_ms, to_ms })
    }

    /// At most `limit` events before a place in time, newest first. There may be more though there are fewer than that.
    pub async fn page_of_events(
        &self,
        filter: EventFilter,
        before: Option<EventPlace>,
        limit: usize,
    ) -> Result<Page<DoorEvent, EventPlace>, FleetError> {
        self.read(move |snapshot| {
            let found = snapshot.access_events(&filter, before, limit)?;
            Ok::<_, StoreError>(Page { items: with_panels(snapshot, found.events)?, next: found.next })
        })
        .await
    }

    /// At most `limit` events behind a number; behind the last that there is without one.
    pub async fn events_after(
        &self,
        filter: EventFilter,
        number: Option<u64>,
        limit: usize,
    ) -> Result<NewEvents, FleetError> {
        self.read(move |snapshot| {
            let (_, last) = snapshot.access_event_numbers()?;
            // A number that was never given is one of another database.
            let Some(number) = number.filter(|number| *number <= last) else {
                return Ok(NewEvents { events: Vec::new(), missed: 0, last });
            };
            let (events, last, missed) = snapshot.access_events_after(number, &filter, limit)?;
            Ok::<_, StoreError>(NewEvents { events: with_panels(snapshot, events)?, missed, last })
        })
        .await
    }
}

fn with_panels(snapshot: &Snapshot, events: Vec<StoredEvent>) -> Result<Vec<DoorEvent>, StoreError> {
    let named = |event: StoredEvent| {
        let panel = snapshot.panel_name(event.index.panel)?.unwrap_or_default();
        Ok(DoorEvent { panel, event })
    };
    events.into_iter().map(named).collect()
}
