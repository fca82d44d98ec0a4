//! What was written is read back as it was sent, and what counts of it is judged: on every family, by both APIs, on
//! devices in another process, and with the door controllers' dates that may be left out.

use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::binary::Shell;
use crate::support::profiles::{link, once, work_week};
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

/// A profile with these `repeat_options`.
fn repeating(n: u32, name: &str, repeat_options: Value) -> Value {
    let mut profile = once(n, name);
    profile["repeat_options"] = repeat_options;
    profile
}

fn custom(n: u32, name: &str, point: &str, options: Value) -> Value {
    let custom = json!({ "repeat_point_type": point, "repeat_looper": 1, "repeat_options": options });
    repeating(
        n,
        name,
        json!({ "repeat_enable": true, "repeat_format": {
            "repeat_type": "custom", "repeat_end": { "format": "never" }, "repeat_custom": custom } }),
    )
}

/// Profiles that hold what does not count, or a list in an order of its own.
fn worded() -> Vec<Value> {
    let format = work_week(0, "")["repeat_options"]["repeat_format"].clone();
    let mut daily = format.clone();
    daily["repeat_type"] = json!("day");
    let mut dated = daily.clone();
    dated["repeat_end"]["date"] = json!(1_799_999_999);
    vec![
        repeating(1, "A weekly rule beside day", json!({ "repeat_enable": true, "repeat_format": daily })),
        repeating(2, "A date beside never", json!({ "repeat_enable": true, "repeat_format": dated })),
        repeating(
            3,
            "A rule beside no repetition",
            json!({ "repeat_enable": false, "repeat_format": format }),
        ),
        custom(4, "Options beside a custom day", "day", json!({ "months": [2] })),
        custom(5, "Weekdays in disorder", "week", json!(["SUN", "MON", "SUN"])),
        custom(
            6,
            "Numbers in disorder",
            "month",
            json!({ "format": "dayNumbers", "range": [31, 1], "months": [3] }),
        ),
        custom(7, "A format of the year", "year", json!({ "format": "dayNumbers", "months": [6, 1] })),
        custom(
            8,
            "A format of the year with a day",
            "year",
            json!({ "format": "parameterizedDay", "months": [1], "range": { "week_order": "last", "day_type": "SUN" } }),
        ),
    ]
}

/// What was sent of a list's item.
fn sent(item: &Value) -> Value {
    let mut item = item.clone();
    let fields = item.as_object_mut().expect("an object");
    for added in ["time_profile_uid", "id", "identifiers"] {
        fields.remove(added);
    }
    item
}

struct Panel<'s> {
    server: &'s TestServer,
    token: String,
    family: &'static str,
}

impl<'s> Panel<'s> {
    fn new(server: &'s TestServer, family: &'static str, version: &str) -> Self {
        server.add_panel(family, &json!({ "api": family, "api_version": version }));
        let token = if family == "door-controller" {
            let login = json!({ "username": "admin", "password": crate::support::server::ADMIN_MD5 });
            let answer = server.call("POST", &format!("/panels/{family}/api/v1/login")).json(&login).send();
            answer.value()["token"].as_str().expect("a token").to_owned()
        } else {
            server.panel_login(family)
        };
        Self { server, token, family }
    }

    fn is_controller(&self) -> bool {
        self.family == "door-controller"
    }

    fn call(&self, method: &str, path: &str) -> Call {
        let base = if self.is_controller() { "time-profiles" } else { "timeprofile" };
        let path = format!("/panels/{}/api/v1/access/{base}{path}", self.family);
        self.server.call(method, &path).bearer(&self.token)
    }

    fn upsert(&self, items: &[Value]) -> Answer {
        let key = if self.is_controller() { "items" } else { "list_items" };
        self.call("POST", "/items/link").json(&json!({ key: items })).send()
    }

    fn list(&self) -> Answer {
        self.call("GET", "/items?limit=50&sort_field=date_from").send()
    }

    /// What it holds, as it was sent, by link_id.
    fn held(&self) -> Vec<Value> {
        let list = self.list().value();
        let items = if self.is_controller() { &list["items"] } else { &list["list_items"] };
        let mut items: Vec<_> = items.as_array().expect("a list").iter().map(sent).collect();
        items.sort_by_key(|item| item["link_id"].as_str().map(str::to_owned));
        items
    }
}

const FAMILIES: [(&str, &str); 3] =
    [("android", "2.9.0"), ("camdroid", "1.3.5"), ("door-controller", "1.2.0")];

