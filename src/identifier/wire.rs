//! An identifier as it is written: the whole of it, in the panel API's field order, `time_profiles.link_ids` always.

use std::num::NonZeroU32;

use serde::Serialize;

use super::photo::Photo;
use super::rule::{Api, Kind, Passes, ValidTime};
use super::{Identifier, LinkedIdentifier};
use crate::profile::LinkId;

/// The item of a link call, as a family's panels take it. It holds the whole number, and the photo.
pub fn item(linked: &LinkedIdentifier, api: Api) -> String {
    Written::of(&linked.identifier, api).with_link_id(linked.link_id).with_photo(linked.photo.as_ref()).text()
}

/// The same without a link_id.
pub fn body(identifier: &Identifier, photo: Option<&Photo>, api: Api) -> String {
    Written::of(identifier, api).with_photo(photo).text()
}

/// To be kept, and read again by [`super::parse::kept`]: no family's in particular, and of a face the digest alone.
/// Identifiers that say the same have the same text.
pub fn kept(identifier: &Identifier) -> String {
    let written = Written::of(identifier, Api::ANY);
    let (face_sha256, apartment_uid) = (face_digest(identifier), identifier.apartment_uid);
    Written { apartment_uid, face_sha256, ..written }.text()
}

/// To be read again by a form: with its link_id, the whole number, and of a face the digest alone.
pub fn carried(link_id: LinkId, identifier: &Identifier) -> String {
    let written = Written { face_sha256: face_digest(identifier), ..Written::of(identifier, Api::ANY) };
    written.with_link_id(link_id).text()
}

/// To be shown: the number's last characters alone, and nothing of codes and faces.
pub fn masked(identifier: &Identifier) -> String {
    let identifier_number = identifier.credential.masked().unwrap_or_else(|| "…".to_owned());
    Written { identifier_number, ..Written::of(identifier, Api::ANY) }.text()
}

fn face_digest(identifier: &Identifier) -> Option<String> {
    match &identifier.credential {
        super::number::Credential::Face(digest) => Some(digest.hex()),
        _ => None,
    }
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    link_id: Option<LinkId>,
    apartment_link_id: Option<LinkId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apartment_uid: Option<NonZeroU32>,
    identifier_owner: Owner<'a>,
    identifier_type: &'static str,
    identifier_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    face_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    face_sha256: Option<String>,
    lock: &'static str,
    valid: Valid,
    /// Once more, for panels that perhaps look for it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passes: Option<WrittenPasses>,
    time_profiles: TimeProfiles<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional: Option<Additional>,
}

#[derive(Serialize)]
struct Owner<'a> {
    name: &'a str,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Valid {
    time: Time,
    passes: WrittenPasses,
}

#[derive(Clone, Copy, Serialize)]
struct Time {
    is_permanent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<i64>,
}

#[derive(Clone, Copy, Serialize)]
struct WrittenPasses {
    is_permanent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_passes: Option<i64>,
}

#[derive(Serialize)]
struct TimeProfiles<'a> {
    link_ids: &'a [LinkId],
}

#[derive(Serialize)]
struct Additional {
    passes_left: i64,
}

impl<'a> Written<'a> {
    fn of(identifier: &'a Identifier, api: Api) -> Self {
        let time = match identifier.time {
            ValidTime::Permanent => Time { is_permanent: true, from: None, to: None },
            ValidTime::Between { from, to } => Time { is_permanent: false, from: Some(from), to: Some(to) },
        };
        let passes = match identifier.passes {
            Passes::Permanent => {
                WrittenPasses { is_permanent: true, max_passes: api.wants_max_passes().then_some(0) }
            }
            Passes::AtMost(most) => WrittenPasses { is_permanent: false, max_passes: Some(most.get()) },
        };
        Self {
            link_id: None,
            apartment_link_id: identifier.apartment,
            apartment_uid: None,
            identifier_owner: Owner { name: identifier.name.as_str(), r#type: identifier.owner.as_str() },
            identifier_type: identifier.credential.kind().as_str(),
            identifier_number: identifier.credential.number(api),
            face_image: None,
            face_sha256: None,
            lock: identifier.lock.as_str(),
            valid: Valid { time, passes },
            time: api.has_valid_beside().then_some(time),
            passes: api.has_valid_beside().then_some(passes),
            time_profiles: TimeProfiles { link_ids: identifier.profiles.as_slice() },
            additional: identifier.passes_left.map(|left| Additional { passes_left: left.get() }),
        }
    }

    fn with_link_id(self, link_id: LinkId) -> Self {
        Self { link_id: Some(link_id), ..self }
    }

    /// With the photo, where it is a face.
    fn with_photo(self, photo: Option<&Photo>) -> Self {
        let is_face = self.identifier_type == Kind::Face.as_str();
        Self { face_image: photo.filter(|_| is_face).map(Photo::base64), ..self }
    }

    fn text(&self) -> String {
        // Only a map with keys that are not texts, or a failing writer, can fail; neither is here.
        serde_json::to_string(self).unwrap_or_default()
    }
}
