//! Clients as they are found in public code, against panels: small programs that know the vendor's page and nothing
//! else. What they ask of an embedded panel of each family is asked of the stand-in too, wherever that has it, so that
//! both are one reading of the page.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::support::profiles::{data, link, never, once, work_week};
use crate::support::server::TestServer;
use crate::vendor::family::{self, Family, Limit, Options, Sort};
use crate::vendor::stand_in::{PASSWORD_MD5, StandIn};
use crate::vendor::{for_each, with_formats};

/// `admin:123456`
const BASIC: &str = "Basic YWRtaW46MTIzNDU2";

/// The families whose filters the page tells.
const FILTERED: [Family; 5] = [
    family::ANDROID_1_5,
    family::ANDROID_2_9,
    family::ANDROID_2_12,
    family::CAMDROID_1_3,
    family::INGENIC_MIPS,
];

/// All families but door controllers.
const PANELS: [Family; 6] = [
    family::ANDROID_1_5,
    family::ANDROID_2_9,
    family::ANDROID_2_12,
    family::CAMDROID_0_6,
    family::CAMDROID_1_3,
    family::INGENIC_MIPS,
];

/// One client of one panel.
struct Client {
    base: String,
    family: Family,
    authorization: Option<String>,
    agent: Agent,
}

/// What it got.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Client {
    fn new(base: String, family: Family) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        Self { base, family, authorization: None, agent }
    }

    /// Another client of the same panel.
    fn again(&self) -> Self {
        Self::new(self.base.clone(), self.family)
    }

    /// The same client, logged in.
    fn logged_in(mut self) -> Self {
        let answer = self.log_in("admin", PASSWORD_MD5);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.value();
        assert_eq!(answer["account_type"], "admin");
        self.authorization = Some(format!("Bearer {}", answer["token"].as_str().expect("a token")));
        self
    }

    fn log_in(&self, user: &str, md5: &str) -> Reply {
        if self.family.is_door_controller {
            self.post("login", &json!({ "username": user, "password": md5 }))
        } else {
            self.get(&format!("login?username={user}&password={md5}"))
        }
    }

    /// Under `/api/`, with these headers.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let url = format!("{}/api/{path}", self.base);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let answer = self.agent.run(request.body(body.to_vec()).expect("a request"));
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let headers = answer.headers().iter();
        let text = |value: &ureq::http::HeaderValue| value.to_str().expect("a text").to_owned();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
        let status = answer.status().as_u16();
        Reply { status, headers, text: answer.body_mut().read_to_string().expect("a body") }
    }

    /// Under the prefix of its version.
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(method, &format!("{}/{path}", self.family.prefix), headers, body)
    }

    fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], b"")
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.call(method, path, &json, body.to_string().as_bytes())
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.json("POST", path, body)
    }

    /// The path of time profiles.
    fn profiles(&self, path: &str) -> String {
        format!("access/{}{path}", self.family.paths)
    }

    fn upsert(&self, profiles: &[Value]) -> Reply {
        self.post(&self.profiles("/items/link"), &json!({ (self.family.items): profiles }))
    }

    /// A page of all profiles, and the further parameters.
    fn list(&self, limit: u32, page: u32, further: &str) -> Reply {
        let query = format!("limit={limit}&{}={page}{further}", self.family.lists.page);
        self.get(&self.profiles(&format!("/items?{query}")))
    }

    fn names(&self, list: &Reply) -> Vec<String> {
        let value = list.value();
        let items = value[self.family.items].as_array();
        let items = items.unwrap_or_else(|| panic!("{:?}: {list:?}", self.family));
        items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// The names of its first ten profiles, in whatever order it has them.
    fn sorted_names(&self) -> Vec<String> {
        let mut names = self.names(&self.list(10, 1, ""));
        names.sort();
        names
    }

    /// This status, with an error in the family's own shape, whose text it gives.
    fn refused(&self, reply: &Reply, status: u16) -> String {
        let (api, version) = (self.family.api, self.family.version);
        assert_eq!(reply.status, status, "{api} {version}: {reply:?}");
        let value = reply.value();
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(1), "{api} {version}: {reply:?}");
        if !self.family.is_door_controller {
            return value["error"]
                .as_str()
                .unwrap_or_else(|| panic!("{api} {version}: {reply:?}"))
                .to_owned();
        }
        let error = value["error"].as_object().unwrap_or_else(|| panic!("{api} {version}: {reply:?}"));
        let keys: Vec<_> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "data", "message"], "{reply:?}");
        let codes = [
            "invalid_authentication",
            "permission_denied",
            "not_valid",
            "system_error",
            "bad_request",
            "connection_timeout",
        ];
        let code = error["code"].as_str().expect("a text");
        assert!(codes.contains(&code), "{reply:?}");
        assert!(status != 401 || code == "invalid_authentication", "{reply:?}");
        error["message"].as_str().expect("a text").to_owned()
    }
}

