//! What the store and the panels tell the coordinator, in the order in which it was told.
//!
//! While the writer tells what a commit came to, nobody is woken: the coordinator then finds all of it at once,
//! rather than getting in the writer's way at the first of a thousand answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::batches::{Accepted, AgainReply, CancelReply};
use super::fleet::{AddReply, AddedPanels, ChangeReply, RemoveReply};
use super::model::{Settling, Waiter};
use crate::batch::Outcome;
use crate::panel::Landed;
use crate::panel::remote::Condition;
use crate::panel::settings::Settings;
use crate::store::changes::batches::{Cancelled, Retried};
use crate::store::changes::panels::PanelChanged;
use crate::store::writer::Telling;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// What the store tells, in the order of its commits; and what panels tell.
pub enum FromStore {
    /// A batch is durable.
    Accepted(Box<Accepted>),
    /// A panel's part is through.
    Landed(Landed),
    /// Outcomes that were decided here are durable as they came out, or not. Someone may wait for that.
    Settled(Arc<Settling>, Option<Waiter>, Result<Vec<(PanelNo, Outcome)>, StoreError>),
    /// A batch is cancelled, or not.
    Cancelled(BatchSeq, CancelReply, Result<Cancelled, StoreError>),
    /// Panels of a running batch that had an outcome are to be sent their part again.
    Retried(BatchSeq, AgainReply, Result<Retried, StoreError>),
    /// A remote panel's condition has changed.
    Condition(PanelNo, Condition),
    /// A batch's end is durable, or not.
    EndRecorded(BatchSeq, Result<(), StoreError>),
    /// Panels are in the register's table, or some of their ids are taken.
    Added(AddReply, Result<Result<AddedPanels, Vec<usize>>, StoreError>),
    /// A panel's new record is there, or others came first.
    Changed(PanelNo, Arc<Settings>, ChangeReply, Result<PanelChanged, StoreError>),
    /// The database has failed and is open again; nothing is taken before [`crate::store::StoreHandle::resume`].
    Recovered,
    /// A panel is gone.
    Removed(PanelNo, RemoveReply, Result<(), StoreError>),
}

/// The sending side, and the receiving one. Its length is bounded by the coordinator's window.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    letters: Mutex<Letters>,
    news: Notify,
}

#[derive(Default)]
struct Letters {
    waiting: VecDeque<FromStore>,
    /// The writer is telling, and wakes the coordinator when it has told all.
    held: bool,
}

impl Inbox {
    /// Puts it behind what was told before.
    pub fn put(&self, told: FromStore) {
        let mut letters = self.lock();
        letters.waiting.push_back(told);
        let held = letters.held;
        drop(letters);
        if !held {
            self.0.news.notify_one();
        }
    }

    /// The writer begins or ends to tell, or is there again.
    pub fn writer_is(&self, telling: Telling) {
        let mut letters = self.lock();
        letters.held = telling == Telling::Begins;
        if telling == Telling::Recovered {
            letters.waiting.push_back(FromStore::Recovered);
        }
        let wake = !letters.held && !letters.waiting.is_empty();
        drop(letters);
        if wake {
            self.0.news.notify_one();
        }
    }

    /// Waits until something was told, and takes at most so much of it.
    pub async fn take_some(&self, most: usize) -> Vec<FromStore> {
        loop {
            {
                let mut letters = self.lock();
                if !letters.waiting.is_empty() {
                    let most = most.min(letters.waiting.len());
                    return letters.waiting.drain(..most).collect();
                }
            }
            self.0.news.notified().await; // one who told in between has left a permit
        }
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        // Nothing panics while it holds the lock; if it did, the letters would still be whole.
        self.0.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
