//! The time profiles that say to a panel what a schedule says.
//!
//! A schedule is compiled for a range of days, whose end is its horizon: what calendars and other dates take away or add is
//! known up to there. Behind it each weekday's hours go on as they are, up to the schedule's own end if it has one: who is not
//! asked to compile again for years lets people in on a holiday, rather than shutting everybody out.
//!
//! Every part has a link_id of its own, derived from the schedule's, its span of hours and its first day. So compiling again
//! for a later horizon, or after a holiday was added, leaves the parts as they are that say the same, and a part that only
//! ends elsewhere is changed where it stands.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cover::{self, Names, Rule};
use super::days::Resolved;
use super::{DAY, DatesOf, Day, FixedZone, MonthDay, Schedule, Span};
use crate::profile::recurrence::CivilDate;
use crate::profile::rule::{self, CustomDates, Every, Name, Repeat, Weekdays};
use crate::profile::windows::{Local, RangeError};
use crate::profile::{LinkId, TimeProfile};

/// The first day of schedules that name none: 1 January 2024. It is always the same one, so that what is compiled later has the
/// same parts.
pub const ANCHOR: Day = Day(19_723);

/// How far ahead dates are known, in days: two years.
pub const HORIZON: i64 = 730;

/// The most profiles that a schedule is compiled into.
pub const MAX_PARTS: usize = 1_000;

/// One of the profiles of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its link_id.
    pub link_id: LinkId,
    /// The profile.
    pub profile: TimeProfile,
}

/// A schedule that cannot be said to a panel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It would be too many profiles.
    #[error("it takes {0} time profiles, and more than {MAX_PARTS} are not made of one schedule")]
    TooMany(usize),
    /// The days lie outside of the calendar.
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// What of a schedule is the same in many zones.
#[derive(Debug)]
pub struct Plan<'s> {
    schedule: &'s Schedule,
    /// By how many seconds the panel's clock is ahead of the schedule's, where that is always the same.
    shift: Option<i64>,
    /// The rules for each span of hours.
    rules: BTreeMap<Span, Vec<Rule>>,
    /// Windows that no rule says, in Unix seconds: those that begin or end in an hour that comes twice, the second time.
    once: Vec<(i64, i64)>,
}

impl<'s> Plan<'s> {
    /// A schedule's rules from a day on up to its horizon. They are those of every zone where it names none, and of this
    /// zone alone else.
    pub fn new(
        schedule: &Resolved<'s>,
        zone: &TimeZone,
        from: Day,
        horizon: Day,
    ) -> Result<Self, CompileError> {
        let its = schedule.schedule();
        let first = its.from.map_or(from, |its| its.max(from));
        let last = its.until.map_or(horizon, |its| its.min(horizon));
        let mut found = match &its.zone {
            None => Found::on_the_wall(schedule, first, last),
            Some(fixed) => Found::in_zone(schedule, fixed, zone, first, last)?,
        };
        // Behind the horizon it goes on.
        if its.until.is_none_or(|until| until > last)
            && let Some(shift) = found.shift
        {
            found.go_on(its, shift);
        }
        let rules = found.days.iter().map(|(span, days)| {
            let later = found.shift.map_or(2, |shift| days_later(*span, shift));
            let (go_on, yearly_goes_on) = found.going_on.get(span).cloned().unwrap_or_default();
            let range = (Day(first.0 + later), Day(last.0 + later));
            (*span, cover::cover(&cover::Days { range, days: days.clone(), go_on, yearly_goes_on }))
        });
        Ok(Self { schedule: its, shift: found.shift, rules: rules.collect(), once: found.once })
    }

