//! What a batch would do to opening hours, as a dry run answers it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fleet::opening;
use crate::schedule::DAY;

/// What a batch would do to opening hours: those in which any time profile opens that a panel should hold, over four weeks
/// by the panel's own clock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Opening {
    /// The beginning of today, in UTC, as Unix seconds. By each panel's clock it is the beginning of this date.
    pub from: i64,
    /// The end, 28 days later.
    pub to: i64,
    /// Seconds that doors would be open longer, all doors together.
    pub gained_s: u64,
    /// Seconds that they would be open less long.
    pub lost_s: u64,
    /// Both in hours, a begun one as a whole one: what the budget is compared with, and `confirm_door_hours` confirms.
    pub door_hours: u64,
    /// How many panels gain any.
    pub panels_gaining: u64,
    /// How many lose any.
    pub panels_losing: u64,
    /// What changes on most doors for longest; the ten largest.
    pub examples: Vec<OpeningExample>,
    /// Whom doors let in.
    pub identifiers: OpeningIdentifiers,
}

/// Something that changes on some doors.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpeningExample {
    /// On how many.
    pub panels: u64,
    /// What, by their clocks.
    #[schema(example = "Monday to Friday 07:00–08:00 closes")]
    pub text: String,
}

/// How many identifiers gain or lose a door.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpeningIdentifiers {
    /// For so many some door opens within the time that did not.
    pub gaining: u64,
    /// For so many some door opens no more.
    pub losing: u64,
}

impl From<opening::Opening> for Opening {
    fn from(opening: opening::Opening) -> Self {
        let door_hours = opening.door_hours();
        let (from, to) = opening.days;
        let examples = opening.examples.into_iter();
        Self {
            from: from.0 * DAY,
            to: to.0 * DAY,
            gained_s: opening.gained_s,
            lost_s: opening.lost_s,
            door_hours,
            panels_gaining: opening.panels_gaining,
            panels_losing: opening.panels_losing,
            examples: examples
                .map(|example| OpeningExample { panels: example.panels, text: example.text })
                .collect(),
            identifiers: OpeningIdentifiers {
                gaining: opening.identifiers_gaining,
                losing: opening.identifiers_losing,
            },
        }
    }
}
