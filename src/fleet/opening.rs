//! What a batch would do to opening hours, before it is sent.
//!
//! A door's opening hours are those of all time profiles that its panel should hold, whoever is bound to them: the time in
//! which some profile opens. They are compared as they are and as they would be, over whole days of the panel's own clock.
//! Beside them it is told how many identifiers gain a door, or lose one: that it opens for them at any time of these days.
//!
//! Few panels differ in what counts, so a comparison is made once for all that are alike.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::batch::{Content, Operations, Zoned};
use crate::fleet::profiles;
use crate::identifier::Identifier;
use crate::identifier::opens::{Hours, When, answer};
use crate::panel::decide::{Change, Decision};
use crate::panel::settings::Zone;
use crate::profile::LinkId;
use crate::profile::windows::{Local, Window, merged};
use crate::schedule::{DAY, Day};
use crate::store::read::Snapshot;
use crate::store::row::RowName;
use crate::store::{PanelNo, StoreError, identifier_in};

mod examples;

/// How many days are looked at where nobody says: four weeks.
pub const DAYS: i64 = 28;

/// Rows of panels that are remembered at most; then all are forgotten, and compared again where they come once more.
const REMEMBERED: usize = 2_000_000;

/// What a batch would do to opening hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The first day that is looked at, and the one behind the last, by each panel's clock.
    pub days: (Day, Day),
    /// Seconds that doors would be open longer, all doors together.
    pub gained_s: u64,
    /// Seconds that they would be open less long.
    pub lost_s: u64,
    /// How many panels gain any.
    pub panels_gaining: u64,
    /// How many lose any.
    pub panels_losing: u64,
    /// What changes on most doors for longest, in words; the ten largest.
    pub examples: Vec<Example>,
    /// Identifiers for which a door opens that did not.
    pub identifiers_gaining: u64,
    /// Identifiers for which a door opens no more.
    pub identifiers_losing: u64,
}

impl Opening {
    /// Hours that doors would open or close, of all doors together; a begun hour is a whole one.
    pub fn door_hours(&self) -> u64 {
        (self.gained_s + self.lost_s).div_ceil(3600)
    }
}

/// Something that changes on some doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// On how many.
    pub panels: u64,
    /// What, such as `Monday to Friday 07:00–08:00 closes`.
    pub text: String,
}

/// What would change on one panel, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// How much longer it would be open.
    pub gained_s: u64,
    /// How much less long.
    pub lost_s: u64,
}

/// What says something: a row's body, or one of the batch's upserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Says {
    Stored(u64),
    /// In what is asked of the panel, by its number.
    Upsert(usize, usize),
}

/// What a panel holds, in the order of the names.
type Holds = Vec<(RowName, Says)>;

/// What counts of a panel: its zone's number, what it holds, and what it would hold.
type Counts = (usize, Holds, Holds);

/// What changes on panels that are alike.
struct Alike {
    /// The number of their zone.
    place: usize,
    panels: u64,
    difference: Difference,
    opens: Vec<Window>,
    closes: Vec<Window>,
    gains: Vec<RowName>,
    loses: Vec<RowName>,
}

/// A zone, and the days that are looked at by its clock.
struct Place {
    zone: Zone,
    local: Local,
    when: When,
}

/// Foretells opening hours, panel by panel.
pub struct Foretelling<'s> {
    snapshot: &'s Snapshot,
    days: (Day, Day),
    /// What is asked of panels, and its number by where it stands.
    asked: Vec<Arc<Zoned>>,
    numbers: HashMap<usize, usize>,
    zones: HashMap<String, usize>,
    places: Vec<Place>,
    /// By what says it and the zone's number.
    hours: FxHashMap<(Says, usize), Rc<Hours>>,
    identifiers: FxHashMap<Says, Rc<Identifier>>,
    by_counts: HashMap<Counts, usize>,
    alike: Vec<Alike>,
    remembered: usize,
}

impl<'s> Foretelling<'s> {
    /// Of this batch, for some days from the first one on, of which there are at most a year's.
    pub fn new(snapshot: &'s Snapshot, first: Day, days: i64) -> Self {
        Self {
            snapshot,
            days: (first, Day(first.0 + days)),
            asked: Vec::new(),
            numbers: HashMap::new(),
            zones: HashMap::new(),
            places: Vec::new(),
            hours: FxHashMap::default(),
            identifiers: FxHashMap::default(),
            by_counts: HashMap::new(),
            alike: Vec::new(),
            remembered: 0,
        }
    }

