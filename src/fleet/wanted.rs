//! A batch as it is asked for, in JSON: read, checked, and everything that is wrong with it gathered.

use std::collections::{HashMap, HashSet};

use super::error::Gathered;
use super::schedules::{SCHEDULES, SCHEDULES_DELETED, Schedules};
use super::{FieldError, FleetError};
use crate::batch::Operations;
use crate::batch::selector::Selector;
use crate::coordinator::Target;
use crate::identifier::rule::{Api, Kind::Face};
use crate::identifier::{self, LinkedIdentifier};
use crate::panel::settings::PanelId;
use crate::profile::error::WireError;
use crate::profile::parse::{self, LinkedProfile};
use crate::profile::rule::Family;
use crate::profile::wire::{self, Json, Piece};
use crate::profile::{LinkId, opens};

/// A checked submission.
pub struct Wanted {
    /// Which panels.
    pub target: Target,
    /// What is asked of them.
    pub operations: Operations,
    /// Whether it is only asked what would come of it.
    pub dry_run: bool,
    /// How many deletions are meant.
    pub confirm_deletes: Option<u64>,
    /// How many door-hours it may open or close.
    pub confirm_door_hours: Option<u64>,
}

impl Wanted {
    /// Reads a submission of at most so many items and gathers what is wrong with it. Lists are read item by item,
    /// so that no body takes much more memory than what it asks for.
    pub fn parse(body: &[u8], most: usize) -> Result<Self, FleetError> {
        let mut errors = Gathered::default();
        let mut items = parse::Items::default();
        let mut identifiers = identifier::parse::Items::default();
        let mut fields = Fields::default();
        wire::pieces(body, &["identifiers", "schedules"], |key, piece| {
            fields.take_field(key, piece, most, &mut errors, &mut items, &mut identifiers)
        })?;
        let Fields {
            mut targets,
            panels,
            profiles,
            deletes,
            dry_run,
            prune,
            confirm_deletes,
            confirm_door_hours,
            schedules,
            ..
        } = fields;
        let Identifiers { upserts, deletes: undone, prune: prune_identifiers } = fields.identifiers;
        targets.extend(panels.map(Target::Panels));
        let (found, all) = items.found();
        if found.is_empty() {
            // Every item is there then, each at its own index.
            let beyond = profiles.iter().map(|item| opens::out_of_calendar(&item.profile)).enumerate();
            for (i, never) in beyond.filter_map(|(i, never)| Some((i, never?))) {
                errors.add(|| FieldError::at(format!("/upsert/{i}{}", never.path()), never.to_string()));
            }
        }
        errors.extend(found.into_iter().map(FieldError::from), all);
        let (found, all) = identifiers.found();
        if found.is_empty() {
            refuse_numbers_twice(&upserts, &mut errors);
        }
        errors.extend(found.into_iter().map(FieldError::from), all);
        let upserted: HashSet<_> = upserts.iter().map(|item| item.link_id).collect();
        for (i, link) in undone.iter().enumerate() {
            if upserted.contains(link) {
                let path = format!("/identifiers/delete/{i}");
                errors.add(|| FieldError::at(path, "the same batch upserts this link_id"));
            }
        }
        let upserted: HashSet<_> = profiles.iter().map(|item| item.link_id).collect();
        for (i, link) in deletes.iter().enumerate() {
            if upserted.contains(link) {
                errors.add(|| FieldError::at(format!("/delete/{i}"), "the same batch upserts this link_id"));
            }
        }
        let on_schedules = schedules.operations(most, &mut errors);
        let parts: HashSet<_> = on_schedules.upserts.iter().map(|upsert| upsert.item.link_id).collect();
        let named = profiles.iter().map(|item| item.link_id).enumerate().map(|(i, link)| ("upsert", i, link));
        let deleted = deletes.iter().copied().enumerate().map(|(i, link)| ("delete", i, link));
        for (list, i, _) in named.chain(deleted).filter(|(.., link)| parts.contains(link)) {
            errors.add(|| {
                FieldError::at(format!("/{list}/{i}"), "this is a part of a schedule of the same batch")
            });
        }
        let target = targets.pop();
        if !targets.is_empty() || (target.is_none() && errors.is_empty()) {
            errors.add(|| {
                FieldError::at("", "exactly one of selector, panels and all says for which panels it is")
            });
        }
        let on_identifiers = Operations::of_identifiers(upserts, undone, prune_identifiers);
        let operations =
            Operations::of_profiles(profiles, deletes, prune).and(on_schedules).and(on_identifiers);
        if operations.len() > most && errors.is_empty() {
            return Err(FleetError::TooManyItems(most));
        }
        if operations.is_empty() && errors.is_empty() {
            let why = "there is nothing to do; give upsert, delete or prune, of profiles or within identifiers, or schedules";
            errors.add(|| FieldError::at("", why));
        }
        match target {
            Some(target) if errors.is_empty() => {
                Ok(Self { target, operations, dry_run, confirm_deletes, confirm_door_hours })
            }
            _ => Err(errors.into_error()),
        }
    }
}

