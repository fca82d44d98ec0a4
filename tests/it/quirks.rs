//! Every quirk of the simulator, driven through the life of a panel: what a device does otherwise than the panel API
//! says either does not matter, or ends in a state that says what is so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use panelsync::simulator::quirk::Quirk;
use serde_json::{Value, json};

use crate::support::profiles::{link, once};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn desired(server: &TestServer, quirk: Quirk, batch: &Value) {
    let batch = server.fleet("POST", "/batches").header("prefer", "wait=0").json(batch).send().value();
    let id = batch["id"].as_str().expect("an id").to_owned();
    let wanted = if quirk == Quirk::ForgetAccount { "failed" } else { "applied" };
    until(&format!("{quirk}: a batch is {wanted}"), || {
        let state = server.fleet("GET", &format!("/batches/{id}")).send().value();
        assert!(
            state["state"] == "running" || state["panels"][wanted] == 1,
            "{quirk}: {state} {}",
            server.fleet("GET", &format!("/batches/{id}/panels")).send().value()
        );
        state["panels"][wanted] == 1
    });
}

/// The state that a diff finds, and the kinds of differences.
fn diff(server: &TestServer, quirk: Quirk) -> (String, Vec<String>) {
    let diff = server.fleet("GET", &format!("/diff?selector=id={quirk}")).send().value();
    let found = &diff["items"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kinds = found["differences"].as_array().into_iter().flatten();
    (text(&found["state"]), kinds.map(|found| text(&found["difference"])).collect())
}

fn life(server: &TestServer, devices: &Simulated, n: usize, quirk: Quirk) {
    let name = |n: u32, text: &str| format!("Front & \"back\" {n:02} {text}");
    let panel = json!({ "id": quirk.as_str(), "driver": "http", "url": devices.url(n), "username": "admin", "password": "123456" });
    let added = server.fleet("POST", "/panels").json(&panel).send();
    if quirk == Quirk::Error200 && added.status != 201 {
        assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 201, "{quirk}");
    } else {
        assert_eq!(added.status, 201, "{quirk}: {added}");
    }
    let all = |text: &str, from: u32| -> Vec<_> { (from..=12).map(|n| once(n, &name(n, text))).collect() };
    desired(server, quirk, &json!({ "panels": [quirk.as_str()], "upsert": all("first", 1) }));
    let wanted = match quirk {
        Quirk::CutNames | Quirk::EscapeNames => "differs",
        Quirk::ForgetAccount => "unreadable",
        _ => "same",
    };
    until(&format!("{quirk}: it {wanted}"), || diff(server, quirk).0 == wanted);
    if wanted == "differs" {
        // It is put right once, and then known not to hold.
        let repair = json!({ "selector": format!("id={quirk}") });
        let found = server.fleet("POST", "/reconcile").json(&repair).send().value();
        assert_eq!(found["panels"][0]["state"], "differs", "{quirk}: {found}");
        assert_eq!(
            diff(server, quirk),
            (wanted.to_owned(), vec!["kept_otherwise".to_owned(); 12]),
            "{quirk}"
        );
    }
    desired(
        server,
        quirk,
        &json!({ "panels": [quirk.as_str()], "upsert": all("second", 3), "delete": [link(1), link(2)] }),
    );
    until(&format!("{quirk}: it {wanted} again"), || diff(server, quirk).0 == wanted);
    devices.faults(Some(n), &json!({}));
    let kept = |n| {
        let name = name(n, "second");
        match quirk {
            Quirk::CutNames => name.chars().take(16).collect(),
            Quirk::EscapeNames => name.replace('&', "&amp;").replace('"', "&quot;"),
            _ => name,
        }
    };
    let held: BTreeMap<_, _> = match quirk {
        Quirk::ForgetAccount => BTreeMap::new(),
        _ => (3..=12).map(|n| (link(n), kept(n))).collect(),
    };
    assert_eq!(devices.holds(n), held, "{quirk}");
}

#[test]
fn whatever_devices_do_otherwise_they_hold_what_is_desired_or_it_is_said_that_they_do_not() {
    let devices = Simulated::start(Quirk::ALL.len(), &[]);
    let server = TestServer::start_with(|settings| {
        settings.devices.person_after = Duration::from_millis(10);
    });
    for (n, quirk) in (1..).zip(Quirk::ALL) {
        devices.faults(Some(n), &json!({ "quirks": [quirk.as_str()] }));
    }
    std::thread::scope(|scope| {
        for (n, quirk) in (1..).zip(Quirk::ALL) {
            let (server, devices) = (&server, &devices);
            scope.spawn(move || life(server, devices, n, quirk));
        }
    });
    // Of what a device says, little is kept, and nothing that acts.
    let shown = server.fleet("GET", "/panels/long-words").send();
    assert!(shown.body.len() < 4096, "{} bytes", shown.body.len());
    let device = &shown.value()["state"]["device"];
    for field in ["serial", "model", "firmware"] {
        let words = device[field].as_str().expect("a text");
        assert!(
            words.chars().count() <= 201 && !words.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{words:?}"
        );
    }
    let profiles = server.fleet("GET", "/panels/cut-names/profiles").send().value();
    let first = &profiles["items"][0];
    assert!(first["state"] == "drifted" || first["state"] == "kept_otherwise", "{first}");
}
