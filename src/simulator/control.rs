//! The switches of the simulated panels, at an address of their own.
//!
//! | call | what it does |
//! | --- | --- |
//! | `GET /sim` | every panel's faults and number of calls |
//! | `POST /sim/faults` `{"panels":["sim-0001"],"faults":{…}}` | from now on they suffer from this, and from nothing else |
//! | `POST /sim/capacity` `{"panels":[…],"capacity":10,"identifier_capacity":50,"face_capacity":5}` | they hold so many profiles, identifiers and faces among these at most; what is null or left out has no limit |
//! | `POST /sim/reboot` `{"panels":[…],"for":"2s"}` | they are off for so long and forget their sessions |
//! | `POST /sim/reset` `{"panels":[…],"serial":"X1"}` | they lose all they hold, and their sessions; with a serial number, they were replaced |
//! | `GET /sim/held?panel=sim-0001` | what a panel holds: `profiles` and `identifiers`, as its lists by uid have them |
//! | `GET /sim/calls?panel=sim-0001` | the calls that were kept, oldest first |
//!
//! `panels` left out means all of them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::faults::{Faults, Panels};
use super::front::Front;
use super::latency::duration;
use crate::access::sessions::Scope;
use crate::coordinator::fleet::ChangePanel;
use crate::coordinator::register::Entry;
use crate::fleet::error::without_values;
use crate::fleet::present::PresentInput;
use crate::http::Shared;
use crate::http::panel_api;
use crate::http::panel_api::identifier::shown::{self, InUidForm};
use crate::http::panel_api::list::InList;
use crate::panel::settings::Settings;
use crate::panel::{ApplyByUid, Origin, UidOperation};

/// The largest body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The switches' routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let json = web::JsonConfig::default()
        .limit(MAX_BODY)
        .error_handler(|error, _| Wrong(StatusCode::BAD_REQUEST, without_values(&error.to_string())).into());
    config
        .app_data(json)
        .service(show)
        .service(set_faults)
        .service(set_capacity)
        .service(reboot)
        .service(reset)
        .service(show_held)
        .service(show_calls)
        .service(present)
        .default_service(web::to(|| async {
            HttpResponse::NotFound().json(json!({ "error": "the switches are below /sim" }))
        }));
}

/// Why a switch was not thrown.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
struct Wrong(StatusCode, String);

impl ResponseError for Wrong {
    fn status_code(&self) -> StatusCode {
        self.0
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.0).json(json!({ "error": self.1 }))
    }
}

fn wrong(why: impl Into<String>) -> Wrong {
    Wrong(StatusCode::UNPROCESSABLE_ENTITY, why.into())
}

fn broken(_: impl std::fmt::Debug) -> Wrong {
    Wrong(StatusCode::SERVICE_UNAVAILABLE, "the panels are being stopped".to_owned())
}

/// Which panels; all without.
type Chosen = Option<Vec<String>>;

fn places(panels: &Panels, chosen: &Chosen) -> Result<Vec<usize>, Wrong> {
    match chosen {
        None => Ok((0..panels.ids().len()).collect()),
        Some(ids) => ids
            .iter()
            .map(|id| panels.place(id).ok_or_else(|| wrong(format!("there is no panel {id}"))))
            .collect(),
    }
}

async fn entry(shared: &Shared, panels: &Panels, place: usize) -> Result<Entry, Wrong> {
    let id = panels.ids()[place].clone();
    shared.fleet.find_panel(&id).ok_or_else(|| broken("gone"))
}

fn origin() -> Origin {
    Origin { actor: "sim".into(), address: String::new(), request_id: "".into(), span: tracing::Span::none() }
}

#[derive(Serialize)]
struct Shown {
    panel: String,
    calls: u64,
    faults: Faults,
}

#[get("/sim")]
async fn show(panels: web::Data<Panels>) -> HttpResponse {
    let shown: Vec<_> = panels
        .ids()
        .iter()
        .enumerate()
        .map(|(place, id)| {
            let (faults, calls) = panels.show(place);
            Shown { panel: id.clone(), calls, faults }
        })
        .collect();
    HttpResponse::Ok().json(json!({ "panels": shown }))
}

fn done(places: &[usize]) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "panels": places.len() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFaults {
    panels: Chosen,
    faults: Faults,
}

