//! Devices that answer at any moment, or not: a panel's API as far as a link server asks, over real HTTP, written from
//! the documents. One server for all schedules; each device is at a path of its own.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

/// All devices, by name.
#[derive(Clone, Default)]
pub struct Devices(Arc<Mutex<HashMap<String, Device>>>);

/// What a device holds: its items by link_id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Held {
    pub profiles: BTreeMap<String, Value>,
    pub identifiers: BTreeMap<String, Value>,
}

#[derive(Default)]
struct Device {
    held: Held,
    /// What it held after each call that changed anything, while that is watched.
    seen: Option<Vec<Held>>,
    /// It takes an identifier though a profile that it names is not there, and says so.
    takes_unbound: bool,
    /// Of a hundred calls, so many go wrong in one way or another.
    trouble: u8,
}

/// How a call goes.
enum Mood {
    Good,
    /// The connection is closed without the work, or after it.
    Close(bool),
    /// 500, without the work.
    Fails,
}

impl Devices {
    /// The devices of this process with their address.
    pub fn there() -> (Self, SocketAddr) {
        static THERE: OnceLock<(Devices, SocketAddr)> = OnceLock::new();
        THERE
            .get_or_init(|| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                let address = listener.local_addr().expect("an address");
                let devices = Devices::default();
                let served = devices.clone();
                std::thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let devices = served.clone();
                        std::thread::spawn(move || devices.serve(&stream));
                    }
                });
                (devices, address)
            })
            .clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Device>> {
        self.0.lock().expect("no panic")
    }

    /// From now on, of a hundred calls so many go wrong.
    pub fn trouble(&self, name: &str, percent: u8) {
        self.lock().entry(name.to_owned()).or_default().trouble = percent;
    }

    /// What a device holds: the names of its profiles by link_id.
    pub fn held(&self, name: &str) -> BTreeMap<String, String> {
        let held = self.all_held(name);
        held.profiles
            .into_iter()
            .map(|(link, body)| (link, body["name"].as_str().unwrap_or("").to_owned()))
            .collect()
    }

    /// All that a device holds.
    pub fn all_held(&self, name: &str) -> Held {
        self.lock().get(name).map(|device| device.held.clone()).unwrap_or_default()
    }

    /// What a device has held since this was asked last, after each call.
    pub fn seen(&self, name: &str) -> Vec<Held> {
        let mut devices = self.lock();
        let device = devices.entry(name.to_owned()).or_default();
        device.seen.replace(Vec::new()).unwrap_or_default()
    }

    /// Whether it takes identifiers whose profiles it lacks.
    pub fn take_unbound(&self, name: &str, does: bool) {
        self.lock().entry(name.to_owned()).or_default().takes_unbound = does;
    }

    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Answers calls until the connection ends.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((method, path, body)) = read(&mut reader) {
            let mut parts = path.splitn(3, '/').skip(1);
            let (name, call) = (parts.next().unwrap_or("").to_owned(), parts.next().unwrap_or("").to_owned());
            let trouble = self.lock().get(&name).map_or(0, |device| device.trouble);
            let mood = match fastrand::u8(0..100) {
                n if n >= trouble => Mood::Good,
                _ => [Mood::Close(false), Mood::Close(true), Mood::Fails]
                    .into_iter()
                    .nth(fastrand::usize(0..3))
                    .expect("one of three"),
            };
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..1500)));
            let (status, answer) = match mood {
                Mood::Close(false) => return,
                Mood::Fails => (500, json!({ "error": "Internal" })),
                Mood::Good | Mood::Close(true) => self.answer(&name, &method, &call, &body),
            };
            if matches!(mood, Mood::Close(true)) {
                return;
            }
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                text.len()
            );
            let mut stream = stream;
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).is_err() {
                return;
            }
        }
    }

    fn answer(&self, name: &str, method: &str, call: &str, body: &Value) -> (u16, Value) {
        let mut devices = self.lock();
        let Some(device) = devices.get_mut(name) else { return (404, json!({ "error": "no such device" })) };
        let (path, query) = call.split_once('?').unwrap_or((call, ""));
        let answer = match (method, path) {
            ("GET", "api/info") => {
                json!({ "api_version": "2.9.0", "device_serial_number": name, "device_model": "model",
                "firmware_version": "1" })
            }
            ("GET", "api/v1/login") => {
                json!({ "token": "5f0c1e4a-0000-4000-8000-000000000001", "account_type": "admin" })
            }
            (_, "api/v1/logout") => json!({}),
            ("GET", "api/v1/device/time") => json!({ "time_unix": 1_700_000_000, "timezone": "UTC" }),
            ("POST", "api/v1/access/timeprofile/items/link") => {
                device.change(|device| each(body, "list_items", |item| device.take_profile(item)))
            }
            ("POST", "api/v1/access/timeprofile/link/delete") => {
                device.change(|device| each(body, "link_ids", |link| device.drop_profile(link)))
            }
            ("POST", "api/v1/access/identifier/items/link") => {
                device.change(|device| each(body, "list_items", |item| device.take_identifier(item)))
            }
            ("DELETE", "api/v1/access/identifier/items/link") => {
                device.change(|device| each(body, "link_ids", |link| device.drop_identifier(link)))
            }
            ("GET", "api/v1/access/timeprofile/items" | "api/v1/access/timeprofile/items/link") => {
                page(query, &device.held.profiles)
            }
            ("GET", "api/v1/access/identifier/items/link") => page(query, &device.held.identifiers),
            _ => return (404, json!({ "error": format!("no {method} {path}") })),
        };
        (200, answer)
    }
}

