//! Alerts by webhook: what is told, once, to whom, and what becomes of it where the receiver is not as it should be.

use std::time::{Duration, Instant};

use panelsync::alert::Times;
use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::binary::{Served, Shell};
use crate::support::profiles::{link, never, once};
use crate::support::receiver::{Answer, Receiver};
use crate::support::server::{ADMIN_PASSWORD, TestServer, rendered_state};
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;
use crate::web::{Browser, Page};

/// How long something is waited for at most.
const PATIENCE: Duration = Duration::from_mins(1);

/// What takes minutes takes a moment.
fn quickly(settings: &mut Settings) {
    settings.alerts = Times {
        look_every: Duration::from_millis(20),
        gather: Duration::from_millis(1),
        patience: Duration::from_secs(2),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        ..Times::default()
    };
    settings.devices.check_every = Duration::from_millis(100);
    settings.devices.timeouts.connect = Duration::from_millis(500);
}

/// Adds an alert and gives its secret.
fn add(server: &TestServer, name: &str, alert: &Value) -> String {
    let answer = server.fleet("PUT", &format!("/alerts/{name}")).json(alert).send();
    assert_eq!(answer.status, 201, "{answer}");
    answer.value()["secret"].as_str().expect("a secret").to_owned()
}

fn alert(server: &TestServer, name: &str) -> Value {
    let list = server.fleet("GET", "/alerts").send().value();
    let items = list["items"].as_array().expect("a list");
    items.iter().find(|alert| alert["name"] == name).expect("it is there").clone()
}

