//! Remote panels: the real server against simulated devices in another process. What is checked at the end is what
//! the devices hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::binary::Shell;
use crate::support::identifiers::card;
use crate::support::profiles::{link, never, once, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::{Simulated, never_older};
use crate::support::snapshot::Transcript;

/// A device that is slow to answer is not waited for long in tests.
fn impatient(settings: &mut Settings) {
    settings.devices.timeouts.connect = Duration::from_millis(500);
    settings.devices.timeouts.request = Duration::from_millis(700);
    settings.devices.check_every = Duration::from_millis(400);
}

/// A server with the first `n` simulated panels as d1, d2, …
fn fleet_of(devices: &Simulated, n: usize, change: impl FnOnce(&mut Settings)) -> TestServer {
    let server = TestServer::start_with(change);
    let lines: Vec<_> = (1..=n).map(|i| remote(devices, i).to_string()).collect();
    let answer = server.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send();
    assert_eq!(answer.status, 201, "{}", answer.body);
    server
}

fn remote(devices: &Simulated, n: usize) -> Value {
    json!({
        "id": format!("d{n}"), "driver": "http", "url": devices.url(n), "username": "admin", "password": "123456",
        "labels": { "site": (["north", "south"][n % 2]) },
    })
}

fn apply(server: &TestServer, wait: u32, batch: &Value) -> Answer {
    let answer =
        server.fleet("POST", "/batches").header("prefer", &format!("wait={wait}")).json(batch).send();
    assert!([200, 202].contains(&answer.status), "{answer}");
    answer
}

fn id_of(answer: &Answer) -> String {
    answer.value()["id"].as_str().expect("an id").to_owned()
}

/// Waits until it holds, for a minute at most.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn state_of(server: &TestServer, batch: &str) -> Value {
    server.fleet("GET", &format!("/batches/{batch}")).send().value()
}

fn until_done(server: &TestServer, batch: &str) -> Value {
    until("a batch ends", || state_of(server, batch)["state"] != "running");
    state_of(server, batch)
}

fn panel_state(server: &TestServer, panel: &str) -> Value {
    server.fleet("GET", &format!("/panels/{panel}")).send().value()["state"].clone()
}

fn held(profiles: &[(u32, &str)]) -> BTreeMap<String, String> {
    profiles.iter().map(|(n, name)| (link(*n), (*name).to_owned())).collect()
}

/// The calls of a device as lines: method, path, body, answer.
fn shown(calls: &[Value]) -> String {
    let line = |call: &Value| {
        let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} -> {}\n{}", text("method"), text("path"), text("answer"), text("body"))
            .trim_end()
            .to_owned()
    };
    calls.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn the_calls_that_go_out_are_those_of_the_documents() {
    for (api, test) in [
        ("android", "calls_android"),
        ("camdroid", "calls_camdroid"),
        ("door-controller", "calls_door_controller"),
    ] {
        let devices = Simulated::start(1, &["--api", api, "--api-version", "1.3.0"]);
        let server = TestServer::start();
        let mut log = Transcript::new("devices", test);
        let mut panel = remote(&devices, 1);
        panel["api"] = json!(api);
        let added = server.fleet("POST", "/panels").json(&panel).send();
        assert_eq!((added.status, &added.value()["api_version"]), (201, &json!("1.3.0")), "{added}");
        let mut seen = 0;
        let mut step = |log: &mut Transcript, what: &str| {
            let calls = devices.calls(1);
            log.step(what, &shown(&calls[seen..]));
            seen = calls.len();
        };
        step(&mut log, "a panel is added: what is it, and is the account good?");
        apply(&server, 10, &json!({ "all": true, "upsert": [work_week(1, "Work week"), once(2, "Once")] }));
        step(&mut log, "a batch: a session, then the profiles");
        apply(&server, 10, &json!({ "all": true, "upsert": [once(3, "New")], "delete": [link(1), link(9)] }));
        step(&mut log, "another: upserts before deletes, in the same session");
        apply(&server, 10, &json!({ "all": true, "upsert": [once(3, "New")] }));
        step(&mut log, "what the device has confirmed is not sent again");
        let diff = server.fleet("GET", "/diff").send();
        assert_eq!(diff.value()["items"][0]["state"], "same", "{diff}");
        step(&mut log, "a diff: its clock, and all pages");
        drop(server);
        step(&mut log, "the server stops");
        log.check();
    }
}

