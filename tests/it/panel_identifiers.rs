//! Identifiers in the panel API, byte for byte, in the dialect of each family: every documented call with its success and
//! each of its errors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};
use zune_png::PngDecoder;
use zune_png::zune_core::bytestream::ZCursor;
use zune_png::zune_core::options::DecoderOptions;

use crate::support::answer::Call;
use crate::support::binary::Shell;
use crate::support::identifiers::{card, face, kind};
use crate::support::profiles::{link, list, once};
use crate::support::server::{ADMIN_MD5, TestServer};
use crate::support::simulated::Simulated;
use crate::support::snapshot::Transcript;

/// The MD5 of the password that [`TestServer::add_user`] gives.
const GUARD_MD5: &str = "7d4a07ed3a9c01ba087602f2d7f74df8";

/// A panel of a family and version, and with what its paths begin.
struct Panel {
    server: TestServer,
    prefix: &'static str,
    token: String,
}

/// The panels whose answers differ.
const PANELS: [(&str, &str, &str, &str); 8] = [
    ("android_1_8", "android", "1.8.0", "/api/v0"),
    ("android_2_1", "android", "2.1.0", "/api/v1"),
    ("android_2_9", "android", "2.9.0", "/api/v1"),
    ("android_2_12", "android", "2.12.0", "/api/v1"),
    ("camdroid_0_6", "camdroid", "0.6.0", "/api/v0"),
    ("camdroid_1_0", "camdroid", "1.0.3", "/api/v1"),
    ("camdroid_1_3", "camdroid", "1.3.5", "/api/v1"),
    ("ingenic_mips", "ingenic-mips", "1.2.0", "/api/v1"),
];

impl Panel {
    fn new(api: &str, version: &str, prefix: &'static str, more: &Value) -> Self {
        let server = TestServer::start();
        let mut fields = json!({ "api": api, "api_version": version });
        fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        server.add_panel("p1", &fields);
        server.add_user("guard", "operator");
        let token = log_in(&server, prefix, "admin", ADMIN_MD5);
        Self { server, prefix, token }
    }

    fn anonymous(&self, method: &str, path: &str) -> Call {
        self.server.call(method, &format!("/panels/p1{}{path}", self.prefix))
    }

    fn call(&self, method: &str, path: &str) -> Call {
        self.anonymous(method, path).bearer(&self.token)
    }
}

fn log_in(server: &TestServer, prefix: &str, name: &str, md5: &str) -> String {
    let path = format!("/panels/p1{prefix}/login?username={name}&password={md5}");
    server.call("GET", &path).send().value()["token"].as_str().expect("a token").to_owned()
}

const LINK: &str = "/access/identifier/items/link";

fn set(mut of: Value, pointer: &str, value: Value) -> Value {
    *of.pointer_mut(pointer).expect("a place") = value;
    of
}

fn without(mut of: Value, key: &str) -> Value {
    of.as_object_mut().expect("an object").remove(key);
    of
}