/// Waits until an alert is so.
fn until(server: &TestServer, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let alert = alert(server, name);
        if is_so(&alert) {
            return alert;
        }
        assert!(Instant::now() < end, "{alert:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A batch of which every panel refuses this profile.
fn fails(server: &TestServer, n: u32) -> String {
    let batch = json!({ "all": true, "upsert": [never(n)] });
    let answer = server.fleet("POST", "/batches").json(&batch).send();
    assert_eq!(answer.status, 200, "{answer}");
    answer.value()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_batch_with_failures_and_what_was_refused_are_told_once_and_signed() {
    let mut server = TestServer::start_with(quickly);
    server.add_panel("p1", &json!({ "labels": { "site": "north" } }));
    server.add_panel("p2", &json!({ "labels": { "site": "south" } }));
    fails(&server, 1); // before there is an alert
    let mut receiver = Receiver::start();
    let secret = add(
        &server,
        "north",
        &json!({ "webhook": receiver.url(), "selector": "site=north", "on": ["batch-failed", "refused"] }),
    );
    // What is refused is told of what stands; a batch that ended before is not.
    let refused = receiver.next().checked(&secret);
    assert_eq!((&refused["type"], &refused["count"]), (&json!("item.refused"), &json!(1)));
    assert_eq!(
        (&refused["about"][0]["panel"], &refused["about"][0]["link_id"]),
        (&json!("p1"), &json!(link(1)))
    );
    assert_eq!(refused["about"][0]["item_kind"], "profile");
    assert!(
        refused["about"][0]["why"].as_str().expect("why").contains("invalid_time_rules_settings"),
        "{refused:#}"
    );

    let batch = fails(&server, 2);
    let mut both = [receiver.next().checked(&secret), receiver.next().checked(&secret)];
    both.sort_by_key(|message| message["type"].to_string());
    let [failed, refused] = both;
    assert_eq!((&failed["type"], &failed["about"][0]["batch"]), (&json!("batch.failed"), &json!(batch)));
    assert_eq!(failed["alert"], "north");
    let text = failed["text"].as_str().expect("a text");
    assert!(text.contains("user:admin") && text.contains("p1 (") && !text.contains("p2"), "{text}");
    assert_eq!(
        (&refused["type"], &refused["about"][0]["link_id"]),
        (&json!("item.refused"), &json!(link(2)))
    );

    // Over a restart nothing is told again that is known to have come: what comes next is what is new.
    until(&server, "north", |alert| alert["sent"] == 3);
    server.restart_with(quickly);
    server.fleet("POST", "/batches").json(&json!({ "panels": ["p2"], "upsert": [never(7)] })).send();
    server
        .fleet("POST", "/batches")
        .json(&json!({ "panels": ["p1"], "upsert": [once(1, "Good now")] }))
        .send();
    let batch = fails(&server, 1); // the same item, refused once more
    let mut both = [receiver.next().checked(&secret), receiver.next().checked(&secret)];
    both.sort_by_key(|message| message["type"].to_string());
    assert_eq!(both[0]["about"][0]["batch"], json!(batch));
    assert_eq!(both[1]["about"][0]["link_id"], json!(link(1)));
    let alert = until(&server, "north", |alert| alert["sent"] == 5);
    assert_eq!((receiver.count(), &alert["waiting"], &alert["failed"]), (5, &json!(0), &json!(0)));
    let state = server.stop_and_render();
    assert!(!state.contains(&secret) && !state.contains("/hooks/"), "{state}");
}

#[test]
fn a_receiver_that_fails_in_every_way_has_each_message_once_in_the_end() {
    let server = TestServer::start_with(quickly);
    server.add_panel("p1", &json!({}));
    let mut receiver = Receiver::start();
    let mut other = Receiver::start();
    receiver.answers([
        Answer::status("500 Internal Server Error"),
        Answer::status("500 Internal Server Error"),
        Answer::status("500 Internal Server Error"),
        Answer::status(&format!("302 Found\r\nlocation: http://{}/stolen", other.address)),
        Answer::Endless,
        Answer::Close,
        Answer::Say("this is no HTTP\r\n\r\n".into()),
        Answer::Hang,
    ]);
    let secret = add(&server, "bad", &json!({ "webhook": receiver.url(), "on": ["batch-failed"] }));
    let good = add(&server, "good", &json!({ "webhook": other.url(), "on": ["batch-failed"] }));
    fails(&server, 1);
    // Another one's message does not wait for it.
    assert_eq!(other.next().checked(&good)["type"], "batch.failed");
    let failing = until(&server, "bad", |alert| {
        alert["last"]["said"].as_str().is_some_and(|said| said.contains("500"))
    });
    assert_eq!((&failing["last"]["sent"], &failing["waiting"]), (&json!(false), &json!(1)));
    assert!(failing["failing_since"].is_string());
    let tries: Vec<_> = (0..9).map(|_| receiver.next()).collect();
    for came in &tries {
        let message = came.checked(&secret);
        assert_eq!(message["id"], tries[0].value()["id"], "it is the same one");
        assert!(came.head.starts_with("POST /hooks/panelsync?of=tests HTTP/1.1\r\n"), "{}", came.head);
    }
    let well = until(&server, "bad", |alert| alert["sent"] == 1);
    assert_eq!((&well["waiting"], &well["failing_since"]), (&json!(0), &Value::Null));
    assert_eq!(
        (other.count(), receiver.count()),
        (1, 9),
        "no redirect was followed, and no message came twice"
    );
    let metrics = server.call("GET", "/metrics").send().body;
    for line in [
        "panelsync_alert_messages_total{way=\"webhook\",came_to=\"again\"} 8",
        "panelsync_alert_messages_total{way=\"webhook\",came_to=\"sent\"} 2",
        "panelsync_alert_messages_held_back_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_message_that_is_tried_for_too_long_is_given_up_and_that_is_said() {
    let server = TestServer::start_with(|settings| {
        quickly(settings);
        settings.alerts.give_up_after = Duration::from_millis(1);
    });
    server.add_panel("p1", &json!({}));
    let receiver = Receiver::start();
    receiver.answers(vec![Answer::status("503 Service Unavailable"); 5]);
    add(&server, "ops", &json!({ "webhook": receiver.url(), "on": ["batch-failed"] }));
    fails(&server, 1);
    let alert = until(&server, "ops", |alert| alert["failed"] == 1);
    assert_eq!(alert["waiting"], 0);
    let said = alert["last"]["said"].as_str().expect("words");
    assert!(said.starts_with("given up: it answered 503"), "{said}");
    fails(&server, 2);
    until(&server, "ops", |alert| alert["sent"] == 1);
}

#[test]
fn a_batch_that_runs_when_the_alert_is_made_is_told_when_it_ends() {
    let mut panels = Simulated::start(1, &[]);
    let mut server = TestServer::start_with(quickly);
    let panel = json!({ "driver": "http", "url": panels.url(1), "username": "admin", "password": "123456" });
    server.add_panel("p1", &panel);
    panels.kill();
    let batch = json!({ "all": true, "upsert": [once(1, "Waits for the device"), never(2)] });
    let accepted = server.fleet("POST", "/batches").header("prefer", "wait=0").json(&batch).send();
    assert_eq!(accepted.status, 202, "{accepted}");
    let mut receiver = Receiver::start();
    let secret = add(&server, "ops", &json!({ "webhook": receiver.url(), "on": ["batch-failed"] }));
    server.restart_with(quickly);
    // Others come and go well meanwhile.
    server.add_panel("p2", &json!({}));
    let well = server
        .fleet("POST", "/batches")
        .json(&json!({ "panels": ["p2"], "upsert": [once(3, "Well")] }))
        .send();
    assert_eq!(well.value()["state"], "done");
    panels.restart();
    let told = receiver.next().checked(&secret);
    assert_eq!(told["about"][0]["batch"], accepted.value()["id"]);
    let failed = fails(&server, 4);
    let told = receiver.next().checked(&secret);
    assert_eq!(told["about"][0]["batch"], json!(failed), "nothing else was told");
}

#[test]
fn after_so_many_an_hour_comes_one_digest_that_counts_the_rest() {
    let server = TestServer::start_with(|settings| {
        quickly(settings);
        settings.alerts.hour = Duration::from_secs(15);
    });
    server.add_panel("p1", &json!({}));
    let mut receiver = Receiver::start();
    let secret =
        add(&server, "ops", &json!({ "webhook": receiver.url(), "on": ["batch-failed"], "per_hour": 2 }));
    // Each is looked at before the next one ends.
    for n in 1..=5 {
        fails(&server, n);
        until(&server, "ops", |alert| {
            alert["sent"].as_u64().expect("a number") + alert["held_back"].as_u64().expect("a number")
                >= u64::from(n)
        });
    }
    let messages: Vec<_> = (0..3).map(|_| receiver.next().checked(&secret)).collect();
    let kinds: Vec<_> = messages.iter().map(|message| message["type"].as_str().expect("a type")).collect();
    assert_eq!(kinds, ["batch.failed", "batch.failed", "digest"]);
    assert_eq!(messages[2]["held_back"], json!([{ "type": "batch.failed", "messages": 3, "count": 3 }]));
    assert_eq!(
        (&messages[2]["count"], &messages[2]["title"]),
        (&json!(3), &json!("3 messages are held back"))
    );
}

#[test]
fn a_panel_that_is_gone_for_long_is_told_with_its_own_time_and_again_when_it_is_back() {
    let mut panels = Simulated::start(1, &[]);
    let mut server = TestServer::start_with(quickly);
    server.add_panel(
        "north-01",
        &json!({ "driver": "http", "url": panels.url(1), "username": "admin", "password": "123456", "zone": "Asia/Kolkata" }),
    );
    let mut receiver = Receiver::start();
    let secret = add(&server, "ops", &json!({ "webhook": receiver.url(), "on": ["offline"], "after_s": 1 }));
    panels.kill();
    let gone = receiver.next().checked(&secret);
    assert_eq!((&gone["type"], &gone["title"]), (&json!("panel.offline"), &json!("north-01 is offline")));
    let text = gone["text"].as_str().expect("a text");
    assert!(
        text.starts_with("Panel north-01 cannot be reached since 20") && text.contains("(Asia/Kolkata): "),
        "{text}"
    );
    assert!(gone["about"][0]["since"].as_str().expect("a moment").ends_with('Z'));
    // At the start of a server nothing was asked yet, and what was told stays so.
    server.restart_with(quickly);
    until_connection(&server, "north-01", "offline");
    panels.restart();
    let back = receiver.next().checked(&secret);
    assert_eq!((&back["type"], &back["title"]), (&json!("panel.online"), &json!("north-01 is online again")));
    assert_eq!(back["about"][0]["since"], gone["about"][0]["since"]);
    assert!(back["text"].as_str().expect("a text").contains(" after "), "{back:#}");
    assert_eq!(receiver.count(), 2);
    // A panel that is removed while it is told takes that with it.
    panels.kill();
    assert_eq!(receiver.next().checked(&secret)["type"], "panel.offline");
    assert_eq!(server.fleet("DELETE", "/panels/north-01").send().status, 204);
    let state = server.stop_and_render();
    assert!(!state.contains("alert_told"), "{state}");
}

fn until_connection(server: &TestServer, panel: &str, connection: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let shown = server.fleet("GET", &format!("/panels/{panel}")).send().value();
        if shown["state"]["connection"] == connection {
            return;
        }
        assert!(Instant::now() < end, "{shown:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn many_panels_that_go_at_once_are_one_message_that_sums_up() {
    const PANELS: usize = 400;
    let server = TestServer::start_with(|settings| {
        quickly(settings);
        settings.alerts.gather = Duration::from_secs(6); // about all of them are found offline within that
        settings.devices.check_every = Duration::from_secs(1);
    });
    let mut receiver = Receiver::start();
    let secret = add(&server, "ops", &json!({ "webhook": receiver.url(), "on": ["offline"], "after_s": 1 }));
    // Nobody is there: port 1 refuses.
    let panel = |n| json!({ "id": format!("p{n:04}"), "driver": "http", "url": format!("http://127.0.0.1:1/{n}"), "username": "a", "password": "b" });
    let lines: Vec<_> = (0..PANELS).map(|n| panel(n).to_string()).collect();
    let added = server.fleet("POST", "/panels:import?force=true").ndjson(&lines.join("\n")).send();
    assert_eq!(added.status, 201, "{added}");
    let mut told = 0;
    let mut messages = 0;
    while told < PANELS as u64 {
        let message = receiver.next().checked(&secret);
        assert_eq!(message["type"], "panel.offline");
        let (count, about) =
            (message["count"].as_u64().expect("a number"), message["about"].as_array().expect("a list"));
        assert_eq!(about.len() as u64, count.min(20));
        told += count;
        messages += 1;
    }
    assert!(messages <= 5, "{messages} messages");
    assert_eq!(told, PANELS as u64, "each is told once");
}

#[test]
fn drift_is_told_item_by_item_and_what_is_kept_instead_is_not() {
    let panels = Simulated::start(1, &[]);
    let server = TestServer::start_with(quickly);
    server.add_panel(
        "p1",
        &json!({ "driver": "http", "url": panels.url(1), "username": "admin", "password": "123456" }),
    );
    let answer = server
        .fleet("POST", "/batches")
        .json(&json!({ "all": true, "upsert": [once(1, "Ours"), once(2, "Too")] }))
        .send();
    assert_eq!(answer.status, 200, "{answer}");
    let mut receiver = Receiver::start();
    let secret = add(&server, "ops", &json!({ "webhook": receiver.url(), "on": ["drift"] }));
    let theirs = json!({ "list_items": [once(1, "SECRET-OF-THEIRS")] });
    panels.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&theirs));
    assert_eq!(server.fleet("GET", "/diff").send().status, 200);
    let drift = receiver.next().checked(&secret);
    assert_eq!((&drift["type"], &drift["count"]), (&json!("drift.found"), &json!(1)));
    assert_eq!(drift["about"][0]["link_id"], json!(link(1)));
    assert!(!drift.to_string().contains("SECRET-OF-THEIRS"), "{drift:#}");
    // Put right and changed by hand again, it is told again.
    let repaired = server.fleet("POST", "/reconcile").json(&json!({ "all": true })).send();
    assert_eq!(repaired.status, 200, "{repaired}");
    let theirs = json!({ "list_items": [once(2, "By hand")] });
    panels.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&theirs));
    assert_eq!(server.fleet("GET", "/diff").send().status, 200);
    assert_eq!(receiver.next().checked(&secret)["about"][0]["link_id"], json!(link(2)));
}

#[test]
fn what_waits_survives_kill_9_and_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // The port is known, and nobody listens there yet.
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a port");
    let args = ["--alert-gather", "1ms"];
    let served = Served::start(folder.path(), Some(ADMIN_PASSWORD), &args);
    let shell = |served: &Served| {
        let shell = Shell::new(served.address, None);
        let login = shell.run_with(&["login", "--username", "admin", "--password-stdin"], ADMIN_PASSWORD);
        assert_eq!(login.exit, Some(0), "{login}");
        shell
    };
    let user = shell(&served);
    assert_eq!(user.run(&["panel", "add", "p1"]).exit, Some(0));
    let url = format!("http://{address}/hook");
    let added =
        user.run(&["--output", "json", "alert", "add", "ops", "--webhook", &url, "--on", "batch-failed"]);
    let added: Value = serde_json::from_str(&added.stdout).expect("JSON");
    let secret = added["secret"].as_str().expect("a secret").to_owned();
    let apply = |user: &Shell, n: u32| {
        user.file("bad.json", &json!([never(n)]).to_string());
        let applied = user.run(&["apply", "-f", "bad.json", "--all"]);
        assert_eq!(applied.exit, Some(1), "{applied}");
    };
    let list = |user: &Shell| -> Value {
        let listed = user.run(&["--output", "json", "alert", "ls"]);
        serde_json::from_str(&listed.stdout).unwrap_or_else(|_| panic!("{listed}"))
    };
    apply(&user, 1);
    let end = Instant::now() + PATIENCE;
    while list(&user)[0]["last"]["sent"] != false {
        assert!(Instant::now() < end, "{:#}", list(&user));
        std::thread::sleep(Duration::from_millis(50));
    }
    served.kill();
    let mut receiver = Receiver::start_at(address);
    let served = Served::start(folder.path(), None, &args);
    let first = receiver.next().checked(&secret);
    assert_eq!(first["type"], "batch.failed");
    let user = shell(&served);
    let end = Instant::now() + PATIENCE;
    while list(&user)[0]["sent"] != 1 {
        assert!(Instant::now() < end, "{:#}", list(&user));
        std::thread::sleep(Duration::from_millis(50));
    }
    served.kill();
    let served = Served::start(folder.path(), None, &args);
    apply(&shell(&served), 2);
    let second = receiver.next().checked(&secret);
    assert_ne!((&first["id"], &first["about"]), (&second["id"], &second["about"]));
    assert_eq!(receiver.count(), 2);
    served.kill();
    rendered_state(folder.path());
}

