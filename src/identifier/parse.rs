//! JSON into identifiers: every problem with its path, in the documented order.
//!
//! As for profiles there are two readers: the panel API answers with the first problem ([`link_body`]), the fleet API and
//! `identifier check` list them ([`Items`]), the first hundred named and the rest counted. The order is that of the items,
//! and within an item first all absent or mistyped fields in the order of the identifier's field table, then all wrong
//! values in that same order.
//!
//! Decisions where the panel API is silent: `null` for an optional field is as if it were absent, for a required one it is
//! of the wrong type; a name that is empty or too long is answered as a `name` of the wrong type; what does not count
//! (`from` of what is permanent, `face_image` of a card, the number of a face) is not checked. On android panels `valid`
//! and each of its parts may be absent, and is permanent then; the others want them.
//!
//! [`Items`] is stricter than a panel in what would widen a right without anybody having said so: `time_profiles` must be
//! there, if with an empty list, and a `time` that stands within `passes` is a problem. A photo that is none is a problem
//! there, and an item's refusal on a panel.

use std::num::NonZeroU32;

use super::error::{Problem, WireError};
use super::number::Credential;
use super::photo::{FaceDigest, Photo};
use super::rule::{Api, Kind, Lock, MaxPasses, OwnerKind, Passes, PassesLeft, ProfileIds, ValidTime};
use super::{Identifier, LinkedIdentifier, Refusal};
use crate::profile::LinkId;
use crate::profile::error::WireError as BodyError;
use crate::profile::parse::problems::{At, Problems as ProblemsOf};
use crate::profile::parse::{link_id, list_body, listed_link_id, name, problem_of};
use crate::profile::rule::Name;
use crate::profile::wire::{Json, MAX_VALUES};

type Problems = ProblemsOf<WireError>;

/// An item of a link call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A panel that speaks so takes it, if it has room and its number is free.
    Identifier(LinkedIdentifier),
    /// It does not, and says why in the item's result.
    Refused(LinkId, Refusal),
}

/// The key under which all families list identifiers.
const LIST: &str = "list_items";

/// Reads a body `{"list_items":[…]}` of the link call; the error is the one that the panel answers.
pub fn link_body(body: &[u8], api: Api) -> Result<Vec<Given>, Problem> {
    link_body_within(body, api, usize::MAX)
}

/// [`link_body`] of at most so many items.
pub fn link_body_within(body: &[u8], api: Api, most: usize) -> Result<Vec<Given>, Problem> {
    list_body(body, LIST, most, |json, at, problems| item(json, at, api, problems))
}

/// Reads items of lists one by one and gathers what is wrong with them: all that is wrong is counted, and the first
/// hundred places are named.
pub struct Items(Problems);

impl Default for Items {
    fn default() -> Self {
        Self(Problems::strict())
    }
}

impl Items {
    /// An identifier with its link_id, at this index of the list at this JSON pointer.
    pub fn linked(
        &mut self,
        json: &Json<'_>,
        (list, i): (&str, usize),
        api: Api,
    ) -> Option<LinkedIdentifier> {
        match item(json, &At::named(list).index(i), api, &mut self.0)? {
            Given::Identifier(linked) => Some(linked),
            // A strict reader has it among the problems.
            Given::Refused(..) => None,
        }
    }

    /// The first problems, and how many there are.
    pub fn found(self) -> (Vec<Problem>, usize) {
        self.0.found()
    }
}

/// Reads what this program wrote to keep it ([`super::wire::kept`]).
pub fn kept(body: &[u8]) -> Result<Identifier, Problem> {
    let json = Json::object(body, MAX_VALUES).map_err(problem_of)?;
    let mut problems = Problems::default();
    let read = identifier(&json, &At::root(), Api::ANY, Form::Kept, &mut problems);
    problems.end_of_item();
    match read {
        Some(Ok((identifier, _))) => problems.first_or(identifier),
        Some(Err(_)) | None => Err(problems.first()),
    }
}

