//! What the fleet holds: per panel, and over all panels by link_id.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::types::TimeProfileBody;
use super::{Page, Paging, not_a_cursor, panels};
use crate::batch::item::ItemId;
use crate::clock;
use crate::coordinator::register::Entry;
use crate::http::auth::Viewer;
use crate::http::problem::{FieldError, Gathered, Problem, ProblemBody};
use crate::http::{Shared, body};
use crate::panel::settings::Zone;
use crate::profile::error::WireError;
use crate::profile::rule::Family;
use crate::profile::sentence::sentence;
use crate::profile::windows::{RangeError, Schedule};
use crate::profile::wire::{self, Json, MAX_VALUES, Unread};
use crate::profile::{LinkId, TimeProfile, ical, lint, opens, parse};
use crate::store::read::{Snapshot, StoredProfile};
use crate::store::row::{Reported, RowName};
use crate::store::{PanelNo, StoreError, StoreHandle};

/// A profile on one panel.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelProfile {
    /// Null for a profile that was made by uid.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub link_id: Option<LinkId>,
    /// The panel's own number for it.
    pub uid: u32,
    /// `applied`, `pending`, `rejected` or `drifted`; `kept_otherwise` where the device confirms it and keeps something
    /// else. On an embedded panel `applied`, or `rejected` where the last change to it was refused: it stands as it stood
    /// before.
    pub state: &'static str,
    /// Why it is rejected, in the panel's words.
    pub extended_info: Option<String>,
    /// 1 when created, one more at each change.
    pub revision: u32,
    /// When it opens the door, in words and in the panel's zone.
    #[schema(example = "Monday to Friday, 09:00–18:00, until 31 Dec 2026")]
    pub sentence: String,
    /// What it says.
    #[schema(value_type = TimeProfileBody)]
    pub profile: Box<RawValue>,
    /// What the device keeps instead, as it says it.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Box<RawValue>>,
}

