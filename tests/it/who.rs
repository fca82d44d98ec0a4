//! Who may open which door, when, and why: by the API and by the commands.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::binary::Shell;
use crate::support::identifiers::{card, kind};
use crate::support::profiles::{link, once, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;
use crate::web::{Browser, Page};

/// Thursday 26 November 2026, 09:30 UTC.
const THURSDAY: i64 = 1_795_685_400;

/// Two days on.
const SATURDAY: i64 = THURSDAY + 2 * 86_400;

/// Monday 23 November 2026, 00:00 UTC.
const MONDAY: i64 = 1_795_392_000;

/// A link_id with another beginning.
const OTHER: &str = "5a1f0c1e-1040-4815-8ecb-000000000109";

fn apply(server: &TestServer, batch: &Value) {
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=10").json(batch).send();
    assert_eq!(answer.status, 200, "{answer}");
}

fn limited(mut identifier: Value, time: Value, passes: Value, left: Option<i64>) -> Value {
    identifier["valid"] = json!({ "time": time, "passes": passes });
    if let Some(left) = left {
        identifier["additional"] = json!({ "passes_left": left });
    }
    identifier
}

/// Three panels in three zones. On the first two are a profile of every working day, 08:00–17:00 UTC at its beginning, and
/// one of a day that is over, and identifiers with every reason to open or not; on the third is nothing.
fn fleet() -> TestServer {
    let server = TestServer::start();
    server.add_panel("north-01", &json!({ "zone": "Europe/Kyiv" }));
    server.add_panel("south-01", &json!({ "zone": "America/New_York", "api": "camdroid" }));
    server.add_panel("west-01", &json!({}));
    let permanent = json!({ "is_permanent": true });
    let between = |from: i64, to: i64| json!({ "is_permanent": false, "from": from, "to": to });
    let twice = json!({ "is_permanent": false, "max_passes": 2 });
    let mut other = card(109, "Neighbour", "109", &[1]);
    other["link_id"] = json!(OTHER);
    let upsert = [
        card(101, "Flat 12, first", "0001234567", &[1]),
        kind(card(102, "Flat 12, guest", "", &[2]), "inputCode", "482915"),
        card(103, "Caretaker", "5e:6f:70:81", &[]),
        limited(
            card(104, "Later", "104", &[1]),
            between(SATURDAY, SATURDAY + 86_400),
            permanent.clone(),
            None,
        ),
        limited(card(105, "Earlier", "105", &[]), between(0, THURSDAY), permanent.clone(), None),
        limited(card(106, "Few", "106", &[1]), permanent.clone(), twice.clone(), Some(1)),
        limited(card(107, "None left", "107", &[1]), permanent, twice, Some(0)),
        card(108, "Either", "108", &[2, 1]),
        other,
    ];
    let batch = json!({
        "panels": ["north-01", "south-01"],
        "upsert": [work_week(1, "Work week"), once(2, "Once")],
        "identifiers": { "upsert": upsert },
    });
    apply(&server, &batch);
    server
}

#[test]
fn every_question_is_answered_with_the_reason() {
    let server = fleet();
    let mut log = Transcript::new("fleet_api", "who");
    let mut ask = |what: &str, query: &str| {
        log.step(what, &server.fleet("GET", &format!("/access?{query}")).send());
    };
    let pair = |n: u32, at: i64| format!("panel=north-01&identifier={}&at={at}", link(n));
    ask("its profile is open", &pair(101, THURSDAY));
    ask("its profile is shut, and opens after the weekend", &pair(101, SATURDAY));
    ask("it names none", &pair(103, SATURDAY));
    ask("the panel holds nothing of it", &pair(999, THURSDAY));
    let west = format!("panel=west-01&identifier={}", link(101));
    ask("nor does another one, now", &west);
    ask("all of a panel at a moment", &format!("panel=north-01&at={THURSDAY}"));
    ask("the first two that open", &format!("panel=north-01&at={THURSDAY}&opens=true&limit=2"));
    ask("the next", &format!("panel=north-01&at={THURSDAY}&opens=true&limit=2&cursor={}", link(103)));
    ask(
        "all doors of one, when it is Thursday morning in New York",
        &format!("identifier={}&at={}", link(101), THURSDAY + 5 * 3600),
    );
    ask("a page of them", &format!("identifier={}&at={THURSDAY}&limit=1", link(101)));
    ask("the next page", &format!("identifier={}&at={THURSDAY}&limit=1&cursor=north-01", link(101)));
    let week = format!("from={MONDAY}&to={}", MONDAY + 7 * 86_400);
    ask("its windows of a week", &format!("identifier={}&{week}", link(101)));
    ask(
        "who opens within a night",
        &format!("panel=north-01&opens=true&from={MONDAY}&to={}", MONDAY + 6 * 3600),
    );
    ask(
        "a moment as RFC 3339 has it",
        &format!("{}Z", pair(101, 0).replace("at=0", "at=2026-11-26T09:30:00")),
    );
    log.check();
}

#[test]
fn what_is_no_question_is_refused_and_the_parameter_named() {
    let server = fleet();
    let mut log = Transcript::new("fleet_api", "who_refused");
    let long = MONDAY + 366 * 86_400 + 1;
    for (what, query) in [
        ("nothing is asked about", String::new()),
        ("a panel that is not there", "panel=east-01".into()),
        ("no link_id", "identifier=card".into()),
        ("no moment", "panel=north-01&at=tomorrow".into()),
        ("no moment of this calendar", format!("panel=north-01&at={}", i64::MAX)),
        ("a moment and a range", format!("panel=north-01&at={MONDAY}&from={MONDAY}")),
        ("a range without an end", format!("panel=north-01&from={MONDAY}")),
        ("a range without a beginning", format!("panel=north-01&to={MONDAY}")),
        ("a range that begins at no moment", format!("panel=north-01&from=&to={MONDAY}")),
        ("a range without length", format!("panel=north-01&from={MONDAY}&to={MONDAY}")),
        ("a range that is too long", format!("panel=north-01&from={MONDAY}&to={long}")),
        ("neither true nor false", "panel=north-01&opens=perhaps".into()),
        ("no number", "panel=north-01&limit=0".into()),
        ("no cursor of a panel's identifiers", "panel=north-01&cursor=north-01".into()),
        ("no cursor of panels", format!("identifier={}&cursor=%20", link(101))),
    ] {
        log.step(what, &server.fleet("GET", &format!("/access?{query}")).send());
    }
    log.check();
}

#[test]
fn the_commands_say_who_opens_in_the_zone_of_the_door() {
    let server = fleet();
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "who");
    let (card, caretaker) = (link(101), link(103));
    for (what, line) in [
        ("it opens", format!("access check --panel north-01 --identifier {card} --at {THURSDAY}")),
        (
            "it does not",
            format!("access check --panel north-01 --identifier {card} --at 2026-11-28T09:30:00Z"),
        ),
        ("now", format!("access check --panel no --identifier {caretaker}")),
        (
            "as JSON",
            format!("access check --panel north-01 --identifier {card} --at {SATURDAY} --output json"),
        ),
        ("it is not there", format!("access check --panel west-01 --identifier {card}")),
        ("who", format!("access who --panel north-01 --at {THURSDAY}")),
        ("who does", format!("access who --panel north-01 --at {SATURDAY} --open")),
        ("who, within a week", format!("access who --panel north-01 --from {MONDAY} --open")),
        ("by its beginning", format!("access check --panel north --identifier 5a1f --at {THURSDAY}")),
        ("by the beginning of several", "access where 91c615e3".into()),
        ("nobody", "access who --panel west-01".into()),
        ("where", format!("access where {card} --at {THURSDAY}")),
        (
            "where, within two days",
            format!("access where {card} --from {MONDAY} --to {}", MONDAY + 2 * 86_400),
        ),
        ("as JSON", format!("access where {card} --from {MONDAY} --to {} --output json", MONDAY + 86_400)),
        ("nowhere", format!("access where {}", link(999))),
        ("no panel", format!("access check --panel east-01 --identifier {card}")),
        ("no link_id", "access where card".into()),
        ("no beginning of one", "access where 5d0c".into()),
        ("no moment", format!("access where {card} --at tomorrow")),
        ("a moment and a range", format!("access where {card} --at {MONDAY} --from {MONDAY}")),
        ("too long", format!("access where {card} --from {MONDAY} --to {}", MONDAY + 400 * 86_400)),
    ] {
        log.step(what, &shell.run(&line.split(' ').collect::<Vec<_>>()));
    }
    log.check();
}