/// Asks embedded panels of each of these families, which are one server's.
fn embedded(families: &[Family], story: fn(&Client)) {
    let server = TestServer::start();
    for_each(families, |family| story(&panel_of(&server, family)));
}

/// The same where each has a server of its own: failed logins count for the whole of one.
fn embedded_apart(families: &[Family], story: fn(&Client)) {
    for_each(families, |family| {
        let server = TestServer::start();
        story(&panel_of(&server, family));
    });
}

fn panel_of(server: &TestServer, family: Family) -> Client {
    let id = format!("{}-{}", family.api, family.version.replace('.', "-"));
    server.add_panel(&id, &json!({ "api": family.api, "api_version": family.version }));
    Client::new(format!("http://{}/panels/{id}", server.address()), family)
}

/// The same of stand-ins.
fn stand_ins(story: fn(&Client)) {
    for_each(&family::ALL, |family| {
        let device = StandIn::start(family);
        story(&Client::new(device.url(), family));
    });
}

fn tells_what_it_is(client: &Client) {
    let answer = client.send("GET", "info", &[], b"");
    let info = answer.value();
    assert_eq!(answer.status, 200, "{answer:?}");
    for field in [
        "firmware_version",
        "framework_version",
        "frontend_version",
        "device_name",
        "device_model",
        "device_serial_number",
        "hybrid_version",
        "commit",
    ] {
        assert!(info[field].is_string(), "{field}: {info}");
    }
    assert!(info["device_serial_number"] != "", "{info}");
    assert!(info["hybrid_enable"].is_boolean(), "{info}");
    assert_eq!(
        (&info["device_type"], &info["api_version"]),
        (&json!("panel"), &json!(client.family.version))
    );
    let head = client.send("HEAD", "info", &[], b"");
    assert_eq!((head.status, &*head.text), (200, ""), "{head:?}");
    assert_eq!(head.header("content-type"), answer.header("content-type"));
    client.refused(&client.send("GET", "v9/no/such/call", &[], b""), 404);
}

fn logs_in_and_out(client: &Client) {
    for md5 in [PASSWORD_MD5.to_owned(), PASSWORD_MD5.to_uppercase()] {
        let answer = client.log_in("admin", &md5);
        assert_eq!(answer.status, 200, "{answer:?}");
        let value = answer.value();
        assert_eq!(value["account_type"], "admin");
        assert!(value["token"].as_str().is_some_and(|token| token.len() >= 32), "{value}");
    }
    let is_door = client.family.is_door_controller;
    for (user, md5) in [("admin", &*"0".repeat(32)), ("nobody", PASSWORD_MD5)] {
        let answer = client.log_in(user, md5);
        // Of door controllers the page has the code, and no status that is certain.
        assert!([400, client.family.wrong_login].contains(&answer.status), "{answer:?}");
        assert_eq!(client.refused(&answer, answer.status), "Wrong login or password");
    }
    if is_door {
        for body in [json!({ "username": "admin" }), json!({ "password": PASSWORD_MD5 }), json!({})] {
            client.refused(&client.post("login", &body), 400);
        }
    } else {
        for query in ["", "?username=admin", &format!("?password={PASSWORD_MD5}")] {
            let text = client.refused(&client.get(&format!("login{query}")), 400);
            assert_eq!(text, "Required parameters missed", "{query}");
        }
    }
    let list = client.profiles("/items?limit=10&page_number=1");
    assert_eq!(client.refused(&client.get(&list), 401), "Log In");
    for method in ["GET", "POST"] {
        let client = client.again().logged_in();
        assert_eq!(client.get(&list).status, 200);
        assert_eq!(client.call(method, "logout", &[], b"").status, 200);
        assert_eq!(client.refused(&client.get(&list), 401), "Log In");
    }
    if client.family.tells_time {
        let client = client.again().logged_in();
        let time = client.get("device/time");
        let value = time.value();
        assert!(
            time.status == 200 && value["time_unix"].is_i64() && value["timezone"].is_string(),
            "{time:?}"
        );
    }
}

