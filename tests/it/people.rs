//! Who may open, on many panels: read over the fleet, from lists of people, in files, and on the page; and that no
//! number is told but where one was asked for.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use panelsync::http::percent;
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::support::answer::Call;
use crate::support::binary::{Shell, command};
use crate::support::identifiers::{card, kind};
use crate::support::profiles::{link, once, work_week};
use crate::support::server::TestServer;
use crate::support::snapshot::Transcript;
use crate::web::{Browser, Page};

/// What opens in these tests, and what of it nobody may be told.
const SECRETS: [&str; 8] =
    ["77001234", "482915", "7d0c5e0e-6c0c", "5E-6F-70-81", "5e:6f:70:81", "AA1234BB", "/9j/4AAQ", "77005678"];

fn everybody() -> Vec<Value> {
    let mut guest = kind(card(103, "Flat 12, guest", "", &[1, 2]), "inputCode", "482915");
    guest["identifier_owner"]["type"] = json!("guest");
    guest["lock"] = json!("all");
    // Over 2050, as Kyiv has it.
    guest["valid"] = json!({
        "time": { "is_permanent": false, "from": 2_524_600_800_i64, "to": 2_556_136_800_i64 },
        "passes": { "is_permanent": false, "max_passes": 3 },
    });
    let mut face = kind(card(104, "Olena", "", &[1]), "face_id", "");
    face["face_image"] = json!("/9j/4AAQSkZJRg==");
    vec![
        card(101, "Flat 12, first", "0077001234", &[1]),
        kind(card(102, "Flat 12, second", "", &[1]), "ukey", "5e:6f:70:81"),
        guest,
        face,
        kind(card(105, "Flat 13", "", &[2]), "qr", "7d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11"),
        kind(card(106, "Flat 13, car", "", &[]), "license_plate", "aa 1234-bb"),
    ]
}

