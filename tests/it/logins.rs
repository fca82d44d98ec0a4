//! Who may come in, and what is written of it: logins in storms and from behind proxies, sessions and their ends, passwords
//! and their change, what the audit says of all that, and what lies on the disk.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use panelsync::access::PasswordMd5;
use panelsync::store::tables::AuditRecord;
use panelsync::store::{FILE_NAME, Store, StoreHandle, seal};
use panelsync::telemetry::Metrics;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::binary::{Ran, Served, Shell, command};
use crate::support::profiles::once;
use crate::support::server::{ADMIN_MD5, ADMIN_PASSWORD, TestServer, rendered_state};
use crate::support::simulated::Simulated;

fn md5(text: &str) -> String {
    PasswordMd5::of(text).into_hex()
}

fn try_login(server: &TestServer, name: &str, password: &str) -> Call {
    let body = json!({ "username": name, "password": password });
    server.call("POST", "/fleet/v1/session").json(&body)
}

fn panel_login(server: &TestServer, panel: &str, name: &str, password: &str) -> Call {
    let path = format!("/panels/{panel}/api/v1/login?username={name}&password={}", md5(password));
    server.call("GET", &path)
}

/// Entries of the audit, the oldest first.
fn audit(server: &TestServer, query: &str) -> Vec<Value> {
    let answer = server.fleet("GET", &format!("/audit?limit=1000{query}")).send();
    answer.value()["items"].as_array().expect("items").iter().rev().cloned().collect()
}

/// Of what may come a moment after the answer.
fn audit_until(server: &TestServer, query: &str, there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let entries = audit(server, query);
        if there(&entries) {
            return entries;
        }
        assert!(Instant::now() < until, "{entries:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(entry: &Value, field: &str) -> String {
    entry[field].as_str().expect("a text").to_owned()
}

fn shown(path: &Path) -> String {
    path.to_str().expect("a text").to_owned()
}

#[test]
fn of_three_hundred_wrong_logins_at_once_a_few_are_looked_at_and_a_right_one_gets_in() {
    let server = TestServer::start();
    server.add_user("olena", "viewer");
    server.add_user("taras", "viewer");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let storm = |n: usize| {
            let server = &server;
            scope.spawn(move || try_login(server, "olena", &format!("wrong {n}")).send())
        };
        let storm: Vec<_> = (0..300).map(storm).collect();
        let right = try_login(&server, "taras", "taras-password").send();
        assert_eq!(right.status, 200, "{right}");
        storm
            .into_iter()
            .map(|login| login.join().expect("an answer"))
            .map(|answer| {
                assert!(answer.status != 429 || answer.header("retry-after").is_some(), "{answer}");
                answer.status
            })
            .collect()
    });
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    assert!((1..=16).contains(&looked_at), "{looked_at} were looked at"); // a slow machine takes longer
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let refused = audit_until(&server, "&actor=login:olena", |entries| {
        entries.first().is_some_and(|entry| text(entry, "target").contains("times"))
    });
    assert_eq!(refused.len(), 1, "one entry a minute, with a count: {refused:?}");
    assert_eq!(text(&refused[0], "action"), "session.refused");
}

#[test]
fn clients_of_one_account_that_log_in_at_once_with_the_right_password_all_get_in() {
    let server = TestServer::start();
    server.add_user("olena", "viewer");
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let answer = try_login(&server, "olena", "olena-password").send();
                assert_eq!(answer.status, 200, "{answer}");
            });
        }
    });
}

fn behind_a_proxy() -> TestServer {
    TestServer::start_with(|settings| {
        settings.trust_proxy = vec!["127.0.0.0/8".parse().expect("a network")];
    })
}

#[test]
fn nobody_locks_an_account_for_others_nor_everybody_behind_one_proxy() {
    let server = behind_a_proxy();
    server.add_user("olena", "viewer");
    let from = |address: &str, password: &str| {
        try_login(&server, "olena", password).header("x-forwarded-for", address).send()
    };
    while from("203.0.113.66", "wrong").status != 429 {}
    let answer = from("203.0.113.7", "olena-password");
    assert_eq!(answer.status, 200, "from another address: {answer}");
    server.add_user("taras", "viewer");
    let other =
        try_login(&server, "taras", "taras-password").header("x-forwarded-for", "203.0.113.66").send();
    assert_eq!(other.status, 200, "another account from the same one: {other}");
}

