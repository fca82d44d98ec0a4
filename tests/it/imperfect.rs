//! Devices that are not perfect: what their answers mean, and when they are asked again. The devices are small ones
//! written here, apart from the program's own panels.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::binary::Shell;
use crate::support::profiles::{link, once, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

/// What a device is asked.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    query: BTreeMap<String, String>,
    pub(crate) body: Value,
    pub(crate) token: Option<String>,
}

impl Asked {
    pub(crate) fn number(&self, name: &str, without: u64) -> u64 {
        self.query.get(name).and_then(|text| text.parse().ok()).unwrap_or(without)
    }
}

/// A device that answers as a function says. It ends with the test.
pub(crate) struct Hand {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Hand {
    pub(crate) fn new(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (answer, calls) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take(5000) {
                let (answer, calls) = (Arc::clone(&answer), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream, &*answer, &calls));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many calls begin so.
    pub(crate) fn calls(&self, of: &str) -> usize {
        self.calls.lock().expect("whole").iter().filter(|call| call.starts_with(of)).count()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Asked) -> (u16, Value), calls: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
        let (mut length, mut token) = (0, None);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = header.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().expect("a length"),
                "authorization" => token = value.trim().strip_prefix("Bearer ").map(str::to_owned),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let asked = Asked {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            token,
        };
        calls.lock().expect("whole").push(format!("{method} {path}"));
        let (status, body) = answer(&asked);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

/// A panel that is as it should be, to be made otherwise.
#[derive(Default)]
pub struct Good {
    pub held: Mutex<BTreeMap<String, Value>>,
}

impl Good {
    pub fn answer(&self, asked: &Asked) -> (u16, Value) {
        let mut held = self.held.lock().expect("whole");
        let result =
            |link: &Value, word: &str| json!({ "link_id": link, "success": true, "extended_info": word });
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/api/info") => {
                (200, json!({ "api_version": "2.9.0", "device_serial_number": "", "device_model": "X" }))
            }
            ("GET", "/api/v1/login") => (200, json!({ "token": "t", "account_type": "admin" })),
            ("POST", "/api/v1/logout") => (200, Value::Null),
            _ if asked.token.as_deref() != Some("t") => (401, json!({ "error": "Log In" })),
            ("GET", "/api/v1/device/time") => {
                (200, json!({ "time_unix": panelsync::clock::now_ms() / 1000, "timezone": "UTC+00:00" }))
            }
            ("POST", "/api/v1/access/timeprofile/items/link") => {
                let items = asked.body["list_items"].as_array().cloned().unwrap_or_default();
                let results: Vec<_> = items
                    .into_iter()
                    .map(|item| {
                        let link = item["link_id"].clone();
                        let before = held.insert(link.as_str().expect("a text").to_owned(), item);
                        result(&link, if before.is_some() { "updated" } else { "created" })
                    })
                    .collect();
                (200, json!({ "result": results }))
            }
            ("POST", "/api/v1/access/timeprofile/link/delete") => {
                let links = asked.body["link_ids"].as_array().cloned().unwrap_or_default();
                let results: Vec<_> = links
                    .iter()
                    .map(|link| {
                        held.remove(link.as_str().expect("a text"));
                        result(link, "deleted")
                    })
                    .collect();
                (200, json!({ "result": results }))
            }
            ("GET", "/api/v1/access/timeprofile/items" | "/api/v1/access/timeprofile/items/link") => {
                let (limit, page) = (asked.number("limit", 10), asked.number("page_number", 1));
                let from = ((page - 1) * limit) as usize;
                let items: Vec<_> = held.values().skip(from).take(limit as usize).collect();
                let total = held.len() as u64;
                let pagination = json!({
                    "total_items": total, "items_limit": limit, "total_pages": total.div_ceil(limit), "current_page": page,
                });
                (200, json!({ "list_items": items, "list_option": { "pagination": pagination } }))
            }
            _ => (404, json!({ "error": "Not found" })),
        }
    }
}

pub(crate) fn impatient(settings: &mut Settings) {
    settings.devices.timeouts.connect = Duration::from_millis(500);
    settings.devices.check_every = Duration::from_millis(300);
}

/// Waits until it holds, for a minute at most.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn remote(id: &str, url: &str) -> Value {
    json!({ "id": id, "driver": "http", "url": url, "username": "admin", "password": "123456" })
}

pub(crate) fn add(server: &TestServer, id: &str, url: &str) {
    let added = server.fleet("POST", "/panels").json(&remote(id, url)).send();
    assert_eq!(added.status, 201, "{added}");
}

pub(crate) fn apply(server: &TestServer, wait: u32, batch: &Value) -> Answer {
    server.fleet("POST", "/batches").header("prefer", &format!("wait={wait}")).json(batch).send()
}

fn batch(server: &TestServer, answer: &Answer) -> Value {
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    server.fleet("GET", &format!("/batches/{id}")).send().value()
}

/// A server that reads this device again and again, as d1, and puts right what it finds.
fn repairing(device: &Hand) -> TestServer {
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.devices.read_every = Duration::from_millis(200);
    });
    add(&server, "d1", &device.url());
    assert_eq!(server.fleet("PATCH", "/panels/d1").json(&json!({ "repair": "on" })).send().status, 200);
    server
}

pub(crate) fn state(server: &TestServer, panel: &str) -> Value {
    server.fleet("GET", &format!("/panels/{panel}")).send().value()["state"].clone()
}

pub(crate) fn diff(server: &TestServer, panel: &str) -> Value {
    server.fleet("GET", &format!("/diff?selector=id={panel}")).send().value()["items"][0].clone()
}

