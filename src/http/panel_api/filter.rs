//! The filters of lists: one equality (android), or an expression (camdroid).
//!
//! ```text
//! (name eq 'Work week' or date_from ge 1540819271) and date_to lt 1600000000
//! ```
//!
//! `not` binds closer than `and`, `and` closer than `or`. Texts stand in single quotes, a quote within is doubled.

use std::cmp::Ordering;

use winnow::ascii::{dec_int, multispace0, multispace1};
use winnow::combinator::{alt, cut_err, delimited, not, peek, preceded, repeat, separated, terminated};
use winnow::prelude::*;
use winnow::token::{any, one_of, take_while};

/// What lists can be sorted and filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The profile's name.
    Name,
    /// Start of the first window.
    DateFrom,
    /// End of the first window.
    DateTo,
}

impl Field {
    /// The names, as the list form gives them.
    pub const NAMES: [&str; 3] = ["name", "date_from", "date_to"];

    /// From its name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "name" => Some(Self::Name),
            "date_from" => Some(Self::DateFrom),
            "date_to" => Some(Self::DateTo),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::DateFrom => "date_from",
            Self::DateTo => "date_to",
        }
    }
}

/// What a filter looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The profile's name.
    pub name: String,
    /// Start of the first window.
    pub date_from: i64,
    /// End of the first window.
    pub date_to: i64,
}

impl Fields {
    /// The order of two profiles by a field.
    pub fn compare(&self, other: &Self, field: Field) -> Ordering {
        match field {
            Field::Name => self.name.cmp(&other.name),
            Field::DateFrom => self.date_from.cmp(&other.date_from),
            Field::DateTo => self.date_to.cmp(&other.date_to),
        }
    }
}

/// A condition on a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// A field against a value of its own type.
    Compare(Comparison),
    /// All hold.
    And(Vec<Filter>),
    /// One holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// A field against a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The name.
    Name(Operator, String),
    /// A moment, in Unix seconds.
    Date(Field, Operator, i64),
}

/// How a field stands to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `eq`
    Equal,
    /// `nq`
    NotEqual,
    /// `lt`
    Less,
    /// `gt`
    Greater,
    /// `le`
    LessOrEqual,
    /// `ge`
    GreaterOrEqual,
}

impl Operator {
    /// The names, as expressions have them.
    pub const NAMES: [&str; 6] = ["eq", "nq", "lt", "gt", "le", "ge"];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::Greater => order.is_gt(),
            Self::LessOrEqual => order.is_le(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Parentheses and negations in one expression at most; each takes a piece of the stack.
const MAX_NESTING: usize = 64;

impl Filter {
    /// An equality with a value given as text; `None` when it is not of the field's type.
    pub fn equal(field: Field, value: &str) -> Option<Self> {
        Some(Self::Compare(match field {
            Field::Name => Comparison::Name(Operator::Equal, value.to_owned()),
            field => Comparison::Date(field, Operator::Equal, value.parse().ok()?),
        }))
    }

    /// Reads an expression; `None` when it does not follow the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        if text.matches('(').count() + text.matches("not").count() > MAX_NESTING {
            return None;
        }
        delimited(multispace0, any_of, multispace0).parse(text).ok()
    }

    /// Whether it holds for a profile.
    pub fn holds(&self, fields: &Fields) -> bool {
        match self {
            Self::Compare(Comparison::Name(operator, value)) => {
                operator.holds(fields.name.as_str().cmp(value))
            }
            Self::Compare(Comparison::Date(field, operator, value)) => {
                let date = if *field == Field::DateTo { fields.date_to } else { fields.date_from };
                operator.holds(date.cmp(value))
            }
            Self::And(all) => all.iter().all(|filter| filter.holds(fields)),
            Self::Or(any) => any.iter().any(|filter| filter.holds(fields)),
            Self::Not(filter) => !filter.holds(fields),
        }
    }
}

fn any_of(input: &mut &str) -> ModalResult<Filter> {
    separated(1.., all_of, delimited(multispace0, word("or"), multispace0))
        .map(|parts: Vec<_>| one_or(parts, Filter::Or))
        .parse_next(input)
}

fn all_of(input: &mut &str) -> ModalResult<Filter> {
    separated(1.., factor, delimited(multispace0, word("and"), multispace0))
        .map(|parts: Vec<_>| one_or(parts, Filter::And))
        .parse_next(input)
}

fn one_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

fn factor(input: &mut &str) -> ModalResult<Filter> {
    alt((
        preceded((word("not"), multispace0), cut_err(factor)).map(|filter| Filter::Not(Box::new(filter))),
        delimited(('(', multispace0), any_of, (multispace0, ')')),
        comparison.map(Filter::Compare),
    ))
    .parse_next(input)
}

fn comparison(input: &mut &str) -> ModalResult<Comparison> {
    let field = take_while(1.., ('a'..='z', '_')).verify_map(Field::parse).parse_next(input)?;
    let operator = delimited(multispace1, operator, multispace1).parse_next(input)?;
    match field {
        Field::Name => text.map(|value| Comparison::Name(operator, value)).parse_next(input),
        field => dec_int.map(|value| Comparison::Date(field, operator, value)).parse_next(input),
    }
}

fn operator(input: &mut &str) -> ModalResult<Operator> {
    alt((
        word("eq").value(Operator::Equal),
        word("nq").value(Operator::NotEqual),
        word("lt").value(Operator::Less),
        word("gt").value(Operator::Greater),
        word("le").value(Operator::LessOrEqual),
        word("ge").value(Operator::GreaterOrEqual),
    ))
    .parse_next(input)
}

/// A word that does not go on.
fn word<'i>(word: &'static str) -> impl ModalParser<&'i str, &'i str, winnow::error::ContextError> {
    terminated(word, not(peek(one_of(('a'..='z', '_', '0'..='9')))))
}

fn text(input: &mut &str) -> ModalResult<String> {
    let character = alt(("''".value('\''), any.verify(|c| *c != '\'')));
    delimited('\'', repeat(0.., character), '\'').parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(expression: &str) -> Option<bool> {
        let fields = Fields { name: "O'Neil's week".into(), date_from: 100, date_to: 200 };
        Filter::parse(expression).map(|filter| filter.holds(&fields))
    }

    #[test]
    fn expressions_hold_by_the_usual_precedence() {
        for (expression, expected) in [
            ("name eq 'O''Neil''s week'", true),
            ("name nq 'x'", true),
            ("date_from ge 100", true),
            ("date_from gt 100", false),
            ("date_to le -5", false),
            ("not date_to lt 200", true),
            ("date_from eq 1 or date_to eq 200 and date_from eq 100", true),
            ("(date_from eq 100 or date_to eq 1) and date_to eq 1", false),
            (" ( name eq 'a' or date_from ge 99 ) and date_to lt 201 ", true),
            ("not (date_from eq 100) or not(date_to eq 1)", true),
        ] {
            assert_eq!(holds(expression), Some(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = "(".repeat(100_000);
        let nots = "not ".repeat(100_000);
        for expression in [
            "",
            "name",
            "name eq 5",
            "date_from eq 'x'",
            "nothing eq 1",
            "name eq 'open",
            "date_from eq 1 and",
            "date_from eq 1 date_to eq 2",
            "date_from like 1",
            "date_from eq 99999999999999999999",
            "(date_from eq 1",
            &deep,
            &nots,
        ] {
            assert_eq!(holds(expression), None, "{}", &expression[..expression.len().min(40)]);
        }
    }
}
