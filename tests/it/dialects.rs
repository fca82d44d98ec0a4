//! What differs between families and versions of panels, byte for byte, on embedded panels: the calls of each with
//! success and errors, and what real clients call beside profiles.

use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::profiles::{data, link, never, once, work_week};
use crate::support::server::{ADMIN_MD5, TestServer};
use crate::support::snapshot::Transcript;

/// `admin` and the tests' password, and `guard` and its own, as HTTP Basic has them.
const BASIC_ADMIN: &str = "Basic YWRtaW46MTIzNDU2";

/// A family, its version, with what its paths begin, and how it calls profiles and lists.
struct Dialect {
    api: &'static str,
    version: &'static str,
    prefix: &'static str,
    profiles: &'static str,
    items: &'static str,
    /// The query of a sorted second page.
    second_page: &'static str,
    /// The query of a filter by name.
    filter: &'static str,
    /// A query that is wrong.
    wrong: &'static str,
    /// The query of any page.
    page: &'static str,
}

const ANDROID: Dialect = Dialect {
    api: "android",
    version: "2.9.0",
    prefix: "/api/v1",
    profiles: "timeprofile",
    items: "list_items",
    second_page: "limit=10&page_number=2&sort_field=date_from&sort_type=desc",
    filter: "filter%5Bfilter_field%5D=name&filter%5Bfilter_type%5D=equal&filter%5Bfilter_value%5D=Once%203",
    wrong: "sort_field=colour",
    page: "limit=10",
};

const CAMDROID: Dialect = Dialect {
    api: "camdroid",
    version: "1.3.5",
    second_page: "limit=10&page_number=2&order_by=date_from%20desc,%20name",
    filter: "limit=10&filter=name%20eq%20'Once%203'&list_options=x",
    wrong: "limit=10&order_by=name,name",
    ..ANDROID
};

const DIALECTS: [(&str, Dialect); 8] = [
    ("android_1_8", Dialect { version: "1.8.0", prefix: "/api/v0", ..ANDROID }),
    ("android_2_9", ANDROID),
    ("android_2_12", Dialect { version: "2.12.0", ..ANDROID }),
    (
        "camdroid_0_6",
        Dialect {
            version: "0.6.0",
            prefix: "/api/v0",
            second_page: "limit=10&pageNumber=2&sortField=date_from&sortType=desc",
            wrong: "sortField=colour",
            ..CAMDROID
        },
    ),
    ("camdroid_1_0", Dialect { version: "1.0.3", ..CAMDROID }),
    ("camdroid_1_3", CAMDROID),
    (
        "ingenic_mips",
        Dialect {
            api: "ingenic-mips",
            version: "1.2.0",
            second_page: "limit=7&page_number=2&order_by=date_from%20desc",
            wrong: "page_number=1",
            ..CAMDROID
        },
    ),
    (
        "door_controller",
        Dialect {
            api: "door-controller",
            version: "1.4.0",
            profiles: "time-profiles",
            items: "items",
            second_page: "limit=10&page_number=2",
            filter: "filter_field=name&filter_value=Once%203",
            wrong: "limit=1001",
            ..ANDROID
        },
    ),
];

impl Dialect {
    fn log_in(&self, server: &TestServer, username: &str, md5: &str) -> Answer {
        let path = format!("/panels/p1{}/login", self.prefix);
        if self.api == "door-controller" {
            let body = json!({ "username": username, "password": md5 });
            return server.call("POST", &path).json(&body).send();
        }
        server.call("GET", &format!("{path}?username={username}&password={md5}")).send()
    }

    fn call(&self, server: &TestServer, method: &str, path: &str) -> Call {
        let path = path.replace("{profiles}", self.profiles);
        server.call(method, &format!("/panels/p1{}{path}", self.prefix))
    }
}