#[test]
fn what_a_device_refuses_for_a_moment_is_waited_out_and_the_batch_goes_on() {
    let refusals = [
        ("POST /api/v1/access/timeprofile/items/link", 404),
        ("POST /api/v1/access/timeprofile/items/link", 403),
        ("POST /api/v1/access/timeprofile/items/link", 401),
        ("GET /api/v1/login", 401),
        ("GET /api/info", 404),
    ];
    std::thread::scope(|scope| {
        for (call, status) in refusals {
            scope.spawn(move || refuses_for_a_moment(call, status));
        }
    });
}

fn refuses_for_a_moment(call: &'static str, status: u16) {
    let (good, refusing) = (Good::default(), Arc::new(AtomicUsize::new(0)));
    let left = Arc::clone(&refusing);
    let device = Hand::new(move |asked| {
        let this = format!("{} {}", asked.method, asked.path) == call;
        if this && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return (status, json!({ "error": "starting" }));
        }
        good.answer(asked)
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    refusing.store(3, Ordering::SeqCst);
    let answer = apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "a")] }));
    until("the batch ends", || batch(&server, &answer)["state"] == "done");
    let done = batch(&server, &answer);
    assert_eq!(done["panels"]["applied"], 1, "{call} {status}: {done}");
    assert_eq!(refusing.load(Ordering::SeqCst), 0, "it was refused before");
}

#[test]
fn an_account_that_may_log_in_and_nothing_else_is_said_and_no_loop_of_logins() {
    let good = Good::default();
    let device = Hand::new(move |asked| match asked.path.as_str() {
        "/api/info" | "/api/v1/login" => good.answer(asked),
        _ => (401, json!({ "error": "Log In" })),
    });
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.devices.person_after = Duration::from_millis(10);
    });
    let mut panel = remote("d1", &device.url());
    panel["api"] = json!("camdroid");
    assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 201);
    let answer = apply(&server, 30, &json!({ "all": true, "upsert": [once(1, "a")] }));
    assert_eq!(answer.value()["panels"]["failed"], 1, "{answer}");
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    let panels = server.fleet("GET", &format!("/batches/{id}/panels")).send();
    assert!(panels.body.contains("--username NAME --password-stdin"), "{panels}");
    let logins = device.calls("GET /api/v1/login");
    let refused = device.calls("POST /api/v1/access") + device.calls("GET /api/v1/access");
    assert!(logins <= refused + 1, "{logins} logins for {refused} calls; one of them when it was added");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(device.calls("GET /api/v1/login"), logins, "it is left alone for a while");
    // A viewer who looks again and again does not make it log in again and again.
    server.add_user("eve", "viewer");
    let token = server.login("eve", "eve-password");
    for _ in 0..10 {
        let looked = server.call("GET", "/fleet/v1/diff").bearer(&token).send().value();
        assert_eq!(looked["items"][0]["state"], "unreadable", "{looked}");
    }
    assert!(device.calls("GET /api/v1/login") <= logins + 2);
}

#[test]
fn a_list_without_end_is_unreadable_and_read_no_further_than_a_bound() {
    // Pages of more than a megabyte, each with new profiles; and very many small ones.
    for (per_page, padding, why) in [(4, 300_000, "bytes"), (2000, 10, "profiles")] {
        let good = Good::default();
        let device = Hand::new(move |asked| {
            if asked.path != "/api/v1/access/timeprofile/items" {
                return good.answer(asked);
            }
            let page = asked.number("page_number", 1);
            let items: Vec<_> = (0..per_page)
                .map(|n| json!({ "link_id": link((page * per_page + n) as u32), "name": "x", "more": "y".repeat(padding) }))
                .collect();
            let pagination = json!({ "total_items": 1_000_000_000_u64, "items_limit": per_page });
            (200, json!({ "list_items": items, "list_option": { "pagination": pagination } }))
        });
        let server = TestServer::start_with(|settings| {
            impatient(settings);
            settings.devices.read_limits.bytes = 5_000_000;
        });
        add(&server, "d1", &device.url());
        let found = diff(&server, "d1");
        assert_eq!(found["state"], "unreadable", "{found}");
        assert!(found["error"].as_str().expect("a text").contains(why), "{found}");
        let pages = device.calls("GET /api/v1/access/timeprofile/items");
        assert!(pages <= 16, "{pages} pages");
    }
}

#[test]
fn a_diff_and_a_reconcile_wait_no_longer_than_they_are_asked_to() {
    let mut devices = Simulated::start(2, &[]);
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.devices.timeouts.request = Duration::from_mins(10); // longer than this test waits
    });
    add(&server, "d1", &devices.url(1));
    add(&server, "d2", &devices.url(2));
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    devices.by_hand(1, "DELETE", "/access/timeprofile/item/1", None);
    devices.faults(Some(1), &json!({ "latency": "60s" }));
    let states = |found: &Value| -> Vec<_> {
        found.as_array().expect("a list").iter().map(|panel| panel["state"].clone()).collect()
    };
    for by in ["wait", "prefer"] {
        let call = match by {
            "wait" => server.fleet("GET", "/diff?wait=1"),
            _ => server.fleet("GET", "/diff").header("prefer", "wait=1"),
        };
        assert_eq!(states(&call.send().value()["items"]), ["not read yet", "same"], "{by}");
    }
    let shell = Shell::new(server.address(), Some(server.token()));
    let shown = shell.run(&["diff", "--wait", "1s"]);
    assert_eq!(shown.exit, Some(1), "{shown}");
    assert!(shown.stdout.contains("not read yet") && shown.stdout.contains("--wait"), "{shown}");
    let wanted =
        server.fleet("POST", "/reconcile").header("prefer", "wait=1").json(&json!({ "all": true })).send();
    assert_eq!(states(&wanted.value()["panels"]), ["not read yet", "same"], "{wanted}");
    // What was asked for goes on, also after the device was off.
    devices.restart();
    until("it is put right", || devices.holds(1).len() == 2);
}