#[test]
fn the_word_of_a_proxy_is_taken_only_where_it_is_trusted() {
    for (server, address, secure) in
        [(TestServer::start(), "127.0.0.1", false), (behind_a_proxy(), "203.0.113.7", true)]
    {
        let login = try_login(&server, "admin", ADMIN_PASSWORD)
            .header("x-forwarded-for", "198.51.100.1, 203.0.113.7, 127.0.0.9");
        assert_eq!(login.send().status, 200);
        let last = audit(&server, "").pop().expect("an entry");
        assert_eq!(text(&last, "address"), address);
        let form = format!("username=admin&password={ADMIN_PASSWORD}");
        let page = server.call("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
        let page = page.header("x-forwarded-proto", "https").raw(form).send();
        assert_eq!(page.header("set-cookie").expect("a cookie").ends_with("; Secure"), secure, "{page}");
    }
}

/// Sends this much and waits for the answer, whose status it gives.
fn status_after(address: SocketAddr, sent: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(sent.as_bytes()).expect("sent");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer, without the rest of the body");
    String::from_utf8_lossy(&head[9..]).parse().expect("a status")
}

#[test]
fn without_a_login_nothing_big_is_read() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "labels": { "site": "north" } }));
    let head = |method: &str, path: &str, kind: &str, length: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n{length}\r\n\r\n")
    };
    let (announced, chunked) = ("content-length: 16777215", "transfer-encoding: chunked");
    let chunk = format!("1400\r\n{}\r\n", "x".repeat(0x1400));
    for (path, kind) in
        [("/fleet/v1/session", "application/json"), ("/login", "application/x-www-form-urlencoded")]
    {
        let sent = head("POST", path, kind, announced);
        assert_eq!(status_after(server.address(), &sent), 413, "{path}");
        let sent = head("POST", path, kind, chunked) + &chunk;
        assert_eq!(status_after(server.address(), &sent), 413, "{path}, in chunks");
    }
    for (method, path, status) in [
        ("POST", "/fleet/v1/batches", 401),
        ("POST", "/fleet/v1/panels:import", 401),
        ("POST", "/fleet/v1/windows", 401),
        ("POST", "/fleet/v1/users/admin/password", 401),
        ("POST", "/fleet/v1/as-panel/site=north/api/v1/access/timeprofile/items/link", 401),
        ("POST", "/panels/p1/api/v1/access/timeprofile/items/link", 401),
        ("PATCH", "/panels/p1/api/v1/access/timeprofile/item/1", 401),
        ("POST", "/push/send", 303),
        ("POST", "/password", 303),
    ] {
        let sent = head(method, path, "application/json", announced);
        assert_eq!(status_after(server.address(), &sent), status, "{method} {path}");
    }
    let long = "x".repeat(8000);
    for path in ["/panels/p1/api/v1/login", "/fleet/v1/as-panel/site=north/api/v1/login"] {
        let answer = server.call("GET", &format!("{path}?username={long}&password={ADMIN_MD5}")).send();
        assert_eq!(answer.status, 413, "{answer}");
    }
}

#[test]
fn a_name_that_nobody_can_have_is_refused_before_anything_of_it_is_kept() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    for name in ["x".repeat(64), "a\u{1b}[31m".to_owned(), "a\nb".to_owned(), String::new()] {
        for _ in 0..13 {
            let answer = try_login(&server, &name, "wrong").send();
            assert_eq!(answer.status, 422, "never counted: {answer}");
        }
        let path = format!(
            "/panels/p1/api/v1/login?username={}&password={ADMIN_MD5}",
            name.replace('\u{1b}', "%1b").replace('\n', "%0a")
        );
        assert_eq!(server.call("GET", &path).send().status, 400);
    }
    assert_eq!(try_login(&server, &"x".repeat(63), "wrong").send().status, 401);
    let refused = audit_until(&server, "", |entries| {
        entries.iter().any(|entry| text(entry, "action") == "session.refused")
    });
    let refused = refused.iter().filter(|entry| text(entry, "action") == "session.refused").count();
    assert_eq!(refused, 1, "the one whom there could be");
}

