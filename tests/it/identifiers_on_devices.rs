//! Identifiers on devices: the real server against simulated ones in another process. What is checked at the end is what the
//! devices hold.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::binary::{Served, Shell};
use crate::support::identifiers::{card, kind};
use crate::support::profiles::{link, once};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

fn impatient(settings: &mut Settings) {
    settings.devices.timeouts.connect = Duration::from_millis(500);
    settings.devices.timeouts.request = Duration::from_secs(2);
    settings.devices.check_every = Duration::from_millis(400);
}

fn remote(devices: &Simulated, n: usize) -> Value {
    json!({ "driver": "http", "url": devices.url(n), "username": "admin", "password": "123456" })
}

fn apply(server: &TestServer, batch: &Value) -> Answer {
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=60").json(batch).send();
    assert!([200, 202].contains(&answer.status), "{answer}");
    answer
}

/// Whose identifiers a simulated device holds, and their numbers, by link_id.
fn holds(devices: &Simulated, n: usize) -> BTreeSet<(String, String, String)> {
    let mut held = BTreeSet::new();
    for page in 1.. {
        let path = format!("/access/identifier/items/link?limit=50&page_number={page}");
        let answer = devices.by_hand(n, "GET", &path, None);
        let items = answer["list_items"].as_array().expect("a list").clone();
        for item in &items {
            let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
            let (link, name) = (text(&item["link_id"]), text(&item["identifier_owner"]["name"]));
            held.insert((link, name, text(&item["identifier_number"])));
        }
        if items.len() < 50 {
            break;
        }
    }
    held
}

/// The changing calls of a device as lines: what was asked of which link_ids.
fn changes(devices: &Simulated, n: usize) -> String {
    let mut lines = String::new();
    for call in devices.calls(n) {
        let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
        let (method, path) = (text("method"), text("path"));
        if method == "GET" || path.contains("log") {
            continue;
        }
        let body: Value = serde_json::from_str(&text("body")).unwrap_or(Value::Null);
        let links = body["link_ids"]
            .as_array()
            .or_else(|| body["list_items"].as_array())
            .cloned()
            .unwrap_or_default();
        let links: Vec<_> = links
            .iter()
            .map(|item| item["link_id"].as_str().or(item.as_str()).unwrap_or("")[34..].to_owned())
            .collect();
        let path = path.split_once("/access").map_or(String::new(), |(_, rest)| format!("/access{rest}"));
        lines.push_str(&format!("{method} {path} {}\n", links.join(" ")));
    }
    lines
}

