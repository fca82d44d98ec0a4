//! The form of all lists: a page of items, with the pagination, the filter and the sorting beside it.
//!
//! Android panels filter by `filter_field`, `filter_type=equal`, `filter_format`, `filter_value` (plain, or
//! as one JSON object in `filter`) and sort by `sort_field`, `sort_type`; camdroid panels take an expression
//! ([`super::filter`]) and `order_by=name desc`. Parameters of the other dialect are unknown and so ignored.
//! Without a word on it lists are sorted by name; equal ones by uid.

use std::borrow::Cow;
use std::collections::HashMap;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::error::PanelError;
use super::filter::{Field, Fields, Filter};
use crate::http::fleet_api::types::{RepeatOptionsBody, TimeOptionsBody};
use crate::profile::rule::Family;
use crate::profile::{parse, wire};
use crate::store::StoreError;
use crate::store::read::StoredProfile;

/// The parameters of a list, for the document; both dialects.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "only the document reads it; handlers read the query itself, since most of it is optional"
)]
pub struct ListParameters {
    /// 10, 20, 30 or 50; 10 without.
    limit: Option<u32>,
    /// From 1 on.
    page_number: Option<u64>,
    /// android: `name`, `date_from` or `date_to`.
    sort_field: Option<String>,
    /// android: `asc` or `desc`.
    sort_type: Option<String>,
    /// android: `name`, `date_from` or `date_to`.
    filter_field: Option<String>,
    /// android: `equal`.
    filter_type: Option<String>,
    /// android: the type of the value; not read.
    filter_format: Option<String>,
    /// android: what the field must equal.
    filter_value: Option<String>,
    /// android: the four as one JSON object; camdroid: an expression.
    filter: Option<String>,
    /// camdroid: a field, and `asc` or `desc`.
    order_by: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListBody {
    #[schema(value_type = Vec<ListItem>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    list_items: Option<Vec<Box<RawValue>>>,
    /// As door controllers call it.
    #[schema(ignore)]
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ListOption, required = true)]
    list_option: Option<ListOption>,
    /// As door controllers call it.
    #[schema(ignore)]
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

/// A profile in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ListItem {
    /// The panel's number for it; absent in the answer for a single profile.
    time_profile_uid: Option<u32>,
    /// Null for a profile that was not made by a link call.
    link_id: Option<uuid::Uuid>,
    name: String,
    time_options: TimeOptionsBody,
    repeat_options: RepeatOptionsBody,
    identifiers: Identifiers,
}

/// Who uses a profile; panels here hold no identifiers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Identifiers {
    count: u32,
    uid_items: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Options {
    pagination: Pagination,
}

#[derive(Debug, Serialize, ToSchema)]
struct ListOption {
    pagination: Pagination,
    #[schema(value_type = Object)]
    filter: serde_json::Value,
    sort: Sort,
}

