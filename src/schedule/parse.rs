//! Reading schedules and calendars, with the place of whatever is wrong.
//!
//! What is read is the JSON of a file or a body, which YAML says too:
//!
//! ```yaml
//! schedules:
//! - link_id: 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a10
//!   name: Office hours
//!   hours: { mon-fri: "09:00-12:30, 13:30-18:00" }
//!   instead: { 12-31: "09:00-12:00" }
//!   except: [ calendar holidays, 2026-08-14..2026-08-18 ]
//!   from: 2026-01-01
//! calendars:
//! - name: holidays
//!   days: [ 01-01, { date: 2026-04-03, title: Good Friday } ]
//! ```

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::days::Resolved;
use super::{
    Calendar, CalendarDays, CalendarName, DAY, Dates, DatesOf, Day, FixedZone, Hours, Schedule, Span,
};
use crate::profile::LinkId;
use crate::profile::rule::{Name, WEEKDAYS};
use crate::profile::wire::step;

pub mod words;
mod wrong;

pub use wrong::{Problem, Wrong};

use words::{dates_text, day, plain_dates, span, weekdays};

/// The most entries of `instead`, of `except`, and of a calendar's days.
pub const MAX_DATES: usize = 1_000;

/// The most spans of a day.
pub const MAX_SPANS: usize = 24;

/// The first and the last year that may be named.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9000;

/// A schedule that the link management server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedSchedule {
    /// Its link_id.
    pub link_id: LinkId,
    /// The schedule.
    pub schedule: Schedule,
}

/// What is wrong with a value is gathered here.
struct Gathered<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Gathered<'_> {
    fn add(&mut self, path: &str, wrong: Wrong) {
        self.problems.push(Problem { path: path.to_owned(), wrong });
    }

    /// The value's object, whose keys are these.
    fn object<'v>(
        &mut self,
        value: &'v Value,
        path: &str,
        what: &'static str,
        keys: &[&str],
        names: &'static str,
    ) -> Option<&'v Map<String, Value>> {
        let Value::Object(object) = value else {
            self.add(path, Wrong::Type(what));
            return None;
        };
        for key in object.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.add(&format!("{path}{}", step(key)), Wrong::Unknown(names));
        }
        Some(object)
    }

    fn list<'v>(&mut self, value: &'v Value, path: &str, what: &'static str) -> &'v [Value] {
        match value {
            Value::Array(list) if list.len() <= MAX_DATES => list,
            Value::Array(_) => {
                self.add(path, Wrong::TooMany);
                &[]
            }
            _ => {
                self.add(path, Wrong::Type(what));
                &[]
            }
        }
    }
}

/// Reads a list of schedules. Those that are well-formed are given with their place in the list; what is wrong is added to
/// `problems`.
pub fn schedules(list: &[Value], path: &str, problems: &mut Vec<Problem>) -> Vec<(usize, LinkedSchedule)> {
    let (mut read, mut seen) = (Vec::new(), HashMap::new());
    for (place, value) in list.iter().enumerate() {
        let path_of = |place: usize| format!("{path}/{place}");
        let Some(linked) = schedule(value, &path_of(place), problems) else { continue };
        if let Some(before) = seen.insert(linked.link_id, place) {
            let wrong = Wrong::Same(format!("{}/link_id", path_of(before)));
            problems.push(Problem { path: format!("{}/link_id", path_of(place)), wrong });
        }
        read.push((place, linked));
    }
    read
}

/// Reads a list of calendars.
pub fn calendars(list: &[Value], path: &str, problems: &mut Vec<Problem>) -> Vec<Calendar> {
    let (mut read, mut seen) = (Vec::<Calendar>::new(), HashMap::new());
    for (place, value) in list.iter().enumerate() {
        let path_of = |place: usize| format!("{path}/{place}");
        let Some(calendar) = calendar(value, &path_of(place), problems) else { continue };
        if let Some(before) = seen.insert(calendar.name.clone(), place) {
            let wrong = Wrong::Same(format!("{}/name", path_of(before)));
            problems.push(Problem { path: format!("{}/name", path_of(place)), wrong });
        }
        read.push(calendar);
    }
    read
}