    /// The profiles of these rules in a zone, without those that are over before this day.
    pub fn parts(&self, link_id: LinkId, zone: &TimeZone, from: Day) -> Result<Vec<Part>, CompileError> {
        let by_the_clock = self.by_the_clock(link_id, from)?;
        let mut parts = Vec::with_capacity(by_the_clock.len() + self.once.len());
        for part in &by_the_clock {
            let (moved, profile) = part.on(zone)?;
            parts.extend(profile.map(|profile| Part { link_id: part.link_id, profile }));
            for (day, begins, ends) in moved {
                parts.push(self.once(link_id, format!("{} on {day}", plain(part.span)), begins, ends));
            }
        }
        let once = self.once.iter().filter(|(_, to)| *to > (from.0 - 2) * DAY);
        parts.extend(
            once.map(|(begins, ends)| self.once(link_id, format!("once from {begins}"), *begins, *ends)),
        );
        Ok(parts)
    }

    /// The same for every zone, where the schedule names none: what each part says by the clock on the wall.
    pub fn by_the_clock(&self, link_id: LinkId, from: Day) -> Result<Vec<ClockPart>, CompileError> {
        let needed = |rule: &&Rule| rule.last.is_none_or(|last| last.0 + 2 >= from.0);
        let rules = self.rules.iter().flat_map(|(span, rules)| rules.iter().map(move |rule| (*span, rule)));
        let rules: Vec<_> = rules.filter(|(_, rule)| needed(rule)).collect();
        if rules.len() + self.once.len() > MAX_PARTS {
            return Err(CompileError::TooMany(rules.len() + self.once.len()));
        }
        let part = |(span, rule): (Span, &Rule)| {
            let yearly = if rule.names == Names::Yearly { ", every year" } else { "" };
            let name = format!("{} from {}{yearly}", plain(span), rule.first);
            // What goes on for ever ends with the schedule.
            let later = self.shift.map_or(0, |shift| days_later(span, shift));
            let until = rule.last.or(self.schedule.until.map(|until| Day(until.0 + later)));
            ClockPart {
                link_id: derived(link_id, &name),
                name: self.part_name(&name),
                span,
                rule: *rule,
                until,
            }
        };
        Ok(rules.into_iter().map(part).collect())
    }

    fn once(&self, link_id: LinkId, name: String, from: i64, to: i64) -> Part {
        let profile = TimeProfile {
            name: self.part_name(&name),
            all_day: false,
            from,
            to,
            repeat: None,
            wording: None,
        };
        Part { link_id: derived(link_id, &name), profile }
    }

    /// The schedule's name, cut where it is long, and what tells this part from the others.
    fn part_name(&self, part: &str) -> Name {
        let room = Name::MAX_CHARS - part.len() - BEFORE_PART.len(); // a part's own name is ASCII and short
        let name: String = self.schedule.name.as_str().chars().take(room).collect();
        Name::new(&format!("{name}{BEFORE_PART}{part}")).unwrap_or_else(|| self.schedule.name.clone())
    }
}

/// What stands between a schedule's name and that of its part.
const BEFORE_PART: &str = ", ";

/// A part of a schedule by the clock on the wall, whatever the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockPart {
    /// Its link_id.
    pub link_id: LinkId,
    /// What its profile is called.
    pub name: Name,
    /// From when to when.
    pub span: Span,
    /// On which days.
    pub rule: Rule,
    /// The last day on which it may begin; none for ever.
    pub until: Option<Day>,
}

/// A part as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptPart {
    name: String,
    span: Span,
    rule: Rule,
    until: Option<Day>,
}

impl ClockPart {
    /// As it is kept: JSON.
    pub fn kept(&self) -> String {
        let Self { name, span, rule, until, .. } = self;
        let kept = KeptPart { name: name.as_str().to_owned(), span: *span, rule: *rule, until: *until };
        serde_json::to_string(&kept).unwrap_or_default() // numbers and texts only
    }

    /// What [`Self::kept`] wrote.
    pub fn read(link_id: LinkId, kept: &str) -> Option<Self> {
        let KeptPart { name, span, rule, until } = serde_json::from_str(kept).ok()?;
        Some(Self { link_id, name: Name::new(&name)?, span, rule, until })
    }

