//! A batch is taken back: what every panel should hold is then what it was before, but for what something newer changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::binary::{Served, Shell};
use crate::support::identifiers::{card, face, kind};
use crate::support::profiles::{link, once, work_week};
use crate::support::server::{ADMIN_PASSWORD, TestServer, rendered_state};
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;
use crate::web::Browser;

fn impatient(settings: &mut Settings) {
    settings.devices.timeouts.connect = Duration::from_millis(500);
    settings.devices.timeouts.request = Duration::from_secs(2);
    settings.devices.check_every = Duration::from_millis(400);
}

fn remote(devices: &Simulated, n: usize, site: &str) -> Value {
    json!({ "driver": "http", "url": devices.url(n), "username": "admin", "password": "123456", "labels": { "site": site } })
}

/// Sends something that becomes a batch, which has to be done within a minute.
fn send(server: &TestServer, path: &str, body: &Value) -> Value {
    let answer = server.fleet("POST", path).header("prefer", "wait=60").json(body).send();
    assert_eq!(answer.status, 200, "{answer}");
    answer.value()
}

fn apply(server: &TestServer, batch: &Value) -> String {
    id_of(&send(server, "/batches", batch))
}

fn id_of(batch: &Value) -> String {
    batch["id"].as_str().expect("an id").to_owned()
}

fn undo(server: &TestServer, id: &str, body: &Value) -> Value {
    send(server, &format!("/batches/{id}:undo"), body)
}

fn refused(server: &TestServer, id: &str, body: &Value, status: u16) -> String {
    let answer = server.fleet("POST", &format!("/batches/{id}:undo")).json(body).send();
    assert_eq!(answer.status, status, "{answer}");
    answer.value()["detail"].as_str().expect("words").to_owned()
}

/// What a panel should hold, by kind and link_id: the whole text of each item. Uids and revisions are the panel's own
/// counters, which go on: an item that was deleted and is put back has a new uid.
fn held(server: &TestServer, panel: &str) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for (kind, what) in [("profiles", "profile"), ("identifiers", "identifier")] {
        let answer = server.fleet("GET", &format!("/panels/{panel}/{kind}?limit=1000")).send();
        for item in answer.value()["items"].as_array().expect("a list") {
            let text = format!("{} {}", item[what], item["sentence"]);
            held.insert(format!("{what} {}", item["link_id"].as_str().expect("a link_id")), text);
        }
    }
    held
}

fn held_by(server: &TestServer, panels: &[&str]) -> Vec<BTreeMap<String, String>> {
    panels.iter().map(|panel| held(server, panel)).collect()
}

/// The items of a panel in a batch, by link_id: the words of what came of each.
fn words(server: &TestServer, batch: &Value, panel: &str) -> BTreeMap<String, String> {
    let path = format!("/batches/{}/panels?limit=1000", batch["id"].as_str().expect("an id"));
    let answer = server.fleet("GET", &path).send().value();
    let row = answer["items"].as_array().expect("a list").iter().find(|row| row["panel"] == panel);
    let result = row.expect("the panel")["result"].as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    result.iter().map(|item| (text(&item["link_id"]), text(&item["extended_info"]))).collect()
}

/// The numbers of a plan or a report that both have.
fn sums(of: &Value) -> Value {
    json!({ "panels": of["panels"], "items": of["items"], "by_kind": of["by_kind"] })
}

