//! An identifier is shown at a door: at an embedded panel, and at a device that tells of it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use panelsync::config::Secret;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::binary::Shell;
use crate::support::identifiers::{card, kind};
use crate::support::profiles::{link, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;
use crate::web::Browser;

/// Friday 2 January 2026, 10:00 UTC, when [`work_week`] is open, and 20:00, when it is not.
const OPEN: &str = "2026-01-02T10:00:00Z";
const SHUT: &str = "2026-01-02T20:00:00Z";

fn push(server: &TestServer, batch: &Value) {
    let answer = server.fleet("POST", "/batches").json(batch).send();
    assert_eq!(answer.status, 200, "{answer}");
    let value = answer.value();
    assert_eq!(value["panels"]["total"], value["panels"]["applied"], "{answer}");
}

fn present(server: &TestServer, panel: &str, kind: &str, number: &str, at: &str) -> Answer {
    let body = json!({ "type": kind, "number": number, "at": at });
    server.fleet("POST", &format!("/panels/{panel}:present")).json(&body).send()
}

fn limited(mut identifier: Value, passes: u32) -> Value {
    identifier["valid"]["passes"] = json!({ "is_permanent": false, "max_passes": passes });
    identifier
}

fn listed(server: &TestServer, query: &str) -> Vec<Value> {
    let answer = server.fleet("GET", &format!("/access-events{query}")).send().value();
    answer["items"].as_array().expect("a list").clone()
}

#[test]
fn what_is_shown_at_an_embedded_panel_is_judged_logged_and_an_event() {
    let server = TestServer::start();
    for (panel, api) in [("p1", "android"), ("p2", "camdroid"), ("p3", "door-controller")] {
        server.add_panel(panel, &json!({ "api": api }));
    }
    let identifiers = json!([
        card(101, "Flat 12", "0001234567", &[1]),
        limited(card(102, "Guest", "0A-1B-2C-3D", &[]), 2),
        kind(card(103, "Cleaner", "1", &[1]), "inputCode", "482915"),
    ]);
    push(
        &server,
        &json!({ "panels": ["p1", "p2"], "upsert": [work_week(1, "Work week")], "identifiers": { "upsert": identifiers } }),
    );
    let mut log = Transcript::new("fleet_api", "present");
    log.step("a card in time", &present(&server, "p1", "card", "1234567", OPEN));
    log.step("a card out of time", &present(&server, "p1", "card", "1234567", SHUT));
    log.step("a code", &present(&server, "p1", "inputCode", "482915", OPEN));
    log.step("a guest's first pass", &present(&server, "p1", "card", "0a:1b:2c:3d", OPEN));
    log.step("at the same moment the second", &present(&server, "p1", "card", "0a:1b:2c:3d", OPEN));
    log.step("and no third", &present(&server, "p1", "card", "0a:1b:2c:3d", OPEN));
    log.step("on the other panel he has both", &present(&server, "p2", "card", "0a:1b:2c:3d", OPEN));
    for panel in ["p1", "p2"] {
        for (kind, number) in [
            ("card", "7654321"),
            ("ukey", "1234567"),
            ("inputCode", "111111"),
            ("qr", "91c615e3-1040-4815-8ecb-039a18b756b5"),
            ("license_plate", "AA 1234 BB"),
        ] {
            log.step(&format!("nobody's {kind} at {panel}"), &present(&server, panel, kind, number, OPEN));
        }
    }
    log.step("no type", &present(&server, "p1", "key", "1", OPEN));
    log.step("a face", &present(&server, "p1", "face_id", "1", OPEN));
    log.step("no number", &present(&server, "p1", "card", "one", OPEN));
    // What is sent as a number or a password is a secret, of whatever form; whoever is told of it is told no more than where.
    for (path, body) in [
        ("/panels/p1:present", json!({ "type": "card", "number": 7_654_300_999_u64 })),
        (
            "/panels",
            json!({ "id": "p4", "driver": "http", "url": "http://127.0.0.1:9", "username": 7_654_300_999_u64 }),
        ),
        ("/panels", json!({ "id": "p4", "driver": "7654300999" })),
        ("/session", json!({ "username": "admin", "password": 7_654_300_999_u64 })),
        ("/users", json!({ "name": "u", "role": "viewer", "password": 7_654_300_999_u64 })),
    ] {
        let answer = server.fleet("POST", path).json(&body).send();
        assert!(
            matches!(answer.status, 400 | 422) && !answer.body.contains("7654300999"),
            "{path}: {answer}"
        );
    }
    log.step("no moment", &present(&server, "p1", "card", "1", "soon"));
    log.step("no panel", &present(&server, "p9", "card", "1", OPEN));
    log.step("a door controller", &present(&server, "p3", "card", "1", OPEN));
    log.step(
        "the events of the guest",
        &server.fleet("GET", &format!("/access-events?identifier={}", link(102))).send(),
    );
    let token = server.panel_login("p1");
    log.step(
        "the panel's log",
        &server.call("GET", "/panels/p1/api/v1/log/items?limit=50").bearer(&token).send(),
    );
    server.add_user("viewer", "viewer");
    let md5 = panelsync::access::PasswordMd5::of("viewer-password").into_hex();
    let token = server.panel_login_as("p1", "viewer", &md5);
    log.step(
        "as a viewer has it",
        &server.call("GET", "/panels/p1/api/v1/log/items?limit=3&sort_type=asc").bearer(&token).send(),
    );
    log.check();

    // Renamed, he has none of his passes back; given others, he has those; and so has one who goes and comes again.
    let renamed = limited(card(102, "Guest again", "0A-1B-2C-3D", &[]), 2);
    push(&server, &json!({ "panels": ["p1"], "identifiers": { "upsert": [renamed] } }));
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], false);
    let foretold = server.fleet("GET", &format!("/access?panel=p1&identifier={}", link(102))).send().value();
    assert_eq!(foretold["items"][0]["why"]["code"], "no_pass_left", "{foretold}");
    let changed = limited(card(102, "Guest again", "0A-1B-2C-3D", &[]), 3);
    push(&server, &json!({ "panels": ["p1"], "identifiers": { "upsert": [changed] } }));
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], true);
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], true);
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], true);
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], false);
    push(&server, &json!({ "panels": ["p1"], "identifiers": { "delete": [link(102)] } }));
    let gone = present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value();
    assert_eq!((&gone["granted"], &gone["identifier"]), (&json!(false), &json!(null)));
    push(&server, &json!({ "panels": ["p1"], "identifiers": { "upsert": [changed] } }));
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], true);

    // Two of three were used; a number of its own is another card, whose passes nobody has used.
    let count = || {
        let of = format!("/access?panel=p1&identifier={}", link(102));
        server.fleet("GET", &of).send().value()["items"][0]["why"]["code"].clone()
    };
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], true);
    assert_eq!(present(&server, "p1", "card", "0a:1b:2c:3d", OPEN).value()["granted"], true);
    assert_eq!(count(), "no_pass_left");
    let other = limited(card(102, "Guest again", "7700123", &[]), 3);
    push(&server, &json!({ "panels": ["p1"], "identifiers": { "upsert": [other] } }));
    assert_eq!(count(), "any_time");
    // Events are asked for as doors are, of who is there or was.
    let shell = Shell::new(server.address(), Some(server.token()));
    let events = |args: &str| shell.run(&[vec!["events"], args.split(' ').collect()].concat());
    let (guest, nobody) = (link(102), link(999));
    let all = events(&format!("--identifier {guest} --output json"));
    assert!(all.exit == Some(0) && all.stdout.contains(&guest), "{all}");
    push(&server, &json!({ "panels": ["p1", "p2"], "identifiers": { "delete": [guest] } }));
    assert_eq!(events(&format!("--identifier {guest} --output json")).stdout, all.stdout, "he was");
    push(&server, &json!({ "panels": ["p1"], "identifiers": { "upsert": [card(200, "New", "200", &[])] } }));
    assert_eq!(events("--identifier 91c615e3-1040-4815-8ecb-0000000000c8").exit, Some(0), "nothing yet");
    for (args, said) in [
        (format!("--identifier {nobody}"), "no panel holds an identifier with the link_id"),
        (format!("--identifier {nobody} --follow"), "no panel holds an identifier with the link_id"),
        ("--identifier ffff".into(), "no panel holds an identifier whose link_id begins with ffff"),
        ("--from 2026-01-02T00:00:00Z --to 2026-01-01T00:00:00Z".into(), "from must be before to"),
    ] {
        let ran = events(&args);
        assert!(ran.exit == Some(2) && ran.stderr.contains(said), "{args}: {ran}");
    }

    let audit = server.fleet("GET", "/audit?limit=1000").send().body;
    assert!(audit.contains("panel.present"));
    let rendered = server.stop_and_render();
    for secret in ["1234567", "0A-1B", "482915", "7654321", "111111", "1234BB"] {
        assert!(!audit.contains(secret), "{secret} is in the audit");
        assert!(!rendered.contains(secret), "{secret} is rendered");
    }
}