    /// Its profile in a zone. Where a change of the clock moves the window with which it would begin, it begins with the next
    /// one: a profile cannot say both. None where there is no other.
    pub fn profile_in(&self, zone: &TimeZone) -> Option<TimeProfile> {
        self.on(zone).ok()?.1
    }

    /// Its profile in a zone. Beside it the days on which a change of the clock moves its window, with that: a profile
    /// cannot begin with such a one, since all that follow would be moved, too.
    fn on(&self, zone: &TimeZone) -> Result<Moved, RangeError> {
        let Self { name, span, rule, until, .. } = self;
        let all_day = *span == Span::ALL_DAY;
        let mut moved = Vec::new();
        for first in named_from(rule) {
            let local = around(first, zone)?;
            let clock = (first.0 * DAY + span.start, first.0 * DAY + span.end);
            let (begins, ends) = (local.instant(clock.0), local.instant(clock.1));
            if !all_day && (local.local(begins), local.local(ends)) != clock {
                if begins < ends {
                    moved.push((first, begins, ends));
                }
                continue;
            }
            let until = until.map(|last| Ok(around(last, zone)?.instant(last.0 * DAY + span.start)));
            let until = until.transpose()?;
            let repeat = (rule.last != Some(first)).then(|| Repeat { rule: said(rule), until });
            let to = ends - i64::from(all_day);
            let profile =
                TimeProfile { name: name.clone(), all_day, from: begins, to, repeat, wording: None };
            return Ok((moved, Some(profile)));
        }
        Ok((moved, None))
    }
}

/// Days whose windows are moved, each with that in Unix seconds; and the profile that says all others.
type Moved = (Vec<(Day, i64, i64)>, Option<TimeProfile>);

/// The clock of a zone around a day.
fn around(day: Day, zone: &TimeZone) -> Result<Local, RangeError> {
    Local::new(zone, day.0 * DAY, (day.0 + 1) * DAY)
}

/// Whether a link_id is a part's, or another one that is derived from something.
pub fn is_derived(link_id: LinkId) -> bool {
    link_id.as_bytes()[6] >> 4 == 5
}

/// Whether a profile with this link_id and name is a part of one of these schedules.
pub fn is_part_of(schedules: &[LinkId], link_id: LinkId, name: &str) -> bool {
    is_derived(link_id)
        && name.match_indices(BEFORE_PART).any(|(at, _)| {
            schedules.iter().any(|schedule| derived(*schedule, &name[at + BEFORE_PART.len()..]) == link_id)
        })
}

/// By how many days the day on which the panel's clock shows the beginning of a span is later than the schedule's.
fn days_later(on_panel: Span, shift: i64) -> i64 {
    -(on_panel.start - shift).div_euclid(DAY)
}

/// The first days that a rule names: as many as the clocks can be set forward over.
fn named_from(rule: &Rule) -> impl Iterator<Item = Day> {
    let Rule { first, last, names } = *rule;
    let CivilDate { year, month, day } = first.date();
    let yearly = (0..3).map(move |years| Day(CivilDate { year: year + years, month, day }.days()));
    let weekly = (0..15).map(move |days| Day(first.0 + days));
    let weekly = weekly.filter(move |day| matches!(names, Names::Weekdays(named) if named[day.weekday()]));
    let yearly = yearly.filter(move |_| names == Names::Yearly);
    weekly.chain(yearly).take_while(move |day| last.is_none_or(|last| *day <= last))
}

/// A span in ASCII, as it stands in names on panels.
fn plain(span: Span) -> String {
    span.to_string().replace('–', "-")
}

/// The link_id of a part.
fn derived(schedule: LinkId, part: &str) -> LinkId {
    let namespace = Uuid::from_bytes(*schedule.as_bytes());
    LinkId::from_bytes(Uuid::new_v5(&namespace, part.as_bytes()).into_bytes())
}

