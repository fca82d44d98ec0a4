//! Calendars of holidays from `.ics` files (RFC 5545), as public offices and calendar programs write them.
//!
//! What counts are events of whole days. Of their rules those of each year are understood, which is what holidays have: on a
//! date, or on the n-th weekday of a month. What is not understood is refused with its line, since a holiday that is left out
//! is a door that opens. Events with a time of day are no holidays: they are left out and counted.
//!
//! The lines are read here: the crates at hand do not say in which line something stands, and expand rules with a bug of
//! their own ([`crate::profile::recurrence`]).

use std::collections::BTreeSet;

use super::{Calendar, CalendarDays, CalendarName, DatesOf, Day, MonthDay};
use crate::profile::recurrence::{CivilDate, Dates};
use crate::profile::rule::{CustomDates, DayType, Every, Months, Name, NthDay, Rule, WEEKDAYS, WeekOrder};

use super::parse::MAX_DATES;

/// A rule that names other dates each year is written out for so many years.
const YEARS: i64 = 12;

/// The most events of a file.
const MAX_EVENTS: usize = 5_000;

/// What a file says.
#[derive(Debug)]
pub struct Imported {
    /// The calendar.
    pub calendar: Calendar,
    /// How many events have a time of day, and were left out.
    pub with_time: usize,
}

/// Something wrong, in this line of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct ImportError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub wrong: NotRead,
}

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// Something else.
    #[error("this is no iCalendar file: it does not begin with BEGIN:VCALENDAR")]
    NotACalendar,
    /// It ends too early.
    #[error("the file ends before END:VCALENDAR; it was cut off")]
    CutOff,
    /// No date.
    #[error("{0:?} is no date such as 20261231")]
    NoDate(String),
    /// An event without its day.
    #[error("this event has no DTSTART")]
    NoStart,
    /// A rule that is not understood.
    #[error(
        "the rule {0:?} is not understood here: of rules, those of each year on a date or on the n-th weekday of a month are. Write the dates of this event out, or leave it out of the file"
    )]
    Rule(String),
    /// Too much.
    #[error("the file has more than {0} of what is read at once")]
    TooMany(usize),
    /// Nothing.
    #[error("there is no event of a whole day in the file")]
    Nothing,
}

/// One event as far as it is read.
#[derive(Default)]
struct Event {
    line: usize,
    start: Option<Day>,
    end: Option<Day>,
    /// Days by DURATION.
    length: Option<i64>,
    rule: Option<(String, usize)>,
    more: Vec<Day>,
    without: BTreeSet<Day>,
    title: Option<Name>,
    /// This one occurrence of another event is put elsewhere.
    instead_of: Option<Day>,
    uid: String,
    has_time: bool,
    cancelled: bool,
}

/// Reads a file's days as a calendar of this name. Rules are written out from the year of `today` on.
pub fn import(name: CalendarName, text: &str, today: Day) -> Result<Imported, ImportError> {
    let mut events = read_events(text)?;
    let with_time = events.iter().filter(|event| event.has_time).count();
    events.retain(|event| !event.has_time);
    // An occurrence that is put elsewhere is not where its rule has it.
    let moved: Vec<(String, Day)> =
        events.iter().filter_map(|event| Some((event.uid.clone(), event.instead_of?))).collect();
    let mut days = Vec::new();
    for mut event in events {
        if event.instead_of.is_none() {
            let its = moved.iter().filter(|(uid, _)| *uid == event.uid).map(|(_, day)| *day);
            event.without.extend(its);
        }
        if !event.cancelled {
            add_days(&event, today, &mut days)?;
        }
        if days.len() > MAX_DATES {
            return Err(ImportError { line: event.line, wrong: NotRead::TooMany(MAX_DATES) });
        }
    }
    if days.is_empty() {
        return Err(ImportError { line: text.lines().count().max(1), wrong: NotRead::Nothing });
    }
    Ok(Imported { calendar: Calendar { name, days }, with_time })
}

/// Lines as they were before they were folded, each with the number of its first one.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ => lines.push((number + 1, line.to_owned())),
        }
    }
    lines
}