    /// Adds what was decided for a panel.
    pub fn add(
        &mut self,
        panel: PanelNo,
        zone: &Zone,
        zoned: &Arc<Zoned>,
        decision: &Decision,
    ) -> Result<Difference, StoreError> {
        if decision.changes.is_empty() || self.days.0 == self.days.1 {
            return Ok(Difference::default());
        }
        let rows = self.snapshot.rows(panel)?;
        let before: Holds = rows.into_iter().map(|(name, row)| (name, Says::Stored(row.body))).collect();
        let asked = self.number(zoned);
        let after = changed(&before, &decision.changes, asked, zoned.operations());
        let place = self.place(zone)?;
        self.remembered += before.len() + after.len();
        if self.remembered > REMEMBERED {
            self.by_counts.clear();
            self.identifiers.clear();
            self.hours.clear();
            self.remembered = 0;
        }
        let counts = (place, before, after);
        let at = match self.by_counts.get(&counts) {
            Some(at) => *at,
            None => {
                let alike = self.compare(&counts)?;
                self.alike.push(alike);
                self.by_counts.insert(counts, self.alike.len() - 1);
                self.alike.len() - 1
            }
        };
        self.alike[at].panels += 1;
        Ok(self.alike[at].difference)
    }

    /// What was found of all panels.
    pub fn finish(self) -> Opening {
        let of_all = |of: fn(&Difference) -> u64| {
            self.alike.iter().map(|alike| of(&alike.difference) * alike.panels).sum::<u64>()
        };
        let panels = |of: fn(&Difference) -> u64| {
            let some = self.alike.iter().filter(|alike| of(&alike.difference) > 0);
            some.map(|alike| alike.panels).sum::<u64>()
        };
        // One with a link_id is the same on all panels, one without is each panel's own.
        let named = |of: fn(&Alike) -> &[RowName]| {
            let mut linked = FxHashSet::default();
            let mut own = 0;
            for alike in &self.alike {
                for name in of(alike) {
                    match name {
                        RowName::Link(item) => drop(linked.insert(*item)),
                        RowName::Uid(..) => own += alike.panels,
                    }
                }
            }
            linked.len() as u64 + own
        };
        let places = self.alike.iter().map(|alike| (&self.places[alike.place].local, alike));
        Opening {
            days: self.days,
            gained_s: of_all(|difference| difference.gained_s),
            lost_s: of_all(|difference| difference.lost_s),
            panels_gaining: panels(|difference| difference.gained_s),
            panels_losing: panels(|difference| difference.lost_s),
            examples: examples::largest(places, self.days),
            identifiers_gaining: named(|alike| &alike.gains),
            identifiers_losing: named(|alike| &alike.loses),
        }
    }

    /// The number of what is asked, which stays where it is as long as this.
    fn number(&mut self, zoned: &Arc<Zoned>) -> usize {
        let next = self.asked.len();
        let number = *self.numbers.entry(Arc::as_ptr(zoned).addr()).or_insert(next);
        if number == next {
            self.asked.push(Arc::clone(zoned));
        }
        number
    }

    fn place(&mut self, zone: &Zone) -> Result<usize, StoreError> {
        if let Some(place) = self.zones.get(zone.name()) {
            return Ok(*place);
        }
        let out_of_calendar = |_| StoreError::Corrupt("moment");
        let (first, last) = (self.days.0.0 * DAY, self.days.1.0 * DAY);
        let local = Local::new(zone.rules(), first, last).map_err(out_of_calendar)?;
        let when = When::within(local.instant(first), local.instant(last))
            .map_err(|_| StoreError::Corrupt("moment"))?;
        self.places.push(Place { zone: zone.clone(), local, when });
        self.zones.insert(zone.name().to_owned(), self.places.len() - 1);
        Ok(self.places.len() - 1)
    }

    fn compare(&mut self, (place, before, after): &Counts) -> Result<Alike, StoreError> {
        let (was, would_be) = (self.open(*place, before)?, self.open(*place, after)?);
        let (opens, closes) = (without(&would_be, &was), without(&was, &would_be));
        let (gains, loses) = if before.iter().chain(after).any(|(name, _)| is_identifier(*name)) {
            let (had, has) = (self.let_in(*place, before)?, self.let_in(*place, after)?);
            let only = |one: &FxHashSet<RowName>, other: &FxHashSet<RowName>| {
                one.difference(other).copied().collect()
            };
            (only(&has, &had), only(&had, &has))
        } else {
            (Vec::new(), Vec::new())
        };
        let difference = Difference { gained_s: seconds(&opens), lost_s: seconds(&closes) };
        Ok(Alike { place: *place, panels: 0, difference, opens, closes, gains, loses })
    }

    /// When the profiles open the door.
    fn open(&mut self, place: usize, holds: &Holds) -> Result<Vec<Window>, StoreError> {
        let mut windows = Vec::new();
        for (_, says) in holds.iter().filter(|(name, _)| !is_identifier(*name)) {
            windows.extend_from_slice(self.hours(*says, place)?.windows());
        }
        Ok(merged(windows))
    }

