//! What the fleet holds: per panel, and over all panels by link_id.

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::types::TimeProfileBody;
use super::{Page, Paging, cursor_of_item};
use crate::batch::item::Kind;
use crate::fleet::{self, profiles as held};
use crate::http::Here;
use crate::http::auth::Viewer;
use crate::http::problem::{Problem, ProblemBody};
use crate::profile::LinkId;

/// A profile on one panel.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelProfile {
    /// Null for a profile that was made by uid.
    #[schema(value_type = Option<uuid::Uuid>, required = true)]
    pub link_id: Option<LinkId>,
    /// The panel's own number for it.
    pub uid: u32,
    /// `applied`, `pending`, `rejected` or `drifted`; `kept_otherwise` where the device confirms it and keeps something
    /// else. On an embedded panel `applied`, or `rejected` where the last change to it was refused: it stands as it stood
    /// before.
    pub state: &'static str,
    /// Why it is rejected, in the panel's words.
    #[schema(required = true)]
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

impl From<held::PanelProfile> for PanelProfile {
    fn from(profile: held::PanelProfile) -> Self {
        let held::PanelProfile { link_id, uid, state, extended_info, revision, sentence, profile, device } =
            profile;
        let state = state.as_str();
        Self { link_id, uid, state, extended_info, revision, sentence, profile, device }
    }
}

/// The profiles that a panel should hold: those with a link_id in its order, then those made by uid.
#[utoipa::path(tag = "profiles", operation_id = "list_panel_profiles", params(("id" = String, Path), Paging),
    responses((status = 200, body = Page<PanelProfile>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/profiles")]
pub async fn of_panel(
    _who: Viewer,
    id: web::Path<String>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let after = paging.item(Kind::Profile)?;
    let panel = shared.fleet.panel(&id)?;
    let fleet::Page { items, next } = shared.fleet.profiles_of(panel, after, limit).await?;
    let items = items.into_iter().map(PanelProfile::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: next.map(cursor_of_item) }))
}

/// The windows of all profiles of a panel, as an iCalendar file for a calendar program.
#[utoipa::path(tag = "profiles", operation_id = "show_panel_calendar", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/calendar", description = "A calendar (RFC 5545)"), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/panels/{id}/profiles.ics")]
pub async fn calendar_of_panel(
    _who: Viewer,
    id: web::Path<String>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let panel = shared.fleet.panel(&id)?;
    let text = shared.fleet.calendar_of(panel).await?;
    Ok(HttpResponse::Ok().content_type("text/calendar; charset=utf-8").body(text))
}

/// How many panels hold an item in which state.
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

impl From<fleet::held::StateCounts> for StateCounts {
    fn from(counts: fleet::held::StateCounts) -> Self {
        let fleet::held::StateCounts { applied, pending, rejected, drifted } = counts;
        Self { applied, pending, rejected, drifted }
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
    /// How many different things they hold, in whatever words.
    pub versions: usize,
    /// In which states.
    pub states: StateCounts,
}

impl From<held::FleetProfile> for FleetProfile {
    fn from(profile: held::FleetProfile) -> Self {
        let held::FleetProfile { link_id, name, panels, versions, states } = profile;
        Self { link_id, name, panels, versions, states: states.into() }
    }
}

/// The profiles over the fleet, by link_id.
#[utoipa::path(tag = "profiles", operation_id = "list_profiles", params(Paging),
    responses((status = 200, body = Page<FleetProfile>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody)))]
#[get("/profiles")]
pub async fn list_profiles(
    _who: Viewer,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let limit = paging.limit()?;
    let after: Option<LinkId> =
        paging.cursor.as_ref().map(|_| paging.number(LinkId::from_bytes([0; 16]))).transpose()?;
    let page = shared.fleet.page_of_profiles(after, limit).await?;
    Ok(HttpResponse::Ok().json(Page::of(page, FleetProfile::from)))
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

/// A panel that refuses an item.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusingPanel {
    /// Which panel.
    pub panel: String,
    /// Why, in its words.
    #[schema(example = "number_of_identifiers_exceeded")]
    pub extended_info: String,
}

impl From<fleet::held::RefusingPanel> for RefusingPanel {
    fn from(refusing: fleet::held::RefusingPanel) -> Self {
        let fleet::held::RefusingPanel { panel, extended_info } = refusing;
        Self { panel, extended_info }
    }
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

impl From<held::FleetProfileVersions> for FleetProfileVersions {
    fn from(profile: held::FleetProfileVersions) -> Self {
        let held::FleetProfileVersions { link_id, panels, states, versions, refused } = profile;
        let version =
            |held::ProfileVersion { profile, count, panels }| ProfileVersion { profile, count, panels };
        Self {
            link_id,
            panels,
            states: states.into(),
            versions: versions.into_iter().map(version).collect(),
            refused: refused.into_iter().map(RefusingPanel::from).collect(),
        }
    }
}

/// One profile over the fleet: on how many panels, and which panels differ.
#[utoipa::path(tag = "profiles", operation_id = "show_profile", params(("link_id" = uuid::Uuid, Path)),
    responses((status = 200, body = FleetProfileVersions), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/profiles/{link_id}")]
pub async fn show(_who: Viewer, link_id: web::Path<String>, shared: Here) -> Result<HttpResponse, Problem> {
    let profile = shared.fleet.profile(&link_id).await?;
    Ok(HttpResponse::Ok().json(FleetProfileVersions::from(profile)))
}