fn read_events(text: &str) -> Result<Vec<Event>, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = unfolded(text);
    let begins = lines.iter().find(|(_, line)| !line.trim().is_empty());
    if begins.is_none_or(|(_, line)| !line.trim().eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        return Err(ImportError {
            line: begins.map_or(1, |(number, _)| *number),
            wrong: NotRead::NotACalendar,
        });
    }
    let mut events = Vec::new();
    let mut event: Option<Event> = None;
    // What stands within an event, such as its alarm, has dates of its own.
    let mut within = 0_usize;
    let mut whole = false;
    for (number, line) in &lines {
        let Some((property, value)) = split(line) else { continue };
        let wrong = |wrong| ImportError { line: *number, wrong };
        let mut parameters = property.split(';');
        let name = parameters.next().unwrap_or_default().to_ascii_uppercase();
        match (name.as_str(), &mut event) {
            ("BEGIN", None) if value.eq_ignore_ascii_case("VEVENT") => {
                event = Some(Event { line: *number, ..Event::default() });
                within = 0;
            }
            ("BEGIN", Some(_)) => within += 1,
            ("END", Some(_)) if within > 0 => within -= 1,
            ("END", Some(_)) if value.eq_ignore_ascii_case("VEVENT") => {
                events.extend(event.take());
                if events.len() > MAX_EVENTS {
                    return Err(wrong(NotRead::TooMany(MAX_EVENTS)));
                }
            }
            ("END", None) if value.eq_ignore_ascii_case("VCALENDAR") => whole = true,
            (name, Some(event)) if within == 0 => {
                read_property(event, name, value, *number).map_err(wrong)?;
            }
            _ => {}
        }
    }
    match event {
        Some(event) => Err(ImportError { line: event.line, wrong: NotRead::CutOff }),
        None if whole => Ok(events),
        None => Err(ImportError { line: lines.len(), wrong: NotRead::CutOff }),
    }
}

/// A line's name with its parameters, and its value. A colon within quotes belongs to a parameter.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = line.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == ':' && !quoted).then_some(at)
    })?;
    Some((&line[..at], line[at + 1..].trim()))
}

fn read_property(event: &mut Event, name: &str, value: &str, line: usize) -> Result<(), NotRead> {
    let list = |value: &str| {
        value.split(',').map(|text| date(text.get(..8).unwrap_or(text))).collect::<Result<Vec<_>, _>>()
    };
    let has_time = value.contains('T');
    match name {
        "DTSTART" if has_time => event.has_time = true,
        "DTSTART" => event.start = Some(date(value)?),
        "DTEND" if !has_time => event.end = Some(date(value)?),
        "DURATION" if !event.has_time => {
            let days = value.strip_prefix('P').and_then(|rest| match rest.strip_suffix('W') {
                Some(weeks) => weeks.parse::<i64>().ok().map(|weeks| weeks * 7),
                None => rest.strip_suffix('D').and_then(|days| days.parse().ok()),
            });
            event.length = days.filter(|days| (1..=3_660).contains(days));
        }
        "RRULE" if event.rule.is_some() => return Err(NotRead::Rule(value.chars().take(200).collect())),
        "RRULE" => event.rule = Some((value.to_owned(), line)),
        "RDATE" if !has_time => event.more.extend(list(value)?),
        "EXDATE" => event.without.extend(list(value)?),
        "RECURRENCE-ID" if !has_time => event.instead_of = Some(date(value)?),
        "SUMMARY" => event.title = Name::new(&title(value)),
        "UID" => value.clone_into(&mut event.uid),
        "STATUS" => event.cancelled = value.eq_ignore_ascii_case("CANCELLED"),
        _ => {}
    }
    Ok(())
}

fn date(text: &str) -> Result<Day, NotRead> {
    let text = text.trim();
    let none = || NotRead::NoDate(text.chars().take(40).collect());
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(none());
    }
    let dashed = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]);
    super::parse::words::day(&dashed).ok_or_else(none)
}

/// A text without its escapes, cut to a name's length.
fn title(value: &str) -> String {
    let mut text = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => text.push(' '),
                Some(other) => text.push(other),
                None => {}
            },
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text.trim().chars().take(Name::MAX_CHARS).collect()
}

