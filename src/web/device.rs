//! The device of one panel: where it differs from what is desired, and having that put right.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use maud::{Markup, html};

use super::layout::{self, Place, panel_path, state};
use super::posted::{ByOperator, Posted};
use super::problem::{PageProblem, capital};
use super::visitor::Visitor;
use crate::access::Role;
use crate::batch::item::Kind;
use crate::coordinator::Target;
use crate::fleet::FleetError;
use crate::fleet::drift::{self, DiffState, PanelDiff};
use crate::http::{Here, auth};
use crate::panel::remote::record::Difference;
use crate::profile::text;

/// How long the page of a reconcile waits for its repairs.
const REPAIR: Duration = Duration::from_secs(8);

/// Reads the device now and shows where it differs.
#[get("/panel/{id}/compare")]
pub async fn compare(
    visitor: Visitor,
    id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let panel = shared.fleet.panel(&id)?;
    if !panel.settings.is_device() {
        return Err(FleetError::Conflict(format!("panel {id} is embedded: this server is the panel")).into());
    }
    let diff = drift::compare(&panel, shared.fleet.until(drift::WAIT)).await;
    Ok(layout::page(&visitor, Place::Fleet, &format!("Device of {id}"), differences(&visitor, &id, &diff)))
}

/// Reads the device now, has put right what differs, and shows what came of it.
#[post("/panel/{id}/reconcile")]
pub async fn reconcile(
    Posted { visitor, .. }: Posted<ByOperator>,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let target = Target::Panels(vec![id.clone()]);
    let origin = auth::origin(&request, &visitor.who.actor());
    let found = shared.fleet.repair(target, &shared.fleet.until(REPAIR), &origin).await?;
    let diff = found.first().ok_or_else(|| FleetError::Conflict(format!("panel {id} has no device")))?;
    Ok(layout::page(&visitor, Place::Fleet, &format!("Device of {id}"), differences(&visitor, &id, diff)))
}

fn differences(visitor: &Visitor, id: &str, diff: &PanelDiff) -> Markup {
    let path = panel_path(id);
    let (title, told) = match diff.state {
        DiffState::Same => ("The device holds what it should", "Nothing differs."),
        DiffState::Repaired => ("The device is put right", "This is what differed."),
        DiffState::Pending => {
            ("The device is being put right", "This is what differed; it goes on by itself.")
        }
        DiffState::NotReadYet => {
            ("The device has not answered yet", "It is slow, or others are read before it.")
        }
        DiffState::Unreadable => {
            ("The device could not be read", "It is put right as soon as it is back, if that was asked for.")
        }
        DiffState::Differs => {
            ("The device differs", "On the left what it should hold, on the right what it holds.")
        }
    };
    let deletes = |kind| {
        let extra = diff.differences.iter().filter(|found| found.difference == Difference::Extra);
        (extra.filter(|found| found.kind == kind).count() as u64, kind.as_str())
    };
    let deletes: Vec<_> = Kind::ALL.into_iter().map(deletes).filter(|(n, _)| *n > 0).collect();
    let deletes: Vec<_> = deletes.into_iter().map(|(n, kind)| layout::count(n, kind)).collect();
    html! {
        nav class="crumbs" aria-label="Where this is" { a href="/" { "Fleet" } " › " a href=(path) { (id) } }
        div class="head" {
            h1 { (title) }
            @if diff.state == DiffState::Differs && visitor.may(Role::Operator) {
                form method="post" action={ (path) "/reconcile" } {
                    (layout::token(visitor))
                    @if !deletes.is_empty() {
                        button class="danger" { "Reconcile, deleting " (deletes.join(" and ")) " on the device" }
                    } @else {
                        button class="main" { "Reconcile" }
                    }
                }
            }
            a class="button" href=(path) { "Back to " (id) }
        }
        p id="differences" data-state=(diff.state.as_str()) { (told) }
        @if let Some(error) = &diff.error { p class="wrong" { (text::shown(&capital(error))) "." } }
        @if let Some(ahead) = diff.clock_ahead_s.filter(|ahead| ahead.abs() >= 2) {
            p { "Its clock is " (ahead.abs()) " s " @if ahead > 0 { "ahead" } @else { "behind" } ", and decides when its door opens." }
        }
        @if let Some(zone) = &diff.other_zone {
            p { "It shows the time in " (layout::name(zone)) ", not in the panel's zone, and opens its door by that." }
        }
        @if !diff.differences.is_empty() {
            div class="scroll" {
                table {
                    thead { tr { th { "Item" } th { "Difference" } th { "Desired" } th { "On the device" } } }
                    tbody {
                        @for found in &diff.differences {
                            tr {
                                td { (layout::name(&found.name)) @if let Some(item) = found.item { br; a href={ "/" (item.kind.as_str()) "s/" (item.link_id) } { code { (item.link_id) } } } }
                                td { (state(found.difference.as_str())) @if let Some(info) = &found.refused { " " (layout::name(info)) } }
                                td { @if let Some(json) = &found.desired { code class="json" { (text::shown(json.get())) } } }
                                td { @if let Some(json) = &found.on_device { code class="json" { (text::shown(json.get())) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