#[test]
fn a_login_that_is_under_way_while_its_user_goes_gives_no_session() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    for round in 0..10 {
        server.add_user("olena", "operator");
        let (fleet, panel) = std::thread::scope(|scope| {
            let fleet = scope.spawn(|| try_login(&server, "olena", "olena-password").send());
            let panel = scope.spawn(|| panel_login(&server, "p1", "olena", "olena-password").send());
            std::thread::sleep(Duration::from_millis(3 * round));
            assert_eq!(server.fleet("DELETE", "/users/olena").send().status, 204);
            (fleet.join().expect("an answer"), panel.join().expect("an answer"))
        });
        assert_dead(&server, &fleet, "/fleet/v1/panels");
        assert_dead(&server, &panel, "/panels/p1/api/v1/access/timeprofile/items");
    }
}

#[test]
fn a_token_that_is_under_way_while_its_maker_goes_is_named_or_not_made() {
    let server = TestServer::start();
    for round in 0..10 {
        server.add_user("olena", "admin");
        let olena = server.login("olena", "olena-password");
        let (made, removed) = std::thread::scope(|scope| {
            let make = |path: &'static str, body: Value| {
                let (server, olena) = (&server, &olena);
                scope.spawn(move || server.call("POST", path).bearer(olena).json(&body).send())
            };
            let user = json!({ "name": "oksana", "role": "admin", "password": "oksana-password" });
            let (token, user) = (
                make("/fleet/v1/tokens", json!({ "name": "left-behind", "role": "admin" })),
                make("/fleet/v1/users", user),
            );
            std::thread::sleep(Duration::from_millis(2 * round));
            let removed = server.fleet("DELETE", "/users/olena?revoke_tokens=true").send();
            let user = user.join().expect("an answer");
            assert!([201, 401].contains(&user.status), "{user}");
            (token.join().expect("an answer"), removed)
        });
        assert_eq!(
            (made.status == 201, made.status == 401),
            (removed.status == 200, removed.status == 204),
            "{made} {removed}"
        );
        if made.status == 201 {
            assert_dead(&server, &made, "/fleet/v1/panels");
        }
        server.fleet("DELETE", "/users/oksana").send();
    }
}

/// The token that was answered with, where there is one, is good for nothing.
fn assert_dead(server: &TestServer, login: &Answer, path: &str) {
    match login.status {
        200 | 201 => {
            let token = text(&login.value(), "token");
            assert_eq!(server.call("GET", path).bearer(&token).send().status, 401, "{path}");
        }
        400 | 401 => {}
        _ => panic!("{login}"),
    }
}

#[test]
fn a_removed_user_comes_back_as_somebody_else() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_user("olena", "admin");
    let token = server.panel_login_as("p1", "olena", &md5("olena-password"));
    let read =
        || server.call("GET", "/panels/p1/api/v1/access/timeprofile/items").bearer(&token).send().status;
    assert_eq!(read(), 200);
    assert_eq!(server.fleet("DELETE", "/users/olena").send().status, 204);
    server.add_user("olena", "admin");
    assert_eq!(read(), 401, "the same name, but another user");
}

