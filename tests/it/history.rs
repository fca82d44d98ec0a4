//! What stood as an item on a panel, and since when: nothing untrue is said of what is not kept.

use serde_json::{Value, json};

use crate::support::binary::Shell;
use crate::support::identifiers::card;
use crate::support::profiles::{link, list, once, work_week};
use crate::support::server::TestServer;
use crate::support::snapshot::Transcript;

fn apply(server: &TestServer, batch: &Value) -> Value {
    let answer = server.fleet("POST", "/batches").json(batch).send();
    assert_eq!(answer.status, 200, "{answer}");
    answer.value()
}

fn history(server: &TestServer, panel: &str, n: u32, more: &str) -> Value {
    let path = format!("/panels/{panel}/history?link_id={}{more}", link(n));
    let answer = server.fleet("GET", &path).send();
    assert_eq!(answer.status, 200, "{answer}");
    answer.value()
}

/// The versions as `how state name`, newest first.
fn lines(history: &Value) -> Vec<String> {
    let line = |version: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let name = text(&version["profile"]["name"]);
        format!(
            "{} {} {name}{}",
            text(&version["how"]),
            text(&version["state"]),
            if version["current"] == true { " now" } else { "" }
        )
    };
    history["items"].as_array().expect("a list").iter().map(line).collect()
}

/// A moment between what is done before and after.
fn between() -> String {
    std::thread::sleep(std::time::Duration::from_millis(3));
    let now = panelsync::clock::now_ms();
    std::thread::sleep(std::time::Duration::from_millis(3));
    panelsync::clock::rfc3339(now)
}

#[test]
fn each_version_is_told_with_since_when_by_whom_and_by_which_batch() {
    let server = TestServer::start();
    server.add_panels(2);
    server.add_user("operator", "operator");
    let operator = server.login("operator", "operator-password");
    let t0 = between();
    apply(&server, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "other")] }));
    let t1 = between();
    let batch = server
        .call("POST", "/fleet/v1/batches")
        .bearer(&operator)
        .json(&json!({ "all": true, "upsert": [work_week(1, "b")] }))
        .send()
        .value();
    let t2 = between();
    apply(&server, &json!({ "panels": ["p001"], "delete": [link(1)] }));
    let t3 = between();
    let id = batch["id"].as_str().expect("an id");
    apply(&server, &json!({ "panels": ["p001"], "upsert": [once(1, "b again")] }));
    let undone = server.fleet("POST", &format!("/batches/{id}:undo")).send();
    assert_eq!(undone.status, 200, "{undone}");
    let whole = history(&server, "p001", 1, "");
    assert_eq!(
        lines(&whole),
        ["batch desired b again now", "batch deleted -", "batch desired b", "batch desired a"]
    );
    assert_eq!(whole["known_since"], json!(null), "all is kept: {whole}");
    let second = &whole["items"][2];
    assert_eq!((&second["by"], &second["batch"]), (&json!("operator"), &json!(id)));
    assert_eq!(second["until"], whole["items"][1]["since"]);
    assert_eq!(
        lines(&history(&server, "p002", 1, "")),
        ["undo desired a now", "batch desired b", "batch desired a"]
    );

    // At a moment: the version, and whether it opened then.
    let at = |moment: &str| {
        let then = history(&server, "p001", 1, &format!("&at={moment}"))["at"].clone();
        let state = then["version"]["state"].as_str().unwrap_or("not kept").to_owned();
        (state, then["version"]["profile"]["name"].as_str().unwrap_or("-").to_owned(), then["opens"].clone())
    };
    let none = || ("deleted".to_owned(), "-".to_owned(), json!(false));
    assert_eq!(at(&t0), none(), "it was not there yet");
    assert_eq!(at(&t1), ("desired".into(), "a".into(), json!(false)), "a window of long ago");
    assert_eq!(at(&t2).1, "b");
    assert_eq!(at(&t3), none());
    let future = server
        .fleet("GET", &format!("/panels/p001/history?link_id={}&at=2999-01-01T00:00:00Z", link(1)))
        .send();
    assert_eq!(future.status, 422, "{future}");
    server.stop_and_render();
}

#[test]
fn what_a_door_allowed_at_a_time_follows_from_the_versions_of_then_in_the_panels_zone() {
    let server = TestServer::start();
    server.add_panel("kyiv", &json!({ "zone": "Europe/Kyiv" }));
    let now = panelsync::clock::now_ms() / 1000;
    let window = |name: &str, from: i64, to: i64| {
        let mut profile = once(1, name);
        profile["time_options"]["date_from"] = json!(from);
        profile["time_options"]["date_to"] = json!(to);
        profile
    };
    let people = |profiles: &[u32]| json!({ "upsert": [card(11, "First", "1234567", profiles)] });
    apply(
        &server,
        &json!({ "all": true, "upsert": [window("open", now - 3600, now + 3600), once(2, "long ago")], "identifiers": people(&[1]) }),
    );
    let open = between();
    apply(&server, &json!({ "all": true, "upsert": [window("shut", now + 7200, now + 9000)] }));
    let shut = between();
    apply(&server, &json!({ "all": true, "identifiers": people(&[]) }));
    let any_time = between();
    let opens = |n: u32, kind: &str, at: &str| {
        let then = history(&server, "kyiv", n, &format!("&kind={kind}&at={at}"));
        assert_eq!(then["zone"], "Europe/Kyiv");
        assert!(!then.to_string().contains("1234567"), "the number is masked");
        then["at"]["opens"].clone()
    };
    assert_eq!([&open, &shut].map(|at| opens(1, "profile", at)), [json!(true), json!(false)]);
    assert_eq!(
        [&open, &shut, &any_time].map(|at| opens(11, "identifier", at)),
        [json!(true), json!(false), json!(true)],
        "by the profiles of then"
    );
    server.stop_and_render();
}

