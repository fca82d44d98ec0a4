//! Looking for what is new for alerts: how panels are, what they refuse or hold otherwise, and which batches have ended.
//!
//! What is looked at is what the store keeps, and of connections what is known of them since the start: a panel that was not
//! asked yet is not offline. What an alert has told is remembered here as the store has it, and changes here once that has
//! changed there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::batches::{self, Ended};
use crate::alert::message::{About, Kind, LISTED, News};
use crate::alert::pace::Measure;
use crate::alert::told::{self, Print, Reach, Turn};
use crate::alert::{Alert, Times, Topic, words};
use crate::batch::selector::Selector;
use crate::clock;
use crate::coordinator::register::{Entry, Register};
use crate::panel::remote::Connection;
use crate::store::changes::alerts::{Telling, ToldNow};
use crate::store::read::alerts::Told;
use crate::store::read::{Counts, Snapshot};
use crate::store::row::{Drift, Reported};
use crate::store::{BatchSeq, PanelNo, StoreError};

/// After so many looks all panels are looked at, whatever is known of them.
const WHOLE_EVERY: u32 = 30;

/// What is known of a panel.
struct Seen {
    entry: Entry,
    connection: Connection,
    /// Since when it is connected so, as far as was looked.
    at: Instant,
    /// Since when it is offline, and whether it was so before anybody looked.
    gone: Option<(i64, bool)>,
    refused: BTreeSet<Print>,
    drifted: BTreeSet<Print>,
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        let entry = Arc::clone(entry);
        let (refused, drifted) = (BTreeSet::new(), BTreeSet::new());
        Self { connection: entry.connection(), at: Instant::now(), gone: None, entry, refused, drifted }
    }

    fn items(&self, topic: Topic) -> &BTreeSet<Print> {
        if topic == Topic::Refused { &self.refused } else { &self.drifted }
    }

    /// How it is to an alert that is for panels which are offline.
    fn reach(&self, now_ms: i64) -> Reach {
        let seen_for = self.at.elapsed().as_millis() as u64;
        match (self.connection, self.gone) {
            (Connection::Online, _) => Reach::Online(seen_for),
            // What was watched is measured by a clock that nobody sets.
            (Connection::Offline, Some((since_ms, false))) => Reach::Offline { since_ms, for_ms: seen_for },
            (Connection::Offline, Some((since_ms, true))) => {
                let for_ms = now_ms.saturating_sub(since_ms).max(0).unsigned_abs().max(seen_for);
                Reach::Offline { since_ms, for_ms }
            }
            (Connection::Unknown, _) | (Connection::Offline, None) => Reach::Unknown,
        }
    }

    /// Looks in the store for since when it is offline; that is perhaps not there yet.
    fn find_gone(
        &mut self,
        snapshot: &Snapshot,
        looked_since_ms: i64,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let last = snapshot.connections(self.entry.number)?.pop();
        let gone = last.filter(|last| last.connection == Connection::Offline.as_str());
        self.gone = gone.map(|gone| (gone.at_ms, gone.at_ms < looked_since_ms || gone.at_ms > now_ms));
        Ok(())
    }

    /// Looks in the store for what it refuses, and what its device holds otherwise.
    fn find_items(&mut self, snapshot: &Snapshot, counts: &Counts) -> Result<(), StoreError> {
        let (refused, drifted) = (&mut self.refused, &mut self.drifted);
        refused.clear();
        drifted.clear();
        let of_panel = counts.of(self.entry.number)?;
        if of_panel.refused + of_panel.drifted == 0 {
            return Ok(());
        }
        snapshot.each_reported(self.entry.number, |item, reported| {
            let prints = match reported {
                Reported::Refused(_) => &mut *refused,
                Reported::Drifted(_) | Reported::KeptOtherwise(_) => &mut *drifted,
                Reported::Unknown | Reported::Held(_) => return Ok(true),
            };
            prints.insert(told::print_of(item));
            Ok(true)
        })
    }
}

