//! What is seen when a device is looked at, where it answers oddly: what it holds, who came, and which device it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use panelsync::config::{Secret, Settings};
use serde_json::{Value, json};

use crate::imperfect::{Asked, Hand, add, apply, diff, impatient, state, until};
use crate::support::identifiers::{card, kind};
use crate::support::profiles::{link, once};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

const PROFILES: &str = "/api/v1/access/timeprofile";
const IDENTIFIERS: &str = "/api/v1/access/identifier";

/// Some time in January 2026, in Unix milliseconds.
const THEN: i64 = 1_767_268_800_000;

/// What a device holds and says, to be changed at will.
#[derive(Default)]
struct Inside {
    serial: String,
    profiles: Vec<Value>,
    identifiers: Vec<Value>,
    log: Vec<Value>,
    lists_newest_first: bool,
    ignores_from: bool,
    clock_ahead_ms: i64,
    /// Other answers, by call.
    otherwise: BTreeMap<String, (u16, Value)>,
}

/// A panel with identifiers and a log.
#[derive(Default, Clone)]
struct Door(Arc<Mutex<Inside>>);

impl Door {
    fn device(&self) -> Hand {
        let door = self.clone();
        Hand::new(move |asked| door.change(|inside| inside.answer(asked)))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inside) -> T) -> T {
        change(&mut self.0.lock().expect("whole"))
    }

    fn otherwise(&self, call: &str, status: u16, body: Value) {
        self.change(|inside| inside.otherwise.insert(call.to_owned(), (status, body)));
    }
}

fn page(items: &[Value], asked: &Asked) -> (u16, Value) {
    let (limit, page) = (asked.number("limit", 10), asked.number("page_number", 1));
    let shown: Vec<_> = items.iter().skip(((page - 1) * limit) as usize).take(limit as usize).collect();
    let total = items.len() as u64;
    let pagination =
        json!({ "total_items": total, "items_limit": limit, "total_pages": total.div_ceil(limit) });
    (200, json!({ "list_items": shown, "list_option": { "pagination": pagination } }))
}

fn upsert(held: &mut Vec<Value>, asked: &Asked) -> (u16, Value) {
    let mut results = Vec::new();
    for item in asked.body["list_items"].as_array().cloned().unwrap_or_default() {
        let link = item["link_id"].clone();
        let place = held.iter().position(|held| held["link_id"] == link);
        let word = if place.is_some() { "updated" } else { "created" };
        match place {
            Some(place) => held[place] = item,
            None => held.push(item),
        }
        results.push(json!({ "link_id": link, "success": true, "extended_info": word }));
    }
    (200, json!({ "result": results }))
}

fn delete(held: &mut Vec<Value>, asked: &Asked) -> (u16, Value) {
    let links = asked.body["link_ids"].as_array().cloned().unwrap_or_default();
    held.retain(|item| !links.contains(&item["link_id"]));
    let gone = |link| json!({ "link_id": link, "success": true, "extended_info": "deleted" });
    (200, json!({ "result": links.iter().map(gone).collect::<Vec<_>>() }))
}