/// The profiles that a panel should hold: those with a link_id in its order, then those made by uid.
#[utoipa::path(tag = "profiles", params(("id" = String, Path), Paging),
    responses((status = 200, body = Page<PanelProfile>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/profiles")]
pub async fn of_panel(
    _who: Viewer,
    id: web::Path<String>,
    paging: web::Query<Paging>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let after = paging.cursor.as_deref().map(|text| place(text).ok_or_else(not_a_cursor)).transpose()?;
    let panel = panels::find(&shared, &id).await?;
    let store = shared.store.clone();
    let page = web::block(move || {
        let snapshot = store.read()?;
        let profiles = snapshot.profiles(panel.number)?.into_iter();
        // Behind the last one that was shown, which may be gone by now.
        let wanted =
            profiles.filter(|profile| after.is_none_or(|after| profile.name > after)).take(limit + 1);
        let rows = on_panel(&snapshot, &panel, wanted)?;
        Ok::<_, Problem>(Page::cut(rows, limit, |row: &PanelProfile| match row.link_id {
            Some(link) => link.to_string(),
            None => format!("{BY_UID}{}", row.uid),
        }))
    });
    Ok(HttpResponse::Ok().json(page.await??))
}

/// How the cursor of a profile begins that was made by uid.
const BY_UID: &str = "uid-";

/// Where in the order of a panel's profiles a cursor stands.
fn place(cursor: &str) -> Option<RowName> {
    match cursor.strip_prefix(BY_UID) {
        Some(uid) => uid.parse().ok().map(RowName::Uid),
        None => cursor.parse().ok().map(|link| RowName::Link(ItemId::profile(link))),
    }
}

/// A panel's stored profiles with what is known of them.
pub fn on_panel(
    snapshot: &Snapshot,
    panel: &Entry,
    profiles: impl Iterator<Item = StoredProfile>,
) -> Result<Vec<PanelProfile>, StoreError> {
    profiles
        .map(|stored| {
            let sentence = sentence(&read(&stored.json)?, panel.settings.zone.rules());
            let profile = raw(stored.json.to_string())?;
            let (uid, revision) = (stored.row.uid, stored.row.revision);
            let link_id = stored.link_id();
            let known = match link_id {
                Some(link) => snapshot.reported(panel.number, ItemId::profile(link))?,
                None => None,
            };
            let mut device = None;
            let (state, extended_info) = match known {
                None | Some(Reported::Held(_)) => ("applied", None),
                Some(Reported::Unknown) => ("pending", None),
                Some(Reported::Refused(words)) => ("rejected", Some(words.into())),
                Some(Reported::Drifted(_)) => ("drifted", None),
                Some(Reported::KeptOtherwise(kept)) => {
                    device = RawValue::from_string(kept.json.into()).ok(); // it was too long to keep otherwise
                    ("kept_otherwise", None)
                }
            };
            Ok(PanelProfile { link_id, uid, state, extended_info, revision, sentence, profile, device })
        })
        .collect()
}

/// The windows of all profiles of a panel, as an iCalendar file for a calendar program.
#[utoipa::path(tag = "profiles", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/calendar"), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/profiles.ics")]
pub async fn calendar_of_panel(
    _who: Viewer,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let panel = panels::find(&shared, &id).await?;
    let store = shared.store.clone();
    let text = web::block(move || {
        let zone = &panel.settings.zone;
        let mut profiles = Vec::new();
        for stored in store.read()?.profiles(panel.number)? {
            let uid = match stored.link_id() {
                Some(link_id) => link_id.to_string(),
                None => format!("{}-{}", panel.settings.id, stored.row.uid),
            };
            profiles.push((uid, read(&stored.json)?));
        }
        let entries: Vec<_> =
            profiles.iter().map(|(uid, profile)| ical::Entry { uid: uid.clone(), profile }).collect();
        let stamp = clock::now_ms() / 1000;
        let name = panel.settings.id.as_str();
        Ok::<_, Problem>(ical::calendar(name, zone.name(), zone.rules(), stamp, &entries))
    });
    let text = text.await??;
    Ok(HttpResponse::Ok().content_type("text/calendar; charset=utf-8").body(text))
}

/// A question when a door would open.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowsRequest {
    /// The profile; it needs no link_id.
    pub profile: TimeProfileBody,
    /// IANA name of the zone; UTC without it.
    #[schema(example = "Europe/Kyiv")]
    pub zone: Option<String>,
    /// From this moment on: RFC 3339, or Unix seconds.
    #[schema(value_type = String, example = "2026-11-23T00:00:00Z")]
    pub from: serde_json::Value,
    /// Up to this moment: RFC 3339, or Unix seconds.
    #[schema(value_type = String, example = "2026-12-01T00:00:00Z")]
    pub to: serde_json::Value,
}

/// When a door would open.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowsBody {
    /// The profile's link_id, where it has one.
    pub link_id: Option<uuid::Uuid>,
    /// The zone.
    pub zone: String,
    /// The profile in words.
    pub sentence: String,
    /// What is legal and surely unintended.
    pub warnings: Vec<String>,
    /// The windows within the range, ascending, merged and cut at its ends.
    pub windows: Vec<WindowBody>,
}

/// From `from` on the door opens, and at `to` it is shut; Unix seconds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowBody {
    /// Unix seconds.
    pub from: i64,
    /// Unix seconds.
    pub to: i64,
}