/// Four of five models in the most-used public client know nothing else.
fn takes_name_and_password_on_every_call(client: &Client) {
    let with = |authorization: &str| {
        let mut client = client.again();
        client.authorization = Some(authorization.to_owned());
        client
    };
    let basic = with(BASIC);
    let created = basic.upsert(&[once(1, "a")]);
    assert_eq!((created.status, &created.value()["result"][0]["extended_info"]), (200, &json!("created")));
    assert_eq!(basic.names(&basic.list(10, 1, "")), ["a"]);
    let deleted = basic.post(&basic.profiles("/link/delete"), &json!({ "link_ids": [link(1)] }));
    // A device may have the other way to delete only.
    assert!([200, 404, 405].contains(&deleted.status), "{deleted:?}");
    for wrong in ["Basic YWRtaW46d3Jvbmc=", "Basic !", "Digest x"] {
        let wrong = with(wrong);
        let text = wrong.refused(&wrong.upsert(&[once(2, "b")]), 401);
        // The page has a text for a session that is over, and one for a login that is wrong.
        assert!(["Log In", "Wrong login or password"].contains(&&*text), "{text}");
    }
    assert!(!basic.names(&basic.list(10, 1, "")).contains(&"b".to_owned()));
}

fn has_these_paths_and_methods(client: &Client) {
    let client = &client.again().logged_in();
    let list = client.profiles("/items/link?limit=10&page_number=1");
    let got = client.get(&list);
    let head = client.call("HEAD", &list, &[], b"");
    assert_eq!((got.status, head.status, &*head.text), (200, 200, ""), "{head:?}");
    assert_eq!(head.header("content-type"), got.header("content-type"));
    let login = if client.family.is_door_controller { ("GET", "POST") } else { ("POST", "GET") };
    for (method, path, allowed) in [
        ("PUT", client.profiles("/items/link"), &["GET", "POST"][..]),
        ("PATCH", client.profiles("/items"), &["GET", "DELETE"]),
        (login.0, "login".into(), &[login.1]),
        ("DELETE", "logout".into(), &["GET", "POST"]),
    ] {
        let answer = client.call(method, &path, &[], b"");
        let text = client.refused(&answer, 405);
        let allow: Vec<_> = answer.header("allow").unwrap_or_default().split(", ").collect();
        assert!(allowed.iter().all(|method| allow.contains(method)), "{method} {path}: {answer:?} {text}");
        assert!(!allow.contains(&method), "{method} {path}: {answer:?}");
    }
    let answer = client.send("POST", "info", &[], b"");
    client.refused(&answer, 405);
    assert!(answer.header("allow").is_some_and(|allow| allow.starts_with("GET")), "{answer:?}");
    let other_family = if client.family.is_door_controller { "timeprofile" } else { "time-profiles" };
    for path in ["no/such/call", "access", "", &format!("access/{other_family}/items")] {
        client.refused(&client.get(path), 404);
        client.refused(&client.post(path, &json!({})), 404);
    }
}

/// `curl -d` and PHP send a form's type, or none.
fn reads_bodies_whatever_their_type_says(client: &Client) {
    let client = &client.again().logged_in();
    let path = client.profiles("/items/link");
    let body = |n| json!({ (client.family.items): [once(n, "a")] }).to_string();
    for (n, headers) in [
        (1, &[("content-type", "application/x-www-form-urlencoded")][..]),
        (2, &[]),
        (3, &[("content-type", "application/json; charset=UTF-8")]),
        (4, &[("content-type", "application/json"), ("accept", "*/*"), ("user-agent", "curl/8.9.1")]),
    ] {
        let answer = client.call("POST", &path, headers, body(n).as_bytes());
        assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
        assert_eq!(answer.value()["result"][0]["extended_info"], "created", "{answer:?}");
        let links = json!({ "link_ids": [link(n)] }).to_string();
        let method = if client.family.deletes_by_delete { "DELETE" } else { "POST" };
        let delete = if client.family.deletes_by_delete { "/items/link" } else { "/link/delete" };
        let answer = client.call(method, &client.profiles(delete), headers, links.as_bytes());
        assert_eq!(answer.value()["result"][0]["extended_info"], "deleted", "{headers:?}: {answer:?}");
    }
    if client.family.is_door_controller {
        let login = json!({ "username": "admin", "password": PASSWORD_MD5 }).to_string();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        for headers in [&form[..], &[]] {
            assert_eq!(client.call("POST", "login", headers, login.as_bytes()).status, 200, "{headers:?}");
        }
    }
    for no_json in ["", "[]", "{", "list_items=1", "null", "\"x\""] {
        let answer = client.call("POST", &path, &[], no_json.as_bytes());
        assert_eq!(client.refused(&answer, 400), "Wrong JSON body", "{no_json}");
    }
    assert_eq!(client.names(&client.list(10, 1, "")), Vec::<String>::new());
}

