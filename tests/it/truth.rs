//! What the server says is so: batches end whatever comes between, each outcome counts once, nothing is acknowledged that
//! is not kept, and a server that cannot go on says so or ends.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use panelsync::parts;
use panelsync::store::row::{OutcomeKey, RowKey};
use panelsync::store::{FILE_NAME, Store, StoreError, damage};
use panelsync::telemetry::Metrics;
use redb::ReadableTable;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::binary::{Served, Shell, command};
use crate::support::profiles::{link, once};
use crate::support::server::{ADMIN_PASSWORD, TestServer};
use crate::support::simulated::Simulated;

/// Nothing here takes so long unless it never ends.
const LONG: Duration = Duration::from_secs(30);

/// Asks again until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Registers so many simulated devices, `d1` and on, without asking them.
fn add_devices(server: &TestServer, devices: &Simulated, count: usize) {
    let line = |n| {
        json!({ "id": format!("d{n}"), "driver": "http", "url": devices.url(n), "username": "admin",
            "password": "123456" })
        .to_string()
    };
    let lines: Vec<_> = (1..=count).map(line).collect();
    let answer = server.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send();
    assert_eq!(answer.status, 201, "{}", answer.body);
}

fn counts(batch: &Value) -> (u64, u64) {
    let panels = &batch["panels"];
    let of = |name: &str| panels[name].as_u64().expect("a number");
    let ended = of("applied") + of("partial") + of("rejected") + of("failed");
    (ended, of("pending"))
}

#[test]
fn a_batch_that_is_cancelled_while_devices_answer_ends_and_counts_each_once() {
    const DEVICES: usize = 60;
    let devices = Simulated::start(DEVICES, &["--latency", "5ms..60ms"]);
    let server = TestServer::start();
    add_devices(&server, &devices, DEVICES);
    for round in 0..5 {
        let batch = json!({ "all": true, "upsert": [once(1, &format!("Round {round}")), once(2, "x")] });
        let answer = server.fleet("POST", "/batches").header("prefer", "wait=0").json(&batch).send();
        let id = answer.value()["id"].as_str().expect("an id").to_owned();
        std::thread::sleep(Duration::from_millis(20 + 20 * round));
        let cancelled = server.fleet("POST", &format!("/batches/{id}:cancel")).send();
        assert!([200, 409].contains(&cancelled.status), "{cancelled}");
        let batch = || server.fleet("GET", &format!("/batches/{id}")).send().value();
        until("the cancelled batch ends", || batch()["state"] != "running");
        assert_eq!(counts(&batch()), (DEVICES as u64, 0), "{}", batch());
        // What the pages of its panels say adds up to the same.
        let failed = server.fleet("GET", &format!("/batches/{id}/panels?outcome=failed&limit=1000")).send();
        let failed = failed.value()["items"].as_array().expect("a list").len() as u64;
        assert_eq!(batch()["panels"]["failed"], json!(failed));
    }
}

#[test]
fn a_panel_that_is_removed_while_it_reconciles_leaves_nothing_behind() {
    const DEVICES: usize = 8;
    let devices = Simulated::start(DEVICES, &["--latency", "2ms..20ms"]);
    let server = TestServer::start();
    add_devices(&server, &devices, DEVICES);
    let batch = json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] });
    server.fleet("POST", "/batches").json(&batch).send();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let all = json!({ "selector": "driver=http" });
            let answer = server.fleet("POST", "/reconcile").header("prefer", "wait=1").json(&all).send();
            assert!(answer.status < 500, "{answer}");
        });
        for n in 1..=DEVICES {
            let answer = server.fleet("DELETE", &format!("/panels/d{n}")).send();
            assert_eq!(answer.status, 204, "{answer}");
            let gone = server.fleet("DELETE", &format!("/panels/d{n}")).send();
            assert_eq!(gone.status, 404, "{gone}");
        }
    });
    server.stop_and_render(); // which looks for contradictions
}

