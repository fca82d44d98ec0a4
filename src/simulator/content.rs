//! Those [quirks](super::quirk) that lie in what a device says and keeps.

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, Uri};
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpResponse};
use serde_json::{Map, Value, json};

use super::quirk::{Quirk, Quirks};
use crate::http::panel_api::{Detaches, SeesNoFace, paths};

/// How long the words of `long-words` are, in characters; three of them fit into what any client reads.
const LONG: usize = 900_000;

/// The characters of a name that `cut-names` keeps.
const KEPT_NAME: usize = 16;

/// Which call it is, as far as quirks care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Info,
    Login,
    Time,
    /// A list is read.
    List,
    Upsert,
    DeleteByPost,
    DeleteByDelete,
    Other,
}

impl Call {
    /// The call of a request.
    pub(super) fn of(request: &ServiceRequest) -> Self {
        let (path, get) = (request.path(), request.method() == Method::GET);
        if path.ends_with("/api/info") {
            Self::Info
        } else if path.ends_with("/login") {
            Self::Login
        } else if path.ends_with("/device/time") {
            Self::Time
        } else if path.ends_with("/link/delete") {
            Self::DeleteByPost
        } else if path.ends_with("/items/link") || path.ends_with("/link") || path.ends_with("/items") {
            match *request.method() {
                Method::GET => Self::List,
                Method::DELETE => Self::DeleteByDelete,
                _ => Self::Upsert,
            }
        } else if get && path.ends_with("/items/list") {
            Self::List
        } else {
            Self::Other
        }
    }
}

/// Whether bodies that come in are kept otherwise.
pub(super) fn changes_bodies(quirks: &Quirks) -> bool {
    [Quirk::CutNames, Quirk::EscapeNames, Quirk::WarnsOfProfiles].iter().any(|quirk| quirks.contains(quirk))
}

/// What came of a call before the panel got it.
#[derive(Default)]
pub(super) struct Before {
    /// The answer in its stead.
    pub(super) instead: Option<HttpResponse>,
    /// The link_ids of identifiers that named a profile which is not there.
    pub(super) warned: Vec<String>,
}

impl From<HttpResponse> for Before {
    fn from(instead: HttpResponse) -> Self {
        Self { instead: Some(instead), ..Self::default() }
    }
}

/// Before the panel gets a call, its n-th: changes what is asked, or answers in its stead. `holds` says whether the panel
/// holds the profile of a link_id.
pub(super) fn before(
    request: &mut ServiceRequest,
    quirks: &Quirks,
    body: &Bytes,
    calls: u64,
    holds: impl Fn(&str) -> bool,
) -> Before {
    if quirks.is_empty() {
        return Before::default();
    }
    let call = Call::of(request);
    let has = |quirk| quirks.contains(&quirk);
    let error = |text: &str| json!({ "error": text });
    if has(Quirk::DetachesProfiles) {
        request.extensions_mut().insert(Detaches);
    }
    if has(Quirk::NoFaceSeen) {
        request.extensions_mut().insert(SeesNoFace);
    }
    match call {
        Call::Info | Call::Login => {}
        _ if has(Quirk::ForgetAccount) => return HttpResponse::Unauthorized().json(error("Log In")).into(),
        _ if has(Quirk::Error200) && calls % 4 == 3 => {
            return HttpResponse::Ok().json(error("Database is locked")).into();
        }
        Call::Time if has(Quirk::NoClock) => return HttpResponse::NotFound().json(error("Not found")).into(),
        Call::DeleteByPost if has(Quirk::OnlyDelete) => {
            return HttpResponse::NotFound().json(error("Not found")).into();
        }
        Call::DeleteByDelete if has(Quirk::OnlyPost) => {
            return HttpResponse::MethodNotAllowed().json(error("Method not allowed")).into();
        }
        _ if has(Quirk::OldPaths) && paths::as_sent(request).1.contains("/access/identifier/") => {
            return HttpResponse::NotFound().json(error("Not found")).into();
        }
        Call::List if has(Quirk::SmallPages) => shorten(request),
        Call::Upsert if changes_bodies(quirks) => {
            if let Some((kept, warned)) = kept(body, quirks, holds) {
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(kept.len()));
                request.set_payload(Payload::from(Bytes::from(kept)));
                return Before { instead: None, warned };
            }
        }
        _ => {}
    }
    Before::default()
}

