//! Which panels a batch is for: a comma-separated list of conditions on labels, all of which must hold.
//!
//! `key=value`, `key!=value` (also true where the key is absent), `key in (a,b)`, `key` (present), `!key`
//! (absent). Two keys are built in: `id` and `driver`. Keys and values are letters, digits and `-_./`;
//! a value may be empty.

use std::fmt;

use winnow::ascii::{multispace0, multispace1};
use winnow::combinator::{alt, delimited, eof, preceded, separated, terminated};
use winnow::error::{StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::take_while;

/// The longest selector, in bytes.
pub const MAX_LEN: usize = 4096;

/// A parsed selector; at least one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Is(Box<str>, Box<str>),
    IsNot(Box<str>, Box<str>),
    In(Box<str>, Vec<Box<str>>),
    Present(Box<str>),
    Absent(Box<str>),
}

/// A selector that does not follow the grammar.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the selector is wrong at character {at}; it takes a comma-separated list of key=value, key!=value, key in (a,b), key and !key"
)]
pub struct SelectorError {
    /// The position, counted from 1.
    pub at: usize,
}

impl Selector {
    /// Reads a selector; bounded by [`MAX_LEN`].
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_LEN {
            return Err(SelectorError { at: MAX_LEN + 1 });
        }
        let conditions =
            terminated(separated(1.., condition, (multispace0, ',', multispace0)), (multispace0, eof))
                .parse(text)
                .map_err(|error| SelectorError { at: text[..error.offset()].chars().count() + 1 })?;
        Ok(Self { conditions })
    }

    /// The keys that somebody who writes this takes panels to have, each with the values of which one is wanted; none
    /// where any will do.
    pub fn wanting(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.conditions.iter().filter_map(|condition| match condition {
            Condition::Is(key, value) => Some((&**key, vec![&**value])),
            Condition::In(key, values) => Some((&**key, values.iter().map(|value| &**value).collect())),
            Condition::IsNot(key, _) | Condition::Present(key) => Some((&**key, Vec::new())),
            Condition::Absent(_) => None,
        })
    }

    /// The keys by a value of which panels are left out.
    pub fn excluding(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().filter_map(|condition| match condition {
            Condition::IsNot(key, _) => Some(&**key),
            _ => None,
        })
    }

    /// Whether all conditions hold. `value` gives a key's value, or `None` where it is absent.
    pub fn matches<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Is(key, wanted) => value(key) == Some(wanted),
            Condition::IsNot(key, unwanted) => value(key) != Some(unwanted),
            Condition::In(key, wanted) => {
                value(key).is_some_and(|found| wanted.iter().any(|w| **w == *found))
            }
            Condition::Present(key) => value(key).is_some(),
            Condition::Absent(key) => value(key).is_none(),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, condition) in self.conditions.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::Is(key, value) => write!(f, "{key}={value}")?,
                Condition::IsNot(key, value) => write!(f, "{key}!={value}")?,
                Condition::In(key, values) => write!(f, "{key} in ({})", values.join(","))?,
                Condition::Present(key) => f.write_str(key)?,
                Condition::Absent(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

/// Whether the text can be a label's key or a panel's id: 1 to 63 letters, digits and `-_./`.
pub fn is_key(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.chars().all(is_word)
}

/// Whether the text can be a label's value: up to 63 letters, digits and `-_./`.
pub fn is_value(text: &str) -> bool {
    text.is_empty() || is_key(text)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
}

fn condition(input: &mut &str) -> ModalResult<Condition> {
    preceded(
        multispace0,
        alt((
            preceded(('!', multispace0), word).map(Condition::Absent),
            (word, delimited(multispace0, "!=", multispace0), value).map(|(k, _, v)| Condition::IsNot(k, v)),
            (word, delimited(multispace0, alt(("==", "=")), multispace0), value)
                .map(|(k, _, v)| Condition::Is(k, v)),
            (word, multispace1, "in", multispace0, value_list).map(|(k, _, _, _, v)| Condition::In(k, v)),
            word.map(Condition::Present),
        )),
    )
    .context(StrContext::Expected(StrContextValue::Description("a condition")))
    .parse_next(input)
}

fn value_list(input: &mut &str) -> ModalResult<Vec<Box<str>>> {
    delimited(('(', multispace0), separated(1.., value, (multispace0, ',', multispace0)), (multispace0, ')'))
        .parse_next(input)
}

fn word(input: &mut &str) -> ModalResult<Box<str>> {
    take_while(1.., is_word).map(Box::from).parse_next(input)
}

fn value(input: &mut &str) -> ModalResult<Box<str>> {
    take_while(0.., is_word).map(Box::from).parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str) -> bool {
        let labels = [("site", "north"), ("floor", "2"), ("id", "p1"), ("empty", "")];
        Selector::parse(selector)
            .expect("a selector")
            .matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn every_form_of_condition_holds_and_fails() {
        for (selector, holds) in [
            ("site=north", true),
            ("site==north", true),
            ("site=south", false),
            ("site!=south", true),
            ("nothing!=south", true),
            ("site!=north", false),
            ("site in (south, north)", true),
            ("site in (south)", false),
            ("site", true),
            ("nothing", false),
            ("!nothing", true),
            ("! site", false),
            ("empty=", true),
            ("site=north , floor=2", true),
            ("site=north,floor=3", false),
            ("in in (a)", false),
        ] {
            assert_eq!(matches(selector), holds, "{selector}");
        }
    }

    #[test]
    fn what_is_not_a_selector_is_refused_with_its_place() {
        for (selector, at) in
            [("", 1), ("site=north,", 11), ("site=a b", 8), ("site in ()x", 11), ("ключ=1", 1)]
        {
            assert_eq!(Selector::parse(selector), Err(SelectorError { at }), "{selector}");
        }
        assert!(Selector::parse(&"a,".repeat(3000)).is_err());
    }

    #[test]
    fn a_selector_reads_as_it_is_written() {
        {
            let selector = "site=north,!old,floor in (1,2),id!=p3,camera";
            assert_eq!(Selector::parse(selector).expect("a selector").to_string(), selector);
        }
    }
}