#[test]
fn every_family_answers_every_call_in_its_own_dialect() {
    for (name, dialect) in DIALECTS {
        let server = TestServer::start();
        let fields = json!({ "api": dialect.api, "api_version": dialect.version, "capacity": 12, "zone": "Europe/Kyiv" });
        server.add_panel("p1", &fields);
        server.add_user("guard", "operator");
        let mut log = Transcript::new("panel_api", "family");
        let call = |method: &str, path: &str| dialect.call(&server, method, path);
        let login = dialect.log_in(&server, "admin", ADMIN_MD5);
        log.step("log in", &login);
        log.step(
            "log in with a wrong password",
            &dialect.log_in(&server, "admin", "d41d8cd98f00b204e9800998ecf8427e"),
        );
        log.step("log in without a password", &dialect.log_in(&server, "admin", ""));
        let token = login.value()["token"].as_str().expect("a token").to_owned();
        let by_admin = |method: &str, path: &str| call(method, path).bearer(&token);
        let items: Vec<_> = (1..=11).map(|n| once(n, &format!("Once {n}"))).collect();
        let key = dialect.items;
        let link_path = "/access/{profiles}/items/link";
        log.step("create eleven", &by_admin("POST", link_path).json(&json!({ key: items })).send());
        let mixed = json!({ key: [once(1, "Once 2"), work_week(20, "Work week"), never(21), once(1, "again"), once(22, "too many")] });
        log.step("each outcome of an item", &by_admin("POST", link_path).json(&mixed).send());
        log.step("another family's key", &by_admin("POST", link_path).json(&json!({ "x": [] })).send());
        let sent = format!(r#"{{"{key}":[]}}"#);
        log.step(
            "JSON that says that it is a form",
            &by_admin("POST", link_path)
                .header("content-type", "application/x-www-form-urlencoded")
                .raw(sent.clone())
                .send(),
        );
        log.step("JSON that says nothing", &by_admin("POST", link_path).raw(sent.clone()).send());
        log.step(
            "JSON that says that it is a text",
            &by_admin("POST", link_path).header("content-type", "text/plain").raw(sent.clone()).send(),
        );
        log.step(
            "a packed body",
            &by_admin("POST", link_path).header("content-encoding", "gzip").raw(sent).send(),
        );
        let list = |query: &str| by_admin("GET", &format!("/access/{{profiles}}/items?{query}")).send();
        log.step("the second page, sorted", &list(dialect.second_page));
        log.step("a filter by name", &list(dialect.filter));
        log.step("a wrong parameter", &list(dialect.wrong));
        log.step("those with a link_id", &by_admin("GET", &format!("{link_path}?{}", dialect.filter)).send());
        let deletes = json!({ "link_ids": [link(2), link(99)] });
        log.step("delete", &by_admin("POST", "/access/{profiles}/link/delete").json(&deletes).send());
        log.step(
            "delete by DELETE",
            &by_admin("DELETE", link_path).json(&json!({ "link_ids": [link(3)] })).send(),
        );
        log.step("no login", &call("GET", link_path).send());
        log.step(
            "HTTP Basic",
            &call("DELETE", link_path)
                .header("authorization", BASIC_ADMIN)
                .json(&json!({ "link_ids": [link(4)] }))
                .send(),
        );
        log.step(
            "HTTP Basic with a wrong password",
            &call("GET", link_path).header("authorization", "Basic YWRtaW46MTIzNDU3").send(),
        );
        let guard = dialect.log_in(&server, "guard", GUARD_MD5);
        log.step("who is no administrator logs in", &guard);
        if let Some(guard) = guard.value()["token"].as_str() {
            log.step("and may not delete", &call("DELETE", link_path).bearer(guard).json(&deletes).send());
        }
        log.step("an unknown path", &by_admin("GET", "/access/nothing").send());
        log.step("a method that a path does not take", &by_admin("PUT", link_path).send());
        log.step("nor the login", &by_admin("DELETE", "/login").send());
        log.step("HEAD", &by_admin("HEAD", &format!("{link_path}?{}", dialect.page)).send());
        for case in data("invalid.json").as_array().expect("a list") {
            let body = json!({ key: case["body"]["list_items"] });
            log.step("a faulty item", &by_admin("POST", link_path).json(&body).send());
        }
        by_uid(&dialect, &server, &token, &mut log);
        beside_profiles(&dialect, &server, &token, &mut log);
        log.step("the time", &by_admin("GET", "/device/time").send());
        log.step("log out", &by_admin("POST", "/logout").send());
        log.step("the token is dead", &by_admin("GET", "/device/time").send());
        log.check_as(name);
    }
}

/// The calls by uid, with success and each error.
fn by_uid(dialect: &Dialect, server: &TestServer, token: &str, log: &mut Transcript) {
    let is_controller = dialect.api == "door-controller";
    let item = if is_controller { "/access/{profiles}/" } else { "/access/{profiles}/item/" };
    let call = |method: &str, path: &str| dialect.call(server, method, path).bearer(token);
    let mut profile = once(0, "By uid");
    profile.as_object_mut().expect("an object").remove("link_id");
    let created = call("POST", "/access/{profiles}").json(&profile).send();
    log.step("create by uid", &created);
    let uid = &created.value()[if is_controller { "id" } else { "uid" }];
    log.step("create what never opens", &call("POST", "/access/{profiles}").json(&never(0)).send());
    log.step("create nothing", &call("POST", "/access/{profiles}").json(&json!({})).send());
    log.step("show it", &call("GET", &format!("{item}{uid}")).send());
    profile["name"] = json!("By uid, again");
    log.step("replace it", &call("PATCH", &format!("{item}{uid}")).json(&profile).send());
    log.step("replace it by nothing", &call("PATCH", &format!("{item}{uid}")).json(&json!({})).send());
    for (method, wrong) in [("GET", "9999"), ("PATCH", "9999"), ("DELETE", "9999"), ("GET", "-1")] {
        log.step("no such uid", &call(method, &format!("{item}{wrong}")).json(&profile).send());
    }
    log.step("delete it", &call("DELETE", &format!("{item}{uid}")).send());
    let delete =
        |uids: &Value| call("DELETE", "/access/{profiles}/items").json(&json!({ "uid_items": uids })).send();
    log.step("delete some", &delete(&json!([10, 11])));
    for wrong in [json!([9999]), json!([0]), json!(["1"]), json!(7)] {
        log.step("delete what there is not", &delete(&wrong));
    }
    log.step("no login", &dialect.call(server, "GET", &format!("{item}1")).send());
}

/// What clients call beside profiles, with success and each error.
fn beside_profiles(dialect: &Dialect, server: &TestServer, token: &str, log: &mut Transcript) {
    let call = |method: &str, path: &str| dialect.call(server, method, path).bearer(token);
    let open = "/access/general/lock/open";
    log.step("open a lock", &call("GET", &format!("{open}/remote/accepted/1")).send());
    log.step("no such lock", &call("GET", &format!("{open}/remote/accepted/9")).send());
    log.step(
        "an emergency",
        &call("POST", &format!("{open}/emergency")).json(&json!({ "locks": [2] })).send(),
    );
    log.step("an emergency of no lock", &call("POST", &format!("{open}/emergency")).json(&json!({})).send());
    log.step(
        "its end",
        &call("POST", "/access/general/lock/close/emergency").json(&json!({ "locks": [2] })).send(),
    );
    log.step("the log", &call("GET", "/log/items?filter=access").send());
    log.step("a wrong filter", &call("GET", "/log/items?filter=colour").send());
    log.step("set", &call("POST", "/device/settings/volume").json(&json!({ "volume_level": 3 })).send());
    log.step("read back", &call("GET", "/device/settings/volume").send());
    log.step("set to no object", &call("POST", "/device/settings/volume").json(&json!([3])).send());
    log.step("set what is only read", &call("POST", "/network/mac").json(&json!({})).send());
    log.step("a setting that there is not", &call("GET", "/network/wifi").send());
    log.step("no login", &dialect.call(server, "GET", "/log/items").send());
}

/// The MD5 of the password that [`TestServer::add_user`] gives.
const GUARD_MD5: &str = "7d4a07ed3a9c01ba087602f2d7f74df8";

#[test]
fn older_panels_stand_under_both_prefixes_and_newer_ones_under_one() {
    let server = TestServer::start();
    for (id, api, version, older) in [
        ("a1", "android", "1.8.0", 200),
        ("a2", "android", "2.9.0", 404),
        ("c0", "camdroid", "0.6.0", 200),
        ("c1", "camdroid", "1.3.5", 200),
    ] {
        server.add_panel(id, &json!({ "api": api, "api_version": version }));
        let status = |prefix: &str| {
            let query = format!("username=admin&password={ADMIN_MD5}");
            server.call("GET", &format!("/panels/{id}/api/{prefix}/login?{query}")).send().status
        };
        assert_eq!((status("v1"), status("v0"), status("v2")), (200, older, 404), "{id}");
    }
    let selection = "/fleet/v1/as-panel/driver%3Dembedded/api/v0/device/time";
    assert_eq!(server.call("GET", selection).send().status, 404, "the fleet speaks as a newer one");
}

#[test]
fn what_an_api_and_its_version_may_be_is_said() {
    let server = TestServer::start();
    let mut log = Transcript::new("panel_api", "versions");
    let add = |fields: Value| {
        let mut panel = json!({ "id": "p1" });
        panel.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        server.fleet("POST", "/panels").json(&panel).send()
    };
    log.step("an unknown api", &add(json!({ "api": "windows" })));
    for (api, version) in [
        ("android", "3.0.0"),
        ("camdroid", "2.9.0"),
        ("camdroid", "0.4.0"),
        ("ingenic-mips", "2.0.0"),
        ("door-controller", "0.9.0"),
        ("android", "2.9"),
    ] {
        log.step(&format!("{api} {version}"), &add(json!({ "api": api, "api_version": version })));
    }
    let added = add(json!({ "api": "camdroid" }));
    log.step("a family without a version", &added);
    let change = |fields: Value| server.fleet("PATCH", "/panels/p1").json(&fields).send();
    log.step("another family has another version", &change(json!({ "api": "ingenic-mips" })));
    log.step("a version that it does not have", &change(json!({ "api_version": "2.1.0" })));
    log.check();
}

#[test]
fn a_panel_with_profiles_of_its_family_alone_stays_of_it() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({ "api": "door-controller" }));
    let mut open = once(1, "Always");
    open["time_options"] = json!({ "is_all_day": true });
    let batch = json!({ "panels": ["p1"], "upsert": [open] });
    assert_eq!(server.fleet("POST", "/batches").json(&batch).send().value()["panels"]["applied"], 1);
    let change = || server.fleet("PATCH", "/panels/p1").json(&json!({ "api": "android" })).send();
    let refused = change();
    assert_eq!(refused.status, 422, "{refused}");
    assert!(refused.body.contains("which only a door controller knows"), "{refused}");
    let batch = json!({ "panels": ["p1"], "delete": [link(1)] });
    assert_eq!(server.fleet("POST", "/batches").json(&batch).send().status, 200);
    assert_eq!(change().value()["api_version"], "2.9.0");
}