#[test]
fn while_a_device_is_away_its_work_waits_and_only_the_latest_is_sent() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 2, |settings| {
        impatient(settings);
        settings.devices.check_every = Duration::from_mins(10); // d1 is called for batches only
    });
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "first"), once(2, "stays")] }));
    devices.faults(Some(1), &json!({ "offline": true }));
    let calls = devices.calls(1).len();
    let a = apply(&server, 1, &json!({ "all": true, "upsert": [once(1, "second"), once(3, "short-lived")] }));
    let b = apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "third")], "delete": [link(3)] }));
    assert_eq!((a.status, b.status), (202, 202));
    assert_eq!(a.value()["panels"]["applied"], 1, "the other panel does not wait: {a}");
    until("the other panel has both", || state_of(&server, &id_of(&b))["panels"]["applied"] == 1);
    until("it counts as offline", || panel_state(&server, "d1")["connection"] == "offline");
    let mut log = Transcript::new("devices", "outage");
    let numbers = |answer: &Answer| {
        // How often it was tried by now is a matter of chance.
        let mut value = answer.value();
        for item in value["items"].as_array_mut().into_iter().flatten() {
            assert!(item["attempts"].as_u64().is_some_and(|n| n >= 1), "{item}");
            item["attempts"] = json!("n");
        }
        serde_json::to_string_pretty(&value).expect("JSON")
    };
    let pending = server.fleet("GET", &format!("/batches/{}/panels?outcome=pending", id_of(&a))).send();
    log.step("why it waits, and until when", &numbers(&pending));
    log.step("its profiles", &server.fleet("GET", "/panels/d1/profiles").send());
    log.step("the profile over the fleet", &server.fleet("GET", &format!("/profiles/{}", link(1))).send());
    devices.faults(Some(1), &json!({}));
    until_done(&server, &id_of(&a));
    until_done(&server, &id_of(&b));
    let of_d1 = |batch: &Answer| {
        let panels = server.fleet("GET", &format!("/batches/{}/panels", id_of(batch))).send();
        numbers(&panels)
    };
    log.step("the overtaken batch", &of_d1(&a));
    log.step("the later one", &of_d1(&b));
    let sent: Vec<_> =
        devices.calls(1)[calls..].iter().filter(|call| call["answer"] != "closed").cloned().collect();
    log.step("what was sent", &shown(&sent));
    log.check();
    assert_eq!(devices.holds(1), held(&[(1, "third"), (2, "stays")]));
    assert_eq!(devices.holds(1), devices.holds(2));
}

#[test]
fn a_device_that_goes_and_comes_back_is_told_to_those_who_listen() {
    use std::io::{BufRead, BufReader};
    let devices = Simulated::start(1, &[]);
    let mut server = fleet_of(&devices, 1, impatient);
    until("it is looked at", || panel_state(&server, "d1")["connection"] == "online");
    let response = server.fleet("GET", "/events").open();
    let mut lines = BufReader::new(response.into_body().into_reader()).lines();
    let mut next = |wanted: &str| loop {
        let line = lines.next().expect("the stream goes on").expect("a text");
        if line.contains(wanted) {
            return line;
        }
    };
    devices.faults(None, &json!({ "offline": true }));
    assert!(next("\"connection\":\"offline\"").contains("\"panel\":\"d1\""));
    let text = server.call("GET", "/metrics").send().body;
    assert!(text.contains("panelsync_panel_connections{connection=\"offline\"} 1"), "{text}");
    devices.faults(None, &json!({}));
    assert!(next("\"connection\":\"online\"").contains("\"error\":null"));
    // It is kept, also over a restart, after which the panel is first not known and then online as before.
    let changes = |server: &TestServer| {
        let kept = server.fleet("GET", "/panels/d1/connections").send().value();
        let kept = kept["items"].as_array().expect("a list").clone();
        kept.iter()
            .map(|change| change["connection"].as_str().expect("a text").to_owned())
            .collect::<Vec<_>>()
    };
    until("it is kept", || changes(&server).len() == 3);
    server.restart();
    until("it is looked at again", || panel_state(&server, "d1")["connection"] == "online");
    assert_eq!(changes(&server), ["online", "offline", "online"]);
    let kept = server.fleet("GET", "/panels/d1/connections").send().value();
    assert!(kept["items"][1]["error"].as_str().is_some_and(|why| !why.is_empty()), "{kept}");
}

#[test]
fn whatever_devices_suffer_from_all_hold_the_last_state_in_the_end() {
    let devices = Simulated::start(8, &["--latency", "1ms..10ms"]);
    let server = fleet_of(&devices, 8, impatient);
    let every =
        json!({ "error": 12, "close": 12, "lose_answer": 12, "garbage": 12, "unauthorized": 12, "hang": 2 });
    devices.faults(None, &every);
    let mut last = Vec::new();
    for round in 1..=12_u32 {
        let name = format!("{round:03}");
        let mut batch = json!({ "upsert": [once(1, &name), once(1 + round % 5, &name)] });
        batch["upsert"].as_array_mut().expect("a list").dedup_by_key(|item| item["link_id"].clone());
        if round % 4 == 0 {
            batch["delete"] = json!([link(6), link(7)]);
        }
        batch["selector"] = json!(["site=north", "site=south", "driver=http"][round as usize % 3]);
        last.push(id_of(&apply(&server, 0, &batch)));
        std::thread::sleep(Duration::from_millis(60));
    }
    std::thread::sleep(Duration::from_secs(1));
    devices.faults(None, &json!({}));
    for batch in &last {
        let done = until_done(&server, batch);
        assert_eq!(done["panels"]["applied"], done["panels"]["total"], "{done}");
    }
    for n in 1..=8 {
        let desired: BTreeMap<_, _> =
            server.fleet("GET", &format!("/panels/d{n}/profiles")).send().value()["items"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|item| {
                    assert_eq!(item["state"], "applied", "{item}");
                    let text = |value: &Value| value.as_str().expect("a text").to_owned();
                    (text(&item["link_id"]), text(&item["profile"]["name"]))
                })
                .collect();
        assert_eq!(devices.holds(n), desired, "d{n}");
        never_older(&devices.calls(n), &mut BTreeMap::new());
    }
}

