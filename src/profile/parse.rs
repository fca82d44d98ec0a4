//! JSON into profiles: every problem with its path, in the documented order.
//!
//! One parser, two readers: the panel API answers with the first problem, the fleet API and `profile check`
//! list them all. The order is that of the list's items, and within an item first all absent or mistyped
//! fields in the order of the profile's field table, then all wrong values in that same order.
//!
//! Decisions where the panel API is silent: `null` for an optional field is as if it were absent, for a
//! required one it is of the wrong type; a name that is empty or too long is answered as a `name` of the wrong
//! type, the nearest of the documented texts; what does not count (`repeat_format` without `repeat_enable`,
//! `repeat_custom` without `custom`) is not checked either. It is kept as it was written all the same ([`Wording`]).
//! Door controllers may leave `date_from` and `date_to` out; what that means is said at `first_window` below.

use super::error::{Problem, WireError};
use super::opens::{DAY, LAST};
use super::rule::{Family, Name};
use super::wire::{self, Json, LeftOut, MAX_VALUES, Piece, Unread, Wording};
use super::{LinkId, TimeProfile, text};

pub(crate) mod problems;
mod repeat;

use problems::{At, Problems};
use repeat::repeat_options;

/// A profile with the link_id that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedProfile {
    /// The profile's link_id.
    pub link_id: LinkId,
    /// The profile.
    pub profile: TimeProfile,
}

/// Reads a body `{"list_items":[…]}` of the link calls; the error is the one that the panel answers.
pub fn link_body(body: &[u8], family: Family) -> Result<Vec<LinkedProfile>, Problem> {
    link_body_within(body, family, usize::MAX)
}

/// [`link_body`] of at most so many items.
pub fn link_body_within(body: &[u8], family: Family, most: usize) -> Result<Vec<LinkedProfile>, Problem> {
    list_body(body, list_key(family), most, |item, at, problems| linked_item(item, at, family, problems))
}

/// Reads a body `{"link_ids":[…]}` of the delete calls; the error is the one that the panel answers.
pub fn link_ids_body(body: &[u8]) -> Result<Vec<LinkId>, Problem> {
    link_ids_body_within(body, usize::MAX)
}

/// [`link_ids_body`] of at most so many items.
pub fn link_ids_body_within(body: &[u8], most: usize) -> Result<Vec<LinkId>, Problem> {
    list_body(body, "link_ids", most, listed_link_id)
}

/// Reads a body `{"uid_items":[…]}`; the error is the one that the panel answers.
pub fn uids_body(body: &[u8]) -> Result<Vec<u32>, Problem> {
    uids_body_within(body, usize::MAX)
}

/// [`uids_body`] of at most so many items.
pub fn uids_body_within(body: &[u8], most: usize) -> Result<Vec<u32>, Problem> {
    list_body(body, "uid_items", most, |item, at, problems| {
        match item {
            Json::Int(uid) => match u32::try_from(*uid) {
                Ok(uid) if uid >= 1 => return Some(uid),
                _ => problems.value(at, WireError::Uid),
            },
            _ => problems.structure(at, WireError::WrongType("uid_items")),
        }
        None
    })
}

/// Reads a body that is an object with one list, item by item. Of a list that is given twice the last one counts.
pub(crate) fn list_body<T, E: From<WireError>>(
    body: &[u8],
    key: &'static str,
    most: usize,
    mut read: impl FnMut(&Json<'_>, &At<'_>, &mut Problems<E>) -> Option<T>,
) -> Result<Vec<T>, Problem<E>> {
    let root = At::root();
    let at = root.key(key);
    let (mut is_list, mut items, mut problems) = (None, Vec::new(), Problems::default());
    wire::pieces(body, &[], |name, piece| {
        if name != key {
            return Ok(());
        }
        match piece {
            Piece::Item(i, _) if i >= most => {
                return Err(Problem { path: at.to_string(), error: WireError::TooManyItems(most).into() });
            }
            Piece::Item(i, item) => items.extend(read(&item, &at.index(i), &mut problems)),
            Piece::List | Piece::Value(_) => {
                is_list = Some(matches!(piece, Piece::List));
                (items, problems) = (Vec::new(), Problems::default());
            }
        }
        Ok(())
    })
    .map_err(|unread| match unread {
        Unread::Stopped(problem) => problem,
        unread => problem_of(unread),
    })?;
    match is_list {
        None => problems.structure(&at, WireError::Missing(key)),
        Some(false) => problems.structure(&at, WireError::WrongType(key)),
        Some(true) => {}
    }
    problems.end_of_item();
    problems.first_or(items)
}

