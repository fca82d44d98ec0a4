//! Adding a panel, and giving one other settings.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post, web};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::layout::{self, Place, panel_path};
use super::posted::{ByAdmin, Posted};
use super::problem::{PageProblem, capital};
use super::visitor::{Fields, Visitor};
use crate::access::Role;
use crate::coordinator::register::Entry;
use crate::fleet::fields::PanelFields;
use crate::fleet::meeting::Introduction;
use crate::fleet::{FieldError, FleetError};
use crate::http::{Here, auth};
use crate::profile::rule::Family;

/// The fields that go into the record as they are.
const TEXTS: [&str; 3] = ["zone", "api", "id"];

/// The same of a panel with a device, where nothing is null.
const OF_A_DEVICE: [&str; 4] = ["url", "username", "tls_ca", "tls_pin"];

/// The form for a new panel.
#[get("/add")]
pub async fn new_panel(visitor: Visitor) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Admin)?;
    Ok(Form::new(None, Fields::default()).show(HttpResponse::Ok(), &visitor))
}

/// Adds the panel, once its device has been asked.
#[post("/add")]
pub async fn add(
    Posted { visitor, fields, .. }: Posted<ByAdmin>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let added = match record(&fields).and_then(PanelFields::read) {
        Ok(record) => {
            let origin = auth::origin(&request, &visitor.who.actor());
            shared.fleet.add_panel(record, introduction(&fields), origin).await
        }
        Err(error) => Err(error),
    };
    answer(added, Form::new(None, fields), &visitor)
}

/// The form with a panel's settings.
#[get("/panel/{id}/edit")]
pub async fn edit(
    visitor: Visitor,
    id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Admin)?;
    let panel = shared.fleet.panel(&id)?;
    let fields = fields_of(&panel);
    Ok(Form::new(Some(id.into_inner()), fields).show(HttpResponse::Ok(), &visitor))
}