#[test]
fn of_two_who_add_a_panel_at_once_one_is_told_that_it_is_there() {
    let server = TestServer::start();
    for n in 0..10 {
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let add =
                || server.fleet("POST", "/panels").json(&json!({ "id": format!("p{n}") })).send().status;
            let both = [scope.spawn(add), scope.spawn(add)];
            both.map(|one| one.join().expect("an answer")).to_vec()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 1, "{statuses:?}");
    }
    let listed = server.fleet("GET", "/panels?limit=100").send().value();
    assert_eq!(listed["items"].as_array().expect("a list").len(), 10);
}

fn send_with_key(server: &TestServer, key: &str, body: &Value) -> Answer {
    server.fleet("POST", "/batches").header("idempotency-key", key).json(body).send()
}

#[test]
fn a_replayed_key_gets_the_first_answer_whatever_became_of_the_panels() {
    let server = TestServer::start();
    server.add_panels(2);
    let body = json!({ "panels": ["p001", "p002"], "upsert": [once(1, "a")] });
    let first = send_with_key(&server, "k", &body);
    assert_eq!(first.status, 200);
    for panel in ["p001", "p002"] {
        assert_eq!(server.fleet("DELETE", &format!("/panels/{panel}")).send().status, 204);
    }
    let again = send_with_key(&server, "k", &body);
    assert_eq!((again.status, again.body), (200, first.body));
    let other = send_with_key(&server, "k", &json!({ "all": true, "upsert": [once(2, "b")] }));
    assert_eq!(other.status, 422, "{other}");
}

#[test]
fn a_key_outlives_its_batchs_report_and_the_request_does_not_run_again() {
    let server = TestServer::start_with(|settings| settings.keep_batches = 2);
    server.add_panels(1);
    let old = json!({ "all": true, "upsert": [once(1, "old")] });
    let id = send_with_key(&server, "k", &old).value()["id"].as_str().expect("an id").to_owned();
    for n in 0..5 {
        let newer = json!({ "all": true, "upsert": [once(1, &format!("newer {n}"))] });
        assert_eq!(server.fleet("POST", "/batches").json(&newer).send().status, 200);
    }
    let again = send_with_key(&server, "k", &old);
    assert_eq!(again.status, 410, "{again}");
    assert!(again.body.contains(&id), "{again}");
    let held = server.fleet("GET", "/panels/p001/profiles").send();
    assert!(held.body.contains("newer 4") && !held.body.contains("\"old\""), "{held}");
}

#[test]
fn a_key_that_has_had_its_time_is_a_new_one() {
    let server = TestServer::start_with(|settings| settings.keep_keys = Duration::from_millis(1));
    server.add_panels(1);
    let id = |answer: Answer| answer.value()["id"].as_str().expect("an id").to_owned();
    let body = json!({ "all": true, "upsert": [once(1, "a")] });
    let first = id(send_with_key(&server, "k", &body));
    std::thread::sleep(Duration::from_millis(20));
    assert_ne!(id(send_with_key(&server, "k", &body)), first);
}

/// A free port. It may be taken before it is used, by somebody else on this machine.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address")
}

/// Does some work on a server that says all it does to a standard error that takes nothing.
fn works_without_log(stderr: Stdio, before: impl FnOnce(&mut std::process::Child)) {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_port();
    let mut server = command()
        .args(["serve", "--listen", &address.to_string(), "--data-dir"])
        .arg(folder.path())
        .env("PANELSYNC_ADMIN_PASSWORD", ADMIN_PASSWORD)
        .env("RUST_LOG", "debug")
        .stderr(stderr)
        .spawn()
        .expect("the binary starts");
    before(&mut server);
    let ready = || {
        let connected = std::net::TcpStream::connect(address).is_ok();
        connected && Call::new(address, "GET", "/readyz").send().status == 200
    };
    until("it is ready", ready);
    let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let answer = Call::new(address, "POST", "/fleet/v1/session").json(&login).send();
    let token = answer.value()["token"].as_str().expect("a token").to_owned();
    let fleet =
        |method: &str, path: &str| Call::new(address, method, &format!("/fleet/v1{path}")).bearer(&token);
    let lines: Vec<_> = (0..200).map(|n| json!({ "id": format!("p{n}") }).to_string()).collect();
    assert_eq!(fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send().status, 201);
    // Each panel's part is a line or more: together more than a pipe holds.
    for n in 0..10 {
        let batch = json!({ "all": true, "upsert": [once(1, &format!("{n}"))] });
        let answer = fleet("POST", "/batches").json(&batch).send();
        assert_eq!((answer.status, &answer.value()["panels"]["applied"]), (200, &json!(200)), "{answer}");
    }
    assert!(ready());
    let _ = server.kill();
    server.wait().expect("gone");
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    if let Ok(full) = full {
        works_without_log(full.into(), |_| {});
    }
    works_without_log(Stdio::piped(), |server| drop(server.stderr.take())); // nobody reads any more
    works_without_log(Stdio::piped(), |_| {}); // somebody holds it and does not read
}

