//! Failed logins slow the next ones down. An attempt is counted before anybody looks at it, so that many at once are no
//! more than one after the other; a right one is taken back.
//!
//! Account and address together have the strict count: a few failures are free, since people mistype, and after that each
//! one doubles the wait before another attempt is looked at, up to a minute. An account by itself, and an address by itself,
//! behind which many people may sit, have loose ones that drain all the while: they bound how fast one can guess from many
//! addresses, or at many accounts, and keep nobody out for long. Who was right from an address within a day is not
//! held back there by what others do. A password that was verified a moment ago is let through without asking here.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures of an account from one address that cost nothing.
const FREE: u32 = 10;

/// The longest wait after one more.
const MOST: Duration = Duration::from_mins(1);

/// After so long without a failure the strict count begins anew.
const FORGET: Duration = Duration::from_mins(15);

/// The loose count of an account: so many at once, and then one each so often.
const ACCOUNT: Bucket = Bucket { holds: 100.0, drains: Duration::from_secs(6) };

/// The loose count of an address.
const ADDRESS: Bucket = Bucket { holds: 200.0, drains: Duration::from_secs(1) };

/// For so long it is known that an account's password was right from an address.
const KNOWN: Duration = Duration::from_hours(24);

/// Counts kept at most; beyond, the half whose last failure is longest ago is forgotten.
const COUNTED: usize = 20_000;

/// A count that drains.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    holds: f64,
    drains: Duration,
}

/// Whose failures are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Both(Box<str>, Box<str>),
    Account(Box<str>),
    Address(Box<str>),
}

