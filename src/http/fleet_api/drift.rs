//! What devices really hold: compare it with what is desired, and put it right.
//!
//! Both calls read the devices now, many at once, and record what they find; only `POST /reconcile` changes
//! anything on a device. A device that cannot be read is named with why; after a reconcile it is put right as soon
//! as it is back.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::panels::Selection;
use super::session::read_json;
use super::types::TimeProfileBody;
use super::{Page, Paging, batches};
use crate::access::Principal;
use crate::batch::selector::Selector;
use crate::coordinator::Target;
use crate::coordinator::fleet::Resolve;
use crate::coordinator::register::Entry;
use crate::http::Shared;
use crate::http::auth::{self, Operator, Viewer};
use crate::http::problem::{Problem, ProblemBody};
use crate::panel::Attend;
use crate::panel::remote::record::{Difference, Findings, Found};
use crate::profile::LinkId;
use crate::store::row::Reported;

/// Panels asked at once. The devices' own limit is further down; this one bounds what waits for it.
const AT_ONCE: usize = 256;

/// Between looks at whether what was found has been put right.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What one panel's device holds beside what is desired.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PanelDiff {
    /// Which panel.
    pub panel: String,
    /// `same`, `differs` or `unreadable`; after a reconcile also `repaired`, or `pending` while it is under way.
    #[schema(example = "differs")]
    pub state: String,
    /// Why it could not be read.
    pub error: Option<String>,
    /// How far the device's clock is ahead of the server's, in seconds. It decides when its door opens.
    pub clock_ahead_s: Option<i64>,
    /// What differs, by link_id; then what was made on the device.
    pub differences: Vec<ProfileDiff>,
}

/// A profile in which a device differs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileDiff {
    /// Null for one that was made on the device.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub link_id: Option<LinkId>,
    /// Its name.
    pub name: String,
    /// `missing`, `changed` or `extra` on the device; `pending` or `rejected`; or `unlinked`: made on the device,
    /// shown and never touched.
    #[schema(example = "changed")]
    pub difference: String,
    /// Why the device refuses it, in its own words.
    pub extended_info: Option<String>,
    /// What is desired.
    #[schema(value_type = Option<TimeProfileBody>)]
    pub desired: Option<Box<RawValue>>,
    /// What the device holds, as it says it.
    #[schema(value_type = Option<Object>)]
    pub device: Option<Box<RawValue>>,
}

impl Difference {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Extra => "extra",
            Self::Unlinked => "unlinked",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
        }
    }
}

impl From<Found> for ProfileDiff {
    fn from(found: Found) -> Self {
        let Found { difference, link_id, name, desired, on_device, refused } = found;
        Self {
            link_id,
            name,
            difference: difference.as_str().to_owned(),
            extended_info: refused.map(Into::into),
            desired,
            device: on_device,
        }
    }
}

/// Has the panel's device read now; the error is why it could not be.
async fn read(panel: &Entry) -> Result<Findings, String> {
    let (reader, findings) = oneshot::channel();
    let asked = panel.address.send(Attend::Read(reader)).await;
    match asked.map(|()| findings) {
        Ok(findings) => match findings.await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the panel was removed".to_owned()),
        },
        Err(_) => Err("the panel was removed".to_owned()),
    }
}

/// Has the panel's device read now and compares.
pub async fn diff(panel: &Entry) -> PanelDiff {
    let id = panel.settings.id.to_string();
    match read(panel).await {
        Ok(Findings { found, clock_ahead_s, .. }) => {
            let differs = found.iter().any(|found| found.difference != Difference::Unlinked);
            PanelDiff {
                panel: id,
                state: if differs { "differs" } else { "same" }.to_owned(),
                error: None,
                clock_ahead_s,
                differences: found.into_iter().map(ProfileDiff::from).collect(),
            }
        }
        Err(error) => PanelDiff {
            panel: id,
            state: "unreadable".to_owned(),
            error: Some(error),
            clock_ahead_s: None,
            differences: Vec::new(),
        },
    }
}

async fn diff_all(panels: &[Entry]) -> Vec<PanelDiff> {
    stream::iter(panels).map(diff).buffered(AT_ONCE).collect().await
}

/// What is desired against what each device really holds, by panel. The devices are read now.
#[utoipa::path(tag = "drift", params(Selection, Paging),
    responses((status = 200, body = Page<PanelDiff>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/diff")]
pub async fn show_diff(
    _who: Viewer,
    selection: web::Query<Selection>,
    paging: web::Query<Paging>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let Page { items, next_cursor } = selection.page(&paging, &shared).await?;
    let items = diff_all(&items).await;
    Ok(HttpResponse::Ok().json(Page { items, next_cursor }))
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
/// repairs; those that are not done by then go on.
#[utoipa::path(tag = "drift", request_body = ReconcileRequest,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 10 without")),
    responses((status = 200, body = Reconciled), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/reconcile")]
pub async fn reconcile(
    Operator(who): Operator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let until = Instant::now() + batches::wait(&request)?;
    let wanted: ReconcileRequest = read_json(&request, payload, &shared).await?;
    let panels = if wanted.dry_run == Some(true) {
        let mut panels = shared.coordinator.send(Resolve(wanted.target()?)).await??;
        panels.retain(|panel| panel.settings.remote.is_some());
        diff_all(&panels).await
    } else {
        repair(&shared, &request, &who, wanted.target()?, until).await?
    };
    Ok(HttpResponse::Ok().json(Reconciled { panels }))
}

/// Reads the devices of these panels and has what differs put right; waits for that until a moment.
pub async fn repair(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    target: Target,
    until: Instant,
) -> Result<Vec<PanelDiff>, Problem> {
    let audit = auth::origin(request, &who.actor()).audit("reconcile", target.to_string());
    let mut panels = shared.coordinator.send(Resolve(target)).await??;
    panels.retain(|panel| panel.settings.remote.is_some());
    let numbers: Vec<_> = panels.iter().map(|panel| panel.number).collect();
    shared
        .store
        .change(move |tables| {
            for panel in &numbers {
                let mut device = tables.device(*panel)?.unwrap_or_default();
                device.reconcile = true;
                tables.set_device(*panel, &device)?;
            }
            tables.audit(&audit)
        })
        .await?;
    let mut found = diff_all(&panels).await;
    for (panel, diff) in panels.iter().zip(&mut found).filter(|(_, diff)| diff.state == "differs") {
        loop {
            state_now(shared, panel, diff)?.clone_into(&mut diff.state);
            if diff.state != "pending" || Instant::now() >= until {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(found)
}

/// How far the repair of what was found is.
fn state_now(shared: &Shared, panel: &Entry, diff: &PanelDiff) -> Result<&'static str, Problem> {
    let snapshot = shared.store.read()?;
    let mut state = "repaired";
    for link in diff.differences.iter().filter_map(|difference| difference.link_id) {
        match snapshot.reported(panel.number, link)? {
            Some(Reported::Unknown) => return Ok("pending"),
            Some(Reported::Refused(_)) => state = "differs",
            Some(Reported::Held(_) | Reported::Drifted(_)) | None => {}
        }
    }
    Ok(state)
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