#[test]
fn one_bad_item_does_not_hold_back_the_others_and_is_not_sent_again_by_itself() {
    let devices = Simulated::start(1, &["--capacity", "30"]);
    let server = fleet_of(&devices, 1, impatient);
    devices.faults(None, &json!({ "refuse": "Unspeakable" }));
    let mut profiles: Vec<_> = (1..=20).map(|n| once(n, &format!("Good {n}"))).collect();
    profiles[13] = once(14, "Unspeakable");
    profiles[4] = never(5);
    let batch = apply(&server, 20, &json!({ "all": true, "upsert": profiles }));
    let mut log = Transcript::new("devices", "bad_item");
    log.step("all but two are there", &batch);
    let panels = server.fleet("GET", &format!("/batches/{}/panels?outcome=partial", id_of(&batch))).send();
    let refused: Vec<_> = panels.value()["items"][0]["result"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["success"] == false)
        .map(ToString::to_string)
        .collect();
    log.step("those two, and why", &refused.join("\n"));
    assert_eq!(devices.holds(1).len(), 18);
    let calls = devices.calls(1).len();
    std::thread::sleep(Duration::from_millis(900));
    let since: Vec<_> =
        devices.calls(1)[calls..].iter().filter(|call| call["method"] == "POST").cloned().collect();
    assert_eq!(since, Vec::<Value>::new(), "what was refused is not asked again");
    let rejected = server.fleet("GET", "/panels/d1/profiles?limit=1000").send().value();
    let rejected: Vec<_> = rejected["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["state"] == "rejected")
        .map(|item| format!("{} {}", item["link_id"], item["extended_info"]))
        .collect();
    log.step("as the panel's profiles show them", &rejected.join("\n"));
    // The device is put right; only what failed is sent again.
    devices.faults(None, &json!({}));
    let calls = devices.calls(1).len();
    let retried = server.fleet("POST", &format!("/batches/{}:retry", id_of(&batch))).send();
    log.step("a retry, now that the device takes one of them", &retried);
    let since: Vec<_> =
        devices.calls(1)[calls..].iter().filter(|call| call["method"] == "POST").cloned().collect();
    log.step("which sends only what failed", &shown(&since));
    log.check();
    assert_eq!(devices.holds(1).len(), 19);
}

#[test]
fn a_full_device_takes_the_new_after_the_old_is_deleted() {
    let devices = Simulated::start(1, &["--capacity", "3"]);
    let server = fleet_of(&devices, 1, impatient);
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b"), once(3, "c")] }));
    let exchanged = apply(
        &server,
        10,
        &json!({ "all": true, "upsert": [once(3, "c2"), once(4, "d")], "delete": [link(1)] }),
    );
    assert_eq!(exchanged.value()["panels"]["applied"], 1, "{exchanged}");
    assert_eq!(devices.holds(1), held(&[(2, "b"), (3, "c2"), (4, "d")]));
    let beyond = apply(&server, 10, &json!({ "all": true, "upsert": [once(5, "e")] }));
    assert_eq!(beyond.value()["panels"]["rejected"], 1, "{beyond}");
    let panels = server.fleet("GET", &format!("/batches/{}/panels", id_of(&beyond))).send().value();
    assert_eq!(panels["items"][0]["result"][0]["extended_info"], "number_of_identifiers_exceeded");
    // Room is made by hand, and the batch is sent again.
    devices.switch("capacity", &json!({ "capacity": 4 }));
    let again = server.fleet("POST", &format!("/batches/{}:retry", id_of(&beyond))).send();
    assert_eq!(again.value()["panels"]["applied"], 1, "{again}");
    assert_eq!(devices.holds(1).len(), 4);
}

#[test]
fn no_right_that_holds_before_and_after_is_ever_absent() {
    // Slow enough that the device can be read after each call, and few items a call so that there are many.
    let devices = Simulated::start(1, &[]);
    let server = fleet_of(&devices, 1, |settings| {
        impatient(settings);
        settings.devices.chunk = 2;
        settings.devices.check_every = Duration::from_mins(10);
    });
    let first: Vec<_> = (1..=6).map(|n| once(n, "before")).collect();
    apply(&server, 10, &json!({ "all": true, "upsert": first }));
    let calls = devices.calls(1).len();
    // 1 to 4 stay, two of them changed; 5 and 6 go; 7 and 8 come. By hand, 2 was deleted on the device.
    let uid = 2;
    devices.by_hand(1, "DELETE", &format!("/access/timeprofile/item/{uid}"), None);
    devices.faults(None, &json!({ "latency": "80ms" }));
    let after = [
        once(1, "before"),
        once(2, "before"),
        once(3, "after"),
        once(4, "after"),
        once(7, "after"),
        once(8, "after"),
    ];
    let batch =
        apply(&server, 0, &json!({ "all": true, "upsert": after, "prune": true, "confirm_deletes": 0 }));
    let mut seen: Vec<BTreeMap<String, String>> = Vec::new();
    while state_of(&server, &id_of(&batch))["state"] == "running" {
        let now = devices.holds(1);
        for n in [1, 3, 4] {
            assert!(now.contains_key(&link(n)), "{n} is absent: {now:?}");
        }
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert!(seen.len() >= 2, "the device was read in between: {seen:?}");
    devices.faults(None, &json!({}));
    let end = held(&[(1, "before"), (2, "before"), (3, "after"), (4, "after"), (7, "after"), (8, "after")]);
    assert_eq!(devices.holds(1), end);
    let mut log = Transcript::new("devices", "never_absent");
    let changes: Vec<_> =
        devices.calls(1)[calls..].iter().filter(|call| call["method"] == "POST").map(link_ids).collect();
    log.step("the changing calls in order, by the numbers of their link_ids", &changes.join("\n"));
    log.check();
}

fn link_ids(call: &Value) -> String {
    let body: Value = serde_json::from_str(call["body"].as_str().unwrap_or_default()).unwrap_or_default();
    let number = |link: &Value| link.as_str().and_then(|link| link.chars().last()).unwrap_or('?').to_string();
    let upserts = body["list_items"].as_array().into_iter().flatten().map(|item| number(&item["link_id"]));
    let deletes = body["link_ids"].as_array().into_iter().flatten().map(number);
    let numbers: Vec<_> = upserts.chain(deletes).collect();
    format!("{} {}", call["path"].as_str().unwrap_or_default(), numbers.join(" "))
}

#[test]
fn drift_of_each_kind_is_found_shown_and_put_right_and_what_was_made_by_hand_stays() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 2, |settings| settings.devices.check_every = Duration::from_mins(10));
    let shell = Shell::new(server.address(), Some(server.token()));
    let profiles: Vec<_> = (1..=60).map(|n| once(n, &format!("Profile {n:02}"))).collect();
    apply(&server, 10, &json!({ "all": true, "upsert": profiles }));
    let mut log = Transcript::new("devices", "drift");
    log.step("nothing differs", &shell.run(&["diff"]));
    // By hand: one deleted, one changed, one added under a link_id, one without.
    devices.by_hand(1, "DELETE", "/access/timeprofile/item/5", None);
    devices.by_hand(1, "PATCH", "/access/timeprofile/item/7", Some(&once(7, "Edited by hand")));
    let extra = json!({ "list_items": [once(99, "Somebody's")] });
    devices.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&extra));
    devices.by_hand(1, "POST", "/access/timeprofile", Some(&once(1, "By hand")));
    log.step("what differs", &shell.run(&["diff", "-l", "id=d1"]));
    log.step("in whole", &server.fleet("GET", "/diff?selector=id=d1").send());
    let state = panel_state(&server, "d1");
    assert_eq!((&state["drifted"], &state["pending"]), (&json!(3), &json!(0)), "{state}");
    let text = server.call("GET", "/metrics").send().body;
    assert!(text.contains("panelsync_profiles_drifted 3"), "{text}");
    let states = server.fleet("GET", &format!("/profiles/{}", link(5))).send().value();
    assert_eq!((&states["states"]["applied"], &states["states"]["drifted"]), (&json!(1), &json!(1)));
    log.step("put right", &shell.run(&["reconcile", "--all", "--yes"]));
    log.step("and nothing differs", &shell.run(&["diff"]));
    log.check();
    let mut expected: BTreeMap<_, _> = (1..=60).map(|n| (link(n), format!("Profile {n:02}"))).collect();
    assert_eq!(devices.holds(2), expected);
    let by_hand = devices.holds(1).into_iter().find(|(key, _)| key.starts_with("uid")).expect("it stays");
    expected.insert(by_hand.0, "By hand".into());
    assert_eq!(devices.holds(1), expected);
}

