//! How long a device is waited for, and when what it says is meant.

use std::time::{Duration, Instant};

/// The pause after the first failure, at most; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause while something is to be delivered, and while nothing is.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_IDLE_PAUSE: Duration = Duration::from_mins(5);

/// How long to wait after the last of so many failures in a row: exponential with full jitter, so that devices that
/// failed together do not come back together.
pub fn pause(failures: u32, work_waits: bool, chance: &mut fastrand::Rng) -> Duration {
    let longest = if work_waits { LONGEST_PAUSE } else { LONGEST_IDLE_PAUSE };
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(longest).mul_f64(chance.f64())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_spread_from_nothing_on() {
        let mut chance = fastrand::Rng::with_seed(16);
        for failures in 1..100 {
            let cap = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(failures - 1));
            assert!(pause(failures, true, &mut chance) <= cap, "after {failures} failures");
        }
        let late: Vec<_> = (0..200).map(|_| pause(50, true, &mut chance)).collect();
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
