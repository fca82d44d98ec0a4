//! The lines between nodes, and between a node and the database, are bad.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Shape, begin};
use super::proxy::{Line, Proxy};
use super::{Outcome, RECOVERS, TTL};

/// What is done to a line, by turns.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// What was sent comes late.
    HoldsForLong,
    ResetsOnce,
    HoldsShortly,
    ResetsForLong,
    /// What was sent never comes.
    HoldsForLongAndLoses,
}

const WAYS: [Way; 5] =
    [Way::HoldsForLong, Way::ResetsOnce, Way::HoldsShortly, Way::ResetsForLong, Way::HoldsForLongAndLoses];

/// Does it, and puts the line right again.
fn break_line(line: &Proxy, way: Way) {
    let long = TTL * 3 / 2;
    let (bad, time) = match way {
        Way::HoldsForLong | Way::HoldsForLongAndLoses => (Line::Holds, long),
        Way::HoldsShortly => (Line::Holds, TTL / 3),
        Way::ResetsForLong => (Line::Resets, long),
        Way::ResetsOnce => (Line::Resets, Duration::ZERO),
    };
    line.set(bad);
    std::thread::sleep(time);
    if matches!(way, Way::HoldsForLongAndLoses) {
        line.reset();
    }
    line.set(Line::Passes);
}

fn breaking(times: u32, line: impl for<'c> Fn(&'c Cluster, usize) -> &'c Proxy) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let mut longest = Duration::ZERO;
    for round in 0..times {
        let way = WAYS[round as usize % WAYS.len()];
        let leader = cluster.leader();
        let client = cluster.client.of_its_own();
        let before = outcome.bad();
        load.run(&client, |flow| {
            std::thread::sleep(Duration::from_millis(fastrand::u64(100..400)));
            let since = Instant::now();
            break_line(line(&cluster, leader), way);
            // Whoever asked just before was perhaps still answered.
            let begun = since + Duration::from_millis(20);
            outcome.recovered(since, flow.good_after(begun, RECOVERS));
            std::thread::sleep(Duration::from_millis(300));
            longest = longest.max(flow.longest());
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
        if outcome.bad() > before {
            println!("as the line {way:?}");
        }
    }
    outcome.note = format!("longest write {} ms", longest.as_millis());
    cluster.end(&mut load, outcome)
}

pub fn leader_to_database(times: u32) -> Outcome {
    breaking(times, |cluster, leader| &cluster.nodes[leader].to_databases[0])
}

pub fn follower_to_database(times: u32) -> Outcome {
    breaking(times, |cluster, leader| &cluster.nodes[(leader + 1) % cluster.nodes.len()].to_databases[0])
}

/// From the others to the leader.
pub fn node_to_leader(times: u32) -> Outcome {
    breaking(times, |cluster, leader| &cluster.nodes[leader].from_nodes)
}

/// All lines are slow, though not so slow that nobody can lead: nobody stops leading, and nothing is wrong.
pub fn slow(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let mut changes = 0;
    for _ in 0..times {
        let leader = cluster.leader();
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            let since = Instant::now();
            let set = |line| {
                for node in &cluster.nodes {
                    node.from_nodes.set(line);
                    node.to_databases.iter().for_each(|database| database.set(line));
                }
            };
            set(Line::Delays(Duration::from_millis(60)));
            outcome.recovered(since, flow.good_after(Instant::now(), RECOVERS));
            std::thread::sleep(TTL * 2);
            set(Line::Passes);
        });
        changes += u32::from(cluster.leader() != leader);
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("60 ms later each way; {changes} times another one leads");
    cluster.end(&mut load, outcome)
}