fn gives_its_lists_in_pages(client: &Client) {
    let client = &client.again().logged_in();
    let family = client.family;
    let (items, page) = (family.items, family.lists.page);
    // Names ascend, dates descend.
    let profile = |n: u32| {
        let mut profile = work_week(n, &format!("P{n:02}"));
        profile["time_options"]["date_from"] = json!(1_735_800_000 - n);
        profile
    };
    let profiles: Vec<_> = (1..=12).map(profile).collect();
    assert_eq!(client.upsert(&profiles).status, 200);
    for path in ["/items", "/items/link"] {
        let query = |n: u32| format!("{path}?limit=10&{page}={n}&list_options=1&unknown=x");
        let pages = [1, 2, 3].map(|n| client.get(&client.profiles(&query(n))));
        let counts = pages.iter().map(|page| client.names(page).len()).collect::<Vec<_>>();
        assert_eq!(counts, [10, 2, 0], "{pages:?}");
        let second = pages[1].value();
        let options = if family.is_door_controller { "options" } else { "list_option" };
        let pagination = json!({ "total_items": 12, "items_limit": 10, "total_pages": 2, "current_page": 2 });
        assert_eq!(second[options]["pagination"], pagination, "{second}");
        let item = &second[items][0];
        assert!(item[family.uid].as_u64().is_some_and(|uid| uid >= 1), "{item}");
        let read = (&item["link_id"], &item["name"], &item["time_options"], &item["repeat_options"]);
        let sent = &profiles[10];
        assert_eq!(read, (&sent["link_id"], &sent["name"], &sent["time_options"], &sent["repeat_options"]));
        let filter = &second["list_option"]["filter"];
        let sort = &second["list_option"]["sort"];
        let fields = json!(["name", "date_from", "date_to"]);
        match family.lists.options {
            Options::PaginationOnly => {
                assert_eq!(second.get("list_option"), None, "{second}");
            }
            Options::Plain => {
                assert!(
                    filter.is_object() && sort["field"].is_string() && sort["asc"].is_boolean(),
                    "{second}"
                );
                assert_eq!(sort["available_fields"], fields);
                assert_eq!(item["identifiers"], json!({ "count": 0, "uid_items": [] }), "{item}");
            }
            Options::Described => {
                assert!(filter["available_filtering"].is_boolean(), "{second}");
                assert_eq!(filter["is_filtered"], false, "{second}");
                let by = filter["available_fields"].as_array().expect("a list");
                let by: Vec<_> = by.iter().map(|field| field["field_name"].clone()).collect();
                assert!(by.contains(&json!("name")), "{second}");
                for key in ["data_type", "compare_operators", "options"] {
                    assert!(filter["available_fields"][0].get(key).is_some(), "{key}: {second}");
                }
                assert_eq!((&sort["is_sorted"], &sort["available_fields"]), (&json!(false), &fields));
                assert!(sort.get("order").is_some(), "{second}");
            }
        }
    }
    let ask = |query: &str| client.get(&client.profiles(&format!("/items?{query}")));
    let wrong = |query: &str, named: &str| {
        let answer = ask(query);
        assert_eq!(answer.status, 400, "{family:?}: {query}");
        let text = client.refused(&answer, 400);
        assert!(text.contains(named), "{query}: {text}");
    };
    match family.lists.limit {
        Limit::Steps => {
            wrong(&format!("limit=15&{page}=1"), "limit");
            assert_eq!(client.names(&client.list(50, 1, "")).len(), 12);
        }
        Limit::Any => {
            assert_eq!(client.names(&client.list(7, 2, "")).len(), 5);
            assert_eq!(client.names(&client.list(4711, 1, "")).len(), 12);
        }
        Limit::UpTo(most) => {
            wrong(&format!("limit={}", most + 1), "limit");
            assert_eq!(client.names(&client.list(most as u32, 1, "")).len(), 12);
        }
    }
    for limit in ["0", "-1", "x"] {
        wrong(&format!("limit={limit}&{page}=1"), "limit");
    }
    for number in ["0", "-1", "x"] {
        wrong(&format!("limit=10&{page}={number}"), page);
    }
    if !family.lists.required {
        assert_eq!(client.names(&ask("")).len(), 10, "ten without a limit");
        let other = if page == "page_number" { "pageNumber" } else { "page_number" };
        assert_eq!(client.names(&ask(&format!("{other}=2")))[0], "P01", "a parameter of another version");
    }
    let first = |further: &str| client.names(&client.list(10, 1, further))[0].clone();
    assert_eq!(first(""), "P01");
    match family.lists.sort {
        Sort::None => {}
        Sort::Two(field, direction) => {
            assert_eq!(first(&format!("&{field}=name&{direction}=desc")), "P12");
            assert_eq!(first(&format!("&{field}=date_from&{direction}=asc")), "P12");
            assert_eq!(first(&format!("&{field}=date_from")), "P12");
            wrong(&format!("limit=10&{page}=1&{field}=shoe_size"), field);
            wrong(&format!("limit=10&{page}=1&{field}=name&{direction}=up"), direction);
        }
        Sort::OrderBy => {
            assert_eq!(first("&order_by=name%20desc"), "P12");
            assert_eq!(first("&order_by=date_to,%20name+desc"), "P12");
            assert_eq!(first("&order_by=date_to%20asc,date_from%20desc"), "P01");
            wrong(&format!("limit=10&{page}=1&order_by=shoe_size"), "order_by");
        }
    }
}

