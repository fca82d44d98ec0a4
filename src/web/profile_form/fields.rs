//! A profile as the fields of a form: from them to the JSON that the panel API takes, through the one parser there is, and
//! back. Nothing is lost on the way: what a form does not change stays as it was, to the second.
//!
//! Every error has the JSON path of a value, and stands at the longest of [`PLACES`] that the path begins with. Dates and
//! times of the form are those of a zone, since what a profile keeps are instants.

use jiff::civil::{Date, DateTime, Time};
use serde_json::{Map, Value, json};

use crate::fleet::FieldError;
use crate::panel::settings::Zone;
use crate::profile::opens::{self, NeverOpens};
use crate::profile::rule::{CustomDates, Family, Name, NthDay, Rule, WEEKDAYS};
use crate::profile::wire::Json;
use crate::profile::{LinkId, TimeProfile, parse};
use crate::web::problem::capital;
use crate::web::visitor::Fields;

/// What a profile is called that has no name yet.
const UNNAMED: &str = "this profile";

/// The first window's start.
pub const DATE_FROM: &str = "/time_options/date_from";
/// The first window's end.
pub const DATE_TO: &str = "/time_options/date_to";
/// How it repeats.
pub const FORMAT: &str = "/repeat_options/repeat_format";
/// When the repetition ends.
pub const UNTIL: &str = "/repeat_options/repeat_format/repeat_end";
/// The interval.
pub const EVERY: &str = "/repeat_options/repeat_format/repeat_custom/repeat_looper";
/// The dates within it.
pub const DATES: &str = "/repeat_options/repeat_format/repeat_custom";

/// Where errors stand in the form. An error belongs to the longest of these that its path begins with.
pub const PLACES: [&str; 9] = ["/link_id", "/name", "/zone", DATE_FROM, DATE_TO, FORMAT, UNTIL, EVERY, DATES];

/// What a form says.
pub struct Read {
    /// As the panel API takes it.
    pub body: Value,
    /// In which its dates and times are meant.
    pub zone: Zone,
    /// Where nothing is wrong with when it opens; a name that is not good yet is another's.
    pub profile: Option<TimeProfile>,
    /// What is wrong, by JSON path.
    pub errors: Vec<FieldError>,
}

impl Read {
    /// Of a form.
    pub fn of(fields: &Fields) -> Self {
        let mut errors = Vec::new();
        let zone = Zone::new(fields.one("zone")).unwrap_or_else(|| {
            errors.push(FieldError::at("/zone", "an IANA time zone such as Europe/Kyiv is expected"));
            Zone::utc()
        });
        let body = body(fields, &zone, &mut errors);
        if fields.one("link_id").parse::<LinkId>().is_err() {
            errors.push(FieldError::at(
                "/link_id",
                "a UUID such as 91c615e3-1040-4815-8ecb-039a18b756b5 is expected",
            ));
        }
        let mut named = body.clone();
        // A name may begin or end with a space, but not be nothing else.
        if fields.one("name").is_empty() || Name::new(&fields.exactly("name")).is_none() {
            let takes = format!("a name of 1 to {} characters is expected", Name::MAX_CHARS);
            errors.push(FieldError::at("/name", takes));
            named["name"] = UNNAMED.into();
        }
        let text = named.to_string();
        let mut found = Vec::new();
        let json = Json::read(text.as_bytes()).unwrap_or(Json::Null);
        let profile = parse::profile_at(&json, "", Family::DoorController, &mut found);
        for problem in found {
            // What is wrong with the form's own field has been said.
            if !errors.iter().any(|error| problem.path.starts_with(&error.path)) {
                errors.push(FieldError::at(problem.path, format!("expected: {}", problem.error.hint())));
            }
        }
        let of_times = |error: &FieldError| error.path != "/name" && error.path != "/link_id";
        let mut profile = profile.filter(|_| !errors.iter().any(of_times));
        if let Some(Err(never)) = profile.as_ref().map(|profile| opens::check(profile, zone.rules())) {
            errors.push(FieldError::at(place_of(never), never.to_string()));
            profile = None;
        }
        Self { body, zone, profile, errors }
    }
}