/// Reads a schedule. `None` where anything is wrong with it.
pub fn schedule(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<LinkedSchedule> {
    let before = problems.len();
    let mut wrong = Gathered { problems };
    let keys = ["link_id", "name", "hours", "instead", "except", "from", "until", "zone"];
    let names = "link_id, name, hours, instead, except, from, until and zone";
    let object = wrong.object(value, path, "an object with link_id, name and hours", &keys, names)?;
    let at = |key: &str| format!("{path}/{key}");
    let link_id = match given(object, "link_id") {
        None => {
            wrong.add(path, Wrong::Missing("link_id"));
            None
        }
        Some(value) => {
            let link_id = value.as_str().and_then(|text| text.parse().ok());
            if link_id.is_none() {
                wrong.add(&at("link_id"), Wrong::LinkId);
            }
            link_id
        }
    };
    let name = name(object, path, &mut wrong);
    let weekdays = given(object, "hours").map(|value| week(value, &at("hours"), &mut wrong));
    let instead = given(object, "instead").map(|value| instead(value, &at("instead"), &mut wrong));
    let except = given(object, "except").map(|value| {
        let list = wrong.list(value, &at("except"), "a list of dates");
        let each = list.iter().enumerate();
        each.filter_map(|(place, value)| {
            let path = format!("{}/{place}", at("except"));
            match value {
                Value::String(text) => dates(text, &path, &mut wrong),
                _ => {
                    wrong.add(&path, Wrong::Type("a date as a text"));
                    None
                }
            }
        })
        .collect::<Vec<_>>()
    });
    let from = given(object, "from").and_then(|value| one_day(value, &at("from"), &mut wrong));
    let until = given(object, "until").and_then(|value| one_day(value, &at("until"), &mut wrong));
    if let (Some(from), Some(until)) = (from, until)
        && until < from
    {
        wrong.add(&at("until"), Wrong::Backwards);
    }
    let zone = given(object, "zone").and_then(|value| zone(value, &at("zone"), &mut wrong));
    let schedule = Schedule {
        name: name?,
        hours: weekdays.unwrap_or_default(),
        instead: instead.unwrap_or_default(),
        except: except.unwrap_or_default(),
        from,
        until,
        zone,
    };
    let link_id = link_id?;
    if problems.len() == before {
        find_overlaps(&schedule, path, problems);
        find_never_opens(&schedule, path, problems);
    }
    (problems.len() == before).then_some(LinkedSchedule { link_id, schedule })
}

/// Reads a calendar. `None` where anything is wrong with it.
pub fn calendar(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<Calendar> {
    let before = problems.len();
    let mut wrong = Gathered { problems };
    let object =
        wrong.object(value, path, "an object with name and days", &["name", "days"], "name and days")?;
    let name = match object.get("name").map(|name| name.as_str().and_then(CalendarName::new)) {
        Some(Some(name)) => Some(name),
        Some(None) => {
            wrong.add(&format!("{path}/name"), Wrong::CalendarName);
            None
        }
        None => {
            wrong.add(path, Wrong::Missing("name"));
            None
        }
    };
    let days = match object.get("days") {
        Some(value) => calendar_days(value, &format!("{path}/days"), &mut wrong),
        None => {
            wrong.add(path, Wrong::Missing("days"));
            Vec::new()
        }
    };
    let calendar = Calendar { name: name?, days };
    (problems.len() == before).then_some(calendar)
}

fn calendar_days(value: &Value, path: &str, wrong: &mut Gathered<'_>) -> Vec<CalendarDays> {
    let list = wrong.list(value, path, "a list of days");
    let mut days = Vec::with_capacity(list.len());
    for (place, value) in list.iter().enumerate() {
        let path = format!("{path}/{place}");
        let (text, title) = match value {
            Value::String(text) => (Some(text.as_str()), None),
            value => {
                let what = "a date, or an object with date and title";
                let Some(object) = wrong.object(value, &path, what, &["date", "title"], "date and title")
                else {
                    continue;
                };
                let title = match object.get("title") {
                    None | Some(Value::Null) => None,
                    Some(title) => {
                        let title = title.as_str().and_then(Name::new);
                        if title.is_none() {
                            wrong.add(&format!("{path}/title"), Wrong::Name);
                        }
                        title
                    }
                };
                (object.get("date").and_then(Value::as_str), title)
            }
        };
        let Some(text) = text else {
            wrong.add(&path, Wrong::Missing("date"));
            continue;
        };
        match plain_dates(text) {
            Ok(dates) => days.push(CalendarDays { dates, title }),
            Err(None) => wrong.add(&path, Wrong::PlainDates(text.to_owned())),
            Err(Some(other)) => wrong.add(&path, other),
        }
    }
    days
}

/// What stands under a key; `null` is nothing.
fn given<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn name(object: &Map<String, Value>, path: &str, wrong: &mut Gathered<'_>) -> Option<Name> {
    let Some(value) = object.get("name") else {
        wrong.add(path, Wrong::Missing("name"));
        return None;
    };
    let name = value.as_str().and_then(Name::new);
    if name.is_none() {
        wrong.add(&format!("{path}/name"), Wrong::Name);
    }
    name
}

/// The hours of weekdays.
fn week(value: &Value, path: &str, wrong: &mut Gathered<'_>) -> [Hours; 7] {
    let mut week: [Option<Hours>; 7] = Default::default();
    let Value::Object(object) = value else {
        wrong.add(path, Wrong::Type("an object of weekdays, such as {\"mon-fri\": \"09:00-18:00\"}"));
        return Default::default();
    };
    for (days, value) in object {
        let path = format!("{path}{}", step(days));
        let hours = hours(value, &path, wrong);
        match weekdays(days) {
            None => wrong.add(&path, Wrong::Weekdays(days.clone())),
            Some(days) => {
                for day in days.iter() {
                    if week[day as usize].replace(hours.clone()).is_some() {
                        wrong.add(&path, Wrong::Twice(WEEKDAYS[day as usize]));
                    }
                }
            }
        }
    }
    week.map(Option::unwrap_or_default)
}

fn instead(value: &Value, path: &str, wrong: &mut Gathered<'_>) -> Vec<(Dates, Hours)> {
    let Value::Object(object) = value else {
        wrong.add(path, Wrong::Type("an object of dates, such as {\"2026-12-31\": \"09:00-12:00\"}"));
        return Vec::new();
    };
    if object.len() > MAX_DATES {
        wrong.add(path, Wrong::TooMany);
        return Vec::new();
    }
    let mut read = Vec::with_capacity(object.len());
    for (text, value) in object {
        let path = format!("{path}{}", step(text));
        let hours = hours(value, &path, wrong);
        if let Some(dates) = dates(text, &path, wrong) {
            read.push((dates, hours));
        }
    }
    read
}

/// The hours of a day: `09:00-12:30, 13:30-18:00`, a list of such, `all day` or `closed`.
fn hours(value: &Value, path: &str, wrong: &mut Gathered<'_>) -> Hours {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split(',').collect(),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).flat_map(|text| text.split(',')).collect()
        }
        _ => {
            wrong.add(path, Wrong::Type("a text such as \"09:00-12:30, 13:30-18:00\""));
            return Hours::default();
        }
    };
    if texts.len() > MAX_SPANS {
        wrong.add(path, Wrong::TooManySpans);
        return Hours::default();
    }
    if let [only] = texts.as_slice()
        && only.trim().eq_ignore_ascii_case("closed")
    {
        return Hours::default();
    }
    let mut spans = Vec::with_capacity(texts.len());
    for text in texts {
        match span(text) {
            Some(span) => spans.push(span),
            None => wrong.add(path, Wrong::Span(text.trim().to_owned())),
        }
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[1].start < pair[0].end {
            wrong.add(path, Wrong::Overlap(pair[0], pair[1]));
        }
    }
    // Spans that touch are one.
    let mut hours: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match hours.last_mut() {
            Some(last) if last.end == span.start && span.end - last.start <= DAY => last.end = span.end,
            _ => hours.push(span),
        }
    }
    Hours(hours)
}

