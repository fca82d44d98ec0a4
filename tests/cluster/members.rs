//! Nodes that come, go, and come back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Cluster, Shape, begin};
use super::load::Load;
use super::proxy::Line;
use super::{Outcome, RECOVERS};

/// Within this time a node has all again.
const CATCHES_UP: Duration = Duration::from_mins(2);

/// A follower is stopped while thousands of entries are written, and has them all when it is back.
pub fn away(times: u32) -> Outcome {
    let entries = if times > 1 { 5_000 } else { 1_500 };
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let (mut written, mut longest) = (0, Duration::ZERO);
    for round in 0..times {
        let follower = cluster.follower();
        let applied = cluster.last_entry();
        if round % 2 == 1 {
            cluster.nodes[follower].kill();
        } else if !cluster.nodes[follower].terminate() {
            outcome
                .is_wrong(&format!("an orderly stop does not end well: {}", cluster.nodes[follower].said()));
        }
        let client = cluster.client.of_its_own();
        load.run(&client, |_| {
            let until = Instant::now() + CATCHES_UP;
            let newest = || cluster.listed().into_iter().flatten().map(|node| node.applied).max();
            while newest().unwrap_or_default() < applied + entries && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let newest =
            cluster.listed().into_iter().flatten().map(|node| node.applied).max().unwrap_or_default();
        written += newest.saturating_sub(applied);
        let since = Instant::now();
        cluster.start_all(&mut outcome);
        if !cluster.until_same() {
            outcome.is_wrong(&format!("it does not catch up: {:?}", cluster.listed()));
        }
        longest = longest.max(since.elapsed());
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("{written} entries; the same {} ms after the start at most", longest.as_millis());
    cluster.end(&mut load, outcome)
}

/// SIGKILL to followers: nobody waits for them.
pub fn follower_killed(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    for _ in 0..times {
        let follower = cluster.follower();
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            std::thread::sleep(Duration::from_millis(fastrand::u64(50..500)));
            let since = Instant::now();
            cluster.nodes[follower].kill();
            outcome.recovered(since, flow.good_after(Instant::now(), RECOVERS));
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..1000)));
            cluster.start_all(&mut outcome);
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    cluster.end(&mut load, outcome)
}

/// SIGKILL to all at once, under load.
pub fn all_killed(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    for _ in 0..times {
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            std::thread::sleep(Duration::from_millis(fastrand::u64(100..600)));
            let since = Instant::now();
            cluster.nodes.iter_mut().for_each(super::node::Node::kill);
            let dead = Instant::now();
            cluster.start_all(&mut outcome);
            outcome.recovered(since, flow.good_after(dead, RECOVERS));
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    cluster.end(&mut load, outcome)
}

/// A node with an empty folder comes while others write; so does one that was removed and comes with an empty folder.
pub fn new_node(times: u32) -> Outcome {
    let panels = if times > 1 { 20_000 } else { 2_000 };
    let mut outcome = Outcome::of(times);
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let mut cluster = Cluster::start(Shape::default());
        let mut load = Load::new(cluster.nodes.len());
        load.prepare(&cluster.client);
        cluster.client.import((0..panels).map(|n| json!({ "id": format!("further-{n:05}") })));
        let client = cluster.client.of_its_own();
        let before = outcome.acknowledged;
        let new = cluster.add_node();
        load.run(&client, |flow| {
            std::thread::sleep(Duration::from_millis(200));
            let since = Instant::now();
            cluster.nodes[new].start();
            cluster.nodes[new].until_healthy();
            let is_there = || {
                let listed = cluster.listed_as(new);
                listed.is_some_and(|node| node.role == "follower" && node.same == Some(true))
            };
            while !is_there() && since.elapsed() < CATCHES_UP {
                std::thread::sleep(Duration::from_millis(20));
            }
            if !is_there() {
                outcome.is_wrong(&format!("it does not follow: {:?}", cluster.listed()));
            }
            longest = longest.max(since.elapsed());
            outcome.recovered(since, flow.good_after(since, RECOVERS));
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);

        // Alive it is not removed, and away it is.
        let name = cluster.nodes[new].name.clone();
        let path = format!("/fleet/v1/nodes/{name}");
        let refused = cluster.client.delete_from(0, &path);
        if refused.status != 409 {
            outcome
                .is_wrong(&format!("a node that is alive is removed: {} {}", refused.status, refused.body));
        }
        cluster.nodes[new].terminate();
        let until = Instant::now() + RECOVERS;
        loop {
            let removed = cluster.client.delete_from(0, &path);
            if removed.status == 204 {
                break;
            }
            if Instant::now() > until {
                let (status, body) = (removed.status, removed.body);
                outcome.is_wrong(&format!("a node that is away is not removed: {status} {body}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        if cluster.listed_as(new).is_some() {
            outcome.is_wrong("a node that was removed is listed");
        }
        std::fs::remove_dir_all(&cluster.nodes[new].data).expect("removed");
        cluster.start_all(&mut outcome);
        outcome = cluster.end(&mut load, outcome);
        outcome.acknowledged += before;
    }
    outcome.note = format!("{panels} panels; the same {} ms after the start at most", longest.as_millis());
    outcome
}

/// A new node copies, and in the midst of it the leader is killed, or the new node, or the line between them breaks: when it
/// is started again, as whatever supervises it would, it has all.
pub fn copy_broken(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    cluster.client.import((0..10_000).map(|n| json!({ "id": format!("further-{n:05}") })));
    let client = cluster.client.of_its_own();
    let new = cluster.add_node();
    let mut starts = 0;
    for round in 0..times {
        let leader = cluster.leader();
        load.run(&client, |flow| {
            let since = Instant::now();
            cluster.nodes[new].start();
            std::thread::sleep(Duration::from_millis(fastrand::u64(10..500)));
            match round % 3 {
                0 => cluster.nodes[leader].kill(),
                1 => cluster.nodes[new].kill(),
                _ => {
                    cluster.nodes[leader].from_nodes.set(Line::Resets);
                    std::thread::sleep(Duration::from_millis(300));
                    cluster.nodes[leader].from_nodes.set(Line::Passes);
                }
            }
            outcome.recovered(since, flow.good_after(Instant::now(), RECOVERS));
            let follows = |cluster: &Cluster| {
                let listed = cluster.listed_as(new);
                listed.is_some_and(|node| node.role == "follower" && node.same == Some(true))
            };
            while !follows(&cluster) && since.elapsed() < CATCHES_UP {
                for node in [leader, new] {
                    if !cluster.nodes[node].runs() {
                        cluster.nodes[node].kill(); // of one that ended by itself nothing is left
                        cluster.nodes[node].start();
                        starts += u32::from(node == new);
                    }
                }
                std::thread::sleep(Duration::from_millis(500));
            }
            if !follows(&cluster) {
                let (listed, said) = (cluster.listed(), cluster.nodes[new].said());
                outcome.is_wrong(&format!("it does not follow: {listed:?}; {said}"));
            }
        });
        cluster.start_all(&mut outcome);
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
        cluster.nodes[new].terminate();
        std::fs::remove_dir_all(&cluster.nodes[new].data).expect("removed");
    }
    outcome.note = format!("it was started again {starts} times");
    cluster.end(&mut load, outcome)
}
