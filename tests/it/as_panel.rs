//! The fleet read as one panel: what every selected panel holds alike, and nothing that is untrue of any. Whole answers.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use panelsync::access::PasswordMd5;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::identifiers::{card, face, kind};
use crate::support::profiles::{link, list, never, once, work_week};
use crate::support::server::{ADMIN_PASSWORD, TestServer};
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

const NORTH: &str = "/fleet/v1/as-panel/site%3Dnorth/api/v1";
const PROFILES: &str = "/access/timeprofile";

/// A server with these panels at the site north, and one elsewhere that holds nothing.
fn north(panels: &[&str]) -> TestServer {
    let server = TestServer::start();
    for panel in panels {
        server.add_panel(panel, &json!({ "labels": { "site": "north" } }));
    }
    server.add_panel("elsewhere", &json!({ "labels": { "site": "south" } }));
    server
}

/// A read of the site north as one panel, with a token of the fleet API.
fn read(server: &TestServer, path: &str) -> Answer {
    server.call("GET", &format!("{NORTH}{path}")).bearer(server.token()).send()
}

/// Creates or updates these profiles on all panels of the site north.
fn push(server: &TestServer, profiles: &[Value]) {
    let call = server.call("POST", &format!("{NORTH}{PROFILES}/items/link")).bearer(server.token());
    let answer = call.json(&list(profiles)).send();
    let results = answer.value()["result"].as_array().cloned().unwrap_or_default();
    assert!(!results.is_empty() && results.iter().all(|item| item["success"] == true), "{answer}");
}

/// A call of one panel alone, below its profiles.
fn on(server: &TestServer, panel: &str, method: &str, path: &str, body: &Value) -> Answer {
    let call = server.call(method, &format!("/panels/{panel}/api/v1{PROFILES}{path}"));
    let answer = call.bearer(&server.panel_login(panel)).json(body).send();
    assert_eq!(answer.status, 200, "{answer}");
    answer
}

/// Creates a profile without link_id on one panel.
fn create(server: &TestServer, panel: &str, name: &str) -> Value {
    on(server, panel, "POST", "", &once(0, name)).value()
}

/// By name, which uid and link_id each listed profile has.
fn listed(answer: &Answer) -> Vec<(String, Value, Value)> {
    let items = answer.value()["list_items"].as_array().cloned().unwrap_or_else(|| panic!("{answer}"));
    let line = |item: &Value| {
        let name = item["name"].as_str().expect("a name").to_owned();
        (name, item["time_profile_uid"].clone(), item["link_id"].clone())
    };
    items.iter().map(line).collect()
}

fn names(answer: &Answer) -> Vec<String> {
    listed(answer).into_iter().map(|(name, ..)| name).collect()
}

/// Identifiers are none of them, though every panel has the same.
#[test]
fn what_every_panel_holds_alike_is_profiles_alone() {
    let server = north(&["p1", "p2"]);
    push(&server, &[work_week(1, "Work week")]);
    let batch = json!({ "selector": "site=north", "identifiers": { "upsert": [card(101, "Flat 12", "1234567", &[1])] } });
    let applied = server.fleet("POST", "/batches").json(&batch).send().value();
    assert_eq!(applied["panels"]["applied"], 2, "{applied}");
    for path in ["items", "items/link", "items/list"] {
        assert_eq!(names(&read(&server, &format!("{PROFILES}/{path}"))), ["Work week"], "{path}");
    }
}