#[test]
fn a_panel_whose_repair_is_on_is_put_right_by_itself_and_another_is_only_marked() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 2, |settings| settings.devices.read_every = Duration::from_millis(300));
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    let set = server.fleet("PATCH", "/panels/d1").json(&json!({ "repair": "on" })).send();
    assert_eq!((set.status, &set.value()["repair"]), (200, &json!("on")), "{set}");
    for n in [1, 2] {
        devices.by_hand(n, "PATCH", "/access/timeprofile/item/1", Some(&once(1, "Edited by hand")));
    }
    until("d1 is put right", || devices.holds(1) == held(&[(1, "a"), (2, "b")]));
    until("d2 is marked", || panel_state(&server, "d2")["drifted"] == 1);
    assert_eq!(devices.holds(2), held(&[(1, "Edited by hand"), (2, "b")]));
    let again = apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a")] }));
    assert_eq!(again.value()["panels"]["applied"], 2, "{again}");
    assert_eq!(
        devices.holds(2),
        held(&[(1, "a"), (2, "b")]),
        "what has drifted is sent when it is asked for"
    );
}

#[test]
fn a_device_in_use_is_adopted_without_a_push() {
    let devices = Simulated::start(1, &[]);
    let there = json!({ "list_items": [work_week(1, "Work week"), once(2, "Once")] });
    devices.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&there));
    devices.by_hand(1, "POST", "/access/timeprofile", Some(&once(3, "By hand")));
    let calls = devices.calls(1).len();
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("devices", "adopt");
    let url = devices.url(1);
    let args = [
        "panel",
        "add",
        "d1",
        "--driver",
        "http",
        "--url",
        &url,
        "--username",
        "admin",
        "--password-stdin",
        "--adopt",
    ];
    log.step("added", &shell.run_with(&args, "123456\n"));
    log.step("its profiles", &server.fleet("GET", "/panels/d1/profiles").send());
    log.step("nothing differs", &shell.run(&["diff"]));
    let pushed: Vec<_> = devices.calls(1)[calls..]
        .iter()
        .filter(|call| call["method"] == "POST" && call["path"] != "/api/v1/logout")
        .cloned()
        .collect();
    assert_eq!(pushed, Vec::<Value>::new());
    log.check();
}

#[test]
fn a_replaced_reset_or_moved_device_gets_everything_again_by_itself() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 1, impatient);
    let all = held(&[(1, "a"), (2, "b")]);
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    devices.switch("reset", &json!({ "panels": ["sim-0001"] }));
    until("a reset device has everything", || devices.holds(1) == all);
    devices.switch("reset", &json!({ "panels": ["sim-0001"], "serial": "ANOTHER-1" }));
    until("a replaced device has everything", || devices.holds(1) == all);
    until("its serial number is known", || panel_state(&server, "d1")["device"]["serial"] == "ANOTHER-1");
    // A device that was emptied of one profile only is not noticed so; by hand, everything is sent again.
    devices.by_hand(1, "DELETE", "/access/timeprofile/items", Some(&json!({ "uid_items": [6] })));
    assert_eq!(devices.holds(1).len(), 1);
    let shell = Shell::new(server.address(), Some(server.token()));
    assert_eq!(shell.run(&["panel", "resync", "d1"]).exit, Some(0));
    until("by hand", || devices.holds(1) == all);
    let to = devices.url(2);
    let moved = shell.run_with(&["panel", "set", "d1", "--url", &to, "--password-stdin"], "123456\n");
    assert_eq!(moved.exit, Some(0), "{moved}");
    until("the device that it was moved to has everything", || devices.holds(2) == all);
}

