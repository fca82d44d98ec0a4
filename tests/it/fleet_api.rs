//! The fleet API: the register, batches, what the fleet holds, access. Whole answers.

use std::time::{Duration, Instant};

use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::profiles::{data, link, list, never, once, work_week};
use crate::support::server::{ADMIN_MD5, TestServer};
use crate::support::snapshot::Transcript;

fn submit(server: &TestServer, body: &Value) -> Answer {
    server.fleet("POST", "/batches").json(body).send()
}

fn id_of(answer: &Answer) -> String {
    answer.value()["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
}

/// Waits until a batch has ended.
fn ended(server: &TestServer, id: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let batch = server.fleet("GET", &format!("/batches/{id}")).send().value();
        if batch["state"] != "running" {
            return batch;
        }
        assert!(Instant::now() < until, "the batch does not end: {batch}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_session_gives_a_token_that_ends_with_it() {
    let server = TestServer::start();
    let mut log = Transcript::new("fleet_api", "session");
    let login = |body: &str| {
        server.call("POST", "/fleet/v1/session").header("content-type", "application/json").raw(body).send()
    };
    log.step("login", &login(r#"{"username":"admin","password":"123456"}"#));
    log.step("a wrong password", &login(r#"{"username":"admin","password":"12345"}"#));
    log.step("an unknown user", &login(r#"{"username":"nobody","password":"123456"}"#));
    log.step("not JSON", &login("{"));
    log.step("a field is missing", &login(r#"{"username":"admin"}"#));
    let token = server.login("admin", "123456");
    let call = |method: &str, path: &str, token: &str| {
        server.call(method, &format!("/fleet/v1{path}")).bearer(token).send()
    };
    log.step("the token is good", &call("GET", "/users", &token));
    log.step("logout", &call("DELETE", "/session", &token));
    log.step("the token is dead", &call("GET", "/users", &token));
    log.step("no token", &server.call("GET", "/fleet/v1/users").send());
    log.step("no token at all", &call("GET", "/users", "x"));
    log.step(
        "another scheme",
        &server.call("GET", "/fleet/v1/users").header("authorization", "Basic YTpi").send(),
    );
    let forged = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(call("GET", "/users", &forged).status, 401, "an id with another secret");
    log.check();
}

#[test]
fn panels_are_added_listed_changed_and_removed() {
    let server = TestServer::start();
    let mut log = Transcript::new("fleet_api", "panels");
    let add = |body: &Value| server.fleet("POST", "/panels").json(body).send();
    let full = json!({
        "id": "north-01", "driver": "embedded", "labels": { "site": "north", "floor": "1" }, "zone": "Europe/Kyiv",
        "api": "camdroid", "api_version": "1.3.5", "capacity": 100
    });
    log.step("add with everything", &add(&full));
    log.step("add with an id alone", &add(&json!({ "id": "south-01" })));
    log.step("add it again", &add(&json!({ "id": "south-01" })));
    log.step(
        "everything wrong at once",
        &add(&json!({
            "id": "a/b", "driver": "http", "labels": { "id": "x", "a b": "c d" }, "zone": "Mars/Olympus", "api": "ios",
            "api_version": "2.9", "capacity": 0, "url": "http://x", "username": "u"
        })),
    );
    log.step("an unknown field", &add(&json!({ "id": "x", "zoen": "UTC" })));
    log.step("a field of another type", &add(&json!({ "id": "x", "labels": { "a": 1 } })));
    let call = |method: &str, path: &str| server.fleet(method, path).send();
    log.step("show", &call("GET", "/panels/north-01"));
    log.step("show what is not there", &call("GET", "/panels/nothing"));
    let patch = |path: &str, body: &Value| server.fleet("PATCH", path).json(body).send();
    log.step(
        "change",
        &patch(
            "/panels/north-01",
            &json!({ "zone": "Europe/Lisbon", "labels": { "site": "south", "floor": null }, "capacity": null }),
        ),
    );
    log.step("change nothing", &patch("/panels/north-01", &json!({})));
    log.step("change the id", &patch("/panels/north-01", &json!({ "id": "x" })));
    log.step("change to what is wrong", &patch("/panels/north-01", &json!({ "zone": "x", "api": 1 })));
    log.step("change what is not there", &patch("/panels/nothing", &json!({})));
    log.step("list", &call("GET", "/panels"));
    log.step("list by selector", &call("GET", "/panels?selector=site%3Dsouth,driver%3Dembedded"));
    log.step("a wrong selector", &call("GET", "/panels?selector=site%20north"));
    log.step("a wrong limit", &call("GET", "/panels?limit=0"));
    log.step("remove", &call("DELETE", "/panels/north-01"));
    log.step("remove again", &call("DELETE", "/panels/north-01"));
    log.step("its panel API is gone", &server.call("GET", "/panels/north-01/api/info").send());
    log.step("the id is free again", &add(&json!({ "id": "north-01" })));
    log.check();
}

#[test]
fn an_import_adds_all_panels_or_none() {
    let server = TestServer::start();
    let mut log = Transcript::new("fleet_api", "import");
    let import = |lines: &str| server.fleet("POST", "/panels:import").ndjson(lines).send();
    log.step(
        "three, with an empty line",
        &import("{\"id\":\"a\"}\n\n{\"id\":\"b\",\"labels\":{\"site\":\"x\"}}\n{\"id\":\"c\"}\n"),
    );
    log.step(
        "taken ids, and one twice",
        &import("{\"id\":\"d\"}\n{\"id\":\"b\"}\n{\"id\":\"e\"}\n{\"id\":\"e\"}"),
    );
    log.step("faulty lines", &import("{\"id\":\"d\"}\n{\"id\":\"!\",\"zone\":\"x\"}\nnot JSON\n{}"));
    log.step("nothing", &import("\n"));
    log.step(
        "JSON by its own word",
        &server.fleet("POST", "/panels:import").json(&json!({ "id": "d" })).send(),
    );
    log.step("what is there", &server.fleet("GET", "/panels?selector=id%20in%20(a,b,c,d,e)").send());
    log.check();
}

#[test]
fn lists_are_paged_by_cursor() {
    let server = TestServer::start();
    server.add_panels(5);
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.fleet("GET", &format!("/panels?limit=2{cursor}")).send().value();
        ids.extend(page["items"].as_array().expect("a list").iter().map(|panel| panel["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids, ["p001", "p002", "p003", "p004", "p005"]);
}

#[test]
fn a_batch_reaches_the_panels_it_selects_and_reports_on_each() {
    let server = TestServer::start();
    server.add_panels(4);
    let mut log = Transcript::new("fleet_api", "batches");
    let upsert = [work_week(1, "Work week"), once(2, "Once")];
    let first = submit(&server, &json!({ "selector": "site=north", "upsert": upsert }));
    log.step("by selector", &first);
    let id = id_of(&first);
    let get = |path: &str| server.fleet("GET", path).send();
    log.step("show", &get(&format!("/batches/{id}")));
    log.step("panel by panel", &get(&format!("/batches/{id}/panels")));
    log.step("the other site has nothing", &get("/panels/p001/profiles"));
    log.step("what a panel holds", &get("/panels/p002/profiles"));
    let changed = [once(1, "Changed"), once(2, "Once"), never(3)];
    let mixed = submit(&server, &json!({ "all": true, "upsert": changed, "delete": [link(7)] }));
    log.step("all: created, updated, unchanged, refused, not found", &mixed);
    log.step("panel by panel", &get(&format!("/batches/{}/panels", id_of(&mixed))));
    log.step(
        "only those that refused all",
        &get(&format!("/batches/{}/panels?outcome=rejected", id_of(&mixed))),
    );
    let rejected = submit(&server, &json!({ "panels": ["p001", "p001"], "upsert": [never(3)] }));
    log.step("one panel that refuses all", &rejected);
    let deleted = submit(&server, &json!({ "panels": ["p004", "p001"], "delete": [link(1), link(9)] }));
    log.step("delete what is there and what is not", &deleted);
    log.step("panel by panel", &get(&format!("/batches/{}/panels", id_of(&deleted))));
    log.step("a page of panels", &get(&format!("/batches/{id}/panels?limit=1")));
    log.step("the next page", &get(&format!("/batches/{id}/panels?limit=1&cursor=2")));
    log.step("the fleet's profiles", &get("/profiles"));
    log.step("the first page of them", &get("/profiles?limit=1"));
    log.step("a profile of which panels differ", &get(&format!("/profiles/{}", link(1))));
    log.step("a profile that is nowhere", &get(&format!("/profiles/{}", link(99))));
    log.step("a wrong outcome", &get(&format!("/batches/{id}/panels?outcome=good")));
    log.step("a wrong cursor", &get(&format!("/batches/{id}/panels?cursor=x")));
    log.step("an unknown batch", &get(&format!("/batches/{}", link(1))));
    log.step("no batch id", &get("/batches/x"));
    let ids: Vec<_> = get("/batches?limit=2").value()["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|batch| batch["id"].clone())
        .collect();
    assert_eq!(ids, [id_of(&deleted), id_of(&rejected)], "newest first");
    log.check();
}

#[test]
fn pruning_and_dry_runs_say_and_do_the_same() {
    let server = TestServer::start();
    server.add_panels(2);
    submit(&server, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b"), once(3, "c")] }));
    submit(&server, &json!({ "panels": ["p002"], "delete": [link(3)] }));
    let mut log = Transcript::new("fleet_api", "prune");
    let before = server.fleet("GET", "/profiles").send().body;
    let mut batch = json!({ "all": true, "upsert": [once(1, "a"), once(2, "new"), once(4, "d"), never(5)], "prune": true, "dry_run": true });
    log.step("a dry run", &submit(&server, &batch));
    assert_eq!(server.fleet("GET", "/profiles").send().body, before, "a dry run changes nothing");
    batch["dry_run"] = json!(false);
    let real = submit(&server, &batch);
    log.step("the same for real", &real);
    log.step("panel by panel", &server.fleet("GET", &format!("/batches/{}/panels", id_of(&real))).send());
    log.step(
        "prune everything",
        &submit(&server, &json!({ "all": true, "prune": true, "confirm_deletes": 100 })),
    );
    log.step("nothing is left", &server.fleet("GET", "/profiles").send());
    log.check();
}

#[test]
fn a_faulty_batch_is_refused_whole_with_every_place() {
    let server = TestServer::start();
    server.add_panels(2);
    let mut log = Transcript::new("fleet_api", "invalid_batches");
    let mut faulty = work_week(1, "x");
    faulty["repeat_options"]["repeat_format"]["repeat_type"] = json!("fortnight");
    faulty["link_id"] = json!("not-a-uuid");
    let mut nameless = once(2, "x");
    nameless.as_object_mut().expect("an object").remove("name");
    log.step("faulty items", &submit(&server, &json!({ "all": true, "upsert": [once(3, "good"), faulty, nameless, 7], "delete": ["x", link(1)] })));
    for (what, body) in [
        ("no target", json!({ "upsert": [once(1, "x")] })),
        ("all is false", json!({ "all": false, "upsert": [once(1, "x")] })),
        ("two targets", json!({ "all": true, "selector": "site=north", "upsert": [once(1, "x")] })),
        ("an empty selection", json!({ "selector": "site=nowhere", "upsert": [once(1, "x")] })),
        ("an empty list of panels", json!({ "panels": [], "upsert": [once(1, "x")] })),
        ("unknown panels", json!({ "panels": ["p001", "x", "y"], "upsert": [once(1, "x")] })),
        ("panels of another type", json!({ "panels": [1, "p001"], "upsert": [once(1, "x")] })),
        ("a wrong selector", json!({ "selector": "site=", "upsert": "x", "delete": 1, "prune": 1 })),
        ("a selector that cannot be read", json!({ "selector": "=x", "upsert": [once(1, "x")] })),
        ("nothing to do", json!({ "all": true })),
        ("a misspelt field", json!({ "all": true, "upserts": [once(1, "x")], "a/b~c": 1 })),
        (
            "upsert and delete of one link_id",
            json!({ "all": true, "upsert": [once(1, "x")], "delete": [link(2), link(1)] }),
        ),
    ] {
        log.step(what, &submit(&server, &body));
    }
    let raw = |kind: &str, body: &str| {
        server.fleet("POST", "/batches").header("content-type", kind).raw(body).send()
    };
    log.step("not JSON", &raw("application/json", "{"));
    log.step("a list", &raw("application/json", "[]"));
    log.step("another content type", &raw("text/csv", "x"));
    let header = |name: &str, value: &str| {
        server
            .fleet("POST", "/batches")
            .header(name, value)
            .json(&json!({ "all": true, "prune": true }))
            .send()
    };
    log.step("a wrong Prefer", &header("prefer", "wait=soon"));
    log.step("an idempotency key that is too long", &header("idempotency-key", &"k".repeat(256)));
    assert_eq!(server.fleet("GET", "/profiles").send().value()["items"], json!([]), "nothing was applied");
    assert_eq!(server.fleet("GET", "/batches").send().value()["items"], json!([]), "nothing was accepted");
    log.check();
}

#[test]
fn a_key_stands_for_one_batch_also_after_a_restart() {
    let mut server = TestServer::start();
    server.add_panels(2);
    server.add_user("olena", "operator");
    let mut log = Transcript::new("fleet_api", "idempotency");
    let send = |server: &TestServer, key: &str, n: u32| {
        let body = json!({ "all": true, "upsert": [once(n, "x")] });
        server.fleet("POST", "/batches").header("idempotency-key", key).json(&body).send()
    };
    let first = send(&server, "k1", 1);
    log.step("the first time", &first);
    let again = send(&server, "k1", 1);
    assert_eq!(again.body, first.body, "the same batch");
    log.step("the same key with another body", &send(&server, "k1", 2));
    server.restart();
    assert_eq!(send(&server, "k1", 1).body, first.body, "after a restart too");
    let olena = server.login("olena", "olena-password");
    let body = json!({ "all": true, "upsert": [once(1, "x")] });
    let theirs = server
        .call("POST", "/fleet/v1/batches")
        .bearer(&olena)
        .header("idempotency-key", "k1")
        .json(&body)
        .send();
    assert_ne!(id_of(&theirs), id_of(&first), "another user's key is another key");
    assert_eq!(server.fleet("GET", "/batches").send().value()["items"].as_array().map(Vec::len), Some(2));
    log.check();
}

#[test]
fn a_client_says_how_long_it_waits() {
    let server = TestServer::start();
    server.add_panels(200);
    let send = |prefer: &str| {
        let upsert: Vec<_> = (1..=20).map(|n| once(n, prefer)).collect();
        let body = json!({ "all": true, "upsert": upsert });
        server.fleet("POST", "/batches").header("prefer", prefer).json(&body).send()
    };
    for prefer in ["wait=0", "respond-async"] {
        let answer = send(prefer);
        assert_eq!(answer.status, 202, "{answer}");
        let location = format!("/fleet/v1/batches/{}", id_of(&answer));
        assert_eq!(answer.header("location"), Some(location.as_str()));
        assert_eq!(answer.value()["state"], "running");
        let batch = ended(&server, &id_of(&answer));
        assert_eq!((&batch["panels"]["applied"], &batch["items"]["pending"]), (&json!(200), &json!(0)));
    }
    assert_eq!(send("handling=lenient; wait=60").status, 200);
}

#[test]
fn a_whole_report_comes_as_lines_with_the_same_rows_as_its_pages() {
    let server = TestServer::start();
    server.add_panels(150);
    let batch = id_of(&submit(&server, &json!({ "all": true, "upsert": [once(1, "one"), never(2)] })));
    let path = format!("/batches/{batch}/panels");
    let lines = |query: &str| {
        let answer =
            server.fleet("GET", &format!("{path}{query}")).header("accept", "application/x-ndjson").send();
        let content_type = ("content-type".to_owned(), "application/x-ndjson".to_owned());
        assert!(answer.status == 200 && answer.headers.contains(&content_type), "{answer}");
        let lines = answer.body.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.collect::<Vec<_>>()
    };
    let page = server.fleet("GET", &format!("{path}?limit=1000")).send().value();
    assert_eq!(Value::from(lines("")), page["items"]);
    assert_eq!(lines("").len(), 150);
    let page = server.fleet("GET", &format!("{path}?limit=20")).send().value();
    let rest = format!("?cursor={}", page["next_cursor"].as_str().expect("there is more"));
    assert_eq!(lines(&rest).len(), 130);
    assert_eq!(lines("?outcome=applied"), Vec::<Value>::new());
}

#[test]
fn a_cancelled_batch_says_which_panels_it_did_not_reach_and_a_retry_sends_to_those() {
    let server = TestServer::start();
    server.add_panels(200);
    // Pile up work, so that the last batch has not been sent out when it is cancelled.
    let mut last = String::new();
    for round in 0..6 {
        let upsert: Vec<_> = (1..=60).map(|n| once(n, &format!("round {round}"))).collect();
        let body = json!({ "all": true, "upsert": upsert });
        last = id_of(&server.fleet("POST", "/batches").header("prefer", "wait=0").json(&body).send());
    }
    let cancelled = server.fleet("POST", &format!("/batches/{last}:cancel")).send();
    // Whether it was in time is a matter of speed; both answers are right.
    assert!([200, 409].contains(&cancelled.status), "{cancelled}");
    let batch = ended(&server, &last);
    let panels = &batch["panels"];
    let (applied, failed) =
        (panels["applied"].as_u64().expect("a number"), panels["failed"].as_u64().expect("a number"));
    assert_eq!(applied + failed, 200, "{batch}");
    if cancelled.status == 200 {
        assert_eq!(batch["state"], "cancelled");
    }
    if failed > 0 {
        let path = format!("/batches/{last}/panels?outcome=failed&limit=1");
        let row = &server.fleet("GET", &path).send().value()["items"][0];
        assert_eq!(row["error"], "cancelled before it was sent; retry the batch to send it");
        let retried =
            server.fleet("POST", &format!("/batches/{last}:retry")).header("prefer", "wait=60").send();
        assert_eq!(retried.value()["panels"]["applied"], 200, "{retried}");
        assert_eq!(retried.value()["state"], "done");
    }
    let mut log = Transcript::new("fleet_api", "cancel_and_retry");
    log.step("cancel what has ended", &server.fleet("POST", &format!("/batches/{last}:cancel")).send());
    log.step(
        "retry what was applied everywhere",
        &server.fleet("POST", &format!("/batches/{last}:retry")).send(),
    );
    log.step(
        "cancel what is not there",
        &server.fleet("POST", &format!("/batches/{}:cancel", link(1))).send(),
    );
    let partial = submit(&server, &json!({ "panels": ["p001"], "upsert": [once(1, "good"), never(99)] }));
    log.step("a batch with a refused item", &partial);
    let retried = server.fleet("POST", &format!("/batches/{}:retry", id_of(&partial))).send();
    log.step("retried", &retried);
    log.step(
        "how often it was tried",
        &server.fleet("GET", &format!("/batches/{}/panels", id_of(&partial))).send(),
    );
    log.check();
}

#[test]
fn retries_of_one_batch_at_once_are_one_retry_at_a_time() {
    let server = std::sync::Arc::new(TestServer::start());
    server.add_panels(3);
    let id = id_of(&submit(&server, &json!({ "all": true, "upsert": [once(1, "x"), never(2)] })));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (server, path) = (std::sync::Arc::clone(&server), format!("/batches/{id}:retry"));
            std::thread::spawn(move || server.fleet("POST", &path).header("prefer", "wait=30").send().status)
        })
        .collect();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
    assert!(answers.iter().all(|status| [200, 409].contains(status)), "{answers:?}");
    let retried = answers.iter().filter(|status| **status == 200).count() as u64;
    assert!(retried >= 1);
    let batch = ended(&server, &id);
    assert_eq!((&batch["panels"]["partial"], &batch["panels"]["pending"]), (&json!(3), &json!(0)), "{batch}");
    let row = &server.fleet("GET", &format!("/batches/{id}/panels?limit=1")).send().value()["items"][0];
    assert_eq!(row["attempts"], json!(1 + retried));
}

#[test]
fn the_oldest_batches_give_way() {
    let server = TestServer::start_with(|settings: &mut Settings| settings.keep_batches = 3);
    server.add_panels(1);
    let ids: Vec<_> =
        (1..=5).map(|n| id_of(&submit(&server, &json!({ "all": true, "upsert": [once(n, "x")] })))).collect();
    let kept = server.fleet("GET", "/batches").send().value();
    let kept: Vec<_> =
        kept["items"].as_array().expect("a list").iter().map(|batch| batch["id"].clone()).collect();
    assert_eq!(kept, [ids[4].clone(), ids[3].clone(), ids[2].clone()]);
    assert_eq!(server.fleet("GET", &format!("/batches/{}", ids[0])).send().status, 404);
    server.stop_and_render(); // which checks that nothing of them is left over
}

#[test]
fn a_panel_removed_while_a_batch_runs_fails_with_the_reason() {
    let server = TestServer::start();
    server.add_panels(3);
    let answer = submit(&server, &json!({ "all": true, "upsert": [once(1, "x"), never(2)] }));
    assert_eq!(server.fleet("DELETE", "/panels/p002").send().status, 204);
    // A retry goes to a panel that is gone by now.
    let mut log = Transcript::new("fleet_api", "removed_panel");
    let retried = server.fleet("POST", &format!("/batches/{}:retry", id_of(&answer))).send();
    log.step("a retry after one panel was removed", &retried);
    log.step(
        "the panel that is gone",
        &server.fleet("GET", &format!("/batches/{}/panels?outcome=failed", id_of(&answer))).send(),
    );
    log.check();
}

#[test]
fn the_fleet_is_driven_as_one_panel() {
    let server = TestServer::start();
    server.add_panels(4);
    server.add_panel("p000", &json!({ "labels": { "site": "north" }, "capacity": 1 }));
    server.add_user("olena", "operator");
    server.add_user("guest", "viewer");
    let base = "/fleet/v1/as-panel/site%3Dnorth/api";
    let mut log = Transcript::new("fleet_api", "as_panel");
    let get = |path: &str| server.call("GET", &format!("{base}{path}")).send();
    log.step("who it is", &get("/info"));
    log.step("login", &get(&format!("/v1/login?username=admin&password={ADMIN_MD5}")));
    log.step("a wrong password", &get("/v1/login?username=admin&password=00000000000000000000000000000000"));
    let token = |name: &str| {
        use md5::{Digest, Md5};
        let md5: String =
            Md5::digest(format!("{name}-password")).iter().map(|byte| format!("{byte:02x}")).collect();
        get(&format!("/v1/login?username={name}&password={md5}")).value()["token"]
            .as_str()
            .expect("a token")
            .to_owned()
    };
    let (olena, guest) = (token("olena"), token("guest"));
    let call = |method: &str, path: &str| -> Call {
        server.call(method, &format!("{base}/v1{path}")).bearer(&olena)
    };
    let upsert = |items: &[Value]| call("POST", "/access/timeprofile/items/link").json(&list(items)).send();
    log.step(
        "upsert: the small panel takes one",
        &upsert(&[once(1, "a"), once(2, "b"), never(3), once(1, "again")]),
    );
    log.step("the same again", &upsert(&[once(1, "a")]));
    log.step(
        "the documented kinds at the other path",
        &call("POST", "/access/timeprofile/link").json(&data("valid-kinds.json")).send(),
    );
    log.step("a faulty item", &upsert(&[json!({ "link_id": "x" })]));
    let ids = json!({ "link_ids": [link(1), link(2), link(8)] });
    log.step(
        "delete: not there on one is not there",
        &call("DELETE", "/access/timeprofile/items/link").json(&ids).send(),
    );
    log.step(
        "delete by POST",
        &call("POST", "/access/timeprofile/link/delete").json(&json!({ "link_ids": [link(1)] })).send(),
    );
    let as_guest = server.call("POST", &format!("{base}/v1/access/timeprofile/items/link")).bearer(&guest);
    log.step("a viewer may not", &as_guest.json(&list(&[once(1, "x")])).send());
    let as_token =
        server.call("POST", &format!("{base}/v1/access/timeprofile/items/link")).bearer(server.token());
    log.step("a fleet token may", &as_token.json(&list(&[])).send());
    let nowhere = "/fleet/v1/as-panel/site%3Dnowhere/api/v1/access/timeprofile/items/link";
    log.step(
        "an empty selection",
        &server.call("POST", nowhere).bearer(&olena).json(&list(&[once(1, "x")])).send(),
    );
    log.step("a wrong selector", &server.call("GET", "/fleet/v1/as-panel/a%20b/api/info").send());
    log.step("no such path", &call("GET", "/nothing").send());
    log.step("logout", &call("GET", "/logout").send());
    log.step("the token is dead", &upsert(&[once(1, "a")]));
    log.check();
}

#[test]
fn windows_are_asked_for_before_a_push_and_a_panels_calendar_after() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "Europe/Kyiv" }));
    let mut log = Transcript::new("fleet_api", "windows");
    let ask = |body: &Value| server.fleet("POST", "/windows").json(body).send();
    let week = json!({ "profile": work_week(1, "Work week"), "zone": "Europe/Kyiv", "from": "2026-03-27T00:00:00Z", "to": "2026-03-31T00:00:00Z" });
    log.step("over a change to daylight saving", &ask(&week));
    let mut nameless = once(2, "x");
    nameless.as_object_mut().expect("an object").remove("link_id");
    log.step(
        "Unix seconds, no link_id, no zone",
        &ask(&json!({ "profile": nameless, "from": 1_735_800_000, "to": 1_735_900_000 })),
    );
    log.step("rules that never open", &ask(&json!({ "profile": never(1), "from": 0, "to": 86_400 })));
    for (what, body) in [
        ("nothing", json!({})),
        (
            "everything wrong",
            json!({ "profile": { "name": 1 }, "zone": "Mars/Olympus", "from": "soon", "to": null }),
        ),
        ("backwards", json!({ "profile": once(1, "x"), "from": 2, "to": 1 })),
        ("over 50 years", json!({ "profile": once(1, "x"), "from": 0, "to": 1_600_000_000 })),
        ("beyond the calendar", json!({ "profile": once(1, "x"), "from": i64::MAX - 1, "to": i64::MAX })),
    ] {
        log.step(what, &ask(&body));
    }
    submit(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work, week; and \\ more"), once(2, "Once")] }),
    );
    let token = server.panel_login("p1");
    let create = server.call("POST", "/panels/p1/api/v1/access/timeprofile").bearer(&token);
    assert_eq!(create.json(&once(3, "By uid")).send().status, 200);
    let mut calendar = server.fleet("GET", "/panels/p1/profiles.ics").send();
    let stamp =
        |line: &str| if line.starts_with("DTSTAMP:") { "DTSTAMP:[now]".to_owned() } else { line.to_owned() };
    calendar.body = calendar.body.lines().map(stamp).collect::<Vec<_>>().join("\n");
    log.step("the panel's calendar", &calendar);
    log.step("of a panel that is not there", &server.fleet("GET", "/panels/x/profiles.ics").send());
    log.check();
}

#[test]
fn a_query_that_cannot_be_read_is_a_problem_like_any_other() {
    let server = TestServer::start();
    let answer = server.fleet("POST", "/panels?force=perhaps").json(&json!({ "id": "p1" })).send();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (400, Some("application/problem+json")),
        "{answer}"
    );
}

#[test]
fn users_and_tokens_come_and_go_and_the_audit_knows() {
    let server = TestServer::start();
    server.add_panels(1);
    let mut log = Transcript::new("fleet_api", "access");
    let post = |path: &str, body: &Value| server.fleet("POST", path).json(body).send();
    let get = |path: &str| server.fleet("GET", path).send();
    let delete = |path: &str| server.fleet("DELETE", path).send();
    log.step(
        "add a user",
        &post("/users", &json!({ "name": "olena", "role": "operator", "password": "long enough" })),
    );
    log.step(
        "add the same",
        &post("/users", &json!({ "name": "olena", "role": "viewer", "password": "long enough" })),
    );
    log.step(
        "a bad name and a short password",
        &post("/users", &json!({ "name": "a b", "role": "viewer", "password": "short" })),
    );
    log.step(
        "a role that is none",
        &post("/users", &json!({ "name": "x", "role": "root", "password": "long enough" })),
    );
    log.step("the users", &get("/users"));
    let olena = server.login("olena", "long enough");
    let created = post("/tokens", &json!({ "name": "door-sync", "role": "viewer", "expires_in": 7_776_000 }));
    log.step("make a token", &created);
    log.step("make one for ever", &post("/tokens", &json!({ "name": "ever", "role": "operator" })));
    log.step("a bad token", &post("/tokens", &json!({ "name": "", "role": "viewer" })));
    log.step(
        "a token without time",
        &post("/tokens", &json!({ "name": "x", "role": "viewer", "expires_in": 0 })),
    );
    let token = created.value()["token"].as_str().expect("a token").to_owned();
    let as_viewer =
        |method: &str, path: &str| server.call(method, &format!("/fleet/v1{path}")).bearer(&token);
    assert_eq!(as_viewer("GET", "/panels").send().status, 200);
    let batch = json!({ "all": true, "prune": true, "confirm_deletes": 100 });
    log.step("a viewer may not submit", &as_viewer("POST", "/batches").json(&batch).send());
    let as_operator =
        |method: &str, path: &str| server.call(method, &format!("/fleet/v1{path}")).bearer(&olena);
    assert_eq!(as_operator("POST", "/batches").json(&batch).send().status, 200);
    log.step(
        "an operator may not add panels",
        &as_operator("POST", "/panels").json(&json!({ "id": "x" })).send(),
    );
    log.step("nor see users", &as_operator("GET", "/users").send());
    let tokens = get("/tokens").value();
    let names: Vec<_> = tokens["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|t| format!("{} {} {}", t["name"], t["kind"], t["role"]))
        .collect();
    log.step("the tokens", &names.join("\n"));
    let id = created.value()["id"].as_str().expect("an id").to_owned();
    log.step("revoke", &delete(&format!("/tokens/{id}")));
    log.step("revoke again", &delete(&format!("/tokens/{id}")));
    assert_eq!(as_viewer("GET", "/panels").send().status, 401, "a revoked token is dead");
    log.step("remove a user", &delete("/users/olena"));
    log.step("remove again", &delete("/users/olena"));
    assert_eq!(as_operator("GET", "/panels").send().status, 401, "the user's sessions are dead");
    log.step("remove the last administrator", &delete("/users/admin"));
    log.step("the audit", &get("/audit"));
    log.step("of one actor", &get("/audit?actor=olena&limit=1"));
    log.step("of a time without anything", &get("/audit?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z"));
    log.step("of a time that is none", &get("/audit?from=yesterday"));
    log.check();
}

#[test]
fn an_expired_token_is_not_good() {
    let server = TestServer::start();
    let body = json!({ "name": "brief", "role": "viewer", "expires_in": 1 });
    let token = server.fleet("POST", "/tokens").json(&body).send().value()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let status = || server.call("GET", "/fleet/v1/panels").bearer(&token).send().status;
    let until = Instant::now() + Duration::from_secs(20);
    while status() == 200 {
        assert!(Instant::now() < until, "it does not expire");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(status(), 401);
}

#[test]
fn a_body_over_the_limit_is_refused_and_changes_nothing() {
    let server = TestServer::start_with(|settings: &mut Settings| settings.body_limit = 3000);
    server.add_panels(1);
    let batch = |n: u32| json!({ "all": true, "upsert": (1..=n).map(|n| once(n, "x")).collect::<Vec<_>>() });
    assert_eq!(submit(&server, &batch(2)).status, 200);
    let mut log = Transcript::new("fleet_api", "too_large");
    let answer = submit(&server, &batch(40));
    assert_eq!(answer.status, 413);
    log.step("a batch of 40 profiles", &format!("{}\n{}", answer.status, answer.body));
    log.check();
    assert_eq!(server.fleet("GET", "/profiles").send().value()["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn probes_metrics_and_the_documentation_answer_without_a_token() {
    let server = TestServer::start();
    server.add_panels(3);
    submit(&server, &json!({ "all": true, "upsert": [once(1, "x")] }));
    let mut log = Transcript::new("fleet_api", "probes");
    let get = |path: &str| server.call("GET", path).send();
    log.step("alive", &get("/healthz"));
    log.step("ready", &get("/readyz"));
    log.step("no such path", &get("/nothing"));
    log.step("no such path of the fleet API", &server.fleet("GET", "/nothing").send());
    log.step("the front door", &get("/"));
    log.step("the documentation without its slash", &get("/docs"));
    let metrics = get("/metrics");
    assert_eq!(metrics.status, 200);
    for line in [
        "panelsync_panels 3",
        "panelsync_batches_accepted_total 1",
        "panelsync_batch_panels_total{outcome=\"applied\"} 3",
        "panelsync_batches_running 0",
        "panelsync_commit_rows_count",
        "panelsync_commit_seconds_sum",
        "panelsync_batch_panel_seconds_count 3",
        "panelsync_batch_seconds_count 1",
        "panelsync_http_requests_total{api=\"fleet\",method=\"POST\",status=\"200\"}",
        "panelsync_http_seconds_bucket{le=\"0.0001\",api=\"fleet\"}",
    ] {
        assert!(metrics.body.contains(line), "{line} is not in\n{}", metrics.body);
    }
    let accept = |accept: &str| {
        let answer = server.call("GET", "/metrics").header("accept", accept).send();
        format!("{} {}", answer.status, answer.header("content-type").unwrap_or_default())
    };
    let kinds = [
        "*/*",
        "text/plain",
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        "text/plain;q=0.9, application/openmetrics-text;q=0.1",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;version=2.0.0",
        "application/json",
        "nonsense",
    ];
    let told = kinds.map(|kind| format!("{kind}\n  {}", accept(kind)));
    log.step("metrics, by what is accepted", &told.join("\n"));
    log.check();
    // The page and its script come from the server itself.
    let page = server.call("GET", "/docs/").open();
    assert_eq!(page.status(), 200);
    let mut page = page.into_body();
    let html = page.read_to_string().expect("a page");
    assert!(html.contains("swagger-ui") && !html.contains("https://"), "{html}");
    assert_eq!(server.call("GET", "/docs/swagger-ui-bundle.js").open().status(), 200);
}
