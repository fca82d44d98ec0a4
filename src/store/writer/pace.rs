//! How much work goes into a commit.

use std::time::Duration;

/// Items in one commit at most, unless a single piece of work has more.
const MAX_ITEMS: usize = 262_144;

/// Items of a flood's first commit, and at least as many as any may have.
const MIN_ITEMS: usize = 1024;

/// How long writing the rows of a flood's commit should take, on top of its syncs: what comes first after its begin
/// waits so long.
const COMMIT_TIME: Duration = Duration::from_millis(6);

/// Syncs that take so long are slow.
const SLOW_SYNCS: Duration = Duration::from_millis(4);

/// What a commit costs: something for its syncs, whatever is in it, and something for each item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The syncs of the last commit.
    syncs: Duration,
    /// Of an item, on average over the last commits of many.
    item: Duration,
    /// Items of the last commit.
    last: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { syncs: Duration::ZERO, item: Duration::from_micros(5), last: 0 }
    }
}

impl Pace {
    /// A commit of so many items took so long, its syncs included.
    pub(super) fn took(&mut self, items: usize, time: Duration, syncs: Duration) {
        self.last = items;
        self.syncs = syncs;
        if items >= MIN_ITEMS / 4 {
            let item = time.saturating_sub(syncs) / u32::try_from(items).unwrap_or(u32::MAX);
            self.item = (self.item + item) / 2;
        }
    }

    /// How many items the next commit of a flood may have. One that has just begun gets small groups, so that its
    /// first panels do not wait for a large one; each may be four times the one before.
    pub(super) fn of_flood(&self) -> usize {
        let most = self.within(COMMIT_TIME.max(self.syncs * 3 / 2));
        most.min((4 * self.last).max(self.shared())).clamp(MIN_ITEMS, MAX_ITEMS)
    }

    /// The same while small work keeps coming, which waits for the commit under way and then for its own syncs.
    pub(super) fn shared(&self) -> usize {
        self.within(self.syncs / 2).clamp(MIN_ITEMS, MAX_ITEMS)
    }

    /// How long a commit that would have little in it waits for more to come: hardly at all, beside syncs that take
    /// long, and not at all otherwise.
    pub(super) fn linger(&self) -> Duration {
        if self.syncs < SLOW_SYNCS { Duration::ZERO } else { self.syncs / 16 }
    }

    fn within(&self, time: Duration) -> usize {
        (time.as_nanos() / self.item.as_nanos().max(1)) as usize
    }

    /// There is nothing to do: the next flood begins anew.
    pub(super) fn rest(&mut self) {
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_flood_grows_to_what_can_be_written_in_the_time_of_a_slow_disks_syncs() {
        // A quarter of a microsecond an item.
        let commit = |pace: &mut Pace, syncs: Duration| {
            let items = pace.of_flood();
            pace.took(items, syncs + Duration::from_nanos(250) * items as u32, syncs);
            items
        };
        let mut quick = Pace::default();
        assert_eq!(commit(&mut quick, ms(0)), MIN_ITEMS, "a flood begins small");
        let sizes: Vec<_> = (0..30).map(|_| commit(&mut quick, ms(0))).collect();
        assert!(sizes[29] > 20_000 && sizes[29] <= 24_000, "{sizes:?}");
        let mut slow = Pace::default();
        let sizes: Vec<_> = (0..30).map(|_| commit(&mut slow, ms(25))).collect();
        assert!(sizes[29] > 140_000 && sizes[29] <= 150_000, "{sizes:?}");
        assert!(slow.shared() > 40_000, "small work waits for the syncs anyway");
        assert_eq!(quick.shared(), MIN_ITEMS);
        slow.rest();
        assert_eq!(
            slow.of_flood(),
            slow.shared(),
            "the next flood begins with what hardly adds to the syncs"
        );
    }
}
