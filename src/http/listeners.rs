//! Who listens to events: bounded, since each listener costs memory and a share of every event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::problem::Problem;

/// Listeners in all.
const IN_ALL: usize = 2000;

/// The listeners that there are.
pub struct Listeners {
    per_token: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_token: HashMap<Uuid, usize>,
}

/// One listener's place; dropping it gives it back.
pub struct Place {
    listeners: Arc<Listeners>,
    token: Uuid,
}

impl Listeners {
    /// At most so many with one token or session.
    pub fn new(per_token: usize) -> Arc<Self> {
        Arc::new(Self { per_token, counts: Mutex::default() })
    }

    /// A place for one who shows this token.
    pub fn join(self: &Arc<Self>, token: Uuid) -> Result<Place, Problem> {
        let mut counts = self.lock();
        if counts.all >= IN_ALL {
            return Err(Problem::TooManyListeners(IN_ALL, "on this server"));
        }
        let mine = counts.by_token.get(&token).copied().unwrap_or(0);
        if mine >= self.per_token {
            return Err(Problem::TooManyListeners(mine, "with one token or session"));
        }
        counts.all += 1;
        counts.by_token.insert(token, mine + 1);
        drop(counts);
        Ok(Place { listeners: Arc::clone(self), token })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while it holds the lock; if it did, the counts would still be whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// How many listeners there are.
    pub fn of(&self) -> usize {
        self.listeners.count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.listeners.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(mine) = counts.by_token.get_mut(&self.token) {
            *mine -= 1;
            if *mine == 0 {
                counts.by_token.remove(&self.token);
            }
        }
    }
}
