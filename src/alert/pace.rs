//! How often an alert says something: so many messages an hour, and then one digest that counts what was held back.
//!
//! A message has its place in the hour from when it was sent, and until then as long as it is not: so no hour has more, also
//! where a receiver was away and takes all that waits at once.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::message::{Held, Kind, Message, News};
use super::words;

/// Messages that wait at most, however many an hour may have.
pub const MOST_UNSENT: usize = 100;

/// How an alert fares, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When messages went out within the last hour, in Unix milliseconds.
    pub slots: Vec<i64>,
    /// What is held back, and not counted in a digest yet.
    pub held: Vec<Held>,
    /// Messages that went out.
    pub sent: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Messages that were held back.
    pub held_back: u64,
    /// What came of the last try.
    pub last: Option<Tried>,
    /// Since when no try succeeds.
    pub failing_since_ms: Option<i64>,
    /// The number of the last batch that was looked at; those that ran then are in `open`.
    pub batch: u64,
    /// Batches up to that one that had not ended.
    pub open: Vec<u64>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Of what.
    pub kind: Kind,
    /// Whether it went out.
    pub sent: bool,
    /// What was said to it.
    pub said: String,
}

/// An alert's own measure.
#[derive(Debug, Clone, Copy)]
pub struct Measure<'a> {
    /// Its name.
    pub alert: &'a str,
    /// Messages an hour.
    pub per_hour: u32,
    /// What is called an hour, in milliseconds.
    pub hour_ms: i64,
    /// Now, in Unix milliseconds.
    pub now_ms: i64,
}

impl Progress {
    /// How many more messages there may be, where so many are made and not sent.
    fn room(&mut self, unsent: usize, measure: Measure<'_>) -> usize {
        let Measure { per_hour, hour_ms, now_ms, .. } = measure;
        for slot in &mut self.slots {
            *slot = (*slot).min(now_ms); // the clock was set back: as if it were now
        }
        self.slots.retain(|slot| now_ms - *slot < hour_ms);
        let most = per_hour as usize;
        most.saturating_sub(self.slots.len() + unsent).min(MOST_UNSENT.saturating_sub(unsent))
    }

    /// Whether there may be another message now.
    pub fn has_room(&mut self, unsent: usize, measure: Measure<'_>) -> bool {
        self.room(unsent, measure) > 0
    }

    /// Makes messages of what is new as far as there is room, and of what was held back a digest. So many are made already
    /// and not sent.
    pub fn admit(&mut self, news: Vec<News>, unsent: usize, measure: Measure<'_>) -> Vec<Message> {
        let mut room = self.room(unsent, measure);
        let mut messages = Vec::new();
        let digest = room > 0 && !self.held.is_empty();
        room -= usize::from(digest);
        for news in news {
            if room == 0 {
                self.hold(&news);
            } else {
                room -= 1;
                messages.push(words::message(&news, measure.alert, Uuid::new_v4(), measure.now_ms));
            }
        }
        if digest {
            let held = std::mem::take(&mut self.held);
            let news = News { kind: Kind::Digest, count: 0, about: Vec::new(), sentences: Vec::new() };
            let mut message = words::message(&news, measure.alert, Uuid::new_v4(), measure.now_ms);
            (message.title, message.text) = words::digest(&held);
            message.count = held.iter().map(|held| held.count).sum();
            message.held_back = held;
            messages.push(message);
        }
        messages
    }

    fn hold(&mut self, news: &News) {
        self.held_back += 1;
        let at = match self.held.iter().position(|held| held.kind == news.kind) {
            Some(at) => at,
            None => {
                self.held.push(Held { kind: news.kind, messages: 0, count: 0 });
                self.held.len() - 1
            }
        };
        self.held[at].messages += 1;
        self.held[at].count += news.count;
    }

    /// A message went out, and this was said to it.
    pub fn sent(&mut self, kind: Kind, said: String, now_ms: i64) {
        self.sent += 1;
        self.slots.push(now_ms);
        self.failing_since_ms = None;
        self.last = Some(Tried { at_ms: now_ms, kind, sent: true, said });
    }