impl Inside {
    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        if let Some(answer) = self.otherwise.get(&format!("{} {}", asked.method, asked.path)) {
            return answer.clone();
        }
        let token = format!("token-{}", self.serial);
        let (kind, rest) = match asked.path.strip_prefix(PROFILES) {
            Some(rest) => (Some(&mut self.profiles), rest),
            None => match asked.path.strip_prefix(IDENTIFIERS) {
                Some(rest) => (Some(&mut self.identifiers), rest),
                None => (None, asked.path.as_str()),
            },
        };
        match (asked.method.as_str(), rest, kind) {
            ("GET", "/api/info", _) => (
                200,
                json!({ "api_version": "2.9.0", "device_serial_number": self.serial, "device_model": "X" }),
            ),
            ("GET", "/api/v1/login", _) => (200, json!({ "token": token, "account_type": "admin" })),
            ("POST", "/api/v1/logout", _) => (200, Value::Null),
            _ if asked.token.as_ref() != Some(&token) => (401, json!({ "error": "Log In" })),
            ("GET", "/api/v1/device/time", _) => (
                200,
                json!({ "time_unix": (panelsync::clock::now_ms() + self.clock_ahead_ms) / 1000, "timezone": "UTC+00:00" }),
            ),
            ("GET", "/api/v1/log/items", _) => {
                let from = if self.ignores_from { 0 } else { asked.number("from", 0) as i64 };
                let mut items: Vec<_> = self
                    .log
                    .iter()
                    .filter(|item| item["timestamp"].as_i64() >= Some(from))
                    .cloned()
                    .collect();
                if self.lists_newest_first {
                    items.reverse();
                }
                page(&items, asked)
            }
            ("POST", "/items/link", Some(held)) => upsert(held, asked),
            ("POST", "/link/delete", Some(held)) | ("DELETE", "/items/link", Some(held)) => {
                delete(held, asked)
            }
            ("GET", "/items" | "/items/link", Some(held)) => page(held, asked),
            _ => (404, json!({ "error": "Not found" })),
        }
    }
}

/// A panel d1 of a device that holds what it was sent: a profile, and a card that it binds.
fn pushed(door: &Door, device: &Hand) -> TestServer {
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let batch = json!({ "all": true, "upsert": [once(1, "Work")],
        "identifiers": { "upsert": [card(11, "Flat 12", "1234567", &[1])] } });
    let applied = apply(&server, 30, &batch).value();
    assert_eq!(applied["panels"]["applied"], 1, "{applied}");
    assert_eq!(diff(&server, "d1")["state"], "same");
    assert_eq!(door.change(|inside| inside.identifiers.len()), 1);
    server
}

/// What differs, and how, by kind.
fn differences(found: &Value) -> Vec<(&str, &str)> {
    let differences = found["differences"].as_array().unwrap_or_else(|| panic!("{found}"));
    let text = |value: &'_ Value| -> &'static str {
        ["profile", "identifier", "changed", "missing", "extra"]
            .into_iter()
            .find(|word| value == word)
            .unwrap_or("?")
    };
    differences.iter().map(|found| (text(&found["kind"]), text(&found["difference"]))).collect()
}

#[test]
fn a_device_that_held_identifiers_and_does_not_know_their_list_cannot_be_read() {
    let door = Door::default();
    let device = door.device();
    let server = pushed(&door, &device);
    for status in [404, 405] {
        door.otherwise(&format!("GET {IDENTIFIERS}/items/link"), status, json!({ "error": "Not found" }));
        let found = diff(&server, "d1");
        assert_eq!(found["state"], "unreadable", "{status}: {found}");
    }
    door.change(|inside| inside.otherwise.clear());
    until("it is read again", || diff(&server, "d1")["state"] == "same");
}

#[test]
fn a_device_that_never_took_an_identifier_may_know_none() {
    let door = Door::default();
    let device = door.device();
    for call in ["GET", "POST", "DELETE"] {
        door.otherwise(&format!("{call} {IDENTIFIERS}/items/link"), 404, json!({ "error": "Not found" }));
    }
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let batch = json!({ "all": true, "upsert": [once(1, "Work")],
        "identifiers": { "upsert": [card(11, "Flat 12", "1234567", &[1])] } });
    let applied = apply(&server, 30, &batch).value();
    assert_eq!(applied["state"], "done", "{applied}");
    assert_eq!(diff(&server, "d1")["state"], "same");
    door.change(|inside| inside.profiles.clear());
    assert_eq!(differences(&diff(&server, "d1")), [("profile", "missing")]);
}