#[test]
fn every_family_gives_back_what_it_was_sent() {
    let server = TestServer::start();
    for (family, version) in FAMILIES {
        let panel = Panel::new(&server, family, version);
        let mut log = Transcript::new("panel_api", ["as_sent_", family].concat().leak());
        let mut items = worded();
        log.step("profiles in words of their own", &panel.upsert(&items));
        log.step("what is read back", &panel.list());
        assert_eq!(panel.held(), items, "{family}");
        let revisions = || {
            let profiles = server.fleet("GET", &format!("/panels/{family}/profiles")).send().value();
            let profiles = profiles["items"].as_array().expect("a list").clone();
            profiles.iter().map(|profile| profile["revision"].as_u64().expect("a number")).sum::<u64>()
        };
        assert_eq!(revisions(), 8);
        panel.upsert(&items);
        assert_eq!(revisions(), 8, "the same words once more change nothing");
        // The same in other words is an update: it is read back in those that were sent last.
        items[4] = custom(5, "Weekdays in disorder", "week", json!(["MON", "SUN"]));
        log.step("one of them in other words", &panel.upsert(&items));
        assert_eq!(panel.held(), items, "{family}");
        assert_eq!(revisions(), 9);
        // By uid too.
        let mut body = items[0].clone();
        body.as_object_mut().expect("an object").remove("link_id");
        let created = panel.call("POST", "").json(&body).send();
        log.step("created by uid", &created);
        let uid = created.value()[if panel.is_controller() { "id" } else { "uid" }].clone();
        let place = format!("/item/{uid}");
        log.step("shown", &panel.call("GET", &place).send());
        body["repeat_options"] = items[6]["repeat_options"].clone();
        assert_eq!(panel.call("PATCH", &place).json(&body).send().status, 200);
        log.step("replaced and shown", &panel.call("GET", &place).send());
        body["link_id"] = Value::Null;
        assert_eq!(sent(&panel.call("GET", &place).send().value()), body);
        log.check();
    }
}