#[test]
fn a_mistaken_prune_to_all_is_undone_and_every_panels_text_is_what_it_was() {
    let devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(impatient);
    server.add_panels(6);
    server.add_panel("d1", &remote(&devices, 1, "north"));
    server.add_panel("d2", &remote(&devices, 2, "south"));
    let people = json!({ "upsert": [card(11, "First", "0012", &[1]), card(12, "Second", "13", &[1, 2]), kind(card(13, "Guest", "", &[2]), "inputCode", "482915"), face(14, "Olena", &[1])] });
    apply(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work"), once(2, "Visit"), once(3, "Third")], "identifiers": people }),
    );
    // Some panels hold what no other does.
    apply(&server, &json!({ "panels": ["p002", "d2"], "upsert": [once(4, "Its own")], "delete": [link(3)] }));
    let many: Vec<_> = (100..300).map(|n| once(n, &format!("Of many {n}"))).collect();
    apply(&server, &json!({ "panels": ["p003"], "upsert": many }));
    let panels = ["p001", "p002", "p003", "p004", "p005", "p006", "d1", "d2"];
    let before = held_by(&server, &panels);
    let on_devices: Vec<_> = [1, 2].map(|n| devices.holds(n)).into();

    let mistaken = send(
        &server,
        "/batches",
        &json!({ "all": true, "upsert": [once(9, "The only one")], "prune": true, "identifiers": { "upsert": [], "prune": true }, "confirm_deletes": 1000 }),
    );
    assert_eq!(held(&server, "p003").len(), 1, "{mistaken}");
    assert_eq!(devices.holds(2).len(), 1);
    let id = id_of(&mistaken);
    let plan = send(&server, &format!("/batches/{id}:undo"), &json!({ "dry_run": true }));
    assert_eq!((&plan["dry_run"], plan["plan"].as_array().map(Vec::len)), (&json!(true), Some(8)));
    assert_eq!(held(&server, "p003").len(), 1, "nothing was changed");
    let undone = undo(&server, &id, &json!({}));
    assert_eq!(sums(&undone), sums(&plan), "what came of it is what was foretold");
    assert_eq!((&undone["undoes"], &undone["panels"]["applied"]), (&json!(id), &json!(8)), "{undone}");
    let all: usize = before.iter().map(BTreeMap::len).sum();
    assert_eq!(
        (&undone["items"]["created"], &undone["items"]["deleted"]),
        (&json!(all), &json!(8)),
        "{undone}"
    );
    assert_eq!(held_by(&server, &panels), before);
    assert_eq!(Vec::from([1, 2].map(|n| devices.holds(n))), on_devices);
    assert_eq!(
        server.fleet("GET", "/diff").send().value()["items"].to_string().matches("missing").count(),
        0
    );
    // The photo is there again, too.
    let photo = server.fleet("GET", &format!("/identifiers/{}/photo", link(14))).open();
    assert_eq!(photo.status().as_u16(), 200);

    // Undone, the undo is the mistake again; and that undone is the state before it once more.
    let again = undo(&server, &id_of(&undone), &json!({}));
    assert_eq!((held(&server, "p003").len(), devices.holds(1).len()), (1, 1), "{again}");
    undo(&server, &id_of(&again), &json!({}));
    assert_eq!(held_by(&server, &panels), before);
    server.stop_and_render();
}

#[test]
fn what_something_newer_changed_is_left_and_said() {
    let server = TestServer::start();
    server.add_panels(3);
    apply(&server, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "a"), once(3, "a")] }));
    let batch = apply(
        &server,
        &json!({ "all": true, "upsert": [once(1, "b"), once(2, "b"), once(4, "b")], "delete": [link(3)] }),
    );
    apply(&server, &json!({ "panels": ["p002"], "upsert": [once(1, "newer"), once(3, "newer")] }));
    apply(&server, &json!({ "panels": ["p003"], "upsert": [once(2, "a")], "delete": [link(4)] })); // by hand
    let plan = send(&server, &format!("/batches/{batch}:undo"), &json!({ "dry_run": true }));
    let undone = undo(&server, &batch, &json!({}));
    assert_eq!(sums(&undone), sums(&plan));
    assert_eq!(undone["items"]["changed_since"], 2, "{undone}");
    assert_eq!(undone["panels"]["applied"], 3, "what is newer was to be left: {undone}");
    let said = words(&server, &undone, "p002");
    assert_eq!((&*said[&link(1)], &*said[&link(3)]), ("changed_since", "changed_since"));
    assert_eq!((&*said[&link(2)], &*said[&link(4)]), ("updated", "deleted"));
    let said = words(&server, &undone, "p003");
    assert_eq!(
        (&*said[&link(2)], &*said[&link(4)]),
        ("updated", "entity_not_found"),
        "as it should be already"
    );
    let names = |panel: &str| -> Vec<String> {
        let texts = held(&server, panel).into_values();
        texts
            .map(|text| {
                text.split("\"name\":\"")
                    .nth(1)
                    .expect("a name")
                    .split('"')
                    .next()
                    .expect("it ends")
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(names("p001"), ["a", "a", "a"]);
    assert_eq!(names("p002"), ["newer", "a", "newer"]);
    assert_eq!(names("p003"), ["a", "a", "a"]);
    let why = refused(&server, &batch, &json!({}), 409);
    assert!(why.contains("nothing that the batch changed stands"), "{why}");
    server.stop_and_render();
}

#[test]
fn the_rules_between_items_hold_for_an_undo_too() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "capacity": 3 }));
    apply(
        &server,
        &json!({ "all": true, "upsert": [once(1, "a"), once(2, "a")], "identifiers": { "upsert": [card(11, "First", "12", &[1])] } }),
    );
    let new = apply(
        &server,
        &json!({ "all": true, "delete": [link(2)], "upsert": [once(3, "new")], "identifiers": { "delete": [link(11)] } }),
    );
    // Newer: another one has the number, an identifier is bound by the new profile, and the panel is full.
    apply(
        &server,
        &json!({ "all": true, "upsert": [once(4, "newer")], "identifiers": { "upsert": [card(12, "Second", "12", &[3])] } }),
    );
    let undone = undo(&server, &new, &json!({}));
    let said = words(&server, &undone, "p1");
    assert_eq!(&*said[&link(3)], "bound_by_identifiers", "{undone}");
    assert_eq!(&*said[&link(11)], "number_taken_by_another_identifier");
    assert_eq!(&*said[&link(2)], "number_of_identifiers_exceeded", "it is full");
    assert_eq!(undone["panels"]["rejected"], 1);
    server.stop_and_render();
}

