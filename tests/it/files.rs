//! Files, the command line's own words, and what a reader of the page is told: what people do by hand and by slip.

use serde_json::{Value, json};

use crate::support::binary::{Ran, Shell};
use crate::support::identifiers::card;
use crate::support::profiles::{link, list, never, once, work_week};
use crate::support::server::{ADMIN_PASSWORD, TestServer};
use crate::support::simulated::Simulated;

fn fleet() -> (TestServer, Shell) {
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    (server, shell)
}

fn run(shell: &Shell, line: &str) -> Ran {
    shell.run(&line.split(' ').collect::<Vec<_>>())
}

/// Runs a command that ends with this.
fn expect(shell: &Shell, exit: i32, line: &str) -> Ran {
    let ran = run(shell, line);
    assert_eq!(ran.exit, Some(exit), "{ran}");
    ran
}

fn ids(server: &TestServer) -> Vec<String> {
    let panels = server.fleet("GET", "/panels?limit=1000").send().value();
    let ids = panels["items"].as_array().expect("a list").iter();
    ids.map(|panel| panel["id"].as_str().expect("an id").to_owned()).collect()
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect()
}

#[test]
fn the_columns_of_a_file_are_known_whatever_their_case_and_near_names_are_asked_about() {
    let (server, shell) = fleet();
    shell.file("good.csv", "ID , Zone,Site,label.timezone\nnorth-01,Europe/Kyiv,north,eet\n");
    expect(&shell, 0, "panel import good.csv");
    let panel = server.fleet("GET", "/panels/north-01").send().value();
    assert_eq!(panel["zone"], "Europe/Kyiv");
    assert_eq!(panel["labels"], json!({ "Site": "north", "timezone": "eet" }));
    for (header, asked) in [
        ("id,timezone", "`zone`"),
        ("id,tz", "`zone`"),
        ("id,zoen", "`zone`"),
        ("id,user", "`username`"),
        ("id,ip", "`url`"),
        ("id,labels", "a column of its own"),
        ("id,Adress", "`url`"),
        ("id,capcity", "`capacity`"),
    ] {
        shell.file("near.csv", &format!("{header}\nx,y\n"));
        let ran = expect(&shell, 2, "panel import near.csv");
        assert!(ran.stderr.contains("line 1, column 2") && ran.stderr.contains(asked), "{ran}");
        assert!(ran.stderr.contains("label."), "it says how a label of that name is written: {ran}");
    }
    for twice in ["id,zone,Zone", "id,site,site", "id,site,label.site"] {
        shell.file("twice.csv", &format!("{twice}\nx,UTC,UTC\n"));
        let ran = expect(&shell, 2, "panel import twice.csv");
        assert!(ran.stderr.contains("column 3") && ran.stderr.contains("column 2"), "{ran}");
    }
    assert_eq!(ids(&server), ["north-01"], "nothing else was added");
}

