//! What devices really hold: compare it with what is desired, and put it right.
//!
//! Both calls read the devices now, many at once, and record what they find; only `POST /reconcile` changes
//! anything on a device. A device that cannot be read is named with why; after a reconcile it is put right as soon
//! as it is back. Both wait no longer than they are asked to: a device that is not read by then is named too.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};
use utoipa::{IntoParams, ToSchema};

use super::panels::Selection;
use super::session::read_json;
use super::types::TimeProfileBody;
use super::{Page, Paging, batches};
use crate::access::Principal;
use crate::batch::item::ItemId;
use crate::batch::selector::Selector;
use crate::coordinator::Target;
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

/// How long devices are waited for where the request does not say, and at most.
const WAIT: Duration = Duration::from_mins(1);
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
    pub error: Option<String>,
    /// How far the device's clock is ahead of the server's, in seconds. It decides when its door opens.
    pub clock_ahead_s: Option<i64>,
    /// What differs, by link_id; then what was made on the device.
    pub differences: Vec<ProfileDiff>,
    /// How many more differ than are listed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub not_shown: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "so serde asks")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// A profile in which a device differs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileDiff {
    /// Null for one that was made on the device.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub link_id: Option<LinkId>,
    /// Its name.
    pub name: String,
    /// `missing`, `changed` or `extra` on the device; `pending` or `rejected`; `kept_otherwise` where the device
    /// confirms what is desired and keeps something else; or `unlinked`: made on the device, shown and never touched.
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
            Self::KeptOtherwise => "kept_otherwise",
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

/// Why a device was not read.
enum NotRead {
    /// It could not be.
    Because(String),
    /// It was not its turn before the time was over.
    Yet,
}

/// Has the panel's device read now, until a moment.
async fn read(panel: &Entry, until: Until) -> Result<Findings, NotRead> {
    if until.over() {
        return Err(NotRead::Yet);
    }
    let (reader, findings) = oneshot::channel();
    let removed = || NotRead::Because("the panel was removed".to_owned());
    let reading = async {
        panel.address.send(Attend::Read(reader)).await.map_err(|_| removed())?;
        let result = findings.await.map_err(|_| removed())?;
        result.map_err(|error| NotRead::Because(error.to_string()))
    };
    tokio::select! {
        read = reading => read,
        () = until.reached() => Err(NotRead::Yet),
    }
}

/// Until when devices are waited for: a moment, or the server's stop.
#[derive(Clone)]
pub struct Until {
    moment: Instant,
    stopping: watch::Receiver<bool>,
}

impl Until {
    /// So long from now on.
    pub fn after(wait: Duration, shared: &Shared) -> Self {
        Self { moment: Instant::now() + wait, stopping: shared.stopping.clone() }
    }

    /// As long as a person who looks at a page waits.
    pub fn usual(shared: &Shared) -> Self {
        Self::after(WAIT, shared)
    }

    fn over(&self) -> bool {
        Instant::now() >= self.moment || *self.stopping.borrow()
    }

    async fn reached(mut self) {
        let stops = async {
            if self.stopping.wait_for(|stops| *stops).await.is_err() {
                std::future::pending::<()>().await; // nobody can stop it any more
            }
        };
        let _ = tokio::time::timeout_at(self.moment.into(), stops).await; // either is the end
    }
}

/// Has the panel's device read now and compares.
pub async fn diff(panel: &Entry, until: Until) -> PanelDiff {
    let id = panel.settings.id.to_string();
    let nothing = |state: &str, error| PanelDiff {
        panel: id.clone(),
        state: state.to_owned(),
        error,
        clock_ahead_s: None,
        differences: Vec::new(),
        not_shown: 0,
    };
    match read(panel, until).await {
        Ok(Findings { found, clock_ahead_s, not_shown, .. }) => {
            let differs = found.iter().any(|found| found.difference != Difference::Unlinked);
            PanelDiff {
                clock_ahead_s,
                differences: found.into_iter().map(ProfileDiff::from).collect(),
                not_shown,
                ..nothing(if differs { "differs" } else { "same" }, None)
            }
        }
        Err(NotRead::Because(error)) => nothing("unreadable", Some(error)),
        Err(NotRead::Yet) => nothing("not read yet", None),
    }
}