#[test]
fn a_server_that_stops_reads_a_slow_device_no_further() {
    let good = Good::default();
    let device = Hand::new(move |asked| {
        if asked.path != "/api/v1/access/timeprofile/items" {
            return good.answer(asked);
        }
        std::thread::sleep(Duration::from_millis(300));
        let items = [json!({ "link_id": link(asked.number("page_number", 1) as u32), "name": "x" })];
        (200, json!({ "list_items": items }))
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let pages = "GET /api/v1/access/timeprofile/items";
    let (address, token) = (server.address(), server.token().to_owned());
    let reading = std::thread::spawn(move || {
        // Answered when the server stops, or cut off.
        let url = format!("http://{address}/fleet/v1/diff");
        let _ = ureq::get(&url).header("authorization", format!("Bearer {token}")).call();
    });
    until("it is being read", || device.calls(pages) >= 2);
    let before = device.calls(pages);
    drop(server);
    let after = device.calls(pages) - before;
    assert!(after < 15, "{after} more pages");
    reading.join().expect("it ends");
}

#[test]
fn a_panel_that_is_removed_in_the_middle_of_a_call_and_added_again_ends_with_the_newer_value() {
    let good = Arc::new(Good::default());
    let device = {
        let good = Arc::clone(&good);
        Hand::new(move |asked| {
            if asked.body["list_items"][0]["name"] == "old" {
                std::thread::sleep(Duration::from_millis(1500)); // a slow one, that then does as it was told
            }
            good.answer(asked)
        })
    };
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "old")] }));
    let sent = "POST /api/v1/access/timeprofile/items/link";
    until("the old value is under way", || device.calls(sent) == 1);
    let begun = Instant::now();
    let removed = server.fleet("DELETE", "/panels/d1").send();
    assert_eq!(removed.status, 204, "{removed}");
    assert!(begun.elapsed() < Duration::from_millis(600), "who removes a panel does not wait for its device");
    add(&server, "d1", &device.url());
    let answer = apply(&server, 20, &json!({ "all": true, "upsert": [once(1, "new")] }));
    assert_eq!(answer.value()["panels"]["applied"], 1, "{answer}");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(good.held.lock().expect("whole")[&link(1)]["name"], "new");
}

#[test]
fn a_late_answer_confirms_no_text_that_the_device_was_not_sent() {
    let good = Arc::new(Good::default());
    let device = {
        let good = Arc::clone(&good);
        Hand::new(move |asked| {
            if asked.body["list_items"][0]["name"] == "old" {
                std::thread::sleep(Duration::from_millis(800));
            }
            good.answer(asked)
        })
    };
    let server = TestServer::start_with(impatient);
    server.add_panel("embedded", &json!({}));
    add(&server, "d1", &device.url());
    apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "old")] }));
    let sent = "POST /api/v1/access/timeprofile/items/link";
    until("the old value is under way", || device.calls(sent) == 1);
    // The embedded panel is left alone with the old text, and the next one takes its place, which both name then.
    apply(&server, 0, &json!({ "panels": ["d1"], "upsert": [once(1, "other")] }));
    apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "new")] }));
    until("the device holds the newest", || {
        good.held.lock().expect("whole").get(&link(1)).is_some_and(|held| held["name"] == "new")
    });
}

#[test]
fn a_device_emptied_by_hand_gets_everything_again_whoever_sees_it_first() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings| settings.devices.check_every = Duration::from_mins(10));
    add(&server, "d1", &devices.url(1));
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b"), once(3, "c")] }));
    // One of several deleted by hand is drift, which nobody asked to be put right.
    devices.by_hand(1, "DELETE", "/access/timeprofile/item/2", None);
    let found = diff(&server, "d1");
    assert_eq!(found["differences"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!((&state(&server, "d1")["drifted"], devices.holds(1).len()), (&json!(1), 2));
    // All of them: the device was reset, also where somebody has added another one since.
    devices.by_hand(1, "DELETE", "/access/timeprofile/items", Some(&json!({ "uid_items": [1, 3] })));
    devices.by_hand(1, "POST", "/access/timeprofile", Some(&once(1, "By hand")));
    let found = diff(&server, "d1");
    assert_eq!(found["state"], "differs", "{found}");
    until("it has everything", || {
        let held = devices.holds(1);
        (1..=3).all(|n| held.contains_key(&link(n)))
    });
    until("nothing waits", || state(&server, "d1")["pending"] == 0);
    assert_eq!(diff(&server, "d1")["state"], "same");
}

#[test]
fn of_an_item_that_is_left_out_of_an_answer_nothing_is_known_and_the_others_count() {
    let (good, left) = (Good::default(), AtomicUsize::new(3));
    let device = Hand::new(move |asked| {
        let (status, mut body) = good.answer(asked);
        if let Some(results) = body["result"].as_array_mut() {
            results.reverse();
            results
                .push(json!({ "link_id": link(99), "success": false, "extended_info": "never asked for" }));
            for result in &mut *results {
                result["link_id"] = json!(result["link_id"].as_str().expect("a text").to_uppercase());
            }
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                results.retain(|result| !result["link_id"].as_str().is_some_and(|l| l.ends_with("000002")));
            }
        }
        (status, body)
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let answer =
        apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b"), once(3, "c")] }));
    until("two of three are known", || batch(&server, &answer)["items"]["created"] == 2);
    until("and then all", || batch(&server, &answer)["state"] == "done");
    let done = batch(&server, &answer);
    assert_eq!((&done["panels"]["applied"], &done["items"]["rejected"]), (&json!(1), &json!(0)), "{done}");
}

#[test]
fn a_devices_own_words_in_an_answer_that_looks_well_are_shown() {
    let (good, locked) = (Good::default(), Arc::new(AtomicUsize::new(usize::MAX)));
    let left = Arc::clone(&locked);
    let device = Hand::new(move |asked| {
        if asked.method == "POST" && left.load(Ordering::SeqCst) > 0 {
            return (200, json!({ "error": "Database\n is \u{1b}[1mlocked" }));
        }
        good.answer(asked)
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let answer = apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "a")] }));
    until("it is said", || {
        let error = &state(&server, "d1")["last_error"];
        error.as_str().is_some_and(|error| error.contains("Database is [1mlocked"))
    });
    assert_eq!(batch(&server, &answer)["panels"]["pending"], 1);
    locked.store(0, Ordering::SeqCst);
    until("it is delivered", || batch(&server, &answer)["panels"]["applied"] == 1);
}

