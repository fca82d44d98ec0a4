//! The fleet's register.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::session::{parse_json, read_json};
use super::{Page, Paging};
use crate::batch::selector::Selector;
use crate::coordinator::fleet::{AddPanels, ChangePanel, FindPanel, ListPanels, RemovePanel};
use crate::coordinator::register::Entry;
use crate::http::auth::{self, Admin, Viewer};
use crate::http::problem::{FieldError, Problem, ProblemBody};
use crate::http::{Shared, body};
use crate::panel::settings::{PanelRecord, Settings};
use crate::store::read::Snapshot;

/// A panel and how it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PanelBody {
    /// Its record.
    #[serde(flatten)]
    pub record: PanelRecord,
    /// How it is.
    pub state: PanelStateBody,
}

/// How a panel is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PanelStateBody {
    /// `online`, `offline` or `unknown`; an embedded panel is online while the server runs.
    pub connection: String,
    /// When a remote panel last answered.
    pub last_seen: Option<String>,
    /// What it last failed with.
    pub last_error: Option<String>,
    /// How many profiles it should hold.
    pub profiles: u32,
    /// How many of them it has not confirmed.
    pub pending: u32,
    /// How many differ on the device.
    pub drifted: u32,
}

fn panel_body(snapshot: &Snapshot, panel: &Entry) -> Result<PanelBody, Problem> {
    let state = PanelStateBody {
        connection: "online".into(),
        last_seen: None,
        last_error: None,
        profiles: snapshot.head(panel.number)?.count,
        pending: 0,
        drifted: 0,
    };
    Ok(PanelBody { record: panel.settings.record(), state })
}

/// Which panels.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Such as `site=north,floor in (1,2)`; all without.
    pub selector: Option<String>,
}

