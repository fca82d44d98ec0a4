//! What happens to batches and panels, for listeners: a bounded row of numbered events.
//!
//! Events are published in chunks, which all listeners share: a listener is woken by a change of the newest number and
//! takes the chunks that came after its own place, from behind a lock that is held for a moment. Nobody asks the
//! coordinator, and what a chunk looks like on the wire is made once, by the listener that needs it first. So a slow
//! listener costs nothing, and one that falls behind what is kept is told how much it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::batch::report::Report;
use crate::batch::{BatchState, PanelState};
use crate::panel::remote::Connection;
use crate::store::{BatchSeq, PanelNo};

/// Events kept, at least.
const KEPT: usize = 32_768;

/// Events in a chunk at most: some 20 KB on the wire.
const CHUNK: usize = 128;

/// An event with its number. Numbers ascend over restarts.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number.
    pub id: u64,
    /// Of which batch; none for what happens to a panel by itself.
    pub batch: Option<BatchSeq>,
    /// What happened.
    pub what: What,
}

/// What happened to a batch, or to a panel.
#[derive(Debug, Clone)]
pub enum What {
    /// A remote panel went offline, or came back.
    Connection {
        /// Which panel.
        panel: PanelNo,
        /// How it can be reached now.
        connection: Connection,
        /// What it fails with.
        error: Option<Box<str>>,
    },
    /// A panel has an outcome.
    Panel {
        /// Which panel.
        panel: PanelNo,
        /// Its state in the batch.
        outcome: PanelState,
        /// How often it was tried.
        attempts: u16,
        /// Why it failed.
        error: Option<Box<str>>,
    },
    /// How far the batch is; at most ten a second.
    Progress(Report),
    /// Every panel has an outcome.
    Done(BatchState, Report),
}

/// Events that were published together, with consecutive numbers.
#[derive(Debug)]
pub struct Chunk {
    /// The events; there is at least one.
    pub events: Vec<Event>,
    /// What they look like on the wire, once a listener has made it: all of it, and where each event ends.
    pub wire: OnceLock<(Bytes, Vec<usize>)>,
}

impl Chunk {
    fn first(&self) -> u64 {
        self.events.first().map_or(0, |event| event.id)
    }

    /// The number behind its last event.
    pub fn next(&self) -> u64 {
        self.first() + self.events.len() as u64
    }
}

/// What is published, for listeners.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    chunks: VecDeque<Arc<Chunk>>,
    events: usize,
    /// The first number of this start.
    first: u64,
    next: u64,
}

/// What a listener finds.
#[derive(Debug)]
pub struct Found {
    /// The chunks that hold events from its place on, and perhaps some before it.
    pub chunks: Vec<Arc<Chunk>>,
    /// From which number on there is something.
    pub from: u64,
    /// How many events were published and are kept no more; none where the place is of an earlier start, or one
    /// that was never given.
    pub missed: Option<u64>,
}

impl Feed {
    /// Changes whenever there is something new.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The number that the next event will have.
    pub fn next(&self) -> u64 {
        self.lock().next
    }

    /// The chunks with events from number `from` on, at most so many.
    pub fn since(&self, from: u64, most: usize) -> Found {
        let kept = self.lock();
        if from > kept.next {
            // The number is of another time: of a store that was put back, or made up.
            return Found { chunks: Vec::new(), from: kept.next, missed: None };
        }
        let oldest = kept.chunks.front().map_or(kept.next, |chunk| chunk.first());
        // Between a number of an earlier start and those of this one lie numbers that were never given.
        let missed = (from >= kept.first).then(|| oldest.saturating_sub(from));
        let from = from.max(oldest);
        let first = kept.chunks.partition_point(|chunk| chunk.next() <= from);
        let chunks = kept.chunks.iter().skip(first).take(most).cloned().collect();
        Found { chunks, from, missed }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it holds the lock; if it did, the chunks would still be whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The coordinator's side: events that are not published yet, and those that are.
pub struct Events {
    waiting: Vec<Event>,
    next: u64,
    feed: Arc<Feed>,
}

impl Events {
    /// Without events; the first one will have this number.
    pub fn new(first: u64) -> Self {
        let kept = Mutex::new(Kept { chunks: VecDeque::new(), events: 0, first, next: first });
        let feed = Arc::new(Feed { kept, newest: watch::Sender::new(first) });
        Self { waiting: Vec::new(), next: first, feed }
    }

    /// Adds an event; it is published by [`Events::wake`], or before by [`Events::publish`]. Says whether there are
    /// enough of them for that.
    pub fn push(&mut self, batch: Option<BatchSeq>, what: What) -> bool {
        self.waiting.push(Event { id: self.next, batch, what });
        self.next += 1;
        self.waiting.len() >= CHUNK
    }

    /// Publishes what was added, and wakes the listeners.
    pub fn wake(&mut self) {
        self.publish();
        self.feed.newest.send_if_modified(|newest| {
            let news = *newest != self.next;
            *newest = self.next;
            news
        });
    }

    /// Where listeners find what is published.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Publishes what was added as a chunk. Listeners that look find it; nobody is woken.
    pub fn publish(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let chunk = Chunk { events: std::mem::take(&mut self.waiting), wire: OnceLock::new() };
        let mut gone = Vec::new();
        let mut kept = self.feed.lock();
        kept.events += chunk.events.len();
        kept.next = chunk.next();
        kept.chunks.push_back(Arc::new(chunk));
        while let Some(oldest) = kept.chunks.front()
            && kept.events - oldest.events.len() >= KEPT
        {
            kept.events -= oldest.events.len();
            gone.extend(kept.chunks.pop_front());
        }
        drop(kept);
        drop(gone); // after the lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_goes_on_where_it_was_and_learns_what_it_missed() {
        let mut events = Events::new(1000);
        for n in 0..KEPT as u64 + 2 * CHUNK as u64 {
            if events.push(Some(n % 2), What::Progress(Report::default())) {
                events.publish();
            }
        }
        events.wake();
        let feed = events.feed();
        let found = feed.since(1000, 3);
        assert_eq!((found.chunks.len(), found.missed), (3, Some(2 * CHUNK as u64)));
        assert_eq!(found.from, found.chunks[0].events[0].id);
        let found = feed.since(found.from + 5, usize::MAX);
        assert_eq!(found.missed, Some(0));
        let all: Vec<u64> =
            found.chunks.iter().flat_map(|chunk| chunk.events.iter().map(|event| event.id)).collect();
        assert!(all.is_sorted() && all.last() == Some(&(feed.next() - 1)));
        assert!(feed.since(feed.next(), 9).chunks.is_empty());
    }

    #[test]
    fn a_place_that_was_never_given_leads_to_the_newest() {
        let mut events = Events::new(1000);
        events.push(None, What::Progress(Report::default()));
        events.wake();
        let found = events.feed().since(5000, 9);
        assert_eq!((found.chunks.len(), found.from, found.missed), (0, 1001, None));
        assert_eq!(events.feed().since(1001, 9).missed, Some(0));
    }
}
