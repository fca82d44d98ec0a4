//! The fleet's register.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::session::{parse_json, read_json};
use super::{Page, Paging, not_a_cursor};
use crate::batch::item::ItemId;
use crate::batch::selector::Selector;
use crate::clock;
use crate::coordinator::register::Entry;
use crate::fleet::error::Gathered;
use crate::fleet::fields::PanelFields;
use crate::fleet::panels::ImportedPanel;
use crate::fleet::status::{DeviceStatus, PanelStatus, Refusal};
use crate::fleet::{FieldError, FleetError, meeting};
use crate::http::auth::{self, Admin, Operator, Viewer};
use crate::http::openapi::schemas::{PanelChange, PanelInput};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, body};
use crate::panel::settings::{PanelId, PanelRecord};
use crate::profile::LinkId;
use crate::store::tables::ConnectionRecord;

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
    #[schema(required = true, format = DateTime)]
    pub last_seen: Option<String>,
    /// What it last failed with.
    #[schema(required = true)]
    pub last_error: Option<String>,
    /// How many profiles it should hold.
    pub profiles: u32,
    /// How many of them and of its identifiers it has not confirmed.
    pub pending: u32,
    /// How many of both differ on the device.
    pub drifted: u32,
    /// How many of both it refuses; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u32>,
    /// What it refuses, by link_id, the first hundred: of an embedded panel also what was asked of it last and is not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedBody>,
    /// Of a remote panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceBody>,
}

/// An item that a panel refuses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedBody {
    /// `profile` or `identifier`.
    #[schema(example = "profile")]
    pub kind: String,
    /// Which item.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: LinkId,
    /// Why, in the panel's words.
    #[schema(example = "number_of_identifiers_exceeded")]
    pub extended_info: String,
}

/// A remote panel's device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceBody {
    /// Its serial number; empty until it has answered.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// The API version that it says it speaks.
    pub api_version: String,
    /// How far its clock was ahead of the server's when it was last read, in seconds.
    #[schema(required = true)]
    pub clock_ahead_s: Option<i64>,
    /// What it said then of its zone, where it shows another time than the panel's zone: its door opens by its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub other_zone: Option<Box<str>>,
    /// When all that it holds was last read.
    #[schema(required = true, format = DateTime)]
    pub last_read: Option<String>,
    /// Profiles and identifiers without link_id that it held then.
    pub unlinked: u32,
    /// Whether it has ever told which identifiers it holds. It is asked once some were sent to it from here.
    pub identifiers_read: bool,
    /// How many profiles and identifiers it refuses.
    pub rejected: u32,
    /// When it is tried again; only after a failure.
    #[schema(required = true, format = DateTime)]
    pub next_attempt: Option<String>,
}

impl From<PanelStatus> for PanelBody {
    fn from(status: PanelStatus) -> Self {
        let PanelStatus { panel, profiles, counts, refused, device, .. } = status;
        let state = PanelStateBody {
            connection: panel.connection().as_str().to_owned(),
            last_seen: device.as_ref().and_then(|device| device.last_seen_ms).map(clock::rfc3339),
            last_error: panel.condition.last_error.as_deref().map(str::to_owned),
            profiles,
            pending: counts.pending as u32,
            drifted: counts.drifted as u32,
            rejected: Some(counts.refused as u32).filter(|refused| *refused > 0),
            refused: refused.into_iter().map(RefusedBody::from).collect(),
            device: device.map(|device| DeviceBody::new(device, counts.refused as u32, &panel)),
        };
        Self { record: panel.settings.record(), state }
    }
}

impl From<Refusal> for RefusedBody {
    fn from(Refusal { item: ItemId { kind, link_id }, extended_info }: Refusal) -> Self {
        Self { kind: kind.as_str().to_owned(), link_id, extended_info }
    }
}

impl DeviceBody {
    fn new(DeviceStatus { record, .. }: DeviceStatus, rejected: u32, panel: &Entry) -> Self {
        Self {
            serial: record.serial,
            model: record.model,
            firmware: record.firmware,
            api_version: record.api_version,
            clock_ahead_s: record.clock_ahead_s,
            other_zone: panel.settings.other_zone(record.zone.as_deref()).map(Into::into),
            last_read: record.last_read_ms.map(clock::rfc3339),
            unlinked: record.unlinked,
            identifiers_read: record.told_identifiers,
            rejected,
            next_attempt: panel.condition.next_attempt_ms.map(clock::rfc3339),
        }
    }
}

