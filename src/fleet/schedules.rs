//! Schedules of a batch: read, and made into what panels can hold.

use std::collections::{BTreeMap, HashSet};

use jiff::tz::TimeZone;
use serde_json::{Map, Number, Value};

use super::FieldError;
use super::error::Gathered;
use crate::batch::Operations;
use crate::clock;
use crate::profile::LinkId;
use crate::profile::wire::Json;
use crate::schedule::compile::{ANCHOR, HORIZON, Plan};
use crate::schedule::days::Resolved;
use crate::schedule::parse::{self, LinkedSchedule, Problem};
use crate::schedule::{Calendar, Day};

pub(super) const SCHEDULES: &str = "schedules/upsert";
pub(super) const SCHEDULES_DELETED: &str = "schedules/delete";

/// What a batch asks of schedules, as far as it was read.
#[derive(Default)]
pub(super) struct Schedules {
    upserts: Vec<(usize, LinkedSchedule)>,
    deletes: Vec<LinkId>,
    calendars: Vec<Calendar>,
}

impl Schedules {
    /// Takes an item of one of the lists, and adds what is wrong with it.
    pub fn take_item(&mut self, key: &str, place: usize, item: &Json<'_>, errors: &mut Gathered) {
        let path = format!("/{key}/{place}");
        let mut problems = Vec::new();
        let value = value(item);
        match key {
            SCHEDULES => {
                let read = parse::schedule(&value, &path, &mut problems);
                self.upserts.extend(read.map(|linked| (place, linked)));
            }
            SCHEDULES_DELETED => match value.as_str().and_then(|text| text.parse().ok()) {
                Some(link_id) => self.deletes.push(link_id),
                None => errors.add(|| FieldError::at(path, parse::Wrong::LinkId.to_string())),
            },
            _ => self.calendars.extend(parse::calendar(&value, &path, &mut problems)),
        }
        for Problem { path, wrong } in problems {
            errors.add(|| FieldError::at(path, wrong.to_string()));
        }
    }

    /// What is asked of panels, from today on up to the horizon.
    pub fn operations(self, most: usize, errors: &mut Gathered) -> Operations {
        let today = Day::in_utc(clock::now_ms() / 1000);
        let mut calendars: BTreeMap<_, usize> = BTreeMap::new();
        for (place, calendar) in self.calendars.iter().enumerate() {
            if let Some(before) = calendars.insert(&calendar.name, place) {
                let why = format!("the same stands at /calendars/{before}/name");
                errors.add(|| FieldError::at(format!("/calendars/{place}/name"), why));
            }
        }
        let (mut parts, mut schedules) = (Vec::new(), self.deletes);
        let mut seen: HashSet<LinkId> = schedules.iter().copied().collect();
        for (place, LinkedSchedule { link_id, schedule }) in &self.upserts {
            let at = |field: &str| format!("/{SCHEDULES}/{place}{field}");
            if !seen.insert(*link_id) {
                errors.add(|| FieldError::at(at("/link_id"), "the same batch names this link_id before"));
                continue;
            }
            if schedule.zone.is_some() {
                let why = "a schedule with a zone of its own is other profiles in each panel's zone; make them with `panelsync \
                           schedule compile --zone` and push those";
                errors.add(|| FieldError::at(at("/zone"), why));
                continue;
            }
            let resolved = match Resolved::new(schedule, &self.calendars) {
                Ok(resolved) => resolved,
                Err(error) => {
                    errors.add(|| FieldError::at(at(""), format!("{error} among the batch's calendars")));
                    continue;
                }
            };
            // What is over is over, however long ago it began.
            let from = schedule.from.unwrap_or(ANCHOR).max(ANCHOR);
            let horizon = Day(today.0.max(from.0) + HORIZON);
            let plan = Plan::new(&resolved, &TimeZone::UTC, from, horizon);
            match plan.and_then(|plan| plan.by_the_clock(*link_id, today)) {
                Ok(of) if of.is_empty() => errors.add(|| FieldError::at(at(""), "it is over; delete it")),
                Ok(of) => {
                    parts.extend(of);
                    schedules.push(*link_id);
                    if parts.len() > most {
                        let why = format!(
                            "with this schedule the batch is more than {most} time profiles, which is the limit of --max-items; send it in parts"
                        );
                        errors.add(|| FieldError::at(at(""), why));
                        break;
                    }
                }
                Err(error) => errors.add(|| FieldError::at(at(""), error.to_string())),
            }
        }
        Operations::of_parts(parts, schedules)
    }
}

/// The value by itself. A number that is none of a schedule's stays one that is not taken.
fn value(json: &Json<'_>) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Int(number) => Value::Number(Number::from(*number)),
        Json::OtherNumber => Value::Number(Number::from(0)),
        Json::Text(text) => Value::String(text.to_string()),
        Json::List(list) => Value::Array(list.iter().map(value).collect()),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, entry)| (key.to_string(), value(entry)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}