#[test]
fn logins_and_refusals_of_every_api_are_in_the_audit() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "labels": { "site": "north" } }));
    server.add_user("olena", "viewer");
    let token = server.panel_login_as("p1", "olena", &md5("olena-password"));
    let write =
        server.call("POST", "/panels/p1/api/v1/access/timeprofile").bearer(&token).json(&once(1, "a"));
    assert_eq!(write.send().status, 403);
    assert_eq!(server.call("GET", "/panels/p1/api/v1/logout").bearer(&token).send().status, 200);
    let token = server.login("olena", "olena-password");
    for _ in 0..5 {
        assert_eq!(server.call("GET", "/fleet/v1/users").bearer(&token).send().status, 403);
    }
    assert_eq!(panel_login(&server, "p1", "olena", "wrong").send().status, 400);
    let entries = audit_until(&server, "&actor=olena", |entries| {
        entries.len() == 6 && entries.iter().any(|entry| text(entry, "target").contains("(5 times)"))
    });
    let mut told: Vec<_> = entries
        .iter()
        .map(|e| format!("{} {} {}", text(e, "actor"), text(e, "action"), text(e, "target")))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "login:olena session.refused p1",
            "panel-user:olena session.close p1",
            "panel-user:olena session.denied POST /panels/p1/api/v1/access/timeprofile",
            "panel-user:olena session.open p1",
            "user:olena session.denied GET /fleet/v1/users (5 times)",
            "user:olena session.open ",
        ]
    );
}

#[test]
fn a_token_with_a_users_name_is_not_that_user_and_is_named_when_its_maker_goes() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_user("olena", "admin");
    server.add_user("taras", "admin");
    let olena = server.login("olena", "olena-password");
    let make = |name: &str, maker: &str| {
        let body = json!({ "name": name, "role": "admin" });
        let made = server.call("POST", "/fleet/v1/tokens").bearer(maker).json(&body).send();
        assert_eq!(made.status, 201, "{made}");
        made.value()
    };
    let token = make("taras", &olena);
    assert_eq!(token["made_by"], "user:olena");
    let (id, secret) = (text(&token, "id"), text(&token, "token"));
    let second = make("second", &secret);
    let actor = format!("token:{}:taras", &id[..8]);
    assert_eq!(second["made_by"], actor);
    let batch =
        server.call("POST", "/fleet/v1/batches").bearer(&secret).json(&json!({ "all": true, "prune": true }));
    assert_eq!(batch.send().value()["created_by"], actor);
    let by = |query: &str| audit(&server, &format!("&actor={query}")).len();
    assert_eq!((by("taras"), by("user:taras"), by(&actor)), (2, 0, 2));
    let removed = server.fleet("DELETE", "/users/olena").send();
    assert_eq!(removed.status, 200, "{removed}");
    let names = |removed: &Answer| {
        let mut names: Vec<_> = removed.value()["tokens"]
            .as_array()
            .expect("tokens")
            .iter()
            .map(|token| text(token, "name"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&removed), ["second", "taras"], "what was made through a token too");
    assert_eq!(removed.value()["revoked"], false);
    let reads = |secret: &str| server.call("GET", "/fleet/v1/users").bearer(secret).send().status;
    assert_eq!(reads(&secret), 200, "it lives on");
    server.add_user("olena", "viewer");
    let shell = Shell::new(server.address(), Some(server.token()));
    let ran = shell.run(&["user", "rm", "olena"]);
    assert!(ran.exit == Some(0) && ran.stderr.contains(&format!("panelsync token revoke {id}")), "{ran}");
    server.add_user("olena", "viewer");
    let ran = shell.run(&["user", "rm", "olena", "--revoke-tokens"]);
    assert!(ran.exit == Some(0) && ran.stderr.contains("revoked the token taras (admin)"), "{ran}");
    assert_eq!((reads(&secret), reads(&text(&second, "token"))), (401, 401));
    let revoked = audit(&server, "&actor=admin");
    let revoked: Vec<_> = revoked.iter().filter(|entry| entry["action"] == "token.revoke").collect();
    assert!(revoked.len() == 2 && revoked.iter().any(|entry| entry["target"] == actor), "{revoked:?}");
    assert_eq!(server.fleet("DELETE", "/users/taras").send().status, 204, "who made none");
}