#[derive(Debug, Serialize, ToSchema)]
struct Pagination {
    total_items: usize,
    items_limit: usize,
    total_pages: usize,
    current_page: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct Sort {
    field: &'static str,
    asc: bool,
    available_fields: [&'static str; 3],
}

/// What a query asks of a list.
struct Wanted {
    limit: usize,
    page: usize,
    sort: (Field, bool),
    filter: Option<Filter>,
    filter_shown: serde_json::Value,
}

/// The page of these profiles that the query asks for.
pub fn answer(
    profiles: Vec<StoredProfile>,
    query: &HashMap<String, String>,
    family: Family,
) -> Result<HttpResponse, PanelError> {
    let wanted = Wanted::parse(query, family)?;
    let mut listed = Vec::with_capacity(profiles.len());
    for profile in profiles {
        let fields = fields(&profile)?;
        if wanted.filter.as_ref().is_none_or(|filter| filter.holds(&fields)) {
            listed.push((fields, profile));
        }
    }
    let (field, asc) = wanted.sort;
    listed.sort_by(|(a, profile_a), (b, profile_b)| {
        let order = a.compare(b, field);
        let order = if asc { order } else { order.reverse() };
        order.then(profile_a.row.uid.cmp(&profile_b.row.uid))
    });
    let total_items = listed.len();
    let list_items = listed
        .iter()
        .skip((wanted.page - 1).saturating_mul(wanted.limit))
        .take(wanted.limit)
        .filter_map(|(_, profile)| RawValue::from_string(item(profile, family, true)).ok()) // item() is JSON
        .collect();
    let pagination = Pagination {
        total_items,
        items_limit: wanted.limit,
        total_pages: total_items.div_ceil(wanted.limit),
        current_page: wanted.page,
    };
    Ok(HttpResponse::Ok().json(match family {
        Family::Android | Family::Camdroid => ListBody {
            list_items: Some(list_items),
            items: None,
            list_option: Some(ListOption {
                pagination,
                filter: wanted.filter_shown,
                sort: Sort { field: field.as_str(), asc, available_fields: Field::NAMES },
            }),
            options: None,
        },
        Family::DoorController => ListBody {
            list_items: None,
            items: Some(list_items),
            list_option: None,
            options: Some(Options { pagination }),
        },
    }))
}

/// A profile as JSON: the stored text, with what the panel adds around it.
pub fn item(profile: &StoredProfile, family: Family, with_uid: bool) -> String {
    let key = match family {
        Family::Android | Family::Camdroid => "time_profile_uid",
        Family::DoorController => "id",
    };
    let uid = if with_uid { format!(r#""{key}":{},"#, profile.row.uid) } else { String::new() };
    let link_id = profile.link_id().map_or("null".to_owned(), |link| format!(r#""{link}""#));
    let json = match family {
        Family::Android | Family::Camdroid => Cow::Borrowed(&*profile.json),
        Family::DoorController => wire::with_year_format(&profile.json),
    };
    let inner = json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap_or_default();
    format!(r#"{{{uid}"link_id":{link_id},{inner},"identifiers":{{"count":0,"uid_items":[]}}}}"#)
}

fn fields(profile: &StoredProfile) -> Result<Fields, StoreError> {
    #[derive(Deserialize)]
    struct Read {
        name: String,
        time_options: Times,
    }
    #[derive(Deserialize)]
    struct Times {
        date_from: Option<i64>,
        date_to: Option<i64>,
    }
    let corrupt = StoreError::Corrupt("body");
    let read: Read = serde_json::from_str(&profile.json).map_err(|_| corrupt.clone())?;
    let (date_from, date_to) = match (read.time_options.date_from, read.time_options.date_to) {
        (Some(from), Some(to)) => (from, to),
        // A door controller's profile may lack them; then it is listed by what that means.
        _ => parse::stored(profile.json.as_bytes()).map(|read| (read.from, read.to)).map_err(|_| corrupt)?,
    };
    Ok(Fields { name: read.name, date_from, date_to })
}

impl Wanted {
    fn parse(query: &HashMap<String, String>, family: Family) -> Result<Self, PanelError> {
        let get = |name: &str| query.get(name).map(String::as_str);
        let limit = match get("limit") {
            Some(limit) if family == Family::DoorController => {
                let limit = limit.parse().ok().filter(|limit| (1..=1000).contains(limit));
                limit.ok_or(PanelError::Parameter("limit"))?
            }
            None | Some("10") => 10,
            Some("20") => 20,
            Some("30") => 30,
            Some("50") => 50,
            Some(_) => return Err(PanelError::Parameter("limit")),
        };
        let page = match get("page_number") {
            None => 1,
            Some(page) => {
                page.parse().ok().filter(|page| *page >= 1).ok_or(PanelError::Parameter("page_number"))?
            }
        };
        let (sort, filter, filter_shown) = match family {
            Family::Android | Family::DoorController => {
                let (filter, shown) = equality(query)?;
                (sorting(get("sort_field"), get("sort_type"))?, filter, shown)
            }
            Family::Camdroid => {
                let (filter, shown) = match get("filter") {
                    None => (None, serde_json::json!({})),
                    Some(text) => {
                        let filter = Filter::parse(text).ok_or(PanelError::Parameter("filter"))?;
                        (Some(filter), serde_json::json!({ "filter": text }))
                    }
                };
                (ordering(get("order_by"))?, filter, shown)
            }
        };
        Ok(Self { limit, page, sort, filter, filter_shown })
    }
}

fn sorting(field: Option<&str>, direction: Option<&str>) -> Result<(Field, bool), PanelError> {
    let field = match field {
        None => Field::Name,
        Some(name) => Field::parse(name).ok_or(PanelError::Parameter("sort_field"))?,
    };
    match direction {
        None | Some("asc") => Ok((field, true)),
        Some("desc") => Ok((field, false)),
        Some(_) => Err(PanelError::Parameter("sort_type")),
    }
}

fn ordering(order_by: Option<&str>) -> Result<(Field, bool), PanelError> {
    let Some(order_by) = order_by else { return Ok((Field::Name, true)) };
    let mut words = order_by.split_whitespace();
    let field = words.next().and_then(Field::parse).ok_or(PanelError::Parameter("order_by"))?;
    let asc = match words.next() {
        None | Some("asc") => true,
        Some("desc") => false,
        Some(_) => return Err(PanelError::Parameter("order_by")),
    };
    if words.next().is_some() { Err(PanelError::Parameter("order_by")) } else { Ok((field, asc)) }
}

/// The android filter, from plain parameters or from one JSON object.
fn equality(query: &HashMap<String, String>) -> Result<(Option<Filter>, serde_json::Value), PanelError> {
    let given = match query.get("filter") {
        None => query.clone(),
        Some(json) => {
            let object: HashMap<String, serde_json::Value> =
                serde_json::from_str(json).map_err(|_| PanelError::Parameter("filter"))?;
            object.into_iter().map(|(key, value)| (key, plain(&value))).collect()
        }
    };
    let Some(field) = given.get("filter_field") else { return Ok((None, serde_json::json!({}))) };
    let field = Field::parse(field).ok_or(PanelError::Parameter("filter_field"))?;
    if given.get("filter_type").is_some_and(|kind| kind != "equal") {
        return Err(PanelError::Parameter("filter_type"));
    }
    let value = given.get("filter_value").ok_or(PanelError::Parameter("filter_value"))?;
    let filter = Filter::equal(field, value).ok_or(PanelError::Parameter("filter_value"))?;
    let shown = ["filter_field", "filter_type", "filter_format", "filter_value"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), given.get(name)?.clone().into())))
        .collect();
    Ok((Some(filter), serde_json::Value::Object(shown)))
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
