//! The parts of a repeat rule as types that hold only values in range.

use std::fmt;

/// A name, such as a profile's: 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 100;

    /// `None` when the text is empty or longer than [`Name::MAX_CHARS`].
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.chars().nth(Self::MAX_CHARS).is_none();
        fits.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a first window repeats, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Which dates the window repeats on.
    pub rule: Rule,
    /// The last moment at which an occurrence may start, in Unix seconds; `None` means for ever.
    pub until: Option<i64>,
}

/// The `repeat_type` and, for `custom`, its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Every day.
    Day,
    /// Every week on the weekday of the first window.
    Week,
    /// Every second week on the weekday of the first window.
    TwoWeeks,
    /// Every month on the day of the first window; a month without that day is skipped.
    Month,
    /// Every year on the date of the first window; 29 February only in leap years.
    Year,
    /// `repeat_custom`.
    Custom {
        /// `repeat_looper`: every how many days, weeks, months or years.
        every: Every,
        /// The dates within such a period.
        on: CustomDates,
    },
}

/// `repeat_point_type` with its `repeat_options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomDates {
    /// `day`: the period itself.
    Day,
    /// `week`: these weekdays; weeks begin on Monday.
    Week(Weekdays),
    /// `month` with `dayNumbers`.
    MonthDays(DaysOfMonth),
    /// `month` with `parameterizedDay`.
    MonthNth(NthDay),
    /// `year`: in each of these months, the n-th matching day, or without one the day of the first window.
    Year(Months, Option<NthDay>),
}

/// A `repeat_looper`: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every(u16);

impl Every {
    /// `None` outside 1 to 1,000.
    pub fn new(n: i64) -> Option<Self> {
        (1..=1000).contains(&n).then_some(Self(n as u16))
    }

    /// The interval as a number of periods.
    pub fn get(self) -> i64 {
        i64::from(self.0)
    }
}

/// Monday to Sunday, in the panel API's order and spelling.
pub const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/// A set of small numbers that is never empty; bit `n` stands for the number `n`.
macro_rules! number_set {
    ($(#[$doc:meta])* $name:ident, $min:literal ..= $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(u32);

        impl $name {
            /// `None` when there is no number or one is out of range. Order and repetition do not matter.
            pub fn new(numbers: impl IntoIterator<Item = i64>) -> Option<Self> {
                let mut bits = 0u32;
                for n in numbers {
                    if !($min..=$max).contains(&n) {
                        return None;
                    }
                    bits |= 1 << n;
                }
                (bits != 0).then_some(Self(bits))
            }

            /// Whether the number is in the set.
            pub fn contains(self, n: i64) -> bool {
                ($min..=$max).contains(&n) && self.0 & (1 << n) != 0
            }

            /// The numbers in ascending order.
            pub fn iter(self) -> impl Iterator<Item = i64> + Clone {
                ($min..=$max).filter(move |n| self.0 & (1u32 << *n) != 0)
            }

            /// The bits: bit `n` is set when `n` is in the set.
            pub fn bits(self) -> u32 {
                self.0
            }
        }
    };
}

number_set! {
    /// Weekdays, 0 for Monday to 6 for Sunday.
    Weekdays, 0..=6
}
number_set! {
    /// Days of a month, 1 to 31.
    DaysOfMonth, 1..=31
}
number_set! {
    /// Months, 1 to 12.
    Months, 1..=12
}

/// The n-th day of a month that matches a kind of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NthDay {
    /// Which of the matching days.
    pub order: WeekOrder,
    /// What a day must be to match.
    pub day: DayType,
}

/// `week_order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeekOrder {
    /// `first` (1) to `fifth` (5), counted from the month's start. Always 1 to 5.
    Nth(u8),
    /// `last`, counted from the month's end.
    Last,
}

impl WeekOrder {
    const NAMES: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

    /// From the panel API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "last" {
            return Some(Self::Last);
        }
        let at = Self::NAMES.iter().position(|name| *name == text)?;
        Some(Self::Nth(at as u8 + 1))
    }

    /// The panel API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nth(n) => Self::NAMES[usize::from(n.clamp(1, 5)) - 1],
            Self::Last => "last",
        }
    }
}

/// `day_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayType {
    /// A weekday, 0 for Monday to 6 for Sunday.
    Weekday(u8),
    /// `WEEK_DAY`: Monday to Friday.
    WorkingDay,
    /// `DAY_OFF`: Saturday and Sunday.
    DayOff,
    /// `DAY`: any day. Only door controllers know it.
    AnyDay,
}

impl DayType {
    /// From the panel API's spelling; `DAY` only where the family knows it.
    pub fn parse(text: &str, family: Family) -> Option<Self> {
        match text {
            "WEEK_DAY" => Some(Self::WorkingDay),
            "DAY_OFF" => Some(Self::DayOff),
            "DAY" => (family == Family::DoorController).then_some(Self::AnyDay),
            other => {
                let at = WEEKDAYS.iter().position(|name| *name == other)?;
                Some(Self::Weekday(at as u8))
            }
        }
    }

    /// The panel API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weekday(n) => WEEKDAYS[usize::from(n % 7)],
            Self::WorkingDay => "WEEK_DAY",
            Self::DayOff => "DAY_OFF",
            Self::AnyDay => "DAY",
        }
    }

    /// Whether a day of this weekday (0 for Monday) matches.
    pub fn matches(self, weekday: i64) -> bool {
        match self {
            Self::Weekday(n) => i64::from(n) == weekday,
            Self::WorkingDay => weekday < 5,
            Self::DayOff => weekday >= 5,
            Self::AnyDay => true,
        }
    }
}

impl Rule {
    /// Whether a family's API can say this: `DAY` is known to door controllers only.
    pub fn known_to(&self, family: Family) -> bool {
        let day = match self {
            Self::Custom { on: CustomDates::MonthNth(nth) | CustomDates::Year(_, Some(nth)), .. } => {
                Some(nth.day)
            }
            Self::Custom { .. } | Self::Day | Self::Week | Self::TwoWeeks | Self::Month | Self::Year => None,
        };
        family == Family::DoorController || day != Some(DayType::AnyDay)
    }
}

/// The panel families whose API differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Android panels.
    Android,
    /// Camdroid panels.
    Camdroid,
    /// Ingenic-mips panels, whose profiles are those of camdroid panels.
    IngenicMips,
    /// Door controllers.
    DoorController,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Android, Self::Camdroid, Self::IngenicMips, Self::DoorController];

    /// The family's name in a panel's `api` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Android => "android",
            Self::Camdroid => "camdroid",
            Self::IngenicMips => "ingenic-mips",
            Self::DoorController => "door-controller",
        }
    }

    /// From a panel's `api` field.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == text)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
