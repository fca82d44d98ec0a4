//! The form of an identifier, what would come of it, and sending it.
//!
//! A number is never put back into a page, and a photo cannot be. What one step has of them the next one needs all the same:
//! they are carried sealed, for this session alone, so that a field for one that is left empty means that of before. A face
//! is carried as the digest of its photo, and the photo beside it where the store may not have it yet.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post, web};
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::fields::{DIGEST, Read, fields_of};
use super::layout::{self, Place};
use super::posted::{ByOperator, PostedWithPhoto};
use super::problem::{PageProblem, capital};
use super::profile_form::zones;
use super::push::{self, panel_by_panel, put_target, sums};
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::fleet::batches::{IdempotencyKey, Plan};
use crate::fleet::identifiers::{FleetIdentifierVersions, IdentifierVersion};
use crate::fleet::wanted::Wanted;
use crate::fleet::{FieldError, Fleet, FleetError};
use crate::http::{Here, Shared, auth};
use crate::identifier::photo::{FaceDigest, Photo};
use crate::identifier::rule::Kind;
use crate::identifier::sentence::sentence;
use crate::panel::settings::Zone;
use crate::profile::{LinkId, text};

pub mod fields;

/// Profiles that are offered as boxes; others are named by their link_ids.
const OFFERED: usize = 200;

/// Where in the body that is sent the identifier stands.
const AT: &str = "/identifiers/upsert/0";

/// The form for a new identifier.
#[get("/identifiers/new")]
pub async fn new_identifier(
    visitor: Visitor,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let query = Fields::parse(request.query_string().as_bytes())?;
    let zone = zones(&shared.fleet).into_iter().next().unwrap_or_else(|| "UTC".to_owned());
    let fields = [
        ("link_id", Uuid::new_v4().to_string()),
        ("type", Kind::Card.as_str().to_owned()),
        ("zone", zone),
        ("selector", query.one("selector").to_owned()),
    ];
    let fields = Fields::of(fields.map(|(name, value)| (name.to_owned(), value)));
    let form = Form { fields, ..Form::new("New identifier") };
    Ok(form.show(HttpResponse::Ok(), &visitor, &shared.fleet, &offered(&shared.fleet).await?))
}

/// The form with an identifier as most panels hold it, in the zone of the first of them.
#[get("/identifiers/{link_id}/edit")]
pub async fn edit_identifier(
    visitor: Visitor,
    link_id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Operator)?;
    let found = shared.fleet.identifier(&link_id).await?;
    let differs = Differs::of(&found);
    let version = found.versions.into_iter().next();
    let IdentifierVersion { identifier, zone, .. } =
        version.ok_or_else(|| FleetError::NotFound(format!("panel that holds identifier {link_id}")))?;
    let (fields, item) = fields_of(found.link_id, identifier, &zone);
    let carried = shared.fleet.store.seal_for_form(&visitor.form_token, &item).map_err(FleetError::from)?;
    let form = Form { fields, carried, differs, ..Form::new("Edit an identifier") };
    Ok(form.show(HttpResponse::Ok(), &visitor, &shared.fleet, &offered(&shared.fleet).await?))
}