/// A rule in a profile's terms.
fn said(rule: &Rule) -> rule::Rule {
    match rule.names {
        Names::Yearly => rule::Rule::Year,
        Names::Weekdays(weekdays) => {
            let named = (0..7_i64).zip(weekdays).filter_map(|(weekday, named)| named.then_some(weekday));
            match (Weekdays::new(named.clone()), Every::new(1)) {
                (Some(on), Some(every)) if (2..7).contains(&named.count()) => {
                    rule::Rule::Custom { every, on: CustomDates::Week(on) }
                }
                _ if weekdays == [true; 7] => rule::Rule::Day,
                _ => rule::Rule::Week, // of its first day
            }
        }
    }
}

/// How a span's days go on: on which weekdays, and on which days of each year.
type GoingOn = ([bool; 7], Vec<MonthDay>);

/// The days of each span of hours, in a panel's local time.
struct Found {
    days: BTreeMap<Span, Vec<Day>>,
    once: Vec<(i64, i64)>,
    /// By how many seconds the panel's clock is ahead of the schedule's, where that is always the same.
    shift: Option<i64>,
    going_on: BTreeMap<Span, GoingOn>,
}

impl Found {
    fn on_the_wall(schedule: &Resolved<'_>, first: Day, last: Day) -> Self {
        let mut days = BTreeMap::<Span, Vec<Day>>::new();
        for (day, spans) in schedule.hours(first, last).iter() {
            for span in spans {
                days.entry(*span).or_default().push(day);
            }
        }
        Self { days, once: Vec::new(), shift: Some(0), going_on: BTreeMap::new() }
    }

    fn in_zone(
        schedule: &Resolved<'_>,
        fixed: &FixedZone,
        zone: &TimeZone,
        first: Day,
        last: Day,
    ) -> Result<Self, RangeError> {
        let (begin, end) = ((first.0 - 2) * DAY, (last.0 + 3) * DAY);
        let (its, panel) = (Local::new(&fixed.rules, begin, end)?, Local::new(zone, begin, end)?);
        let ahead = |day: i64| panel.local(day * DAY) - its.local(day * DAY);
        let shift =
            Some(ahead(first.0)).filter(|shift| (first.0..=last.0 + 1).all(|day| ahead(day) == *shift));
        let mut days = BTreeMap::<Span, Vec<Day>>::new();
        let mut once = Vec::new();
        for (day, spans) in schedule.hours(first, last).iter() {
            for span in spans {
                let begins = its.instant(day.0 * DAY + span.start);
                let ends = its.instant(day.0 * DAY + span.end);
                if ends <= begins {
                    continue; // the clocks are set forward over it
                }
                let (from, to) = (panel.local(begins), panel.local(ends));
                if panel.instant(from) == begins && panel.instant(to) == ends && from < to {
                    let on = Day(from.div_euclid(DAY));
                    let span = Span { start: from - on.0 * DAY, end: to - on.0 * DAY };
                    days.entry(span).or_default().push(on);
                } else {
                    once.push((begins, ends));
                }
            }
        }
        for days in days.values_mut() {
            days.sort_unstable();
            days.dedup();
        }
        Ok(Self { days, once, shift, going_on: BTreeMap::new() })
    }

    /// Notes what of a schedule goes on behind the horizon, on a clock that is so many seconds ahead of it.
    fn go_on(&mut self, schedule: &Schedule, shift: i64) {
        let moved = |span: &Span| {
            let later = (span.start + shift).div_euclid(DAY);
            (Span { start: span.start + shift - later * DAY, end: span.end + shift - later * DAY }, later)
        };
        for (weekday, hours) in (0_i64..).zip(&schedule.hours) {
            for span in hours.spans() {
                let (span, later) = moved(span);
                let (weekdays, _) = self.going_on.entry(span).or_default();
                weekdays[(weekday + later).rem_euclid(7) as usize] = true;
            }
        }
        for (dates, hours) in &schedule.instead {
            let DatesOf::Yearly(from, to) = &dates.of else { continue };
            if from != to || dates.on.is_some() {
                continue;
            }
            for span in hours.spans() {
                if let (span, 0) = moved(span) {
                    self.going_on.entry(span).or_default().1.push(*from);
                }
            }
        }
    }
}