/// Whatever is shown at whatever moment is judged as the question says.
#[test]
fn a_door_opens_as_was_foretold() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "Europe/Kyiv" }));
    let identifiers = json!([card(101, "Flat 12", "1000001", &[1]), card(102, "Flat 13", "1000002", &[])]);
    push(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work week")], "identifiers": { "upsert": identifiers } }),
    );
    let mut opened = [0, 0];
    for n in 0..48_i64 {
        // Every three and a half hours over a week, from Friday on.
        let at = jiff::Timestamp::from_second(1_767_312_000 + n * 12_600).expect("a moment").to_string();
        for (i, number) in [(101, "1000001"), (102, "1000002")] {
            let question = format!("/access?panel=p1&identifier={}&at={at}", link(i));
            let foretold = server.fleet("GET", &question).send().value()["items"][0]["opens"].clone();
            let shown = present(&server, "p1", "card", number, &at).value();
            assert_eq!(shown["granted"], foretold, "{number} at {at}");
            opened[i as usize - 101] += u32::from(foretold == true);
        }
    }
    assert_eq!(opened[1], 48);
    assert!((5..30).contains(&opened[0]), "{opened:?}");
    for (i, count) in [(101, opened[0]), (102, 48)] {
        let events = listed(&server, &format!("?identifier={}&limit=1000", link(i)));
        assert_eq!(events.len(), 48);
        assert_eq!(events.iter().filter(|event| event["granted"] == true).count(), count as usize);
    }
}

