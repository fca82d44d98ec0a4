//! What is read, and what is said of what is not.

use serde_json::{Value, json};

use super::*;
use crate::identifier::photo::PhotoFault;
use crate::identifier::wire;
use crate::profile::rule::Family;

const LINK: &str = "5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11";
const PROFILE: &str = "91c615e3-1040-4815-8ecb-039a18b756b5";

fn api(family: Family) -> Api {
    Api::of(family, None).expect("a family with identifiers")
}

fn android() -> Api {
    api(Family::Android)
}

/// The example of the documents.
fn card() -> Value {
    json!({
        "link_id": LINK,
        "apartment_link_id": "0c8e1a7e-7f5d-4a0e-9a0c-3c5d6b7a8f90",
        "identifier_owner": { "name": "Flat 12, first", "type": "owner" },
        "identifier_type": "card",
        "identifier_number": "0A-1B-2C-3D",
        "lock": "first",
        "valid": {
            "time": { "is_permanent": false, "from": 1_767_225_600, "to": 1_798_761_600 },
            "passes": { "is_permanent": false, "max_passes": 3 }
        },
        "time_profiles": { "link_ids": [PROFILE] },
        "additional": { "passes_left": -1 }
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut card = card();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    card.pointer_mut(parent).expect("it is there")[key] = value;
    card
}

fn without(pointer: &str) -> Value {
    let mut card = card();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    card.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(key);
    card
}

fn face(image: &str) -> Value {
    let mut face = with("/identifier_type", json!("face_id"));
    face["face_image"] = json!(image);
    face
}

const JPEG: &str = "/9j/4AAQSkZJRg==";

/// What a panel says.
fn panel(item: &Value, api: Api) -> Result<Given, String> {
    let body = json!({ "list_items": [item] }).to_string();
    match link_body(body.as_bytes(), api) {
        Ok(mut given) => Ok(given.pop().expect("one")),
        Err(problem) => Err(format!("{} {}", problem.path, problem.error)),
    }
}

/// What a strict reader says.
fn strict(item: &Value, api: Api) -> (Option<LinkedIdentifier>, Vec<String>) {
    let text = item.to_string();
    let mut items = Items::default();
    let linked = items.linked(&Json::read(text.as_bytes()).expect("JSON"), ("/identifiers", 4), api);
    let (problems, all) = items.found();
    assert_eq!(problems.len(), all.min(100));
    let said = problems.iter().map(|problem| {
        assert!(!problem.error.hint().is_empty());
        format!("{} {}", problem.path, problem.error)
    });
    (linked, said.collect())
}

fn taken(item: &Value, api: Api) -> LinkedIdentifier {
    match panel(item, api) {
        Ok(Given::Identifier(linked)) => linked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_documented_example_is_read_and_written_as_it_stands() {
    for family in [Family::Android, Family::Camdroid, Family::IngenicMips] {
        let linked = taken(&card(), api(family));
        assert_eq!(wire::item(&linked, api(family)), {
            // In the order of the field table, which a Value does not keep.
            let valid = r#"{"time":{"is_permanent":false,"from":1767225600,"to":1798761600},"passes":{"is_permanent":false,"max_passes":3}}"#;
            format!(
                r#"{{"link_id":"{LINK}","apartment_link_id":"0c8e1a7e-7f5d-4a0e-9a0c-3c5d6b7a8f90","identifier_owner":{{"name":"Flat 12, first","type":"owner"}},"identifier_type":"card","identifier_number":"0A-1B-2C-3D","lock":"first","valid":{valid},"time_profiles":{{"link_ids":["{PROFILE}"]}},"additional":{{"passes_left":-1}}}}"#
            )
        });
        assert_eq!(strict(&card(), api(family)), (Some(linked), vec![]));
    }
}

#[test]
fn what_may_be_absent_is_written_all_the_same() {
    let bare = json!({
        "link_id": LINK,
        "identifier_owner": { "name": "n", "type": "guest" },
        "identifier_type": "inputCode",
        "identifier_number": "007",
        "lock": "all",
    });
    let linked = taken(&bare, android());
    let rest = r#""identifier_owner":{"name":"n","type":"guest"},"identifier_type":"inputCode","identifier_number":"007","lock":"all","valid":{"time":{"is_permanent":true},"passes":{"is_permanent":true"#;
    let written = |max: &str| {
        format!(r#"{{"apartment_link_id":null,{rest}{max}}}}},"time_profiles":{{"link_ids":[]}}}}"#)
    };
    assert_eq!(wire::body(&linked.identifier, None, android()), written(""));
    assert_eq!(wire::body(&linked.identifier, None, api(Family::Camdroid)), written(r#","max_passes":0"#));
    assert_eq!(
        panel(&bare, api(Family::Camdroid)),
        Err("/list_items/0/valid Wrong JSON body: no value for `valid`".into())
    );
    let (none, said) = strict(&bare, android());
    assert_eq!(none, None);
    assert_eq!(said, ["/identifiers/4/time_profiles Wrong JSON body: no value for `time_profiles`"]);
    // As absent: null, and what a real client sends to android panels.
    for pointer in [
        "/apartment_link_id",
        "/valid",
        "/time_profiles",
        "/additional",
        "/additional/passes_left",
        "/valid/time",
    ] {
        taken(&with(pointer, Value::Null), android());
    }
    let misplaced = with(
        "/valid",
        json!({ "passes": { "is_permanent": true, "max_passes": null, "time": { "from": null } } }),
    );
    let identifier = taken(&misplaced, android()).identifier;
    assert_eq!((identifier.time, identifier.passes), (ValidTime::Permanent, Passes::Permanent));
    let (_, said) = strict(&misplaced, android());
    assert_eq!(
        said,
        ["/identifiers/4/valid/passes/time `time` stands within `passes`, where it does not count"]
    );
}

#[test]
fn every_absent_or_mistyped_field_is_named() {
    for pointer in [
        "/link_id",
        "/identifier_owner",
        "/identifier_owner/name",
        "/identifier_owner/type",
        "/identifier_type",
        "/identifier_number",
        "/lock",
        "/valid/time/is_permanent",
        "/valid/time/from",
        "/valid/time/to",
        "/valid/passes/is_permanent",
        "/valid/passes/max_passes",
    ] {
        let field = pointer.rsplit('/').next().expect("a field");
        let missing = format!("/list_items/0{pointer} Wrong JSON body: no value for `{field}`");
        assert_eq!(panel(&without(pointer), android()), Err(missing));
        for wrong in [json!(null), json!(1.5)] {
            let mistyped =
                format!("/list_items/0{pointer} Wrong JSON body: value `{field}` was of the wrong type");
            assert_eq!(panel(&with(pointer, wrong), android()), Err(mistyped));
        }
    }
    for (pointer, wrong, field) in [
        ("/link_id", json!("x"), "link_id"),
        ("/apartment_link_id", json!(""), "apartment_link_id"),
        ("/apartment_link_id", json!(7), "apartment_link_id"),
        ("/identifier_number", json!(1_234_567), "identifier_number"),
        ("/identifier_owner/name", json!(""), "name"),
        ("/identifier_owner/name", json!("n".repeat(101)), "name"),
        ("/valid", json!(true), "valid"),
        ("/time_profiles", json!([]), "time_profiles"),
        ("/time_profiles/link_ids", json!("x"), "link_ids"),
        ("/additional", json!(-1), "additional"),
        ("/additional/passes_left", json!("3"), "passes_left"),
    ] {
        let mistyped =
            format!("/list_items/0{pointer} Wrong JSON body: value `{field}` was of the wrong type");
        assert_eq!(panel(&with(pointer, wrong), android()), Err(mistyped));
    }
    for pointer in ["/valid", "/valid/time", "/valid/passes"] {
        let field = pointer.rsplit('/').next().expect("a field");
        let missing = format!("/list_items/0{pointer} Wrong JSON body: no value for `{field}`");
        assert_eq!(panel(&without(pointer), api(Family::IngenicMips)), Err(missing));
    }
    let not_items =
        |body: &str| link_body(body.as_bytes(), android()).expect_err("refused").error.to_string();
    assert_eq!(not_items("["), "Wrong JSON body");
    assert_eq!(not_items("{}"), "Wrong JSON body: no value for `list_items`");
    assert_eq!(
        not_items(r#"{"list_items":{}}"#),
        "Wrong JSON body: value `list_items` was of the wrong type"
    );
    assert_eq!(
        not_items(r#"{"list_items":[7]}"#),
        "Wrong JSON body: value `list_items` was of the wrong type"
    );
}

#[test]
fn every_wrong_value_is_named() {
    let ids: Vec<_> = (0..65).map(|n| json!(format!("91c615e3-1040-4815-8ecb-{n:012x}"))).collect();
    for (pointer, wrong, said) in [
        ("/identifier_owner/type", json!("Owner"), "Wrong identifier_owner type enum name"),
        ("/identifier_type", json!("input_code"), "Wrong identifier_type"),
        ("/identifier_number", json!("0A1B2C3D"), "Wrong identifier_number"),
        ("/lock", json!("third"), "Wrong lock"),
        ("/valid/passes/max_passes", json!(0), "Wrong max_passes range"),
        ("/valid/passes/max_passes", json!(1_i64 << 31), "Wrong max_passes range"),
        ("/additional/passes_left", json!(-2), "Wrong passes_left range"),
        ("/time_profiles/link_ids", json!(ids), "Wrong time_profiles range"),
    ] {
        assert_eq!(panel(&with(pointer, wrong), android()), Err(format!("/list_items/0{pointer} {said}")));
    }
    for (kind, number) in [("ukey", "0A"), ("inputCode", "12-34"), ("qr", "1234"), ("license_plate", " ")] {
        let mut item = with("/identifier_type", json!(kind));
        item["identifier_number"] = json!(number);
        assert_eq!(
            panel(&item, android()),
            Err("/list_items/0/identifier_number Wrong identifier_number".into())
        );
    }
    assert_eq!(
        panel(&with("/time_profiles/link_ids", json!([PROFILE, 7])), android()),
        Err("/list_items/0/time_profiles/link_ids/1 Wrong JSON body: value `link_ids` was of the wrong type"
            .into())
    );
}

#[test]
fn a_profile_that_is_named_twice_binds_once_and_the_order_stays() {
    let other = "00000000-1040-4815-8ecb-039a18b756b5";
    let linked =
        taken(&with("/time_profiles/link_ids", json!([PROFILE, other, PROFILE.to_uppercase()])), android());
    let ids: Vec<_> = linked.identifier.profiles.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(ids, [PROFILE, other]);
}

#[test]
fn structure_comes_before_values_and_all_of_an_item_is_told() {
    let mut item = card();
    item["lock"] = json!("third");
    item["identifier_owner"]["type"] = json!("x");
    item["identifier_number"] = json!("x");
    item["time_profiles"]["link_ids"] = json!([1, "y"]);
    item["additional"] = json!(7);
    item["link_id"] = json!(7);
    let (none, said) = strict(&item, android());
    assert_eq!(none, None);
    let wrong = |at: &str, field: &str| {
        format!("/identifiers/4{at} Wrong JSON body: value `{field}` was of the wrong type")
    };
    assert_eq!(
        said,
        [
            wrong("/link_id", "link_id"),
            wrong("/time_profiles/link_ids/0", "link_ids"),
            wrong("/time_profiles/link_ids/1", "link_ids"),
            wrong("/additional", "additional"),
            "/identifiers/4/identifier_owner/type Wrong identifier_owner type enum name".into(),
            "/identifiers/4/identifier_number Wrong identifier_number".into(),
            "/identifiers/4/lock Wrong lock".into(),
        ]
    );
}

#[test]
fn a_hundred_problems_are_named_and_all_are_counted() {
    let mut items = Items::default();
    for i in 0..60 {
        items.linked(&Json::Object(vec![]), ("/identifiers", i), android());
    }
    let (named, all) = items.found();
    assert_eq!((named.len(), all), (100, 60 * 6));
    assert_eq!(named[99].path, "/identifiers/16/identifier_number");
}

#[test]
fn a_strict_reader_takes_no_key_twice_and_no_name_that_steers() {
    let twice = format!(r#"{{"lock":"first",{}"#, &card().to_string()[1..]);
    let mut items = Items::default();
    items.linked(&Json::read(twice.as_bytes()).expect("JSON"), ("/identifiers", 0), android());
    items.linked(
        &Json::read(with("/identifier_owner/name", json!("\u{202e}x")).to_string().as_bytes()).expect("JSON"),
        ("/identifiers", 1),
        android(),
    );
    let said: Vec<_> = items.found().0.into_iter().map(|problem| (problem.path, problem.error)).collect();
    assert_eq!(
        said,
        [
            ("/identifiers/0/lock".to_owned(), BodyError::Twice.into()),
            ("/identifiers/1/identifier_owner/name".to_owned(), BodyError::NameCharacter('\u{202e}').into()),
        ]
    );
}

#[test]
fn faces_are_known_by_their_photo() {
    let linked = taken(&face(JPEG), android());
    let photo = linked.photo.clone().expect("a photo");
    assert_eq!(linked.identifier.credential, Credential::Face(photo.digest()));
    let written: Value = serde_json::from_str(&wire::item(&linked, android())).expect("JSON");
    assert_eq!((&written["identifier_number"], &written["face_image"]), (&json!(""), &json!(JPEG)));
    let kept_text = wire::kept(&linked.identifier);
    assert!(kept_text.contains(&photo.digest().hex()) && !kept_text.contains("face_image"), "{kept_text}");
    assert_eq!(kept(kept_text.as_bytes()), Ok(linked.identifier));
    // The number does not count beside a photo, nor a photo beside a number.
    let mut numbered = face(JPEG);
    numbered["identifier_number"] = json!(7);
    taken(&numbered, android());
    assert_eq!(taken(&with("/face_image", json!(7)), android()).photo, None);
    let missing = "/list_items/0/face_image Wrong JSON body: no value for `face_image`";
    assert_eq!(panel(&with("/identifier_type", json!("face_id")), android()), Err(missing.into()));
}

#[test]
fn what_a_panel_refuses_of_an_item_is_no_error_of_the_call() {
    let link_id: LinkId = LINK.parse().expect("a UUID");
    let refused = |refusal: Refusal| Ok(Given::Refused(link_id, refusal));
    let png = face("iVBORw0KGgo=");
    assert_eq!(panel(&png, android()), refused(PhotoFault::NotJpeg(8).into()));
    assert_eq!(panel(&face("x"), android()), refused(PhotoFault::NotBase64.into()));
    assert_eq!(
        strict(&png, android()).1,
        ["/identifiers/4/face_image bad_base_64_image_file: the photo of 8 bytes is no JPEG"]
    );
    for family in [Family::Camdroid, Family::IngenicMips] {
        assert_eq!(panel(&face("x"), api(family)), refused(Refusal::NoFaces));
        let (linked, said) = strict(&face(JPEG), api(family));
        assert_eq!(said, [""; 0]);
        assert_eq!(
            linked.and_then(|linked| linked.identifier.refused_by(api(family))),
            Some(Refusal::NoFaces)
        );
    }
    let never = with("/valid/time/to", json!(1_767_225_600));
    assert_eq!(panel(&never, android()), refused(Refusal::NeverOpens));
    assert_eq!(Refusal::NeverOpens.extended_info(), "invalid_time_rules_settings");
    assert_eq!(Refusal::NoFaces.extended_info(), "face_id_not_supported");
    assert_eq!(Refusal::Photo(PhotoFault::NotBase64).extended_info(), "bad_base_64_image_file");
    assert!(strict(&never, android()).0.is_some(), "it is well-formed");
}

#[test]
fn families_know_their_types() {
    let mut plate = with("/identifier_type", json!("license_plate"));
    plate["identifier_number"] = json!("aa 1234-bb");
    let wrong = Err("/list_items/0/identifier_type Wrong identifier_type".to_owned());
    for (family, version, known) in [
        (Family::Android, Some([2, 1, 0]), false),
        (Family::Android, Some([2, 4, 0]), true),
        (Family::Android, None, true),
        (Family::Camdroid, Some([1, 0, 3]), false),
        (Family::Camdroid, Some([1, 0, 4]), true),
        (Family::Camdroid, None, true),
        (Family::IngenicMips, Some([1, 0, 0]), true),
    ] {
        let api = Api::of(family, version).expect("a family with identifiers");
        match panel(&plate, api) {
            Ok(Given::Identifier(linked)) if known => {
                assert_eq!(linked.identifier.credential.number(api), "AA1234BB");
            }
            other => {
                assert!(!known, "{family} {version:?}: {other:?}");
                assert_eq!(other, wrong);
                // One that was read for newer panels too is not sent to this one.
                assert_eq!(taken(&plate, android()).identifier.refused_by(api), Some(Refusal::NoPlates));
            }
        }
    }
    assert!(Api::of(Family::DoorController, None).is_err());
}

#[test]
fn camdroid_panels_before_1_0_have_beside_the_other_fields_when_it_is_valid() {
    let older = Api::of(Family::Camdroid, Some([0, 6, 0])).expect("a family with identifiers");
    let newer = api(Family::Camdroid);
    let linked = taken(&card(), older);
    assert_eq!(linked, taken(&card(), newer), "by link_id it stands where it does on others");
    let written: Value = serde_json::from_str(&wire::item(&linked, older)).expect("JSON");
    assert_eq!(json!({ "time": written["time"], "passes": written["passes"] }), written["valid"]);
    assert_eq!(written["valid"], card()["valid"]);
    let by_uid = |item: &Value, api| {
        let read = uid_body(item.to_string().as_bytes(), api);
        read.map(|read| read.expect("it is taken").identifier).map_err(|problem| problem.error.to_string())
    };
    let mut beside = without("/valid");
    for part in ["time", "passes"] {
        beside[part] = card()["valid"][part].clone();
    }
    assert_eq!(by_uid(&beside, older), Ok(linked.identifier.clone()));
    assert_eq!(by_uid(&card(), newer), Ok(linked.identifier.clone()));
    assert_eq!(by_uid(&card(), older), Err("Wrong JSON body: no value for `time`".into()));
    assert_eq!(by_uid(&beside, newer), Err("Wrong JSON body: no value for `valid`".into()));
    // Read back it may stand in either place, and is not taken for one that is valid for ever.
    for shown in [&card(), &beside] {
        let text = shown.to_string();
        let read = read_back(&Json::read(text.as_bytes()).expect("JSON"));
        assert_eq!(
            read.map(|read| (read.time, read.passes)),
            Some((linked.identifier.time, linked.identifier.passes))
        );
    }
}

#[test]
fn an_apartment_s_uid_is_kept_and_told_to_nobody_by_link_id() {
    let linked = taken(&with("/apartment_uid", json!(7)), android());
    assert_eq!(linked.identifier.apartment_uid, None, "no call by link_id knows it");
    let before = wire::kept(&linked.identifier);
    assert!(!before.contains("apartment_uid"), "what was kept before is what is kept without one");
    assert_eq!(kept(before.as_bytes()), Ok(linked.identifier.clone()));
    let attached = Identifier { apartment_uid: NonZeroU32::new(7), ..linked.identifier.clone() };
    assert_eq!(kept(wire::kept(&attached).as_bytes()), Ok(attached.clone()));
    assert_eq!(wire::body(&attached, None, android()), wire::body(&linked.identifier, None, android()));
    assert_eq!(attached.as_read(), linked.identifier.as_read());
    for wrong in [json!(0), json!(-1), json!("7"), json!(4_294_967_296_u64)] {
        let mut stored: Value = serde_json::from_str(&before).expect("JSON");
        stored["apartment_uid"] = wrong;
        assert!(kept(stored.to_string().as_bytes()).is_err(), "{stored}");
    }
}
