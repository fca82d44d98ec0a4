//! Opening a lock, and the log in which that stands.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::error::{ErrorBody, PanelError};
use super::list::Pagination;
use super::{Account, Administrator, is_head};
use crate::clock;
use crate::http::body::SMALL;
use crate::http::{Shared, auth, body};
use crate::panel::dialect::{Dialect, ListNotes};
use crate::profile::error::WireError;
use crate::profile::rule::Family;
use crate::store::tables::LogRecord;

/// The highest number of a lock.
const LOCKS: u8 = 8;

/// The numbers of locks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Locks {
    /// Each a number, or an object with `lock_number`.
    #[schema(value_type = Vec<Object>)]
    pub locks: Vec<Value>,
}

/// Opens a lock; an entry of the panel's log says so.
#[utoipa::path(tag = "panel", operation_id = "open_lock", params(("panel" = String, Path), ("lock" = u8, Path, description = "0 to 8")),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/general/lock/open/remote/accepted/{lock}")]
pub async fn open(
    who: Administrator,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let lock = request.match_info().get("lock").and_then(|lock| lock.parse().ok());
    let lock = lock.filter(|lock| *lock <= LOCKS).ok_or(PanelError::Parameter("lock"))?;
    if !is_head(&request) {
        let entry = entry("access", "access_granted_by_api_call", lock);
        log(&who, &request, &shared, "panel.open", vec![entry]).await?;
    }
    Ok(HttpResponse::Ok().finish())
}

