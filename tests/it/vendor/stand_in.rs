//! A stand-in for the vendor's devices, written from the page that says what is known of their API, and from nothing
//! of this program. It is strict: what the page does not have is an error in the family's own shape, and whatever its
//! client does otherwise than the page says is noted.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::family::{Family, Limit, Options, Sort, Token};
use super::rules::{Fault, Rules, is_uuid, never_opens};
use super::wire::{Answer, Answers, Asked, Listening};

/// The account of every device.
pub const PASSWORD: &str = "123456";

/// The MD5 of [`PASSWORD`].
pub const PASSWORD_MD5: &str = "e10adc3949ba59abbe56e057f20f883e";

/// What device clocks say of their zone, and how far ahead of UTC that is.
const ZONE: (&str, i64) = ("UTC+03:00", 3 * 3600);

/// A running device. It stops when it is dropped.
pub struct StandIn {
    device: Arc<Device>,
    listening: Listening,
}

struct Device {
    /// Of the firmware that is on it now.
    family: RwLock<Family>,
    serial: String,
    state: Mutex<State>,
}

struct State {
    password_md5: String,
    tokens: Vec<String>,
    /// In the order in which they were made.
    profiles: Vec<Held>,
    last_uid: u64,
    capacity: usize,
    logins: usize,
    calls: Vec<String>,
    violations: Vec<String>,
}

struct Held {
    uid: u64,
    link_id: Option<String>,
    /// As it was written, without the link_id.
    body: Map<String, Value>,
}

/// A call that the page has.
#[derive(Clone, Copy)]
enum Call {
    Info,
    LogIn,
    LogOut,
    Time,
    List { linked: bool },
    Create,
    DeleteByUids,
    Upsert,
    DeleteByLinks,
    Read(Option<u64>),
    Replace(Option<u64>),
    Delete(Option<u64>),
}

/// An error before it is put into the family's shape.
struct Refusal {
    status: u16,
    code: &'static str,
    text: String,
}

type Answered = Result<Value, Refusal>;

fn refused(status: u16, code: &'static str, text: impl Into<String>) -> Refusal {
    Refusal { status, code, text: text.into() }
}

fn wrong_json() -> Refusal {
    refused(400, "bad_request", "Wrong JSON body")
}

fn log_in() -> Refusal {
    refused(401, "invalid_authentication", "Log In")
}

