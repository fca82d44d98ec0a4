//! What clients call on a panel beside its profiles: its settings, which are kept and read back as they were set, and
//! what they have it do: restart, take a picture. The settings mean nothing to this program; a panel's time zone, say, is
//! the one in the register.

use std::collections::HashMap;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{Content, OpenApi, Ref, Required, ResponseBuilder, ResponsesBuilder};
use utoipa_actix_web::service_config::ServiceConfig;

use super::error::{ErrorBody, PanelError};
use super::{Account, Administrator, is_head};
use crate::access::Role;
use crate::access::sessions::Scope;
use crate::coordinator::register::Entry;
use crate::http::body::SMALL;
use crate::http::{Here, auth, body};
use crate::profile::error::WireError;
use crate::store::StoreError;

/// A setting, or something that is only read.
struct Setting {
    /// Below `/v1/`.
    path: &'static str,
    /// What it is before anybody has set it. Names in capitals stand for what is the panel's own.
    before: &'static str,
    /// Whether it holds a password or a code, so that only administrators read it.
    secret: bool,
    takes: &'static [Method],
}

const READ: &[Method] = &[Method::GET];
const SET: &[Method] = &[Method::GET, Method::POST];
const SET_OR_PUT: &[Method] = &[Method::GET, Method::POST, Method::PUT];

const fn open(path: &'static str, before: &'static str, takes: &'static [Method]) -> Setting {
    Setting { path, before, secret: false, takes }
}

const fn secret(path: &'static str, before: &'static str, takes: &'static [Method]) -> Setting {
    Setting { path, before, secret: true, takes }
}