#[test]
fn some_of_the_panels_are_undone_by_a_selector() {
    let server = TestServer::start();
    server.add_panels(4);
    let batch = apply(&server, &json!({ "all": true, "upsert": [once(1, "a")] }));
    let north = undo(&server, &batch, &json!({ "selector": "site=north" }));
    assert_eq!((&north["panels"]["total"], &north["items"]["deleted"]), (&json!(2), &json!(2)), "{north}");
    assert_eq!(["p001", "p002"].map(|panel| held(&server, panel).len()), [1, 0]);
    let why = refused(&server, &batch, &json!({ "selector": "site=north" }), 409);
    assert!(why.contains("undone before"), "{why}");
    let why = refused(&server, &batch, &json!({ "selector": "site=nowhere" }), 422);
    assert!(why.contains("no panel that the batch changed matches"), "{why}");
    let all = undo(&server, &batch, &json!({}));
    assert_eq!(
        (&all["items"]["deleted"], &all["items"]["entity_not_found"]),
        (&json!(2), &json!(2)),
        "{all}"
    );
    server.stop_and_render();
}

#[test]
fn an_undo_that_cannot_be_says_why() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.keep_batches = 2;
    });
    server.add_panels(1);
    let first = apply(&server, &json!({ "panels": ["p001"], "upsert": [once(1, "a")] }));
    let same = apply(&server, &json!({ "panels": ["p001"], "upsert": [once(1, "a")] }));
    let why = refused(&server, &same, &json!({}), 409);
    assert_eq!(why, "the batch has changed nothing that could be put back");
    apply(&server, &json!({ "panels": ["p001"], "upsert": [once(2, "a")] }));
    let why = refused(&server, &first, &json!({}), 404);
    assert!(why.contains("is not kept any more") && why.contains("panelsync restore FILE"), "{why}");
    for wrong in [json!({ "selector": "=" }), json!({ "selector": 5 }), json!({ "what": 1 })] {
        refused(&server, &same, &wrong, 422);
    }
    refused(&server, "no-batch", &json!({}), 404);
    // One that waits for a device has not ended.
    server.add_panel("d1", &remote(&devices, 1, "north"));
    devices.faults(Some(1), &json!({ "offline": true }));
    let body = json!({ "panels": ["d1"], "upsert": [once(1, "a")] });
    let waits =
        id_of(&server.fleet("POST", "/batches").header("prefer", "wait=0").json(&body).send().value());
    let why = refused(&server, &waits, &json!({}), 409);
    assert!(why.contains("still running") && why.contains("cancel"), "{why}");
    // A viewer may not.
    server.add_user("viewer", "viewer");
    let token = server.login("viewer", "viewer-password");
    let answer = server
        .call("POST", &format!("/fleet/v1/batches/{same}:undo"))
        .bearer(&token)
        .json(&json!({ "dry_run": true }))
        .send();
    assert_eq!(answer.status, 403, "{answer}");
    server.stop_and_render();
}

