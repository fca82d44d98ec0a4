//! When the door opens: a profile's dates in a zone, as half-open instants.
//!
//! Everything is Unix seconds. Rules run in local civil time: 09:00–18:00 stays so on a day of daylight-saving
//! change. A local time that does not exist moves forward by the gap; one that exists twice means the earlier.
//! The first window itself is exactly what `date_from` and `date_to` say. Overlapping and touching windows are
//! merged, and windows are cut at the ends of the range that was asked for.
//!
//! Every question is bounded: a range is at most [`MAX_YEARS`] long and an answer has at most [`MAX_WINDOWS`].

use std::ops::ControlFlow;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::TimeProfile;
use super::opens::{self, DAY, local_parts};
use super::recurrence::{CivilDate, Dates};

/// The longest range of one question, in years.
pub const MAX_YEARS: i64 = 50;

/// The most windows of one answer.
pub const MAX_WINDOWS: usize = 100_000;

/// The same in seconds.
pub(crate) const LONGEST: i64 = MAX_YEARS * 366 * DAY;

/// From `from` on the door opens, and at `to` it is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first second in which the door opens.
    pub from: i64,
    /// The first second in which it does not.
    pub to: i64,
}

/// Windows in their order; those that overlap or touch are one.
pub fn merged(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort_unstable();
    windows.dedup_by(|next, last| {
        let one = next.from <= last.to;
        if one {
            last.to = last.to.max(next.to);
        }
        one
    });
    windows
}

/// How far a look at a moment reaches to either side, in seconds.
const AROUND: i64 = 366 * DAY;

/// How a door stands under a profile at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It opens, in this window. An end that is more than a year away is `i64::MIN` or `i64::MAX`.
    Open(Window),
    /// It is shut.
    Shut {
        /// When it opens next, if that is within a year.
        next: Option<i64>,
    },
}

/// A question that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The range ends before it begins.
    #[error("from must not be after to")]
    Backwards,
    /// The range is too long.
    #[error("the range is longer than {MAX_YEARS} years, the limit of one question")]
    TooLong,
    /// The answer is too long.
    #[error("there are more than {MAX_WINDOWS} windows, the limit of one answer; ask for a shorter range")]
    TooMany,
    /// A moment that no calendar here reaches.
    #[error("the range lies outside the years -9999 to 9999")]
    OutOfCalendar,
}

/// A profile in a zone.
pub struct Openings<'p> {
    /// `None` when the rules never open a door.
    rules: Option<Rules>,
    zone: &'p TimeZone,
}

/// The rules as numbers.
struct Rules {
    first: Window,
    first_day: i64,
    /// Seconds into the local day at which an occurrence starts.
    start: i64,
    /// How many days later, and how many seconds into that day, it ends.
    end_days: i64,
    end: i64,
    repeat: Option<(Dates, Option<i64>)>,
}

impl<'p> Openings<'p> {
    /// The profile's rules in this zone.
    pub fn new(profile: &TimeProfile, zone: &'p TimeZone) -> Self {
        let rules = opens::check(profile, zone).ok().and_then(|()| Rules::new(profile, zone));
        Self { rules, zone }
    }

    /// The windows within a range, ascending, merged, and cut at its ends.
    pub fn windows(&self, from: i64, to: i64) -> Result<Vec<Window>, RangeError> {
        if from > to {
            return Err(RangeError::Backwards);
        }
        if to.checked_sub(from).is_none_or(|range| range > LONGEST) {
            return Err(RangeError::TooLong);
        }
        let mut windows = Vec::new();
        let all = self.each(from, to, |window| {
            if windows.len() == MAX_WINDOWS {
                return ControlFlow::Break(());
            }
            windows.push(window);
            ControlFlow::Continue(())
        })?;
        if all.is_break() { Err(RangeError::TooMany) } else { Ok(windows) }
    }

    /// Whether the door opens at this moment.
    pub fn is_open(&self, at: i64) -> bool {
        self.windows(at, at.saturating_add(1)).is_ok_and(|windows| !windows.is_empty())
    }

