//! Profiles as an iCalendar file (RFC 5545): rules, not a list of expanded events.
//!
//! A profile becomes one VEVENT with an RRULE; a yearly n-th day in several months becomes one per month, since
//! a BYSETPOS under FREQ=YEARLY would count over the whole year. DTSTART is the first date that fits the rule,
//! since a calendar counts DTSTART itself as an occurrence. Times stand in the panel's zone with its VTIMEZONE;
//! whole days are dates.
//!
//! What the format cannot say: it has no local end for repeated events, so on a day of daylight-saving change
//! some programs keep the duration instead of the local time of the end.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::opens::{self, DAY, LAST, local_parts};
use super::recurrence::{CivilDate, Dates};
use super::rule::{CustomDates, DayType, Every, Months, NthDay, Rule, WeekOrder};
use super::sentence::sentence;
use super::{LinkId, TimeProfile};

/// A profile for a calendar, under a name that is unique in it.
pub struct Entry<'p> {
    /// The profile's link_id, or another unique name.
    pub uid: String,
    /// The profile.
    pub profile: &'p TimeProfile,
}

impl<'p> Entry<'p> {
    /// Of a profile that is known by link_id.
    pub fn linked(link_id: LinkId, profile: &'p TimeProfile) -> Self {
        Self { uid: link_id.to_string(), profile }
    }
}

