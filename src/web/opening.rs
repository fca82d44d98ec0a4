//! What a batch would do to opening hours, on the page.

use maud::{Markup, html};

use super::layout;
use crate::fleet::opening::Opening;

/// What would come of opening hours.
pub fn changes(opening: &Opening) -> Markup {
    let hours = |seconds: u64| layout::count(seconds.div_ceil(3600), "hour");
    let (gaining, losing) = (opening.identifiers_gaining, opening.identifiers_losing);
    html! {
        @if opening.door_hours() > 0 {
            p id="opening" {
                "Within four weeks doors are open " b { (hours(opening.gained_s)) " more" } " on " (layout::count(opening.panels_gaining, "panel"))
                " and " b { (hours(opening.lost_s)) " less" } " on " (layout::count(opening.panels_losing, "panel")) ":"
            }
            ul {
                @for example in &opening.examples {
                    li { "on " (layout::count(example.panels, "door")) ": " (example.text) }
                }
            }
        }
        @if gaining > 0 { p { "For " (layout::count(gaining, "identifier")) " a door opens that did not." } }
        @if losing > 0 { p { "For " (layout::count(losing, "identifier")) " a door opens no more." } }
    }
}
