//! Events at doors: devices tell them to the server as to their Link server, and people read them.

use std::io::{BufRead, BufReader};
use std::path::Path;

use panelsync::config::{Secret, Settings};
use panelsync::store::FILE_NAME;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::binary::{Served, Shell};
use crate::support::server::{ADMIN_PASSWORD, TestServer, rendered_state};
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

const LINK_PASSWORD: &str = "link-password";

/// Some time in January 2026, in Unix milliseconds.
const THEN: i64 = 1_767_268_800_000;

fn open(settings: &mut Settings) {
    settings.link_password = Some(Secret(LINK_PASSWORD.into()));
}

/// A server that devices may speak to, with the first `n` simulated panels as d1, d2, …
fn fleet_of(devices: &Simulated, n: usize) -> TestServer {
    let server = TestServer::start_with(open);
    for i in 1..=n {
        server.add_panel(&format!("d{i}"), &remote(devices, i));
    }
    server
}

fn remote(devices: &Simulated, n: usize) -> Value {
    json!({ "driver": "http", "url": devices.url(n), "username": "admin", "password": "123456", "zone": "Europe/Kyiv" })
}

/// What the n-th device says of itself.
fn serial(devices: &Simulated, n: usize) -> String {
    let info = devices.call_open(n, "/api/info");
    info["device_serial_number"].as_str().expect("a text").to_owned()
}

/// A device that speaks as devices do: it never says of which type a body is.
struct Device<'s> {
    server: &'s TestServer,
    token: String,
}

impl<'s> Device<'s> {
    fn log_in(server: &'s TestServer, serial: &str) -> Self {
        let answer = login(server, serial, LINK_PASSWORD);
        assert_eq!(answer.status, 200, "{answer}");
        Self { server, token: answer.value()["token"].as_str().expect("a token").to_owned() }
    }

    fn call(&self, method: &str, path: &str) -> Call {
        self.server.call(method, &format!("/api/v0/devices/{path}")).bearer(&self.token)
    }

    fn tell(&self, events: &Value) -> Answer {
        self.call("PUT", "logs").raw(json!({ "events": events }).to_string()).send()
    }
}

fn login(server: &TestServer, serial: &str, password: &str) -> Answer {
    let body = json!({ "login": serial, "password": password }).to_string();
    server.call("POST", "/api/v0/devices/login").raw(body).send()
}

fn card(after_ms: i64, number: &str) -> Value {
    json!({
        "created_at": THEN + after_ms, "category": "access", "priority": "medium",
        "code": "access_granted_by_valid_identifier",
        "info": { "lock": 1, "owner": "Flat 12, first", "number": number, "type": "card", "apartment_address": "" },
    })
}

fn events(server: &TestServer, query: &str) -> Vec<Value> {
    let answer = server.fleet("GET", &format!("/access-events{query}")).send();
    assert_eq!(answer.status, 200, "{answer}");
    answer.value()["items"].as_array().expect("a list").clone()
}

fn numbers(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["number"].as_str().unwrap_or("-")).collect()
}

/// As after a start of the server, when it knows none of their serial numbers yet.
#[test]
fn devices_that_log_in_at_once_are_all_let_in() {
    let devices = Simulated::start(24, &[]);
    let server = fleet_of(&devices, 24);
    let serials: Vec<_> = (1..=24).map(|n| serial(&devices, n)).collect();
    std::thread::scope(|scope| {
        for serial in &serials {
            scope.spawn(|| Device::log_in(&server, serial));
        }
    });
}

