//! The page, as a browser asks for it: whole answers, who may see and do what, and how much is sent. What it does in
//! a browser is in `tests/browser`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use panelsync::http::percent;
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::support::answer::{Answer, Call};
use crate::support::profiles::{link, once, work_week};
use crate::support::server::{ADMIN_PASSWORD, TestServer};
use crate::support::snapshot::Transcript;

/// A browser with a session.
pub struct Browser<'s> {
    server: &'s TestServer,
    cookie: String,
    form_token: String,
}

impl<'s> Browser<'s> {
    pub fn log_in(server: &'s TestServer, user: &str, password: &str) -> Self {
        let answer = post(server, "/login", &[("username", user), ("password", password)]).send();
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let browser =
            Self { server, cookie: cookie.expect("a cookie").to_owned(), form_token: String::new() };
        let form = Regex::new(r#"name="form_token" value="([0-9a-f]{32})""#).expect("a regular expression");
        let page = browser.get("/").send().body;
        Self { form_token: form.captures(&page).expect("a form")[1].to_owned(), ..browser }
    }

    pub fn admin(server: &'s TestServer) -> Self {
        Self::log_in(server, "admin", ADMIN_PASSWORD)
    }

    pub fn get(&self, path: &str) -> Call {
        self.server.call("GET", path).header("cookie", &self.cookie)
    }

    /// A form of the session's own.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Call {
        let mut all = vec![("form_token", self.form_token.as_str())];
        all.extend(fields);
        post(self.server, path, &all).header("cookie", &self.cookie)
    }
}

impl Browser<'_> {
    /// The same with files, as a form with a field for them is sent.
    pub fn post_with(&self, path: &str, fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> Call {
        let token = [("form_token", self.form_token.as_str())];
        let fields = token.iter().chain(fields);
        let heads: Vec<_> =
            fields.map(|(name, value)| (format!("name=\"{name}\""), value.as_bytes())).collect();
        let fields = heads.iter().map(|(head, value)| (head.as_str(), *value));
        let parts: Vec<_> = fields.chain(files.iter().copied()).collect();
        self.server.call("POST", path).header("cookie", &self.cookie).parts(&parts)
    }
}

fn post(server: &TestServer, path: &str, fields: &[(&str, &str)]) -> Call {
    let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    server.call("POST", path).header("content-type", "application/x-www-form-urlencoded").raw(body.join("&"))
}

/// The answer with its tags on lines of their own.
pub struct Page(pub Answer);

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_string().replace("><", ">\n<").fmt(f)
    }
}

/// A small fleet with a batch done.
fn fleet() -> TestServer {
    let server = TestServer::start();
    server.add_panel("north-01", &json!({ "zone": "Europe/Kyiv", "labels": { "site": "north" } }));
    server.add_panel("north-02", &json!({ "zone": "Europe/Kyiv", "labels": { "site": "north" } }));
    server.add_panel("gate", &json!({ "zone": "Europe/Lisbon", "capacity": 1 }));
    let body = json!({ "all": true, "upsert": [work_week(1, "Work week"), once(2, "Once")] });
    assert_eq!(server.fleet("POST", "/batches").json(&body).send().status, 200);
    server
}