#[test]
fn every_family_answers_the_link_calls_in_its_own_dialect() {
    for (name, api, version, prefix) in PANELS {
        let more = json!({ "identifier_capacity": 5, "face_capacity": 1 });
        let panel = Panel::new(api, version, prefix, &more);
        let mut log = Transcript::new("panel_api", "identifiers_link");
        let profiles = list(&[once(1, "Work"), once(2, "Visit")]);
        panel.call("POST", "/access/timeprofile/items/link").json(&profiles).send();
        let upsert = |items: Value| panel.call("POST", LINK).json(&json!({ "list_items": items })).send();
        let page = |query: &str| panel.call("GET", &format!("{LINK}?{query}")).send();
        let pages = if version == "0.6.0" { "limit=10&pageNumber=1" } else { "limit=10&page_number=1" };
        let guest = set(
            set(
                kind(card(103, "Guest", "", &[1, 2]), "inputCode", "0482915"),
                "/valid/passes",
                json!({ "is_permanent": false, "max_passes": 3 }),
            ),
            "/valid/time",
            json!({ "is_permanent": false, "from": 1767225600, "to": 1798761600 }),
        );
        log.step(
            "three",
            &upsert(json!([
                card(101, "First", "0001234567", &[1]),
                card(102, "Second", "5e:6f:70:81", &[]),
                guest
            ])),
        );
        log.step("as they are read", &page(pages));
        log.step(
            "two of one name, and one again",
            &upsert(json!([card(101, "Second", "0001234567", &[2]), guest])),
        );
        let short = without(without(card(104, "Short", "7", &[]), "valid"), "time_profiles");
        log.step("without what may be absent", &upsert(json!([without(short, "apartment_link_id")])));
        let never = json!({ "is_permanent": false, "from": 5, "to": 5 });
        let mixed = json!([
            card(105, "No profile", "8", &[9]),
            card(106, "Taken", "1234567", &[]),
            set(card(107, "Never", "9", &[]), "/valid/time", never),
            card(107, "Never, again", "9", &[]),
            set(face(108, "No photo", &[]), "/face_image", json!("AAAA")),
            set(card(109, "Fifth", "10", &[1]), "/identifier_owner/type", json!("guest")),
            card(110, "Too many", "11", &[]),
        ]);
        log.step("each outcome of an item", &upsert(mixed));
        log.step(
            "faces",
            &upsert(json!([
                face(109, "Face", &[]),
                set(face(101, "Another", &[]), "/face_image", json!("/9j/4AAQSkZJRgA="))
            ])),
        );
        if api == "android" || version > "1.0.4" {
            log.step(
                "a plate",
                &upsert(json!([kind(card(109, "Plate", "", &[]), "license_plate", "ka 12-34")])),
            );
        }
        log.step("as they are read now", &page(pages));
        log.step("no page", &page(""));
        log.step("no number of a page", &page("limit=10"));
        log.step("a page that is none", &page("limit=7&page_number=0&pageNumber=0"));
        let expression = |number: &str| format!("{pages}&filter=identifier_number%20eq%20'{number}'");
        let plain = |number: &str| {
            format!(
                "{pages}&filter_field=identifier_number&filter_type=equal&filter_format=string&filter_value={number}"
            )
        };
        for number in ["01234567", "5E-6F-70-81", "5e:6f:70:81", "unknown"] {
            let query = if api == "android" { plain(number) } else { expression(number) };
            log.step(&format!("by the number {number}"), &page(&query));
        }
        log.step(
            "by a field that there is not",
            &page(&if api == "android" {
                format!("{pages}&filter_field=date_from&filter_value=1")
            } else {
                format!("{pages}&filter=date_from%20eq%201")
            }),
        );
        log.step(
            "a profile from under its identifiers",
            &panel
                .call("DELETE", "/access/timeprofile/items/link")
                .json(&json!({ "link_ids": [link(1), link(2)] }))
                .send(),
        );
        let ids = |ids: &[u32]| json!({ "link_ids": ids.iter().map(|n| link(*n)).collect::<Vec<_>>() });
        log.step("delete", &panel.call("DELETE", LINK).json(&ids(&[101, 102, 101, 199])).send());
        log.step(
            "delete by POST",
            &panel.call("POST", "/access/identifiers/link/delete").json(&ids(&[103, 1])).send(),
        );
        log.step("what is left", &page(pages));
        let whole = |body: &Value| panel.call("POST", LINK).json(body).send();
        log.step("no list", &whole(&json!({ "items": [] })));
        log.step("no list of items", &whole(&json!({ "list_items": [1] })));
        log.step("no JSON", &panel.call("POST", LINK).raw("{").send());
        log.step("no link_ids", &panel.call("DELETE", LINK).json(&json!({ "link_ids": ["x"] })).send());
        log.step(
            "no body to delete by",
            &panel.call("POST", "/access/identifiers/link/delete").raw("").send(),
        );
        let good = || card(120, "Good", "12", &[]);
        for key in ["link_id", "identifier_owner", "identifier_type", "identifier_number", "lock", "valid"] {
            log.step(&format!("without {key}"), &upsert(json!([without(good(), key)])));
        }
        for (pointer, value) in [
            ("/link_id", json!("x")),
            ("/apartment_link_id", json!(7)),
            ("/identifier_owner/name", json!("")),
            ("/identifier_owner/type", json!("tenant")),
            ("/identifier_type", json!("input_code")),
            ("/identifier_number", json!(12)),
            ("/identifier_number", json!("0A1B")),
            ("/lock", json!("third")),
            ("/valid/time", json!({ "is_permanent": false, "from": 1 })),
            ("/valid/passes", json!({ "is_permanent": false, "max_passes": 0 })),
            ("/valid/passes/is_permanent", json!("yes")),
            ("/time_profiles/link_ids", json!(["x"])),
        ] {
            log.step(&format!("{value} at {pointer}"), &upsert(json!([set(good(), pointer, value)])));
        }
        log.step("no login", &panel.anonymous("GET", LINK).send());
        let guard = log_in(&panel.server, prefix, "guard", GUARD_MD5);
        let guarded = |method: &str, path: &str| panel.anonymous(method, path).bearer(&guard);
        log.step("who is no administrator reads", &guarded("GET", LINK).send());
        log.step("and writes", &guarded("POST", LINK).json(&json!({ "list_items": [] })).send());
        log.step("and deletes", &guarded("DELETE", LINK).json(&ids(&[109])).send());
        log.step("another method", &panel.call("PUT", LINK).send());
        log.check_as(name);
    }
}

#[test]
fn a_door_controller_has_none_of_these_calls() {
    let panel = TestServer::start();
    panel.add_panel("p1", &json!({ "api": "door-controller" }));
    let token = panel
        .call("POST", "/panels/p1/api/v1/login")
        .json(&json!({ "username": "admin", "password": ADMIN_MD5 }))
        .send();
    let token = token.value()["token"].as_str().expect("a token").to_owned();
    for (method, path) in
        [("GET", LINK), ("POST", LINK), ("DELETE", LINK), ("POST", "/access/identifiers/link/delete")]
    {
        let answer =
            panel.call(method, &format!("/panels/p1/api/v1{path}")).bearer(&token).json(&json!({})).send();
        assert_eq!(answer.status, 404, "{method} {path}");
    }
}