#[test]
fn a_device_takes_identifiers_in_an_order_that_lets_nobody_in_and_is_read_back() {
    let devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(impatient);
    server.add_panel("d1", &remote(&devices, 1));
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("devices", "identifiers");
    let mut step = |what: &str, batch: &Value| {
        let answer = apply(&server, batch);
        log.step(what, &answer);
        let path = format!("/batches/{}/panels", answer.value()["id"].as_str().expect("an id"));
        log.step(&format!("{what}: by item"), &server.fleet("GET", &path).send());
    };
    let face = |n: u32| {
        let mut face = kind(card(n, "Olena", "", &[1]), "face_id", "");
        face["face_image"] = json!("/9j/4AAQSkZJRg==");
        face
    };
    step(
        "two profiles, two cards, a code and a face",
        &json!({ "all": true, "upsert": [once(1, "Work"), once(2, "Visit")],
        "identifiers": { "upsert": [card(11, "First", "0012", &[1]), card(12, "Second", "5e:6f", &[1, 2]), kind(card(13, "Guest", "", &[2]), "inputCode", "482915"), face(14)] } }),
    );
    let mut later = once(1, "Later");
    later["time_options"]["date_to"] = json!(1_735_880_400);
    step(
        "a profile changes, one goes, one identifier leaves it, one comes to it, one goes, one is new, a number moves",
        &json!({ "all": true,
        "upsert": [later, once(3, "New")], "delete": [link(2)],
        "identifiers": { "upsert": [card(11, "First", "13", &[3]), card(12, "Second", "5e:6f", &[1]), card(15, "Third", "12", &[1])], "delete": [link(13)] } }),
    );
    step(
        "two numbers change places, and a card becomes a code",
        &json!({ "all": true,
        "identifiers": { "upsert": [card(11, "First", "12", &[3]), card(15, "Third", "13", &[1]), kind(card(12, "Second", "", &[1]), "inputCode", "77")] } }),
    );
    log.step("in this order", &changes(&devices, 1));
    log.step("it holds", &format!("{:#?}", holds(&devices, 1)));
    // Somebody edits it by hand.
    let foreign =
        json!({ "list_items": [card(99, "Foreign", "999", &[1]), card(11, "Renamed", "12", &[3])] });
    devices.by_hand(1, "POST", "/access/identifier/items/link", Some(&foreign));
    devices.by_hand(1, "DELETE", "/access/identifier/items/link", Some(&json!({ "link_ids": [link(15)] })));
    log.step("drift", &shell.run(&["diff", "--output", "json"]));
    log.step("put right", &shell.run(&["reconcile", "--all", "--yes"]));
    log.step("no drift", &shell.run(&["diff"]));
    log.step("it holds again", &format!("{:#?}", holds(&devices, 1)));
    // Another server takes all that it holds, but for the face.
    let other = TestServer::start_with(impatient);
    let adopt = |server: &TestServer| {
        let mut panel = remote(&devices, 1);
        panel["id"] = json!("mine");
        server.fleet("POST", "/panels?adopt=true").json(&panel).send()
    };
    log.step("a face is not adopted", &adopt(&other));
    let step = |what: &str, batch: &Value, log: &mut Transcript| {
        let answer = apply(&server, batch);
        log.step(what, &answer);
    };
    step("the face goes", &json!({ "all": true, "identifiers": { "delete": [link(14)] } }), &mut log);
    log.step("then it is adopted", &adopt(&other));
    log.step("as it is", &other.fleet("GET", "/diff").send());
    step(
        "all go",
        &json!({ "all": true, "confirm_deletes": 9, "prune": true, "identifiers": { "prune": true } }),
        &mut log,
    );
    log.step("it holds nothing", &format!("{:?} {:?}", devices.holds(1), holds(&devices, 1)));
    log.check();
}

#[test]
fn a_device_that_knows_older_paths_alone_is_reached_and_asked_there_from_then_on() {
    let devices = Simulated::start(1, &["--api", "camdroid", "--api-version", "0.6.0"]);
    let server = TestServer::start_with(impatient);
    let mut panel = remote(&devices, 1);
    (panel["api"], panel["api_version"]) = (json!("camdroid"), json!("0.6.0"));
    server.add_panel("d1", &panel);
    let push = |batch: Value| {
        let report = apply(&server, &batch).value();
        assert_eq!(report["panels"]["applied"], 1, "{report}");
    };
    let mut guest = card(12, "Guest", "13", &[1]);
    guest["valid"] = json!({
        "time": { "is_permanent": false, "from": 1_767_225_600, "to": 1_798_761_600 },
        "passes": { "is_permanent": false, "max_passes": 3 },
    });
    push(
        json!({ "all": true, "upsert": [once(1, "Work")], "identifiers": { "upsert": [card(11, "First", "12", &[1])] } }),
    );
    // From now on it is older than it says.
    devices.faults(None, &json!({ "quirks": ["old-paths", "only-post"] }));
    push(json!({ "all": true, "identifiers": { "upsert": [card(11, "Renamed", "12", &[1]), guest] } }));
    push(json!({ "all": true, "identifiers": { "upsert": [card(14, "Third", "15", &[1])] } }));
    push(json!({ "all": true, "identifiers": { "delete": [link(11)] } }));
    push(json!({ "all": true, "identifiers": { "delete": [link(14)] } }));
    let calls = changes(&devices, 1);
    let expected = "\
        POST /access/timeprofile/items/link 01\n\
        POST /access/identifier/items/link 0b\n\
        POST /access/identifier/items/link 0b 0c\n\
        POST /access/identifiers/link 0b 0c\n\
        POST /access/identifiers/link 0e\n\
        DELETE /access/identifier/items/link 0b\n\
        POST /access/identifiers/link/delete 0b\n\
        POST /access/identifiers/link/delete 0e\n";
    assert_eq!(calls, expected);
    // It is read there, too, and then nothing differs: neither when it is valid nor what else it holds.
    let shell = Shell::new(server.address(), Some(server.token()));
    let diff = shell.run(&["diff"]);
    assert_eq!(diff.exit, Some(0), "{diff}");
    let lists = |path: &str| devices.calls(1).iter().filter(|call| is_list(call, path)).count();
    let (today, older) = (lists("/access/identifier/items/link"), lists("/access/identifiers/link"));
    assert!(today <= 1 && older >= 1, "{today} {older}");
    // What is sent says when it is valid where either kind of panel looks for it.
    let bodies: Vec<_> =
        devices.calls(1).into_iter().filter_map(|call| call["body"].as_str().map(str::to_owned)).collect();
    let sent = bodies.iter().rfind(|body| body.contains("Guest")).expect("it was sent");
    let sent: Value = serde_json::from_str(sent).expect("JSON");
    let sent = sent["list_items"].as_array().expect("a list").iter().find(|item| item["link_id"] == link(12));
    let sent = sent.expect("the guest");
    assert_eq!(json!({ "time": sent["time"], "passes": sent["passes"] }), sent["valid"]);
}

