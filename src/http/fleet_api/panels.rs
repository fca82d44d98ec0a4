//! The fleet's register.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::session::{parse_json, read_json};
use super::{Page, Paging, not_a_cursor, twins};
use crate::access::{PasswordMd5, Principal};
use crate::batch::Body;
use crate::batch::item::ItemId;
use crate::batch::selector::Selector;
use crate::clock;
use crate::coordinator::fleet::{
    AddError, AddPanels, Change, ChangePanel, NewPanel, RemovePanel, ResyncPanel,
};
use crate::coordinator::register::Entry;
use crate::http::auth::{self, Admin, Operator, Viewer};
use crate::http::problem::{FieldError, Gathered, Problem, ProblemBody};
use crate::http::{Shared, body};
use crate::panel::Origin;
use crate::panel::device::ask::DeviceProfile;
use crate::panel::device::line::Lines;
use crate::panel::device::{Device, Trouble};
use crate::panel::settings::{ApiVersion, PanelId, PanelRecord, Remote, Settings};
use crate::profile::{LinkId, text};
use crate::store::read::Snapshot;
use crate::store::row::Reported;
use crate::store::tables::{ConnectionRecord, DeviceRecord};
use crate::store::{PanelNo, StoreError};

/// A panel's record, and the password of its account, which is written and never read.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PanelInput {
    /// The record.
    #[serde(flatten)]
    #[allow(dead_code, reason = "for the document; split_password reads the body")]
    record: PanelRecord,
    /// Of a remote panel.
    #[allow(dead_code, reason = "for the document; split_password reads the body")]
    password: Option<String>,
}

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
    /// How many it refuses; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u32>,
    /// What it refuses, by link_id, the first hundred: of an embedded panel also what was asked of it last and is not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedBody>,
    /// Of a remote panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceBody>,
}

/// A profile that a panel refuses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedBody {
    /// Which profile.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: LinkId,
    /// Why, in the panel's words.
    #[schema(example = "number_of_identifiers_exceeded")]
    pub extended_info: String,
}

/// Refusals listed of a panel at most.
const REFUSALS: usize = 100;

/// What a panel refuses, as far as it is listed.
pub fn refusals(snapshot: &Snapshot, panel: PanelNo) -> Result<Vec<RefusedBody>, StoreError> {
    let mut refused = Vec::new();
    snapshot.each_reported(panel, |ItemId { link_id, .. }, known| {
        if let Reported::Refused(words) = known {
            refused.push(RefusedBody { link_id, extended_info: words.into() });
        }
        Ok(refused.len() < REFUSALS)
    })?;
    Ok(refused)
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
    pub clock_ahead_s: Option<i64>,
    /// When all that it holds was last read.
    pub last_read: Option<String>,
    /// Profiles without link_id that it held then.
    pub unlinked: u32,
    /// How many profiles it refuses.
    pub rejected: u32,
    /// When it is tried again; only after a failure.
    pub next_attempt: Option<String>,
}

/// A panel with how it is.
pub fn panel_body(snapshot: &Snapshot, panel: &Entry) -> Result<PanelBody, Problem> {
    let (mut pending, mut drifted, mut last_seen, mut device) = (0, 0, None, None);
    let counts = snapshot.reported_counts(panel.number)?;
    if panel.settings.is_device() {
        pending = counts.pending as u32;
        drifted = counts.drifted as u32;
        let record = snapshot.device(panel.number)?.unwrap_or_default();
        let kept = (record.last_seen_ms > 0).then_some(record.last_seen_ms);
        last_seen = panel.condition.last_seen_ms.max(kept).map(clock::rfc3339);
        device = Some(DeviceBody {
            serial: record.serial,
            model: record.model,
            firmware: record.firmware,
            api_version: record.api_version,
            clock_ahead_s: record.clock_ahead_s,
            last_read: record.last_read_ms.map(clock::rfc3339),
            unlinked: record.unlinked,
            rejected: counts.refused as u32,
            next_attempt: panel.condition.next_attempt_ms.map(clock::rfc3339),
        });
    }
    let state = PanelStateBody {
        connection: panel.connection().as_str().to_owned(),
        last_seen,
        last_error: panel.condition.last_error.as_deref().map(str::to_owned),
        profiles: snapshot.head(panel.number)?.count,
        pending,
        drifted,
        rejected: Some(counts.refused as u32).filter(|refused| *refused > 0),
        refused: if counts.refused > 0 { refusals(snapshot, panel.number)? } else { Vec::new() },
        device,
    };
    Ok(PanelBody { record: panel.settings.record(), state })
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

/// Takes the password out of a body, so that the rest is a record; gives its MD5, since devices take no more.
fn split_password(body: &mut Map<String, Value>) -> Result<Option<String>, Problem> {
    match body.remove("password") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(password)) => Ok(Some(PasswordMd5::of(&password).into_hex())),
        Some(_) => Err(Problem::invalid("/password", "a text is expected")),
    }
}