#[test]
fn a_browser_is_led_to_the_login_and_back_to_where_it_wanted_to_go() {
    let server = TestServer::start_with(|settings| {
        settings.trust_proxy = vec!["127.0.0.1".parse().expect("an address")];
    });
    let mut told = Transcript::new("web", "login");
    told.step("nobody is logged in", &server.call("GET", "/").send());
    told.step("on the way to another page", &server.call("GET", "/batches?state=done").send());
    told.step("the form", &Page(server.call("GET", "/login?to=%2Fbatches").send()));
    let wrong = [("username", "admin"), ("password", "wrong"), ("to", "/batches")];
    told.step("a wrong password", &Page(post(&server, "/login", &wrong).send()));
    let right = [("username", "admin"), ("password", ADMIN_PASSWORD), ("to", "/batches?state=done")];
    told.step("the right one", &post(&server, "/login", &right).send());
    for elsewhere in ["//elsewhere.example/", "https://elsewhere.example/", "/\\elsewhere.example"] {
        let form = [("username", "admin"), ("password", ADMIN_PASSWORD), ("to", elsewhere)];
        let answer = post(&server, "/login", &form).send();
        assert_eq!(answer.header("location"), Some("/"), "{elsewhere}");
    }
    let browser = Browser::admin(&server);
    let proxied = post(&server, "/login", &right).header("x-forwarded-proto", "https").send();
    assert!(proxied.header("set-cookie").is_some_and(|cookie| cookie.ends_with("; SameSite=Strict; Secure")));
    told.step("logged in, the form leads on", &browser.get("/login?to=%2Fpush").send());
    told.step("logging out", &browser.post("/logout", &[]).send());
    told.step("the session is over", &browser.get("/").send());
    let asked =
        browser.get("/batches").header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate");
    told.step("a link on another site, where the cookie is held back", &Page(asked.send()));
    told.check();
}

#[test]
fn a_form_that_is_not_of_the_session_changes_nothing() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let remove = "/panel/gate/remove";
    let forged = [
        post(&server, remove, &[("sure", "yes")]).header("cookie", &browser.cookie),
        post(&server, remove, &[("sure", "yes"), ("form_token", "")]).header("cookie", &browser.cookie),
        post(&server, remove, &[("sure", "yes"), ("form_token", &"0".repeat(32))])
            .header("cookie", &browser.cookie),
        browser.post(remove, &[("sure", "yes")]).header("sec-fetch-site", "cross-site"),
        browser.post(remove, &[("sure", "yes")]).header("sec-fetch-site", "same-site"),
        browser.post(remove, &[("sure", "yes")]).header("origin", "http://elsewhere.example"),
        browser.post(remove, &[("sure", "yes")]).header("origin", "null"),
        post(&server, "/login", &[("username", "admin"), ("password", ADMIN_PASSWORD)])
            .header("sec-fetch-site", "cross-site"),
    ];
    for call in forged {
        let answer = call.send();
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let other = Browser::admin(&server);
    let stolen = [("sure", "yes"), ("form_token", other.form_token.as_str())];
    let answer = post(&server, remove, &stolen).header("cookie", &browser.cookie).send();
    assert_eq!(answer.status, 403, "another session's token");
    assert_eq!(server.fleet("GET", "/panels/gate").send().status, 200, "it is still there");
    let own = format!("http://{}", server.address());
    assert_eq!(browser.post(remove, &[("sure", "yes")]).header("origin", &own).send().status, 303);
    assert_eq!(server.fleet("GET", "/panels/gate").send().status, 404);
}

#[test]
fn the_cookie_is_good_for_the_page_alone_and_a_bearer_token_for_the_fleet_api_alone() {
    let server = fleet();
    let browser = Browser::admin(&server);
    assert_eq!(browser.get("/fleet/v1/panels").send().status, 401);
    assert_eq!(browser.get("/panels/gate/api/v1/access/timeprofile/items").send().status, 401);
    assert_eq!(server.call("GET", "/profiles").bearer(server.token()).send().status, 303);
}

/// Every page and form, and the least role that may have it.
const PAGES: &str = "
viewer   GET  /
viewer   GET  /fleet/more
viewer   GET  /panel/gate
viewer   GET  /profiles
viewer   GET  /profiles/91c615e3-1040-4815-8ecb-000000000001
viewer   GET  /identifiers
viewer   GET  /identifiers/91c615e3-1040-4815-8ecb-000000000101
viewer   GET  /batches
viewer   GET  /batches/{batch}
viewer   POST /profiles/preview
viewer   GET  /access?panel=gate
viewer   GET  /password
viewer   POST /password
operator GET  /profiles/new
operator GET  /profiles/91c615e3-1040-4815-8ecb-000000000001/edit
operator GET  /identifiers/new
operator GET  /identifiers/import
operator GET  /identifiers/91c615e3-1040-4815-8ecb-000000000101/edit
operator POST /identifiers/91c615e3-1040-4815-8ecb-000000000101/reveal
operator GET  /identifiers/91c615e3-1040-4815-8ecb-000000000101/photo
operator POST /identifiers/check
operator POST /identifiers/import
operator POST /identifiers/send
operator GET  /push
operator POST /profiles/check
operator POST /push
operator POST /push/send
operator POST /panel/gate/reconcile
operator POST /batches/{batch}/retry
operator POST /batches/{batch}/cancel
operator GET  /batches/{batch}/undo
operator POST /batches/{batch}/undo
admin    GET  /add
admin    GET  /panel/gate/edit
admin    GET  /audit
admin    POST /add
admin    POST /panel/gate/edit
admin    POST /panel/gate/remove
";

