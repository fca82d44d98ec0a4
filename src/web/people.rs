//! A list of people, as spreadsheets save it: what would come of it, and sending it as identifiers.
//!
//! The list is full of numbers, so it is not put back into the page: what is wrong is said by its line, and what is sent
//! in the end is carried there sealed.

use std::sync::Arc;

use actix_web::{HttpResponse, HttpResponseBuilder, get, post};
use maud::{Markup, html};
use serde_json::Value;

use super::identifier_form::{body, sending};
use super::layout::{self, Place};
use super::posted::{ByOperator, Posted};
use super::problem::PageProblem;
use super::profile_form::zones;
use super::push::{panel_by_panel, sums, whom};
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::fleet::batches::Plan;
use crate::fleet::wanted::Wanted;
use crate::fleet::{FieldError, Fleet, FleetError};
use crate::http::{Here, Shared};
use crate::identifier::people::{self, Entry, Faults, Names};
use crate::identifier::sentence::sentence;
use crate::panel::settings::Zone;
use crate::profile::{LinkId, text};

/// Identifiers of a list that are shown one by one.
const SHOWN: usize = 50;

/// Profiles that are read at once.
const PIECE: usize = 1000;

/// What a form may carry, in bytes: with the rest of it that is less than a form may have.
const CARRIED: usize = 900 * 1024;

/// The form for a list.
#[get("/identifiers/import")]
pub async fn import_form(visitor: Visitor, shared: Here) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let zone = zones(&shared.fleet).into_iter().next().unwrap_or_else(|| "UTC".to_owned());
    let fields = Fields::of([("zone".to_owned(), zone)]);
    Ok(show(HttpResponse::Ok(), &visitor, &shared.fleet, &fields, &[], None))
}