/// Reads an identifier of a device's list. A face comes without its photo, as one of no digest.
pub fn read_back(json: &Json<'_>) -> Option<Identifier> {
    let mut problems = Problems::default();
    let (identifier, _) = identifier(json, &At::root(), Api::ANY, Form::ReadBack, &mut problems)?.ok()?;
    problems.end_of_item();
    problems.first_or(identifier).ok()
}

/// An identifier as a call by uid gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UidIdentifier {
    /// What it says.
    pub identifier: Identifier,
    /// The photo whose digest a face is known by.
    pub photo: Option<Photo>,
    /// Whether it says by which profiles it is bound. These calls need not, and then what is bound stays so.
    pub names_profiles: bool,
}

/// Reads a body as the calls by uid take it; a `link_id` in it is not read. `Ok(Err(_))` where the panel does not take it.
pub fn uid_body(body: &[u8], api: Api) -> Result<Result<UidIdentifier, Refusal>, Problem> {
    let json = Json::object(body, MAX_VALUES).map_err(problem_of)?;
    let mut problems = Problems::default();
    let read = identifier(&json, &At::root(), api, Form::Uid, &mut problems);
    problems.end_of_item();
    let Some(read) = read else { return Err(problems.first()) };
    let names_profiles =
        optional(&json, "time_profiles").is_some_and(|of| optional(of, "link_ids").is_some());
    let read = read.and_then(|(identifier, photo)| match identifier.refused_by(api) {
        Some(refusal) => Err(refusal),
        None => Ok(UidIdentifier { identifier, photo, names_profiles }),
    });
    problems.first_or(read)
}

/// Where an identifier stands that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In a call by link_id, or in a file. A face is known by `face_image`.
    Link,
    /// In a call by uid. A face is known by `face_image`.
    Uid,
    /// In what is kept. A face is known by `face_sha256`.
    Kept,
    /// In what a device shows. A face is known by nothing.
    ReadBack,
}

fn item(json: &Json<'_>, at: &At<'_>, api: Api, problems: &mut Problems) -> Option<Given> {
    if !matches!(json, Json::Object(_)) {
        // A panel names the list.
        let name = if problems.strict { "identifier" } else { LIST };
        problems.structure(at, BodyError::WrongType(name));
        problems.end_of_item();
        return None;
    }
    problems.twice(json, at);
    let link_id = link_id(json, at, problems);
    let read = identifier(json, at, api, Form::Link, problems);
    problems.end_of_item();
    let (link_id, read) = (link_id?, read?);
    Some(match read {
        Ok((identifier, photo)) => match identifier.refused_by(api) {
            Some(refusal) if !problems.strict => Given::Refused(link_id, refusal),
            _ => Given::Identifier(LinkedIdentifier { link_id, identifier, photo }),
        },
        Err(refusal) => Given::Refused(link_id, refusal),
    })
}

fn identifier(
    json: &Json<'_>,
    at: &At<'_>,
    api: Api,
    form: Form,
    problems: &mut Problems,
) -> Option<Result<(Identifier, Option<Photo>), Refusal>> {
    let apartment = apartment(json, at, problems);
    let apartment_uid = apartment_uid(json, at, form, problems);
    let owner = owner(json, at, problems);
    let kind = kind(json, at, api, problems);
    let number = number(json, at, kind, problems);
    let lock = lock(json, at, problems);
    let valid = valid(json, at, api, form, problems);
    let profiles = time_profiles(json, at, problems);
    let presented = match kind {
        Some(Kind::Face) => of_face(json, at, api, form, problems),
        Some(_) | None => number.map(|number| Ok((number, None))),
    };
    let passes_left = passes_left(json, at, problems);
    let (name, owner) = owner?;
    let (time, passes) = valid?;
    let (apartment, apartment_uid) = (apartment?, apartment_uid?);
    let (lock, profiles, passes_left) = (lock?, profiles?, passes_left?);
    Some(presented?.map(|(credential, photo)| {
        let identifier = Identifier {
            apartment,
            apartment_uid,
            name,
            owner,
            credential,
            lock,
            time,
            passes,
            profiles,
            passes_left,
        };
        (identifier, photo)
    }))
}

/// The optional field; nothing where it is absent or null.
fn optional<'j, 'a>(of: &'j Json<'a>, key: &str) -> Option<&'j Json<'a>> {
    of.get(key).filter(|value| !matches!(value, Json::Null))
}