#[test]
fn every_family_answers_the_calls_by_uid_in_its_own_dialect() {
    for (name, api, version, prefix) in PANELS {
        if !["android_2_9", "camdroid_1_3", "ingenic_mips"].contains(&name) {
            continue;
        }
        let more = json!({ "identifier_capacity": 4, "face_capacity": 1 });
        let panel = Panel::new(api, version, prefix, &more);
        let mut log = Transcript::new("panel_api", "identifiers_by_uid");
        let step = |log: &mut Transcript, what: &str, call: Call| log.step(what, &call.send());
        let call = |method: &str, path: &str| panel.call(method, &format!("/access/identifier{path}"));
        let body =
            |number: &str| without(without(card(0, "By uid", number, &[]), "link_id"), "time_profiles");
        panel
            .call("POST", "/access/timeprofile/items/link")
            .json(&list(&[once(1, "Work"), once(2, "Visit")]))
            .send();
        panel.call("POST", "/access/timeprofile").json(&once(0, "By uid")).send();
        step(&mut log, "create", call("POST", "").json(&body("0077")));
        step(&mut log, "show it", call("GET", "/item/4"));
        step(&mut log, "the number is taken", call("POST", "").json(&body("77")));
        step(&mut log, "bound to one that there is not", call("POST", "").json(&card(0, "x", "78", &[9])));
        let counted = json!({ "is_permanent": false, "max_passes": 5 });
        let bound = set(without(card(0, "Bound", "78", &[1, 2]), "link_id"), "/valid/passes", counted);
        step(&mut log, "create one that is bound", call("POST", "").json(&bound));
        step(&mut log, "show it", call("GET", "/item/5"));
        step(&mut log, "bind", call("POST", "/item/4/timeprofile/1"));
        step(&mut log, "bind again", call("POST", "/item/4/timeprofile/1"));
        step(&mut log, "bind to a profile without link_id", call("POST", "/item/4/timeprofile/3"));
        step(&mut log, "bind to an identifier", call("POST", "/item/4/timeprofile/5"));
        step(&mut log, "bind what there is not", call("POST", "/item/99/timeprofile/1"));
        step(&mut log, "bind a profile", call("POST", "/item/1/timeprofile/1"));
        step(
            &mut log,
            "replace it, and it stays bound",
            call("PATCH", "/item/4").json(&set(body("79"), "/identifier_owner/name", json!("Replaced"))),
        );
        step(&mut log, "a number that another one has", call("PATCH", "/item/4").json(&body("78")));
        let upsert = json!({ "list_items": [card(103, "By link", "80", &[2])] });
        step(&mut log, "one by link", call("POST", "/items/link").json(&upsert));
        step(&mut log, "and its number", call("POST", "").json(&body("80")));
        let page = "limit=10&page_number=1&pageNumber=1";
        step(&mut log, "the list", call("GET", &format!("/items?{page}")));
        step(&mut log, "the list of the link calls", call("GET", &format!("/items/link?{page}")));
        let filter = if api == "android" {
            "filter_field=identifier_number&filter_type=equal&filter_format=string&filter_value=0080"
        } else {
            "filter=identifier_number%20eq%20'0080'"
        };
        step(&mut log, "by its number", call("GET", &format!("/items?{page}&{filter}")));
        let sort = if version == "1.3.5" || api == "ingenic-mips" {
            "order_by=identifier_number%20desc"
        } else {
            "sort_field=identifier_number&sort_type=desc&sortField=identifier_number&sortType=desc"
        };
        step(&mut log, "sorted by number", call("GET", &format!("/items?{page}&{sort}")));
        step(&mut log, "a wrong parameter", call("GET", "/items?limit=0"));
        step(&mut log, "the profiles", panel.call("GET", &format!("/access/timeprofile/items?{page}")));
        step(&mut log, "one of them", panel.call("GET", "/access/timeprofile/item/1"));
        step(
            &mut log,
            "a profile from under its identifiers",
            panel.call("DELETE", "/access/timeprofile/item/1"),
        );
        step(
            &mut log,
            "several",
            panel.call("DELETE", "/access/timeprofile/items").json(&json!({ "uid_items": [1, 3] })),
        );
        step(&mut log, "unbind", call("DELETE", "/item/4/timeprofile/1"));
        step(&mut log, "unbind again", call("DELETE", "/item/4/timeprofile/1"));
        step(&mut log, "unbind from what there is not", call("DELETE", "/item/4/timeprofile/99"));
        step(&mut log, "count passes from the start", call("POST", "/item/5/passes/reset"));
        step(&mut log, "of what there is not", call("POST", "/item/99/passes/reset"));
        let never = json!({ "is_permanent": false, "from": 9, "to": 5 });
        step(&mut log, "never valid", call("POST", "").json(&set(body("81"), "/valid/time", never)));
        let face = without(face(0, "Face", &[]), "link_id");
        step(&mut log, "a face", call("POST", "").json(&face));
        step(
            &mut log,
            "a face without a photo",
            call("POST", "").json(&set(
                without(face.clone(), "face_image"),
                "/identifier_number",
                json!("AAAA"),
            )),
        );
        step(
            &mut log,
            "a face of no photo",
            call("POST", "").json(&set(face.clone(), "/face_image", json!("AAAA"))),
        );
        step(
            &mut log,
            "another face",
            call("PATCH", "/item/4").json(&set(face, "/face_image", json!("/9j/4AAQSkZJRgA="))),
        );
        step(&mut log, "a full panel", {
            call("POST", "").json(&body("82")).send();
            call("POST", "").json(&body("83"))
        });
        let master = json!({ "input_code_enable": true, "input_code_number": 4711 });
        panel.call("POST", "/access/general/unlock/input/code").json(&master).send();
        let code = kind(body(""), "inputCode", "4711");
        step(&mut log, "the master code", call("PATCH", "/item/4").json(&code));
        let code = json!({ "list_items": [kind(card(103, "Master", "", &[]), "inputCode", "4711")] });
        step(&mut log, "the master code by link", call("POST", "/items/link").json(&code));
        step(&mut log, "a faulty body", call("POST", "").json(&set(body("1"), "/lock", json!("third"))));
        step(&mut log, "nothing", call("PATCH", "/item/4").json(&json!({})));
        for uid in ["99", "0", "-1", "x", "1"] {
            step(&mut log, &format!("the uid {uid}"), call("GET", &format!("/item/{uid}")));
        }
        step(&mut log, "replace what there is not", call("PATCH", "/item/99").json(&body("1")));
        step(&mut log, "delete", call("DELETE", "/item/4"));
        step(&mut log, "delete again", call("DELETE", "/item/4"));
        for uids in [json!([5, 99]), json!([0]), json!(["5"]), json!(7), json!([5, 6, 5])] {
            step(&mut log, "delete several", call("DELETE", "/items").json(&json!({ "uid_items": uids })));
        }
        step(&mut log, "what is left", call("GET", &format!("/items?{page}")));
        step(&mut log, "no login", panel.anonymous("GET", "/access/identifier/items"));
        let guard = log_in(&panel.server, prefix, "guard", GUARD_MD5);
        for (method, path) in [
            ("GET", "/items"),
            ("GET", "/item/5"),
            ("POST", ""),
            ("PATCH", "/item/5"),
            ("DELETE", "/item/5"),
            ("POST", "/item/5/passes/reset"),
        ] {
            let guarded = panel.anonymous(method, &format!("/access/identifier{path}")).bearer(&guard);
            step(&mut log, "who is no administrator", guarded.json(&json!({})));
        }
        log.check_as(name);
    }
}