#[test]
fn what_every_panel_holds_alike_is_what_the_fleet_holds() {
    let server = north(&["p1", "p2", "p3"]);
    let mut log = Transcript::new("as_panel", "alike");
    log.step("nothing is there yet", &read(&server, &format!("{PROFILES}/items")));
    push(&server, &[work_week(1, "Work week"), once(2, "Once")]);
    for panel in ["p1", "p2", "p3"] {
        assert_eq!(create(&server, panel, "By uid"), json!({ "uid": 3 }));
    }
    log.step("all panels agree", &read(&server, &format!("{PROFILES}/items")));
    log.step("the older path", &read(&server, &format!("{PROFILES}/items/list")));
    log.step("those with a link_id", &read(&server, &format!("{PROFILES}/items/link")));
    log.step("one by uid", &read(&server, &format!("{PROFILES}/item/1")));
    log.step("one by uid that has no link_id", &read(&server, &format!("{PROFILES}/item/3")));
    log.step("no panel has this uid", &read(&server, &format!("{PROFILES}/item/4")));
    log.step("no uid at all", &read(&server, &format!("{PROFILES}/item/x")));

    on(&server, "p2", "POST", "/items/link", &list(&[once(2, "Otherwise")]));
    log.step("one panel says something else under a link_id", &read(&server, &format!("{PROFILES}/items")));
    log.step("so by uid it is not there", &read(&server, &format!("{PROFILES}/item/2")));
    on(&server, "p3", "DELETE", "/items/link", &json!({ "link_ids": [link(1)] }));
    log.step("one panel does not have a profile", &read(&server, &format!("{PROFILES}/items")));

    // Here p3 has given away one number more than the others.
    assert_eq!(create(&server, "p3", "Early"), json!({ "uid": 4 }));
    push(&server, &[once(5, "Numbered otherwise")]);
    log.step("uids differ: it has none in the list", &read(&server, &format!("{PROFILES}/items")));
    log.step("and by none of them it is there", &read(&server, &format!("{PROFILES}/item/4")));
    log.step("nor by the other", &read(&server, &format!("{PROFILES}/item/5")));
    for panel in ["p1", "p2"] {
        assert_eq!(create(&server, panel, "Early"), json!({ "uid": 5 }));
    }
    on(&server, "p2", "PATCH", "/item/3", &once(0, "By uid, and otherwise"));
    log.step(
        "profiles without link_id: one at another uid, one that says something else",
        &read(&server, &format!("{PROFILES}/items")),
    );
    log.check();
}

#[test]
fn profiles_in_other_words_are_alike_and_shown_in_those_of_the_first_panel() {
    let server = north(&["p1", "p2", "p3"]);
    let mut backwards = work_week(1, "Work week");
    let week = &mut backwards["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"];
    week.as_array_mut().expect("weekdays").reverse();
    on(&server, "p1", "POST", "/items/link", &list(&[work_week(1, "Work week")]));
    on(&server, "p2", "POST", "/items/link", &list(&[backwards]));
    let mut unread = work_week(1, "Work week");
    unread["remark"] = json!("not known to a panel");
    on(&server, "p3", "POST", "/items/link", &list(&[unread]));
    let mut log = Transcript::new("as_panel", "other_words");
    log.step("the same in three wordings", &read(&server, &format!("{PROFILES}/items")));
    log.check();
}

