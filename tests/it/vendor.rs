//! The vendor's devices, as their pages have them: the real server against stand-ins that are written from those pages
//! and not from this program. Each family and version that is told apart goes through the whole of what people do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use panelsync::config::Settings;
use serde_json::{Value, json};
use ureq::Agent;

use crate::support::answer::Answer;
use crate::support::profiles::{data, link, never, once, work_week};
use crate::support::server::TestServer;
use family::Family;
use stand_in::{PASSWORD, PASSWORD_MD5, StandIn};

pub mod family;
mod rules;
pub mod stand_in;
mod wire;

/// Somebody who is logged in on a device and edits it by hand.
struct Person<'a> {
    device: &'a StandIn,
    family: Family,
    token: String,
}

impl<'a> Person<'a> {
    fn at(device: &'a StandIn, family: Family) -> Self {
        let mut person = Self { device, family, token: String::new() };
        let (status, answer) = if family.is_door_controller {
            let body = json!({ "username": "admin", "password": PASSWORD_MD5.to_uppercase() });
            person.call("POST", "login", Some(&body))
        } else {
            let query = format!("login?username=admin&password={}", PASSWORD_MD5.to_uppercase());
            person.call("GET", &query, None)
        };
        assert_eq!(status, 200, "{answer}");
        answer["token"].as_str().expect("a token").clone_into(&mut person.token);
        person
    }

