//! Server-sent events.

use std::io::{BufRead, BufReader};

use serde_json::json;

use crate::support::answer::Call;
use crate::support::profiles::once;
use crate::support::server::TestServer;
use crate::support::snapshot::Transcript;

/// Reads a stream to its end.
fn read(server: &TestServer, path: &str, last: Option<&str>) -> String {
    let mut call = server.fleet("GET", path);
    if let Some(last) = last {
        call = call.header("last-event-id", last);
    }
    let response = call.open();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().read_to_string().expect("a stream that ends")
}

/// Pushes a profile to every panel, and gives the batch's id.
fn push_to_all(server: &TestServer) -> String {
    let batch = json!({ "all": true, "upsert": [once(1, "x")] });
    let batch = server.fleet("POST", "/batches").json(&batch).send().value();
    batch["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_batch_tells_each_outcome_once_and_a_client_resumes() {
    let mut server = TestServer::start();
    server.add_panels(3);
    let id = push_to_all(&server);
    let path = format!("/batches/{id}/events");
    let mut log = Transcript::new("fleet_api", "events");
    let whole = read(&server, &path, None);
    log.step("from the beginning", &whole);
    let ids: Vec<_> = whole.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    log.step("behind the second event", &read(&server, &path, Some(ids[1])));
    let answer = |last: &str| server.fleet("GET", &path).header("last-event-id", last).send();
    log.step("behind its end", &answer(ids[4]));
    let other = json!({ "panels": ["p002"], "upsert": [once(1, "y")] });
    assert_eq!(server.fleet("POST", "/batches").json(&other).send().status, 200);
    let later: u64 = ids[4].parse().expect("a number");
    log.step("behind its end and what came then", &answer(&(later + 2).to_string()));
    log.step("no such batch", &server.fleet("GET", "/batches/x/events").send());
    server.restart();
    let whole = read(&server, &path, None);
    log.step("after a restart, its end from its record", &whole);
    let id = whole.lines().find_map(|line| line.strip_prefix("id: ")).expect("an end has an id");
    log.step("behind that", &server.fleet("GET", &path).header("last-event-id", id).send());
    let before: u64 = id.parse().expect("a number");
    log.step("before that", &read(&server, &path, Some(&(before - 1).to_string())));
    log.check();
}

/// As browsers do by themselves: an `EventSource` comes back until it is told that there is nothing more.
#[test]
fn a_client_that_comes_back_whenever_a_stream_ends_stops_behind_done() {
    let mut server = TestServer::start();
    server.add_panels(2);
    let id = push_to_all(&server);
    let path = format!("/batches/{id}/events");
    for (round, expected) in ["panel panel done", "done"].into_iter().enumerate() {
        if round == 1 {
            server.restart();
        }
        let (mut last, mut kinds) = (None::<String>, Vec::new());
        for _ in 0..10 {
            let mut call = server.fleet("GET", &path);
            if let Some(last) = &last {
                call = call.header("last-event-id", last);
            }
            let mut response = call.open();
            if response.status() == 204 {
                break;
            }
            let text = response.body_mut().read_to_string().expect("a stream that ends");
            assert!(text.starts_with("retry: 3000\n\n"), "{text}");
            last = text.lines().rev().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned).or(last);
            kinds.extend(text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned));
        }
        kinds.retain(|kind| kind != "progress"); // as often as there is time for it
        assert_eq!(kinds.join(" "), expected);
    }
}

#[test]
fn a_browser_listens_with_a_token_in_the_query_or_with_the_page_s_cookie_and_a_header_comes_first() {
    let server = TestServer::start();
    server.add_panels(1);
    let id = push_to_all(&server);
    let path = format!("/fleet/v1/batches/{id}/events");
    let good = server.token().to_owned();
    let cookie = format!("other=x; panelsync_session={good}");
    let query = |token: &str| format!("{path}?x=1&access_token={token}");
    let get = |path: &str| server.call("GET", path);
    let status = |call: Call| call.open().status().as_u16();

    let opened = get(&query(&good)).open();
    assert_eq!(opened.status(), 200);
    assert_eq!(opened.headers()["cache-control"], "no-store");
    assert_eq!(status(get(&format!("/fleet/v1/events?access_token={good}"))), 200);
    assert_eq!(status(get(&path).header("cookie", &cookie)), 200);
    assert_eq!(status(get("/fleet/v1/events").header("cookie", &cookie)), 200);

    assert_eq!(status(get(&path)), 401);
    assert_eq!(status(get(&query("ps_wrong"))), 401);
    assert_eq!(status(get(&query("%FF"))), 401);
    assert_eq!(status(get(&query("ps_wrong")).header("cookie", &cookie)), 401, "the query comes before");
    assert_eq!(status(get(&query("ps_wrong")).bearer(&good)), 200, "the header comes before");
    assert_eq!(status(get(&query(&good)).bearer("ps_wrong")), 401, "the header comes before");
    assert_eq!(status(get(&query(&good)).header("authorization", "Basic YTpi")), 401, "any header does");

    for elsewhere in ["/fleet/v1/batches", "/fleet/v1/panels", "/fleet/v1/users"] {
        assert_eq!(status(get(&format!("{elsewhere}?access_token={good}"))), 401, "{elsewhere}");
        assert_eq!(status(get(elsewhere).header("cookie", &cookie)), 401, "{elsewhere}");
    }
}

#[test]
fn a_listener_to_all_hears_of_batches_that_begin_later() {
    let server = TestServer::start();
    server.add_panels(2);
    let response = server.fleet("GET", "/events").open();
    let mut lines = BufReader::new(response.into_body().into_reader()).lines();
    let batch = json!({ "all": true, "upsert": [once(1, "x")] });
    assert_eq!(server.fleet("POST", "/batches").json(&batch).send().status, 200);
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "done") {
        let line = lines.next().expect("the stream goes on").expect("a text");
        kinds.extend(line.strip_prefix("event: ").map(str::to_owned));
    }
    assert_eq!(kinds.iter().filter(|kind| *kind == "panel").count(), 2);
}

#[test]
fn a_listener_that_leaves_and_one_that_does_not_read_harm_nobody() {
    let server = TestServer::start();
    server.add_panels(50);
    drop(server.fleet("GET", "/events").open());
    let silent = server.fleet("GET", "/events").open();
    for round in 0..20 {
        let batch = json!({ "all": true, "upsert": [once(1, &format!("round {round}"))] });
        assert_eq!(server.fleet("POST", "/batches").json(&batch).send().status, 200);
    }
    drop(silent);
}