#[test]
fn of_calls_of_the_panel_api_it_says_what_is_kept_and_no_more() {
    let server = TestServer::start();
    server.add_panels(1);
    let token = server.panel_login("p001");
    let put = |n: u32, name: &str| {
        let call = server.call("POST", "/panels/p001/api/v1/access/timeprofile/items/link").bearer(&token);
        let answer = call.json(&list(&[once(n, name)])).send();
        assert_eq!(answer.status, 200, "{answer}");
    };
    put(1, "first call");
    put(1, "second call");
    apply(&server, &json!({ "all": true, "upsert": [once(1, "batch")] }));
    put(1, "third call");
    let whole = history(&server, "p001", 1, "");
    let expected =
        ["call desired third call now", "batch desired batch", "call desired second call", "call not_kept -"];
    assert_eq!(lines(&whole), expected);
    assert_eq!(whole["items"][0]["by"], "panel-user:admin", "{whole}");
    assert_eq!(whole["known_since"], json!(null));
    // An undo leaves what a call changed.
    let page = server.fleet("GET", "/batches").send().value();
    let undo = format!("/batches/{}:undo", page["items"][0]["id"].as_str().expect("an id"));
    assert_eq!(server.fleet("POST", &undo).send().status, 409);
    // Calls by uid change the same items.
    let answer = server.call("DELETE", "/panels/p001/api/v1/access/timeprofile/item/1").bearer(&token).send();
    assert_eq!(answer.status / 100, 2, "{answer}");
    assert_eq!(lines(&history(&server, "p001", 1, ""))[..2], ["call deleted - now", "call not_kept -"]);
    // Many calls later the first ones are forgotten, and it says so.
    for i in 0..64 {
        put(2, &format!("many {i}"));
    }
    let whole = history(&server, "p001", 1, "");
    assert!(whole["known_since"].is_string(), "{whole}");
    assert_eq!(
        lines(&whole),
        ["unknown deleted - now", "batch desired batch", "unknown desired second call"]
    );
    let at = whole["items"][1]["since"].as_str().expect("a moment");
    let then = history(&server, "p001", 1, &format!("&at={at}"));
    assert_eq!((&then["at"]["version"], &then["at"]["opens"]), (&json!(null), &json!(null)), "{then}");
    server.stop_and_render();
}

#[test]
fn what_was_pushed_out_is_said_to_be_unknown() {
    let server = TestServer::start_with(|settings| settings.keep_batches = 2);
    server.add_panels(1);
    for name in ["a", "b", "c"] {
        apply(&server, &json!({ "all": true, "upsert": [once(1, name)] }));
    }
    let whole = history(&server, "p001", 1, "");
    assert_eq!(lines(&whole), ["batch desired c now", "batch desired b", "unknown desired a"]);
    assert!(whole["known_since"].is_string(), "{whole}");
    server.stop_and_render();
}

#[test]
fn the_command_shows_versions_and_what_was_desired_at_a_moment() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "Europe/Kyiv" }));
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("undo", "history");
    apply(
        &server,
        &json!({ "all": true, "upsert": [once(1, "a")], "identifiers": { "upsert": [card(11, "First", "1234567", &[1])] } }),
    );
    let then = between();
    let batch = apply(
        &server,
        &json!({ "all": true, "upsert": [once(1, "b")], "identifiers": { "delete": [link(11)] } }),
    );
    let id = batch["id"].as_str().expect("an id");
    shell.run(&["batch", "undo", id, "--yes"]);
    log.step("a profile", &shell.run(&["history", &link(1), "--panel", "p1"]));
    log.step(
        "an identifier",
        &shell.run(&["history", &link(11), "--kind", "identifier", "--panel", "p1", "--output", "json"]),
    );
    log.step("at a moment", &shell.run(&["history", &link(1), "--panel", "p1", "--at", &then]));
    log.step("never there", &shell.run(&["history", &link(77), "--panel", "p1"]));
    log.step("no moment", &shell.run(&["history", &link(1), "--panel", "p1", "--at", "yesterday"]));
    log.step("no panel", &shell.run(&["history", &link(1), "--panel", "p9"]));
    log.check();
}