/// Run by itself in a process of its own, this gives up on a thread that the process cannot go on without.
#[test]
fn a_part_that_ends_unasked_ends_the_process_with_its_code() {
    const HOW: &str = "PANELSYNC_TEST_PART_ENDS";
    let name = "truth::a_part_that_ends_unasked_ends_the_process_with_its_code";
    match std::env::var(HOW).as_deref() {
        Err(_) => {
            for how in ["by a panic", "in silence", "in a task"] {
                let output = Command::new(std::env::current_exe().expect("this program"))
                    .args([name, "--exact", "--nocapture"])
                    .env(HOW, how)
                    .output()
                    .expect("it runs");
                assert_eq!(output.status.code(), Some(parts::LOST_PART), "{how}: {output:?}");
            }
        }
        Ok(how) => {
            damage::log_damage();
            let how = how.to_owned();
            let ends = std::thread::spawn(move || match how.as_str() {
                "in a task" => {
                    parts::this_thread_is("a test's part");
                    actix_web::rt::System::new().block_on(async {
                        let _ = actix_web::rt::spawn(async { panic!("on purpose") }).await;
                    });
                }
                how => {
                    let _part = parts::begin("a test's part", || false);
                    assert!(how != "by a panic", "on purpose");
                }
            });
            let _ = ends.join();
            panic!("the process goes on");
        }
    }
}

#[test]
fn a_database_that_is_removed_under_the_server_is_noticed_and_nothing_acknowledged_until_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Served::start(&data, Some(ADMIN_PASSWORD), &[]);
    let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let answer = Call::new(server.address, "POST", "/fleet/v1/session").json(&login).send();
    let token = answer.value()["token"].as_str().expect("a token").to_owned();
    let fleet = |method: &str, path: &str| {
        Call::new(server.address, method, &format!("/fleet/v1{path}")).bearer(&token)
    };
    assert_eq!(fleet("POST", "/panels").json(&json!({ "id": "p1" })).send().status, 201);
    let ready = || Call::new(server.address, "GET", "/readyz").send().status;
    let acknowledged = std::cell::Cell::new(0);
    let batch = |name: &str| {
        let body = json!({ "all": true, "upsert": [once(1, name)] });
        let answer = fleet("POST", "/batches").json(&body).send();
        acknowledged.set(acknowledged.get() + usize::from(answer.status == 200));
        answer
    };
    assert_eq!((ready(), batch("before").status), (200, 200));

    let aside = folder.path().join("aside");
    for moved in [&data, &data.join(FILE_NAME)] {
        std::fs::rename(moved, &aside).expect("moved away");
        // At once, though nobody had looked before.
        let refused = batch("away");
        assert_eq!(refused.status, 503, "{refused}");
        assert!(refused.body.contains("urn:panelsync:problem:file-gone"), "{refused}");
        until("it says that it is not ready", || ready() == 503);
        // What it still reads can be saved.
        assert_eq!(fleet("GET", "/panels/p1").send().status, 200);
        let saved = folder.path().join("saved.redb");
        let shell = Shell::new(server.address, Some(&token));
        let ran = shell.run(&["backup", saved.to_str().expect("a text")]);
        assert!(ran.exit == Some(0) || !moved.ends_with(FILE_NAME), "{ran}");
        let _ = std::fs::remove_file(&saved);
        std::fs::rename(&aside, moved).expect("moved back");
        until("it goes on when the file is back", || ready() == 200 && batch("back").status == 200);
        let listed = fleet("GET", "/batches").send().value();
        let listed = listed["items"].as_array().expect("a list").len();
        assert_eq!(listed, acknowledged.get(), "what was refused has not happened");
    }
    // Another file in its place is not its own.
    std::fs::rename(data.join(FILE_NAME), &aside).expect("moved away");
    std::fs::write(data.join(FILE_NAME), "another").expect("written");
    until("another file is noticed with nothing asked", || ready() == 503);
    assert_eq!(batch("away").status, 503);
    assert_eq!(std::fs::read(data.join(FILE_NAME)).expect("there"), b"another");
    server.kill();
}