#[post("/sim/faults")]
async fn set_faults(
    panels: web::Data<Panels>,
    front: web::Data<Front>,
    body: web::Json<SetFaults>,
) -> Result<HttpResponse, Wrong> {
    body.faults.check().map_err(wrong)?;
    let places = places(&panels, &body.panels)?;
    for place in &places {
        panels.set(*place, body.faults.clone());
    }
    front.switch().await;
    Ok(done(&places))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetCapacity {
    panels: Chosen,
    capacity: Option<u32>,
    identifier_capacity: Option<u32>,
    face_capacity: Option<u32>,
}

#[post("/sim/capacity")]
async fn set_capacity(
    shared: web::Data<Shared>,
    panels: web::Data<Panels>,
    body: web::Json<SetCapacity>,
) -> Result<HttpResponse, Wrong> {
    let places = places(&panels, &body.panels)?;
    for place in &places {
        let entry = entry(&shared, &panels, *place).await?;
        let mut settings = Settings::clone(&entry.settings);
        settings.capacity = body.capacity;
        settings.identifier_capacity = body.identifier_capacity;
        settings.face_capacity = body.face_capacity;
        let expected = entry.settings.record();
        let change = ChangePanel { settings, expected, password_md5: None, origin: origin() };
        let changed = shared.fleet.coordinator.send(change).await.map_err(broken)?;
        changed.ok_or_else(|| broken("gone"))?.await.map_err(broken)?.map_err(broken)?;
    }
    Ok(done(&places))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reboot {
    panels: Chosen,
    #[serde(rename = "for", default)]
    time: Option<String>,
}

#[post("/sim/reboot")]
async fn reboot(
    shared: web::Data<Shared>,
    panels: web::Data<Panels>,
    body: web::Json<Reboot>,
) -> Result<HttpResponse, Wrong> {
    let time = body.time.as_deref().map_or(Ok(std::time::Duration::ZERO), duration).map_err(wrong)?;
    let places = places(&panels, &body.panels)?;
    for place in &places {
        let entry = entry(&shared, &panels, *place).await?;
        shared.sessions.close_scope(Scope::Panel(entry.number));
        panels.off_for(*place, time);
    }
    Ok(done(&places))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    panels: Chosen,
    serial: Option<String>,
}

#[post("/sim/reset")]
async fn reset(
    shared: web::Data<Shared>,
    panels: web::Data<Panels>,
    body: web::Json<Reset>,
) -> Result<HttpResponse, Wrong> {
    let places = places(&panels, &body.panels)?;
    for place in &places {
        let entry = entry(&shared, &panels, *place).await?;
        let (reply, answer) = oneshot::channel();
        let audit = origin().audit("sim.reset", entry.settings.id.as_str());
        entry
            .address
            .send(ApplyByUid { operation: UidOperation::Clear, audit, reply })
            .await
            .map_err(broken)?;
        answer.await.map_err(broken)?.map_err(broken)?.map_err(broken)?;
        // First, so that no session is begun in between with what it was before.
        if let Some(serial) = &body.serial {
            let (faults, _) = panels.show(*place);
            panels.set(*place, Faults { serial: Some(serial.clone()), ..faults });
        }
        shared.sessions.close_scope(Scope::Panel(entry.number));
    }
    Ok(done(&places))
}

#[derive(Deserialize)]
struct OfPanel {
    panel: String,
}

#[get("/sim/held")]
async fn show_held(
    shared: web::Data<Shared>,
    panels: web::Data<Panels>,
    of: web::Query<OfPanel>,
) -> Result<HttpResponse, Wrong> {
    let place = panels.place(&of.panel).ok_or_else(|| wrong(format!("there is no panel {}", of.panel)))?;
    let entry = entry(&shared, &panels, place).await?;
    let dialect = entry.settings.dialect;
    let profiles = panel_api::profiles(&shared, &entry).await.map_err(broken)?;
    let identifiers = shown::identifiers(&shared, &entry).await.map_err(broken)?;
    let profiles: Vec<_> = profiles.iter().map(|profile| profile.json(dialect)).collect();
    let identifiers: Vec<_> =
        identifiers.into_iter().map(|shown| InUidForm { shown, in_list: true }.json(dialect)).collect();
    let held =
        format!(r#"{{"profiles":[{}],"identifiers":[{}]}}"#, profiles.join(","), identifiers.join(","));
    Ok(HttpResponse::Ok().content_type("application/json").body(held))
}

/// What is shown at a panel's door. It has no `Debug`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    panel: String,
    #[serde(rename = "type")]
    kind: String,
    number: String,
    /// In Unix milliseconds; now without it.
    at_ms: Option<i64>,
}

#[post("/sim/present")]
async fn present(body: web::Json<Present>, shared: web::Data<Shared>) -> Result<HttpResponse, Wrong> {
    let Present { panel, kind, number, at_ms } = body.into_inner();
    let input = PresentInput { kind, number, at_ms };
    let shown = shared.fleet.present(&panel, input, &origin()).await;
    let shown = shown.map_err(|error| wrong(error.to_string()))?;
    let body = json!({ "granted": shown.granted, "reason": shown.reason, "identifier": shown.identifier });
    Ok(HttpResponse::Ok().json(body))
}

#[get("/sim/calls")]
async fn show_calls(panels: web::Data<Panels>, of: web::Query<OfPanel>) -> Result<HttpResponse, Wrong> {
    let place = panels.place(&of.panel).ok_or_else(|| wrong(format!("there is no panel {}", of.panel)))?;
    Ok(HttpResponse::Ok().json(json!({ "calls": panels.calls(place) })))
}
