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

use crate::identifier::number::Credential;

/// What lists can be sorted and filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The name of a profile, or of an identifier's owner.
    Name,
    /// Start of a profile's first window.
    DateFrom,
    /// End of a profile's first window.
    DateTo,
    /// An identifier's number.
    Number,
}

impl Field {
    /// Those of profiles.
    pub const OF_PROFILES: &[Self] = &[Self::Name, Self::DateFrom, Self::DateTo];

    /// Those of identifiers.
    pub const OF_IDENTIFIERS: &[Self] = &[Self::Name, Self::Number];

    /// The names, as the list form gives them.
    pub fn names(fields: &[Self]) -> Vec<&'static str> {
        fields.iter().map(|field| field.as_str()).collect()
    }

    /// From its name, where it is one of these.
    pub fn parse(text: &str, fields: &[Self]) -> Option<Self> {
        fields.iter().copied().find(|field| field.as_str() == text)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::DateFrom => "date_from",
            Self::DateTo => "date_to",
            Self::Number => "identifier_number",
        }
    }

    /// Of what type its values are.
    pub fn data_type(self) -> &'static str {
        match self {
            Self::Name | Self::Number => "string",
            Self::DateFrom | Self::DateTo => "int",
        }
    }
}

/// What a filter looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The name of a profile, or of an identifier's owner.
    pub name: String,
    /// Start of a profile's first window.
    pub date_from: i64,
    /// End of a profile's first window.
    pub date_to: i64,
    /// What an identifier opens with.
    pub number: Option<Credential>,
}

impl Fields {
    /// The order of two items by a field.
    pub fn compare(&self, other: &Self, field: Field) -> Ordering {
        match field {
            Field::Name => self.name.cmp(&other.name),
            Field::DateFrom => self.date_from.cmp(&other.date_from),
            Field::DateTo => self.date_to.cmp(&other.date_to),
            Field::Number => self.number.cmp(&other.number),
        }
    }
}

/// A condition on an item of a list.
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
    /// The number, which is compared in its one form.
    Number(Operator, String),
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

const ALL: &[Field] = &[Field::Name, Field::DateFrom, Field::DateTo, Field::Number];

/// Parentheses and negations in one expression at most; each takes a piece of the stack.
const MAX_NESTING: usize = 64;

impl Filter {
    /// An equality with a value given as text; `None` when it is not of the field's type.
    pub fn equal(field: Field, value: &str) -> Option<Self> {
        Some(Self::Compare(match field {
            Field::Name => Comparison::Name(Operator::Equal, value.to_owned()),
            Field::Number => Comparison::Number(Operator::Equal, value.to_owned()),
            field => Comparison::Date(field, Operator::Equal, value.parse().ok()?),
        }))
    }

    /// Reads an expression on these fields; `None` when it does not follow the grammar.
    pub fn parse(text: &str, fields: &[Field]) -> Option<Self> {
        if text.matches('(').count() + text.matches("not").count() > MAX_NESTING {
            return None;
        }
        let filter = delimited(multispace0, any_of, multispace0).parse(text).ok()?;
        filter.is_of(fields).then_some(filter)
    }

    fn is_of(&self, fields: &[Field]) -> bool {
        match self {
            Self::Compare(Comparison::Name(..)) => fields.contains(&Field::Name),
            Self::Compare(Comparison::Number(..)) => fields.contains(&Field::Number),
            Self::Compare(Comparison::Date(field, ..)) => fields.contains(field),
            Self::And(all) | Self::Or(all) => all.iter().all(|filter| filter.is_of(fields)),
            Self::Not(filter) => filter.is_of(fields),
        }
    }

    /// Whether it holds for an item.
    pub fn holds(&self, fields: &Fields) -> bool {
        match self {
            Self::Compare(Comparison::Name(operator, value)) => {
                operator.holds(fields.name.as_str().cmp(value))
            }
            Self::Compare(Comparison::Number(operator, value)) => {
                let number = fields.number.as_ref();
                let other = number.and_then(|number| Credential::new(number.kind(), value));
                match (number, other) {
                    (Some(number), Some(other)) => operator.holds(number.cmp(&other)),
                    _ => *operator == Operator::NotEqual,
                }
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
    let field =
        take_while(1.., ('a'..='z', '_')).verify_map(|name| Field::parse(name, ALL)).parse_next(input)?;
    let operator = delimited(multispace1, operator, multispace1).parse_next(input)?;
    match field {
        Field::Name => text.map(|value| Comparison::Name(operator, value)).parse_next(input),
        Field::Number => text.map(|value| Comparison::Number(operator, value)).parse_next(input),
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
    use crate::identifier::rule::Kind;

    fn holds(expression: &str) -> Option<bool> {
        let fields = Fields { name: "O'Neil's week".into(), date_from: 100, date_to: 200, number: None };
        Filter::parse(expression, Field::OF_PROFILES).map(|filter| filter.holds(&fields))
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
    fn numbers_are_compared_in_their_one_form_and_belong_to_identifiers() {
        let of = |kind, number: &str| Fields {
            name: "Flat 12".into(),
            date_from: 0,
            date_to: 0,
            number: Credential::new(kind, number),
        };
        let holds = |expression: &str, fields: &Fields| {
            Filter::parse(expression, Field::OF_IDENTIFIERS).map(|filter| filter.holds(fields))
        };
        let (card, code) = (of(Kind::Card, "5e:6f"), of(Kind::Code, "007"));
        for (fields, expression, expected) in [
            (&card, "identifier_number eq '5E-6F'", true),
            (&card, "identifier_number eq '24175'", false),
            (&card, "identifier_number nq 'no number'", true),
            (&card, "identifier_number lt 'no number' or identifier_number ge 'no number'", false),
            (&card, "name eq 'Flat 12' and not identifier_number eq '5f:6f'", true),
            (&code, "identifier_number eq '7'", false),
            (&code, "identifier_number eq '007'", true),
        ] {
            assert_eq!(holds(expression, fields), Some(expected), "{expression}");
        }
        assert_eq!(holds("date_from eq 0", &card), None);
        assert_eq!(Filter::parse("identifier_number eq '7'", Field::OF_PROFILES), None);
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
