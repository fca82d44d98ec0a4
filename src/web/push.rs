//! Pushing profiles to panels: what and for whom, then the dry run, then the batch.
//!
//! Nothing is kept between these steps: each form carries what was chosen before, and what is sent in the end is
//! what the dry run was asked for. The form carries an idempotency key of its own, so a batch that is sent twice is
//! one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post};
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::layout::{self, Place, panel_link, state};
use super::opening;
use super::posted::{ByOperator, Posted};
use super::problem::PageProblem;
use super::profiles::zone_of;
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::batch::report::{ItemCounts, Report};
use crate::batch::{Content, ItemOutcome};
use crate::coordinator::register::Entry;
use crate::fleet::batches::{self, IdempotencyKey, ItemResult, PlannedPanel};
use crate::fleet::profiles::ProfileVersion;
use crate::fleet::wanted::Wanted;
use crate::fleet::{FieldError, Fleet, FleetError};
use crate::http::{Here, Shared, auth};
use crate::identifier::file;
use crate::panel::settings::Zone;
use crate::profile::sentence::sentence;
use crate::profile::{LinkId, TimeProfile, opens};

/// Panels of a dry run that are shown one by one.
const SHOWN: usize = 500;

/// Values of labels that are offered as buttons, and while one types.
const OFFERED: usize = 40;
const COMPLETED: usize = 500;

/// Profiles whose meaning is shown in each zone.
const EXPLAINED: usize = 50;

/// A profile as some panel of the fleet holds it.
pub struct Held {
    /// Which profile.
    pub link_id: LinkId,
    /// As it is held.
    pub version: ProfileVersion,
    /// The zone of the first panel that holds it so.
    pub zone: Zone,
}

/// The profile as most panels hold it, or as this one does.
pub async fn held(fleet: &Fleet, link_id: &str, like: Option<&str>) -> Result<Held, PageProblem> {
    let found = fleet.profile(link_id).await?;
    let wanted =
        |version: &ProfileVersion| like.is_none_or(|like| version.panels.iter().any(|panel| panel == like));
    let mut versions = found.versions.into_iter();
    let no_version = || FleetError::NotFound(format!("version of {link_id} on that panel"));
    let version = versions.find(wanted).ok_or_else(no_version)?;
    let zone = zone_of(fleet, &version);
    Ok(Held { link_id: found.link_id, version, zone })
}

/// The form: empty, with a profile of the fleet, or to delete one.
#[get("/push")]
pub async fn push_form(
    visitor: Visitor,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let query = Fields::parse(request.query_string().as_bytes())?;
    let mut pairs = Vec::new();
    for name in ["selector", "delete", "delete_identifiers"] {
        pairs.push((name.to_owned(), query.one(name).to_owned()));
    }
    if !query.one("link_id").is_empty() {
        let like = Some(query.one("like")).filter(|like| !like.is_empty());
        let Held { link_id, version, .. } = held(&shared.fleet, query.one("link_id"), like).await?;
        pairs.push(("items".to_owned(), items(&linked(link_id, version.profile.get())?)));
    }
    let form = Form { fields: Fields::of(pairs), errors: Vec::new(), plan: None };
    form.show(HttpResponse::Ok(), &visitor, &shared.fleet).await
}

/// A stored profile with its link_id, as it is sent.
fn linked(link_id: LinkId, stored: &str) -> Result<Value, FleetError> {
    let stored: Map<String, Value> =
        serde_json::from_str(stored).map_err(|error| FleetError::Internal(error.into()))?;
    let mut item = Map::new();
    item.insert("link_id".into(), link_id.to_string().into());
    item.extend(stored);
    Ok(item.into())
}

fn items(item: &Value) -> String {
    serde_json::to_string_pretty(&[item]).unwrap_or_default() // a Value can be written
}

/// The form with a profile that has just been built.
pub async fn choose(visitor: &Visitor, fleet: &Fleet, profile: &Value) -> Result<HttpResponse, PageProblem> {
    let fields = Fields::of([("items".to_owned(), items(profile))]);
    let form = Form { fields, errors: Vec::new(), plan: None };
    form.show(HttpResponse::Ok(), visitor, fleet).await
}

