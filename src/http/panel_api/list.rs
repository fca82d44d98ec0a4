//! The form of all lists: a page of items, with the pagination, the filter and the sorting beside it.
//!
//! Android panels filter by `filter_field`, `filter_type=equal`, `filter_format`, `filter_value` (plain, as one JSON object
//! in `filter`, or as `filter[filter_field]`, which clients make of an object) and sort by `sort_field`, `sort_type`;
//! camdroid and ingenic-mips panels take an expression ([`super::filter`]) and `order_by=name desc, date_from`, the oldest
//! of them `pageNumber`, `sortField`, `sortType`. Parameters of another dialect are unknown and so ignored. Without a word
//! on it lists are sorted by name; equal ones by uid, and where they have none by link_id.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::error::PanelError;
use super::filter::{Field, Fields, Filter, Operator};
use crate::http::fleet_api::types::{RepeatOptionsBody, TimeOptionsBody};
use crate::panel::dialect::{Dialect, Limit, ListNotes, Paging};
use crate::profile::rule::Family;
use crate::profile::{parse, wire};
use crate::store::StoreError;
use crate::store::read::StoredItem;

/// The parameters of a list, for the document; both dialects.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "only the document reads it; handlers read the query itself, since most of it is optional"
)]
pub struct ListParameters {
    /// 10, 20, 30 or 50; 10 without. ingenic-mips: any from 1 on, and required. Door controllers: up to 1000.
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
    /// android: the four as one JSON object; camdroid and ingenic-mips: an expression.
    filter: Option<String>,
    /// camdroid from 1.0, ingenic-mips: fields with commas between them, each perhaps with `asc` or `desc`.
    order_by: Option<String>,
    /// camdroid before 1.0: as `page_number`.
    #[serde(rename = "pageNumber")]
    #[param(rename = "pageNumber")]
    page_number_before_1: Option<u64>,
    /// camdroid before 1.0: as `sort_field`.
    #[serde(rename = "sortField")]
    #[param(rename = "sortField")]
    sort_field_before_1: Option<String>,
    /// camdroid before 1.0: as `sort_type`.
    #[serde(rename = "sortType")]
    #[param(rename = "sortType")]
    sort_type_before_1: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ListBody {
    /// Of a panel.
    OfPanel {
        /// The page's profiles.
        #[schema(value_type = Vec<ListItem>)]
        list_items: Vec<Box<RawValue>>,
        /// Which page, and of what.
        list_option: ListOption,
    },
    /// Of a door controller.
    OfController {
        /// The page's profiles.
        #[schema(value_type = Vec<ControllerItem>)]
        items: Vec<Box<RawValue>>,
        /// Which page.
        options: Options,
    },
}

/// A profile in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ListItem {
    /// The panel's number for it; absent in the answer for a single profile. Null where panels that are asked as one
    /// have no number for it in common.
    time_profile_uid: Option<u32>,
    /// Null for a profile that was not made by a link call.
    link_id: Option<uuid::Uuid>,
    name: String,
    time_options: TimeOptionsBody,
    repeat_options: RepeatOptionsBody,
    identifiers: Identifiers,
}

/// A profile in a door controller's list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document")]
struct ControllerItem {
    /// Its number for it.
    id: u32,
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

/// What a door controller's list says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct Options {
    /// Which part of the list it is.
    pub pagination: Pagination,
}

/// What a list says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListOption {
    pagination: Pagination,
    filter: FilterNote,
    sort: SortNote,
}

/// Which part of a list it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pagination {
    total_items: usize,
    items_limit: usize,
    total_pages: usize,
    current_page: usize,
}

impl Pagination {
    /// Of a list of so many items.
    pub fn of(total_items: usize, limit: usize, page: usize) -> Self {
        let total_pages = total_items.div_ceil(limit);
        Self { total_items, items_limit: limit, total_pages, current_page: page }
    }
}