/// Two panels that hold everybody, one that knows no faces, and a device that is not there.
fn fleet() -> TestServer {
    let server = TestServer::start();
    server.add_panel("north-01", &json!({ "zone": "Europe/Kyiv", "labels": { "site": "north" } }));
    server.add_panel("north-02", &json!({ "zone": "Europe/Kyiv", "labels": { "site": "north" } }));
    server.add_panel("gate", &json!({ "zone": "Europe/Lisbon", "api": "camdroid" }));
    let away = json!({ "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "x", "force": true });
    server.add_panel("away", &away);
    let body = json!({
        "all": true,
        "upsert": [work_week(1, "Work week"), once(2, "Once")],
        "identifiers": { "upsert": everybody() },
    });
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=0").json(&body).send();
    assert!([200, 202].contains(&answer.status), "{}", answer.body);
    settled(&server);
    // Somebody has another card at one door.
    let other = json!({ "panels": ["north-02"], "identifiers": { "upsert": [card(101, "Flat 12, first", "77005678", &[])] } });
    assert_eq!(server.fleet("POST", "/batches").json(&other).send().status, 200);
    server
}

/// Waits until the embedded panels have taken their parts: those that come to the device stay pending.
fn settled(server: &TestServer) {
    for panel in ["north-01", "north-02", "gate"] {
        while server.fleet("GET", &format!("/panels/{panel}/profiles")).send().value()["items"] == json!([]) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_fleet_is_asked_who_may_open() {
    let server = fleet();
    let mut log = Transcript::new("fleet_api", "identifiers_held");
    let mut step = |what: &str, path: &str| {
        let answer = server.fleet("GET", path).send();
        assert!(!SECRETS.iter().any(|secret| answer.body.contains(secret)), "{}", answer.body);
        log.step(what, &answer);
        answer
    };
    step("a panel's", "/panels/north-01/identifiers");
    let page = step("the first four", "/panels/north-01/identifiers?limit=4").value();
    let cursor = page["next_cursor"].as_str().expect("there are more").to_owned();
    step("and the rest", &format!("/panels/north-01/identifiers?limit=4&cursor={cursor}"));
    step("of a device that has not confirmed them", "/panels/away/identifiers?limit=1");
    step("of a panel that is not there", "/panels/nowhere/identifiers");
    step("a cursor that is none", "/panels/north-01/identifiers?cursor=x");
    let page = step("over the fleet", "/identifiers?limit=3").value();
    let cursor = page["next_cursor"].as_str().expect("there are more").to_owned();
    step("and on", &format!("/identifiers?limit=3&cursor={cursor}"));
    step("over a site", "/identifiers?limit=1&selector=site%3Dnorth");
    step("over no panel", "/identifiers?selector=site%3Dnowhere");
    step("over what is no selection", "/identifiers?selector=site%3D%3Dx%3D");
    step("one that differs", &format!("/identifiers/{}", link(101)));
    step("one that a panel refuses", &format!("/identifiers/{}", link(104)));
    step("one that is nowhere", &format!("/identifiers/{}", link(999)));
    step("what is no link_id", "/identifiers/x");
    step("what cannot be revealed", &format!("/identifiers/{}?reveal=photo", link(104)));
    log.check();
}

#[test]
fn one_number_is_told_whole_to_who_may_see_it_and_that_stands_in_the_audit() {
    let server = fleet();
    server.add_user("olha", "operator");
    server.add_user("vik", "viewer");
    let (olha, vik) = (server.login("olha", "olha-password"), server.login("vik", "vik-password"));
    let ask = |token: &str, n: u32| {
        let path = format!("/fleet/v1/identifiers/{}?reveal=number", link(n));
        server.call("GET", &path).bearer(token).send()
    };
    let refused = ask(&vik, 103);
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(!refused.body.contains("482915"));
    let number = |n: u32| {
        let answer = ask(&olha, n);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        answer.value()["versions"][0]["identifier"]["number"].clone()
    };
    assert_eq!(number(103), json!("482915"));
    assert_eq!(number(101), json!("77001234"));
    assert_eq!(number(102), json!("5E-6F-70-81"));
    assert_eq!(number(106), json!("AA1234BB"));
    assert_eq!(number(104), json!(null), "a face has none");
    assert_eq!(ask(&olha, 999).status, 404);
    let photo = |token: &str, n: u32| {
        let path = format!("/fleet/v1/identifiers/{}/photo", link(n));
        server.call("GET", &path).bearer(token).open()
    };
    let mut shown = photo(&olha, 104);
    assert_eq!(shown.status(), 200);
    assert_eq!(
        (shown.headers()["content-type"].as_bytes(), shown.headers()["cache-control"].as_bytes()),
        (&b"image/jpeg"[..], &b"no-store"[..])
    );
    assert!(shown.body_mut().read_to_vec().expect("a body").starts_with(b"\xff\xd8\xff"));
    assert_eq!((photo(&olha, 103).status().as_u16(), photo(&vik, 104).status().as_u16()), (404, 403));
    let audit = server.fleet("GET", "/audit?limit=1000").send();
    let entries = audit.value()["items"].as_array().cloned().expect("a list");
    let reveals: Vec<_> = entries.iter().filter(|entry| entry["action"] == "identifier.reveal").collect();
    assert_eq!(reveals.len(), 6, "{entries:?}");
    assert!(
        reveals.iter().all(|entry| entry["actor"] == "olha" || entry["actor"] == "user:olha"),
        "{reveals:?}"
    );
    assert_eq!(reveals[5]["target"], json!(link(103)), "the oldest stands last");
    assert_eq!(reveals[0]["target"], json!(format!("{} (photo)", link(104))));
    assert!(entries.iter().any(|entry| entry["action"] == "session.denied"), "{entries:?}");
    assert!(!SECRETS.iter().any(|secret| audit.body.contains(secret)), "{}", audit.body);
}

#[test]
fn lists_of_people_and_files_of_both_kinds_are_pushed_looked_at_and_taken_back() {
    let server = TestServer::start();
    server.add_panel("north-01", &json!({ "zone": "Europe/Kyiv", "labels": { "site": "north" } }));
    server.add_panel("north-02", &json!({ "zone": "Europe/Kyiv", "labels": { "site": "north" } }));
    server.add_panel("gate", &json!({ "zone": "Europe/Lisbon" }));
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "identifier_people");
    let mut run = |args: &str, exit: i32| {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(exit), "{ran}");
        assert!(
            args.contains("--reveal") || !SECRETS.iter().any(|secret| ran.to_string().contains(secret)),
            "{ran}"
        );
        log.step(args, &ran);
        ran
    };
    shell.file(
        "profiles.yaml",
        &json!({ "profiles": [work_week(1, "Work week"), once(2, "Once")] }).to_string(),
    );
    let head = "Name;Type;Number;Profiles;From;To;Owner;x-phone";
    let people = format!(
        "\u{feff}{head}\r\nFlat 12;card;0077001234;Work week;;;;+380 44\r\nFlat 12, guest;pin;482915;Work week|Once;2050-01-01;31.12.2050;guest;\r\n\"Flat 13\";plate;aa 1234-bb;always;;;;\r\n"
    );
    shell.file("people.csv", &people);
    run("identifier import people.csv -l site=north --zone Europe/Kyiv --dry-run", 2);
    run("identifier import people.csv -f profiles.yaml -l site=north --zone Europe/Kyiv --dry-run", 0);
    run("identifier import people.csv -f profiles.yaml -l site=north --zone Europe/Kyiv", 2);
    run("identifier ls", 0);
    run("identifier import people.csv -f profiles.yaml -l site=north --zone Europe/Kyiv --yes", 0);
    run("identifier import people.csv -l site=north --zone Europe/Kyiv --dry-run --output json", 0);
    // The profiles are on no panel of this one, or on none at all: these lines are wrong, and nothing is sent.
    run("identifier import people.csv --panel gate --zone Europe/Kyiv --yes", 2);
    shell.file(
        "nowhere.csv",
        &format!("name,type,number,profiles\nA,card,1,always\nB,card,2,{}\n", link(999)),
    );
    run("identifier import nowhere.csv --all --yes", 2);
    assert_eq!(server.fleet("GET", "/panels/gate/identifiers").send().value()["items"], json!([]));
    // Two have each other's numbers of before: that is said before anything is sent.
    let swapped = people.replace("0077001234", "x").replace(";pin;482915", ";card;0077001234");
    shell.file("people.csv", &swapped.replace(";card;x", ";pin;482915").replace("31.12.2050", "30.12.2050"));
    run("identifier import people.csv -l site=north --zone Europe/Kyiv --yes", 2);
    shell.file("people.csv", &people.replace("31.12.2050", "30.12.2050"));
    run("identifier import people.csv -l site=north --zone Europe/Kyiv --yes", 0);
    run("identifier ls", 0);
    run("identifier ls -l site=nowhere", 2);
    run("identifier ls -l id=north-01 --output json", 0);
    let listed: Value =
        serde_json::from_str(&shell.run(&["identifier", "ls", "--output", "json"]).stdout).expect("JSON");
    let of = |kind: &str| {
        let listed = listed.as_array().expect("a list").iter();
        let mut found = listed.filter(|of| of["identifier"]["type"] == kind);
        found.next().expect("it is there")["link_id"].as_str().expect("a text").to_owned()
    };
    let (code, plate) = (of("inputCode"), of("license_plate"));
    run(&format!("identifier show {}", &code[..8]), 0);
    run(&format!("identifier show {code} --reveal"), 0);
    run(&format!("identifier show {code} --reveal --output json"), 0);
    run(&format!("identifier show {}", link(999)), 2);
    run("identifier show zz", 2);
    run(&format!("delete {} --all", &plate[..8]), 2);
    run(&format!("delete {} --kind identifier --all --dry-run", &plate[..8]), 0);
    run(&format!("delete {} --kind identifier --all", &plate[..8]), 2);
    run(&format!("delete {} --kind identifier --all --yes", &plate[..8]), 0);
    let both = json!({ "profiles": [work_week(1, "Work week")], "identifiers": [card(101, "Flat 14", "77005678", &[1])] });
    shell.file("both.json", &both.to_string());
    run("apply -f both.json --all", 0);
    run("apply -f both.json --panel gate --prune --dry-run", 0);
    // What a file says nothing of is not pruned.
    shell.file("profiles.json", &json!({ "profiles": both["profiles"] }).to_string());
    shell.file("identifiers.json", &json!({ "identifiers": both["identifiers"] }).to_string());
    shell.file("nobody.json", &json!({ "identifiers": [] }).to_string());
    run("apply -f profiles.json -l site=north --prune --dry-run", 0);
    run("apply -f identifiers.json -l site=north --prune --dry-run", 0);
    run("apply -f identifiers.json -l site=north --prune", 2);
    run("apply -f identifiers.json -l site=north --prune --yes", 0);
    run("apply -f nobody.json --all --prune", 2);
    // With both lists both are pruned: what nobody is bound to any more.
    run("apply -f profiles.json -l site=north --prune --dry-run", 0);
    run("apply -f both.json -l site=north --prune --yes", 0);
    run("identifier ls", 0);
    log.check();
}

/// What a page's last form carries.
fn sealed(page: &str) -> String {
    let carried = Regex::new(r#"name="(?:carried|items)" value="([A-Za-z0-9_-]+)""#);
    let found = carried.expect("a regular expression").captures_iter(page).last();
    found.map_or_else(String::new, |found| found[1].to_owned())
}

#[test]
fn an_identifier_goes_from_the_form_over_the_dry_run_to_the_doors_and_its_number_is_on_no_page() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let mut told = Transcript::new("web", "identifiers");
    let mut step = |what: &str, call: Call| {
        let answer = call.send();
        assert!(!SECRETS.iter().any(|secret| answer.body.contains(secret)), "{what}: {}", answer.body);
        let found = sealed(&answer.body);
        told.step(what, &Page(answer));
        found
    };
    step("the list", browser.get("/identifiers"));
    step("one that differs", browser.get(&format!("/identifiers/{}", link(101))));
    step("one that a panel refuses", browser.get(&format!("/identifiers/{}", link(104))));
    step("one that is nowhere", browser.get(&format!("/identifiers/{}", link(999))));
    let edited = browser.get(&format!("/identifiers/{}/edit", link(101))).send();
    let said =
        "Panels hold 2 different versions of it. This form began with the one that most of them hold, ";
    assert!(edited.body.contains(said), "{}", edited.body);
    let again = [("link_id", link(101)), ("name", "x".into()), ("selector", "site=north".into())];
    let again = browser
        .post("/identifiers/check", &again.each_ref().map(|(name, value)| (*name, value.as_str())))
        .send();
    assert!(again.body.contains(said), "before it is pushed too: {}", again.body);
    step("a new one, for a door", browser.get("/identifiers/new?selector=id%3Dnorth-01"));
    let id = link(201);
    let mut form = vec![
        ("link_id", id.as_str()),
        ("name", "Flat 15"),
        ("owner", "guest"),
        ("type", "inputCode"),
        ("number", "482915x"),
        ("lock", "all"),
        ("from", "2050-01-01"),
        ("to", "2050-12-31"),
        ("zone", "Europe/Kyiv"),
        ("passes", "3"),
        ("selector", "site=north"),
    ];
    step("wrong, and with no profile", browser.post("/identifiers/check", &form));
    form[4].1 = "48291500";
    let profile = link(1);
    form.push(("profiles", &profile));
    let dry = browser.post("/identifiers/check", &form).send();
    assert!(!dry.body.contains("48291500"), "{}", dry.body);
    let mut taken = form.clone();
    taken[4].1 = "77001234";
    taken[3].1 = "card";
    step("a number that another one has", browser.post("/identifiers/check", &taken));
    let carried_on = step("the dry run", browser.post("/identifiers/check", &form));
    assert_eq!(server.fleet("GET", &format!("/identifiers/{id}")).send().status, 404, "nothing is changed");
    let other = Browser::admin(&server);
    let send = [("items", carried_on.as_str()), ("selector", "site=north"), ("key", "once")];
    assert_eq!(other.post("/identifiers/send", &send).send().status, 400, "it is of another session");
    let sent = browser.post("/identifiers/send", &send).send();
    assert_eq!(sent.status, 303, "{}", sent.body);
    let sent_again = browser.post("/identifiers/send", &send).send();
    assert_eq!(sent.header("location"), sent_again.header("location"), "sent twice it is one batch");
    settled(&server);
    let number = |id: &str| {
        let path = format!("/identifiers/{id}?reveal=number");
        let mut answer = server.fleet("GET", &path).send();
        // The batch may be under way.
        while answer.status == 404 {
            answer = server.fleet("GET", &path).send();
        }
        answer.value()["versions"][0]["identifier"]["number"].clone()
    };
    assert_eq!(number(&id), json!("48291500"));
    let before = step("it is edited", browser.get(&format!("/identifiers/{id}/edit")));
    form[1].1 = "Flat 15, guest";
    form[4].1 = "";
    form.push(("carried", &before));
    let kept = step("with the number left empty", browser.post("/identifiers/check", &form));
    let send = [("items", kept.as_str()), ("selector", "site=north"), ("key", "twice")];
    let sent = browser.post("/identifiers/send", &send).send();
    assert_eq!(sent.status, 303, "{}", sent.body);
    let name = || {
        server.fleet("GET", &format!("/identifiers/{id}")).send().value()["versions"][0]["identifier"]["name"]
            .clone()
    };
    while name() != json!("Flat 15, guest") {
        std::thread::yield_now();
    }
    assert_eq!(number(&id), json!("48291500"), "it is as it was");
    let shown = browser.post(&format!("/identifiers/{id}/reveal"), &[]).send();
    assert_eq!((shown.status, shown.header("cache-control")), (200, Some("no-store")));
    assert!(shown.body.contains("<code>48291500</code>"), "{}", shown.body);
    assert_eq!(browser.get(&format!("/identifiers/{id}/reveal")).send().status, 404, "no link shows it");
    server.add_user("vik", "viewer");
    let viewer = Browser::log_in(&server, "vik", "vik-password");
    assert_eq!(viewer.post(&format!("/identifiers/{id}/reveal"), &[]).send().status, 403);
    assert_eq!(viewer.get(&format!("/identifiers/{id}/edit")).send().status, 403);
    let seen = viewer.get(&format!("/identifiers/{id}")).send();
    assert!(
        seen.status == 200 && !seen.body.contains("/reveal") && !seen.body.contains("482915"),
        "{}",
        seen.body
    );
    let panel = browser.get("/panel/north-01").send();
    assert!(panel.body.contains("Flat 15, guest") && !panel.body.contains("482915"), "{}", panel.body);
    assert!(!SECRETS.iter().any(|secret| panel.body.contains(secret)), "{}", panel.body);
    told.check();
}

#[test]
fn a_list_goes_over_the_dry_run_to_the_doors_and_none_of_its_numbers_is_on_the_page() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let mut told = Transcript::new("web", "people");
    let mut step = |what: &str, call: Call| {
        let answer = call.send();
        assert!(
            !["7700900", "48291599"].iter().any(|secret| answer.body.contains(secret)),
            "{what}: {}",
            answer.body
        );
        let found = sealed(&answer.body);
        told.step(what, &Page(answer));
        found
    };
    step("the form", browser.get("/identifiers/import"));
    let head = "name;type;number;profiles;to";
    let wrong = format!("{head}\r\nFlat 20;card;77009001;Work wek;\r\nFlat 21;pin;48291599x;Once;soon\r\n");
    let form = |list: &str| {
        browser.post(
            "/identifiers/import",
            &[("list", list), ("zone", "Europe/Kyiv"), ("selector", "site=north")],
        )
    };
    step("wrong lines", form(&wrong));
    step("nothing", form(""));
    step("a number that another one has", form(&format!("{head}\nFlat 22;plate;AA1234BB;Once;\n")));
    let list = format!(
        "{head}\r\nFlat 20;card;77009001;work week;\r\nFlat 21;pin;48291599;Once|Work week;2050-12-31\r\n"
    );
    let items = step("the dry run", form(&list));
    let send = [("items", items.as_str()), ("selector", "site=north"), ("key", "once")];
    let sent = browser.post("/identifiers/send", &send).send();
    assert_eq!(sent.status, 303, "{}", sent.body);
    let batch = sent.header("location").expect("a place").to_owned();
    let done = || browser.get(&batch).send().body.contains("state done");
    while !done() {
        std::thread::yield_now();
    }
    let page = browser.get("/identifiers").send().body;
    assert!(page.contains("Flat 20") && page.contains("…001") && page.contains("Flat 21"), "{page}");
    assert!(!page.contains("7700900") && !page.contains("48291599"), "{page}");
    let file = json!({ "identifiers": [card(130, "Flat 23", "77009002", &[1])] }).to_string();
    let pushed = [("items", file.as_str()), ("selector", "site=north")];
    step("a file with identifiers, which is not taken there", browser.post("/push", &pushed));
    step("to be deleted", browser.get(&format!("/push?delete_identifiers={}", link(101))));
    let delete = [("delete_identifiers", &*link(101)), ("selector", "site=north")];
    step("what would be deleted", browser.post("/push", &delete));
    assert_eq!(browser.post("/push/send", &delete).send().status, 303);
    let gone = || server.fleet("GET", "/identifiers?selector=site%3Dnorth").send().body.contains(&link(101));
    while gone() {
        std::thread::yield_now();
    }
    told.check();
}

#[test]
fn no_number_is_in_a_log_a_list_a_page_or_the_audit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = command()
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "-vv", "--data-dir"])
        .arg(folder.path())
        .env("PANELSYNC_ADMIN_PASSWORD", "planted-password")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let address = loop {
        let line = lines.next().expect("it listens").expect("a text");
        if let Some(address) = line.split("on http://").nth(1) {
            break address.split(' ').next().and_then(|address| address.parse().ok()).expect("an address");
        }
    };
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let login = json!({ "username": "admin", "password": "planted-password" });
    let session = Call::new(address, "POST", "/fleet/v1/session").json(&login).send();
    let token = session.value()["token"].as_str().expect("a token").to_owned();
    let call =
        |method: &str, path: &str| Call::new(address, method, &format!("/fleet/v1{path}")).bearer(&token);
    assert_eq!(call("POST", "/panels").json(&json!({ "id": "p1" })).send().status, 201);
    let batch = |upsert: Vec<Value>| json!({ "all": true, "upsert": [work_week(1, "x"), once(2, "y")], "identifiers": { "upsert": upsert } });
    // What is refused says no more than what is taken.
    let mut twice = everybody();
    twice.push(card(120, "Another", "77001234", &[1]));
    twice.push(kind(card(121, "No code", "", &[1]), "inputCode", "482915x"));
    let mut told = vec![call("POST", "/batches").json(&batch(twice)).send()];
    assert_eq!(told[0].status, 422);
    told.push(call("POST", "/batches").json(&batch(everybody())).send());
    assert_eq!(told[1].status, 200, "{}", told[1].body);
    let id = told[1].value()["id"].as_str().expect("an id").to_owned();
    // A number that another one holds.
    let taken = json!({ "all": true, "identifiers": { "upsert": [card(122, "Another", "77001234", &[1])] } });
    told.push(call("POST", "/batches").json(&taken).send());
    for path in [
        "/identifiers",
        "/panels/p1/identifiers",
        "/batches",
        &format!("/batches/{id}"),
        &format!("/batches/{id}/panels"),
        "/diff",
        "/panels",
    ] {
        told.push(call("GET", path).send());
    }
    // One is asked for by itself.
    assert!(call("GET", &format!("/identifiers/{}?reveal=number", link(103))).send().body.contains("482915"));
    let audit = call("GET", "/audit?limit=1000").send();
    assert!(audit.body.contains("identifier.reveal"), "{}", audit.body);
    told.push(audit);
    for answer in &told {
        assert!(!SECRETS.iter().any(|secret| answer.body.contains(secret)), "{answer}");
    }
    let login = format!("username=admin&password={}", percent("planted-password"));
    let form =
        Call::new(address, "POST", "/login").header("content-type", "application/x-www-form-urlencoded");
    let session = form.raw(login).send();
    let cookie = session
        .header("set-cookie")
        .and_then(|cookie| cookie.split(';').next())
        .expect("a cookie")
        .to_owned();
    for path in [
        "/",
        "/panel/p1",
        "/identifiers",
        &format!("/identifiers/{}", link(103)),
        &format!("/batches/{id}"),
        "/batches",
        "/audit",
    ] {
        let page = Call::new(address, "GET", path).header("cookie", &cookie).send();
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(!SECRETS.iter().any(|secret| page.body.contains(secret)), "{path}: {}", page.body);
    }
    let stopped = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(stopped.expect("kill runs").success());
    assert!(child.wait().expect("it ends").success());
    let lines = reader.join().expect("the reader");
    assert!(lines.iter().any(|line| line.contains("batch accepted")), "it logs");
    for secret in SECRETS {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{secret} is in the logs");
    }
}