/// The settings that public clients of such panels read and write. What stands in them before is this project's choice,
/// with the fields that those clients name.
static SETTINGS: [Setting; 14] = [
    open("network/ntp", r#"{"enabled":true,"use_default":true,"custom_server":""}"#, SET),
    open("network/timezone", r#"{"timezone":"ZONE","current_timezone":"ZONE"}"#, SET),
    open(
        "network/settings",
        r#"{"dhcp":true,"ip_address":"127.0.0.1","mask":"255.0.0.0","gateway":"","dns":""}"#,
        SET,
    ),
    open("network/mac", r#"{"mac_address":"MAC"}"#, READ),
    secret(
        "network/management/server",
        r#"{"is_enabled":false,"protocol":"http","settings":{"url":"","password":"","is_logging_enabled":false,"is_heartbeat_enabled":false}}"#,
        SET_OR_PUT,
    ),
    secret("access/general/unlock/input/code", r#"{"input_code_enable":false,"input_code_number":0}"#, SET),
    open("sip/status", r#"{"sip_status":"unregistered"}"#, READ),
    secret(
        "device/sip/settings",
        r#"{"outbound":"","password":"","proxy":"","realm":"","registration_interval":900,"transport":"udp","user":"","user_id":"","stun":{"ip":"127.0.0.1","port":3478}}"#,
        SET,
    ),
    open("device/sip/enable", r#"{"sip_enable":false}"#, SET),
    open("device/sip/reregister", r#"{"is_reregister":false}"#, SET),
    open("device/language", r#"{"current_language":"English"}"#, SET),
    open("device/settings/volume", r#"{"volume_level":5}"#, SET),
    open("device/mode/current", r#"{"current_panel_mode":"unit"}"#, SET),
    open("frontend/version", r#"{"frontend_version":"VERSION"}"#, READ),
];

/// The longest value of a setting, in bytes of JSON.
const LONGEST: usize = 2 * SMALL;

/// A grey picture.
const PHOTO: &[u8] = include_bytes!("photo.jpg");

/// The routes, below the panel's base.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config.service(reboot).service(photo);
    for setting in &SETTINGS {
        let path = format!("/v1/{}", setting.path);
        for method in setting.takes {
            config.route(
                &path,
                match *method {
                    Method::GET => {
                        web::get().to(move |account, request, shared| read(setting, account, request, shared))
                    }
                    _ => web::method(method.clone()).to(move |who, request, payload, query, shared| {
                        set(setting, who, request, payload, query, shared)
                    }),
                },
            );
        }
    }
}

/// The settings' paths with what they take.
pub fn paths() -> impl Iterator<Item = (String, &'static [Method])> {
    SETTINGS.iter().map(|setting| (format!("/v1/{}", setting.path), setting.takes))
}

/// Puts the settings into the document: their fields are those that clients give them.
pub fn describe(document: &mut OpenApi) {
    let body = || Content::new(Some(Object::with_type(Type::Object)));
    let refusal = || {
        let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        ResponseBuilder::new().content(body::JSON, body).build()
    };
    let panel = ParameterBuilder::new()
        .name("panel")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(Object::with_type(Type::String)))
        .build();
    for setting in &SETTINGS {
        let name = setting.path.replace('/', "_");
        let item =
            document.paths.paths.entry(format!("/panels/{{panel}}/api/v1/{}", setting.path)).or_default();
        for method in setting.takes {
            let reads = *method == Method::GET;
            let verb = match *method {
                Method::GET => "read",
                Method::PUT => "put",
                _ => "set",
            };
            let done = ResponseBuilder::new().description(if reads { "As it was set last" } else { "Done" });
            let done = if reads { done.content(body::JSON, body()) } else { done };
            let mut answers = ResponsesBuilder::new().response("200", done.build());
            let refusals: &[&str] =
                if reads { &["401", "403", "404"] } else { &["400", "401", "403", "404", "413", "415"] };
            for status in refusals {
                answers = answers.response(*status, refusal());
            }
            let mut operation = OperationBuilder::new()
                .tag("panel")
                .operation_id(Some(format!("panel_{verb}_{name}")))
                .summary(Some(format!("The setting {}", setting.path)))
                .parameter(panel.clone())
                .responses(answers.build());
            if !reads {
                let sent = RequestBodyBuilder::new().content(body::JSON, body());
                operation = operation.request_body(Some(sent.required(Some(Required::True)).build()));
            }
            let operation = Some(operation.build());
            match *method {
                Method::GET => item.get = operation,
                Method::PUT => item.put = operation,
                _ => item.post = operation,
            }
        }
    }
}

async fn read(
    setting: &'static Setting,
    Account { panel, session }: Account,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    if setting.secret && session.role < Role::Admin {
        auth::denied(&request, &session.actor());
        return Err(PanelError::NotAdministrator(panel.settings.family()));
    }
    let (store, number) = (shared.fleet.store.clone(), panel.number);
    let read = web::block(move || {
        let snapshot = store.read()?;
        Ok::<_, StoreError>((snapshot.panel_setting(number, setting.path)?, snapshot.fleet_number()?))
    });
    let (kept, fleet) = read.await.map_err(|_| PanelError::Busy)??;
    let mac = [&[2], &fleet.to_be_bytes()[..2], &panel.number.to_be_bytes()[1..]].concat();
    let mac: Vec<_> = mac.iter().map(|byte| format!("{byte:02X}")).collect();
    let value = kept.unwrap_or_else(|| before(setting, &panel).replace("MAC", &mac.join(":")));
    Ok(HttpResponse::Ok().content_type(body::JSON).body(value))
}

/// What a setting is before anybody has set it; the address on the network, which nobody sets, is left to who reads it.
fn before(setting: &Setting, panel: &Entry) -> String {
    let text = setting.before.replace("ZONE", panel.settings.zone.name());
    text.replace("VERSION", env!("CARGO_PKG_VERSION"))
}

/// Takes the fields of a JSON object, or of the query, as which some clients send them; the others stay.
async fn set(
    setting: &'static Setting,
    Administrator { panel, session }: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let sent = body::read_of_panel(&request, payload, SMALL).await?;
    let mut fields = Map::new();
    if !sent.is_empty() || query.is_empty() {
        fields = serde_json::from_slice(&sent).map_err(|_| PanelError::Body(WireError::NotAJsonObject))?;
    }
    if request.query_string().len() > SMALL {
        return Err(PanelError::TooLarge(SMALL));
    }
    let before = before(setting, &panel);
    let known: Map<String, Value> = serde_json::from_str(&before).unwrap_or_default();
    for (name, text) in query.into_inner() {
        // A query has texts only; what is a number or a truth otherwise is one here too.
        let value = match known.get(&name) {
            Some(Value::Number(_) | Value::Bool(_)) => serde_json::from_str(&text).ok(),
            _ => None,
        };
        fields.insert(name, value.unwrap_or_else(|| text.into()));
    }
    // Set under the one name, and read back under the other.
    for (path, set, read) in [
        ("device/language", "language", "current_language"),
        ("network/timezone", "timezone", "current_timezone"),
    ] {
        if setting.path == path
            && let Some(value) = fields.get(set).cloned()
        {
            fields.insert(read.to_owned(), value);
        }
    }
    let number = panel.number;
    let audit = auth::origin(&request, &session.actor())
        .audit("panel.setting", format!("{} {}", panel.settings.id, setting.path));
    let changed = shared.fleet.store.change(move |tables| {
        let with_fields = |kept: Option<String>| {
            let mut value: Map<String, Value> =
                serde_json::from_str(kept.as_ref().unwrap_or(&before)).unwrap_or_default();
            merge(&mut value, fields.clone());
            Some(Value::from(value).to_string()).filter(|value| value.len() <= LONGEST)
        };
        tables.change_panel_setting(number, setting.path, with_fields, &audit)
    });
    if changed.await? { Ok(HttpResponse::Ok().finish()) } else { Err(PanelError::TooLarge(LONGEST)) }
}

/// Puts fields on top of others, and in objects among them likewise.
fn merge(into: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(fields)) => merge(inner, fields),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// Restarts the panel: all its sessions end.
#[utoipa::path(tag = "panel", operation_id = "panel_reboot", params(("panel" = String, Path)),
    responses((status = 200), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/system/reboot/run")]
pub async fn reboot(
    Administrator { panel, session }: Administrator,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    if !is_head(&request) {
        let audit =
            auth::origin(&request, &session.actor()).audit("panel.reboot", panel.settings.id.as_str());
        shared.fleet.store.change(move |tables| tables.audit(&audit)).await?;
        shared.sessions.close_scope(Scope::Panel(panel.number));
    }
    Ok(HttpResponse::Ok().finish())
}

/// A picture, JPEG.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the document")]
struct Picture(Vec<u8>);

/// What the panel's camera sees.
#[utoipa::path(tag = "panel", operation_id = "panel_take_photo", params(("panel" = String, Path)),
    responses((status = 200, content_type = "image/jpeg", body = Picture), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/photo/file")]
pub async fn photo(_account: Account) -> HttpResponse {
    HttpResponse::Ok().content_type("image/jpeg").body(PHOTO)
}