#[test]
fn every_page_takes_its_role_and_no_lower_one() {
    let server = fleet();
    let batches = server.fleet("GET", "/batches").send().value();
    let batch = batches["items"][0]["id"].as_str().expect("an id").to_owned();
    let roles = ["viewer", "operator", "admin"];
    for role in roles {
        server.add_user(&format!("a-{role}"), role);
    }
    for (has, role) in roles.iter().enumerate() {
        let browser = Browser::log_in(&server, &format!("a-{role}"), &format!("a-{role}-password"));
        for line in PAGES.trim().lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [least, method, path] = words[..] else { panic!("{line}") };
            let path = path.replace("{batch}", &batch);
            let answer = match method {
                "GET" => browser.get(&path).send(),
                _ => browser.post(&path, &[]).send(),
            };
            let needs = roles.iter().position(|role| *role == least).expect("a role");
            assert_eq!(answer.status == 403, has < needs, "{role}: {method} {path} {}", answer.status);
            assert!(answer.status < 500, "{role}: {method} {path} {}", answer.body);
            let nobody = match method {
                "GET" => server.call("GET", &path).send(),
                _ => post(&server, &path, &[]).send(),
            };
            assert_eq!(nobody.status, 303, "nobody: {method} {path}");
        }
    }
    let told: BTreeSet<_> = PAGES.trim().lines().collect();
    assert_eq!(told.len(), PAGES.trim().lines().count());
}

#[test]
fn the_pages_of_a_fleet() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let mut told = Transcript::new("web", "pages");
    told.step("the fleet", &Page(browser.get("/").send()));
    told.step("what is wrong with a selector is said", &Page(browser.get("/?selector=a%20b&by=").send()));
    told.step("what no selector picks", &Page(browser.get("/?selector=site%3Dsouth").send()));
    told.step("the profiles", &Page(browser.get("/profiles").send()));
    told.step("one of them", &Page(browser.get(&format!("/profiles/{}", link(1))).send()));
    told.step("the batches", &Page(browser.get("/batches").send()));
    let batches = server.fleet("GET", "/batches").send().value();
    let id = batches["items"][0]["id"].as_str().expect("an id").to_owned();
    told.step("the batch", &Page(browser.get(&format!("/batches/{id}")).send()));
    told.step("a panel that is not there", &Page(browser.get("/panel/nowhere").send()));
    told.step("a file that is not there", &browser.get("/assets/0123456789ab/page.css").send());
    told.check();
}

