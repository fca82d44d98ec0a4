//! A profile's JSON on the wire: reading without checking, and writing.
//!
//! [`Json`] borrows from the body and checks nothing; [`super::parse`] gives it meaning. [`body`] writes a
//! profile in the panel API's field order, without its `link_id`, and in the words that it came in ([`Wording`]):
//! what is documented and does not count (`repeat_custom` of another `repeat_type`, the order of weekdays) is kept,
//! unknown properties are not. [`meaning`] leaves it out too: by that profiles are compared.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Write};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

mod wording;
mod written;

pub use wording::{LeftOut, Wording};
pub use written::{body, meaning, with_year_format};

/// Any JSON value, borrowing its text where it holds no escapes.
#[derive(Debug)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without fraction or exponent that fits.
    Int(i64),
    /// Any other number.
    OtherNumber,
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Json<'a>>),
    /// An object, in the order of the text. Of a repeated key the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The values that one piece of a body may hold: many times what a profile can say. What is read takes some fifty
/// bytes of memory a value, so that a body which is nothing but brackets would take far more than it is long.
pub const MAX_VALUES: usize = 4096;

/// Why a body was not read to its end.
#[derive(Debug)]
pub enum Unread<E> {
    /// It is no JSON, as this says.
    NotJson(serde_json::Error),
    /// It is JSON, and no object.
    NotAnObject,
    /// The value under this key, or the item of the list there, holds more values than are read.
    TooManyValues(String, Option<usize>),
    /// Whoever read it had enough.
    Stopped(E),
}

/// A piece of an object's value.
#[derive(Debug)]
pub enum Piece<'a> {
    /// The whole value, which is no list.
    Value(Json<'a>),
    /// The value is a list; its items follow.
    List,
    /// An item of the list, with its index.
    Item(usize, Json<'a>),
}

/// Reads a body that is an object, and gives each value under its key: a list item by item, so that no more than one
/// of them is kept. Of an object under a key of `opened` an empty one is given, then what it holds in the same way, under the
/// two keys with a slash between them. The end of the body may turn out not to be JSON after all.
pub fn pieces<'a, E>(
    body: &'a [u8],
    opened: &[&str],
    mut each: impl FnMut(&str, Piece<'a>) -> Result<(), E>,
) -> Result<(), Unread<E>> {
    let mut stopped = None;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_any(Pieces { opened, each: &mut each, stopped: &mut stopped });
    match (read.and_then(|()| reader.end()), stopped) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(why)) => Err(why),
        (Err(error), None) if error.classify() == serde_json::error::Category::Data => {
            Err(Unread::NotAnObject)
        }
        (Err(error), None) => Err(Unread::NotJson(error)),
    }
}

impl<'a> Json<'a> {
    /// Reads a whole body; `None` when it is not JSON.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Reads a whole body that is an object of at most so many values.
    pub fn object(body: &'a [u8], most: usize) -> Result<Self, Unread<std::convert::Infallible>> {
        let left = Cell::new(Some(most));
        let mut reader = serde_json::Deserializer::from_slice(body);
        let read = JsonVisitor(&left).deserialize(&mut reader);
        match read.and_then(|json| reader.end().map(|()| json)) {
            Ok(json @ Self::Object(_)) => Ok(json),
            Ok(_) => Err(Unread::NotAnObject),
            Err(_) if left.get().is_none() => Err(Unread::TooManyValues(String::new(), None)),
            Err(error) => Err(Unread::NotJson(error)),
        }
    }

    /// The paths (JSON pointers) of keys that an object in it has twice, at most so many of them.
    pub fn twice(&self, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        if self.has_twice() {
            self.gather_twice(&mut String::new(), most, &mut found);
        }
        found
    }

    fn has_twice(&self) -> bool {
        match self {
            Self::List(list) => list.iter().any(Json::has_twice),
            Self::Object(entries) => {
                repeated(entries).next().is_some() || entries.iter().any(|(_, value)| value.has_twice())
            }
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::OtherNumber | Self::Text(_) => false,
        }
    }

    fn gather_twice(&self, path: &mut String, most: usize, found: &mut Vec<String>) {
        let length = path.len();
        match self {
            Self::List(list) => {
                for (i, value) in list.iter().enumerate() {
                    let _ = write!(path, "/{i}"); // writing to a String cannot fail
                    value.gather_twice(path, most, found);
                    path.truncate(length);
                }
            }
            Self::Object(entries) => {
                let room = most.saturating_sub(found.len());
                found.extend(repeated(entries).take(room).map(|key| format!("{path}{}", step(key))));
                for (key, value) in entries {
                    path.push_str(&step(key));
                    value.gather_twice(path, most, found);
                    path.truncate(length);
                }
            }
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::OtherNumber | Self::Text(_) => {}
        }
    }