#[test]
fn certificates_are_looked_at_and_what_is_wrong_with_them_is_said() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let mut receiver = Receiver::start_tls(&certified);
    let server = TestServer::start_with(quickly);
    let url = format!("https://{}/hook", receiver.address);
    let test = |alert: &Value| {
        let set = server.fleet("PUT", "/alerts/ops").json(alert).send();
        assert!(matches!(set.status, 200 | 201), "{set}");
        (server.fleet("POST", "/alerts/ops:test").send().value(), set.value()["secret"].clone())
    };
    let (untrusted, secret) = test(&json!({ "webhook": url }));
    assert_eq!(untrusted["sent"], false);
    let said = untrusted["said"].as_str().expect("words");
    assert!(said.starts_with("its certificate is not trusted: ") && said.contains("--pin "), "{said}");
    let (wrong, _) = test(&json!({ "webhook": url, "tls_ca": other.cert.pem() }));
    assert_eq!(wrong["sent"], false, "{wrong:#}");
    assert_eq!(receiver.count(), 0, "nobody who is not trusted is told anything");
    let (trusted, none) = test(&json!({ "webhook": url, "tls_ca": certified.cert.pem() }));
    assert_eq!((&trusted["sent"], none), (&json!(true), Value::Null), "{trusted:#}");
    let message = receiver.next().checked(secret.as_str().expect("the first one's"));
    assert_eq!((&message["type"], &message["alert"]), (&json!("test"), &json!("ops")));
}

