//! A schedule in plain sentences, such as `Monday to Friday 09:00–12:30 and 13:30–18:00; not on days of the calendar holidays`.

use super::{DatesOf, Day, Hours, MonthDay, Schedule};
use crate::profile::recurrence::CivilDate;
use crate::profile::rule::Weekdays;
use crate::profile::sentence::{MONTHS, list, some_weekdays};

/// How many dates are told one by one.
const TOLD: usize = 4;

/// What it says, in one line.
pub fn sentence(schedule: &Schedule) -> String {
    let mut parts = Vec::new();
    let mut told = [false; 7];
    for weekday in 0..7 {
        let hours = &schedule.hours[weekday];
        if hours.spans().is_empty() || told[weekday] {
            continue;
        }
        let same = (weekday..7).filter(|other| schedule.hours[*other] == *hours);
        let same: Vec<i64> = same.map(|other| other as i64).collect();
        for other in &same {
            told[*other as usize] = true;
        }
        parts.push(format!("{} {}", weekdays(&same), spans(hours)));
    }
    let instead = schedule.instead.iter().map(|(dates, hours)| {
        let days = dates_said(&dates.of, dates.on);
        if hours.spans().is_empty() {
            format!("not {days}")
        } else {
            format!("{days} {} instead", spans(hours))
        }
    });
    parts.extend(some(instead.collect(), "other dates"));
    let except = schedule.except.iter().map(|dates| format!("not {}", dates_said(&dates.of, dates.on)));
    parts.extend(some(except.collect(), "dates not"));
    if let Some(from) = schedule.from {
        parts.push(format!("from {}", date(from)));
    }
    if let Some(until) = schedule.until {
        parts.push(format!("until {}", date(until)));
    }
    if let Some(zone) = &schedule.zone {
        parts.push(format!("by the clock of {}", zone.name));
    }
    parts.join("; ")
}

/// The first ones, and how many there are besides.
fn some(mut said: Vec<String>, more: &str) -> Vec<String> {
    let beyond = said.len().saturating_sub(TOLD);
    said.truncate(TOLD);
    if beyond > 0 {
        said.push(format!("and {beyond} more {more}"));
    }
    said
}

/// Weekdays as people say them, ascending, such as `Monday to Friday`.
pub(crate) fn weekdays(days: &[i64]) -> String {
    if days.len() == 7 { "every day".to_owned() } else { some_weekdays(days) }
}

/// Hours as people say them, such as `09:00–12:30 and 13:30–18:00`.
pub fn spans(hours: &Hours) -> String {
    list(&hours.spans().iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// A date such as `31 Dec 2026`.
pub(crate) fn date(day: Day) -> String {
    let CivilDate { year, month, day } = day.date();
    format!("{day} {} {year}", &MONTHS[month as usize - 1][..3])
}

fn yearly(at: MonthDay) -> String {
    format!("{} {}", at.day, &MONTHS[at.month as usize - 1][..3])
}

fn dates_said(dates: &DatesOf, on: Option<Weekdays>) -> String {
    let said = match dates {
        DatesOf::Days(from, to) if from == to => format!("on {}", date(*from)),
        DatesOf::Days(from, to) => format!("from {} to {}", date(*from), date(*to)),
        DatesOf::Yearly(from, to) if from == to => format!("on {} of every year", yearly(*from)),
        DatesOf::Yearly(from, to) => format!("from {} to {} of every year", yearly(*from), yearly(*to)),
        DatesOf::Calendar(name) => format!("on days of the calendar {name}"),
    };
    match on {
        None => said,
        Some(on) => {
            let days: Vec<_> = on.iter().collect();
            format!("{said} where that is a {}", weekdays(&days))
        }
    }
}