impl Who {
    fn bucket(&self) -> Option<Bucket> {
        match self {
            Self::Both(..) => None,
            Self::Account(_) => Some(ACCOUNT),
            Self::Address(_) => Some(ADDRESS),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: f64,
    last: Instant,
}

impl Count {
    /// As it is now.
    fn at(self, who: &Who, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.last);
        match who.bucket() {
            Some(bucket) => (self.failures - since.as_secs_f64() / bucket.drains.as_secs_f64()).max(0.0),
            None if since >= FORGET => 0.0,
            None => self.failures,
        }
    }

    /// How long nothing is looked at.
    fn wait(self, who: &Who, now: Instant) -> Duration {
        let failures = self.at(who, now);
        match who.bucket() {
            Some(bucket) => bucket.drains.mul_f64((failures + 1.0 - bucket.holds).max(0.0)),
            None => match (failures as u32).checked_sub(FREE) {
                None | Some(0) => Duration::ZERO,
                Some(beyond) => {
                    let pause = MOST.min(Duration::from_secs(1) * 2_u32.saturating_pow((beyond - 1).min(6)));
                    (self.last + pause).saturating_duration_since(now)
                }
            },
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    failures: HashMap<Who, Count>,
    right: HashMap<(Box<str>, Box<str>), Instant>,
}

impl Counts {
    fn knows(&self, account: &str, address: &str, now: Instant) -> bool {
        self.right.get(&pair(account, address)).is_some_and(|at| now.saturating_duration_since(*at) < KNOWN)
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Counts>);

impl Throttle {
    /// Counts an attempt on this account from this address as a failure, or says how long to wait before one is looked at.
    pub fn begin(&self, account: &str, address: &str, now: Instant) -> Result<(), Duration> {
        let mut counts = self.lock();
        let whose = whose(account, address);
        let known = counts.knows(account, address, now);
        let strict = if known { 1 } else { whose.len() };
        let wait = |who: &Who| counts.failures.get(who).map_or(Duration::ZERO, |count| count.wait(who, now));
        let wait = whose[..strict].iter().map(wait).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        for who in whose {
            let before = counts.failures.get(&who).map_or(0.0, |count| count.at(&who, now));
            counts.failures.insert(who, Count { failures: before + 1.0, last: now });
        }
        keep_newer(&mut counts.failures, |count| count.last);
        Ok(())
    }

    /// Whether the account's password was right from this address within a day.
    pub fn knows(&self, account: &str, address: &str, now: Instant) -> bool {
        self.lock().knows(account, address, now)
    }

    /// An attempt that was counted was not looked at.
    pub fn take_back(&self, account: &str, address: &str) {
        let mut counts = self.lock();
        for who in whose(account, address) {
            if let Some(count) = counts.failures.get_mut(&who) {
                count.failures = (count.failures - 1.0).max(0.0);
            }
        }
    }

    /// An attempt that was counted was right.
    pub fn right(&self, account: &str, address: &str, now: Instant) {
        self.take_back(account, address);
        let mut counts = self.lock();
        counts.failures.remove(&whose(account, address)[0]);
        counts.right.insert(pair(account, address), now);
        keep_newer(&mut counts.right, |at| *at);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the older half of what is too much.
fn keep_newer<K: Eq + Hash, V>(kept: &mut HashMap<K, V>, last: impl Fn(&V) -> Instant) {
    if kept.len() > COUNTED {
        let mut all: Vec<_> = kept.values().map(&last).collect();
        let (_, middle, _) = all.select_nth_unstable(COUNTED / 2);
        let middle = *middle;
        kept.retain(|_, value| last(value) > middle);
    }
}

/// The strict one first.
fn whose(account: &str, address: &str) -> [Who; 3] {
    let (account, address) = pair(account, address);
    [Who::Both(account.clone(), address.clone()), Who::Account(account), Who::Address(address)]
}

fn pair(account: &str, address: &str) -> (Box<str>, Box<str>) {
    (account.into(), line_of(address))
}

/// Whoever has one address of IPv6 has the 2⁶⁴ beside it.
pub(super) fn line_of(address: &str) -> Box<str> {
    match address.parse() {
        Ok(IpAddr::V6(address)) => format!("{:x}/64", address.to_bits() >> 64).into(),
        Ok(IpAddr::V4(_)) | Err(_) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "10.0.0.1";

    #[test]
    fn failures_beyond_the_free_ones_double_the_wait_up_to_a_minute() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let mut now = start;
        let waits: Vec<_> = (0..19)
            .map(|_| {
                throttle.begin("olena", HERE, now).expect("its turn has come");
                let wait = throttle.begin("olena", HERE, now).err().unwrap_or_default();
                if wait.is_zero() {
                    throttle.take_back("olena", HERE);
                }
                now += wait;
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits[..10], [0; 10]);
        assert_eq!(waits[10..], [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        throttle.begin("olena", HERE, now).expect("its turn has come");
        assert_eq!(throttle.begin("olena", HERE, now), Err(MOST));
        assert_eq!(throttle.begin("taras", HERE, now), Ok(()), "others are let in");
        assert_eq!(throttle.begin("olena", "10.0.0.2", now), Ok(()), "and the same one from elsewhere");
        assert_eq!(throttle.begin("olena", HERE, now + MOST), Ok(()), "once the wait is over");
        throttle.right("olena", HERE, now + MOST);
        assert_eq!(throttle.begin("olena", HERE, now + MOST), Ok(()));
    }

    #[test]
    fn what_is_under_way_counts_as_much_as_what_has_failed() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let looked_at = (0..300).filter(|_| throttle.begin("olena", HERE, now).is_ok()).count();
        assert_eq!(looked_at, 11);
    }

    #[test]
    fn many_addresses_together_do_not_keep_an_account_locked() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.begin("olena", HERE, now).expect("the first one");
        throttle.right("olena", HERE, now);
        let tried = (0..1000).filter(|n| throttle.begin("olena", &format!("10.1.{n}"), now).is_ok()).count();
        assert_eq!(tried, 100);
        let wait = throttle.begin("olena", "10.0.0.2", now).expect_err("too many");
        assert!(wait <= ACCOUNT.drains, "{wait:?}");
        assert_eq!(throttle.begin("olena", "10.0.0.2", now + wait), Ok(()));
        assert_eq!(
            throttle.begin("olena", HERE, now + wait),
            Ok(()),
            "who was right from there is not held back"
        );
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_and_those_who_were_right_there_do_not() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.begin("olena", HERE, now).expect("the first one");
        throttle.right("olena", HERE, now);
        let tried = (0..1000).filter(|n| throttle.begin(&format!("user {n}"), HERE, now).is_ok()).count();
        assert_eq!(tried, 200);
        assert!(throttle.begin("another", HERE, now).is_err_and(|wait| wait <= ADDRESS.drains));
        assert_eq!(throttle.begin("another", "10.0.0.2", now), Ok(()));
        assert_eq!(throttle.begin("olena", HERE, now), Ok(()));
    }

    #[test]
    fn the_addresses_of_one_line_of_ipv6_are_one() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let tried =
            (0..100).filter(|n| throttle.begin("olena", &format!("2001:db8::{n}"), now).is_ok()).count();
        assert_eq!(tried, 11);
        assert_eq!(throttle.begin("olena", "2001:db8:0:1::1", now), Ok(()));
    }

    #[test]
    fn no_more_is_counted_than_there_is_room_for() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..COUNTED as u32 {
            let at = now + Duration::from_millis(n.into());
            throttle.begin(&n.to_string(), &format!("address {n}"), at).expect("new ones");
        }
        assert!((COUNTED / 2..=COUNTED).contains(&throttle.lock().failures.len()));
    }
}