#[test]
fn a_reboot_in_the_middle_of_a_batch_and_a_wrong_clock_lose_nothing() {
    let devices = Simulated::start(3, &["--latency", "20ms"]);
    let server = fleet_of(&devices, 3, |settings| {
        impatient(settings);
        settings.devices.chunk = 5;
    });
    let profiles: Vec<_> = (1..=60).map(|n| once(n, &format!("Profile {n:02}"))).collect();
    let batch = apply(&server, 0, &json!({ "all": true, "upsert": profiles }));
    std::thread::sleep(Duration::from_millis(120));
    devices.switch("reboot", &json!({ "panels": ["sim-0002"], "for": "700ms" }));
    devices.faults(Some(3), &json!({ "clock_ahead_s": -7200 }));
    let done = until_done(&server, &id_of(&batch));
    assert_eq!((&done["panels"]["applied"], &done["items"]["created"]), (&json!(3), &json!(180)), "{done}");
    for n in 1..=3 {
        assert_eq!(devices.holds(n).len(), 60);
    }
    let shell = Shell::new(server.address(), Some(server.token()));
    let diff = shell.run(&["diff", "-l", "id=d3"]);
    assert_eq!(diff.exit, Some(0), "{diff}");
    assert!(
        diff.stderr.contains("d3: its clock is 7200 s behind")
            || diff.stderr.contains("d3: its clock is 7201 s behind"),
        "{diff}"
    );
    let ahead = panel_state(&server, "d3")["device"]["clock_ahead_s"].as_i64().expect("a number");
    assert!((-7202..=-7199).contains(&ahead), "{ahead}");

    devices.faults(Some(2), &json!({ "timezone": "UTC-05:00" }));
    let diff = shell.run(&["diff", "-l", "id=d2"]);
    assert_eq!(diff.exit, Some(0), "{diff}");
    assert!(diff.stderr.contains("d2: it shows the time in UTC-05:00, not in the panel's zone"), "{diff}");
    assert_eq!(panel_state(&server, "d2")["device"]["other_zone"], "UTC-05:00");
    let shown = shell.run(&["panel", "show", "d2"]);
    assert!(
        shown.stdout.contains("its zone    UTC-05:00, not UTC: its door opens at other times"),
        "{shown}"
    );
    let cards = [card(101, "By time", "101", &[1]), card(102, "At any time", "102", &[])];
    apply(&server, 60, &json!({ "all": true, "identifiers": { "upsert": cards } }));
    let confirmed = |panel: &str, n: u32| {
        let asked = format!("/access?panel={panel}&identifier={}&at=2026-11-26T10:00:00Z", link(n));
        let told = server.fleet("GET", &asked).send().value();
        (told["items"][0]["confirmed"].clone(), told["items"][0]["may_open"].clone())
    };
    assert_eq!(confirmed("d2", 101), (json!("unknown"), json!(true)), "it is open at another time there");
    assert_eq!(confirmed("d1", 101), (json!("yes"), json!(false)));
    assert_eq!(confirmed("d2", 102), (json!("yes"), json!(true)));
    devices.faults(Some(2), &json!({}));
    shell.run(&["diff", "-l", "id=d2"]);
    assert!(panel_state(&server, "d2")["device"].get("other_zone").is_none(), "it is right again");
}

#[test]
fn what_only_a_person_can_put_right_is_said_once_it_is_meant_and_delivered_after() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.devices.person_after = Duration::from_millis(10);
    });
    let mut panel = remote(&devices, 1);
    panel["password"] = json!("outdated");
    let forced = server.fleet("POST", "/panels?force=true").json(&panel).send();
    assert_eq!(forced.status, 201, "{forced}");
    let mut log = Transcript::new("devices", "wrong_password");
    let batch = apply(&server, 60, &json!({ "all": true, "upsert": [once(1, "a")] }));
    log.step("a batch", &batch);
    let panels = server.fleet("GET", &format!("/batches/{}/panels", id_of(&batch))).send().value();
    let item = &panels["items"][0];
    let shown = json!({ "outcome": item["outcome"], "error": item["error"], "result": item["result"] });
    log.step("what is to be done", &serde_json::to_string_pretty(&shown).expect("JSON"));
    let logins = |calls: &[Value]| {
        calls.iter().filter(|call| call["path"].as_str().is_some_and(|path| path.contains("/login"))).count()
    };
    let tried = logins(&devices.calls(1));
    assert!((3..=6).contains(&tried), "several times, and no more: {tried}");
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(logins(&devices.calls(1)), tried, "the account is not locked out by trying");
    let later = apply(&server, 10, &json!({ "all": true, "upsert": [once(2, "b")] }));
    assert_eq!(later.value()["panels"]["failed"], 1, "a later batch is told at once: {later}");
    assert_eq!(logins(&devices.calls(1)), tried);
    let set = server.fleet("PATCH", "/panels/d1").json(&json!({ "password": "123456" })).send();
    assert_eq!(set.status, 200, "{set}");
    until("it is delivered", || devices.holds(1) == held(&[(1, "a"), (2, "b")]));
    log.check();
}

