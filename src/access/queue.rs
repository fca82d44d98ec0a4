//! The queue in front of the verification of passwords: bounded in all, by address, and by account and address, so that
//! whoever tries many at once waits behind himself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who may wait, or be verified, at once.
const ALL: usize = 64;

/// Of these from one address.
const OF_ADDRESS: usize = 16;

/// Of these for one account from one address.
const OF_BOTH: usize = 4;

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by: HashMap<Box<str>, usize>,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue(Mutex<Waiting>);

/// A place in the queue, until it is dropped.
#[derive(Debug)]
pub struct Place<'q> {
    queue: &'q Queue,
    keys: [Box<str>; 2],
}

impl Queue {
    /// A place, where there is one.
    pub fn enter(&self, account: &str, address: &str) -> Option<Place<'_>> {
        let keys: [Box<str>; 2] = [address.into(), format!("{address}\n{account}").into()];
        let mut waiting = self.lock();
        let count = |key| waiting.by.get(key).copied().unwrap_or(0);
        if waiting.all >= ALL || count(&keys[0]) >= OF_ADDRESS || count(&keys[1]) >= OF_BOTH {
            return None;
        }
        waiting.all += 1;
        for key in &keys {
            *waiting.by.entry(key.clone()).or_default() += 1;
        }
        Some(Place { queue: self, keys })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.all -= 1;
        for key in &self.keys {
            if let Some(count) = waiting.by.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    waiting.by.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_by_account_and_address_and_in_all() {
        let queue = Queue::default();
        let mut places: Vec<_> = (0..9).filter_map(|_| queue.enter("olena", "a")).collect();
        assert_eq!(places.len(), OF_BOTH);
        places.extend((0..50).filter_map(|n| queue.enter(&n.to_string(), "a")));
        assert_eq!(places.len(), OF_ADDRESS, "others at the address still had places");
        places.extend((0..200).filter_map(|n| queue.enter("taras", &n.to_string())));
        assert_eq!(places.len(), ALL);
        drop(places);
        assert!(queue.enter("olena", "a").is_some());
        assert!(queue.lock().by.is_empty());
    }
}
