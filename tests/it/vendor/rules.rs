//! What the vendor's page says of a time profile's body: which one is taken, and the one text for each that is not.

use serde_json::Value;

/// The rules of one family.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Dates may be left out, year options carry a `format`, and there is the day type `DAY`.
    pub of_door_controllers: bool,
}

/// Why a body is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It lacks a field, or one is of another type. Some families say no more than that the body is wrong.
    Shape(String),
    /// A value that the page does not have.
    Value(&'static str),
}

fn absent(name: &str) -> Fault {
    Fault::Shape(format!("Wrong JSON body: no value for `{name}`"))
}

fn mistyped(name: &str) -> Fault {
    Fault::Shape(format!("Wrong JSON body: value `{name}` was of the wrong type"))
}

type Checked<T = ()> = Result<T, Fault>;

/// A required field for which this holds.
fn required<'a>(object: &'a Value, name: &str, is: impl Fn(&Value) -> bool) -> Checked<&'a Value> {
    let value = object.get(name).ok_or_else(|| absent(name))?;
    if is(value) { Ok(value) } else { Err(mistyped(name)) }
}

fn text<'a>(object: &'a Value, name: &str) -> Checked<&'a str> {
    Ok(required(object, name, Value::is_string)?.as_str().unwrap_or_default())
}

