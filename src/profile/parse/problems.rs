//! Where the parser is, and what is wrong there.

use std::fmt;

use crate::profile::error::{Problem, WireError};
use crate::profile::wire::Json;

/// Where the parser is: a path that costs nothing until a problem is found.
pub(super) struct At<'a> {
    pub(super) parent: Option<&'a At<'a>>,
    pub(super) step: Step<'a>,
}

pub(super) enum Step<'a> {
    /// A pointer given by the caller, or none.
    Root(&'a str),
    Key(&'static str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(super) fn root() -> Self {
        Self::named("")
    }

    pub(super) fn named(path: &'a str) -> Self {
        Self { parent: None, step: Step::Root(path) }
    }

    pub(super) fn key<'b>(&'b self, key: &'static str) -> At<'b> {
        At { parent: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&self, index: usize) -> At<'_> {
        At { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root(path) => f.write_str(path),
            Step::Key(key) => write!(f, "/{key}"),
            Step::Index(index) => write!(f, "/{index}"),
        }
    }
}

/// Problems that are named; those beyond are counted.
pub(super) const NAMED: usize = 100;

/// The problems of all items so far, and those of the item being read in two heaps: its structure and its values.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) done: Vec<Problem>,
    pub(super) structure: Vec<Problem>,
    pub(super) values: Vec<Problem>,
    /// How many there are, named or not.
    pub(super) all: usize,
    /// Whether it is looked at what a panel lets pass.
    pub(super) strict: bool,
    /// Whether the `repeat_options` being read hold what does not count, or a list in an order of its own.
    pub(super) worded: bool,
}

impl Problems {
    pub(super) fn structure(&mut self, at: &At<'_>, error: WireError) {
        self.all += 1;
        if self.done.len() + self.structure.len() < NAMED {
            self.structure.push(Problem { path: at.to_string(), error });
        }
    }

    pub(super) fn value(&mut self, at: &At<'_>, error: WireError) {
        self.all += 1;
        if self.done.len() + self.values.len() < NAMED {
            self.values.push(Problem { path: at.to_string(), error });
        }
    }

    /// Notes the keys that the item or an object in it has twice.
    pub(super) fn twice(&mut self, item: &Json<'_>, at: &At<'_>) {
        if !self.strict {
            return;
        }
        for path in item.twice(NAMED) {
            self.structure(&At { parent: Some(at), step: Step::Root(&path) }, WireError::Twice);
        }
    }

    pub(super) fn in_range(
        &mut self,
        numbers: &[i64],
        range: std::ops::RangeInclusive<i64>,
        at: &At<'_>,
        error: WireError,
    ) {
        for (i, number) in numbers.iter().enumerate() {
            if !range.contains(number) {
                self.value(&at.index(i), error);
            }
        }
    }

    pub(super) fn end_of_item(&mut self) {
        self.done.append(&mut self.structure);
        self.done.append(&mut self.values);
        self.done.truncate(NAMED);
    }

    /// Notes it where the field `key` is there, though it does not count.
    pub(super) fn does_not_count(&mut self, of: &Json<'_>, key: &str) {
        self.worded |= of.get(key).is_some_and(|value| !matches!(value, Json::Null));
    }

    /// Notes it where numbers are not in the order in which they are written: ascending, each once.
    pub(super) fn order(&mut self, numbers: &[i64]) {
        self.worded |= !numbers.is_sorted_by(|a, b| a < b);
    }

    /// The required field `key`, or a note that it is missing.
    pub(super) fn required<'j, 'a>(
        &mut self,
        of: &'j Json<'a>,
        key: &'static str,
        at: &At<'_>,
    ) -> Option<&'j Json<'a>> {
        let value = of.get(key);
        if value.is_none() {
            self.structure(&at.key(key), WireError::Missing(key));
        }
        value
    }

    /// The required field `key` read as `T`, or a note of what is wrong with it.
    pub(super) fn typed<'j, 'a, T>(
        &mut self,
        of: &'j Json<'a>,
        key: &'static str,
        at: &At<'_>,
        read: impl FnOnce(&'j Json<'a>) -> Option<T>,
    ) -> Option<T> {
        let read = read(self.required(of, key, at)?);
        if read.is_none() {
            self.structure(&at.key(key), WireError::WrongType(key));
        }
        read
    }

    pub(super) fn object<'j, 'a>(
        &mut self,
        of: &'j Json<'a>,
        key: &'static str,
        at: &At<'_>,
    ) -> Option<&'j Json<'a>> {
        self.typed(of, key, at, |value| matches!(value, Json::Object(_)).then_some(value))
    }

    pub(super) fn list<'j, 'a>(
        &mut self,
        of: &'j Json<'a>,
        key: &'static str,
        at: &At<'_>,
    ) -> Option<&'j [Json<'a>]> {
        self.typed(of, key, at, |value| match value {
            Json::List(list) => Some(list.as_slice()),
            _ => None,
        })
    }

    pub(super) fn text<'j>(&mut self, of: &'j Json<'_>, key: &'static str, at: &At<'_>) -> Option<&'j str> {
        self.typed(of, key, at, |value| match value {
            Json::Text(text) => Some(&**text),
            _ => None,
        })
    }

    pub(super) fn bool(&mut self, of: &Json<'_>, key: &'static str, at: &At<'_>) -> Option<bool> {
        self.typed(of, key, at, |value| match value {
            Json::Bool(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn int(&mut self, of: &Json<'_>, key: &'static str, at: &At<'_>) -> Option<i64> {
        self.typed(of, key, at, |value| match value {
            Json::Int(value) => Some(*value),
            _ => None,
        })
    }

    /// The first problem; called only when there is one.
    pub(super) fn first(self) -> Problem {
        let nothing = || Problem { path: String::new(), error: WireError::NotAJsonObject };
        self.done.into_iter().next().unwrap_or_else(nothing)
    }

    pub(super) fn first_or<T>(self, value: T) -> Result<T, Problem> {
        if self.done.is_empty() { Ok(value) } else { Err(self.first()) }
    }
}