/// Panels of before `/api/v1` are asked under either prefix, and older clients have an older path.
fn speaks_both_prefixes(client: &Client) {
    let older = client.again().logged_in();
    assert_eq!(older.upsert(&[once(1, "a")]).status, 200);
    let mut newer = client.again();
    newer.family.prefix = "v1";
    let newer = newer.logged_in();
    assert_eq!(newer.upsert(&[once(2, "b")]).status, 200);
    for client in [older, newer] {
        assert_eq!(client.sorted_names(), ["a", "b"]);
        client.refused(&client.get("no/such/call"), 404);
        client.refused(&client.call("PUT", &client.profiles("/items/link"), &[], b""), 405);
    }
}

fn has_the_older_path_of_lists(client: &Client) {
    let client = client.again().logged_in();
    assert_eq!(client.upsert(&[once(1, "a")]).status, 200);
    assert_eq!(client.names(&client.get(&client.profiles("/items/list"))), ["a"]);
}

/// A body that is packed is read, or refused as what it is; never read as something else.
fn takes_a_packed_body_or_says_no(client: &Client) {
    use std::io::Write;
    let client = client.again().logged_in();
    let body = json!({ (client.family.items): [once(1, "a")] }).to_string();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(body.as_bytes()).expect("packed");
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let path = client.profiles("/items/link");
    let answer = client.call("POST", &path, &headers, &packed.finish().expect("packed"));
    if answer.status == 200 {
        assert_eq!(client.sorted_names(), ["a"]);
    } else {
        client.refused(&answer, 415);
        assert_eq!(client.sorted_names(), Vec::<String>::new());
    }
}

fn filters_its_lists(client: &Client) {
    let client = &client.again().logged_in();
    let profiles: Vec<_> = (1..=12).map(|n| work_week(n, &format!("P{n:02}"))).collect();
    assert_eq!(client.upsert(&profiles).status, 200);
    let found = |filter: &str| client.names(&client.list(10, 1, filter));
    if client.family.api == "android" {
        let plain = "&filter_field=name&filter_type=equal&filter_format=string&filter_value=P03";
        assert_eq!(found(plain), ["P03"]);
        let object = "%7B%22filter_field%22:%22name%22,%22filter_type%22:%22equal%22,\
                      %22filter_format%22:%22string%22,%22filter_value%22:%22P05%22%7D";
        assert_eq!(found(&format!("&filter={object}")), ["P05"]);
        let in_brackets =
            plain.replace("&filter_", "&filter[filter_").replace('=', "]=").replace("P03", "P07");
        assert_eq!(found(&in_brackets.replace('[', "%5B").replace(']', "%5D")), ["P07"]);
        assert_eq!(found(&in_brackets), ["P07"]);
    } else {
        assert_eq!(found("&filter=name%20eq%20'P03'"), ["P03"]);
        let either = "(name%20eq%20'P03'%20or%20name%20eq%20'P05')%20and%20date_from%20ge%201540819271";
        assert_eq!(found(&format!("&filter={either}&order_by=name%20desc")), ["P05", "P03"]);
        assert_eq!(found("&filter=not%20(name%20lt%20'P11')"), ["P11", "P12"]);
        let list = client.list(10, 1, "&filter=name%20eq%20'P03'");
        assert_eq!(list.value()["list_option"]["filter"]["is_filtered"], true, "{list:?}");
        assert!(client.refused(&client.list(10, 1, "&filter=name%20is%20'P03'"), 400).contains("filter"));
    }
}