#[test]
fn a_device_tells_its_link_server_what_happened() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 2);
    let mut log = Transcript::new("fleet_api", "door_events");
    let serials = [serial(&devices, 1), serial(&devices, 2)];
    log.step("a wrong password", &login(&server, "x", "wrong"));
    log.step("a device that no panel has", &login(&server, "x", LINK_PASSWORD));
    let body = format!("{{\"login\":\"x\",\"password\":\"{LINK_PASSWORD}\"");
    log.step("half a login", &server.call("POST", "/api/v0/devices/login").raw(body).send());
    let device = Device::log_in(&server, &serials[0]);
    log.step("it is there", &device.call("POST", "pong").send());
    log.step("it asks whether its session lasts", &device.call("POST", "refresh").raw("{}").send());
    let told = json!([
        card(0, "0001234567"),
        card(1000, "0A:1B:2C:3D"),
        { "created_at": THEN + 2000, "category": "access", "code": "access_denied_by_unknown_card", "info": { "card": "7654321" } },
        { "created_at": THEN + 3000, "category": "access", "code": "access_denied_by_not_valid_input_code", "info": { "number": "482915", "type": "inputCode" } },
        { "created_at": THEN + 4000, "category": "access", "code": "access_granted_by_thought", "info": { "number": "brain wave", "type": "brain" } },
        { "created_at": THEN + 5000, "category": "access", "code": "lock_was_opened_by_exit_btn" },
        { "created_at": THEN + 6000, "category": "system", "code": "device_was_booted" },
    ]);
    log.step("it tells", &device.tell(&told));
    log.step("it tells the same again", &device.tell(&told));
    log.step("nothing", &device.tell(&json!([])));
    log.step("no JSON", &device.call("PUT", "logs").raw("{\"events\":[").send());
    log.step("no events", &device.call("PUT", "logs").raw("{}").send());
    log.step("nobody", &server.call("PUT", "/api/v0/devices/logs").raw("{\"events\":[]}").send());
    let other = Device { server: &server, token: server.token().to_owned() };
    log.step("a person", &other.tell(&json!([])));
    log.step("another method", &device.call("POST", "logs").raw("{\"events\":[]}").send());
    let second = Device::log_in(&server, &serials[1]);
    log.step("the second device tells of the same card", &second.tell(&json!([card(0, "1234567")])));
    let read = |query: &str| server.fleet("GET", &format!("/access-events{query}")).send();
    log.step("all that happened", &read(""));
    log.step("at the second", &read("?panel=d2"));
    let first = read("?limit=3");
    log.step("three", &first);
    let next = first.value()["next_cursor"].as_str().expect("a cursor").to_owned();
    log.step("the next", &read(&format!("?limit=3&cursor={next}")));
    log.step("between two moments", &read("?panel=d1&from=2026-01-01T12:00:01Z&to=2026-01-01T12:00:03Z"));
    log.step("of an identifier", &read("?identifier=91c615e3-1040-4815-8ecb-000000000001"));
    log.step("of no link_id", &read("?identifier=1234567"));
    log.step("at no panel", &read("?panel=d9"));
    log.step("behind no cursor", &read("?cursor=x"));
    let metrics = server.call("GET", "/metrics").open().into_body().read_to_string().expect("a text");
    let mut told: Vec<_> = metrics.lines().filter(|line| line.starts_with("panelsync_door_events")).collect();
    told.sort_unstable();
    log.step("counted", &told.join("\n"));
    log.check();
}

#[test]
fn a_session_ends_with_the_server_and_without_a_password_there_is_none() {
    let devices = Simulated::start(1, &[]);
    let mut server = fleet_of(&devices, 1);
    let serial = serial(&devices, 1);
    let token = Device::log_in(&server, &serial).token;
    assert_eq!(Device { server: &server, token: token.clone() }.tell(&json!([card(0, "1")])).status, 200);
    server.restart_with(open);
    let before = Device { server: &server, token: token.clone() };
    assert_eq!(before.tell(&json!([card(0, "1")])).status, 401);
    assert_eq!(before.call("POST", "pong").send().status, 401);
    let again = Device::log_in(&server, &serial);
    assert_eq!(again.tell(&json!([card(0, "1"), card(1, "2")])).status, 200);
    assert_eq!(events(&server, "").len(), 2, "what was told before the restart is known after it");

    assert_eq!(server.fleet("DELETE", "/panels/d1").send().status, 204);
    assert_eq!(again.tell(&json!([card(2, "3")])).status, 401, "its panel is gone");
    assert_eq!(login(&server, &serial, LINK_PASSWORD).status, 401);
    let kept = events(&server, "");
    assert!(kept.len() == 2 && kept.iter().all(|event| event["panel"] == "d1"), "what happened has happened");
    server.restart();
    let answer = login(&server, &serial, LINK_PASSWORD);
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("--link-password-file"), "{answer}");
    assert_eq!(events(&server, "").len(), 2);
}