/// At which field it can be put right that a door never opens.
fn place_of(never: NeverOpens) -> &'static str {
    match never {
        NeverOpens::EmptyWindow | NeverOpens::DaysReversed | NeverOpens::OutOfCalendar(opens::End::To) => {
            DATE_TO
        }
        NeverOpens::EndsBeforeStart | NeverOpens::EndsBeforeFirstDate => UNTIL,
        NeverOpens::NoDate => DATES,
        NeverOpens::OutOfCalendar(opens::End::From) => DATE_FROM,
    }
}

/// What stands at a place.
pub fn errors_at(errors: &[FieldError], place: &str) -> Vec<String> {
    let longest = |path: &str| {
        PLACES.iter().filter(|place| path.starts_with(**place)).max_by_key(|place| place.len()).copied()
    };
    let here = errors.iter().filter(|error| longest(&error.path) == Some(place));
    here.map(|error| format!("{}.", capital(&error.message))).collect()
}

/// The form's fields as the panel API's JSON.
fn body(fields: &Fields, zone: &Zone, errors: &mut Vec<FieldError>) -> Value {
    let all_day = fields.ticked("all_day");
    let mut moment = |date: &str, time: &str, kept: &str, path: &str| {
        let time = if all_day { Ok(NOON) } else { clock_time(fields.one(time)) };
        match (fields.one(date).parse::<Date>(), time) {
            (Ok(date), Ok(time)) => {
                let local = date.to_datetime(time);
                let found =
                    kept_instant(local, all_day, fields.one(kept), zone).or_else(|| instant(local, zone));
                if found.is_none() {
                    errors.push(FieldError::at(path, "a date up to the end of the year 9999 is expected"));
                }
                found
            }
            (Err(_), _) => {
                errors.push(FieldError::at(path, "a date is expected"));
                None
            }
            (_, Err(_)) => {
                errors.push(FieldError::at(path, "a time of day is expected"));
                None
            }
        }
    };
    let from = moment("from_date", "from_time", "kept_from", DATE_FROM);
    let to = moment("to_date", "to_time", "kept_to", DATE_TO);
    let time_options = json!({ "is_all_day": all_day, "date_from": from, "date_to": to });
    let repeat_options = match fields.one("repeat") {
        "none" | "" => json!({ "repeat_enable": false }),
        repeat => {
            let mut format = Map::new();
            format.insert("repeat_type".into(), repeat.into());
            format.insert("repeat_end".into(), repeat_end(fields, zone, errors));
            if repeat == "custom" {
                format.insert("repeat_custom".into(), custom(fields));
            }
            json!({ "repeat_enable": true, "repeat_format": format })
        }
    };
    json!({
        "link_id": fields.one("link_id").to_ascii_lowercase(),
        "name": fields.exactly("name"),
        "time_options": time_options,
        "repeat_options": repeat_options,
    })
}

/// Stands for a whole day, since it falls on the same day in most of the world's zones.
const NOON: Time = Time::constant(12, 0, 0, 0);

/// The instant that was there before, where the form still says the same local time, or of whole days the same day:
/// of two instants with one local time it may be the later, and a day may be kept as any moment of it.
fn kept_instant(local: DateTime, all_day: bool, kept: &str, zone: &Zone) -> Option<i64> {
    let kept = kept.parse().ok()?;
    let before = opens::local(kept, zone.rules())?;
    (before == local || (all_day && before.date() == local.date())).then_some(kept)
}

fn clock_time(text: &str) -> Result<Time, jiff::Error> {
    text.parse()
}

/// The instant of a local date and time; one that does not exist moves forward, of two the earlier.
fn instant(local: DateTime, zone: &Zone) -> Option<i64> {
    Some(opens::instant_of(local, zone.rules())).filter(|instant| *instant <= opens::LAST)
}

fn repeat_end(fields: &Fields, zone: &Zone, errors: &mut Vec<FieldError>) -> Value {
    if fields.one("end") != "date" {
        return json!({ "format": "never" });
    }
    let time = match fields.one("until_time") {
        "" => Ok(Time::constant(23, 59, 59, 0)),
        text => clock_time(text),
    };
    let until = match (fields.one("until_date").parse::<Date>(), time) {
        (Ok(date), Ok(time)) => instant(date.to_datetime(time), zone),
        (Err(_), _) => {
            errors.push(FieldError::at(UNTIL, "the last day is expected"));
            None
        }
        (_, Err(_)) => {
            errors.push(FieldError::at(UNTIL, "a time of day, or nothing, is expected"));
            None
        }
    };
    json!({ "format": "date", "date": until })
}

