//! For how long this node leads. No wall clock has a word in it: others take over once they have seen no sign of life for a
//! time that they measure by themselves, and before that this one has stopped by its own clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moment since the machine was started, the time it slept included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        {
            use rustix::time::{ClockId, clock_gettime};
            let now = clock_gettime(ClockId::Boottime);
            Self(Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32))
        }
        #[cfg(not(target_os = "linux"))]
        {
            use std::sync::OnceLock;
            use std::time::Instant;
            static FIRST: OnceLock<Instant> = OnceLock::new();
            Self(FIRST.get_or_init(Instant::now).elapsed())
        }
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// The lead of one reign.
#[derive(Debug)]
pub struct Lead {
    reign: u64,
    until_ns: AtomicU64,
}

impl Lead {
    /// Of this reign, from a sign of life that was sent then, for so long.
    pub fn new(reign: u64, sent: Moment, time: Duration) -> Self {
        let lead = Self { reign, until_ns: AtomicU64::new(0) };
        lead.renew(sent, time);
        lead
    }

    /// The number of the reign.
    pub fn reign(&self) -> u64 {
        self.reign
    }

    /// Whether this node leads now for certain.
    pub fn holds(&self) -> bool {
        let now = Moment::now().0.as_nanos() as u64; // 584 years
        now < self.until_ns.load(Ordering::Acquire)
    }

    /// A sign of life that was sent then has been taken: it leads for so long from then on, unless it has ended.
    pub fn renew(&self, sent: Moment, time: Duration) {
        let until = (sent.0 + time).as_nanos() as u64;
        let _ = self.until_ns.fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| {
            (before != ENDED).then_some(before.max(until))
        });
    }

    /// Whether it has been ended.
    pub fn is_over(&self) -> bool {
        self.until_ns.load(Ordering::Acquire) == ENDED
    }

    /// It leads no more, and will not again.
    pub fn end(&self) {
        self.until_ns.store(ENDED, Ordering::Release);
    }
}

/// In the place of a time: over for ever.
const ENDED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_until_its_time_is_over_and_never_after_its_end() {
        let lead = Lead::new(3, Moment::now(), Duration::from_mins(1));
        assert!(lead.holds());
        lead.renew(Moment(Duration::ZERO), Duration::from_nanos(5));
        assert!(lead.holds(), "an answer that comes late takes nothing away");
        lead.end();
        lead.renew(Moment::now(), Duration::from_mins(1));
        assert!(!lead.holds());
        assert!(!Lead::new(1, Moment(Duration::ZERO), Duration::from_nanos(1)).holds());
    }
}