/// When a door would open under a profile; at most 50 years and 100,000 windows. Nothing is stored.
#[utoipa::path(tag = "profiles", request_body = WindowsRequest,
    responses((status = 200, body = WindowsBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 413, body = ProblemBody),
        (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/windows")]
pub async fn show_windows(
    _who: Viewer,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&request, payload, body::JSON, shared.body_limit).await?;
    let question = shared.turns.parse(body, Question::parse).await??;
    let answer = web::block(move || question.answer()).await??;
    Ok(HttpResponse::Ok().json(answer))
}

/// A checked [`WindowsRequest`].
struct Question {
    link_id: Option<LinkId>,
    profile: TimeProfile,
    zone: Zone,
    from: i64,
    to: i64,
}

impl Question {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let json = Json::object(body, MAX_VALUES).map_err(|unread| match unread {
            Unread::NotJson(error) => Unread::NotJson::<Problem>(error),
            Unread::NotAnObject => Unread::NotAnObject,
            Unread::TooManyValues(key, at) => Unread::TooManyValues(key, at),
            Unread::Stopped(never) => match never {},
        })?;
        let mut errors = Gathered::default();
        if let Json::Object(fields) = &json {
            for (i, (key, _)) in fields.iter().enumerate() {
                if fields.iter().take(i).any(|(other, _)| other == key) {
                    errors.add(|| FieldError::at(wire::step(key), WireError::Twice.to_string()));
                }
            }
        }
        let nothing = Json::Null;
        let item = json.get("profile").unwrap_or(&nothing);
        let mut items = parse::Items::default();
        let profile = items.profile(item, "profile", Family::DoorController);
        let (found, all) = items.found();
        errors.extend(found.into_iter().map(FieldError::from), all);
        let link_id = match item.get("link_id") {
            Some(Json::Text(text)) => text.parse().ok(),
            _ => None,
        };
        let zone = match json.get("zone") {
            None | Some(Json::Null) => Zone::new("UTC"),
            Some(Json::Text(name)) => {
                let zone = Zone::new(name);
                if zone.is_none() {
                    errors.add(|| FieldError::at("/zone", Zone::unknown(name)));
                }
                zone
            }
            Some(_) => {
                errors.add(|| FieldError::at("/zone", "an IANA time zone such as Europe/Kyiv"));
                None
            }
        };
        let mut moment = |key: &str| {
            let moment = match json.get(key) {
                Some(Json::Int(unix)) => Some(*unix),
                Some(Json::Text(text)) => opens::moment(text),
                _ => None,
            };
            if moment.is_none() {
                let takes = "a moment such as 2026-11-23T00:00:00Z, or Unix seconds";
                errors.add(|| FieldError::at(format!("/{key}"), takes));
            }
            moment
        };
        match (moment("from"), moment("to"), profile, zone) {
            (Some(from), Some(to), Some(profile), Some(zone)) if errors.is_empty() => {
                Ok(Self { link_id, profile, zone, from, to })
            }
            _ => Err(errors.into_problem()),
        }
    }

    fn answer(self) -> Result<WindowsBody, Problem> {
        let Self { link_id, profile, zone, from, to } = self;
        let range = Schedule::new(&profile, zone.rules()).windows(from, to);
        let windows = range.map_err(|error| {
            let path = if error == RangeError::Backwards { "/from" } else { "/to" };
            Problem::invalid(path, error.to_string())
        })?;
        let never =
            opens::check(&profile, zone.rules()).err().map(|never| format!("the door never opens: {never}"));
        let warnings = lint::warnings(&profile, zone.rules(), clock::now_ms() / 1000);
        Ok(WindowsBody {
            link_id: link_id.map(|link| uuid::Uuid::from_bytes(*link.as_bytes())),
            zone: zone.name().to_owned(),
            sentence: sentence(&profile, zone.rules()),
            warnings: never.into_iter().chain(warnings.iter().map(ToString::to_string)).collect(),
            windows: windows.iter().map(|window| WindowBody { from: window.from, to: window.to }).collect(),
        })
    }
}

/// How many panels hold a profile in which state.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct StateCounts {
    /// Confirmed by the panel.
    pub applied: u64,
    /// On its way.
    pub pending: u64,
    /// Refused by the panel.
    pub rejected: u64,
    /// Found to be different on the device.
    pub drifted: u64,
}

impl StateCounts {
    /// Of a profile that is not on a panel, because it refuses it.
    fn refused(&mut self) {
        self.rejected += 1;
    }