pub(crate) fn problem_of<S, E: From<WireError>>(unread: Unread<S>) -> Problem<E> {
    match unread {
        Unread::TooManyValues(key, at) => {
            let at = at.map_or(String::new(), |at| format!("/{at}"));
            let path = if key.is_empty() { at } else { format!("{}{at}", wire::step(&key)) };
            Problem { path, error: WireError::TooManyValues.into() }
        }
        Unread::NotJson(_) | Unread::NotAnObject | Unread::Stopped(_) => {
            Problem { path: String::new(), error: WireError::NotAJsonObject.into() }
        }
    }
}

/// Reads items of lists one by one and gathers what is wrong with them: all that is wrong is counted, and the first
/// hundred places are named. Stricter than a panel: no key twice, and no name that steers what shows it.
pub struct Items(Problems);

impl Default for Items {
    fn default() -> Self {
        Self(Problems::strict())
    }
}

impl Items {
    /// A profile with its link_id, at this index of the list under this key.
    pub fn linked(
        &mut self,
        item: &Json<'_>,
        (list, i): (&'static str, usize),
        family: Family,
    ) -> Option<LinkedProfile> {
        linked_item(item, &At::root().key(list).index(i), family, &mut self.0)
    }

    /// A link_id, at this index of the list under this key.
    pub fn link_id(&mut self, item: &Json<'_>, (list, i): (&'static str, usize)) -> Option<LinkId> {
        let id = listed_link_id(item, &At::root().key(list).index(i), &mut self.0);
        self.0.end_of_item();
        id
    }

    /// A profile by itself, under this key; a link_id in it is not read.
    pub fn profile(&mut self, item: &Json<'_>, key: &'static str, family: Family) -> Option<TimeProfile> {
        let root = At::root();
        let profile = one_profile(item, &root.key(key), family, &mut self.0);
        self.0.end_of_item();
        profile
    }

    /// The first problems, and how many there are.
    pub fn found(self) -> (Vec<Problem>, usize) {
        self.0.found()
    }
}

/// Reads one profile body as the calls by uid take it; a `link_id` in it is not read.
pub fn profile_body(body: &[u8], family: Family) -> Result<TimeProfile, Problem> {
    let json = object(body)?;
    let mut problems = Problems::default();
    let profile = profile(&json, &At::root(), family, &mut problems);
    problems.end_of_item();
    match profile {
        Some(profile) => problems.first_or(profile),
        None => Err(problems.first()),
    }
}

/// Reads a body that this program wrote ([`super::wire::body`]).
pub fn stored(body: &[u8]) -> Result<TimeProfile, Problem> {
    profile_body(body, Family::DoorController)
}

/// Whether two stored bodies say the same, in whatever words.
pub fn say_the_same(one: &[u8], other: &[u8]) -> Result<bool, Problem> {
    Ok(one == other || stored(one)?.says_the_same(&stored(other)?))
}

/// Reads a list of profiles anywhere in a larger body and gathers the problems below `path`, as [`Items`] does.
/// Items with problems are left out of the answer.
pub fn linked_profiles(
    list: &Json<'_>,
    path: &str,
    family: Family,
    found: &mut Vec<Problem>,
) -> Vec<LinkedProfile> {
    gather(path, true, found, |at, problems| match list {
        Json::List(items) => {
            let items = items.iter().enumerate();
            items.filter_map(|(i, item)| linked_item(item, &at.index(i), family, problems)).collect()
        }
        _ => {
            problems.structure(at, WireError::WrongType("list_items"));
            Vec::new()
        }
    })
}

/// Reads one profile anywhere in a larger body and gathers every problem below `path`; a link_id in it is not
/// read.
pub fn profile_at(
    item: &Json<'_>,
    path: &str,
    family: Family,
    found: &mut Vec<Problem>,
) -> Option<TimeProfile> {
    gather(path, false, found, |at, problems| one_profile(item, at, family, problems))
}

fn one_profile(item: &Json<'_>, at: &At<'_>, family: Family, problems: &mut Problems) -> Option<TimeProfile> {
    if !matches!(item, Json::Object(_)) {
        problems.structure(at, WireError::WrongType("profile"));
        return None;
    }
    problems.twice(item, at);
    profile(item, at, family, problems)
}

/// Reads something at a path and adds the problems with it to those found before.
fn gather<T>(
    path: &str,
    strict: bool,
    found: &mut Vec<Problem>,
    read: impl FnOnce(&At<'_>, &mut Problems) -> T,
) -> T {
    let mut problems = Problems { strict, ..Problems::default() };
    let value = read(&At::named(path), &mut problems);
    problems.end_of_item();
    found.extend(problems.done);
    value
}

/// The key under which a family lists its items.
pub fn list_key(family: Family) -> &'static str {
    match family {
        Family::Android | Family::Camdroid | Family::IngenicMips => "list_items",
        Family::DoorController => "items",
    }
}

fn object(body: &[u8]) -> Result<Json<'_>, Problem> {
    Json::object(body, MAX_VALUES).map_err(problem_of)
}