#[test]
fn what_stands_twice_under_a_link_id_is_drift_and_is_not_adopted() {
    let door = Door::default();
    let device = door.device();
    let server = pushed(&door, &device);
    let wide = card(11, "Flat 12", "1234567", &[]);
    door.change(|inside| inside.identifiers.insert(0, wide));
    assert_eq!(differences(&diff(&server, "d1")), [("identifier", "changed")]);
    let question = format!("/access?panel=d1&identifier={}&at=2026-01-02T10:00:00Z", link(11));
    let foretold = server.fleet("GET", &question).send().value();
    assert_eq!(foretold["items"][0]["confirmed"], "no", "{foretold}");
    let mut panel = json!({ "id": "d2", "driver": "http", "url": device.url(), "username": "admin",
        "password": "123456" });
    panel["labels"] = json!({});
    let other = TestServer::start_with(impatient);
    let refused = other.fleet("POST", "/panels?adopt=true").json(&panel).send();
    assert_eq!(refused.status, 422, "{refused}");
    assert!(refused.body.contains(&link(11)), "{refused}");
    // So it is of profiles.
    door.change(|inside| {
        inside.identifiers.remove(0);
        inside.profiles.insert(0, once(1, "Always"));
    });
    assert_eq!(differences(&diff(&server, "d1")), [("profile", "changed")]);
    server.stop_and_render();
}

#[test]
fn a_list_that_contradicts_itself_is_no_loss() {
    let door = Door::default();
    let device = door.device();
    let server = pushed(&door, &device);
    let writes = || device.calls("POST /api/v1/access");
    let before = writes();
    let none = json!({ "list_items": null });
    let one =
        json!({ "list_items": [], "list_option": { "pagination": { "total_items": 1, "items_limit": 50 } } });
    for (kind, path) in [(PROFILES, "items"), (PROFILES, "items/link"), (IDENTIFIERS, "items/link")] {
        for list in [&none, &one] {
            door.otherwise(&format!("GET {kind}/{path}"), 200, list.clone());
            let read = (kind, path) != (PROFILES, "items/link");
            if read {
                let found = diff(&server, "d1");
                assert_eq!(found["state"], "unreadable", "{kind}/{path} {list}: {found}");
            }
            let looks = device.calls(&format!("GET {kind}/items/link"));
            until("it is looked at", || device.calls(&format!("GET {kind}/items/link")) > looks + 2);
            assert_eq!((writes(), state(&server, "d1")["drifted"].clone()), (before, json!(0)));
            door.change(|inside| inside.otherwise.clear());
            until("it is read again", || diff(&server, "d1")["state"] == "same");
        }
    }
}

#[test]
fn a_device_that_took_another_ones_place_is_read_before_it_is_sent_anything() {
    let door = Door::default();
    door.change(|inside| inside.serial = "ONE".into());
    let device = door.device();
    let server = pushed(&door, &device);
    door.change(|inside| {
        inside.serial = "TWO".into();
        inside.profiles.clear();
        inside.identifiers = vec![card(99, "Foreign", "7654321", &[])];
    });
    until("it is known as another one", || state(&server, "d1")["device"]["serial"] == "TWO");
    until("it has what it should, and what else it has is known", || {
        let held = door.change(|inside| (inside.profiles.len(), inside.identifiers.len()));
        held == (1, 2) && state(&server, "d1")["drifted"] == 1
    });
    assert_eq!(differences(&diff(&server, "d1")), [("identifier", "extra")]);
    server.stop_and_render();
}

#[test]
fn a_device_that_took_another_ones_place_is_sent_nothing_while_it_cannot_be_read() {
    let door = Door::default();
    door.change(|inside| inside.serial = "ONE".into());
    let device = door.device();
    let server = pushed(&door, &device);
    door.otherwise(&format!("GET {PROFILES}/items"), 500, json!({ "error": "busy" }));
    door.change(|inside| {
        inside.serial = "TWO".into();
        inside.profiles.clear();
        inside.identifiers = vec![card(99, "Foreign", "7654321", &[])];
    });
    let writes = || {
        [PROFILES, IDENTIFIERS]
            .iter()
            .map(|kind| device.calls(&format!("POST {kind}/items/link")))
            .sum::<usize>()
    };
    let before = writes();
    let reads = device.calls(&format!("GET {PROFILES}/items"));
    until("it was to be read some times", || device.calls(&format!("GET {PROFILES}/items")) > reads + 3);
    assert_eq!((writes(), door.change(|inside| inside.identifiers.len())), (before, 1));
    door.change(|inside| inside.otherwise.clear());
    until("it has what it should, and what else it has is known", || {
        let held = door.change(|inside| (inside.profiles.len(), inside.identifiers.len()));
        held == (1, 2) && state(&server, "d1")["drifted"] == 1
    });
}

