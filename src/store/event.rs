//! How an event at a door is kept: in clear what finds it, and sealed the rest, which names a person's number.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::json::{decode, encode};
use super::row::{be_u32, be_u64};
use super::seal::{NumberTag, Seal};
use super::{PanelNo, StoreError};
use crate::identifier::event::{AccessEvent, Presented};
use crate::profile::LinkId;

/// The name of the table, to which what is sealed in it is bound.
const TABLE: &str = "access_events";

/// By this an event is known that was told before.
pub type EventTag = NumberTag;

/// From whom an event is known. Its word is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The device told its Link server.
    Link,
    /// We asked the device.
    Pull,
    /// It is a panel of this server.
    Panel,
}

impl Source {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Pull => "pull",
            Self::Panel => "panel",
        }
    }
}

/// What is kept sealed of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Whether somebody was let in.
    pub granted: Option<bool>,
    /// What happened, in the device's word.
    pub reason: Box<str>,
    /// The type of what was presented.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Box<str>>,
    /// Its whole number. It is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<Secret>,
    /// From whom it is known.
    pub source: Source,
    /// What else was told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<Box<str>, Box<str>>,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub Box<str>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl EventRecord {
    /// Of what was told.
    pub fn of(event: &AccessEvent, source: Source) -> Self {
        let presented = event.presented.as_ref();
        Self {
            granted: event.granted,
            reason: event.reason.clone(),
            kind: presented.and_then(|presented| Some(presented.kind()?.into())),
            number: presented.map(|presented| Secret(presented.number().into())),
            source,
            notes: event.notes.clone(),
        }
    }

    /// What was presented.
    pub fn presented(&self) -> Option<Presented> {
        Some(Presented::new(self.kind.as_deref(), &self.number.as_ref()?.0))
    }

    /// By what it is known when it is told again.
    pub(super) fn tag(&self, seal: &Seal) -> EventTag {
        let kind = self.kind.as_deref().unwrap_or_default();
        let number = self.number.as_ref().map_or("", |number| &*number.0);
        seal.event_tag(format!("{}\n{kind}\n{number}", self.reason).as_bytes())
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Ascends in the order in which events came to us.
    pub number: u64,
    /// By what it is found.
    pub index: Index,
    /// What it is.
    pub record: EventRecord,
}

/// By what an event is found: what its indexes say, which it names so that they go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// At which panel; it may have been removed.
    pub panel: PanelNo,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// When, by the device's word.
    pub said_ms: u64,
    /// When we were told.
    pub received_ms: u64,
    /// By what it is known when it is told again.
    pub tag: EventTag,
    /// Whose identifier it was, where it was somebody's.
    pub identifier: Option<LinkId>,
}

impl Index {
    const BYTES: usize = 4 + 3 * 8 + 16 + 1 + 16;

    fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.panel.to_be_bytes());
        for (at, ms) in [(4, self.at_ms), (12, self.said_ms), (20, self.received_ms)] {
            bytes[at..at + 8].copy_from_slice(&ms.to_be_bytes());
        }
        bytes[28..44].copy_from_slice(&self.tag);
        if let Some(identifier) = self.identifier {
            bytes[44] = 1;
            bytes[45..].copy_from_slice(identifier.as_bytes());
        }
        bytes
    }

    /// Of a kept event, of which it opens nothing.
    pub(super) fn decode(stored: &[u8]) -> Result<Self, StoreError> {
        let (bytes, _) = split(stored)?;
        let half = |at: usize| {
            let mut half = [0; 16];
            half.copy_from_slice(&bytes[at..at + 16]);
            half
        };
        Ok(Self {
            panel: be_u32(&bytes[..4]),
            at_ms: be_u64(&bytes[4..12]),
            said_ms: be_u64(&bytes[12..20]),
            received_ms: be_u64(&bytes[20..28]),
            tag: half(28),
            identifier: (bytes[44] == 1).then(|| LinkId::from_bytes(half(45))),
        })
    }
}

fn split(stored: &[u8]) -> Result<(&[u8], &[u8]), StoreError> {
    stored.split_at_checked(Index::BYTES).ok_or(StoreError::Corrupt("event"))
}

