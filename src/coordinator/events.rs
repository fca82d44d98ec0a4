//! What happens to batches and panels, for listeners: a bounded ring of numbered events.
//!
//! Listeners pull: they are woken by a change of the newest number and ask for what came after theirs. So a
//! slow listener costs nothing, and one that falls behind the ring is told how much it missed.

use std::collections::VecDeque;

use tokio::sync::watch;

use crate::batch::report::Report;
use crate::batch::{BatchState, PanelState};
use crate::panel::remote::Connection;
use crate::store::{BatchSeq, PanelNo};

/// Events kept.
const KEPT: usize = 32_768;

/// An event with its number. Numbers ascend over restarts, since they begin at the time of the start.
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

/// The ring.
pub struct Events {
    ring: VecDeque<Event>,
    next: u64,
    newest: watch::Sender<u64>,
}

impl Events {
    /// An empty ring whose numbers begin at this time.
    pub fn new(now_ms: i64) -> Self {
        let next = now_ms.max(0).unsigned_abs() * 1000;
        Self { ring: VecDeque::new(), next, newest: watch::Sender::new(next) }
    }

    /// Adds an event; listeners are woken by [`Events::wake`].
    pub fn push(&mut self, batch: Option<BatchSeq>, what: What) {
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back(Event { id: self.next, batch, what });
        self.next += 1;
    }

    /// Wakes the listeners.
    pub fn wake(&self) {
        self.newest.send_replace(self.next);
    }

    /// Changes whenever there is something new.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The number that the next event will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The events from number `from` on, of one batch or of all; at most `limit`, with the number to go on
    /// from and how many had left the ring already.
    pub fn since(&self, from: u64, batch: Option<BatchSeq>, limit: usize) -> (Vec<Event>, u64, u64) {
        let oldest = self.ring.front().map_or(self.next, |event| event.id);
        let missed = oldest.saturating_sub(from);
        let first = (from.max(oldest) - oldest) as usize;
        let mut go_on = from.max(oldest);
        let mut events = Vec::new();
        for event in self.ring.iter().skip(first) {
            if events.len() == limit {
                break;
            }
            go_on = event.id + 1;
            if batch.is_none() || batch == event.batch {
                events.push(event.clone());
            }
        }
        (events, go_on, missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_goes_on_where_it_was_and_learns_what_it_missed() {
        let mut events = Events::new(1);
        for n in 0..KEPT as u64 + 10 {
            events.push(Some(n % 2), What::Progress(Report::default()));
        }
        let (got, go_on, missed) = events.since(1000, None, 3);
        assert_eq!((got.len(), go_on, missed), (3, 1013, 10));
        let (got, go_on, missed) = events.since(go_on, Some(0), usize::MAX);
        assert_eq!((got.len(), missed), (KEPT / 2 - 2, 0));
        assert!(events.since(go_on, None, 9).0.is_empty());
    }
}
