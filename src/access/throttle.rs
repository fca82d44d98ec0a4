//! Failed logins slow the next ones down, by account and by address.
//!
//! A few failures are free, since people mistype. After that each one doubles the wait before another attempt is
//! looked at, up to a minute, and a right password sets the account's count back. A password that was verified a moment
//! ago is let through without asking here: nobody can lock clients out that are logged in already.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one account that cost nothing.
const FREE_PER_ACCOUNT: u32 = 10;

/// The same of one address, behind which many people may sit.
const FREE_PER_ADDRESS: u32 = 50;

/// The longest wait.
const MOST: Duration = Duration::from_mins(1);

/// After so long without a failure a count begins anew.
const FORGET: Duration = Duration::from_mins(15);

/// Accounts and addresses counted at most; beyond, the half whose last failure is longest ago is forgotten.
const COUNTED: usize = 10_000;

/// Whose failures are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Account(Box<str>),
    Address(Box<str>),
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
}

impl Count {
    /// How long nothing is looked at after the last failure.
    fn pause(self, free: u32) -> Duration {
        match self.failures.checked_sub(free) {
            None | Some(0) => Duration::ZERO,
            Some(beyond) => MOST.min(Duration::from_secs(1) * 2_u32.saturating_pow((beyond - 1).min(6))),
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<Who, Count>>);

impl Throttle {
    /// How long to wait before an attempt on this account from this address is looked at; nothing when it may be now.
    pub fn wait(&self, account: &str, address: &str, now: Instant) -> Option<Duration> {
        let counts = self.lock();
        whose(account, address)
            .into_iter()
            .filter_map(|(who, free)| {
                let count = counts.get(&who).filter(|count| now - count.last < FORGET)?;
                (count.last + count.pause(free)).checked_duration_since(now)
            })
            .max()
            .filter(|wait| !wait.is_zero())
    }

    /// An attempt was wrong.
    pub fn failed(&self, account: &str, address: &str, now: Instant) {
        let mut counts = self.lock();
        for (who, _) in whose(account, address) {
            let count = counts.entry(who).or_insert(Count { failures: 0, last: now });
            if now - count.last >= FORGET {
                count.failures = 0;
            }
            *count = Count { failures: count.failures.saturating_add(1), last: now };
        }
        if counts.len() > COUNTED {
            let mut last: Vec<_> = counts.values().map(|count| count.last).collect();
            let (_, middle, _) = last.select_nth_unstable(COUNTED / 2);
            let middle = *middle;
            counts.retain(|_, count| count.last > middle);
        }
    }

    /// An attempt on this account was right.
    pub fn succeeded(&self, account: &str) {
        self.lock().remove(&Who::Account(account.into()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whose(account: &str, address: &str) -> [(Who, u32); 2] {
    [(Who::Account(account.into()), FREE_PER_ACCOUNT), (Who::Address(address.into()), FREE_PER_ADDRESS)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_the_free_ones_double_the_wait_up_to_a_minute() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let waits: Vec<_> = (0..20)
            .map(|_| {
                throttle.failed("olena", "10.0.0.1", now);
                throttle.wait("olena", "10.0.0.1", now).unwrap_or_default().as_secs()
            })
            .collect();
        assert_eq!(waits[..10], [0; 10]);
        assert_eq!(waits[10..], [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(throttle.wait("olena", "10.0.0.2", now), Some(MOST), "from everywhere");
        assert_eq!(throttle.wait("taras", "10.0.0.1", now), None, "others are let in");
        assert_eq!(throttle.wait("olena", "10.0.0.1", now + MOST), None, "once the wait is over");
        throttle.succeeded("olena");
        assert_eq!(throttle.wait("olena", "10.0.0.1", now), None);
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_too() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        (0..51).for_each(|n| throttle.failed(&format!("user {n}"), "10.0.0.1", now));
        assert!(throttle.wait("another", "10.0.0.1", now).is_some());
        assert!(throttle.wait("another", "10.0.0.2", now).is_none());
    }

    #[test]
    fn no_more_is_counted_than_there_is_room_for() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        (0..COUNTED as u32).for_each(|n| {
            throttle.failed(&n.to_string(), &format!("address {n}"), now + Duration::from_millis(n.into()));
        });
        assert!((COUNTED / 2..=COUNTED).contains(&throttle.lock().len()));
    }
}