#[test]
fn files_of_spreadsheets_and_programs_are_imported_as_they_are() {
    let (server, shell) = fleet();
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(shell.home.path().join(name), bytes).expect("written");
    write("bom.csv", "\u{feff}id,zone\r\na1,UTC\r\n\r\n".as_bytes());
    write("little.csv", &utf16("id;zone;site\r\na2;Europe/Kyiv;north\r\n;;\r\n", u16::to_le_bytes));
    write("big.csv", &utf16("id\tzone\r\na3\tUTC\r\n", u16::to_be_bytes));
    write("sep.csv", b"sep=;\r\nid;site\r\na4;north\r\n");
    write("return.csv", b"id,site\rb3,west\r");
    write("quoted.csv", b"\"id\";\"site\"\n\"a5\";\"north\"\n");
    write(
        "array.json",
        "\u{feff}[{\"id\":\"a6\"},\n {\"id\":\"a7\",\n\"labels\":{\"site\":\"north\"}}]\n".as_bytes(),
    );
    write("lines.json", "\u{feff}{\"id\":\"a8\"}\n\n{\"id\":\"a9\"}\n\n".as_bytes());
    write("one.json", b"{\n  \"id\": \"b1\"\n}\n");
    for file in [
        "return.csv",
        "bom.csv",
        "little.csv",
        "big.csv",
        "sep.csv",
        "quoted.csv",
        "array.json",
        "lines.json",
        "one.json",
    ] {
        expect(&shell, 0, &format!("panel import {file}"));
    }
    let ran = shell.run_with(&["panel", "import", "-"], "id,site\nb2,north\n");
    assert_eq!(ran.exit, Some(0), "{ran}");
    assert_eq!(ids(&server), ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b1", "b2", "b3"]);
    let north = expect(&shell, 0, "panel ls -l site=north --output json").stdout;
    let north: Value = serde_json::from_str(&north).expect("JSON");
    assert_eq!(north.as_array().expect("a list").len(), 5);
    // And so are files of profiles.
    write("profiles.json", format!("\u{feff}{}", list(&[once(1, "a")])).as_bytes());
    expect(&shell, 0, "apply -f profiles.json --panel a1");
}

#[test]
fn a_refused_import_names_line_and_column_and_adds_nothing() {
    let (server, shell) = fleet();
    server.add_panel("taken", &json!({}));
    for (content, said) in [
        (
            "id,zone\na,UTC\n\nb,Europe/Kiew\n",
            "line 4, column zone: there is no time zone \"Europe/Kiew\"; did you mean Europe/Kyiv?",
        ),
        ("id,capacity\na,1\nb,many\n", "line 3, column capacity"),
        ("id,zone\na,UTC\ntaken,UTC\n", "line 3, column id"),
        ("id,zone\na,UTC\nb,UTC\na,UTC\n", "line 4, column id: the panel a stands in line 2 already"),
        ("id,zone\na,UTC\nb\n", "line 3 has 1 columns"),
        ("id,zone\na,UTC\nb,UTC,x\n", "line 3 has 3 columns"),
        ("id,zone\n,UTC\n", "line 2, column id"),
        ("id,\"multi\nline\",zone\na,x,UTC\nb,x,nowhere\n", "line 1, column 2"),
        ("id,site\na,\"two\nlines\"\nb,x y\n", "line 2, column site"),
        ("id,zone;x\na,UTC\n", "line 1"),
        ("{\"id\":\"a\"}\n{\"id\":\"b\",\"zone\":\"x\"}\n", "line 2, zone"),
        ("[{\"id\":\"a\"},\n\n{\"id\":\"b\",\"labels\":{\"a b\":\"x\"}}]", "line 3, labels/a b"),
        ("[{\"id\":\"a\"},\n7]", "line 2"),
        ("{\"id\":\"a\"}\n{\"id\":", "line 2"),
        ("", "is empty"),
        ("id,zone\n\n", "has no panel in it"),
        ("name,zone\nx,y\n", "line 1"),
    ] {
        shell.file("bad", content);
        let ran = expect(&shell, 2, "panel import bad");
        assert!(ran.stderr.contains(said), "{said}\n{ran}");
        assert!(ran.stderr.contains("nothing was added"), "{ran}");
        assert_eq!(ids(&server), ["taken"], "{content:?}");
    }
}

#[test]
fn a_password_is_what_stands_on_the_line_with_its_spaces() {
    let (server, shell) = fleet();
    let add = ["user", "add", "olena", "--role", "viewer", "--password-stdin"];
    assert_eq!(shell.run_with(&add, "  spaces and \"quotes\" \r\n").exit, Some(0));
    let login = |password: &str| {
        let shell = Shell::new(server.address(), None);
        shell.run_with(&["login", "--username", "olena", "--password-stdin"], password).exit
    };
    assert_eq!(login("  spaces and \"quotes\" "), Some(0));
    assert_eq!(login("  spaces and \"quotes\" \n"), Some(0));
    assert_eq!(login("spaces and \"quotes\"\n"), Some(4));
    let add = ["user", "add", "petro", "--role", "viewer", "--password-stdin"];
    assert_eq!(shell.run_with(&add, "ends with a return\r\r\n").exit, Some(0));
    let login = |password: &str| {
        let shell = Shell::new(server.address(), None);
        shell.run_with(&["login", "--username", "petro", "--password-stdin"], password).exit
    };
    assert_eq!(login("ends with a return\r\r\n"), Some(0));
    assert_eq!(login("ends with a return\n"), Some(4));
}

#[test]
fn profiles_that_share_an_anchor_are_applied_and_faulty_yaml_is_said_in_words() {
    let (server, shell) = fleet();
    server.add_panel("p1", &json!({}));
    let mut text = format!(
        "- &first\n  link_id: {}\n  name: first\n  time_options: &time {{is_all_day: true, date_from: 1735804800, date_to: 1735804800}}\n  repeat_options: &repeat {{repeat_enable: false}}\n",
        link(1)
    );
    for n in 2..=300 {
        text.push_str(&format!(
            "- {{link_id: {}, name: n{n}, time_options: *time, repeat_options: *repeat}}\n",
            link(n)
        ));
    }
    shell.file("many.yaml", &text);
    expect(&shell, 0, "apply -f many.yaml --all");
    let panel = server.fleet("GET", "/panels/p1").send().value();
    assert_eq!(panel["state"]["profiles"], 300);
    shell.file("faulty.yaml", "- name: a\n- name: *nothing\n");
    let ran = expect(&shell, 2, "apply -f faulty.yaml --all");
    assert!(ran.stderr.contains("line 2"), "{ran}");
    for word in ["budget", "breached", "::", "from_", "<input>"] {
        assert!(!ran.stderr.contains(word), "{ran}");
    }
}

#[test]
fn the_year_9999_is_reached_and_what_lies_beyond_is_said_with_its_place() {
    const LAST: i64 = 253_402_300_799;
    let (server, shell) = fleet();
    for (id, zone) in [("west", "America/New_York"), ("east", "Pacific/Kiritimati")] {
        server.add_panel(id, &json!({ "zone": zone }));
    }
    let mut timed = once(1, "Until the end");
    timed["time_options"]["date_to"] = json!(LAST);
    let mut whole = once(2, "All days");
    whole["time_options"] = json!({ "is_all_day": true, "date_from": 1_735_804_800, "date_to": LAST });
    let mut week = work_week(3, "Every week");
    week["repeat_options"]["repeat_format"]["repeat_end"] = json!({ "format": "date", "date": LAST });
    let mut far = work_week(4, "For ever");
    far["repeat_options"]["repeat_format"]["repeat_end"] = json!({ "format": "date", "date": i64::MAX });
    let mut last_day = once(5, "The last day");
    last_day["time_options"] = json!({ "is_all_day": false, "date_from": LAST - 3600, "date_to": LAST });
    shell.file("last.json", &list(&[timed, whole, week, far, last_day]).to_string());
    expect(&shell, 0, "apply -f last.json --all");
    for panel in ["west", "east"] {
        assert_eq!(server.fleet("GET", &format!("/panels/{panel}")).send().value()["state"]["profiles"], 5);
        let calendar = server.fleet("GET", &format!("/panels/{panel}/profiles.ics")).send().body;
        let mut untils = 0;
        for line in calendar.replace("\r\n ", "").lines() {
            for part in line.split(['=', ':', ';']).filter(|part| part.len() >= 8) {
                let digits = part.chars().take_while(char::is_ascii_digit).count();
                assert!(digits == 8 || digits < 5, "a date has eight digits: {line}");
            }
            untils += usize::from(line.contains("UNTIL=9999"));
        }
        assert_eq!(untils, 2, "{calendar}");
        // In the east the last day begins in the year 10000, which a calendar cannot say.
        let events = if panel == "west" { 5 } else { 4 };
        assert_eq!(calendar.matches("BEGIN:VEVENT").count(), events, "{calendar}");
    }
    for zone in ["UTC", "Pacific/Kiritimati", "America/New_York"] {
        expect(&shell, 0, &format!("profile check -f last.json --zone {zone}"));
        let range = "--from 9999-12-31T00:00:00Z --to 9999-12-31T23:59:59Z --output json";
        let ran = expect(&shell, 0, &format!("profile windows -f last.json --zone {zone} {range}"));
        let windows = |n: u32| -> Value {
            let line = ran.stdout.lines().find(|line| line.contains(&link(n))).expect("a line");
            serde_json::from_str::<Value>(line).expect("JSON")["windows"].clone()
        };
        assert_eq!(windows(1), json!([{ "from": LAST - 86_399, "to": LAST }]), "{zone}");
        assert_eq!(windows(5), json!([{ "from": LAST - 3600, "to": LAST }]), "{zone}");
        expect(&shell, 0, &format!("profile windows -f last.json --zone {zone} --from 9999-12-20T00:00:00Z"));
    }
    let mut beyond = once(1, "Beyond");
    beyond["time_options"]["date_to"] = json!(LAST + 1);
    shell.file("beyond.json", &list(&[beyond]).to_string());
    let ran = expect(&shell, 2, "profile check -f beyond.json");
    assert!(ran.stdout.contains("/list_items/0/time_options/date_to"), "{ran}");
    assert!(ran.stdout.contains("date_to lies outside the years -9999 to 9999"), "{ran}");
    let ran = expect(&shell, 2, "apply -f beyond.json --all");
    let said = "beyond.json /list_items/0/time_options/date_to of profile 91c615e3-1040-4815-8ecb-000000000001: date_to lies outside the years -9999 to 9999";
    assert!(ran.stderr.contains(said), "{ran}");
}

#[test]
fn what_deletes_much_is_done_only_when_it_is_meant() {
    let (server, shell) = fleet();
    server.add_panels(4);
    shell.file("three.json", &list(&[once(1, "a"), once(2, "b"), once(3, "c")]).to_string());
    shell.file("one.json", &list(&[once(1, "a")]).to_string());
    shell.file("none.json", "[]");
    expect(&shell, 0, "apply -f three.json --all");
    let held = || -> u64 {
        let panels = server.fleet("GET", "/panels").send().value();
        panels["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|p| p["state"]["profiles"].as_u64().expect("a number"))
            .sum()
    };
    for (line, said) in [
        ("apply -f one.json --all --prune", "8 profiles on 4 panels"),
        ("apply -f one.json --panel p001 --prune", "2 profiles on 1 panel"),
        ("apply -f none.json --all --prune", "names no profile"),
        ("apply -f none.json --panel p001 --prune", "names no profile"),
        ("delete 91c615e3-1040-4815-8ecb-000000000001 --all", "4 profiles on 4 panels"),
        ("panel rm p001", "3 profiles"),
        ("reconcile --all", "--yes"),
        ("reconcile", "--all"),
    ] {
        let ran = expect(&shell, 2, line);
        assert!(ran.stderr.contains(said), "{said}: {ran}");
        assert_eq!((held(), ids(&server).len()), (12, 4), "{line}");
    }
    // What is told by name, or deletes no more than the file names, needs no more words.
    expect(&shell, 0, "apply -f three.json --panel p001 --prune");
    expect(&shell, 0, "delete 91c615e3-1040-4815-8ecb-000000000003 --panel p001");
    assert_eq!(held(), 11);
    expect(&shell, 0, "apply -f one.json --all --prune --yes");
    assert_eq!(held(), 4);
    expect(&shell, 0, "delete 91c615e3-1040-4815-8ecb-000000000001 --all --yes");
    assert_eq!(held(), 0);
    expect(&shell, 0, "apply -f three.json --panel p001");
    expect(&shell, 0, "apply -f none.json --panel p001 --prune --yes");
    expect(&shell, 0, "panel rm p001 --yes");
    assert_eq!((held(), ids(&server).len()), (0, 3));
}

#[test]
fn a_batch_that_would_delete_more_than_it_names_is_refused_with_the_number_to_confirm() {
    let server = TestServer::start();
    server.add_panels(3);
    let submit = |body: &Value| server.fleet("POST", "/batches").json(body).send();
    submit(&json!({ "all": true, "upsert": [once(1, "a"), once(2, "b"), once(3, "c")] }));
    let mut batch = json!({ "all": true, "upsert": [once(1, "a")], "prune": true });
    for confirmed in [Value::Null, json!(5)] {
        batch["confirm_deletes"] = confirmed;
        let answer = submit(&batch);
        assert_eq!(answer.status, 409, "{answer}");
        assert!(
            answer.value()["detail"].as_str().expect("a text").contains("would delete 6 items"),
            "{answer}"
        );
        assert_eq!(answer.value()["errors"][0]["path"], "/confirm_deletes");
        assert_eq!(
            server.fleet("GET", "/profiles").send().value()["items"].as_array().map(Vec::len),
            Some(3)
        );
    }
    batch["confirm_deletes"] = json!("6");
    assert_eq!(submit(&batch).status, 422);
    batch["confirm_deletes"] = json!(6);
    let send = || server.fleet("POST", "/batches").header("idempotency-key", "k").json(&batch).send();
    let first = send();
    assert_eq!((first.status, &first.value()["items"]["deleted"]), (200, &json!(6)), "{first}");
    // The same request again is the same batch, whatever it would delete by now.
    submit(&json!({ "all": true, "upsert": [once(4, "d"), once(5, "e"), once(6, "f")] }));
    let again = send();
    assert_eq!((again.status, &again.value()["id"]), (200, &first.value()["id"]), "{again}");
    let reconcile = |body: &Value| server.fleet("POST", "/reconcile").json(body).send().status;
    assert_eq!(reconcile(&json!({})), 422);
    assert_eq!(reconcile(&json!({ "dry_run": true })), 422);
    assert_eq!(reconcile(&json!({ "all": true, "dry_run": true })), 200);
}

#[test]
fn a_reconcile_is_looked_at_before_it_deletes() {
    let devices = Simulated::start(1, &[]);
    let (server, shell) = fleet();
    let record = json!({ "id": "d1", "driver": "http", "url": devices.url(1), "username": "admin", "password": "123456" });
    assert_eq!(server.fleet("POST", "/panels").json(&record).send().status, 201);
    shell.file("one.json", &list(&[once(1, "a")]).to_string());
    expect(&shell, 0, "apply -f one.json --all");
    let there = list(&[once(7, "Somebody's")]);
    devices.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&there));
    let ran = expect(&shell, 0, "reconcile --all --dry-run");
    assert!(ran.stdout.contains("extra") && ran.stderr.contains("it would delete 1 profile"), "{ran}");
    let ran = expect(&shell, 2, "reconcile -l driver=http");
    assert!(ran.stderr.contains("deletes 1 profile") && ran.stderr.contains("--yes"), "{ran}");
    assert_eq!(devices.holds(1).len(), 2, "nothing was deleted");
    expect(&shell, 0, "reconcile -l driver=http --yes");
    assert_eq!(devices.holds(1).len(), 1);
    // What deletes nothing is done without a word.
    devices.by_hand(1, "DELETE", "/access/timeprofile/items/link", Some(&json!({ "link_ids": [link(1)] })));
    expect(&shell, 0, "reconcile --panel d1");
    assert_eq!(devices.holds(1).len(), 1);
    // A card is called one.
    shell.file("card.json", &json!({ "identifiers": [card(101, "Ours", "1234567", &[])] }).to_string());
    expect(&shell, 0, "apply -f card.json --all");
    let there = json!({ "list_items": [card(107, "Somebody's", "7654321", &[])] });
    devices.by_hand(1, "POST", "/access/identifier/items/link", Some(&there));
    let ran = expect(&shell, 0, "reconcile --all --dry-run");
    assert!(ran.stderr.contains("it would delete 1 identifier") && !ran.stderr.contains("profile"), "{ran}");
    let ran = expect(&shell, 2, "reconcile -l driver=http");
    assert!(ran.stderr.contains("deletes 1 identifier that nobody asked for"), "{ran}");
    let button = crate::web::Browser::admin(&server).get("/panel/d1/compare").send().body;
    assert!(button.contains("Reconcile, deleting 1 identifier on the device"), "{button}");
}

