//! The JSON of time profiles and identifiers as the document describes it. Bodies are read by [`crate::profile::parse`] and
//! [`crate::identifier::parse`], which know every rule; these types are for those who read the document.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A time profile.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TimeProfileBody {
    /// Required by the calls by link_id.
    pub link_id: Option<uuid::Uuid>,
    /// 1 to 100 characters.
    #[schema(example = "Work week")]
    pub name: String,
    /// The first window.
    pub time_options: TimeOptionsBody,
    /// How it repeats.
    pub repeat_options: RepeatOptionsBody,
}

/// The first window.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TimeOptionsBody {
    /// Whole local days.
    pub is_all_day: bool,
    /// Unix seconds.
    #[schema(example = 1_735_804_800)]
    pub date_from: i64,
    /// Unix seconds.
    #[schema(example = 1_735_837_200)]
    pub date_to: i64,
}

/// How the first window repeats.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RepeatOptionsBody {
    /// When false, the rest is not read.
    pub repeat_enable: bool,
    /// The rule.
    pub repeat_format: Option<RepeatFormatBody>,
}

/// The rule of a repetition.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RepeatFormatBody {
    /// `day`, `week`, `twoWeeks`, `month`, `year` or `custom`.
    #[schema(example = "custom")]
    pub repeat_type: String,
    /// When it ends.
    pub repeat_end: RepeatEndBody,
    /// With `custom`.
    pub repeat_custom: Option<RepeatCustomBody>,
}

/// When a repetition ends.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RepeatEndBody {
    /// `never` or `date`.
    #[schema(example = "never")]
    pub format: String,
    /// Unix seconds, with `date`.
    pub date: Option<i64>,
}

/// A custom rule.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RepeatCustomBody {
    /// `day`, `week`, `month` or `year`.
    #[schema(example = "week")]
    pub repeat_point_type: String,
    /// 1 to 1000.
    #[schema(example = 1)]
    pub repeat_looper: u32,
    /// With `week`, `month` and `year`: which days.
    #[schema(value_type = Option<RepeatCustomOptions>, example = json!(["MON", "TUE"]))]
    pub repeat_options: Option<serde_json::Value>,
}

/// Which days, by the point type. (A year's are perhaps written with a month's `format` beside them, so that more than one
/// of these may fit.)
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RepeatCustomOptions {
    /// With `week`: `MON` to `SUN`.
    Weekdays(Vec<String>),
    /// With `month`: days by their number.
    MonthDays(MonthDaysBody),
    /// With `month`: one day of a kind.
    MonthDay(MonthDayBody),
    /// With `year`.
    Year(YearBody),
}

/// Days of a month by their number.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MonthDaysBody {
    /// `dayNumbers`.
    #[schema(example = "dayNumbers")]
    pub format: String,
    /// 1 to 31.
    #[schema(example = json!([1, 15]))]
    pub range: Vec<u32>,
}

/// One day of a month.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MonthDayBody {
    /// `parameterizedDay`.
    #[schema(example = "parameterizedDay")]
    pub format: String,
    /// Which.
    pub range: DayBody,
}

/// Months of a year.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct YearBody {
    /// 1 to 12.
    #[schema(example = json!([1, 6]))]
    pub months: Vec<u32>,
    /// One day of each; without it, the day of the first window.
    #[schema(nullable = false)]
    pub range: Option<DayBody>,
}

/// A day of a month by its kind.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DayBody {
    /// `first` to `fifth`, or `last`.
    #[schema(example = "last")]
    pub week_order: String,
    /// `MON` to `SUN`, `WEEK_DAY` or `DAY_OFF`; of door controllers also `DAY`.
    #[schema(example = "WEEK_DAY")]
    pub day_type: String,
}

/// An identifier.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierBody {
    /// Required by the calls by link_id.
    pub link_id: Option<uuid::Uuid>,
    /// The apartment's link_id, carried as it is.
    pub apartment_link_id: Option<uuid::Uuid>,
    /// Whose it is.
    pub identifier_owner: IdentifierOwnerBody,
    /// `card`, `ukey`, `inputCode`, `qr`, `license_plate` or `face_id`.
    #[schema(example = "card")]
    pub identifier_type: String,
    /// By its type: of a card or phone key 1 to 10 decimal digits, or 2 to 8 pairs of hex digits with - or : between
    /// them; of a code 1 to 10 digits; of a QR code a UUID; of a plate 1 to 100 characters; of a face nothing.
    #[schema(example = "0A-1B-2C-3D")]
    pub identifier_number: Option<String>,
    /// Of a face: a JPEG of at most 1 MiB as bare Base64.
    pub face_image: Option<String>,
    /// `first`, `second` or `all`.
    #[schema(example = "all")]
    pub lock: String,
    /// Until when, and how often. Absent parts are permanent.
    pub valid: Option<IdentifierValidBody>,
    /// The time profiles any of which must be open; with an empty list it opens at any time.
    pub time_profiles: IdentifierProfilesBody,
    /// A counter to be restored.
    pub additional: Option<IdentifierAdditionalBody>,
}

/// Whose an identifier is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierOwnerBody {
    /// 1 to 100 characters.
    #[schema(example = "Flat 12, first")]
    pub name: String,
    /// `owner` or `guest`.
    #[schema(example = "owner")]
    pub r#type: String,
}

/// Until when an identifier is valid, and how often it opens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierValidBody {
    /// Until when.
    pub time: Option<IdentifierTimeBody>,
    /// How often.
    pub passes: Option<IdentifierPassesBody>,
}

/// When an identifier is valid at all.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierTimeBody {
    /// For ever.
    pub is_permanent: bool,
    /// Its first second, in Unix seconds; unless permanent.
    pub from: Option<i64>,
    /// Its end, in Unix seconds; unless permanent.
    pub to: Option<i64>,
}

/// How often an identifier opens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierPassesBody {
    /// Any number of times.
    pub is_permanent: bool,
    /// So many times; unless permanent.
    pub max_passes: Option<i64>,
}

/// By which time profiles an identifier is bound.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierProfilesBody {
    /// Their link_ids; an empty list is at any time.
    pub link_ids: Vec<uuid::Uuid>,
}

/// What else an identifier has.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentifierAdditionalBody {
    /// How often it may open yet; -1 for any number of times.
    pub passes_left: Option<i64>,
}
