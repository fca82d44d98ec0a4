//! Who opened which door, and who was denied.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::moment;
use super::session::read_small_json;
use super::{Page, Paging, not_a_cursor};
use crate::clock;
use crate::fleet::events::{DoorEvent, EventsWanted};
use crate::fleet::present::PresentInput;
use crate::http::Here;
use crate::http::access_stream::stream_events;
use crate::http::auth::{self, Listening, Operator, Viewer};
use crate::http::events::last_event_id;
use crate::http::problem::{Problem, ProblemBody};
use crate::identifier::opens::WhenError;
use crate::profile::LinkId;
use crate::store::changes::present::Shown;
use crate::store::read::events::EventPlace;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsFilter {
    /// At this panel.
    panel: Option<String>,
    /// Of the identifier with this link_id, wherever it was shown.
    #[param(value_type = Option<uuid::Uuid>)]
    identifier: Option<String>,
    /// From this moment on (RFC 3339).
    from: Option<String>,
    /// Before this moment (RFC 3339).
    to: Option<String>,
}

/// Which events of those that come.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamFilter {
    /// At this panel.
    panel: Option<String>,
    /// Of the identifier with this link_id, wherever it was shown.
    #[param(value_type = Option<uuid::Uuid>)]
    identifier: Option<String>,
}

/// Something that happened at a door.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessEventBody {
    /// Ascends in the order in which events came to this server, which is not that in which they happened.
    pub id: u64,
    /// When it happened, by the device's clock.
    #[schema(format = DateTime)]
    pub at: String,
    /// At which panel; it may have been removed since.
    pub panel: String,
    /// Whether somebody was let in; null where nobody asked, as when a door was opened from inside.
    #[schema(required = true)]
    pub granted: Option<bool>,
    /// What happened, in the device's word.
    #[schema(example = "access_granted_by_valid_identifier")]
    pub reason: String,
    /// The link_id of the identifier that it was; null where the panel had none of this type and number.
    #[schema(required = true, value_type = Option<uuid::Uuid>)]
    pub identifier: Option<LinkId>,
    /// The type of what was presented.
    #[serde(rename = "type")]
    #[schema(required = true, example = "card")]
    pub kind: Option<String>,
    /// The last three characters of what was presented; nothing of codes and faces.
    #[schema(required = true, example = "…567")]
    pub number: Option<String>,
    /// From whom it is known: `link` where the device told it, `pull` where it was asked, `panel` of one that is embedded.
    pub source: String,
}

impl From<DoorEvent> for AccessEventBody {
    fn from(DoorEvent { panel, event }: DoorEvent) -> Self {
        let presented = event.record.presented();
        Self {
            id: event.number,
            at: clock::rfc3339(i64::try_from(event.index.at_ms).unwrap_or(i64::MAX)),
            panel,
            granted: event.record.granted,
            reason: event.record.reason.into(),
            identifier: event.index.identifier,
            kind: presented.as_ref().and_then(|presented| presented.kind().map(str::to_owned)),
            number: presented.and_then(|presented| presented.masked()),
            source: event.record.source.as_str().to_owned(),
        }
    }
}

/// Who opened which door, and who was denied; newest first.
///
/// A million events are kept, for 90 days (`--keep-events-number`, `--keep-events`). A page may have fewer events than
/// asked for, even none, and still a `next_cursor`: behind it the search goes on.
#[utoipa::path(tag = "events", operation_id = "list_access_events", params(EventsFilter, Paging),
    responses((status = 200, body = Page<AccessEventBody>), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody)))]
#[get("/access-events")]
pub async fn list_events(
    _who: Viewer,
    filter: web::Query<EventsFilter>,
    paging: web::Query<Paging>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let EventsFilter { panel, identifier, from, to } = filter.into_inner();
    let wanted = EventsWanted {
        panel,
        identifier: link_id(identifier)?,
        from_ms: moment("from", from.as_deref())?,
        to_ms: moment("to", to.as_deref())?,
    };
    if let (Some(from), Some(to)) = (wanted.from_ms, wanted.to_ms)
        && from >= to
    {
        return Err(Problem::bad_request(WhenError::Backwards.to_string()));
    }
    let filter = shared.fleet.events_wanted(wanted)?;
    let (before, limit) = (place(paging.cursor.as_deref())?, paging.limit()?);
    let page = shared.fleet.page_of_events(filter, before, limit).await?;
    let items = page.items.into_iter().map(AccessEventBody::from).collect();
    let next_cursor = page.next.map(|(at, number)| format!("{at}-{number}"));
    Ok(HttpResponse::Ok().json(Page { items, next_cursor }))
}

/// The same as they come to this server, from now on or behind `Last-Event-ID`.
#[utoipa::path(tag = "events", operation_id = "stream_access_events", security(("bearer" = []), ("access_token" = []), ("page" = [])),
    params(StreamFilter, ("Last-Event-ID" = Option<u64>, Header, description = "The last event that is known: what came is behind it")),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "Events `access`, perhaps `lagged` with how many are not kept any more; what each says is JSON"), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 404, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[get("/access-events/stream")]
pub async fn stream(
    Listening(who): Listening,
    filter: web::Query<StreamFilter>,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let StreamFilter { panel, identifier } = filter.into_inner();
    let wanted = EventsWanted { panel, identifier: link_id(identifier)?, ..EventsWanted::default() };
    let filter = shared.fleet.events_wanted(wanted)?;
    stream_events(shared, &who, filter, last_event_id(&request)).await
}

/// What is shown at a door. Never logged: it has no `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Present {
    /// `card`, `ukey`, `inputCode`, `qr` or `license_plate`.
    #[serde(rename = "type")]
    #[schema(example = "card")]
    pub kind: String,
    /// The number, as anybody writes it.
    #[schema(example = "1234567")]
    pub number: String,
    /// When; now without it.
    #[schema(format = DateTime)]
    pub at: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PresentedBody {
    /// Whether the door opened.
    pub granted: bool,
    /// What happened, in the words of the panel's family.
    #[schema(example = "access_granted_by_valid_identifier")]
    pub reason: String,
    /// The link_id of the identifier that it was; null where the panel has none of this type and number.
    #[schema(required = true, value_type = Option<uuid::Uuid>)]
    pub identifier: Option<LinkId>,
}

/// Shows an identifier at the door of an embedded panel: it opens or does not, as `GET /access` foretells, a pass is counted,
/// and the event and the panel's own log say so.
#[utoipa::path(tag = "events", operation_id = "present_identifier", params(("id" = String, Path)), request_body = Present,
    responses((status = 200, body = PresentedBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/panels/{id}:present")]
pub async fn present(
    Operator(who): Operator,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let Present { kind, number, at } = read_small_json(&request, payload).await?;
    let input = PresentInput { kind, number, at_ms: moment("at", at.as_deref())? };
    let origin = auth::origin(&request, &who.actor());
    let Shown { granted, reason, identifier } = shared.fleet.present(&id, input, &origin).await?;
    Ok(HttpResponse::Ok().json(PresentedBody { granted, reason: reason.to_owned(), identifier }))
}

fn link_id(text: Option<String>) -> Result<Option<LinkId>, Problem> {
    let wrong = |_| Problem::bad_request("identifier takes a link_id");
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

fn place(cursor: Option<&str>) -> Result<Option<EventPlace>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let place =
        cursor.split_once('-').and_then(|(at, number)| Some((at.parse().ok()?, number.parse().ok()?)));
    place.map(Some).ok_or_else(not_a_cursor)
}