#[test]
fn a_packet_is_taken_as_far_as_it_can_be_read_and_never_larger_than_packets_are() {
    let devices = Simulated::start(1, &[]);
    let server = fleet_of(&devices, 1);
    let device = Device::log_in(&server, &serial(&devices, 1));
    let mut packet = vec![json!(null), json!(7), json!({}), json!({ "created_at": "x", "code": {} })];
    packet.push(card(0, &"9".repeat(100_000)));
    packet.extend((1..96).map(|n| card(n, &n.to_string())));
    assert_eq!(packet.len(), 100);
    assert_eq!(device.tell(&json!(packet)).status, 200);
    assert_eq!(events(&server, "?limit=1000").len(), 96);
    packet.push(card(1000, "1000"));
    let answer = device.tell(&json!(packet));
    assert_eq!(answer.status, 413, "{answer}");
    assert_eq!(events(&server, "?limit=1000").len(), 96, "nothing of it is taken");
    let huge = format!("{{\"events\":[{}]}}", card(2000, &"9".repeat(300_000)));
    assert_eq!(device.call("PUT", "logs").raw(huge).send().status, 413);
    let deep = format!("{{\"events\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(device.call("PUT", "logs").raw(deep).send().status, 400);
    for junk in ["", "null", "\u{0}", "{\"events\":null}", "[[]]", "\"events\""] {
        assert_eq!(device.call("PUT", "logs").raw(junk).send().status, 400, "{junk:?}");
    }
    // A device whose clock is wrong tells all the same.
    assert_eq!(
        device
            .tell(&json!([{ "created_at": 0, "code": "x" }, { "created_at": i64::MAX, "code": "x" }]))
            .status,
        200
    );
    let newest = events(&server, "?limit=2");
    assert!(newest.iter().all(|event| event["reason"] == "x"), "{newest:?}");
}

#[test]
fn a_flood_fills_no_more_than_is_kept_and_takes_a_device_no_more_than_its_turns() {
    let devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(|settings| {
        open(settings);
        settings.keep_events_number = 500;
    });
    for n in 1..=2 {
        server.add_panel(&format!("d{n}"), &remote(&devices, n));
    }
    let flooding = Device::log_in(&server, &serial(&devices, 1));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let flood = |thread: i64| {
            let flooding = &flooding;
            scope.spawn(move || {
                let packet = |round: i64| {
                    let events: Vec<_> =
                        (0..100).map(|n| card(thread * 100_000 + round * 100 + n, "1234567")).collect();
                    flooding.tell(&json!(events)).status
                };
                (0..5).map(packet).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..8).map(flood).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200));
    assert_eq!(events(&server, "?limit=1000").len(), 500);
    let other = Device::log_in(&server, &serial(&devices, 2));
    assert_eq!(other.tell(&json!([card(0, "7654321")])).status, 200);
    assert_eq!(numbers(&events(&server, "?panel=d2")), ["…321"]);
    // Guessing is slowed down; who is right is let in all the same.
    let guesses: Vec<_> = (0..30).map(|_| login(&server, "guess", "wrong").status).collect();
    assert!(guesses.contains(&401) && guesses.contains(&429), "{guesses:?}");
    Device::log_in(&server, &serial(&devices, 2));
    assert!(server.stop_and_render().contains("access_events"));
}

#[test]
fn what_was_answered_200_survives_a_kill() {
    let devices = Simulated::start(1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("link-password");
    std::fs::write(&password, format!("{LINK_PASSWORD}\n")).expect("written");
    let data = folder.path().join("data");
    let args = ["--link-password-file", password.to_str().expect("a path")];
    let served = Served::start(&data, Some(ADMIN_PASSWORD), &args);
    let fleet = |served: &Served, method: &str, path: &str| {
        let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let token = Call::new(served.address, "POST", "/fleet/v1/session").json(&login).send().value();
        Call::new(served.address, method, &format!("/fleet/v1{path}"))
            .bearer(token["token"].as_str().expect("a token"))
    };
    let mut panel = remote(&devices, 1);
    panel["id"] = json!("d1");
    assert_eq!(fleet(&served, "POST", "/panels").json(&panel).send().status, 201);
    let body = json!({ "login": serial(&devices, 1), "password": LINK_PASSWORD }).to_string();
    let log_in = |served: &Served| {
        let answer = Call::new(served.address, "POST", "/api/v0/devices/login").raw(body.clone()).send();
        answer.value()["token"].as_str().expect("a token").to_owned()
    };
    let token = log_in(&served);
    let tell = |served: &Served, token: &str, n: i64| {
        let packet = json!({ "events": [card(n, &n.to_string())] }).to_string();
        Call::new(served.address, "PUT", "/api/v0/devices/logs").bearer(token).raw(packet).send().status
    };
    for n in 1..=40 {
        assert_eq!(tell(&served, &token, n), 200);
    }
    served.kill();
    let served = Served::start(&data, None, &args);
    let listed = fleet(&served, "GET", "/access-events?limit=1000").send().value();
    assert_eq!(listed["items"].as_array().expect("a list").len(), 40);
    assert_eq!(tell(&served, &token, 41), 401, "it logs in again");
    assert_eq!(tell(&served, &log_in(&served), 40), 200);
    let listed = fleet(&served, "GET", "/access-events?limit=1000").send().value();
    assert_eq!(listed["items"].as_array().expect("a list").len(), 40);
    assert_eq!(served.terminate(), Some(0));
    rendered_state(&data);
}

#[test]
fn a_stream_tells_events_as_they_come_and_is_taken_up_behind_the_last_one() {
    let devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(|settings| {
        open(settings);
        settings.keep_events_number = 5;
    });
    for n in 1..=2 {
        server.add_panel(&format!("d{n}"), &remote(&devices, n));
    }
    let [first, second] = [1, 2].map(|n| Device::log_in(&server, &serial(&devices, n)));
    assert_eq!(first.tell(&json!([card(0, "1000")])).status, 200);
    let listen = |query: &str, last: Option<&str>| {
        let mut call = server.fleet("GET", &format!("/access-events/stream{query}"));
        if let Some(last) = last {
            call = call.header("last-event-id", last);
        }
        let response = call.open();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        lines
            .map(|line| line.expect("a text"))
            .filter(|line| line.starts_with("data: ") || line.starts_with("id: "))
    };
    let mut all = listen("", None);
    let mut of_second = listen("?panel=d2", None);
    // A stream begins with its place, from which one goes on that has told nothing.
    assert_eq!([all.next(), of_second.next()], [Some("id: 1".to_owned()), Some("id: 1".to_owned())]);
    assert_eq!(first.tell(&json!([card(1, "2000")])).status, 200);
    assert_eq!(second.tell(&json!([card(0, "3000")])).status, 200);
    assert_eq!(first.tell(&json!([card(1, "2000"), card(2, "4000")])).status, 200);
    let told = |lines: &mut dyn Iterator<Item = String>| {
        let id = lines.next().expect("an id").strip_prefix("id: ").expect("an id").to_owned();
        let data = lines.next().expect("data");
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(event["id"].to_string(), id);
        (id, event["number"].as_str().expect("a number").to_owned())
    };
    let seen: Vec<_> = (0..3).map(|_| told(&mut all)).collect();
    assert_eq!(seen.iter().map(|(_, number)| number.as_str()).collect::<Vec<_>>(), ["…000", "…000", "…000"]);
    let ids: Vec<_> = seen.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["2", "3", "4"]);
    assert_eq!(told(&mut of_second).0, "3");
    drop(all);
    assert_eq!(told(&mut listen("", Some("1")).skip(1)).0, "2");
    assert_eq!(told(&mut listen("", Some(ids[0])).skip(1)).0, "3");
    assert_eq!(told(&mut listen("?panel=d1", Some(ids[0])).skip(1)).0, "4");
    // Five are kept, so that of ten the first are gone; whoever comes back learns how many.
    let many: Vec<_> = (10..16).map(|n| card(n, "5000")).collect();
    assert_eq!(first.tell(&json!(many)).status, 200);
    let mut late = listen("", Some("2")).skip(1);
    assert_eq!(late.next().as_deref(), Some("data: {\"missed\":3}"));
    assert_eq!(told(&mut late).0, "6");
    // A number that was never given is one of another server's.
    let mut lost = listen("", Some("99999")).skip(1);
    assert_eq!(second.tell(&json!([card(1, "6000")])).status, 200);
    assert_eq!(told(&mut lost).0, "11");
    assert_eq!(server.call("GET", "/fleet/v1/access-events/stream").open().status(), 401);
}

/// A process that does not outlive its test.
struct KilledAtEnd(std::process::Child);

impl Drop for KilledAtEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a text stands anywhere in a folder's files.
fn stands_in(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = std::fs::read(&path).expect("a file");
        bytes.windows(text.len()).any(|piece| piece == text.as_bytes())
    })
}