/// Changes a panel's settings; another device or account is asked first.
#[post("/panel/{id}/edit")]
pub async fn change(
    Posted { visitor, fields, .. }: Posted<ByAdmin>,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PageProblem> {
    let changed = match record(&fields) {
        Ok(mut changes) => {
            changes.remove("id");
            changes.remove("driver");
            if let Some(labels) = changes.get_mut("labels").and_then(Value::as_object_mut) {
                // What the form no longer names is taken away; what came meanwhile stays.
                for (key, _) in &shared.fleet.panel(&id)?.settings.labels {
                    labels.entry(key.to_string()).or_insert(Value::Null);
                }
            }
            match PanelFields::read(changes) {
                Ok(changes) => {
                    let origin = auth::origin(&request, &visitor.who.actor());
                    shared.fleet.change_panel(&id, changes, introduction(&fields), origin).await
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    answer(changed, Form::new(Some(id.into_inner()), fields), &visitor)
}

/// On to the panel's page, or the form again with what is wrong.
fn answer(
    done: Result<Entry, FleetError>,
    mut form: Form,
    visitor: &Visitor,
) -> Result<HttpResponse, PageProblem> {
    let error = match done {
        Ok(panel) => return Ok(layout::see(&panel_path(panel.settings.id.as_str()))),
        Err(error) => error,
    };
    let status = match error {
        FleetError::Invalid(errors) => {
            form.errors = errors;
            StatusCode::UNPROCESSABLE_ENTITY
        }
        FleetError::Conflict(wrong) => {
            form.wrong = Some(wrong);
            StatusCode::CONFLICT
        }
        FleetError::Unreadable(wrong) => {
            form.wrong = Some(wrong);
            StatusCode::BAD_REQUEST
        }
        other => return Err(other.into()),
    };
    Ok(form.show(HttpResponse::build(status), visitor))
}

fn introduction(fields: &Fields) -> Introduction {
    Introduction { force: fields.ticked("force"), adopt: fields.ticked("adopt") }
}

/// The body that the fleet API would be sent. What is empty is null, so that a change can take it away.
fn record(fields: &Fields) -> Result<Map<String, Value>, FleetError> {
    let mut record = Map::new();
    for name in TEXTS.into_iter().filter(|name| !fields.one(name).is_empty()) {
        record.insert(name.into(), fields.one(name).into());
    }
    let remote = fields.one("driver") == "http";
    record.insert("driver".into(), if remote { "http" } else { "embedded" }.into());
    if remote {
        for name in OF_A_DEVICE {
            let value = Some(fields.one(name)).filter(|value| !value.is_empty());
            record.insert(name.into(), value.into());
        }
        record.insert("repair".into(), if fields.ticked("repair") { "on" } else { "off" }.into());
        let password = fields.exactly("password");
        if !password.is_empty() {
            record.insert("password".into(), password.into());
        }
    }
    let mut errors = Vec::new();
    let mut labels = Map::new();
    for pair in fields.one("labels").split([',', ' ']).filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) => {
                labels.insert(key.into(), value.into());
            }
            None => errors
                .push(FieldError::at("/labels", format!("a label is written key=value, and {pair} is not"))),
        }
    }
    record.insert("labels".into(), labels.into());
    for name in ["capacity", "identifier_capacity", "face_capacity"] {
        let capacity = match fields.one(name) {
            "" => Value::Null,
            text => text.parse::<u32>().map_or_else(
                |_| {
                    errors.push(FieldError::at(format!("/{name}"), "a whole number, or nothing"));
                    Value::Null
                },
                Value::from,
            ),
        };
        record.insert(name.into(), capacity);
    }
    if errors.is_empty() { Ok(record) } else { Err(FleetError::Invalid(errors)) }
}

/// The fields that say what a panel's settings are.
fn fields_of(panel: &Entry) -> Fields {
    let record = panel.settings.record();
    let labels: Vec<_> = record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut pairs = vec![
        ("driver", record.driver),
        ("zone", record.zone),
        ("api", record.api),
        ("labels", labels.join(", ")),
        ("capacity", number(record.capacity)),
        ("identifier_capacity", number(record.identifier_capacity)),
        ("face_capacity", number(record.face_capacity)),
        ("url", record.url.unwrap_or_default()),
        ("username", record.username.unwrap_or_default()),
        ("tls_ca", record.tls_ca.unwrap_or_default()),
        ("tls_pin", record.tls_pin.unwrap_or_default()),
    ];
    if record.repair.as_deref() == Some("on") {
        pairs.push(("repair", "on".to_owned()));
    }
    Fields::of(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

/// The form, empty, with a panel's settings, or again with what is wrong.
struct Form {
    /// The panel that is changed; none for a new one.
    id: Option<String>,
    fields: Fields,
    errors: Vec<FieldError>,
    wrong: Option<String>,
}

impl Form {
    fn new(id: Option<String>, fields: Fields) -> Self {
        Self { id, fields, errors: Vec::new(), wrong: None }
    }

    fn show(&self, response: HttpResponseBuilder, visitor: &Visitor) -> HttpResponse {
        let (title, path) = match &self.id {
            Some(id) => (format!("Edit {id}"), format!("{}/edit", panel_path(id))),
            None => ("Add a panel".to_owned(), "/add".to_owned()),
        };
        let main = html! {
            nav class="crumbs" aria-label="Where this is" {
                a href="/" { "Fleet" }
                @if let Some(id) = &self.id { " › " a href=(panel_path(id)) { (id) } }
            }
            h1 { (title) }
            @if let Some(wrong) = &self.wrong { p class="wrong" role="alert" { (capital(wrong)) "." } }
            @if !self.errors.is_empty() {
                p class="wrong" role="alert" { (layout::count(self.errors.len() as u64, "field")) " to put right." }
            }
            form class="card" method="post" action=(path) autocomplete="off" {
                (layout::token(visitor))
                (self.what_it_is())
                (self.text("zone", "Zone", "IANA name, such as Europe/Kyiv; UTC without"))
                (self.text("labels", "Labels", "Such as site=north, floor=2"))
                label { "Family"
                    select name="api" {
                        @for family in Family::ALL {
                            option value=(family.as_str()) selected[self.fields.one("api") == family.as_str()] { (family.as_str()) }
                        }
                    }
                }
                (self.text("capacity", "Capacity", "How many profiles it holds at most; nothing is no limit"))
                (self.text("identifier_capacity", "Capacity for identifiers", "How many of them it holds at most; nothing is no limit"))
                (self.text("face_capacity", "Capacity for faces", "How many of these may be faces; nothing is no limit"))
                button class="main" { @if self.id.is_some() { "Save" } @else { "Add" } }
            }
        };
        layout::page_with(response, visitor, Place::Fleet, &title, main)
    }

    fn what_it_is(&self) -> Markup {
        let remote = self.fields.one("driver") == "http";
        html! {
            @if self.id.is_none() {
                (self.text("id", "Id", "1 to 63 letters, digits and -_."))
                fieldset {
                    legend { "What it is" }
                    label class="tick" { input type="radio" name="driver" value="embedded" checked[!remote]; "Embedded: this server is the panel" }
                    label class="tick" { input type="radio" name="driver" value="http" checked[remote]; "A device somewhere else, reached over HTTP" }
                    (self.wrong_at("driver"))
                }
            } @else {
                input type="hidden" name="driver" value=(self.fields.one("driver"));
            }
            @if self.id.is_none() || remote { (self.device()) }
        }
    }

    fn device(&self) -> Markup {
        let known = self.id.is_some();
        html! {
            div class="device" {
                (self.text("url", "Address", "Up to what comes before /api, such as https://10.0.3.17"))
                (self.text("username", "Account", "An administrator's on the device"))
                label { "Password" input name="password" type="password" autocomplete="new-password" aria-describedby="password-hint"; }
                p class="hint" id="password-hint" { @if known { "Leave it empty to keep the one that is known " } (self.wrong_at("password")) }
                label class="tick" { input type="checkbox" name="repair" value="on" checked[self.fields.ticked("repair")]; "Put drift right as soon as it is found" }
                @if !known {
                    label class="tick" { input type="checkbox" name="adopt" value="yes" checked[self.fields.ticked("adopt")]; "Take what it holds by link_id as desired" }
                }
                label class="tick" { input type="checkbox" name="force" value="yes" checked[self.fields.ticked("force")]; "Do not ask it, since it is offline" }
                details open[self.errors.iter().any(|error| error.path.starts_with("/tls"))] {
                    summary { "Its certificate, where the system does not vouch for it" }
                    (self.text("tls_pin", "SHA-256 of the one certificate that it may show", "64 hex digits"))
                    label { "Or certificates that vouch for it, PEM" textarea name="tls_ca" rows="4" spellcheck="false" { (self.fields.one("tls_ca")) } }
                    (self.wrong_at("tls_ca"))
                }
            }
        }
    }

    fn text(&self, name: &str, label: &str, hint: &str) -> Markup {
        let wrong = self.errors_at(name).next().is_some();
        html! {
            label { (label)
                input name=(name) value=(self.fields.one(name)) autocapitalize="none" spellcheck="false" aria-describedby={ (name) "-hint" } aria-invalid=[wrong.then_some("true")];
            }
            p class="hint" id={ (name) "-hint" } { (hint) " " (self.wrong_at(name)) }
        }
    }

    fn errors_at<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f FieldError> {
        let path = format!("/{name}");
        self.errors
            .iter()
            .filter(move |error| error.path == path || error.path.starts_with(&format!("{path}/")))
    }

    fn wrong_at(&self, name: &str) -> Markup {
        html! { @for error in self.errors_at(name) { span class="wrong" { (capital(&error.message)) "." } } }
    }
}
