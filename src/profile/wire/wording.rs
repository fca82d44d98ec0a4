//! How a profile was written, where that is not how [`super::body`] writes what it says.
//!
//! Panels give back what they were sent, and the vendor's own examples hold what does not count: a weekly
//! `repeat_custom` beside `repeat_type` `day`, a `format` beside the months of a year. So the `repeat_options` are kept
//! as sent: every documented property whose value is of its documented type, whether it counts or not, with lists in
//! the order that they came in. Objects have no order, so theirs is the panel API's. Everything else is left out: other
//! properties, `null`, and what is of another type, such as a number with a fraction. Where the text is longer than
//! [`LONGEST`], the profile is written as if it had come without.

use std::fmt::Write;

use super::Json;
use super::written;
use crate::profile::rule::Repeat;

/// The longest `repeat_options` that are kept as sent, in bytes.
pub const LONGEST: usize = 4096;

/// How a profile was written. It has no part in what the profile says: two may say the same in other words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wording {
    pub(super) left_out: LeftOut,
    /// Its `repeat_options`, where they differ from what [`super::body`] would write by itself.
    pub(super) repeat_options: Option<Box<str>>,
}

impl Wording {
    /// Of a profile that is written like this; none where it is as [`super::body`] writes it anyway.
    pub(in crate::profile) fn of(
        options: Option<&Json<'_>>,
        repeat: Option<&Repeat>,
        left_out: LeftOut,
    ) -> Option<Box<Self>> {
        let sent = options.and_then(repeat_options);
        let repeat_options =
            sent.filter(|sent| *sent != written::repeat_options(repeat)).map(String::into_boxed_str);
        let wording = Self { left_out, repeat_options };
        (wording != Self::default()).then(|| Box::new(wording))
    }

    /// The dates that are left out.
    pub fn dates_left_out(&self) -> impl Iterator<Item = &'static str> {
        [(self.left_out.from, "date_from"), (self.left_out.to, "date_to")]
            .into_iter()
            .filter_map(|(left_out, name)| left_out.then_some(name))
    }
}

/// What a door controller's profile does not say of its first window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// It has no `date_from`.
    pub from: bool,
    /// It has no `date_to`.
    pub to: bool,
    /// It says that it does not cover whole days; without dates it does all the same.
    pub times_of_day: bool,
}

/// What a documented property may hold.
enum Shape {
    Bool,
    Int,
    Text,
    /// A list of one kind of thing.
    List(&'static Shape),
    /// Properties in the order in which they are written.
    Object(&'static [(&'static str, Shape)]),
    /// The first one that fits.
    Either(&'static [Shape]),
}

const NTH_DAY: Shape = Shape::Object(&[("week_order", Shape::Text), ("day_type", Shape::Text)]);

const NUMBERS: Shape = Shape::List(&Shape::Int);

const CUSTOM_OPTIONS: Shape = Shape::Either(&[
    Shape::List(&Shape::Text),
    Shape::Object(&[
        ("format", Shape::Text),
        ("months", NUMBERS),
        ("range", Shape::Either(&[NUMBERS, NTH_DAY])),
    ]),
]);

const REPEAT_CUSTOM: Shape = Shape::Object(&[
    ("repeat_point_type", Shape::Text),
    ("repeat_looper", Shape::Int),
    ("repeat_options", CUSTOM_OPTIONS),
]);

const REPEAT_OPTIONS: Shape = Shape::Object(&[
    ("repeat_enable", Shape::Bool),
    (
        "repeat_format",
        Shape::Object(&[
            ("repeat_type", Shape::Text),
            ("repeat_end", Shape::Object(&[("format", Shape::Text), ("date", Shape::Int)])),
            ("repeat_custom", REPEAT_CUSTOM),
        ]),
    ),
]);

/// The documented part of `repeat_options`; none where it is too long.
fn repeat_options(options: &Json<'_>) -> Option<String> {
    let mut out = String::new();
    match write(options, &REPEAT_OPTIONS, &mut out) {
        Ok(()) => Some(out),
        Err(Unwritten::OtherType | Unwritten::TooLong) => None,
    }
}

enum Unwritten {
    OtherType,
    TooLong,
}

/// Writes a value of this shape, or nothing.
fn write(json: &Json<'_>, shape: &Shape, out: &mut String) -> Result<(), Unwritten> {
    let before = out.len();
    let written = write_within(json, shape, out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn write_within(json: &Json<'_>, shape: &Shape, out: &mut String) -> Result<(), Unwritten> {
    match (shape, json) {
        (Shape::Bool, Json::Bool(value)) => out.push_str(if *value { "true" } else { "false" }),
        (Shape::Int, Json::Int(number)) => {
            let _ = write!(out, "{number}"); // a String takes everything
        }
        (Shape::Text, Json::Text(text)) => {
            if text.len() > LONGEST {
                return Err(Unwritten::TooLong);
            }
            out.push_str(&serde_json::to_string(&**text).map_err(|_| Unwritten::OtherType)?);
        }
        (Shape::List(of), Json::List(list)) => {
            out.push('[');
            for (i, value) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(value, of, out)?;
            }
            out.push(']');
        }
        (Shape::Object(fields), Json::Object(_)) => {
            out.push('{');
            let empty = out.len();
            for (key, of) in *fields {
                let Some(value) = json.get(key) else { continue };
                let before = out.len();
                let comma = if before == empty { "" } else { "," };
                let _ = write!(out, r#"{comma}"{key}":"#); // a String takes everything
                match write(value, of, out) {
                    Ok(()) => {}
                    Err(Unwritten::OtherType) => out.truncate(before),
                    Err(Unwritten::TooLong) => return Err(Unwritten::TooLong),
                }
            }
            out.push('}');
        }
        (Shape::Either(shapes), _) => {
            for shape in *shapes {
                match write(json, shape, out) {
                    Err(Unwritten::OtherType) => {}
                    done => return done,
                }
            }
            return Err(Unwritten::OtherType);
        }
        _ => return Err(Unwritten::OtherType),
    }
    if out.len() > LONGEST { Err(Unwritten::TooLong) } else { Ok(()) }
}