#[test]
fn the_page_says_yes_or_no_and_why() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let mut told = Transcript::new("web", "who");
    let mut ask = |what: &str, query: &str| {
        let page = Page(browser.get(&format!("/access?{query}")).send()).to_string();
        // The form is the same each time but for what was asked.
        let from = if what == "the form" { "<main" } else { "Ask</button>" };
        let status = page.lines().find(|line| !line.starts_with('>')).expect("a status");
        let (_, shown) = page.split_once(from).expect("a page");
        told.step(what, &format!("{status}\n{}", shown.split_once("</main>").expect("a page").0));
    };
    ask("the form", "");
    let thursday = "at=2026-11-26T11:30";
    ask("yes, by the clock in Kyiv", &format!("panel=north-01&identifier={}&{thursday}", link(101)));
    ask("no", &format!("panel=north-01&identifier={}&{thursday}", link(102)));
    ask("a panel", &format!("panel=north-01&identifier=&{thursday}"));
    ask("one that holds none", &format!("panel=west-01&identifier=&{thursday}"));
    ask("an identifier", &format!("identifier={}&{thursday}", link(101)));
    ask("one that is nowhere", &format!("identifier={}", link(999)));
    ask("no panel of this name", "panel=%3Cb%3E");
    ask("no link_id", "identifier=card");
    ask("no moment", "panel=north-01&at=tomorrow");
    told.check();
}