/// Asks a remote panel's device what it is, logs in, and reads what it holds where that is to be adopted.
async fn meet(
    shared: &Shared,
    panel: &mut NewPanel,
    introduction: &Introduction,
    version_given: bool,
) -> Result<(), Problem> {
    let Some(remote) = panel.settings.remote.clone() else {
        if introduction.adopt {
            return Err(Problem::invalid(
                "/driver",
                "only a panel with the driver http has a device to adopt from",
            ));
        }
        return Ok(());
    };
    if introduction.force {
        if introduction.adopt {
            return Err(Problem::BadRequest(
                "either force or adopt: what a device holds can only be asked".into(),
            ));
        }
        return Ok(());
    }
    let Some(password) = panel.password_md5.clone() else {
        return Err(Problem::invalid(
            "/password",
            "a remote panel needs its account's password; with force it can be set later",
        ));
    };
    let (id, family) = (panel.settings.id.as_str(), panel.settings.family);
    let mut device = Device::new(id, family, remote, password, Rc::new(Lines::new(shared.device_timeouts)));
    let hint = "add it with --force if that is all right for now";
    let info =
        device.info().await.map_err(|trouble| Problem::invalid("/url", format!("{trouble}; {hint}")))?;
    device.log_in().await.map_err(|trouble| {
        let path = if trouble.needs_a_person() { "/password" } else { "/url" };
        let detail = match &trouble {
            Trouble::WrongPassword(_) => "the panel refuses the user name or the password".to_owned(),
            Trouble::NotAdministrator(_) => "the account is not an administrator of the panel".to_owned(),
            trouble => trouble.to_string(),
        };
        Problem::invalid(path, format!("{detail}; {hint}"))
    })?;
    if let Some(version) = ApiVersion::said(&info.api_version).filter(|_| !version_given) {
        panel.settings.api_version = version;
    }
    let mut record = DeviceRecord { last_seen_ms: clock::now_ms(), ..DeviceRecord::default() };
    info.put_into(&mut record);
    if introduction.adopt {
        let read = device.profiles().await;
        let held = read.map_err(|trouble| Problem::invalid("/url", trouble.to_string()))?;
        record.last_read_ms = Some(record.last_seen_ms);
        record.unlinked = held.unlinked;
        panel.adopted = adopted(held.profiles)?;
    }
    device.log_out().await;
    panel.device = Some(record);
    Ok(())
}

/// What a device holds by link_id, in link_id order.
fn adopted(profiles: Vec<DeviceProfile>) -> Result<Vec<(LinkId, Body)>, Problem> {
    let mut adopted = BTreeMap::new();
    for DeviceProfile { link_id, name, body, .. } in profiles {
        let Some(link) = link_id else { continue };
        let Some(body) = body else {
            let why =
                format!("the profile {link} ({name:?}) on the device cannot be read; change it there first");
            return Err(Problem::invalid("/url", why));
        };
        adopted.insert(link, body);
    }
    Ok(adopted.into_iter().collect())
}

/// Which panels.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Such as `site=north,floor in (1,2)`; all without.
    pub selector: Option<String>,
}

