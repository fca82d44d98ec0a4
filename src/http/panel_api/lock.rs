//! Opening a lock, and the log in which that stands.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::error::{ErrorBody, PanelError};
use super::list::{self, Options, Pagination};
use super::{Account, Administrator, is_head};
use crate::access::Role;
use crate::clock;
use crate::http::body::SMALL;
use crate::http::{Here, Shared, auth, body};
use crate::panel::dialect::{Limit, ListNotes};
use crate::profile::error::WireError;
use crate::profile::rule::Family;
use crate::store::StoreError;
use crate::store::event::StoredEvent;
use crate::store::tables::LogRecord;

/// The highest number of a lock.
const LOCKS: u8 = 8;

/// Some locks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Locks {
    /// Each in one of the forms in which clients name it.
    pub locks: Vec<Lock>,
}

/// A lock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Lock {
    /// Its number, 0 to 8.
    Number(u8),
    /// Its number, and for how long.
    Named {
        /// 0 to 8.
        lock_number: u8,
        /// In milliseconds; not read, a lock here stays open until it is closed.
        #[serde(skip_serializing_if = "Option::is_none")]
        unlock_time: Option<u64>,
    },
}

/// A page of a panel's log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum LogBody {
    /// Of a panel.
    OfPanel {
        /// The page's entries.
        list_items: Vec<LogItem>,
        /// Which page, and of what.
        list_option: LogOption,
    },
    /// Of a door controller.
    OfController {
        /// The page's entries.
        items: Vec<LogItem>,
        /// Which page.
        options: Options,
    },
}

/// Something that happened at the panel.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogItem {
    /// Unix milliseconds.
    timestamp: i64,
    /// `access`, `info`, `system` or `emergency`.
    category: String,
    priority: &'static str,
    name: LogName,
    info: LogInfo,
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
struct LogName {
    #[schema(example = "access_granted_by_api_call")]
    key: String,
    text: String,
}

/// What happened, with its circumstances.
#[derive(Debug, Serialize, ToSchema)]
struct LogInfo {
    text: String,
    model: LogModel,
}

/// The circumstances.
#[derive(Debug, Serialize, ToSchema)]
struct LogModel {
    /// At which lock.
    lock: Option<u8>,
    /// The type of what was presented.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Its number: to a viewer its last three characters; never that of a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    /// The number of a card that nobody has, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<String>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

impl LogModel {
    fn of(lock: Option<u8>, event: Option<StoredEvent>, whole: bool) -> Self {
        let none = Self { lock, kind: None, number: None, card: None, owner: None };
        let Some(record) = event.map(|event| event.record) else { return none };
        let Some(presented) = record.presented() else { return none };
        let number = presented.masked().map(|masked| if whole { presented.number() } else { masked });
        let owner = record.notes.get("owner").map(ToString::to_string);
        if &*record.reason == "access_denied_by_unknown_card" {
            return Self { card: number, ..none };
        }
        Self { kind: presented.kind().map(str::to_owned), number, owner, ..none }
    }
}

/// What the log says of its page.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogOption {
    pagination: Pagination,
    filter: LogFilter,
    sort: LogSort,
}

/// By what the log was filtered, if at all.
#[derive(Debug, Serialize, ToSchema)]
struct LogFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_value: Option<String>,
}