#[test]
fn an_error_that_is_about_one_item_is_that_items_and_one_that_is_about_all_is_waited_out() {
    let (good, locked) = (Good::default(), Arc::new(AtomicUsize::new(0)));
    let left = Arc::clone(&locked);
    let device = Hand::new(move |asked| {
        let all = left.load(Ordering::SeqCst) > 0;
        if asked.method == "POST" && (all || asked.body.to_string().contains("Unspeakable")) {
            return (200, json!({ "error": if all { "Database is locked" } else { "Wrong name" } }));
        }
        good.answer(asked)
    });
    let server = TestServer::start_with(|settings| {
        impatient(settings);
        settings.devices.person_after = Duration::from_millis(10);
    });
    add(&server, "d1", &device.url());
    let mut profiles: Vec<_> = (1..=8).map(|n| once(n, "Good")).collect();
    profiles[2] = once(3, "Unspeakable");
    let answer = apply(&server, 60, &json!({ "all": true, "upsert": profiles }));
    let items = &answer.value()["items"];
    assert_eq!((&items["created"], &items["rejected"]), (&json!(7), &json!(1)), "{answer}");
    let refused = server.fleet("GET", "/panels/d1/profiles").send().value()["items"][2].clone();
    assert_eq!((&refused["state"], &refused["extended_info"]), (&json!("rejected"), &json!("Wrong name")));
    // A device that takes nothing refuses nothing.
    locked.store(1, Ordering::SeqCst);
    let writes = device.calls("POST /api/v1/access");
    let answer = apply(&server, 0, &json!({ "all": true, "upsert": [once(1, "Better"), once(2, "Better")] }));
    until("it was tried often", || device.calls("POST /api/v1/access") >= writes + 5);
    assert_eq!(batch(&server, &answer)["panels"]["pending"], 1);
    locked.store(0, Ordering::SeqCst);
    until("it is delivered", || batch(&server, &answer)["panels"]["applied"] == 1);
}

#[test]
fn pages_are_read_to_the_end_whatever_is_said_of_them() {
    /// What is said of a page: what is asked for, how many there are, how many on a page, and which page it is.
    type Pagination = fn(u64, u64, u64, u64) -> Value;
    let says: [(&str, Pagination); 7] = [
        ("nothing", |_, _, _, _| Value::Null),
        ("null", |_, _, _, _| json!({ "pagination": null })),
        (
            "what is so",
            |_, total, per_page, page| json!({ "pagination": { "total_items": total, "items_limit": per_page, "total_pages": total.div_ceil(per_page), "current_page": page } }),
        ),
        (
            "the limit that was asked for",
            |limit, total, _, _| json!({ "pagination": { "total_items": total, "items_limit": limit } }),
        ),
        (
            "too many",
            |_, total, per_page, _| json!({ "pagination": { "total_items": total + 5, "items_limit": per_page } }),
        ),
        (
            "only those on a page",
            |_, _, per_page, _| json!({ "pagination": { "total_items": per_page, "items_limit": per_page } }),
        ),
        (
            "texts",
            |_, total, per_page, _| json!({ "pagination": { "total_items": total.to_string(), "items_limit": per_page.to_string() } }),
        ),
    ];
    let (good, says_now) = (Arc::new(Good::default()), Arc::new(AtomicUsize::new(0)));
    let (panel, now) = (Arc::clone(&good), Arc::clone(&says_now));
    let device = Hand::new(move |asked| {
        if asked.path != "/api/v1/access/timeprofile/items" {
            return panel.answer(asked);
        }
        let (limit, page, per_page) = (asked.number("limit", 10), asked.number("page_number", 1), 7);
        let held = panel.held.lock().expect("whole");
        let items: Vec<_> =
            held.values().skip(((page - 1) * per_page) as usize).take(per_page as usize).collect();
        let options = says[now.load(Ordering::SeqCst)].1(limit, held.len() as u64, per_page, page);
        (200, json!({ "list_items": items, "list_option": options }))
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let profiles: Vec<_> = (1..=24).map(|n| once(n, &format!("Profile {n}"))).collect();
    let applied = apply(&server, 10, &json!({ "all": true, "upsert": profiles }));
    assert_eq!(applied.value()["panels"]["applied"], 1, "{applied}");
    for (n, (what, _)) in says.iter().enumerate() {
        says_now.store(n, Ordering::SeqCst);
        let found = diff(&server, "d1");
        assert_eq!(found["state"], "same", "it says {what}: {found}");
    }
}

#[test]
fn what_a_device_keeps_otherwise_is_written_once_more_and_then_said() {
    let good = Arc::new(Good::default());
    let panel = Arc::clone(&good);
    let device = Hand::new(move |asked| {
        let answer = panel.answer(asked);
        for item in panel.held.lock().expect("whole").values_mut() {
            item["name"] = json!(item["name"].as_str().expect("a text").chars().take(16).collect::<String>());
        }
        answer
    });
    let mut server = repairing(&device);
    let long = json!({ "all": true, "upsert": [once(1, "A name that is too long"), once(2, "short")] });
    apply(&server, 10, &long);
    let writes = || device.calls("POST /api/v1/access/timeprofile/items/link");
    let profile =
        |server: &TestServer| server.fleet("GET", "/panels/d1/profiles").send().value()["items"][0].clone();
    until("it is known", || profile(&server)["state"] == "kept_otherwise");
    let written = writes();
    assert!((2..=3).contains(&written), "written, and put right: {written} times");
    let reads = device.calls("GET /api/v1/access/timeprofile/items");
    until("it is read some more", || device.calls("GET /api/v1/access/timeprofile/items") > reads + 3);
    assert_eq!(apply(&server, 10, &long).value()["panels"]["applied"], 1, "the same again changes nothing");
    assert_eq!(writes(), written, "and it is not written again");
    let shown = profile(&server);
    assert_eq!(
        (&shown["device"]["name"], &shown["profile"]["name"]),
        (&json!("A name that is t"), &json!("A name that is too long")),
        "{shown}"
    );
    let found = diff(&server, "d1");
    assert_eq!(found["differences"][0]["difference"], "kept_otherwise", "{found}");
    assert_eq!(state(&server, "d1")["drifted"], 1);
    // Somebody asks for it: once more, and the same comes of it.
    let repaired = server.fleet("POST", "/reconcile").json(&json!({ "all": true })).send().value();
    assert_eq!(repaired["panels"][0]["state"], "differs", "{repaired}");
    assert_eq!(writes(), written + 1);
    // It is kept over a restart, and over with another name.
    server.restart();
    assert_eq!(profile(&server)["state"], "kept_otherwise");
    let short = apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "A short one")] }));
    assert_eq!(short.value()["panels"]["applied"], 1, "{short}");
    assert_eq!(diff(&server, "d1")["state"], "same");
    server.stop_and_render(); // which checks that it does not contradict itself
}

