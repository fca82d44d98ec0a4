//! A profile in one plain sentence, such as `Monday to Friday, 09:00–18:00, until 31 Dec 2026`.

use std::fmt::Write;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::TimeProfile;
use super::opens::local;
use super::rule::{CustomDates, DayType, NthDay, Repeat, Rule, WeekOrder};

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// The months' names.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The sentence, with dates and times in this zone. It says what the rules name, also where they never open.
pub fn sentence(profile: &TimeProfile, zone: &TimeZone) -> String {
    let (Some(from), Some(to)) = (local(profile.from, zone), local(profile.to, zone)) else {
        return "Never: a date lies outside the years -9999 to 9999".to_owned();
    };
    let Some(repeat) = &profile.repeat else {
        return once(profile.all_day, from, to);
    };
    let mut text = dates(&repeat.rule, from);
    let _ = write!(text, ", {}", times(profile.all_day, from, to)); // writing to a String cannot fail
    if let Some(until) = repeat.until {
        let end = local(until, zone).map_or_else(|| "the end of time".to_owned(), |end| date(&end));
        let _ = write!(text, ", until {end}");
    }
    let _ = write!(text, "{}", anchor(repeat, from));
    text
}

fn date(at: &DateTime) -> String {
    let month = MONTHS[usize::from(at.month().unsigned_abs()) - 1];
    format!("{} {} {}", at.day(), &month[..3], at.year())
}

fn time(at: &DateTime) -> String {
    if at.second() == 0 {
        format!("{:02}:{:02}", at.hour(), at.minute())
    } else {
        format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
    }
}

fn days_between(from: DateTime, to: DateTime) -> i64 {
    from.date().duration_until(to.date()).as_hours() / 24
}

fn once(all_day: bool, from: DateTime, to: DateTime) -> String {
    match (all_day, from.date() == to.date()) {
        (true, true) => format!("Once, all day on {}", date(&from)),
        (true, false) => format!("Once, all day from {} to {}", date(&from), date(&to)),
        (false, true) => format!("Once on {}, {}–{}", date(&from), time(&from), time(&to)),
        (false, false) => {
            format!("Once, from {} {} to {} {}", date(&from), time(&from), date(&to), time(&to))
        }
    }
}

fn times(all_day: bool, from: DateTime, to: DateTime) -> String {
    let days = days_between(from, to);
    match (all_day, days) {
        (true, 0) => "all day".to_owned(),
        (true, days) => format!("all day for {} days", days + 1),
        (false, 0) => format!("{}–{}", time(&from), time(&to)),
        (false, 1) => format!("{}–{} the next day", time(&from), time(&to)),
        (false, days) => format!("{} to {} {days} days later", time(&from), time(&to)),
    }
}

/// From when an interval counts, where that matters.
fn anchor(repeat: &Repeat, from: DateTime) -> String {
    let every = match &repeat.rule {
        Rule::TwoWeeks => 2,
        Rule::Custom { every, .. } => every.get(),
        Rule::Day | Rule::Week | Rule::Month | Rule::Year => 1,
    };
    if every > 1 { format!(", counted from {}", date(&from)) } else { String::new() }
}

fn dates(rule: &Rule, from: DateTime) -> String {
    let weekday = WEEKDAYS[usize::from(from.weekday().to_monday_zero_offset().unsigned_abs())];
    let month = MONTHS[usize::from(from.month().unsigned_abs()) - 1];
    match rule {
        Rule::Day => "Every day".to_owned(),
        Rule::Week => format!("Every {weekday}"),
        Rule::TwoWeeks => format!("Every second {weekday}"),
        Rule::Month => format!("On day {} of every month{}", from.day(), skipped(from.day().into())),
        Rule::Year => format!("Every year on {} {month}", from.day()),
        Rule::Custom { every, on } => {
            let every = every.get();
            match on {
                CustomDates::Day => every_nth(every, "day"),
                CustomDates::Week(days) => {
                    let days = weekdays(&days.iter().collect::<Vec<_>>());
                    if every == 1 { days } else { format!("{days}, {}", lower(&every_nth(every, "week"))) }
                }
                CustomDates::MonthDays(days) => {
                    let numbers: Vec<_> = days.iter().map(|day| day.to_string()).collect();
                    let plural = if numbers.len() > 1 { "days" } else { "day" };
                    let skipped = skipped(days.iter().max().unwrap_or_default());
                    format!(
                        "On {plural} {} of {}{skipped}",
                        list(&numbers),
                        lower(&every_nth(every, "month"))
                    )
                }
                CustomDates::MonthNth(nth) => {
                    format!("{} of {}", nth_day(*nth), lower(&every_nth(every, "month")))
                }
                CustomDates::Year(months, nth) => {
                    let names: Vec<_> = months
                        .iter()
                        .filter_map(|month| MONTHS.get(month as usize - 1))
                        .map(ToString::to_string)
                        .collect();
                    let years = lower(&every_nth(every, "year"));
                    match nth {
                        Some(nth) => format!("{} of {}, {years}", nth_day(*nth), list(&names)),
                        None => format!("On {} {}, {years}", from.day(), list(&names)),
                    }
                }
            }
        }
    }
}