impl StandIn {
    pub fn start(family: Family) -> Self {
        let state = State {
            password_md5: PASSWORD_MD5.into(),
            tokens: Vec::new(),
            profiles: Vec::new(),
            last_uid: 0,
            capacity: usize::MAX,
            logins: 0,
            calls: Vec::new(),
            violations: Vec::new(),
        };
        let serial = random_text(16, b"0123456789abcdef");
        let device = Arc::new(Device { family: RwLock::new(family), serial, state: Mutex::new(state) });
        let answers: Arc<dyn Answers> = Arc::clone(&device) as _;
        Self { device, listening: Listening::start(answers) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.device.state()
    }

    /// All that it holds as it was written: by link_id, or by `uid N` where it has none.
    pub fn holds(&self) -> BTreeMap<String, Value> {
        let key = |held: &Held| held.link_id.clone().unwrap_or_else(|| format!("uid {}", held.uid));
        self.state().profiles.iter().map(|held| (key(held), held.body.clone().into())).collect()
    }

    /// The number of the profile with this link_id.
    pub fn uid_of(&self, link_id: &str) -> u64 {
        let state = self.state();
        let held = state.profiles.iter().find(|held| held.link_id.as_deref() == Some(link_id));
        held.expect("it holds it").uid
    }

    /// How often somebody has tried to log in.
    pub fn logins(&self) -> usize {
        self.state().logins
    }

    /// The calls so far, as `METHOD path?query status`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// What a client did otherwise than the page says.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Somebody sets another password; nobody is logged in any more.
    pub fn set_password(&self, md5: &str) {
        let mut state = self.state();
        state.password_md5 = md5.to_lowercase();
        state.tokens.clear();
    }

    /// No token is known any more, as after a restart or two hours.
    pub fn forget_sessions(&self) {
        self.state().tokens.clear();
    }

    /// Other firmware is put on it. It starts anew with what it holds.
    pub fn update_to(&self, family: Family) {
        *self.device.family.write().expect("whole") = family;
        self.state().tokens.clear();
    }

    /// It has room for so many profiles.
    pub fn set_capacity(&self, profiles: usize) {
        self.state().capacity = profiles;
    }
}

impl Answers for Device {
    fn answer(&self, asked: &Asked) -> Answer {
        let calls = self.calls_at(&asked.path);
        let method = if asked.method == "HEAD" { "GET" } else { &asked.method };
        let call = calls.iter().find(|(name, _)| *name == method).map(|(_, call)| *call);
        let (answered, allow) = match call {
            Some(call) => (self.take(call, asked), None),
            None if calls.is_empty() => (Err(refused(404, "bad_request", "Not found")), None),
            None => {
                let mut allow: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
                if allow.contains(&"GET") {
                    allow.push("HEAD");
                }
                (Err(refused(405, "bad_request", "Method not allowed")), Some(allow.join(", ")))
            }
        };
        let mut state = self.state();
        let status = answered.as_ref().map_or_else(|refusal| refusal.status, |_| 200);
        let query: Vec<_> = asked.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        state.calls.push(format!("{} {}?{} {status}", asked.method, asked.path, query.join("&")));
        match answered {
            Ok(body) => Answer { status, allow, body },
            Err(refusal) => {
                if self.is_violation(call, asked, &refusal) {
                    let body = String::from_utf8_lossy(&asked.body);
                    let text = &refusal.text;
                    state.violations.push(format!("{} {}: {text}: {body}", asked.method, asked.path));
                }
                Answer { status, allow, body: self.shaped(&refusal) }
            }
        }
    }

    fn note(&self, what: String) {
        self.state().violations.push(what);
    }
}

impl Device {
    fn family(&self) -> Family {
        *self.family.read().expect("whole")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panicked")
    }

    /// An error in the family's own shape.
    fn shaped(&self, refusal: &Refusal) -> Value {
        if self.family().is_door_controller {
            json!({ "error": { "code": refusal.code, "message": refusal.text, "data": {} } })
        } else {
            json!({ "error": refusal.text })
        }
    }

    /// Whether a client that has read the page would not have been refused so.
    fn is_violation(&self, call: Option<Call>, asked: &Asked, refusal: &Refusal) -> bool {
        match (call, refusal.status) {
            // It learns so that its password is wrong or its session over.
            (Some(Call::LogIn), _) => refusal.text != "Wrong login or password",
            (_, 401) => asked.header("authorization").is_none(),
            // Of two ways to delete, which are both on the page, a device may have one.
            (None, 404 | 405) => {
                let delete = self.path("link/delete") == asked.path;
                !(delete || (asked.method == "DELETE" && asked.path == self.path("items/link")))
                    // A courtesy that a device may not have.
                    && asked.path != format!("/api/{}/device/time", self.family().prefix)
                    // Before a profile goes it is asked which identifiers name it; this one knows none.
                    && !(asked.method == "GET" && asked.path.contains("/access/identifier"))
            }
            _ => true,
        }
    }

    fn path(&self, of_profiles: &str) -> String {
        format!("/api/{}/access/{}/{of_profiles}", self.family().prefix, self.family().paths)
    }

    /// What can be asked at a path, by method.
    fn calls_at(&self, path: &str) -> Vec<(&'static str, Call)> {
        let family = self.family();
        if path == "/api/info" {
            return vec![("GET", Call::Info)];
        }
        let Some(rest) = path.strip_prefix(&format!("/api/{}/", family.prefix)) else { return Vec::new() };
        let parts: Vec<_> = rest.split('/').collect();
        match parts[..] {
            ["login"] if family.is_door_controller => vec![("POST", Call::LogIn)],
            ["login"] => vec![("GET", Call::LogIn)],
            ["logout"] => vec![("GET", Call::LogOut), ("POST", Call::LogOut)],
            ["device", "time"] if family.tells_time => vec![("GET", Call::Time)],
            ["access", root, ref of_profiles @ ..] if root == family.paths => {
                self.calls_of_profiles(of_profiles)
            }
            _ => Vec::new(),
        }
    }

