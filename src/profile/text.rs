//! Profiles as people keep them in files: JSON, or YAML of the same; and names as they are shown to people.
//!
//! YAML may say a thing once and name it many times. What such a text unfolds to is bounded in values and in bytes, so
//! that a short text cannot fill the memory; within that, a fleet's profiles may share as much as they like.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Error as YamlError, Options, UserMessageFormatter};

mod lines;
pub mod near;
pub mod table;

pub use lines::Lines;

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

/// Values that a YAML text may unfold to at most: about a hundred thousand profiles.
const MAX_VALUES: usize = 2_000_000;

/// Bytes of all its texts then.
const MAX_BYTES: usize = 64 << 20;

/// How deep lists and objects may stand in each other.
const MAX_DEPTH: usize = 64;

/// A text that cannot be read. It says `it`; whoever read the text knows its name.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It begins as JSON does.
    #[error("it is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// It is neither.
    #[error("it is neither JSON nor YAML: {0}")]
    Yaml(String),
}

/// What a text says. A byte order mark before it says nothing.
pub fn value(text: &str) -> Result<Value, TextError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match json(text) {
        Ok(value) => Ok(value),
        // Nearly all JSON is YAML too, but its own parser says better where it is wrong.
        Err(error) if text.trim_start().starts_with(['{', '[']) => Err(TextError::Json(error)),
        Err(_) => yaml(text).map_err(|error| TextError::Yaml(in_words(&error))),
    }
}

/// JSON says everything once, so it unfolds to no more than it is.
fn json(text: &str) -> Result<Value, serde_json::Error> {
    let room = Room { values: Cell::new(usize::MAX), bytes: Cell::new(usize::MAX) };
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Unfolded(&room).deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// Bounds of what a text unfolds to.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: MAX_VALUES,
            max_nodes: MAX_VALUES,
            max_aliases: MAX_VALUES,
            max_anchors: MAX_VALUES,
            max_recorded_anchor_events: MAX_VALUES,
            max_merge_keys: MAX_VALUES,
            max_total_scalar_bytes: MAX_BYTES,
            max_depth: MAX_DEPTH,
            // Many that name one thing are what anchors are for; what they unfold to is counted instead.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 2 * MAX_VALUES,
        },
    }
}

fn yaml(text: &str) -> Result<Value, YamlError> {
    let room = Room { values: Cell::new(MAX_VALUES), bytes: Cell::new(MAX_BYTES) };
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        Unfolded(&room).deserialize(yaml)
    })
}

/// What is wrong with a YAML text, and in which line, without the words of the parser's own settings.
fn in_words(error: &YamlError) -> String {
    let outer = error.without_snippet();
    let mut error = outer;
    while let YamlError::AliasError { error: inner, .. } = error {
        error = inner.without_snippet(); // where it was named is in the outer one
    }
    let place = outer.location().filter(|at| at.line() > 0);
    let place = place.map_or_else(String::new, |at| format!("line {}, column {}: ", at.line(), at.column()));
    let too_much = "it unfolds to more than is read at once; split it into several files";
    let said = match error {
        YamlError::Budget { breach: serde_saphyr::budget::BudgetBreach::Depth { .. }, .. } => {
            format!("lists and objects stand in each other more than {MAX_DEPTH} deep")
        }
        YamlError::Budget { breach: serde_saphyr::budget::BudgetBreach::Documents { .. }, .. }
        | YamlError::MultipleDocuments { .. } => {
            "a second document begins; put all profiles into one list, without ---".to_owned()
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => too_much.to_owned(),
        YamlError::UnknownAnchor { .. } => {
            "no such anchor stands above (an anchor is written &name)".to_owned()
        }
        YamlError::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("{key} is given twice; keep one of them"),
            None => "a key is given twice; keep one of them".to_owned(),
        },
        _ => return without_mark(&outer.render_with_formatter(&UserMessageFormatter)),
    };
    format!("{place}{said}")
}

/// The first line, without the word that the parser begins it with.
fn without_mark(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// What may still be unfolded.
struct Room {
    values: Cell<usize>,
    bytes: Cell<usize>,
}

/// Reads a value and counts it.
#[derive(Clone, Copy)]
struct Unfolded<'r>(&'r Room);

impl Unfolded<'_> {
    fn takes<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        let Room { values, bytes: room } = self.0;
        let left = (values.get().checked_sub(1), room.get().checked_sub(bytes));
        let (Some(left_values), Some(left_bytes)) = left else {
            return Err(E::custom("it unfolds to more than is read at once; split it into several files"));
        };
        values.set(left_values);
        room.set(left_bytes);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Unfolded<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, of: D) -> Result<Value, D::Error> {
        of.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unfolded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON can say")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.takes(0).map(|()| Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, of: D) -> Result<Value, D::Error> {
        of.deserialize_any(self)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.takes(0).map(|()| value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.takes(0).map(|()| value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.takes(0).map(|()| value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.takes(0).map(|()| Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.takes(value.len()).map(|()| value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.takes(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.takes(0)?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.takes(key.len())?;
            if object.contains_key(&key) {
                // Of two, one would be lost without a word.
                return Err(A::Error::custom(format_args!(
                    "{} is given twice; keep one of them",
                    short(&key)
                )));
            }
            object.insert(key, entries.next_value_seed(self)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "  time_options: {is_all_day: true, date_from: 0, date_to: 0}\n";

    #[test]
    fn profiles_that_share_what_one_of_them_says_are_all_read() {
        let other = |n| format!("- <<: *first\n  name: other {n}\n");
        let text = format!("- &first\n  name: first\n{SHARED}{}", (0..5000).map(other).collect::<String>());
        let read = value(&text).expect("read");
        assert_eq!(read.as_array().map(Vec::len), Some(5001));
        assert_eq!(read[5000]["time_options"]["is_all_day"], true);
        let mut text = String::from("- &first {name: a}\n");
        text.push_str(&"- *first\n".repeat(20_000));
        assert_eq!(value(&text).expect("read").as_array().map(Vec::len), Some(20_001));
    }

    #[test]
    fn a_short_text_that_unfolds_to_very_much_is_refused_in_words() {
        let tenfold = |n: u32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        let bomb = format!("a0: &a0 [x]\n{}", (1..12).map(tenfold).collect::<String>());
        let long = format!("- &long {}\n{}", "x".repeat(1 << 20), "- *long\n".repeat(1000));
        let deep = format!("{}1{}", "- ".repeat(500), "");
        for text in [bomb, long, deep] {
            let said = value(&text).expect_err("refused").to_string();
            for word in ["budget", "breached", "Alias", "from_", "serde", "max_", "::", "limit"] {
                assert!(!said.contains(word), "{said}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line) in [
            ("- name: a\n- name: [b\n", "line 2"),
            ("- name: a\n  other: *none\n", "line 2"),
            ("- name: a\n  name: b\n", "line 2"),
            ("- name: a\n---\n- name: b\n", "line 3"),
            ("- name: \"a\n", "line 1"),
            ("- a: 1\n   b: 2\n", "line 2"),
        ] {
            let said = value(text).expect_err("refused").to_string();
            assert!(said.contains(line), "{text:?}: {said}");
            assert!(!said.contains("from_") && !said.contains("::") && !said.contains('\n'), "{said}");
        }
    }
}
