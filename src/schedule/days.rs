//! Which hours hold on which day.
//!
//! A date beats a day of each year, which beats a calendar, which beats the weekday; a shorter range of dates beats a longer
//! one. Of equals `instead` beats `except`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Calendar, CalendarName, Dates, DatesOf, Day, Hours, MonthDay, Schedule, Span};
use crate::profile::recurrence::{CivilDate, days_in_month};

/// A schedule with the calendars that it names.
#[derive(Debug, Clone)]
pub struct Resolved<'s> {
    schedule: &'s Schedule,
    calendars: BTreeMap<&'s CalendarName, &'s Calendar>,
}

/// A schedule names a calendar that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no calendar {0}")]
pub struct NoCalendar(pub CalendarName);

/// For each day of a range, ascending, its hours.
pub struct HoursByDay<'s> {
    first: Day,
    /// Into `kinds`, a day each.
    days: Vec<u16>,
    kinds: Vec<&'s [Span]>,
}

/// How much an entry says, in ascending order: by what names its dates, how few these are at once, and whether it has hours.
type Weight = (u8, Reverse<i64>, bool);

fn weight(dates: &Dates, instead: bool) -> Weight {
    match dates.of {
        DatesOf::Calendar(_) => (0, Reverse(0), instead),
        DatesOf::Yearly(from, to) => {
            let day = |at: MonthDay| CivilDate { year: 2000, month: at.month, day: at.day }.days();
            (1, Reverse((day(to) - day(from)).rem_euclid(366)), instead)
        }
        DatesOf::Days(from, to) => (2, Reverse(to.0 - from.0), instead),
    }
}

impl<'s> Resolved<'s> {
    /// A schedule with those of the calendars that it names.
    pub fn new(
        schedule: &'s Schedule,
        calendars: impl IntoIterator<Item = &'s Calendar>,
    ) -> Result<Self, NoCalendar> {
        let all: BTreeMap<_, _> = calendars.into_iter().map(|calendar| (&calendar.name, calendar)).collect();
        let named = schedule.calendars().into_iter();
        let calendars = named.map(|name| {
            all.get(name).map(|calendar| (name, *calendar)).ok_or_else(|| NoCalendar(name.clone()))
        });
        Ok(Self { schedule, calendars: calendars.collect::<Result<_, _>>()? })
    }

    /// The schedule.
    pub fn schedule(&self) -> &'s Schedule {
        self.schedule
    }

    /// The calendars that it names.
    pub fn calendars(&self) -> impl Iterator<Item = &'s Calendar> + '_ {
        self.calendars.values().copied()
    }

    /// The hours of the days from `first` to `last`, of which there are not more than some ten thousand.
    pub fn hours(&self, first: Day, last: Day) -> HoursByDay<'s> {
        let schedule = self.schedule;
        let length = usize::try_from(last.0 - first.0 + 1).unwrap_or(0);
        let mut kinds: Vec<&'s [Span]> = vec![&[]];
        kinds.extend(schedule.hours.iter().map(Hours::spans));
        let mut days: Vec<u16> =
            (0..length).map(|place| 1 + Day(first.0 + place as i64).weekday() as u16).collect();
        let from = schedule.from.map_or(first.0, |from| from.0);
        let until = schedule.until.map_or(last.0, |until| until.0);
        let mut entries: Vec<_> =
            schedule.except.iter().map(|dates| (weight(dates, false), dates, 0)).collect();
        for (dates, hours) in &schedule.instead {
            entries.push((weight(dates, true), dates, kinds.len() as u16));
            kinds.push(hours.spans());
        }
        entries.sort_by_key(|(weight, ..)| *weight);
        for (_, dates, kind) in entries {
            self.each(dates, first, last, |day| days[(day.0 - first.0) as usize] = kind);
        }
        for (place, kind) in days.iter_mut().enumerate() {
            let day = first.0 + place as i64;
            if day < from || day > until {
                *kind = 0;
            }
        }
        HoursByDay { first, days, kinds }
    }

    /// Calls `told` with each of the dates within a range.
    fn each(&self, dates: &Dates, first: Day, last: Day, mut told: impl FnMut(Day)) {
        let mut tell = |day: Day| {
            if dates.on.is_none_or(|on| on.contains(day.weekday() as i64)) {
                told(day);
            }
        };
        match &dates.of {
            DatesOf::Calendar(name) => {
                let of = self.calendars.get(name).map(|calendar| &calendar.days);
                for days in of.into_iter().flatten() {
                    each_of(&days.dates, first, last, &mut tell);
                }
            }
            of => each_of(of, first, last, &mut tell),
        }
    }
}

/// Calls `told` with each date of what names no calendar, within a range.
pub(super) fn each_of(dates: &DatesOf, first: Day, last: Day, told: &mut impl FnMut(Day)) {
    let mut tell = |from: i64, to: i64| (from.max(first.0)..=to.min(last.0)).map(Day).for_each(&mut *told);
    match dates {
        DatesOf::Days(from, to) => tell(from.0, to.0),
        DatesOf::Yearly(from, to) => {
            // What passes the year's end began in the year before.
            for year in first.date().year - 1..=last.date().year {
                let ends = if to < from { year + 1 } else { year };
                tell(first_from(*from, year), last_to(*to, ends));
            }
        }
        DatesOf::Calendar(_) => {}
    }
}

/// The day of a year that it is, or the first one behind where the year has none.
fn first_from(at: MonthDay, year: i64) -> i64 {
    CivilDate { year, month: at.month, day: at.day }.days() // of 29 February in another year: 1 March
}

/// The day of a year that it is, or the last one before where the year has none.
fn last_to(at: MonthDay, year: i64) -> i64 {
    CivilDate { year, month: at.month, day: at.day.min(days_in_month(year, at.month)) }.days()
}

impl<'s> HoursByDay<'s> {
    /// The spans of a day of the range.
    pub fn on(&self, day: Day) -> &'s [Span] {
        let kind = usize::try_from(day.0 - self.first.0).ok().and_then(|place| self.days.get(place));
        kind.map_or(&[], |kind| self.kinds[usize::from(*kind)])
    }

    /// Every day with its spans, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Day, &'s [Span])> + '_ {
        let days = self.days.iter().enumerate();
        days.map(|(place, kind)| (Day(self.first.0 + place as i64), self.kinds[usize::from(*kind)]))
    }
}