/// What becomes of months that do not have the day.
fn skipped(day: i64) -> &'static str {
    if day > 28 { " (months without it are skipped)" } else { "" }
}

fn every_nth(every: i64, unit: &str) -> String {
    match every {
        1 => format!("Every {unit}"),
        2 => format!("Every second {unit}"),
        n => format!("Every {n}{} {unit}", suffix(n)),
    }
}

fn suffix(n: i64) -> &'static str {
    match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

fn nth_day(nth: NthDay) -> String {
    let order = match nth.order {
        WeekOrder::Nth(_) => nth.order.as_str(),
        WeekOrder::Last => "last",
    };
    let day = match nth.day {
        DayType::Weekday(day) => WEEKDAYS[usize::from(day % 7)],
        DayType::WorkingDay => "weekday (Monday to Friday)",
        DayType::DayOff => "day of the weekend",
        DayType::AnyDay => "day",
    };
    format!("The {order} {day}")
}

fn weekdays(days: &[i64]) -> String {
    match days {
        [_, _, _, _, _, _, _] => "Every day".to_owned(),
        [_] => format!("Every {}", some_weekdays(days)),
        some => some_weekdays(some),
    }
}

/// Ascending weekdays, 0 for Monday; three or more in a row are said as a range.
pub(crate) fn some_weekdays(days: &[i64]) -> String {
    let mut parts = Vec::new();
    let mut rest = days;
    while let Some(first) = rest.first() {
        let run = rest.iter().zip(*first..).take_while(|(day, expected)| **day == *expected).count();
        let (run, later) = rest.split_at(run);
        let name = |day: &i64| WEEKDAYS[(*day % 7) as usize].to_owned();
        match run {
            [first, .., last] if run.len() > 2 => parts.push(format!("{} to {}", name(first), name(last))),
            few => parts.extend(few.iter().map(name)),
        }
        rest = later;
    }
    list(&parts)
}

/// Some parts as people list them.
pub(crate) fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::parse;
    use crate::profile::rule::Family;

    /// The sentence of a custom rule from Friday 2 January 2026, 09:00–18:00 in Kyiv.
    fn custom(point: &str, looper: u32, options: &str) -> String {
        let body = format!(
            r#"{{"name":"n","time_options":{{"is_all_day":false,"date_from":1767337200,"date_to":1767369600}},
            "repeat_options":{{"repeat_enable":true,"repeat_format":{{"repeat_type":"custom","repeat_end":{{"format":"never"}},
            "repeat_custom":{{"repeat_point_type":"{point}","repeat_looper":{looper},"repeat_options":{options}}}}}}}}}"#
        );
        let profile = parse::profile_body(body.as_bytes(), Family::Android).expect("well-formed");
        sentence(&profile, &TimeZone::get("Europe/Kyiv").expect("a zone"))
    }

    #[test]
    fn custom_rules_read_as_people_say_them() {
        for (point, looper, options, expected) in [
            ("day", 3, "null", "Every 3rd day, 09:00–18:00, counted from 2 Jan 2026"),
            ("week", 1, r#"["MON","TUE","WED","THU","FRI"]"#, "Monday to Friday, 09:00–18:00"),
            ("week", 1, r#"["SUN"]"#, "Every Sunday, 09:00–18:00"),
            (
                "week",
                2,
                r#"["SUN","MON","WED"]"#,
                "Monday, Wednesday and Sunday, every second week, 09:00–18:00, counted from 2 Jan 2026",
            ),
            (
                "month",
                1,
                r#"{"format":"dayNumbers","range":[15,1]}"#,
                "On days 1 and 15 of every month, 09:00–18:00",
            ),
            (
                "month",
                12,
                r#"{"format":"parameterizedDay","range":{"week_order":"last","day_type":"DAY_OFF"}}"#,
                "The last day of the weekend of every 12th month, 09:00–18:00, counted from 2 Jan 2026",
            ),
            ("year", 1, r#"{"months":[3,11]}"#, "On 2 March and November, every year, 09:00–18:00"),
            (
                "year",
                1,
                r#"{"months":[5],"range":{"week_order":"first","day_type":"MON"}}"#,
                "The first Monday of May, every year, 09:00–18:00",
            ),
        ] {
            assert_eq!(custom(point, looper, options), expected);
        }
    }
}
