//! Those [quirks](super::quirk) that lie in what a device says and keeps.

use actix_web::HttpResponse;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, Uri};
use actix_web::web::Bytes;
use serde_json::{Map, Value, json};

use super::quirk::{Quirk, Quirks};

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
    quirks.contains(&Quirk::CutNames) || quirks.contains(&Quirk::EscapeNames)
}

/// Before the panel gets a call, its n-th: changes what is asked, or answers in its stead.
pub(super) fn before(
    request: &mut ServiceRequest,
    quirks: &Quirks,
    body: &Bytes,
    calls: u64,
) -> Option<HttpResponse> {
    if quirks.is_empty() {
        return None;
    }
    let call = Call::of(request);
    let has = |quirk| quirks.contains(&quirk);
    let error = |text: &str| json!({ "error": text });
    match call {
        Call::Info | Call::Login => return None,
        _ if has(Quirk::ForgetAccount) => return Some(HttpResponse::Unauthorized().json(error("Log In"))),
        _ if has(Quirk::Error200) && calls % 4 == 3 => {
            return Some(HttpResponse::Ok().json(error("Database is locked")));
        }
        Call::Time if has(Quirk::NoClock) => return Some(HttpResponse::NotFound().json(error("Not found"))),
        Call::DeleteByPost if has(Quirk::OnlyDelete) => {
            return Some(HttpResponse::NotFound().json(error("Not found")));
        }
        Call::DeleteByDelete if has(Quirk::OnlyPost) => {
            return Some(HttpResponse::MethodNotAllowed().json(error("Method not allowed")));
        }
        Call::List if has(Quirk::SmallPages) => shorten(request),
        Call::Upsert if changes_bodies(quirks) => {
            if let Some(kept) = kept(body, quirks) {
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(kept.len()));
                request.set_payload(Payload::from(Bytes::from(kept)));
            }
        }
        _ => {}
    }
    None
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

/// A body with the names as they are kept.
fn kept(body: &[u8], quirks: &Quirks) -> Option<String> {
    let mut json: Value = serde_json::from_slice(body).ok()?;
    let key = if json.get("items").is_some() { "items" } else { "list_items" };
    for item in json.get_mut(key)?.as_array_mut()? {
        let Some(Value::String(name)) = item.get_mut("name") else { continue };
        if quirks.contains(&Quirk::CutNames) {
            *name = name.chars().take(KEPT_NAME).collect();
        }
        if quirks.contains(&Quirk::EscapeNames) {
            let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            *name = escaped.replace('"', "&quot;").replace('\'', "&#39;");
        }
    }
    Some(json.to_string())
}

/// What the panel answered, as the device says it.
pub(super) fn after(mut answer: Map<String, Value>, call: Call, quirks: &Quirks) -> String {
    let has = |quirk| quirks.contains(&quirk);
    if has(Quirk::ClockText)
        && let Some(time) = answer.get_mut("time_unix")
    {
        *time = time.to_string().into();
    }
    for item in answer.get_mut("result").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(info) = item.get_mut("extended_info") else { continue };
        if has(Quirk::NullInfo) {
            *info = Value::Null;
        } else if has(Quirk::ListInfo) {
            *info = json!([info]);
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
