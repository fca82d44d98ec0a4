//! What a query asks of a list.

use std::collections::HashMap;

use super::super::error::PanelError;
use super::super::filter::{Field, Filter};
use crate::panel::dialect::{Dialect, Limit, Paging};
use crate::profile::rule::Family;

/// What a query asks of a list.
pub struct Wanted {
    pub(super) limit: usize,
    pub(super) page: usize,
    /// Fields, and whether each ascends; never empty.
    pub(super) order: Vec<(Field, bool)>,
    pub(super) is_sorted: bool,
    pub(super) filter: Option<Filter>,
    /// The filter's parameters as they were given.
    pub(super) asked: serde_json::Map<String, serde_json::Value>,
    /// By what the list can be sorted and filtered.
    pub(super) fields: &'static [Field],
}

impl Wanted {
    /// Reads a query, before anything is read for it. `fields` are those by which the list can be sorted and filtered.
    pub fn parse(
        query: &HashMap<String, String>,
        dialect: &Dialect,
        fields: &'static [Field],
    ) -> Result<Self, PanelError> {
        let get = |name: &str| given(query, name);
        let (limit, page) = wanted_page(query, dialect)?;
        let (sort_field, sort_type) = match dialect.paging {
            Paging::SortField | Paging::OrderBy => ("sort_field", "sort_type"),
            Paging::CamelCase => ("sortField", "sortType"),
        };
        let (order, is_sorted) = match dialect.paging {
            Paging::OrderBy => (ordering(get("order_by"), fields)?, get("order_by").is_some()),
            Paging::SortField | Paging::CamelCase => {
                let field = match get(sort_field) {
                    None => Field::Name,
                    Some(name) => Field::parse(name, fields).ok_or(PanelError::Parameter(sort_field))?,
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
            (Family::Android | Family::DoorController, _) => equality(query, fields)?,
            (Family::Camdroid | Family::IngenicMips, None) => equality(&in_brackets(query), fields)?,
            (Family::Camdroid | Family::IngenicMips, Some(text)) => {
                let filter = Filter::parse(text, fields).ok_or(PanelError::Parameter("filter"))?;
                (Some(filter), serde_json::Map::from_iter([("filter".to_owned(), text.into())]))
            }
        };
        Ok(Self { limit, page, order, is_sorted, filter, asked, fields })
    }
}

/// A parameter; one that is empty counts as left out.
fn given<'q>(query: &'q HashMap<String, String>, name: &str) -> Option<&'q str> {
    query.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// How many items a page has, and which page is wanted.
fn wanted_page(query: &HashMap<String, String>, dialect: &Dialect) -> Result<(usize, usize), PanelError> {
    let limit = limit(given(query, "limit"), dialect.limit)?;
    let name = page_parameter(dialect);
    Ok((limit, page(given(query, name), name)?))
}

/// The parameter that says which page is wanted.
fn page_parameter(dialect: &Dialect) -> &'static str {
    match dialect.paging {
        Paging::SortField | Paging::OrderBy => "page_number",
        Paging::CamelCase => "pageNumber",
    }
}

/// Of a list whose page has to be said: whether it is.
pub fn require_page(query: &HashMap<String, String>, dialect: &Dialect) -> Result<(), PanelError> {
    let missing = ["limit", page_parameter(dialect)].into_iter().find(|name| given(query, name).is_none());
    missing.map_or(Ok(()), |name| Err(PanelError::MissingParameter(name)))
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
fn ordering(order_by: Option<&str>, fields: &[Field]) -> Result<Vec<(Field, bool)>, PanelError> {
    let Some(order_by) = order_by else { return Ok(vec![(Field::Name, true)]) };
    let wrong = || PanelError::Parameter("order_by");
    let mut order = Vec::new();
    for part in order_by.split(',') {
        let mut words = part.split_whitespace();
        let field = words.next().and_then(|name| Field::parse(name, fields)).ok_or_else(wrong)?;
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
fn equality(query: &HashMap<String, String>, fields: &[Field]) -> Result<Equality, PanelError> {
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
    let field = Field::parse(field, fields).ok_or(PanelError::Parameter("filter_field"))?;
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
