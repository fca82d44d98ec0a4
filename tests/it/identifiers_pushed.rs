//! Identifiers beside profiles: what batches make of them on embedded panels, and what is kept of them.

use panelsync::store::seal;
use serde_json::{Value, json};

use crate::support::binary::Shell;
use crate::support::identifiers::{card, face, kind};
use crate::support::profiles::{link, once};
use crate::support::server::{TestServer, rendered_state};
use crate::support::snapshot::{self, Transcript};

/// Submits batches one after the other and shows what came of each, panel by panel.
struct Pushed<'s> {
    server: &'s TestServer,
    log: Transcript,
}

impl Pushed<'_> {
    fn push(&mut self, what: &str, batch: &Value) {
        let answer = self.server.fleet("POST", "/batches").json(batch).send();
        self.log.step(what, &answer);
        if answer.status == 200 && batch["dry_run"] != true {
            let path = format!("/batches/{}/panels", answer.value()["id"].as_str().expect("an id"));
            self.log.step(&format!("{what}: by panel"), &self.server.fleet("GET", &path).send());
        }
    }
}

#[test]
fn a_batch_of_both_kinds_has_one_report_and_is_judged_as_a_whole() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_panel("p2", &json!({ "api": "camdroid", "identifier_capacity": 3 }));
    let mut pushed = Pushed { server: &server, log: Transcript::new("fleet_api", "identifiers") };
    let all = |upsert: Value, identifiers: Value| json!({ "all": true, "upsert": upsert, "identifiers": identifiers });
    let code = kind(card(103, "Guest", "", &[2]), "inputCode", "482915");
    let first = all(
        json!([once(1, "Work"), once(2, "Visit")]),
        json!({ "upsert": [card(101, "First", "0001234567", &[1]), card(102, "Second", "5e:6f:70:81", &[1, 2]), code.clone(), face(104, "Olena", &[1])] }),
    );
    let mut dry = first.clone();
    dry["dry_run"] = json!(true);
    pushed.push("a dry run", &dry);
    pushed.push("two profiles, and identifiers of which one panel knows no faces", &first);
    pushed.push("the same again", &first);
    pushed.push(
        "a profile that is nowhere",
        &json!({ "panels": ["p1"], "identifiers": { "upsert": [card(105, "Third", "77", &[9])] } }),
    );
    pushed.push("a profile from under its identifiers", &json!({ "all": true, "delete": [link(2)] }));
    pushed.push("the same with them", &json!({ "all": true, "delete": [link(2)], "identifiers": { "upsert": [card(102, "Second", "5e:6f:70:81", &[1])], "delete": [link(103), link(199)] } }));
    pushed.push(
        "a number that another one has",
        &json!({ "all": true, "identifiers": { "upsert": [card(106, "Thief", "1234567", &[])] } }),
    );
    pushed.push("a number that moves", &json!({ "all": true, "identifiers": { "upsert": [card(106, "Heir", "1234567", &[])], "delete": [link(101)] } }));
    pushed.push("a number twice", &json!({ "all": true, "identifiers": { "upsert": [card(107, "a", "88", &[]), card(108, "b", "0088", &[])] } }));
    pushed.push("what is wrong", &json!({ "all": true, "identifiers": { "upsert": [card(107, "a", "no number", &[]), {}], "delete": ["x"], "more": 1, "prune": "yes" } }));
    pushed.push("no object", &json!({ "all": true, "identifiers": [] }));
    pushed.push(
        "to delete all that is not named, unasked",
        &json!({ "all": true, "identifiers": { "prune": true } }),
    );
    pushed.push(
        "to prune profiles that identifiers name, and an identifier",
        &json!({ "all": true, "confirm_deletes": 9, "prune": true }),
    );
    pushed.push("to delete all others", &json!({ "all": true, "confirm_deletes": 9, "identifiers": { "upsert": [card(109, "Last", "99", &[1])], "prune": true } }));
    server.add_panel("door", &json!({ "api": "door-controller" }));
    pushed.push("to a door controller", &json!({ "all": true, "identifiers": { "delete": [link(109)] } }));
    pushed.log.check();
    snapshot::check("state", "identifiers", &server.stop_and_render());
}

#[test]
fn what_opens_a_door_stands_in_no_file_of_the_server() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    let planted =
        ["4815162342", "0A-1B-2C-3D-4E", "73519482", "f2b6c1d0-3e4f-4a5b-8c6d-7e8f9a0b1c2d", "KA7734XY"];
    let upsert = json!([
        card(1, "a", planted[0], &[]),
        card(2, "b", planted[1], &[]),
        kind(card(3, "c", "", &[]), "inputCode", planted[2]),
        kind(card(4, "d", "", &[]), "qr", planted[3]),
        kind(card(5, "e", "", &[]), "license_plate", planted[4]),
        face(6, "f", &[]),
    ]);
    let answer = server
        .fleet("POST", "/batches")
        .json(&json!({ "all": true, "identifiers": { "upsert": upsert } }))
        .send();
    assert_eq!(answer.status, 200, "{answer}");
    let change = json!({ "all": true, "identifiers": { "upsert": [card(1, "renamed", planted[0], &[])], "delete": [link(2)] } });
    assert_eq!(server.fleet("POST", "/batches").json(&change).send().status, 200);
    let folder = server.stop_and_keep();
    let file = std::fs::read(folder.path().join(panelsync::store::FILE_NAME)).expect("a file");
    let has = |needle: &[u8]| file.windows(needle.len()).any(|part| part == needle);
    assert!(has(b"identifier"), "that is looked for rightly");
    for secret in planted {
        for form in [secret.to_owned(), secret.replace('-', ""), secret.to_lowercase(), secret.to_uppercase()]
        {
            assert!(!has(form.as_bytes()), "{form}");
        }
    }
    assert!(!has(&[0xff, 0xd8, 0xff, 0xe0]), "nor a photo");
}

#[test]
fn another_key_opens_all_that_is_sealed_and_a_lost_one_leaves_the_rest() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    let batch = json!({ "all": true, "upsert": [once(1, "Work")], "identifiers": { "upsert": [card(101, "First", "12", &[1]), face(102, "Olena", &[])] } });
    assert_eq!(server.fleet("POST", "/batches").json(&batch).send().status, 200);
    let came = json!({ "type": "card", "number": "12", "at": "2026-01-02T10:00:00Z" });
    assert_eq!(server.fleet("POST", "/panels/p1:present").json(&came).send().status, 200);
    let folder = server.stop_and_keep();
    let before = rendered_state(folder.path());
    let data = folder.path().display().to_string();
    let new = folder.path().join("new.key").display().to_string();
    let shell = Shell::new("127.0.0.1:9".parse().expect("an address"), None);
    let mut log = Transcript::new("cli", "identifiers_key");
    log.step("another key", &shell.run(&["key", "rotate", "--data-dir", &data, "--new-key-file", &new]));
    std::fs::rename(&new, folder.path().join(seal::KEY_FILE)).expect("it takes the old one's place");
    assert_eq!(rendered_state(folder.path()), before, "all is there, and found");
    std::fs::remove_file(folder.path().join(seal::KEY_FILE)).expect("the key is lost");
    let rotate = ["key", "rotate", "--data-dir", &data, "--new-key-file", &new, "--forget-passwords"];
    log.step("the key is lost", &shell.run(&rotate));
    std::fs::rename(&new, folder.path().join(seal::KEY_FILE)).expect("the new one is there");
    log.step("what is left", &rendered_state(folder.path()));
    log.check();
}