/// An alert, and what it has told.
struct Watched {
    alert: Alert,
    selector: Option<Selector>,
    told: Told,
    batch: BatchSeq,
    open: Vec<BatchSeq>,
    since: BTreeMap<Kind, Instant>,
    owes_digest: bool,
}

impl Watched {
    fn of(alert: Alert, name: &str, snapshot: &Snapshot) -> Result<Self, StoreError> {
        let progress = snapshot.alert_progress(name)?;
        Ok(Self {
            // It was read when it was given.
            selector: alert.selector.as_deref().and_then(|text| Selector::parse(text).ok()),
            told: snapshot.alert_told(name)?,
            owes_digest: progress.owes_digest(),
            batch: progress.batch,
            open: progress.open,
            since: BTreeMap::new(),
            alert,
        })
    }

    fn is_for(&self, entry: &Entry) -> bool {
        self.selector.as_ref().is_none_or(|selector| entry.settings.matches(selector))
    }

    /// Whether what is new of a kind was gathered for long enough.
    fn is_gathered(&mut self, kind: Kind, is_new: bool, times: &Times) -> bool {
        if !is_new {
            self.since.remove(&kind);
            return false;
        }
        self.since.entry(kind).or_insert_with(Instant::now).elapsed() >= times.gather
    }
}

/// What is new for an alert, to be put into the store.
pub struct Found {
    /// What is told.
    pub telling: Telling,
    /// Up to where batches were looked at.
    batches: Option<(BatchSeq, Vec<BatchSeq>)>,
}

/// Who looks.
pub struct Lookout {
    times: Times,
    alerts: BTreeMap<String, Watched>,
    panels: FxHashMap<PanelNo, Seen>,
    /// Of these, those that are offline, that refuse something, and whose devices hold something otherwise.
    trouble: [BTreeSet<PanelNo>; 3],
    /// The register's version that was looked at.
    version: u64,
    shape: u64,
    /// Since when it is looked without a break, in Unix milliseconds.
    since_ms: i64,
    looks: u32,
}

impl Lookout {
    /// Who has seen nothing yet.
    pub fn new(times: Times) -> Self {
        Self {
            times,
            alerts: BTreeMap::new(),
            panels: FxHashMap::default(),
            trouble: Default::default(),
            version: 0,
            shape: 0,
            since_ms: clock::now_ms(),
            looks: 0,
        }
    }

    /// The alerts, by name, each with its revision.
    pub fn alerts(&self) -> impl Iterator<Item = (&String, &Alert)> {
        self.alerts.iter().map(|(name, watched)| (name, &watched.alert))
    }

    /// Looks at everything. The register was taken before the snapshot.
    pub fn look(&mut self, register: &Register, snapshot: &Snapshot) -> Result<Vec<Found>, StoreError> {
        self.know_alerts(snapshot)?;
        if self.alerts.is_empty() {
            // Nobody wants to know; what is seen from the first alert on is seen anew.
            *self = Self::new(self.times);
            return Ok(Vec::new());
        }
        let now_ms = clock::now_ms();
        self.see_panels(register, snapshot, now_ms)?;
        let mut ended = BTreeMap::new();
        let mut found = Vec::new();
        let panels = Panels { seen: &self.panels, trouble: &self.trouble, now_ms };
        for (name, watched) in &mut self.alerts {
            let mut telling = Telling {
                alert: name.clone(),
                revision: watched.alert.revision,
                told: Vec::new(),
                news: Vec::new(),
                batches: None,
            };
            of_connections(watched, &mut telling, &panels, &self.times);
            for (topic, kind) in [(Topic::Refused, Kind::Refused), (Topic::Drift, Kind::Drift)] {
                of_items(watched, &mut telling, (topic, kind), &panels, snapshot, &self.times)?;
            }
            let batches = of_batches(watched, &mut telling, register, snapshot, &mut ended, &self.times)?;
            let owes = watched.owes_digest && may_digest(watched, name, snapshot, &self.times)?;
            if !telling.told.is_empty() || !telling.news.is_empty() || owes {
                found.push(Found { telling, batches });
            } else if let Some((batch, open)) = batches {
                (watched.batch, watched.open) = (batch, open);
            }
        }
        Ok(found)
    }

