//! Who may open, over the fleet: each identifier with its doors, the profiles that bind it, and where panels differ.
//!
//! A number is shown by its last characters. Whole it is shown to an operator who asks for that one, and then it stands in
//! the audit.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use maud::{Markup, html};

use super::door_events;
use super::layout::{self, Place, panel_link, state};
use super::posted::{ByOperator, Posted};
use super::problem::PageProblem;
use super::profiles::states;
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::fleet::events::{DoorEvent, EventsWanted};
use crate::fleet::held::ItemState;
use crate::fleet::identifiers::{FleetIdentifierVersions, IdentifierVersion, PanelIdentifier};
use crate::http::fleet_api::identifiers::picture;
use crate::http::{Here, Shared, auth, percent};
use crate::identifier::Identifier;
use crate::identifier::rule::{Kind, Lock, OwnerKind};
use crate::profile::{LinkId, text};

/// Identifiers on a page.
const PAGE: usize = 100;

/// Panels named with each version.
const NAMED: usize = 200;

/// The list.
#[get("/identifiers")]
pub async fn list(visitor: Visitor, request: HttpRequest, shared: Here) -> Result<HttpResponse, PageProblem> {
    let query = Fields::parse(request.query_string().as_bytes())?;
    let after: Option<LinkId> = query.one("after").parse().ok();
    let page = shared.fleet.page_of_identifiers(None, after, PAGE).await?;
    let main = html! {
        div class="head" {
            h1 { "Identifiers" }
            @if visitor.may(Role::Operator) {
                a class="button" href="/identifiers/import" { "Import a list" }
                a class="button main" href="/identifiers/new" { "New identifier" }
            }
        }
        @if page.items.is_empty() {
            p class="empty" { "No panel holds an identifier with a link_id: cards, codes and their like that open a door when a profile says so." }
        } @else {
            div class="scroll" {
                table {
                    thead { tr { th { "Name" } th { "What" } th { "Panels" } th { "Versions" } th { "State" } th { "link_id" } } }
                    tbody {
                        @for of in &page.items {
                            tr {
                                td {
                                    a href={ "/identifiers/" (of.link_id) } {
                                        @match &of.identifier {
                                            Some(identifier) => (layout::name(identifier.name.as_str())),
                                            None => "refused by every panel",
                                        }
                                    }
                                }
                                td { @if let Some(identifier) = &of.identifier { (what(identifier)) } }
                                td class="number" { (of.panels) }
                                td class="number" { @if of.versions > 1 { span class="state differs" { (of.versions) " differ" } } @else { "1" } }
                                td { (states(&of.states)) }
                                td { code { (of.link_id) } }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(next) = &page.next { a class="button" href={ "/identifiers?after=" (next) } { "Next page" } }
    };
    Ok(layout::page(&visitor, Place::Identifiers, "Identifiers", main))
}

/// What it is, without what may not be shown of its number.
fn what(identifier: &Identifier) -> String {
    let kind = identifier.credential.kind().in_words();
    match identifier.credential.masked() {
        Some(masked) => format!("{kind} {masked}"),
        None => kind.to_owned(),
    }
}

/// One identifier, version by version; with its photo where that is asked for.
#[get("/identifiers/{link_id}")]
pub async fn show(
    visitor: Visitor,
    link_id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let found = shared.fleet.identifier(&link_id).await?;
    let events = events_of(&shared, &found).await?;
    let photo = Fields::parse(request.query_string().as_bytes())?.ticked("photo");
    Ok(page_of(&visitor, &found, &events, Shows { number: false, photo }))
}

/// The same with its number whole.
#[post("/identifiers/{link_id}/reveal")]
pub async fn reveal(
    Posted { visitor, .. }: Posted<ByOperator>,
    link_id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let origin = auth::origin(&request, &visitor.who.actor());
    let found = shared.fleet.reveal_identifier(&link_id, &origin).await?;
    let events = events_of(&shared, &found).await?;
    let mut page = page_of(&visitor, &found, &events, Shows { number: true, photo: false });
    // It is in no history to come back to.
    page.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(page)
}

/// The photo of a face.
#[get("/identifiers/{link_id}/photo")]
pub async fn show_photo(
    visitor: Visitor,
    link_id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let origin = auth::origin(&request, &visitor.who.actor());
    Ok(picture(&shared.fleet.photo_of_identifier(&link_id, &origin).await?))
}

async fn events_of(shared: &Shared, found: &FleetIdentifierVersions) -> Result<Vec<DoorEvent>, PageProblem> {
    let wanted = EventsWanted { identifier: Some(found.link_id), ..EventsWanted::default() };
    Ok(door_events::last(&shared.fleet, wanted).await?)
}

/// What of an identifier is shown to who asked for it; both stand in the audit, the photo's showing once it is fetched.
#[derive(Clone, Copy)]
struct Shows {
    number: bool,
    photo: bool,
}

fn page_of(
    visitor: &Visitor,
    found: &FleetIdentifierVersions,
    events: &[DoorEvent],
    Shows { number: whole, photo }: Shows,
) -> HttpResponse {
    let link = found.link_id;
    let most = found.versions.first().map(|version| &version.identifier);
    let name = most.map_or("Refused by every panel", |identifier| identifier.name.as_str());
    // A face has a photo instead.
    let has_number = most.is_some_and(|identifier| identifier.credential.kind() != Kind::Face);
    let has_photo = most.is_some() && !has_number;
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/identifiers" { "Identifiers" } }
        div class="head" {
            h1 { (layout::name(name)) }
            @if visitor.may(Role::Operator) {
                a class="button" href={ "/push?delete_identifiers=" (link) } { "Delete from panels" }
                @if !whole && has_number {
                    form method="post" action={ "/identifiers/" (link) "/reveal" } {
                        (layout::token(visitor))
                        button title="It stands in the audit that you have seen it" { "Show the number" }
                    }
                }
                @if has_photo && !photo {
                    a class="button" href={ "/identifiers/" (link) "?photo=yes" } title="It stands in the audit that you have seen it" { "Show the photo" }
                }
                @if most.is_some() { a class="button main" href={ "/identifiers/" (link) "/edit" } { "Edit" } }
            }
        }
        p { code { (link) } " on " (layout::count(found.panels, "panel")) ": " (states(&found.states)) }
        p { a href={ "/access?identifier=" (link) } { "Which doors does it open now?" } }
        @if has_photo && photo && visitor.may(Role::Operator) {
            p {
                a href={ "/identifiers/" (link) "/photo" } {
                    img class="face" src={ "/identifiers/" (link) "/photo" } alt={ "The face of " (text::shown(name)) };
                }
            }
        }
        @if !found.refused.is_empty() {
            section class="card" aria-label="Refusals" {
                h2 { "Refused by " (layout::count(found.states.rejected, "panel")) }
                ul {
                    @for refusing in found.refused.iter().take(NAMED) {
                        li { (panel_link(&refusing.panel)) " " span class="state rejected" { "rejected" } " " (layout::refusal(&refusing.extended_info)) }
                    }
                    @if found.refused.len() > NAMED { li { "and " (found.refused.len() - NAMED) " more" } }
                }
                p class="hint" { "Once what stands in its way is gone, push it again, or retry its batch." }
            }
        }
        @if found.versions.len() > 1 {
            p class="wrong" { "Panels differ: they hold " (found.versions.len()) " versions of it. Edit it and push it to all." }
        }
        @for (n, version) in found.versions.iter().enumerate() {
            section class="card" {
                h2 { @if found.versions.len() > 1 { "Version " (n + 1) ", " } "on " (layout::count(version.count as u64, "panel")) }
                p { (text::shown(&version.sentence)) " (" (version.zone.name()) ")" }
                (facts(version, whole))
                (doors(version))
            }
        }
        (door_events::section(events, true))
    };
    layout::page(visitor, Place::Identifiers, &text::shown(name), main)
}

fn facts(version: &IdentifierVersion, whole: bool) -> Markup {
    let IdentifierVersion { identifier, names, .. } = version;
    let profiles = identifier.profiles.as_slice();
    html! {
        dl class="facts" {
            div { dt { "Type" } dd { (identifier.credential.kind().in_words()) } }
            @if whole {
                div { dt { "Number" } dd { @match identifier.credential.whole() { Some(number) => code { (number) }, None => "none: it is a face" } } }
            } @else if let Some(masked) = identifier.credential.masked() {
                div { dt { "Number" } dd { (masked) } }
            }
            div { dt { "Whose" } dd { @match identifier.owner { OwnerKind::Owner => "owner", OwnerKind::Guest => "guest" } } }
            div { dt { "Opens" } dd { @match identifier.lock { Lock::First => "the first lock", Lock::Second => "the second lock", Lock::All => "all locks" } } }
            div { dt { "When one is open of" } dd {
                @if profiles.is_empty() { "none: at any time at which it is valid" }
                @for (i, id) in profiles.iter().enumerate() {
                    @if i > 0 { ", " }
                    a href={ "/profiles/" (id) } { @match names.get(id) { Some(name) => (layout::name(name)), None => code { (id) } } }
                }
            } }
        }
    }
}

fn doors(version: &IdentifierVersion) -> Markup {
    let waits = |state| state != ItemState::Applied;
    let mut doors: Vec<_> = version.doors.iter().collect();
    doors.sort_by_key(|door| !waits(door.state));
    html! {
        h3 { "Doors" }
        ul {
            @for door in doors.iter().take(NAMED) { li { (panel_link(&door.panel)) " " (state(door.state.as_str())) } }
            @if version.count > NAMED { li { "and " (version.count - NAMED) " more" } }
        }
    }
}

/// What a panel should hold, as a part of its page.
pub fn of_panel(visitor: &Visitor, panel: &str, identifiers: &[PanelIdentifier]) -> Markup {
    html! {
        section aria-label="Identifiers" {
            h2 { "Identifiers" }
            @if !identifiers.is_empty() { p { a href={ "/access?panel=" (percent(panel)) } { "Who may open now?" } } }
            @if identifiers.is_empty() {
                p class="empty" {
                    "It holds no card, code or their like. "
                    @if visitor.may(Role::Operator) { a href={ "/identifiers/new?selector=" (percent(&format!("id={panel}"))) } { "Add one" } }
                }
            } @else {
                div class="scroll tall" tabindex="0" role="region" aria-label="Identifier by identifier" {
                    table {
                        thead { tr { th { "Name" } th { "What" } th { "State" } th { "Revision" } th { "link_id" } } }
                        tbody {
                            @for of in identifiers.iter().take(SHOWN) {
                                tr {
                                    td { (layout::name(of.identifier.name.as_str())) }
                                    td { (text::shown(&of.sentence)) }
                                    td { (state(of.state.as_str())) @if let Some(info) = &of.extended_info { " " (layout::refusal(info)) } }
                                    td class="number" { (of.revision) }
                                    td {
                                        @if let Some(link) = of.link_id {
                                            a href={ "/identifiers/" (link) } { code { (link) } }
                                        } @else { "none; uid " (of.uid) }
                                    }
                                }
                            }
                        }
                    }
                    @if identifiers.len() > SHOWN { p { "and more; the API and " code { "panelsync identifier ls -l id=" (panel) } " list them all" } }
                }
            }
        }
    }
}

/// Identifiers that a panel's page shows.
pub const SHOWN: usize = 200;
