//! A profile as it is written.

use std::borrow::Cow;

use serde::Serialize;

use crate::profile::TimeProfile;
use crate::profile::rule::{CustomDates, Repeat, Rule, WEEKDAYS};

/// The profile as compact JSON, in the panel API's field order and without a `link_id`: in the words that it came in,
/// if it has any of its own.
pub fn body(profile: &TimeProfile) -> String {
    let Some(wording) = &profile.wording else { return meaning(profile) };
    let time_options = TimeOptions {
        is_all_day: profile.all_day && !wording.left_out.times_of_day,
        date_from: (!wording.left_out.from).then_some(profile.from),
        date_to: (!wording.left_out.to).then_some(profile.to),
    };
    let repeat_options = match &wording.repeat_options {
        Some(sent) => Cow::Borrowed(&**sent),
        None => Cow::Owned(repeat_options(profile.repeat.as_ref())),
    };
    format!(
        r#"{{"name":{},"time_options":{},"repeat_options":{repeat_options}}}"#,
        text(profile.name.as_str()),
        text(&time_options)
    )
}

/// The same of all that it says and in no words of its own: profiles that say the same have the same text.
pub fn meaning(profile: &TimeProfile) -> String {
    text(&Profile {
        name: profile.name.as_str(),
        time_options: TimeOptions {
            is_all_day: profile.all_day,
            date_from: Some(profile.from),
            date_to: Some(profile.to),
        },
        repeat_options: RepeatOptions::of(profile.repeat.as_ref()),
    })
}

/// The `repeat_options` within [`meaning`].
pub(super) fn repeat_options(repeat: Option<&Repeat>) -> String {
    text(&RepeatOptions::of(repeat))
}

fn text(value: &(impl Serialize + ?Sized)) -> String {
    // Only a map with keys that are not texts, or a failing writer, can fail; neither is here.
    serde_json::to_string(value).unwrap_or_default()
}

/// A stored body as door controllers have it: their options of a year name their format beside the months. One that
/// was written, or that would not count, stays as it is.
pub fn with_year_format(json: &str) -> Cow<'_, str> {
    // Within a text these quotes would be escaped, so what is looked for is found nowhere else. A format stands first.
    const YEAR: &str = r#""repeat_options":{"months":"#;
    const COUNTS: [&str; 3] =
        [r#""repeat_enable":true,"#, r#""repeat_type":"custom","#, r#""repeat_point_type":"year","#];
    let Some((before, after)) = json.split_once(YEAR) else { return Cow::Borrowed(json) };
    if !COUNTS.iter().all(|part| before.contains(part)) {
        return Cow::Borrowed(json);
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    date_from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_to: Option<i64>,
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

impl RepeatOptions {
    fn of(repeat: Option<&Repeat>) -> Self {
        Self { repeat_enable: repeat.is_some(), repeat_format: repeat.map(RepeatFormat::of) }
    }
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
