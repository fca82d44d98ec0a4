//! Server-sent events.

use std::io::{BufRead, BufReader};

use serde_json::json;

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

#[test]
fn a_batch_tells_each_outcome_once_and_a_client_resumes() {
    let mut server = TestServer::start();
    server.add_panels(3);
    let batch = json!({ "all": true, "upsert": [once(1, "x")] });
    let id = server.fleet("POST", "/batches").json(&batch).send().value()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/batches/{id}/events");
    let mut log = Transcript::new("fleet_api", "events");
    let whole = read(&server, &path, None);
    log.step("from the beginning", &whole);
    let ids: Vec<_> = whole.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    log.step("behind the second event", &read(&server, &path, Some(ids[1])));
    log.step("no such batch", &server.fleet("GET", "/batches/x/events").send());
    server.restart();
    log.step("after a restart, its end from its record", &read(&server, &path, None));
    log.check();
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