/// Opens locks until they are closed again.
#[utoipa::path(tag = "panel", operation_id = "open_locks_in_emergency", params(("panel" = String, Path)), request_body = Locks,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/general/lock/open/emergency")]
pub async fn open_in_emergency(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let locks = read_locks(&request, payload).await?;
    // Of the other families no word for it is known.
    let (category, key) = match who.panel.settings.family {
        Family::Android => ("emergency", "emergency_lock_is_opened"),
        Family::Camdroid | Family::IngenicMips | Family::DoorController => {
            ("access", "access_granted_by_api_call")
        }
    };
    let entries = locks.into_iter().map(|lock| entry(category, key, lock)).collect();
    log(&who, &request, &shared, "panel.open", entries).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Closes what was opened in an emergency.
#[utoipa::path(tag = "panel", operation_id = "close_locks_in_emergency", params(("panel" = String, Path)), request_body = Locks,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/general/lock/close/emergency")]
pub async fn close_in_emergency(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let _ = read_locks(&request, payload).await?;
    log(&who, &request, &shared, "panel.close", Vec::new()).await?;
    Ok(HttpResponse::Ok().finish())
}

/// The numbers in the body, each once.
async fn read_locks(request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, PanelError> {
    let sent = body::read_of_panel(request, payload, SMALL).await?;
    let object: Map<String, Value> =
        serde_json::from_slice(&sent).map_err(|_| PanelError::Body(WireError::NotAJsonObject))?;
    let given = object.get("locks").ok_or(PanelError::Body(WireError::Missing("locks")))?;
    let wrong = || PanelError::Body(WireError::WrongType("locks"));
    let mut locks = Vec::new();
    for lock in given.as_array().ok_or_else(wrong)? {
        let number =
            lock.get("lock_number").unwrap_or(lock).as_u64().and_then(|lock| u8::try_from(lock).ok());
        let number = number.filter(|number| *number <= LOCKS).ok_or_else(wrong)?;
        if !locks.contains(&number) {
            locks.push(number);
        }
    }
    Ok(locks)
}

fn entry(category: &str, key: &str, lock: u8) -> LogRecord {
    LogRecord { at_ms: clock::now_ms(), category: category.into(), key: key.into(), lock: Some(lock) }
}

async fn log(
    Administrator { panel, session }: &Administrator,
    request: &HttpRequest,
    shared: &Shared,
    action: &str,
    entries: Vec<LogRecord>,
) -> Result<(), PanelError> {
    let number = panel.number;
    let audit = auth::origin(request, &session.actor()).audit(action, panel.settings.id.as_str());
    let logged = shared.fleet.store.change(move |tables| tables.log_at_panel(number, &entries, &audit));
    Ok(logged.await?)
}

/// The parameters of the log, for the document.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only the document reads it; the handler reads the query itself")]
pub struct LogParameters {
    /// 1 to 1000; 10 without.
    limit: Option<u32>,
    /// From 1 on.
    page_number: Option<u64>,
    /// The first moment, in Unix milliseconds.
    from: Option<i64>,
    /// The last moment, in Unix milliseconds.
    to: Option<i64>,
    /// The language of texts; not read.
    locale: Option<String>,
    /// A category, in one of the forms in which other lists take a filter, or by itself.
    filter: Option<String>,
    /// `asc` or `desc`, by time; newest first without.
    sort_type: Option<String>,
}

/// What happened at the panel, newest first.
#[utoipa::path(tag = "panel", operation_id = "read_log", params(("panel" = String, Path), LogParameters),
    responses((status = 200, body = Object), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/log/items")]
pub async fn read_log(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, PanelError> {
    let dialect = account.panel.settings.dialect;
    let (limit, page) = page(&query)?;
    let from = moment(&query, "from")?.unwrap_or(i64::MIN);
    let to = moment(&query, "to")?.unwrap_or(i64::MAX);
    let category = category(&query)?;
    let ascends = ascends(&query)?;
    let (store, number) = (shared.fleet.store.clone(), account.panel.number);
    let read = web::block(move || store.read()?.panel_log(number)).await;
    let mut entries = read.map_err(|_| PanelError::Busy)??;
    entries.retain(|entry| {
        (from..=to).contains(&entry.at_ms) && category.as_ref().is_none_or(|wanted| entry.category == *wanted)
    });
    if ascends {
        entries.reverse();
    }
    let pagination = Pagination::of(entries.len(), limit, page);
    let shown = entries.iter().skip((page - 1).saturating_mul(limit)).take(limit).map(shown);
    let items: Vec<_> = shown.collect();
    Ok(HttpResponse::Ok().json(log_body(items, pagination, dialect, category, ascends)))
}

fn log_body(
    items: Vec<Value>,
    pagination: Pagination,
    dialect: &Dialect,
    category: Option<String>,
    ascends: bool,
) -> Value {
    if dialect.notes == ListNotes::None {
        return json!({ "items": items, "options": { "pagination": pagination } });
    }
    let filter = category
        .map_or(json!({}), |category| json!({ "filter_field": "category", "filter_value": category }));
    let sort = json!({ "field": "timestamp", "asc": ascends, "available_fields": ["timestamp"] });
    json!({ "list_items": items, "list_option": { "pagination": pagination, "filter": filter, "sort": sort } })
}

fn shown(entry: &LogRecord) -> Value {
    let text = match entry.key.as_str() {
        "access_granted_by_api_call" => "Access granted by API call",
        "emergency_lock_is_opened" => "Lock is opened in an emergency",
        other => other,
    };
    json!({
        "timestamp": entry.at_ms,
        "category": entry.category,
        "priority": "medium",
        "name": { "key": entry.key, "text": text },
        "info": { "text": text, "model": { "lock": entry.lock } },
    })
}

/// How many entries a page has, and which page is wanted: clients ask for pages of any length here.
fn page(query: &HashMap<String, String>) -> Result<(usize, usize), PanelError> {
    let number = |name: &'static str, usual: usize, most: usize| match query.get(name) {
        None => Ok(usual),
        Some(text) => {
            let number = text.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or(PanelError::Parameter(name))
        }
    };
    let page = if query.contains_key("pageNumber") { "pageNumber" } else { "page_number" };
    Ok((number("limit", 10, 1000)?, number(page, 1, usize::MAX)?))
}

fn moment(query: &HashMap<String, String>, name: &'static str) -> Result<Option<i64>, PanelError> {
    query.get(name).map(|text| text.parse().map_err(|_| PanelError::Parameter(name))).transpose()
}

/// The category that is asked for, however it is said.
fn category(query: &HashMap<String, String>) -> Result<Option<String>, PanelError> {
    const CATEGORIES: [&str; 4] = ["access", "info", "system", "emergency"];
    let plain = |name: &str| query.get(name).or_else(|| query.get(&format!("filter[{name}]"))).cloned();
    let asked = match query.get("filter") {
        Some(json) if json.trim_start().starts_with('{') => {
            let object: Map<String, Value> =
                serde_json::from_str(json).map_err(|_| PanelError::Parameter("filter"))?;
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            text("filter_value").or_else(|| text("category"))
        }
        Some(text) => match text.split_once(" eq ") {
            Some(("category", value)) => Some(value.trim().trim_matches('\'').to_owned()),
            Some(_) => return Err(PanelError::Parameter("filter")),
            None => Some(text.clone()),
        },
        None if plain("filter_field").is_some_and(|field| field != "category") => {
            return Err(PanelError::Parameter("filter_field"));
        }
        None => plain("filter_value").or_else(|| plain("category")),
    };
    match asked {
        Some(category) if !CATEGORIES.contains(&category.as_str()) => Err(PanelError::Parameter("filter")),
        asked => Ok(asked.filter(|category| !category.is_empty())),
    }
}

/// Whether the oldest comes first.
fn ascends(query: &HashMap<String, String>) -> Result<bool, PanelError> {
    let by_order =
        query.get("order_by").map(|order| ("order_by", order.trim_start_matches("timestamp").trim()));
    let by_type =
        ["sort_type", "sortType"].into_iter().find_map(|name| Some((name, query.get(name)?.as_str())));
    match by_order.or(by_type) {
        None | Some((_, "desc")) => Ok(false),
        Some((_, "asc") | ("order_by", "")) => Ok(true),
        Some((name, _)) => Err(PanelError::Parameter(name)),
    }
}