#[test]
fn labels_of_a_panel_are_changed_one_by_one() {
    let (server, shell) = fleet();
    server.add_panel("p1", &json!({ "labels": { "site": "north", "floor": "1" } }));
    let labels = || server.fleet("GET", "/panels/p1").send().value()["labels"].clone();
    expect(&shell, 0, "panel set p1 --label floor=9");
    assert_eq!(labels(), json!({ "site": "north", "floor": "9" }));
    expect(&shell, 0, "panel set p1 --label floor- --label wing=a --label none-");
    assert_eq!(labels(), json!({ "site": "north", "wing": "a" }));
    expect(&shell, 2, "panel set p1 --label floor");
    let patch = |body: &Value| server.fleet("PATCH", "/panels/p1").json(body).send().status;
    assert_eq!(patch(&json!({ "labels": { "wing": null, "floor": "2" } })), 200);
    assert_eq!(labels(), json!({ "site": "north", "floor": "2" }));
    assert_eq!(patch(&json!({ "labels": null })), 200);
    assert_eq!(labels(), json!({}));
}

#[test]
fn waiting_for_a_batch_ends_and_says_what_is_still_pending() {
    let (server, shell) = fleet();
    let record = json!({ "id": "away", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "x" });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    shell.file("one.json", &list(&[once(1, "a")]).to_string());
    expect(&shell, 0, "apply -f one.json --all --no-wait");
    for line in [
        "batch watch latest --wait 1s",
        "batch retry latest --wait 1s",
        "batch retry latest --no-wait",
        "apply -f one.json --all --wait 1s",
    ] {
        let ran = expect(&shell, 0, line);
        assert!(ran.stderr.contains("1 panel pending; follow with: panelsync batch watch"), "{ran}");
    }
}