    /// What was found is in the store, unless the alert is another one by now.
    pub fn told(&mut self, found: Found, now: ToldNow) {
        let Found { telling, batches } = found;
        let Some(watched) = self.alerts.get_mut(&telling.alert) else { return };
        if !now.done || watched.alert.revision != telling.revision {
            return;
        }
        for (key, told) in telling.told {
            match told {
                Some(told) => watched.told.insert(key, told::decode(&told)),
                None => watched.told.remove(&key),
            };
        }
        for news in telling.news {
            watched.since.remove(&news.kind);
        }
        if let Some((batch, open)) = batches {
            (watched.batch, watched.open) = (batch, open);
        }
        watched.owes_digest = now.owes_digest;
    }

    fn know_alerts(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut known = BTreeMap::new();
        for (name, alert) in snapshot.alerts()? {
            let watched = match self.alerts.remove(&name) {
                Some(watched) if watched.alert.revision == alert.revision => watched,
                _ => Watched::of(alert, &name, snapshot)?,
            };
            known.insert(name, watched);
        }
        self.alerts = known;
        Ok(())
    }

    /// Looks at the panels that have changed; now and then at all, whatever is known of them.
    fn see_panels(
        &mut self,
        register: &Register,
        snapshot: &Snapshot,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        if self.shape != register.shape() {
            self.panels.retain(|panel, _| register.by_number(*panel).is_some());
            let panels = &self.panels;
            self.trouble.iter_mut().for_each(|some| some.retain(|panel| panels.contains_key(panel)));
        }
        let after = if self.looks.is_multiple_of(WHOLE_EVERY) { 0 } else { self.version };
        let counts = snapshot.counts()?;
        for entry in register.changed_since(after) {
            let mut seen = self.panels.remove(&entry.number).unwrap_or_else(|| Seen::of(entry));
            seen.entry = Arc::clone(entry);
            if seen.connection != entry.connection() {
                (seen.connection, seen.at, seen.gone) = (entry.connection(), Instant::now(), None);
            }
            seen.find_items(snapshot, &counts)?;
            let is_in =
                [seen.connection == Connection::Offline, !seen.refused.is_empty(), !seen.drifted.is_empty()];
            for (some, is_in) in self.trouble.iter_mut().zip(is_in) {
                if is_in {
                    some.insert(entry.number);
                } else {
                    some.remove(&entry.number);
                }
            }
            self.panels.insert(entry.number, seen);
        }
        for panel in &self.trouble[Topic::Offline as usize] {
            if let Some(seen) = self.panels.get_mut(panel).filter(|seen| seen.gone.is_none()) {
                seen.find_gone(snapshot, self.since_ms, now_ms)?;
            }
        }
        (self.version, self.shape) = (register.version(), register.shape());
        self.looks = self.looks.wrapping_add(1);
        Ok(())
    }
}

/// What is known of panels.
struct Panels<'l> {
    seen: &'l FxHashMap<PanelNo, Seen>,
    trouble: &'l [BTreeSet<PanelNo>; 3],
    now_ms: i64,
}

impl<'l> Panels<'l> {
    /// Those that an alert is for, and has told something of, or may have to; and the numbers of those of which it has told
    /// something and is not for any more.
    fn of(&self, watched: &Watched, topic: Topic) -> (Vec<&'l Seen>, Vec<PanelNo>) {
        let number = topic as u8;
        let told = watched.told.range((number, 0)..=(number, PanelNo::MAX)).map(|((_, panel), _)| *panel);
        let told: BTreeSet<PanelNo> = told.collect();
        if !watched.alert.on.contains(&topic) {
            return (Vec::new(), told.into_iter().collect());
        }
        let (mut theirs, mut stale) = (Vec::new(), Vec::new());
        for panel in self.trouble[topic as usize].union(&told) {
            match self.seen.get(panel).filter(|seen| watched.is_for(&seen.entry)) {
                Some(seen) => theirs.push(seen),
                None if told.contains(panel) => stale.push(*panel),
                None => {}
            }
        }
        theirs.sort_unstable_by(|a, b| a.entry.settings.id.cmp(&b.entry.settings.id));
        (theirs, stale)
    }
}