#[test]
fn a_number_that_was_presented_stands_nowhere_in_clear() {
    const PLANTED: [&str; 4] = ["7391846205", "0F-1E-2D-3C-4B", "90817263", "AA9182XY"];
    let devices = Simulated::start(1, &[]);
    let server = fleet_of(&devices, 1);
    let device = Device::log_in(&server, &serial(&devices, 1));
    let event = |n: usize, kind: &str| {
        json!({ "created_at": THEN + n as i64, "category": "access", "code": "access_denied_by_not_valid_identifier",
            "info": { "number": PLANTED[n], "type": kind, "owner": "Planted Owner" } })
    };
    let told = json!([event(0, "card"), event(1, "ukey"), event(2, "inputCode"), event(3, "license_plate")]);
    assert_eq!(device.tell(&told).status, 200);
    let torn = told.to_string();
    assert_eq!(device.call("PUT", "logs").raw(&torn[..torn.len() - 1]).send().status, 400);
    let seen = events(&server, "");
    assert_eq!(numbers(&seen), ["…2XY", "-", "…C4B", "…205"]);
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut texts = vec![json!(seen).to_string()];
    for path in ["/audit", "/panels/d1", "/events-of-nobody"] {
        texts.push(server.fleet("GET", path).send().body);
    }
    texts.push(server.call("GET", "/metrics").open().into_body().read_to_string().expect("a text"));
    let copy = shell.home.path().join("copy.redb");
    let ran = shell.run(&["backup", copy.to_str().expect("a path")]);
    assert_eq!(ran.exit, Some(0), "{ran}");
    for planted in PLANTED {
        assert!(texts.iter().all(|text| !text.contains(planted)), "{planted} is told");
        assert!(!stands_in(shell.home.path(), planted), "{planted} is in the backup");
    }
    let folder = server.stop_and_keep();
    assert!(folder.path().join(FILE_NAME).is_file());
    let rendered = rendered_state(folder.path());
    for planted in PLANTED.into_iter().chain(["Planted Owner", LINK_PASSWORD]) {
        assert!(!stands_in(folder.path(), planted), "{planted} is in the data folder");
        assert!(!rendered.contains(planted), "{planted} is rendered");
    }
}