async fn diff_all(panels: &[Entry], until: &Until) -> Vec<PanelDiff> {
    stream::iter(panels).map(|panel| diff(panel, until.clone())).buffered(AT_ONCE).collect().await
}

/// How long to wait for devices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Patience {
    /// Seconds, at most 300; 60 without. `Prefer: wait=N` says the same.
    wait: Option<String>,
}

impl Patience {
    fn wait(&self, request: &HttpRequest) -> Result<Duration, Problem> {
        match &self.wait {
            Some(text) => match text.parse::<u64>() {
                Ok(seconds) => Ok(Duration::from_secs(seconds.min(MAX_WAIT))),
                Err(_) => Err(Problem::BadRequest("wait takes a number of seconds".into())),
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
#[utoipa::path(tag = "drift",
    params(Selection, Paging, Patience, ("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 60 without")),
    responses((status = 200, body = Page<PanelDiff>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/diff")]
pub async fn show_diff(
    _who: Viewer,
    selection: web::Query<Selection>,
    paging: web::Query<Paging>,
    patience: web::Query<Patience>,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let until = Until::after(patience.wait(&request)?, &shared);
    let Page { items, next_cursor } = selection.page(&paging, &shared).await?;
    let items = diff_all(&items, &until).await;
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
/// devices and the repairs; what is not read or not done by then goes on.
#[utoipa::path(tag = "drift", request_body = ReconcileRequest,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`, seconds, at most 300; 60 without")),
    responses((status = 200, body = Reconciled), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
        (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/reconcile")]
pub async fn reconcile(
    Operator(who): Operator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let until = Until::after(wait(&request)?, &shared);
    let wanted: ReconcileRequest = read_json(&request, payload, &shared).await?;
    let panels = if wanted.dry_run == Some(true) {
        let mut panels = shared.register.now().resolve(&wanted.target()?)?;
        panels.retain(|panel| panel.settings.is_device());
        diff_all(&panels, &until).await
    } else {
        repair(&shared, &request, &who, wanted.target()?, &until).await?
    };
    Ok(HttpResponse::Ok().json(Reconciled { panels }))
}

/// Reads the devices of these panels and has what differs put right; waits for that until a moment. A device that held
/// something else, or lacked something, is read once more then: it may do so whatever it is sent.
pub async fn repair(
    shared: &Shared,
    request: &HttpRequest,
    who: &Principal,
    target: Target,
    until: &Until,
) -> Result<Vec<PanelDiff>, Problem> {
    let audit = auth::origin(request, &who.actor()).audit("reconcile", target.to_string());
    let mut panels = shared.register.now().resolve(&target)?;
    panels.retain(|panel| panel.settings.is_device());
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
    let mut found = diff_all(&panels, until).await;
    for (panel, diff) in panels.iter().zip(&mut found).filter(|(_, diff)| diff.state == "differs") {
        loop {
            state_now(shared, panel, diff)?.clone_into(&mut diff.state);
            if diff.state != "pending" || until.over() {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let changed = |diff: &PanelDiff| {
        let changed =
            |found: &ProfileDiff| matches!(&*found.difference, "missing" | "changed" | "kept_otherwise");
        diff.state == "repaired" && diff.differences.iter().any(changed)
    };
    let again = panels.iter().zip(&mut found).filter(|(_, diff)| changed(diff));
    let again: Vec<_> = stream::iter(again)
        .map(|(panel, before)| async move { (self::diff(panel, until.clone()).await, before) })
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (now, before) in again {
        match &*now.state {
            "differs" => *before = now,
            "same" => {}
            _ => "pending".clone_into(&mut before.state),
        }
    }
    Ok(found)
}

/// How far the repair of what was found is.
fn state_now(shared: &Shared, panel: &Entry, diff: &PanelDiff) -> Result<&'static str, Problem> {
    let snapshot = shared.store.read()?;
    if diff.not_shown > 0 && snapshot.reported_counts(panel.number)?.pending > 0 {
        return Ok("pending");
    }
    let mut state = "repaired";
    for link in diff.differences.iter().filter_map(|difference| difference.link_id) {
        match snapshot.reported(panel.number, ItemId::profile(link))? {
            Some(Reported::Unknown) => return Ok("pending"),
            Some(Reported::Refused(_) | Reported::KeptOtherwise(_)) => state = "differs",
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
