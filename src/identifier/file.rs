//! What a file of people holds: time profiles, identifiers, or both, in JSON or YAML.
//!
//! An object with any of `profiles` and `identifiers`, which are lists; or, as ever, an object with `list_items`, or a bare
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
        "it has no list of profiles under profiles or list_items, and none of identifiers under identifiers"
    )]
    NoList,
    /// No schedules, where these are looked at.
    #[error("it has no list of schedules under schedules")]
    NoSchedules,
    /// Something else.
    #[error("it is neither a list of profiles nor an object with profiles, identifiers or list_items")]
    Neither,
    /// Under this key.
    #[error("it has no list under {0}")]
    NotAList(&'static str),
    /// Both forms at once.
    #[error("it has list_items, which are profiles, and {0} beside them; put the profiles under profiles")]
    TwoForms(&'static str),
    /// What the command cannot do with this key yet.
    #[error(
        "it has {0}, which are not pushed as such yet; `panelsync schedule compile` makes profiles of schedules"
    )]
    NotYet(&'static str),
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
/// What files will hold.
const NOT_YET: [&str; 2] = ["schedules", "calendars"];

/// Reads a text.
pub fn read(text: &str) -> Result<Content, FileError> {
    content(text::value(text)?)
}

/// The schedules of a text, and the calendars that stand beside them.
pub fn schedules(text: &str) -> Result<(Vec<Value>, Vec<Value>), FileError> {
    let Value::Object(mut object) = text::value(text)? else { return Err(FileError::NoSchedules) };
    let schedules = list(&mut object, "schedules")?.ok_or(FileError::NoSchedules)?;
    let calendars = list(&mut object, "calendars")?.unwrap_or_default();
    object.retain(|key, _| !["profiles", "identifiers"].contains(&key.as_str()) && !key.starts_with("x-"));
    match object.keys().next() {
        Some(key) => Err(FileError::Unknown(text::short(key).into_owned())),
        None => Ok((schedules, calendars)),
    }
}

/// The profiles of a text, where identifiers cannot be taken.
pub fn profiles_alone(text: &str) -> Result<Vec<Value>, FileError> {
    let content = read(text)?;
    if let Some(identifiers) = content.identifiers {
        return Err(FileError::IdentifiersToo(identifiers.len()));
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
    let mut object = match value {
        Value::Array(items) => {
            return Ok(Content { profiles: Some(Listed { path: "", items }), identifiers: None });
        }
        Value::Object(object) => object,
        _ => return Err(FileError::Neither),
    };
    if let Some(key) = NOT_YET.into_iter().find(|key| object.contains_key(*key)) {
        return Err(FileError::NotYet(key));
    }
    let named = ["profiles", "identifiers"].into_iter().find(|key| object.contains_key(*key));
    match (object.remove(LIST_ITEMS), named) {
        (Some(_), Some(key)) => Err(FileError::TwoForms(key)),
        (Some(Value::Array(items)), None) => {
            Ok(Content { profiles: Some(Listed { path: "/list_items", items }), identifiers: None })
        }
        (Some(_), None) => Err(FileError::NotAList(LIST_ITEMS)),
        (None, None) => Err(FileError::NoList),
        (None, Some(_)) => {
            let profiles = list(&mut object, "profiles")?;
            let identifiers = list(&mut object, "identifiers")?;
            if let Some(key) = object.keys().find(|key| !key.starts_with("x-")) {
                return Err(FileError::Unknown(text::short(key).into_owned()));
            }
            Ok(Content { profiles: profiles.map(|items| Listed { path: "/profiles", items }), identifiers })
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
            (r#"{"profiles":[],"schedules":[]}"#, "it has schedules, which are not pushed as such yet"),
            (r#"{"calendars":[]}"#, "it has calendars, which are not pushed as such yet"),
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