fn answers_the_link_calls(client: &Client) {
    let client = &client.again().logged_in();
    let family = client.family;
    let result = |n: u32, success: bool, word: Option<&str>, same: bool| {
        let mut result = json!({ "link_id": link(n), "success": success, "extended_info": word });
        if let Some(field) = family.same_name {
            result[field] = json!(same);
        }
        result
    };
    let batch = [once(1, "a"), once(2, "b"), once(1, "Another"), never(3)];
    let results = |profiles: &[Value]| {
        let answer = client.upsert(profiles);
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut value = answer.value();
        // What door controllers say beside the word is not certain: where it is not there, it is as nothing said.
        for result in value["result"].as_array_mut().into_iter().flatten() {
            if family.is_door_controller && result.get("has_duplicates").is_none() {
                let same = result["link_id"] == json!(link(4));
                result["has_duplicates"] = json!(same);
            }
        }
        value
    };
    let expected = json!({ "result": [
        result(1, true, Some("created"), false),
        result(2, true, Some("created"), false),
        result(1, false, family.named_twice, false),
        result(3, false, family.never_opens, false),
    ] });
    assert_eq!(results(&batch), expected, "{family:?}");
    let expected = json!({ "result": [result(2, true, Some("updated"), false), result(4, true, Some("created"), true)] });
    assert_eq!(results(&[once(2, "b"), once(4, "a")]), expected, "{family:?}");
    assert_eq!(client.sorted_names(), ["a", "a", "b"]);
    for case in data("invalid.json").as_array().expect("a list") {
        let mut items = case["body"]["list_items"].clone();
        if family.is_door_controller {
            with_formats(&mut items);
        }
        items.as_array_mut().expect("a list").insert(0, once(9, "good"));
        let text = client.refused(&client.upsert(items.as_array().expect("a list")), 400);
        let expected = case["error"].as_str().expect("a text");
        // Some families say no more of a body's fields than that it is wrong.
        let is_short = !family.names_fields && text == "Wrong JSON body" && expected.starts_with(&text);
        assert!(text == expected || is_short, "{family:?}: {text}, not {expected}");
    }
    let without = client.post(&client.profiles("/items/link"), &json!({}));
    assert!(client.refused(&without, 400).starts_with("Wrong JSON body"), "{without:?}");
    assert_eq!(client.sorted_names(), ["a", "a", "b"], "nothing of them was applied");
    let deleted = |n: u32, there: bool| {
        let word = if there { "deleted" } else { "entity_not_found" };
        json!({ "link_id": link(n), "success": there, "extended_info": word })
    };
    let ways = [
        (family.deletes_by_delete, "DELETE", "/items/link"),
        (family.deletes_by_post, "POST", "/link/delete"),
    ];
    for (n, (_, method, path)) in (1..).zip(ways.iter().filter(|(there, ..)| *there)) {
        let body = json!({ "link_ids": [link(n), link(77)] });
        let answer = client.json(method, &client.profiles(path), &body);
        assert_eq!(answer.value(), json!({ "result": [deleted(n, true), deleted(77, false)] }), "{answer:?}");
        let answer = client.json(method, &client.profiles(path), &json!({ "link_ids": 1 }));
        assert!(client.refused(&answer, 400).starts_with("Wrong JSON body"), "{answer:?}");
    }
}

fn answers_the_calls_by_uid(client: &Client) {
    let client = &client.again().logged_in();
    let family = client.family;
    let written = |n: u32, name: &str| {
        let mut body = work_week(n, name);
        body.as_object_mut().expect("an object").remove("link_id");
        body
    };
    let create = |name: &str| {
        let answer = client.post(&client.profiles(""), &written(0, name));
        assert_eq!(answer.status, 200, "{family:?}: {answer:?}");
        let uid = if family.is_door_controller { "id" } else { "uid" };
        answer.value()[uid].as_u64().expect("a number")
    };
    let one = |uid: &str| {
        client.profiles(&if family.is_door_controller { format!("/{uid}") } else { format!("/item/{uid}") })
    };
    let (first, second) = (create("a"), create("b"));
    assert!(1 <= first && first < second);
    let read = client.get(&one(&first.to_string())).value();
    assert_eq!((&read["name"], &read["repeat_options"]), (&json!("a"), &written(0, "a")["repeat_options"]));
    assert!(read.get("link_id").is_none_or(Value::is_null), "{read}");
    if !family.is_door_controller {
        assert_eq!(read["identifiers"], json!({ "count": 0, "uid_items": [] }), "{read}");
    }
    assert_eq!(client.json("PATCH", &one(&first.to_string()), &written(0, "A")).status, 200);
    assert_eq!(client.names(&client.list(10, 1, "")), ["A", "b"]);
    let linked = client.profiles(&format!("/items/link?limit=10&{}=1", family.lists.page));
    assert_eq!(client.names(&client.get(&linked)), Vec::<String>::new(), "none carries a link_id");
    assert_eq!(client.call("DELETE", &one(&first.to_string()), &[], b"").status, 200);
    for wrong in [first.to_string(), "0".into(), "-1".into(), "x".into(), "99999999999999999999".into()] {
        let read = client.get(&one(&wrong));
        if family.is_door_controller && wrong.parse::<u128>().is_err() {
            client.refused(&read, read.status); // what is no number is perhaps another path
            continue;
        }
        assert_eq!(client.refused(&read, 400), "Wrong Time Profile Uid", "{wrong}");
        let replaced = client.json("PATCH", &one(&wrong), &written(0, "x"));
        assert_eq!(client.refused(&replaced, 400), "Wrong Time Profile Uid", "{wrong}");
        let deleted = client.call("DELETE", &one(&wrong), &[], b"");
        assert_eq!(client.refused(&deleted, 400), "Wrong Time Profile Uid", "{wrong}");
    }
    assert!(create("c") > second, "a number is given once");
    let uids = json!({ "uid_items": [second] });
    assert_eq!(client.json("DELETE", &client.profiles("/items"), &uids).status, 200);
    assert_eq!(client.names(&client.list(10, 1, "")), ["c"]);
    let bad = client.post(&client.profiles(""), &json!({ "name": "x" }));
    assert!(client.refused(&bad, 400).starts_with("Wrong JSON body"), "{bad:?}");
}

