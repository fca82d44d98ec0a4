//! How the first window repeats. What does not count is not checked, only noted.

use super::problems::{At, Problems};
use crate::profile::error::WireError;
use crate::profile::rule::{
    CustomDates, DayType, DaysOfMonth, Every, Family, Months, NthDay, Repeat, Rule, WEEKDAYS, WeekOrder,
    Weekdays,
};
use crate::profile::wire::Json;

/// `Some(None)` for a profile that does not repeat.
pub(super) fn repeat_options(
    item: &Json<'_>,
    at: &At<'_>,
    family: Family,
    problems: &mut Problems,
) -> Option<Option<Repeat>> {
    let options = problems.object(item, "repeat_options", at)?;
    let at = at.key("repeat_options");
    if !problems.bool(options, "repeat_enable", &at)? {
        problems.does_not_count(options, "repeat_format");
        return Some(None);
    }
    let format = problems.object(options, "repeat_format", &at)?;
    let at = at.key("repeat_format");
    let repeat_type = problems.text(format, "repeat_type", &at);
    let known = repeat_type.is_some_and(|name| {
        let known = matches!(name, "day" | "week" | "twoWeeks" | "month" | "year" | "custom");
        if !known {
            problems.value(&at.key("repeat_type"), WireError::RepeatType);
        }
        known
    });
    let until = repeat_end(format, &at, problems);
    if !known {
        return None;
    }
    let rule = match repeat_type? {
        "day" => Rule::Day,
        "week" => Rule::Week,
        "twoWeeks" => Rule::TwoWeeks,
        "month" => Rule::Month,
        "year" => Rule::Year,
        _ => repeat_custom(format, &at, family, problems)?,
    };
    if !matches!(rule, Rule::Custom { .. }) {
        problems.does_not_count(format, "repeat_custom");
    }
    Some(Some(Repeat { rule, until: until? }))
}

/// `Some(None)` for a repetition without end.
fn repeat_end(format: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Option<i64>> {
    let end = problems.object(format, "repeat_end", at)?;
    let at = at.key("repeat_end");
    match problems.text(end, "format", &at)? {
        "never" => {
            problems.does_not_count(end, "date");
            Some(None)
        }
        "date" => problems.int(end, "date", &at).map(Some),
        _ => {
            problems.value(&at.key("format"), WireError::Format);
            None
        }
    }
}

fn repeat_custom(format: &Json<'_>, at: &At<'_>, family: Family, problems: &mut Problems) -> Option<Rule> {
    let custom = problems.object(format, "repeat_custom", at)?;
    let at = at.key("repeat_custom");
    let point = problems.text(custom, "repeat_point_type", &at);
    if point.is_some_and(|point| !matches!(point, "day" | "week" | "month" | "year")) {
        problems.value(&at.key("repeat_point_type"), WireError::RepeatPointType);
    }
    let every = every(custom, &at, problems);
    let on = match point? {
        "day" => {
            problems.does_not_count(custom, "repeat_options");
            CustomDates::Day
        }
        "week" => week_options(custom, &at, problems)?,
        "month" => month_options(custom, &at, family, problems)?,
        "year" => year_options(custom, &at, family, problems)?,
        _ => return None,
    };
    Some(Rule::Custom { every: every?, on })
}

fn every(custom: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Every> {
    let every = Every::new(problems.int(custom, "repeat_looper", at)?);
    if every.is_none() {
        problems.value(&at.key("repeat_looper"), WireError::RepeatLooper);
    }
    every
}

fn week_options(custom: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<CustomDates> {
    let days = problems.list(custom, "repeat_options", at)?;
    let at = at.key("repeat_options");
    if days.is_empty() {
        problems.value(&at, WireError::NoWeekdays);
    }
    let mut numbers = Vec::with_capacity(days.len());
    for (i, day) in days.iter().enumerate() {
        match day {
            Json::Text(day) => match WEEKDAYS.iter().position(|name| name == day) {
                Some(number) => numbers.push(number as i64),
                None => problems.value(&at.index(i), WireError::RepeatOptions),
            },
            _ => problems.structure(&at.index(i), WireError::WrongType("repeat_options")),
        }
    }
    problems.order(&numbers);
    Weekdays::new(numbers).map(CustomDates::Week)
}

fn month_options(
    custom: &Json<'_>,
    at: &At<'_>,
    family: Family,
    problems: &mut Problems,
) -> Option<CustomDates> {
    let options = problems.object(custom, "repeat_options", at)?;
    let at = at.key("repeat_options");
    problems.does_not_count(options, "months");
    match problems.text(options, "format", &at)? {
        "dayNumbers" => {
            let days = numbers(options, "range", &at, problems)?;
            let at = at.key("range");
            if days.is_empty() {
                problems.value(&at, WireError::NoDayNumbers);
            }
            problems.in_range(&days, 1..=31, &at, WireError::DayOfMonth);
            problems.order(&days);
            DaysOfMonth::new(days).map(CustomDates::MonthDays)
        }
        "parameterizedDay" => {
            let range = problems.object(options, "range", &at)?;
            let at = at.key("range");
            let order = problems.text(range, "week_order", &at);
            let day = problems.text(range, "day_type", &at);
            nth_day(order?, day?, &at, family, problems).map(CustomDates::MonthNth)
        }
        _ => {
            problems.value(&at.key("format"), WireError::Format);
            None
        }
    }
}

fn year_options(
    custom: &Json<'_>,
    at: &At<'_>,
    family: Family,
    problems: &mut Problems,
) -> Option<CustomDates> {
    let options = problems.object(custom, "repeat_options", at)?;
    let at = at.key("repeat_options");
    let numbers = numbers(options, "months", &at, problems)?;
    if numbers.is_empty() {
        problems.value(&at.key("months"), WireError::NoMonths);
    }
    problems.in_range(&numbers, 1..=12, &at.key("months"), WireError::Month);
    problems.order(&numbers);
    problems.does_not_count(options, "format");
    let months = Months::new(numbers);
    let nth = match options.get("range") {
        None | Some(Json::Null) => None,
        Some(range) => {
            let at = at.key("range");
            let (Some(Json::Text(order)), Some(Json::Text(day))) =
                (range.get("week_order"), range.get("day_type"))
            else {
                problems.value(&at, WireError::YearRange);
                return None;
            };
            Some(nth_day(order, day, &at, family, problems)?)
        }
    };
    Some(CustomDates::Year(months?, nth))
}

fn nth_day(order: &str, day: &str, at: &At<'_>, family: Family, problems: &mut Problems) -> Option<NthDay> {
    let order = WeekOrder::parse(order);
    if order.is_none() {
        problems.value(&at.key("week_order"), WireError::RepeatOptions);
    }
    let day = DayType::parse(day, family);
    if day.is_none() {
        problems.value(&at.key("day_type"), WireError::RepeatOptions);
    }
    Some(NthDay { order: order?, day: day? })
}

/// A list of whole numbers; the range is the caller's to check.
fn numbers(of: &Json<'_>, key: &'static str, at: &At<'_>, problems: &mut Problems) -> Option<Vec<i64>> {
    let list = problems.list(of, key, at)?;
    let at = at.key(key);
    let mut numbers = Vec::with_capacity(list.len());
    for (i, value) in list.iter().enumerate() {
        match value {
            Json::Int(number) => numbers.push(*number),
            _ => problems.structure(&at.index(i), WireError::WrongType(key)),
        }
    }
    (numbers.len() == list.len()).then_some(numbers)
}
