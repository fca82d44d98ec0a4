//! An identifier as the fields of a form: from them to the JSON that a batch takes, and back.

use serde_json::{Map, Value, json};

use crate::fleet::FieldError;
use crate::http::body::parts::Parts;
use crate::identifier::photo::{Photo, PhotoFault};
use crate::identifier::rule::{Kind, Passes, ValidTime};
use crate::identifier::{Identifier, people, wire};
use crate::panel::settings::Zone;
use crate::profile::LinkId;
use crate::web::visitor::Fields;

/// What stands in an item in place of its photo.
pub const DIGEST: &str = "face_sha256";

/// The photo that a form brings: nothing where none was chosen.
pub fn photo_in(parts: &mut Parts) -> Result<Option<Photo>, FieldError> {
    let wrong = |why: String| FieldError::at("/face_image", why);
    if parts.more_files {
        return Err(wrong("one photo is taken, not several".to_owned()));
    }
    let Some(file) = parts.file.take() else { return Ok(None) };
    let bytes = file.bytes.ok_or_else(|| wrong(PhotoFault::TooLarge(file.length).to_string()))?;
    Photo::from_jpeg(bytes.into()).map(Some).map_err(|fault| wrong(fault.to_string()))
}

/// What a form says.
pub struct Read {
    /// As a batch takes it, but that a face has the digest of its photo in [`DIGEST`]. What is wrong with its values
    /// otherwise, the batch's reader says. It holds the whole number.
    pub item: Value,
    /// What is wrong with the form's own fields, by JSON path.
    pub errors: Vec<FieldError>,
}

impl Read {
    /// Of a form with the photo that it brings, and what it was read as before. What the form has no field for stays as it
    /// was; so does a number or a photo that is not given, unless the type is another.
    pub fn of(fields: &Fields, photo: Result<Option<&Photo>, FieldError>, before: Option<&str>) -> Self {
        let before = before.and_then(|item| serde_json::from_str::<Map<String, Value>>(item).ok());
        let mut item = before.unwrap_or_default();
        let mut errors = Vec::new();
        let kind = fields.one("type");
        let brought = !matches!(photo, Ok(None));
        if kind == Kind::Face.as_str() {
            put_face(&mut item, fields, photo, &mut errors);
        } else if !fields.one("number").is_empty() {
            item.insert("identifier_number".into(), fields.one("number").into());
        } else if item.get("identifier_type").and_then(Value::as_str) != Some(kind) {
            item.insert("identifier_number".into(), "".into());
            errors.push(FieldError::at("/identifier_number", "a number is expected"));
        }
        if kind != Kind::Face.as_str() {
            item.remove(DIGEST);
            if brought {
                let why = "only a face has a photo; choose that type, or no photo";
                errors.push(FieldError::at("/face_image", why));
            }
        }
        item.insert("link_id".into(), fields.one("link_id").into());
        let owner = if fields.one("owner").is_empty() { "owner" } else { fields.one("owner") };
        item.insert("identifier_owner".into(), json!({ "name": fields.exactly("name"), "type": owner }));
        item.insert("identifier_type".into(), kind.into());
        let lock = if fields.one("lock").is_empty() { "first" } else { fields.one("lock") };
        item.insert("lock".into(), lock.into());
        let (time, passes) = (time(fields, &mut errors), passes(fields));
        item.insert("valid".into(), json!({ "time": time, "passes": passes }));
        let ids = fields.all("profiles").flat_map(|ids| ids.split([' ', ',', '\r', '\n']));
        let ids: Vec<_> = ids.filter(|id| !id.is_empty()).map(str::to_ascii_lowercase).collect();
        match (ids.is_empty(), fields.ticked("any_time")) {
            (true, false) => errors.push(FieldError::at(
                "/time_profiles",
                "choose the profiles that say when it opens, or that it opens at any time",
            )),
            (false, true) => errors.push(FieldError::at(
                "/time_profiles",
                "either profiles, or at any time: with a profile it opens only when one is open",
            )),
            (true, true) | (false, false) => {}
        }
        item.insert("time_profiles".into(), json!({ "link_ids": ids }));
        Self { item: item.into(), errors }
    }
}