    fn calls_of_profiles(&self, path: &[&str]) -> Vec<(&'static str, Call)> {
        let family = self.family();
        let list = ("GET", Call::List { linked: false });
        let one = |uid: &str| {
            let uid = uid.parse().ok();
            vec![("GET", Call::Read(uid)), ("PATCH", Call::Replace(uid)), ("DELETE", Call::Delete(uid))]
        };
        match *path {
            [] if family.is_door_controller => vec![list, ("POST", Call::Create)],
            [] => vec![("POST", Call::Create)],
            ["items"] => vec![list, ("DELETE", Call::DeleteByUids)],
            ["items", "list"] if family.lists.older_path => vec![list],
            ["items", "link"] => {
                let mut calls = vec![("GET", Call::List { linked: true }), ("POST", Call::Upsert)];
                if family.deletes_by_delete {
                    calls.push(("DELETE", Call::DeleteByLinks));
                }
                calls
            }
            ["link", "delete"] if family.deletes_by_post => vec![("POST", Call::DeleteByLinks)],
            ["item", uid] if !family.is_door_controller => one(uid),
            [id] if family.is_door_controller => one(id),
            _ => Vec::new(),
        }
    }

    fn take(&self, call: Call, asked: &Asked) -> Answered {
        let mut state = self.state();
        if matches!(call, Call::Info) {
            return Ok(self.info());
        }
        if matches!(call, Call::LogIn) {
            return self.log_in(&mut state, asked);
        }
        if !asked.header("authorization").is_some_and(|given| state.knows(given)) {
            return Err(log_in());
        }
        if asked.method == "GET" && !asked.body.is_empty() {
            state.violations.push(format!("GET {} with a body", asked.path));
        }
        match call {
            Call::Info | Call::LogIn => Ok(Value::Null),
            Call::LogOut => {
                let token = asked.header("authorization").and_then(|given| given.strip_prefix("Bearer "));
                state.tokens.retain(|known| Some(known.as_str()) != token);
                Ok(Value::Null)
            }
            Call::Time => {
                #[expect(clippy::disallowed_methods, reason = "a device has a clock of its own")]
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                Ok(json!({ "time_unix": now, "timezone": ZONE.0 }))
            }
            Call::List { linked } => self.list(&mut state, asked, linked),
            Call::Upsert => self.upsert(&mut state, asked),
            Call::DeleteByLinks => Self::delete_by_links(&mut state, asked).map_err(|r| self.as_told(r)),
            Call::Create => {
                let body = self.profile(asked)?;
                if state.profiles.len() >= state.capacity {
                    return Err(refused(400, "not_valid", self.family().full));
                }
                let uid = state.add(None, body);
                Ok(if self.family().is_door_controller {
                    json!({ "id": uid })
                } else {
                    json!({ "uid": uid })
                })
            }
            Call::Read(uid) => Ok(self.shown(state.by_uid(uid)?, false)),
            Call::Replace(uid) => {
                state.by_uid(uid)?;
                let body = self.profile(asked)?;
                state.by_uid(uid)?.body = body;
                Ok(Value::Null)
            }
            Call::Delete(uid) => {
                let uid = state.by_uid(uid)?.uid;
                state.profiles.retain(|held| held.uid != uid);
                Ok(Value::Null)
            }
            Call::DeleteByUids => {
                let body = json_object(asked)?;
                let uids = body.get("uid_items").and_then(Value::as_array).ok_or_else(wrong_json)?;
                state.profiles.retain(|held| !uids.contains(&json!(held.uid)));
                Ok(Value::Null)
            }
        }
    }

    fn info(&self) -> Value {
        json!({
            "firmware_version": "3.21.3", "framework_version": "1.0.0", "frontend_version": "3.0.0",
            "api_version": self.family().version, "device_name": "Stand-in", "device_type": "panel",
            "device_model": "AA-00", "device_serial_number": self.serial, "hybrid_enable": false,
            "hybrid_version": "", "commit": "0000000",
        })
    }