#[test]
fn what_clients_set_on_a_panel_is_read_back_and_survives_a_restart() {
    let mut server = TestServer::start();
    server.add_panel("p1", &json!({ "zone": "Europe/Kyiv" }));
    server.add_panel("p2", &json!({}));
    server.add_user("guard", "operator");
    let mut log = Transcript::new("panel_api", "settings");
    let token = server.panel_login("p1");
    let guard = server.panel_login_as("p1", "guard", GUARD_MD5);
    let path = |path: &str| format!("/panels/p1/api/v1/{path}");
    {
        let get = |name: &str| server.call("GET", &path(name)).bearer(&token).send();
        let set =
            |name: &str, body: &Value| server.call("POST", &path(name)).bearer(&token).json(body).send();
        for name in SETTINGS {
            log.step("before anybody has set it", &get(name));
        }
        for (name, body) in [
            ("network/ntp", json!({ "custom_server": "ntp.example", "enabled": true, "use_default": false })),
            ("network/timezone", json!({ "timezone": "UTC+03:00" })),
            (
                "access/general/unlock/input/code",
                json!({ "input_code_enable": true, "input_code_number": 4711 }),
            ),
            ("device/sip/settings", json!({ "user": "door", "password": "quite secret" })),
            ("device/sip/enable", json!({ "sip_enable": true })),
            ("device/settings/volume", json!({ "volume_level": 3 })),
            ("device/mode/current", json!({ "current_panel_mode": "wall" })),
        ] {
            log.step("set", &set(name, &body));
            log.step("read back", &get(name));
        }
        log.step(
            "set in the query",
            &server.call("POST", &path("device/language?language=Deutsch")).bearer(&token).send(),
        );
        log.step("read back", &get("device/language"));
        let link =
            json!({ "is_enabled": true, "settings": { "url": "http://link.example", "password": "x" } });
        log.step(
            "set by PUT",
            &server.call("PUT", &path("network/management/server")).bearer(&token).json(&link).send(),
        );
        log.step("no object", &set("network/ntp", &json!([1])));
        log.step("too large", &set("network/ntp", &json!({ "custom_server": "x".repeat(5000) })));
        log.step("what is only read", &set("network/mac", &json!({})));
        log.step("a setting that there is not", &get("network/wifi"));
        let by_guard = |method: &str, name: &str| server.call(method, &path(name)).bearer(&guard);
        log.step("who is no administrator reads", &by_guard("GET", "device/settings/volume").send());
        log.step("but no code", &by_guard("GET", "access/general/unlock/input/code").send());
        log.step("and sets nothing", &by_guard("POST", "device/settings/volume").json(&json!({})).send());
        for name in ["device/settings/volume", "network/mac"] {
            let other = server.panel_login("p2");
            let call = server.call("GET", &format!("/panels/p2/api/v1/{name}")).bearer(&other);
            log.step("another panel has its own", &call.send());
        }
    }
    server.restart();
    let token = server.panel_login("p1");
    let again = |name: &str| server.call("GET", &path(name)).bearer(&token).send();
    log.step("after a restart", &again("device/sip/settings"));
    let put = |name: &str, body: &Value| {
        assert_eq!(server.call("POST", &path(name)).bearer(&token).json(body).send().status, 200);
    };
    put("network/management/server", &json!({ "settings": { "url": "http://other.example" } }));
    log.step("fields within a field stay too", &again("network/management/server"));
    put("device/language", &json!({ "language": "French" }));
    log.step("a language set in the body", &again("device/language"));
    let query = server.call("POST", &path("device/settings/volume?volume_level=7")).bearer(&token).send();
    log.step("a number in the query", &query);
    log.step("is a number", &again("device/settings/volume"));
    log.check();
    let photo = server.call("GET", &path("photo/file")).bearer(&token).open().into_body().read_to_vec();
    assert!(photo.expect("a picture").starts_with(b"\xff\xd8\xff"));
    let restarted = server.call("GET", &path("system/reboot/run")).bearer(&token);
    assert_eq!(restarted.send().status, 200);
    assert_eq!(again("network/ntp").status, 401, "a panel forgets its sessions when it restarts");
    server.fleet("DELETE", "/panels/p1").send();
    let state = server.stop_and_render();
    assert!(!state.contains("  1 network/ntp"), "{state}");
    assert!(!state.contains("quite secret") && !state.contains("4711"), "{state}");
}