#[test]
fn a_profile_goes_from_the_form_over_the_dry_run_to_the_panels() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let id = link(9);
    let form = [
        ("link_id", id.as_str()),
        ("name", "Night <shift> & \"more\""),
        ("zone", "Europe/Kyiv"),
        ("from_date", "2030-03-29"),
        ("from_time", "22:00"),
        ("to_date", "2030-03-30"),
        ("to_time", "06:00"),
        ("repeat", "custom"),
        ("point", "week"),
        ("every", "1"),
        ("days", "FRI"),
        ("days", "SAT"),
        ("end", "never"),
        ("week", "2030-03-25"),
    ];
    let mut told = Transcript::new("web", "push");
    let preview = browser.post("/profiles/preview", &form).send();
    let errors = preview.value()["errors"].as_object().expect("an object").clone();
    assert!(errors.values().all(|text| text == ""), "{errors:?}");
    let html = preview.value()["html"].as_str().expect("a text").replace("><", ">\n<");
    // Whether the door is open now depends on when this runs; until 2030 it is not.
    told.step("the preview, with the clocks set forward on Sunday", &html);
    told.step("for which panels", &Page(browser.post("/profiles/check", &form).send()));
    let items = json!([{
        "link_id": id,
        "name": "Night <shift> & \"more\"",
        "time_options": { "is_all_day": false, "date_from": 1_901_044_800, "date_to": 1_901_073_600 },
        "repeat_options": { "repeat_enable": true, "repeat_format": {
            "repeat_type": "custom", "repeat_end": { "format": "never" },
            "repeat_custom": { "repeat_point_type": "week", "repeat_looper": 1, "repeat_options": ["FRI", "SAT"] } } }
    }])
    .to_string();
    let push = [("items", items.as_str()), ("selector", ""), ("target", "all")];
    told.step("the dry run", &Page(browser.post("/push", &push).send()));
    let nobody = [("items", items.as_str()), ("selector", "site=south")];
    told.step("a selector that picks no panel", &Page(browser.post("/push", &nobody).send()));
    let both = [("items", items.as_str()), ("selector", "site=north"), ("target", "all")];
    let answer = browser.post("/push", &both).send();
    assert!(
        answer.status == 422 && answer.body.contains("either a selector or all panels"),
        "{}",
        answer.body
    );
    let before = server.fleet("GET", "/profiles").send().value()["items"].as_array().expect("a list").len();
    assert_eq!(before, 2, "a dry run changes nothing");
    let key = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let send = [("items", items.as_str()), ("target", "all"), ("key", key)];
    let first = browser.post("/push/send", &send).send();
    let again = browser.post("/push/send", &send).send();
    assert_eq!(first.status, 303);
    assert_eq!(first.header("location"), again.header("location"), "sent twice, it is one batch");
    // Accepted is not yet applied.
    let batch = first.header("location").and_then(|to| to.rsplit('/').next()).expect("a batch").to_owned();
    while server.fleet("GET", &format!("/batches/{batch}")).send().value()["state"] == "running" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let profile = server.fleet("GET", &format!("/profiles/{id}")).send().value();
    assert_eq!(profile["versions"][0]["profile"]["name"], "Night <shift> & \"more\"");
    let page = browser.get("/panel/north-01?week=2030-03-25").send();
    assert!(page.body.contains("Night &lt;shift&gt; &amp;"), "{}", page.body);
    assert!(!page.body.contains("<shift>"));
    told.check();
}

#[test]
fn every_error_of_a_profile_stands_at_a_field_of_the_form() {
    let server = TestServer::start();
    let browser = Browser::admin(&server);
    let good = [
        ("link_id", "91c615e3-1040-4815-8ecb-000000000009"),
        ("name", "Gym"),
        ("zone", "UTC"),
        ("from_date", "2030-01-07"),
        ("from_time", "09:00"),
        ("to_date", "2030-01-07"),
        ("to_time", "18:00"),
        ("repeat", "custom"),
        ("point", "week"),
        ("every", "1"),
        ("days", "MON"),
        ("end", "date"),
        ("until_date", "2031-01-01"),
    ];
    let errors = |changes: &[(&str, &str)]| -> Vec<(String, String)> {
        let mut form: Vec<_> = good
            .iter()
            .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
            .copied()
            .collect();
        form.extend(changes);
        let answer = browser.post("/profiles/preview", &form).send();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let value: Value = answer.value();
        let errors = value["errors"].as_object().expect("an object").iter();
        let said = errors.map(|(place, text)| (place.clone(), text.as_str().expect("a text").to_owned()));
        let said: Vec<_> = said.filter(|(_, text)| !text.is_empty()).collect();
        let status = browser.post("/profiles/check", &form).send().status;
        assert_eq!(status, if said.is_empty() { 200 } else { 422 }, "{changes:?}");
        said
    };
    assert_eq!(errors(&[]), []);
    let mut text = String::new();
    let cases: [&[(&str, &str)]; 19] = [
        &[("link_id", "mine")],
        &[("name", "")],
        &[("zone", "Mars/Base")],
        &[("from_date", "yesterday")],
        &[("from_time", "25:00")],
        &[("to_date", "")],
        &[("to_time", "09:00")],
        &[("all_day", "yes"), ("to_date", "2030-01-01")],
        &[("repeat", "sometimes")],
        &[("point", "fortnight")],
        &[("every", "0")],
        &[("every", "often")],
        &[("days", "")],
        &[("days", "DAY")],
        &[("point", "month"), ("numbers", "32")],
        &[("point", "month"), ("month_by", "nth"), ("order", "sixth"), ("day_type", "MON")],
        &[("point", "year"), ("months", "13")],
        &[("until_date", "someday")],
        &[("until_date", "2029-01-01")],
    ];
    for case in cases {
        let found = errors(case);
        assert!(!found.is_empty(), "{case:?} is taken");
        text.push_str(&format!("{case:?}\n"));
        for (place, said) in found {
            text.push_str(&format!("  {place}: {said}\n"));
        }
    }
    crate::support::snapshot::check("web", "form_errors", &text);
}

