//! Where the parser is, and what is wrong there.

use std::fmt;

use crate::profile::error::{Problem, WireError};
use crate::profile::wire::Json;

/// Where the parser is: a path that costs nothing until a problem is found.
pub(crate) struct At<'a> {
    pub(crate) parent: Option<&'a At<'a>>,
    pub(crate) step: Step<'a>,
}

pub(crate) enum Step<'a> {
    /// A pointer given by the caller, or none.
    Root(&'a str),
    Key(&'static str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(crate) fn root() -> Self {
        Self::named("")
    }

    pub(crate) fn named(path: &'a str) -> Self {
        Self { parent: None, step: Step::Root(path) }
    }

    pub(crate) fn key<'b>(&'b self, key: &'static str) -> At<'b> {
        At { parent: Some(self), step: Step::Key(key) }
    }

    pub(crate) fn index(&self, index: usize) -> At<'_> {
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
pub(crate) const NAMED: usize = 100;

/// The problems of all items so far, and those of the item being read in two heaps: its structure and its values.
pub(crate) struct Problems<E = WireError> {
    pub(crate) done: Vec<Problem<E>>,
    pub(crate) structure: Vec<Problem<E>>,
    pub(crate) values: Vec<Problem<E>>,
    /// How many there are, named or not.
    pub(crate) all: usize,
    /// Whether it is looked at what a panel lets pass.
    pub(crate) strict: bool,
    /// Whether the `repeat_options` being read hold what does not count, or a list in an order of its own.
    pub(crate) worded: bool,
}

impl<E> Default for Problems<E> {
    fn default() -> Self {
        let (done, structure, values) = (Vec::new(), Vec::new(), Vec::new());
        Self { done, structure, values, all: 0, strict: false, worded: false }
    }
}

impl<E: From<WireError>> Problems<E> {
    /// Of a reader that looks at what a panel lets pass.
    pub(crate) fn strict() -> Self {
        Self { strict: true, ..Self::default() }
    }

    /// The first problems, and how many there are.
    pub(crate) fn found(self) -> (Vec<Problem<E>>, usize) {
        (self.done, self.all)
    }

    pub(crate) fn structure(&mut self, at: &At<'_>, error: impl Into<E>) {
        self.all += 1;
        if self.done.len() + self.structure.len() < NAMED {
            self.structure.push(Problem { path: at.to_string(), error: error.into() });
        }
    }

    pub(crate) fn value(&mut self, at: &At<'_>, error: impl Into<E>) {
        self.all += 1;
        if self.done.len() + self.values.len() < NAMED {
            self.values.push(Problem { path: at.to_string(), error: error.into() });
        }
    }

    /// Notes the keys that the item or an object in it has twice.
    pub(crate) fn twice(&mut self, item: &Json<'_>, at: &At<'_>) {
        if !self.strict {
            return;
        }
        for path in item.twice(NAMED) {
            self.structure(&At { parent: Some(at), step: Step::Root(&path) }, WireError::Twice);
        }
    }

    pub(crate) fn in_range(
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

    pub(crate) fn end_of_item(&mut self) {
        self.done.append(&mut self.structure);
        self.done.append(&mut self.values);
        self.done.truncate(NAMED);
    }

    /// Notes it where the field `key` is there, though it does not count.
    pub(crate) fn does_not_count(&mut self, of: &Json<'_>, key: &str) {
        self.worded |= of.get(key).is_some_and(|value| !matches!(value, Json::Null));
    }

    /// Notes it where numbers are not in the order in which they are written: ascending, each once.
    pub(crate) fn order(&mut self, numbers: &[i64]) {
        self.worded |= !numbers.is_sorted_by(|a, b| a < b);
    }

    /// The required field `key`, or a note that it is missing.
    pub(crate) fn required<'j, 'a>(
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
    pub(crate) fn typed<'j, 'a, T>(
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

    pub(crate) fn object<'j, 'a>(
        &mut self,
        of: &'j Json<'a>,
        key: &'static str,
        at: &At<'_>,
    ) -> Option<&'j Json<'a>> {
        self.typed(of, key, at, |value| matches!(value, Json::Object(_)).then_some(value))
    }

    pub(crate) fn list<'j, 'a>(
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

    pub(crate) fn text<'j>(&mut self, of: &'j Json<'_>, key: &'static str, at: &At<'_>) -> Option<&'j str> {
        self.typed(of, key, at, |value| match value {
            Json::Text(text) => Some(&**text),
            _ => None,
        })
    }

    pub(crate) fn bool(&mut self, of: &Json<'_>, key: &'static str, at: &At<'_>) -> Option<bool> {
        self.typed(of, key, at, |value| match value {
            Json::Bool(value) => Some(*value),
            _ => None,
        })
    }

    pub(crate) fn int(&mut self, of: &Json<'_>, key: &'static str, at: &At<'_>) -> Option<i64> {
        self.typed(of, key, at, |value| match value {
            Json::Int(value) => Some(*value),
            _ => None,
        })
    }

    /// The first problem; called only when there is one.
    pub(crate) fn first(self) -> Problem<E> {
        let nothing = || Problem { path: String::new(), error: WireError::NotAJsonObject.into() };
        self.done.into_iter().next().unwrap_or_else(nothing)
    }

    pub(crate) fn first_or<T>(self, value: T) -> Result<T, Problem<E>> {
        if self.done.is_empty() { Ok(value) } else { Err(self.first()) }
    }
}
