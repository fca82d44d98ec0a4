//! Workers: what they do for a server that does not talk to their devices itself, and what becomes of that without them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::binary::command;
use crate::support::profiles::{link, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

/// A worker in another process. It ends with the test.
struct Working(Child);

impl Working {
    fn start(server: &TestServer, selector: &str) -> Self {
        let child = command()
            .args([
                "worker",
                "--hub",
                &format!("http://{}", server.address()),
                "--for",
                selector,
                "--name",
                "far",
            ])
            .env("PANELSYNC_TOKEN", server.token())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        Self(child)
    }

    fn signal(&self, signal: &str) {
        let done = std::process::Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn push(server: &TestServer, n: u32, name: &str) {
    let batch = json!({ "all": true, "upsert": [work_week(n, name)] });
    let answer = server.fleet("POST", "/batches").header("prefer", "respond-async").json(&batch).send();
    assert!(matches!(answer.status, 200 | 202), "{}", answer.value());
}

/// Whether the devices' last trouble is that a worker said nothing.
fn misses_its_worker(server: &TestServer) -> bool {
    let panel = server.fleet("GET", "/panels/far-1").send().value();
    panel["state"]["last_error"].to_string().contains("its worker told nothing")
}

#[test]
fn a_worker_talks_to_the_devices_of_its_site_and_the_server_does_so_once_it_is_not_heard_of() {
    let server = TestServer::start();
    let devices = Simulated::start(1, &[]);
    let fields = json!({
        "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456", "labels": { "site": "far" }
    });
    let worker = Working::start(&server, "site=far");
    std::thread::sleep(Duration::from_secs(1)); // it dials in
    server.add_panel("far-1", &fields);
    push(&server, 1, "by the worker");
    until("the device holds it", || devices.holds(1).values().any(|name| name == "by the worker"));

    worker.signal("-STOP");
    push(&server, 2, "without it");
    until("the call through the worker comes to nothing", || misses_its_worker(&server));
    until("the server does it itself", || devices.holds(1).values().any(|name| name == "without it"));
    push(&server, 2, "newer");
    until("and so on", || devices.holds(1).values().any(|name| name == "newer"));

    worker.signal("-CONT");
    std::thread::sleep(Duration::from_secs(3)); // what it was given before the pause is over by its own clock
    let held = devices.holds(1);
    assert_eq!(held.get(&link(2)).map(String::as_str), Some("newer"), "{held:?}");
}

#[test]
fn a_worker_shows_an_admins_token_and_says_for_whom_it_is() {
    let server = TestServer::start();
    server.add_user("olga", "operator");
    let operator = server.login("olga", "olga-password");
    let said = |selector: Option<&str>| {
        let mut worker = json!({ "name": "far", "run": link(9), "concurrency": 4 });
        if let Some(selector) = selector {
            worker["for"] = selector.into();
        }
        json!({ "worker": worker, "wait_ms": 0, "answers": [] })
    };
    let ask = |token: &str, body: &serde_json::Value| {
        server.call("POST", "/cluster/v1/worker").bearer(token).json(body).send().status
    };
    assert_eq!(server.call("POST", "/cluster/v1/worker").json(&said(Some("site=far"))).send().status, 401);
    assert_eq!(ask(&operator, &said(Some("site=far"))), 403);
    assert_eq!(ask(server.token(), &said(Some("site=far"))), 200);
    assert_eq!(ask(server.token(), &said(None)), 422, "that is for nodes");
    assert_eq!(ask(server.token(), &said(Some("site in ("))), 422);
    assert_eq!(ask(server.token(), &json!({})), 400);
}

#[test]
fn a_server_that_runs_alone_has_no_nodes() {
    let server = TestServer::start();
    let listed = server.fleet("GET", "/nodes").send();
    assert_eq!((listed.status, listed.value()), (200, json!({ "items": [], "next_cursor": null })));
    assert_eq!(server.fleet("POST", "/nodes:release").send().status, 409);
    assert_eq!(server.fleet("DELETE", "/nodes/north").send().status, 409);
    assert_eq!(server.call("GET", "/cluster/v1/copy").send().status, 401);
}