/// Dates as a schedule names them, with weekdays behind them perhaps.
fn dates(text: &str, path: &str, wrong: &mut Gathered<'_>) -> Option<Dates> {
    let (of, on) = match text.split_once(" on ") {
        Some((of, on)) => (of, Some(on)),
        None => (text, None),
    };
    let on = match on.map(|on| weekdays(on).ok_or(on)) {
        None => None,
        Some(Ok(on)) => Some(on),
        Some(Err(on)) => {
            wrong.add(path, Wrong::Weekdays(on.to_owned()));
            return None;
        }
    };
    if let Some(name) = of.trim().strip_prefix("calendar ") {
        let Some(name) = CalendarName::new(name.trim()) else {
            wrong.add(path, Wrong::CalendarName);
            return None;
        };
        return Some(Dates { of: DatesOf::Calendar(name), on });
    }
    match plain_dates(of) {
        Ok(of) => Some(Dates { of, on }),
        Err(other) => {
            wrong.add(path, other.unwrap_or_else(|| Wrong::Dates(text.to_owned())));
            None
        }
    }
}

fn one_day(value: &Value, path: &str, wrong: &mut Gathered<'_>) -> Option<Day> {
    let Some(text) = value.as_str() else {
        wrong.add(path, Wrong::Type("a date such as 2026-12-31"));
        return None;
    };
    match day(text) {
        Some(day) if YEARS.contains(&day.date().year) => Some(day),
        Some(_) => {
            wrong.add(path, Wrong::Year);
            None
        }
        None => {
            wrong.add(path, Wrong::Type("a date such as 2026-12-31"));
            None
        }
    }
}