#[test]
fn a_device_is_one_panels_only_unless_that_is_meant() {
    let devices = Simulated::start(2, &[]);
    let other = Simulated::start(1, &[]);
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &devices.url(1));
    add(&server, "d2", &devices.url(2));
    add(&server, "d3", &other.url(1)); // another simulator's panels have other serial numbers
    let url = devices.url(1);
    let refused = |answer: &Answer, other: &str| {
        assert_eq!(answer.status, 409, "{answer}");
        assert!(answer.body.contains(&format!("panel {other} has the device")), "{answer}");
    };
    for same in [url.clone(), format!("{url}/"), url.replace("http://", "HTTP://")] {
        refused(&server.fleet("POST", "/panels").json(&remote("twin", &same)).send(), "d1");
    }
    // By another name of the same host it is known by its serial number.
    let by_name = url.replace("127.0.0.1", "localhost");
    refused(&server.fleet("POST", "/panels").json(&remote("twin", &by_name)).send(), "d1");
    let moved = json!({ "url": url });
    refused(&server.fleet("PATCH", "/panels/d2").json(&moved).send(), "d1");
    let lines = [remote("x", "http://10.255.0.1"), remote("y", "http://10.255.0.1:80/"), remote("z", &url)];
    let lines = lines.map(|line| line.to_string()).join("\n");
    let imported = server.fleet("POST", "/panels:import").ndjson(&lines).send();
    refused(&imported, "x");
    refused(&imported, "d1");
    let mut meant = remote("twin", &url);
    meant["force"] = json!(true);
    assert_eq!(server.fleet("POST", "/panels").json(&meant).send().status, 201);
    let moved = server.fleet("PATCH", "/panels/d2").json(&json!({ "url": url, "force": true })).send();
    assert_eq!(moved.status, 200, "{moved}");
    let shell = Shell::new(server.address(), Some(server.token()));
    let base =
        ["panel", "add", "t2", "--driver", "http", "--url", &url, "--username", "admin", "--password-stdin"];
    let told = shell.run_with(&base, "123456\n");
    assert!(told.exit != Some(0) && told.stderr.contains("--force"), "{told}");
    assert_eq!(shell.run_with(&[&base[..], &["--force"]].concat(), "123456\n").exit, Some(0));
    shell.file("panels.jsonl", &lines);
    assert_ne!(shell.run(&["panel", "import", "panels.jsonl"]).exit, Some(0));
    assert_eq!(shell.run(&["panel", "import", "--force", "panels.jsonl"]).exit, Some(0));
}

/// A door controller, as its vendor documents it.
#[derive(Default)]
struct Controller {
    held: Mutex<BTreeMap<String, (u64, Value)>>,
    next: AtomicU64,
}