    fn log_in(&self, state: &mut State, asked: &Asked) -> Answered {
        state.logins += 1;
        let (user, password) = if self.family().is_door_controller {
            let body = json_object(asked)?;
            let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
            (text("username"), text("password"))
        } else {
            let text = |name: &str| asked.parameter(name).map(str::to_owned);
            (text("username"), text("password"))
        };
        let (Some(user), Some(password)) = (user, password) else {
            return Err(refused(400, "not_valid", "Required parameters missed"));
        };
        let is_md5 = password.len() == 32 && password.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_md5 {
            state.violations.push(format!("a password that is no MD5 at {}", asked.path));
        }
        if user != "admin" || !password.eq_ignore_ascii_case(&state.password_md5) {
            let status = self.family().wrong_login;
            return Err(refused(status, "invalid_authentication", "Wrong login or password"));
        }
        let hex = b"0123456789abcdef";
        let token = match self.family().token {
            Token::Alphanumeric => {
                random_text(64, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
            }
            Token::Uuid => [8, 4, 4, 4, 12].map(|length| random_text(length, hex)).join("-"),
        };
        state.tokens.push(token.clone());
        Ok(json!({ "token": token, "account_type": "admin" }))
    }

    fn rules(&self) -> Rules {
        Rules { of_door_controllers: self.family().is_door_controller }
    }

    /// Some families say no more of a body's fields than that it is wrong.
    fn as_told(&self, refusal: Refusal) -> Refusal {
        if !self.family().names_fields && refusal.text.starts_with("Wrong JSON body") {
            return wrong_json();
        }
        refusal
    }

    fn fault(&self, fault: Fault) -> Refusal {
        match fault {
            Fault::Shape(text) => self.as_told(refused(400, "not_valid", text)),
            Fault::Value(text) => refused(400, "not_valid", text),
        }
    }

    /// A profile as the calls by uid take one.
    fn profile(&self, asked: &Asked) -> Result<Map<String, Value>, Refusal> {
        let mut body = json_object(asked)?;
        self.rules().check(&body.clone().into(), false).map_err(|fault| self.fault(fault))?;
        body.remove("link_id");
        Ok(body)
    }

    fn upsert(&self, state: &mut State, asked: &Asked) -> Answered {
        let body = json_object(asked)?;
        let items = batch(&body, self.family().items).map_err(|refusal| self.as_told(refusal))?;
        for item in items {
            self.rules().check(item, true).map_err(|fault| self.fault(fault))?;
        }
        let mut named: Vec<&str> = Vec::new();
        let mut results = Vec::new();
        for item in items {
            let link = item["link_id"].as_str().unwrap_or_default();
            let (success, word) = self.upsert_one(state, item, link, &named);
            if named.contains(&link) {
                state.violations.push(format!("{link} twice in a batch"));
            }
            named.push(link);
            let mut result = json!({ "link_id": link, "success": success, "extended_info": word });
            if let Some(field) = self.family().same_name {
                let mut others = state.profiles.iter().filter(|held| held.link_id.as_deref() != Some(link));
                result[field] = json!(others.any(|held| held.body["name"] == item["name"]));
            }
            results.push(result);
        }
        Ok(json!({ "result": results }))
    }

    fn upsert_one(
        &self,
        state: &mut State,
        item: &Value,
        link: &str,
        named: &[&str],
    ) -> (bool, Option<&'static str>) {
        if named.contains(&link) {
            return (false, self.family().named_twice);
        }
        if never_opens(item, ZONE.1) {
            return (false, self.family().never_opens);
        }
        let mut body = item.as_object().cloned().unwrap_or_default();
        body.remove("link_id");
        if let Some(held) = state.profiles.iter_mut().find(|held| held.link_id.as_deref() == Some(link)) {
            held.body = body;
            return (true, Some("updated"));
        }
        if state.profiles.len() >= state.capacity {
            return (false, Some(self.family().full));
        }
        state.add(Some(link.to_owned()), body);
        (true, Some("created"))
    }

    fn delete_by_links(state: &mut State, asked: &Asked) -> Answered {
        let body = json_object(asked)?;
        let links = batch(&body, "link_ids")?;
        if !links.iter().all(|link| link.as_str().is_some_and(is_uuid)) {
            let text = "Wrong JSON body: value `link_ids` was of the wrong type";
            return Err(refused(400, "not_valid", text));
        }
        let results: Vec<_> = links
            .iter()
            .map(|link| {
                let before = state.profiles.len();
                state.profiles.retain(|held| held.link_id.as_deref() != link.as_str());
                let there = state.profiles.len() < before;
                let word = if there { "deleted" } else { "entity_not_found" };
                json!({ "link_id": link, "success": there, "extended_info": word })
            })
            .collect();
        Ok(json!({ "result": results }))
    }

    /// A profile as it is read: what was written, and what the device knows of it.
    fn shown(&self, held: &Held, in_list: bool) -> Value {
        let mut item = held.body.clone();
        if in_list || self.family().is_door_controller {
            item.insert(self.family().uid.into(), json!(held.uid));
        }
        item.insert("link_id".into(), json!(held.link_id));
        item.insert("identifiers".into(), json!({ "count": 0, "uid_items": [] }));
        item.into()
    }

    fn list(&self, state: &mut State, asked: &Asked, linked: bool) -> Answered {
        let lists = self.family().lists;
        let wrong = |name: &str| refused(400, "not_valid", format!("Wrong {name}"));
        let number = |name: &str, without: u64| match asked.parameter(name) {
            None if lists.required => Err(wrong(name)),
            None => Ok(without),
            Some(text) => text.parse::<u64>().ok().filter(|n| *n >= 1).ok_or_else(|| wrong(name)),
        };
        let other = if lists.page == "pageNumber" { "page_number" } else { "pageNumber" };
        if asked.parameter(other).is_some() && asked.parameter(lists.page).is_none() {
            let text = format!("{} with {other}: this device gives page 1 for ever", asked.path);
            state.violations.push(text);
        }
        if asked.query.iter().any(|(name, _)| name.starts_with("filter")) {
            state.violations.push(format!("{} with a filter, which is not built here", asked.path));
        }
        let (limit, page) = (number("limit", 10)?, number(lists.page, 1)?);
        let takes = match lists.limit {
            Limit::Steps => [10, 20, 30, 50].contains(&limit),
            Limit::Any => true,
            Limit::UpTo(most) => limit <= most,
        };
        if !takes {
            return Err(wrong("limit"));
        }
        let order = self.order(asked)?;
        let mut found: Vec<&Held> =
            state.profiles.iter().filter(|held| !linked || held.link_id.is_some()).collect();
        for (field, ascending) in order.iter().rev() {
            found.sort_by(|a, b| {
                let by = by_field(a, field).cmp(&by_field(b, field));
                if *ascending { by } else { by.reverse() }
            });
        }
        let total = found.len() as u64;
        let from = (page - 1).saturating_mul(limit).min(total) as usize;
        let items: Vec<_> =
            found[from..].iter().take(limit as usize).map(|held| self.shown(held, true)).collect();
        let pagination = json!({
            "total_items": total, "items_limit": limit, "total_pages": total.div_ceil(limit), "current_page": page,
        });
        let fields = ["name", "date_from", "date_to"];
        let first = order.first().map_or(("name", true), |(field, ascending)| (field.as_str(), *ascending));
        Ok(match lists.options {
            Options::PaginationOnly => json!({ "items": items, "options": { "pagination": pagination } }),
            Options::Plain => json!({ "list_items": items, "list_option": {
                "pagination": pagination,
                "filter": {},
                "sort": { "field": first.0, "asc": first.1, "available_fields": fields },
            } }),
            Options::Described => json!({ "list_items": items, "list_option": {
                "pagination": pagination,
                "filter": { "available_filtering": true, "is_filtered": false, "available_fields": fields.map(|field| {
                    let data_type = if field == "name" { "string" } else { "integer" };
                    let operators = ["eq", "nq", "lt", "gt", "le", "ge"];
                    json!({ "field_name": field, "data_type": data_type, "compare_operators": operators, "options": [] })
                }) },
                "sort": { "is_sorted": !order.is_empty(), "order": order.iter().map(|(field, ascending)| {
                    json!({ "field": field, "asc": ascending })
                }).collect::<Vec<_>>(), "available_fields": fields },
            } }),
        })
    }

    /// The fields to sort by, each with whether it ascends. Without any, items stand as they were made.
    fn order(&self, asked: &Asked) -> Result<Vec<(String, bool)>, Refusal> {
        let wrong = |name: &str| refused(400, "not_valid", format!("Wrong {name}"));
        let pairs: Vec<(String, bool)> = match self.family().lists.sort {
            Sort::None => Vec::new(),
            Sort::Two(field, direction) => {
                let ascending = match asked.parameter(direction) {
                    None | Some("asc") => true,
                    Some("desc") => false,
                    Some(_) => return Err(wrong(direction)),
                };
                asked.parameter(field).map(|name| (name.to_owned(), ascending)).into_iter().collect()
            }
            Sort::OrderBy => {
                let terms = asked.parameter("order_by").into_iter().flat_map(|text| text.split(','));
                let mut pairs = Vec::new();
                for term in terms {
                    let words: Vec<_> = term.split_whitespace().collect();
                    match words[..] {
                        [field] | [field, "asc"] => pairs.push((field.to_owned(), true)),
                        [field, "desc"] => pairs.push((field.to_owned(), false)),
                        _ => return Err(wrong("order_by")),
                    }
                }
                pairs
            }
        };
        let known = |(field, _): &(String, bool)| ["name", "date_from", "date_to"].contains(&field.as_str());
        let parameter = match self.family().lists.sort {
            Sort::Two(field, _) => field,
            Sort::OrderBy | Sort::None => "order_by",
        };
        if pairs.iter().all(known) { Ok(pairs) } else { Err(wrong(parameter)) }
    }
}

impl State {
    /// A bearer token, or name and password in clear.
    fn knows(&self, authorization: &str) -> bool {
        if let Some(token) = authorization.strip_prefix("Bearer ") {
            return self.tokens.iter().any(|known| known == token);
        }
        // admin:123456
        authorization == "Basic YWRtaW46MTIzNDU2" && self.password_md5 == PASSWORD_MD5
    }