#[test]
fn the_same_key_is_the_same_undo() {
    let server = TestServer::start();
    server.add_panels(2);
    let batch = apply(&server, &json!({ "all": true, "upsert": [once(1, "a")] }));
    let other = apply(&server, &json!({ "all": true, "upsert": [once(2, "a")] }));
    let call = |id: &str, body: Option<Value>| -> Answer {
        let call = server.fleet("POST", &format!("/batches/{id}:undo")).header("idempotency-key", "k");
        match body {
            Some(body) => call.json(&body).send(),
            None => call.send(),
        }
    };
    let first = call(&batch, None);
    assert_eq!(first.status, 200, "{first}");
    assert_eq!(id_of(&call(&batch, None).value()), id_of(&first.value()), "though nothing stands any more");
    assert_eq!(call(&other, None).status, 422, "another batch is another request");
    assert_eq!(call(&batch, Some(json!({ "selector": "site=north" }))).status, 422);
    assert_eq!(held(&server, "p001").len(), 1);
    server.stop_and_render();
}

#[test]
fn after_a_retry_an_undo_puts_back_what_stood_before_the_first_time_or_before_something_newer() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "capacity": 2 }));
    server.add_panel("p2", &json!({ "capacity": 2 }));
    apply(&server, &json!({ "all": true, "upsert": [once(1, "old"), once(9, "in the way")] }));
    let before = held_by(&server, &["p1", "p2"]);
    let batch = apply(&server, &json!({ "all": true, "upsert": [once(1, "new"), once(2, "full")] }));
    apply(&server, &json!({ "panels": ["p2"], "upsert": [once(1, "newer")] }));
    for panel in ["p1", "p2"] {
        let answer =
            server.fleet("PATCH", &format!("/panels/{panel}")).json(&json!({ "capacity": 9 })).send();
        assert_eq!(answer.status, 200, "{answer}");
    }
    let retried = send(&server, &format!("/batches/{batch}:retry"), &json!(null));
    assert_eq!(retried["panels"]["applied"], 2, "{retried}");
    undo(&server, &batch, &json!({}));
    assert_eq!(held(&server, "p1"), before[0], "what stood before the first time");
    let p2 = held(&server, "p2");
    assert!(p2[&format!("profile {}", link(1))].contains("newer"), "{p2:?}");
    assert_eq!(p2.len(), 2, "{p2:?}");
    server.stop_and_render();
}

#[test]
fn an_undo_goes_on_after_a_kill_though_its_batch_is_pushed_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--keep-batches", "1"];
    let start = || {
        let served = Served::start(folder.path(), Some(ADMIN_PASSWORD), &args);
        let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let answer = Call::new(served.address, "POST", "/fleet/v1/session").json(&login).send();
        (answer.value()["token"].as_str().expect("a token").to_owned(), served)
    };
    let devices = Simulated::start(1, &[]);
    let (token, served) = start();
    let fleet = |method: &str, path: &str| {
        Call::new(served.address, method, &format!("/fleet/v1{path}")).bearer(&token)
    };
    let mut lines: Vec<_> = (0..300).map(|i| json!({ "id": format!("p{i:03}") }).to_string()).collect();
    let mut device = remote(&devices, 1, "north");
    device["id"] = json!("d1");
    lines.push(device.to_string());
    assert_eq!(fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send().status, 201);
    let upserts = |name: &str| (1..=50).map(|n| once(n, name)).collect::<Vec<_>>();
    for name in ["old", "new"] {
        let answer = fleet("POST", "/batches")
            .header("prefer", "wait=60")
            .json(&json!({ "all": true, "upsert": upserts(name) }))
            .send();
        assert_eq!(answer.status, 200, "{answer}");
    }
    let page = fleet("GET", "/batches").send().value();
    let batch = id_of(&page["items"][0]);
    devices.faults(Some(1), &json!({ "offline": true }));
    let answer = fleet("POST", &format!("/batches/{batch}:undo")).header("prefer", "wait=0").send();
    assert_eq!(answer.status, 202, "{answer}");
    let undo = id_of(&answer.value());
    // Its batch is the oldest that has ended.
    let more = json!({ "panels": ["p000"], "upsert": [once(60, "newer")] });
    assert_eq!(fleet("POST", "/batches").header("prefer", "wait=0").json(&more).send().status / 100, 2);
    assert_eq!(fleet("GET", &format!("/batches/{batch}")).send().status, 404);
    served.kill();

    devices.faults(None, &json!({}));
    let (token, served) = start();
    let fleet = |method: &str, path: &str| {
        Call::new(served.address, method, &format!("/fleet/v1{path}")).bearer(&token)
    };
    let until = Instant::now() + Duration::from_mins(1);
    let ended = loop {
        let record = fleet("GET", &format!("/batches/{undo}")).send().value();
        if record["state"] != "running" {
            break record;
        }
        assert!(Instant::now() < until, "it does not go on: {record}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(
        (&ended["panels"]["applied"], &ended["items"]["updated"]),
        (&json!(301), &json!(301 * 50)),
        "{ended}"
    );
    assert!(devices.holds(1).values().all(|name| name == "old"), "{:?}", devices.holds(1));
    let profiles = fleet("GET", &format!("/profiles/{}", link(7))).send().value();
    assert_eq!(
        (&profiles["versions"].as_array().map(Vec::len), &profiles["panels"]),
        (&Some(1), &json!(301))
    );
    assert_eq!(served.terminate(), Some(0));
    rendered_state(folder.path());
}

