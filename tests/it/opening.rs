//! What a batch would do to opening hours, before it is sent.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::binary::Shell;
use crate::support::identifiers::card;
use crate::support::profiles::{link, list, once, work_week};
use crate::support::server::TestServer;
use crate::support::snapshot::Transcript;

/// Panels in three zones.
fn fleet(server: &TestServer) {
    for (id, zone) in [
        ("kyiv-1", "Europe/Kyiv"),
        ("kyiv-2", "Europe/Kyiv"),
        ("york-1", "America/New_York"),
        ("utc-1", "UTC"),
        ("utc-2", "UTC"),
    ] {
        let panel = json!({ "id": id, "zone": zone, "labels": { "zone": &id[..id.len() - 2] } });
        server.fleet("POST", "/panels").json(&panel).send();
    }
}

fn submit(server: &TestServer, body: &Value) -> Answer {
    server.fleet("POST", "/batches").header("prefer", "wait=30").json(body).send()
}

fn dry_run(server: &TestServer, body: &Value) -> Value {
    let mut body = body.clone();
    body["dry_run"] = true.into();
    submit(server, &body).value()
}

/// One hour less, or more.
fn until(n: u32, name: &str, hour: i64) -> Value {
    let mut profile = work_week(n, name);
    let from = profile["time_options"]["date_from"].as_i64().expect("a moment");
    profile["time_options"]["date_to"] = (from + (hour - 8) * 3600).into();
    profile
}

#[test]
fn a_dry_run_says_what_it_does_to_opening_hours() {
    let server = TestServer::start();
    fleet(&server);
    let mut log = Transcript::new("fleet_api", "opening");
    let mut ask = |what: &str, body: Value| {
        let plan = dry_run(&server, &body);
        let alone: Vec<_> = plan["plan"]
            .as_array()
            .expect("a plan")
            .iter()
            .map(|panel| format!("{}: {} more, {} less", panel["panel"], panel["gained_s"], panel["lost_s"]))
            .collect();
        log.step(what, &format!("{}\n{:#}", alone.join("\n"), json!({ "opening": plan["opening"] })));
    };
    ask("a new profile", json!({ "all": true, "upsert": [work_week(1, "Work week")] }));
    ask("one that is over", json!({ "all": true, "upsert": [once(1, "Once")] }));
    submit(&server, &json!({ "all": true, "upsert": [work_week(1, "Work week")] }));
    ask("nothing new", json!({ "all": true, "upsert": [work_week(1, "Work week")] }));
    ask("under another name", json!({ "all": true, "upsert": [work_week(1, "Office")] }));
    ask("an hour less", json!({ "all": true, "upsert": [until(1, "Work week", 16)] }));
    ask("what another one covers", json!({ "all": true, "upsert": [until(2, "Short", 12)] }));
    ask("an hour more of it", json!({ "all": true, "upsert": [until(2, "Long", 18)] }));
    ask("instead", json!({ "selector": "zone=utc", "upsert": [until(2, "Long", 18)], "delete": [link(1)] }));
    ask("none any more", json!({ "selector": "zone=kyiv", "delete": [link(1)] }));
    let cards = [
        card(101, "First", "7001", &[1]),
        card(102, "Second", "7002", &[2]),
        card(103, "Any time", "7003", &[]),
    ];
    ask("cards", json!({ "panels": ["utc-1"], "identifiers": { "upsert": cards } }));
    submit(&server, &json!({ "panels": ["utc-1"], "identifiers": { "upsert": cards } }));
    ask("a card's profile comes", json!({ "panels": ["utc-1"], "upsert": [work_week(2, "Second")] }));
    ask(
        "a card's profile is over",
        json!({ "panels": ["utc-1"], "upsert": [once(1, "Once")], "identifiers": { "delete": [link(103)] } }),
    );
    log.check();
}

