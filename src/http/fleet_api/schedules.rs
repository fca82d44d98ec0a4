//! Schedules and calendars as a batch takes them: for the document alone, since they are read with the place of whatever is
//! wrong ([`crate::schedule::parse`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a batch asks of schedules. Each is made into the time profiles that say it to panels, with link_ids of their own.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SchedulesRequest {
    /// Schedules to create or update. What a panel holds of one that it does not say any more is deleted.
    pub upsert: Option<Vec<ScheduleBody>>,
    /// Link_ids of schedules whose every part is to be deleted.
    pub delete: Option<Vec<Uuid>>,
}

/// Opening hours, by the clock on each panel's wall.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScheduleBody {
    /// By what the schedule is known.
    pub link_id: Uuid,
    /// What people call it.
    #[schema(min_length = 1, max_length = 100, example = "Office hours")]
    pub name: String,
    /// The hours of weekdays: `mon`, `mon-fri`, `sat,sun` or `daily`.
    pub hours: Option<BTreeMap<String, HoursBody>>,
    /// Other hours on dates: `2026-12-31`, `12-31` of every year, `2026-12-24..2027-01-06`, or `calendar NAME`, with ` on
    /// mon-fri` behind them where only some weekdays are meant.
    pub instead: Option<BTreeMap<String, HoursBody>>,
    /// Dates without hours, in the same words.
    pub except: Option<Vec<String>>,
    /// The first day.
    #[schema(format = Date)]
    pub from: Option<String>,
    /// The last day.
    #[schema(format = Date)]
    pub until: Option<String>,
}

/// Hours of a day.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum HoursBody {
    /// Spans such as `09:00-12:30, 13:30-18:00`, `22:00-06:00` into the next day, `all day` or `closed`.
    #[schema(example = "09:00-12:30, 13:30-18:00")]
    Text(String),
    /// The same, each by itself.
    List(Vec<String>),
}

/// Days that schedules share under a name, such as holidays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CalendarBody {
    /// Its name: letters, digits, `-`, `_` and `.`.
    #[schema(min_length = 1, max_length = 63, pattern = "^[A-Za-z0-9._-]+$", example = "holidays")]
    pub name: String,
    /// Its days.
    pub days: Vec<CalendarDaysBody>,
}

/// Some days of a calendar.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CalendarDaysBody {
    /// `2026-12-31`, `12-31` of every year, or `2026-12-24..2027-01-06`.
    #[schema(example = "12-25..12-26")]
    Date(String),
    /// The same with what people call it.
    Titled {
        /// The date.
        date: String,
        /// What people call it.
        title: Option<String>,
    },
}