/// The dry run.
#[post("/identifiers/check")]
pub async fn dry_run(
    PostedWithPhoto { visitor, fields, mut parts, .. }: PostedWithPhoto<ByOperator>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let (store, session) = (&shared.fleet.store, visitor.form_token.as_str());
    let before = store.open_of_form(session, fields.one("carried"));
    let brought = fields::photo_in(&mut parts);
    let chosen = brought.as_ref().map(Option::as_ref).map_err(Clone::clone);
    let Read { item, errors } = Read::of(&fields, chosen, before.as_deref());
    let photo =
        brought.ok().flatten().or_else(|| store.open_photo_of_form(session, fields.one("photo_carried")));
    let photo = photo.filter(|photo| is_of(&item, photo));
    let carried = store.seal_for_form(session, &item.to_string()).map_err(FleetError::from)?;
    let sealed = photo.as_ref().map(|photo| store.seal_photo_for_form(session, photo)).transpose();
    let photo_carried = sealed.map_err(FleetError::from)?;
    let items = json!([item]).to_string();
    // One that is new is on no panel.
    let differs = shared.fleet.identifier(fields.one("link_id")).await.ok().as_ref().and_then(Differs::of);
    let mut form = Form { fields, carried, photo_carried, errors, differs, ..Form::new("Identifier") };
    form.errors.extend(put_target(&form.fields, &mut Map::new()).err());
    let profiles = offered(&shared.fleet).await?;
    let planned = if form.errors.is_empty() {
        planned(&shared, &form.fields, item, photo.as_ref(), &profiles).await
    } else {
        Err(FleetError::Invalid(Vec::new()))
    };
    match planned {
        Ok((plan, said)) => {
            let items = store.seal_for_form(session, &items).map_err(FleetError::from)?;
            form.plan = Some(Planned { plan, said, items });
            Ok(form.show(HttpResponse::Ok(), &visitor, &shared.fleet, &profiles))
        }
        Err(FleetError::Invalid(errors) | FleetError::InvalidAmong(errors, _)) => {
            form.errors.extend(errors);
            Ok(form.show(HttpResponse::UnprocessableEntity(), &visitor, &shared.fleet, &profiles))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Sends what a dry run was asked for: of one, or of a list.
#[post("/identifiers/send")]
pub async fn send(
    PostedWithPhoto { visitor, fields, parts: _place, .. }: PostedWithPhoto<ByOperator>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let (store, session) = (&shared.fleet.store, visitor.form_token.as_str());
    let items = store.open_of_form(session, fields.one("items"));
    let items = items.and_then(|items| serde_json::from_str(&items).ok()).ok_or_else(|| {
        let why = "what this form carries is of another session; begin with the dry run again";
        FleetError::Unreadable(why.to_owned())
    })?;
    let photo = store.open_photo_of_form(session, fields.one("photo_carried"));
    let items = with_photos(&shared.fleet, items, photo.as_ref()).await?;
    let body = body(&fields, items).map_err(|error| FleetError::Invalid(vec![error]))?;
    let wanted = Wanted::parse(&body, shared.max_items)?;
    let key = Some(fields.one("key").to_owned()).filter(|key| !key.is_empty());
    let key = key.map(|name| IdempotencyKey::new(name, &body));
    let batch = shared.fleet.submit(wanted, key, auth::origin(&request, &visitor.who.actor())).await?;
    Ok(layout::see(&format!("/batches/{}", batch.id)))
}

/// The body that the fleet API would be sent.
pub fn body(fields: &Fields, items: Vec<Value>) -> Result<Vec<u8>, FieldError> {
    let mut body = Map::new();
    body.insert("identifiers".into(), json!({ "upsert": items }));
    put_target(fields, &mut body)?;
    Ok(serde_json::to_vec(&body).unwrap_or_default()) // a Value can be written
}

/// Whether an item is the face on this photo.
fn is_of(item: &Value, photo: &Photo) -> bool {
    item[DIGEST].as_str().and_then(FaceDigest::parse) == Some(photo.digest())
}

/// The items as a batch takes them: a face with its photo, which is this one or one that the store has, and no digest.
async fn with_photos(
    fleet: &Fleet,
    mut items: Vec<Value>,
    photo: Option<&Photo>,
) -> Result<Vec<Value>, FleetError> {
    for item in &mut items {
        let Some(digest) = item[DIGEST].as_str().map(FaceDigest::parse) else { continue };
        let image = match (digest, photo.filter(|photo| is_of(item, photo))) {
            (_, Some(photo)) => Some(photo.base64()),
            (Some(digest), None) => fleet.photo_to_send(digest).await?.map(|photo| photo.base64()),
            (None, None) => None,
        };
        let image = image.ok_or_else(|| {
            FleetError::invalid("/face_image", "its photo is kept no longer; choose it again")
        })?;
        if let Some(item) = item.as_object_mut() {
            item.remove(DIGEST);
            item.insert("face_image".into(), image.into());
        }
    }
    Ok(items)
}

/// What would come of it, and what it is in words.
async fn planned(
    shared: &Shared,
    fields: &Fields,
    item: Value,
    photo: Option<&Photo>,
    profiles: &[Offered],
) -> Result<(Plan, String), FleetError> {
    let items = with_photos(&shared.fleet, vec![item], photo).await?;
    let body = body(fields, items).map_err(|error| FleetError::Invalid(vec![error]))?;
    let Wanted { target, operations, .. } = Wanted::parse(&body, shared.max_items)?;
    let panels = shared.fleet.targets(&target)?;
    let zone = panels.first().map_or_else(Zone::utc, |panel| panel.settings.zone.clone());
    let name = |id| profiles.iter().find(|(link, _)| *link == id).map(|(_, name)| name.clone());
    let said = operations.identifiers().next().map(|(_, _, identifier)| {
        let said = sentence(identifier, zone.rules(), name);
        format!("{} ({})", capital(&said), zone.name())
    });
    let operations = Arc::new(operations);
    shared.fleet.refuse_taken(&target, Arc::clone(&operations)).await?;
    let plan = shared.fleet.plan(target, operations).await?;
    Ok((plan, said.unwrap_or_default()))
}

/// A profile that is offered, and its name.
type Offered = (LinkId, String);

/// The fleet's first profiles, by name.
async fn offered(fleet: &Fleet) -> Result<Vec<Offered>, FleetError> {
    let page = fleet.page_of_profiles(None, OFFERED).await?;
    let mut profiles: Vec<_> =
        page.items.into_iter().map(|profile| (profile.link_id, profile.name)).collect();
    profiles.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(profiles)
}

/// The form as it is shown again at each step.
struct Form {
    title: &'static str,
    fields: Fields,
    /// What was read before, sealed.
    carried: String,
    /// The photo that was chosen before, sealed.
    photo_carried: Option<String>,
    errors: Vec<FieldError>,
    /// Where panels hold different ones under its link_id.
    differs: Option<Differs>,
    plan: Option<Planned>,
}

/// That panels hold different versions of an identifier.
struct Differs {
    versions: usize,
    /// What most hold, which the form begins with, and how many do, of how many.
    shown: String,
    on: usize,
    panels: u64,
}

impl Differs {
    fn of(found: &FleetIdentifierVersions) -> Option<Self> {
        let [first, _, ..] = found.versions.as_slice() else { return None };
        let (shown, on) = (first.sentence.clone(), first.count);
        Some(Self { versions: found.versions.len(), shown, on, panels: found.panels })
    }
}

/// What would come of it.
struct Planned {
    plan: Plan,
    /// What it is, in words.
    said: String,
    /// What is sent then, sealed.
    items: String,
}

impl Form {
    fn new(title: &'static str) -> Self {
        let (fields, carried, errors) = (Fields::default(), String::new(), Vec::new());
        Self { title, fields, carried, photo_carried: None, errors, differs: None, plan: None }
    }

    fn show(
        &self,
        response: HttpResponseBuilder,
        visitor: &Visitor,
        fleet: &Fleet,
        profiles: &[Offered],
    ) -> HttpResponse {
        let panels = fleet.changed_since(0).panels;
        let main = html! {
            nav class="crumbs" aria-label="Where this is" { a href="/identifiers" { "Identifiers" } }
            h1 { (self.title) }
            @if !self.errors.is_empty() { (self.problems()) }
            @if let Some(differs) = &self.differs { (self.warning(differs)) }
            form id="push" class="card" method="post" action="/identifiers/check#plan" enctype="multipart/form-data" autocomplete="off" {
                (layout::token(visitor))
                input type="hidden" name="carried" value=(self.carried);
                (photo_carried(self.photo_carried.as_deref()))
                input type="hidden" name="link_id" value=(self.fields.one("link_id"));
                (self.whose())
                (self.when(profiles, &zones(fleet)))
                (push::whom(&self.fields, &self.errors, &panels))
                button class=[self.plan.is_none().then_some("main")] { @if self.plan.is_some() { "Dry run again" } @else { "Dry run" } }
                p class="hint" { "A dry run changes nothing: it says what would be created, updated or stays as it is, panel by panel." }
            }
            @if let Some(plan) = &self.plan { (self.planned(visitor, plan)) }
        };
        layout::page_with(response, visitor, Place::Identifiers, self.title, main)
    }

    /// What is pushed is one for all panels that it goes to.
    fn warning(&self, Differs { versions, shown, on, panels }: &Differs) -> Markup {
        html! {
            p class="warning" {
                "Panels hold " (versions) " different versions of it. This form began with the one that most of them hold, "
                (on) " of " (panels) ": " (text::shown(shown)) ". A push makes it the same, number and all, on every panel that it goes to; "
                a href={ "/identifiers/" (self.fields.one("link_id")) } { "what each holds" } "."
            }
        }
    }

    fn problems(&self) -> Markup {
        html! {
            div class="wrong" role="alert" {
                p { "Nothing was sent; " (layout::count(self.errors.len() as u64, "place")) " to put right:" }
                ul {
                    @for FieldError { path, message } in self.errors.iter().take(20) {
                        @let path = path.strip_prefix(AT).unwrap_or(path);
                        li { @if !path.is_empty() { code { (path) } " " } (message) }
                    }
                }
            }
        }
    }

    fn whose(&self) -> Markup {
        let fields = &self.fields;
        let known = !self.carried.is_empty();
        let wrong_photo = self.errors.iter().any(|error| error.path.ends_with("/face_image"));
        let chosen = |name: &str, value: &str| fields.one(name) == value;
        html! {
            fieldset {
                legend { "Who, and what opens" }
                label { "Name" input name="name" value=(fields.exactly("name")) maxlength="100" required placeholder="Flat 12, first"; }
                div class="row" {
                    label { "Whose" select name="owner" {
                        option value="owner" { "owner" }
                        option value="guest" selected[chosen("owner", "guest")] { "guest" }
                    } }
                    label { "Type" select name="type" {
                        @for kind in Kind::ALL {
                            option value=(kind.as_str()) selected[chosen("type", kind.as_str())] { (kind.in_words()) }
                        }
                    } }
                    label class="grow" { "Number"
                        input name="number" autocomplete="off" spellcheck="false" autocapitalize="none" placeholder=[known.then_some("as it is")];
                    }
                    label { "Opens" select name="lock" {
                        @for (value, words) in [("first", "the first lock"), ("second", "the second lock"), ("all", "all locks")] {
                            option value=(value) selected[chosen("lock", value)] { (words) }
                        }
                    } }
                }
                label { "Photo, of a face"
                    input type="file" name="photo" accept="image/jpeg" aria-invalid=[wrong_photo.then_some("true")];
                }
                p class="hint" {
                    "A face has a photo in place of a number: a JPEG of at most 1 MiB, with one face that fills most of it."
                    @if known { " Neither a number nor a photo is shown here. Left empty, each stays as it is." }
                }
            }
        }
    }

    fn when(&self, profiles: &[Offered], zones: &[String]) -> Markup {
        let fields = &self.fields;
        let offered = |id: &str| profiles.iter().any(|(link, _)| link.to_string() == id);
        let others: Vec<_> = fields
            .all("profiles")
            .flat_map(|ids| ids.split([' ', ',', '\r', '\n']))
            .filter(|id| !id.is_empty() && !offered(id))
            .collect();
        html! {
            fieldset {
                legend { "When" }
                fieldset class="choices" {
                    legend { "When one of these profiles is open" }
                    @for (link, name) in profiles {
                        @let value = link.to_string();
                        label { input type="checkbox" name="profiles" value=(value) checked[fields.has("profiles", &value)]; (layout::name(name)) }
                    }
                }
                details open[!others.is_empty()] {
                    summary { "Others, by their link_ids" }
                    textarea name="profiles" rows="2" spellcheck="false" aria-label="Other profiles, by their link_ids" { (others.join(" ")) }
                }
                label class="tick" { input type="checkbox" name="any_time" value="yes" checked[fields.ticked("any_time")]; "At any time, with no profile" }
                div class="row" {
                    label { "Valid from" input name="from" value=(fields.one("from")) placeholder="2026-01-01" spellcheck="false"; }
                    label { "to" input name="to" value=(fields.one("to")) placeholder="2026-12-31" spellcheck="false"; }
                    label { "in the zone" input name="zone" value=(fields.one("zone")) list="zones" autocapitalize="none" spellcheck="false"; }
                    label { "Passes" input name="passes" inputmode="numeric" value=(fields.one("passes")) placeholder="any number"; }
                }
                datalist id="zones" { @for zone in zones { option value=(zone) {} } }
                p class="hint" { "A day, the last one too, counts whole; a time may stand behind it, such as 2026-12-31 18:00. Left empty, it is valid for ever." }
            }
        }
    }

    fn planned(&self, visitor: &Visitor, Planned { plan, said, items }: &Planned) -> Markup {
        html! {
            section class="card" id="plan" aria-label="Dry run" {
                (sums(plan))
                p { (said) }
                (panel_by_panel(plan))
                (sending(visitor, &self.fields, items, self.photo_carried.as_deref(), plan))
            }
        }
    }
}

/// The form that sends what was looked at, with the photo of the step before, sealed.
pub fn sending(visitor: &Visitor, fields: &Fields, items: &str, photo: Option<&str>, plan: &Plan) -> Markup {
    html! {
        form method="post" action="/identifiers/send" enctype=[photo.map(|_| "multipart/form-data")] {
            (layout::token(visitor))
            input type="hidden" name="key" value=(Uuid::new_v4());
            input type="hidden" name="items" value=(items);
            (photo_carried(photo))
            @for name in ["target", "selector"] { input type="hidden" name=(name) value=(fields.one(name)); }
            button class="main" id="send" { "Push to " (layout::count(plan.report.panels.total, "panel")) }
        }
    }
}

fn photo_carried(photo: Option<&str>) -> Markup {
    html! { @if let Some(photo) = photo { input type="hidden" name="photo_carried" value=(photo); } }
}