/// The panels, by id.
#[utoipa::path(tag = "panels", params(Selection, Paging),
    responses((status = 200, body = Page<PanelBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/panels")]
pub async fn list_panels(
    _who: Viewer,
    selection: web::Query<Selection>,
    paging: web::Query<Paging>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let selector = selection.selector.as_deref().map(Selector::parse).transpose()?;
    let after = paging.cursor.clone();
    let panels = shared.coordinator.send(ListPanels { selector, after, limit: limit + 1 }).await?;
    let snapshot = shared.store.read()?;
    let bodies = panels.iter().map(|panel| panel_body(&snapshot, panel)).collect::<Result<_, _>>()?;
    Ok(HttpResponse::Ok().json(Page::cut(bodies, limit, |panel| panel.record.id.clone())))
}

/// Adds a panel.
#[utoipa::path(tag = "panels", request_body = PanelRecord,
    responses((status = 201, body = PanelBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels")]
pub async fn add(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let record: PanelRecord = read_json(&request, payload, &shared).await?;
    let settings = Settings::parse(&record).map_err(invalid)?;
    let id = settings.id.clone();
    let origin = auth::origin(&request, &who.name);
    let Ok(added) = shared.coordinator.send(AddPanels(vec![settings], origin)).await? else {
        return Err(Problem::Conflict(format!("there is a panel {id} already; change it with PATCH")));
    };
    added.await??;
    let panel = find(&shared, id.as_str()).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/fleet/v1/panels/{id}")))
        .json(panel_body(&shared.store.read()?, &panel)?))
}

/// How many panels were added.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// All that were sent.
    pub added: usize,
}

/// Adds many panels in one transaction, one JSON object a line: all or none.
#[utoipa::path(tag = "panels", request_body(content = String, content_type = "application/x-ndjson", example = "{\"id\":\"p1\"}\n{\"id\":\"p2\",\"labels\":{\"site\":\"north\"}}\n"),
    responses((status = 201, body = Imported), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels:import")]
pub async fn import(
    Admin(who): Admin,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&request, payload, body::NDJSON, shared.body_limit).await?;
    let mut panels = Vec::new();
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    for (i, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match parse_json::<PanelRecord>(line).map(|record| Settings::parse(&record)) {
            Ok(Ok(settings)) => {
                panels.push(settings);
                lines.push(i);
            }
            Ok(Err(problems)) => errors.extend(
                problems
                    .into_iter()
                    .map(|problem| FieldError::at(format!("/{i}{}", problem.path), problem.message)),
            ),
            Err(problem) => errors.push(FieldError::at(format!("/{i}"), problem.to_string())),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::Invalid(errors));
    }
    if panels.is_empty() {
        return Err(Problem::invalid("", "there is no panel in the body; send one JSON object a line"));
    }
    let added = panels.len();
    let ids: Vec<_> = panels.iter().map(|panel| panel.id.clone()).collect();
    let origin = auth::origin(&request, &who.name);
    match shared.coordinator.send(AddPanels(panels, origin)).await? {
        Ok(done) => done.await??,
        Err(taken) => {
            let errors = taken.into_iter().filter_map(|at| {
                let (line, id) = (lines.get(at)?, ids.get(at)?);
                Some(FieldError::at(format!("/{line}/id"), format!("there is a panel {id} already")))
            });
            return Err(Problem::ConflictAt(errors.collect()));
        }
    }
    Ok(HttpResponse::Created().json(Imported { added }))
}

/// One panel.
#[utoipa::path(tag = "panels", params(("id" = String, Path)),
    responses((status = 200, body = PanelBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}")]
pub async fn show(
    _who: Viewer,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let panel = find(&shared, &id).await?;
    Ok(HttpResponse::Ok().json(panel_body(&shared.store.read()?, &panel)?))
}

/// Changes the given fields of a panel; labels are replaced as a whole.
#[utoipa::path(tag = "panels", params(("id" = String, Path)), request_body(content = Object, example = json!({"labels": {"site": "south"}})),
    responses((status = 200, body = PanelBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[patch("/panels/{id}")]
pub async fn change(
    Admin(who): Admin,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let changes: serde_json::Map<String, serde_json::Value> = read_json(&request, payload, &shared).await?;
    let panel = find(&shared, &id).await?;
    let mut record =
        serde_json::to_value(panel.settings.record()).map_err(|error| Problem::Internal(error.into()))?;
    if let Some(fields) = record.as_object_mut() {
        for (key, value) in changes {
            if key == "id" && value.as_str() != Some(panel.settings.id.as_str()) {
                return Err(Problem::invalid(
                    "/id",
                    "a panel's id cannot be changed; add a new panel and remove this one",
                ));
            }
            fields.insert(key, value);
        }
    }
    let record: PanelRecord =
        serde_json::from_value(record).map_err(|error| Problem::invalid("", error.to_string()))?;
    let settings = Settings::parse(&record).map_err(invalid)?;
    let origin = auth::origin(&request, &who.name);
    let changed = shared.coordinator.send(ChangePanel(settings, origin)).await?;
    changed.ok_or_else(|| no_panel(&id))?.await??;
    let panel = find(&shared, &id).await?;
    Ok(HttpResponse::Ok().json(panel_body(&shared.store.read()?, &panel)?))
}

/// Removes a panel with all it holds.
#[utoipa::path(tag = "panels", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[delete("/panels/{id}")]
pub async fn remove(
    Admin(who): Admin,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let origin = auth::origin(&request, &who.name);
    let removed = shared.coordinator.send(RemovePanel(id.clone(), origin)).await?;
    removed.ok_or_else(|| no_panel(&id))?.await??;
    Ok(HttpResponse::NoContent().finish())
}

/// The panel of this id, or 404.
pub(super) async fn find(shared: &Shared, id: &str) -> Result<Entry, Problem> {
    shared.coordinator.send(FindPanel(id.to_owned())).await?.ok_or_else(|| no_panel(id))
}

fn no_panel(id: &str) -> Problem {
    Problem::NotFound(format!("panel {id}"))
}

fn invalid(problems: Vec<crate::panel::settings::SettingProblem>) -> Problem {
    Problem::Invalid(problems.into_iter().map(FieldError::from).collect())
}