/// What the first simulated panel holds of identifiers: the profiles that each names, by its link_id.
fn bound(devices: &Simulated) -> Vec<(Value, Value)> {
    let (status, held) = devices.control("GET", "/held?panel=sim-0001", None);
    assert_eq!(status, 200, "{held}");
    let of = |item: &Value| (item["link_id"].clone(), item["time_profiles"]["link_ids"].clone());
    held["identifiers"].as_array().expect("a list").iter().map(of).collect()
}

fn results(answer: &Value) -> Vec<(bool, Value)> {
    let of = |item: &Value| (item["success"] == true, item["extended_info"].clone());
    answer["result"].as_array().expect("a list").iter().map(of).collect()
}

const PROFILES: &str = "/access/timeprofile/items/link";

#[test]
fn a_simulated_panel_that_detaches_opens_always_and_others_refuse() {
    let devices = Simulated::start(1, &[]);
    let profiles = list(&[once(1, "Work"), once(2, "Visit")]);
    let cards = json!({ "list_items": [card(101, "First", "1", &[1]), card(102, "Second", "2", &[1, 2])] });
    devices.by_hand(1, "POST", PROFILES, Some(&profiles));
    devices.by_hand(1, "POST", LINK, Some(&cards));
    let delete = || results(&devices.by_hand(1, "DELETE", PROFILES, Some(&json!({ "link_ids": [link(1)] }))));
    assert_eq!(delete(), [(false, json!("bound_by_identifiers"))]);
    let whole = vec![(json!(link(101)), json!([link(1)])), (json!(link(102)), json!([link(1), link(2)]))];
    assert_eq!(bound(&devices), whole);
    devices.faults(None, &json!({ "quirks": ["detaches-profiles"] }));
    assert_eq!(delete(), [(true, json!("deleted"))]);
    let detached = vec![(json!(link(101)), json!([])), (json!(link(102)), json!([link(2)]))];
    assert_eq!(bound(&devices), detached, "the first one opens at any time");
    devices.by_hand(1, "DELETE", "/access/timeprofile/item/2", None);
    let detached = vec![(json!(link(101)), json!([])), (json!(link(102)), json!([]))];
    assert_eq!(bound(&devices), detached, "and by uid the second one too");
}

/// As the calls by uid of camdroid panels before 1.0 have it: when it is valid beside its other fields.
fn beside(mut identifier: Value) -> Value {
    let fields = identifier.as_object_mut().expect("an object");
    let valid = fields.remove("valid").expect("valid");
    fields.extend(valid.as_object().expect("an object").clone());
    identifier
}

#[test]
fn camdroid_panels_before_1_0_have_identifiers_at_paths_of_their_own() {
    let panel = Panel::new("camdroid", "0.6.0", "/api/v0", &json!({}));
    panel.call("POST", PROFILES).json(&list(&[once(1, "Work")])).send();
    let mut log = Transcript::new("panel_api", "identifiers_at_older_paths");
    let mut step = |what: &str, call: Call| log.step(what, &call.send());
    let call = |method: &str, path: &str| panel.call(method, &format!("/access/identifiers{path}"));
    let whole = |number: &str| without(without(card(0, "By uid", number, &[]), "link_id"), "time_profiles");
    let body = |number: &str| beside(whole(number));
    step("create", call("POST", "/item").json(&body("0077")));
    step("show it", call("GET", "/item/2"));
    let limited = set(
        set(body("77"), "/time", json!({ "is_permanent": false, "from": 1767225600, "to": 1798761600 })),
        "/passes",
        json!({ "is_permanent": false, "max_passes": 3 }),
    );
    step("replace it by one that is not always valid", call("PATCH", "/item/2").json(&limited));
    step("show it", call("GET", "/item/2"));
    step("what newer panels have is not enough", call("POST", "/item").json(&whole("78")));
    step("half of it", call("POST", "/item").json(&without(body("78"), "passes")));
    let never = json!({ "is_permanent": false, "from": 9, "to": 5 });
    step("never valid", call("POST", "/item").json(&set(body("78"), "/time", never)));
    step("the number is taken", call("POST", "/item").json(&body("77")));
    step("bind", call("POST", "/item/2/timeProfile/1"));
    step("bind what there is not", call("POST", "/item/9/timeProfile/1"));
    step("count passes from the start", call("POST", "/item/2/passes/reset"));
    let page = "limit=10&pageNumber=1";
    step(
        "by link_id",
        call("POST", "/link").json(&json!({ "list_items": [card(103, "By link", "80", &[1])] })),
    );
    let upsert = json!({ "list_items": [card(104, "By link too", "81", &[])] });
    step("where newer panels have it", panel.call("POST", LINK).json(&upsert));
    step("the list", call("GET", &format!("/items?{page}")));
    step("at its older path", call("GET", &format!("/items/list?{page}&sortField=name&sortType=desc")));
    step("by link_id", call("GET", &format!("/link?{page}")));
    step("no page", call("GET", "/link"));
    step("unbind", call("DELETE", "/item/2/timeprofile/1"));
    step("delete", call("DELETE", "/item/2"));
    step("delete again", call("DELETE", "/item/2"));
    step("delete by link_id", {
        call("POST", "/link/delete").json(&json!({ "link_ids": [link(103), link(199)] }))
    });
    step("delete several", call("DELETE", "/items").json(&json!({ "uid_items": [4] })));
    step("what is left", call("GET", &format!("/items?{page}")));
    step("another method", call("PUT", "/item/2"));
    step("nothing of that name", call("GET", "/item/2/owner"));
    let guard = log_in(&panel.server, "/api/v0", "guard", GUARD_MD5);
    let path = "/access/identifiers/items";
    step("who is no administrator", panel.anonymous("GET", path).bearer(&guard));
    step("no login", panel.anonymous("GET", path));
    log.check();
    let older = [
        ("POST", "/item"),
        ("GET", "/item/2"),
        ("PATCH", "/item/2"),
        ("DELETE", "/item/2"),
        ("GET", "/items"),
        ("GET", "/items/list"),
        ("DELETE", "/items"),
        ("POST", "/link"),
        ("GET", "/link"),
        ("POST", "/item/2/passes/reset"),
        ("POST", "/item/2/timeprofile/1"),
    ];
    for (method, path) in older {
        let newer = path.replace("/item/", "/identifier/item/").replace("/items", "/identifier/items");
        if newer != path {
            let newer = format!("/access{}", newer.replace("/list", ""));
            assert_eq!(panel.call(method, &newer).json(&json!({})).send().status, 404, "{method} {newer}");
        }
    }
    assert_eq!(panel.call("POST", "/access/identifier").json(&body("90")).send().status, 404);
    for (name, api, version, prefix) in PANELS {
        if version == "0.6.0" {
            continue;
        }
        let panel = Panel::new(api, version, prefix, &json!({}));
        for (method, path) in older {
            let call = panel.call(method, &format!("/access/identifiers{path}"));
            assert_eq!(call.json(&json!({})).send().status, 404, "{name}: {method} {path}");
        }
    }
}