#[test]
fn a_batch_for_a_panel_that_stays_away_can_be_cancelled_and_the_panel_removed() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 2, impatient);
    devices.faults(None, &json!({ "offline": true }));
    let cancelled = id_of(&apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "a")] })));
    until("the panels have taken it", || panel_state(&server, "d2")["pending"] == 1);
    let answer = server.fleet("POST", &format!("/batches/{cancelled}:cancel")).send();
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(until_done(&server, &cancelled)["panels"]["failed"], 2);
    let removed = id_of(&apply(&server, 0, &json!({ "all": true, "upsert": [once(2, "b")] })));
    until("the panels have taken it", || panel_state(&server, "d1")["pending"] == 2);
    assert_eq!(server.fleet("DELETE", "/panels/d1").send().status, 204);
    devices.faults(None, &json!({}));
    let done = until_done(&server, &removed);
    assert_eq!((&done["panels"]["failed"], &done["panels"]["applied"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(devices.holds(2), held(&[(1, "a"), (2, "b")]), "what was cancelled stays desired");
    assert_eq!(devices.holds(1), held(&[]));
    server.stop_and_render(); // which checks that it does not contradict itself
}

#[test]
fn prune_deletes_what_a_device_holds_beyond_what_was_ever_sent() {
    let devices = Simulated::start(1, &[]);
    let there = json!({ "list_items": [once(7, "Somebody's"), once(2, "Older")] });
    devices.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&there));
    let server = fleet_of(&devices, 1, impatient);
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    assert_eq!(devices.holds(1), held(&[(1, "a"), (2, "b"), (7, "Somebody's")]));
    let prune = |confirm: Value| {
        let batch =
            json!({ "all": true, "upsert": [once(1, "a")], "prune": true, "confirm_deletes": confirm });
        server.fleet("POST", "/batches").header("prefer", "wait=10").json(&batch).send()
    };
    let asked = prune(Value::Null);
    assert_eq!(asked.status, 409, "nobody has read what else it holds: {asked}");
    let shell = Shell::new(server.address(), Some(server.token()));
    std::fs::write(shell.home.path().join("one.json"), json!([once(1, "a")]).to_string()).expect("written");
    let ran = shell.run(&["apply", "-f", "one.json", "-l", "id=d1", "--prune"]);
    assert_eq!(ran.exit, Some(2), "{ran}");
    assert!(ran.stderr.contains("on a device whatever else it holds, which was not read yet"), "{ran}");
    // When it was read, what was found is counted.
    shell.run(&["diff", "-l", "id=d1"]);
    let dry = json!({ "all": true, "upsert": [once(1, "a")], "prune": true, "dry_run": true });
    let dry = server.fleet("POST", "/batches").json(&dry).send().value();
    assert_eq!((&dry["items"]["deleted"], &dry["unread_devices"]), (&json!(2), &Value::Null), "{dry}");
    assert_eq!(prune(json!(1)).status, 409);
    assert_eq!(devices.holds(1), held(&[(1, "a"), (2, "b"), (7, "Somebody's")]), "nothing was done");
    let pruned = prune(json!(2));
    let value = pruned.value();
    assert_eq!((&value["panels"]["applied"], &value["items"]["deleted"]), (&json!(1), &json!(2)), "{pruned}");
    assert_eq!(devices.holds(1), held(&[(1, "a")]));
}

#[test]
fn a_device_that_hangs_delays_no_other() {
    let mut devices = Simulated::start(6, &[]);
    let server = fleet_of(&devices, 6, |settings| {
        impatient(settings);
        settings.devices.concurrency = 2;
        settings.devices.timeouts.request = Duration::from_mins(10); // longer than this test waits
    });
    devices.faults(Some(1), &json!({ "hang": 100 }));
    let batch = id_of(&apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "a")] })));
    until("all others have it", || state_of(&server, &batch)["panels"]["applied"] == 5);
    devices.restart(); // a hanging call ends with its connection
    assert_eq!(until_done(&server, &batch)["panels"]["applied"], 6);
}

#[test]
fn what_is_no_panel_or_no_address_is_named_when_it_is_added() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(impatient);
    let mut log = Transcript::new("devices", "added_wrongly");
    let mut add = |what: &str, changes: Value| {
        let mut panel = remote(&devices, 1);
        for (key, value) in changes.as_object().expect("an object") {
            panel[key] = value.clone();
        }
        let answer = server.fleet("POST", "/panels").json(&panel).send();
        assert!(answer.status >= 400, "{answer}");
        assert!(
            !answer.body.contains("sesame") && !answer.body.contains("c8dae1c50e092f3d877192fc555b1dcf"),
            "{answer}"
        );
        let value = answer.value();
        log.step(
            what,
            &format!(
                "{}\n{}\n",
                answer.status,
                serde_json::to_string_pretty(&value["errors"]).expect("JSON")
            ),
        );
    };
    for (what, url) in [
        ("not http", "ftp://10.0.3.17"),
        ("no scheme", "10.0.3.17"),
        ("a name and password in it", "http://admin:sesame@10.0.3.17"),
        ("a query in it", "http://10.0.3.17/?x=1"),
        ("too far down", "http://10.0.3.17/api/v1"),
        ("no host", "http:///x"),
        ("no name that a host can have", "https://a_b..c"),
        ("nothing answers", "http://127.0.0.1:1"),
    ] {
        add(what, json!({ "url": url }));
    }
    let page = canned("200 OK", "content-type: text/html\r\n", "<!doctype html><title>Welcome</title>");
    add("a web page", json!({ "url": page }));
    let other = canned("302 Found", "location: http://elsewhere.example/\r\n", "");
    add("a redirect to another host", json!({ "url": other }));
    add("JSON of something else", json!({ "url": canned("200 OK", "", "{\"hello\":true}") }));
    add("an endless answer", json!({ "url": canned("200 OK", "", &"x".repeat(5_000_000)) }));
    add("another service", json!({ "url": format!("http://{}", server.address()) }));
    add("a wrong password", json!({ "password": "sesame" }));
    add("no password", json!({ "password": null }));
    add("a password that is no text", json!({ "password": 5 }));
    add("no account", json!({ "username": null }));
    add("other fields", json!({ "repair": "maybe", "tls_ca": "no PEM", "driver": "http" }));
    add("both kinds of trust", json!({ "tls_ca": "x", "tls_pin": "00" }));
    add("a short pin", json!({ "tls_pin": "00:11" }));
    add("an embedded panel with a device's fields", json!({ "driver": "embedded", "repair": "on" }));
    add("another driver", json!({ "driver": "mqtt" }));
    log.check();
    assert_eq!(server.fleet("GET", "/panels").send().value()["items"], json!([]), "nothing was added");
    let mut away = remote(&devices, 1);
    away["url"] = json!("http://127.0.0.1:1");
    let forced = server.fleet("POST", "/panels?force=true").json(&away).send();
    assert_eq!(forced.status, 201, "{forced}");
}

