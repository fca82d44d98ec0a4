//! Profiles as people keep them in files: JSON, or YAML of the same; and names as they are shown to people.

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Whether a character steers what shows it rather than being shown: control characters, which move a terminal's
/// cursor or end a line, and those that turn the direction of the text around them.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// A text that came from anyone, as it is shown: what would steer is written out, such as `\u{1b}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c)); // writing to a String cannot fail
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The beginning and the end of a text that is too long to be told whole.
pub fn short(text: &str) -> Cow<'_, str> {
    /// Characters from each end.
    const END: usize = 100;
    let Some((from, _)) = text.char_indices().nth(END) else { return Cow::Borrowed(text) };
    let Some((to, _)) = text.char_indices().rev().nth(END - 1) else { return Cow::Borrowed(text) };
    if to <= from + 3 * END {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{} … {}", &text[..from], &text[to..]))
    }
}

/// A text that is no list of profiles. It says `it`; whoever read the text knows its name.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It begins as JSON does.
    #[error("it is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// It is neither.
    #[error("it is neither JSON nor YAML: {0}")]
    Yaml(String),
    /// An object without a list.
    #[error("it has no list of profiles under list_items")]
    NoList,
    /// Something else.
    #[error("it is neither a list of profiles nor an object with list_items")]
    Neither,
}

/// What a text says.
pub fn value(text: &str) -> Result<Value, TextError> {
    match serde_json::from_str(text) {
        Ok(Once(value)) => Ok(value),
        // Nearly all JSON is YAML too, but its own parser says better where it is wrong.
        Err(error) if text.trim_start().starts_with(['{', '[']) => Err(TextError::Json(error)),
        Err(_) => serde_saphyr::from_str(text).map_err(|error| TextError::Yaml(error.to_string())),
    }
}

/// The profiles of a text that is a list of them, or an object with `list_items`. What they say is not checked.
pub fn profiles(text: &str) -> Result<Vec<Value>, TextError> {
    match value(text)? {
        Value::Array(list) => Ok(list),
        Value::Object(mut object) => match object.remove("list_items") {
            Some(Value::Array(list)) => Ok(list),
            _ => Err(TextError::NoList),
        },
        _ => Err(TextError::Neither),
    }
}

/// A JSON value without a key twice in an object: of two, one would be lost without a word.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "{} is given twice; keep one of them",
                    short(&key)
                )));
            }
            let Once(value) = map.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