/// Asks for pages of ten.
fn shorten(request: &mut ServiceRequest) {
    let rest =
        request.query_string().split('&').filter(|part| !part.is_empty() && !part.starts_with("limit="));
    let query: Vec<_> = rest.chain(["limit=10"]).collect();
    if let Ok(uri) = format!("{}?{}", request.path(), query.join("&")).parse::<Uri>() {
        request.head_mut().uri = uri;
    }
}

/// A body as it is kept, with the link_ids of identifiers that named a profile which is not there.
fn kept(body: &[u8], quirks: &Quirks, holds: impl Fn(&str) -> bool) -> Option<(String, Vec<String>)> {
    let has = |quirk| quirks.contains(&quirk);
    let mut json: Value = serde_json::from_slice(body).ok()?;
    let key = if json.get("items").is_some() { "items" } else { "list_items" };
    let mut warned = Vec::new();
    for item in json.get_mut(key)?.as_array_mut()? {
        let place = if item.get("identifier_owner").is_some() { "/identifier_owner/name" } else { "/name" };
        if let Some(Value::String(name)) = item.pointer_mut(place) {
            if has(Quirk::CutNames) {
                *name = name.chars().take(KEPT_NAME).collect();
            }
            if has(Quirk::EscapeNames) {
                let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                *name = escaped.replace('"', "&quot;").replace('\'', "&#39;");
            }
        }
        if has(Quirk::WarnsOfProfiles)
            && let Some(profiles) = item.pointer_mut("/time_profiles/link_ids").and_then(Value::as_array_mut)
        {
            let named = profiles.len();
            profiles.retain(|profile| profile.as_str().is_none_or(&holds));
            if profiles.len() < named
                && let Some(link_id) = item.get("link_id").and_then(Value::as_str)
            {
                warned.push(link_id.to_ascii_lowercase());
            }
        }
    }
    Some((json.to_string(), warned))
}

/// What the panel answered, as the device says it.
pub(super) fn after(
    mut answer: Map<String, Value>,
    call: Call,
    quirks: &Quirks,
    warned: &[String],
) -> String {
    let has = |quirk| quirks.contains(&quirk);
    if has(Quirk::ClockText)
        && let Some(time) = answer.get_mut("time_unix")
    {
        *time = time.to_string().into();
    }
    for item in answer.get_mut("result").and_then(Value::as_array_mut).into_iter().flatten() {
        let link_id = item.get("link_id").and_then(Value::as_str).unwrap_or_default();
        let warned =
            item.get("success") == Some(&Value::Bool(true)) && warned.iter().any(|one| one == link_id);
        let Some(info) = item.get_mut("extended_info") else { continue };
        if has(Quirk::NotFound) && info.as_str() == Some("entity_not_found") {
            *info = "not_found".into();
        }
        let warning = warned.then(|| Value::from("bound_time_profile_doesnt_exist"));
        if has(Quirk::NullInfo) {
            *info = Value::Null;
        } else if has(Quirk::ListInfo) {
            *info = std::iter::once(info.take()).chain(warning).collect();
        } else if let Some(warning) = warning {
            *info = warning;
        }
    }
    if has(Quirk::LongWords) {
        for name in ["device_serial_number", "device_model", "firmware_version", "error"] {
            if let Some(Value::String(words)) = answer.get_mut(name) {
                let long = words.chars().cycle().take(LONG);
                *words = format!("{words} \r\n\u{1b}[31m\u{202e}{}", long.collect::<String>());
            }
        }
    }
    if call != Call::Info || !has(Quirk::OddInfo) {
        return Value::from(answer).to_string();
    }
    let version = answer.get("api_version").and_then(Value::as_str).unwrap_or_default();
    let number = version.rsplit_once('.').and_then(|(number, _)| number.parse::<f64>().ok());
    answer.insert("api_version".into(), number.map_or(Value::Null, Value::from));
    answer.insert("firmware_version".into(), Value::Null);
    answer.insert("framework_version".into(), 7.into());
    answer.insert("hybrid_enable".into(), "perhaps".into());
    let once = Value::from(answer).to_string();
    format!(r#"{},"device_model":"another","commit":null,"commit":[1]}}"#, once.trim_end_matches('}'))
}
