//! What can be wrong with a schedule or a calendar, and where.

use super::{MAX_DATES, MAX_SPANS, YEARS};
use crate::profile::rule::Name;
use crate::schedule::Span;

/// Something wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer.
    pub path: String,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A value of another type.
    #[error("this is not {0}")]
    Type(&'static str),
    /// There is no such key.
    #[error("there is no such key; the keys are {0}")]
    Unknown(&'static str),
    /// A key that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// No link_id.
    #[error("not a UUID of the form 91c615e3-1040-4815-8ecb-039a18b756b5")]
    LinkId,
    /// No name.
    #[error("a name has 1 to {} characters", Name::MAX_CHARS)]
    Name,
    /// No name of a calendar.
    #[error("the name of a calendar has 1 to 63 letters, digits, -, _ and .")]
    CalendarName,
    /// No weekdays.
    #[error("{0:?} names no weekdays; say for example mon, mon-fri or sat,sun, or daily")]
    Weekdays(String),
    /// A weekday twice.
    #[error("{0} has its hours at another place too")]
    Twice(&'static str),
    /// No span of hours.
    #[error(
        "{0:?} is no span of hours; say for example 09:00-12:30, 22:00-06:00 over midnight, all day or closed"
    )]
    Span(String),
    /// Spans of a day that overlap.
    #[error("{0} and {1} overlap")]
    Overlap(Span, Span),
    /// A span that lasts into those of the next day.
    #[error("{0} lasts into {1} of the next day")]
    OverlapNextDay(Span, Span),
    /// Too many spans in a day.
    #[error("a day has at most {MAX_SPANS} spans of hours")]
    TooManySpans,
    /// Too many entries.
    #[error(
        "a list has at most {MAX_DATES} entries; put dates that belong together into a calendar, or say from..to"
    )]
    TooMany,
    /// No dates that a schedule may name.
    #[error(
        "{0:?} is no date; say 2026-12-31, 12-31 for every year, 2026-12-24..2027-01-06, or calendar NAME; with \" on mon-fri\" behind it \
         where only some weekdays are meant"
    )]
    Dates(String),
    /// No dates that a calendar may have.
    #[error("{0:?} is no date; say 2026-12-31, 12-31 for every year, or 2026-12-24..2027-01-06")]
    PlainDates(String),
    /// A range that ends before it begins.
    #[error("the last day is before the first one")]
    Backwards,
    /// A year out of range.
    #[error("a year is one of {} to {}", YEARS.start(), YEARS.end())]
    Year,
    /// No zone.
    #[error("{0:?} is no time zone such as Europe/Kyiv; leave it out where each panel's own is meant")]
    Zone(String),
    /// No hours at all.
    #[error("it never opens: {0}")]
    NeverOpens(&'static str),
    /// The link_id or name of another one in the list.
    #[error("the same stands at {0}")]
    Same(String),
}
