//! What is legal and surely unintended in a profile.

use jiff::tz::TimeZone;

use super::TimeProfile;
use super::opens::{self, DAY, LAST, local_parts};
use super::recurrence::{CivilDate, Dates, days_in_month};
use super::rule::{CustomDates, DayType, NthDay, Repeat, Rule, WeekOrder};
use super::windows::{Openings, Window};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// For how long changes of the clocks are looked at: they come again each year, on other days.
const AHEAD: i64 = 8 * 366 * DAY;

/// A warning about one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The first window's date is none of the rule's.
    #[error("the first window is not on a day of the rule, so the door does not open then")]
    FirstWindowOffRule,
    /// Only one occurrence is left.
    #[error("the end of the repetition cuts off all but one window")]
    OnlyOneWindow,
    /// Windows run into each other without end.
    #[error("the windows overlap so that the door opens day and night")]
    AlwaysOpen,
    /// Nothing comes any more.
    #[error("it is over: the door does not open again")]
    Over,
    /// The clocks are set forward over a window.
    #[error(
        "on {} {} {} the clocks are set forward over the window, so the door does not open that day",
        .0.day, MONTHS[(.0.month.clamp(1, 12) - 1) as usize], .0.year
    )]
    VanishesWhenClocksChange(CivilDate),
    /// Some months, or years, do not have the day.
    #[error("not every month has such a day; months without it are skipped")]
    SkipsMonths,
    /// The repetition ends later than any calendar here reaches.
    #[error("the end of the repetition (repeat_end.date) lies beyond the year 9999, so it ends nothing")]
    EndBeyondCalendar,
    /// The last occurrence runs over midnight, past the date of the end.
    #[error("the last window runs over midnight, past the last allowed day")]
    PastLastDay,
}

/// What stands out about a profile in a zone, as of `now` (Unix seconds). A profile that never opens has
/// problems, not warnings, and gets none here.
pub fn warnings(profile: &TimeProfile, zone: &TimeZone, now: i64) -> Vec<Warning> {
    if opens::check(profile, zone).is_err() {
        return Vec::new();
    }
    let openings = Openings::new(profile, zone);
    let mut warnings = Vec::new();
    if let Some(repeat) = &profile.repeat {
        warnings.extend(of_repeat(profile, repeat, &openings, zone));
        let begin = now.max(profile.from);
        if let Some(day) = openings.vanishes(begin, begin.saturating_add(AHEAD).min(LAST)) {
            warnings.push(Warning::VanishesWhenClocksChange(day));
        }
        if local_parts(profile.from, zone)
            .is_some_and(|(day, _)| skips(&repeat.rule, CivilDate::from_days(day)))
        {
            warnings.push(Warning::SkipsMonths);
        }
        if repeat.until.is_some_and(|until| until > LAST) {
            warnings.push(Warning::EndBeyondCalendar);
        }
    }
    if !openings.is_open(now) && openings.next_change(now).is_none() && profile.from <= now {
        warnings.push(Warning::Over);
    }
    warnings
}

/// Whether the rule names a day that some of its months do not have.
fn skips(rule: &Rule, start: CivilDate) -> bool {
    let lacks = |month: i64, day: i64| day > days_in_month(NO_LEAP_YEAR, month);
    let fifth = |nth: &NthDay| {
        // The fifth of single weekdays, and of weekends' days in none.
        nth.order == WeekOrder::Nth(5) && matches!(nth.day, DayType::Weekday(_))
    };
    match rule {
        Rule::Day | Rule::Week | Rule::TwoWeeks => false,
        Rule::Month => start.day > 28,
        Rule::Year => lacks(start.month, start.day),
        Rule::Custom { on, .. } => match on {
            CustomDates::Day | CustomDates::Week(_) => false,
            CustomDates::MonthDays(days) => days.iter().any(|day| day > 28),
            CustomDates::MonthNth(nth) | CustomDates::Year(_, Some(nth)) => fifth(nth),
            CustomDates::Year(months, None) => months.iter().any(|month| lacks(month, start.day)),
        },
    }
}

/// One of the years without 29 February.
const NO_LEAP_YEAR: i64 = 2025;

fn of_repeat(
    profile: &TimeProfile,
    repeat: &Repeat,
    openings: &Openings<'_>,
    zone: &TimeZone,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let Some((start, start_time)) = local_parts(profile.from, zone) else { return warnings };
    let dates = Dates::new(&repeat.rule, CivilDate::from_days(start));
    let first = dates.from(start).next();
    if first != Some(start) {
        warnings.push(Warning::FirstWindowOffRule);
    }
    let Some(first) = first else { return warnings };
    if let Some((last_day, last_time)) = repeat.until.and_then(|until| local_parts(until, zone)) {
        let starts = if profile.all_day { 0 } else { start_time };
        // An occurrence on the last day counts only when it starts by then.
        let last_start = if starts <= last_time { last_day } else { last_day - 1 };
        if dates.last_until(last_start) == Some(first) {
            warnings.push(Warning::OnlyOneWindow);
        }
        let runs_on = !profile.all_day
            && local_parts(profile.to, zone).is_some_and(|(end, time)| end > start && time > 0);
        if runs_on && dates.last_until(last_start) == Some(last_day) {
            warnings.push(Warning::PastLastDay);
        }
    }
    // Some years, unless it ends sooner: a rule whose windows touch for so long does so for ever.
    let begin = first.saturating_mul(DAY) + 2 * DAY;
    let end = repeat.until.map_or(begin + 8 * 366 * DAY, |until| until.min(begin + 8 * 366 * DAY));
    if end - begin > 7 * DAY
        && openings.windows(begin, end).is_ok_and(|all| all == [Window { from: begin, to: end }])
    {
        warnings.push(Warning::AlwaysOpen);
    }
    warnings
}
