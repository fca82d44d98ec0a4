//! What devices really hold: compare it with what is desired, and put it right.
//!
//! Both calls read the devices now, many at once, and record what they find; only `POST /reconcile` changes
//! anything on a device. A device that cannot be read is named with why; after a reconcile it is put right as soon
//! as it is back. Both wait no longer than they are asked to: a device that is not read by then is named too.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::panels::Selection;
use super::session::read_json;
use super::{Page, Paging, batches};
use crate::batch::selector::Selector;
use crate::coordinator::Target;
use crate::fleet;
use crate::fleet::drift::{self, WAIT, compare_all};
use crate::http::Here;
use crate::http::auth::{self, Operator, Viewer};
use crate::http::problem::{Problem, ProblemBody};
use crate::panel::remote::record::Found;
use crate::profile::LinkId;

/// How long a request may wait for devices, in seconds.
const MAX_WAIT: u64 = 300;

/// What one panel's device holds beside what is desired.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PanelDiff {
    /// Which panel.
    pub panel: String,
    /// `same`, `differs`, `unreadable`, or `not read yet` where the time was too short; after a reconcile also
    /// `repaired`, or `pending` while it is under way.
    #[schema(example = "differs")]
    pub state: String,
    /// Why it could not be read.
    #[schema(required = true)]
    pub error: Option<String>,
    /// How far the device's clock is ahead of the server's, in seconds. It decides when its door opens.
    #[schema(required = true)]
    pub clock_ahead_s: Option<i64>,
    /// What the device says of its zone, where it shows another time than the panel's zone: its door opens by its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub other_zone: Option<Box<str>>,
    /// What differs, by link_id; then what was made on the device.
    pub differences: Vec<ProfileDiff>,
    /// How many more differ than are listed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub not_shown: u64,
}

/// Whether it is none, and then left out.
pub fn is_none(number: &u64) -> bool {
    *number == 0
}

/// An item in which a device differs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileDiff {
    /// `profile` or `identifier`.
    #[schema(example = "profile")]
    pub kind: String,
    /// Null for one that was made on the device.
    #[schema(value_type = Option<uuid::Uuid>, required = true)]
    pub link_id: Option<LinkId>,
    /// Its name.
    pub name: String,
    /// `missing`, `changed` or `extra` on the device; `pending` or `rejected`; `kept_otherwise` where the device
    /// confirms what is desired and keeps something else; or `unlinked`: made on the device, shown and never touched.
    #[schema(example = "changed")]
    pub difference: String,
    /// Why the device refuses it, in its own words.
    #[schema(required = true)]
    pub extended_info: Option<String>,
    /// What is desired. Of an identifier no number is told whole.
    #[schema(value_type = Option<Object>, required = true)]
    pub desired: Option<Box<RawValue>>,
    /// What the device holds, as it says it.
    #[schema(value_type = Option<Object>, required = true)]
    pub device: Option<Box<RawValue>>,
}

impl From<drift::PanelDiff> for PanelDiff {
    fn from(diff: drift::PanelDiff) -> Self {
        let drift::PanelDiff { panel, state, error, clock_ahead_s, other_zone, differences, not_shown } =
            diff;
        Self {
            panel: panel.to_string(),
            state: state.as_str().to_owned(),
            error,
            clock_ahead_s,
            other_zone,
            differences: differences.into_iter().map(ProfileDiff::from).collect(),
            not_shown,
        }
    }
}

impl From<Found> for ProfileDiff {
    fn from(found: Found) -> Self {
        let Found { difference, kind, item, name, desired, on_device, refused } = found;
        Self {
            kind: kind.as_str().to_owned(),
            link_id: item.map(|item| item.link_id),
            name,
            difference: difference.as_str().to_owned(),
            extended_info: refused.map(Into::into),
            desired,
            device: on_device,
        }
    }
}

/// How long to wait for devices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Patience {
    /// Seconds, at most 300; 60 without. `Prefer: wait=N` says the same.
    #[param(value_type = Option<u32>)]
    wait: Option<String>,
}

impl Patience {
    fn wait(&self, request: &HttpRequest) -> Result<Duration, Problem> {
        match &self.wait {
            Some(text) => match text.parse::<u64>() {
                Ok(seconds) => Ok(Duration::from_secs(seconds.min(MAX_WAIT))),
                Err(_) => Err(Problem::bad_request("wait takes a number of seconds")),
            },
            None => wait(request),
        }
    }
}

fn wait(request: &HttpRequest) -> Result<Duration, Problem> {
    if request.headers().contains_key("prefer") { batches::wait(request) } else { Ok(WAIT) }
}

/// What is desired against what each device really holds, by panel. The devices are read now; those that are not read
/// in time are named.
#[utoipa::path(tag = "drift", operation_id = "show_diff",
    params(Selection, Paging, Patience, ("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 60 without")),
    responses((status = 200, body = Page<PanelDiff>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/diff")]
pub async fn show_diff(
    _who: Viewer,
    selection: web::Query<Selection>,
    paging: web::Query<Paging>,
    patience: web::Query<Patience>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let until = shared.fleet.until(patience.wait(&request)?);
    let (selector, after, limit) = selection.parts(&paging)?;
    let fleet::Page { items, next } = shared.fleet.page_of_panels(selector.as_ref(), after.as_ref(), limit);
    let items = compare_all(&items, &until).await.into_iter().map(PanelDiff::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: next.map(|id| id.to_string()) }))
}

/// Which panels are to be put right; exactly one of `selector`, `panels` and `all`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReconcileRequest {
    /// Such as `site=north,floor in (1,2)`.
    selector: Option<String>,
    /// Ids.
    panels: Option<Vec<String>>,
    /// Every panel.
    all: Option<bool>,
    /// Change nothing and say what differs: what is `extra` would be deleted, the rest put right.
    dry_run: Option<bool>,
}

/// What a reconcile found and did.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reconciled {
    /// By id.
    pub panels: Vec<PanelDiff>,
}

/// Reads every selected device back and puts right what has drifted. Waits as long as `Prefer: wait` says for the
/// devices and the repairs; what is not read or not done by then goes on.
#[utoipa::path(tag = "drift", operation_id = "reconcile", request_body = ReconcileRequest,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 60 without")),
    responses((status = 200, body = Reconciled), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/reconcile")]
pub async fn reconcile(
    Operator(who): Operator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let until = shared.fleet.until(wait(&request)?);
    let wanted: ReconcileRequest = read_json(&request, payload, &shared).await?;
    let panels = if wanted.dry_run == Some(true) {
        shared.fleet.compare_target(wanted.target()?, &until).await?
    } else {
        let origin = auth::origin(&request, &who.actor());
        shared.fleet.repair(wanted.target()?, &until, &origin).await?
    };
    Ok(HttpResponse::Ok().json(Reconciled { panels: panels.into_iter().map(PanelDiff::from).collect() }))
}

impl ReconcileRequest {
    fn target(self) -> Result<Target, Problem> {
        match (self.selector, self.panels, self.all.unwrap_or(false)) {
            (Some(selector), None, false) => Ok(Target::Selector(Selector::parse(&selector)?)),
            (None, Some(panels), false) => Ok(Target::Panels(panels)),
            (None, None, true) => Ok(Target::All),
            _ => Err(Problem::invalid(
                "",
                "exactly one of selector, panels and all says for which panels it is",
            )),
        }
    }
}