impl Selection {
    /// The page of the selected panels, by id.
    pub async fn page(&self, paging: &Paging, shared: &Shared) -> Result<Page<Entry>, Problem> {
        let limit = paging.limit()?;
        let selector = self.selector.as_deref().map(Selector::parse).transpose()?;
        // Where it stood in the order is where the list goes on, be the panel there or not.
        let after =
            paging.cursor.as_deref().map(|id| PanelId::new(id).ok_or_else(not_a_cursor)).transpose()?;
        let after = after.map(|id| id.to_string());
        let register = shared.register.now();
        let panels = register.select(selector.as_ref(), after.as_deref()).take(limit + 1).cloned().collect();
        Ok(Page::cut(panels, limit, |panel| panel.settings.id.to_string()))
    }
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
    let Page { items, next_cursor } = selection.page(&paging, &shared).await?;
    let store = shared.store.clone();
    let items = web::block(move || {
        let snapshot = store.read()?;
        items.iter().map(|panel| panel_body(&snapshot, panel)).collect::<Result<Vec<_>, Problem>>()
    });
    Ok(HttpResponse::Ok().json(Page { items: items.await??, next_cursor }))
}

/// Adds a panel. A remote panel's device is asked first: it must answer as a panel, and take the account.
#[utoipa::path(tag = "panels", params(Introduction), request_body = PanelInput,
    responses((status = 201, body = PanelBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels")]
pub async fn add(
    Admin(who): Admin,
    introduction: web::Query<Introduction>,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let body = read_json(&request, payload, &shared).await?;
    let panel = add_panel(&shared, &request, &who, body, &introduction).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/fleet/v1/panels/{}", panel.settings.id)))
        .json(panel_body(&shared.store.read()?, &panel)?))
}

/// Adds a panel from a body that is its record with a password, once its device has been asked.
pub async fn add_panel(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    mut body: Map<String, Value>,
    introduction: &Introduction,
) -> Result<Entry, Problem> {
    let force = twins::take_force(&mut body)? || introduction.force;
    let introduction = &Introduction { force, adopt: introduction.adopt };
    let version_given = body.contains_key("api_version");
    let mut panel = new_panel(body)?;
    let id = panel.settings.id.clone();
    let exists =
        || Problem::Conflict(format!("there is a panel {id} already; change that one, or choose another id"));
    if shared.register.find(id.as_str()).is_some() {
        return Err(exists());
    }
    if !force {
        twins::refuse_address(shared, &panel.settings).await?;
    }
    meet(shared, &mut panel, introduction, version_given).await?;
    twins::refuse_device(shared, &panel).await?;
    let origin = auth::origin(request, &who.actor());
    add_all(shared, vec![panel], origin).await?.map_err(|_| exists())?;
    find(shared, id.as_str()).await
}

/// Adds panels, all or none: the indexes of those whose ids are taken, where there are any.
async fn add_all(
    shared: &Shared,
    panels: Vec<NewPanel>,
    origin: Origin,
) -> Result<Result<(), Vec<usize>>, Problem> {
    let added = match shared.coordinator.send(AddPanels(panels, origin)).await? {
        Ok(added) => added.await?,
        Err(error) => Err(error),
    };
    match added {
        Ok(()) => Ok(Ok(())),
        Err(AddError::Taken(taken)) => Ok(Err(taken)),
        Err(AddError::Store(error)) => Err(error.into()),
    }
}

/// A panel from a body that is its record with a password.
fn new_panel(mut body: Map<String, Value>) -> Result<NewPanel, Problem> {
    let password_md5 = split_password(&mut body)?;
    let record: PanelRecord =
        serde_json::from_value(body.into()).map_err(|error| Problem::invalid("", error.to_string()))?;
    let settings = Settings::parse(&record).map_err(invalid)?;
    // In a path these two mean something else, to every client and proxy. (Earlier versions took them.)
    if matches!(settings.id.as_str(), "." | "..") {
        return Err(Problem::invalid(
            "/id",
            "an id is more than dots: it stands in paths, where . and .. lead elsewhere",
        ));
    }
    plain_username(&settings)?;
    if password_md5.is_some() && !settings.is_device() {
        return Err(Problem::invalid("/password", "only a panel with the driver http has one"));
    }
    Ok(NewPanel { password_md5, ..NewPanel::new(settings) })
}

/// The problem with an account's name that steers what shows it.
fn plain_username(settings: &Settings) -> Result<(), Problem> {
    let steers = settings.remote.as_ref().is_some_and(|remote| remote.username.contains(text::steers));
    if steers { Err(Problem::invalid("/username", "a name without control characters")) } else { Ok(()) }
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

/// Adds many panels in one transaction, one JSON object a line: all or none. Devices are not asked.
#[utoipa::path(tag = "panels", params(Haste), request_body(content = String, content_type = "application/x-ndjson", example = "{\"id\":\"p1\"}\n{\"id\":\"p2\",\"labels\":{\"site\":\"north\"}}\n"),
    responses((status = 201, body = Imported), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels:import")]
pub async fn import(
    Admin(who): Admin,
    haste: web::Query<Haste>,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&request, payload, body::NDJSON, shared.body_limit).await?;
    let (most, force) = (shared.max_items, haste.force);
    let read = shared.turns.parse(body, move |body| parse_import(body, most, force)).await??;
    let places: Vec<_> = read.iter().map(|line| (line.at, &line.panel, line.forced)).collect();
    twins::refuse_lines(&shared, &places).await?;
    let (lines, panels): (Vec<_>, Vec<_>) = read.into_iter().map(|line| (line.at, line.panel)).unzip();
    let added = panels.len();
    let ids: Vec<_> = panels.iter().map(|panel| panel.settings.id.clone()).collect();
    let origin = auth::origin(&request, &who.actor());
    if let Err(taken) = add_all(&shared, panels, origin).await? {
        let errors = taken.into_iter().filter_map(|at| {
            let (line, id) = (lines.get(at)?, ids.get(at)?);
            Some(FieldError::at(format!("/{line}/id"), format!("there is a panel {id} already")))
        });
        return Err(Problem::ConflictAt(errors.collect()));
    }
    Ok(HttpResponse::Created().json(Imported { added }))
}

/// A panel of an import.
struct ImportedLine {
    /// Which line.
    at: usize,
    panel: NewPanel,
    /// Whether it does not matter that another panel has its device.
    forced: bool,
}

/// The panels of a body of JSON lines, and the line of each.
fn parse_import(body: &[u8], most: usize, force: bool) -> Result<Vec<ImportedLine>, Problem> {
    let mut lines = Vec::new();
    let mut errors = Gathered::default();
    let mut all = 0;
    for (i, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        all += 1;
        if all > most {
            return Err(Problem::TooManyItems(most));
        }
        let read =
            parse_json(line).and_then(|mut body| Ok((twins::take_force(&mut body)?, new_panel(body)?)));
        match read {
            Ok((forced, panel)) => lines.push(ImportedLine { at: i, panel, forced: forced || force }),
            Err(Problem::Invalid(problems)) => {
                for FieldError { path, message } in problems {
                    errors.add(|| FieldError::at(format!("/{i}{path}"), message));
                }
            }
            Err(problem) => errors.add(|| FieldError::at(format!("/{i}"), problem.to_string())),
        }
    }
    if !errors.is_empty() {
        return Err(errors.into_problem());
    }
    if lines.is_empty() {
        return Err(Problem::invalid("", "there is no panel in the body; send one JSON object a line"));
    }
    Ok(lines)
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

/// A remote panel went offline, or came back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionBody {
    /// When.
    pub at: String,
    /// `online` or `offline`, from then on.
    #[schema(example = "offline")]
    pub connection: String,
    /// What it failed with.
    pub error: Option<String>,
}

/// When a remote panel went offline and came back, newest first; the last 100 times. Empty for an embedded panel.
#[utoipa::path(tag = "panels", params(("id" = String, Path)),
    responses((status = 200, body = Page<ConnectionBody>), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/connections")]
pub async fn list_connections(
    _who: Viewer,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let panel = find(&shared, &id).await?;
    let kept = shared.store.read()?.connections(panel.number)?.into_iter().rev();
    let items = kept
        .map(|ConnectionRecord { at_ms, connection, error }| ConnectionBody {
            at: clock::rfc3339(at_ms),
            connection,
            error: error.map(Into::into),
        })
        .collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

/// Changes the given fields of a panel. Labels too are changed one by one (as in RFC 7396): those that are not named stay,
/// and null removes one. Where a remote panel's device or account changes, the device is asked first. Another device gets
/// everything that is desired by itself. Where the address, the account or what vouches for the device changes, the
/// password is given again.
#[utoipa::path(tag = "panels", params(("id" = String, Path), Introduction), request_body(content = Object, example = json!({"labels": {"site": "south", "wing": null}})),
    responses((status = 200, body = PanelBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[patch("/panels/{id}")]
pub async fn change(
    Admin(who): Admin,
    id: web::Path<String>,
    introduction: web::Query<Introduction>,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let changes = read_json(&request, payload, &shared).await?;
    let panel = change_panel(&shared, &request, &who, &id, changes, &introduction).await?;
    Ok(HttpResponse::Ok().json(panel_body(&shared.store.read()?, &panel)?))
}

/// How often a change is looked at again that others have overtaken, and how long it waits before.
const TRIES: u32 = 5;
const OVERTAKEN: Duration = Duration::from_millis(20);

/// Changes the given fields of the panel of this id. A device may take its time to be asked; what was changed meanwhile
/// stays changed, and these fields are put on top of it.
pub async fn change_panel(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    id: &str,
    mut changes: Map<String, Value>,
    introduction: &Introduction,
) -> Result<Entry, Problem> {
    let force = twins::take_force(&mut changes)? || introduction.force;
    let introduction = &Introduction { force, adopt: introduction.adopt };
    let password_md5 = split_password(&mut changes)?;
    // The settings of the device that was asked.
    let mut met: Option<Remote> = None;
    for attempt in 0..TRIES {
        actix_web::rt::time::sleep(OVERTAKEN * attempt).await;
        let panel = find(shared, id).await?;
        let settings = changed_settings(&panel.settings, &changes, password_md5.is_some())?;
        if introduction.adopt {
            return Err(Problem::BadRequest("adopt is for a panel that is added".into()));
        }
        if settings.remote != panel.settings.remote || password_md5.is_some() {
            let kept = shared.store.read()?.credential(panel.number)?;
            if kept.is_some() && password_md5.is_none() {
                keeps_its_password(panel.settings.remote.as_ref(), settings.remote.as_ref())?;
            }
            if met.is_none() || met != settings.remote {
                let password_md5 = password_md5.clone().or(kept);
                let mut changed = NewPanel { password_md5, ..NewPanel::new(settings.clone()) };
                let url =
                    |settings: &Settings| settings.remote.as_ref().map(|remote| remote.url().to_owned());
                let moves = url(&settings) != url(&panel.settings);
                if moves && !force {
                    twins::refuse_address(shared, &settings).await?;
                }
                meet(shared, &mut changed, introduction, true).await?;
                if moves {
                    twins::refuse_device(shared, &changed).await?;
                }
                met.clone_from(&settings.remote);
            }
        }
        let asked = ChangePanel {
            settings,
            expected: panel.settings.record(),
            password_md5: password_md5.clone(),
            origin: auth::origin(request, &who.actor()),
        };
        match shared.coordinator.send(asked).await?.ok_or_else(|| no_panel(id))?.await?? {
            Change::Done => return find(shared, id).await,
            Change::Overtaken => {}
            Change::Gone => return Err(no_panel(id)),
        }
    }
    Err(Problem::Conflict(format!("others are changing the panel {id}; look at it, and try again")))
}

/// A panel's settings with these fields on top.
fn changed_settings(
    now: &Settings,
    changes: &Map<String, Value>,
    with_password: bool,
) -> Result<Settings, Problem> {
    let mut record = serde_json::to_value(now.record()).map_err(|error| Problem::Internal(error.into()))?;
    if let Some(fields) = record.as_object_mut() {
        for (key, value) in changes {
            if key == "id" && value.as_str() != Some(now.id.as_str()) {
                return Err(Problem::invalid(
                    "/id",
                    "a panel's id cannot be changed; add a new panel and remove this one",
                ));
            }
            match (key.as_str(), value) {
                ("labels", Value::Object(changes)) => {
                    merge(fields.entry(key).or_insert_with(|| Map::new().into()), changes);
                }
                ("labels", Value::Null) => {
                    fields.insert(key.clone(), Map::new().into());
                }
                (_, value) => {
                    fields.insert(key.clone(), value.clone());
                }
            }
        }
    }
    let record: PanelRecord =
        serde_json::from_value(record).map_err(|error| Problem::invalid("", error.to_string()))?;
    let settings = Settings::parse(&record).map_err(invalid)?;
    if changes.contains_key("username") {
        plain_username(&settings)?;
    }
    if settings.driver() != now.driver() {
        return Err(Problem::invalid(
            "/driver",
            "a panel's driver cannot be changed; add a new panel and remove this one",
        ));
    }
    if with_password && !settings.is_device() {
        return Err(Problem::invalid("/password", "only a panel with the driver http has one"));
    }
    Ok(settings)
}

/// The password was given for one device, as one user, and under what vouched for it. Whoever changes one of these says
/// it again, or could have it sent to a host of theirs.
fn keeps_its_password(now: Option<&Remote>, then: Option<&Remote>) -> Result<(), Problem> {
    let (Some(now), Some(then)) = (now, then) else { return Ok(()) };
    let what = if now.origin() != then.origin() {
        "the address"
    } else if now.username != then.username {
        "the user name"
    } else if now.trust() != then.trust() {
        "what vouches for the device"
    } else {
        return Ok(());
    };
    Err(Problem::invalid(
        "/password",
        format!("give the password again: it is not sent on by itself when {what} changes"),
    ))
}

/// Sets what is given and removes what is null.
fn merge(standing: &mut Value, changes: &Map<String, Value>) {
    let Value::Object(standing) = standing else { return };
    for (key, value) in changes {
        if value.is_null() {
            standing.remove(key);
        } else {
            standing.insert(key.clone(), value.clone());
        }
    }
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
    remove_panel(&shared, &request, &who, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes the panel of this id.
pub async fn remove_panel(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    id: &str,
) -> Result<(), Problem> {
    let origin = auth::origin(request, &who.actor());
    let removed = shared.coordinator.send(RemovePanel(id.to_owned(), origin)).await?;
    Ok(removed.ok_or_else(|| no_panel(id))?.await??)
}

/// Sends everything that is desired to a remote panel's device again, whatever it has confirmed; its next attempt
/// is now.
#[utoipa::path(tag = "panels", params(("id" = String, Path)),
    responses((status = 200, body = PanelBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/panels/{id}:resync")]
pub async fn resync(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let panel = find(&shared, &id).await?;
    if !panel.settings.is_device() {
        return Err(Problem::Conflict(format!(
            "panel {id} is embedded: this server is the panel, and nothing is sent"
        )));
    }
    let origin = auth::origin(&request, &who.actor());
    let resynced = shared.coordinator.send(ResyncPanel(id.clone(), origin)).await?;
    resynced.ok_or_else(|| no_panel(&id))?.await??;
    Ok(HttpResponse::Ok().json(panel_body(&shared.store.read()?, &panel)?))
}

/// The panel of this id, or 404.
pub async fn find(shared: &Shared, id: &str) -> Result<Entry, Problem> {
    shared.register.find(id).ok_or_else(|| no_panel(id))
}

fn no_panel(id: &str) -> Problem {
    Problem::NotFound(format!("panel {id}"))
}

fn invalid(problems: Vec<crate::panel::settings::SettingProblem>) -> Problem {
    Problem::Invalid(problems.into_iter().map(FieldError::from).collect())
}
