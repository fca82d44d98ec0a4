//! Who may open which door, when, and why: a question of a panel, an identifier, or both.

use actix_web::{HttpRequest, HttpResponse, get};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::layout::{self, Place, panel_link};
use super::problem::PageProblem;
use super::visitor::{Fields, Visitor};
use crate::batch::item::Kind;
use crate::clock;
use crate::coordinator::register::Entry;
use crate::fleet::who::{Confirmed, Doors, Opening};
use crate::fleet::{Fleet, FleetError};
use crate::http::fleet_api::place_of_item;
use crate::http::fleet_api::who::cursor_of;
use crate::http::{Here, percent};
use crate::identifier::opens::When;
use crate::panel::settings::PanelId;
use crate::profile::{LinkId, opens, text};

/// Answers on a page.
const PAGE: usize = 100;

/// The form, and what it was asked last.
#[get("/access")]
pub async fn show(visitor: Visitor, request: HttpRequest, shared: Here) -> Result<HttpResponse, PageProblem> {
    let query = Fields::parse(request.query_string().as_bytes())?;
    let (status, answer) = match Question::read(&query, &shared.fleet) {
        Ok(None) => (HttpResponse::Ok(), html! {}),
        Ok(Some(question)) => (HttpResponse::Ok(), answered(&query, question, &shared.fleet).await?),
        Err(wrong) => {
            (HttpResponse::UnprocessableEntity(), html! { div class="wrong" role="alert" { p { (wrong) } } })
        }
    };
    let main = html! {
        div class="head" { h1 { "Who may open?" } }
        form class="card" method="get" action="/access" autocomplete="off" {
            div class="row" {
                label { "Panel" input name="panel" value=(query.one("panel")) placeholder="north-01" autocapitalize="none" spellcheck="false"; }
                label class="grow" { "Identifier, by link_id" input name="identifier" value=(query.one("identifier")) placeholder="all of the panel" autocapitalize="none" spellcheck="false"; }
                label { "At, by the panel's clock" input type="datetime-local" name="at" value=(query.one("at")); }
            }
            p class="hint" { "One of both is enough: then all identifiers of the panel are told, or all doors of the identifier. Without a panel the moment is in UTC, and without a moment it is now." }
            button class="main" { "Ask" }
        }
        (answer)
    };
    Ok(layout::page_with(status, &visitor, Place::Identifiers, "Who may open", main))
}

/// What is asked.
struct Question {
    doors: Doors,
    when: When,
}

impl Question {
    /// Nothing, where the form is empty; or what is wrong with it.
    fn read(query: &Fields, fleet: &Fleet) -> Result<Option<Self>, String> {
        let given = |name| Some(query.one(name)).filter(|text| !text.is_empty());
        let panel = given("panel").map(|id| {
            fleet
                .find_panel(id)
                .ok_or_else(|| format!("There is no panel {}.", text::shown(&text::short(id))))
        });
        let panel = panel.transpose()?;
        let identifier = given("identifier").map(str::parse::<LinkId>).transpose();
        let identifier =
            identifier.map_err(|_| "The identifier is named by its link_id, a UUID.".to_owned())?;
        let when = moment(given("at"), panel.as_ref())?;
        let after = given("after");
        let doors = match (panel, identifier) {
            (None, None) => return Ok(None),
            (Some(panel), Some(link)) => Doors::Pair(panel, link),
            (Some(panel), None) => {
                Doors::Panel(panel, after.and_then(|after| place_of_item(Kind::Identifier, after)))
            }
            (None, Some(link)) => Doors::Identifier(link, after.and_then(PanelId::new)),
        };
        Ok(Some(Self { doors, when }))
    }
}

/// A moment by the panel's clock; in UTC without a panel, and now without a moment.
fn moment(text: Option<&str>, panel: Option<&Entry>) -> Result<When, String> {
    let at = match text {
        None => Some(clock::now_ms() / 1000),
        Some(text) => {
            let zone = panel.map_or(TimeZone::UTC, |panel| panel.settings.zone.rules().clone());
            text.parse::<DateTime>().ok().map(|local| opens::instant_of(local, &zone))
        }
    };
    let when = at.and_then(|at| When::at(at).ok());
    when.ok_or_else(|| "The moment is a date and a time, such as 2026-11-26T09:30.".to_owned())
}

async fn answered(query: &Fields, question: Question, fleet: &Fleet) -> Result<Markup, FleetError> {
    let Question { doors, when } = question;
    let (is_pair, is_panel) = (matches!(doors, Doors::Pair(..)), matches!(doors, Doors::Panel(..)));
    let page = fleet.access(doors, when, false, PAGE).await?;
    if is_pair {
        return Ok(html! { @for opening in &page.items { (verdict(opening, when)) } });
    }
    let next = page.next.map(|next| {
        let same = ["panel", "identifier", "at"].map(|name| format!("{name}={}&", percent(query.one(name))));
        format!("/access?{}after={}", same.concat(), percent(&cursor_of(next)))
    });
    let none = if is_panel { "The panel holds no identifier." } else { "No panel holds this identifier." };
    Ok(html! {
        @if page.items.is_empty() && next.is_none() { p class="empty" { (none) } } @else { (table(&page.items, is_panel)) }
        @if let Some(next) = &next { a class="button" href=(next) { "Next page" } }
    })
}

/// Yes or no, and why.
fn verdict(opening: &Opening, when: When) -> Markup {
    let zone = &opening.panel.zone;
    html! {
        section class="card" aria-label="Answer" {
            h2 { @if opening.opens() { "Yes, it opens" } @else { "No, it does not open" } }
            p {
                (identifier(opening)) " at " (panel_link(opening.panel.id.as_str()))
                @if let Some(at) = when.moment() { ", " (layout::moment_in(at, zone.rules())) " (" (zone.name()) ")" }
            }
            p { (text::shown(&opening.text())) }
            @if !opening.is_nowhere() { p { "Confirmed: " (confirmed(opening)) } }
        }
    }
}

fn table(openings: &[Opening], is_panel: bool) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { th { @if is_panel { "Identifier" } @else { "Panel" } } th { "Opens" } th { "Why" } th { "Confirmed" } } }
                tbody {
                    @for opening in openings {
                        tr {
                            td { @if is_panel { (identifier(opening)) } @else { (panel_link(opening.panel.id.as_str())) " (" (opening.panel.zone.name()) ")" } }
                            td { @if opening.opens() { "yes" } @else { "no" } }
                            td { (text::shown(&opening.text())) }
                            td { (confirmed(opening)) }
                        }
                    }
                }
            }
        }
    }
}

/// Whose it is, and what may be shown of its number.
fn identifier(opening: &Opening) -> Markup {
    let link = opening.name.link_id();
    let named = html! {
        @match opening.holder() {
            Some(holder) => {
                (layout::name(&holder.name)) ", " (holder.kind.in_words())
                @if let Some(masked) = &holder.masked { " " (masked) }
            }
            None => { @if let Some(link) = link { code { (link) } } }
        }
    };
    html! { @match link { Some(link) => a href={ "/identifiers/" (link) } { (named) }, None => (named) } }
}

fn confirmed(opening: &Opening) -> Markup {
    html! {
        (opening.confirmed.as_str())
        @if let Some(not_confirmed) = &opening.not_confirmed { ": " (text::shown(not_confirmed)) }
        @if opening.confirmed != Confirmed::Yes {
            @if opening.opens() { ", so perhaps it does not open" } @else if opening.may_open { ", so perhaps it opens still" }
        }
    }
}