#[test]
fn a_broken_page_is_an_error_to_whoever_reads_it_and_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_on(folder, |_| {});
    server.add_panels(30);
    let profiles: Vec<_> = (0..100).map(|n| once(n, &format!("Profile {n}"))).collect();
    server.fleet("POST", "/batches").json(&json!({ "all": true, "upsert": profiles })).send();
    let folder = server.stop_and_keep();
    let path = folder.path().join(FILE_NAME);
    let whole = std::fs::read(&path).expect("readable");
    let live: Vec<_> = (4096..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut broken = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            bytes[live[fastrand::usize(0..live.len())]] = fastrand::u8(..);
        }
        std::fs::write(&path, &bytes).expect("written");
        let Ok(store) = Store::open(folder.path(), &Metrics::default()) else {
            broken += 1;
            continue;
        };
        if let Ok(snapshot) = store.handle().read() {
            let mut failed = snapshot.batches(u64::MAX, 9).is_err() || snapshot.users().is_err();
            failed |= snapshot.running_batches().is_err() || snapshot.all_reported_counts().is_err();
            failed |= snapshot.audit(u64::MAX, 1000, |_| true).is_err() || snapshot.tokens().is_err();
            for panel in 1..=30 {
                failed |= snapshot.profiles(panel).is_err() || snapshot.panel_name(panel).is_err();
            }
            if let Ok(outcomes) = snapshot.outcomes(1, 0) {
                failed |= outcomes.take(1000).any(|outcome| outcome.is_err());
            }
            failed |= snapshot.each_linked(|_, _, _| {}).is_err();
            broken += u32::from(failed);
        }
        store.close();
    }
    assert!(broken > 0, "nothing was broken");
}

#[test]
fn a_retry_of_a_cancelled_batch_and_its_cancellation_leave_it_ended_one_way_or_the_other() {
    const DEVICES: usize = 20;
    let devices = Simulated::start(DEVICES, &["--latency", "5ms..30ms"]);
    let server = TestServer::start();
    add_devices(&server, &devices, DEVICES);
    let batch = json!({ "all": true, "upsert": [once(1, "x")] });
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=0").json(&batch).send();
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for call in ["cancel", "retry", "cancel"] {
                let (server, path) = (&server, format!("/batches/{id}:{call}"));
                scope.spawn(move || {
                    let answer = server.fleet("POST", &path).header("prefer", "wait=0").send();
                    assert!([200, 202, 409].contains(&answer.status), "{answer}");
                });
            }
        });
        let batch = || server.fleet("GET", &format!("/batches/{id}")).send().value();
        until("it ends", || batch()["state"] != "running");
        assert_eq!(counts(&batch()), (DEVICES as u64, 0), "{}", batch());
    }
    // Whatever was cancelled, the last retry brings it to every device.
    let last = server.fleet("POST", &format!("/batches/{id}:retry")).header("prefer", "wait=30").send();
    assert!([200, 409].contains(&last.status), "{last}");
    for n in 1..=DEVICES {
        assert_eq!(devices.holds(n).get(&link(1)).map(String::as_str), Some("x"), "device {n}");
    }
}

