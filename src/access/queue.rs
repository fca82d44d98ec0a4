//! The queue in front of the verification of passwords: bounded in all, by address, and by account and address, so that
//! whoever tries many at once waits behind himself. Some places are for those who were right from their address before,
//! however many others wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::throttle::line_of;

/// Who may wait, or be verified, at once.
const ALL: usize = 64;

/// Of these those who were not right before.
const UNKNOWN: usize = 48;

/// Of these from one address, without those who were right from there before.
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
    pub fn enter(&self, account: &str, address: &str, known: bool) -> Option<Place<'_>> {
        let line = line_of(address);
        let both = format!("{line}\n{account}").into();
        let keys: [Box<str>; 2] = [line, both];
        let mut waiting = self.lock();
        let count = |key| waiting.by.get(key).copied().unwrap_or(0);
        let full =
            if known { waiting.all >= ALL } else { waiting.all >= UNKNOWN || count(&keys[0]) >= OF_ADDRESS };
        if full || count(&keys[1]) >= OF_BOTH {
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
        let mut places: Vec<_> = (0..9).filter_map(|_| queue.enter("olena", "a", false)).collect();
        assert_eq!(places.len(), OF_BOTH);
        places.extend((0..50).filter_map(|n| queue.enter(&n.to_string(), "a", false)));
        assert_eq!(places.len(), OF_ADDRESS, "others at the address still had places");
        places.extend(queue.enter("known", "a", true));
        assert_eq!(places.len(), OF_ADDRESS + 1, "and who was right from there");
        places.extend((0..200).filter_map(|n| queue.enter("taras", &n.to_string(), false)));
        assert_eq!(places.len(), UNKNOWN);
        places.extend((0..200).filter_map(|n| queue.enter("taras", &n.to_string(), true)));
        assert_eq!(places.len(), ALL);
        drop(places);
        assert!(queue.enter("olena", "a", false).is_some());
        assert!(queue.lock().by.is_empty());
    }
}
