//! A profile as it is written.

use std::borrow::Cow;

use serde::Serialize;

use crate::profile::TimeProfile;
use crate::profile::rule::{CustomDates, Repeat, Rule, WEEKDAYS};

/// The profile as compact JSON, in the panel API's field order and without a `link_id`.
pub fn body(profile: &TimeProfile) -> String {
    let wire = Profile {
        name: profile.name.as_str(),
        time_options: TimeOptions {
            is_all_day: profile.all_day,
            date_from: profile.from,
            date_to: profile.to,
        },
        repeat_options: RepeatOptions {
            repeat_enable: profile.repeat.is_some(),
            repeat_format: profile.repeat.as_ref().map(RepeatFormat::of),
        },
    };
    // Only a map with keys that are not texts, or a failing writer, can fail; neither is here.
    serde_json::to_string(&wire).unwrap_or_default()
}

/// A stored body as door controllers have it: their options of a year name their format beside the months.
pub fn with_year_format(json: &str) -> Cow<'_, str> {
    // Within a name these quotes would be escaped, so it is found nowhere else.
    const YEAR: &str = r#""repeat_options":{"months":"#;
    let Some((before, after)) = json.split_once(YEAR) else { return Cow::Borrowed(json) };
    let format = if after.contains(r#""range":{"#) { "parameterizedDay" } else { "dayNumbers" };
    Cow::Owned(format!(r#"{before}"repeat_options":{{"format":"{format}","months":{after}"#))
}

#[derive(Serialize)]
struct Profile<'a> {
    name: &'a str,
    time_options: TimeOptions,
    repeat_options: RepeatOptions,
}

#[derive(Serialize)]
struct TimeOptions {
    is_all_day: bool,
    date_from: i64,
    date_to: i64,
}

#[derive(Serialize)]
struct RepeatOptions {
    repeat_enable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_format: Option<RepeatFormat>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the panel API's names")]
struct RepeatFormat {
    repeat_type: &'static str,
    repeat_end: RepeatEnd,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_custom: Option<RepeatCustom>,
}

#[derive(Serialize)]
struct RepeatEnd {
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<i64>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the panel API's names")]
struct RepeatCustom {
    repeat_point_type: &'static str,
    repeat_looper: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_options: Option<CustomOptions>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CustomOptions {
    Week(Vec<&'static str>),
    Month {
        format: &'static str,
        range: MonthRange,
    },
    Year {
        months: Vec<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<NthDay>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum MonthRange {
    Days(Vec<i64>),
    Nth(NthDay),
}

#[derive(Serialize)]
struct NthDay {
    week_order: &'static str,
    day_type: &'static str,
}

impl RepeatFormat {
    fn of(repeat: &Repeat) -> Self {
        let repeat_type = match repeat.rule {
            Rule::Day => "day",
            Rule::Week => "week",
            Rule::TwoWeeks => "twoWeeks",
            Rule::Month => "month",
            Rule::Year => "year",
            Rule::Custom { .. } => "custom",
        };
        let repeat_custom = match &repeat.rule {
            Rule::Custom { every, on } => Some(RepeatCustom::of(every.get(), on)),
            Rule::Day | Rule::Week | Rule::TwoWeeks | Rule::Month | Rule::Year => None,
        };
        let repeat_end =
            RepeatEnd { format: if repeat.until.is_some() { "date" } else { "never" }, date: repeat.until };
        Self { repeat_type, repeat_end, repeat_custom }
    }
}

impl RepeatCustom {
    fn of(repeat_looper: i64, on: &CustomDates) -> Self {
        let (repeat_point_type, repeat_options) = match on {
            CustomDates::Day => ("day", None),
            CustomDates::Week(days) => {
                let names = days.iter().map(|day| WEEKDAYS[day as usize]).collect();
                ("week", Some(CustomOptions::Week(names)))
            }
            CustomDates::MonthDays(days) => {
                let range = MonthRange::Days(days.iter().collect());
                ("month", Some(CustomOptions::Month { format: "dayNumbers", range }))
            }
            CustomDates::MonthNth(nth) => {
                let range = MonthRange::Nth(NthDay::of(*nth));
                ("month", Some(CustomOptions::Month { format: "parameterizedDay", range }))
            }
            CustomDates::Year(months, nth) => {
                let months = months.iter().collect();
                let range = nth.map(NthDay::of);
                ("year", Some(CustomOptions::Year { months, range }))
            }
        };
        Self { repeat_point_type, repeat_looper, repeat_options }
    }
}

impl NthDay {
    fn of(nth: crate::profile::rule::NthDay) -> Self {
        Self { week_order: nth.order.as_str(), day_type: nth.day.as_str() }
    }
}
