//! What a file of people holds: time profiles, identifiers, schedules with their calendars, or all of these, in JSON or YAML.
//!
//! An object with any of `profiles`, `identifiers`, `schedules` and `calendars`, which are lists; or, as ever, an object with `list_items`, or a bare
//! list, and these are profiles. In the first form an unknown key is refused, since a misspelt one would be passed over
//! without a word; keys that begin with `x-` are the file's own, where YAML may keep what is said once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::LinkedIdentifier;
use super::number::Credential;
use super::rule::Kind;
use crate::profile::LinkId;
use crate::profile::text::{self, TextError};

/// The lists of a file. What their items say is not checked.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// Its time profiles, if it says anything of profiles.
    pub profiles: Option<Listed>,
    /// Its identifiers, if it says anything of them; they stand at [`IDENTIFIERS`].
    pub identifiers: Option<Vec<Value>>,
    /// Its schedules, if it says anything of them; they stand at `/schedules`.
    pub schedules: Option<Vec<Value>>,
    /// The calendars that schedules name; they stand at `/calendars`.
    pub calendars: Vec<Value>,
}

/// Where identifiers stand in a file: a JSON pointer.
pub const IDENTIFIERS: &str = "/identifiers";

/// A list and where it stands.
#[derive(Debug, PartialEq)]
pub struct Listed {
    /// A JSON pointer to it.
    pub path: &'static str,
    /// What is in it.
    pub items: Vec<Value>,
}

/// A text that holds none of it. It says `it`; whoever read the text knows its name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Neither JSON nor YAML.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An object without a list.
    #[error(
        "it has no list of profiles under profiles or list_items, none of identifiers under identifiers, and none of schedules under schedules"
    )]
    NoList,
    /// Something else.
    #[error("it is neither a list of profiles nor an object with profiles, identifiers or list_items")]
    Neither,
    /// Under this key.
    #[error("it has no list under {0}")]
    NotAList(&'static str),
    /// Both forms at once.
    #[error("it has list_items, which are profiles, and {0} beside them; put the profiles under profiles")]
    TwoForms(&'static str),
    /// Schedules, where only profiles are taken.
    #[error(
        "it has schedules, which are not taken here; nothing was done. Push it with `panelsync apply`, or make profiles of them with `panelsync schedule compile`"
    )]
    SchedulesToo,
    /// A key that says nothing here.
    #[error("it has {0}, which is none of profiles, identifiers, schedules and calendars")]
    Unknown(String),
    /// So many identifiers, where only profiles are taken.
    #[error(
        "it has identifiers ({0}), which are not taken here; nothing was done. Push it with `panelsync apply`, or take them out to push the profiles alone"
    )]
    IdentifiersToo(usize),
}

/// The key of the older form.
const LIST_ITEMS: &str = "list_items";
/// The lists of a file.
const KEYS: [&str; 4] = ["profiles", "identifiers", "schedules", "calendars"];

/// Reads a text.
pub fn read(text: &str) -> Result<Content, FileError> {
    content(text::value(text)?)
}

/// The profiles of a text, where identifiers cannot be taken.
pub fn profiles_alone(text: &str) -> Result<Vec<Value>, FileError> {
    let content = read(text)?;
    if let Some(identifiers) = content.identifiers {
        return Err(FileError::IdentifiersToo(identifiers.len()));
    }
    if content.schedules.is_some() {
        return Err(FileError::SchedulesToo);
    }
    content.profiles.map(|listed| listed.items).ok_or(FileError::NoList)
}

/// Whose what opens is, over the identifiers of a file.
#[derive(Default)]
pub struct Holders(HashMap<Credential, (usize, LinkId)>);

impl Holders {
    /// The place and link_id of an earlier identifier, if that is another one and opens by the same. Of two faces only a
    /// panel can say whether they are one.
    pub fn earlier(&mut self, place: usize, linked: &LinkedIdentifier) -> Option<(usize, LinkId)> {
        let holder = self.0.entry(linked.identifier.credential.clone()).or_insert((place, linked.link_id));
        (holder.1 != linked.link_id).then_some(*holder)
    }