fn integers(value: &Value) -> Option<Vec<i64>> {
    value.as_array()?.iter().map(Value::as_i64).collect()
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// Whether it is a UUID in the usual form.
pub fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Any other value than null, which counts as absent where a field may be.
fn given<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

impl Rules {
    /// Whether this body is taken; `linked` as the link calls need it. First what is absent or mistyped in the order of
    /// the page's table of fields, then values in that order.
    pub fn check(self, profile: &Value, linked: bool) -> Checked {
        self.shape(profile, linked)?;
        self.values(profile)
    }

    fn shape(self, profile: &Value, linked: bool) -> Checked {
        if linked {
            required(profile, "link_id", |link| link.as_str().is_some_and(is_uuid))?;
        }
        text(profile, "name")?;
        let time = required(profile, "time_options", Value::is_object)?;
        required(time, "is_all_day", Value::is_boolean)?;
        for name in ["date_from", "date_to"] {
            if !self.of_door_controllers || given(time, name).is_some() {
                required(time, name, Value::is_i64)?;
            }
        }
        let repeat = required(profile, "repeat_options", Value::is_object)?;
        if required(repeat, "repeat_enable", Value::is_boolean)? == false {
            return Ok(());
        }
        let format = required(repeat, "repeat_format", Value::is_object)?;
        let repeat_type = text(format, "repeat_type")?;
        let end = required(format, "repeat_end", Value::is_object)?;
        if text(end, "format")? == "date" {
            required(end, "date", Value::is_i64)?;
        }
        if repeat_type == "custom" {
            self.shape_of_custom(required(format, "repeat_custom", Value::is_object)?)?;
        }
        Ok(())
    }

    fn shape_of_custom(self, custom: &Value) -> Checked {
        let point_type = text(custom, "repeat_point_type")?;
        required(custom, "repeat_looper", Value::is_i64)?;
        match point_type {
            "week" => {
                required(custom, "repeat_options", |set| texts(set).is_some())?;
            }
            "month" => {
                let options = required(custom, "repeat_options", Value::is_object)?;
                match text(options, "format")? {
                    "dayNumbers" => {
                        required(options, "range", |range| integers(range).is_some())?;
                    }
                    "parameterizedDay" => {
                        let range = required(options, "range", Value::is_object)?;
                        text(range, "week_order")?;
                        text(range, "day_type")?;
                    }
                    _ => {}
                }
            }
            "year" => {
                let options = required(custom, "repeat_options", Value::is_object)?;
                required(options, "months", |months| integers(months).is_some())?;
                if self.of_door_controllers {
                    text(options, "format")?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn values(self, profile: &Value) -> Checked {
        // The page has the bounds of a name, and no text for one beyond them.
        if !(1..=100).contains(&profile["name"].as_str().unwrap_or_default().chars().count()) {
            return Err(mistyped("name"));
        }
        let repeat = &profile["repeat_options"];
        if repeat["repeat_enable"] == false {
            return Ok(());
        }
        let format = &repeat["repeat_format"];
        let types = ["day", "week", "twoWeeks", "month", "year", "custom"];
        one_of(&format["repeat_type"], &types, "Wrong repeat_type")?;
        one_of(&format["repeat_end"]["format"], &["never", "date"], "Wrong format enum name")?;
        if format["repeat_type"] != "custom" {
            return Ok(());
        }
        let custom = &format["repeat_custom"];
        let points = ["day", "week", "month", "year"];
        one_of(&custom["repeat_point_type"], &points, "Wrong repeat_point_type enum name")?;
        if !custom["repeat_looper"].as_i64().is_some_and(|n| (1..=1000).contains(&n)) {
            return Err(Fault::Value("Wrong repeat_looper range"));
        }
        let options = &custom["repeat_options"];
        match custom["repeat_point_type"].as_str() {
            Some("week") => {
                let set = options.as_array().map(Vec::as_slice).unwrap_or_default();
                for day in set {
                    one_of(day, &WEEKDAYS, "Wrong repeat_options enum name")?;
                }
                not_empty(options, "Set in WeekOptions can't be empty")
            }
            Some("month") if options["format"] == "dayNumbers" => {
                all_within(&options["range"], 31, "Wrong DayOfMonth range")?;
                not_empty(&options["range"], "Set in dayNumbers can't be empty")
            }
            Some("month") => {
                one_of(&options["format"], &["parameterizedDay"], "Wrong format enum name")?;
                self.parameterized(&options["range"])
            }
            Some("year") => {
                if self.of_door_controllers {
                    one_of(
                        &options["format"],
                        &["dayNumbers", "parameterizedDay"],
                        "Wrong format enum name",
                    )?;
                }
                all_within(&options["months"], 12, "Wrong months range")?;
                not_empty(&options["months"], "Set in YearOptions can't be empty")?;
                match given(options, "range") {
                    None => Ok(()),
                    Some(range) if range["week_order"].is_string() && range["day_type"].is_string() => {
                        self.parameterized(range)
                    }
                    Some(_) => Err(Fault::Value("Wrong year range")),
                }
            }
            _ => Ok(()),
        }
    }

    fn parameterized(self, range: &Value) -> Checked {
        let orders = ["first", "second", "third", "fourth", "fifth", "last"];
        one_of(&range["week_order"], &orders, "Wrong repeat_options enum name")?;
        let mut types = [&WEEKDAYS[..], &["WEEK_DAY", "DAY_OFF"]].concat();
        if self.of_door_controllers {
            types.push("DAY");
        }
        one_of(&range["day_type"], &types, "Wrong repeat_options enum name")
    }
}

const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

fn one_of(value: &Value, known: &[&str], otherwise: &'static str) -> Checked {
    let is_known = value.as_str().is_some_and(|text| known.contains(&text));
    if is_known { Ok(()) } else { Err(Fault::Value(otherwise)) }
}

fn all_within(list: &Value, most: i64, otherwise: &'static str) -> Checked {
    let numbers = integers(list).unwrap_or_default();
    if numbers.iter().all(|n| (1..=most).contains(n)) { Ok(()) } else { Err(Fault::Value(otherwise)) }
}

fn not_empty(list: &Value, otherwise: &'static str) -> Checked {
    if list.as_array().is_some_and(|list| !list.is_empty()) { Ok(()) } else { Err(Fault::Value(otherwise)) }
}

/// Whether rules that are well-formed can never open, as far as their dates say so. `zone` is the device's, in seconds
/// ahead of UTC.
pub fn never_opens(profile: &Value, zone: i64) -> bool {
    let time = &profile["time_options"];
    let (Some(from), Some(to)) = (time["date_from"].as_i64(), time["date_to"].as_i64()) else { return false };
    let date = |moment: i64| (moment + zone).div_euclid(86_400);
    let ends_before = if time["is_all_day"] == true { date(to) < date(from) } else { to <= from };
    let repeat = &profile["repeat_options"];
    let end = &repeat["repeat_format"]["repeat_end"];
    let ends_early = repeat["repeat_enable"] == true
        && end["format"] == "date"
        && end["date"].as_i64().is_some_and(|end| end < from);
    ends_before || ends_early
}