#[test]
fn a_user_has_a_hundred_sessions_and_the_oldest_goes() {
    let server = TestServer::start();
    server.add_user("olena", "viewer");
    let tokens: Vec<_> = (0..=100).map(|_| server.login("olena", "olena-password")).collect();
    let status = |token: &str| server.call("GET", "/fleet/v1/panels").bearer(token).send().status;
    assert_eq!((status(&tokens[0]), status(&tokens[1]), status(&tokens[100])), (401, 200, 200));
    let listed = server.fleet("GET", "/tokens").send().value();
    let listed = listed["items"].as_array().expect("items").iter().filter(|token| token["name"] == "olena");
    assert_eq!(listed.count(), 100);
    server.stop_and_render();
}

fn entry(at_ms: i64, action: &str, target: &str) -> AuditRecord {
    AuditRecord {
        at_ms,
        actor: "user:a".into(),
        address: String::new(),
        action: action.into(),
        target: target.into(),
    }
}

fn changed(store: &StoreHandle, entries: Vec<AuditRecord>) {
    let change = store.change(move |tables| entries.iter().try_for_each(|entry| tables.audit(entry)));
    actix_web::rt::System::new().block_on(change).expect("committed");
}

#[test]
fn sessions_push_nothing_else_out_of_the_audit() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
    let mut entries = vec![entry(1, "panel.remove", "p1")];
    entries.extend((0..20_100).map(|n| entry(2, ["session.open", "session.close"][n % 2], &n.to_string())));
    changed(&store.handle(), entries);
    let snapshot = store.handle().read().expect("a snapshot");
    let kept = snapshot.audit(u64::MAX, usize::MAX, |_| true).expect("readable");
    assert_eq!(kept.len(), 20_001);
    assert_eq!(kept[0].1.target, "20099", "the newest first");
    assert_eq!(kept.last().map(|(_, entry)| entry.action.as_str()), Some("panel.remove"));
    let (number, _) = kept[100];
    let page = snapshot.audit(number, 1, |_| true).expect("readable");
    assert_eq!(page[0].0, kept[101].0, "a page goes on where the last one ended");
}

#[test]
fn entries_of_the_audit_go_when_they_are_too_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
    changed(
        &store.handle(),
        vec![entry(1000, "panel.remove", "long ago"), entry(1000, "session.open", "long ago")],
    );
    store.close();
    let server = TestServer::start_on(folder, |settings| settings.keep_audit = Duration::from_hours(24));
    audit_until(&server, "", |entries| entries.iter().all(|entry| text(entry, "target") != "long ago"));
}

#[test]
fn a_changed_password_ends_the_users_other_sessions_on_both_apis() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_user("olena", "viewer");
    let (own, other) = (server.login("olena", "olena-password"), server.login("olena", "olena-password"));
    let panel = server.panel_login_as("p1", "olena", &md5("olena-password"));
    let change = |token: &str, name: &str, body: Value| {
        server.call("POST", &format!("/fleet/v1/users/{name}/password")).bearer(token).json(&body).send()
    };
    let new = "another password";
    let refused = [
        (change(&own, "olena", json!({ "password": new })), 422),
        (change(&own, "olena", json!({ "password": new, "old_password": "wrong" })), 401),
        (change(&own, "olena", json!({ "password": "short", "old_password": "olena-password" })), 422),
        (change(&own, "admin", json!({ "password": new, "old_password": "olena-password" })), 403),
        (change(server.token(), "admin", json!({ "password": new })), 422),
        (change(server.token(), "nobody", json!({ "password": new })), 404),
    ];
    for (answer, status) in refused {
        assert_eq!(answer.status, status, "{answer}");
    }
    let reads = |token: &str| server.call("GET", "/fleet/v1/panels").bearer(token).send().status;
    let reads_panel =
        || server.call("GET", "/panels/p1/api/v1/access/timeprofile/items").bearer(&panel).send().status;
    assert_eq!((reads(&own), reads(&other), reads_panel()), (200, 200, 200));
    let answer = change(&own, "olena", json!({ "password": new, "old_password": "olena-password" }));
    assert_eq!(answer.status, 204, "{answer}");
    assert_eq!((reads(&own), reads(&other), reads_panel()), (200, 401, 401));
    assert_eq!(try_login(&server, "olena", "olena-password").send().status, 401);
    assert_eq!(try_login(&server, "olena", new).send().status, 200);
    let answer = change(server.token(), "olena", json!({ "password": "set by the administrator" }));
    assert_eq!(answer.status, 204, "{answer}");
    assert_eq!(reads(&own), 401);
    server.login("olena", "set by the administrator");
    let entries = audit(&server, "");
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| text(entry, "action").ends_with(".password"))
        .map(|e| format!("{} {} {}", text(e, "actor"), text(e, "action"), text(e, "target")))
        .collect();
    assert_eq!(told, ["user:olena session.password olena", "user:admin user.password olena"]);
    let users = server.fleet("GET", "/users").send().value();
    assert_eq!(users["items"][1]["role"], "viewer", "the role stays");
}

