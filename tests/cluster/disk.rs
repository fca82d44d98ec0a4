//! One node's disk is full, and the others' are not.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Shape};
use super::load::Load;
use super::{Outcome, RECOVERS};

/// The leader may not write a byte more than a few: another one leads, by itself, and when there is room again the node has
/// what the others have. By turns it is a follower's disk.
pub fn full(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    let mut cluster = Cluster::start(Shape::default());
    let mut load = Load::new(cluster.nodes.len());
    load.items = 40;
    load.prepare(&cluster.client);
    let mut handed_over = 0;
    for round in 0..times {
        let leader = cluster.leader();
        let node = if round % 2 == 0 { leader } else { (leader + 1) % cluster.nodes.len() };
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            std::thread::sleep(Duration::from_millis(200));
            let since = Instant::now();
            let size = cluster.nodes[node].file_size();
            cluster.nodes[node].limit_file_size(&(size + fastrand::u64(0..65_536)).to_string());
            // Until it has no room, and then for longer than it may hesitate.
            std::thread::sleep(Duration::from_secs(3));
            let full = Instant::now();
            outcome.recovered(since, flow.good_after(full, RECOVERS));
            handed_over += u32::from(cluster.leader() != leader);
            // It has no room, and knows who leads all the same.
            let answer = client.get_from(node, "/fleet/v1/panels?limit=1");
            if !answer.is_good() {
                outcome
                    .is_wrong(&format!("the node without room answers {}: {}", answer.status, answer.body));
            }
            cluster.nodes[node].limit_file_size("unlimited");
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("another one led {handed_over} times");
    cluster.end(&mut load, outcome)
}