/// Whether a remote panel is asked, and what is done with what it holds.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Introduction {
    /// `true` registers a remote panel without asking its device, which may be offline, or that of another panel. The
    /// body may say the same.
    #[serde(default)]
    pub force: bool,
    /// `true` takes what the device holds by link_id as desired, so that nothing is pushed.
    #[serde(default)]
    pub adopt: bool,
}

impl From<&Introduction> for meeting::Introduction {
    fn from(Introduction { force, adopt }: &Introduction) -> Self {
        Self { force: *force, adopt: *adopt }
    }
}

/// Which panels.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Such as `site=north,floor in (1,2)`; all without.
    pub selector: Option<String>,
}

impl Selection {
    /// Which panels, behind which one, and how many at most.
    pub fn parts(&self, paging: &Paging) -> Result<(Option<Selector>, Option<PanelId>, usize), Problem> {
        let limit = paging.limit()?;
        let selector = self.selector.as_deref().map(Selector::parse).transpose()?;
        let after =
            paging.cursor.as_deref().map(|id| PanelId::new(id).ok_or_else(not_a_cursor)).transpose()?;
        Ok((selector, after, limit))
    }
}

/// The panels, by id.
#[utoipa::path(tag = "panels", operation_id = "list_panels", params(Selection, Paging),
    responses((status = 200, body = Page<PanelBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/panels")]
pub async fn list_panels(
    _who: Viewer,
    selection: web::Query<Selection>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let (selector, after, limit) = selection.parts(&paging)?;
    let page = shared.fleet.page_of_statuses(selector, after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::of(page, PanelBody::from)))
}

/// Adds a panel. A remote panel's device is asked first: it must answer as a panel, and take the account.
#[utoipa::path(tag = "panels", operation_id = "add_panel", params(Introduction), request_body = PanelInput,
    responses((status = 201, body = PanelBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels")]
pub async fn add(
    Admin(who): Admin,
    introduction: web::Query<Introduction>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let fields = PanelFields::read(read_json(&request, payload, &shared).await?)?;
    let origin = auth::origin(&request, &who.actor());
    let panel = shared.fleet.add_panel(fields, (&*introduction).into(), origin).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/fleet/v1/panels/{}", panel.settings.id)))
        .json(PanelBody::from(shared.fleet.status_after_change(panel).await?)))
}

/// How many panels were added.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// All that were sent.
    pub added: usize,
}

/// What an import does not look at.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Haste {
    /// `true` takes panels whose device another panel has. A line may say the same for its panel.
    #[serde(default)]
    force: bool,
}

/// A `PanelInput` as JSON on each line.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary, example = "{\"id\":\"p1\"}\n{\"id\":\"p2\",\"labels\":{\"site\":\"north\"}}\n")]
#[expect(dead_code, reason = "for the document")]
struct PanelLines(String);

/// Adds many panels in one transaction, one JSON object a line: all or none. Devices are not asked.
#[utoipa::path(tag = "panels", operation_id = "import_panels", params(Haste), request_body(content = PanelLines, content_type = "application/x-ndjson"),
    responses((status = 201, body = Imported), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels:import")]
pub async fn import(
    Admin(who): Admin,
    haste: web::Query<Haste>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&request, payload, body::NDJSON, shared.body_limit).await?;
    let (most, force) = (shared.max_items, haste.force);
    let panels = shared.turns.parse(body, move |body| parse_import(body, most, force)).await??;
    let added = shared.fleet.import_panels(panels, auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::Created().json(Imported { added }))
}