    /// Whether the door opens at this moment, in which window, or when it does next.
    pub fn standing(&self, at: i64) -> Standing {
        let from = at.saturating_sub(AROUND).max(Timestamp::MIN.as_second());
        let to = at.saturating_add(AROUND).min(opens::LAST + 1);
        let mut standing = Standing::Shut { next: None };
        // A moment outside of the calendar has nothing around it.
        let _ = self.each(from, to, |window| {
            if window.to <= at {
                return ControlFlow::Continue(());
            }
            standing = if window.from > at {
                Standing::Shut { next: Some(window.from) }
            } else {
                Standing::Open(Window {
                    from: if window.from == from { i64::MIN } else { window.from },
                    to: if window.to == to { i64::MAX } else { window.to },
                })
            };
            ControlFlow::Break(())
        });
        standing
    }

    /// The next moment after `at` from which the door opens, or no longer does; `None` when nothing changes
    /// within the next [`MAX_YEARS`].
    pub fn next_change(&self, at: i64) -> Option<i64> {
        let horizon = at.checked_add(MAX_YEARS * 365 * DAY)?.min(opens::LAST + 1);
        let mut change = None;
        let _ = self.each(at, horizon, |window| {
            let next = if window.from > at { window.from } else { window.to };
            change = (next < horizon).then_some(next);
            ControlFlow::Break(())
        });
        change
    }

    /// The day within a range, given in Unix seconds, on which a window is empty or would end before it begins, since
    /// the clocks are set forward over it: the first one.
    pub fn vanishes(&self, from: i64, to: i64) -> Option<CivilDate> {
        let local = Local::new(self.zone, from, to).ok()?;
        let rules = self.rules.as_ref()?;
        let (dates, until) = rules.repeat.as_ref()?;
        let mut vanished: Vec<_> = local
            .changes
            .iter()
            .flat_map(|(change, _)| {
                let day = change.div_euclid(DAY);
                // Its beginning or its end falls into what is skipped.
                [day - 1, day, day - rules.end_days - 1, day - rules.end_days]
            })
            .filter(|day| *day > rules.first_day && dates.from(*day).next() == Some(*day))
            .filter(|day| {
                let window = rules.on(*day, &local);
                window.to <= window.from
                    && window.from >= from
                    && until.is_none_or(|until| window.from <= until)
            })
            .collect();
        vanished.sort_unstable();
        vanished.first().map(|day| CivilDate::from_days(*day))
    }

    /// Calls `told` with each merged and cut window until it says to stop.
    fn each(
        &self,
        from: i64,
        to: i64,
        mut told: impl FnMut(Window) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RangeError> {
        let local = Local::new(self.zone, from, to)?;
        let Some(rules) = &self.rules else { return Ok(ControlFlow::Continue(())) };
        let mut merged: Option<Window> = None;
        let done = rules.each(self.zone, &local, from, to, |window| {
            match &mut merged {
                Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
                last => {
                    if let Some(whole) = last.replace(window) {
                        return told(whole);
                    }
                }
            }
            ControlFlow::Continue(())
        });
        Ok(match (done, merged) {
            (ControlFlow::Continue(()), Some(last)) => told(last),
            (done, _) => done,
        })
    }
}

impl Rules {
    fn new(profile: &TimeProfile, zone: &TimeZone) -> Option<Self> {
        let (first_day, from_time) = local_parts(profile.from, zone)?;
        let (last_day, to_time) = local_parts(profile.to, zone)?;
        let (start, end_days, end) = if profile.all_day {
            (0, last_day + 1 - first_day, 0)
        } else {
            (from_time, last_day - first_day, to_time)
        };
        let first = if profile.all_day {
            Window { from: midnight(first_day, zone)?, to: midnight(last_day + 1, zone)? }
        } else {
            Window { from: profile.from, to: profile.to }
        };
        let repeat = profile
            .repeat
            .as_ref()
            .map(|repeat| (Dates::new(&repeat.rule, CivilDate::from_days(first_day)), repeat.until));
        Some(Self { first, first_day, start, end_days, end, repeat })
    }

