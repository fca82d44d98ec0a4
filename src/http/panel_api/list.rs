//! The form of all lists: a page of items, with the pagination, the filter and the sorting beside it.
//!
//! Android panels filter by `filter_field`, `filter_type=equal`, `filter_format`, `filter_value` (plain, as one JSON object
//! in `filter`, or as `filter[filter_field]`, which clients make of an object) and sort by `sort_field`, `sort_type`;
//! camdroid and ingenic-mips panels take an expression ([`super::filter`]) and `order_by=name desc, date_from`, the oldest
//! of them `pageNumber`, `sortField`, `sortType`. Parameters of another dialect are unknown and so ignored. Without a word
//! on it lists are sorted by name; equal ones by uid, and where they have none by link_id.

use std::borrow::Cow;
use std::cmp::Ordering;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::error::PanelError;
use super::filter::{Field, Fields, Operator};
use crate::http::fleet_api::types::{RepeatOptionsBody, TimeOptionsBody};
use crate::panel::dialect::{Dialect, ListNotes};
use crate::profile::rule::Family;
use crate::profile::{LinkId, parse, wire};
use crate::store::StoreError;

mod query;

pub use query::{Wanted, limit, page, require_page};

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

/// Which identifiers name a profile.
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
        available_fields: Vec<&'static str>,
    },
    /// The others.
    Asked {
        /// The first field.
        field: &'static str,
        /// Whether it ascends.
        asc: bool,
        /// By what lists can be sorted.
        available_fields: Vec<&'static str>,
    },
}

/// What lists are made of.
pub trait InList {
    /// By what it is sorted and filtered.
    fn fields(&self) -> Result<Fields, StoreError>;
    /// In which order equal ones stand.
    fn key(&self) -> (Option<u32>, Option<LinkId>);
    /// It, JSON.
    fn json(&self, dialect: &Dialect) -> String;
}

/// A profile that is to be shown.
pub struct Listed {
    /// The panel's number for it; null is shown without one.
    pub uid: Option<u32>,
    /// The link_id, where it has one.
    pub link_id: Option<LinkId>,
    /// Its JSON, without link_id.
    pub json: Box<str>,
    /// The uids of the identifiers that name it.
    pub identifiers: Vec<u32>,
}

impl InList for Listed {
    fn fields(&self) -> Result<Fields, StoreError> {
        fields(self)
    }

    fn key(&self) -> (Option<u32>, Option<LinkId>) {
        (self.uid, self.link_id)
    }

    fn json(&self, dialect: &Dialect) -> String {
        item(self, dialect.family, true)
    }
}

/// The page of these that a query asks for.
pub fn answer(
    items: impl IntoIterator<Item = impl InList>,
    wanted: Wanted,
    dialect: &Dialect,
) -> Result<HttpResponse, PanelError> {
    let mut listed = Vec::new();
    for item in items {
        let fields = item.fields()?;
        if wanted.filter.as_ref().is_none_or(|filter| filter.holds(&fields)) {
            listed.push((fields, item));
        }
    }
    listed.sort_by(|(a, item_a), (b, item_b)| {
        let by_fields = wanted.order.iter().map(|(field, asc)| {
            let order = a.compare(b, *field);
            if *asc { order } else { order.reverse() }
        });
        let order = by_fields.fold(Ordering::Equal, Ordering::then);
        order.then(item_a.key().cmp(&item_b.key()))
    });
    let total_items = listed.len();
    let list_items = listed
        .iter()
        .skip((wanted.page - 1).saturating_mul(wanted.limit))
        .take(wanted.limit)
        .filter_map(|(_, item)| RawValue::from_string(item.json(dialect)).ok()) // it is JSON
        .collect();
    let pagination = Pagination::of(total_items, wanted.limit, wanted.page);
    let (filter, sort) = match dialect.notes {
        ListNotes::None => {
            let options = Options { pagination };
            return Ok(HttpResponse::Ok().json(ListBody::OfController { items: list_items, options }));
        }
        ListNotes::Asked => {
            let (field, asc) = wanted.order.first().copied().unwrap_or((Field::Name, true));
            let sort =
                SortNote::Asked { field: field.as_str(), asc, available_fields: Field::names(wanted.fields) };
            (FilterNote::Asked(wanted.asked), sort)
        }
        ListNotes::Described => (
            FilterNote::Described(DescribedFilter {
                available_filtering: true,
                is_filtered: wanted.filter.is_some(),
                available_fields: wanted.fields.iter().copied().map(DescribedField::of).collect(),
            }),
            SortNote::Described {
                is_sorted: wanted.is_sorted,
                order: if wanted.is_sorted { order_text(&wanted.order) } else { String::new() },
                available_fields: Field::names(wanted.fields),
            },
        ),
    };
    let list_option = ListOption { pagination, filter, sort };
    Ok(HttpResponse::Ok().json(ListBody::OfPanel { list_items, list_option }))
}

impl DescribedField {
    fn of(field: Field) -> Self {
        Self {
            field_name: field.as_str(),
            data_type: field.data_type(),
            compare_operators: Operator::NAMES,
            options: [],
        }
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
    let uids: Vec<_> = profile.identifiers.iter().map(u32::to_string).collect();
    let identifiers = format!(r#"{{"count":{},"uid_items":[{}]}}"#, uids.len(), uids.join(","));
    format!(r#"{{{uid}"link_id":{link_id},{inner},"identifiers":{identifiers}}}"#)
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
    Ok(Fields { name: read.name, date_from, date_to, number: None })
}