/// Names what has the type and number of an earlier one.
fn refuse_numbers_twice(upserts: &[LinkedIdentifier], errors: &mut Gathered) {
    let mut first = HashMap::new();
    for (i, LinkedIdentifier { identifier, .. }) in upserts.iter().enumerate() {
        if let Some(earlier) = first.get(&identifier.credential) {
            errors.add(|| {
                let field =
                    if identifier.credential.kind() == Face { "face_image" } else { "identifier_number" };
                let why = format!("/identifiers/upsert/{earlier} has the same, and a panel takes each once");
                FieldError::at(format!("/identifiers/upsert/{i}/{field}"), why)
            });
        } else {
            first.insert(&identifier.credential, i);
        }
    }
}

const UPSERT: &str = "identifiers/upsert";
/// The same as a JSON pointer.
const UPSERT_AT: &str = "/identifiers/upsert";
const DELETE: &str = "identifiers/delete";

/// What is asked for of identifiers.
#[derive(Default)]
struct Identifiers {
    upserts: Vec<LinkedIdentifier>,
    deletes: Vec<LinkId>,
    prune: bool,
}

/// A submission as far as it was read.
#[derive(Default)]
struct Fields {
    /// The keys that were there.
    seen: Vec<&'static str>,
    targets: Vec<Target>,
    panels: Option<Vec<String>>,
    profiles: Vec<LinkedProfile>,
    deletes: Vec<LinkId>,
    identifiers: Identifiers,
    schedules: Schedules,
    /// How many upserts and deletes there were, good or not.
    items: usize,
    dry_run: bool,
    prune: bool,
    confirm_deletes: Option<u64>,
    confirm_door_hours: Option<u64>,
}

impl Fields {
    const KEYS: [&'static str; 17] = [
        "selector",
        "panels",
        "all",
        "upsert",
        "delete",
        "dry_run",
        "prune",
        "confirm_deletes",
        "confirm_door_hours",
        "identifiers",
        UPSERT,
        DELETE,
        "identifiers/prune",
        "schedules",
        SCHEDULES,
        SCHEDULES_DELETED,
        "calendars",
    ];