/// The vendor's own examples have fields that do not count: they are read back as they were written.
fn keeps_what_was_written(client: &Client) {
    let client = &client.again().logged_in();
    for name in ["valid-documented.json", "valid-kinds.json"] {
        let mut items = data(name)["list_items"].clone();
        if client.family.is_door_controller {
            with_formats(&mut items);
        }
        let items = items.as_array().expect("a list");
        let answer = client.upsert(items);
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = client.list(50, 1, "").value();
        let read = list[client.family.items].as_array().expect("a list");
        for item in items {
            let read = read.iter().find(|read| read["link_id"] == item["link_id"]).expect("it is there");
            for key in ["name", "time_options", "repeat_options"] {
                assert_eq!(read[key], item[key], "{key} of {}", item["name"]);
            }
        }
    }
}

/// Ten of fourteen public clients open a lock, four read the log.
fn opens_its_lock_and_logs_it(client: &Client) {
    let mut client = client.again();
    client.authorization = Some(BASIC.to_owned());
    for lock in [1, 2] {
        let opened = client.get(&format!("access/general/lock/open/remote/accepted/{lock}"));
        assert_eq!(opened.status, 200, "{opened:?}");
    }
    let query = "log/items?limit=10&page_number=1&pageNumber=1&locale=en&from=0&to=32503680000000";
    let log = client.get(query);
    let items = log.value()[client.family.items].as_array().cloned().unwrap_or_default();
    let opened: Vec<_> =
        items.iter().filter(|item| item["name"]["key"] == "access_granted_by_api_call").collect();
    assert_eq!(opened.len(), 2, "{log:?}");
    for event in opened {
        assert_eq!(event["category"], "access", "{event}");
        assert!(event["timestamp"].as_i64().is_some_and(|ms| ms > 1_600_000_000_000), "{event}");
        assert!(event["name"]["text"].is_string() && event["priority"].is_string(), "{event}");
        assert!(event["info"].is_object(), "{event}");
    }
    let nothing = client.get(&query.replace("from=0", "from=32503670000000"));
    assert_eq!(nothing.value()[client.family.items], json!([]), "{nothing:?}");
    client.authorization = None;
    client.refused(&client.get("access/general/lock/open/remote/accepted/1"), 401);
    client.refused(&client.get(query), 401);
}

/// Whether all fields of one are in the other, which may have more.
fn says_all(read: &Value, set: &Value) -> bool {
    match set {
        Value::Object(fields) => fields.iter().all(|(name, value)| says_all(&read[name], value)),
        value => read == value,
    }
}

/// What was set last is what is read.
fn keeps_its_settings(client: &Client) {
    let client = &client.again().logged_in();
    for (path, setting) in [
        ("network/ntp", json!({ "enabled": true, "use_default": false, "custom_url": "ntp.example.org" })),
        ("network/timezone", json!({ "timezone": "UTC+03:00" })),
        ("device/language", json!({ "language": "en" })),
        ("device/settings/volume", json!({ "volume_level": 3 })),
        ("access/general/unlock/input/code", json!({ "input_code_enable": true, "input_code_number": 1234 })),
        (
            "network/management/server",
            json!({ "is_enabled": true, "protocol": "http", "settings": { "url": "http://link.example.org", "password": "x" } }),
        ),
    ] {
        assert_eq!(client.get(path).status, 200, "{path}");
        let set = client.post(path, &setting);
        assert_eq!(set.status, 200, "{path}: {set:?}");
        let read = client.get(path).value();
        assert!(says_all(&read, &setting), "{path}: {read}");
        client.refused(&client.again().get(path), 401);
    }
}