/// The panels of a body of JSON lines, and the line of each.
fn parse_import(body: &[u8], most: usize, force: bool) -> Result<Vec<ImportedPanel>, FleetError> {
    let mut panels = Vec::new();
    let mut errors = Gathered::default();
    let mut all = 0;
    for (i, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        all += 1;
        if all > most {
            return Err(FleetError::TooManyItems(most));
        }
        let read = parse_json(line).and_then(PanelFields::read);
        let read = read.and_then(|fields| Ok((fields.force, fields.new_panel()?)));
        match read {
            Ok((forced, panel)) => panels.push(ImportedPanel { line: i, panel, forced: forced || force }),
            Err(FleetError::Invalid(problems)) => {
                for FieldError { path, message } in problems {
                    errors.add(|| FieldError::at(format!("/{i}{path}"), message));
                }
            }
            Err(problem) => errors.add(|| FieldError::at(format!("/{i}"), problem.to_string())),
        }
    }
    if !errors.is_empty() {
        return Err(errors.into_error());
    }
    if panels.is_empty() {
        return Err(FleetError::invalid("", "there is no panel in the body; send one JSON object a line"));
    }
    Ok(panels)
}

/// One panel.
#[utoipa::path(tag = "panels", operation_id = "show_panel", params(("id" = String, Path)),
    responses((status = 200, body = PanelBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}")]
pub async fn show(_who: Viewer, id: web::Path<String>, shared: Here) -> Result<HttpResponse, Problem> {
    let panel = shared.fleet.panel(&id)?;
    Ok(HttpResponse::Ok().json(PanelBody::from(shared.fleet.status(panel)?)))
}

/// A remote panel went offline, or came back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionBody {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// `online` or `offline`, from then on.
    #[schema(example = "offline")]
    pub connection: String,
    /// What it failed with.
    #[schema(required = true)]
    pub error: Option<String>,
}

/// When a remote panel went offline and came back, newest first; the last 100 times. Empty for an embedded panel.
#[utoipa::path(tag = "panels", operation_id = "list_panel_connections", params(("id" = String, Path)),
    responses((status = 200, body = Page<ConnectionBody>), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/connections")]
pub async fn list_connections(
    _who: Viewer,
    id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let panel = shared.fleet.panel(&id)?;
    let items = shared.fleet.connections(&panel)?.into_iter().map(ConnectionBody::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

impl From<ConnectionRecord> for ConnectionBody {
    fn from(ConnectionRecord { at_ms, connection, error }: ConnectionRecord) -> Self {
        Self { at: clock::rfc3339(at_ms), connection, error: error.map(Into::into) }
    }
}

/// Changes the given fields of a panel. Labels too are changed one by one (as in RFC 7396): those that are not named stay,
/// and null removes one. Where a remote panel's device or account changes, the device is asked first. Another device gets
/// everything that is desired by itself. Where the address, the account or what vouches for the device changes, the
/// password is given again.
#[utoipa::path(tag = "panels", operation_id = "change_panel", params(("id" = String, Path), Introduction), request_body(content = PanelChange, example = json!({"labels": {"site": "south", "wing": null}})),
    responses((status = 200, body = PanelBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[patch("/panels/{id}")]
pub async fn change(
    Admin(who): Admin,
    id: web::Path<String>,
    introduction: web::Query<Introduction>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let fields = PanelFields::read(read_json(&request, payload, &shared).await?)?;
    let origin = auth::origin(&request, &who.actor());
    let panel = shared.fleet.change_panel(&id, fields, (&*introduction).into(), origin).await?;
    Ok(HttpResponse::Ok().json(PanelBody::from(shared.fleet.status_after_change(panel).await?)))
}

/// Removes a panel with all it holds.
#[utoipa::path(tag = "panels", operation_id = "remove_panel", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[delete("/panels/{id}")]
pub async fn remove(
    Admin(who): Admin,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    shared.fleet.remove_panel(&id, auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sends everything that is desired to a remote panel's device again, whatever it has confirmed; its next attempt
/// is now.
#[utoipa::path(tag = "panels", operation_id = "resync_panel", params(("id" = String, Path)),
    responses((status = 200, body = PanelBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/panels/{id}:resync")]
pub async fn resync(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let panel = shared.fleet.resync_panel(&id, auth::origin(&request, &who.actor())).await?;
    Ok(HttpResponse::Ok().json(PanelBody::from(shared.fleet.status_after_change(panel).await?)))
}
