//! When a door would open under a profile. Nothing is stored, and no panel is asked.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::types::TimeProfileBody;
use crate::clock;
use crate::fleet::error::Gathered;
use crate::fleet::{FieldError, FleetError};
use crate::http::auth::Viewer;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, body};
use crate::panel::settings::Zone;
use crate::profile::error::WireError;
use crate::profile::rule::Family;
use crate::profile::sentence::sentence;
use crate::profile::windows::{Openings, RangeError, Window};
use crate::profile::wire::{self, Json, MAX_VALUES, Unread};
use crate::profile::{LinkId, TimeProfile, lint, opens, parse};

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
    #[schema(required = true)]
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

impl From<&Window> for WindowBody {
    fn from(window: &Window) -> Self {
        Self { from: window.from, to: window.to }
    }
}

/// When a door would open under a profile; at most 50 years and 100,000 windows. Nothing is stored.
#[utoipa::path(tag = "profiles", operation_id = "show_windows", request_body = WindowsRequest,
    responses((status = 200, body = WindowsBody), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 413, body = ProblemBody),
        (status = 415, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/windows")]
pub async fn show_windows(
    _who: Viewer,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
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
    fn parse(body: &[u8]) -> Result<Self, FleetError> {
        let json = Json::object(body, MAX_VALUES).map_err(|unread| match unread {
            Unread::NotJson(error) => Unread::NotJson::<FleetError>(error),
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
            _ => Err(errors.into_error()),
        }
    }

    fn answer(self) -> Result<WindowsBody, FleetError> {
        let Self { link_id, profile, zone, from, to } = self;
        let range = Openings::new(&profile, zone.rules()).windows(from, to);
        let windows = range.map_err(|error| {
            let path = if error == RangeError::Backwards { "/from" } else { "/to" };
            FleetError::invalid(path, error.to_string())
        })?;
        let never =
            opens::check(&profile, zone.rules()).err().map(|never| format!("the door never opens: {never}"));
        let warnings = lint::warnings(&profile, zone.rules(), clock::now_ms() / 1000);
        Ok(WindowsBody {
            link_id: link_id.map(|link| uuid::Uuid::from_bytes(*link.as_bytes())),
            zone: zone.name().to_owned(),
            sentence: sentence(&profile, zone.rules()),
            warnings: never.into_iter().chain(warnings.iter().map(ToString::to_string)).collect(),
            windows: windows.iter().map(WindowBody::from).collect(),
        })
    }
}