impl Controller {
    fn answer(&self, asked: &Asked) -> (u16, Value) {
        let error =
            |code: &str, message: &str| json!({ "error": { "code": code, "message": message, "data": {} } });
        let mut held = self.held.lock().expect("whole");
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/api/info") => (
                200,
                json!({ "api_version": "1.2.0", "device_type": "controller", "device_serial_number": "C-1" }),
            ),
            ("POST", "/api/v1/login") => {
                let md5 = "e10adc3949ba59abbe56e057f20f883e";
                let password = asked.body["password"].as_str().unwrap_or_default();
                if asked.body["username"] == "admin" && password.eq_ignore_ascii_case(md5) {
                    (200, json!({ "token": "c".repeat(64), "account_type": "admin" }))
                } else {
                    (401, error("invalid_authentication", "Wrong login or password"))
                }
            }
            _ if asked.token.as_deref() != Some(&"c".repeat(64)) => {
                (401, error("invalid_authentication", "Log in"))
            }
            ("POST", "/api/v1/access/time-profiles/items/link") => {
                let mut results = Vec::new();
                for item in asked.body["items"].as_array().expect("items") {
                    let custom = &item["repeat_options"]["repeat_format"]["repeat_custom"];
                    if custom["repeat_point_type"] == "year"
                        && !custom["repeat_options"]["format"].is_string()
                    {
                        return (400, error("not_valid", "no value for `format`"));
                    }
                    let link = item["link_id"].as_str().expect("a text").to_owned();
                    let full = held.len() >= 4 && !held.contains_key(&link);
                    let word = match (full, held.contains_key(&link)) {
                        (true, _) => "number_of_entities_exceeded",
                        (_, true) => "updated",
                        (_, false) => "created",
                    };
                    results.push(json!({ "link_id": link, "success": !full, "extended_info": word, "has_duplicates": false }));
                    if !full {
                        let id = self.next.fetch_add(1, Ordering::SeqCst) + 1;
                        held.insert(link, (id, item.clone()));
                    }
                }
                (200, json!({ "result": results }))
            }
            ("DELETE", "/api/v1/access/time-profiles/items/link") => {
                let links = asked.body["link_ids"].as_array().expect("link_ids").clone();
                let result = |link: &Value| {
                    let there = held.remove(link.as_str().expect("a text")).is_some();
                    let word = if there { "deleted" } else { "entity_not_found" };
                    json!({ "link_id": link, "success": there, "extended_info": word })
                };
                (200, json!({ "result": links.iter().map(result).collect::<Vec<_>>() }))
            }
            ("GET", "/api/v1/access/time-profiles/items" | "/api/v1/access/time-profiles/items/link") => {
                let (limit, page) = (asked.number("limit", 10), asked.number("page_number", 1));
                if !(1..=1000).contains(&limit) {
                    return (400, error("not_valid", "limit"));
                }
                let items: Vec<_> = held
                    .values()
                    .skip(((page - 1) * limit) as usize)
                    .take(limit as usize)
                    .map(|(id, item)| {
                        let mut item = item.clone();
                        item["id"] = json!(id);
                        item
                    })
                    .collect();
                let total = held.len() as u64;
                let pagination = json!({ "total_items": total, "items_limit": limit, "total_pages": total.div_ceil(limit), "current_page": page });
                (200, json!({ "items": items, "options": { "pagination": pagination } }))
            }
            _ => (404, error("bad_request", "Not found")),
        }
    }
}

fn yearly(n: u32, name: &str, range: Value) -> Value {
    let mut profile = work_week(n, name);
    let custom = &mut profile["repeat_options"]["repeat_format"]["repeat_custom"];
    custom["repeat_point_type"] = json!("year");
    custom["repeat_options"] = json!({ "months": [1, 6] });
    if !range.is_null() {
        custom["repeat_options"]["range"] = range;
    }
    profile
}

#[test]
fn a_door_controller_as_its_vendor_documents_it_is_added_written_read_and_emptied() {
    let controller = Arc::new(Controller::default());
    let answers = Arc::clone(&controller);
    let device = Hand::new(move |asked| answers.answer(asked));
    let server = TestServer::start_with(impatient);
    let mut panel = remote("door", &device.url());
    panel["api"] = json!("door-controller");
    panel["password"] = json!("wrong");
    let refused = server.fleet("POST", "/panels").json(&panel).send();
    assert!(refused.status == 422 && refused.body.contains("/password"), "{refused}");
    panel["password"] = json!("123456");
    let added = server.fleet("POST", "/panels").json(&panel).send();
    assert_eq!((added.status, &added.value()["api_version"]), (201, &json!("1.2.0")), "{added}");
    let profiles = [
        work_week(1, "Work week"),
        yearly(2, "Twice a year", Value::Null),
        yearly(3, "First day", json!({ "week_order": "first", "day_type": "DAY" })),
        once(4, "Once"),
    ];
    let applied = apply(&server, 10, &json!({ "all": true, "upsert": profiles }));
    assert_eq!(applied.value()["panels"]["applied"], 1, "{applied}");
    assert_eq!(diff(&server, "door")["state"], "same", "{}", diff(&server, "door"));
    let full = apply(&server, 10, &json!({ "all": true, "upsert": [once(5, "One too many")] }));
    assert_eq!(full.value()["panels"]["rejected"], 1, "{full}");
    let changed = apply(
        &server,
        10,
        &json!({ "all": true, "upsert": [once(4, "Changed")], "delete": [link(1), link(5), link(9)] }),
    );
    assert_eq!(changed.value()["panels"]["applied"], 1, "{changed}");
    let names: Vec<_> =
        controller.held.lock().expect("whole").values().map(|(_, item)| item["name"].clone()).collect();
    assert_eq!(names, ["Twice a year", "First day", "Changed"]);
    assert_eq!(diff(&server, "door")["state"], "same");
    assert_eq!(
        device.calls("POST /api/v1/access/time-profiles/link/delete"),
        1,
        "the other form is remembered"
    );
    apply(&server, 10, &json!({ "all": true, "delete": [link(2)] }));
    assert_eq!(
        device.calls("POST /api/v1/access/time-profiles/link/delete"),
        1,
        "the other form is remembered"
    );
}