fn custom(fields: &Fields) -> Value {
    let numbers = |name: &str| -> Value {
        fields
            .all(name)
            .map(|text| text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from))
            .collect()
    };
    let nth = || json!({ "week_order": fields.one("order"), "day_type": fields.one("day_type") });
    let every =
        fields.one("every").parse::<i64>().map_or_else(|_| Value::from(fields.one("every")), Value::from);
    let mut custom = Map::new();
    custom.insert("repeat_point_type".into(), fields.one("point").into());
    custom.insert("repeat_looper".into(), every);
    let options = match fields.one("point") {
        "week" => Some(fields.all("days").collect()),
        "month" if fields.one("month_by") == "nth" => {
            Some(json!({ "format": "parameterizedDay", "range": nth() }))
        }
        "month" => Some(json!({ "format": "dayNumbers", "range": numbers("numbers") })),
        "year" if fields.one("year_by") == "nth" => {
            Some(json!({ "months": numbers("months"), "range": nth() }))
        }
        "year" => Some(json!({ "months": numbers("months") })),
        _ => None,
    };
    if let Some(options) = options {
        custom.insert("repeat_options".into(), options);
    }
    custom.into()
}

/// The fields that say what a profile says.
pub fn fields_of(link_id: LinkId, profile: &TimeProfile, zone: &Zone) -> Fields {
    let mut pairs: Vec<(&str, String)> = vec![
        ("link_id", link_id.to_string()),
        ("name", profile.name.as_str().to_owned()),
        ("zone", zone.name().to_owned()),
        ("kept_from", profile.from.to_string()),
        ("kept_to", profile.to.to_string()),
    ];
    let mut moment = |date: &'static str, time: &'static str, seconds: i64| {
        if let Some(local) = opens::local(seconds, zone.rules()) {
            pairs.push((date, local.date().to_string()));
            pairs.push((time, local.time().to_string()));
        }
    };
    moment("from_date", "from_time", profile.from);
    moment("to_date", "to_time", profile.to);
    if let Some(until) = profile.repeat.as_ref().and_then(|repeat| repeat.until) {
        moment("until_date", "until_time", until);
        pairs.push(("end", "date".into()));
    }
    if profile.all_day {
        pairs.push(("all_day", "yes".into()));
    }
    let repeat = match profile.repeat.as_ref().map(|repeat| &repeat.rule) {
        None => "none",
        Some(Rule::Day) => "day",
        Some(Rule::Week) => "week",
        Some(Rule::TwoWeeks) => "twoWeeks",
        Some(Rule::Month) => "month",
        Some(Rule::Year) => "year",
        Some(Rule::Custom { every, on }) => {
            pairs.push(("every", every.get().to_string()));
            custom_fields(on, &mut pairs);
            "custom"
        }
    };
    pairs.push(("repeat", repeat.into()));
    Fields::of(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

fn custom_fields(on: &CustomDates, pairs: &mut Vec<(&'static str, String)>) {
    let nth = |nth: &NthDay, pairs: &mut Vec<(&'static str, String)>| {
        pairs.push(("order", nth.order.as_str().to_owned()));
        pairs.push(("day_type", nth.day.as_str().to_owned()));
    };
    let point = match on {
        CustomDates::Day => "day",
        CustomDates::Week(days) => {
            pairs.extend(days.iter().map(|day| ("days", WEEKDAYS[(day % 7) as usize].to_owned())));
            "week"
        }
        CustomDates::MonthDays(days) => {
            pairs.extend(days.iter().map(|day| ("numbers", day.to_string())));
            "month"
        }
        CustomDates::MonthNth(day) => {
            pairs.push(("month_by", "nth".into()));
            nth(day, pairs);
            "month"
        }
        CustomDates::Year(months, day) => {
            pairs.extend(months.iter().map(|month| ("months", month.to_string())));
            if let Some(day) = day {
                pairs.push(("year_by", "nth".into()));
                nth(day, pairs);
            }
            "year"
        }
    };
    pairs.push(("point", point.into()));
}