#[test]
fn what_a_device_tells_is_matched_to_what_its_panel_has() {
    let devices = Simulated::start(2, &[]);
    let server =
        TestServer::start_with(|settings| settings.link_password = Some(Secret("link-password".into())));
    for n in 1..=2 {
        let panel =
            json!({ "driver": "http", "url": devices.url(n), "username": "admin", "password": "123456" });
        server.add_panel(&format!("d{n}"), &panel);
    }
    let identifiers = json!([
        card(101, "Flat 12", "1234567", &[]),
        kind(card(102, "Flat 13", "1", &[]), "inputCode", "482915")
    ]);
    let batch = json!({ "panels": ["d1"], "identifiers": { "upsert": identifiers } });
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=30").json(&batch).send();
    assert!([200, 202].contains(&answer.status), "{answer}");
    for n in 1..=2 {
        let serial = devices.call_open(n, "/api/info")["device_serial_number"].clone();
        let login = json!({ "login": serial, "password": "link-password" }).to_string();
        let token = server.call("POST", "/api/v0/devices/login").raw(login).send().value()["token"].clone();
        let event = |ms: i64, kind: &str, number: &str| json!({ "created_at": 1_767_268_800_000 + ms, "code": "access_granted_by_valid_identifier", "info": { "type": kind, "number": number } });
        let told = json!({ "events": [event(0, "card", "0001234567"), event(1, "ukey", "1234567"), event(2, "input_code", "482915"), event(3, "card", "1234568")] });
        let call = server.call("PUT", "/api/v0/devices/logs").bearer(token.as_str().expect("a token"));
        assert_eq!(call.raw(told.to_string()).send().status, 200);
    }
    let whose = |panel: &str| -> Vec<Value> {
        let events = listed(&server, &format!("?panel={panel}"));
        events.into_iter().rev().map(|event| event["identifier"].clone()).collect()
    };
    assert_eq!(whose("d1"), [json!(link(101)), json!(null), json!(link(102)), json!(null)]);
    assert_eq!(whose("d2"), [json!(null), json!(null), json!(null), json!(null)]);
    assert_eq!(listed(&server, &format!("?identifier={}&panel=d1", link(101))).len(), 1);
    assert_eq!(listed(&server, &format!("?identifier={}&panel=d2", link(101))).len(), 0);
    server.stop_and_render();
}