/// Whether a call reads a list at a path.
fn is_list(call: &Value, path: &str) -> bool {
    let sent = call["path"].as_str().unwrap_or_default().split('?').next().unwrap_or_default();
    call["method"] == "GET" && sent.ends_with(path)
}

#[test]
fn a_site_of_many_doors_holds_exactly_what_one_command_says_whoever_is_killed_in_between() {
    const DOORS: usize = 60;
    const CARDS: u32 = 120;
    const PROFILES: u32 = 12;
    let mut devices = Simulated::start(DOORS, &["--latency", "2ms"]);
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), Some("a password for tests"), &[]);
    let shell = Shell::new(served.address, None);
    let login = shell.run_with(&["login", "--username", "admin", "--password-stdin"], "a password for tests");
    assert_eq!(login.exit, Some(0), "{login}");
    let panels: Vec<_> = (1..=DOORS)
        .map(|n| {
            let mut panel = remote(&devices, n);
            (panel["id"], panel["labels"]) = (json!(format!("door-{n:03}")), json!({ "site": "north" }));
            panel.to_string()
        })
        .collect();
    shell.file("doors.ndjson", &panels.join("\n"));
    let import = shell.run(&["panel", "import", "doors.ndjson"]);
    assert_eq!(import.exit, Some(0), "{import}");
    let profiles: Vec<_> = (1..=PROFILES).map(|n| once(n, &format!("Profile {n}"))).collect();
    let cards: Vec<_> = (1..=CARDS)
        .map(|n| card(1000 + n, &format!("Person {n}"), &(70_000 + n).to_string(), &[n % PROFILES + 1]))
        .collect();
    shell.file("site.json", &json!({ "profiles": profiles, "identifiers": cards }).to_string());
    let ran = shell.run(&["apply", "-f", "site.json", "-l", "site=north", "--no-wait"]);
    assert_eq!(ran.exit, Some(0), "{ran}");
    std::thread::sleep(Duration::from_millis(700));
    devices.kill();
    std::thread::sleep(Duration::from_millis(300));
    served.kill();
    devices.restart();
    let served = Served::start(folder.path(), None, &[]);
    let expected: BTreeSet<_> =
        (1..=CARDS).map(|n| (link(1000 + n), format!("Person {n}"), (70_000 + n).to_string())).collect();
    let end = Instant::now() + Duration::from_mins(3);
    for n in 1..=DOORS {
        while holds(&devices, n) != expected {
            assert!(Instant::now() < end, "door {n} does not hold what it should");
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(devices.holds(n).len(), PROFILES as usize);
    }
    served.terminate();
}
