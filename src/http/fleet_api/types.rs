//! The time profile's JSON as the document describes it. Bodies are read by [`crate::profile::parse`], which
//! knows every rule; these types are for those who read the document.

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
    /// Weekdays; or `{"format":"dayNumbers","range":[1,15]}`, `{"format":"parameterizedDay","range":{…}}`; or
    /// `{"months":[1,6],"range":{"week_order":"last","day_type":"WEEK_DAY"}}`.
    #[schema(value_type = Option<Object>, example = json!(["MON", "TUE"]))]
    pub repeat_options: Option<serde_json::Value>,
}