/// How the log is sorted.
#[derive(Debug, Serialize, ToSchema)]
struct LogSort {
    field: &'static str,
    asc: bool,
    available_fields: [&'static str; 1],
}

/// Opens a lock; an entry of the panel's log says so.
#[utoipa::path(tag = "panel", operation_id = "panel_open_lock", params(("panel" = String, Path), ("lock" = u8, Path, description = "0 to 8")),
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/access/general/lock/open/remote/accepted/{lock}")]
pub async fn open(
    who: Administrator,
    request: HttpRequest,
    shared: Here,
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
#[utoipa::path(tag = "panel", operation_id = "panel_open_locks_in_emergency", params(("panel" = String, Path)), request_body = Locks,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/general/lock/open/emergency")]
pub async fn open_in_emergency(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let locks = read_locks(&request, payload).await?;
    // Of the other families no word for it is known.
    let (category, key) = match who.panel.settings.family() {
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
#[utoipa::path(tag = "panel", operation_id = "panel_close_locks_in_emergency", params(("panel" = String, Path)), request_body = Locks,
    responses((status = 200), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
#[post("/v1/access/general/lock/close/emergency")]
pub async fn close_in_emergency(
    who: Administrator,
    request: HttpRequest,
    payload: web::Payload,
    shared: Here,
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
    let given: Vec<Lock> = serde_json::from_value(given.clone()).map_err(|_| wrong())?;
    let mut locks = Vec::new();
    for Lock::Number(number) | Lock::Named { lock_number: number, .. } in given {
        if number > LOCKS {
            return Err(wrong());
        }
        if !locks.contains(&number) {
            locks.push(number);
        }
    }
    Ok(locks)
}

fn entry(category: &str, key: &str, lock: u8) -> LogRecord {
    LogRecord {
        at_ms: clock::now_ms(),
        category: category.into(),
        key: key.into(),
        lock: Some(lock),
        event: None,
    }
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
#[utoipa::path(tag = "panel", operation_id = "panel_read_log", params(("panel" = String, Path), LogParameters),
    responses((status = 200, body = LogBody), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
#[get("/v1/log/items")]
pub async fn read_log(
    account: Account,
    query: web::Query<HashMap<String, String>>,
    shared: Here,
) -> Result<HttpResponse, PanelError> {
    let dialect = account.panel.settings.dialect;
    let (limit, page) = page(&query)?;
    let from = moment(&query, "from")?.unwrap_or(i64::MIN);
    let to = moment(&query, "to")?.unwrap_or(i64::MAX);
    let category = category(&query)?;
    let ascends = ascends(&query)?;
    let (store, number) = (shared.fleet.store.clone(), account.panel.number);
    let (wanted, whole) = (category.clone(), account.session.role >= Role::Operator);
    let read = web::block(move || {
        let snapshot = store.read()?;
        let mut entries = snapshot.panel_log(number)?;
        entries.retain(|entry| {
            (from..=to).contains(&entry.at_ms)
                && wanted.as_ref().is_none_or(|wanted| entry.category == *wanted)
        });
        if ascends {
            entries.reverse();
        }
        let pagination = Pagination::of(entries.len(), limit, page);
        let of_page = entries.into_iter().skip((page - 1).saturating_mul(limit)).take(limit);
        let with_event = |entry: LogRecord| {
            let event = entry.event.map(|event| snapshot.access_event(event)).transpose()?.flatten();
            Ok::<_, StoreError>(LogItem::of(entry, event, whole))
        };
        Ok::<_, StoreError>((of_page.map(with_event).collect::<Result<Vec<_>, _>>()?, pagination))
    });
    let (items, pagination) = read.await.map_err(|_| PanelError::Busy)??;
    Ok(HttpResponse::Ok().json(if dialect.notes == ListNotes::None {
        LogBody::OfController { items, options: Options { pagination } }
    } else {
        let filter =
            LogFilter { filter_field: category.as_ref().map(|_| "category"), filter_value: category };
        let sort = LogSort { field: "timestamp", asc: ascends, available_fields: ["timestamp"] };
        LogBody::OfPanel { list_items: items, list_option: LogOption { pagination, filter, sort } }
    }))
}

impl LogItem {
    fn of(entry: LogRecord, event: Option<StoredEvent>, whole: bool) -> Self {
        let LogRecord { at_ms, category, key, lock, event: _ } = entry;
        let text = match key.as_str() {
            "access_granted_by_api_call" => "Access granted by API call",
            "access_granted_by_valid_identifier" => "Access granted",
            "access_denied_by_unknown_card" => "Access denied: unknown card",
            "access_denied_by_not_valid_identifier" => "Access denied: the identifier is not valid now",
            "emergency_lock_is_opened" => "Lock is opened in an emergency",
            other => other,
        };
        let info = LogInfo { text: text.to_owned(), model: LogModel::of(lock, event, whole) };
        let name = LogName { text: text.to_owned(), key };
        Self { timestamp: at_ms, category, priority: "medium", name, info }
    }
}

/// How many entries a page has, and which page is wanted: clients ask for pages of any length here.
fn page(query: &HashMap<String, String>) -> Result<(usize, usize), PanelError> {
    let given = |name: &str| query.get(name).map(String::as_str);
    let page = if query.contains_key("pageNumber") { "pageNumber" } else { "page_number" };
    Ok((list::limit(given("limit"), Limit::UpToThousand)?, list::page(given(page), page)?))
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
            if text("filter_field").is_some_and(|field| field != "category") {
                return Err(PanelError::Parameter("filter_field"));
            }
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
    match asked.filter(|category| !category.is_empty()) {
        Some(category) if !CATEGORIES.contains(&category.as_str()) => Err(PanelError::Parameter("filter")),
        asked => Ok(asked),
    }
}

/// Whether the oldest comes first.
fn ascends(query: &HashMap<String, String>) -> Result<bool, PanelError> {
    let by_order = query
        .get("order_by")
        .map(|order| ("order_by", order.strip_prefix("timestamp").unwrap_or(order).trim()));
    let by_type =
        ["sort_type", "sortType"].into_iter().find_map(|name| Some((name, query.get(name)?.as_str())));
    match by_order.or(by_type) {
        None | Some((_, "desc")) => Ok(false),
        Some((_, "asc") | ("order_by", "")) => Ok(true),
        Some((name, _)) => Err(PanelError::Parameter(name)),
    }
}