#[test]
fn one_that_was_made_on_the_panel_is_told_under_its_number_there() {
    let server = TestServer::start();
    server.add_panel("north-01", &json!({}));
    apply(&server, &json!({ "all": true, "identifiers": { "upsert": [card(101, "First", "101", &[])] } }));
    let mut by_hand = card(1, "By hand", "102", &[]);
    by_hand.as_object_mut().expect("an object").remove("link_id");
    let token = server.panel_login("north-01");
    let made = server.call("POST", "/panels/north-01/api/v1/access/identifier").bearer(&token);
    assert_eq!(made.json(&by_hand).send().status, 200);
    let ask = |query: &str| {
        let path = format!("/access?panel=north-01&at={THURSDAY}&limit=1{query}");
        server.fleet("GET", &path).send().value()
    };
    let first = ask("");
    assert_eq!(
        (&first["items"][0]["identifier"], &first["next_cursor"]),
        (&json!(link(101)), &json!(link(101)))
    );
    let second = ask(&format!("&cursor={}", link(101)));
    let item = &second["items"][0];
    assert_eq!(
        (&item["identifier"], &item["uid"], &item["name"]),
        (&Value::Null, &json!(2), &json!("By hand"))
    );
    assert_eq!((&item["opens"], &second["next_cursor"]), (&json!(true), &Value::Null));
    assert_eq!(ask("&cursor=uid-2")["items"], json!([]));
    let shell = Shell::new(server.address(), Some(server.token()));
    let ran = shell.run(&["access", "who", "--panel", "north-01"]);
    assert!(ran.stdout.contains("uid 2 ") && ran.exit == Some(0), "{ran}");
}

