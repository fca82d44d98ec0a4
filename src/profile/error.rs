//! What can be wrong with a profile on the wire: the exact text of the panel API, where it is, and what helps.

#![warn(clippy::wildcard_enum_match_arm)]

use std::fmt;

use super::rule::Name;

/// One problem at one place of a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem<E = WireError> {
    /// JSON pointer (RFC 6901) to the faulty value, or to where an absent one should stand.
    pub path: String,
    /// What is wrong.
    pub error: E,
}

/// Everything the panel API says about a faulty body. `Display` gives the exact text of the `error` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// Not JSON, not an object, or no body.
    NotAJsonObject,
    /// A required field is absent.
    Missing(&'static str),
    /// A field is of another JSON type.
    WrongType(&'static str),
    /// `repeat_type` is none of the enum.
    RepeatType,
    /// `repeat_end.format` or the month options' `format` is none of its enum.
    Format,
    /// `repeat_point_type` is none of the enum.
    RepeatPointType,
    /// An unknown weekday, `week_order` or `day_type`.
    RepeatOptions,
    /// `repeat_looper` outside 1–1000.
    RepeatLooper,
    /// Week options without a day.
    NoWeekdays,
    /// A day number outside 1–31.
    DayOfMonth,
    /// `dayNumbers` without a day.
    NoDayNumbers,
    /// A month outside 1–12.
    Month,
    /// `months` without a month.
    NoMonths,
    /// The year options' `range` is no `{week_order, day_type}` object.
    YearRange,
    /// No profile of that uid, or not a uid.
    Uid,
    /// One item, or one value, holds more values than are read.
    TooManyValues,
    /// The list has more items than this.
    TooManyItems(usize),
    /// An object has the key twice. The panel API lets the last one count.
    Twice,
    /// A name holds a character that steers what shows it. The panel API lets it pass.
    NameCharacter(char),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJsonObject => f.write_str("Wrong JSON body"),
            Self::Missing(field) => write!(f, "Wrong JSON body: no value for `{field}`"),
            Self::WrongType(field) => {
                write!(f, "Wrong JSON body: value `{field}` was of the wrong type")
            }
            Self::RepeatType => f.write_str("Wrong repeat_type"),
            Self::Format => f.write_str("Wrong format enum name"),
            Self::RepeatPointType => f.write_str("Wrong repeat_point_type enum name"),
            Self::RepeatOptions => f.write_str("Wrong repeat_options enum name"),
            Self::RepeatLooper => f.write_str("Wrong repeat_looper range"),
            Self::NoWeekdays => f.write_str("Set in WeekOptions can't be empty"),
            Self::DayOfMonth => f.write_str("Wrong DayOfMonth range"),
            Self::NoDayNumbers => f.write_str("Set in dayNumbers can't be empty"),
            Self::Month => f.write_str("Wrong months range"),
            Self::NoMonths => f.write_str("Set in YearOptions can't be empty"),
            Self::YearRange => f.write_str("Wrong year range"),
            Self::Uid => f.write_str("Wrong Time Profile Uid"),
            Self::TooManyValues => {
                write!(f, "Wrong JSON body: more than {} values in one item", super::wire::MAX_VALUES)
            }
            Self::TooManyItems(most) => write!(f, "Wrong JSON body: more than {most} items"),
            Self::Twice => f.write_str("it is given twice; keep one of them"),
            Self::NameCharacter(c) => write!(
                f,
                "the name holds the character U+{:04X}, which steers what shows it; take it out",
                u32::from(*c)
            ),
        }
    }
}

impl WireError {
    /// What the place takes, for people; the panel API does not send it.
    pub fn hint(&self) -> String {
        match self {
            Self::NotAJsonObject => "a JSON object is expected".into(),
            Self::Missing(field) | Self::WrongType(field) => field_takes(field),
            Self::RepeatType => "one of day, week, twoWeeks, month, year, custom".into(),
            Self::Format => {
                "repeat_end takes never or date; month options take dayNumbers or parameterizedDay".into()
            }
            Self::RepeatPointType => "one of day, week, month, year".into(),
            Self::RepeatOptions => {
                "weekdays are MON to SUN; week_order is first to fifth or last; day_type is MON to SUN, WEEK_DAY or DAY_OFF"
                    .into()
            }
            Self::RepeatLooper => "a whole number from 1 to 1000".into(),
            Self::NoWeekdays => "at least one of MON to SUN".into(),
            Self::DayOfMonth => "whole numbers from 1 to 31".into(),
            Self::NoDayNumbers => "at least one day from 1 to 31".into(),
            Self::Month => "whole numbers from 1 to 12".into(),
            Self::NoMonths => "at least one month from 1 to 12".into(),
            Self::YearRange => r#"leave it out, or send {"week_order":"first","day_type":"MON"}"#.into(),
            Self::Uid => "the uid of a profile on this panel".into(),
            Self::TooManyValues => "leave out what is no part of a profile".into(),
            Self::TooManyItems(most) => format!("at most {most} items; send them in parts"),
            Self::Twice => "each key once".into(),
            Self::NameCharacter(_) => field_takes("name"),
        }
    }
}

pub(crate) fn field_takes(field: &str) -> String {
    match field {
        "link_id" => "a UUID such as 91c615e3-1040-4815-8ecb-039a18b756b5".into(),
        "name" => format!("a text of 1 to {} characters", Name::MAX_CHARS),
        "is_all_day" | "repeat_enable" => "true or false".into(),
        "date_from" | "date_to" | "date" => "a whole number of Unix seconds".into(),
        "list_items" | "items" | "link_ids" | "uid_items" | "months" => "a list".into(),
        "repeat_type" | "format" | "repeat_point_type" | "week_order" | "day_type" => "a text".into(),
        "repeat_looper" => "a whole number from 1 to 1000".into(),
        "range" => "a list of days, or a week_order and a day_type".into(),
        _ => "an object".into(),
    }
}