/// The dry run.
#[post("/identifiers/import")]
pub async fn dry_run(
    Posted { visitor, fields, .. }: Posted<ByOperator>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    match planned(&shared, &visitor, &fields).await {
        Ok(plan) => Ok(show(HttpResponse::Ok(), &visitor, &shared.fleet, &fields, &[], Some(&plan))),
        Err(FleetError::Invalid(errors) | FleetError::InvalidAmong(errors, _)) => {
            let response = HttpResponse::UnprocessableEntity();
            Ok(show(response, &visitor, &shared.fleet, &fields, &errors, None))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// What would come of a list.
struct Planned {
    /// The first of it, in words.
    said: Vec<Said>,
    /// How many there are.
    all: usize,
    plan: Plan,
    /// What is sent then, sealed.
    items: String,
}

/// An identifier in words.
struct Said {
    line: usize,
    link_id: LinkId,
    sentence: String,
}

async fn planned(shared: &Shared, visitor: &Visitor, fields: &Fields) -> Result<Planned, FleetError> {
    let zone = match fields.one("zone") {
        "" => None,
        name => Some(Zone::new(name).ok_or_else(|| FleetError::invalid("/zone", Zone::unknown(name)))?),
    };
    let names = names(&shared.fleet).await?;
    let rules = zone.as_ref().map(Zone::rules);
    let entries = people::read(&fields.exactly("list"), rules, |name| names.find(name)).map_err(faults)?;
    let items = people::as_sent(&entries).map_err(|error| FleetError::Internal(error.into()))?;
    let sealed =
        shared.fleet.store.seal_for_form(&visitor.form_token, &Value::from(items.clone()).to_string())?;
    if sealed.len() > CARRIED {
        let why = "the list is too long for a page; `panelsync identifier import` takes it";
        return Err(FleetError::invalid("", why));
    }
    let body = body(fields, items).map_err(|error| FleetError::Invalid(vec![error]))?;
    let Wanted { target, operations, .. } =
        Wanted::parse(&body, shared.max_items).map_err(|error| in_lines(error, &entries))?;
    let operations = Arc::new(operations);
    let taken = shared.fleet.refuse_taken(&target, Arc::clone(&operations)).await;
    taken.map_err(|error| in_lines(error, &entries))?;
    let plan = shared.fleet.plan(target, operations).await?;
    let zone = zone.unwrap_or_else(Zone::utc);
    let said = |entry: &Entry| Said {
        line: entry.line,
        link_id: entry.linked.link_id,
        sentence: sentence(&entry.linked.identifier, zone.rules(), |id| names.of(id)),
    };
    let all = entries.len();
    Ok(Planned { said: entries.iter().take(SHOWN).map(said).collect(), all, plan, items: sealed })
}

/// The names of all the fleet's profiles.
async fn names(fleet: &Fleet) -> Result<Names, FleetError> {
    let mut held = Vec::new();
    let mut after = None;
    loop {
        let page = fleet.page_of_profiles(after, PIECE).await?;
        let held_by_some = page.items.into_iter().filter(|profile| profile.panels > 0);
        held.extend(held_by_some.map(|profile| (profile.link_id, profile.name)));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Names::new([], held)),
        }
    }
}

/// What is wrong with a list, by its lines.
fn faults(faults: Faults) -> FleetError {
    match faults {
        Faults::List(why) => FleetError::invalid("", format!("the list {why}")),
        Faults::Lines(told, all) => {
            let more = all - told.len();
            let mut errors: Vec<_> = told.iter().map(|fault| FieldError::at("", fault.to_string())).collect();
            if more > 0 {
                errors.push(FieldError::at("", format!("and {more} more")));
            }
            FleetError::Invalid(errors)
        }
    }
}

/// A refusal with the lines of the list in place of the paths of what was made of it.
fn in_lines(error: FleetError, entries: &[Entry]) -> FleetError {
    let in_line = |error: FieldError| {
        let place = error.path.strip_prefix("/identifiers/upsert/");
        let index = place.and_then(|place| place.split('/').next()?.parse::<usize>().ok());
        match index.and_then(|index| entries.get(index)) {
            Some(entry) => FieldError::at("", format!("line {}: {}", entry.line, error.message)),
            None => error,
        }
    };
    match error {
        FleetError::Invalid(errors) => FleetError::Invalid(errors.into_iter().map(in_line).collect()),
        FleetError::InvalidAmong(errors, all) => {
            FleetError::InvalidAmong(errors.into_iter().map(in_line).collect(), all)
        }
        other => other,
    }
}

fn show(
    response: HttpResponseBuilder,
    visitor: &Visitor,
    fleet: &Fleet,
    fields: &Fields,
    errors: &[FieldError],
    plan: Option<&Planned>,
) -> HttpResponse {
    let panels = fleet.changed_since(0).panels;
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/identifiers" { "Identifiers" } }
        h1 { "Import a list" }
        @if !errors.is_empty() {
            div class="wrong" role="alert" {
                p { "Nothing was sent. Put this right and give the list again:" }
                ul { @for FieldError { path, message } in errors { li { @if !path.is_empty() { code { (path) } " " } (text::shown(message)) } } }
            }
        }
        form id="push" class="card" method="post" action="/identifiers/import#plan" autocomplete="off" {
            (layout::token(visitor))
            fieldset {
                legend { "Who" }
                label { "A file, CSV" input type="file" data-into="list" accept=".csv,.txt,text/csv"; }
                label { "Or here: the first line names the columns"
                    textarea name="list" id="list" rows="8" spellcheck="false" autocapitalize="none" autocomplete="off" placeholder="name;type;number;profiles;from;to" {}
                }
                p class="hint" {
                    "Columns: name, type (card, ukey, inputCode, qr, license_plate), number, profiles (by name or link_id, with | between several, or "
                    code { (people::ALWAYS) } "); and as you like from, to, owner, lock, passes, link_id, apartment_link_id. Without a link_id one is made of name and type."
                }
                label { "Zone in which its days are meant"
                    input name="zone" value=(fields.one("zone")) list="zones" autocapitalize="none" spellcheck="false";
                }
                datalist id="zones" { @for zone in zones(fleet) { option value=(zone) {} } }
            }
            (whom(fields, errors, &panels))
            button class=[plan.is_none().then_some("main")] { "Dry run" }
            p class="hint" { "A dry run changes nothing: it says what would be created, updated or stays as it is, panel by panel." }
        }
        @if let Some(plan) = plan { (looked_at(visitor, fields, plan)) }
    };
    layout::page_with(response, visitor, Place::Identifiers, "Import a list", main)
}

fn looked_at(visitor: &Visitor, fields: &Fields, Planned { said, all, plan, items }: &Planned) -> Markup {
    html! {
        section class="card" id="plan" aria-label="Dry run" {
            (sums(plan))
            div class="scroll tall" tabindex="0" role="region" aria-label="Line by line" {
                table {
                    thead { tr { th { "Line" } th { "Identifier" } th { "link_id" } } }
                    tbody {
                        @for Said { line, link_id, sentence } in said {
                            tr { td class="number" { (line) } td { (text::shown(sentence)) } td { code { (link_id) } } }
                        }
                    }
                }
                @if *all > said.len() { p { "and " (all - said.len()) " more" } }
            }
            (panel_by_panel(plan))
            (sending(visitor, fields, items, None, plan))
        }
    }
}