#[test]
fn a_device_that_lost_all_of_one_kind_is_noticed_at_a_look() {
    let door = Door::default();
    let device = door.device();
    let server = pushed(&door, &device);
    door.change(|inside| inside.identifiers.clear());
    until("it is noticed", || state(&server, "d1")["drifted"] == 1);
    assert_eq!(differences(&diff(&server, "d1")), [("identifier", "missing")]);
}

/// A panel d1 whose device's log is read.
fn reading_log(device: &Hand) -> TestServer {
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.devices.pull_events = true;
        settings.devices.check_every = std::time::Duration::from_millis(150);
    });
    add(&server, "d1", &device.url());
    server
}

fn entry(at_ms: i64, number: u32) -> Value {
    json!({ "timestamp": at_ms, "category": "access", "name": { "key": "access_granted_by_valid_identifier" },
        "info": { "model": { "type": "card", "number": number.to_string() } } })
}

/// All events, newest first, as reason and number.
fn events(server: &TestServer) -> Vec<(String, String)> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.fleet("GET", &format!("/access-events?limit=1000{cursor}")).send().value();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let items = page["items"].as_array().expect("a list");
        events.extend(items.iter().map(|event| (text(&event["reason"]), text(&event["number"]))));
        let Some(next) = page["next_cursor"].as_str() else { return events };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn a_log_that_begins_with_the_newest_says_what_of_it_was_not_read() {
    let door = Door::default();
    door.change(|inside| {
        inside.lists_newest_first = true;
        inside.log = (0..1100).map(|n| entry(THEN + n, 2000 + n as u32)).collect();
    });
    let device = door.device();
    let server = reading_log(&device);
    until("it is read", || events(&server).len() >= 1000);
    let read = events(&server);
    assert_eq!((read.len(), &*read[0].1), (1001, "…099"));
    assert_eq!(read.iter().filter(|(reason, _)| reason == "gap").count(), 1);
    door.change(|inside| inside.log.push(entry(THEN + 5000, 5555)));
    until("it is read on", || events(&server).len() == 1002);
}

#[test]
fn a_log_of_which_only_the_beginning_can_be_read_says_that_what_comes_later_is_missing() {
    let door = Door::default();
    door.change(|inside| {
        inside.ignores_from = true;
        inside.log = (0..1100).map(|n| entry(THEN + n, 2000 + n as u32)).collect();
    });
    let device = door.device();
    let server = reading_log(&device);
    let gaps = || events(&server).iter().filter(|(reason, _)| reason == "gap").count();
    until("it is said", || gaps() == 1);
    assert_eq!(
        (events(&server).len(), &*events(&server)[0].0),
        (1001, "gap"),
        "it comes after what was read"
    );
    let looks = device.calls("GET /api/v1/log/items");
    until("it is looked at", || device.calls("GET /api/v1/log/items") > looks + 45);
    assert_eq!(gaps(), 1, "it is said once");
}

#[test]
fn what_happens_while_a_device_s_clock_is_behind_is_read_too() {
    let door = Door::default();
    let now = panelsync::clock::now_ms();
    door.change(|inside| inside.log = vec![entry(now - 5000, 1)]);
    let device = door.device();
    let server = reading_log(&device);
    until("it is read", || events(&server).len() == 1);
    // After a loss of power it is 2020 there for a while.
    let years = 6 * 365 * 86_400_000;
    door.change(|inside| {
        inside.clock_ahead_ms = -years;
        inside.log.insert(0, entry(now - years + 1000, 4444));
    });
    until("it is read as well", || events(&server).len() == 2);
    door.change(|inside| {
        inside.clock_ahead_ms = 0;
        inside.log.push(entry(now, 5555));
    });
    until("it is read on", || events(&server).len() == 3);
    assert!(events(&server).iter().all(|(reason, _)| reason != "gap"), "{:?}", events(&server));
}

