//! The wall clock of one node jumps. No lead looks at it.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Shape};
use super::load::Load;
use super::{Outcome, RECOVERS, TTL, node};

/// Of a node that leads: sessions last for longer.
const JUMPS: [&str; 4] = ["+50m", "+0", "-50m", "+0"];

/// Of one that follows, who judges no session.
const LONG_JUMPS: [&str; 4] = ["+370d", "+0", "-370d", "+0"];

pub fn jumps(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    if !node::clock_can_be_faked() {
        "skipped: it needs libfaketime (Debian: faketime)".clone_into(&mut outcome.note);
        return outcome;
    }
    let mut cluster = Cluster::start(Shape { clock: true, ..Shape::default() });
    let mut load = Load::new(cluster.nodes.len());
    load.prepare(&cluster.client);
    let mut changes = 0;
    for round in 0..times as usize {
        let leader = cluster.leader();
        let jumps = if leader == 0 { JUMPS } else { LONG_JUMPS };
        // As long as its clock was never wrong, it is the first that leads; later it follows for some rounds.
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            std::thread::sleep(Duration::from_millis(200));
            let since = Instant::now();
            cluster.nodes[0].set_clock(jumps[round % jumps.len()]);
            std::thread::sleep(Duration::from_millis(20));
            outcome.recovered(since, flow.good_after(Instant::now(), RECOVERS));
            std::thread::sleep(TTL * 4 / 3);
        });
        changes += u32::from(cluster.leader() != leader);
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
        if round + 1 == times as usize / 2 {
            cluster.nodes[0].set_clock("+0");
            cluster.client.post("/fleet/v1/nodes:release", &serde_json::Value::Null);
            cluster.until_all_ready(&mut outcome);
        }
    }
    if changes > 0 {
        outcome.is_wrong(&format!("another node led {changes} times because a clock jumped"));
    }
    cluster.end(&mut load, outcome)
}