    /// The value under the key; `None` when this is no object or has no such key.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Self::Object(entries) => entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// The keys that stand in an object before.
fn repeated<'e>(entries: &'e [(Cow<'_, str>, Json<'_>)]) -> impl Iterator<Item = &'e str> {
    let many = entries.len() > 16;
    let mut seen = std::collections::HashSet::new();
    entries.iter().enumerate().filter_map(move |(i, (key, _))| {
        let before =
            if many { !seen.insert(&**key) } else { entries.iter().take(i).any(|(other, _)| other == key) };
        before.then_some(&**key)
    })
}

/// A key as a step of a JSON pointer (RFC 6901), cut where it is long.
pub fn step(key: &str) -> String {
    let short: String = key.chars().take(100).collect();
    format!("/{}", short.replace('~', "~0").replace('/', "~1"))
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor(&Cell::new(Some(usize::MAX))))
    }
}

/// An object whose values are given away piece by piece.
struct Pieces<'f, 'a, E> {
    opened: &'f [&'f str],
    each: &'f mut dyn FnMut(&str, Piece<'a>) -> Result<(), E>,
    stopped: &'f mut Option<Unread<E>>,
}

impl<'de, E> Visitor<'de> for Pieces<'_, 'de, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            let opens = self.opened.contains(&&*key);
            map.next_value_seed(Value { key: &key, opens, each: self.each, stopped: self.stopped })?;
        }
        Ok(())
    }
}

/// The value under a key.
struct Value<'f, 'a, E> {
    key: &'f str,
    opens: bool,
    each: &'f mut dyn FnMut(&str, Piece<'a>) -> Result<(), E>,
    stopped: &'f mut Option<Unread<E>>,
}

impl<'de, E> Value<'_, 'de, E> {
    fn give<A: Error>(&mut self, piece: Piece<'de>) -> Result<(), A> {
        (self.each)(self.key, piece).map_err(|why| {
            *self.stopped = Some(Unread::Stopped(why));
            A::custom("enough")
        })
    }

    fn too_many(&mut self, left: &Cell<Option<usize>>, at: Option<usize>) {
        if left.get().is_none() {
            let key: String = self.key.chars().take(100).collect();
            *self.stopped = Some(Unread::TooManyValues(key, at));
        }
    }
}

impl<'de, E> DeserializeSeed<'de> for Value<'_, 'de, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What a value that is no list is read by.
macro_rules! whole {
    ($($visit:ident($type:ty)),+) => {
        $(fn $visit<A: Error>(mut self, value: $type) -> Result<(), A> {
            let json = JsonVisitor(&Cell::new(Some(1))).$visit(value)?;
            self.give(Piece::Value(json))
        })+
    };
}

impl<'de, E> Visitor<'de> for Value<'_, 'de, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<A: Error>(mut self) -> Result<(), A> {
        self.give(Piece::Value(Json::Null))
    }

    whole!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
    whole!(visit_borrowed_str(&'de str));

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.give(Piece::List)?;
        let mut at = 0;
        loop {
            let left = Cell::new(Some(MAX_VALUES));
            let item = seq.next_element_seed(JsonVisitor(&left));
            if item.is_err() {
                self.too_many(&left, Some(at));
            }
            let Some(item) = item? else { return Ok(()) };
            self.give(Piece::Item(at, item))?;
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if self.opens {
            self.give(Piece::Value(Json::Object(Vec::new())))?;
            while let Some(Text(key)) = map.next_key()? {
                let key = format!("{}/{key}", self.key);
                let (each, stopped) = (&mut *self.each, &mut *self.stopped);
                map.next_value_seed(Value { key: &key, opens: false, each, stopped })?;
            }
            return Ok(());
        }
        let left = Cell::new(Some(MAX_VALUES));
        let value = JsonVisitor(&left).visit_map(map);
        if value.is_err() {
            self.too_many(&left, None);
        }
        self.give(Piece::Value(value?))
    }
}

/// A text that borrows where it can.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a key is a text")),
        }
    }
}

/// Reads a value, as long as so many values are left; none is left to say that there were too many.
struct JsonVisitor<'b>(&'b Cell<Option<usize>>);

impl JsonVisitor<'_> {
    fn one_more<E: Error>(&self) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(1)));
        if self.0.get().is_some() { Ok(()) } else { Err(E::custom("too many values")) }
    }
}

impl<'de> DeserializeSeed<'de> for JsonVisitor<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonVisitor<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(JsonVisitor(self.0))? {
            self.one_more()?;
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(4);
        while let Some(Text(key)) = map.next_key()? {
            self.one_more()?;
            entries.push((key, map.next_value_seed(JsonVisitor(self.0))?));
        }
        Ok(Json::Object(entries))
    }
}