/// Something that answers every call so, and is no panel. Ends with the test.
fn canned(status: &str, headers: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take(8) {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn https_takes_a_device_by_a_ca_or_a_pin_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, own.cert.pem()).expect("written");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("written");
    let text = |path: &std::path::Path| path.to_str().expect("a text").to_owned();
    let devices = Simulated::start(1, &["--tls-cert", &text(&chain), "--tls-key", &text(&key)]);
    let server = TestServer::start();
    let pin = |certificate: &rcgen::Certificate| -> String {
        use sha2::{Digest, Sha256};
        Sha256::digest(certificate.der())
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<Vec<_>>()
            .join(":")
    };
    let mut log = Transcript::new("devices", "tls");
    let mut add = |what: &str, id: &str, trust: Value| {
        let mut panel = remote(&devices, 1);
        panel["id"] = json!(id);
        panel["url"] = json!(devices.url(1).replace("http:", "https:"));
        for (key, value) in trust.as_object().expect("an object") {
            panel[key] = value.clone();
        }
        let answer = server.fleet("POST", "/panels").json(&panel).send();
        let errors = answer.value()["errors"].clone();
        log.step(what, &format!("{} {}\n", answer.status, errors));
        answer.status
    };
    assert_eq!(add("the system's roots do not know it", "a", json!({})), 422);
    assert_eq!(add("another CA", "b", json!({ "tls_ca": other.cert.pem() })), 422);
    assert_eq!(add("another pin", "c", json!({ "tls_pin": pin(&other.cert) })), 422);
    assert_eq!(add("its CA", "d1", json!({ "tls_ca": own.cert.pem() })), 201);
    let batch = apply(&server, 10, &json!({ "panels": ["d1"], "upsert": [once(1, "a")] }));
    assert_eq!(batch.value()["panels"]["applied"], 1, "{batch}");
    assert_eq!(server.fleet("DELETE", "/panels/d1").send().status, 204);
    assert_eq!(add("its pin", "d2", json!({ "tls_pin": pin(&own.cert) })), 201);
    log.check();
    let batch = apply(&server, 10, &json!({ "panels": ["d2"], "upsert": [once(2, "b")] }));
    assert_eq!(batch.value()["panels"]["applied"], 1, "{batch}");
}

#[test]
fn a_requests_id_goes_on_to_the_devices_that_are_asked_because_of_it() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start();
    assert_eq!(server.fleet("POST", "/panels").json(&remote(&devices, 1)).send().status, 201);
    let batch = json!({ "all": true, "upsert": [once(1, "a")] });
    let call =
        server.fleet("POST", "/batches").header("prefer", "wait=10").header("x-request-id", "night-42");
    assert_eq!(call.json(&batch).send().value()["panels"]["applied"], 1);
    let calls = devices.calls(1);
    let upsert =
        calls.iter().find(|call| call["body"].as_str().is_some_and(|body| body.contains("list_items")));
    assert_eq!(upsert.expect("an upsert")["request_id"], "night-42", "{calls:?}");
}