const SETTINGS: [&str; 14] = [
    "network/ntp",
    "network/timezone",
    "network/settings",
    "network/mac",
    "network/management/server",
    "access/general/unlock/input/code",
    "sip/status",
    "device/sip/settings",
    "device/sip/enable",
    "device/sip/reregister",
    "device/language",
    "device/settings/volume",
    "device/mode/current",
    "frontend/version",
];

#[test]
fn an_opened_lock_stands_in_the_log_of_its_panel() {
    let mut server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_panel("p2", &json!({ "api": "camdroid" }));
    server.add_panel("p3", &json!({ "api": "door-controller" }));
    server.add_user("guard", "operator");
    let mut log = Transcript::new("panel_api", "locks");
    let token = server.panel_login("p1");
    let path = |path: &str| format!("/panels/p1/api/v1/{path}");
    {
        let call = |method: &str, name: &str| server.call(method, &path(name)).bearer(&token);
        log.step("an empty log", &call("GET", "log/items").send());
        log.step("open the first lock", &call("GET", "access/general/lock/open/remote/accepted/1").send());
        let head = call("HEAD", "access/general/lock/open/remote/accepted/1").send();
        log.step("only the head is asked for, so nothing opens", &head);
        let locks = json!({ "locks": [{ "lock_number": 2, "unlock_time": 10000 }, 0] });
        log.step("an emergency", &call("POST", "access/general/lock/open/emergency").json(&locks).send());
        log.step(
            "and its end",
            &call("POST", "access/general/lock/close/emergency").json(&json!({ "locks": [2] })).send(),
        );
        log.step("the log", &call("GET", "log/items").send());
        log.step(
            "oldest first, a category",
            &call("GET", "log/items?filter=emergency&sort_type=asc&locale=en").send(),
        );
        let other = "filter=%7B%22filter_field%22:%22name%22,%22filter_value%22:%22access%22%7D";
        log.step("a filter by something else", &call("GET", &format!("log/items?{other}")).send());
        let json = "filter=%7B%22filter_field%22:%22category%22,%22filter_value%22:%22access%22%7D";
        log.step(
            "a category as clients of android say it",
            &call("GET", &format!("log/items?{json}")).send(),
        );
        log.step("a time in which nothing was", &call("GET", "log/items?from=1000&to=2000").send());
        for wrong in
            ["from=yesterday", "filter=colour", "sort_type=up", "limit=0", "filter_field=name&filter_value=x"]
        {
            log.step("a wrong parameter", &call("GET", &format!("log/items?{wrong}")).send());
        }
        for wrong in ["9", "-1", "first"] {
            log.step(
                "no such lock",
                &call("GET", &format!("access/general/lock/open/remote/accepted/{wrong}")).send(),
            );
        }
        for wrong in [json!({}), json!({ "locks": 1 }), json!({ "locks": [9] }), json!([])] {
            log.step("no locks", &call("POST", "access/general/lock/open/emergency").json(&wrong).send());
        }
        log.step(
            "a method that opens nothing",
            &call("POST", "access/general/lock/open/remote/accepted/1").send(),
        );
        let guard = server.panel_login_as("p1", "guard", GUARD_MD5);
        log.step(
            "who is no administrator",
            &server.call("GET", &path("access/general/lock/open/remote/accepted/1")).bearer(&guard).send(),
        );
        log.step(
            "reads the log",
            &server.call("GET", &path("log/items?limit=10&filter=emergency")).bearer(&guard).send(),
        );
        let basic = |id: &str, name: &str| {
            let call = server.call("GET", &format!("/panels/{id}/api/v1/{name}"));
            call.header("authorization", BASIC_ADMIN).send()
        };
        for (id, query) in
            [("p2", "?filter=category%20eq%20'access'&order_by=timestamp%20asc"), ("p3", "?limit=1000")]
        {
            log.step("another family's lock", &basic(id, "access/general/lock/open/remote/accepted/0"));
            log.step("and its log", &basic(id, &format!("log/items{query}")));
        }
    }
    let audit = server.fleet("GET", "/audit").send().value();
    let opened =
        audit["items"].as_array().expect("a list").iter().filter(|entry| entry["action"] == "panel.open");
    assert_eq!(opened.count(), 4, "{audit}");
    server.restart();
    let token = server.panel_login("p1");
    let kept = server.call("GET", &path("log/items")).bearer(&token).send().value();
    assert_eq!(kept["list_option"]["pagination"]["total_items"], 3, "{kept}");
    log.check();
}