/// `Some(None)` for an identifier that belongs to no apartment.
fn apartment(json: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Option<LinkId>> {
    const KEY: &str = "apartment_link_id";
    let Some(value) = optional(json, KEY) else { return Some(None) };
    let id = match value {
        Json::Text(text) => text.parse().ok(),
        _ => None,
    };
    if id.is_none() {
        problems.structure(&at.key(KEY), BodyError::WrongType(KEY));
    }
    id.map(Some)
}

/// A panel's own number for the apartment stands in what is kept alone.
fn apartment_uid(
    json: &Json<'_>,
    at: &At<'_>,
    form: Form,
    problems: &mut Problems,
) -> Option<Option<NonZeroU32>> {
    const KEY: &str = "apartment_uid";
    if form != Form::Kept || optional(json, KEY).is_none() {
        return Some(None);
    }
    let uid = u32::try_from(problems.int(json, KEY, at)?).ok().and_then(NonZeroU32::new);
    if uid.is_none() {
        problems.structure(&at.key(KEY), BodyError::WrongType(KEY));
    }
    uid.map(Some)
}

fn owner(json: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<(Name, OwnerKind)> {
    let owner = problems.object(json, "identifier_owner", at)?;
    let at = at.key("identifier_owner");
    let name = name(owner, &at, problems);
    let kind = chosen(owner, "type", &at, problems, OwnerKind::parse, WireError::OwnerType);
    Some((name?, kind?))
}

fn kind(json: &Json<'_>, at: &At<'_>, api: Api, problems: &mut Problems) -> Option<Kind> {
    let known = |text: &str| Kind::parse(text).filter(|kind| api.knows(*kind));
    chosen(json, "identifier_type", at, problems, known, WireError::Type)
}

fn lock(json: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Lock> {
    chosen(json, "lock", at, problems, Lock::parse, WireError::Lock)
}

/// One of the names of an enum.
fn chosen<T>(
    of: &Json<'_>,
    key: &'static str,
    at: &At<'_>,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Option<T>,
    wrong: WireError,
) -> Option<T> {
    let chosen = parse(problems.text(of, key, at)?);
    if chosen.is_none() {
        problems.value(&at.key(key), wrong);
    }
    chosen
}

fn number(json: &Json<'_>, at: &At<'_>, kind: Option<Kind>, problems: &mut Problems) -> Option<Credential> {
    const KEY: &str = "identifier_number";
    if kind == Some(Kind::Face) {
        return None;
    }
    let text = problems.text(json, KEY, at)?;
    let kind = kind?;
    let credential = Credential::new(kind, text);
    if credential.is_none() {
        problems.value(&at.key(KEY), WireError::Number(kind));
    }
    credential
}

fn of_face(
    json: &Json<'_>,
    at: &At<'_>,
    api: Api,
    form: Form,
    problems: &mut Problems,
) -> Option<Result<(Credential, Option<Photo>), Refusal>> {
    if form == Form::ReadBack {
        return Some(Ok((Credential::Face(FaceDigest::NONE), None)));
    }
    if form == Form::Kept {
        let read = |value: &Json<'_>| match value {
            Json::Text(text) => FaceDigest::parse(text),
            _ => None,
        };
        let digest = problems.typed(json, "face_sha256", at, read)?;
        return Some(Ok((Credential::Face(digest), None)));
    }
    if !problems.strict && !api.knows_faces() {
        // Such a panel does not look at the photo.
        return Some(Err(Refusal::NoFaces));
    }
    match Photo::from_base64(problems.text(json, "face_image", at)?) {
        Ok(photo) => Some(Ok((Credential::Face(photo.digest()), Some(photo)))),
        Err(fault) if problems.strict => {
            problems.value(&at.key("face_image"), WireError::Photo(fault));
            None
        }
        Err(fault) => Some(Err(fault.into())),
    }
}

fn valid(
    json: &Json<'_>,
    at: &At<'_>,
    api: Api,
    form: Form,
    problems: &mut Problems,
) -> Option<(ValidTime, Passes)> {
    if is_valid_beside(json, api, form) {
        return within_valid(json, at, api, problems);
    }
    match part(json, "valid", at, api, problems)? {
        Some(valid) => within_valid(valid, &at.key("valid"), api, problems),
        None => Some((ValidTime::Permanent, Passes::Permanent)),
    }
}

/// Whether `time` and `passes` stand beside the other fields: of old panels in the calls by uid, and perhaps in what is read
/// back of one, which would else count as valid for ever.
fn is_valid_beside(json: &Json<'_>, api: Api, form: Form) -> bool {
    match form {
        Form::Uid => api.has_valid_beside(),
        Form::ReadBack => optional(json, "valid").is_none(),
        Form::Link | Form::Kept => false,
    }
}

fn within_valid(
    valid: &Json<'_>,
    at: &At<'_>,
    api: Api,
    problems: &mut Problems,
) -> Option<(ValidTime, Passes)> {
    let time = match part(valid, "time", at, api, problems) {
        Some(Some(time)) => time_of(time, &at.key("time"), problems),
        Some(None) => Some(ValidTime::Permanent),
        None => None,
    };
    let passes = match part(valid, "passes", at, api, problems) {
        Some(Some(passes)) => {
            let at = at.key("passes");
            if problems.strict && optional(valid, "time").is_none() && optional(passes, "time").is_some() {
                problems.structure(&at.key("time"), WireError::MisplacedTime);
            }
            passes_of(passes, &at, problems)
        }
        Some(None) => Some(Passes::Permanent),
        None => None,
    };
    Some((time?, passes?))
}

/// An object that android panels do without: `Some(None)` there.
fn part<'j, 'a>(
    of: &'j Json<'a>,
    key: &'static str,
    at: &At<'_>,
    api: Api,
    problems: &mut Problems,
) -> Option<Option<&'j Json<'a>>> {
    if !api.wants_valid() && optional(of, key).is_none() {
        return Some(None);
    }
    problems.object(of, key, at).map(Some)
}

fn time_of(time: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<ValidTime> {
    if problems.bool(time, "is_permanent", at)? {
        return Some(ValidTime::Permanent);
    }
    let from = problems.int(time, "from", at);
    let to = problems.int(time, "to", at);
    Some(ValidTime::Between { from: from?, to: to? })
}

fn passes_of(passes: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Passes> {
    if problems.bool(passes, "is_permanent", at)? {
        return Some(Passes::Permanent);
    }
    let most = MaxPasses::new(problems.int(passes, "max_passes", at)?);
    if most.is_none() {
        problems.value(&at.key("max_passes"), WireError::MaxPasses);
    }
    most.map(Passes::AtMost)
}

fn time_profiles(json: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<ProfileIds> {
    if !problems.strict && optional(json, "time_profiles").is_none() {
        return Some(ProfileIds::default());
    }
    let profiles = problems.object(json, "time_profiles", at)?;
    let at = at.key("time_profiles");
    if !problems.strict && optional(profiles, "link_ids").is_none() {
        return Some(ProfileIds::default());
    }
    let list = problems.list(profiles, "link_ids", &at)?;
    let at = at.key("link_ids");
    let read: Vec<_> =
        list.iter().enumerate().filter_map(|(i, id)| listed_link_id(id, &at.index(i), problems)).collect();
    let all = read.len() == list.len();
    let ids = ProfileIds::new(read);
    if ids.is_none() {
        problems.value(&at, WireError::TooManyProfiles);
    }
    ids.filter(|_| all)
}

/// `Some(None)` where nothing is to be restored.
fn passes_left(json: &Json<'_>, at: &At<'_>, problems: &mut Problems) -> Option<Option<PassesLeft>> {
    if optional(json, "additional").is_none() {
        return Some(None);
    }
    let additional = problems.object(json, "additional", at)?;
    let at = at.key("additional");
    if optional(additional, "passes_left").is_none() {
        return Some(None);
    }
    let left = PassesLeft::new(problems.int(additional, "passes_left", &at)?);
    if left.is_none() {
        problems.value(&at.key("passes_left"), WireError::PassesLeft);
    }
    left.map(Some)
}

#[cfg(test)]
mod tests;