/// The dry run.
#[post("/push")]
pub async fn dry_run(
    Posted { visitor, fields, .. }: Posted<ByOperator>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let planned = match body(&fields) {
        Ok(body) => planned(&shared, &body).await,
        Err(errors) => Err(FleetError::Invalid(errors)),
    };
    match planned {
        Ok(plan) => {
            let form = Form { fields, errors: Vec::new(), plan: Some(plan) };
            form.show(HttpResponse::Ok(), &visitor, &shared.fleet).await
        }
        Err(FleetError::Invalid(errors) | FleetError::InvalidAmong(errors, _)) => {
            let form = Form { fields, errors, plan: None };
            form.show(HttpResponse::UnprocessableEntity(), &visitor, &shared.fleet).await
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn planned(shared: &Shared, body: &[u8]) -> Result<Plan, FleetError> {
    let wanted = Wanted::parse(body, shared.max_items)?;
    let panels = shared.fleet.targets(&wanted.target)?;
    let profiles = wanted.operations.upserts.iter().filter_map(|upsert| match &upsert.content {
        Content::Profile(profile) => Some(profile.clone()),
        Content::Identifier(..) | Content::ByTheClock(_) => None,
    });
    let profiles: Vec<_> = profiles.take(EXPLAINED).collect();
    let zones = by_zone(&panels, &profiles);
    let Wanted { target, operations, .. } = wanted;
    Ok(Plan { run: shared.fleet.plan(target, Arc::new(operations)).await?, zones })
}

/// Sends what the dry run was asked for.
#[post("/push/send")]
pub async fn send_batch(
    Posted { visitor, fields, .. }: Posted<ByOperator>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let body = body(&fields).map_err(FleetError::Invalid)?;
    let wanted = Wanted::parse(&body, shared.max_items)?;
    let key = Some(fields.one("key").to_owned()).filter(|key| !key.is_empty());
    let key = key.map(|name| IdempotencyKey::new(name, &body));
    let batch = shared.fleet.submit(wanted, key, auth::origin(&request, &visitor.who.actor())).await?;
    Ok(layout::see(&format!("/batches/{}", batch.id)))
}

/// The body that the fleet API would be sent.
fn body(fields: &Fields) -> Result<Vec<u8>, Vec<FieldError>> {
    let mut body = Map::new();
    let items = fields.one("items");
    if !items.is_empty() {
        let list = file::profiles_alone(items)
            .map_err(|error| vec![FieldError::at("/upsert", error.to_string())])?;
        body.insert("upsert".into(), list.into());
    }
    let ids = |name: &str| -> Vec<String> {
        let ids = fields.one(name).split([' ', ',', '\r', '\n']).filter(|id| !id.is_empty());
        ids.map(str::to_owned).collect()
    };
    let (profiles, identifiers) = (ids("delete"), ids("delete_identifiers"));
    if !profiles.is_empty() {
        body.insert("delete".into(), profiles.into());
    }
    if !identifiers.is_empty() {
        body.insert("identifiers".into(), json!({ "delete": identifiers }));
    }
    if fields.ticked("prune") {
        body.insert("prune".into(), true.into());
    }
    for confirms in ["confirm_deletes", "confirm_door_hours"] {
        if let Ok(meant) = fields.one(confirms).parse::<u64>() {
            body.insert(confirms.into(), meant.into());
        }
    }
    put_target(fields, &mut body).map_err(|error| vec![error])?;
    Ok(serde_json::to_vec(&body).unwrap_or_default()) // a Value can be written
}

/// For which panels it is, as the fleet API would be told.
pub fn put_target(fields: &Fields, body: &mut Map<String, Value>) -> Result<(), FieldError> {
    match (fields.one("target"), fields.one("selector")) {
        ("all", "") => body.insert("all".into(), true.into()),
        ("all", _) => return Err(FieldError::at("/selector", "either a selector or all panels")),
        (_, "") => return Err(FieldError::at("/selector", "say which panels, or choose all")),
        (_, selector) => body.insert("selector".into(), selector.into()),
    };
    Ok(())
}

/// What would come of it.
struct Plan {
    run: batches::Plan,
    zones: Vec<Explained>,
}

/// What the profiles mean in one zone.
struct Explained {
    zone: String,
    panels: usize,
    sentences: Vec<(String, String, bool)>,
}

fn by_zone(panels: &[Entry], profiles: &[TimeProfile]) -> Vec<Explained> {
    let mut zones: BTreeMap<&str, (&Zone, usize)> = BTreeMap::new();
    for panel in panels {
        let zone = &panel.settings.zone;
        zones.entry(zone.name()).or_insert((zone, 0)).1 += 1;
    }
    let explain = |zone: &Zone, panels| Explained {
        zone: zone.name().to_owned(),
        panels,
        sentences: profiles
            .iter()
            .map(|profile| {
                let never = opens::check(profile, zone.rules()).is_err();
                (profile.name.as_str().to_owned(), sentence(profile, zone.rules()), never)
            })
            .collect(),
    };
    zones.into_values().map(|(zone, panels)| explain(zone, panels)).collect()
}

/// The form as it is shown again at each step.
struct Form {
    fields: Fields,
    errors: Vec<FieldError>,
    plan: Option<Plan>,
}

impl Form {
    async fn show(
        &self,
        response: HttpResponseBuilder,
        visitor: &Visitor,
        fleet: &Fleet,
    ) -> Result<HttpResponse, PageProblem> {
        let panels = fleet.changed_since(0).panels;
        let main = html! {
            h1 { "Push" }
            @if !self.errors.is_empty() { (self.problems()) }
            form id="push" class="card" method="post" action="/push#plan" {
                (layout::token(visitor))
                (self.what())
                (whom(&self.fields, &self.errors, &panels))
                button class=[self.plan.is_none().then_some("main")] { @if self.plan.is_some() { "Dry run again" } @else { "Dry run" } }
                p class="hint" { "A dry run changes nothing: it says what would be created, updated, deleted or stays as it is, panel by panel." }
            }
            @if let Some(plan) = &self.plan { (self.planned(visitor, plan)) }
        };
        Ok(layout::page_with(response, visitor, Place::Push, "Push", main))
    }

    fn problems(&self) -> Markup {
        html! {
            div class="wrong" role="alert" {
                p { "Nothing was sent; " (layout::count(self.errors.len() as u64, "place")) " to put right:" }
                ul {
                    @for error in self.errors.iter().take(20) {
                        li { @if !error.path.is_empty() { code { (error.path) } " " } (error.message) }
                    }
                    @if self.errors.len() > 20 { li { "and " (self.errors.len() - 20) " more" } }
                }
            }
        }
    }

    fn what(&self) -> Markup {
        // A file with numbers of identifiers is not taken here, and not put back into the page.
        let items = Some(self.fields.one("items")).filter(|items| !items.contains("identifier_number"));
        let items = items.unwrap_or_default();
        let known: Vec<_> = profiles_of(items);
        let (deletes, undone) = (self.fields.one("delete"), self.fields.one("delete_identifiers"));
        html! {
            fieldset id="import" {
                legend { "What" }
                @if !known.is_empty() {
                    ul class="cards" {
                        @for (name, link) in known.iter().take(EXPLAINED) { li { b { (layout::name(name)) } " " code { (link) } } }
                        @if known.len() > EXPLAINED { li { "and " (known.len() - EXPLAINED) " more" } }
                    }
                }
                details open[known.is_empty() && deletes.is_empty() && undone.is_empty()] {
                    summary { @if known.is_empty() { "Profiles from a file" } @else { "The profiles as JSON" } }
                    label { "A file, JSON or YAML" input type="file" data-into="items" accept=".json,.yaml,.yml,application/json"; }
                    label { "Or here: a list of profiles, or an object with " code { "list_items" }
                        textarea name="items" id="items" rows="10" spellcheck="false" autocapitalize="none" { (items) }
                    }
                }
                details open[!deletes.is_empty()] {
                    summary { "Profiles to delete" }
                    label { "Their link_ids" textarea name="delete" rows="3" spellcheck="false" { (deletes) } }
                    label class="tick" { input type="checkbox" name="prune" value="yes" checked[self.fields.ticked("prune")]; "Also delete every other profile with a link_id of those panels" }
                }
                details open[!undone.is_empty()] {
                    summary { "Identifiers to delete" }
                    label { "Their link_ids" textarea name="delete_identifiers" rows="3" spellcheck="false" { (undone) } }
                    p class="hint" { "New ones come from " a href="/identifiers/new" { "a form" } " or " a href="/identifiers/import" { "a list" } "." }
                }
            }
        }
    }

    fn planned(&self, visitor: &Visitor, plan: &Plan) -> Markup {
        let Report { panels, items, .. } = &plan.run.report;
        let changes = items.created + items.updated + items.deleted;
        let what = match plan.run.report.identifiers.deleted {
            0 => "profile",
            all if all == items.deleted => "identifier",
            _ => "item",
        };
        html! {
            section class="card" id="plan" aria-label="Dry run" {
                (sums(&plan.run))
                (explanations(&plan.zones))
                (panel_by_panel(&plan.run))
                form method="post" action="/push/send" {
                    (layout::token(visitor))
                    input type="hidden" name="key" value=(Uuid::new_v4());
                    @for name in ["items", "delete", "delete_identifiers", "prune", "target", "selector"] {
                        input type="hidden" name=(name) value=(self.fields.one(name));
                    }
                    // What the reader saw is what is meant: where it has become more by then, it is refused.
                    input type="hidden" name="confirm_deletes" value=(items.deleted);
                    input type="hidden" name="confirm_door_hours" value=(plan.run.opening.door_hours());
                    button class=(if items.deleted > 0 { "danger" } else { "main" }) id="send" {
                        @if changes == 0 { "Push anyway to " } @else { "Push to " } (layout::count(panels.total, "panel"))
                        @if items.deleted > 0 { ", deleting " (layout::count(items.deleted, what)) }
                    }
                }
            }
        }
    }
}

/// The field for the panels it is for.
pub fn whom(fields: &Fields, errors: &[FieldError], panels: &[Entry]) -> Markup {
    let all = fields.one("target") == "all";
    let labels = labels(panels);
    let wrong = errors.iter().any(|error| error.path == "/selector");
    html! {
        fieldset {
            legend { "For which panels" }
            div class="row" {
                label class="grow" { "Selector"
                    input name="selector" id="selector" value=(fields.one("selector")) placeholder="site=north, floor in (1,2), !old" list="labels" autocapitalize="none" spellcheck="false" aria-invalid=[wrong.then_some("true")];
                }
                datalist id="labels" { @for (label, _) in &labels { option value=(label) {} } }
                label class="tick" { input type="checkbox" name="target" value="all" checked[all]; "All " (panels.len()) }
            }
            div class="chips" aria-label="Panels by label" {
                @for (label, count) in labels.iter().take(OFFERED) {
                    button type="button" data-fill="selector" data-value=(label) { (label) " " small { (count) } }
                }
            }
        }
    }
}

/// What would come of a batch, in sum.
pub fn sums(plan: &batches::Plan) -> Markup {
    let Report { panels, items, .. } = &plan.report;
    html! {
        h2 { "What would come of it" }
        p class="sums" {
            (layout::count(panels.total, "panel")) ": "
            b { (items.created) } " created, " b { (items.updated) } " updated, " b { (items.deleted) } " deleted, "
            b { (items.unchanged) } " unchanged"
            @if items.entity_not_found > 0 { ", " b { (items.entity_not_found) } " not there to delete" }
            @if items.changed_since > 0 { ", " b { (items.changed_since) } " left, since something newer has changed them" }
            @if items.rejected > 0 { ", " b class="wrong" { (items.rejected) " refused" } }
        }
        (opening::changes(&plan.opening))
        @if plan.unread > 0 {
            p class="wrong" {
                "On " (layout::count(plan.unread, "device")) " whatever else is held goes, too, and nobody has read what that is."
            }
        }
    }
}

/// The same by panel.
pub fn panel_by_panel(plan: &batches::Plan) -> Markup {
    let mut rows: Vec<&PlannedPanel> = plan.panels.iter().collect();
    // What is refused first, then what changes.
    let changes = |items: &ItemCounts| items.created + items.updated + items.deleted;
    rows.sort_by_key(|row| (row.items.rejected == 0, changes(&row.items) == 0));
    html! {
        div class="scroll tall" tabindex="0" role="region" aria-label="Panel by panel" {
            table {
                thead { tr { th { "Panel" } th { "Outcome" } th { "Created" } th { "Updated" } th { "Deleted" } th { "Unchanged" } th { "Refused" } } }
                tbody {
                    @for row in rows.iter().take(SHOWN) {
                        tr {
                            td { (panel_link(row.panel.as_str())) }
                            td { (state(row.outcome.as_str())) }
                            @for n in [row.items.created, row.items.updated, row.items.deleted, row.items.unchanged, row.items.rejected] {
                                td class="number" { @if n > 0 { (n) } }
                            }
                        }
                    }
                }
            }
            @if rows.len() > SHOWN { p { "and " (rows.len() - SHOWN) " more; the sums are of all" } }
        }
        (refusals(plan))
    }
}

/// Refusals of a plan that are told.
const REFUSALS: usize = 20;

/// What would be refused, and why.
fn refusals(plan: &batches::Plan) -> Markup {
    let refused = plan.panels.iter().flat_map(|panel| panel.refused.iter().map(move |item| (panel, item)));
    let refused: Vec<_> = refused.take(REFUSALS).collect();
    html! {
        @if !refused.is_empty() {
            ul {
                @for (panel, ItemResult { item, extended_info, .. }) in refused {
                    @let does = if extended_info == ItemOutcome::ChangedSince.extended_info() { " keeps " } else { " refuses " };
                    li { (panel_link(panel.panel.as_str())) (does) (item.kind.as_str()) " " code { (item.link_id) } ": " (layout::refusal(extended_info)) }
                }
            }
        }
    }
}

fn explanations(zones: &[Explained]) -> Markup {
    html! {
        @if zones.iter().any(|zone| !zone.sentences.is_empty()) {
            dl class="zones" {
                @for zone in zones {
                    div {
                        dt { (zone.zone) ", " (layout::count(zone.panels as u64, "panel")) }
                        @for (name, sentence, never) in &zone.sentences {
                            dd { b { (layout::name(name)) } ": " (sentence) @if *never { " " span class="wrong" { "never opens a door there" } } }
                        }
                    }
                }
            }
        }
    }
}

/// The names and link_ids of what is to be pushed, as far as it can be read.
fn profiles_of(items: &str) -> Vec<(String, String)> {
    let Ok(list) = file::profiles_alone(items) else { return Vec::new() };
    let said = |item: &Value, key: &str| item[key].as_str().map_or_else(|| "?".to_owned(), str::to_owned);
    list.iter().map(|item| (said(item, "name"), said(item, "link_id"))).collect()
}

/// The labels that several panels have, with how many.
fn labels(panels: &[Entry]) -> Vec<(String, usize)> {
    let mut labels: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (key, value) in panels.iter().flat_map(|panel| &panel.settings.labels) {
        *labels.entry((key, value)).or_default() += 1;
    }
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, _) in labels.keys() {
        *keys.entry(key).or_default() += 1;
    }
    // A label that nearly every panel has its own value of is nothing to choose by.
    let to_choose_by = |values: usize| values <= OFFERED || values * 2 <= panels.len();
    let mut labels: Vec<_> = labels
        .into_iter()
        .filter(|((key, _), _)| keys.get(key).is_some_and(|values| to_choose_by(*values)))
        .collect();
    labels.sort_by_key(|((key, _), _)| (*key != "site", *key));
    labels
        .into_iter()
        .take(COMPLETED)
        .map(|((key, value), count)| (format!("{key}={value}"), count))
        .collect()
}