/// A face has a photo in place of a number.
fn put_face(
    item: &mut Map<String, Value>,
    fields: &Fields,
    photo: Result<Option<&Photo>, FieldError>,
    errors: &mut Vec<FieldError>,
) {
    item.insert("identifier_number".into(), "".into());
    if !fields.one("number").is_empty() {
        errors.push(FieldError::at("/identifier_number", "a face has none: its photo is what opens"));
    }
    match photo {
        Ok(Some(photo)) => {
            item.insert(DIGEST.into(), photo.digest().hex().into());
        }
        Ok(None) if item.contains_key(DIGEST) => {}
        Ok(None) => {
            errors.push(FieldError::at("/face_image", "a photo is expected: a JPEG of at most 1 MiB"));
        }
        Err(error) => errors.push(error),
    }
}

fn time(fields: &Fields, errors: &mut Vec<FieldError>) -> Value {
    let zone = Zone::new(fields.one("zone"));
    if zone.is_none() && !fields.one("zone").is_empty() {
        errors.push(FieldError::at("/zone", Zone::unknown(fields.one("zone"))));
    }
    let rules = zone.as_ref().map(Zone::rules);
    let mut moment = |name: &str, end| match fields.one(name) {
        "" => None,
        text => people::moment(text, rules, end)
            .map_err(|why| errors.push(FieldError::at(format!("/valid/time/{name}"), why)))
            .ok(),
    };
    let (from, to) = (moment("from", false), moment("to", true));
    match (fields.one("from"), fields.one("to")) {
        ("", "") => json!({ "is_permanent": true }),
        (_, "") => {
            let why = "what has a beginning has an end; write a far one, such as 2099-12-31";
            errors.push(FieldError::at("/valid/time/to", why));
            json!({ "is_permanent": false, "from": from, "to": to })
        }
        _ => json!({ "is_permanent": false, "from": from.unwrap_or(0), "to": to }),
    }
}

fn passes(fields: &Fields) -> Value {
    match fields.one("passes") {
        "" => json!({ "is_permanent": true }),
        text => {
            let most = text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
            json!({ "is_permanent": false, "max_passes": most })
        }
    }
}