#[test]
fn a_password_is_in_no_log_no_answer_and_no_process_list() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let devices = Simulated::start(1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = crate::support::binary::command()
        .args(["serve", "--listen", "127.0.0.1:0", "--device-connect-timeout", "300ms"])
        .args(["--device-person-after", "1ms", "--data-dir"])
        .arg(folder.path())
        .env("PANELSYNC_ADMIN_PASSWORD", "the-admins-own")
        .env("RUST_LOG", "trace")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut logged = String::new();
    let address = loop {
        let line = lines.next().expect("it listens").expect("a text");
        logged.push_str(&line);
        if let Some(address) =
            line.split("on http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok())
        {
            break address;
        }
    };
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let login = json!({ "username": "admin", "password": "the-admins-own" });
    let answer = crate::support::answer::Call::new(address, "POST", "/fleet/v1/session").json(&login).send();
    let shell = Shell::new(address, answer.value()["token"].as_str());
    let url = devices.url(1);
    let base =
        ["panel", "add", "d1", "--driver", "http", "--url", &url, "--username", "admin", "--password-stdin"];
    let wrong = shell.run_with(&base, "opensesame\n");
    assert_eq!(wrong.exit, Some(2), "{wrong}");
    let forced = shell.run_with(&[&base[..], &["--force"]].concat(), "opensesame\n");
    assert_eq!(forced.exit, Some(0), "{forced}");
    let mut seen = format!("{wrong}{forced}");
    shell.file("p.json", &json!([once(1, "a")]).to_string());
    seen += &shell.run(&["apply", "-f", "p.json", "--all"]).to_string();
    for what in [&["panel", "show", "d1"][..], &["panel", "ls"], &["diff"], &["status"], &["batch", "ls"]] {
        seen += &shell.run(what).to_string();
        seen += &shell.run(&[what, &["--output", "json"]].concat()).to_string();
    }
    let process = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    seen += &String::from_utf8_lossy(&process);
    let stopped = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(stopped.expect("kill runs").success());
    child.wait().expect("gone");
    seen += &logged;
    let log = rest.join().expect("read");
    assert!(log.len() > 10_000, "everything is logged: {} bytes", log.len());
    seen += &log;
    let digest = panelsync::access::PasswordMd5::of("opensesame").into_hex();
    for secret in ["opensesame", &digest, &digest.to_uppercase(), "the-admins-own"] {
        assert!(!seen.contains(secret), "{secret} is shown");
    }
    assert!(seen.contains("refuses the user name or the password"));
}

#[test]
fn the_simulators_switches_and_arguments_name_what_is_wrong() {
    let devices = Simulated::start(2, &["--latency", "1ms..3ms", "--fail", "0%"]);
    let mut log = Transcript::new("devices", "simulator");
    for (what, method, path, body) in [
        ("all panels", "GET", "", None),
        (
            "a switch",
            "POST",
            "/faults",
            Some(json!({ "panels": ["sim-0001"], "faults": { "error": 50, "latency": "~20ms" } })),
        ),
        ("as they are then", "GET", "", None),
        ("no such panel", "POST", "/faults", Some(json!({ "panels": ["sim-0003"], "faults": {} }))),
        ("no such fault", "POST", "/faults", Some(json!({ "faults": { "gremlins": 5 } }))),
        ("too large a share", "POST", "/faults", Some(json!({ "faults": { "hang": 60, "close": 60 } }))),
        ("no time", "POST", "/faults", Some(json!({ "faults": { "latency": "soon" } }))),
        ("no time to be off for", "POST", "/reboot", Some(json!({ "for": "-1s" }))),
        ("no capacity", "POST", "/capacity", Some(json!({ "capacity": -1 }))),
        ("another field", "POST", "/reset", Some(json!({ "serials": 1 }))),
        ("calls of no panel", "GET", "/calls?panel=sim-9999", None),
        ("another path", "POST", "/explode", Some(json!({}))),
    ] {
        let (status, answer) = devices.control(method, path, body.as_ref());
        let body = body.map_or(String::new(), |body| format!(" {body}"));
        log.step(what, &format!("{method} /sim{path}{body}\n{status} {answer}\n"));
    }
    let shell = Shell::new(devices.address, None);
    for args in [
        "--panels 0",
        "--latency soon",
        "--latency 50ms..20ms",
        "--fail 120%",
        "--fail 60% --hang 60%",
        "--api none",
        "--api-version two",
        "--tls-cert cert.pem",
        "--tls-cert cert.pem --tls-key cert.pem",
        "--port-per-panel --listen 127.0.0.1:65530 --panels 10",
    ] {
        let ran = shell.run(
            &[&["simulate", "--control", "127.0.0.1:0"], &*args.split(' ').collect::<Vec<_>>()].concat(),
        );
        assert_eq!(ran.exit, Some(2), "{ran}");
        log.step("simulate", &ran);
    }
    log.check();
}

#[test]
fn who_holds_a_number_that_is_taken_is_named() {
    for api in ["android", "camdroid", "ingenic-mips"] {
        let devices = Simulated::start(1, &["--api", api]);
        let server = TestServer::start_with(impatient);
        let mut record = remote(&devices, 1);
        record["api"] = json!(api);
        let added = server.fleet("POST", "/panels").json(&record).send();
        assert_eq!(added.status, 201, "{}", added.body);
        // One that another server made with its own link_id, and one made on the device. Beside them others.
        let others: Vec<_> = (1..60).map(|n| card(100 + n, "Other", &format!("900{n:04}"), &[])).collect();
        for part in others.chunks(30) {
            devices.by_hand(1, "POST", "/access/identifier/items/link", Some(&json!({ "list_items": part })));
        }
        let foreign = card(50, "Foreign", "0012345", &[]);
        devices.by_hand(
            1,
            "POST",
            "/access/identifier/items/link",
            Some(&json!({ "list_items": [foreign] })),
        );
        let mut by_hand = card(51, "The door's own 777", "777", &[]);
        by_hand.as_object_mut().expect("an object").remove("link_id");
        devices.by_hand(1, "POST", "/access/identifier", Some(&by_hand));
        let batch = json!({ "all": true, "identifiers": { "upsert": [
            card(1, "First", "12345", &[]), card(2, "Second", "777", &[]), card(3, "Third", "778", &[])
        ] } });
        apply(&server, 60, &batch);
        let state = panel_state(&server, "d1");
        let refused: BTreeMap<_, _> = state["refused"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|refused| (refused["link_id"].clone().to_string(), refused["extended_info"].clone()))
            .collect();
        let named = format!("number_taken_by_another_identifier (held by {})", link(50));
        assert_eq!(refused[&json!(link(1)).to_string()], json!(named), "{api}: {state}");
        let named = r#"number_taken_by_another_identifier (held by one without link_id: "The door's own …")"#;
        assert_eq!(refused[&json!(link(2)).to_string()], json!(named), "{api}: {state}");
        assert_eq!(refused.len(), 2, "{api}: {state}");
    }
}
