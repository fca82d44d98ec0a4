//! Writers that know what was acknowledged, and what must therefore be there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use super::server::{PASSWORD, Server};

/// A login takes no longer, unless it never comes.
const LOGIN: Duration = Duration::from_secs(20);

/// A client with a token.
pub struct Client {
    agent: Agent,
    base: String,
    token: String,
}

impl Client {
    pub fn new(server: &Server) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(40)))
            .build()
            .new_agent();
        Self { agent, base: format!("http://{}", server.address), token: String::new() }
    }

    /// Logged in to the fleet API.
    pub fn admin(server: &Server) -> Self {
        let until = Instant::now() + LOGIN;
        loop {
            // For a moment after a fault the server may be too busy.
            match Self::try_admin(server) {
                Some(client) => return client,
                None if Instant::now() > until => panic!("no login: {}", server.said()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    pub fn try_admin(server: &Server) -> Option<Self> {
        let mut client = Self::new(server);
        let credentials = json!({ "username": "admin", "password": PASSWORD });
        let (_, session) = client.post("/fleet/v1/session", &credentials);
        session["token"].as_str()?.clone_into(&mut client.token);
        Some(client)
    }

    /// Logs in to one panel.
    pub fn log_in_to(&mut self, panel: &str) {
        let md5 = panelsync::access::PasswordMd5::of(PASSWORD).into_hex();
        let path = format!("/panels/{panel}/api/v1/login?username=admin&password={md5}");
        let until = Instant::now() + LOGIN;
        loop {
            match self.get(&path)["token"].as_str() {
                Some(token) => return token.clone_into(&mut self.token),
                None if Instant::now() > until => panic!("no login to {panel}"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Status and body; 0 where there is no answer.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(path, "application/json", body.to_string())
    }

    /// The same of a batch that is not waited for.
    pub fn post_at_once(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send_waiting(path, "application/json", body.to_string(), 0)
    }

    pub fn post_lines(&self, path: &str, lines: &str) {
        let (status, answer) = self.send(path, "application/x-ndjson", lines.to_owned());
        assert_eq!(status, 201, "{answer}");
    }

    /// Status; 0 where there is no answer.
    pub fn delete(&self, path: &str) -> u16 {
        let request = self.agent.delete(format!("{}{path}", self.base));
        let answer = request.header("authorization", format!("Bearer {}", self.token)).call();
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// Status of a reading; 0 where there is no answer.
    pub fn status(&self, path: &str) -> u16 {
        let request = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("authorization", format!("Bearer {}", self.token)).call();
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// Another user's client, who has this role.
    pub fn user(&self, server: &Server, name: &str, role: &str) -> Self {
        let user = json!({ "name": name, "role": role, "password": PASSWORD });
        assert_eq!(self.post("/fleet/v1/users", &user).0, 201, "{name}");
        let mut client = Self::new(server);
        let (_, session) =
            client.post("/fleet/v1/session", &json!({ "username": name, "password": PASSWORD }));
        session["token"].as_str().expect("a token").clone_into(&mut client.token);
        client
    }

    /// Status and body; 0 where there is no answer.
    pub fn send(&self, path: &str, kind: &str, body: String) -> (u16, Value) {
        self.send_waiting(path, kind, body, 1) // what takes longer is accepted all the same
    }

    fn send_waiting(&self, path: &str, kind: &str, body: String, seconds: u32) -> (u16, Value) {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", kind)
            .header("prefer", format!("wait={seconds}")); // of a batch
        let answer = request.header("authorization", format!("Bearer {}", self.token)).send(body);
        let Ok(mut answer) = answer else { return (0, Value::Null) };
        let body = answer.body_mut().read_to_string();
        match body {
            Ok(body) => (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::Null)),
            Err(_) => (0, Value::Null),
        }
    }

    pub fn get(&self, path: &str) -> Value {
        let request = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("authorization", format!("Bearer {}", self.token)).call();
        let text = answer
            .ok()
            .and_then(|mut answer| answer.body_mut().with_config().limit(1 << 28).read_to_string().ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
    }

    /// How many lines there are.
    pub fn lines(&self, path: &str) -> u64 {
        let request = self.agent.get(format!("{}{path}", self.base)).header("accept", "application/x-ndjson");
        let mut answer =
            request.header("authorization", format!("Bearer {}", self.token)).call().expect("an answer");
        let text = answer.body_mut().with_config().limit(1 << 28).read_to_string().expect("a body");
        text.lines().count() as u64
    }

    pub fn good(&self, method: &str, path: &str) -> bool {
        assert_eq!(method, "GET");
        let request = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("authorization", format!("Bearer {}", self.token)).call();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    pub fn until_good(&self, method: &str, path: &str, most: Duration) -> bool {
        let until = Instant::now() + most;
        while Instant::now() < until {
            if self.good(method, path) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// A body of so many profiles; `first` is in their link_ids, `version` in their names.
pub fn profiles(items: usize, first: u32, version: u64) -> Value {
    let items: Vec<_> = (0..items)
        .map(|n| {
            json!({
                "link_id": format!("5a1f0c1e-0000-4000-8000-{:08x}{n:04x}", first),
                "name": format!("version {version}"),
                "time_options": { "is_all_day": false, "date_from": 1_735_804_800, "date_to": 1_735_808_400 + version },
                "repeat_options": { "repeat_enable": true, "repeat_format": { "repeat_type": "day", "repeat_end": { "format": "never" } } },
            })
        })
        .collect();
    json!({ "list_items": items })
}

/// What one writer writes: versions of the same profiles, one after the other.
struct Writer {
    /// Its panel; none for the writer of batches to all.
    panel: Option<String>,
    client: Option<Client>,
    first: u32,
    /// The last version that was acknowledged, and the last that was sent.
    acknowledged: u64,
    sent: u64,
    count: u64,
    refused: bool,
}

impl Writer {
    fn write(&mut self, items: usize) -> bool {
        let Some(client) = &self.client else { return false };
        self.sent += 1;
        let body = profiles(items, self.first, self.sent);
        let status = match &self.panel {
            Some(panel) => {
                client.post(&format!("/panels/{panel}/api/v1/access/timeprofile/items/link"), &body).0
            }
            None => {
                let batch = json!({ "all": true, "upsert": body["list_items"] });
                client.post("/fleet/v1/batches", &batch).0
            }
        };
        // 202: accepted and durable, and not done within the time that it was waited for.
        let good = status == 200 || status == 202;
        if good {
            self.acknowledged = self.sent;
            self.count += 1;
        }
        self.refused |= !good;
        good
    }

    fn log_in(&mut self, server: &Server) {
        self.client = Some(match &self.panel {
            Some(panel) => {
                let mut client = Client::new(server);
                client.log_in_to(panel);
                client
            }
            None => Client::admin(server),
        });
    }
}

/// Several writers.
pub struct Load {
    writers: Vec<Writer>,
    /// Profiles in a call.
    pub items: usize,
}

impl Load {
    /// So many writers to a panel each, and perhaps one of batches to all panels.
    pub fn new(panels: u32, batches: bool) -> Self {
        let writer = |n: u32, panel| Writer {
            panel,
            client: None,
            first: n,
            acknowledged: 0,
            sent: 0,
            count: 0,
            refused: false,
        };
        let mut writers: Vec<_> = (0..panels).map(|n| writer(n, Some(format!("panel-{n}")))).collect();
        writers.extend(batches.then(|| writer(panels, None)));
        Self { writers, items: 3 }
    }

    /// Registers the panels.
    pub fn prepare(&mut self, server: &Server) {
        let lines = self.writers.iter().filter_map(|writer| writer.panel.as_ref());
        let lines: Vec<_> = lines.map(|id| json!({ "id": id }).to_string()).collect();
        Client::admin(server).post_lines("/fleet/v1/panels:import", &lines.join("\n"));
    }

    pub fn log_in_again(&mut self, server: &Server) {
        self.writers.iter_mut().for_each(|writer| writer.log_in(server));
    }

    /// All write for so long; then `fault` does its work while they still do, and they stop.
    pub fn run(&mut self, server: &Server, time: Duration, fault: impl FnOnce(&Server)) {
        self.log_in_again(server);
        let stop = AtomicBool::new(false);
        let items = self.items;
        std::thread::scope(|scope| {
            for writer in &mut self.writers {
                let stop = &stop;
                scope.spawn(move || while !stop.load(Ordering::Relaxed) && writer.write(items) {});
            }
            std::thread::sleep(time);
            fault(server);
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// All, who are logged in, write until each was refused; says whether that came in time.
    pub fn run_until_refused(&mut self, most: Duration) -> bool {
        let until = Instant::now() + most;
        let items = self.items;
        std::thread::scope(|scope| {
            for writer in &mut self.writers {
                writer.refused = false;
                scope.spawn(move || while Instant::now() < until && writer.write(items) {});
            }
        });
        self.writers.iter().any(|writer| writer.refused)
    }

    /// Whether every writer's writes are acknowledged again, within this time.
    pub fn writes_again(&mut self, server: &Server, most: Duration) -> bool {
        let until = Instant::now() + most;
        let items = self.items;
        self.log_in_again(server);
        self.writers.iter_mut().all(|writer| {
            while Instant::now() < until {
                if writer.write(items) {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            false
        })
    }

    pub fn acknowledged(&self) -> u64 {
        self.writers.iter().map(|writer| writer.count).sum()
    }

    /// The same at once, of a server that may not even let anybody log in; then all differ.
    pub fn differs(&self, server: &Server) -> u64 {
        Client::try_admin(server).map_or(u64::MAX, |client| self.lost(&client))
    }

    /// How many profiles are not as the last acknowledged write left them, or a later one that was sent.
    pub fn check(&self, server: &Server) -> u64 {
        let client = Client::admin(server);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let lost = self.lost(&client);
            // What was accepted and not done yet is done soon.
            if lost == 0 || Instant::now() > until {
                return lost;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn lost(&self, client: &Client) -> u64 {
        let mut lost = 0;
        for panel in self.writers.iter().filter_map(|writer| writer.panel.as_ref()) {
            let held = client.get(&format!("/fleet/v1/panels/{panel}/profiles?limit=1000"));
            let held = held["items"].as_array().cloned().unwrap_or_default();
            for writer in
                self.writers.iter().filter(|writer| writer.panel.as_ref().is_none_or(|of| of == panel))
            {
                if writer.acknowledged == 0 {
                    continue;
                }
                for expected in
                    profiles(self.items, writer.first, 0)["list_items"].as_array().expect("a list")
                {
                    let found = held.iter().find(|profile| profile["link_id"] == expected["link_id"]);
                    let version = found.and_then(|profile| {
                        profile["profile"]["name"].as_str()?.strip_prefix("version ")?.parse::<u64>().ok()
                    });
                    let good =
                        version.is_some_and(|version| (writer.acknowledged..=writer.sent).contains(&version));
                    lost += u64::from(!good);
                }
            }
        }
        lost
    }
}