/// What the panel, the fleet and the profile say of refusals.
fn told(server: &TestServer, panel: &str, n: u32) -> (Value, Value, Value) {
    let state = server.fleet("GET", &format!("/panels/{panel}")).send().value()["state"].clone();
    let profile = server.fleet("GET", &format!("/profiles/{}", link(n))).send().value();
    let all = server.fleet("GET", "/profiles").send().value();
    let of_all =
        all["items"].as_array().expect("a list").iter().find(|item| item["link_id"] == link(n)).cloned();
    (
        state["refused"].clone(),
        profile["refused"].clone(),
        of_all.map_or(Value::Null, |item| item["states"]["rejected"].clone()),
    )
}

#[test]
fn what_an_embedded_panel_refuses_is_told_until_it_is_taken_or_no_longer_wanted() {
    let mut server = TestServer::start();
    server.add_panel("small", &json!({ "capacity": 1 }));
    server.add_panel("large", &json!({}));
    let submit = |server: &TestServer, body: &Value| server.fleet("POST", "/batches").json(body).send();
    let full =
        json!([{ "kind": "profile", "link_id": link(2), "extended_info": "number_of_identifiers_exceeded" }]);
    submit(&server, &json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    let by_small = json!([{ "panel": "small", "extended_info": "number_of_identifiers_exceeded" }]);
    assert_eq!(told(&server, "small", 2), (full.clone(), by_small.clone(), json!(1)));
    assert_eq!(told(&server, "large", 2).0, Value::Null);
    server.restart();
    assert_eq!(told(&server, "small", 2), (full, by_small, json!(1)), "a restart forgets nothing");
    // Of a profile that stands there, a change that is refused: it stands as it stood.
    let mut changed = once(1, "changed");
    changed["time_options"] = never(1)["time_options"].clone();
    submit(&server, &json!({ "panels": ["large"], "upsert": [changed] }));
    let profiles = server.fleet("GET", "/panels/large/profiles").send().value();
    let state =
        |n: usize| (profiles["items"][n]["state"].clone(), profiles["items"][n]["extended_info"].clone());
    assert_eq!(state(0), (json!("rejected"), json!("invalid_time_rules_settings")));
    assert_eq!(state(1), (json!("applied"), Value::Null));
    // Refused everywhere, it is nowhere but there.
    submit(&server, &json!({ "all": true, "upsert": [never(9)] }));
    assert_eq!(told(&server, "large", 9).2, json!(2));
    assert_eq!(server.fleet("GET", &format!("/profiles/{}", link(9))).send().value()["panels"], 0);
    // Taken at last, deleted, or pruned away, it is told no more.
    submit(&server, &json!({ "all": true, "delete": [link(9)] }));
    assert_eq!(server.fleet("GET", &format!("/profiles/{}", link(9))).send().status, 404);
    submit(&server, &json!({ "panels": ["large"], "upsert": [once(1, "a")] }));
    assert_eq!(told(&server, "large", 1).0, Value::Null);
    server.fleet("PATCH", "/panels/small").json(&json!({ "capacity": 2 })).send();
    submit(&server, &json!({ "panels": ["small"], "upsert": [once(2, "b")] }));
    assert_eq!(told(&server, "small", 2).0, Value::Null);
    submit(&server, &json!({ "panels": ["small"], "upsert": [once(3, "c"), once(3, "again")] }));
    assert_ne!(told(&server, "small", 3).0, Value::Null);
    submit(&server, &json!({ "panels": ["small"], "upsert": [once(1, "a"), once(2, "b")], "prune": true }));
    assert_eq!(told(&server, "small", 3).0, Value::Null);
    server.stop_and_render(); // which checks that it does not contradict itself
}

#[test]
fn equal_panels_that_are_done_together_keep_what_each_refuses() {
    let server = TestServer::start();
    let line = |n: usize| json!({ "id": format!("p{n:03}"), "capacity": 2 - n % 2 }).to_string();
    let lines: Vec<_> = (0..60).map(line).collect();
    assert_eq!(server.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send().status, 201);
    let submit = |body: &Value| server.fleet("POST", "/batches").json(body).send();
    submit(&json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    let rejected = || {
        let panels = server.fleet("GET", "/panels").send().value();
        let panels = panels["items"].as_array().expect("a list").clone();
        panels.iter().filter(|panel| panel["state"]["rejected"] == 1).count()
    };
    assert_eq!((rejected(), told(&server, "p001", 2).2), (30, json!(30)));
    // The same rows again, and a batch that changes none of them.
    submit(&json!({ "all": true, "upsert": [once(1, "a"), once(2, "b")] }));
    assert_eq!(rejected(), 30);
    submit(&json!({ "all": true, "delete": [link(2)] }));
    assert_eq!(rejected(), 0);
    server.stop_and_render(); // which checks that it does not contradict itself
}

#[test]
fn a_panels_line_of_the_command_line_tells_what_it_refuses() {
    let (server, shell) = fleet();
    server.add_panel("small", &json!({ "capacity": 1 }));
    shell.file("two.json", &list(&[once(1, "a"), once(2, "b")]).to_string());
    expect(&shell, 1, "apply -f two.json --all");
    let shown = expect(&shell, 0, "panel show small");
    assert!(
        shown.stdout.contains(&format!("refused     {}: number_of_identifiers_exceeded", link(2))),
        "{shown}"
    );
    assert!(expect(&shell, 0, "panel ls").stdout.contains("online, 1 refused"));
}

/// A page as the administrator sees it.
fn page(server: &TestServer, path: &str) -> String {
    let form = format!("username=admin&password={ADMIN_PASSWORD}");
    let login = server.call("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
    let login = login.raw(form).send();
    let cookie = login.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    let answer = server.call("GET", path).header("cookie", cookie).send();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn a_door_is_said_to_be_open_by_what_its_device_has_confirmed_and_the_rest_is_drawn_apart() {
    let devices = Simulated::start(1, &[]);
    let (server, shell) = fleet();
    let mut always = once(1, "Always");
    always["time_options"] =
        json!({ "is_all_day": true, "date_from": 1_735_804_800, "date_to": 1_735_804_800 });
    always["repeat_options"] = json!({ "repeat_enable": true, "repeat_format": {
        "repeat_type": "day", "repeat_end": { "format": "never" } } });
    // With another one, so that the device is not empty when somebody deletes this one, which would be a reset.
    shell.file("always.json", &list(&[always, once(2, "Other")]).to_string());
    for (id, url, password) in
        [("away", "http://127.0.0.1:9".to_owned(), "x"), ("there", devices.url(1), "123456")]
    {
        let record =
            json!({ "id": id, "driver": "http", "url": url, "username": "admin", "password": password });
        assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    }
    server.add_panel("own", &json!({}));
    run(&shell, "apply -f always.json --all --wait 3s");
    let away = page(&server, "/panel/away");
    assert!(away.contains("shut now</span>, as confirmed by the device"), "{away}");
    assert!(
        away.contains("It would be open now by Always (pending), which the device has not confirmed."),
        "{away}"
    );
    assert!(
        away.contains(r#"<g class="lane lane0 unsure"><title>Always (pending): all day</title>"#),
        "{away}"
    );
    assert!(
        away.contains("Always</b> – <em>pending</em>") || away.contains("Always – <em>pending</em>"),
        "{away}"
    );
    let there = page(&server, "/panel/there");
    assert!(there.contains("open now</span>, as confirmed by the device, by Always"), "{there}");
    assert!(!there.contains("unsure"), "{there}");
    let own = page(&server, "/panel/own");
    assert!(own.contains("open now</span> by Always") && !own.contains("confirmed"), "{own}");
    // Nobody has a card yet; then one is bound to the profile and one to none, which needs none.
    assert!(own.contains("No identifier kept here is bound to Always: nobody opens by that."), "{own}");
    let bound =
        json!({ "panels": ["own"], "identifiers": { "upsert": [card(101, "Bound", "1234567", &[1])] } });
    assert_eq!(server.fleet("POST", "/batches").json(&bound).send().status, 200);
    let own = page(&server, "/panel/own");
    assert!(!own.contains("nobody opens by that") && !own.contains("bound to no profile"), "{own}");
    server.add_panel("bare", &json!({}));
    let bare = page(&server, "/panel/bare");
    assert!(bare.contains("and opens no more") && bare.contains("its door opens for nobody"), "{bare}");
    let free = json!({ "panels": ["own", "bare", "away"], "identifiers": { "upsert": [card(102, "Free", "7654321", &[])] } });
    assert_eq!(server.fleet("POST", "/batches").header("prefer", "wait=1").json(&free).send().status, 202);
    let said = "1 identifier is bound to no profile and opens it at any time within its validity";
    for (panel, end) in [("own", "."), ("bare", "."), ("away", "; the device has not confirmed 1 of them.")] {
        let shown = page(&server, &format!("/panel/{panel}"));
        assert!(shown.contains(&format!("{said}{end}")), "{panel}: {shown}");
        assert!(!shown.contains("opens no more") && !shown.contains("opens for nobody"), "{panel}: {shown}");
    }
    let gone = json!({ "panels": ["away"], "identifiers": { "delete": [link(102)] } });
    assert_eq!(server.fleet("POST", "/batches").header("prefer", "wait=1").json(&gone).send().status, 202);
    let away = page(&server, "/panel/away");
    assert!(away.contains("may still hold 1 identifier that nobody wants there"), "{away}");
    // Somebody deletes it on the device: once that is known, the door is not said to be open by it.
    devices.by_hand(1, "DELETE", "/access/timeprofile/items/link", Some(&json!({ "link_ids": [link(1)] })));
    run(&shell, "diff -l id=there");
    let there = page(&server, "/panel/there");
    assert!(there.contains("shut now</span>, as confirmed by the device"), "{there}");
    assert!(there.contains("Always (missing on the device)"), "{there}");
    // What is to be deleted and may still be there is said too.
    run(&shell, "delete 91c615e3-1040-4815-8ecb-000000000001 --panel away --wait 1s");
    let away = page(&server, "/panel/away");
    assert!(away.contains("may still hold 1 profile that nobody wants there"), "{away}");
}

#[test]
fn what_a_panel_refuses_is_on_its_page_the_fleets_and_the_profiles_with_the_reason() {
    let (server, shell) = fleet();
    server.add_panel("small", &json!({ "capacity": 1 }));
    shell.file("two.json", &list(&[once(1, "a"), once(2, "b")]).to_string());
    run(&shell, "apply -f two.json --all");
    let reason = "number_of_identifiers_exceeded: the panel is full";
    let panel = page(&server, "/panel/small");
    assert!(panel.contains(reason) && panel.contains(&link(2)), "{panel}");
    let profile = page(&server, &format!("/profiles/{}", link(2)));
    assert!(profile.contains(reason) && profile.contains(r#"href="/panel/small""#), "{profile}");
    assert!(page(&server, "/").contains(r#"class="attention">small<i>online, 1 refused</i>"#));
    assert!(page(&server, "/profiles").contains("refused by every panel"));
    assert!(panel.contains("Remove it and its 1 profile"), "the red button names what goes: {panel}");
}

#[test]
fn ids_may_be_abbreviated_as_long_as_they_are_one() {
    let (server, shell) = fleet();
    server.add_panels(2);
    server.add_panel("gate-7", &json!({}));
    shell.file("two.json", &list(&[once(1, "a"), once(0xabc, "b")]).to_string());
    expect(&shell, 0, "apply -f two.json --panel gate p001");
    assert!(expect(&shell, 0, "panel show gate").stdout.contains("gate-7"));
    let ran = expect(&shell, 2, "panel show p0");
    assert!(ran.stderr.contains("p001, p002"), "{ran}");
    let ran = expect(&shell, 2, "panel show gatte-7");
    assert!(ran.stderr.contains("did you mean gate-7?"), "{ran}");
    expect(&shell, 0, "panel set ga --label a=b");
    let latest = expect(&shell, 0, "batch show latest --output json").stdout;
    let id = serde_json::from_str::<Value>(&latest).expect("JSON")["batch"]["id"].clone();
    let id = id.as_str().expect("an id");
    let shown = expect(&shell, 0, &format!("batch show {} --output json", &id[..9])).stdout;
    assert_eq!(shown, latest);
    expect(&shell, 2, "batch show zzz");
    let ran = expect(&shell, 2, "delete 91c615e3 --panel gate-7");
    assert!(ran.stderr.contains(&link(1)) && ran.stderr.contains(&link(0xabc)), "{ran}");
    expect(&shell, 0, "delete 91c615e3-1040-4815-8ecb-00000000000 --panel gate-7");
    expect(&shell, 2, "delete 9 --panel gate-7");
    let profiles = server.fleet("GET", "/panels/gate-7/profiles").send().value();
    assert_eq!(profiles["items"].as_array().map(Vec::len), Some(1));
    expect(&shell, 0, "panel rm gate --yes");
}

#[test]
fn a_selector_that_cannot_be_meant_is_refused_with_the_labels_that_there_are() {
    let (server, shell) = fleet();
    server.add_panel("p1", &json!({ "labels": { "site": "north", "floor": "1" } }));
    server.add_panel("p2", &json!({ "labels": { "site": "south" } }));
    shell.file("one.json", &list(&[once(1, "a")]).to_string());
    for command in [
        "panel ls",
        "apply -f one.json",
        "delete 91c615e3-1040-4815-8ecb-000000000001",
        "diff",
        "reconcile --yes",
    ] {
        for (selector, said) in [
            ("siet=north", "did you mean site?"),
            ("siet=north", "driver, floor, id, site"),
            ("site=nort", "did you mean north?"),
            ("site=west", "The values of site are north, south"),
            ("wing!=a", "no panel has the label wing"),
            ("site=south,floor=1", "no panel meets all its conditions"),
            ("wing", "no panel has the label wing"),
        ] {
            let ran = expect(&shell, 2, &format!("{command} -l {selector}"));
            assert!(ran.stderr.contains(said), "{said}: {ran}");
        }
    }
    for good in ["site!=north", "!wing", "id=p1", "site"] {
        expect(&shell, 0, &format!("panel ls -l {good}"));
    }
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_command_line() {
    let (server, shell) = fleet();
    server.add_panels(1);
    let mut faulty = once(2, "x");
    faulty["name"] = json!(7);
    shell.file("faulty.json", &list(&[once(1, "a"), faulty]).to_string());
    shell.file("empty.json", r#"{"profiles":[],"identifiers":[]}"#);
    for (line, said) in [
        ("panel add p001", "panelsync panel set p001"),
        ("panel add x --zone Kiew", "--zone: there is no time zone \"Kiew\"; did you mean Europe/Kyiv?"),
        ("panel add x --zone Europe/Berln", "did you mean Europe/Berlin?"),
        ("panel set p001 --zone new_york", "did you mean America/New_York?"),
        ("panel add x --capacity 0", "--capacity: "),
        ("profile check -f faulty.json --zone Kiew", "--zone: there is no time zone"),
        (
            "apply -f faulty.json --all",
            "faulty.json /list_items/1/name of profile 91c615e3-1040-4815-8ecb-000000000002: Wrong JSON",
        ),
        (
            "apply -f empty.json --all",
            "empty.json names no profile, no identifier and no schedule: there is nothing to do",
        ),
    ] {
        let ran = expect(&shell, 2, line);
        assert!(ran.stderr.contains(said), "{said}: {ran}");
        for word in ["PATCH", "/zone", "/upsert", "/0/"] {
            assert!(!ran.stderr.contains(word), "{ran}");
        }
    }
}

#[test]
fn windows_that_vanish_with_the_clocks_and_days_that_months_lack_are_warned_of() {
    let shell = Shell::new("127.0.0.1:9".parse().expect("an address"), None);
    let from = 2_524_860_000; // 4 January 2050, 00:00 in Kyiv
    let rule = |n: u32, from: i64, to: i64, kind: &str| {
        let mut profile = once(n, kind);
        profile["time_options"] = json!({ "is_all_day": false, "date_from": from, "date_to": to });
        profile["repeat_options"] = json!({ "repeat_enable": true, "repeat_format": {
            "repeat_type": kind, "repeat_end": { "format": "never" } } });
        profile
    };
    let mut days = rule(5, from, from + 3600, "custom");
    days["repeat_options"]["repeat_format"]["repeat_custom"] = json!({
        "repeat_point_type": "month", "repeat_looper": 1, "repeat_options": { "format": "dayNumbers", "range": [15, 31] } });
    let profiles = [
        rule(1, from + 3 * 3600, from + 4 * 3600, "day"),
        rule(2, from + 3 * 3600 + 1800, from + 4 * 3600, "day"),
        rule(3, from + 2 * 3600, from + 5 * 3600, "day"),
        rule(4, from + 27 * 86_400, from + 27 * 86_400 + 3600, "month"),
        days,
    ];
    shell.file("clocks.json", &list(&profiles).to_string());
    let ran = expect(&shell, 0, "profile check -f clocks.json --zone Europe/Kyiv --output json");
    let checked: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let of = |n: usize| -> Vec<String> {
        let warnings = checked["warnings"].as_array().expect("a list").iter();
        let here = warnings.filter(|warning| warning["path"] == format!("/list_items/{n}"));
        here.map(|warning| warning["message"].as_str().expect("a text").to_owned()).collect()
    };
    for n in [0, 1] {
        assert!(of(n).iter().any(|text| text.contains("27 Mar 2050 the clocks are set forward")), "{ran}");
    }
    assert_eq!(of(2), Vec::<String>::new(), "{ran}");
    for n in [3, 4] {
        assert!(of(n).iter().any(|text| text.contains("months without it are skipped")), "{ran}");
        let sentence = checked["profiles"][n]["sentence"].as_str().expect("a text");
        assert!(sentence.contains("31 of every month (months without it are skipped)"), "{sentence}");
    }
    expect(&shell, 0, "profile check -f clocks.json --zone UTC");
}