#[test]
fn one_changes_ones_password_on_the_page() {
    let server = TestServer::start();
    server.add_user("olena", "viewer");
    let form = |path: &str, fields: &str| {
        server.call("POST", path).header("content-type", "application/x-www-form-urlencoded").raw(fields)
    };
    let login = form("/login", "username=olena&password=olena-password").send();
    let cookie =
        login.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let page = server.call("GET", "/").header("cookie", &cookie).send().body;
    assert!(page.contains(r#"href="/password""#), "the page leads there: {page}");
    let page = server.call("GET", "/password").header("cookie", &cookie).send().body;
    let token = page.split(r#"name="form_token" value=""#).nth(1).and_then(|rest| rest.split('"').next());
    let token = token.expect("a form");
    let change = |old: &str, new: &str, again: &str| {
        let fields = format!("form_token={token}&old_password={old}&password={new}&again={again}");
        form("/password", &fields).header("cookie", &cookie).send()
    };
    let answer = change("olena-password", "new-password", "other-password");
    assert!(answer.status == 422 && answer.body.contains("differ"), "{answer}");
    let answer = change("wrong", "new-password", "new-password");
    assert!(answer.status == 422 && answer.body.contains("The password of now is wrong."), "{answer}");
    let answer = change("olena-password", "short", "short");
    assert!(answer.status == 422 && answer.body.contains("at least 8 characters"), "{answer}");
    let answer = change("olena-password", "new-password", "new-password");
    assert!(answer.status == 200 && answer.body.contains("The password was changed."), "{answer}");
    assert_eq!(server.call("GET", "/").header("cookie", &cookie).send().status, 200, "this session stays");
    server.login("olena", "new-password");
}

#[test]
fn the_command_line_changes_passwords_of_others_and_of_oneself() {
    let server = TestServer::start();
    server.add_user("olena", "viewer");
    let shell = Shell::new(server.address(), Some(server.token()));
    let ran = shell.run_with(&["user", "passwd", "olena", "--password-stdin"], "set-for-olena\n");
    assert_eq!(ran.exit, Some(0), "{ran}");
    let own = server.login("olena", "set-for-olena");
    let shell = Shell::new(server.address(), Some(&own));
    let passwd = |stdin: &str| shell.run_with(&["user", "passwd", "olena", "--password-stdin"], stdin);
    let ran = passwd("chosen-by-olena\n");
    assert!(ran.exit == Some(2) && ran.stderr.contains("on a second line"), "{ran}");
    let ran = passwd("chosen-by-olena\nwrong\n");
    assert_eq!(ran.exit, Some(4), "{ran}");
    let ran = passwd("chosen-by-olena\nset-for-olena\n");
    assert_eq!(ran.exit, Some(0), "{ran}");
    server.login("olena", "chosen-by-olena");
    let ran = shell.run_with(&["user", "passwd", "admin", "--password-stdin"], "taken-over\n");
    assert_eq!(ran.exit, Some(4), "{ran}");
}

fn nowhere() -> Shell {
    Shell::new(([127, 0, 0, 1], 1).into(), None)
}

#[test]
fn a_password_is_set_in_the_folder_of_a_stopped_server_and_of_no_running_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = shown(folder.path());
    let served = Served::start(folder.path(), Some(ADMIN_PASSWORD), &[]);
    let reset = |name: &str| {
        nowhere().run_with(&["user", "reset", name, "--data-dir", &data, "--password-stdin"], "set-anew\n")
    };
    let ran = reset("admin");
    assert!(ran.exit == Some(2) && ran.stderr.contains("in use by another server"), "{ran}");
    served.kill();
    let ran = reset("nobody");
    assert!(ran.exit == Some(2) && ran.stderr.contains("there is no user nobody; there are admin"), "{ran}");
    let ran = reset("admin");
    assert_eq!(ran.exit, Some(0), "{ran}");
    let ran = nowhere()
        .run_with(&["user", "reset", "admin", "--data-dir", "/nowhere", "--password-stdin"], "set-anew\n");
    assert_eq!(ran.exit, Some(2), "{ran}");
    let state = rendered_state(folder.path());
    assert!(state.contains("console  user.password admin"), "{state}");
    assert!(state.contains("admin role=admin"), "{state}");
    let served = Served::start(folder.path(), None, &[]);
    let login = |password: &str| {
        let body = json!({ "username": "admin", "password": password });
        Call::new(served.address, "POST", "/fleet/v1/session").json(&body).send().status
    };
    assert_eq!((login(ADMIN_PASSWORD), login("set-anew")), (401, 200));
}

#[cfg(unix)]
mod modes {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    fn open_to_all(path: &Path) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn nobody_else_can_read_the_data_folder_its_files_and_copies_of_it() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("data");
        let served = Served::start(&folder, Some(ADMIN_PASSWORD), &[]);
        let files = [folder.join(FILE_NAME), folder.join(seal::KEY_FILE)];
        assert_eq!(mode(&folder), 0o700);
        for file in &files {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
        let body = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let login = Call::new(served.address, "POST", "/fleet/v1/session").json(&body).send().value();
        let shell = Shell::new(served.address, Some(&text(&login, "token")));
        let copy = place.path().join("copy.redb");
        std::fs::write(place.path().join("copy.redb.partial"), "of an attempt before").expect("written");
        open_to_all(&place.path().join("copy.redb.partial"));
        let ran = shell.run(&["backup", &shown(&copy)]);
        assert_eq!((ran.exit, mode(&copy)), (Some(0), 0o600), "{ran}");
        served.kill();
        for file in &files {
            open_to_all(file);
        }
        open_to_all(&folder);
        open_to_all(&copy);
        let ran = nowhere().run(&["doctor", "--data-dir", &shown(&folder)]);
        assert!(ran.stdout.contains("chmod 700 it"), "{ran}");
        Served::start(&folder, None, &[]).kill();
        assert_eq!(mode(&folder), 0o700, "closed at the start");
        for file in &files {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
        let ran = nowhere().run(&["backup", &shown(&place.path().join("other.redb"))]);
        assert!(
            ran.exit == Some(3) && !place.path().join("other.redb.partial").exists(),
            "nothing is left: {ran}"
        );
        let restored = place.path().join("restored");
        let ran = nowhere().run(&["restore", &shown(&copy), "--data-dir", &shown(&restored)]);
        assert_eq!(ran.exit, Some(0), "{ran}");
        assert_eq!((mode(&restored), mode(&restored.join(FILE_NAME))), (0o700, 0o600));
    }
}

#[test]
fn copies_of_interrupted_backups_are_gone_after_a_start_and_other_folders_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, file) in [("backup-aB3dEf", "copy"), ("backup-2026", "panelsync.redb"), ("notes", "copy")] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
        std::fs::write(folder.path().join(name).join(file), "half of it").expect("written");
    }
    let server = TestServer::start_on(folder, |_| {});
    let folder = server.stop_and_keep();
    let there = |name: &str| folder.path().join(name).exists();
    assert_eq!((there("backup-aB3dEf"), there("backup-2026"), there("notes")), (false, true, true));
}