fn linked_item(
    item: &Json<'_>,
    at: &At<'_>,
    family: Family,
    problems: &mut Problems,
) -> Option<LinkedProfile> {
    if !matches!(item, Json::Object(_)) {
        problems.structure(at, WireError::WrongType(list_key(family)));
        problems.end_of_item();
        return None;
    }
    problems.twice(item, at);
    let link_id = link_id(item, at, problems);
    let profile = profile(item, at, family, problems);
    problems.end_of_item();
    Some(LinkedProfile { link_id: link_id?, profile: profile? })
}

/// An item of a list of link_ids. Such a list is like one item: its problems are not ended here.
pub(crate) fn listed_link_id<E: From<WireError>>(
    item: &Json<'_>,
    at: &At<'_>,
    problems: &mut Problems<E>,
) -> Option<LinkId> {
    let parsed = match item {
        Json::Text(text) => text.parse().ok(),
        _ => None,
    };
    if parsed.is_none() {
        problems.structure(at, WireError::WrongType("link_ids"));
    }
    parsed
}

pub(crate) fn link_id<E: From<WireError>>(
    item: &Json<'_>,
    at: &At<'_>,
    problems: &mut Problems<E>,
) -> Option<LinkId> {
    let text = problems.text(item, "link_id", at)?;
    let id = text.parse().ok();
    if id.is_none() {
        problems.structure(&at.key("link_id"), WireError::WrongType("link_id"));
    }
    id
}

fn profile(item: &Json<'_>, at: &At<'_>, family: Family, problems: &mut Problems) -> Option<TimeProfile> {
    let name = name(item, at, problems);
    let time = time_options(item, at, family, problems);
    problems.worded = false;
    let repeat = repeat_options(item, at, family, problems);
    let (name, times, repeat) = (name?, time?, repeat?);
    let (all_day, from, to) = first_window(&times, repeat.is_some());
    let left_out = LeftOut {
        from: times.from.is_none(),
        to: times.to.is_none(),
        times_of_day: all_day != times.all_day,
    };
    // As nearly always there is nothing to keep, and then nothing is written to see that.
    let wording = if problems.worded || left_out != LeftOut::default() {
        Wording::of(item.get("repeat_options"), repeat.as_ref(), left_out)
    } else {
        None
    };
    Some(TimeProfile { name, all_day, from, to, repeat, wording })
}

pub(crate) fn name<E: From<WireError>>(
    item: &Json<'_>,
    at: &At<'_>,
    problems: &mut Problems<E>,
) -> Option<Name> {
    let given = problems.text(item, "name", at)?;
    let name = Name::new(given);
    if name.is_none() {
        problems.value(&at.key("name"), WireError::WrongType("name"));
    } else if problems.strict
        && let Some(steering) = given.chars().find(|c| text::steers(*c))
    {
        problems.value(&at.key("name"), WireError::NameCharacter(steering));
    }
    name
}

/// The `time_options` as they are given; a door controller's may lack dates.
struct Times {
    all_day: bool,
    from: Option<i64>,
    to: Option<i64>,
}

fn time_options(item: &Json<'_>, at: &At<'_>, family: Family, problems: &mut Problems) -> Option<Times> {
    let options = problems.object(item, "time_options", at)?;
    let at = at.key("time_options");
    let all_day = problems.bool(options, "is_all_day", &at);
    let from = date(options, "date_from", &at, family, problems);
    let to = date(options, "date_to", &at, family, problems);
    Some(Times { all_day: all_day?, from: from?, to: to? })
}

/// `Some(None)` where a door controller's profile has none.
fn date(
    options: &Json<'_>,
    key: &'static str,
    at: &At<'_>,
    family: Family,
    problems: &mut Problems,
) -> Option<Option<i64>> {
    if family == Family::DoorController && matches!(options.get(key), None | Some(Json::Null)) {
        return Some(None);
    }
    problems.int(options, key, at).map(Some)
}

/// The first window: whether it covers whole days, and its ends. Where a date is left out, a window without repetition
/// is open-ended: since 1970, or up to the end of the year 9999. One that repeats is a day long: the day, or the 24
/// hours, from its one date on or up to it. Without any date there are no times of day either, so it covers whole
/// local days, and its rule counts from 1 January 1970, a Thursday.
fn first_window(times: &Times, repeats: bool) -> (bool, i64, i64) {
    /// At noon in UTC that day is the same in nearly all zones.
    const NOON: i64 = DAY / 2;
    let all_day = times.all_day;
    let day = if all_day { 0 } else { DAY };
    match (times.from, times.to) {
        (Some(from), Some(to)) => (all_day, from, to),
        (from, to) if !repeats => (all_day, from.unwrap_or(0), to.unwrap_or(LAST)),
        (Some(from), None) => (all_day, from, from.saturating_add(day)),
        (None, Some(to)) => (all_day, to.saturating_sub(day), to),
        (None, None) => (true, NOON, NOON),
    }
}
