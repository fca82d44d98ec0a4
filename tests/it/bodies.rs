//! What comes in over HTTP: bodies that ask for too much, forms, and where a login leads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::binary::{Served, Shell};
use crate::support::identifiers::face;
use crate::support::profiles::{link, list, once};
use crate::support::server::{ADMIN_MD5, ADMIN_PASSWORD, TestServer};

const JSON: (&str, &str) = ("content-type", "application/json");

fn batch(server: &TestServer, body: &str) -> Answer {
    server.fleet("POST", "/batches").header(JSON.0, JSON.1).raw(body).send()
}

/// So much of a body between a beginning and an end.
fn filled(begin: &str, piece: &str, end: &str, bytes: usize) -> String {
    let n = (bytes - begin.len() - end.len()) / piece.len();
    format!("{begin}{}{end}", &piece.repeat(n)[..n * piece.len() - 1])
}

#[test]
fn no_body_takes_much_more_memory_than_it_is_long() {
    const LIMIT: usize = 16 * 1024 * 1024;
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), Some(ADMIN_PASSWORD), &["--max-items", "20000"]);
    let call = |method: &str, path: &str| Call::new(served.address, method, path);
    let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let session = call("POST", "/fleet/v1/session").json(&login).send().value();
    let token = session["token"].as_str().expect("a token").to_owned();
    let panel = json!({ "id": "p1" });
    assert_eq!(call("POST", "/fleet/v1/panels").bearer(&token).json(&panel).send().status, 201);
    let path = format!("/panels/p1/api/v1/login?username=admin&password={ADMIN_MD5}");
    let of_panel = call("GET", &path).send().value()["token"].as_str().expect("a token").to_owned();
    let before = served.peak_memory();
    let (batches, link_call) = ("/fleet/v1/batches", "/panels/p1/api/v1/access/timeprofile/items/link");
    for (status, token, path, begin, piece, end) in [
        (413, &token, batches, r#"{"all":true,"upsert":["#, "{},", "]}"),
        (413, &token, batches, r#"{"all":true,"delete":["#, "0,", "]}"),
        (413, &token, batches, r#"{"delete":[],"panels":["#, r#""","#, "]}"),
        (422, &token, batches, r#"{"all":true,"upsert":[{"x":["#, "0,", "]}]}"),
        (422, &token, batches, "{", r#""abcdefghijklmnopqrstuvwxyz":[],"#, "}"),
        (422, &token, "/fleet/v1/windows", r#"{"profile":{"x":["#, "[],", "]}}"),
        (422, &token, "/fleet/v1/panels", r#"{"id":"p2","labels":{"#, r#""a":"","#, "}}"),
        (413, &of_panel, link_call, r#"{"list_items":["#, "{},", "]}"),
        (400, &of_panel, link_call, r#"{"list_items":[{"x":["#, "{},", "]}]}"),
    ] {
        let body = filled(begin, piece, end, LIMIT);
        let answer = call("POST", path).bearer(token).header(JSON.0, JSON.1).raw(body).send();
        assert_eq!(answer.status, status, "{path} {begin} {}", answer.body);
        assert!(answer.body.len() < 50_000, "{path} {begin}: {} bytes", answer.body.len());
    }
    let lines = "{}\n".repeat(LIMIT / 3);
    let import = call("POST", "/fleet/v1/panels:import").bearer(&token).ndjson(&lines).send();
    assert_eq!(import.status, 413, "{}", import.body);
    let grown = served.peak_memory() - before;
    assert!(grown < 200 * 1024 * 1024, "{} MiB more", grown / 1024 / 1024);
    // Many at once wait for each other.
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let body = filled(r#"{"all":true,"upsert":["#, "{},", "]}", LIMIT);
                let answer = call("POST", batches).bearer(&token).header(JSON.0, JSON.1).raw(body).send();
                assert_eq!(answer.status, 413);
            });
        }
    });
    let grown = served.peak_memory() - before;
    assert!(grown < 320 * 1024 * 1024, "{} MiB more", grown / 1024 / 1024);
}

#[test]
fn many_photos_at_once_are_held_a_few_at_a_time() {
    const MIB: usize = 1 << 20;
    const UPLOADS: usize = 120;
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), Some(ADMIN_PASSWORD), &[]);
    let call = |method: &str, path: &str| Call::new(served.address, method, path);
    let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let session = call("POST", "/fleet/v1/session").json(&login).send().value();
    let token = session["token"].as_str().expect("a token").to_owned();
    assert_eq!(
        call("POST", "/fleet/v1/panels").bearer(&token).json(&json!({ "id": "p1" })).send().status,
        201
    );
    let path = format!("/panels/p1/api/v1/login?username=admin&password={ADMIN_MD5}");
    let of_panel = call("GET", &path).send().value()["token"].as_str().expect("a token").to_owned();
    let faces = json!({ "list_items": [face(101, "Olena", &[])] });
    let link = "/panels/p1/api/v1/access/identifier/items/link";
    assert_eq!(call("POST", link).bearer(&of_panel).json(&faces).send().status, 200);
    let mut photo = b"\xff\xd8\xff\xe0".to_vec();
    photo.resize(MIB, b'.');
    let part = "--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n";
    let end = "\r\n--frontier--\r\n";
    let head = format!(
        "POST /panels/p1/api/v1/access/identifier/item/face/file/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {of_panel}\r\nContent-Type: multipart/form-data; boundary=frontier\r\nContent-Length: {}\r\n\r\n{part}",
        part.len() + MIB + end.len()
    );
    let before = served.peak_memory();
    // All lack their ends until all are there.
    let all_there = Barrier::new(UPLOADS);
    std::thread::scope(|scope| {
        for _ in 0..UPLOADS {
            scope.spawn(|| {
                let mut line = TcpStream::connect(served.address).expect("a connection");
                line.write_all(head.as_bytes()).expect("sent");
                line.write_all(&photo).expect("sent");
                all_there.wait();
                line.write_all(end.as_bytes()).expect("sent");
                let mut answer = String::new();
                line.read_to_string(&mut answer).expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            });
        }
    });
    let grown = served.peak_memory() - before;
    // A connection that is not read on costs some, too; all of them with their photos would be well over 200 MiB.
    assert!(grown < 150 * MIB as u64, "{} MiB more", grown / MIB as u64);
}

#[test]
fn a_large_body_of_good_profiles_is_taken_by_both_apis() {
    let server = TestServer::start();
    server.add_panels(1);
    let profiles: Vec<_> = (1..=1500).map(|n| once(n, "x")).collect();
    let body = json!({ "all": true, "upsert": profiles });
    assert!(body.to_string().len() > 256 * 1024);
    let answer = server.fleet("POST", "/batches").json(&body).send();
    assert_eq!((answer.status, &answer.value()["items"]["created"]), (200, &json!(1500)));
    let token = server.panel_login("p001");
    let path = "/panels/p001/api/v1/access/timeprofile/items/link";
    let answer = server.call("POST", path).bearer(&token).json(&list(&profiles)).send();
    let value = answer.value();
    let results = value["result"].as_array().expect("a list");
    assert_eq!((answer.status, results.len()), (200, 1500));
    assert!(results.iter().all(|result| result["extended_info"] == "updated"), "{}", results[0]);
}

#[test]
fn of_a_thousand_wrong_places_a_hundred_are_named_and_all_are_counted() {
    let server = TestServer::start();
    server.add_panels(1);
    let answer = batch(&server, &format!(r#"{{"all":true,"upsert":[{}{{}}]}}"#, "{},".repeat(999)));
    assert_eq!(answer.status, 422);
    let value = answer.value();
    assert_eq!(value["errors"].as_array().expect("a list").len(), 100);
    assert_eq!(value["detail"], "4000 places are wrong; the first 100 are listed");
    assert_eq!(value["errors"][0]["path"], "/upsert/0/link_id");
}

#[test]
fn more_items_than_the_setting_allows_are_refused_and_the_setting_is_named() {
    let server = TestServer::start_with(|settings| settings.max_items = 3);
    server.add_panels(2);
    let profiles: Vec<_> = (1..=4).map(|n| once(n, "x")).collect();
    let ids: Vec<_> = (1..=4).map(link).collect();
    let fit = json!({ "all": true, "upsert": profiles[..2], "delete": [link(9)] });
    assert_eq!(server.fleet("POST", "/batches").json(&fit).send().status, 200);
    let said = |answer: &Answer| {
        assert_eq!(answer.status, 413, "{answer}");
        assert!(
            answer.body.contains("more than 3 items") || answer.body.contains("More than 3 items"),
            "{answer}"
        );
        assert!(answer.body.contains("--max-items"), "{answer}");
    };
    said(&server.fleet("POST", "/batches").json(&json!({ "all": true, "upsert": profiles })).send());
    said(&server.fleet("POST", "/batches").json(&json!({ "all": true, "delete": ids })).send());
    let mixed = json!({ "all": true, "upsert": profiles[..2], "delete": ids[2..] });
    said(&server.fleet("POST", "/batches").json(&mixed).send());
    let (items, link_ids) = (list(&profiles), json!({ "link_ids": ids }));
    for base in ["/panels/p001/api", "/fleet/v1/as-panel/site=north/api"] {
        let token =
            if base.starts_with("/panels") { server.panel_login("p001") } else { server.token().into() };
        let call = |method: &str, path: &str| server.call(method, &format!("{base}{path}")).bearer(&token);
        said(&call("POST", "/v1/access/timeprofile/items/link").json(&items).send());
        said(&call("DELETE", "/v1/access/timeprofile/items/link").json(&link_ids).send());
    }
    let token = server.panel_login("p001");
    let uids = json!({ "uid_items": [1, 2, 3, 4] });
    said(
        &server
            .call("DELETE", "/panels/p001/api/v1/access/timeprofile/items")
            .bearer(&token)
            .json(&uids)
            .send(),
    );
    said(&server.fleet("POST", "/panels:import").ndjson("{\"id\":\"a\"}\n{\"id\":\"b\"}\n{}\n{}\n").send());
}

#[test]
fn what_a_request_says_is_told_back_in_part_only() {
    let server = TestServer::start();
    server.add_panels(1);
    let long = "x".repeat(2_000_000);
    for body in [
        json!({ (long.clone()): 1 }),
        json!({ "panels": [long], "delete": [link(1)] }),
        json!({ "selector": long, "delete": [link(1)] }),
        json!({ "all": true, "upsert": [{ "name": long, "link_id": long }] }),
    ] {
        let answer = server.fleet("POST", "/batches").json(&body).send();
        assert_eq!(answer.status, 422);
        assert!(answer.body.len() < 5000, "{} bytes", answer.body.len());
    }
    for body in [json!({ "id": long }), json!({ "id": "a", "capacity": long }), json!({ (long.clone()): 1 })]
    {
        let answer = server.fleet("POST", "/panels").json(&body).send();
        assert_eq!(answer.status, 422);
        assert!(answer.body.len() < 5000, "{} bytes", answer.body.len());
    }
    for body in ["[".repeat(1_000_000), format!("{{\"all\":{}}}", "9".repeat(1_000_000))] {
        let answer = batch(&server, &body);
        assert!([400, 422].contains(&answer.status), "{}", answer.status);
        assert!(answer.body.len() < 5000, "{} bytes", answer.body.len());
    }
}

#[test]
fn a_key_that_is_given_twice_is_named_and_nothing_is_lost_without_a_word() {
    let server = TestServer::start();
    server.add_panels(1);
    let profile = once(1, "one").to_string();
    let twice = profile.replacen("\"name\":", "\"name\":\"two\",\"name\":", 1);
    let inner = profile.replacen("\"date_to\":", "\"date_to\":1,\"date_to\":", 1);
    for (body, path) in [
        (format!(r#"{{"all":true,"upsert":[{profile},{twice}]}}"#), "/upsert/1/name"),
        (format!(r#"{{"all":true,"upsert":[{inner}]}}"#), "/upsert/0/time_options/date_to"),
        (format!(r#"{{"all":true,"upsert":[{profile}],"upsert":[{profile}]}}"#), "/upsert"),
        (format!(r#"{{"all":true,"dry_run":false,"dry_run":true,"upsert":[{profile}]}}"#), "/dry_run"),
    ] {
        let answer = batch(&server, &body);
        assert_eq!(answer.status, 422, "{answer}");
        let error = &answer.value()["errors"][0];
        assert_eq!(
            (&error["path"], &error["message"]),
            (&json!(path), &json!("it is given twice; keep one of them"))
        );
    }
    let window = format!(r#"{{"profile":{twice},"from":0,"to":1,"zone":"UTC","zone":"UTC"}}"#);
    let answer = server.fleet("POST", "/windows").header(JSON.0, JSON.1).raw(window).send();
    let paths: Vec<_> = answer.value()["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| error["path"].clone())
        .collect();
    assert_eq!(paths, ["/zone", "/profile/name"]);
    let panel = r#"{"id":"a","labels":{"site":"north","site":"south"}}"#;
    let answer = server.fleet("POST", "/panels").header(JSON.0, JSON.1).raw(panel).send();
    assert_eq!(answer.value()["errors"][0]["path"], "/labels/site", "{answer}");
    let answer = server.fleet("POST", "/panels:import").ndjson(panel).send();
    assert_eq!(answer.value()["errors"][0]["path"], "/0/labels/site", "{answer}");
    let changed =
        server.fleet("PATCH", "/panels/p001").header(JSON.0, JSON.1).raw(r#"{"zone":"UTC","zone":"UTC"}"#);
    assert_eq!(changed.send().value()["errors"][0]["path"], "/zone");
    let shell = Shell::new(server.address(), Some(server.token()));
    let yaml = format!("- link_id: {}\n  name: one\n  name: two\n", link(1));
    for (file, content) in [("twice.json", format!("[{twice}]")), ("twice.yaml", yaml)] {
        shell.file(file, &content);
        let ran = shell.run(&["profile", "check", "--file", file]);
        assert_ne!(ran.exit, Some(0), "{ran}");
        assert!(ran.to_string().contains("name is given twice") || file.ends_with("yaml"), "{ran}");
        assert!(ran.to_string().contains("name"), "{ran}");
    }
    // A panel of the vendor lets the last one count.
    let token = server.panel_login("p001");
    let body = format!(r#"{{"list_items":[],"list_items":[{twice}]}}"#);
    let path = "/panels/p001/api/v1/access/timeprofile/items/link";
    let answer = server.call("POST", path).bearer(&token).header(JSON.0, JSON.1).raw(body).send();
    assert_eq!(answer.value()["result"][0]["extended_info"], "created", "{answer}");
}

#[test]
fn a_compressed_body_is_refused_with_what_is_accepted() {
    let server = TestServer::start();
    server.add_panels(1);
    let body = json!({ "all": true, "upsert": [once(1, "x")] });
    for encoding in ["gzip", "br", "identity, gzip", "x-new"] {
        let answer = server.fleet("POST", "/batches").header("content-encoding", encoding).json(&body).send();
        assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("identity")), "{answer}");
        assert!(answer.body.contains("identity"), "{answer}");
    }
    let plain = server.fleet("POST", "/batches").header("content-encoding", "identity").json(&body).send();
    assert_eq!(plain.status, 200, "{plain}");
    let token = server.panel_login("p001");
    let path = "/panels/p001/api/v1/access/timeprofile/items/link";
    let call = server.call("POST", path).bearer(&token).header("content-encoding", "gzip");
    let answer = call.json(&list(&[once(1, "x")])).send();
    assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("identity")), "{answer}");
}

/// A session of the page: its cookie.
fn cookie(server: &TestServer, user: &str, password: &str) -> String {
    let form = format!("username={user}&password={password}");
    let call = server.call("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
    let answer = call.raw(form).send();
    assert_eq!(answer.status, 303, "{answer}");
    answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned()
}

#[test]
fn a_form_is_not_read_of_whom_it_is_not_taken_and_no_form_is_large() {
    let server = TestServer::start();
    server.add_panels(1);
    server.add_user("vera", "viewer");
    // The head only: whoever may not is told so before the body comes.
    let head = |path: &str, cookie: &str| {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n",
            server.address()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer before the body");
        line
    };
    let vera = cookie(&server, "vera", "vera-password");
    for path in [
        "/push",
        "/push/send",
        "/add",
        "/panel/p001/edit",
        "/panel/p001/remove",
        "/panel/p001/reconcile",
        "/profiles/check",
        "/identifiers/check",
        "/identifiers/send",
    ] {
        assert!(head(path, &vera).starts_with("HTTP/1.1 403"), "{path}");
        assert!(head(path, "none").starts_with("HTTP/1.1 303"), "{path}");
    }
    let admin = cookie(&server, "admin", ADMIN_PASSWORD);
    let form = |body: String| {
        let call = server.call("POST", "/push").header("cookie", &admin);
        call.header("content-type", "application/x-www-form-urlencoded").raw(body).send()
    };
    let key = form(format!("form_token={}", "a".repeat(8_000_000)));
    assert_eq!(key.status, 413);
    assert!(key.body.contains("The form is larger than 1048576 bytes"), "{}", key.body);
    assert_eq!(form("a=&".repeat(300_000)).status, 400);
    assert_eq!(form(format!("form_token={}", "a".repeat(500_000))).status, 403);
}

#[test]
fn no_panel_or_user_is_named_by_dots_alone() {
    let server = TestServer::start();
    for id in [".", ".."] {
        let answer = server.fleet("POST", "/panels").json(&json!({ "id": id })).send();
        assert_eq!((answer.status, &answer.value()["errors"][0]["path"]), (422, &json!("/id")), "{answer}");
        let line = json!({ "id": id }).to_string();
        let answer = server.fleet("POST", "/panels:import").ndjson(&line).send();
        assert_eq!((answer.status, &answer.value()["errors"][0]["path"]), (422, &json!("/0/id")), "{answer}");
        let user = json!({ "name": id, "role": "viewer", "password": "long enough" });
        assert_eq!(server.fleet("POST", "/users").json(&user).send().status, 422);
    }
    assert_eq!(server.fleet("POST", "/panels").json(&json!({ "id": "..." })).send().status, 201);
}

#[test]
fn a_login_leads_nowhere_else_and_never_fails_for_where_it_leads() {
    let server = TestServer::start();
    let cookie = cookie(&server, "admin", ADMIN_PASSWORD);
    for (to, leads) in [
        ("/panel/p1%3Fweek%3D2", "/panel/p1?week=2"),
        ("/%09/host", "/"),
        ("%09//host", "/"),
        ("/%0a/host", "/"),
        ("/%00", "/"),
        ("/%1b", "/"),
        ("/%7f", "/"),
        ("/%C2%85", "/"),
        ("/%E2%80%AE", "/"),
        ("/%ff", "/"),
        ("/%5chost", "/"),
        ("//host", "/"),
        ("/%2509/host", "/"),
        ("/%252fhost", "/"),
        ("https://host/", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let answer = server.call("GET", &format!("/login?to={to}")).header("cookie", &cookie).send();
        assert_eq!((answer.status, answer.header("location")), (303, Some(leads)), "{to}: {answer}");
        let form = format!("username=admin&password={ADMIN_PASSWORD}&to={to}");
        let call = server.call("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
        let answer = call.raw(form).send();
        assert_eq!((answer.status, answer.header("location")), (303, Some(leads)), "{to}: {answer}");
        assert_eq!(server.call("GET", &format!("/login?to={to}")).send().status, 200, "{to}");
    }
}

/// A device that says what it is only when it is let, and which calls came to it.
struct SlowDevice {
    url: String,
    asked: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl SlowDevice {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (asks, asked) = mpsc::channel();
        let (go_on, may) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                if head.contains("/api/info") {
                    let _ = asks.send(());
                    if may.recv().is_err() {
                        return; // the test is over
                    }
                }
                let body = json!({
                    "api_version": "2.9.0", "device_model": "slow", "device_serial_number": "S-1", "firmware_version": "1",
                    "token": "t", "account_type": "admin", "list_items": [], "time_unix": 0, "timezone": "UTC",
                });
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()); // the other end may have left
            }
        });
        Self { url, asked, go_on }
    }
}

#[test]
fn a_change_that_waits_for_its_device_keeps_what_others_changed_meanwhile() {
    let device = SlowDevice::start();
    let server = TestServer::start_with(|settings| {
        settings.devices.check_every = Duration::from_hours(1);
        settings.devices.timeouts.request = Duration::from_mins(1);
    });
    let record = json!({ "id": "d1", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "x" });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    let moved = json!({ "url": device.url, "password": "y" });
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.fleet("PATCH", "/panels/d1").json(&moved).send());
        device.asked.recv_timeout(Duration::from_secs(30)).expect("the device is asked");
        let labels = json!({ "labels": { "site": "north" }, "zone": "Europe/Kyiv" });
        assert_eq!(server.fleet("PATCH", "/panels/d1").json(&labels).send().status, 200);
        for _ in 0..50 {
            let _ = device.go_on.send(()); // one for each time that it is asked, now and later
        }
        let answer = slow.join().expect("an answer");
        assert_eq!(answer.status, 200, "{answer}");
    });
    let panel = server.fleet("GET", "/panels/d1").send().value();
    assert_eq!(panel["url"], device.url);
    assert_eq!((&panel["labels"]["site"], &panel["zone"]), (&json!("north"), &json!("Europe/Kyiv")));
}

#[test]
fn many_changes_at_once_are_all_kept_or_told_that_they_are_not() {
    let server = TestServer::start_with(|settings| settings.workers = 4);
    server.add_panels(1);
    let fields = [
        json!({ "zone": "Europe/Kyiv" }),
        json!({ "capacity": 7 }),
        json!({ "labels": { "a": "b" } }),
        json!({ "api_version": "2.10.0" }),
    ];
    for _ in 0..10 {
        let reset = json!({ "zone": "UTC", "capacity": null, "labels": null, "api_version": "2.9.0" });
        assert_eq!(server.fleet("PATCH", "/panels/p001").json(&reset).send().status, 200);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let calls: Vec<_> = fields
                .iter()
                .map(|change| {
                    scope.spawn(|| server.fleet("PATCH", "/panels/p001").json(change).send().status)
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("an answer")).collect()
        });
        let panel = server.fleet("GET", "/panels/p001").send().value();
        for (change, status) in fields.iter().zip(statuses) {
            for (key, value) in change.as_object().expect("an object") {
                assert_eq!(panel[key] == *value, status == 200, "{key} {status} {panel}");
            }
        }
    }
}

#[test]
fn a_stored_password_goes_to_no_other_host_unless_it_is_given_again() {
    let server = TestServer::start();
    let pin = "ab".repeat(32);
    let record = json!({ "id": "d1", "driver": "http", "url": "https://127.0.0.1:9", "username": "admin", "password": "x", "tls_pin": pin });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    let change = |changes: &Value| server.fleet("PATCH", "/panels/d1?force=true").json(changes).send();
    for changes in [
        json!({ "url": "https://127.0.0.2:9" }),
        json!({ "url": "https://127.0.0.1:10" }),
        json!({ "url": "https://127.0.0.1" }),
        json!({ "url": "http://127.0.0.1:9", "tls_pin": null }),
        json!({ "tls_pin": null }),
        json!({ "tls_pin": "cd".repeat(32) }),
        json!({ "username": "root" }),
        json!({ "url": "https://127.0.0.2:9", "password": null }),
    ] {
        let answer = change(&changes);
        assert_eq!(answer.status, 422, "{answer}");
        assert_eq!(answer.value()["errors"][0]["path"], "/password", "{answer}");
        assert!(answer.body.contains("give the password again"), "{answer}");
    }
    let same = json!({ "url": "https://127.0.0.1:9/", "tls_pin": pin.to_uppercase(), "repair": "on", "username": "admin", "zone": "Europe/Kyiv" });
    assert_eq!(change(&same).status, 200);
    assert_eq!(
        change(&json!({ "url": "https://127.0.0.1:9/door" })).status,
        200,
        "another path on the same host"
    );
    let shell = Shell::new(server.address(), Some(server.token()));
    let moved = ["panel", "set", "d1", "--url", "https://127.0.0.2:9", "--force"];
    let ran = shell.run(&moved);
    assert_ne!(ran.exit, Some(0));
    assert!(ran.to_string().contains("add --password-stdin"), "{ran}");
    assert_eq!(shell.run_with(&[&moved[..], &["--password-stdin"]].concat(), "x\n").exit, Some(0));
    // What has no password yet has none to lose.
    let record = json!({ "id": "d2", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin" });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    let moved = server.fleet("PATCH", "/panels/d2?force=true").json(&json!({ "url": "http://127.0.0.2:9" }));
    assert_eq!(moved.send().status, 200);
}

#[test]
fn a_list_goes_on_behind_what_is_gone() {
    let server = TestServer::start();
    server.add_panels(4);
    let profiles: Vec<_> = (1..=4).map(|n| once(n, "x")).collect();
    assert_eq!(
        server.fleet("POST", "/batches").json(&json!({ "all": true, "upsert": profiles })).send().status,
        200
    );
    let token = server.panel_login("p001");
    for n in [7, 8] {
        let mut by_uid = once(n, "by uid");
        by_uid.as_object_mut().expect("an object").remove("link_id");
        let path = "/panels/p001/api/v1/access/timeprofile";
        assert!(server.call("POST", path).bearer(&token).json(&by_uid).send().status < 300);
    }
    // Each list in pages of two, and what is removed between them.
    let rest = |path: &str, key: &str, remove: &dyn Fn(&Value)| {
        let page = server.fleet("GET", &format!("{path}?limit=2")).send().value();
        remove(&page["items"][1]);
        let cursor = page["next_cursor"].as_str().expect("there are more").to_owned();
        let next = server.fleet("GET", &format!("{path}?cursor={cursor}")).send();
        let value = next.value();
        let items = value["items"].as_array().unwrap_or_else(|| panic!("{next}"));
        items.iter().map(|item| item[key].clone()).collect::<Vec<_>>()
    };
    let delete = |item: &Value| {
        let body = json!({ "all": true, "delete": [item["link_id"]] });
        assert_eq!(server.fleet("POST", "/batches").json(&body).send().status, 200);
    };
    assert_eq!(
        rest("/panels/p001/profiles", "link_id", &delete),
        [json!(link(3)), json!(link(4)), Value::Null, Value::Null]
    );
    assert_eq!(rest("/profiles", "link_id", &delete), [json!(link(4))]);
    let removed = |item: &Value| {
        let path = format!("/panels/{}", item["id"].as_str().expect("an id"));
        assert_eq!(server.fleet("DELETE", &path).send().status, 204);
    };
    assert_eq!(rest("/panels", "id", &removed), ["p003", "p004"]);
    for path in ["/panels", "/profiles", "/panels/p001/profiles", "/batches", "/audit"] {
        for cursor in
            ["-1", "%00", "x%20y", "99999999999999999999999999999999999999999999999999999999999999999999"]
        {
            let answer = server.fleet("GET", &format!("{path}?cursor={cursor}")).send();
            if path == "/panels" && cursor == "-1" {
                continue; // which can be an id
            }
            assert_eq!(answer.status, 400, "{path} {cursor} {answer}");
            assert!(answer.body.contains("cursor takes a next_cursor"), "{answer}");
        }
    }
}

#[test]
fn metrics_are_for_this_machine_and_for_those_with_a_token() {
    use panelsync::telemetry::MetricsAccess;
    for (access, direct, proxied) in
        [(MetricsAccess::Local, 200, 401), (MetricsAccess::Token, 401, 401), (MetricsAccess::Open, 200, 200)]
    {
        let server = TestServer::start_with(|settings| settings.metrics_access = access);
        let metrics = || server.call("GET", "/metrics");
        assert_eq!(metrics().send().status, direct, "{access:?}");
        assert_eq!(metrics().header("x-forwarded-for", "10.0.0.9").send().status, proxied, "{access:?}");
        assert_eq!(metrics().header("x-forwarded-for", "10.0.0.9").bearer(server.token()).send().status, 200);
    }
}

/// A profile whose name moves the cursor, turns the text around it, and ends a line.
const STEERING: &str = "A\u{1b}[2J\u{202e}B\nC\u{0}\u{9b}\u{2066}D";

#[test]
fn a_name_that_steers_is_refused_by_the_fleet_and_shown_written_out_where_a_panel_took_it() {
    let server = TestServer::start();
    server.add_panels(1);
    for c in ['\u{0}', '\u{1b}', '\n', '\u{7f}', '\u{85}', '\u{202e}', '\u{2067}', '\u{200f}', '\u{61c}'] {
        let body = json!({ "all": true, "upsert": [once(1, &format!("a{c}b"))] });
        let answer = server.fleet("POST", "/batches").json(&body).send();
        assert_eq!(
            (answer.status, &answer.value()["errors"][0]["path"]),
            (422, &json!("/upsert/0/name")),
            "{answer}"
        );
        assert!(answer.body.contains(&format!("U+{:04X}", u32::from(c))), "{answer}");
        let panel = json!({ "id": format!("a{c}"), "labels": { format!("k{c}"): format!("v{c}") } });
        assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 422);
        let user = json!({ "name": format!("u{c}"), "role": "viewer", "password": "long enough" });
        assert_eq!(server.fleet("POST", "/users").json(&user).send().status, 422);
        let device =
            json!({ "id": "d", "driver": "http", "url": "http://127.0.0.1:9", "username": format!("u{c}") });
        assert_eq!(server.fleet("POST", "/panels?force=true").json(&device).send().status, 422);
    }
    let token = server.panel_login("p001");
    let path = "/panels/p001/api/v1/access/timeprofile/items/link";
    let taken = server.call("POST", path).bearer(&token).json(&list(&[once(1, STEERING)])).send();
    assert_eq!(taken.value()["result"][0]["extended_info"], "created", "{taken}");
    let is_steering = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}".contains(c);
    let shown = r"A\u{1b}[2J\u{202e}B\u{a}C\u{0}\u{9b}\u{2066}D";
    let cookie = cookie(&server, "admin", ADMIN_PASSWORD);
    let of_profile = format!("/profiles/{}", link(1));
    let of_push = format!("/push?link_id={}", link(1));
    for path in ["/profiles", "/panel/p001", &of_profile, &of_push] {
        let page = server.call("GET", path).header("cookie", &cookie).send();
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains(&format!("<bdi>{shown}</bdi>")), "{path}: {}", page.body);
        // But for the field in which it is sent on as it is.
        let beside =
            page.body.split("<textarea").map(|part| part.rsplit("</textarea>").next().unwrap_or_default());
        assert!(!beside.collect::<String>().contains(is_steering), "{path}");
    }
    let shell = Shell::new(server.address(), Some(server.token()));
    for args in [&["panel", "show", "p001"][..], &["panel", "ls"]] {
        let ran = shell.run(args);
        assert!(args[1] == "ls" || ran.stdout.contains(r"A\u{1b}[2J\u{202e}B"), "{ran}");
        assert!(!ran.stdout.contains(is_steering), "{ran}");
    }
    let ran = shell.run(&["panel", "show", "p001", "--output", "json"]);
    assert!(!ran.stdout.contains(is_steering), "{ran}");
    let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(value["profiles"][0]["profile"]["name"], STEERING, "the same value");
    let ran = shell.run(&["panel", "show", "a\u{1b}[2Jb"]);
    assert!(ran.exit != Some(0) && !ran.stderr.contains(is_steering), "{ran}");
    let calendar = server.fleet("GET", "/panels/p001/profiles.ics").send();
    assert!(calendar.body.contains("SUMMARY:A[2JB\\nCD\r\n"), "{calendar}");
}

/// The next event of a stream with its id and its data.
fn event(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> (Option<u64>, String, Value) {
    let (mut id, mut kind) = (None, String::new());
    loop {
        let line = lines.next().expect("the stream goes on").expect("a text");
        if let Some(number) = line.strip_prefix("id: ") {
            id = number.parse().ok();
        } else if let Some(word) = line.strip_prefix("event: ") {
            word.clone_into(&mut kind);
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (id, kind, serde_json::from_str(data).expect("JSON"));
        }
    }
}

fn listen(server: &TestServer, last: Option<u64>) -> impl Iterator<Item = std::io::Result<String>> + use<> {
    let mut call = server.fleet("GET", "/events");
    if let Some(last) = last {
        call = call.header("last-event-id", &last.to_string());
    }
    let response = call.open();
    assert_eq!(response.status(), 200);
    BufReader::new(response.into_body().into_reader()).lines()
}

fn push(server: &TestServer, n: u32) {
    let body = json!({ "all": true, "upsert": [once(1, &format!("round {n}"))] });
    assert_eq!(server.fleet("POST", "/batches").json(&body).send().status, 200);
}

#[test]
fn an_id_from_the_future_is_told_as_lagged_and_the_stream_goes_on_from_now() {
    let server = TestServer::start();
    server.add_panels(1);
    for last in [u64::MAX, 9_999_999_999_999_999] {
        let mut lines = listen(&server, Some(last));
        let (id, kind, data) = event(&mut lines);
        assert_eq!((id, kind.as_str(), &data["missed"]), (None, "lagged", &Value::Null));
        push(&server, 1);
        assert_eq!(event(&mut lines).1, "panel");
    }
}

#[test]
fn ids_of_events_ascend_over_starts_whatever_the_clock_says() {
    let mut server = TestServer::start();
    server.add_panels(1);
    let first = |server: &TestServer, n| {
        let mut lines = listen(server, None);
        push(server, n);
        event(&mut lines).0.expect("an id")
    };
    let ids: Vec<_> = (1..4)
        .map(|n| {
            server.restart();
            first(&server, n)
        })
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    // A start at which the clock was a hundred years ahead.
    let folder = server.stop_and_keep();
    let metrics = panelsync::telemetry::Metrics::default();
    let store = panelsync::store::Store::open(folder.path(), &metrics).expect("the folder opens");
    let (done, ahead) = mpsc::channel();
    store.handle().submit_change(
        |tables| tables.first_of_start(4_000_000_000_000),
        move |first| {
            done.send(first.expect("committed")).expect("the test waits");
        },
    );
    let ahead = ahead.recv().expect("told");
    store.close();
    let server = TestServer::start_on(folder, |_| {});
    let id = first(&server, 9);
    assert!(id > ahead, "{id} {ahead}");
    assert_eq!(id.to_string().len(), 16);
}

#[test]
fn every_listener_hears_all_and_there_are_so_many_with_one_token() {
    let server = TestServer::start_with(|settings| settings.listeners_per_token = 20);
    server.add_panels(300);
    let mut all: Vec<_> = (0..20).map(|_| listen(&server, None)).collect();
    let refused = server.fleet("GET", "/events").send();
    assert_eq!(refused.status, 429, "{refused}");
    assert!(refused.body.contains("20 listeners"), "{refused}");
    server.add_user("vera", "viewer");
    let vera = server.login("vera", "vera-password");
    assert_eq!(server.call("GET", "/fleet/v1/events").bearer(&vera).open().status(), 200);
    push(&server, 1);
    for lines in &mut all {
        let (mut panels, mut last) = (Vec::new(), 0);
        loop {
            let (id, kind, data) = event(lines);
            assert!(id.is_none_or(|id| id > last), "they ascend");
            last = id.unwrap_or(last);
            match kind.as_str() {
                "panel" => panels.push(data["panel"].as_str().expect("an id").to_owned()),
                "done" => break,
                _ => {}
            }
        }
        panels.sort();
        panels.dedup();
        assert_eq!(panels.len(), 300);
    }
    all.truncate(1);
    push(&server, 2); // by which it is noticed that they have left
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while server.fleet("GET", "/events").open().status() != 200 {
        assert!(std::time::Instant::now() < end, "the places of those who left are free again");
        push(&server, 3);
    }
}

#[test]
fn a_full_disk_is_the_same_answer_to_everybody() {
    use actix_web::ResponseError;
    use panelsync::http::panel_api::error::PanelError;
    use panelsync::http::problem::Problem;
    use panelsync::store::StoreError;
    let full = || {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        StoreError::Database(std::sync::Arc::new(redb::Error::Io(error)))
    };
    let words = Problem::from(full()).to_string();
    for error in [full(), StoreError::NoRoom] {
        assert!(error.no_room());
        let (problem, panel) = (Problem::from(error.clone()), PanelError::from(error));
        assert_eq!((problem.status_code().as_u16(), panel.status_code().as_u16()), (507, 507));
        assert_eq!((problem.to_string(), panel.to_string()), (words.clone(), words.clone()));
    }
}

#[test]
fn states_are_counted_as_they_are_also_after_a_panel_is_removed() {
    let devices = crate::support::simulated::Simulated::start(2, &[]);
    let server = TestServer::start_with(|settings| settings.devices.check_every = Duration::from_hours(1));
    for (id, url) in [("d1", devices.url(1)), ("d2", devices.url(2))] {
        let record =
            json!({ "id": id, "driver": "http", "url": url, "username": "admin", "password": "123456" });
        assert_eq!(server.fleet("POST", "/panels").json(&record).send().status, 201);
    }
    let away = json!({ "id": "away", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "x" });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&away).send().status, 201);
    let body = json!({ "panels": ["d1", "d2"], "upsert": [once(1, "a"), once(2, "b")] });
    assert_eq!(server.fleet("POST", "/batches").json(&body).send().status, 200);
    let body = json!({ "all": true, "upsert": [once(3, "c")] });
    let async_ = server.fleet("POST", "/batches").header("prefer", "respond-async").json(&body).send();
    assert_eq!(async_.status, 202, "{async_}");
    let number = |name: &str| {
        let text = server.call("GET", "/metrics").send().body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().parse::<u64>().expect("a number")
    };
    let pending =
        |id: &str| server.fleet("GET", &format!("/panels/{id}")).send().value()["state"]["pending"].clone();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while ["away", "d1", "d2"].map(&pending) != [json!(1), json!(0), json!(0)] {
        assert!(std::time::Instant::now() < end, "the one that nobody answers for");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(number("panelsync_profiles_pending"), 1);
    for id in ["away", "d2"] {
        assert_eq!(server.fleet("DELETE", &format!("/panels/{id}")).send().status, 204);
    }
    assert_eq!(number("panelsync_profiles_pending"), 0);
    let state = server.stop_and_render(); // which checks the counts
    assert!(
        state.contains("counts\n  0 ReportedCounts { held: 3, pending: 0, refused: 0, drifted: 0 }\n"),
        "{state}"
    );
}