/// Told only when all is over, as a device does that could not reach its server.
#[test]
fn what_is_told_late_is_matched_to_what_the_device_held_then() {
    let devices = Simulated::start(1, &[]);
    let server =
        TestServer::start_with(|settings| settings.link_password = Some(Secret("link-password".into())));
    let panel = json!({ "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" });
    server.add_panel("d1", &panel);
    let moment = || {
        std::thread::sleep(Duration::from_millis(10));
        let now = panelsync::clock::now_ms();
        std::thread::sleep(Duration::from_millis(10));
        now
    };
    let push = |identifiers: Value| {
        let batch = json!({ "all": true, "identifiers": identifiers });
        let answer = server.fleet("POST", "/batches").header("prefer", "wait=30").json(&batch).send();
        assert_eq!(answer.value()["panels"]["applied"], 1, "{answer}");
    };
    let mut moments = vec![moment()];
    push(json!({ "upsert": [card(101, "Flat 12", "1000", &[])] }));
    moments.push(moment());
    push(json!({ "upsert": [card(101, "Flat 12, renamed", "1000", &[])] }));
    moments.push(moment());
    push(json!({ "upsert": [card(101, "Flat 12", "2000", &[])] }));
    moments.push(moment());
    push(json!({ "upsert": [card(102, "Flat 13", "1000", &[])] }));
    moments.push(moment());
    push(json!({ "delete": [link(102)] }));
    moments.push(moment());
    let serial = devices.call_open(1, "/api/info")["device_serial_number"].clone();
    let login = json!({ "login": serial, "password": "link-password" }).to_string();
    let token = server.call("POST", "/api/v0/devices/login").raw(login).send().value()["token"].clone();
    let tell = |code: &str| {
        let event = |at: &i64| json!({ "created_at": at, "code": code, "info": { "type": "card", "number": "1000" } });
        let packet = json!({ "events": moments.iter().map(event).collect::<Vec<_>>() });
        let call = server.call("PUT", "/api/v0/devices/logs").bearer(token.as_str().expect("a token"));
        assert_eq!(call.raw(packet.to_string()).send().status, 200);
    };
    tell("access_denied_by_unknown_card");
    tell("access_granted_by_valid_identifier");
    let whose = |granted: bool| -> Vec<Value> {
        let events = listed(&server, "").into_iter().rev().filter(|event| event["granted"] == granted);
        events.map(|event| event["identifier"].clone()).collect()
    };
    let [first, second] = [json!(link(101)), json!(link(102))];
    let nobody = Value::Null;
    assert_eq!(
        whose(false),
        [nobody.clone(), first.clone(), first.clone(), nobody.clone(), second.clone(), nobody.clone()]
    );
    // Whom the device let in, it knew: before we knew of it, too.
    assert_eq!(whose(true), [first.clone(), first.clone(), first, second.clone(), second, nobody]);
    let removed = server.fleet("DELETE", "/panels/d1").send();
    assert_eq!(removed.status, 204, "{removed}");
    let state = server.stop_and_render();
    assert!(state.contains("held_before\npending"), "nothing is kept of a panel that was removed");
}

