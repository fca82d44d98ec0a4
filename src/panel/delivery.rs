//! What to ask of a device next, and when: pure, so that its laws are short tests.
//!
//! Work is the difference between what is desired and what the device has confirmed, read anew for every call.
//! So the first send, a retry, a restart, a device that is back and a repair are all the same, only the latest
//! desired state of a link_id is ever sent, and nothing beside the state can disagree with it.
//!
//! **Nobody is locked out.** Upserts come before deletes, and a device is never cleared: a right that holds before
//! and after is there in between. Where a device is too full for an upsert while deletes wait, the upsert waits
//! for them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use retry_policies::policies::ExponentialBackoff;
use retry_policies::{Jitter, RetryDecision, RetryPolicy};

use crate::clock;
use crate::profile::LinkId;
use crate::store::row::Row;

/// After so many failures in a row a panel counts as offline.
pub const OFFLINE_AFTER: u32 = 3;

/// The pause after the first failure, at most; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause while something is to be delivered, and while nothing is.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_IDLE_PAUSE: Duration = Duration::from_mins(5);

/// What a device says so often in a row, for long enough, it means.
const MEANT: u32 = 3;

/// The same kind of answer, again and again.
#[derive(Debug, Clone, Copy, Default)]
pub struct InARow {
    count: u32,
    since: Option<Instant>,
}

impl InARow {
    /// Once more; says whether it is meant by now: not by a device that starts, but by one that has said it several
    /// times from `long` ago on.
    pub fn again(&mut self, now: Instant, long: Duration) -> bool {
        self.count = self.count.saturating_add(1);
        let since = *self.since.get_or_insert(now);
        self.count >= MEANT && now.saturating_duration_since(since) >= long
    }

    /// Something else came.
    pub fn over(&mut self) {
        *self = Self::default();
    }
}

/// The next call to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Create or update these, each with the number of its body.
    Upsert(Vec<(LinkId, u64)>),
    /// Delete these.
    Delete(Vec<LinkId>),
}

impl Call {
    /// How many items it has.
    pub fn items(&self) -> usize {
        match self {
            Self::Upsert(items) => items.len(),
            Self::Delete(links) => links.len(),
        }
    }

    /// Its link_ids, in order.
    pub fn links(&self) -> Vec<LinkId> {
        match self {
            Self::Upsert(items) => items.iter().map(|(link, _)| *link).collect(),
            Self::Delete(links) => links.clone(),
        }
    }
}

/// The next call of at most `limit` items. `unknown` are the link_ids whose state on the device is not known, each
/// with what is desired; `held_back` are upserts that wait until there is nothing left to delete.
pub fn next_call(
    unknown: impl IntoIterator<Item = (LinkId, Option<Row>)>,
    limit: usize,
    held_back: &HashSet<LinkId>,
) -> Option<Call> {
    let (mut upserts, mut deletes, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (link, desired) in unknown {
        match desired {
            Some(row) if held_back.contains(&link) => last.push((link, row.body)),
            Some(row) => upserts.push((link, row.body)),
            None => deletes.push(link),
        }
        if upserts.len() >= limit {
            break;
        }
    }
    deletes.truncate(limit);
    last.truncate(limit);
    if !upserts.is_empty() {
        Some(Call::Upsert(upserts))
    } else if !deletes.is_empty() {
        Some(Call::Delete(deletes))
    } else if !last.is_empty() {
        Some(Call::Upsert(last))
    } else {
        None
    }
}

/// Whether a device refuses an upsert because it is full.
pub fn says_full(word: &str) -> bool {
    matches!(
        word,
        "number_of_identifiers_exceeded"
            | "number_of_entities_exceeded"
            | "number_of_face_identifiers_exceeded"
    )
}

/// How long to wait after the last of so many failures in a row: exponential with full jitter, so that devices that
/// failed together do not come back together.
pub fn pause(failures: u32, work_waits: bool) -> Duration {
    let longest = if work_waits { LONGEST_PAUSE } else { LONGEST_IDLE_PAUSE };
    let policy = ExponentialBackoff::builder()
        .retry_bounds(FIRST_PAUSE, longest)
        .jitter(Jitter::Full)
        .build_with_max_retries(u32::MAX);
    match policy.should_retry(std::time::SystemTime::UNIX_EPOCH, failures.saturating_sub(1)) {
        RetryDecision::Retry { execute_after } => clock::until(execute_after),
        RetryDecision::DoNotRetry => longest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(n: u8) -> LinkId {
        LinkId::from_bytes([n; 16])
    }

    fn desired(n: u8) -> (LinkId, Option<Row>) {
        (link(n), Some(Row { body: u64::from(n), print: 0, own: false, uid: 1, revision: 1 }))
    }

    #[test]
    fn every_upsert_comes_before_any_delete() {
        let unknown = [(link(1), None), desired(2), (link(3), None), desired(4), desired(5)];
        let none = HashSet::new();
        let next = |unknown: &[_], limit| next_call(unknown.iter().copied(), limit, &none);
        assert_eq!(next(&unknown, 2), Some(Call::Upsert(vec![(link(2), 2), (link(4), 4)])));
        assert_eq!(next(&unknown, 9), Some(Call::Upsert(vec![(link(2), 2), (link(4), 4), (link(5), 5)])));
        assert_eq!(next(&[unknown[0], unknown[2]], 1), Some(Call::Delete(vec![link(1)])));
        assert_eq!(next(&[], 9), None);
    }

    #[test]
    fn what_a_full_device_refused_waits_for_the_deletes() {
        let held_back = HashSet::from([link(2)]);
        let unknown = [desired(2), (link(3), None), desired(4)];
        let next = |unknown: &[_]| next_call(unknown.iter().copied(), 9, &held_back);
        assert_eq!(next(&unknown), Some(Call::Upsert(vec![(link(4), 4)])));
        assert_eq!(next(&unknown[..2]), Some(Call::Delete(vec![link(3)])));
        assert_eq!(next(&unknown[..1]), Some(Call::Upsert(vec![(link(2), 2)])));
    }

    #[test]
    fn pauses_grow_to_a_cap_and_spread_from_nothing_on() {
        for failures in 1..100 {
            let cap = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(failures - 1));
            assert!(pause(failures, true) <= cap, "after {failures} failures");
        }
        let late: Vec<_> = (0..200).map(|_| pause(50, true)).collect();
        assert!(late.iter().any(|pause| *pause < LONGEST_PAUSE / 3));
        assert!(late.iter().any(|pause| *pause > LONGEST_PAUSE * 2 / 3));
    }

    #[test]
    fn what_is_said_only_for_a_moment_is_not_meant() {
        let (begun, long) = (Instant::now(), Duration::from_mins(1));
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut row = InARow::default();
        assert!((0..10).all(|second| !row.again(at(second), long)), "often, but not for long");
        assert!(row.again(at(60), long));
        row.over();
        assert!(!row.again(at(61), long) && !row.again(at(200), long), "for long, but not often");
        assert!(row.again(at(201), long));
    }
}