#[test]
fn a_large_fleet_comes_in_pieces_that_make_up_the_whole() {
    let server = TestServer::start();
    let line = |n: usize| {
        let labels = json!({ "site": format!("site-{:03}", n % 100), "serial": format!("{n:05}") });
        json!({ "id": format!("panel-{n:05}"), "labels": labels }).to_string()
    };
    let lines: Vec<_> = (0..10_000).map(line).collect();
    assert_eq!(server.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send().status, 201);
    let browser = Browser::admin(&server);
    let asset = Regex::new(r#"(?:src|href)="(/assets/[^"]+)""#).expect("a regular expression");
    let tile = Regex::new(r#"href="/panel/(panel-\d{5})""#).expect("a regular expression");
    let more = Regex::new(r#"data-more="([^"]+)""#).expect("a regular expression");
    // By a label with a hundred panels to a value, by one that every panel has its own value of, and by none.
    for by in ["", "?by=serial", "?by="] {
        let first = browser.get(&format!("/{by}")).send().body;
        let assets = asset.captures_iter(&first).map(|asset| browser.get(&asset[1]).send().body.len());
        let bytes = first.len() + assets.sum::<usize>();
        assert!(bytes < 300_000, "the first view has {bytes} bytes, {by}");
        let mut seen = Vec::new();
        let mut page = first;
        loop {
            seen.extend(tile.captures_iter(&page).map(|found| found[1].to_owned()));
            let Some(next) = more.captures(&page).map(|next| next[1].replace("&amp;", "&")) else { break };
            page = browser.get(&next).send().body;
        }
        assert_eq!(seen.len(), 10_000, "{by}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 10_000, "none is there twice, {by}");
    }
}

#[test]
fn the_fleet_tells_what_changes() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let shown = browser.get("/").send().body;
    let live = Regex::new(r#"data-live="([^"]+)""#).expect("a regular expression");
    let live = |page: &str| live.captures(page).expect("it is live")[1].replace("&amp;", "&");
    let response = browser.get(&live(&shown)).open();
    assert_eq!(response.status().as_u16(), 200);
    let mut lines = BufReader::new(response.into_body().into_reader()).lines();
    let mut event = || -> (String, Value) {
        loop {
            let line = lines.next().expect("it goes on").expect("a text");
            if let Some(name) = line.strip_prefix("event: ") {
                let data = lines.next().expect("it goes on").expect("a text");
                let data = data.strip_prefix("data: ").expect("data");
                return (name.to_owned(), serde_json::from_str(data).expect("JSON"));
            }
        }
    };
    let (name, data) = event();
    assert_eq!(
        (name.as_str(), &data["first"], &data["counts"]["panels"]),
        ("fleet", &json!(true), &json!(3))
    );
    // All are online, and one has refused a profile.
    assert_eq!(data["panels"], json!([["/panel/gate", "attention", "online, 1 refused"]]));
    assert_eq!(data["groups"], json!([["", "1 panel · 1 attention"], ["north", "2 panels"]]));
    // What it refuses no longer is told, though its rows stay as they are.
    let taken = json!({ "all": true, "delete": [link(2)] });
    assert_eq!(server.fleet("POST", "/batches").json(&taken).send().status, 200);
    let (name, data) = event();
    assert_eq!((name.as_str(), &data["panels"]), ("fleet", &json!([["/panel/gate", "online", "online"]])));
    // A device that nobody has met yet.
    let record = json!({ "id": "away", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "x" });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    assert_eq!(event().0, "reload");
    let page = browser.get("/").send();
    assert!(
        page.body.contains(r#"class="unknown""#) || page.body.contains(r#"class="offline""#),
        "{}",
        page.body
    );
}

#[test]
fn a_stream_ends_with_its_session() {
    let server = fleet();
    let browser = Browser::admin(&server);
    let open = ["/live?since=99999999999999999", "/panel/gate/live", "/batches/live"]
        .map(|path| browser.get(path).open());
    assert_eq!(browser.post("/logout", &[]).send().status, 303);
    for response in open {
        // Whoever is not told anything is asked again after 15 seconds at most.
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        assert!(lines.count() < 20, "it ends");
    }
}

#[test]
fn a_panel_is_given_other_settings_and_keeps_the_password_that_nobody_sees() {
    let server = fleet();
    let record = json!({ "id": "door", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "open sesame", "capacity": 40, "face_capacity": 7 });
    assert_eq!(server.fleet("POST", "/panels?force=true").json(&record).send().status, 201);
    let browser = Browser::admin(&server);
    let form = browser.get("/panel/door/edit").send();
    assert!(form.body.contains(r#"name="url" value="http://127.0.0.1:9""#), "{}", form.body);
    assert!(form.body.contains(r#"name="face_capacity" value="7""#), "{}", form.body);
    assert!(!form.body.contains("sesame"));
    let change = |fields: &[(&str, &str)]| {
        let mut all =
            vec![("driver", "http"), ("username", "admin"), ("zone", "Europe/Kyiv"), ("force", "yes")];
        all.extend(fields);
        browser.post("/panel/door/edit", &all).send()
    };
    let wrong = change(&[("url", "ftp://127.0.0.1"), ("labels", "site"), ("capacity", "many")]);
    assert_eq!(wrong.status, 422);
    for said in ["and site is not", "A whole number, or nothing", r#"value="ftp://127.0.0.1""#] {
        assert!(wrong.body.contains(said), "{said}: {}", wrong.body);
    }
    let wrong = change(&[("url", "ftp://127.0.0.1")]);
    assert!(wrong.body.contains("A URL that begins with http:// or https://"), "{}", wrong.body);
    let moved = [
        ("url", "http://127.0.0.1:10"),
        ("labels", "site=north, floor=2"),
        ("repair", "on"),
        ("identifier_capacity", "60"),
    ];
    let wrong = change(&moved);
    assert!(wrong.body.contains("Give the password again"), "{}", wrong.body);
    let right = change(&[&moved[..], &[("password", "open sesame")]].concat());
    assert_eq!((right.status, right.header("location")), (303, Some("/panel/door")));
    let panel = server.fleet("GET", "/panels/door").send().value();
    assert_eq!(panel["url"], "http://127.0.0.1:10");
    assert_eq!(panel["labels"], json!({ "site": "north", "floor": "2" }));
    assert_eq!((&panel["capacity"], &panel["identifier_capacity"]), (&Value::Null, &json!(60)));
    assert_eq!(panel["face_capacity"], Value::Null);
    assert_eq!(panel["repair"], "on");
    let state = server.stop_and_render();
    assert_eq!(state.matches("(secret)").count(), 2, "the key's check, and the panel's password");
}