/// A door controller names the format of a year beside its months: where none was sent and it counts, and nowhere else.
#[test]
fn a_door_controller_adds_the_format_of_a_year_once_and_where_it_counts() {
    let server = TestServer::start();
    let panel = Panel::new(&server, "door-controller", "1.2.0");
    let counts = custom(1, "Counts", "year", json!({ "months": [1] }));
    let mut ignored = counts.clone();
    ignored["link_id"] = json!(link(2));
    ignored["repeat_options"]["repeat_format"]["repeat_type"] = json!("year");
    let mut off = counts.clone();
    off["link_id"] = json!(link(3));
    off["repeat_options"]["repeat_enable"] = json!(false);
    let quoted = custom(4, r#""repeat_options":{"months":"#, "day", json!({ "months": [1] }));
    let written = custom(5, "Written", "year", json!({ "months": [1], "format": "dayNumbers" }));
    let answer =
        panel.upsert(&[counts.clone(), ignored.clone(), off.clone(), quoted.clone(), written.clone()]);
    assert_eq!(answer.status, 200, "{answer}");
    let mut with_format = counts;
    with_format["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"]["format"] =
        json!("dayNumbers");
    assert_eq!(panel.held(), [with_format, ignored, off, quoted, written]);
    assert_eq!(panel.list().body.matches(r#""format":"dayNumbers""#).count(), 2);
}

fn apply(server: &TestServer, batch: &Value) -> Answer {
    server.fleet("POST", "/batches").header("prefer", "wait=20").json(batch).send()
}

#[test]
fn the_fleet_gives_back_what_was_sent_and_counts_as_different_what_says_something_else() {
    let server = TestServer::start();
    server.add_panels(3);
    let mut log = Transcript::new("fleet_api", "as_sent");
    let items = worded();
    log.step("a batch", &apply(&server, &json!({ "all": true, "upsert": items })));
    log.step("the same once more", &apply(&server, &json!({ "all": true, "upsert": items })));
    let other = custom(5, "Weekdays in disorder", "week", json!(["MON", "SUN"]));
    let reworded = |dry_run: bool| json!({ "panels": ["p002"], "upsert": [other], "dry_run": dry_run });
    log.step("a dry run of other words on one panel", &apply(&server, &reworded(true)));
    log.step("and the batch", &apply(&server, &reworded(false)));
    log.step("that dry run once more", &apply(&server, &reworded(true)));
    let profile = server.fleet("GET", &format!("/profiles/{}", link(5))).send();
    log.step("they say the same", &profile);
    assert_eq!(profile.value()["versions"].as_array().map(Vec::len), Some(1), "{profile}");
    let mut changed = other.clone();
    changed["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_options"] = json!(["MON"]);
    apply(&server, &json!({ "panels": ["p002"], "upsert": [changed] }));
    log.step("one says something else", &server.fleet("GET", &format!("/profiles/{}", link(5))).send());
    log.step("all profiles", &server.fleet("GET", "/profiles").send());
    log.step("of one panel", &server.fleet("GET", "/panels/p002/profiles?limit=2").send());
    log.check();
}

#[test]
fn devices_in_another_process_are_sent_what_was_written_and_do_not_differ() {
    let devices = Simulated::start(1, &[]);
    let server = TestServer::start();
    let panel = json!({ "id": "d1", "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" });
    assert_eq!(server.fleet("POST", "/panels").json(&panel).send().status, 201);
    let items = worded();
    let done = apply(&server, &json!({ "all": true, "upsert": items }));
    assert_eq!(done.value()["panels"]["applied"], 1, "{done}");
    let list = devices.by_hand(1, "GET", "/access/timeprofile/items/link?limit=50", None);
    let mut held: Vec<_> = list["list_items"].as_array().expect("a list").iter().map(sent).collect();
    held.sort_by_key(|item| item["link_id"].as_str().map(str::to_owned));
    assert_eq!(held, items);
    let diff = server.fleet("GET", "/diff").send();
    assert_eq!(diff.value()["items"][0]["state"], "same", "{diff}");
    // Adopted by another server, it is desired in the same words.
    let second = TestServer::start();
    let adopted = second.fleet("POST", "/panels?adopt=true").json(&panel).send();
    assert_eq!(adopted.status, 201, "{adopted}");
    let profiles = second.fleet("GET", "/panels/d1/profiles").send().value();
    let named = profiles["items"].as_array().expect("a list").iter().map(|profile| {
        let mut item = profile["profile"].clone();
        item["link_id"] = profile["link_id"].clone();
        item
    });
    assert_eq!(named.collect::<Vec<_>>(), items);
    let again = apply(&second, &json!({ "all": true, "upsert": items }));
    assert_eq!(again.value()["items"]["unchanged"], 8, "{again}");
}

#[test]
fn a_file_of_profiles_is_pushed_in_its_own_words() {
    let server = TestServer::start();
    server.add_panels(1);
    let shell = Shell::new(server.address(), Some(server.token()));
    let file = "
- link_id: 91c615e3-1040-4815-8ecb-000000000001
  name: Work week
  time_options: { is_all_day: true, date_from: 1735804800, date_to: 1735804800 }
  repeat_options:
    repeat_enable: true
    repeat_format:
      repeat_type: day
      repeat_end: { format: never }
      repeat_custom: { repeat_point_type: week, repeat_looper: 5, repeat_options: [FRI, MON] }
";
    shell.file("profiles.yaml", file);
    let ran = shell.run(&["apply", "-f", "profiles.yaml", "--all"]);
    assert_eq!(ran.exit, Some(0), "{ran}");
    let profile = server.fleet("GET", &format!("/profiles/{}", link(1))).send().value();
    let format = &profile["versions"][0]["profile"]["repeat_options"]["repeat_format"];
    assert_eq!(format["repeat_custom"]["repeat_options"], json!(["FRI", "MON"]), "{profile}");
}

fn without(mut profile: Value, dates: &[&str]) -> Value {
    for date in dates {
        profile["time_options"].as_object_mut().expect("an object").remove(*date);
    }
    profile
}

fn all_day(mut profile: Value) -> Value {
    profile["time_options"]["is_all_day"] = json!(true);
    profile
}

#[test]
fn a_door_controllers_profile_may_lack_its_dates() {
    let server = TestServer::start();
    let door = Panel::new(&server, "door-controller", "1.2.0");
    let panel = Panel::new(&server, "android", "2.9.0");
    let both = ["date_from", "date_to"];
    let items = [
        without(all_day(work_week(1, "Work days")), &both),
        without(work_week(2, "Work days round the clock"), &both),
        without(once(3, "Always"), &both),
        without(once(4, "From then on"), &["date_to"]),
        without(once(5, "Until then"), &["date_from"]),
        without(work_week(6, "A day from then on"), &["date_to"]),
    ];
    let mut log = Transcript::new("panel_api", "without_dates");
    log.step("to a door controller", &door.upsert(&items));
    log.step("what is read back", &door.list());
    assert_eq!(door.held(), items);
    let mut null = items[0].clone();
    null["time_options"]["date_from"] = Value::Null;
    null["time_options"]["date_to"] = Value::Null;
    door.upsert(&[null.clone()]);
    assert_eq!(door.held(), items, "null is as if it were absent");
    log.step(
        "by date",
        &door.call("GET", "/items?sort_field=date_to&filter_field=date_to&filter_value=253402300799").send(),
    );
    log.step("to a panel", &panel.upsert(&items));
    null["time_options"]["date_from"] = json!(0);
    log.step("null to a panel", &panel.upsert(&[null]));
    let sentences = server.fleet("GET", "/panels/door-controller/profiles").send().value();
    let sentences = sentences["items"].as_array().expect("a list").iter();
    for profile in sentences {
        log.step("when it opens", &profile["sentence"]);
    }
    for item in &items {
        let body = json!({ "profile": item, "zone": "Europe/Kyiv", "from": "2026-11-20T00:00:00Z", "to": "2026-11-24T00:00:00Z" });
        log.step("its windows from Friday to Monday", &server.fleet("POST", "/windows").json(&body).send());
    }
    log.step(
        "the fleet, to the door controller",
        &apply(&server, &json!({ "panels": ["door-controller"], "upsert": items })),
    );
    log.step("the fleet, to both", &apply(&server, &json!({ "all": true, "upsert": items })));
    log.step(
        "a dry run, to both",
        &apply(&server, &json!({ "all": true, "upsert": items, "dry_run": true })),
    );
    log.check();
    let calendar = server.fleet("GET", "/panels/door-controller/profiles.ics").send();
    assert_eq!(calendar.status, 200, "{calendar}");
}