/// Starts a server that cannot start.
fn refused_start(data: &str) -> Ran {
    nowhere().run(&["serve", "--data-dir", data, "--listen", "127.0.0.1:0"])
}

#[test]
fn with_a_lost_key_a_server_starts_where_nothing_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    Served::start(folder.path(), Some(ADMIN_PASSWORD), &[]).terminate();
    let key = folder.path().join(seal::KEY_FILE);
    let before = std::fs::read_to_string(&key).expect("a key");
    std::fs::remove_file(&key).expect("lost");
    let served = Served::start(folder.path(), None, &[]);
    assert!(
        served.first_lines.iter().any(|line| line.contains("the key was not there; a new one was made")),
        "{:?}",
        served.first_lines
    );
    served.terminate();
    assert_ne!(std::fs::read_to_string(&key).expect("a key"), before);
    std::fs::write(&key, "07".repeat(32)).expect("another one");
    Served::start(folder.path(), None, &[]).terminate();
    std::fs::write(&key, "").expect("cut");
    Served::start(folder.path(), None, &[]).terminate();
    assert_eq!(std::fs::read_to_string(&key).expect("a key").trim().len(), 64);
    let named = shown(&folder.path().join("named.key"));
    let ran = nowhere().run(&[
        "serve",
        "--data-dir",
        &shown(folder.path()),
        "--listen",
        "127.0.0.1:0",
        "--key-file",
        &named,
    ]);
    assert!(
        ran.exit == Some(2) && ran.stderr.contains("key rotate --forget-passwords"),
        "a named file is not made: {ran}"
    );
}

