//! What is taken back or removed while the disk is full.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::{Client, profiles};
use super::server::{Limits, Server};
use super::{Outcome, consistent, file_size, folder};

const PANELS: u32 = 240;

/// A batch is done soon, once there is room.
const SOON: Duration = Duration::from_secs(20);

/// Error lines of a server whose disk was full three times; not one for each panel of each batch.
const FEW_LINES: u64 = 200;

/// What was asked for while the disk was full, and what the answers were.
#[derive(Default)]
struct Asked {
    batches: Vec<String>,
    cancelled: u64,
    /// Panels of which the removal was acknowledged, and refused.
    removed: Vec<String>,
    kept: Vec<String>,
    /// The same of panels that were added.
    added: Vec<String>,
    not_added: Vec<String>,
    refusals: u64,
    wrong: Vec<String>,
}

impl Asked {
    /// Whether it was refused for want of room, or because the store takes nothing for the moment; anything else that
    /// is no success is wrong.
    fn refused(&mut self, what: &str, status: u16, good: &[u16]) -> bool {
        if good.contains(&status) {
            return false;
        }
        self.refusals += 1;
        if ![507, 503].contains(&status) {
            self.wrong.push(format!("{what}: {status}"));
        }
        true
    }
}

pub fn cancel_and_remove(times: u32) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut first, mut panels) = (0_u32, 0_u32);
    let (mut refusals, mut cancelled, mut most_errors) = (0, 0, 0);
    while outcome.times < times {
        let data = folder();
        let server =
            Server::start_with(data.path(), Limits { survives_full_disk: true, ..Limits::default() });
        let admin = Client::admin(&server);
        let lines: Vec<_> = (0..PANELS).map(|n| json!({ "id": format!("p{n:03}") }).to_string()).collect();
        admin.post_lines("/fleet/v1/panels:import", &lines.join("\n"));
        for _ in 0..3 {
            outcome.times += 1; // also where the file had room within
            let size = file_size(data.path());
            server.limit_file_size(&(size + fastrand::u64(0..65_536)).to_string());
            let asked = ask(&admin, &mut first, &mut panels);
            server.limit_file_size("unlimited");
            let since = Instant::now();
            while admin.post("/fleet/v1/batches", &batch(&mut first)).0 / 100 != 2 {
                assert!(since.elapsed() < SOON, "no writes though there is room: {}", server.said());
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome.recovered(since);
            outcome.lost += look(&admin, &asked, &mut first);
            outcome.acknowledged += (asked.batches.len() + asked.removed.len() + asked.added.len()) as u64;
            refusals += asked.refusals;
            cancelled += asked.cancelled;
        }
        let errors = server.errors();
        most_errors = most_errors.max(errors);
        if errors > FEW_LINES {
            println!("{errors} lines of errors");
            outcome.lost += 1;
        }
        outcome.panics += server.panics();
        server.terminate();
        outcome.panics += consistent(data.path());
    }
    outcome.note =
        format!("{refusals} refused, {cancelled} batches cancelled; at most {most_errors} lines of errors");
    outcome
}

/// Profiles that no panel has yet, to all.
fn batch(first: &mut u32) -> Value {
    *first += 1;
    json!({ "all": true, "upsert": profiles(30, *first, 1)["list_items"] })
}

/// Batches until they are refused, and then some of everything.
fn ask(admin: &Client, first: &mut u32, panels: &mut u32) -> Asked {
    let mut asked = Asked::default();
    let until = Instant::now() + Duration::from_secs(1);
    let mut after = 0;
    while after < 12 && Instant::now() < until {
        // Not waited for: it is to be cancelled.
        let (status, answer) = admin.post_at_once("/fleet/v1/batches", &batch(first));
        if !asked.refused("a batch", status, &[200, 202]) {
            asked.batches.push(answer["id"].as_str().expect("an id").to_owned());
        }
        if let Some(id) = asked.batches.last() {
            let (status, _) = admin.post(&format!("/fleet/v1/batches/{id}:cancel"), &Value::Null);
            // 409: it has ended.
            let refused = asked.refused("to cancel", status, &[200, 202, 409]);
            asked.cancelled += u64::from(!refused && status != 409);
        }
        if asked.refusals > 0 {
            after += 1;
            let added = format!("new-{panels}");
            let (status, _) = admin.post("/fleet/v1/panels", &json!({ "id": added }));
            let refused = asked.refused("to add", status, &[201]);
            if refused { &mut asked.not_added } else { &mut asked.added }.push(added);
            let removed = format!("p{:03}", *panels % PANELS);
            *panels += 1;
            // 404: it was removed in an earlier round, and is added again by what looks.
            let status = admin.delete(&format!("/fleet/v1/panels/{removed}"));
            let refused = asked.refused("to remove", status, &[204, 200]);
            if refused { &mut asked.kept } else { &mut asked.removed }.push(removed);
        }
    }
    asked
}

/// How much of it is not as it was answered.
fn look(admin: &Client, asked: &Asked, first: &mut u32) -> u64 {
    let mut wrong = asked.wrong.clone();
    let until = Instant::now() + SOON;
    for id in &asked.batches {
        let batch = loop {
            let batch = admin.get(&format!("/fleet/v1/batches/{id}"));
            if batch["state"] != "running" || Instant::now() > until {
                break batch;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let of = |name: &str| batch["panels"][name].as_u64().unwrap_or(u64::MAX / 8);
        let ended = of("applied") + of("partial") + of("rejected") + of("failed");
        if batch["state"] == "running" || ended != of("total") || of("pending") != 0 {
            wrong.push(format!("a batch does not end, or does not add up: {batch}"));
        }
    }
    let status = |id: &str| admin.status(&format!("/fleet/v1/panels/{id}"));
    let works = |id: &str, first: &mut u32| {
        *first += 1;
        let one = json!({ "panels": [id], "upsert": profiles(1, *first, 1)["list_items"] });
        let (status, answer) = admin.post("/fleet/v1/batches", &one);
        status == 200 && answer["panels"]["applied"] == 1
    };
    let listed = |id: &str, first: &mut u32| status(id) == 200 && works(id, first);
    for id in asked.kept.iter().chain(&asked.added) {
        if !listed(id, first) {
            wrong.push(format!("{id}, whose removal was refused or which was added, is not there"));
        }
    }
    for id in asked.removed.iter().chain(&asked.not_added) {
        let gone = status(id) == 404;
        let again = admin.post("/fleet/v1/panels", &json!({ "id": id })).0;
        if !gone || again != 201 || !listed(id, first) {
            wrong.push(format!("{id}, which was removed or refused, is there, or cannot be added: {again}"));
        }
    }
    for wrong in &wrong {
        println!("{wrong}");
    }
    wrong.len() as u64
}
