//! What devices say, and how it is read.

use super::*;
use crate::panel::dialect::ApiVersion;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, location: None, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn speech(family: Family) -> Speech {
    let dialect = Dialect::of(family, Dialect::default_version(family)).expect("there is one");
    Speech { dialect, prefix: dialect.prefix, older_identifiers: false }
}

#[test]
fn older_panels_are_asked_under_their_own_prefix_and_for_pages_in_their_own_words() {
    let of = |family, version| {
        let dialect = Dialect::of(family, ApiVersion::new(version).expect("a version")).expect("known");
        Speech { dialect, prefix: dialect.prefix, older_identifiers: false }
    };
    for (speech, path) in [
        (of(Family::Android, "1.8.0"), "/api/v0/access/timeprofile/items?limit=50&page_number=2"),
        (of(Family::Android, "2.9.0"), "/api/v1/access/timeprofile/items?limit=50&page_number=2"),
        (of(Family::Camdroid, "0.6.0"), "/api/v0/access/timeprofile/items?limit=50&pageNumber=2"),
        (of(Family::Camdroid, "1.3.5"), "/api/v1/access/timeprofile/items?limit=50&page_number=2"),
        (of(Family::IngenicMips, "1.2.0"), "/api/v1/access/timeprofile/items?limit=50&page_number=2"),
        (of(Family::DoorController, "1.4.0"), "/api/v1/access/time-profiles/items?limit=50&page_number=2"),
    ] {
        assert_eq!(page(speech, Kind::Profile, 2).path, path);
    }
}