#[test]
fn the_page_adds_tries_and_removes_and_shows_the_secret_once() {
    let server = TestServer::start_with(quickly);
    server.add_user("olena", "operator");
    let browser = Browser::admin(&server);
    let mut all = Transcript::new("web", "alerts");
    all.step("none", &Page(browser.get("/alerts").send()));
    let mut receiver = Receiver::start();
    let url = receiver.url();
    let form = [
        ("name", "ops"),
        ("to", url.as_str()),
        ("on", "offline"),
        ("on", "drift"),
        ("after_m", "30"),
        ("selector", ""),
        ("per_hour", "5"),
    ];
    let made = browser.post("/alerts", &form).send();
    let secret =
        made.body.split("<code>whsec_").nth(1).and_then(|rest| rest.split('<').next()).expect("a secret");
    let secret = format!("whsec_{secret}");
    all.step("added", &Page(made));
    all.step("the same name once more", &Page(browser.post("/alerts", &form).send()));
    let wrong = [
        ("name", "a b"),
        ("to", "nobody"),
        ("on", "drift"),
        ("after_m", "0"),
        ("selector", "site=("),
        ("per_hour", "x"),
    ];
    assert_eq!(browser.post("/alerts", &wrong).send().status, 422);
    let nothing = browser.post("/alerts", &[("name", "b"), ("to", url.as_str())]).send();
    assert!(nothing.status == 422 && nothing.body.contains("tick at least one"), "{nothing}");
    all.step("tried", &Page(browser.post("/alerts/test", &[("name", "ops")]).send()));
    receiver.next().checked(&secret);
    receiver.answers([Answer::status("410 Gone")]);
    let refused = browser.post("/alerts/test", &[("name", "ops")]).send();
    assert!(refused.body.contains("did not go out: it answered 410 Gone"), "{refused}");
    let list = browser.get("/alerts").send();
    assert!(!list.body.contains("whsec_"), "{list}");
    assert_eq!(browser.post("/alerts/remove", &[("name", "ops")]).send().status, 303);
    assert!(browser.get("/alerts").send().body.contains("Nobody is told"));
    let operator = Browser::log_in(&server, "olena", "olena-password");
    assert_eq!(operator.get("/alerts").send().status, 403);
    assert_eq!(operator.post("/alerts", &form).send().status, 403);
    all.check();
}

