//! A list of items as a device gives it.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Fields, without};
use crate::batch::item::Kind;
use crate::batch::{self, Body};
use crate::identifier;
use crate::panel::device::Trouble;
use crate::panel::device::words;
use crate::profile::LinkId;
use crate::profile::parse;
use crate::profile::rule::Family;
use crate::profile::wire::Json;

/// The longest name of an item.
const LONGEST_NAME: usize = 100;

/// A page of a device's items of a kind, as it came. What it says of the whole may be absent, and wrong.
#[derive(Debug)]
pub struct Page<'b> {
    /// Those on it.
    pub items: Vec<&'b RawValue>,
    /// Whether there is a list at all: of some devices an empty one is `null`, and so is one that they cannot tell.
    pub is_told: bool,
    /// How many there are on all pages.
    pub total: Option<u64>,
    /// How many there are on a page.
    pub limit: Option<u64>,
    /// How many pages there are.
    pub pages: Option<u64>,
}

/// Reads a page of a list.
pub fn read_page(answer: &Answer) -> Result<Page<'_>, Trouble> {
    let fields = Fields::read(&answer.body)?;
    let list = fields.get("list_items").or_else(|| fields.get("items"));
    let is_told = list.is_some_and(|list| list.get() != "null");
    let items = match list {
        Some(_) if !is_told => Some(Vec::new()),
        Some(list) => serde_json::from_str(list.get()).ok(),
        None => None,
    };
    let items = items.ok_or_else(|| without("list_items", &answer.body))?;
    let options = ["list_option", "list_options", "options"].into_iter().find_map(|name| fields.value(name));
    let pagination = options.as_ref().and_then(|options| options.get("pagination"));
    let number = |name: &str| match pagination?.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    Ok(Page {
        items,
        is_told,
        total: number("total_items"),
        limit: number("items_limit").filter(|limit| *limit > 0),
        pages: number("total_pages"),
    })
}

/// An item as a device holds it.
#[derive(Debug, Clone)]
pub struct DeviceItem {
    /// What it is.
    pub kind: Kind,
    /// Absent where it was made on the device itself.
    pub link_id: Option<LinkId>,
    /// Its name.
    pub name: String,
    /// What it says, where that can be read.
    pub body: Option<Body>,
    /// Its JSON as it came, where that is kept.
    json: Option<Box<RawValue>>,
    /// By this it is known again.
    print: u64,
}

impl DeviceItem {
    /// Its JSON as it came; where that was too long to keep, what could be read of it. An identifier's is a secret, and not
    /// told here.
    pub fn json(&self) -> Option<Box<RawValue>> {
        if self.kind == Kind::Identifier {
            return None;
        }
        let read = || RawValue::from_string(self.body.as_ref()?.json().to_owned()).ok();
        self.json.clone().or_else(read)
    }

    /// The same for items that say the same.
    pub fn print(&self) -> u64 {
        self.print
    }

    /// This one where another one has the same link_id: which of them counts nobody knows, so it cannot be read.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        // In whatever order they stand, they are the same.
        Self { body: None, json: None, print: self.print.wrapping_add(other.print), ..self.clone() }
    }
}

/// Reads a profile of a list; its JSON is kept on demand.
pub fn read_profile(item: &RawValue, family: Family, keep: bool) -> DeviceItem {
    let json = Json::read(item.get().as_bytes()).unwrap_or(Json::Null);
    let text = |key| match json.get(key) {
        Some(Json::Text(text)) => Some(&**text),
        _ => None,
    };
    let link_id = text("link_id").and_then(|link| link.trim().parse().ok());
    let mut problems = Vec::new();
    let profile = parse::profile_at(&json, "", family, &mut problems);
    let profile = profile.filter(|_| problems.is_empty());
    let body = profile.as_ref().map(Body::of);
    let mut hasher = DefaultHasher::new();
    match (&profile, &body) {
        // A device may keep other words each time.
        (Some(profile), Some(body)) if profile.wording.is_none() => body.digest().hash(&mut hasher),
        (Some(profile), _) => batch::digest_of_meaning(profile).hash(&mut hasher),
        (None, _) => item.get().hash(&mut hasher),
    }
    let name = text("name").map(|name| words::cut(name, LONGEST_NAME)).unwrap_or_default();
    let json = keep.then(|| RawValue::from_string(words::json(item.get())).ok()).flatten();
    DeviceItem { kind: Kind::Profile, link_id, name, body, json, print: hasher.finish() }
}

/// Reads an identifier of a list. What a device counts, and the photo of a face, are no part of it
/// ([`identifier::Identifier::as_read`]).
pub fn read_identifier(item: &RawValue) -> DeviceItem {
    let json = Json::read(item.get().as_bytes()).unwrap_or(Json::Null);
    let link_id = match json.get("link_id") {
        Some(Json::Text(link)) => link.trim().parse().ok(),
        _ => None,
    };
    let name = match json.get("identifier_owner").and_then(|owner| owner.get("name")) {
        Some(Json::Text(name)) => words::cut(name, LONGEST_NAME),
        _ => String::new(),
    };
    let body = identifier::parse::read_back(&json).map(|read| Body::of_identifier(&read.as_read()));
    let mut hasher = DefaultHasher::new();
    match &body {
        Some(body) => body.digest().hash(&mut hasher),
        None => item.get().hash(&mut hasher),
    }
    DeviceItem { kind: Kind::Identifier, link_id, name, body, json: None, print: hasher.finish() }
}
