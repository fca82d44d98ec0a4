//! A site takes all its people in one push while both sides are killed, and its doors open as was foretold.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use super::load::Client;
use super::server::{BINARY, Limits, Server};
use super::{Outcome, consistent, folder};

const DOORS: usize = 200;
const CARDS: u32 = 300;
const PROFILES: u32 = 12;
const SHOWINGS: usize = 10_000;

/// All devices must hold what they should so long after the last kill.
const DONE: Duration = Duration::from_mins(3);

/// Wednesday 1 January 2025, 00:00 UTC, when every profile begins, and two months later.
const FIRST_MS: i64 = 1_735_689_600_000;
const LAST_MS: i64 = FIRST_MS + 60 * 86_400_000;

/// The site's devices, simulated in a process of their own.
struct Devices {
    child: Child,
    address: String,
    control: String,
    agent: Agent,
}

impl Devices {
    fn start(data: &Path, at: Option<(&str, &str)>) -> Self {
        let (listen, control) = at.unwrap_or(("127.0.0.1:0", "127.0.0.1:0"));
        let mut child = Command::new(BINARY)
            .env_clear()
            .env("RUST_LOG", "error")
            .args(["simulate", "--panels", &DOORS.to_string(), "--latency", "0ms..4ms"])
            .args(["--listen", listen, "--control", control, "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut address = || loop {
            let line = lines.next().expect("it listens before it ends").expect("a text");
            if let Some(address) = line.split("://").nth(1).and_then(|rest| rest.split(['/', ' ']).next()) {
                return address.to_owned();
            }
        };
        let (address, control) = (address(), address());
        std::thread::spawn(move || lines.for_each(drop));
        let timeout = Some(Duration::from_secs(20));
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(timeout);
        Self { child, address, control, agent: agent.build().new_agent() }
    }

    fn kill(&mut self) {
        let _ = self.child.kill(); // it may be gone
        let _ = self.child.wait();
    }

    fn restart(&mut self, data: &Path) {
        self.kill();
        let (address, control) = (self.address.clone(), self.control.clone());
        *self = Self::start(data, Some((&address, &control)));
    }

    /// What a door's device holds: names of profiles; and of identifiers, names by number.
    fn holds(&self, door: usize) -> (BTreeSet<String>, BTreeMap<String, String>) {
        let held = self.agent.get(format!("http://{}/sim/held?panel=sim-{door:04}", self.control)).call();
        let held = read(held);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = |kind: &str| held[kind].as_array().cloned().unwrap_or_default();
        let profiles = items("profiles").iter().map(|profile| text(&profile["name"])).collect();
        let identifiers = items("identifiers")
            .iter()
            .map(|card| (text(&card["identifier_number"]), text(&card["identifier_owner"]["name"])))
            .collect();
        (profiles, identifiers)
    }

    /// Shows a card at a door; says whether that opened.
    fn show(&self, door: usize, number: &str, at_ms: i64) -> Option<bool> {
        let shown =
            json!({ "panel": format!("sim-{door:04}"), "type": "card", "number": number, "at_ms": at_ms });
        let request = self.agent.post(format!("http://{}/sim/present", self.control));
        let answer = read(request.header("content-type", "application/json").send(shown.to_string()));
        answer["granted"].as_bool()
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The JSON of an answer; null where there is none.
fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let text = answer.and_then(|mut answer| answer.body_mut().with_config().limit(1 << 26).read_to_string());
    text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn link(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn number(card: u32) -> String {
    (70_000_000 + card).to_string()
}

/// Each opens for some hours of some days of the week.
fn profile(n: u32, random: &mut fastrand::Rng) -> Value {
    let begin = FIRST_MS / 1000 + random.i64(0..20) * 3600;
    let end = begin + random.i64(1..=40) * 900;
    let week = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let days: Vec<_> =
        (0..7).filter(|day| *day == n as usize % 7 || random.bool()).map(|day| week[day]).collect();
    json!({
        "link_id": link(n), "name": format!("Profile {n}"),
        "time_options": { "is_all_day": false, "date_from": begin, "date_to": end },
        "repeat_options": { "repeat_enable": true, "repeat_format": {
            "repeat_type": "custom", "repeat_end": { "format": "never" },
            "repeat_custom": { "repeat_point_type": "week", "repeat_looper": 1, "repeat_options": days },
        } },
    })
}

fn card(n: u32, random: &mut fastrand::Rng) -> Value {
    let time = if random.bool() {
        json!({ "is_permanent": true })
    } else {
        let from = random.i64(FIRST_MS..LAST_MS) / 1000;
        json!({ "is_permanent": false, "from": from, "to": from + random.i64(3600..2_000_000) })
    };
    let profiles: Vec<_> = (1..=PROFILES).filter(|_| random.u8(0..4) == 0).map(link).collect();
    json!({
        "link_id": link(1000 + n), "apartment_link_id": null,
        "identifier_owner": { "name": format!("Person {n}"), "type": "owner" },
        "identifier_type": "card", "identifier_number": number(n), "lock": "all",
        "valid": { "time": time, "passes": { "is_permanent": true } },
        "time_profiles": { "link_ids": profiles },
    })
}

fn start(data: &Path) -> Server {
    let often = ["--check-every", "1s", "--pull-events", "--device-timeout", "3s"];
    Server::start_with(data, Limits { further: often.map(Into::into).to_vec(), ..Limits::default() })
}

/// Every door holds exactly what one batch said, whichever side is killed in between; then cards are shown at random
/// moments, each is let in as was foretold, and each showing is an event that names the card's identifier. Counts as
/// acknowledged what doors hold and showings; as lost, doors that hold something else, showings that went another way, and
/// events that are not there.
pub fn site(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let (mut granted, mut kills) = (0, 0);
    for _ in 0..times {
        let (data, devices_data) = (folder(), folder());
        let mut devices = Devices::start(devices_data.path(), None);
        let mut server = start(data.path());
        let doors: Vec<_> = (1..=DOORS)
            .map(|n| {
                let url = format!("http://{}/panels/sim-{n:04}", devices.address);
                json!({ "id": format!("door-{n:03}"), "driver": "http", "url": url, "username": "admin", "password": "123456", "zone": "Europe/Kyiv" }).to_string()
            })
            .collect();
        Client::admin(&server).post_lines("/fleet/v1/panels:import", &doors.join("\n"));
        let mut random = fastrand::Rng::new();
        let profiles: Vec<_> = (1..=PROFILES).map(|n| profile(n, &mut random)).collect();
        let cards: Vec<_> = (1..=CARDS).map(|n| card(n, &mut random)).collect();
        let batch = json!({ "all": true, "upsert": profiles, "identifiers": { "upsert": cards } });
        let (status, answer) = Client::admin(&server).post_at_once("/fleet/v1/batches", &batch);
        assert_eq!(status, 202, "{answer}");
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(random.u64(20..700)));
            devices.kill();
            std::thread::sleep(Duration::from_millis(random.u64(20..400)));
            outcome.panics += server.panics();
            server.kill();
            kills += 2;
            if random.bool() {
                devices.restart(devices_data.path());
                server = start(data.path());
            } else {
                server = start(data.path());
                std::thread::sleep(Duration::from_millis(random.u64(20..400)));
                devices.restart(devices_data.path());
            }
        }
        let since = Instant::now();
        let expected = (
            (1..=PROFILES).map(|n| format!("Profile {n}")).collect::<BTreeSet<_>>(),
            (1..=CARDS).map(|n| (number(n), format!("Person {n}"))).collect::<BTreeMap<_, _>>(),
        );
        for door in 1..=DOORS {
            while devices.holds(door) != expected && since.elapsed() < DONE {
                std::thread::sleep(Duration::from_millis(50));
            }
            let right = devices.holds(door) == expected;
            outcome.lost += u64::from(!right);
            outcome.acknowledged += u64::from(right) * u64::from(PROFILES + CARDS);
        }
        outcome.recovered(since);
        granted += show(&devices, &server, &mut random, &mut outcome);
        outcome.panics += server.panics();
        server.terminate();
        outcome.panics += consistent(data.path());
    }
    outcome.note = format!("{kills} kills; {granted} of {} showings let in", times as usize * SHOWINGS);
    outcome
}

/// Shows cards in the order of time, as time passes at a door, and says how many were let in.
fn show(devices: &Devices, server: &Server, random: &mut fastrand::Rng, outcome: &mut Outcome) -> usize {
    let client = Client::admin(server);
    let mut moments: Vec<_> = (0..SHOWINGS).map(|_| random.i64(FIRST_MS..LAST_MS)).collect();
    moments.sort_unstable();
    moments.dedup();
    let mut granted = 0;
    let mut shown = BTreeMap::new();
    for at_ms in &moments {
        let (door, n) = (random.usize(1..=DOORS), random.u32(1..=CARDS));
        let (panel, link) = (format!("door-{door:03}"), link(1000 + n));
        let at = panelsync::clock::rfc3339(*at_ms);
        let foretold = client.get(&format!("/fleet/v1/access?panel={panel}&identifier={link}&at={at}"));
        let opened = devices.show(door, &number(n), *at_ms);
        if opened.is_none() || foretold["items"][0]["opens"].as_bool() != opened {
            println!("card {n} at {panel} at {at}: foretold {foretold}, and it was {opened:?}");
            outcome.lost += 1;
        }
        granted += usize::from(opened == Some(true));
        shown.insert((panel, *at_ms), (link, opened));
    }
    let until = Instant::now() + DONE;
    let mut told = events(&client);
    while told != shown && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
        told = events(&client);
    }
    let missing = shown.iter().filter(|(key, event)| told.get(*key) != Some(*event)).count();
    let further = told.keys().filter(|key| !shown.contains_key(*key)).count();
    if missing + further > 0 {
        println!("{missing} showings are no event as they happened, {further} events are of no showing");
    }
    outcome.lost += (missing + further) as u64;
    outcome.acknowledged += moments.len() as u64;
    granted
}

/// All events of cards: which identifier, and whether it was let in, by panel and moment.
fn events(client: &Client) -> BTreeMap<(String, i64), (String, Option<bool>)> {
    let mut all = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/fleet/v1/access-events?limit=1000{cursor}"));
        for event in page["items"].as_array().into_iter().flatten() {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let at = text("at").parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
            all.insert((text("panel"), at), (text("identifier"), event["granted"].as_bool()));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}
