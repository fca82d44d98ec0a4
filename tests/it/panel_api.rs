//! The panel API byte for byte: every documented call with its success and each of its errors.

use panelsync::config::Settings;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::profiles::{data, link, list, never, once, work_week};
use crate::support::server::{ADMIN_MD5, TestServer};
use crate::support::snapshot::Transcript;

/// A server with one panel, and the administrator logged in on it.
struct Panel {
    server: TestServer,
    token: String,
}

impl Panel {
    fn new(fields: &Value) -> Self {
        let server = TestServer::start();
        server.add_panel("p1", fields);
        let token = server.panel_login("p1");
        Self { server, token }
    }

    fn call(&self, method: &str, path: &str) -> Call {
        self.server.call(method, &format!("/panels/p1/api/v1{path}")).bearer(&self.token)
    }

    fn upsert(&self, body: &Value) -> Answer {
        self.call("POST", "/access/timeprofile/items/link").json(body).send()
    }

    fn all(&self) -> Answer {
        self.call("GET", "/access/timeprofile/items?limit=50").send()
    }
}

#[test]
fn a_session_is_opened_with_the_md5_and_is_dead_after_logout() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "Europe/Kyiv" }));
    server.add_panel("p2", &json!({ "api": "camdroid", "api_version": "1.3.5" }));
    server.add_user("guard", "operator");
    let mut log = Transcript::new("panel_api", "session");
    log.step("what the panel is, without a token", &server.call("GET", "/panels/p1/api/info").send());
    log.step("a camdroid panel", &server.call("GET", "/panels/p2/api/info").send());
    let login = |query: &str| server.call("GET", &format!("/panels/p1/api/v1/login{query}")).send();
    log.step("the documented login", &login(&format!("?username=admin&password={ADMIN_MD5}")));
    log.step(
        "the MD5 in lower case",
        &login(&format!("?username=admin&password={}", ADMIN_MD5.to_lowercase())),
    );
    let guard = "?username=guard&password=d8d6ad0d8d6d5ac39f04f9b75aa9ab27";
    log.step("no username", &login(&format!("?password={ADMIN_MD5}")));
    log.step("no password", &login("?username=admin"));
    log.step("a wrong password", &login(guard));
    log.step("the password in clear", &login("?username=admin&password=123456"));
    log.step("an unknown user", &login(&format!("?username=nobody&password={ADMIN_MD5}")));
    let time = |token: Option<&str>| {
        let call = server.call("GET", "/panels/p1/api/v1/device/time");
        token.into_iter().fold(call, Call::bearer).send()
    };
    let token = server.panel_login("p1");
    log.step("the panel's time in its zone", &time(Some(&token)));
    log.step("no token", &time(None));
    log.step("an unknown token", &time(Some("91c615e3-1040-4815-8ecb-039a18b756b5")));
    log.step("another panel's token", &time(Some(&server.panel_login("p2"))));
    log.step("a token of the fleet API", &time(Some(server.token())));
    log.step("logout", &server.call("POST", "/panels/p1/api/v1/logout").bearer(&token).send());
    log.step("the token after the logout", &time(Some(&token)));
    let token = server.panel_login("p1");
    log.step("logout by GET", &server.call("GET", "/panels/p1/api/v1/logout").bearer(&token).send());
    log.step("that token after the logout", &time(Some(&token)));
    log.step("no such panel", &server.call("GET", "/panels/p9/api/info").send());
    log.step("no such path", &server.call("GET", "/panels/p1/api/v1/nothing").send());
    log.check();
}

#[test]
fn an_account_that_is_no_administrator_may_read_and_nothing_else() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_panel("p2", &json!({ "api": "camdroid", "api_version": "1.3.5" }));
    server.add_user("guard", "operator");
    let md5 = "58bc19a8f5a1b6e12adf8e1b7ad7d0c1";
    assert_ne!(md5, ADMIN_MD5);
    let mut log = Transcript::new("panel_api", "not_administrator");
    let md5 = md5_of("guard-password");
    for panel in ["p1", "p2"] {
        let login = format!("/panels/{panel}/api/v1/login?username=guard&password={md5}");
        log.step(&format!("login on {panel}"), &server.call("GET", &login).send());
        let token = server.panel_login_as(panel, "guard", &md5);
        let call = |method: &str, path: &str| {
            server.call(method, &format!("/panels/{panel}/api/v1{path}")).bearer(&token)
        };
        log.step("may read", &call("GET", "/access/timeprofile/items/link").send());
        let body = list(&[once(1, "x")]);
        log.step("may not upsert", &call("POST", "/access/timeprofile/items/link").json(&body).send());
        let ids = json!({ "link_ids": [link(1)] });
        log.step("may not delete", &call("DELETE", "/access/timeprofile/items/link").json(&ids).send());
        log.step("may not create", &call("POST", "/access/timeprofile").json(&once(1, "x")).send());
        log.step("may not replace", &call("PATCH", "/access/timeprofile/item/1").json(&once(1, "x")).send());
        log.step("may not delete by uid", &call("DELETE", "/access/timeprofile/item/1").send());
    }
    log.check();
}