fn zone(value: &Value, path: &str, wrong: &mut Gathered<'_>) -> Option<FixedZone> {
    let Some(name) = value.as_str() else {
        wrong.add(path, Wrong::Type("a time zone such as Europe/Kyiv"));
        return None;
    };
    match jiff::tz::db().get(name) {
        Ok(rules) => Some(FixedZone { name: name.into(), rules }),
        Err(_) => {
            wrong.add(path, Wrong::Zone(name.chars().take(100).collect()));
            None
        }
    }
}

/// Spans that last into those of the next weekday.
fn find_overlaps(schedule: &Schedule, path: &str, problems: &mut Vec<Problem>) {
    for weekday in 0..7 {
        let next = &schedule.hours[(weekday + 1) % 7];
        if let (Some(last), Some(first)) = (schedule.hours[weekday].spans().last(), next.spans().first())
            && last.end - DAY > first.start
        {
            problems
                .push(Problem { path: format!("{path}/hours"), wrong: Wrong::OverlapNextDay(*last, *first) });
        }
    }
}

/// How much of a range of dates is looked at, in days.
const YEAR: i64 = 366;

/// Eight years have every date, and every weekday of it but of 29 February.
const YEARS_LOOKED_AT: i64 = 8 * 366;

fn find_never_opens(schedule: &Schedule, path: &str, problems: &mut Vec<Problem>) {
    let hours = schedule.hours.iter().chain(schedule.instead.iter().map(|(_, hours)| hours));
    if hours.clone().all(|hours| hours.spans().is_empty()) {
        let wrong = Wrong::NeverOpens("there are no hours");
        return problems.push(Problem { path: format!("{path}/hours"), wrong });
    }
    // What calendars say is not known here, and may change.
    let Ok(alone) = Resolved::new(schedule, []) else { return };
    let days = schedule.instead.iter().filter_map(|(dates, _)| match dates.of {
        DatesOf::Days(from, to) => Some((from, to.min(Day(from.0 + YEAR)))),
        DatesOf::Yearly(..) | DatesOf::Calendar(_) => None,
    });
    // Hours of weekdays and of each year begin again and again, those of a date on that date only.
    let begins = schedule.from.or_else(|| days.clone().map(|(from, _)| from).min()).unwrap_or(Day(20_000));
    let begins = schedule.until.map_or(begins, |until| begins.min(Day(until.0 - YEARS_LOOKED_AT)));
    let opens = |first: Day, last: Day| alone.hours(first, last).iter().any(|(_, spans)| !spans.is_empty());
    let soon = opens(begins, Day(begins.0 + YEARS_LOOKED_AT));
    if !soon && !days.into_iter().any(|(from, to)| opens(from, to)) {
        let why = "none of its hours lies on a day from its first to its last one that is not excepted";
        problems.push(Problem { path: path.to_owned(), wrong: Wrong::NeverOpens(why) });
    }
}

/// A calendar as JSON, as [`calendar`] reads it.
pub fn calendar_json(calendar: &Calendar) -> Value {
    let days = calendar.days.iter().map(|days| match &days.title {
        Some(title) => json!({ "date": dates_text(&days.dates), "title": title.as_str() }),
        None => Value::String(dates_text(&days.dates)),
    });
    json!({ "name": calendar.name.as_str(), "days": days.collect::<Vec<_>>() })
}