/// An account that is no administrator reads, and no more.
#[test]
fn an_account_that_is_no_administrator_reads_and_no_more() {
    // guard:guard-password
    const GUARD: (&str, &str) = ("7d4a07ed3a9c01ba087602f2d7f74df8", "Basic Z3VhcmQ6Z3VhcmQtcGFzc3dvcmQ=");
    let server = TestServer::start();
    server.add_user("guard", "viewer");
    for (n, family) in family::ALL.into_iter().filter(|family| !family.is_door_controller).enumerate() {
        server.add_panel(&format!("p{n}"), &json!({ "api": family.api, "api_version": family.version }));
        let mut client = Client::new(format!("http://{}/panels/p{n}", server.address()), family);
        let answer = client.log_in("guard", GUARD.0).value();
        assert_eq!(answer["account_type"], "user", "{answer}");
        let token = answer["token"].as_str().expect("a token").to_owned();
        for authorization in [format!("Bearer {token}"), GUARD.1.to_owned()] {
            client.authorization = Some(authorization);
            assert_eq!(client.names(&client.list(10, 1, "")), Vec::<String>::new());
            let refused = client.upsert(&[once(1, "a")]);
            if family.api == "android" {
                assert_eq!(client.refused(&refused, 403), "Administrator rights required");
            } else {
                assert_eq!(client.refused(&refused, 401), "Log In");
            }
        }
    }
}

/// Each panel is told apart by its serial number.
#[test]
fn every_panel_has_a_serial_number_of_its_own() {
    let server = TestServer::start();
    let serial = |id: &str| {
        server.add_panel(id, &json!({}));
        server.call("GET", &format!("/panels/{id}/api/info")).send().value()["device_serial_number"].clone()
    };
    let (first, second) = (serial("p1"), serial("p2"));
    assert_ne!(first, second);
}

#[test]
fn what_a_panel_is_of_embedded_panels() {
    embedded(&family::ALL, tells_what_it_is);
}

#[test]
fn sessions_of_embedded_panels() {
    embedded_apart(&family::ALL, logs_in_and_out);
}

#[test]
fn name_and_password_on_every_call_of_embedded_panels() {
    embedded_apart(&family::ALL, takes_name_and_password_on_every_call);
}

#[test]
fn paths_and_methods_of_embedded_panels() {
    embedded(&family::ALL, has_these_paths_and_methods);
}

#[test]
fn bodies_of_any_type_of_embedded_panels() {
    embedded(&family::ALL, reads_bodies_whatever_their_type_says);
}

#[test]
fn lists_of_embedded_panels() {
    embedded(&family::ALL, gives_its_lists_in_pages);
}

#[test]
fn the_link_calls_of_embedded_panels() {
    embedded(&family::ALL, answers_the_link_calls);
}

#[test]
fn the_calls_by_uid_of_embedded_panels() {
    embedded(&family::ALL, answers_the_calls_by_uid);
}

#[test]
fn what_was_written_is_read_back_of_embedded_panels() {
    embedded(&family::ALL, keeps_what_was_written);
}

#[test]
fn filters_of_embedded_panels() {
    embedded(&FILTERED, filters_its_lists);
}

#[test]
fn a_lock_and_the_log_of_embedded_panels() {
    embedded(&PANELS, opens_its_lock_and_logs_it);
}

#[test]
fn settings_of_embedded_panels() {
    embedded(&PANELS, keeps_its_settings);
}

#[test]
fn what_a_panel_is_of_stand_ins() {
    stand_ins(tells_what_it_is);
}

#[test]
fn sessions_of_stand_ins() {
    stand_ins(logs_in_and_out);
}

#[test]
fn name_and_password_on_every_call_of_stand_ins() {
    stand_ins(takes_name_and_password_on_every_call);
}

#[test]
fn paths_and_methods_of_stand_ins() {
    stand_ins(has_these_paths_and_methods);
}

#[test]
fn bodies_of_any_type_of_stand_ins() {
    stand_ins(reads_bodies_whatever_their_type_says);
}

#[test]
fn lists_of_stand_ins() {
    stand_ins(gives_its_lists_in_pages);
}

#[test]
fn the_link_calls_of_stand_ins() {
    stand_ins(answers_the_link_calls);
}

#[test]
fn the_calls_by_uid_of_stand_ins() {
    stand_ins(answers_the_calls_by_uid);
}

#[test]
fn what_was_written_is_read_back_of_stand_ins() {
    stand_ins(keeps_what_was_written);
}

#[test]
fn both_prefixes_of_embedded_panels() {
    embedded(&[family::ANDROID_1_5, family::CAMDROID_0_6], speaks_both_prefixes);
}

#[test]
fn the_older_path_of_lists_of_embedded_panels() {
    embedded(&[family::ANDROID_1_5, family::CAMDROID_0_6], has_the_older_path_of_lists);
}

#[test]
fn packed_bodies_of_embedded_panels() {
    embedded(&family::ALL, takes_a_packed_body_or_says_no);
}

/// Every account that may log in on a door controller is an administrator's.
#[test]
fn accounts_of_others_of_embedded_door_controllers() {
    let server = TestServer::start();
    server.add_user("guard", "viewer");
    let client = panel_of(&server, family::DOOR_CONTROLLER);
    let answer = client.log_in("guard", "7d4a07ed3a9c01ba087602f2d7f74df8");
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.text.contains("Administrator rights required"), "no expired session: {answer:?}");
}