/// The fields that say what an identifier says, without its number or photo; and the whole of it, as it is read again.
pub fn fields_of(link_id: LinkId, identifier: Identifier, zone: &Zone) -> (Fields, String) {
    let mut pairs = vec![
        ("link_id", link_id.to_string()),
        ("name", identifier.name.as_str().to_owned()),
        ("owner", identifier.owner.as_str().to_owned()),
        ("type", identifier.credential.kind().as_str().to_owned()),
        ("lock", identifier.lock.as_str().to_owned()),
        ("zone", zone.name().to_owned()),
    ];
    if let ValidTime::Between { from, to } = identifier.time {
        // One from 1970 on has no beginning that anybody meant.
        if from != 0 {
            pairs.push(("from", people::written(from, zone.rules(), false)));
        }
        pairs.push(("to", people::written(to, zone.rules(), true)));
    }
    if let Passes::AtMost(most) = identifier.passes {
        pairs.push(("passes", most.get().to_string()));
    }
    match identifier.profiles.as_slice() {
        [] => pairs.push(("any_time", "yes".to_owned())),
        ids => pairs.extend(ids.iter().map(|id| ("profiles", id.to_string()))),
    }
    let item = wire::carried(link_id, &identifier);
    (Fields::of(pairs.into_iter().map(|(name, value)| (name.to_owned(), value))), item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::LinkedIdentifier;
    use crate::identifier::number::Credential;
    use crate::identifier::parse::Items;
    use crate::identifier::rule::{Api, Lock, MaxPasses, OwnerKind, PassesLeft, ProfileIds};
    use crate::profile::rule::Name;
    use crate::profile::wire::Json;

    fn read(item: &Value) -> LinkedIdentifier {
        let text = item.to_string();
        let json = Json::read(text.as_bytes()).expect("JSON");
        let mut items = Items::default();
        let linked = items.linked(&json, ("", 0), Api::ANY);
        assert_eq!(items.found().1, 0);
        linked.expect("an identifier")
    }

    fn guest() -> Identifier {
        Identifier {
            apartment: Some(LinkId::from_bytes([9; 16])),
            apartment_uid: None,
            name: Name::new("Flat 12, guest").expect("a name"),
            owner: OwnerKind::Guest,
            credential: Credential::new(Kind::Code, "482915").expect("a code"),
            lock: Lock::All,
            time: ValidTime::Between { from: 1_767_218_401, to: 1_798_754_400 },
            passes: Passes::AtMost(MaxPasses::new(3).expect("a number")),
            profiles: ProfileIds::new([LinkId::from_bytes([1; 16])]).expect("few"),
            passes_left: PassesLeft::new(2),
        }
    }

    #[test]
    fn what_a_form_does_not_change_stays_and_its_number_is_in_no_field() {
        let link_id = LinkId::from_bytes([7; 16]);
        let zone = Zone::new("Europe/Kyiv").expect("a zone");
        for any_time in [false, true] {
            let mut identifier = guest();
            if any_time {
                identifier.profiles = ProfileIds::default();
            }
            let (fields, item) = fields_of(link_id, identifier.clone(), &zone);
            assert!(item.contains("482915"));
            assert_eq!((fields.one("number"), fields.one("to")), ("", "2026-12-31"));
            let again = Read::of(&fields, Ok(None), Some(&item));
            assert!(again.errors.is_empty(), "{:?}", again.errors);
            assert_eq!(read(&again.item).identifier, identifier);
        }
    }

    #[test]
    fn another_type_wants_a_number_and_no_profile_wants_to_be_said() {
        let link_id = LinkId::from_bytes([7; 16]);
        let (_, item) = fields_of(link_id, guest(), &Zone::utc());
        let form = |pairs: &[(&str, &str)]| {
            Fields::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        };
        let found = Read::of(&form(&[("type", "card"), ("name", "A")]), Ok(None), Some(&item));
        let paths: Vec<_> = found.errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["/identifier_number", "/time_profiles"]);
        assert!(!found.item.to_string().contains("482915"), "a code is no card");
        let found = Read::of(
            &form(&[("type", "inputCode"), ("from", "2026-01-01"), ("any_time", "yes")]),
            Ok(None),
            Some(&item),
        );
        let paths: Vec<_> = found.errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["/valid/time/from", "/valid/time/to"], "a day has no zone here");
    }

    #[test]
    fn a_face_keeps_its_photo_until_another_one_or_another_type_is_chosen() {
        let link_id = LinkId::from_bytes([7; 16]);
        let photo = |last: u8| Photo::from_jpeg(vec![0xff, 0xd8, 0xff, last]).expect("a photo");
        let (old, new) = (photo(1), photo(2));
        let face = Identifier { credential: Credential::Face(old.digest()), ..guest() };
        let (fields, item) = fields_of(link_id, face, &Zone::utc());
        let digest = |read: &Read| read.item[DIGEST].as_str().map(str::to_owned);
        let paths = |read: &Read| read.errors.iter().map(|error| error.path.clone()).collect::<Vec<_>>();
        let kept = Read::of(&fields, Ok(None), Some(&item));
        assert_eq!((paths(&kept), digest(&kept)), (Vec::new(), Some(old.digest().hex())));
        let changed = Read::of(&fields, Ok(Some(&new)), Some(&item));
        assert_eq!((paths(&changed), digest(&changed)), (Vec::new(), Some(new.digest().hex())));
        let wrong = Read::of(&fields, Err(FieldError::at("/face_image", "none")), Some(&item));
        assert_eq!(
            (paths(&wrong), digest(&wrong)),
            (vec!["/face_image".to_owned()], Some(old.digest().hex()))
        );
        let first = Read::of(&fields, Ok(None), None);
        assert_eq!((paths(&first), digest(&first)), (vec!["/face_image".to_owned()], None));
        let mut pairs = vec![("type", "card"), ("number", "7"), ("name", "A"), ("any_time", "yes")];
        let form = |pairs: &[(&str, &str)]| {
            Fields::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        };
        let card = Read::of(&form(&pairs), Ok(None), Some(&item));
        assert_eq!((paths(&card), digest(&card)), (Vec::new(), None));
        let card = Read::of(&form(&pairs), Ok(Some(&new)), Some(&item));
        assert_eq!(paths(&card), ["/face_image"], "a card has no photo");
        pairs[0].1 = "face_id";
        let face = Read::of(&form(&pairs), Ok(Some(&new)), None);
        assert_eq!(paths(&face), ["/identifier_number"], "and a face no number");
    }
}
