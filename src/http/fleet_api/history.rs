//! What stood as an item on a panel, and since when.

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::identifiers::ShownIdentifier;
use super::types::TimeProfileBody;
use crate::access::actor;
use crate::batch::item::{ItemId, Kind};
use crate::clock;
use crate::fleet::history::{History, MadeBy, Says, Then, Version};
use crate::http::Here;
use crate::http::auth::Viewer;
use crate::http::problem::{Problem, ProblemBody};
use crate::profile::{LinkId, opens};

/// Of which item, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Which item.
    #[param(value_type = Uuid)]
    link_id: Option<String>,
    /// `profile` or `identifier`; a profile without it.
    kind: Option<String>,
    /// What was desired at this moment: RFC 3339, or Unix seconds.
    #[param(example = "2026-11-26T09:30:00Z")]
    at: Option<String>,
}

/// What is kept of an item on a panel. It is what was desired: what a device confirmed of it is another matter.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryBody {
    /// The panel.
    pub panel: String,
    /// `profile` or `identifier`.
    #[schema(example = "profile")]
    pub kind: String,
    /// The item.
    #[schema(value_type = Uuid)]
    pub link_id: LinkId,
    /// The panel's time zone as it is today, by which moments are told in words: IANA name.
    #[schema(example = "Europe/Kyiv")]
    pub zone: String,
    /// Of changes before this moment not all are kept; null where all are.
    #[schema(required = true, format = DateTime)]
    pub known_since: Option<String>,
    /// The versions that are still known, newest first; those when it was deleted among them.
    pub items: Vec<VersionBody>,
    /// With `at`: what was desired then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub at: Option<ThenBody>,
}

/// What was desired at a moment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ThenBody {
    /// The moment.
    #[schema(format = DateTime)]
    pub at: String,
    /// The version; null where it is not kept which one that was.
    #[schema(required = true)]
    pub version: Option<VersionBody>,
    /// Whether it opened the door then, by what was desired and in the panel's zone as it is today; an identifier with the
    /// time profiles that were desired then. Null where that is not kept.
    #[schema(required = true)]
    pub opens: Option<bool>,
}

/// A version of an item on a panel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionBody {
    /// Since when it was desired; null where that is not kept.
    #[schema(required = true, format = DateTime)]
    pub since: Option<String>,
    /// Until when; null where it still is, and where that is not kept.
    #[schema(required = true, format = DateTime)]
    pub until: Option<String>,
    /// Whether it is what is desired now.
    pub current: bool,
    /// By what it came: `batch`, `undo`, `call` (of the panel API), or `unknown`, where that is not kept.
    #[schema(example = "batch")]
    pub how: String,
    /// By whom; null where that is not kept.
    #[schema(required = true)]
    pub by: Option<String>,
    /// By which batch.
    #[schema(required = true)]
    pub batch: Option<Uuid>,
    /// `desired`; `deleted`, where it was not there; or `not_kept`, where what it said is not kept.
    #[schema(example = "desired")]
    pub state: String,
    /// What it said, in words and in the panel's zone.
    pub sentence: String,
    /// What a profile said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<TimeProfileBody>)]
    pub profile: Option<Box<RawValue>>,
    /// What an identifier said; its number is masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub identifier: Option<ShownIdentifier>,
}

impl From<Version> for VersionBody {
    fn from(version: Version) -> Self {
        let Version { since_ms, until_ms, is_now, made_by, says } = version;
        let (how, by, batch) = match made_by {
            MadeBy::Batch { id, by, undoes: None } => ("batch", Some(by), Some(id)),
            MadeBy::Batch { id, by, undoes: Some(_) } => ("undo", Some(by), Some(id)),
            MadeBy::Call(by) => ("call", Some(by), None),
            MadeBy::Unknown => ("unknown", None, None),
        };
        let (state, sentence, profile, identifier) = match says {
            Says::Profile(json, words) => ("desired", words, RawValue::from_string(json.into()).ok(), None),
            Says::Identifier(identifier, words) => {
                ("desired", words, None, Some(ShownIdentifier::masked(&identifier)))
            }
            Says::Deleted => ("deleted", "not there".into(), None, None),
            Says::NotKept => ("not_kept", "what it said is not kept".into(), None, None),
        };
        Self {
            since: since_ms.map(clock::rfc3339),
            until: until_ms.map(clock::rfc3339),
            current: is_now,
            how: how.into(),
            by: by.map(|by| actor::short(&by).to_owned()),
            batch,
            state: state.into(),
            sentence,
            profile,
            identifier,
        }
    }
}

/// The versions of an item on a panel that are still known, newest first: since when, by whom, by which batch. With `at`, also
/// what was desired then, and whether it opened the door.
///
/// What batches changed is kept as long as they are. Of calls of the panel API the last 64 of a panel are kept, and of what they
/// replaced nothing; what is not kept is said to be unknown. An identifier's number is masked.
#[utoipa::path(tag = "panels", operation_id = "show_history", params(("id" = String, Path), HistoryQuery),
    responses((status = 200, body = HistoryBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/panels/{id}/history")]
pub async fn show_history(
    _who: Viewer,
    id: web::Path<String>,
    query: web::Query<HistoryQuery>,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    let kind = match query.kind.as_deref() {
        None => Kind::Profile,
        Some(word) => Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| Problem::bad_request("kind takes profile or identifier"))?,
    };
    let link_id = query.link_id.as_deref().ok_or_else(|| Problem::bad_request("link_id must be given"))?;
    let link_id: LinkId =
        link_id.parse().map_err(|error| Problem::bad_request(format!("link_id: {error}")))?;
    let at_ms = query.at.as_deref().map(moment_ms).transpose()?;
    let (history, then) = shared.fleet.history(&id, ItemId { kind, link_id }, at_ms).await?;
    let History { panel, zone, item, known_since_ms, versions } = history;
    let then = at_ms.zip(then).map(|(at_ms, Then { version, opens })| ThenBody {
        at: clock::rfc3339(at_ms),
        version: version.map(VersionBody::from),
        opens,
    });
    Ok(HttpResponse::Ok().json(HistoryBody {
        panel: panel.to_string(),
        kind: item.kind.as_str().to_owned(),
        link_id: item.link_id,
        zone: zone.name().to_owned(),
        known_since: known_since_ms.map(clock::rfc3339),
        items: versions.into_iter().map(VersionBody::from).collect(),
        at: then,
    }))
}

/// A moment in Unix milliseconds, as exact as versions are dated.
fn moment_ms(text: &str) -> Result<i64, Problem> {
    let seconds = || text.parse().ok().or_else(|| opens::moment(text));
    let exact = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    exact.or_else(|| seconds()?.checked_mul(1000)).ok_or_else(|| {
        Problem::bad_request("at takes a moment such as 2026-11-23T00:00:00Z, or Unix seconds")
    })
}