/// Seals an event under its number. It is bound to what its indexes say too.
pub(super) fn seal_event(
    seal: &Seal,
    number: u64,
    index: &Index,
    record: &EventRecord,
) -> Result<Vec<u8>, StoreError> {
    let mut stored = index.encode().to_vec();
    let key = [&number.to_be_bytes(), stored.as_slice()].concat();
    stored.extend(seal.seal_in(TABLE, &key, &encode(record))?);
    Ok(stored)
}

/// Opens what was sealed under this number.
pub(super) fn open_event(seal: &Seal, number: u64, stored: &[u8]) -> Result<StoredEvent, StoreError> {
    let (index, sealed) = split(stored)?;
    let key = [&number.to_be_bytes(), index].concat();
    let record = decode(&seal.open_in(TABLE, &key, sealed)?, "event")?;
    Ok(StoredEvent { number, index: Index::decode(stored)?, record })
}

/// Events kept without a setting.
pub const KEPT_EVENTS: u64 = 1_000_000;

/// How many events are kept, and the number of the last one for those who wait for the next; and of the devices that tell
/// of them, how often another serial number was kept.
pub struct EventFeed {
    kept: AtomicU64,
    serial_changes: AtomicU64,
    last: watch::Sender<u64>,
    /// When devices told of events by themselves, by panel.
    told: Mutex<HashMap<PanelNo, Instant>>,
}

impl Default for EventFeed {
    fn default() -> Self {
        Self {
            kept: AtomicU64::new(KEPT_EVENTS),
            serial_changes: AtomicU64::new(0),
            last: watch::Sender::new(0),
            told: Mutex::default(),
        }
    }
}

impl EventFeed {
    /// From now on so many are kept.
    pub fn keep(&self, number: u64) {
        self.kept.store(number.max(1), Ordering::Relaxed);
    }

    /// How many are kept.
    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// How often the serial number of some device has changed. It is counted once that is committed.
    pub fn serial_changes(&self) -> u64 {
        self.serial_changes.load(Ordering::Acquire)
    }

    /// A transaction has ended which changed a device's serial number, or perhaps did.
    pub(super) fn serials_changed(&self) {
        self.serial_changes.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever an event was committed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The panel's device has told of events by itself, or that there are none.
    pub fn told(&self, panel: PanelNo) {
        self.lock().insert(panel, Instant::now());
    }

    /// Whether it has within this time.
    pub fn tells(&self, panel: PanelNo, within: Duration) -> bool {
        self.lock().get(&panel).is_some_and(|told| told.elapsed() < within)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PanelNo, Instant>> {
        // Nothing panics while it holds the lock; if it did, the moments would still be whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction is committed after which this is the next number.
    pub(super) fn committed(&self, next: Option<u64>) {
        let Some(last) = next.map(|next| next - 1) else { return };
        self.last.send_if_modified(|before| std::mem::replace(before, last) != last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_opens_under_its_number_with_its_index_alone() {
        let seal = Seal::new([7; 32]);
        let record = EventRecord {
            granted: Some(true),
            reason: "x".into(),
            kind: Some("card".into()),
            number: Some(Secret("1234567".into())),
            source: Source::Link,
            notes: BTreeMap::from([("lock".into(), "1".into())]),
        };
        let index = Index {
            panel: 3,
            at_ms: 1_767_268_800_000,
            said_ms: u64::MAX,
            received_ms: 5,
            tag: record.tag(&seal),
            identifier: Some(LinkId::from_bytes([9; 16])),
        };
        let stored = seal_event(&seal, 8, &index, &record).expect("sealed");
        let opened = open_event(&seal, 8, &stored).expect("opened");
        assert_eq!((opened.index, &opened.record), (index, &record));
        assert!(open_event(&seal, 9, &stored).is_err(), "another number");
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            assert!(open_event(&seal, 8, &changed).is_err(), "changed at {at}");
            assert!(open_event(&seal, 8, &stored[..at]).is_err(), "cut at {at}");
        }
        assert!(!format!("{record:?}").contains("1234567"));
        let other = EventRecord { kind: Some("ukey".into()), ..record.clone() };
        assert_ne!(other.tag(&seal), record.tag(&seal));
    }
}