    /// Calls `told` with the windows of all occurrences that reach into the range, cut at its ends, ascending.
    fn each(
        &self,
        zone: &TimeZone,
        local: &Local,
        from: i64,
        to: i64,
        mut told: impl FnMut(Window) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut tell = |window: Window| {
            let cut = Window { from: window.from.max(from), to: window.to.min(to) };
            if cut.from < cut.to { told(cut) } else { ControlFlow::Continue(()) }
        };
        let Some((dates, until)) = &self.repeat else {
            return tell(self.first);
        };
        let first_local_day = local.day(from);
        // All occurrences are equally long in local time, so of those that start earlier the last one ends last.
        let mut before = dates.last_until(first_local_day - 1);
        // An end beyond the calendar cuts nothing off.
        if let Some(until) = *until
            && let Some((last_day, _)) = local_parts(until, zone)
            && before.is_some_and(|day| !self.starts_by(day, until, zone))
        {
            let last = dates.last_until(last_day).filter(|day| self.starts_by(*day, until, zone));
            before = last.or_else(|| dates.last_until(last_day - 1));
        }
        if let Some(day) = before {
            tell(self.on(day, local))?;
        }
        for day in dates.from(first_local_day) {
            let window = self.on(day, local);
            if window.from >= to || until.is_some_and(|until| window.from > until) {
                break;
            }
            tell(window)?;
        }
        ControlFlow::Continue(())
    }

    /// Whether the occurrence on a day, however far from the range, starts at or before a moment.
    fn starts_by(&self, day: i64, until: i64, zone: &TimeZone) -> bool {
        let around = day * DAY;
        Local::new(zone, around, around).is_ok_and(|local| self.on(day, &local).from <= until)
    }

    /// The window of the occurrence on a day. Exact where it lies within what `local` covers; elsewhere off by
    /// no more than a change of the offset, which a cut hides.
    fn on(&self, day: i64, local: &Local) -> Window {
        if day == self.first_day {
            return self.first;
        }
        Window {
            from: local.instant(day * DAY + self.start),
            to: local.instant((day + self.end_days) * DAY + self.end),
        }
    }
}

/// Local times of a zone around a range, from one look at its changes.
pub(crate) struct Local {
    first: i64,
    /// From which local second on which offset holds, ascending.
    changes: Vec<(i64, i64)>,
    /// The same in instants.
    instants: Vec<(i64, i64)>,
}

impl Local {
    /// For instants of the range, and local times that fall into it.
    pub(crate) fn new(zone: &TimeZone, from: i64, to: i64) -> Result<Self, RangeError> {
        // A range may end with the year 9999, some hours after the zones' calendar does.
        if from < Timestamp::MIN.as_second() || from > opens::LAST || to > opens::LAST + 1 {
            return Err(RangeError::OutOfCalendar);
        }
        // Two days are more than any offset.
        let begin = Timestamp::from_second(from.saturating_sub(2 * DAY)).unwrap_or(Timestamp::MIN);
        let end = Timestamp::from_second(to.saturating_add(2 * DAY)).unwrap_or(Timestamp::MAX);
        let first = i64::from(zone.to_offset(begin).seconds());
        let mut offset = first;
        let (mut changes, mut instants) = (Vec::new(), Vec::new());
        for change in zone.following(begin).take_while(|change| change.timestamp() <= end) {
            let (at, next) = (change.timestamp().as_second(), i64::from(change.offset().seconds()));
            if next != offset {
                // In a gap the old offset moves a time forward by the gap; in a fold it gives the earlier one.
                changes.push((at + offset.max(next), next));
                instants.push((at, next));
                offset = next;
            }
        }
        Ok(Self { first, changes, instants })
    }

    /// The instant of a local time, given as seconds since the local 1970-01-01.
    pub(crate) fn instant(&self, local: i64) -> i64 {
        local - self.offset(&self.changes, local)
    }

    /// The local time of an instant, as seconds since the local 1970-01-01.
    pub(crate) fn local(&self, unix: i64) -> i64 {
        unix.saturating_add(self.offset(&self.instants, unix))
    }

    /// The local day of an instant.
    pub(crate) fn day(&self, unix: i64) -> i64 {
        self.local(unix).div_euclid(DAY)
    }

    fn offset(&self, changes: &[(i64, i64)], at: i64) -> i64 {
        let passed = changes.partition_point(|(from, _)| *from <= at);
        if passed == 0 { self.first } else { changes[passed - 1].1 }
    }
}

fn midnight(day: i64, zone: &TimeZone) -> Option<i64> {
    let local_midnight = day.checked_mul(DAY)?;
    // That behind the last day of the calendar is beyond it.
    let around = local_midnight.min(opens::LAST);
    Local::new(zone, around, around).ok().map(|local| local.instant(local_midnight))
}