    /// Of a profile that is desired of a panel whose device this is known of.
    fn take(&mut self, reported: &Reported) {
        let count = match reported {
            Reported::Held(_) => return,
            Reported::Unknown => &mut self.pending,
            Reported::Refused(_) => &mut self.rejected,
            Reported::Drifted(_) | Reported::KeptOtherwise(_) => &mut self.drifted,
        };
        *count += 1;
        self.applied = self.applied.saturating_sub(1);
    }
}

/// A profile over the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetProfile {
    /// Which profile.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: LinkId,
    /// Its name on most panels; empty where none holds it, since all refuse it.
    pub name: String,
    /// How many panels hold it.
    pub panels: u64,
    /// How many different texts they hold.
    pub versions: usize,
    /// In which states.
    pub states: StateCounts,
}

/// The profiles over the fleet, by link_id.
#[utoipa::path(tag = "profiles", params(Paging),
    responses((status = 200, body = Page<FleetProfile>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody)))]
#[get("/profiles")]
pub async fn list_profiles(
    _who: Viewer,
    paging: web::Query<Paging>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let after: Option<LinkId> =
        paging.cursor.as_ref().map(|_| paging.number(LinkId::from_bytes([0; 16]))).transpose()?;
    let store = shared.store.clone();
    let page = web::block(move || fleet_profiles(&store, after, limit)).await??;
    Ok(HttpResponse::Ok().json(page))
}

/// At most `limit` profiles over the fleet behind one, by link_id.
pub fn fleet_profiles(
    store: &StoreHandle,
    after: Option<LinkId>,
    limit: usize,
) -> Result<Page<FleetProfile>, Problem> {
    let snapshot = store.read()?;
    // By link_id, then by body: how many panels.
    let mut found: BTreeMap<LinkId, BTreeMap<u64, u64>> = BTreeMap::new();
    snapshot.each_linked(|_, ItemId { link_id: link, .. }, row| {
        if after.is_none_or(|after| link > after) {
            *found.entry(link).or_default().entry(row.body).or_default() += 1;
            if found.len() > limit + 1 {
                found.pop_last();
            }
        }
    })?;
    // What every panel refuses is nowhere, and somebody wanted it all the same.
    snapshot.each_reported_anywhere(|_, ItemId { link_id: link, .. }, known| {
        if matches!(known, Reported::Refused(_)) && after.is_none_or(|after| link > after) {
            found.entry(link).or_default();
            if found.len() > limit + 1 {
                found.pop_last();
            }
        }
        Ok(())
    })?;
    let mut states: BTreeMap<LinkId, StateCounts> = BTreeMap::new();
    for (link, bodies) in &found {
        states.insert(*link, StateCounts { applied: bodies.values().sum(), ..StateCounts::default() });
    }
    snapshot.each_reported_anywhere(|panel, item, known| {
        if let Some(states) = states.get_mut(&item.link_id)
            && !matches!(known, Reported::Held(_))
        {
            if snapshot.row(panel, RowName::Link(item))?.is_some() {
                states.take(&known);
            } else if matches!(known, Reported::Refused(_)) {
                states.refused();
            }
        }
        Ok(())
    })?;
    let mut rows = Vec::with_capacity(found.len());
    for (link_id, bodies) in found {
        let most = bodies.iter().max_by_key(|(_, panels)| **panels).map(|(body, _)| *body);
        let panels = bodies.values().sum();
        rows.push(FleetProfile {
            link_id,
            name: most.map(|most| name(&snapshot, most)).transpose()?.unwrap_or_default(),
            panels,
            versions: bodies.len(),
            states: states.remove(&link_id).unwrap_or_default(),
        });
    }
    Ok(Page::cut(rows, limit, |row| row.link_id.to_string()))
}

fn name(snapshot: &Snapshot, body: u64) -> Result<String, Problem> {
    Ok(read(&snapshot.body(body)?)?.name.as_str().to_owned())
}