fn add_days(event: &Event, today: Day, days: &mut Vec<CalendarDays>) -> Result<(), ImportError> {
    let here = |wrong| ImportError { line: event.line, wrong };
    let start = event.start.ok_or_else(|| here(NotRead::NoStart))?;
    // The end is the day behind the last one.
    let length = event.end.map(|end| end.0 - start.0).or(event.length).unwrap_or(1).max(1);
    let mut add = |dates| days.push(CalendarDays { dates, title: event.title.clone() });
    let several = |first: Day| DatesOf::Days(first, Day(first.0 + length - 1));
    let mut begins = Vec::new();
    match &event.rule {
        None => begins.push(start),
        Some((rule, line)) => {
            let not_understood =
                || ImportError { line: *line, wrong: NotRead::Rule(rule.chars().take(200).collect()) };
            let rule = yearly(rule, start).ok_or_else(not_understood)?;
            // What is the same each year and has no end is kept as such.
            if rule.rule == Rule::Year
                && rule.until.is_none()
                && rule.count.is_none()
                && length == 1
                && event.without.is_empty()
                && start.date().year <= today.date().year
            {
                let CivilDate { month, day, .. } = start.date();
                let date = MonthDay { month, day };
                add(DatesOf::Yearly(date, date));
            } else {
                let from = CivilDate { year: today.date().year - 1, month: 1, day: 1 }.days();
                let to = CivilDate { year: today.date().year + YEARS, month: 12, day: 31 }.days();
                let dates = Dates::new(&rule.rule, start.date());
                let until = rule.until.map_or(to, |until| until.0.min(to));
                let all = dates.from(start.0).take(rule.count.unwrap_or(usize::MAX));
                begins.extend(all.take_while(|day| *day <= until).filter(|day| *day >= from).map(Day));
            }
        }
    }
    begins.extend(&event.more);
    begins.sort_unstable();
    begins.dedup();
    for first in begins.into_iter().filter(|day| !event.without.contains(day)) {
        add(several(first));
    }
    Ok(())
}

/// A rule of each year.
struct Yearly {
    rule: Rule,
    until: Option<Day>,
    count: Option<usize>,
}

fn yearly(text: &str, start: Day) -> Option<Yearly> {
    let (mut every, mut until, mut count) = (1, None, None);
    let (mut month, mut of_month, mut weekday) = (None, None, None);
    let mut is_yearly = false;
    for part in text.split(';') {
        let (key, value) = part.split_once('=')?;
        match key.to_ascii_uppercase().as_str() {
            "FREQ" => is_yearly = value.eq_ignore_ascii_case("YEARLY"),
            "INTERVAL" => every = value.parse().ok()?,
            "UNTIL" => until = Some(date(value.get(..8)?).ok()?),
            "COUNT" => count = Some(value.parse().ok()?),
            "BYMONTH" => month = Some(value.parse::<i64>().ok()?),
            "BYMONTHDAY" => of_month = Some(value.parse::<i64>().ok()?),
            "BYDAY" => weekday = Some(nth(value)?),
            "WKST" => {}
            _ => return None,
        }
    }
    let date = start.date();
    let every = Every::new(every)?;
    let months = Months::new([month.unwrap_or(date.month)])?;
    // A rule that says another date than the event itself begins on is one that programs read differently.
    let on_date = month.is_none_or(|month| month == date.month) && of_month.is_none_or(|day| day == date.day);
    let rule = match weekday {
        _ if !is_yearly || (month.is_none() && weekday.is_some()) => return None,
        Some(nth) if of_month.is_none() => Rule::Custom { every, on: CustomDates::Year(months, Some(nth)) },
        None if on_date && every.get() == 1 => Rule::Year,
        None if on_date => Rule::Custom { every, on: CustomDates::Year(months, None) },
        _ => return None,
    };
    Some(Yearly { rule, until, count })
}

/// The n-th weekday of a month, such as `4TH` or `-1MO`.
fn nth(text: &str) -> Option<NthDay> {
    let split = text.len().checked_sub(2)?;
    let (number, day) = (text.get(..split)?, text.get(split..)?);
    let weekday = WEEKDAYS.iter().position(|name| name[..2].eq_ignore_ascii_case(day))?;
    let order = match number.parse::<i8>().ok()? {
        -1 => WeekOrder::Last,
        n @ 1..=5 => WeekOrder::Nth(n as u8),
        _ => return None,
    };
    Some(NthDay { order, day: DayType::Weekday(weekday as u8) })
}