    fn take_field(
        &mut self,
        key: &str,
        piece: Piece<'_>,
        most: usize,
        errors: &mut Gathered,
        items: &mut parse::Items,
        identifiers: &mut identifier::parse::Items,
    ) -> Result<(), FleetError> {
        let known = Self::KEYS.into_iter().find(|known| *known == key);
        if !matches!(piece, Piece::Item(..)) {
            match known {
                None if key.starts_with("schedules/") => errors.add(|| {
                    let key = key.strip_prefix("schedules/").unwrap_or(key);
                    FieldError::at(
                        format!("/schedules{}", wire::step(key)),
                        "no such field; schedules has upsert and delete",
                    )
                }),
                None => errors.add(|| match key.split_once("identifiers/") {
                    Some(("", key)) => FieldError::at(
                        format!("/identifiers{}", wire::step(key)),
                        "no such field; identifiers has upsert, delete and prune",
                    ),
                    _ => FieldError::at(
                        wire::step(key),
                        "no such field; a batch has selector, panels, all, upsert, delete, identifiers, schedules, calendars, dry_run, prune, confirm_deletes and confirm_door_hours",
                    ),
                }),
                Some(known) if self.seen.contains(&known) => {
                    errors.add(|| FieldError::at(format!("/{key}"), WireError::Twice.to_string()));
                }
                Some(known) => self.seen.push(known),
            }
        }
        let wrong = |errors: &mut Gathered, takes| errors.add(|| FieldError::at(format!("/{key}"), takes));
        match (key, piece) {
            (_, Piece::Value(Json::Null))
            | ("all", Piece::Value(Json::Bool(false)))
            | (
                "upsert" | "delete" | UPSERT | DELETE | SCHEDULES | SCHEDULES_DELETED | "calendars",
                Piece::List,
            )
            | ("identifiers" | "schedules", Piece::Value(Json::Object(_))) => {}
            (SCHEDULES | SCHEDULES_DELETED | "calendars", Piece::Item(i, item)) => {
                self.items += 1;
                if self.items > most {
                    return Err(FleetError::TooManyItems(most));
                }
                self.schedules.take_item(key, i, &item, errors);
            }
            ("selector", Piece::Value(Json::Text(text))) => match Selector::parse(&text) {
                Ok(selector) => self.targets.push(Target::Selector(selector)),
                Err(error) => errors.add(|| FieldError::at("/selector", error.to_string())),
            },
            ("all", Piece::Value(Json::Bool(true))) => self.targets.push(Target::All),
            ("dry_run", Piece::Value(Json::Bool(value))) => self.dry_run = value,
            ("prune", Piece::Value(Json::Bool(value))) => self.prune = value,
            ("identifiers/prune", Piece::Value(Json::Bool(value))) => self.identifiers.prune = value,
            ("confirm_deletes", Piece::Value(Json::Int(number))) if number >= 0 => {
                self.confirm_deletes = Some(number.unsigned_abs());
            }
            ("confirm_door_hours", Piece::Value(Json::Int(number))) if number >= 0 => {
                self.confirm_door_hours = Some(number.unsigned_abs());
            }
            ("panels", Piece::List) => self.panels = Some(self.panels.take().unwrap_or_default()),
            ("panels", Piece::Item(i, item)) => {
                if i >= most {
                    return Err(FleetError::TooManyItems(most));
                }
                match (item, &mut self.panels) {
                    (Json::Text(id), Some(panels)) if PanelId::new(&id).is_some() => {
                        panels.push(id.into_owned());
                    }
                    (Json::Text(id), _) => errors
                        .add(|| FieldError::at(format!("/panels/{i}"), format!("there is no panel {id}"))),
                    _ => errors.add(|| FieldError::at(format!("/panels/{i}"), "a panel's id is expected")),
                }
            }
            ("upsert" | "delete" | UPSERT | DELETE, Piece::Item(i, item)) => {
                self.items += 1;
                if self.items > most {
                    return Err(FleetError::TooManyItems(most));
                }
                match key {
                    // What a family cannot say is found when its panels are known.
                    "upsert" => {
                        self.profiles.extend(items.linked(&item, ("upsert", i), Family::DoorController));
                    }
                    "delete" => self.deletes.extend(items.link_id(&item, ("delete", i))),
                    UPSERT => {
                        self.identifiers.upserts.extend(identifiers.linked(&item, (UPSERT_AT, i), Api::ANY));
                    }
                    _ => self.identifiers.deletes.extend(items.link_id(&item, (DELETE, i))),
                }
            }
            ("all" | "dry_run" | "prune" | "identifiers/prune", Piece::Value(_) | Piece::List) => {
                wrong(errors, "true or false is expected");
            }
            ("confirm_deletes", Piece::Value(_) | Piece::List) => {
                wrong(errors, "the number of deletions is expected");
            }
            ("confirm_door_hours", Piece::Value(_) | Piece::List) => {
                wrong(errors, "the number of door-hours is expected");
            }
            (
                "panels" | "upsert" | "delete" | UPSERT | DELETE | SCHEDULES | SCHEDULES_DELETED
                | "calendars",
                Piece::Value(_),
            ) => {
                wrong(errors, "a list is expected");
            }
            ("identifiers", Piece::Value(_) | Piece::List) => {
                wrong(errors, "an object with upsert, delete and prune is expected");
            }
            ("schedules", Piece::Value(_) | Piece::List) => {
                wrong(errors, "an object with upsert and delete is expected");
            }
            ("selector", Piece::Value(_) | Piece::List) => wrong(errors, "a text is expected"),
            _ => {} // of a field that was said to be wrong
        }
        Ok(())
    }
}
