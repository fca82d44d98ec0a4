//! What the benches have in common: processes of the real binary, its fleet API, and what is pushed through it.
#![allow(dead_code, reason = "not every bench uses all of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Profiles of one push.
pub const ITEMS: usize = 10;

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The binary; `PANELSYNC_BIN` names another one than the one that was built with the bench.
pub fn command() -> Command {
    Command::new(std::env::var_os("PANELSYNC_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_panelsync").into()))
}

/// A process that says where it listens, and ends with this.
pub struct Running {
    pub child: Child,
    pub addresses: Vec<SocketAddr>,
    pub folder: TempDir,
}

impl Running {
    pub fn start(command: &mut Command, addresses: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = command
            .arg("--data-dir")
            .arg(folder.path())
            .env("RUST_LOG", "error")
            .env("PANELSYNC_ADMIN_PASSWORD", "bench")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut found = Vec::new();
        while found.len() < addresses {
            let line = lines.next().expect("it listens").expect("a text");
            let address = line.split("://").nth(1).and_then(|rest| rest.split(['/', ' ']).next());
            found.extend(address.and_then(|address| address.parse::<SocketAddr>().ok()));
        }
        std::thread::spawn(move || lines.for_each(|_| ()));
        Self { child, addresses: found, folder }
    }

    pub fn devices(panels: usize, args: &[&str]) -> Self {
        let panels = panels.to_string();
        let listen = ["simulate", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--panels", &panels];
        Self::start(command().args(listen).args(args), 2)
    }

    /// Kills it; its folder stays for as long as this.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ten profiles of a usual length; each round other ones.
pub fn profiles(round: usize) -> Vec<Value> {
    let profile = |n: usize| {
        json!({
            "link_id": format!("91c615e3-1040-4815-8ecb-{n:012x}"),
            "name": format!("Profile {n} of round {round}, with a name of a usual length"),
            "time_options": { "is_all_day": false, "date_from": 1_735_804_800, "date_to": 1_735_837_200 },
            "repeat_options": { "repeat_enable": true, "repeat_format": { "repeat_type": "custom",
                "repeat_end": { "format": "never" },
                "repeat_custom": { "repeat_point_type": "week", "repeat_looper": 1, "repeat_options": ["MON", "TUE"] } } },
        })
    };
    (0..ITEMS).map(profile).collect()
}

/// The real server, and a session of its administrator.
pub struct Server {
    base: String,
    token: String,
    /// How many seconds an answer to a batch may take.
    wait: u32,
    pub running: Running,
}

impl Server {
    pub fn start(wait: u32, args: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--device-concurrency", "1000"];
        Self::of(Running::start(command().args(serve).args(args), 1), wait)
    }

    /// The one that runs there.
    pub fn of(running: Running, wait: u32) -> Self {
        let base = format!("http://{}/fleet/v1", running.addresses[0]);
        let mut server = Self { base, token: String::new(), wait, running };
        let session = json!({ "username": "admin", "password": "bench" }).to_string();
        let session = server.post("/session", "application/json", session);
        session["token"].as_str().expect("a token").clone_into(&mut server.token);
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Registers the first so many of these devices.
    pub fn add(&self, devices: &Running, panels: usize) {
        let line = |n| {
            json!({ "id": format!("d{n:04}"), "driver": "http", "username": "admin", "password": "123456",
                "url": format!("http://{}/panels/sim-{n:04}", devices.addresses[0]) })
            .to_string()
        };
        let lines: Vec<_> = (1..=panels).map(line).collect();
        self.post("/panels:import", "application/x-ndjson", lines.join("\n"));
    }

    pub fn post(&self, path: &str, kind: &str, body: String) -> Value {
        let mut answer = ureq::post(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", kind)
            .header("prefer", format!("wait={}", self.wait))
            .send(body)
            .expect("an answer");
        serde_json::from_str(&answer.body_mut().read_to_string().expect("a body")).expect("JSON")
    }

    pub fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .call()
            .expect("an answer");
        serde_json::from_str(&answer.body_mut().read_to_string().expect("a body")).expect("JSON")
    }

    /// Sends a batch; seconds until so many panels have applied it.
    pub fn push(&self, batch: &Value, wanted: usize) -> f64 {
        let body = batch.to_string();
        let started = Instant::now();
        let mut done = self.post("/batches", "application/json", body);
        while done["panels"]["applied"].as_u64().expect("a number") < wanted as u64 {
            std::thread::sleep(Duration::from_millis(2));
            done = self.get(&format!("/batches/{}", done["id"].as_str().expect("an id")));
        }
        started.elapsed().as_secs_f64()
    }
}

/// So many cards, each bound to one of the profiles.
pub fn cards(count: usize) -> Vec<Value> {
    let card = |n: usize| {
        json!({
            "link_id": format!("5d0c5e0e-6c0c-4a55-8a35-{n:012x}"), "apartment_link_id": null,
            "identifier_owner": { "name": format!("Flat {n}, somebody with a usual name"), "type": "owner" },
            "identifier_type": "card", "identifier_number": format!("{}", 1_000_000 + n), "lock": "first",
            "valid": { "time": { "is_permanent": false, "from": 1_735_804_800, "to": 1_893_456_000 },
                "passes": { "is_permanent": true } },
            "time_profiles": { "link_ids": [format!("91c615e3-1040-4815-8ecb-{:012x}", n % ITEMS)] },
        })
    };
    (0..count).map(card).collect()
}