#[test]
fn a_page_ends_where_it_tells_enough_windows_and_no_answer_is_lost() {
    let server = TestServer::start();
    server.add_panel("north-01", &json!({}));
    let cards: Vec<_> = (0..100).map(|n| card(100 + n, "Flat", &format!("{n}"), &[1])).collect();
    apply(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work week")], "identifiers": { "upsert": cards } }),
    );
    let range = format!("from={MONDAY}&to={}", MONDAY + 366 * 86_400);
    let (mut told, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let path = format!("/access?panel=north-01&limit=1000&{range}{cursor}");
        let page = server.fleet("GET", &path).send().value();
        let items = page["items"].as_array().expect("a list");
        pages.push(items.len());
        assert!(items.iter().all(|item| item["windows"].as_array().expect("a list").len() == 262));
        told.extend(items.iter().map(|item| item["identifier"].as_str().expect("a text").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages, [77, 23], "20,000 windows a page");
    assert_eq!(told, (0..100).map(|n| link(100 + n)).collect::<Vec<_>>());
}

/// Waits until the answer for an identifier at d1 is such, for a minute at most.
fn until(server: &TestServer, n: u32, is: impl Fn(&Value) -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let path = format!("/access?panel=d1&identifier={}&at={THURSDAY}", link(n));
        let answer = server.fleet("GET", &path).send().value()["items"][0].clone();
        if is(&answer) {
            return;
        }
        assert!(Instant::now() < end, "not within a minute: {answer}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn what_a_device_has_not_confirmed_is_said() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start_with(|settings| {
        settings.devices.timeouts.connect = Duration::from_millis(500);
        settings.devices.timeouts.request = Duration::from_millis(700);
    });
    let panel = json!({ "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456", "zone": "Europe/Kyiv" });
    server.add_panel("d1", &panel);
    let mut log = Transcript::new("fleet_api", "who_not_confirmed");
    let ask = |query: &str| server.fleet("GET", &format!("/access?panel=d1&at={THURSDAY}{query}")).send();
    let push = |batch: &Value| {
        let waiting = server.fleet("POST", "/batches").header("prefer", "wait=0").json(batch).send();
        assert_eq!(waiting.status, 202, "{waiting}");
    };
    let cards = |cards: &[Value]| json!({ "upsert": cards });
    let first = cards(&[card(101, "First", "101", &[1])]);
    apply(
        &server,
        &json!({ "all": true, "upsert": [work_week(1, "Work week"), work_week(2, "Shift")], "identifiers": first }),
    );
    log.step("a card that the device has confirmed", &ask(""));
    // How often a card of so many passes has opened there only the device knows.
    let thrice = json!({ "is_permanent": false, "max_passes": 3 });
    let permanent = json!({ "is_permanent": true });
    let guest = limited(card(104, "Guest", "104", &[1]), permanent, thrice, None);
    apply(&server, &json!({ "all": true, "identifiers": cards(&[guest]) }));
    log.step("a card of three passes", &ask(&format!("&identifier={}", link(104))));
    apply(&server, &json!({ "all": true, "identifiers": { "delete": [link(104)] } }));
    devices.faults(None, &json!({ "offline": true }));
    push(
        &json!({ "all": true, "identifiers": cards(&[card(102, "Second", "102", &[]), card(103, "Third", "103", &[2])]) }),
    );
    until(&server, 103, |answer| answer["confirmed"] == "unknown");
    log.step("others are on their way", &ask(""));
    push(&json!({ "all": true, "upsert": [once(1, "Once")], "identifiers": { "delete": [link(102)] } }));
    until(&server, 102, |answer| answer["why"]["code"] == "not_on_panel");
    log.step("of one nobody knows whether it came and went; another's profile is shut now", &ask(""));
    let shell = Shell::new(server.address(), Some(server.token()));
    for line in [
        format!("access who --panel d1 --at {THURSDAY}"),
        format!("access check --panel d1 --identifier {} --at {THURSDAY}", link(101)),
        format!("access check --panel d1 --identifier {} --at {THURSDAY}", link(102)),
        format!("access check --panel d1 --identifier {} --at {THURSDAY}", link(103)),
    ] {
        log.step("as people see it", &shell.run(&line.split(' ').collect::<Vec<_>>()));
    }
    log.check();
}