#[test]
fn with_a_lost_key_sealed_passwords_can_be_dropped_and_the_server_starts_again() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start();
    let panel = json!({ "id": "d1", "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" });
    assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 201);
    let folder = server.stop_and_keep();
    let (data, key) = (shown(folder.path()), folder.path().join(seal::KEY_FILE));
    let lost = folder.path().join("lost.key");
    let unneeded = shown(&folder.path().join("unneeded.key"));
    let ran = nowhere().run(&[
        "key",
        "rotate",
        "--data-dir",
        &data,
        "--new-key-file",
        &unneeded,
        "--forget-passwords",
    ]);
    assert!(ran.exit == Some(2) && ran.stderr.contains("is the right one"), "nothing is dropped: {ran}");
    std::fs::rename(&key, &lost).expect("lost");
    let doctor = nowhere().run(&["doctor", "--data-dir", &data]);
    assert!(doctor.exit == Some(1) && doctor.stdout.contains("is not there"), "{doctor}");
    let ran = refused_start(&data);
    assert!(ran.exit == Some(2) && ran.stderr.contains("key rotate --forget-passwords"), "{ran}");
    assert!(!key.exists(), "no new key hides that the right one is missing");
    std::fs::write(&key, "").expect("cut");
    let ran = refused_start(&data);
    assert!(ran.exit == Some(2) && ran.stderr.contains("key rotate --forget-passwords"), "{ran}");
    assert_eq!(std::fs::read_to_string(&key).expect("it is left"), "");
    std::fs::write(&key, "07".repeat(32)).expect("another one");
    let doctor = nowhere().run(&["doctor", "--data-dir", &data]);
    assert!(doctor.exit == Some(1) && doctor.stdout.contains("does not fit"), "{doctor}");
    let ran = refused_start(&data);
    assert!(ran.exit == Some(2) && ran.stderr.contains("key rotate --forget-passwords"), "{ran}");
    let new = shown(&folder.path().join("new.key"));
    let rotate = ["key", "rotate", "--data-dir", &data, "--new-key-file", &new, "--forget-passwords"];
    let ran = nowhere().run(&rotate);
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(0), "d1\n"), "{ran}");
    let ran = nowhere().run(&rotate);
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(0), ""), "{ran}");
    Served::start(folder.path(), None, &["--key-file", &new]).terminate();
    let mut doctor = command();
    let doctor = doctor.args(["doctor", "--data-dir", &data, "--key-file", &new]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("new.key"), "{doctor:?}");
    assert!(!String::from_utf8_lossy(&doctor.stdout).contains("does not fit"), "{doctor:?}");
}
