//! The profiles over the fleet: on how many panels, in which states, and where they differ.

use actix_web::{HttpRequest, HttpResponse, get, web};
use maud::{Markup, html};
use serde_json::Value;

use super::layout::{self, Place, panel_link};
use super::problem::PageProblem;
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::fleet::held::StateCounts;
use crate::fleet::profiles::{ProfileVersion, read};
use crate::fleet::{Fleet, FleetError};
use crate::http::{Here, percent};
use crate::panel::settings::Zone;
use crate::profile::sentence::sentence;
use crate::profile::{LinkId, text, wire};

/// Profiles on a page.
const PAGE: usize = 100;

/// Panels named with each version.
const NAMED: usize = 60;

/// The list.
#[get("/profiles")]
pub async fn list(visitor: Visitor, request: HttpRequest, shared: Here) -> Result<HttpResponse, PageProblem> {
    let query = Fields::parse(request.query_string().as_bytes())?;
    let after: Option<LinkId> = query.one("after").parse().ok();
    let page = shared.fleet.page_of_profiles(after, PAGE).await?;
    let main = html! {
        div class="head" {
            h1 { "Profiles" }
            @if visitor.may(Role::Operator) {
                a class="button" href="/push#import" { "Import a file" }
                a class="button main" href="/profiles/new" { "New profile" }
            }
        }
        @if page.items.is_empty() {
            p class="empty" { "No panel holds a profile with a link_id." }
        } @else {
            div class="scroll" {
                table {
                    thead { tr { th { "Name" } th { "Panels" } th { "Versions" } th { "State" } th { "link_id" } } }
                    tbody {
                        @for profile in &page.items {
                            tr {
                                td {
                                    a href={ "/profiles/" (profile.link_id) } {
                                        @if profile.panels == 0 { "refused by every panel" } @else { (layout::name(&profile.name)) }
                                    }
                                }
                                td class="number" { (profile.panels) }
                                td class="number" { @if profile.versions > 1 { span class="state differs" { (profile.versions) " differ" } } @else { "1" } }
                                td { (states(&profile.states)) }
                                td { code { (profile.link_id) } }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(next) = &page.next {
            a class="button" href={ "/profiles?after=" (next) } { "Next page" }
        }
    };
    Ok(layout::page(&visitor, Place::Profiles, "Profiles", main))
}

/// How many panels hold something in which state.
pub fn states(counts: &StateCounts) -> Markup {
    let all = [
        ("applied", counts.applied),
        ("pending", counts.pending),
        ("rejected", counts.rejected),
        ("drifted", counts.drifted),
    ];
    html! {
        @for (word, n) in all.into_iter().filter(|(_, n)| *n > 0) {
            span class={ "state " (word) } { (n) " " (word) } " "
        }
    }
}

/// One profile, version by version.
#[get("/profiles/{link_id}")]
pub async fn show(
    visitor: Visitor,
    link_id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let found = shared.fleet.profile(&link_id).await?;
    let link = found.link_id;
    let most = found.versions.first().map(meant).transpose()?;
    let name = most.as_ref().and_then(|most| most["name"].as_str()).unwrap_or("Refused by every panel");
    let mut versions = Vec::new();
    for version in &found.versions {
        let zone = zone_of(&shared.fleet, version);
        let differs = match &most {
            Some(most) => differences(most, &meant(version)?),
            None => Vec::new(),
        };
        versions.push((version, zone, differs));
    }
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/profiles" { "Profiles" } }
        div class="head" {
            h1 { (layout::name(name)) }
            @if visitor.may(Role::Operator) {
                a class="button" href={ "/push?delete=" (link) } { "Delete from panels" }
                @if most.is_some() {
                    a class="button" href={ "/push?link_id=" (link) } { "Push to more panels" }
                    a class="button main" href={ "/profiles/" (link) "/edit" } { "Edit" }
                }
            }
        }
        p { code { (link) } " on " (layout::count(found.panels, "panel")) ": " (states(&found.states)) }
        @if !found.refused.is_empty() {
            section class="card" aria-label="Refusals" {
                h2 { "Refused by " (layout::count(found.states.rejected, "panel")) }
                ul {
                    @for refusing in found.refused.iter().take(NAMED) {
                        li { (panel_link(&refusing.panel)) " " span class="state rejected" { "rejected" } " " (layout::refusal(&refusing.extended_info)) }
                    }
                    @if found.refused.len() > NAMED { li { "and " (found.states.rejected - NAMED as u64) " more" } }
                }
                p class="hint" { "Once what stands in its way is gone, push it again, or retry its batch. To want it no more, delete it from those panels." }
            }
        }
        @if versions.len() > 1 {
            p class="wrong" { "Panels differ: they hold " (versions.len()) " versions of it. Push one of them to all." }
        }
        @for (n, (version, zone, differs)) in versions.iter().enumerate() {
            section class="card" {
                h2 { @if versions.len() > 1 { "Version " (n + 1) ", " } "on " (layout::count(version.count as u64, "panel")) }
                p { (read(version.profile.get()).map(|profile| sentence(&profile, zone.rules())).unwrap_or_default()) " (" (zone.name()) ")" }
                @if !differs.is_empty() {
                    table {
                        thead { tr { th { "Field" } th { "Version 1" } th { "Here" } } }
                        tbody { @for (path, first, here) in differs { tr { td { code { (path) } } td { (layout::name(first)) } td { (layout::name(here)) } } } }
                    }
                }
                p class="names" {
                    @for panel in version.panels.iter().take(NAMED) { (panel_link(panel)) " " }
                    @if version.count > NAMED { "and " (version.count - NAMED) " more" }
                }
                @if versions.len() > 1 && visitor.may(Role::Operator) {
                    @if let Some(panel) = version.panels.first() {
                        a class="button" href={ "/push?link_id=" (link) "&like=" (percent(panel)) } { "Push this version" }
                    }
                }
                details { summary { "Its JSON" } pre { (pretty(version).split('\n').map(text::shown).collect::<Vec<_>>().join("\n")) } }
            }
        }
    };
    Ok(layout::page(&visitor, Place::Profiles, &text::shown(name), main))
}

/// The zone of the first panel that holds it.
pub fn zone_of(fleet: &Fleet, version: &ProfileVersion) -> Zone {
    let panel = match version.panels.first() {
        Some(id) => fleet.panel(id).ok(),
        None => None,
    };
    panel.map_or_else(Zone::utc, |panel| panel.settings.zone.clone())
}

fn parsed(version: &ProfileVersion) -> Result<Value, FleetError> {
    serde_json::from_str(version.profile.get()).map_err(|error| FleetError::Internal(error.into()))
}

/// What a version says, in no words of its own.
fn meant(version: &ProfileVersion) -> Result<Value, FleetError> {
    let meaning = wire::meaning(&read(version.profile.get())?);
    serde_json::from_str(&meaning).map_err(|error| FleetError::Internal(error.into()))
}

fn pretty(version: &ProfileVersion) -> String {
    let value = parsed(version).and_then(|value| {
        serde_json::to_string_pretty(&value).map_err(|error| FleetError::Internal(error.into()))
    });
    value.unwrap_or_default()
}

/// Where two JSON values differ, leaf by leaf: the path, and what stands there in each.
fn differences(first: &Value, here: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    differ("", first, here, &mut found);
    found
}

fn differ(path: &str, first: &Value, here: &Value, found: &mut Vec<(String, String, String)>) {
    match (first, here) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
            keys.dedup();
            for key in keys {
                let at = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                differ(&format!("{path}/{key}"), &at(a), &at(b), found);
            }
        }
        (a, b) if a != b => found.push((path.to_owned(), said(a), said(b))),
        _ => {}
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