/// Whether there is room for a digest that is owed.
fn may_digest(watched: &Watched, name: &str, snapshot: &Snapshot, times: &Times) -> Result<bool, StoreError> {
    let measure = Measure {
        alert: name,
        per_hour: watched.alert.per_hour,
        hour_ms: times.hour.as_millis() as i64,
        now_ms: clock::now_ms(),
    };
    Ok(snapshot.alert_progress(name)?.has_room(snapshot.unsent(name)?, measure))
}

fn one_print(since_ms: i64) -> Vec<u8> {
    told::encode(&BTreeSet::from([since_ms.cast_unsigned()]))
}

fn of_connections(watched: &mut Watched, telling: &mut Telling, panels: &Panels<'_>, times: &Times) {
    let (topic, now_ms) = (Topic::Offline as u8, panels.now_ms);
    let (theirs, stale) = panels.of(watched, Topic::Offline);
    telling.told.extend(stale.into_iter().map(|panel| ((topic, panel), None)));
    let (mut went, mut back) = (Vec::new(), Vec::new());
    for seen in theirs {
        let told = watched.told.get(&(topic, seen.entry.number)).and_then(|prints| prints.first());
        let told = told.map(|since| since.cast_signed());
        match told::turn(told, seen.reach(now_ms), watched.alert.after_ms, watched.alert.settles_ms()) {
            Turn::None => {}
            Turn::WentOffline(since) => went.push((&seen.entry, since)),
            Turn::CameBack(since) => back.push((&seen.entry, since)),
        }
    }
    let about = |(entry, since): &(&Entry, i64), lasted: Option<u64>, why: Option<String>| About {
        panel: Some(entry.settings.id.as_str().to_owned()),
        since: Some(clock::rfc3339(*since)),
        since_local: Some(words::local(*since, entry.settings.zone.rules())),
        lasted_s: lasted,
        why,
        ..About::default()
    };
    if watched.is_gathered(Kind::Offline, !went.is_empty(), times) {
        let why = |entry: &Entry| entry.condition.last_error.as_deref().map(words::said);
        let listed = went.iter().take(LISTED).map(|gone| about(gone, None, why(gone.0))).collect();
        telling
            .told
            .extend(went.iter().map(|(entry, since)| ((topic, entry.number), Some(one_print(*since)))));
        telling.news.push(news(Kind::Offline, went.len(), listed));
    }
    if watched.is_gathered(Kind::Online, !back.is_empty(), times) {
        let lasted = |since: i64| now_ms.saturating_sub(since).max(0).unsigned_abs() / 1000;
        let listed = back.iter().take(LISTED).map(|back| about(back, Some(lasted(back.1)), None)).collect();
        telling.told.extend(back.iter().map(|(entry, _)| ((topic, entry.number), None)));
        telling.news.push(news(Kind::Online, back.len(), listed));
    }
}

fn news(kind: Kind, count: usize, about: Vec<About>) -> News {
    News { kind, count: count as u64, about, sentences: Vec::new() }
}

