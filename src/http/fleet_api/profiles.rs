//! What the fleet holds: per panel, and over all panels by link_id.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::types::TimeProfileBody;
use super::{Page, Paging, panels};
use crate::http::Shared;
use crate::http::auth::Viewer;
use crate::http::problem::{Problem, ProblemBody};
use crate::profile::LinkId;
use crate::store::read::Snapshot;
use crate::store::row::RowName;
use crate::store::{PanelNo, StoreError, StoreHandle};

/// A profile on one panel.
#[derive(Debug, Serialize, ToSchema)]
pub struct PanelProfile {
    /// Null for a profile that was made by uid.
    #[schema(value_type = Option<uuid::Uuid>)]
    link_id: Option<LinkId>,
    /// The panel's own number for it.
    uid: u32,
    /// `applied`, `pending`, `rejected` or `drifted`; on an embedded panel always `applied`.
    state: &'static str,
    /// Why it is rejected, in the panel's words.
    extended_info: Option<String>,
    /// 1 when created, one more at each change.
    revision: u32,
    /// What it says.
    #[schema(value_type = TimeProfileBody)]
    profile: Box<RawValue>,
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
    let after: u32 = paging.number(0)?;
    let panel = panels::find(&shared, &id).await?;
    let profiles = shared.store.read()?.profiles(panel.number)?;
    // Behind the last one that was shown, which may be gone by now.
    let shown = profiles.iter().position(|profile| profile.row.uid == after).map_or(0, |at| at + 1);
    let rows = profiles
        .into_iter()
        .skip(shown)
        .take(limit + 1)
        .map(|stored| {
            let profile = raw(stored.json.to_string())?;
            let (uid, revision) = (stored.row.uid, stored.row.revision);
            Ok(PanelProfile {
                link_id: stored.link_id(),
                uid,
                state: "applied",
                extended_info: None,
                revision,
                profile,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(HttpResponse::Ok().json(Page::cut(rows, limit, |row: &PanelProfile| row.uid.to_string())))
}

/// How many panels hold a profile in which state.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct StateCounts {
    applied: u64,
    pending: u64,
    rejected: u64,
    drifted: u64,
}

/// A profile over the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetProfile {
    /// Which profile.
    #[schema(value_type = uuid::Uuid)]
    link_id: LinkId,
    /// Its name on most panels.
    name: String,
    /// How many panels hold it.
    panels: u64,
    /// How many different texts they hold.
    versions: usize,
    /// In which states.
    states: StateCounts,
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

fn fleet_profiles(
    store: &StoreHandle,
    after: Option<LinkId>,
    limit: usize,
) -> Result<Page<FleetProfile>, Problem> {
    let snapshot = store.read()?;
    // By link_id, then by body: how many panels.
    let mut found: BTreeMap<LinkId, BTreeMap<u64, u64>> = BTreeMap::new();
    snapshot.each_linked(|_, link, row| {
        if after.is_none_or(|after| link > after) {
            *found.entry(link).or_default().entry(row.body).or_default() += 1;
            if found.len() > limit + 1 {
                found.pop_last();
            }
        }
    })?;
    let mut rows = Vec::with_capacity(found.len());
    for (link_id, bodies) in found {
        let most =
            bodies.iter().max_by_key(|(_, panels)| **panels).map(|(body, _)| *body).unwrap_or_default();
        let panels = bodies.values().sum();
        rows.push(FleetProfile {
            link_id,
            name: name(&snapshot, most)?,
            panels,
            versions: bodies.len(),
            states: StateCounts { applied: panels, ..StateCounts::default() },
        });
    }
    Ok(Page::cut(rows, limit, |row| row.link_id.to_string()))
}

fn name(snapshot: &Snapshot, body: u64) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named: Named =
        serde_json::from_str(&snapshot.body(body)?).map_err(|_| StoreError::Corrupt("body"))?;
    Ok(named.name)
}

/// A profile over the fleet, version by version.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetProfileVersions {
    /// Which profile.
    #[schema(value_type = uuid::Uuid)]
    link_id: LinkId,
    /// How many panels hold it.
    panels: u64,
    /// In which states.
    states: StateCounts,
    /// What they hold, the most frequent first; more than one means that panels differ.
    versions: Vec<ProfileVersion>,
}

/// One of the texts that panels hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileVersion {
    /// The text.
    #[schema(value_type = TimeProfileBody)]
    profile: Box<RawValue>,
    /// How many panels hold it.
    count: usize,
    /// Which ones; the first thousand.
    panels: Vec<String>,
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
    let no_profile = || Problem::NotFound(format!("profile {link_id} on any panel"));
    let link: LinkId = link_id.parse().map_err(|_| no_profile())?;
    let store = shared.store.clone();
    let found = web::block(move || versions(&store, link)).await??;
    Ok(HttpResponse::Ok().json(found.ok_or_else(no_profile)?))
}

fn versions(store: &StoreHandle, link_id: LinkId) -> Result<Option<FleetProfileVersions>, Problem> {
    let snapshot = store.read()?;
    let mut bodies: BTreeMap<u64, Vec<PanelNo>> = BTreeMap::new();
    snapshot.each_panel(|panel, _| {
        if let Some(row) = snapshot.row(panel, RowName::Link(link_id))? {
            bodies.entry(row.body).or_default().push(panel);
        }
        Ok::<_, StoreError>(())
    })?;
    if bodies.is_empty() {
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
    let states = StateCounts { applied: panels, ..StateCounts::default() };
    Ok(Some(FleetProfileVersions { link_id, panels, states, versions }))
}

fn raw(json: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json).map_err(|_| StoreError::Corrupt("body"))
}