    /// For which identifiers it ever opens.
    fn let_in(&mut self, place: usize, holds: &Holds) -> Result<FxHashSet<RowName>, StoreError> {
        let mut profiles: HashMap<LinkId, Rc<Hours>> = HashMap::new();
        for (name, says) in holds {
            if let (false, Some(link_id)) = (is_identifier(*name), name.link_id()) {
                profiles.insert(link_id, self.hours(*says, place)?);
            }
        }
        let mut let_in = FxHashSet::default();
        for (name, says) in holds.iter().filter(|(name, _)| is_identifier(*name)) {
            let identifier = self.identifier(*says)?;
            let left = identifier.left_after(0);
            let when = self.places[place].when;
            if answer(&identifier, left, when, |link_id| profiles.get(&link_id).map(|hours| &**hours)).opens()
            {
                let_in.insert(*name);
            }
        }
        Ok(let_in)
    }

    fn hours(&mut self, says: Says, place: usize) -> Result<Rc<Hours>, StoreError> {
        if let Some(hours) = self.hours.get(&(says, place)) {
            return Ok(Rc::clone(hours));
        }
        let Place { zone, when, .. } = &self.places[place];
        let hours = match says {
            Says::Stored(body) => {
                Hours::of(&profiles::read(&self.snapshot.body(body)?)?, zone.rules(), *when)
            }
            Says::Upsert(asked, place) => match &self.asked[asked].operations().upserts[place].content {
                Content::Profile(profile) => Hours::of(profile, zone.rules(), *when),
                Content::Identifier(..) | Content::ByTheClock(_) => return Err(StoreError::Corrupt("kind")),
            },
        };
        let hours = Rc::new(hours);
        self.hours.insert((says, place), Rc::clone(&hours));
        Ok(hours)
    }

    fn identifier(&mut self, says: Says) -> Result<Rc<Identifier>, StoreError> {
        if let Some(identifier) = self.identifiers.get(&says) {
            return Ok(Rc::clone(identifier));
        }
        let identifier = match says {
            Says::Stored(body) => identifier_in(self.snapshot.body(body)?.as_bytes())?,
            Says::Upsert(asked, place) => match &self.asked[asked].operations().upserts[place].content {
                Content::Identifier(identifier, _) => (**identifier).clone(),
                Content::Profile(_) | Content::ByTheClock(_) => return Err(StoreError::Corrupt("kind")),
            },
        };
        let identifier = Rc::new(identifier);
        self.identifiers.insert(says, Rc::clone(&identifier));
        Ok(identifier)
    }
}

fn is_identifier(name: RowName) -> bool {
    name.kind() == crate::batch::item::Kind::Identifier
}

/// What a panel would hold after these changes.
fn changed(before: &Holds, changes: &[Change], asked: usize, operations: &Operations) -> Holds {
    let mut changed: HashMap<RowName, Option<Says>> = HashMap::with_capacity(changes.len());
    for change in changes {
        match change {
            Change::Put(upsert, _) => {
                let name = RowName::Link(operations.upserts[*upsert].item);
                changed.insert(name, Some(Says::Upsert(asked, *upsert)));
            }
            Change::Remove(item, _) => {
                changed.insert(RowName::Link(*item), None);
            }
        }
    }
    let mut after: Holds = before
        .iter()
        .filter_map(|(name, says)| Some((*name, changed.remove(name).unwrap_or(Some(*says))?)))
        .collect();
    after.extend(changed.into_iter().filter_map(|(name, says)| Some((name, says?))));
    after.sort_unstable_by_key(|(name, _)| *name);
    after
}

/// What of some windows is in none of the others; both ascending and merged.
fn without(windows: &[Window], others: &[Window]) -> Vec<Window> {
    let mut left = Vec::new();
    let mut others = others.iter().peekable();
    for window in windows {
        let mut from = window.from;
        while others.next_if(|other| other.to <= from).is_some() {}
        let mut over = others.clone();
        while let Some(other) = over.next_if(|other| other.from < window.to) {
            if other.from > from {
                left.push(Window { from, to: other.from });
            }
            from = from.max(other.to);
        }
        if from < window.to {
            left.push(Window { from, to: window.to });
        }
    }
    left
}

fn seconds(windows: &[Window]) -> u64 {
    windows.iter().map(|window| (window.to - window.from).unsigned_abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(windows: &[(i64, i64)]) -> Vec<Window> {
        windows.iter().map(|(from, to)| Window { from: *from, to: *to }).collect()
    }

    #[test]
    fn what_is_left_of_windows_is_what_no_other_covers() {
        for (of, others, left) in [
            (&[(0, 10)][..], &[][..], &[(0, 10)][..]),
            (&[(0, 10)], &[(0, 10)], &[]),
            (&[(0, 10)], &[(-5, 2), (4, 5), (9, 20)], &[(2, 4), (5, 9)]),
            (&[(0, 10), (20, 30)], &[(5, 25)], &[(0, 5), (25, 30)]),
            (&[(0, 3), (5, 7)], &[(3, 5), (7, 9)], &[(0, 3), (5, 7)]),
            (&[(0, 3), (5, 7)], &[(-9, 90)], &[]),
        ] {
            assert_eq!(without(&windows(of), &windows(others)), windows(left), "{of:?} without {others:?}");
        }
    }
}