#[test]
fn the_command_asks_before_it_deletes_and_shows_what_it_would_do() {
    let server = TestServer::start();
    server.add_panels(2);
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("undo", "command");
    apply(&server, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "a")] }));
    apply(&server, &json!({ "all": true, "upsert": [once(1, "b"), once(3, "b")], "delete": [link(2)] }));
    apply(&server, &json!({ "panels": ["p002"], "upsert": [once(1, "newer")] }));
    let page = server.fleet("GET", "/batches").send().value();
    let id = id_of(&page["items"][1]);
    log.step("what it would do", &shell.run(&["batch", "undo", &id, "--dry-run"]));
    log.step("without a terminal", &shell.run(&["batch", "undo", &id]));
    log.step("on one site", &shell.run(&["batch", "undo", &id, "-l", "site=north", "--yes"]));
    log.step("on all", &shell.run(&["batch", "undo", &id, "--yes"]));
    log.step("once more", &shell.run(&["batch", "undo", &id, "--yes"]));
    log.step("shown", &shell.run(&["batch", "show", "latest"]));
    log.step("none", &shell.run(&["batch", "undo", "00000000-0000-4000-8000-000000000000"]));
    log.check();
}

#[test]
fn on_the_page_what_it_would_do_is_shown_before_the_undo() {
    let server = TestServer::start();
    server.add_panels(2);
    let id = apply(&server, &json!({ "all": true, "upsert": [once(1, "a")] }));
    let browser = Browser::admin(&server);
    let path = format!("/batches/{id}/undo");
    let page = browser.get(&format!("/batches/{id}")).send();
    assert!(page.body.contains(&format!("href=\"{path}\"")), "{page}");
    let form = browser.get(&path).send();
    assert!(form.body.contains("Undo on 2 panels, deleting 2 items"), "{form}");
    let form = browser.get(&format!("{path}?selector=site%3Dnorth")).send();
    assert!(form.body.contains("Undo on 1 panel, deleting 1 item"), "{form}");
    assert_eq!(browser.get(&format!("{path}?selector=%3D")).send().status, 422);
    assert_eq!(held(&server, "p001").len(), 1, "nothing was changed");
    let fields = [("key", "1b4e28ba"), ("selector", "")];
    let [first, again] = [(); 2].map(|()| browser.post(&path, &fields).send());
    assert_eq!(
        (first.status, again.header("location")),
        (303, first.header("location")),
        "sent twice it is one"
    );
    let page = browser.get(first.header("location").expect("its page")).send();
    assert!(
        page.body.contains("to undo") && page.body.contains(&format!("href=\"/batches/{id}\"")),
        "{page}"
    );
    let until = Instant::now() + Duration::from_mins(1);
    while held_by(&server, &["p001", "p002"]) != vec![BTreeMap::new(); 2] {
        assert!(Instant::now() < until, "it is not undone");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(browser.get(&path).send().status, 409);
    server.stop_and_render();
}
