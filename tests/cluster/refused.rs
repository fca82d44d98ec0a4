//! Who must not join: the answer is exit 2 and what to do, the folder stays as it is, and the others do not notice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Outcome;
use super::cluster::{Cluster, Shape};
use super::load::Load;
use super::node::Node;

/// Within this time it has ended.
const REFUSED: Duration = Duration::from_secs(30);

pub fn refused(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    let mut cluster = Cluster::start(Shape::default());
    let mut other = Cluster::start(Shape { nodes: 1, ..Shape::default() });
    let mut load = Load::new(cluster.nodes.len());
    load.prepare(&cluster.client);
    other.nodes[0].terminate();
    let mut notes = Vec::new();
    for round in 0..times {
        let client = cluster.client.of_its_own();
        load.run(&client, |_| {
            let name =
                if round % 3 == 0 { cluster.nodes[round as usize / 3 % 3].name.as_str() } else { "stranger" };
            let mut node = cluster.stranger(name);
            let what = match round % 3 {
                0 => "a name that is taken",
                1 => {
                    node.key.clone_from(&other.nodes[0].key);
                    "another key"
                }
                _ => {
                    // Its devices' passwords are sealed with the key that the other fleet has.
                    node.key.clone_from(&other.nodes[0].key);
                    node.data.clone_from(&other.nodes[0].data);
                    "a folder of another fleet"
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
    let before = files(&node.data);
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
    if files(&node.data) != before {
        outcome.is_wrong(&format!("{what}: its folder was changed"));
    }
    outcome.panics += node.panics();
    format!("\"{}\"", said.lines().last().unwrap_or_default())
}

/// The files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).ok()?))
    };
    entries.filter_map(read).collect()
}