fn of_items(
    watched: &mut Watched,
    telling: &mut Telling,
    (topic, kind): (Topic, Kind),
    panels: &Panels<'_>,
    snapshot: &Snapshot,
    times: &Times,
) -> Result<(), StoreError> {
    let (number, nothing) = (topic as u8, BTreeSet::new());
    let (theirs, stale) = panels.of(watched, topic);
    telling.told.extend(stale.into_iter().map(|panel| ((number, panel), None)));
    let mut fresh = Vec::new();
    let mut is_new = false;
    for seen in theirs {
        let before = watched.told.get(&(number, seen.entry.number)).unwrap_or(&nothing);
        let of_panel = told::fresh(before, seen.items(topic));
        is_new |= !of_panel.new.is_empty();
        if of_panel.told != *before {
            let left = before.intersection(&of_panel.told).copied().collect::<BTreeSet<_>>();
            fresh.push((&seen.entry, of_panel, left, before.len()));
        }
    }
    let gathered = watched.is_gathered(kind, is_new, times);
    let (mut count, mut about) = (0, Vec::new());
    for (entry, of_panel, left, before) in fresh {
        if gathered {
            count += of_panel.new.len();
            if about.len() < LISTED && !of_panel.new.is_empty() {
                list_items(entry, topic, &of_panel.new, snapshot, &mut about)?;
            }
        }
        // Until it is told, only what is not the case any more is forgotten.
        let told = if gathered { &of_panel.told } else { &left };
        if gathered || told.len() < before {
            let told = (!told.is_empty()).then(|| told::encode(told));
            telling.told.push(((number, entry.number), told));
        }
    }
    if gathered {
        telling.news.push(news(kind, count, about));
    }
    Ok(())
}

/// Names items of a panel, with what is wrong with each.
fn list_items(
    entry: &Entry,
    topic: Topic,
    new: &BTreeSet<Print>,
    snapshot: &Snapshot,
    about: &mut Vec<About>,
) -> Result<(), StoreError> {
    snapshot.each_reported(entry.number, |item, reported| {
        let why = match reported {
            Reported::Refused(why) if topic == Topic::Refused => words::said(&why),
            Reported::Drifted(drift) if topic == Topic::Drift => match drift {
                Drift::Missing => "it is missing there".to_owned(),
                Drift::Changed => "another one stands there".to_owned(),
                Drift::Extra => "it is there, and nobody asked for it".to_owned(),
            },
            // What it keeps may be a secret.
            Reported::KeptOtherwise(_) if topic == Topic::Drift => {
                "it confirms what was sent, and keeps something else".to_owned()
            }
            _ => return Ok(true),
        };
        if new.contains(&told::print_of(item)) {
            about.push(About {
                panel: Some(entry.settings.id.as_str().to_owned()),
                item_kind: Some(item.kind.as_str().to_owned()),
                link_id: Some(item.link_id.to_string()),
                why: Some(why),
                ..About::default()
            });
        }
        Ok(about.len() < LISTED)
    })
}

/// Up to where batches were looked at; those that ended with failures are news once they are gathered.
fn of_batches(
    watched: &mut Watched,
    telling: &mut Telling,
    register: &Register,
    snapshot: &Snapshot,
    ended: &mut BTreeMap<BatchSeq, Ended>,
    times: &Times,
) -> Result<Option<(BatchSeq, Vec<BatchSeq>)>, StoreError> {
    let looked = batches::since(watched.batch, &watched.open, snapshot, ended)?;
    if looked.last == watched.batch && looked.open == watched.open {
        return Ok(None);
    }
    let mut failed = Vec::new();
    if watched.alert.on.contains(&Topic::BatchFailed) {
        for seq in &looked.failed {
            let Some(Ended::Failed(record)) = ended.get(seq) else { continue };
            failed.extend(batches::tell(*seq, record, watched.selector.as_ref(), register, snapshot)?);
        }
    }
    let now = (looked.last, looked.open);
    if failed.is_empty() {
        watched.is_gathered(Kind::BatchFailed, false, times);
        return Ok(Some(now));
    }
    if !watched.is_gathered(Kind::BatchFailed, true, times) {
        return Ok(None); // it is looked at again
    }
    let count = failed.len() as u64;
    let (about, sentences) = failed.into_iter().take(LISTED).unzip();
    telling.news.push(News { kind: Kind::BatchFailed, count, about, sentences });
    telling.batches = Some(now.clone());
    Ok(Some(now))
}