/// A profile over the fleet, version by version.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetProfileVersions {
    /// Which profile.
    #[schema(value_type = uuid::Uuid)]
    pub link_id: LinkId,
    /// How many panels hold it.
    pub panels: u64,
    /// In which states.
    pub states: StateCounts,
    /// What they hold, the most frequent first; more than one means that panels differ.
    pub versions: Vec<ProfileVersion>,
    /// Which panels refuse it, and why; the first thousand. An embedded one that holds it has refused a change to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusingPanel>,
}

/// A panel that refuses a profile.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusingPanel {
    /// Which panel.
    pub panel: String,
    /// Why, in its words.
    #[schema(example = "number_of_identifiers_exceeded")]
    pub extended_info: String,
}

/// One of the texts that panels hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileVersion {
    /// The text.
    #[schema(value_type = TimeProfileBody)]
    pub profile: Box<RawValue>,
    /// How many panels hold it.
    pub count: usize,
    /// Which ones; the first thousand.
    pub panels: Vec<String>,
}

/// Panels listed per version at most.
const LISTED: usize = 1000;

/// One profile over the fleet: on how many panels, and which panels differ.
#[utoipa::path(tag = "profiles", params(("link_id" = uuid::Uuid, Path)),
    responses((status = 200, body = FleetProfileVersions), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/profiles/{link_id}")]
pub async fn show(
    _who: Viewer,
    link_id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(find(&shared, &link_id).await?))
}

/// The profile of this link_id over the fleet, or 404.
pub async fn find(shared: &Shared, link_id: &str) -> Result<FleetProfileVersions, Problem> {
    let no_profile = || Problem::NotFound(format!("profile {link_id} on any panel"));
    let link: LinkId = link_id.parse().map_err(|_| no_profile())?;
    let store = shared.store.clone();
    web::block(move || versions(&store, link)).await??.ok_or_else(no_profile)
}

fn versions(store: &StoreHandle, link_id: LinkId) -> Result<Option<FleetProfileVersions>, Problem> {
    let snapshot = store.read()?;
    let mut bodies: BTreeMap<u64, Vec<PanelNo>> = BTreeMap::new();
    let (mut states, mut refused) = (StateCounts::default(), Vec::new());
    snapshot.each_panel(|panel, _| {
        let row = snapshot.row(panel, RowName::Link(ItemId::profile(link_id)))?;
        let known = snapshot.reported(panel, ItemId::profile(link_id))?;
        if let Some(row) = row {
            bodies.entry(row.body).or_default().push(panel);
            states.applied += 1;
        }
        match &known {
            Some(known) if row.is_some() => states.take(known),
            Some(Reported::Refused(_)) => states.refused(),
            _ => {}
        }
        if let Some(Reported::Refused(words)) = known
            && refused.len() < LISTED
        {
            let panel = snapshot.panel_name(panel)?.unwrap_or_default();
            refused.push(RefusingPanel { panel, extended_info: words.into() });
        }
        Ok::<_, StoreError>(())
    })?;
    if bodies.is_empty() && refused.is_empty() {
        return Ok(None);
    }
    let mut versions = Vec::with_capacity(bodies.len());
    let mut panels = 0;
    for (body, holders) in bodies {
        panels += holders.len() as u64;
        let mut names = Vec::new();
        for panel in holders.iter().take(LISTED) {
            names.push(snapshot.panel_name(*panel)?.unwrap_or_default());
        }
        let profile = raw(snapshot.body(body)?.into())?;
        versions.push(ProfileVersion { profile, count: holders.len(), panels: names });
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.count));
    Ok(Some(FleetProfileVersions { link_id, panels, states, versions, refused }))
}

/// A stored profile.
pub fn read(json: &str) -> Result<TimeProfile, StoreError> {
    parse::stored(json.as_bytes()).map_err(|_| StoreError::Corrupt("body"))
}

fn raw(json: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json).map_err(|_| StoreError::Corrupt("body"))
}