#[test]
fn work_that_meets_an_unreadable_value_fails_alone_and_the_rest_of_its_commit_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Metrics::default()).expect("it opens");
    let handle = store.handle();
    let (told, answers) = std::sync::mpsc::channel();
    let submit = |name: &'static str, result: Result<(), StoreError>, wait: Duration| {
        let told = told.clone();
        handle.submit_change(
            move |_| {
                std::thread::sleep(wait);
                result.clone()
            },
            move |result| told.send((name, result.is_ok())).expect("the test listens"),
        );
    };
    // While the first is under way, the others gather for one commit.
    submit("first", Ok(()), Duration::from_millis(100));
    for (name, result) in [
        ("a", Ok(())),
        ("b", Err(StoreError::Corrupt("value"))),
        ("c", Ok(())),
        ("d", Err(StoreError::Corrupt("value"))),
        ("e", Ok(())),
    ] {
        submit(name, result, Duration::ZERO);
    }
    let answers: Vec<_> = (0..6).map(|_| answers.recv_timeout(LONG).expect("an answer")).collect();
    let expected = [("first", true), ("a", true), ("b", false), ("c", true), ("d", false), ("e", true)];
    assert_eq!(answers, expected, "each for itself, in its order");
    store.close();
}

#[test]
fn a_panel_whose_rows_cannot_be_read_fails_its_part_and_delays_no_other() {
    const PACKS: redb::TableDefinition<'_, &RowKey, &[u8]> = redb::TableDefinition::new("packs");
    let server = TestServer::start();
    server.add_panels(3);
    server.fleet("POST", "/batches").json(&json!({ "all": true, "upsert": [once(1, "a")] })).send();
    let folder = server.stop_and_keep();
    let db = redb::Database::open(folder.path().join(FILE_NAME)).expect("it opens");
    let write = db.begin_write().expect("a transaction");
    let mut key = RowKey::default();
    key[3] = 2; // the second panel's first
    let unreadable: &[u8] = &[7; 5];
    write.open_table(PACKS).expect("a table").insert(&key, unreadable).expect("written");
    write.commit().expect("committed");
    drop(db);
    let server = TestServer::start_on(folder, |_| {});
    let answer =
        server.fleet("POST", "/batches").json(&json!({ "all": true, "upsert": [once(1, "b")] })).send();
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(counts(&answer.value()), (3, 0), "{answer}");
    assert_eq!(
        (&answer.value()["panels"]["applied"], &answer.value()["panels"]["failed"]),
        (&json!(2), &json!(1))
    );
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    let failed = server.fleet("GET", &format!("/batches/{id}/panels?outcome=failed")).send();
    assert!(failed.body.contains("unreadable") && failed.body.contains("p002"), "{failed}");
}

#[test]
fn a_running_batch_that_cannot_be_read_keeps_no_server_from_starting_and_working() {
    const OUTCOMES: redb::TableDefinition<'_, &OutcomeKey, &[u8]> = redb::TableDefinition::new("outcomes");
    let server = TestServer::start();
    server.add_panels(1);
    let away = json!({ "id": "away", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin",
        "password": "x" });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&away).send().status, 201);
    let body = json!({ "all": true, "upsert": [once(1, "a")] });
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=1").json(&body).send();
    assert_eq!(answer.value()["state"], "running", "{answer}");
    let folder = server.stop_and_keep();
    let db = redb::Database::open(folder.path().join(FILE_NAME)).expect("it opens");
    let write = db.begin_write().expect("a transaction");
    {
        let mut outcomes = write.open_table(OUTCOMES).expect("a table");
        let keys: Vec<OutcomeKey> =
            outcomes.iter().expect("readable").map(|entry| *entry.expect("an entry").0.value()).collect();
        for key in keys {
            outcomes.insert(&key, [7_u8; 3].as_slice()).expect("written");
        }
    }
    write.commit().expect("committed");
    drop(db);
    let server = TestServer::start_on(folder, |_| {});
    let body = json!({ "panels": ["p001"], "upsert": [once(1, "b")] });
    let answer = server.fleet("POST", "/batches").json(&body).send();
    assert_eq!((answer.status, &answer.value()["panels"]["applied"]), (200, &json!(1)), "{answer}");
}