fn md5_of(password: &str) -> String {
    use md5::{Digest, Md5};
    Md5::digest(password.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_documented_bodies_are_accepted_whole_and_read_back() {
    let panel = Panel::new(&json!({}));
    let mut log = Transcript::new("panel_api", "documented");
    log.step("the documented body", &panel.upsert(&data("valid-documented.json")));
    log.step("as it is read back", &panel.all());
    log.step("every kind of rule", &panel.upsert(&data("valid-kinds.json")));
    log.step("as they are read back", &panel.all());
    log.step("once more", &panel.upsert(&data("valid-kinds.json")));
    log.check();
}

#[test]
fn each_faulty_body_gets_its_one_error_and_changes_nothing() {
    let panel = Panel::new(&json!({}));
    panel.upsert(&list(&[work_week(9, "Before")]));
    let before = panel.all().body;
    let mut log = Transcript::new("panel_api", "invalid");
    for case in data("invalid.json").as_array().expect("a list") {
        let mut body = case["body"].clone();
        // A good item before and after the faulty one must not be applied either.
        let items = body["list_items"].as_array_mut().expect("a list");
        items.insert(0, once(1, "good"));
        items.push(once(2, "good"));
        let answer = panel.upsert(&case["body"]);
        assert_eq!((answer.status, &answer.value()["error"]), (400, &case["error"]), "{answer}");
        let answer = panel.upsert(&body);
        assert_eq!((answer.status, &answer.value()["error"]), (400, &case["error"]), "{answer}");
        log.step(case["error"].as_str().expect("a text"), &answer);
    }
    assert_eq!(panel.all().body, before, "nothing was applied");
    log.check();
}

/// Sets the value at a JSON pointer, or removes it.
fn change(profile: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = profile.pointer_mut(parent).expect("it is there").as_object_mut().expect("an object");
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
}

#[test]
fn every_required_field_is_missed_and_every_type_is_checked() {
    let panel = Panel::new(&json!({}));
    let mut log = Transcript::new("panel_api", "fields");
    let format = "/repeat_options/repeat_format";
    let custom = format!("{format}/repeat_custom");
    let mut month = work_week(1, "x");
    change(&mut month, &format!("{custom}/repeat_point_type"), Some(json!("month")));
    let mut year = month.clone();
    change(&mut year, &format!("{custom}/repeat_point_type"), Some(json!("year")));
    let options = format!("{custom}/repeat_options");
    change(
        &mut month,
        &options,
        Some(json!({ "format": "parameterizedDay", "range": { "week_order": "first", "day_type": "MON" } })),
    );
    change(
        &mut year,
        &options,
        Some(json!({ "months": [1], "range": { "week_order": "first", "day_type": "MON" } })),
    );
    let mut dated = work_week(1, "x");
    change(
        &mut dated,
        &format!("{format}/repeat_end"),
        Some(json!({ "format": "date", "date": 1_800_000_000 })),
    );
    let mut errors = String::new();
    for (profile, fields) in [
        (
            &work_week(1, "x"),
            vec![
                "/link_id".to_owned(),
                "/name".into(),
                "/time_options".into(),
                "/time_options/is_all_day".into(),
                "/time_options/date_from".into(),
                "/time_options/date_to".into(),
                "/repeat_options".into(),
                "/repeat_options/repeat_enable".into(),
                format.into(),
                format!("{format}/repeat_type"),
                format!("{format}/repeat_end"),
                format!("{format}/repeat_end/format"),
                custom.clone(),
                format!("{custom}/repeat_point_type"),
                format!("{custom}/repeat_looper"),
                options.clone(),
            ],
        ),
        (&dated, vec![format!("{format}/repeat_end/date")]),
        (
            &month,
            vec![
                format!("{options}/format"),
                format!("{options}/range"),
                format!("{options}/range/week_order"),
                format!("{options}/range/day_type"),
            ],
        ),
        (
            &year,
            vec![
                format!("{options}/months"),
                format!("{options}/range/week_order"),
                format!("{options}/range/day_type"),
            ],
        ),
    ] {
        for field in fields {
            for (what, value) in
                [("absent", None), ("null", Some(Value::Null)), ("of another type", Some(json!(1.5)))]
            {
                let mut faulty = profile.clone();
                change(&mut faulty, &field, value);
                let answer = panel.upsert(&list(&[faulty]));
                assert_eq!(answer.status, 400, "{field} {what}: {answer}");
                errors.push_str(&format!("{field} {what}: {}\n", answer.body));
            }
        }
    }
    log.step("each field absent, null and of another type", &errors);
    log.check();
}

#[test]
fn bodies_that_are_no_list_of_profiles_are_refused_in_their_words() {
    let panel = Panel::new(&json!({}));
    let mut log = Transcript::new("panel_api", "bodies");
    let post = |body: &str| {
        panel
            .call("POST", "/access/timeprofile/items/link")
            .header("content-type", "application/json")
            .raw(body)
            .send()
    };
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{}",
        r#"{"items":[]}"#,
        r#"{"list_items":null}"#,
        r#"{"list_items":{}}"#,
        r#"{"list_items":[1]}"#,
        r#"{"list_items":[null]}"#,
        r#"{"list_items":[]}"#,
        "{\"list_items\":[]}\u{0}",
    ] {
        log.step(&format!("the body {body:?}"), &post(body));
    }
    let deep = format!("{{\"list_items\":{}", "[".repeat(100_000));
    assert_eq!(post(&deep).body, r#"{"error":"Wrong JSON body"}"#);
    let delete = |body: &str| {
        panel
            .call("POST", "/access/timeprofile/link/delete")
            .header("content-type", "application/json")
            .raw(body)
            .send()
    };
    for body in [
        "",
        "[]",
        "{}",
        r#"{"link_ids":"x"}"#,
        r#"{"link_ids":[1]}"#,
        r#"{"link_ids":["x"]}"#,
        r#"{"link_ids":[]}"#,
    ] {
        log.step(&format!("delete with the body {body:?}"), &delete(body));
    }
    log.step(
        "a wrong content type",
        &panel
            .call("POST", "/access/timeprofile/items/link")
            .header("content-type", "text/plain")
            .raw("{}")
            .send(),
    );
    log.check();
}

#[test]
fn the_first_faulty_item_decides_and_its_structure_before_its_values() {
    let panel = Panel::new(&json!({}));
    let error =
        |items: &[Value]| panel.upsert(&list(items)).value()["error"].as_str().expect("an error").to_owned();
    let format = "/repeat_options/repeat_format";
    let mut wrong_type_of_rule = work_week(1, "x");
    change(&mut wrong_type_of_rule, &format!("{format}/repeat_type"), Some(json!("sometimes")));
    let mut no_name = work_week(2, "x");
    change(&mut no_name, "/name", None);
    assert_eq!(error(&[wrong_type_of_rule.clone(), no_name.clone()]), "Wrong repeat_type");
    assert_eq!(error(&[no_name, wrong_type_of_rule.clone()]), "Wrong JSON body: no value for `name`");
    // In one item a mistyped field comes before a wrong value, though the value stands earlier.
    let mut both = wrong_type_of_rule.clone();
    change(&mut both, &format!("{format}/repeat_end/format"), Some(json!(1)));
    assert_eq!(error(&[both]), "Wrong JSON body: value `format` was of the wrong type");
    // Values in the order of the field table: repeat_type, repeat_end, point type, looper, options.
    let mut values = work_week(1, "");
    let custom = format!("{format}/repeat_custom");
    let mut found = Vec::new();
    change(&mut values, &format!("{format}/repeat_type"), Some(json!("sometimes")));
    change(&mut values, &format!("{format}/repeat_end/format"), Some(json!("sometime")));
    change(&mut values, &format!("{custom}/repeat_looper"), Some(json!(0)));
    change(&mut values, &format!("{custom}/repeat_options"), Some(json!(["FUNDAY"])));
    for (pointer, good) in [
        ("/name".to_owned(), json!("x")),
        (format!("{format}/repeat_type"), json!("custom")),
        (format!("{format}/repeat_end/format"), json!("never")),
        (format!("{custom}/repeat_looper"), json!(1)),
        (format!("{custom}/repeat_options"), json!(["MON"])),
    ] {
        found.push(error(std::slice::from_ref(&values)));
        change(&mut values, &pointer, Some(good));
    }
    assert_eq!(
        found,
        [
            "Wrong JSON body: value `name` was of the wrong type",
            "Wrong repeat_type",
            "Wrong format enum name",
            "Wrong repeat_looper range",
            "Wrong repeat_options enum name"
        ]
    );
    assert_eq!(panel.upsert(&list(&[values])).status, 200);
}

#[test]
fn what_is_not_read_may_hold_anything() {
    let panel = Panel::new(&json!({}));
    let mut log = Transcript::new("panel_api", "ignored");
    let mut profile = once(1, "Once");
    profile["repeat_options"]["repeat_format"] = json!("anything");
    profile["unknown"] = json!({ "a": [1] });
    let mut daily = work_week(2, "Daily");
    daily["repeat_options"]["repeat_format"]["repeat_type"] = json!("day");
    daily["repeat_options"]["repeat_format"]["repeat_custom"] = json!(7);
    daily["repeat_options"]["repeat_format"]["repeat_end"]["date"] = json!("x");
    let body = json!({ "unknown": 1, "list_items": [profile, daily] });
    log.step(
        "unknown and unread properties",
        &panel.call("POST", "/access/timeprofile/items/link?unknown=1").json(&body).send(),
    );
    log.step("what is kept", &panel.all());
    log.step(
        "no content type",
        &panel.call("POST", "/access/timeprofile/items/link").raw(list(&[once(3, "x")]).to_string()).send(),
    );
    log.check();
}

#[test]
fn each_item_has_its_own_result() {
    let mut log = Transcript::new("panel_api", "per_item");
    for case in data("per-item.json").as_array().expect("a list") {
        let panel = Panel::new(&json!({}));
        let answer = panel.upsert(&case["body"]);
        assert_eq!(answer.value()["result"], case["result"]);
        log.step("the documented results on an empty panel", &answer);
    }
    let panel = Panel::new(&json!({ "capacity": 2 }));
    log.step(
        "a panel of capacity 2 gets three",
        &panel.upsert(&list(&[once(1, "a"), never(2), once(3, "c"), once(4, "d")])),
    );
    log.step("full, and a change is taken", &panel.upsert(&list(&[once(5, "e"), once(1, "a2")])));
    let delete = |method: &str, path: &str, ids: &[u32]| {
        let ids: Vec<_> = ids.iter().map(|n| link(*n)).collect();
        panel.call(method, path).json(&json!({ "link_ids": ids })).send()
    };
    log.step("delete", &delete("DELETE", "/access/timeprofile/items/link", &[1, 9, 1]));
    log.step("delete by POST", &delete("POST", "/access/timeprofile/link/delete", &[3]));
    log.step("nothing is left", &panel.all());
    log.step(
        "the other path of the upsert",
        &panel.call("POST", "/access/timeprofile/link").json(&list(&[once(6, "f")])).send(),
    );
    log.check();
}

#[test]
fn rules_that_depend_on_the_zone_are_judged_in_the_panels_zone() {
    // 2025-01-02 23:30 UTC to 21:30 the same day: two dates in Sydney are one, in the wrong order in none.
    let mut profile = once(1, "x");
    profile["time_options"] =
        json!({ "is_all_day": true, "date_from": 1_735_864_200, "date_to": 1_735_858_800 });
    for (zone, expected) in [("UTC", "invalid_time_rules_settings"), ("America/New_York", "created")] {
        let panel = Panel::new(&json!({ "zone": zone }));
        let answer = panel.upsert(&list(&[profile.clone()]));
        assert_eq!(answer.value()["result"][0]["extended_info"], expected, "{zone}");
    }
}

#[test]
fn from_2_10_0_on_results_tell_taken_names() {
    let mut log = Transcript::new("panel_api", "taken_names");
    for version in ["2.9.0", "2.10.0"] {
        let panel = Panel::new(&json!({ "api_version": version }));
        log.step(
            &format!("{version}: two of one name"),
            &panel.upsert(&list(&[once(1, "Same"), once(2, "Same"), never(3)])),
        );
        log.step("one of them is renamed", &panel.upsert(&list(&[once(2, "Other")])));
        log.step("and the first sent again", &panel.upsert(&list(&[once(1, "Same")])));
        log.step(
            "a delete does not tell",
            &panel
                .call("DELETE", "/access/timeprofile/items/link")
                .json(&json!({ "link_ids": [link(1)] }))
                .send(),
        );
    }
    log.check();
}

#[test]
fn the_calls_by_uid_create_show_replace_and_delete() {
    let panel = Panel::new(&json!({ "capacity": 4 }));
    let mut log = Transcript::new("panel_api", "by_uid");
    let item = |method: &str, uid: &str| panel.call(method, &format!("/access/timeprofile/item/{uid}"));
    log.step("create", &panel.call("POST", "/access/timeprofile").json(&work_week(1, "By uid")).send());
    panel.upsert(&list(&[once(2, "By link")]));
    log.step("show", &item("GET", "1").send());
    log.step("show one made by a link call", &item("GET", "2").send());
    log.step("replace", &item("PATCH", "1").json(&once(1, "Replaced")).send());
    log.step(
        "replace one with a link_id, which stays",
        &item("PATCH", "2").json(&once(7, "Replaced too")).send(),
    );
    log.step("the list", &panel.all());
    log.step(
        "the list at its older path",
        &panel.call("GET", "/access/timeprofile/items/list?limit=50").send(),
    );
    log.step("only those with a link_id", &panel.call("GET", "/access/timeprofile/items/link").send());
    log.step("delete", &item("DELETE", "1").send());
    log.step("gone", &item("GET", "1").send());
    log.step(
        "its uid is not given again",
        &panel.call("POST", "/access/timeprofile").json(&once(1, "New")).send(),
    );
    for uid in ["0", "-1", "x", "99", "99999999999"] {
        log.step(&format!("the uid {uid}"), &item("DELETE", uid).send());
    }
    log.step("replace what is not there", &item("PATCH", "99").json(&once(1, "x")).send());
    log.step("a faulty body", &item("PATCH", "3").json(&json!({ "name": 1 })).send());
    log.step("rules that never open", &panel.call("POST", "/access/timeprofile").json(&never(1)).send());
    let delete = |body: &Value| panel.call("DELETE", "/access/timeprofile/items").json(body).send();
    log.step("delete several of which one is not there", &delete(&json!({ "uid_items": [2, 99] })));
    log.step("a faulty list", &delete(&json!({ "uid_items": ["x"] })));
    log.step("a uid that cannot be", &delete(&json!({ "uid_items": [0] })));
    log.step("no list", &delete(&json!({})));
    panel.upsert(&list(&[once(5, "e"), once(6, "f")]));
    log.step("a full panel", &panel.call("POST", "/access/timeprofile").json(&once(1, "x")).send());
    log.step("delete several", &delete(&json!({ "uid_items": [2, 3, 3] })));
    log.step("what is left", &panel.all());
    log.check();
}

/// Twelve profiles with names and dates that sort differently.
fn twelve(panel: &Panel) {
    let items: Vec<_> = (1..=12)
        .map(|n| {
            let mut profile = once(n, &format!("Profile {}", char::from(b'A' + (n as u8 * 5) % 12)));
            profile["time_options"]["date_from"] = json!(1000 + 10 * i64::from(n));
            profile["time_options"]["date_to"] = json!(5000 - 10 * i64::from(n));
            profile
        })
        .collect();
    assert_eq!(panel.upsert(&list(&items)).status, 200);
}

/// The names of a list and what it says of itself.
fn short(answer: &Answer) -> String {
    if answer.status != 200 {
        return answer.to_string();
    }
    let body = answer.value();
    let names: Vec<_> =
        body["list_items"].as_array().expect("a list").iter().map(|item| item["name"].to_string()).collect();
    format!("{}\n{}\n", names.join(" "), body["list_option"])
}

#[test]
fn android_lists_are_paged_sorted_and_filtered_by_plain_parameters_or_json() {
    let panel = Panel::new(&json!({}));
    twelve(&panel);
    let mut log = Transcript::new("panel_api", "lists_android");
    for query in [
        "",
        "?limit=10&page_number=2",
        "?limit=20",
        "?limit=50&page_number=3",
        "?limit=20&sort_field=date_from&sort_type=desc",
        "?limit=20&sort_field=date_to",
        "?sort_type=desc",
        "?filter_field=name&filter_type=equal&filter_format=string&filter_value=Profile%20F",
        "?filter_field=date_from&filter_type=equal&filter_format=int&filter_value=1030",
        "?filter=%7B%22filter_field%22%3A%22date_to%22%2C%22filter_type%22%3A%22equal%22%2C%22filter_format%22%3A%22int%22%2C%22filter_value%22%3A4970%7D",
        "?filter=%7B%7D",
        "?order_by=nothing%20desc&unknown=1",
        "?limit=5",
        "?limit=x",
        "?page_number=0",
        "?page_number=x",
        "?sort_field=uid",
        "?sort_type=up",
        "?filter_field=uid&filter_value=1",
        "?filter_field=name",
        "?filter_field=name&filter_type=like&filter_value=x",
        "?filter_field=date_from&filter_value=x",
        "?filter=x",
    ] {
        let answer = panel.call("GET", &format!("/access/timeprofile/items/link{query}")).send();
        log.step(&format!("GET items/link{query}"), &short(&answer));
    }
    log.check();
}

#[test]
fn camdroid_lists_take_order_by_and_filter_expressions() {
    let panel = Panel::new(&json!({ "api": "camdroid", "api_version": "1.3.5" }));
    twelve(&panel);
    let mut log = Transcript::new("panel_api", "lists_camdroid");
    for (order, filter) in [
        ("name desc", ""),
        ("date_from", ""),
        ("date_to asc", "date_from ge 1050"),
        ("name", "(name eq 'Profile F' or date_from ge 1100) and date_to lt 4950"),
        ("name", "not (date_from lt 1110)"),
        ("name", "name nq 'Profile A' and date_from le 1020"),
        ("", "name eq 'Profile"),
        ("", "name like 'x'"),
        ("", "date_from eq 'x'"),
        ("", "(date_from eq 1"),
        ("uid", ""),
        ("name up", ""),
        ("name desc desc", ""),
    ] {
        let mut query = "?limit=20".to_owned();
        for (name, value) in [("order_by", order), ("filter", filter)] {
            if !value.is_empty() {
                query.push_str(&format!("&{name}={}", value.replace(' ', "%20").replace('\'', "%27")));
            }
        }
        let answer = panel.call("GET", &format!("/access/timeprofile/items{query}")).send();
        log.step(&format!("order_by {order:?}, filter {filter:?}"), &short(&answer));
    }
    log.check();
}

#[test]
fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let server = TestServer::start_with(|settings: &mut Settings| settings.body_limit = 2000);
    server.add_panel("p1", &json!({}));
    let token = server.panel_login("p1");
    let post = |body: &Value| {
        server
            .call("POST", "/panels/p1/api/v1/access/timeprofile/items/link")
            .bearer(&token)
            .json(body)
            .send()
    };
    assert_eq!(post(&list(&[once(1, "fits")])).status, 200);
    let answer = post(&list(&[once(1, &"x".repeat(2000))]));
    assert_eq!((answer.status, answer.body.as_str()), (413, r#"{"error":"Body larger than 2000 bytes"}"#));
}

#[test]
fn a_panel_with_an_address_of_its_own_is_at_its_root() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let server =
        TestServer::start_with(|settings: &mut Settings| settings.panel_listen = vec![("p1".into(), any)]);
    let mut log = Transcript::new("panel_api", "own_address");
    log.step("before it is added", &server.own_address("p1", "GET", "/api/info").send());
    server.add_panel("p1", &json!({}));
    log.step("who it is", &server.own_address("p1", "GET", "/api/info").send());
    let login = format!("/api/v1/login?username=admin&password={ADMIN_MD5}");
    let token =
        server.own_address("p1", "GET", &login).send().value()["token"].as_str().expect("a token").to_owned();
    let upsert = server.own_address("p1", "POST", "/api/v1/access/timeprofile/items/link").bearer(&token);
    log.step("upsert", &upsert.json(&list(&[once(1, "x")])).send());
    log.step("the fleet API is not there", &server.own_address("p1", "GET", "/fleet/v1/panels").send());
    log.check();
}

#[test]
fn many_clients_of_one_panel_at_once_are_all_served() {
    let panel = std::sync::Arc::new(Panel::new(&json!({})));
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let panel = std::sync::Arc::clone(&panel);
            std::thread::spawn(move || {
                (0..10)
                    .map(|n| panel.upsert(&list(&[once(client * 10 + n + 1, "x")])).status)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("a client"), [200; 10]);
    }
    assert_eq!(panel.all().value()["list_option"]["pagination"]["total_items"], 640);
}
