//! Adding a panel.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::layout::{self, Place, panel_path};
use super::problem::{PageProblem, capital};
use super::visitor::{Fields, Posted, Visitor};
use crate::access::Role;
use crate::http::Shared;
use crate::http::fleet_api::panels::{self, Introduction};
use crate::http::problem::{FieldError, Problem};
use crate::profile::rule::Family;

/// The fields that go into the record as they are.
const TEXTS: [&str; 6] = ["id", "driver", "zone", "api", "url", "username"];

/// The form.
#[get("/add")]
pub async fn panel_form(visitor: Visitor) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Admin)?;
    Ok(show(HttpResponse::Ok(), &visitor, &Fields::default(), &[], None))
}

/// Adds the panel, once its device has been asked.
#[post("/add")]
pub async fn add(
    Posted { visitor, fields }: Posted,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PageProblem> {
    visitor.needs(Role::Admin)?;
    let introduction = Introduction { force: fields.ticked("force"), adopt: fields.ticked("adopt") };
    let added = match record(&fields) {
        Ok(record) => panels::add_panel(&shared, &request, &visitor.who, record, &introduction).await,
        Err(problem) => Err(problem),
    };
    match added {
        Ok(panel) => Ok(layout::see(&panel_path(panel.settings.id.as_str()))),
        Err(Problem::Invalid(errors)) => {
            Ok(show(HttpResponse::UnprocessableEntity(), &visitor, &fields, &errors, None))
        }
        Err(problem @ (Problem::Conflict(_) | Problem::BadRequest(_))) => {
            let status = actix_web::ResponseError::status_code(&problem);
            let text = problem.to_string();
            Ok(show(HttpResponse::build(status), &visitor, &fields, &[], Some(&text)))
        }
        Err(problem) => Err(problem.into()),
    }
}

/// The body that the fleet API would be sent.
fn record(fields: &Fields) -> Result<Map<String, Value>, Problem> {
    let mut record = Map::new();
    for name in TEXTS {
        if !fields.one(name).is_empty() {
            record.insert(name.into(), fields.one(name).into());
        }
    }
    let password = fields.exactly("password");
    if !password.is_empty() {
        record.insert("password".into(), password.into());
    }
    let mut errors = Vec::new();
    let mut labels = Map::new();
    for pair in fields.one("labels").split([',', ' ']).filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) => {
                labels.insert(key.into(), value.into());
            }
            None => errors
                .push(FieldError::at("/labels", format!("{pair} is no label; one is written key=value"))),
        }
    }
    record.insert("labels".into(), labels.into());
    match fields.one("capacity") {
        "" => {}
        text => match text.parse::<u32>() {
            Ok(capacity) => {
                record.insert("capacity".into(), capacity.into());
            }
            Err(_) => errors.push(FieldError::at("/capacity", "a whole number, or nothing")),
        },
    }
    if errors.is_empty() { Ok(record) } else { Err(Problem::Invalid(errors)) }
}

fn show(
    response: actix_web::HttpResponseBuilder,
    visitor: &Visitor,
    fields: &Fields,
    errors: &[FieldError],
    wrong: Option<&str>,
) -> HttpResponse {
    let remote = fields.one("driver") == "http";
    let field = |name: &str, label: &str, more: Markup| text_field(fields, errors, name, label, &more);
    let zone = html! { "IANA name, such as Europe/Kyiv; UTC without" };
    let main = html! {
        nav class="crumbs" aria-label="Where this is" { a href="/" { "Fleet" } }
        h1 { "Add a panel" }
        @if let Some(wrong) = wrong { p class="wrong" role="alert" { (capital(wrong)) "." } }
        @if !errors.is_empty() { p class="wrong" role="alert" { (layout::count(errors.len() as u64, "field")) " to put right." } }
        form class="card" method="post" action="/add" autocomplete="off" {
            (layout::token(visitor))
            (field("id", "Id", html! { "1 to 63 letters, digits and -_." }))
            fieldset {
                legend { "What it is" }
                label class="tick" { input type="radio" name="driver" value="embedded" checked[!remote]; "Embedded: this server is the panel" }
                label class="tick" { input type="radio" name="driver" value="http" checked[remote]; "A device somewhere else, reached over HTTP" }
                (wrong_at(errors, "driver"))
            }
            div class="device" {
                (field("url", "Address", html! { "Up to what comes before /api, such as https://10.0.3.17" }))
                (field("username", "Account", html! { "An administrator's on the device" }))
                label { "Password" input name="password" type="password" autocomplete="new-password"; }
                (wrong_at(errors, "password"))
                label class="tick" { input type="checkbox" name="adopt" value="yes" checked[fields.ticked("adopt")]; "Take what it holds by link_id as desired" }
                label class="tick" { input type="checkbox" name="force" value="yes" checked[fields.ticked("force")]; "Add it without asking it, since it is offline" }
            }
            (field("zone", "Zone", zone))
            (field("labels", "Labels", html! { "Such as site=north, floor=2" }))
            label { "Family"
                select name="api" {
                    @for family in Family::ALL {
                        option value=(family.as_str()) selected[fields.one("api") == family.as_str()] { (family.as_str()) }
                    }
                }
            }
            (field("capacity", "Capacity", html! { "How many profiles it holds at most; nothing is no limit" }))
            button class="main" { "Add" }
        }
    };
    layout::page_with(response, visitor, Place::Fleet, "Add a panel", main)
}

fn text_field(fields: &Fields, errors: &[FieldError], name: &str, label: &str, hint: &Markup) -> Markup {
    let path = format!("/{name}");
    let wrong = errors.iter().any(|error| error.path == path);
    html! {
        label { (label)
            input name=(name) value=(fields.one(name)) autocapitalize="none" spellcheck="false" aria-describedby={ (name) "-hint" } aria-invalid=[wrong.then_some("true")];
        }
        p class="hint" id={ (name) "-hint" } { (hint) (wrong_at(errors, name)) }
    }
}

fn wrong_at(errors: &[FieldError], name: &str) -> Markup {
    let path = format!("/{name}");
    html! {
        @for error in errors.iter().filter(|error| error.path == path) {
            span class="wrong" { (capital(&error.message)) "." }
        }
    }
}