#[test]
fn the_command_line_shows_a_card_whose_number_stands_in_no_list_of_processes() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    push(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work week")], "identifiers": { "upsert": [card(101, "Flat 12", "1234567", &[1])] } }),
    );
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "present");
    let on_stdin = ["present", "--panel", "p1", "--type", "card", "--number-stdin", "--at"];
    let at = |moment: &'static str| on_stdin.into_iter().chain([moment]).collect::<Vec<_>>();
    log.step("in time", &shell.run_with(&at(OPEN), "1234567\n"));
    log.step("out of time", &shell.run_with(&at(SHUT), "1234567\n"));
    log.step(
        "another's",
        &shell.run(&["present", "--panel", "p1", "--type", "card", "--number", "7", "--output", "json"]),
    );
    log.step("no number", &shell.run_with(&at(OPEN), "one"));
    log.step("without one", &shell.run(&["present", "--panel", "p1", "--type", "card"]));
    log.check();
    let mut child = crate::support::binary::command()
        .args(["present", "--panel", "p1", "--type", "card", "--number-stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let listed = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("Linux");
    assert!(!String::from_utf8_lossy(&listed).contains("1234567"));
    child.kill().expect("killed");
    child.wait().expect("gone");
}

#[test]
fn a_simulated_panel_is_shown_an_identifier_too() {
    let devices = Simulated::start(1, &[]);
    let shown = |number: &str| {
        let body = json!({ "panel": "sim-0001", "type": "card", "number": number });
        devices.control("POST", "/present", Some(&body))
    };
    let (status, denied) = shown("1234567");
    assert_eq!((status, &denied["reason"]), (200, &json!("access_denied_by_unknown_card")));
    let log = devices.by_hand(1, "GET", "/log/items?limit=10", None);
    let entry = &log["list_items"][0];
    assert_eq!(entry["name"]["key"], "access_denied_by_unknown_card");
    assert_eq!(entry["info"]["model"]["card"], "1234567", "{log}");
    assert_eq!(shown("one").0, 422);
    let number = json!({ "panel": "sim-0001", "type": "card", "number": 7_654_300_999_u64 });
    let (status, wrong) = devices.control("POST", "/present", Some(&number));
    assert!(status == 400 && !wrong.to_string().contains("7654300999"), "{wrong}");
}

/// All events, newest first, once there are so many.
fn events_once_there_are(server: &TestServer, count: usize) -> Vec<Value> {
    let end = Instant::now() + Duration::from_mins(3);
    loop {
        let mut events = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = server.fleet("GET", &format!("/access-events?limit=1000{cursor}")).send().value();
            events.extend(page["items"].as_array().expect("a list").clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        if events.len() >= count {
            assert_eq!(events.len(), count, "{events:?}");
            return events;
        }
        assert!(Instant::now() < end, "only {} events within three minutes", events.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a device writes while its clock is a year ahead takes nothing of what it writes once that was set right.
#[test]
fn a_clock_that_was_ahead_hides_no_event() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings| {
        settings.devices.pull_events = true;
        settings.devices.check_every = Duration::from_millis(200);
    });
    let show = |number: u32, ahead_ms: i64| {
        let at_ms = panelsync::clock::now_ms() + ahead_ms;
        let body =
            json!({ "panel": "sim-0001", "type": "card", "number": number.to_string(), "at_ms": at_ms });
        assert_eq!(devices.control("POST", "/present", Some(&body)).0, 200);
    };
    server.add_panel(
        "d1",
        &json!({ "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" }),
    );
    show(1001, 0);
    show(1002, 365 * 86_400_000);
    events_once_there_are(&server, 2);
    show(1003, 0);
    let events = events_once_there_are(&server, 3);
    let mut numbers: Vec<_> = events.iter().filter_map(|event| event["number"].as_str()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["…001", "…002", "…003"]);
}

/// A device that tells nothing by itself is asked, from where we were; what it has dropped meanwhile is a gap.
#[test]
fn a_device_s_log_is_read_and_a_gap_in_it_is_said() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings| {
        settings.devices.pull_events = true;
        settings.devices.check_every = Duration::from_millis(200);
    });
    let show = |number: u32| {
        let body = json!({ "panel": "sim-0001", "type": "card", "number": number.to_string() });
        assert_eq!(devices.control("POST", "/present", Some(&body)).0, 200);
    };
    for number in 1001..1131 {
        show(number);
    }
    server.add_panel(
        "d1",
        &json!({ "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" }),
    );
    let until = |count| events_once_there_are(&server, count);
    let events = until(130);
    assert!(events.iter().all(|event| event["source"] == "pull" && event["granted"] == false));
    assert_eq!((&events[0]["number"], &events[0]["type"]), (&json!("…130"), &json!("card")));
    show(2001);
    until(131);
    // It keeps a thousand entries; more than that happen while it cannot be reached.
    devices.faults(None, &json!({ "offline": true }));
    for number in 3001..4051 {
        show(number);
    }
    devices.faults(None, &json!({}));
    let events = until(131 + 1000 + 1);
    let gaps: Vec<_> = events.iter().filter(|event| event["reason"] == "gap").collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!((&gaps[0]["granted"], &gaps[0]["number"]), (&json!(null), &json!(null)));
    server.stop_and_render();
}

#[test]
fn who_came_stands_on_the_page_of_the_door_and_of_the_identifier_and_no_number_does() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    let browser = Browser::admin(&server);
    let page = |path: &str| browser.get(path).send().body;
    assert!(!page("/panel/p1").contains("Who came"), "nobody came yet");
    let code = kind(card(102, "Cleaner", "1", &[]), "inputCode", "482915");
    let identifiers = json!([card(101, "Flat 12", "0001234567", &[1]), code]);
    push(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work week")], "identifiers": { "upsert": identifiers } }),
    );
    for (kind, number, at) in
        [("card", "1234567", OPEN), ("card", "1234567", SHUT), ("inputCode", "482915", OPEN)]
    {
        assert_eq!(present(&server, "p1", kind, number, at).status, 200);
    }
    let (door, card) = (page("/panel/p1"), page(&format!("/identifiers/{}", link(101))));
    for (what, page, granted, denied) in [("door", &door, 2, 1), ("card", &card, 1, 1)] {
        let count = |word: &str| page.matches(&format!("class=\"state {word}\"")).count();
        assert!(page.contains("Who came") && page.contains("…567"), "{what}: {page}");
        assert_eq!((count("granted"), count("denied")), (granted, denied), "{what}: {page}");
        assert!(!page.contains("1234567") && !page.contains("482915"), "{what}: {page}");
    }
    assert!(!card.contains("inputCode"), "the code is another's: {card}");
}