#[test]
fn identifiers_belong_to_apartments() {
    for (name, api, version, prefix) in PANELS {
        if !["android_2_9", "camdroid_0_6", "camdroid_1_3"].contains(&name) {
            continue;
        }
        let mut panel = Panel::new(api, version, prefix, &json!({}));
        let mut log = Transcript::new("panel_api", "identifiers_apartments");
        let older = name == "camdroid_0_6";
        let items = if older { "/access/identifiers" } else { "/access/identifier" };
        let body = |name: &str, number: &str| {
            let counted = json!({ "is_permanent": false, "max_passes": 5 });
            let body = set(card(0, name, number, &[]), "/valid/passes", counted);
            let body = without(without(body, "link_id"), "apartment_link_id");
            if older { beside(body) } else { body }
        };
        let create = if older { "/access/identifiers/item".to_owned() } else { items.to_owned() };
        assert_eq!(panel.call("POST", &create).json(&body("By uid", "77")).send().status, 200);
        let shown = json!({ "type": "card", "number": "77" });
        assert_eq!(panel.server.fleet("POST", "/panels/p1:present").json(&shown).send().status, 200);
        let attach = |apartment: &str, uid: &str| {
            panel.call("POST", &format!("/apartment/item/{apartment}/identifier/{uid}")).send()
        };
        let detach =
            |uid: &str| panel.call("POST", &format!("/apartment/item/unbind/identifier/{uid}")).send();
        let show = |uid: u32| panel.call("GET", &format!("{items}/item/{uid}")).send();
        log.step("it belongs to none, and has opened once", &show(1));
        log.step("detach it", &detach("1"));
        log.step("attach it", &attach("5", "1"));
        log.step("it may open as often as before", &show(1));
        log.step("attach it again", &attach("5", "1"));
        log.step("attach it elsewhere", &attach("6", "1"));
        log.step("attach what there is not", &attach("5", "9"));
        log.step("attach no uid", &attach("5", "x"));
        for apartment in ["0", "x", "4294967296"] {
            log.step(&format!("to the apartment {apartment}"), &attach(apartment, "1"));
        }
        let page = if older { "limit=10&pageNumber=1" } else { "limit=10&page_number=1" };
        log.step("in the list", &panel.call("GET", &format!("{items}/items?{page}")).send());
        log.step("by link_id nothing is said of it", &panel.call("GET", &format!("{LINK}?{page}")).send());
        let patch = |body: Value| panel.call("PATCH", &format!("{items}/item/1")).json(&body).send();
        log.step("replaced, it stays there", &patch(body("Replaced", "78")));
        log.step("so", &show(1));
        let elsewhere = json!("0c8e1a7e-7f5d-4a0e-9a0c-3c5d6b7a8f90");
        let mut moved = body("Moved", "78");
        moved["apartment_link_id"] = elsewhere.clone();
        log.step("replaced by one of an apartment with a link_id", &patch(moved));
        log.step("it belongs to that", &show(1));
        log.step("whose uid may be said", &attach("7", "1"));
        log.step("of both", &show(1));
        log.step("detach it from both", &detach("1"));
        log.step("none is left", &show(1));
        log.step("detach it again", &detach("1"));
        log.step("detach what there is not", &detach("9"));
        let linked = |name: &str| {
            let item = set(card(103, name, "80", &[]), "/apartment_link_id", elsewhere.clone());
            panel.call("POST", LINK).json(&json!({ "list_items": [item] })).send()
        };
        linked("By link");
        attach("8", "2");
        log.step("one by link_id", &show(2));
        linked("By link, again");
        log.step("each such call says all of it", &show(2));
        attach("8", "2");
        let guard = log_in(&panel.server, prefix, "guard", GUARD_MD5);
        let path = "/apartment/item/5/identifier/1";
        log.step("who is no administrator", &panel.anonymous("POST", path).bearer(&guard).send());
        log.step("no login", &panel.anonymous("POST", path).send());
        let path = "/apartment/item/unbind/identifier/1";
        log.step("nor detaches", &panel.anonymous("POST", path).bearer(&guard).send());
        log.step("another method", &panel.call("GET", path).send());
        panel.server.restart();
        panel.token = log_in(&panel.server, prefix, "admin", ADMIN_MD5);
        log.step("it is kept", &panel.call("GET", &format!("{items}/item/2")).send());
        log.check_as(name);
    }
    let controller = TestServer::start();
    controller.add_panel("p1", &json!({ "api": "door-controller" }));
    let login = json!({ "username": "admin", "password": ADMIN_MD5 });
    let token = controller.call("POST", "/panels/p1/api/v1/login").json(&login).send().value();
    let path = "/panels/p1/api/v1/apartment/item/5/identifier/1";
    let answer = controller.call("POST", path).bearer(token["token"].as_str().expect("a token")).send();
    assert_eq!(answer.status, 404, "{answer}");
}

