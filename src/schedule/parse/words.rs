//! The words of a schedule: weekdays, spans of hours, dates.

use super::{Wrong, YEARS};
use crate::profile::recurrence::{CivilDate, days_in_month};
use crate::profile::rule::Weekdays;
use crate::schedule::{DAY, DatesOf, Day, MonthDay, Span};

/// Reads weekdays such as `mon`, `mon-fri`, `sat,sun` or `daily`.
pub fn weekdays(text: &str) -> Option<Weekdays> {
    if matches!(text.trim().to_ascii_lowercase().as_str(), "daily" | "every day") {
        return Weekdays::new(0..7);
    }
    let one = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        let full = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        (0_i64..7).find(|n| full[*n as usize] == text || full[*n as usize][..3] == text)
    };
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once(['-', '–']) {
            None => days.push(one(part)?),
            Some((from, to)) => {
                let (from, to) = (one(from)?, one(to)?);
                // Over the week's end too: fri-mon.
                days.extend((0..=(to - from).rem_euclid(7)).map(|step| (from + step) % 7));
            }
        }
    }
    Weekdays::new(days)
}

/// A span of hours such as `09:00-12:30`, `22:00-06:00` or `all day`.
pub(super) fn span(text: &str) -> Option<Span> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("all day") {
        return Some(Span::ALL_DAY);
    }
    let (start, end) = text.split_once(['-', '–'])?;
    let (start, end) = (time(start)?, time(end)?);
    if start == DAY {
        return None;
    }
    let end = if end <= start { end + DAY } else { end };
    (end - start <= DAY && (end - start < DAY || start == 0)).then_some(Span { start, end })
}

/// `09:00`, `9:00`, `09:00:30`, up to `24:00`, in seconds.
fn time(text: &str) -> Option<i64> {
    let mut parts = text.trim().split(':');
    let mut number = |most: i64, shortest: usize| -> Option<i64> {
        let part = parts.next()?;
        let fits = (shortest..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|number| fits && *number <= most)
    };
    let (hours, minutes) = (number(24, 1)?, number(59, 2)?);
    let seconds = match text.matches(':').count() {
        1 => 0,
        2 => number(59, 2)?,
        _ => return None,
    };
    let time = hours * 3600 + minutes * 60 + seconds;
    (time <= DAY).then_some(time)
}

/// Dates that name no calendar. Without a word where they are none.
pub(super) fn plain_dates(text: &str) -> Result<DatesOf, Option<Wrong>> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (from.trim(), to.trim());
    if let (Some(from), Some(to)) = (month_day(from), month_day(to)) {
        return Ok(DatesOf::Yearly(from, to));
    }
    let (from, to) = (day(from).ok_or(None)?, day(to).ok_or(None)?);
    if ![from, to].iter().all(|day| YEARS.contains(&day.date().year)) {
        return Err(Some(Wrong::Year));
    }
    if to < from {
        return Err(Some(Wrong::Backwards));
    }
    Ok(DatesOf::Days(from, to))
}

fn numbers<const N: usize>(text: &str, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split('-');
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        if part.len() != length || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// A date such as `2026-12-31`.
pub fn day(text: &str) -> Option<Day> {
    let [year, month, day] = numbers(text, [4, 2, 2])?;
    let there = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    there.then(|| Day(CivilDate { year, month, day }.days()))
}

fn month_day(text: &str) -> Option<MonthDay> {
    let [month, day] = numbers(text, [2, 2])?;
    // 2000 was a leap year.
    let there = (1..=12).contains(&month) && (1..=days_in_month(2000, month)).contains(&day);
    there.then_some(MonthDay { month, day })
}

/// Dates as they are read.
pub fn dates_text(dates: &DatesOf) -> String {
    match dates {
        DatesOf::Days(from, to) if from == to => from.to_string(),
        DatesOf::Days(from, to) => format!("{from}..{to}"),
        DatesOf::Yearly(from, to) if from == to => format!("{:02}-{:02}", from.month, from.day),
        DatesOf::Yearly(from, to) => {
            format!("{:02}-{:02}..{:02}-{:02}", from.month, from.day, to.month, to.day)
        }
        DatesOf::Calendar(name) => format!("calendar {name}"),
    }
}