/// The calendar's text. Profiles that never open have no event, nor has one outside of the years 1 to 9999. `stamp` (Unix seconds) is when it was made.
pub fn calendar(name: &str, zone_name: &str, zone: &TimeZone, stamp: i64, entries: &[Entry<'_>]) -> String {
    let mut out = Lines::default();
    out.line("BEGIN:VCALENDAR");
    out.line("VERSION:2.0");
    out.line(concat!("PRODID:-//panelsync//panelsync ", env!("CARGO_PKG_VERSION"), "//EN"));
    out.line("CALSCALE:GREGORIAN");
    out.line(&format!("X-WR-CALNAME:{}", escape(name)));
    out.line(&format!("X-WR-TIMEZONE:{zone_name}"));
    let events: Vec<_> =
        entries.iter().flat_map(|entry| events(entry, zone)).filter(Event::can_be_written).collect();
    if let Some(first) = events.iter().filter(|event| !event.all_day).map(|event| event.start).min() {
        time_zone(&mut out, zone_name, zone, first);
    }
    for event in &events {
        event.write(&mut out, zone_name, stamp);
    }
    out.line("END:VCALENDAR");
    out.text
}

/// One VEVENT; local times are seconds since the local 1970-01-01.
struct Event {
    uid: String,
    summary: String,
    description: String,
    all_day: bool,
    start: i64,
    end: i64,
    rule: Option<String>,
}

fn events(entry: &Entry<'_>, zone: &TimeZone) -> Vec<Event> {
    let profile = entry.profile;
    if opens::check(profile, zone).is_err() {
        return Vec::new();
    }
    let (Some(from), Some(to)) = (local(profile.from, zone), local(profile.to, zone)) else {
        return Vec::new();
    };
    let (start, end) = if profile.all_day {
        (from.div_euclid(DAY) * DAY, (to.div_euclid(DAY) + 1) * DAY)
    } else {
        (from, to)
    };
    let event = |uid: String, start, end, rule| Event {
        uid,
        summary: profile.name.as_str().to_owned(),
        description: sentence(profile, zone),
        all_day: profile.all_day,
        start,
        end,
        rule,
    };
    let Some(repeat) = &profile.repeat else {
        return vec![event(entry.uid.clone(), start, end, None)];
    };
    let first_day = start.div_euclid(DAY);
    let rules = one_rule_each(&repeat.rule);
    let several = rules.len() > 1;
    let until = repeat.until.and_then(|until| until_text(until, profile.all_day, zone));
    rules
        .into_iter()
        .filter_map(|(part, rule)| {
            let day = Dates::new(&rule, CivilDate::from_days(first_day)).from(first_day).next()?;
            let shift = (day - first_day) * DAY;
            let ends_before = repeat.until.is_some_and(|until| opens::instant(start + shift, zone) > until);
            if ends_before {
                return None;
            }
            let mut text = rule_text(&rule, CivilDate::from_days(first_day));
            if let Some(until) = &until {
                let _ = write!(text, ";UNTIL={until}"); // writing to a String cannot fail
            }
            let uid = if several { format!("{}-{part}", entry.uid) } else { entry.uid.clone() };
            Some(event(uid, start + shift, end + shift, Some(text)))
        })
        .collect()
}

/// The rule, or one for each month where one RRULE cannot say it.
fn one_rule_each(rule: &Rule) -> Vec<(i64, Rule)> {
    match rule {
        Rule::Custom { every, on: CustomDates::Year(months, Some(nth)) } => months
            .iter()
            .filter_map(|month| {
                let on = CustomDates::Year(Months::new([month])?, Some(*nth));
                Some((month, Rule::Custom { every: *every, on }))
            })
            .collect(),
        rule => vec![(0, rule.clone())],
    }
}

/// Up to which an occurrence may start: an instant, or for whole days the last date; at most the year 9999, beyond which
/// the format has no dates.
fn until_text(until: i64, all_day: bool, zone: &TimeZone) -> Option<String> {
    let until = until.min(LAST);
    if all_day {
        return local(until, zone).map(|until| date_text(until.min(LAST)));
    }
    Some(format!("{}Z", local_text(until)))
}

fn rule_text(rule: &Rule, start: CivilDate) -> String {
    let interval = |every: &Every| match every.get() {
        1 => String::new(),
        n => format!(";INTERVAL={n}"),
    };
    let weekday = DAYS[(start.weekday() % 7) as usize];
    match rule {
        Rule::Day => "FREQ=DAILY".to_owned(),
        Rule::Week => format!("FREQ=WEEKLY;BYDAY={weekday}"),
        Rule::TwoWeeks => format!("FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY={weekday}"),
        Rule::Month => format!("FREQ=MONTHLY;BYMONTHDAY={}", start.day),
        Rule::Year => format!("FREQ=YEARLY;BYMONTH={};BYMONTHDAY={}", start.month, start.day),
        Rule::Custom { every, on } => {
            let interval = interval(every);
            match on {
                CustomDates::Day => format!("FREQ=DAILY{interval}"),
                CustomDates::Week(days) => {
                    let days = join(days.iter().map(|day| DAYS[(day % 7) as usize].to_owned()));
                    format!("FREQ=WEEKLY{interval};WKST=MO;BYDAY={days}")
                }
                CustomDates::MonthDays(days) => {
                    let days = join(days.iter().map(|day| day.to_string()));
                    format!("FREQ=MONTHLY{interval};BYMONTHDAY={days}")
                }
                CustomDates::MonthNth(nth) => format!("FREQ=MONTHLY{interval};{}", nth_text(*nth)),
                CustomDates::Year(months, nth) => {
                    let months = join(months.iter().map(|month| month.to_string()));
                    let days = nth.map_or_else(|| format!("BYMONTHDAY={}", start.day), nth_text);
                    format!("FREQ=YEARLY{interval};BYMONTH={months};{days}")
                }
            }
        }
    }
}

const DAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

fn nth_text(nth: NthDay) -> String {
    let n = match nth.order {
        WeekOrder::Nth(n) => i64::from(n),
        WeekOrder::Last => -1,
    };
    match nth.day {
        DayType::Weekday(day) => format!("BYDAY={n}{}", DAYS[usize::from(day % 7)]),
        DayType::WorkingDay => format!("BYDAY=MO,TU,WE,TH,FR;BYSETPOS={n}"),
        DayType::DayOff => format!("BYDAY=SA,SU;BYSETPOS={n}"),
        DayType::AnyDay => format!("BYMONTHDAY={n}"),
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

impl Event {
    /// Whether it begins on a date that has the four digits that the format has for a year. One that ends later ends with
    /// the calendar.
    fn can_be_written(&self) -> bool {
        let year = |local: i64| CivilDate::from_days(local.div_euclid(DAY)).year;
        (1..=9999).contains(&year(self.start)) && year(self.end) >= 1
    }

    fn write(&self, out: &mut Lines, zone_name: &str, stamp: i64) {
        out.line("BEGIN:VEVENT");
        out.line(&format!("UID:{}", escape(&self.uid)));
        out.line(&format!("DTSTAMP:{}Z", local_text(stamp)));
        if self.all_day {
            out.line(&format!("DTSTART;VALUE=DATE:{}", date_text(self.start)));
            // Without an end it is the one day.
            if self.end.min(LAST).div_euclid(DAY) > self.start.div_euclid(DAY) {
                out.line(&format!("DTEND;VALUE=DATE:{}", date_text(self.end.min(LAST))));
            }
        } else {
            out.line(&format!("DTSTART;TZID={zone_name}:{}", local_text(self.start)));
            out.line(&format!("DTEND;TZID={zone_name}:{}", local_text(self.end.min(LAST))));
        }
        if let Some(rule) = &self.rule {
            out.line(&format!("RRULE:{rule}"));
        }
        out.line(&format!("SUMMARY:{}", escape(&self.summary)));
        out.line(&format!("DESCRIPTION:{}", escape(&self.description)));
        out.line("TRANSP:TRANSPARENT");
        out.line("END:VEVENT");
    }
}

/// A change of a zone's offset, with the local time before it.
#[derive(Clone)]
struct Change {
    at: i64,
    before: i64,
    after: i64,
    name: String,
    dst: bool,
}

impl Change {
    fn local(&self) -> i64 {
        self.at + self.before
    }

    fn date(&self) -> CivilDate {
        CivilDate::from_days(self.local().div_euclid(DAY))
    }

    /// What repeats of it, each year: all but the date.
    fn kind(&self) -> (i64, i64, i64, bool, i64) {
        (self.date().month, self.local().rem_euclid(DAY), self.after, self.dst, self.before)
    }
}

/// The years that show how a zone's changes repeat: one cycle of weekdays and leap years, without 2100.
const PATTERN: std::ops::RangeInclusive<i64> = 2101..=2128;

/// A VTIMEZONE that is right from the local time `first` on: the changes one by one, and from where they follow
/// a yearly rule, the rule.
fn time_zone(out: &mut Lines, name: &str, zone: &TimeZone, first: i64) {
    // From the pattern's years on, its rules are the same for ever.
    let pattern = CivilDate { year: *PATTERN.start(), month: 1, day: 1 }.days() * DAY;
    let begin = first.min(pattern) - 400 * DAY;
    let changes = changes(zone, begin);
    let pattern = yearly(&changes);
    let rules_from = pattern.as_ref().map_or(i64::MAX, |rules| first_regular_year(&changes, rules));
    out.line("BEGIN:VTIMEZONE");
    out.line(&format!("TZID:{name}"));
    // What holds before the first change.
    let info = Timestamp::from_second(begin).map(|at| {
        let info = zone.to_offset_info(at);
        (i64::from(info.offset().seconds()), info.abbreviation().to_owned(), info.dst().is_dst())
    });
    if let Ok((offset, name, dst)) = info {
        let initial = Change { at: begin - offset, before: offset, after: offset, name, dst };
        observance(out, &initial, None);
    }
    for change in changes.iter().filter(|change| change.date().year < rules_from.min(*PATTERN.start())) {
        observance(out, change, None);
    }
    for (rule, text) in pattern.iter().flatten() {
        let start =
            changes.iter().find(|change| change.date().year >= rules_from && change.kind() == rule.kind());
        if let Some(start) = start {
            observance(out, start, Some(text));
        }
    }
    out.line("END:VTIMEZONE");
}

fn changes(zone: &TimeZone, begin: i64) -> Vec<Change> {
    let Ok(start) = Timestamp::from_second(begin) else { return Vec::new() };
    let mut before = i64::from(zone.to_offset(start).seconds());
    let mut changes = Vec::new();
    for next in zone.following(start) {
        let change = Change {
            at: next.timestamp().as_second(),
            before,
            after: i64::from(next.offset().seconds()),
            name: next.abbreviation().to_owned(),
            dst: next.dst().is_dst(),
        };
        if change.date().year > *PATTERN.end() {
            break;
        }
        before = change.after;
        changes.push(change);
    }
    changes
}

/// The yearly rules of the far future, each with its RRULE; nothing where there are none that fit.
fn yearly(changes: &[Change]) -> Option<Vec<(Change, String)>> {
    let far: Vec<_> = changes.iter().filter(|change| PATTERN.contains(&change.date().year)).collect();
    let mut rules: Vec<(Change, String)> = Vec::new();
    for change in &far {
        if rules.iter().any(|(rule, _)| rule.kind() == change.kind()) {
            continue;
        }
        let same: Vec<_> =
            far.iter().filter(|other| other.kind() == change.kind()).map(|other| other.date()).collect();
        let weekday = change.date().weekday();
        let (low, high) = (same.iter().map(|date| date.day).min()?, same.iter().map(|date| date.day).max()?);
        let one_weekday = same.iter().all(|date| date.weekday() == weekday) && high - low == 6;
        if same.len() != PATTERN.count() || !one_weekday {
            return None;
        }
        let month = change.date().month;
        let length = super::recurrence::days_in_month(2101, month);
        let day = DAYS[(weekday % 7) as usize];
        let text = match (low % 7, high) {
            (1, _) => format!("FREQ=YEARLY;BYMONTH={month};BYDAY={}{day}", low / 7 + 1),
            (_, high) if high == length => format!("FREQ=YEARLY;BYMONTH={month};BYDAY=-1{day}"),
            _ => {
                let days = join((low..=high).map(|day| day.to_string()));
                format!("FREQ=YEARLY;BYMONTH={month};BYMONTHDAY={days};BYDAY={day}")
            }
        };
        rules.push(((*change).clone(), text));
    }
    Some(rules)
}

/// The first year from which on every year has exactly the yearly changes, on their days.
fn first_regular_year(changes: &[Change], rules: &[(Change, String)]) -> i64 {
    let regular = |year: i64| {
        let of_year: Vec<_> = changes.iter().filter(|change| change.date().year == year).collect();
        // The same weekdays and leap years come again after 28 years between 1901 and 2099.
        let mut years = PATTERN;
        let like = years.find(|y| {
            let first = |year| CivilDate { year, month: 1, day: 1 }.weekday();
            let last = |year| CivilDate { year, month: 12, day: 31 }.weekday();
            first(*y) == first(year) && last(*y) == last(year)
        });
        let Some(like) = like else { return false };
        let model: Vec<_> = changes.iter().filter(|change| change.date().year == like).collect();
        of_year.len() == rules.len()
            && of_year.iter().zip(&model).all(|(a, b)| a.kind() == b.kind() && a.date().day == b.date().day)
    };
    let first = changes.first().map_or(*PATTERN.start(), |change| change.date().year + 1);
    let irregular = (first..*PATTERN.start()).rev().find(|year| !regular(*year));
    irregular.map_or(first, |year| year + 1)
}

fn observance(out: &mut Lines, change: &Change, rule: Option<&str>) {
    let kind = if change.dst { "DAYLIGHT" } else { "STANDARD" };
    out.line(&format!("BEGIN:{kind}"));
    out.line(&format!("DTSTART:{}", local_text(change.local())));
    out.line(&format!("TZOFFSETFROM:{}", offset_text(change.before)));
    out.line(&format!("TZOFFSETTO:{}", offset_text(change.after)));
    out.line(&format!("TZNAME:{}", escape(&change.name)));
    if let Some(rule) = rule {
        out.line(&format!("RRULE:{rule}"));
    }
    out.line(&format!("END:{kind}"));
}

fn offset_text(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    let text = format!("{sign}{:02}{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 == 0 { text } else { format!("{text}{:02}", seconds % 60) }
}

/// An instant's local time, in seconds since the local 1970-01-01.
fn local(unix: i64, zone: &TimeZone) -> Option<i64> {
    local_parts(unix, zone).map(|(day, seconds)| day * DAY + seconds)
}

fn date_text(local: i64) -> String {
    let CivilDate { year, month, day } = CivilDate::from_days(local.div_euclid(DAY));
    format!("{year:04}{month:02}{day:02}")
}

fn local_text(local: i64) -> String {
    let second = local.rem_euclid(DAY);
    format!("{}T{:02}{:02}{:02}", date_text(local), second / 3600, second / 60 % 60, second % 60)
}

/// A TEXT value (RFC 5545, 3.3.11). Control characters cannot stand in one.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Content lines, folded at 75 octets (RFC 5545, 3.1).
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn line(&mut self, line: &str) {
        let mut room = 75;
        for c in line.chars() {
            if c.len_utf8() > room {
                self.text.push_str("\r\n ");
                room = 74;
            }
            room -= c.len_utf8();
            self.text.push(c);
        }
        self.text.push_str("\r\n");
    }
}