#[test]
fn an_embedded_door_controller_answers_as_one() {
    let server = TestServer::start();
    server.add_panel("door", &json!({ "api": "door-controller", "api_version": "1.2.0" }));
    let path = |path: &str| format!("/panels/door/api/v1{path}");
    let login = json!({ "username": "admin", "password": "e10adc3949ba59abbe56e057f20f883e" });
    let answer = server.call("POST", &path("/login")).json(&login).send();
    assert_eq!((answer.status, &answer.value()["account_type"]), (200, &json!("admin")), "{answer}");
    let token = answer.value()["token"].as_str().expect("a token").to_owned();
    let call = |method: &str, to: &str| server.call(method, &path(to)).bearer(&token);
    for (answer, status, code) in [
        (
            server
                .call("POST", &path("/login"))
                .json(&json!({ "username": "admin", "password": "0" }))
                .send(),
            400,
            "invalid_authentication",
        ),
        (server.call("GET", &path("/access/time-profiles/items")).send(), 401, "invalid_authentication"),
        (call("GET", "/access/time-profiles/items?limit=1001").send(), 400, "not_valid"),
        (call("POST", "/access/time-profiles/items/link").json(&json!({})).send(), 400, "not_valid"),
        (call("GET", "/access/timeprofile/items").send(), 404, "bad_request"),
        (call("GET", "/no/such/call").send(), 404, "bad_request"),
    ] {
        let value = answer.value();
        assert_eq!((answer.status, &value["error"]["code"]), (status, &json!(code)), "{answer}");
        assert!(value["error"]["message"].is_string(), "{answer}");
    }
    let items = json!({ "items": [yearly(1, "Twice a year", Value::Null), yearly(2, "First day", json!({ "week_order": "first", "day_type": "DAY" }))] });
    let created = call("POST", "/access/time-profiles/items/link").json(&items).send();
    assert_eq!(created.value()["result"][1]["extended_info"], "created", "{created}");
    let list = call("GET", "/access/time-profiles/items?limit=1000&page_number=1").send();
    let value = list.value();
    assert_eq!(value["options"]["pagination"]["total_items"], 2, "{list}");
    assert!(value.get("list_option").is_none() && value.get("list_items").is_none(), "{list}");
    let format = |n: usize| {
        value["items"][n]["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"]["format"]
            .clone()
    };
    let mut formats = [format(0), format(1)].map(|format| format.as_str().unwrap_or_default().to_owned());
    formats.sort();
    assert_eq!(formats, ["dayNumbers", "parameterizedDay"], "{list}");
    let id = value["items"][0]["id"].as_u64().expect("a number");
    assert_eq!(call("GET", &format!("/access/time-profiles/{id}")).send().status, 200);
    assert_eq!(call("DELETE", &format!("/access/time-profiles/{id}")).send().status, 200);
    // A panel of another family has no such login.
    server.add_panel("panel", &json!({}));
    assert_eq!(server.call("POST", "/panels/panel/api/v1/login").json(&login).send().status, 405);
}