/// The results of a call by link_id.
fn each(body: &Value, list: &str, mut each: impl FnMut(&Value) -> (Value, bool, &'static str)) -> Value {
    let items = body[list].as_array().cloned().unwrap_or_default();
    let results = items.iter().map(|item| {
        let (link, success, word) = each(item);
        json!({ "link_id": link, "success": success, "extended_info": word })
    });
    json!({ "result": results.collect::<Vec<_>>() })
}

fn page(query: &str, held: &BTreeMap<String, Value>) -> Value {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let (limit, page) = (parameter("limit").unwrap_or(10), parameter("page_number").unwrap_or(1).max(1));
    let total = held.len();
    let items: Vec<_> = held.values().skip((page - 1) * limit).take(limit).collect();
    json!({ "list_items": items, "list_option": { "pagination": { "total_items": total,
        "items_limit": limit, "total_pages": total.div_ceil(limit), "current_page": page } } })
}

impl Device {
    fn change(&mut self, call: impl FnOnce(&mut Self) -> Value) -> Value {
        let answer = call(self);
        if let Some(seen) = &mut self.seen {
            seen.push(self.held.clone());
        }
        answer
    }

    fn take_profile(&mut self, item: &Value) -> (Value, bool, &'static str) {
        let link = item["link_id"].as_str().unwrap_or("").to_owned();
        let word =
            if self.held.profiles.insert(link, item.clone()).is_some() { "updated" } else { "created" };
        (item["link_id"].clone(), true, word)
    }

    /// Identifiers that name it do not any more, as the vendor's panels perhaps do it; and those that name nothing open
    /// at any time.
    fn drop_profile(&mut self, link: &Value) -> (Value, bool, &'static str) {
        let gone = self.held.profiles.remove(link.as_str().unwrap_or("")).is_some();
        for identifier in self.held.identifiers.values_mut() {
            if let Some(links) = identifier["time_profiles"]["link_ids"].as_array_mut() {
                links.retain(|named| named != link);
            }
        }
        (link.clone(), gone, if gone { "deleted" } else { "entity_not_found" })
    }

    fn take_identifier(&mut self, item: &Value) -> (Value, bool, &'static str) {
        let link = item["link_id"].as_str().unwrap_or("").to_owned();
        let key = |item: &Value| (item["identifier_type"].clone(), item["identifier_number"].clone());
        let others = self.held.identifiers.iter().filter(|(other, _)| **other != link);
        if others.into_iter().any(|(_, other)| key(other) == key(item)) {
            return (item["link_id"].clone(), false, "number_taken_by_another_identifier");
        }
        if self
            .held
            .identifiers
            .get(&link)
            .is_some_and(|held| held["identifier_type"] != item["identifier_type"])
        {
            return (item["link_id"].clone(), false, "wrong_type");
        }
        let mut item = item.clone();
        let named = item["time_profiles"]["link_ids"].as_array().cloned().unwrap_or_default();
        let there: Vec<_> = named
            .iter()
            .filter(|link| self.held.profiles.contains_key(link.as_str().unwrap_or("")))
            .cloned()
            .collect();
        let unbound = there.len() < named.len();
        if unbound && !self.takes_unbound {
            return (item["link_id"].clone(), false, "bound_time_profile_doesnt_exist");
        }
        item["time_profiles"]["link_ids"] = Value::from(there);
        let id = item["link_id"].clone();
        let word = if self.held.identifiers.insert(link, item).is_some() { "updated" } else { "created" };
        (id, true, if unbound { "bound_time_profile_doesnt_exist" } else { word })
    }

    fn drop_identifier(&mut self, link: &Value) -> (Value, bool, &'static str) {
        let gone = self.held.identifiers.remove(link.as_str().unwrap_or("")).is_some();
        (link.clone(), gone, if gone { "deleted" } else { "not_found" })
    }
}

/// The next request: its method, path and JSON.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|length| *length > 0)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