    fn add(&mut self, link_id: Option<String>, body: Map<String, Value>) -> u64 {
        self.last_uid += 1;
        self.profiles.push(Held { uid: self.last_uid, link_id, body });
        self.last_uid
    }

    fn by_uid(&mut self, uid: Option<u64>) -> Result<&mut Held, Refusal> {
        let held = self.profiles.iter_mut().find(|held| Some(held.uid) == uid);
        held.ok_or_else(|| refused(400, "not_valid", "Wrong Time Profile Uid"))
    }
}

/// Text before numbers, which no field mixes.
fn by_field(held: &Held, field: &str) -> (String, Option<i64>) {
    let name = held.body["name"].as_str().filter(|_| field == "name").unwrap_or_default();
    let date = held.body.get("time_options").and_then(|time| time.get(field)).and_then(Value::as_i64);
    (name.to_owned(), date)
}

fn json_object(asked: &Asked) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(&asked.body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(wrong_json()),
    }
}

fn batch<'a>(body: &'a Map<String, Value>, key: &str) -> Result<&'a [Value], Refusal> {
    let say = |text: String| refused(400, "not_valid", text);
    match body.get(key) {
        None => Err(say(format!("Wrong JSON body: no value for `{key}`"))),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(say(format!("Wrong JSON body: value `{key}` was of the wrong type"))),
    }
}

/// So many letters of an alphabet, as nobody can guess.
fn random_text(length: usize, alphabet: &[u8]) -> String {
    let letter = |n: usize| char::from(alphabet[RandomState::new().hash_one(n) as usize % alphabet.len()]);
    (0..length).map(letter).collect()
}
