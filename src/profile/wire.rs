//! A profile's JSON on the wire: reading without checking, and writing.
//!
//! [`Json`] borrows from the body and checks nothing; [`super::parse`] gives it meaning. [`body`] writes a
//! profile in the panel API's field order, without its `link_id`, and only with what was read: what the API
//! ignores (unknown properties, `repeat_custom` of another `repeat_type`) is not kept. So equal profiles have
//! equal bodies, and a stored body is no larger than a profile can be.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::TimeProfile;
use super::rule::{CustomDates, Repeat, Rule, WEEKDAYS};

/// Any JSON value, borrowing its text where it holds no escapes.
#[derive(Debug)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without fraction or exponent that fits.
    Int(i64),
    /// Any other number.
    OtherNumber,
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Json<'a>>),
    /// An object, in the order of the text. Of a repeated key the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a whole body; `None` when it is not JSON.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The value under the key; `None` when this is no object or has no such key.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Self::Object(entries) => entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

/// A text that borrows where it can.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a key is a text")),
        }
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(4);
        while let Some((Text(key), value)) = map.next_entry()? {
            entries.push((key, value));
        }
        Ok(Json::Object(entries))
    }
}

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
    fn of(nth: super::rule::NthDay) -> Self {
        Self { week_order: nth.order.as_str(), day_type: nth.day.as_str() }
    }
}