    /// A message did not go out, for this reason; perhaps it never will.
    pub fn not_sent(&mut self, kind: Kind, said: String, given_up: bool, now_ms: i64) {
        self.failed += u64::from(given_up);
        self.failing_since_ms.get_or_insert(now_ms);
        self.last = Some(Tried { at_ms: now_ms, kind, sent: false, said });
    }

    /// Whether something is held back that a digest may count now, or later.
    pub fn owes_digest(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn news(count: u64) -> News {
        News { kind: Kind::Offline, count, about: Vec::new(), sentences: Vec::new() }
    }

    fn at(now_ms: i64, per_hour: u32) -> Measure<'static> {
        Measure { alert: "a", per_hour, hour_ms: HOUR, now_ms }
    }

    #[test]
    fn after_so_many_an_hour_comes_one_digest() {
        let mut progress = Progress::default();
        let sent = |progress: &mut Progress, now, news: Vec<News>| {
            let messages = progress.admit(news, 0, at(now, 2));
            for message in &messages {
                progress.sent(message.kind, String::new(), now);
            }
            messages.iter().map(|message| (message.kind, message.count)).collect::<Vec<_>>()
        };
        assert_eq!(sent(&mut progress, 0, vec![news(1)]), [(Kind::Offline, 1)]);
        assert_eq!(sent(&mut progress, 10, vec![news(2), news(3)]), [(Kind::Offline, 2)]);
        assert_eq!(sent(&mut progress, 20, vec![news(4)]), []);
        assert_eq!(sent(&mut progress, HOUR - 1, vec![]), []);
        assert_eq!(sent(&mut progress, HOUR, vec![]), [(Kind::Digest, 7)]);
        assert_eq!(sent(&mut progress, HOUR + 5, vec![]), []);
        assert!(!progress.owes_digest());
        assert_eq!((progress.sent, progress.held_back), (3, 2));
    }

    #[test]
    fn what_is_not_sent_yet_has_its_place() {
        let mut progress = Progress::default();
        assert_eq!(progress.admit(vec![news(1)], 2, at(0, 2)), []);
        assert_eq!(progress.admit(vec![], 2, at(10 * HOUR, 2)), []);
        let messages = progress.admit(vec![news(4)], 1, at(10 * HOUR, 2));
        assert_eq!((messages.len(), messages[0].kind, messages[0].count), (1, Kind::Digest, 5));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_back_for_an_hour_and_no_longer() {
        let mut progress = Progress::default();
        progress.sent(Kind::Offline, String::new(), 100 * HOUR);
        assert_eq!(progress.admit(vec![news(1)], 0, at(HOUR, 1)), []);
        assert_eq!(progress.admit(vec![], 0, at(2 * HOUR, 1)).len(), 1);
    }

    proptest! {
        /// Whatever comes when, and however long messages wait: no hour has more than it may, and what went out and what
        /// digests count is all that was new.
        #[test]
        fn no_hour_has_more_and_nothing_is_lost(
            per_hour in 1..5_u32,
            steps in proptest::collection::vec((0..HOUR, proptest::collection::vec(1..9_u64, 0..4), any::<bool>()), 1..60),
        ) {
            let mut progress = Progress::default();
            let (mut now, mut waiting) = (0, Vec::<Message>::new());
            let (mut out, mut came, mut told) = (Vec::<i64>::new(), 0, 0);
            for (later, counts, reachable) in steps.into_iter().chain([(9 * HOUR, vec![], true), (9 * HOUR, vec![], true)]) {
                now += later;
                came += counts.iter().sum::<u64>();
                let news = counts.into_iter().map(news).collect();
                waiting.extend(progress.admit(news, waiting.len(), at(now, per_hour)));
                if reachable {
                    for message in waiting.drain(..) {
                        progress.sent(message.kind, String::new(), now);
                        out.push(now);
                        told += message.count;
                    }
                }
                let within = out.iter().filter(|sent| now - **sent < HOUR).count();
                prop_assert!(within <= per_hour as usize);
            }
            prop_assert_eq!(told, came);
        }
    }
}