#[test]
fn equal_texts_are_alike_also_where_they_are_kept_twice() {
    let mut server = north(&["p1", "p2", "p3"]);
    for panel in ["p1", "p2", "p3"] {
        // A server that has just started knows of no text that it has already.
        server.restart();
        on(&server, panel, "POST", "/items/link", &list(&[once(1, "Once"), once(2, panel)]));
    }
    let items = read(&server, &format!("{PROFILES}/items"));
    assert_eq!(listed(&items), [("Once".to_owned(), json!(1), json!(link(1)))]);
    let state = server.stop_and_render();
    let kept = state.matches(r#""name":"Once""#).count();
    assert!(kept > 1, "the text is kept once:\n{state}");
}

#[test]
fn the_list_takes_what_an_android_panels_takes() {
    let server = north(&["p1", "p2"]);
    let mut profiles: Vec<_> = (1..=12).map(|n| once(n, &format!("Profile {n:02}"))).collect();
    for (n, profile) in profiles.iter_mut().enumerate() {
        profile["time_options"]["date_from"] = json!(1_735_804_800 - 3600 * (n as i64 % 3));
    }
    // Equal names on panels that number them otherwise: by link_id then.
    create(&server, "p2", "Only here");
    profiles.extend([once(14, "Profile 00"), once(13, "Profile 00")]);
    push(&server, &profiles);
    let mut log = Transcript::new("as_panel", "list");
    let mut step = |what: &str, query: &str| {
        let answer = read(&server, &format!("{PROFILES}/items/link?{query}"));
        log.step(what, &answer);
        answer
    };
    step("the last page", "page_number=2");
    let all = step("backwards by another field", "limit=20&sort_field=date_from&sort_type=desc");
    assert_eq!(listed(&all).len(), 14);
    let one = step("a filter", "filter_field=name&filter_type=equal&filter_value=Profile%2007");
    assert_eq!(names(&one), ["Profile 07"]);
    step("a filter as an object", "filter%5Bfilter_field%5D=date_from&filter%5Bfilter_value%5D=1735797600");
    step("nothing fits", "filter_field=name&filter_value=none");
    let equal = step("equal names", "filter_field=name&filter_value=Profile%2000");
    let in_order = [13, 14].map(|n| ("Profile 00".to_owned(), Value::Null, json!(link(n))));
    assert_eq!(listed(&equal), in_order);
    step("a limit that there is not", "limit=11");
    step("a field that there is not", "sort_field=uid");
    step("camdroid's parameters are unknown", "order_by=nothing");
    log.check();
}

#[test]
fn the_time_is_told_where_all_panels_have_one_zone() {
    let server = TestServer::start();
    let at = |id: &str, zone: &str| {
        server.add_panel(id, &json!({ "labels": { "site": "north" }, "zone": zone }));
    };
    at("p1", "Europe/Kyiv");
    let mut log = Transcript::new("as_panel", "time");
    log.step("one panel", &read(&server, "/device/time"));
    at("p2", "Europe/Kyiv");
    log.step("two in one zone", &read(&server, "/device/time"));
    at("p3", "Europe/Lisbon");
    log.step("another zone", &read(&server, "/device/time"));
    log.check();
}

#[test]
fn any_account_may_read_and_nobody_else() {
    let server = north(&["p1", "p2"]);
    push(&server, &[once(1, "Once")]);
    server.add_user("guest", "viewer");
    let md5 = PasswordMd5::of("guest-password").into_hex();
    let login = server.call("GET", &format!("{NORTH}/login?username=guest&password={md5}")).send();
    let session = login.value()["token"].as_str().expect("a token").to_owned();
    let call = |path: &str| -> Call { server.call("GET", &format!("{NORTH}{path}")) };
    let basic = |name: &str, password: &str| {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
    };
    let guest = basic("guest", "guest-password");
    let items = format!("{PROFILES}/items");
    let mut log = Transcript::new("as_panel", "who");
    log.step("a viewer's session", &call(&items).bearer(&session).send());
    let paths = ["/device/time", "/items", "/items/list", "/items/link", "/item/1"];
    let paths = paths
        .map(|path| if path.starts_with("/device") { path.to_owned() } else { format!("{PROFILES}{path}") });
    for path in &paths {
        let bare = call(path).send();
        assert_eq!((bare.status, bare.value()), (401, json!({ "error": "Log In" })), "{bare}");
        let fleet = server.login("guest", "guest-password");
        for reader in [&format!("Bearer {session}"), &format!("Bearer {fleet}"), &guest] {
            let read = call(path).header("authorization", reader).send();
            assert_eq!(read.status, 200, "{read}");
            // And without the body.
            let head = server.call("HEAD", &format!("{NORTH}{path}")).header("authorization", reader);
            let mut head = head.open();
            let length = head.headers().get("content-length").and_then(|length| length.to_str().ok());
            assert_eq!(length, Some(read.body.len().to_string().as_str()), "{path}");
            assert_eq!(head.status(), 200, "{path}");
            assert_eq!(head.body_mut().read_to_string().expect("a body"), "", "{path}");
        }
    }
    log.step("no login", &call(&items).send());
    log.step("a token that is none", &call(&items).bearer("x").send());
    log.step("a token of a panel", &call(&items).bearer(&server.panel_login("p1")).send());
    log.step("HTTP Basic", &call(&items).header("authorization", &guest).send());
    let wrong = basic("guest", "wrong");
    log.step("a wrong password", &call(&items).header("authorization", &wrong).send());
    let nowhere = |path: &str| {
        let path = format!("/fleet/v1/as-panel/site%3Dnowhere/api/v1{path}");
        server.call("GET", &path).bearer(&session).send()
    };
    for path in &paths {
        assert_eq!(nowhere(path).status, 422, "{path}");
    }
    log.step("an empty selection", &nowhere(&items));
    log.step("nobody is told that it is empty", &{
        server.call("GET", &format!("/fleet/v1/as-panel/site%3Dnowhere/api/v1{items}")).send()
    });
    let no_selector = format!("/fleet/v1/as-panel/a%20b/api/v1{items}");
    log.step("a wrong selector", &server.call("GET", &no_selector).bearer(&session).send());
    log.step("a reader may not write", &{
        let write = server.call("POST", &format!("{NORTH}{PROFILES}/items/link"));
        write.header("authorization", &guest).json(&list(&[once(1, "x")])).send()
    });
    let admin = basic("admin", ADMIN_PASSWORD);
    log.step("logout with HTTP Basic", &call("/logout").header("authorization", &admin).send());
    let by_post = server.call("POST", &format!("{NORTH}/logout")).header("authorization", &guest);
    log.step("and by POST", &by_post.send());
    log.step("there is nothing that it ended", &call(&items).header("authorization", &guest).send());
    log.step("logout without a login", &call("/logout").send());
    log.step("logout with a wrong password", &call("/logout").header("authorization", &wrong).send());
    log.step("logout of the session", &call("/logout").bearer(&session).send());
    log.step("it is over", &call(&items).bearer(&session).send());
    log.check();
}

/// Waits until it holds, for a minute at most.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn what_a_device_has_not_confirmed_counts_and_what_it_refused_or_lost_does_not() {
    let devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(|settings| {
        settings.devices.timeouts.connect = Duration::from_millis(500);
        settings.devices.timeouts.request = Duration::from_millis(700);
        settings.devices.check_every = Duration::from_millis(400);
    });
    let lines: Vec<_> = (1..=2)
        .map(|n| {
            let device = json!({
                "id": format!("d{n}"), "driver": "http", "url": devices.url(n), "username": "admin",
                "password": "123456", "labels": { "site": "north" },
            });
            device.to_string()
        })
        .collect();
    assert_eq!(server.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send().status, 201);
    server.add_panel("p1", &json!({ "labels": { "site": "north" } }));
    let batch = |wait: u32, upserts: &[Value]| {
        let body = json!({ "selector": "site=north", "upsert": upserts });
        server.fleet("POST", "/batches").header("prefer", &format!("wait={wait}")).json(&body).send()
    };
    let state = |panel: &str, n: u32| {
        let profiles = server.fleet("GET", &format!("/panels/{panel}/profiles")).send().value();
        let items = profiles["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|item| item["link_id"] == link(n)).cloned().unwrap_or_default();
        found["state"].as_str().unwrap_or("absent").to_owned()
    };
    let items = format!("{PROFILES}/items");
    assert_eq!(batch(10, &[once(1, "First")]).status, 200);
    let mut log = Transcript::new("as_panel", "devices");
    log.step("all have it; the uids of devices are their own affair", &read(&server, &items));
    devices.faults(Some(1), &json!({ "offline": true }));
    assert_eq!(batch(0, &[once(1, "Second"), once(2, "New")]).status, 202);
    until("the embedded panel has it", || state("p1", 2) == "applied");
    assert_eq!(state("d1", 2), "pending");
    log.step("one device is away: what is pending counts", &read(&server, &items));
    log.step("but not by the embedded panel's uid", &read(&server, &format!("{PROFILES}/item/1")));
    devices.faults(Some(1), &json!({}));
    until("it is delivered", || state("d1", 1) == "applied" && state("d1", 2) == "applied");

    devices.by_hand(2, "DELETE", &format!("{PROFILES}/items/link"), Some(&json!({ "link_ids": [link(1)] })));
    assert_eq!(server.fleet("GET", "/diff?selector=site%3Dnorth").send().status, 200);
    assert_eq!(state("d2", 1), "drifted");
    log.step("one device was found without it", &read(&server, &items));
    push(&server, &[once(1, "Second")]);
    until("it is sent again", || state("d2", 1) == "applied");
    assert_eq!(names(&read(&server, &items)), ["New", "Second"]);

    let body = json!({ "selector": "driver=http", "upsert": [never(3)] });
    server.fleet("POST", "/batches").header("prefer", "wait=10").json(&body).send();
    until("both refuse it", || state("d1", 3) == "rejected" && state("d2", 3) == "rejected");
    let of_devices = format!("/fleet/v1/as-panel/driver%3Dhttp/api/v1{items}");
    log.step(
        "what devices refuse is desired of them and not there",
        &server.call("GET", &of_devices).bearer(server.token()).send(),
    );
    log.check();
}

const IDENTIFIERS: &str = "/access/identifier/items/link";

/// A call on identifiers of the site north as one panel.
fn identifiers(server: &TestServer, method: &str, path: &str) -> Call {
    server.call(method, &format!("{NORTH}{path}")).bearer(server.token())
}

fn push_identifiers(server: &TestServer, items: Value) -> Answer {
    identifiers(server, "POST", IDENTIFIERS).json(&json!({ "list_items": items })).send()
}

fn with(mut identifier: Value, pointer: &str, value: Value) -> Value {
    *identifier.pointer_mut(pointer).expect("a place") = value;
    identifier
}

fn ids(ids: &[u32]) -> Value {
    json!({ "link_ids": ids.iter().map(|n| link(*n)).collect::<Vec<_>>() })
}

#[test]
fn identifiers_are_pushed_to_a_whole_site_and_read_back() {
    let server = north(&["p2", "p3"]);
    let small = json!({ "labels": { "site": "north" }, "identifier_capacity": 4, "face_capacity": 0 });
    server.add_panel("p1", &small);
    push(&server, &[work_week(1, "Work week")]);
    on(&server, "p2", "POST", "/items/link", &list(&[once(2, "Only here")]));
    let page = |query: &str| identifiers(&server, "GET", &format!("{IDENTIFIERS}?{query}")).send();
    let mut log = Transcript::new("as_panel", "identifiers");
    log.step("nothing is there yet", &page(""));
    let guest = with(
        with(
            kind(card(103, "Guest", "", &[1]), "inputCode", "0482915"),
            "/valid/passes",
            json!({ "is_permanent": false, "max_passes": 3 }),
        ),
        "/valid/time",
        json!({ "is_permanent": false, "from": 1_767_225_600, "to": 1_798_761_600 }),
    );
    let first = || card(101, "First", "0001234567", &[1]);
    log.step(
        "a card, a key and a code",
        &push_identifiers(
            &server,
            json!([first(), kind(card(102, "Second", "", &[]), "ukey", "5e:6f:70:81"), guest]),
        ),
    );
    log.step("the same again", &push_identifiers(&server, json!([first()])));
    log.step("as they are read: no code is told", &page("limit=10&page_number=1"));
    let by_number = |number: &str| {
        page(&format!("filter_field=identifier_number&filter_type=equal&filter_value={number}"))
    };
    log.step("by number", &by_number("1234567"));
    // The apartment that one panel knows it to belong to is that panel's own affair.
    let alike = by_number("1234567").value();
    let attach = server.call("POST", "/panels/p2/api/v1/apartment/item/5/identifier/3");
    assert_eq!(attach.bearer(&server.panel_login("p2")).send().status, 200);
    assert_eq!(by_number("1234567").value(), alike);
    log.step("by one that there is not", &by_number("99"));
    log.step("profiles are listed beside them", &read(&server, &format!("{PROFILES}/items")));
    // Somebody has a number at one door only.
    let alone = json!({ "list_items": [card(190, "Alone", "777", &[])] });
    let at_p3 = server.call("POST", &format!("/panels/p3/api/v1{IDENTIFIERS}"));
    assert_eq!(at_p3.bearer(&server.panel_login("p3")).json(&alone).send().status, 200);
    log.step(
        "each outcome of an item",
        &push_identifiers(
            &server,
            json!([
                card(104, "Its profile is on one panel only", "8", &[2]),
                face(108, "No room for faces on one panel", &[]),
                card(105, "Taken on one panel", "777", &[]),
                with(
                    card(106, "Never", "9", &[]),
                    "/valid/time",
                    json!({ "is_permanent": false, "from": 5, "to": 5 })
                ),
                card(106, "Never, again", "9", &[]),
                with(face(107, "No photo", &[]), "/face_image", json!("AAAA")),
                card(101, "First", "1234568", &[1]),
                card(109, "Too many on one panel", "11", &[]),
            ]),
        ),
    );
    log.step("nothing but what is refused", &{
        push_identifiers(&server, json!([with(face(107, "No photo", &[]), "/face_image", json!("AAAA"))]))
    });
    log.step("what all hold alike", &page("sort_field=identifier_number&limit=20"));
    log.step("a profile from under its identifiers", &{
        identifiers(&server, "DELETE", "/access/timeprofile/items/link").json(&ids(&[1])).send()
    });
    log.step(
        "delete: what is not there on one is not there",
        &identifiers(&server, "DELETE", IDENTIFIERS).json(&ids(&[101, 190, 199])).send(),
    );
    let by_post = "/access/identifiers/link/delete";
    log.step("delete by POST", &identifiers(&server, "POST", by_post).json(&ids(&[102])).send());
    log.step("what is left", &page(""));
    log.check();
}

#[test]
fn whole_calls_on_a_site_s_identifiers_are_refused_as_a_panel_does() {
    let server = north(&["p1", "p2"]);
    server.add_user("guest", "viewer");
    server.add_user("olena", "operator");
    let login = |name: &str| {
        let md5 = PasswordMd5::of(&format!("{name}-password")).into_hex();
        let answer = server.call("GET", &format!("{NORTH}/login?username={name}&password={md5}")).send();
        answer.value()["token"].as_str().expect("a token").to_owned()
    };
    let mut log = Transcript::new("as_panel", "identifiers_refused");
    let whole = |body: &Value| identifiers(&server, "POST", IDENTIFIERS).json(body).send();
    log.step("no list", &whole(&json!({ "items": [] })));
    log.step("no list of items", &whole(&json!({ "list_items": [1] })));
    log.step("no JSON", &identifiers(&server, "POST", IDENTIFIERS).raw("{").send());
    let good = || card(120, "Good", "7654321", &[]);
    let item = |pointer: &str, value: Value| push_identifiers(&server, json!([with(good(), pointer, value)]));
    log.step("no link_id", &item("/link_id", json!("x")));
    log.step("no type", &item("/identifier_type", json!("input_code")));
    log.step("no number", &item("/identifier_number", json!("0A1B")));
    log.step("one faulty item is all", &push_identifiers(&server, json!([good(), 7])));
    log.step("no link_ids", &identifiers(&server, "DELETE", IDENTIFIERS).json(&json!({})).send());
    let few = TestServer::start_with(|settings| settings.max_items = 2);
    few.add_panel("p1", &json!({ "labels": { "site": "north" } }));
    log.step("too many", &identifiers(&few, "DELETE", IDENTIFIERS).json(&ids(&[1, 2, 3])).send());
    let three = json!([good(), card(121, "b", "2", &[]), card(122, "c", "3", &[])]);
    log.step("too many to create", &push_identifiers(&few, three));
    log.step("a page that is none", &identifiers(&server, "GET", &format!("{IDENTIFIERS}?limit=7")).send());
    log.step("another method", &identifiers(&server, "PUT", IDENTIFIERS).send());

    let (guest, olena) = (login("guest"), login("olena"));
    let as_guest = |method: &str, path: &str| server.call(method, &format!("{NORTH}{path}")).bearer(&guest);
    log.step("a viewer reads no numbers", &as_guest("GET", IDENTIFIERS).send());
    log.step("and pushes none", &{
        as_guest("POST", IDENTIFIERS).json(&json!({ "list_items": [good()] })).send()
    });
    log.step("and deletes none", &as_guest("DELETE", IDENTIFIERS).json(&ids(&[120])).send());
    log.step("no login", &server.call("GET", &format!("{NORTH}{IDENTIFIERS}")).send());
    let as_olena = |method: &str| server.call(method, &format!("{NORTH}{IDENTIFIERS}")).bearer(&olena);
    log.step("an operator may push", &as_olena("POST").json(&json!({ "list_items": [good()] })).send());
    log.step("and read", &as_olena("GET").send());
    let nowhere = format!("/fleet/v1/as-panel/site%3Dnowhere/api/v1{IDENTIFIERS}");
    for method in ["GET", "POST", "DELETE"] {
        let body = if method == "DELETE" { ids(&[1]) } else { json!({ "list_items": [] }) };
        let answer = server.call(method, &nowhere).bearer(server.token()).json(&body).send();
        log.step(&format!("an empty selection: {method}"), &answer);
    }
    server.add_panel("door", &json!({ "labels": { "site": "north" }, "api": "door-controller" }));
    log.step("a door controller takes none", &push_identifiers(&server, json!([good()])));
    log.check();
    // Whoever may read all that is told of this has no number by it.
    for path in ["/audit?limit=1000", "/batches"] {
        let told = server.fleet("GET", path).send().to_string();
        assert!(!told.contains("7654321"), "{told}");
    }
}

#[test]
fn identifiers_that_a_device_has_not_confirmed_count_and_those_that_it_refused_do_not() {
    let devices = Simulated::start(1, &["--face-capacity", "0"]);
    let server = TestServer::start_with(|settings| {
        settings.devices.timeouts.connect = Duration::from_millis(500);
        settings.devices.timeouts.request = Duration::from_millis(700);
        settings.devices.check_every = Duration::from_millis(400);
    });
    let north = json!({ "site": "north" });
    let device = json!({
        "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456",
        "labels": north,
    });
    server.add_panel("d1", &device);
    server.add_panel("p1", &json!({ "labels": north }));
    let state = |n: u32| {
        let held = server.fleet("GET", "/panels/d1/identifiers").send().value();
        let items = held["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|item| item["link_id"] == link(n)).cloned().unwrap_or_default();
        found["state"].as_str().unwrap_or("absent").to_owned()
    };
    let mut log = Transcript::new("as_panel", "identifiers_of_devices");
    let page = || identifiers(&server, "GET", IDENTIFIERS).send();
    log.step("a card, and a face for which the device has no room", &{
        push_identifiers(&server, json!([card(101, "First", "0012", &[]), face(102, "Olena", &[])]))
    });
    until("the card is there", || state(101) == "applied" && state(102) == "rejected");
    log.step("what it refused is not listed", &page());
    devices.faults(None, &json!({ "offline": true }));
    log.step("pushed while it is away", &{
        push_identifiers(&server, json!([card(101, "Renamed", "0012", &[]), card(103, "Third", "13", &[])]))
    });
    log.step("counts", &page());
    log.check();
    devices.faults(None, &json!({}));
    until("it is delivered", || state(101) == "applied" && state(103) == "applied");
    let held = devices.by_hand(1, "GET", &format!("{IDENTIFIERS}?limit=10&page_number=1"), None);
    let names: Vec<_> = held["list_items"].as_array().into_iter().flatten().collect();
    let names: Vec<_> = names.iter().map(|item| &item["identifier_owner"]["name"]).collect();
    assert_eq!(names, ["Renamed", "Third"]);
}
