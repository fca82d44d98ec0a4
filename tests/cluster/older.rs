//! The database is put back to an older copy of itself.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::cluster::{Cluster, Shape};
use super::load::{Load, profiles};
use super::node::Node;
use super::{Outcome, RECOVERS, TTL};

/// By one of these words a node says what it found.
const WORDS: [&str; 6] = ["ahead", "older", "rewound", "went back", "another way", "differ"];

/// Nodes that have more than the log stop and say so, and nothing that they hold is overwritten in silence. By turns all
/// have more, or one was away when the copy was made and has not: it may lead on from there, and the others still stop,
/// though the log has as many entries as they have, by then.
pub fn put_back(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    let (mut led_on, mut line) = (0, String::new());
    for round in 0..times {
        let mut cluster = Cluster::start(Shape::default());
        let mut load = Load::new(cluster.nodes.len());
        load.prepare(&cluster.client);
        let client = cluster.client.of_its_own();
        load.run(&client, |_| std::thread::sleep(Duration::from_millis(300)));
        assert!(cluster.until_same(), "before: {:?}", cluster.listed());
        let away = (round % 2 == 1).then(|| cluster.follower());
        if let Some(away) = away {
            cluster.nodes[away].terminate();
        }
        cluster.databases[0].stop();
        cluster.databases[0].keep_copy();
        cluster.databases[0].start();
        let before = outcome.acknowledged;
        load.run(&client, |flow| {
            let good = flow.good_after(Instant::now(), RECOVERS);
            assert!(good.is_some(), "no writes after an orderly stop of the database");
            std::thread::sleep(Duration::from_millis(500));
        });
        load.check(&cluster.client, &mut outcome);
        outcome.acknowledged += before;
        let newest = cluster.last_entry();

        cluster.databases[0].stop();
        cluster.databases[0].put_copy_back();
        let mut said: Vec<_> = cluster.nodes.iter().map(Node::said_so_far).collect();
        cluster.databases[0].start();
        let ahead: Vec<_> = (0..cluster.nodes.len()).filter(|node| Some(*node) != away).collect();
        let mut looked = Vec::new();
        for another_leads in [false, true] {
            looked = stop_and_say(&mut outcome, &mut cluster, &ahead, &said, another_leads);
            let Some(away) = away else { break };
            // The one that was away goes on, if it does, until it has more entries than the others.
            if !cluster.nodes[away].runs() {
                cluster.nodes[away].start();
                cluster.nodes[away].until_healthy();
                led_on += u32::from(goes_on(&cluster, away, newest));
            }
            for node in &ahead {
                cluster.nodes[*node].kill();
                said[*node] = cluster.nodes[*node].said_so_far();
                cluster.nodes[*node].start();
            }
        }
        line = looked.pop().unwrap_or(line);
        outcome.panics += cluster.panics();
    }
    let ways = times / 2;
    outcome.note = format!("one that was away led on {led_on} times of {ways}; they say: {line}");
    outcome
}

/// Waits until each of these nodes has ended or says that it is not ready, and has said why; meanwhile none of them takes
/// a write. Gives what they said.
fn stop_and_say(
    outcome: &mut Outcome,
    cluster: &mut Cluster,
    ahead: &[usize],
    said: &[usize],
    another_leads: bool,
) -> Vec<String> {
    let mut version = 0;
    let until = Instant::now() + TTL * 3;
    let mut lines = vec![None; cluster.nodes.len()];
    // Also when all have said so they are tried on for a while: whoever is not in order must not get there.
    while Instant::now() < until {
        for node in ahead {
            // Where another leads, rightly, it is perhaps passed on.
            if write(&cluster.client, *node, &mut version) && !another_leads {
                let name = &cluster.nodes[*node].name;
                outcome.is_wrong(&format!(
                    "{name} takes writes though the log has lost entries: {:?}",
                    cluster.listed()
                ));
                return Vec::new();
            }
            let new = cluster.nodes[*node].said_since(said[*node]);
            let line = new.lines().rfind(|line| WORDS.iter().any(|word| line.contains(word)));
            lines[*node] = line.map(str::to_owned).or(lines[*node].take());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for node in ahead {
        let (ended, ready) = (cluster.nodes[*node].ended(), cluster.nodes[*node].probe("readyz"));
        let stopped = ended.is_some_and(|exit| exit != 0) || (ended.is_none() && ready == 503);
        if !stopped || lines[*node].is_none() {
            let new = cluster.nodes[*node].said_since(said[*node]);
            outcome.is_wrong(&format!(
                "{} is ahead of the log: ended {ended:?}, readyz {ready}, said: {new}",
                cluster.nodes[*node].name
            ));
        }
    }
    lines.into_iter().flatten().collect()
}

/// Whether a node takes writes until it has more entries than this.
fn goes_on(cluster: &Cluster, node: usize, entries: u64) -> bool {
    let until = Instant::now() + RECOVERS;
    let mut version = 0;
    while Instant::now() < until {
        if !write(&cluster.client, node, &mut version) {
            std::thread::sleep(Duration::from_millis(100));
        } else if version % 20 == 0 && cluster.last_entry() > entries + 10 {
            return true;
        }
    }
    println!("nobody leads on from the older copy");
    false
}

fn write(client: &Client, node: usize, version: &mut u64) -> bool {
    *version += 1;
    let batch = json!({ "panels": ["batch-0"], "upsert": profiles(1, 950, *version)["list_items"] });
    client.post_to(node, "/fleet/v1/batches", &batch, None).is_good()
}