#[test]
fn people_list_and_follow_events_on_the_command_line_by_the_clock_on_the_panel_s_wall() {
    let devices = Simulated::start(2, &[]);
    let server = fleet_of(&devices, 2);
    let device = Device::log_in(&server, &serial(&devices, 1));
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "door_events");
    log.step("nothing", &shell.run(&["events"]));
    let summer = 1_780_000_000_000 - THEN;
    let denied = json!({ "created_at": THEN + 5, "code": "access_denied_by_not_valid_input_code", "info": { "number": "4829" } });
    assert_eq!(device.tell(&json!([card(0, "1234567"), denied, card(summer, "1234567")])).status, 200);
    log.step("all", &shell.run(&["events"]));
    log.step(
        "at one panel, between two moments",
        &shell.run(&[
            "events",
            "--panel",
            "d1",
            "--from",
            "2026-01-01T14:00:00+02:00",
            "--to",
            "2026-01-02T00:00:00Z",
        ]),
    );
    log.step("one, as JSON", &shell.run(&["events", "--limit", "1", "--output", "json"]));
    log.step("no moment", &shell.run(&["events", "--from", "yesterday"]));
    log.check();

    let follow = |args: &[&str]| {
        let child = crate::support::binary::command()
            .args(["events", "--follow"])
            .args(args)
            .env("PANELSYNC_SERVER", format!("http://{}", server.address()))
            .env("PANELSYNC_TOKEN", server.token())
            .env("HOME", shell.home.path())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut child = KilledAtEnd(child.expect("the binary starts"));
        let lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
        (child, lines.map(|line| line.expect("a text")))
    };
    // The one that is the newest by the clock did not come last.
    assert_eq!(device.tell(&json!([card(3, "1234567"), card(4, "1234567")])).status, 200);
    let (mut child, mut lines) = follow(&["--limit", "1"]);
    assert!(lines.next().expect("the last one").starts_with("2026-05-28 23:26:40+03:00  d1  granted"));
    assert_eq!(device.tell(&json!([card(7, "7654321")])).status, 200);
    let line = lines.next().expect("the next one");
    assert_eq!(
        line,
        "2026-01-01 14:00:00+02:00  d1  granted  access_granted_by_valid_identifier  card  …321  -"
    );
    // Whoever reads it leaves, and it ends.
    drop(lines);
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let mut told = 100;
    while child.0.try_wait().expect("its state").is_none() {
        assert!(std::time::Instant::now() < end, "it goes on though nobody reads it");
        told += 1;
        assert_eq!(device.tell(&json!([card(told, "1")])).status, 200);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