#[test]
fn simulated_panels_say_of_identifiers_what_others_do_not() {
    let devices = Simulated::start(1, &[]);
    devices.by_hand(1, "POST", PROFILES, Some(&list(&[once(1, "Work")])));
    let upsert =
        |items: Value| results(&devices.by_hand(1, "POST", LINK, Some(&json!({ "list_items": items }))));
    let missing = json!("bound_time_profile_doesnt_exist");
    assert_eq!(upsert(json!([card(101, "First", "1", &[1, 9])])), [(false, missing.clone())]);
    assert_eq!(bound(&devices), []);
    devices.faults(None, &json!({ "quirks": ["warns-of-profiles"] }));
    let both = json!([card(101, "First", "1", &[1, 9]), card(102, "Second", "2", &[1])]);
    assert_eq!(upsert(both), [(true, missing), (true, json!("created"))]);
    let taken = vec![(json!(link(101)), json!([link(1)])), (json!(link(102)), json!([link(1)]))];
    assert_eq!(bound(&devices), taken);
    devices.faults(None, &json!({ "quirks": ["warns-of-profiles", "list-info"] }));
    let updated = upsert(json!([card(101, "First", "1", &[9])]));
    assert_eq!(updated, [(true, json!(["updated", "bound_time_profile_doesnt_exist"]))]);
    let delete = |n| results(&devices.by_hand(1, "DELETE", LINK, Some(&json!({ "link_ids": [link(n)] }))));
    assert_eq!(delete(199), [(false, json!(["entity_not_found"]))]);
    devices.faults(None, &json!({ "quirks": ["not-found", "no-face-seen"] }));
    assert_eq!(delete(199), [(false, json!("not_found"))]);
    assert_eq!(upsert(json!([face(103, "Olena", &[])])), [(false, json!("face_has_not_recognized"))]);
    let on_panel = |path: &str| {
        let url = devices.url(1);
        let (host, base) = url.trim_start_matches("http://").split_once('/').expect("a path");
        let path = format!("/{base}/api/v1/access/identifier{path}");
        Call::new(host.parse().expect("an address"), "POST", &path).bearer(&devices.login(1))
    };
    let said = |call: Call| {
        let answer = call.open();
        (answer.status().as_u16(), answer.into_body().read_to_string().expect("a body"))
    };
    let by_uid = without(face(103, "Olena", &[]), "link_id");
    let not_recognized = (400, r#"{"error":"face_has_not_recognized"}"#.to_owned());
    assert_eq!(said(on_panel("").json(&by_uid)), not_recognized);
    let mixed =
        json!([set(face(104, "Taras", &[]), "/face_image", json!("AAAA")), card(105, "Third", "3", &[])]);
    let mixed = upsert(mixed);
    assert_eq!(mixed, [(false, json!("bad_base_64_image_file")), (true, json!("created"))]);
    devices.faults(None, &json!({}));
    assert_eq!(upsert(json!([face(103, "Olena", &[])])), [(true, json!("created"))]);
    let face_file =
        |uid: u32| said(on_panel(&format!("/item/face/file/{uid}")).parts(&[(FILE, &jpeg(300_000))]));
    let uid = devices.by_hand(1, "GET", "/access/identifier/items", None)["list_items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["identifier_type"] == "face_id"))
        .map_or(0, |item| item["identifier_uid"].as_u64().expect("a uid")) as u32;
    devices.faults(None, &json!({ "quirks": ["no-face-seen"] }));
    assert_eq!(face_file(uid), (400, r#"{"error":"Face hasn't been detected on image"}"#.to_owned()));
    devices.faults(None, &json!({}));
    assert_eq!(face_file(uid), (200, String::new()));
}

/// How a form names its photo.
const FILE: &str = "name=\"file\"; filename=\"photo.jpg\"\r\nContent-Type: image/jpeg";

/// What passes for a JPEG of so many bytes.
fn jpeg(bytes: usize) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0];
    jpeg.resize(bytes, b'.');
    jpeg
}

/// Where a face's photo is sent.
const FACE: &str = "/access/identifier/item/face/file";

/// A panel with a face of uid 1, another of uid 2, and a card of uid 3.
fn panel_with_faces() -> Panel {
    let panel = Panel::new("android", "2.9.0", "/api/v1", &json!({}));
    let another = set(face(102, "Taras", &[]), "/face_image", json!("/9j/4AAQSkZJRgA="));
    let items =
        json!({ "list_items": [face(101, "Olena", &[]), another, card(103, "First", "77001234", &[])] });
    assert_eq!(
        results(&panel.call("POST", LINK).json(&items).send().value()),
        vec![(true, json!("created")); 3]
    );
    panel
}

/// What a panel shows of the faces' numbers, which it made of their photos.
fn faces(panel: &Panel) -> Vec<Value> {
    let uid = |uid| panel.call("GET", &format!("/access/identifier/item/{uid}")).send().value();
    vec![uid(1)["identifier_number"].clone(), uid(2)["identifier_number"].clone()]
}

#[test]
fn a_face_is_given_another_photo_as_a_file() {
    let panel = panel_with_faces();
    let to = |uid: &str| panel.call("POST", &format!("{FACE}/{uid}"));
    let (photo, of_another) = (jpeg(24), jpeg(25));
    assert_eq!(to("2").parts(&[(FILE, &of_another)]).send().status, 200);
    let before = faces(&panel);
    let mut log = Transcript::new("panel_api", "face_files");
    let mut refused = |what: &str, call: Call| {
        log.step(what, &call.send());
        assert_eq!(faces(&panel), before, "{what}");
    };
    for uid in ["3", "99", "0", "x"] {
        refused("not the uid of a face", to(uid).parts(&[(FILE, &photo)]));
    }
    let png = b"\x89PNG and so on";
    refused("another picture", to("1").parts(&[(&FILE.replace("jpeg", "png"), png)]));
    refused("another picture that is called a JPEG", to("1").parts(&[(FILE, png)]));
    refused("an empty file", to("1").parts(&[(FILE, b"")]));
    refused("no file", to("1").parts(&[("name=\"file\"", &photo[4..])]));
    refused("none was chosen", to("1").parts(&[("name=\"file\"; filename=\"\"", b"")]));
    refused("two files", to("1").parts(&[(FILE, &photo), (FILE, &photo)]));
    refused("no parts", to("1").parts(&[]));
    let form = "multipart/form-data; boundary=frontier";
    let raw = |kind: &str, body: &[u8]| to("1").header("content-type", kind).raw(body);
    let whole =
        [b"--frontier\r\nContent-Disposition: form-data; ", FILE.as_bytes(), b"\r\n\r\n", &photo].concat();
    refused("without its end", raw(form, &whole));
    refused("without its last boundary's end", raw(form, &[&whole[..], b"\r\n--frontier"].concat()));
    refused("cut in a header", raw(form, &whole[..60]));
    refused("another boundary", raw("multipart/form-data; boundary=wall", &whole));
    refused("no boundary", raw("multipart/form-data", &whole));
    refused("an empty boundary", raw("multipart/form-data; boundary=", &whole));
    refused("nothing", raw(form, b""));
    let no_length = format!("{FILE}\r\nContent-Length: x");
    refused("lengths that are none", to("1").parts(&[(&no_length, &photo)]));
    refused("a part without a name", to("1").parts(&[("filename=\"photo.jpg\"", &photo)]));
    refused(
        "bytes for a header",
        raw(form, &[b"--frontier\r\n", &[0xff; 40][..], b"\r\n\r\n--frontier--"].concat()),
    );
    refused("another type", to("1").json(&json!({ "file": "/9j/4AAQSkZJRg==" })));
    refused("no type", to("1").raw(&photo[..]));
    refused("packed", to("1").header("content-encoding", "gzip").parts(&[(FILE, &photo)]));
    refused("the photo of another face", to("1").parts(&[(FILE, &of_another)]));
    refused("no login", panel.anonymous("POST", &format!("{FACE}/1")).parts(&[(FILE, &photo)]));
    let guard = log_in(&panel.server, "/api/v1", "guard", GUARD_MD5);
    let guarded = panel.anonymous("POST", &format!("{FACE}/1")).bearer(&guard);
    refused("who is no administrator", guarded.parts(&[(FILE, &photo)]));
    refused("another method", panel.call("PUT", &format!("{FACE}/1")).parts(&[(FILE, &photo)]));
    let camdroid = Panel::new("camdroid", "1.3.5", "/api/v1", &json!({}));
    log.step(
        "a family without faces",
        &camdroid.call("POST", &format!("{FACE}/1")).parts(&[(FILE, &photo)]).send(),
    );
    log.step("a photo", &to("1").parts(&[("name=\"note\"", b"of today"), (FILE, &photo)]).send());
    let after = faces(&panel);
    assert!(after[0] != before[0] && after[1] == before[1], "{after:?}");
    log.step("the same again", &to("1").parts(&[(FILE, &photo)]).send());
    log.step("it is a face as before", &panel.call("GET", "/access/identifier/item/1").send());
    log.check();
    let path = format!("/fleet/v1/identifiers/{}/photo", link(101));
    let kept = panel.server.call("GET", &path).bearer(panel.server.token()).open().into_body().read_to_vec();
    assert_eq!(kept.expect("a photo"), photo);
}

#[test]
fn a_photo_is_taken_up_to_its_limit_and_one_that_is_cut_half_way_changes_nothing() {
    const LIMIT: usize = 1 << 20;
    let panel = panel_with_faces();
    let before = faces(&panel);
    let to = || panel.call("POST", &format!("{FACE}/1"));
    for bytes in [LIMIT + 1, LIMIT + 60_000, 2 * LIMIT, 40 * LIMIT] {
        let answer = match bytes {
            // Its length alone is too much; no more than that is sent.
            bytes if bytes > 20 * LIMIT => {
                let mut line = TcpStream::connect(panel.server.address()).expect("a connection");
                line.write_all(head_of_upload(&panel, bytes).as_bytes()).expect("sent");
                let mut answer = String::new();
                let mut lines = BufReader::new(&line);
                while !answer.contains('}') && lines.read_line(&mut answer).is_ok_and(|read| read > 0) {}
                answer
            }
            bytes => {
                let answer = to().parts(&[(FILE, &jpeg(bytes))]).send();
                format!("HTTP/1.1 {}{}", answer.status, answer.body)
            }
        };
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains(r#"{"error":"Body larger than 1048576 bytes"}"#), "{answer}");
    }
    assert_eq!(faces(&panel), before);
    let whole = jpeg(LIMIT);
    for sent in [0, 1, 300, LIMIT / 2, LIMIT - 1, LIMIT] {
        let mut line = TcpStream::connect(panel.server.address()).expect("a connection");
        line.write_all(head_of_upload(&panel, LIMIT).as_bytes()).expect("sent");
        line.write_all(&whole[..sent]).expect("sent");
        line.shutdown(Shutdown::Write).expect("no more comes");
        let _ = line.read_to_end(&mut Vec::new()); // whatever it says
    }
    assert_eq!(faces(&panel), before);
    assert_eq!(to().parts(&[(FILE, &whole)]).send().status, 200);
    assert_ne!(faces(&panel), before);
    // Fields beside it are bounded too.
    let fields: Vec<_> = (0..3).map(|_| ("name=\"note\"", &whole[4..40_004])).collect();
    assert_eq!(to().parts(&fields).send().status, 413);
    let many: Vec<_> = (0..2001).map(|_| ("name=\"n\"", &b""[..])).collect();
    assert_eq!(to().parts(&many).send().body, r#"{"error":"Loading file error"}"#);
}

/// The beginning of an upload of a photo of so many bytes, up to its first one.
fn head_of_upload(panel: &Panel, bytes: usize) -> String {
    let before = format!("--frontier\r\nContent-Disposition: form-data; {FILE}\r\n\r\n");
    let length = before.len() + bytes + "\r\n--frontier--\r\n".len();
    format!(
        "POST /panels/p1/api/v1{FACE}/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=frontier\r\nContent-Length: {length}\r\n\r\n{before}",
        panel.token
    )
}

/// What a reader of QR codes reads on a PNG.
fn read_qr(picture: &[u8]) -> Vec<String> {
    let strictly = DecoderOptions::default().png_set_confirm_crc(true).set_strict_mode(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(picture), strictly);
    let pixels = decoder.decode_raw().expect("a PNG");
    let (width, height) = decoder.dimensions().expect("its size");
    assert_eq!(pixels.len(), width * height, "grey");
    let mut seen = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels[y * width + x]);
    seen.detect_grids().iter().map(|grid| grid.decode().expect("a code").1).collect()
}

#[test]
fn a_qr_code_is_a_picture_that_says_its_number() {
    let panel = Panel::new("android", "2.9.0", "/api/v1", &json!({}));
    let mut log = Transcript::new("panel_api", "qr_codes");
    let mut numbers: Vec<_> = (0_u128..40)
        .map(|n| uuid::Uuid::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)).to_string())
        .collect();
    numbers.push("ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned());
    let codes = (101..)
        .zip(&numbers)
        .map(|(n, number)| kind(card(n, "Visitor", "", &[]), "qr", &number.to_uppercase()));
    let items: Vec<_> = codes.chain([card(99, "First", "77001234", &[])]).collect();
    panel.call("POST", LINK).json(&json!({ "list_items": items })).send();
    let qr = |uid: &str| panel.call("GET", &format!("/access/identifier/item/{uid}/qr?locale=uk"));
    for (uid, number) in (1..).zip(&numbers) {
        let answer = qr(&uid.to_string()).open();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "image/png");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let picture = answer.into_body().read_to_vec().expect("a body");
        assert!(picture.len() < 4096, "{}", picture.len());
        assert_eq!(read_qr(&picture), [number.as_str()]);
    }
    log.step("only its head", &panel.call("HEAD", "/access/identifier/item/1/qr").send());
    log.step("an identifier of another type", &qr(&(numbers.len() + 1).to_string()).send());
    for uid in ["99", "0", "x"] {
        log.step("a uid that there is not", &qr(uid).send());
    }
    log.step("no login", &panel.anonymous("GET", "/access/identifier/item/1/qr").send());
    let guard = log_in(&panel.server, "/api/v1", "guard", GUARD_MD5);
    log.step(
        "who is no administrator",
        &panel.anonymous("GET", "/access/identifier/item/1/qr").bearer(&guard).send(),
    );
    log.check();
    let camdroid = Panel::new("camdroid", "1.3.5", "/api/v1", &json!({}));
    let one = json!({ "list_items": [kind(card(101, "Visitor", "", &[]), "qr", &numbers[7])] });
    camdroid.call("POST", LINK).json(&one).send();
    let picture = camdroid.call("GET", "/access/identifier/item/1/qr").open().into_body().read_to_vec();
    assert_eq!(read_qr(&picture.expect("a body")), [numbers[7].as_str()]);
}

#[test]
fn a_simulated_panel_has_room_for_so_many_of_each_kind_and_none_of_them_is_left_after_a_reset() {
    let devices = Simulated::start(1, &["--identifier-capacity", "2", "--face-capacity", "1"]);
    let upsert =
        |items: Value| results(&devices.by_hand(1, "POST", LINK, Some(&json!({ "list_items": items }))));
    let another = set(face(102, "Taras", &[]), "/face_image", json!("/9j/4AAQSkZJRgA="));
    let three = json!([
        face(101, "Olena", &[]),
        another,
        card(103, "Third", "3", &[]),
        card(104, "Fourth", "4", &[])
    ]);
    let (created, full) = (json!("created"), json!("number_of_identifiers_exceeded"));
    assert_eq!(
        upsert(three),
        [
            (true, created.clone()),
            (false, json!("number_of_face_identifiers_exceeded")),
            (true, created.clone()),
            (false, full)
        ]
    );
    devices.switch("capacity", &json!({ "identifier_capacity": 3 }));
    assert_eq!(upsert(json!([another])), [(true, created)]);
    devices.by_hand(1, "POST", PROFILES, Some(&list(&[once(1, "Work")])));
    assert_eq!(bound(&devices).len(), 3);
    devices.switch("reset", &json!({}));
    let (_, held) = devices.control("GET", "/held?panel=sim-0001", None);
    assert_eq!(held, json!({ "profiles": [], "identifiers": [] }));
    assert_eq!(devices.control("GET", "/held?panel=sim-0009", None).0, 422);
}

#[test]
fn how_many_of_each_kind_a_panel_holds_is_a_setting_on_every_way() {
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let capacities = |id: &str| {
        let panel = server.fleet("GET", &format!("/panels/{id}")).send().value();
        ["capacity", "identifier_capacity", "face_capacity"].map(|name| panel[name].clone())
    };
    let add = ["panel", "add", "p1", "--capacity", "9", "--identifier-capacity", "5", "--face-capacity", "2"];
    assert_eq!(shell.run(&add).exit, Some(0));
    assert_eq!(capacities("p1"), [json!(9), json!(5), json!(2)]);
    assert_eq!(shell.run(&["panel", "set", "p1", "--identifier-capacity", "6"]).exit, Some(0));
    assert_eq!(capacities("p1"), [json!(9), json!(6), json!(2)]);
    shell.file("panels.csv", "id,identifier_capacity,face_capacity\np2,7,\np3,,3\n");
    let imported = shell.run(&["panel", "import", "panels.csv"]);
    assert_eq!(imported.exit, Some(0), "{imported}");
    assert_eq!(capacities("p2"), [Value::Null, json!(7), Value::Null]);
    assert_eq!(capacities("p3"), [Value::Null, Value::Null, json!(3)]);
}