/// By what the list was filtered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum FilterNote {
    /// camdroid from 1.0.6, ingenic-mips.
    Described(DescribedFilter),
    /// The others: the parameters as they were given.
    #[schema(value_type = Object)]
    Asked(serde_json::Map<String, serde_json::Value>),
}

/// Whether the list was filtered, and how it could be.
#[derive(Debug, Serialize, ToSchema)]
struct DescribedFilter {
    available_filtering: bool,
    is_filtered: bool,
    available_fields: Vec<DescribedField>,
}

/// How a list can be filtered by a field.
#[derive(Debug, Serialize, ToSchema)]
struct DescribedField {
    field_name: &'static str,
    /// `string` or `int`.
    data_type: &'static str,
    compare_operators: [&'static str; 6],
    /// The values that there are, where they are few; here none.
    options: [String; 0],
}

/// How the list is sorted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum SortNote {
    /// camdroid from 1.0.6, ingenic-mips.
    Described {
        /// Whether an order was asked for.
        is_sorted: bool,
        /// It, as `order_by` takes it.
        order: String,
        /// By what lists can be sorted.
        available_fields: [&'static str; 3],
    },
    /// The others.
    Asked {
        /// The first field.
        field: &'static str,
        /// Whether it ascends.
        asc: bool,
        /// By what lists can be sorted.
        available_fields: [&'static str; 3],
    },
}

/// A profile that is to be shown.
pub struct Listed {
    /// The panel's number for it; null is shown without one.
    pub uid: Option<u32>,
    /// The link_id, where it has one.
    pub link_id: Option<crate::profile::LinkId>,
    /// Its JSON, without link_id.
    pub json: Box<str>,
}

impl From<StoredItem> for Listed {
    fn from(profile: StoredItem) -> Self {
        Self { uid: Some(profile.row.uid), link_id: profile.link_id(), json: profile.json }
    }
}

/// What a query asks of a list.
pub struct Wanted {
    limit: usize,
    page: usize,
    /// Fields, and whether each ascends; never empty.
    order: Vec<(Field, bool)>,
    is_sorted: bool,
    filter: Option<Filter>,
    /// The filter's parameters as they were given.
    asked: serde_json::Map<String, serde_json::Value>,
}

/// The page of these profiles that a query asks for.
pub fn answer(
    profiles: Vec<impl Into<Listed>>,
    wanted: Wanted,
    dialect: &Dialect,
) -> Result<HttpResponse, PanelError> {
    let mut listed = Vec::with_capacity(profiles.len());
    for profile in profiles {
        let profile = profile.into();
        let fields = fields(&profile)?;
        if wanted.filter.as_ref().is_none_or(|filter| filter.holds(&fields)) {
            listed.push((fields, profile));
        }
    }
    listed.sort_by(|(a, profile_a), (b, profile_b)| {
        let by_fields = wanted.order.iter().map(|(field, asc)| {
            let order = a.compare(b, *field);
            if *asc { order } else { order.reverse() }
        });
        let order = by_fields.fold(Ordering::Equal, Ordering::then);
        order.then((profile_a.uid, profile_a.link_id).cmp(&(profile_b.uid, profile_b.link_id)))
    });
    let total_items = listed.len();
    let list_items = listed
        .iter()
        .skip((wanted.page - 1).saturating_mul(wanted.limit))
        .take(wanted.limit)
        .filter_map(|(_, profile)| RawValue::from_string(item(profile, dialect.family, true)).ok()) // item() is JSON
        .collect();
    let pagination = Pagination::of(total_items, wanted.limit, wanted.page);
    let (filter, sort) = match dialect.notes {
        ListNotes::None => {
            let options = Options { pagination };
            return Ok(HttpResponse::Ok().json(ListBody::OfController { items: list_items, options }));
        }
        ListNotes::Asked => {
            let (field, asc) = wanted.order.first().copied().unwrap_or((Field::Name, true));
            let sort = SortNote::Asked { field: field.as_str(), asc, available_fields: Field::NAMES };
            (FilterNote::Asked(wanted.asked), sort)
        }
        ListNotes::Described => (
            FilterNote::Described(DescribedFilter {
                available_filtering: true,
                is_filtered: wanted.filter.is_some(),
                available_fields: vec![
                    DescribedField::of(Field::Name, "string"),
                    DescribedField::of(Field::DateFrom, "int"),
                    DescribedField::of(Field::DateTo, "int"),
                ],
            }),
            SortNote::Described {
                is_sorted: wanted.is_sorted,
                order: if wanted.is_sorted { order_text(&wanted.order) } else { String::new() },
                available_fields: Field::NAMES,
            },
        ),
    };
    let list_option = ListOption { pagination, filter, sort };
    Ok(HttpResponse::Ok().json(ListBody::OfPanel { list_items, list_option }))
}

impl DescribedField {
    fn of(field: Field, data_type: &'static str) -> Self {
        Self { field_name: field.as_str(), data_type, compare_operators: Operator::NAMES, options: [] }
    }
}

/// An order as `order_by` takes it.
fn order_text(order: &[(Field, bool)]) -> String {
    let one =
        |(field, asc): &(Field, bool)| format!("{} {}", field.as_str(), if *asc { "asc" } else { "desc" });
    order.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A profile as JSON: the stored text, with what the panel adds around it.
pub fn item(profile: &Listed, family: Family, with_uid: bool) -> String {
    let key = match family {
        Family::Android | Family::Camdroid | Family::IngenicMips => "time_profile_uid",
        Family::DoorController => "id",
    };
    let number = profile.uid.map_or("null".to_owned(), |uid| uid.to_string());
    let uid = if with_uid { format!(r#""{key}":{number},"#) } else { String::new() };
    let link_id = profile.link_id.map_or("null".to_owned(), |link| format!(r#""{link}""#));
    let json = match family {
        Family::Android | Family::Camdroid | Family::IngenicMips => Cow::Borrowed(&*profile.json),
        Family::DoorController => wire::with_year_format(&profile.json),
    };
    let inner = json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap_or_default();
    format!(r#"{{{uid}"link_id":{link_id},{inner},"identifiers":{{"count":0,"uid_items":[]}}}}"#)
}

fn fields(profile: &Listed) -> Result<Fields, StoreError> {
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
    /// Reads a query, before anything is read for it.
    pub fn parse(query: &HashMap<String, String>, dialect: &Dialect) -> Result<Self, PanelError> {
        let get = |name: &str| given(query, name);
        let (limit, page) = wanted_page(query, dialect)?;
        let (sort_field, sort_type) = match dialect.paging {
            Paging::SortField | Paging::OrderBy => ("sort_field", "sort_type"),
            Paging::CamelCase => ("sortField", "sortType"),
        };
        let (order, is_sorted) = match dialect.paging {
            Paging::OrderBy => (ordering(get("order_by"))?, get("order_by").is_some()),
            Paging::SortField | Paging::CamelCase => {
                let field = match get(sort_field) {
                    None => Field::Name,
                    Some(name) => Field::parse(name).ok_or(PanelError::Parameter(sort_field))?,
                };
                let asc = match get(sort_type) {
                    None | Some("asc") => true,
                    Some("desc") => false,
                    Some(_) => return Err(PanelError::Parameter(sort_type)),
                };
                (vec![(field, asc)], get(sort_field).is_some())
            }
        };
        let (filter, asked) = match (dialect.family, get("filter")) {
            (Family::Android | Family::DoorController, _) => equality(query)?,
            (Family::Camdroid | Family::IngenicMips, None) => equality(&in_brackets(query))?,
            (Family::Camdroid | Family::IngenicMips, Some(text)) => {
                let filter = Filter::parse(text).ok_or(PanelError::Parameter("filter"))?;
                (Some(filter), serde_json::Map::from_iter([("filter".to_owned(), text.into())]))
            }
        };
        Ok(Self { limit, page, order, is_sorted, filter, asked })
    }
}

/// A parameter; one that is empty counts as left out.
fn given<'q>(query: &'q HashMap<String, String>, name: &str) -> Option<&'q str> {
    query.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// How many items a page has, and which page is wanted.
fn wanted_page(query: &HashMap<String, String>, dialect: &Dialect) -> Result<(usize, usize), PanelError> {
    let limit = limit(given(query, "limit"), dialect.limit)?;
    let name = match dialect.paging {
        Paging::SortField | Paging::OrderBy => "page_number",
        Paging::CamelCase => "pageNumber",
    };
    Ok((limit, page(given(query, name), name)?))
}

/// The page of this parameter; the first one without.
pub fn page(given: Option<&str>, name: &'static str) -> Result<usize, PanelError> {
    let Some(number) = given else { return Ok(1) };
    number.parse().ok().filter(|page| *page >= 1).ok_or(PanelError::Parameter(name))
}

/// The `limit`.
pub fn limit(given: Option<&str>, takes: Limit) -> Result<usize, PanelError> {
    let number = |most| {
        let number = given.and_then(|limit| limit.parse().ok());
        number.filter(|limit| (1..=most).contains(limit)).ok_or(PanelError::Parameter("limit"))
    };
    match (takes, given) {
        (Limit::Required, None) => Err(PanelError::MissingParameter("limit")),
        (Limit::Required, Some(_)) => number(usize::MAX),
        (Limit::Steps | Limit::UpToThousand, None) => Ok(10),
        (Limit::UpToThousand, Some(_)) => number(1000),
        (Limit::Steps, Some("10" | "20" | "30" | "50")) => number(50),
        (Limit::Steps, Some(_)) => Err(PanelError::Parameter("limit")),
    }
}

/// The fields of an `order_by`, each once.
fn ordering(order_by: Option<&str>) -> Result<Vec<(Field, bool)>, PanelError> {
    let Some(order_by) = order_by else { return Ok(vec![(Field::Name, true)]) };
    let wrong = || PanelError::Parameter("order_by");
    let mut order = Vec::new();
    for part in order_by.split(',') {
        let mut words = part.split_whitespace();
        let field = words.next().and_then(Field::parse).ok_or_else(wrong)?;
        let asc = match words.next() {
            None | Some("asc") => true,
            Some("desc") => false,
            Some(_) => return Err(wrong()),
        };
        if words.next().is_some() || order.iter().any(|(named, _)| *named == field) {
            return Err(wrong());
        }
        order.push((field, asc));
    }
    Ok(order)
}

/// A filter and its parameters as they were given.
type Equality = (Option<Filter>, serde_json::Map<String, serde_json::Value>);

/// The android filter, from plain parameters, from one JSON object, or from the form that clients make of an object.
fn equality(query: &HashMap<String, String>) -> Result<Equality, PanelError> {
    let given: HashMap<String, String> = match query.get("filter").filter(|filter| !filter.is_empty()) {
        None => {
            let mut given = in_brackets(query);
            given.extend(query.iter().map(|(name, value)| (name.clone(), value.clone())));
            given
        }
        Some(json) => {
            let object: HashMap<String, serde_json::Value> =
                serde_json::from_str(json).map_err(|_| PanelError::Parameter("filter"))?;
            object.into_iter().map(|(key, value)| (key, plain(&value))).collect()
        }
    };
    let Some(field) = given.get("filter_field") else { return Ok((None, serde_json::Map::new())) };
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
    Ok((Some(filter), shown))
}

/// The parameters `filter[name]`, by their names.
fn in_brackets(query: &HashMap<String, String>) -> HashMap<String, String> {
    let name = |key: &str| Some(key.strip_prefix("filter[")?.strip_suffix(']')?.to_owned());
    query.iter().filter_map(|(key, value)| Some((name(key)?, value.clone()))).collect()
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