#[test]
fn setting_listing_trying_and_removing_in_the_words_of_the_api() {
    let server = TestServer::start_with(quickly);
    let mut all = Transcript::new("fleet_api", "alerts");
    let mut step = |what: &str, call: crate::support::answer::Call| {
        let answer = call.send();
        all.step(what, &answer);
        answer
    };
    let receiver = Receiver::start();
    let hook = "http://127.0.0.1:9/hook"; // nobody is there
    step("none", server.fleet("GET", "/alerts"));
    let made = step("made", server.fleet("PUT", "/alerts/ops").json(&json!({ "webhook": hook, "on": ["offline", "drift"], "after_s": 1800, "selector": "site=north" })));
    step(
        "made only where there is none",
        server.fleet("PUT", "/alerts/ops").header("if-none-match", "*").json(&json!({ "webhook": hook })),
    );
    let changed = step(
        "changed, the secret stays",
        server.fleet("PUT", "/alerts/ops").json(&json!({ "webhook": hook, "per_hour": 3 })),
    );
    assert!(made.value()["secret"].is_string() && changed.value()["secret"].is_null());
    let moved = step(
        "another address, another secret",
        server.fleet("PUT", "/alerts/ops").json(&json!({ "webhook": "http://127.0.0.1:9/other" })),
    );
    assert_ne!(made.value()["secret"], moved.value()["secret"]);
    step("tried, and nobody is there", server.fleet("POST", "/alerts/ops:test"));
    step("listed", server.fleet("GET", "/alerts"));
    step(
        "mail without a mail server",
        server.fleet("PUT", "/alerts/mail").json(&json!({ "mail": ["ops@example.org"] })),
    );
    step("all that is wrong is said", server.fleet("PUT", "/alerts/a%20b").json(&json!({
        "webhook": "ftp://u:p@example.org#x", "mail": ["nobody"], "secret": "whsec_short", "tls_ca": "no PEM", "tls_pin": "12",
        "on": ["ofline"], "after_s": 0, "selector": "site=(", "per_hour": 0
    })));
    step("neither a webhook nor a mail", server.fleet("PUT", "/alerts/none").json(&json!({})));
    step("an unknown field", server.fleet("PUT", "/alerts/none").json(&json!({ "webook": hook })));
    step("removed", server.fleet("DELETE", "/alerts/ops"));
    step("removed before", server.fleet("DELETE", "/alerts/ops"));
    step("tried, and gone", server.fleet("POST", "/alerts/ops:test"));
    let given = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let own = server
        .fleet("PUT", "/alerts/own")
        .json(&json!({ "webhook": receiver.url(), "secret": given }))
        .send();
    assert_eq!((own.status, &own.value()["secret"]), (201, &Value::Null));
    let audit =
        step("the audit names who, what and which server, and nothing secret", server.fleet("GET", "/audit"));
    assert!(!audit.body.contains("/hook") && !audit.body.contains("whsec_"), "{audit}");
    let list = server.fleet("GET", "/alerts").send().body;
    assert!(!list.contains("whsec_") && !list.contains("secret"), "{list}");
    all.check();
    let mut receiver = receiver;
    assert_eq!(server.fleet("POST", "/alerts/own:test").send().value()["sent"], true);
    receiver.next().checked(given);
}