/// What a browser sends of a field for a file: a photo, and nothing where none was chosen.
const CHOSEN: &str = "name=\"photo\"; filename=\"olena.jpg\"\r\nContent-Type: image/jpeg";
const NONE_CHOSEN: (&str, &[u8]) =
    ("name=\"photo\"; filename=\"\"\r\nContent-Type: application/octet-stream", b"");

/// What passes for a JPEG of so many bytes.
fn jpeg(bytes: usize, filled: u8) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8\xff\xe0".to_vec();
    jpeg.resize(bytes, filled);
    jpeg
}

/// What a field that nobody sees carries, first of the form with this action.
fn carries(page: &str, action: &str, name: &str) -> String {
    let form = page.split_once(&format!("action=\"{action}")).map_or("", |(_, form)| form);
    let form = form.split_once("</form>").map_or(form, |(form, _)| form);
    let value = form.split_once(&format!("name=\"{name}\" value=\"")).map_or("", |(_, rest)| rest);
    value.split_once('"').map_or("", |(value, _)| value).to_owned()
}

#[test]
fn a_face_goes_from_the_form_with_its_photo_to_the_doors_and_keeps_it_until_another_one_is_chosen() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let mut told = Transcript::new("web", "faces");
    let mut step = |what: &str, call: Call| {
        let answer = call.send();
        let mut secrets = SECRETS.iter().chain(&["/9j/", "77001299"]);
        assert!(!secrets.any(|secret| answer.body.contains(secret)), "{what}: {}", answer.body);
        let page = answer.body.clone();
        told.step(what, &Page(answer));
        page
    };
    let (id, profile) = (link(202), link(1));
    let form = vec![
        ("link_id", id.as_str()),
        ("name", "Olena & Taras"),
        ("type", "face_id"),
        ("lock", "all"),
        ("zone", "Europe/Kyiv"),
        ("passes", "3"),
        ("selector", "site=north"),
        ("profiles", profile.as_str()),
    ];
    let check =
        |form: &[(&str, &str)], files: &[(&str, &[u8])]| browser.post_with("/identifiers/check", form, files);
    let with = |more: &[(&'static str, &'static str)]| [&form[..], more].concat();
    let (small, large) = (jpeg(24, b'.'), jpeg((1 << 20) + 1, b'.'));
    let wrong = step("without a photo", check(&form, &[NONE_CHOSEN]));
    step("a photo that is no JPEG", check(&form, &[(CHOSEN, b"\x89PNG and so on")]));
    step("two photos", check(&form, &[(CHOSEN, &small), (CHOSEN, &small)]));
    step("a number too", check(&with(&[("number", "4711")]), &[(CHOSEN, &small)]));
    assert!(wrong.contains("Olena &amp; Taras") && wrong.contains(r#"value="site=north""#), "{wrong}");
    for bytes in [large.len(), 3_000_000, 12_000_000] {
        let refused = check(&form, &[(CHOSEN, &jpeg(bytes, b'.'))]).send();
        assert_eq!(refused.status, 422);
        let why = format!("the photo of {bytes} bytes is too large; at most 1048576 bytes are taken");
        assert!(
            refused.body.contains(&why) && refused.body.contains("Olena &amp; Taras"),
            "{}",
            refused.body
        );
    }
    let far_too_large = check(&form, &[(CHOSEN, &jpeg(17 << 20, b'.'))]).send();
    assert!(
        far_too_large.status == 413 && far_too_large.body.contains("The form is larger than 16777216 bytes")
    );
    let mut card = form.clone();
    card[2].1 = "card";
    card.push(("number", "77001299"));
    step("a card with a photo", check(&card, &[(CHOSEN, &small)]));
    // A photo that was chosen need not be chosen again where something else is wrong.
    let mut nameless = form.clone();
    nameless[1].1 = "";
    let wrong = check(&nameless, &[(CHOSEN, &small)]).send();
    assert_eq!(wrong.status, 422);
    let carried = |page: &str| {
        ["carried", "photo_carried"].map(|name| (name, carries(page, "/identifiers/check", name)))
    };
    let before = carried(&wrong.body);
    let again = before.iter().map(|(name, value)| (*name, value.as_str()));
    let dry = step(
        "the dry run, with the photo of before",
        check(&form.iter().copied().chain(again).collect::<Vec<_>>(), &[NONE_CHOSEN]),
    );
    assert!(dry.contains(r#"id="send""#), "{dry}");
    let send = |browser: &Browser<'_>, page: &str, key: &str| {
        let sealed = ["items", "photo_carried"].map(|name| (name, carries(page, "/identifiers/send", name)));
        let sealed = sealed.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<_> = sealed.chain([("selector", "site=north"), ("key", key)]).collect();
        browser.post_with("/identifiers/send", &fields, &[]).send()
    };
    let other = Browser::admin(&server);
    assert_eq!(send(&other, &dry, "stolen").status, 400, "it is of another session");
    let no_photo = [
        ("items", carries(&dry, "/identifiers/send", "items")),
        ("photo_carried", String::new()),
        ("selector", "site=north".to_owned()),
    ];
    let no_photo: Vec<_> = no_photo.iter().map(|(name, value)| (*name, value.as_str())).collect();
    step("its photo is lost", browser.post_with("/identifiers/send", &no_photo, &[]));
    assert_eq!(server.fleet("GET", &format!("/identifiers/{id}")).send().status, 404, "nothing is changed");
    let held = |of: &str| {
        let answer = server.fleet("GET", &format!("/identifiers/{id}")).send();
        if answer.status == 404 {
            Value::Null
        } else {
            answer.value()["versions"][0]["identifier"][of].clone()
        }
    };
    let push = |page: &str, key: &str, name: &str| {
        let sent = send(&browser, page, key);
        assert_eq!(sent.status, 303, "{}", sent.body);
        while held("name") != json!(name) {
            std::thread::yield_now();
        }
    };
    push(&dry, "once", "Olena & Taras");
    let photo = || {
        let path = format!("/fleet/v1/identifiers/{id}/photo");
        let answer = server.call("GET", &path).bearer(server.token()).open();
        answer.into_body().read_to_vec().expect("a photo")
    };
    assert_eq!(photo(), small);
    let page = format!("/identifiers/{id}");
    let shown = step("its page, without the photo", browser.get(&page));
    assert!(!shown.contains("<img") && shown.contains("?photo=yes"), "{shown}");
    let shown = step("its page with the photo", browser.get(&format!("{page}?photo=yes")));
    assert!(shown.contains(r#"<img class="face""#), "{shown}");
    server.add_user("vik", "viewer");
    let viewer = Browser::log_in(&server, "vik", "vik-password");
    let seen = viewer.get(&format!("{page}?photo=yes")).send();
    assert!(
        seen.status == 200 && !seen.body.contains("<img") && !seen.body.contains("?photo"),
        "{}",
        seen.body
    );
    let edit = step("it is edited", browser.get(&format!("/identifiers/{id}/edit")));
    let mut changed = form.clone();
    changed[1].1 = "Olena";
    let edited = |page: &str, form: &[(&'static str, &str)], files: &[(&str, &[u8])]| {
        let kept = carries(page, "/identifiers/check", "carried");
        let form: Vec<_> = form.iter().copied().chain([("carried", kept.as_str())]).collect();
        check(&form, files)
    };
    let dry = step("with another name, and no photo chosen", edited(&edit, &changed, &[NONE_CHOSEN]));
    assert!(!dry.contains("photo_carried"), "the store has it: {dry}");
    push(&dry, "twice", "Olena");
    assert_eq!(photo(), small, "the photo is kept");
    // The largest photo of all goes the whole way.
    let largest = jpeg(1 << 20, b'!');
    changed[1].1 = "Olena, anew";
    let dry = edited(&edit, &changed, &[(CHOSEN, &largest)]).send();
    assert_eq!(dry.status, 200);
    push(&dry.body, "thrice", "Olena, anew");
    assert_eq!(photo(), largest);
    // And it is dropped where it becomes a card.
    card[1].1 = "Olena's card";
    let edit = browser.get(&format!("/identifiers/{id}/edit")).send().body;
    let dry = edited(&edit, &card, &[NONE_CHOSEN]).send();
    assert_eq!(dry.status, 200, "{}", dry.body);
    push(&dry.body, "card", "Olena's card");
    assert_eq!(held("type"), json!("card"));
    told.check();
}

#[test]
fn a_form_with_a_photo_is_taken_from_who_may_send_it_and_harms_nobody() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let photo = jpeg(24, b'.');
    let files: [(&str, &[u8]); 1] = [(CHOSEN, &photo)];
    let form = [("link_id", "x"), ("type", "face_id")];
    for path in ["/identifiers/check", "/identifiers/send"] {
        for forged in [
            browser.post_with(path, &form, &files).header("sec-fetch-site", "cross-site"),
            browser.post_with(path, &form, &files).header("origin", "http://elsewhere.example"),
            browser.get(path).method("POST").parts(&files),
            browser.get(path).method("POST").parts(&[("name=\"form_token\"", &b"0".repeat(32)), files[0]]),
        ] {
            let answer = forged.send();
            assert_eq!(answer.status, 403, "{path} {}", answer.body);
        }
        server.add_user(&format!("vik{}", path.len()), "viewer");
        let viewer =
            Browser::log_in(&server, &format!("vik{}", path.len()), &format!("vik{}-password", path.len()));
        assert_eq!(viewer.post_with(path, &form, &files).send().status, 403);
        assert_eq!(server.call("POST", path).parts(&files).send().status, 303, "nobody is logged in");
        let raw = |kind: &str, body: &[u8]| {
            browser.get(path).method("POST").header("content-type", kind).raw(body).send().status
        };
        let parts = "multipart/form-data; boundary=frontier";
        let head = "--frontier\r\nContent-Disposition: form-data; name=";
        for (kind, body, status) in [
            ("multipart/form-data", "--frontier--\r\n".to_owned(), 400),
            (parts, String::new(), 400),
            (parts, "--frontier\r\n".to_owned(), 400),
            (parts, format!("{head}\"form_token\"\r\n\r\n"), 400),
            (parts, format!("{head}\"form_token\"\r\n\r\n0"), 400),
            (parts, format!("{head}\"form_token"), 400),
            (parts, "a".repeat(900_000), 400),
            (parts, format!("--frontier\r\n{}", "a: b\r\n".repeat(100_000)), 400),
            (parts, format!("{head}\"n\"\r\n\r\n\r\n").repeat(3000), 400),
            (parts, format!("{head}\"n\"\r\n\r\n{}\r\n--frontier--", "a".repeat(4_000_000)), 413),
            ("multipart/mixed; boundary=frontier", "--frontier--\r\n".to_owned(), 415),
            ("text/plain", "form_token=".to_owned(), 415),
        ] {
            let shown: String = body.chars().take(60).collect();
            assert_eq!(raw(kind, body.as_bytes()), status, "{path} {kind} {shown}");
        }
        let twice =
            [("type", "face_id"), ("type", "card"), ("carried", "x"), ("carried", "y"), ("items", "x")];
        let answer =
            browser.post_with(path, &twice, &[files[0], ("name=\"type\"", b"\xc3\xa9"), NONE_CHOSEN]).send();
        assert!([400, 422].contains(&answer.status), "{path} {}", answer.body);
        let no_text = browser.post_with(path, &twice, &[("name=\"name\"", b"\xff\xfe")]).send();
        assert_eq!(no_text.status, 400, "{path} {}", no_text.body);
    }
}