#[test]
fn who_asks_for_the_head_alone_changes_nothing() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    let token = server.panel_login("p1");
    let path = |path: &str| format!("/panels/p1/api/v1/{path}");
    let head = |path: &str| server.call("HEAD", path).bearer(&token).send();
    let entries =
        || server.fleet("GET", "/audit?limit=1000").send().value()["items"].as_array().map(Vec::len);
    let before = entries();
    for to in [
        path("logout"),
        path("system/reboot/run"),
        path(&format!("login?username=admin&password={ADMIN_MD5}")),
    ] {
        let answer = head(&to);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer}");
    }
    let copy = server.fleet("HEAD", "/backup").send();
    assert_eq!((copy.status, copy.body.as_str()), (200, ""), "{copy}");
    assert_eq!(head(&path("device/time")).status, 200, "the session is still there");
    assert_eq!(entries(), before, "nothing was done, and so nothing is in the audit");
    assert_eq!(server.call("HEAD", "/panels/p1/api/v1/device/time").send().status, 401);
}

#[test]
fn http_basic_takes_what_clients_send() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    server.add_panel("dc", &json!({ "api": "door-controller" }));
    for (name, password) in
        [("colon", "a:b:c:d:e"), ("umlaut", "gr\u{fc}\u{df}e-gruesse"), ("viewer", "viewer-password")]
    {
        let body = json!({ "name": name, "role": "viewer", "password": password });
        assert_eq!(server.fleet("POST", "/users").json(&body).send().status, 201);
    }
    let mut log = Transcript::new("panel_api", "basic");
    let read = |panel: &str, items: &str, authorization: &str| {
        let call = server.call("GET", &format!("/panels/{panel}/api/v1/access/{items}/items"));
        call.header("authorization", authorization).send()
    };
    for (what, sent) in [
        ("colons in the password", "Basic Y29sb246YTpiOmM6ZDpl"),
        ("no padding", "basic dmlld2VyOnZpZXdlci1wYXNzd29yZA"),
        ("UTF-8", "Basic dW1sYXV0Omdyw7zDn2UtZ3J1ZXNzZQ=="),
        ("Latin-1", "Basic dW1sYXV0Omdy/N9lLWdydWVzc2U="),
        ("a wrong password", "Basic Y29sb246YTpi"),
        ("no colon", "Basic Y29sb24="),
        ("no base64", "Basic !!!!"),
        ("nothing", "Basic"),
        ("nobody", "Basic OmE="),
    ] {
        log.step(what, &read("p1", "timeprofile", sent));
    }
    log.step(
        "a door controller has administrators only",
        &read("dc", "time-profiles", "Basic dmlld2VyOnZpZXdlci1wYXNzd29yZA=="),
    );
    assert_eq!(server.fleet("DELETE", "/users/viewer").send().status, 204);
    log.step("a removed user", &read("p1", "timeprofile", "Basic dmlld2VyOnZpZXdlci1wYXNzd29yZA=="));
    log.check();
}