    /// A call under the device's prefix.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let url = format!("{}/api/{}/{path}", self.device.url(), self.family.prefix);
        let request = ureq::http::Request::builder().method(method).uri(url);
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let text = body.map_or(String::new(), Value::to_string);
        let mut answer = agent.run(request.body(text).expect("a request")).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    /// A call of time profiles that is taken.
    fn of_profiles(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, &format!("access/{}{path}", self.family.paths), body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// The path of one profile.
    fn one(&self, link_id: &str) -> String {
        let uid = self.device.uid_of(link_id);
        if self.family.is_door_controller { format!("/{uid}") } else { format!("/item/{uid}") }
    }
}

fn impatient(settings: &mut Settings) {
    settings.devices.timeouts.connect = Duration::from_millis(500);
    settings.devices.check_every = Duration::from_mins(10); // it is asked for what a test does, and for no more
    settings.devices.person_after = Duration::from_millis(10);
}

/// Waits until it holds, for a minute at most.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A server that has the device of this family as its panel `door`.
fn server_with(device: &StandIn, family: Family) -> TestServer {
    let server = TestServer::start_with(impatient);
    let added = server.fleet("POST", "/panels").json(&panel(device, family)).send();
    assert_eq!(added.status, 201, "{family:?}: {added}");
    let added = added.value();
    assert_eq!((&added["api"], &added["api_version"]), (&json!(family.api), &json!(family.version)));
    server
}

fn panel(device: &StandIn, family: Family) -> Value {
    json!({
        "id": "door", "driver": "http", "url": device.url(), "username": "admin", "password": PASSWORD,
        "api": family.api, "api_version": family.version, "zone": "Europe/Moscow",
    })
}

fn apply(server: &TestServer, batch: &Value) -> Answer {
    let mut body = json!({ "all": true });
    for (key, value) in batch.as_object().expect("an object") {
        body[key] = value.clone();
    }
    server.fleet("POST", "/batches").header("prefer", "wait=30").json(&body).send()
}

/// A batch that everybody takes, and how many of its items came to what.
fn applied(server: &TestServer, batch: &Value) -> Value {
    let answer = apply(server, batch);
    let value = answer.value();
    assert_eq!((answer.status, &value["panels"]["applied"]), (200, &json!(1)), "{answer}");
    value["items"].clone()
}

/// What `diff` says of the panel: its state, and each difference by link_id, or by name where there is none.
fn diff(server: &TestServer) -> (String, BTreeMap<String, String>) {
    let answer = server.fleet("GET", "/diff?selector=id=door").send();
    differences(&answer.value()["items"][0])
}

fn differences(panel: &Value) -> (String, BTreeMap<String, String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let named = |item: &Value| {
        let key = text(&item["link_id"]).or_else(|| text(&item["name"])).expect("a text");
        (key, text(&item["difference"]).expect("a text"))
    };
    let state = text(&panel["state"]).unwrap_or_else(|| panic!("no state: {panel}"));
    (state, panel["differences"].as_array().into_iter().flatten().map(named).collect())
}

fn named(differences: &[(&str, &str)]) -> BTreeMap<String, String> {
    differences.iter().map(|(key, what)| ((*key).to_owned(), (*what).to_owned())).collect()
}

/// A profile that repeats by these options.
fn custom(n: u32, name: &str, point_type: &str, options: Value) -> Value {
    let mut profile = work_week(n, name);
    let custom = &mut profile["repeat_options"]["repeat_format"]["repeat_custom"];
    custom["repeat_point_type"] = json!(point_type);
    custom["repeat_options"] = options;
    profile
}

/// Profiles of all kinds, numbered from 1.
fn of_all_kinds(many: u32) -> Vec<Value> {
    let day = |order: &str, day: &str| json!({ "week_order": order, "day_type": day });
    let kind = |n: u32| {
        let name = format!("Profile {n:02}");
        match n % 8 {
            0 => once(n, &name),
            1 => work_week(n, &name),
            2 => {
                let mut weekly = work_week(n, &name);
                weekly["repeat_options"]["repeat_format"] = json!({ "repeat_type": "week", "repeat_end": { "format": "date", "date": 1_893_456_000 } });
                weekly
            }
            3 => custom(n, &name, "month", json!({ "format": "dayNumbers", "range": [1, 15, 31] })),
            4 => custom(
                n,
                &name,
                "month",
                json!({ "format": "parameterizedDay", "range": day("second", "TUE") }),
            ),
            5 => custom(n, &name, "year", json!({ "months": [3, 11], "range": day("last", "WEEK_DAY") })),
            6 => custom(n, &name, "year", json!({ "months": [1, 6] })),
            _ => {
                let mut all_day = once(n, &name);
                all_day["time_options"] =
                    json!({ "is_all_day": true, "date_from": 1_735_804_800, "date_to": 1_735_891_200 });
                all_day
            }
        }
    };
    (1..=many).map(kind).collect()
}

/// What a device must hold of these profiles: what was asked for.
fn held(profiles: &[Value]) -> BTreeMap<String, Value> {
    let held = |profile: &Value| {
        let mut body = profile.clone();
        let link = body.as_object_mut().expect("an object").remove("link_id").expect("a link_id");
        (link.as_str().expect("a text").to_owned(), body)
    };
    profiles.iter().map(held).collect()
}

/// What a device holds. A door controller's years carry a format, which nobody needs to write.
fn holds(device: &StandIn) -> BTreeMap<String, Value> {
    let mut held = device.holds();
    for profile in held.values_mut() {
        let custom = "/repeat_options/repeat_format/repeat_custom";
        let is_year = profile.pointer(custom).is_some_and(|custom| custom["repeat_point_type"] == "year");
        let options = profile.pointer_mut(&format!("{custom}/repeat_options")).and_then(Value::as_object_mut);
        if let Some(options) = options.filter(|_| is_year) {
            options.remove("format");
        }
    }
    held
}

fn none() -> Vec<String> {
    Vec::new()
}

/// Added, filled, changed, edited by hand, compared and put right.
fn whole_story(family: Family) {
    let device = StandIn::start(family);
    let server = server_with(&device, family);

    // Enough for several pages.
    let mut profiles = of_all_kinds(63);
    let items = applied(&server, &json!({ "upsert": profiles }));
    assert_eq!(items["created"], 63, "{items}");
    assert_eq!(holds(&device), held(&profiles));
    assert_eq!(diff(&server), ("same".into(), named(&[])));

    let items = applied(&server, &json!({ "upsert": profiles }));
    assert_eq!(items["unchanged"], 63, "{items}");

    profiles[1]["name"] = json!("Renamed");
    let items = applied(&server, &json!({ "upsert": [profiles[1]], "delete": [link(9), link(777)] }));
    assert_eq!(
        (&items["updated"], &items["deleted"], &items["entity_not_found"]),
        (&json!(1), &json!(1), &json!(1)),
        "{items}"
    );
    profiles.remove(8);
    assert_eq!(holds(&device), held(&profiles));
    assert_eq!(diff(&server), ("same".into(), named(&[])));

    // By hand: one is deleted, one changed, one made without a link_id, one under a link_id of somebody else's.
    let person = Person::at(&device, family);
    person.of_profiles("DELETE", &person.one(&link(22)), None);
    person.of_profiles("PATCH", &person.one(&link(3)), Some(&once(3, "By hand")));
    person.of_profiles("POST", "", Some(&work_week(0, "Caretaker")));
    let foreign = json!({ (family.items): [once(999, "Somebody's")] });
    person.of_profiles("POST", "/items/link", Some(&foreign));
    let unlinked = ("Caretaker", "unlinked");
    let expected = [(&*link(22), "missing"), (&*link(3), "changed"), (&*link(999), "extra"), unlinked];
    assert_eq!(diff(&server), ("differs".into(), named(&expected)));

    let wanted = json!({ "selector": "id=door" });
    let reconciled = server.fleet("POST", "/reconcile").header("prefer", "wait=30").json(&wanted).send();
    let (state, repaired) = differences(&reconciled.value()["panels"][0]);
    assert_eq!((&*state, repaired), ("repaired", named(&expected)), "{reconciled}");
    assert_eq!(diff(&server), ("same".into(), named(&[unlinked])));
    let mut whole = held(&profiles);
    let caretaker = device.holds().into_iter().find(|(key, _)| key.starts_with("uid ")).expect("it stays");
    assert_eq!(caretaker.1["name"], "Caretaker");
    whole.insert(caretaker.0, caretaker.1);
    assert_eq!(holds(&device), whole);

    // Everything is taken away again; what was made by hand stays.
    let links: Vec<_> = profiles.iter().map(|profile| profile["link_id"].clone()).collect();
    let items = applied(&server, &json!({ "delete": links }));
    assert_eq!(items["deleted"], 62, "{items}");
    let left: Vec<_> = device.holds().into_values().map(|profile| profile["name"].clone()).collect();
    assert_eq!(left, ["Caretaker"]);
    drop(server);
    assert_eq!(device.violations(), none(), "{:#?}", device.calls());
}

#[test]
fn an_android_panel_1_5_from_add_to_reconcile() {
    whole_story(family::ANDROID_1_5);
}

#[test]
fn an_android_panel_2_9_from_add_to_reconcile() {
    whole_story(family::ANDROID_2_9);
}

#[test]
fn an_android_panel_2_12_from_add_to_reconcile() {
    whole_story(family::ANDROID_2_12);
}

#[test]
fn a_camdroid_panel_0_6_from_add_to_reconcile() {
    whole_story(family::CAMDROID_0_6);
}

#[test]
fn a_camdroid_panel_1_3_from_add_to_reconcile() {
    whole_story(family::CAMDROID_1_3);
}

#[test]
fn an_ingenic_mips_panel_from_add_to_reconcile() {
    whole_story(family::INGENIC_MIPS);
}

#[test]
fn a_door_controller_from_add_to_reconcile() {
    whole_story(family::DOOR_CONTROLLER);
}

/// What a device of the family says no to is said of that item, and the others of the batch are there.
fn one_item_is_refused(family: Family) {
    let device = StandIn::start(family);
    let server = server_with(&device, family);
    device.set_capacity(2);
    let answer = apply(&server, &json!({ "upsert": [once(1, "a"), never(2), once(3, "c"), once(4, "d")] }));
    assert_eq!(answer.value()["panels"]["partial"], 1, "{family:?}: {answer}");
    assert_eq!(device.holds(), held(&[once(1, "a"), once(3, "c")]));
    let id = answer.value()["id"].as_str().expect("an id").to_owned();
    let panels = server.fleet("GET", &format!("/batches/{id}/panels")).send().value();
    let results = &panels["items"][0]["result"];
    let result =
        |n: usize| (results[n]["success"] == true, results[n]["extended_info"].as_str().unwrap_or(""));
    assert_eq!(
        [0, 1, 2, 3].map(result),
        [
            (true, "created"),
            (false, family.never_opens.unwrap_or("no reason given")), // some families have no word for it
            (true, "created"),
            (false, family.full),
        ],
        "{family:?}: {panels}"
    );
    assert_eq!(device.violations(), none());
}

/// What a family cannot hold is refused before anything is sent, with its place; what it can, it gets as it is.
fn forms_of_its_own(family: Family) {
    let device = StandIn::start(family);
    let server = server_with(&device, family);
    let any_day =
        json!({ "format": "parameterizedDay", "range": { "week_order": "last", "day_type": "DAY" } });
    let any_day = custom(1, "Last day", "month", any_day);
    let mut undated = once(2, "Undated");
    undated["time_options"] = json!({ "is_all_day": true });
    undated["repeat_options"] = work_week(2, "")["repeat_options"].clone();
    let year = json!({ "format": "dayNumbers", "months": [2, 8] });
    let year = custom(3, "Year with a format", "year", year);
    if family.is_door_controller {
        let profiles = [any_day, undated, year];
        let items = applied(&server, &json!({ "upsert": profiles }));
        assert_eq!(items["created"], 3, "{items}");
        assert_eq!(device.holds(), held(&profiles), "as it was written");
        assert_eq!(diff(&server), ("same".into(), named(&[])));
    } else {
        for (profile, named) in [(&any_day, "DAY"), (&undated, "date_from")] {
            let refused = apply(&server, &json!({ "upsert": [once(9, "Good"), profile] }));
            let error = &refused.value()["errors"][0];
            let path = error["path"].as_str().unwrap_or_default();
            assert!(refused.status == 422 && path.starts_with("/upsert/1"), "{refused}");
            assert!(error["message"].as_str().is_some_and(|text| text.contains(named)), "{refused}");
        }
        assert_eq!(device.holds(), held(&[]));
        let calls = device.calls();
        let writes = calls.iter().filter(|call| call.contains("/items/link") && !call.starts_with("GET"));
        assert_eq!(writes.count(), 0, "{calls:#?}");
    }
    assert_eq!(device.violations(), none());
}

/// Written so in the vendor's own examples: only the type counts, and all of it is read back.
fn what_does_not_count_is_kept(family: Family) {
    let device = StandIn::start(family);
    let server = server_with(&device, family);
    let documented = data("valid-documented.json")["list_items"].clone();
    let documented = documented.as_array().expect("a list");
    let items = applied(&server, &json!({ "upsert": documented }));
    assert_eq!(items["created"], 1, "{items}");
    assert_eq!(device.holds(), held(documented));
    assert_eq!(diff(&server), ("same".into(), named(&[])));
    assert_eq!(device.violations(), none());
}

/// A session that the device forgets is begun anew, once; a password that it no longer takes is said, and not tried on
/// and on.
fn sessions(family: Family) {
    let device = StandIn::start(family);
    let server = server_with(&device, family);
    applied(&server, &json!({ "upsert": [once(1, "a")] }));
    let logins = device.logins();
    applied(&server, &json!({ "upsert": [once(1, "b")] }));
    assert_eq!(device.logins(), logins, "a session that is good is used");
    device.forget_sessions();
    applied(&server, &json!({ "upsert": [once(1, "c")] }));
    assert_eq!(device.logins(), logins + 1, "{:#?}", device.calls());
    assert_eq!(device.holds(), held(&[once(1, "c")]));

    device.set_password("00000000000000000000000000000000");
    let before = device.logins();
    let failed = apply(&server, &json!({ "upsert": [once(2, "d")] }));
    assert_eq!(failed.value()["panels"]["failed"], 1, "{family:?}: {failed}");
    let id = failed.value()["id"].as_str().expect("an id").to_owned();
    let panels = server.fleet("GET", &format!("/batches/{id}/panels")).send().value();
    let error = panels["items"][0]["error"].as_str().expect("it is said").to_owned();
    assert!(error.starts_with("it refuses the user name or the password"), "{family:?}: {error}");
    let tried = device.logins() - before;
    assert!((1..=6).contains(&tried), "no account is locked out by trying: {tried}");
    // A later batch is told at once, without another login.
    let failed = apply(&server, &json!({ "upsert": [once(3, "e")] }));
    assert_eq!(failed.value()["panels"]["failed"], 1, "{failed}");
    assert!(device.logins() - before <= tried + 1, "now and then it is tried, and not for each batch");
    // Once a person has put it right, all is delivered.
    device.set_password(PASSWORD_MD5);
    let set = server.fleet("PATCH", "/panels/door").json(&json!({ "password": PASSWORD })).send();
    assert_eq!(set.status, 200, "{set}");
    let all = held(&[once(1, "c"), once(2, "d"), once(3, "e")]);
    until("it is delivered", || device.holds() == all);
    assert_eq!(device.violations(), none());
}

/// Whoever adds a device with a wrong password is told, at the field that is wrong.
fn a_wrong_password_when_it_is_added(family: Family) {
    let device = StandIn::start(family);
    let server = TestServer::start_with(impatient);
    let mut wrong = panel(&device, family);
    wrong["password"] = json!("sesame");
    let refused = server.fleet("POST", "/panels").json(&wrong).send();
    let value = refused.value();
    assert_eq!((refused.status, &value["errors"][0]["path"]), (422, &json!("/password")), "{refused}");
    assert!(!refused.body.contains("session") && !refused.body.contains("Log In"), "{refused}");
    assert_eq!(device.logins(), 1);
    assert_eq!(device.violations(), none());
}

/// Whoever does not know a device's version need not say it: the device does, and is asked as its version wants it.
fn its_version_is_read_from_it(family: Family) {
    let device = StandIn::start(family);
    let server = TestServer::start_with(impatient);
    let mut unsaid = panel(&device, family);
    unsaid.as_object_mut().expect("an object").remove("api_version");
    let added = server.fleet("POST", "/panels").json(&unsaid).send();
    assert_eq!((added.status, &added.value()["api_version"]), (201, &json!(family.version)), "{added}");
    let profiles = of_all_kinds(51);
    let items = applied(&server, &json!({ "upsert": profiles }));
    assert_eq!(items["created"], 51, "{items}");
    assert_eq!(holds(&device), held(&profiles));
    assert_eq!(diff(&server), ("same".into(), named(&[])));
    drop(server);
    assert_eq!(device.violations(), none(), "{:#?}", device.calls());
}

/// Firmware is updated, and with it what a device must be asked. It says its version to whoever asks.
fn its_firmware_is_updated(from: Family, to: Family) {
    let device = StandIn::start(from);
    let server = server_with(&device, from);
    let mut profiles = of_all_kinds(51);
    applied(&server, &json!({ "upsert": profiles }));
    device.update_to(to);
    profiles[0]["name"] = json!("Renamed");
    let items = applied(&server, &json!({ "upsert": profiles, "delete": [link(777)] }));
    assert_eq!((&items["updated"], &items["unchanged"]), (&json!(1), &json!(50)), "{items}");
    assert_eq!(holds(&device), held(&profiles));
    assert_eq!(diff(&server), ("same".into(), named(&[])), "{:#?}", device.calls());
}

/// Runs a story for each family at once.
pub fn for_each(families: &[Family], story: impl Fn(Family) + Sync) {
    std::thread::scope(|scope| {
        let story = &story;
        let started: Vec<_> =
            families.iter().map(|family| (family, scope.spawn(move || story(*family)))).collect();
        let failed: Vec<_> = started
            .into_iter()
            .filter_map(|(family, thread)| {
                thread.join().is_err().then(|| format!("{} {}", family.api, family.version))
            })
            .collect();
        assert_eq!(failed, none(), "these families fail; why is said above");
    });
}

#[test]
fn what_a_device_refuses_of_a_batch_is_said_in_its_familys_words() {
    for_each(&family::ALL, one_item_is_refused);
}

#[test]
fn what_a_family_cannot_hold_is_refused_before_it_is_asked_and_what_it_can_is_kept() {
    for_each(&family::ALL, forms_of_its_own);
}

#[test]
fn what_the_vendors_examples_write_without_need_is_kept() {
    for_each(&family::ALL, what_does_not_count_is_kept);
}

#[test]
fn a_forgotten_session_is_begun_anew_and_a_wrong_password_is_said() {
    for_each(&family::ALL, sessions);
}

#[test]
fn a_devices_version_is_read_from_it_where_nobody_says_it() {
    for_each(&family::ALL, its_version_is_read_from_it);
}

#[test]
fn a_device_whose_firmware_is_updated_is_asked_as_its_new_version_wants_it() {
    its_firmware_is_updated(family::ANDROID_1_5, family::ANDROID_2_9);
    its_firmware_is_updated(family::ANDROID_2_9, family::ANDROID_2_12);
}

#[test]
fn a_camdroid_panel_whose_firmware_is_updated_is_read_as_its_new_version_wants_it() {
    its_firmware_is_updated(family::CAMDROID_0_6, family::CAMDROID_1_3);
}

#[test]
fn a_wrong_password_is_said_when_a_device_is_added() {
    for_each(&family::ALL, a_wrong_password_when_it_is_added);
}

/// The stand-in is what the documents say: their bodies are taken or refused with their texts, whatever its paths.
#[test]
fn the_stand_in_answers_the_documents_own_examples() {
    for family in family::ALL {
        let device = StandIn::start(family);
        let person = Person::at(&device, family);
        let link_path = format!("access/{}/items/link", family.paths);
        let text = |answer: &Value| {
            let error = &answer["error"];
            if family.is_door_controller { error["message"].clone() } else { error.clone() }
        };
        for case in data("invalid.json").as_array().expect("a list") {
            let mut items = case["body"]["list_items"].clone();
            with_formats(&mut items);
            let body = json!({ (family.items): items });
            let (status, answer) = person.call("POST", &link_path, Some(&body));
            let mut expected = case["error"].clone();
            if expected.as_str().is_some_and(|text| text.starts_with("Wrong JSON body"))
                && !family.names_fields
            {
                expected = json!("Wrong JSON body");
            }
            assert_eq!((status, text(&answer)), (400, expected), "{family:?}: {body}");
        }
        assert_eq!(device.holds(), held(&[]), "nothing of a refused batch is applied");
        let refused = device.violations().len();
        assert_eq!(refused, data("invalid.json").as_array().expect("a list").len());
        for name in ["valid-documented.json", "valid-kinds.json"] {
            let mut items = data(name)["list_items"].clone();
            with_formats(&mut items);
            let answer = person.of_profiles("POST", "/items/link", Some(&json!({ (family.items): items })));
            let results = answer["result"].as_array().expect("a list");
            assert!(results.iter().all(|result| result["extended_info"] == "created"), "{answer}");
            assert_eq!(results[0].get("has_dublicates").is_some(), family.version == "2.12.0");
            assert_eq!(results[0].get("has_duplicates").is_some(), family.is_door_controller);
        }
        // Its own list, page after page.
        let query = format!("/items?limit=10&{}=", family.lists.page);
        let pages: Vec<_> =
            (1..=3).map(|n| person.of_profiles("GET", &format!("{query}{n}"), None)).collect();
        let total = device.holds().len();
        let read: usize = pages.iter().map(|page| page[family.items].as_array().expect("a list").len()).sum();
        assert!(total > 10 && read == total, "{read} of {total}");
        // What it has not.
        for (method, path, status) in [
            ("GET", "no/such/call".to_owned(), 404),
            ("PUT", link_path.clone(), 405),
            ("GET", format!("access/{}/items?limit=0&page_number=1&pageNumber=1", family.paths), 400),
        ] {
            let (answered, answer) = person.call(method, &path, None);
            assert!(answered == status && text(&answer).is_string(), "{method} {path}: {answered} {answer}");
        }
        device.forget_sessions();
        let (status, answer) = person.call("GET", &format!("access/{}/items", family.paths), None);
        assert_eq!((status, text(&answer)), (401, json!("Log In")));
        assert_eq!(device.violations().len(), refused + 3, "{:#?}", device.violations());
    }
}

/// Year options as door controllers need them; others do not read the format.
pub fn with_formats(items: &mut Value) {
    for item in items.as_array_mut().into_iter().flatten() {
        let path = "/repeat_options/repeat_format/repeat_custom";
        let Some(custom) = item.pointer_mut(path) else { continue };
        if custom["repeat_point_type"] == "year" && custom["repeat_options"].is_object() {
            custom["repeat_options"]["format"] = json!("parameterizedDay");
        }
    }
}

#[test]
fn a_list_that_gives_a_page_again_is_unreadable_and_nothing_on_it_is_called_missing() {
    // Somebody takes it for an android panel, whose lists turn their pages in other words.
    let device = StandIn::start(family::CAMDROID_0_6);
    let server = TestServer::start_with(impatient);
    let mut added = panel(&device, family::CAMDROID_0_6);
    added["api"] = json!("android");
    assert_eq!(server.fleet("POST", "/panels").json(&added).send().status, 201);
    let profiles: Vec<_> = (1..=63).map(|n| once(n, &format!("Profile {n}"))).collect();
    assert_eq!(apply(&server, &json!({ "upsert": profiles })).value()["panels"]["applied"], 1);
    let answer = server.fleet("GET", "/diff?selector=id=door").send();
    let panel = &answer.value()["items"][0];
    assert_eq!(panel["state"], "unreadable", "{answer}");
    let why = panel["error"].as_str().expect("why");
    assert!(why.contains("check its api and api_version"), "{answer}");
    let state = server.fleet("GET", "/panels/door").send().value()["state"].clone();
    assert_eq!((&state["drifted"], &state["pending"]), (&json!(0), &json!(0)), "{state}");
}
