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

#[derive(Default)]
struct Device {
    profiles: BTreeMap<String, Value>,
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
        let devices = self.lock();
        let profiles = devices.get(name).into_iter().flat_map(|device| &device.profiles);
        profiles.map(|(link, body)| (link.clone(), body["name"].as_str().unwrap_or("").to_owned())).collect()
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
        let profiles = &mut device.profiles;
        match (method, path) {
            ("GET", "api/info") => (
                200,
                json!({ "api_version": "2.9.0", "device_serial_number": name, "device_model": "model",
                    "firmware_version": "1" }),
            ),
            ("GET", "api/v1/login") => {
                (200, json!({ "token": "5f0c1e4a-0000-4000-8000-000000000001", "account_type": "admin" }))
            }
            (_, "api/v1/logout") => (200, json!({})),
            ("GET", "api/v1/device/time") => (200, json!({ "time_unix": 1_700_000_000, "timezone": "UTC" })),
            ("POST", "api/v1/access/timeprofile/items/link") => {
                let items = body["list_items"].as_array().cloned().unwrap_or_default();
                let result: Vec<_> = items
                    .into_iter()
                    .map(|item| {
                        let link = item["link_id"].as_str().unwrap_or("").to_owned();
                        let word = if profiles.contains_key(&link) { "updated" } else { "created" };
                        profiles.insert(link.clone(), item);
                        json!({ "link_id": link, "success": true, "extended_info": word })
                    })
                    .collect();
                (200, json!({ "result": result }))
            }
            ("POST", "api/v1/access/timeprofile/link/delete") => {
                let links = body["link_ids"].as_array().cloned().unwrap_or_default();
                let result: Vec<_> = links
                    .into_iter()
                    .map(|link| {
                        let gone = profiles.remove(link.as_str().unwrap_or("")).is_some();
                        let word = if gone { "deleted" } else { "entity_not_found" };
                        json!({ "link_id": link, "success": gone, "extended_info": word })
                    })
                    .collect();
                (200, json!({ "result": result }))
            }
            ("GET", "api/v1/access/timeprofile/items" | "api/v1/access/timeprofile/items/link") => {
                let parameter = |name: &str| {
                    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<usize>().ok())
                };
                let (limit, page) =
                    (parameter("limit").unwrap_or(10), parameter("page_number").unwrap_or(1).max(1));
                let total = profiles.len();
                let items: Vec<_> = profiles.values().skip((page - 1) * limit).take(limit).collect();
                (
                    200,
                    json!({ "list_items": items, "list_option": { "pagination": { "total_items": total,
                        "items_limit": limit, "total_pages": total.div_ceil(limit), "current_page": page } } }),
                )
            }
            _ => (404, json!({ "error": format!("no {method} {path}") })),
        }
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