#[test]
fn a_log_keeps_its_last_thousand_entries() {
    let server = TestServer::start();
    server.add_panel("p1", &json!({}));
    let token = server.panel_login("p1");
    let locks = json!({ "locks": [0, 1, 2, 3, 4, 5, 6, 7, 8] });
    for _ in 0..112 {
        let call = server.call("POST", "/panels/p1/api/v1/access/general/lock/open/emergency").bearer(&token);
        assert_eq!(call.json(&locks).send().status, 200);
    }
    let page =
        server.call("GET", "/panels/p1/api/v1/log/items?limit=50&page_number=20").bearer(&token).send();
    let value = page.value();
    assert_eq!(value["list_option"]["pagination"]["total_items"], 1000, "{page}");
    assert_eq!(value["list_items"].as_array().map(Vec::len), Some(50), "{page}");
}

#[test]
fn panels_of_two_fleets_have_serial_numbers_of_their_own() {
    let serials = |server: &TestServer| -> Vec<String> {
        ["p001", "p002"]
            .map(|id| server.call("GET", &format!("/panels/{id}/api/info")).send().value())
            .map(|info| info["device_serial_number"].as_str().expect("a text").to_owned())
            .to_vec()
    };
    let (mut one, other) = (TestServer::start(), TestServer::start());
    one.add_panels(2);
    other.add_panels(2);
    let mut all = [serials(&one), serials(&other)].concat();
    let before = serials(&one);
    one.restart();
    assert_eq!(serials(&one), before, "they stay");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4, "{all:?}");
}
