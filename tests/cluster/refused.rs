//! Who must not join: the answer is exit 2 and what to do, the folder stays as it is, and the others do not notice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Outcome;
use super::cluster::{Cluster, Shape, held};
use super::load::Load;
use super::node::{DATABASE, Node};

/// Within this time it has ended.
const REFUSED: Duration = Duration::from_secs(30);

pub fn refused(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    let mut cluster = Cluster::start(Shape::default());
    let mut other = Cluster::start(Shape { nodes: 1, ..Shape::default() });
    let key = Some(cluster.nodes[0].key.clone());
    let mut with_same_key = Cluster::start(Shape { nodes: 1, key, ..Shape::default() });
    let mut load = Load::new(cluster.nodes.len());
    load.prepare(&cluster.client);
    other.nodes[0].terminate();
    with_same_key.nodes[0].terminate();
    let mut notes = Vec::new();
    for round in 0..times {
        let client = cluster.client.of_its_own();
        load.run(&client, |_| {
            let name = cluster.nodes[round as usize / 4 % 3].name.as_str();
            let mut node = cluster.stranger(if round % 4 == 0 { name } else { "stranger" });
            let what = match round % 4 {
                0 => "a name that is taken",
                1 => {
                    node.key.clone_from(&other.nodes[0].key);
                    "another key"
                }
                2 => {
                    node.data.clone_from(&with_same_key.nodes[0].data);
                    "a folder of another fleet"
                }
                _ => {
                    node.key.clone_from(&other.nodes[0].key);
                    node.data.clone_from(&other.nodes[0].data);
                    "a folder of another fleet, with its key"
                }
            };
            notes.push(format!("{what}: {}", look(&mut outcome, &mut node, what)));
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = notes.join(" | ");
    cluster.end(&mut load, outcome)
}

/// Starts it, and gives the last line of what it said when it ended.
fn look(outcome: &mut Outcome, node: &mut Node, what: &str) -> String {
    let before = files(node, outcome);
    node.start();
    let until = Instant::now() + REFUSED;
    while node.runs() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = node.ended();
    let said = node.said();
    node.kill();
    if ended != Some(2) {
        outcome.is_wrong(&format!("{what}: it ended with {ended:?}: {said}"));
    }
    if said.trim().is_empty() {
        outcome.is_wrong(&format!("{what}: it says nothing"));
    }
    let after = files(node, outcome);
    if after != before {
        let (before, after): (Vec<_>, Vec<_>) = (before.keys().collect(), after.keys().collect());
        outcome.is_wrong(&format!("{what}: its folder was changed, from {before:?} to {after:?}"));
    }
    outcome.panics += node.panics();
    format!("\"{}\"", said.lines().last().unwrap_or_default())
}

/// The files of its folder; of the database, all that it holds.
fn files(node: &Node, outcome: &mut Outcome) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(&node.data) else { return BTreeMap::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let mut read = |name: &str| match name {
        DATABASE => held(node, outcome).into_bytes(),
        name => std::fs::read(node.data.join(name)).unwrap_or_default(),
    };
    names.map(|name| (name.clone(), read(&name))).collect()
}
