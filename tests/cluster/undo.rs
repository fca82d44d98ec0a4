//! The leader dies while it takes a batch back: another one goes on with the undo.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use super::cluster::{Shape, begin};
use super::load::profiles;
use super::{Outcome, RECOVERS};

const PANELS: usize = 3_000;

const PROFILES: usize = 4;

/// A change is done on all panels within this time.
const DONE: Duration = Duration::from_mins(1);

/// Sends what becomes a batch, by any node and as often as it takes, and gives its id.
fn send(client: &Client, path: &str, body: &Value, key: &str) -> String {
    let until = Instant::now() + RECOVERS;
    loop {
        let answers = (0..client.nodes()).map(|node| client.post_to(node, path, body, Some(key)));
        if let Some(answer) = answers.into_iter().find(super::client::Answer::is_good) {
            return answer.body["id"].as_str().expect("an id").to_owned();
        }
        assert!(Instant::now() < until, "nobody accepts {path}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The batch at its end.
fn ended(client: &Client, id: &str) -> Value {
    let until = Instant::now() + DONE;
    loop {
        let batch = client.get(&format!("/fleet/v1/batches/{id}"));
        if batch["state"] != "running" {
            return batch;
        }
        assert!(Instant::now() < until, "it does not end: {batch}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is not put back on a panel is wrong.
pub fn leader_goes(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let panels =
        (0..PANELS).map(|n| json!({ "id": format!("undone-{n:05}"), "labels": { "undone": "yes" } }));
    cluster.client.import(panels);
    let push = |client: &Client, version: u64| {
        let upsert = &profiles(PROFILES, 990, version)["list_items"];
        let batch = json!({ "selector": "undone=yes", "upsert": upsert });
        let id = send(client, "/fleet/v1/batches", &batch, &format!("undone-{version}"));
        ended(client, &id);
        id
    };
    let link = profiles(1, 990, 0)["list_items"][0]["link_id"].as_str().expect("a link_id").to_owned();
    push(&cluster.client, 1);
    let mut put_back = 0;
    for round in 0..times {
        let id = push(&cluster.client, u64::from(round) + 2);
        let leader = cluster.leader();
        let others = cluster.nodes.iter().enumerate().filter(|(node, _)| *node != leader);
        let client = cluster.client.at(others.map(|(_, node)| node.base()).collect());
        let since = Instant::now();
        let undo = std::thread::scope(|scope| {
            let undoing = scope.spawn(|| {
                send(&client, &format!("/fleet/v1/batches/{id}:undo"), &json!({}), &format!("undo-{round}"))
            });
            std::thread::sleep(Duration::from_millis(fastrand::u64(5..250)));
            cluster.nodes[leader].kill();
            undoing.join().expect("it is accepted")
        });
        let undone = ended(&client, &undo);
        outcome.recovered(since, Some(Instant::now()));
        if undone["panels"]["applied"] != PANELS {
            outcome.is_wrong(&format!("the undo came to {undone}"));
        }
        cluster.start_all(&mut outcome);
        cluster.until_all_ready(&mut outcome);
        let held = cluster.client.get(&format!("/fleet/v1/profiles/{link}"));
        for version in held["versions"].as_array().into_iter().flatten() {
            let panels = version["count"].as_u64().unwrap_or(0);
            if version["profile"]["name"] == "version 1" {
                put_back += panels;
            } else {
                outcome.is_wrong(&format!("{panels} panels hold {}", version["profile"]["name"]));
            }
        }
    }
    if put_back != u64::from(times) * PANELS as u64 {
        outcome.is_wrong("not every panel holds what it held before");
    }
    outcome.note = format!("{put_back} panels hold what they held before");
    cluster.end(&mut load, outcome)
}