#[test]
fn a_device_that_confirms_and_keeps_nothing_is_said_to_and_is_not_written_to_for_ever() {
    const WRITE: &str = "POST /api/v1/access/timeprofile/items/link";
    let good = Good::default();
    let device = Hand::new(move |asked| {
        let answered = good.answer(asked);
        good.held.lock().expect("whole").clear();
        answered
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    apply(&server, 10, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    // Once more, since it may have been reset; then it is read, and that is what is said.
    until("both are said to have drifted", || state(&server, "d1")["drifted"] == 2);
    let writes = device.calls(WRITE);
    assert_eq!(writes, 2, "{:?}", device.calls.lock().expect("whole"));
    let looks = device.calls("GET /api/v1/access/timeprofile/items/link");
    until("it was looked at again", || {
        device.calls("GET /api/v1/access/timeprofile/items/link") >= looks + 3
            || device.calls("GET /api/info") >= looks + 3
    });
    assert_eq!(device.calls(WRITE), writes, "nothing more is written by itself");
    // Whoever wants it put right is told that it was not.
    let wanted = json!({ "selector": "id=d1" });
    let put_right = server.fleet("POST", "/reconcile").header("prefer", "wait=20").json(&wanted).send();
    assert_eq!(put_right.value()["panels"][0]["state"], "differs", "{put_right}");
    assert!(device.calls(WRITE) > writes, "it was tried once more");
    until("it is said again", || state(&server, "d1")["drifted"] == 2);
}

/// The same profile in words of the device's own, others each time: the weekdays another way round, and a rule that
/// does not count beside it or none.
fn reworded(item: &mut Value, time: usize) {
    let format = &mut item["repeat_options"]["repeat_format"];
    if format.is_null() {
        return;
    }
    if format["repeat_end"]["format"] == "never" {
        format["repeat_end"]["date"] = if time.is_multiple_of(2) { Value::Null } else { json!(time) };
    }
    if format["repeat_type"] != "custom" {
        format["repeat_custom"] = if time.is_multiple_of(2) {
            Value::Null
        } else {
            json!({ "repeat_point_type": "day", "repeat_looper": 1 })
        };
    } else if let Some(days) = format["repeat_custom"]["repeat_options"].as_array_mut() {
        let turn = time % days.len();
        days.rotate_left(turn);
    }
}

/// Profiles that say so in words of their own.
fn worded() -> [Value; 3] {
    let mut daily = work_week(1, "Every day");
    daily["repeat_options"]["repeat_format"]["repeat_type"] = json!("day");
    let mut week = work_week(2, "Some days");
    week["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"] = json!(["SUN", "TUE", "MON"]);
    let mut once = once(3, "Once");
    once["repeat_options"]["repeat_format"] = json!({ "repeat_type": "week" });
    [daily, week, once]
}

#[test]
fn a_device_that_keeps_what_counts_in_words_of_its_own_does_not_differ() {
    let (good, reads) = (Good::default(), AtomicUsize::new(0));
    let device = Hand::new(move |asked| {
        let (status, mut answer) = good.answer(asked);
        if let Some(items) = answer["list_items"].as_array_mut() {
            let time = reads.fetch_add(1, Ordering::SeqCst);
            for item in items {
                reworded(item, time);
            }
        }
        (status, answer)
    });
    let server = repairing(&device);
    let writes = || device.calls("POST /api/v1/access/timeprofile/items/link");
    let batch = json!({ "all": true, "upsert": worded() });
    assert_eq!(apply(&server, 10, &batch).value()["panels"]["applied"], 1);
    for _ in 0..4 {
        let found = diff(&server, "d1");
        assert_eq!(found["state"], "same", "{found}");
    }
    let again = apply(&server, 10, &batch).value();
    assert_eq!((&again["state"], &again["items"]["unchanged"]), (&json!("done"), &json!(3)), "{again}");
    let repaired = server.fleet("POST", "/reconcile").json(&json!({ "all": true })).send().value();
    assert_eq!(repaired["panels"][0]["state"], "same", "{repaired}");
    let looks = || device.calls("GET /api/v1/access/timeprofile/items");
    let seen = looks();
    until("it is read some more", || looks() > seen + 4);
    assert_eq!((writes(), state(&server, "d1")["drifted"].clone()), (1, json!(0)));
    // The same in other words is sent once.
    let mut plain = worded();
    plain[1]["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"] =
        json!(["MON", "TUE", "SUN"]);
    let batch = json!({ "all": true, "upsert": plain });
    assert_eq!(apply(&server, 10, &batch).value()["items"]["updated"], 1);
    assert_eq!(apply(&server, 10, &batch).value()["items"]["unchanged"], 3);
    let seen = looks();
    until("it is read some more", || looks() > seen + 4);
    assert_eq!((writes(), &diff(&server, "d1")["state"]), (2, &json!("same")));
    // Another day is another rule.
    plain[1]["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"] = json!(["MON", "TUE"]);
    assert_eq!(apply(&server, 10, &json!({ "all": true, "upsert": plain })).value()["items"]["updated"], 1);
    assert_eq!(writes(), 3);
    server.stop_and_render(); // which checks that it does not contradict itself
}

#[test]
fn what_a_device_keeps_otherwise_is_known_again_in_other_words() {
    let (good, times) = (Good::default(), AtomicUsize::new(0));
    let device = Hand::new(move |asked| {
        let (status, mut answer) = good.answer(asked);
        if let Some(items) = answer["list_items"].as_array_mut() {
            let time = times.fetch_add(1, Ordering::SeqCst);
            for item in items {
                item["name"] =
                    json!(item["name"].as_str().expect("a text").chars().take(4).collect::<String>());
                reworded(item, time);
            }
        }
        (status, answer)
    });
    let server = repairing(&device);
    apply(&server, 10, &json!({ "all": true, "upsert": [worded()[0], worded()[1]] }));
    let profiles = || server.fleet("GET", "/panels/d1/profiles").send().value()["items"].clone();
    until("both are known", || {
        profiles().as_array().expect("a list").iter().all(|profile| profile["state"] == "kept_otherwise")
    });
    let writes = device.calls("POST /api/v1/access/timeprofile/items/link");
    let looks = || device.calls("GET /api/v1/access/timeprofile/items");
    let seen = looks();
    until("it is read some more", || looks() > seen + 4);
    assert_eq!(device.calls("POST /api/v1/access/timeprofile/items/link"), writes, "it is not written again");
}

#[test]
fn what_a_batch_asked_for_holds_though_a_later_one_asked_for_it_in_other_words() {
    let (good, waits) = (Good::default(), Arc::new(AtomicUsize::new(1)));
    let waiting = Arc::clone(&waits);
    let device = Hand::new(move |asked| {
        if asked.path.ends_with("/items/link") && asked.method == "POST" && waiting.load(Ordering::SeqCst) > 0
        {
            return (503, json!({ "error": "busy" }));
        }
        good.answer(asked)
    });
    let server = TestServer::start_with(impatient);
    add(&server, "d1", &device.url());
    let [_, mut week, once] = worded();
    let first = apply(&server, 0, &json!({ "all": true, "upsert": [week, once] }));
    week["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"] = json!(["MON", "TUE", "SUN"]);
    let mut renamed = once;
    renamed["name"] = json!("Once more");
    let second = apply(&server, 0, &json!({ "all": true, "upsert": [week, renamed] }));
    waits.store(0, Ordering::SeqCst);
    until("both end", || [&first, &second].iter().all(|answer| batch(&server, answer)["state"] == "done"));
    let id = first.value()["id"].as_str().expect("an id").to_owned();
    let result = server.fleet("GET", &format!("/batches/{id}/panels")).send().value();
    let words: Vec<_> = result["items"][0]["result"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["extended_info"].clone())
        .collect();
    assert_eq!(words, ["created", "superseded"], "{result}");
}

#[test]
fn a_door_controller_that_says_its_dates_otherwise_than_it_was_told_them_does_not_differ() {
    let (controller, times) = (Arc::new(Controller::default()), AtomicUsize::new(0));
    let answers = Arc::clone(&controller);
    let device = Hand::new(move |asked| {
        let (status, mut answer) = answers.answer(asked);
        if asked.method == "GET"
            && let Some(items) = answer["items"].as_array_mut()
        {
            let time = times.fetch_add(1, Ordering::SeqCst);
            for times in items.iter_mut().map(|item| &mut item["time_options"]) {
                if time % 2 == 1 && times.get("date_from").is_none() {
                    times["date_from"] = Value::Null;
                    times["date_to"] = Value::Null;
                }
            }
        }
        (status, answer)
    });
    let server = TestServer::start_with(impatient);
    let mut panel = remote("door", &device.url());
    panel["api"] = json!("door-controller");
    assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 201);
    let mut profiles = [work_week(1, "Work week"), once(2, "Always"), yearly(3, "Years", Value::Null)];
    for profile in &mut profiles {
        profile["time_options"] = json!({ "is_all_day": true });
    }
    profiles[2]["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"]["format"] =
        json!("dayNumbers");
    let batch = json!({ "all": true, "upsert": profiles });
    assert_eq!(apply(&server, 10, &batch).value()["panels"]["applied"], 1);
    for _ in 0..3 {
        let found = diff(&server, "door");
        assert_eq!(found["state"], "same", "{found}");
    }
    assert_eq!(apply(&server, 10, &batch).value()["items"]["unchanged"], 3);
    let held: Vec<_> =
        controller.held.lock().expect("whole").values().map(|(_, item)| item.clone()).collect();
    assert_eq!(held, profiles, "it was sent what was written");
    assert_eq!(device.calls("POST /api/v1/access/time-profiles/items/link"), 1);
}