    /// The same of what has a number.
    pub fn earlier_number(&mut self, place: usize, linked: &LinkedIdentifier) -> Option<(usize, LinkId)> {
        self.earlier(place, linked).filter(|_| linked.identifier.credential.kind() != Kind::Face)
    }
}

fn content(value: Value) -> Result<Content, FileError> {
    let of_profiles = |path, items| Content { profiles: Some(Listed { path, items }), ..Content::default() };
    let mut object = match value {
        Value::Array(items) => return Ok(of_profiles("", items)),
        Value::Object(object) => object,
        _ => return Err(FileError::Neither),
    };
    let named = KEYS.into_iter().find(|key| object.contains_key(*key));
    match (object.remove(LIST_ITEMS), named) {
        (Some(_), Some(key)) => Err(FileError::TwoForms(key)),
        (Some(Value::Array(items)), None) => Ok(of_profiles("/list_items", items)),
        (Some(_), None) => Err(FileError::NotAList(LIST_ITEMS)),
        (None, None) => Err(FileError::NoList),
        (None, Some(_)) => {
            let [profiles, identifiers, schedules, calendars] = KEYS.map(|key| list(&mut object, key));
            let profiles = profiles?.map(|items| Listed { path: "/profiles", items });
            let (identifiers, schedules, calendars) = (identifiers?, schedules?, calendars?);
            if let Some(key) = object.keys().find(|key| !key.starts_with("x-")) {
                return Err(FileError::Unknown(text::short(key).into_owned()));
            }
            Ok(Content { profiles, identifiers, schedules, calendars: calendars.unwrap_or_default() })
        }
    }
}

fn list(object: &mut Map<String, Value>, key: &'static str) -> Result<Option<Vec<Value>>, FileError> {
    match object.remove(key) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(FileError::NotAList(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the profiles are and how many; how many identifiers.
    type Counts = (Option<(&'static str, usize)>, Option<usize>);

    fn counts(text: &str) -> Option<Counts> {
        let content = read(text).ok()?;
        let profiles = content.profiles.map(|listed| (listed.path, listed.items.len()));
        Some((profiles, content.identifiers.map(|list| list.len())))
    }

    #[test]
    fn the_old_forms_are_profiles_and_the_new_one_says_what_it_holds() {
        for (text, expected) in [
            ("[1, 2]", (Some(("", 2)), None)),
            ("- 1\n", (Some(("", 1)), None)),
            (r#"{"list_items":[1],"other":2}"#, (Some(("/list_items", 1)), None)),
            (r#"{"profiles":[1]}"#, (Some(("/profiles", 1)), None)),
            (r#"{"identifiers":[]}"#, (None, Some(0))),
            ("identifiers: [1]\nprofiles: [1, 2]\n", (Some(("/profiles", 2)), Some(1))),
            ("x-lock: &lock first\nidentifiers: [{lock: *lock}]\n", (None, Some(1))),
        ] {
            assert_eq!(counts(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_would_be_passed_over_is_refused() {
        for (text, said) in [
            ("{}", "no list of profiles"),
            ("7", "neither a list"),
            (r#"{"list_items":7}"#, "no list under list_items"),
            (r#"{"profiles":null}"#, "no list under profiles"),
            (r#"{"profiles":[],"identifiers":{}}"#, "no list under identifiers"),
            (r#"{"profiles":[],"identifers":[]}"#, "it has identifers"),
            (r#"{"list_items":[],"identifiers":[]}"#, "identifiers beside them"),
            (r#"{"profiles":[],"schedules":{}}"#, "no list under schedules"),
            (r#"{"schedules":[],"calendars":7}"#, "no list under calendars"),
            ("{", "not JSON"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(matches!(
            profiles_alone(r#"{"profiles":[1],"identifiers":[1,2]}"#),
            Err(FileError::IdentifiersToo(2))
        ));
        assert!(matches!(profiles_alone(r#"{"identifiers":[]}"#), Err(FileError::IdentifiersToo(0))));
        assert_eq!(profiles_alone(r#"{"profiles":[1]}"#).ok(), Some(vec![1.into()]));
    }
}
