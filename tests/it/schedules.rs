//! Opening hours: in files, and pushed to panels and devices in many zones.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::tz::TimeZone;
use panelsync::profile::parse;
use panelsync::profile::rule::Family;
use panelsync::profile::windows::{Openings, Window, merged};
use panelsync::schedule::days::Resolved;
use panelsync::schedule::{parse as schedules, windows::windows};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::binary::Shell;
use crate::support::profiles::{link, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

const OFFICE: &str = "
schedules:
- link_id: 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a10
  name: Office hours
  hours: { mon-fri: '09:00-12:30, 13:30-18:00' }
  instead: { 12-31 on mon-fri: '09:00-12:00' }
  except: [ calendar holidays ]
  from: 2040-01-01
- link_id: 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a11
  name: Night watch in Kyiv
  hours: { daily: 22:00-06:00 }
  from: 2040-01-01
  zone: Europe/Kyiv
";

/// As calendar programs write it: folded lines, an alarm with a time of its own, an event with a time of day.
const HOLIDAYS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20200101\r\n\
RRULE:FREQ=YEARLY\r\nSUMMARY:New \r\n Year\r\nBEGIN:VALARM\r\nTRIGGER:-PT15M\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\n\
UID:2\r\nDTSTART;VALUE=DATE:20400330\r\nDTEND;VALUE=DATE:20400403\r\nSUMMARY:Easter\\, four days\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\n\
UID:3\r\nDTSTART;TZID=Europe/Kyiv:20400501T090000\r\nSUMMARY:A meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn alone() -> Shell {
    Shell::new(SocketAddr::from(([127, 0, 0, 1], 9)), None)
}

#[test]
fn opening_hours_are_checked_shown_and_compiled() {
    let shell = alone();
    let mut log = Transcript::new("cli", "schedules");
    shell.file("hours.yaml", OFFICE);
    shell.file("holidays.ics", HOLIDAYS);
    shell.file(
        "bad.yaml",
        "schedules:\n- link_id: 7\n  name: A\n  hours: {mon: '09:00-25:00'}\n- name: B\n  except: [31.12.]\ncalendars:\n- name: a b\n",
    );
    shell.file("rule.ics", &HOLIDAYS.replace("FREQ=YEARLY", "FREQ=WEEKLY"));
    shell.file("cut.ics", &HOLIDAYS[..150]);
    shell.file(
        "over.yaml",
        &OFFICE.replace("from: 2040-01-01\n- ", "from: 2020-01-01\n  until: 2020-12-31\n- "),
    );
    for (args, exit) in [
        ("schedule check -f hours.yaml", 2),
        ("schedule check -f hours.yaml --calendar holidays=holidays.ics --zone Europe/Kyiv", 0),
        ("schedule check -f hours.yaml --calendar holidays=holidays.ics --output json", 0),
        ("schedule check -f over.yaml --calendar holidays=holidays.ics", 0),
        ("schedule check -f bad.yaml", 2),
        ("schedule check -f bad.yaml --output json", 2),
        ("schedule check -f hours.yaml --calendar holidays=rule.ics", 2),
        ("schedule check -f hours.yaml --calendar holidays=cut.ics", 2),
        ("schedule check -f hours.yaml --calendar holidays=hours.yaml", 2),
        ("schedule check -f hours.yaml --calendar holidays", 2),
        ("schedule check -f hours.yaml --zone Mars/Olympus", 2),
        ("schedule check -f holidays.ics", 2),
        ("schedule windows -f hours.yaml --link-id 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a11", 2),
        (
            "schedule windows -f hours.yaml --calendar holidays=holidays.ics --zone Asia/Tokyo \
             --from 2040-03-28T00:00:00Z --to 2040-04-04T00:00:00Z",
            0,
        ),
        (
            "schedule windows -f hours.yaml --calendar holidays=holidays.ics --zone Asia/Tokyo \
             --from 2040-03-28T00:00:00Z --to 2040-04-04T00:00:00Z --output json",
            0,
        ),
        (
            "schedule compile -f hours.yaml --calendar holidays=holidays.ics --zone Europe/Kyiv --from 2040-01-01 --days 200",
            0,
        ),
        ("schedule compile -f bad.yaml", 2),
    ] {
        let ran = shell.run(&args.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(exit), "{ran}");
        log.step(args, &ran);
    }
    log.check();
}

#[test]
fn what_was_compiled_is_applied_and_compiling_further_ahead_changes_only_what_says_something_else() {
    let server = TestServer::start();
    server.add_panels(2);
    let shell = Shell::new(server.address(), Some(server.token()));
    let hours = |except: &[&str]| {
        json!({ "schedules": [{
            "link_id": "3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a10", "name": "Office hours",
            "hours": { "mon-fri": "09:00-18:00" }, "except": except,
        }] })
    };
    let push = |except: &[&str]| {
        shell.file("hours.json", &hours(except).to_string());
        let compile = ["schedule", "compile", "-f", "hours.json", "--from", "2040-01-01"];
        let compiled = shell.run(&compile).stdout;
        let ran =
            shell.run_with(&["apply", "-f", "-", "--all", "--prune", "--yes", "--output", "json"], &compiled);
        assert_eq!(ran.exit, Some(0), "{ran}");
        let batch: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        ["created", "updated", "deleted", "unchanged"]
            .map(|what| batch["items"][what].as_u64().expect("a count"))
    };
    assert_eq!(push(&["2040-06-05"]), [4, 0, 0, 0], "two profiles on two panels");
    assert_eq!(push(&["2040-06-05"]), [0, 0, 0, 4]);
    // A holiday more: what stood up to the first one stays, the one behind it ends earlier, and one begins behind the new one.
    assert_eq!(push(&["2040-06-05", "2040-10-02"]), [2, 2, 0, 2]);
    assert_eq!(push(&["2040-06-05"]), [0, 2, 2, 2]);
}

const ZONES: [&str; 5] =
    ["Europe/Kyiv", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago"];

fn office(except: &Value) -> Value {
    json!({
        "link_id": link(700), "name": "Office hours",
        "hours": { "mon-fri": "09:00-12:30, 13:30-18:00", "sat": "22:00-04:00" },
        "instead": { "12-31 on mon-fri": "09:00-12:00" },
        "except": except,
    })
}

/// The link_id of its part of Saturdays, which begins with the first one of 2024.
fn part_of_office() -> Value {
    let namespace = uuid::Uuid::try_parse(&link(700)).expect("a UUID");
    let mut part = work_week(1, "Part");
    part["link_id"] = uuid::Uuid::new_v5(&namespace, b"22:00-04:00 from 2024-01-06").to_string().into();
    part
}

fn holidays() -> Value {
    json!([{ "name": "holidays", "days": ["01-01", "12-25..12-26", "2026-12-03", { "date": "2027-03-26", "title": "Good Friday" }] }])
}

fn submit(server: &TestServer, body: &Value) -> Answer {
    server.fleet("POST", "/batches").header("prefer", "wait=60").json(body).send()
}

fn counts(answer: &Answer) -> [u64; 4] {
    assert_eq!(answer.status, 200, "{answer}");
    let items = &answer.value()["items"];
    ["created", "updated", "deleted", "unchanged"].map(|what| items[what].as_u64().expect("a count"))
}

/// When these profiles open a door, over two years.
fn opened<'p>(bodies: impl Iterator<Item = &'p Value>, zone: &TimeZone, range: Window) -> Vec<Window> {
    let open = bodies.flat_map(|body| {
        let profile = parse::profile_body(body.to_string().as_bytes(), Family::Android).expect("well-formed");
        Openings::new(&profile, zone).windows(range.from, range.to).expect("a range")
    });
    merged(open.collect())
}

/// When the schedule does.
fn said(schedule: &Value, calendars: &Value, zone: &TimeZone, range: Window) -> Vec<Window> {
    let linked = schedules::schedule(schedule, "", &mut Vec::new()).expect("well-formed");
    let calendars = schedules::calendars(calendars.as_array().expect("a list"), "", &mut Vec::new());
    let resolved = Resolved::new(&linked.schedule, &calendars).expect("its calendars");
    windows(&resolved, zone, range.from, range.to).expect("a range")
}

/// The profiles that a device holds.
fn bodies(devices: &Simulated, n: usize) -> Vec<Value> {
    let mut held = Vec::new();
    for page in 1.. {
        let path = format!("/access/timeprofile/items?limit=50&page_number={page}");
        let answer = devices.by_hand(n, "GET", &path, None);
        let items = answer["list_items"].as_array().expect("a list");
        held.extend(items.iter().cloned());
        if items.len() < 50 {
            return held;
        }
    }
    held
}

/// From two days from now on, over a year and a half.
fn range() -> Window {
    let from = panelsync::clock::now_ms() / 1000 + 2 * 86_400;
    Window { from, to: from + 550 * 86_400 }
}

#[test]
fn one_batch_opens_doors_in_many_zones_by_the_clock_on_their_walls() {
    let server = TestServer::start();
    for zone in ZONES {
        server.add_panel(&zone.replace('/', "-"), &json!({ "zone": zone }));
    }
    let batch = |except: Value| json!({ "all": true, "schedules": { "upsert": [office(&except)] }, "calendars": holidays() });
    let check = |except: Value| {
        for zone in ZONES {
            let held = server
                .fleet("GET", &format!("/panels/{}/profiles?limit=1000", zone.replace('/', "-")))
                .send()
                .value();
            let bodies = held["items"].as_array().expect("a list").iter().map(|item| &item["profile"]);
            let (rules, range) = (TimeZone::get(zone).expect("a zone"), range());
            let said = said(&office(&except), &holidays(), &rules, range);
            assert!(opened(bodies, &rules, range) == said, "{zone}: {held} opens otherwise");
        }
    };
    let first = counts(&submit(&server, &batch(json!(["calendar holidays"]))));
    assert!(first[0] > 0 && first[1..] == [0, 0, 0], "{first:?}");
    check(json!(["calendar holidays"]));
    let again = counts(&submit(&server, &batch(json!(["calendar holidays"]))));
    assert_eq!(again, [0, 0, 0, first[0]], "nothing is new");
    // Another profile with a link_id of that version, and one that people made, stay whatever becomes of the schedule.
    let mut other = work_week(1, "Other hours, 09:00-18:00 from 2026-01-01");
    other["link_id"] = "91c615e3-1040-5815-8ecb-000000000001".into();
    let others = json!({ "all": true, "upsert": [work_week(2, "Work week"), other] });
    counts(&submit(&server, &others));
    counts(&submit(
        &server,
        &json!({ "all": true, "delete": [link(2), "91c615e3-1040-5815-8ecb-000000000001"] }),
    ));
    let longer = counts(&submit(&server, &batch(json!(["calendar holidays", "2027-02-09..2027-02-11"]))));
    assert!(
        longer[0] > 0 && longer[1] > 0 && longer[3] > 0,
        "some parts are new, some end earlier, some stay: {longer:?}"
    );
    check(json!(["calendar holidays", "2027-02-09..2027-02-11"]));
    let shorter = counts(&submit(&server, &batch(json!([]))));
    assert!(shorter[2] > 0, "parts that nobody needs any more are gone: {shorter:?}");
    check(json!([]));
    counts(&submit(&server, &others));
    let gone = counts(&submit(&server, &json!({ "all": true, "schedules": { "delete": [link(700)] } })));
    assert!(gone[2] > 0, "{gone:?}");
    let left = server.fleet("GET", "/panels/Europe-Kyiv/profiles").send().value();
    assert_eq!(left["items"].as_array().expect("a list").len(), 2, "{left}");
}

#[test]
fn a_schedule_that_was_pushed_by_mistake_is_taken_back_and_doors_open_as_before() {
    let server = TestServer::start();
    for zone in ZONES {
        server.add_panel(&zone.replace('/', "-"), &json!({ "zone": zone }));
    }
    let push = |except: Value| {
        let batch =
            json!({ "all": true, "schedules": { "upsert": [office(&except)] }, "calendars": holidays() });
        let answer = submit(&server, &batch);
        assert_eq!(answer.status, 200, "{answer}");
        answer.value()["id"].as_str().expect("an id").to_owned()
    };
    let held = || {
        ZONES.map(|zone| {
            let path = format!("/panels/{}/profiles?limit=1000", zone.replace('/', "-"));
            let held = server.fleet("GET", &path).send().value();
            let held = held["items"].as_array().expect("a list").iter();
            held.map(|item| (item["link_id"].clone(), item["profile"].clone())).collect::<Vec<_>>()
        })
    };
    push(json!(["calendar holidays"]));
    let before = held();
    let mistake = push(json!(["2027-02-09..2027-02-11"]));
    assert_ne!(held(), before);
    let plan =
        server.fleet("POST", &format!("/batches/{mistake}:undo")).json(&json!({ "dry_run": true })).send();
    assert_eq!(plan.status, 200, "{plan}");
    assert!(plan.value()["opening"]["door_hours"].as_u64() > Some(0), "holidays are shut again: {plan}");
    let undone = server
        .fleet("POST", &format!("/batches/{mistake}:undo"))
        .header("prefer", "wait=60")
        .json(&json!({}))
        .send();
    assert_eq!(undone.status, 200, "{undone}");
    assert_eq!(held(), before);
}

#[test]
fn a_part_that_is_bound_stays_and_so_does_all_where_what_is_new_is_refused() {
    let server = TestServer::start();
    server.add_panel("small", &json!({ "zone": "Europe/Kyiv", "capacity": 3 }));
    server.add_panel("bound", &json!({ "zone": "Europe/Kyiv" }));
    let push = |hours: &str| {
        let schedule = json!({ "link_id": link(700), "name": "Hours", "hours": { "mon-fri": hours } });
        let batch = json!({ "all": true, "schedules": { "upsert": [schedule] } });
        submit(&server, &batch).value()
    };
    let held = |panel: &str| {
        let held = server.fleet("GET", &format!("/panels/{panel}/profiles")).send().value();
        let items = held["items"].as_array().expect("a list").iter();
        items.map(|item| item["profile"]["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    push("09:00-12:00, 13:00-18:00");
    let list = server.fleet("GET", "/panels/bound/profiles").send().value();
    let mut parts = list["items"].as_array().expect("a list").iter();
    let part = parts.find(|item| item["profile"]["name"].as_str().expect("a name").contains("09:00"));
    let part = part.expect("the morning")["link_id"].as_str().expect("a link_id").to_owned();
    let mut card = crate::support::identifiers::card(101, "Card", "7001", &[]);
    card["time_profiles"] = json!({ "link_ids": [part] });
    let bound = submit(&server, &json!({ "panels": ["bound"], "identifiers": { "upsert": [card] } }));
    assert_eq!(bound.value()["items"]["created"], 1, "{bound}");
    let batch = push("08:00-11:00, 14:00-19:00");
    assert_eq!(batch["panels"]["partial"], 2, "{batch}");
    let (small, bound) = (held("small"), held("bound"));
    assert!(small.iter().any(|name| name.contains("13:00-18:00")), "all that stood is there: {small:?}");
    assert!(bound.iter().any(|name| name.contains("09:00-12:00")), "the card still opens: {bound:?}");
    assert!(
        !bound.iter().any(|name| name.contains("13:00-18:00")),
        "what nobody is bound to is gone: {bound:?}"
    );
}

#[test]
fn devices_hold_what_the_schedule_says_also_after_a_restart_and_nothing_that_it_said_before() {
    let mut devices = Simulated::start(2, &[]);
    let impatient = |settings: &mut panelsync::config::Settings| {
        settings.devices.timeouts.connect = Duration::from_millis(500);
        settings.devices.check_every = Duration::from_millis(400);
    };
    let mut server = TestServer::start_with(impatient);
    for (n, zone) in ["Europe/Kyiv", "America/New_York"].into_iter().enumerate() {
        let panel = json!({ "zone": zone, "driver": "http", "url": devices.url(n + 1), "username": "admin", "password": "123456" });
        server.add_panel(&format!("r{n}"), &panel);
    }
    let batch = |except: Value| json!({ "all": true, "schedules": { "upsert": [office(&except)] }, "calendars": holidays() });
    let check = |devices: &Simulated, except: Value| {
        for (n, zone) in ["Europe/Kyiv", "America/New_York"].into_iter().enumerate() {
            let (rules, range) = (TimeZone::get(zone).expect("a zone"), range());
            let held = bodies(devices, n + 1);
            let said = said(&office(&except), &holidays(), &rules, range);
            assert!(opened(held.iter(), &rules, range) == said, "{zone}: {held:#?} opens otherwise");
        }
    };
    counts(&submit(&server, &batch(json!(["calendar holidays"]))));
    check(&devices, json!(["calendar holidays"]));
    // Accepted while the devices are away, and kept over a restart: what is not said any more goes, too.
    devices.kill();
    let answer = server.fleet("POST", "/batches").header("prefer", "wait=0").json(&batch(json!([]))).send();
    assert_eq!(answer.status, 202, "{answer}");
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    server.restart_with(impatient);
    devices.restart();
    let until = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let batch = server.fleet("GET", &format!("/batches/{id}")).send().value();
        if batch["state"] == "done" {
            assert_eq!(batch["panels"]["applied"], 2, "{batch}");
            assert!(batch["items"]["deleted"].as_u64() > Some(0), "{batch}");
            break;
        }
        assert!(std::time::Instant::now() < until, "{batch}");
        std::thread::sleep(Duration::from_millis(50));
    }
    check(&devices, json!([]));
    let gone = submit(&server, &json!({ "all": true, "schedules": { "delete": [link(700)] } }));
    assert_eq!(gone.status, 200, "{gone}");
    assert_eq!(devices.holds(1).len() + devices.holds(2).len(), 0);
}

#[test]
fn a_schedule_that_says_nothing_is_refused_with_its_place_and_nothing_is_done() {
    let server = TestServer::start();
    server.add_panels(1);
    let mut log = Transcript::new("fleet_api", "schedules");
    let mut with_zone = office(&json!([]));
    with_zone["zone"] = "Europe/Kyiv".into();
    let mut over = office(&json!([]));
    over["until"] = "2024-12-31".into();
    for (what, body) in [
        (
            "no calendar",
            json!({ "all": true, "schedules": { "upsert": [office(&json!(["calendar holidays"]))] } }),
        ),
        ("a zone of its own", json!({ "all": true, "schedules": { "upsert": [with_zone] } })),
        ("over", json!({ "all": true, "schedules": { "upsert": [over] } })),
        (
            "twice",
            json!({ "all": true, "schedules": { "upsert": [office(&json!([])), office(&json!([]))], "delete": [link(700)] } }),
        ),
        (
            "no hours",
            json!({ "all": true, "schedules": { "upsert": [{ "link_id": link(1), "name": "N", "hours": {} }] } }),
        ),
        (
            "two calendars",
            json!({ "all": true, "schedules": { "upsert": [office(&json!([]))] }, "calendars": [holidays()[0], holidays()[0], 7] }),
        ),
        (
            "other keys",
            json!({ "all": true, "schedules": { "prune": true, "upsert": 7, "delete": [7] }, "calendars": {} }),
        ),
        ("no object", json!({ "all": true, "schedules": [] })),
        (
            "a part of it besides",
            json!({ "all": true, "upsert": [part_of_office()], "delete": [part_of_office()["link_id"]], "schedules": { "upsert": [office(&json!([]))] } }),
        ),
        ("only calendars", json!({ "all": true, "calendars": holidays() })),
    ] {
        log.step(what, &submit(&server, &body));
    }
    log.check();
    let held = server.fleet("GET", "/panels/p001/profiles").send().value();
    assert_eq!(held["items"], json!([]), "{held}");
}