#[test]
fn more_of_one_moment_than_a_look_reads_hides_nothing_that_comes_later() {
    let door = Door::default();
    door.change(|inside| inside.log = (0..1200).map(|n| entry(THEN, 2000 + n)).collect());
    let device = door.device();
    let server = reading_log(&device);
    until("it is read", || events(&server).len() >= 1000);
    let mut later = entry(THEN + 5000, 5555);
    later["name"]["key"] = json!("later");
    door.change(|inside| inside.log.push(later));
    until("what came later is read", || events(&server).iter().any(|(reason, _)| reason == "later"));
    let gaps = events(&server).iter().filter(|(reason, _)| reason == "gap").count();
    assert!((1..=2).contains(&gaps), "{gaps}");
    let looks = device.calls("GET /api/v1/log/items");
    until("it is looked at", || device.calls("GET /api/v1/log/items") > looks + 3);
    assert_eq!(events(&server).iter().filter(|(reason, _)| reason == "gap").count(), gaps, "it is said once");
}

#[test]
fn of_a_code_that_a_log_hides_the_type_is_told() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings: &mut Settings| {
        impatient(settings);
        settings.devices.pull_events = true;
    });
    add(&server, "d1", &devices.url(1));
    let code = kind(card(13, "Guest", "1", &[]), "inputCode", "482915");
    let batch = json!({ "all": true, "identifiers": { "upsert": [code] } });
    assert_eq!(apply(&server, 30, &batch).value()["panels"]["applied"], 1);
    let body = json!({ "panel": "sim-0001", "type": "inputCode", "number": "482915" });
    assert_eq!(devices.control("POST", "/present", Some(&body)).0, 200);
    let listed = || server.fleet("GET", "/access-events").send().value()["items"].clone();
    until("it is read", || listed().as_array().is_some_and(|events| !events.is_empty()));
    let event = &listed()[0];
    assert_eq!((&event["type"], &event["number"]), (&json!("inputCode"), &json!(null)), "{event}");
}

fn log_in(server: &TestServer, serial: &str) -> (u16, String) {
    let body = json!({ "login": serial, "password": "link-password" }).to_string();
    let answer = server.call("POST", "/api/v0/devices/login").raw(body).send();
    if answer.status != 200 {
        return (answer.status, String::new());
    }
    (200, answer.value()["token"].as_str().expect("a token").to_owned())
}

#[test]
fn a_device_tells_from_the_moment_it_is_known_until_another_one_takes_its_place() {
    let devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.link_password = Some(Secret("link-password".into()));
    });
    for n in 1..=2 {
        let serial = devices.call_open(n, "/api/info")["device_serial_number"].clone();
        let serial = serial.as_str().expect("a text");
        assert_eq!(log_in(&server, serial).0, 401, "no panel has it yet");
        add(&server, &format!("d{n}"), &devices.url(n));
        let (status, token) = log_in(&server, serial);
        assert_eq!(status, 200, "device {n} is known");
        let there = || server.call("POST", "/api/v0/devices/pong").bearer(&token).send().status;
        assert_eq!(there(), 200);
        let replaced = json!({ "panels": [format!("sim-{n:04}")], "serial": format!("ANOTHER-{n}") });
        // Twice: a session that was just being begun has perhaps seen the one before.
        devices.switch("reset", &replaced);
        devices.switch("reset", &replaced);
        until("its session has ended", || {
            diff(&server, &format!("d{n}"));
            there() == 401
        });
        assert_eq!(log_in(&server, serial).0, 401, "it is no panel's any more");
        assert_eq!(log_in(&server, &format!("ANOTHER-{n}")).0, 200);
    }
}
