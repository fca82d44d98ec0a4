//! Who did what, when, from where.

use actix_web::{HttpRequest, HttpResponse, get};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::layout::{self, Place, moment, panel_link};
use super::problem::PageProblem;
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::fleet::FleetError;
use crate::fleet::audit::AuditFilter;
use crate::http::{Here, percent};
use crate::store::tables::AuditRecord;

/// Entries on a page.
const PAGE: usize = 100;

/// The list.
#[get("/audit")]
pub async fn list(visitor: Visitor, request: HttpRequest, shared: Here) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Admin)?;
    let query = Fields::parse(request.query_string().as_bytes())?;
    let (actor, from, to) = (query.one("actor"), query.one("from"), query.one("to"));
    let filter = AuditFilter {
        from_ms: day("from", from, 0)?,
        to_ms: day("to", to, 1)?,
        actor: Some(actor.to_owned()).filter(|actor| !actor.is_empty()),
    };
    let before = query.one("before").parse().unwrap_or(u64::MAX);
    let page = shared.fleet.page_of_audit(filter, before, PAGE).await?;
    let main = html! {
        h1 { "Audit" }
        form class="row" method="get" action="/audit" role="search" {
            label { "Who" input name="actor" value=(actor) autocapitalize="none"; }
            label { "From" input type="date" name="from" value=(from); }
            label { "To" input type="date" name="to" value=(to); }
            button { "Show" }
        }
        @if page.items.is_empty() {
            p class="empty" { "Nothing fits this." }
        } @else {
            div class="scroll" {
                table {
                    thead { tr { th { "When" } th { "Who" } th { "From" } th { "What" } th { "To what" } } }
                    tbody {
                        @for AuditRecord { at_ms, actor, address, action, target } in &page.items {
                            tr {
                                td { (moment(*at_ms)) }
                                td { a href={ "/audit?actor=" (percent(actor)) } { (actor) } }
                                td { (address) }
                                td { (action) }
                                td { (linked(action, target)) }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(next) = &page.next {
            a class="button" href={ "/audit?before=" (next) "&actor=" (percent(actor)) "&from=" (percent(from)) "&to=" (percent(to)) } { "Older" }
        }
    };
    Ok(layout::page(&visitor, Place::Audit, "Audit", main))
}

/// The beginning of a day in UTC, so many days later.
fn day(name: &str, text: &str, later: i64) -> Result<Option<i64>, FleetError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || FleetError::Unreadable(format!("{name} takes a day such as 2026-01-31"));
    let day: Date = text.parse().map_err(|_| wrong())?;
    let day = day.checked_add(jiff::Span::new().days(later)).map_err(|_| wrong())?;
    let start = TimeZone::UTC.to_timestamp(day.to_datetime(Time::midnight())).map_err(|_| wrong())?;
    Ok(Some(start.as_millisecond()))
}

/// What an action was done to, as a link where there is a page of it.
fn linked(action: &str, target: &str) -> Markup {
    let batch = target.split_whitespace().next().filter(|id| uuid::Uuid::try_parse(id).is_ok());
    html! {
        @match (action, batch) {
            ("panel.add" | "panel.change" | "panel.resync", _) => { (panel_link(target)) }
            (action, Some(id)) if action.starts_with("batch.") => { a href={ "/batches/" (id) } { (target) } }
            _ => { (target) }
        }
    }
}