#[test]
fn what_a_device_says_of_a_login_shows_no_password() {
    let answer = |status, body: &'static str| Answer { status, location: None, body: body.into() };
    for (status, body) in [
        (500, r#"{"error":"Cannot GET /login?password=E10ADC3949BA59ABBE56E057F20F883E"}"#),
        (200, r#"{"error":"e10adc3949ba59abbe56e057f20f883e is not it"}"#),
        (418, r#"{"error":"E10ADC3949BA59ABBE56E057F20F883E"}"#),
    ] {
        let said =
            read_login(&answer(status, body), "p", speech(Family::Android)).expect_err("none").to_string();
        assert!(!said.to_ascii_lowercase().contains("e10adc"), "{said}");
    }
}

#[test]
fn a_success_that_is_a_number_is_one_or_nought() {
    let link = LinkId::from_bytes([1; 16]);
    for (number, success) in
        [("1", Some(true)), ("0", Some(false)), ("0.0", Some(false)), ("0e0", Some(false)), ("7", None)]
    {
        let body = format!(r#"{{"result":[{{"link_id":"{link}","success":{number},"extended_info":"x"}}]}}"#);
        let answer = Answer { status: 200, location: None, body: body.into() };
        let said = read_said(&answer, std::iter::once(link));
        let known = said.ok().and_then(|said| said.into_iter().next().flatten().map(|said| said.success));
        assert_eq!(known, success, "{number}");
    }
}

#[test]
fn results_are_read_in_whatever_order_and_whatever_explains_them() {
    let (a, b, c) =
        (LinkId::from_bytes([0xab; 16]), LinkId::from_bytes([2; 16]), LinkId::from_bytes([3; 16]));
    let upper = a.to_string().to_uppercase();
    for (info, word) in [
        (r#""new_word""#, "new_word"),
        ("null", "no reason given"),
        (r#"["a","b"]"#, "a, b"),
        (r#""a,b""#, "a,b"),
        ("17", "17"),
        (r#"{"code":5}"#, r#"{"code":5}"#),
    ] {
        let body = format!(
            r#"{{"result":[{{"link_id":"{c}","success":true}},{{"link_id":"{upper}","success":false,"extended_info":{info}}},7,{{"link_id":"{b}"}}]}}"#
        );
        let said = read_said(&answer(200, &body), [a, b].into_iter()).expect("readable");
        assert_eq!(said, [Some(Said { success: false, word: word.into() }), None], "{info}");
    }
}

#[test]
fn a_devices_own_words_are_shown_whatever_call_they_answer() {
    let links = [LinkId::from_bytes([1; 16])];
    for (body, words) in [
        (r#"{"error":"Database is locked"}"#, "Database is locked"),
        (
            r#"{"error":{"code":"system_error","message":"Database is locked","data":null}}"#,
            "system_error: Database is locked",
        ),
        (r#"{"error":5}"#, "5"),
    ] {
        let answer = answer(200, body);
        let said = Trouble::Said(words.to_owned());
        assert_eq!(read_info(&answer), Err(said.clone()));
        assert_eq!(read_login(&answer, "p", speech(Family::Android)), Err(said.clone()));
        assert_eq!(read_said(&answer, links.into_iter()), Err(said.clone()));
        assert_eq!(read_page(&answer).map(|_| ()), Err(said));
    }
    assert_eq!(
        read_page(&answer(200, "{}")).map(|_| ()).expect_err("no list").to_string(),
        "its answer cannot be read: `list_items` is not in it, or not as it should be"
    );
}

#[test]
fn of_an_info_only_what_is_needed_is_looked_at() {
    let version = |body| read_info(&answer(200, body)).expect("a panel's").api_version;
    assert_eq!(version(r#"{"api_version":2.9}"#), "2.9");
    assert_eq!(
        version(r#"{"api_version":"2.9.0","device_model":null,"commit":7,"hybrid_enable":"x"}"#),
        "2.9.0"
    );
    assert_eq!(version(r#"{"device_model":"AV","device_model":"AV-2"}"#), "");
    let info = read_info(&answer(
        200,
        r#"{"device_model":"A\u001bV\u202e","device_serial_number":["x"],"device_model":"A\u001bV\u202e"}"#,
    ));
    let info = info.expect("a panel's");
    assert_eq!((&*info.device_model, &*info.device_serial_number), ("A V", ""));
}

#[test]
fn a_clock_that_is_no_whole_number_is_not_known_nor_is_a_zone_that_is_no_text() {
    for body in [r#"{"time_unix":"1764000000"}"#, r#"{"time_unix":1764000000.5}"#, "{}", "<html>", ""] {
        assert_eq!(read_clock(&answer(200, body)), None, "{body}");
    }
    let read = |zone: &str| {
        let body = format!(r#"{{"time_unix":{}{zone}}}"#, crate::clock::now_ms() / 1000 + 3600);
        let clock = read_clock(&answer(200, &body)).expect("a clock");
        assert!((3598..=3600).contains(&clock.ahead_s), "{clock:?}");
        clock.zone
    };
    assert_eq!(read(r#","timezone":" UTC+03:00 ""#).as_deref(), Some("UTC+03:00"));
    let long = format!(r#","timezone":"{}""#, "A".repeat(65));
    for no_zone in ["", r#","timezone":3"#, r#","timezone":null"#, r#","timezone":"""#, &long] {
        assert_eq!(read(no_zone), None, "{no_zone}");
    }
}

#[test]
fn whatever_answers_is_named_and_nothing_panics() {
    for (status, body) in [(200, "<html>"), (200, ""), (200, "{}"), (200, "\u{fffd}"), (404, ""), (302, "")] {
        assert!(matches!(read_info(&answer(status, body)), Err(Trouble::NotAPanel(_))), "{status} {body}");
    }
    for body in ["", "[]", "{\"token\":5}", "{\"token\":\"\"}", "{\"token\":\"a\\nb\"}"] {
        assert!(
            matches!(read_login(&answer(200, body), "p", speech(Family::Android)), Err(Trouble::Garbled(_))),
            "{body}"
        );
    }
    let profile = RawValue::from_string("[7]".into()).expect("JSON");
    assert!(read_profile(&profile, Family::Android, true).body.is_none());
}

#[test]
fn families_ask_at_their_own_paths_and_names_are_escaped() {
    let link_id = LinkId::from_bytes([1; 16]);
    let json = r#"{"name":"x"}"#.into();
    let items = [Outgoing { link_id, json, secret: "".into(), is_slow: false }];
    let android = upsert(speech(Family::Android), Kind::Profile, &items);
    assert_eq!(android.path, "/api/v1/access/timeprofile/items/link");
    assert_eq!(
        android.body.as_deref(),
        Some(r#"{"list_items":[{"link_id":"01010101-0101-0101-0101-010101010101","name":"x"}]}"#)
    );
    let controller = upsert(speech(Family::DoorController), Kind::Profile, &items);
    assert_eq!(controller.path, "/api/v1/access/time-profiles/items/link");
    assert!(controller.body.is_some_and(|body| body.starts_with(r#"{"items":["#)));
    let [android, camdroid] = [Family::Android, Family::Camdroid].map(speech);
    let identifiers = upsert(android, Kind::Identifier, &items);
    assert_eq!(identifiers.path, "/api/v1/access/identifier/items/link");
    assert_eq!(
        delete(android, Kind::Identifier, &[link_id], true).path,
        "/api/v1/access/identifier/items/link"
    );
    assert_eq!(
        delete(android, Kind::Identifier, &[link_id], false).path,
        "/api/v1/access/identifiers/link/delete"
    );
    let page = page(camdroid, Kind::Identifier, 2);
    assert_eq!(page.path, "/api/v1/access/identifier/items/link?limit=50&page_number=2");
    let path = login(speech(Family::Android), "a b&c", "e1").path;
    assert_eq!(path, "/api/v1/login?username=a%20b%26c&password=E1");
    let login = login(speech(Family::DoorController), "a b&c", "e1");
    assert_eq!((login.method, &*login.path), (Method::Post, "/api/v1/login"));
    assert_eq!(login.body.as_deref(), Some(r#"{"password":"E1","username":"a b&c"}"#));
}

#[test]
fn a_token_that_is_said_again_is_left_out() {
    let said = answer(400, r#"{"error":"refused: Bearer abcd1234"}"#).without("abcd1234");
    assert_eq!(&*said.body, r#"{"error":"refused: Bearer …"}"#.as_bytes());
}
