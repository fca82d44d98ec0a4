//! The schedule: opening hours as people say them.
//!
//! *Monday to Friday 09:00–12:30 and 13:30–18:00, not on public holidays, on 31 December until noon.* No panel knows such a
//! thing. This room is pure: no I/O, no clock, no actor, no database. It is responsible for
//!
//! 1. the [`Schedule`] and the [`Calendar`] of holidays that schedules share, which cannot hold anything that has no meaning,
//!    and reading both ([`parse`]), calendars also from `.ics` files ([`ics`]), with the place of whatever is wrong;
//! 2. what it means in time: which hours hold on a day ([`days`]), and when a door opens ([`windows`]);
//! 3. saying it to panels: [`compile`] makes the fewest time profiles that open a door at the same times, to the second, by
//!    covering the days of each span of hours with as few rules as it finds ([`cover`]);
//! 4. saying it to people ([`sentence`]).
//!
//! Times are those of the clock on the wall, in each panel's zone, or in one zone that the schedule names. Like a profile's
//! ([`crate::profile::windows`]), a time that does not exist moves forward by the gap, and one that exists twice is the
//! earlier.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::profile::recurrence::CivilDate;
use crate::profile::rule::{Name, Weekdays};

pub mod compile;
pub mod cover;
pub mod days;
pub mod ics;
pub mod parse;
pub mod sentence;
pub mod windows;

#[cfg(test)]
mod laws;

pub use crate::profile::opens::DAY;

/// Opening hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// What people call it.
    pub name: Name,
    /// The hours of each weekday, Monday first.
    pub hours: [Hours; 7],
    /// Other hours on these dates.
    pub instead: Vec<(Dates, Hours)>,
    /// No hours on these dates.
    pub except: Vec<Dates>,
    /// The first day; every day before it is shut.
    pub from: Option<Day>,
    /// The last day.
    pub until: Option<Day>,
    /// The zone whose clock is meant; without one that of each panel.
    pub zone: Option<FixedZone>,
}

/// A day: days since 1970-01-01 on the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub i64);

impl Day {
    /// That of a moment, in Unix seconds, in UTC.
    pub fn in_utc(unix: i64) -> Self {
        Self(unix.div_euclid(DAY))
    }

    /// Its date.
    pub fn date(self) -> CivilDate {
        CivilDate::from_days(self.0)
    }

    /// 0 for Monday to 6 for Sunday.
    pub fn weekday(self) -> usize {
        (self.0 + 3).rem_euclid(7) as usize
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CivilDate { year, month, day } = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// From when to when on the clock, in seconds from midnight. `end` is after `start` and at most a day later, so it may
/// lie on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first second, 0 to 86,399.
    pub start: i64,
    /// The first second behind it.
    pub end: i64,
}

impl Span {
    /// A whole day.
    pub const ALL_DAY: Self = Self { start: 0, end: DAY };
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL_DAY {
            return f.write_str("all day");
        }
        write_time(f, self.start)?;
        f.write_str("–")?;
        write_time(f, if self.end > DAY { self.end - DAY } else { self.end })
    }
}

fn write_time(f: &mut fmt::Formatter<'_>, seconds: i64) -> fmt::Result {
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(f, "{hour:02}:{minute:02}")?;
    if second == 0 { Ok(()) } else { write!(f, ":{second:02}") }
}

/// The spans of a day, ascending, none of which overlaps another. Empty where the door stays shut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hours(Vec<Span>);

impl Hours {
    /// The spans, ascending.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }
}

/// Some dates, of these only some weekdays perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dates {
    /// Which ones.
    pub of: DatesOf,
    /// Only on these weekdays.
    pub on: Option<Weekdays>,
}

/// Dates by what names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatesOf {
    /// From one day to another, which is not before it.
    Days(Day, Day),
    /// From one month and day to another in each year, perhaps over its end. 29 February is one of leap years only.
    Yearly(MonthDay, MonthDay),
    /// Those of a calendar.
    Calendar(CalendarName),
}

/// A day of each year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonthDay {
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

/// A calendar's name: 1 to 63 letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalendarName(Box<str>);

impl CalendarName {
    /// `None` where it is no such name.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (!text.is_empty() && text.len() <= 63 && text.chars().all(fits)).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CalendarName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A zone that a schedule names.
#[derive(Debug, Clone)]
pub struct FixedZone {
    /// Its IANA name.
    pub name: Box<str>,
    /// Its rules.
    pub rules: TimeZone,
}

impl PartialEq for FixedZone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for FixedZone {}

/// Days that schedules share under a name, such as public holidays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Its name.
    pub name: CalendarName,
    /// Its days.
    pub days: Vec<CalendarDays>,
}

/// Some days of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarDays {
    /// Which ones. They name no calendar.
    pub dates: DatesOf,
    /// What people call them.
    pub title: Option<Name>,
}

impl Schedule {
    /// The names of the calendars that it needs, each once.
    pub fn calendars(&self) -> Vec<&CalendarName> {
        let dates = self.instead.iter().map(|(dates, _)| dates).chain(&self.except);
        let mut names: Vec<_> = dates
            .filter_map(|dates| match &dates.of {
                DatesOf::Calendar(name) => Some(name),
                DatesOf::Days(..) | DatesOf::Yearly(..) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
