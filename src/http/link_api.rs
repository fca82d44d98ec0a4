//! What devices say to this server as to their Link server, under `/api/v0/devices`: they log in, tell what happened at
//! their doors, and say that they are there.
//!
//! A device sends a packet until it is answered 200, which is therefore never said of what is not on disk. What can be read
//! of a packet is taken, and the rest counted, or the device would send it for ever; a packet that is no JSON, has no list
//! of events, or more than [`told::PACKET`] of them, is refused whole. Devices often do not say of which type a body is, so
//! that is not looked at. Refusals are problems as those of the fleet API; devices read their status.

use actix_web::{HttpRequest, HttpResponse, post, put, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::body::{self, BodyError, SMALL};
use super::problem::{Problem, ProblemBody};
use super::{Here, auth};
use crate::access::actor::Actor;
use crate::clock;
use crate::identifier::event::told;

/// What these paths begin with.
pub const BASE: &str = "/api/v0/devices/";

/// The largest packet, in bytes: more than a hundred long events have.
const PACKET_BYTES: usize = 256 * 1024;

/// The routes, below `/api/v0/devices`.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config.service(login).service(logs).service(pong).service(refresh);
}

/// A device's serial number and the password that all devices know. Never logged: it has no `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DeviceLogin {
    /// The serial number, as the device says it of itself.
    pub login: String,
    /// The link password.
    pub password: String,
}

/// A new session of a device.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DeviceSession {
    /// For `Authorization: Bearer`; lives two hours, or until the server restarts.
    pub token: String,
}

/// What happened at a device's door.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DevicePacket {
    /// At most 100.
    pub events: Vec<DeviceEvent>,
}

/// Something that happened at a device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceEvent {
    /// Unix milliseconds.
    pub created_at: i64,
    /// `access`, `info`, `system` or `emergency`; the second and third are not kept.
    pub category: Option<String>,
    /// What happened.
    #[schema(example = "access_granted_by_valid_identifier")]
    pub code: String,
    /// Not read.
    pub priority: Option<String>,
    /// With what, at which lock, and whose.
    pub info: Option<DeviceEventInfo>,
}

/// The circumstances of an event, as they apply.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceEventInfo {
    /// The number that was presented.
    pub number: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The number of an unknown card.
    pub card: Option<String>,
    /// Whose it is.
    pub owner: Option<String>,
    /// At which lock.
    pub lock: Option<i64>,
}

/// A device logs in, with its serial number and the link password.
#[utoipa::path(tag = "link", operation_id = "log_device_in", request_body = DeviceLogin, security(()),
    responses((status = 200, body = DeviceSession), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 413, body = ProblemBody),
        (status = 429, body = ProblemBody), (status = 503, body = ProblemBody)))]
#[post("/login")]
async fn login(request: HttpRequest, payload: web::Payload, shared: Here) -> Result<HttpResponse, Problem> {
    let body = body::read_untyped(&request, payload, SMALL).await.map_err(too_large_here)?;
    let DeviceLogin { login, password } = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body is not a JSON object with login and password"))?;
    let origin = auth::origin(&request, &Actor::Claimed(login.clone()));
    let token = shared.fleet.log_device_in(&login, &password, &origin).await?;
    Ok(HttpResponse::Ok().json(DeviceSession { token }))
}

/// A device tells what happened. 200 says that it is on disk; whatever else is answered, the device sends it again.
#[utoipa::path(tag = "link", operation_id = "take_device_events", request_body = DevicePacket,
    responses((status = 200, description = "Taken, and on disk"), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 413, body = ProblemBody),
        (status = 429, body = ProblemBody), (status = 503, body = ProblemBody), (status = 507, description = "No room on the disk", body = ProblemBody)))]
#[put("/logs")]
async fn logs(request: HttpRequest, payload: web::Payload, shared: Here) -> Result<HttpResponse, Problem> {
    let fleet = &shared.fleet;
    let panel = fleet.device_of(auth::bearer(&request))?;
    let packet = fleet.begin_packet(panel)?;
    let body = body::read_untyped(&request, payload, PACKET_BYTES).await.map_err(too_large_here)?;
    let now = clock::now_ms();
    let told = told::packet(&body, now)?;
    let (others, unreadable) = (told.others, told.unreadable);
    let taken = fleet.take_packet(packet, told, now).await?;
    shared.metrics.events.told(taken.kept, taken.again, others, unreadable);
    Ok(HttpResponse::Ok().finish())
}

/// A device says that it is there, every ten seconds or so.
#[utoipa::path(tag = "link", operation_id = "device_is_there",
    responses((status = 200), (status = 401, body = ProblemBody)))]
#[post("/pong")]
async fn pong(request: HttpRequest, shared: Here) -> Result<HttpResponse, Problem> {
    shared.fleet.device_of(auth::bearer(&request))?;
    Ok(HttpResponse::Ok().finish())
}

/// A device asks whether its session lasts, now and then.
#[utoipa::path(tag = "link", operation_id = "refresh_device_session",
    responses((status = 200), (status = 401, body = ProblemBody)))]
#[post("/refresh")]
async fn refresh(request: HttpRequest, shared: Here) -> Result<HttpResponse, Problem> {
    shared.fleet.device_of(auth::bearer(&request))?;
    Ok(HttpResponse::Ok().finish())
}

fn too_large_here(error: BodyError) -> Problem {
    match error {
        BodyError::TooLarge(limit) => Problem::TooLargeHere(limit),
        error @ (BodyError::WrongContentType(_)
        | BodyError::Encoded
        | BodyError::Busy
        | BodyError::TooSlow
        | BodyError::Broken
        | BodyError::NoParts) => error.into(),
    }
}