#[test]
fn a_batch_beyond_the_budget_is_refused_until_it_is_confirmed() {
    let server = TestServer::start_with(|settings| settings.door_hours_budget = Some(500));
    fleet(&server);
    let week = |hour| json!({ "all": true, "upsert": [until(1, "Work week", hour)] });
    // Five doors, twenty days, nine hours.
    let refused = submit(&server, &week(17));
    assert_eq!(refused.status, 409, "{}", refused.value());
    let said = refused.value();
    assert_eq!(said["errors"][0]["path"], "/confirm_door_hours");
    assert_eq!(
        said["errors"][0]["message"],
        "within four weeks the batch would open doors for 900 hours more, on 5 panels, and for 0 hours less, on 0; that is 900 \
         door-hours, and the budget is 500. If that is meant, send it with \"confirm_door_hours\": 900"
    );
    assert_eq!(dry_run(&server, &week(17))["opening"]["door_hours"], 900);
    let with = |hours: Value| {
        let mut batch = week(17);
        batch["confirm_door_hours"] = hours;
        submit(&server, &batch).status
    };
    assert_eq!(with(json!(899)), 409);
    assert_eq!(with(json!("900")), 422);
    assert_eq!(with(json!(900)), 200);
    // An hour more each day is within it, to delete all is not.
    assert_eq!(submit(&server, &week(18)).status, 200);
    assert_eq!(submit(&server, &json!({ "all": true, "delete": [link(1)] })).status, 409);
    let pruned = json!({ "all": true, "prune": true, "confirm_deletes": 5 });
    assert_eq!(submit(&server, &pruned).status, 409, "deletions were confirmed, and the hours were not");
    let mut both = pruned;
    both["confirm_door_hours"] = 1_000.into();
    assert_eq!(submit(&server, &both).status, 200);
}

#[test]
fn the_same_batch_sent_twice_is_not_refused_the_second_time() {
    let server = TestServer::start_with(|settings| settings.door_hours_budget = Some(1));
    fleet(&server);
    let mut batch = json!({ "all": true, "upsert": [work_week(1, "Work week")], "confirm_door_hours": 900 });
    let send = |batch: &Value| {
        let request =
            server.fleet("POST", "/batches").header("idempotency-key", "once").header("prefer", "wait=30");
        request.json(batch).send()
    };
    let first = send(&batch);
    assert_eq!(first.status, 200);
    assert_eq!(send(&batch).value()["id"], first.value()["id"]);
    batch["confirm_door_hours"] = 901.into();
    assert_eq!(send(&batch).status, 422, "the key was used with another body");
}

#[test]
fn the_command_line_shows_it_and_confirms_it() {
    let server = TestServer::start_with(|settings| settings.door_hours_budget = Some(500));
    fleet(&server);
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "opening");
    shell.file("week.json", &list(&[work_week(1, "Work week")]).to_string());
    for (args, exit) in [
        ("apply -f week.json --all --dry-run", 0),
        ("apply -f week.json --all", 2),
        ("apply -f week.json --all --confirm 899", 2),
        ("apply -f week.json --all --confirm 900", 0),
        ("apply -f week.json --all --dry-run", 0),
        ("delete 91c615e3-1040-4815-8ecb-000000000001 --all --dry-run", 0),
        ("delete 91c615e3-1040-4815-8ecb-000000000001 --all --yes", 2),
        ("delete 91c615e3-1040-4815-8ecb-000000000001 --all --yes --confirm 900", 0),
    ] {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        log.step(args, &ran);
        assert_eq!(ran.exit, Some(exit), "{ran}");
    }
    log.check();
}

#[test]
fn what_goes_over_an_hour_that_comes_twice_is_told_all_the_same() {
    // From the first 01:50 to the second 01:10 of London, whenever clocks are set back within four weeks; and else nothing.
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "Europe/London" }));
    let now = panelsync::clock::now_ms() / 1000;
    let zone = jiff::tz::TimeZone::get("Europe/London").expect("a zone");
    let back = zone
        .following(jiff::Timestamp::from_second(now).expect("a moment"))
        .next()
        .expect("a change")
        .timestamp()
        .as_second();
    let mut profile = once(1, "Over it");
    profile["time_options"]["date_from"] = (back - 600).into();
    profile["time_options"]["date_to"] = (back + 600).into();
    let plan = dry_run(&server, &json!({ "all": true, "upsert": [profile] }));
    let hours = u64::from(back < now + 27 * 86_400);
    assert_eq!(plan["opening"]["door_hours"], hours, "{plan}");
}
