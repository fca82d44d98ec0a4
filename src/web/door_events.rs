//! Who opened, and who was denied: the last events of a panel, or of an identifier.

use maud::{Markup, html};

use super::layout::{self, moment, panel_link, state};
use crate::fleet::events::{DoorEvent, EventsWanted};
use crate::fleet::{Fleet, FleetError};
use crate::identifier::event::Presented;

/// How many are shown.
const SHOWN: usize = 10;

/// The last events, newest first.
pub async fn last(fleet: &Fleet, wanted: EventsWanted) -> Result<Vec<DoorEvent>, FleetError> {
    Ok(fleet.page_of_events(fleet.events_wanted(wanted)?, None, SHOWN).await?.items)
}

/// The section of a page; nothing where nothing is known to have happened.
pub fn section(events: &[DoorEvent], says_panel: bool) -> Markup {
    html! {
        @if !events.is_empty() {
            section aria-label="Events" {
                h2 { "Who came" }
                div class="scroll" {
                    table {
                        thead { tr { th { "When" } @if says_panel { th { "Door" } } th { "What" } th { "Identifier" } } }
                        tbody {
                            @for DoorEvent { panel, event } in events {
                                @let presented = event.record.presented();
                                tr {
                                    td { (moment(i64::try_from(event.index.at_ms).unwrap_or(i64::MAX))) }
                                    @if says_panel { td { (panel_link(panel)) } }
                                    td {
                                        @match event.record.granted {
                                            Some(true) => { (state("granted")) " " }
                                            Some(false) => { (state("denied")) " " }
                                            None => {}
                                        }
                                        (layout::name(&event.record.reason))
                                    }
                                    td {
                                        @match event.index.identifier {
                                            Some(link) => { a href={ "/identifiers/" (link) } { code { (link) } } " " }
                                            None => {}
                                        }
                                        @if let Some(kind) = presented.as_ref().and_then(|shown| shown.kind()) { (layout::name(kind)) " " }
                                        @if let Some(number) = presented.as_ref().and_then(Presented::masked) { (layout::name(&number)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
