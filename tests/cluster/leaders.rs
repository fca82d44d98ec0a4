//! The leader dies, sleeps, or goes in order.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Shape, begin};
use super::load::Flow;
use super::{Outcome, RECOVERS, TTL};

/// So often within a long fault all nodes are compared.
const COMPARED_EVERY: u32 = 10;

/// So soon a node knows that it is asked to go.
const ASKED: Duration = Duration::from_millis(10);

fn a_while(most_ms: u64) {
    std::thread::sleep(Duration::from_millis(fastrand::u64(most_ms / 4..=most_ms)));
}

/// SIGKILL at a random moment, and started again at once, or when another one leads.
pub fn killed(times: u32) -> Outcome {
    kill(times, Shape::default(), 0)
}

/// The same of a large fleet, with the lead that is usual.
pub fn killed_of_many(times: u32) -> Outcome {
    kill(times, Shape { ttl: Duration::from_secs(6), ..Shape::default() }, 100_000)
}

fn kill(times: u32, shape: Shape, panels: usize) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, shape);
    cluster.client.import((0..panels).map(|n| json!({ "id": format!("further-{n:06}") })));
    for round in 0..times {
        let leader = cluster.leader();
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            a_while(600);
            let since = Instant::now();
            cluster.nodes[leader].kill();
            let dead = Instant::now();
            if round % 2 == 1 {
                cluster.nodes[leader].start();
            }
            outcome.recovered(since, flow.good_after(dead, RECOVERS));
            if round % 2 == 0 {
                cluster.nodes[leader].start();
            }
            cluster.start_all(&mut outcome);
            a_while(300);
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
        if round % COMPARED_EVERY == COMPARED_EVERY - 1 && round + 1 < times {
            cluster.compare(&mut outcome);
            cluster.start_all(&mut outcome);
        }
    }
    outcome.note = format!("{} events, their ids ascend", load.events);
    cluster.end(&mut load, outcome)
}

/// SIGSTOP for longer than the lead lasts, and SIGCONT, while all read through the old leader, too; every third time for
/// about as long as it lasts.
pub fn paused(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    for round in 0..times {
        let old = cluster.leader();
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            a_while(400);
            let since = Instant::now();
            cluster.nodes[old].pause();
            let paused = Instant::now();
            if round % 3 == 2 {
                std::thread::sleep(TTL.mul_f64(0.6 + 0.8 * fastrand::f64()));
            } else {
                let good = flow.good_after(paused, RECOVERS);
                std::thread::sleep((TTL * 3 / 2).saturating_sub(paused.elapsed()));
                outcome.recovered(since, good);
            }
            cluster.nodes[old].resume();
            std::thread::sleep(TTL);
        });
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    let (reads, refused) = load.register.reads();
    outcome.note = format!("{reads} reads through all nodes, {refused} refused");
    cluster.end(&mut load, outcome)
}

/// Answers that are no success are wrong where all goes in order; whose connection broke asks again.
fn in_order(flow: &Flow, outcome: &mut Outcome, broken: &mut u64) {
    for (status, count) in flow.errors() {
        if status == 0 {
            *broken += count;
        } else if !(400..500).contains(&status) {
            // Those are counted by the load.
            println!("{count} answers {status} though all goes in order");
            outcome.wrong += count;
        }
    }
}

/// `nodes:release`, and SIGTERM to the leader: clients wait, and that is all.
pub fn released(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let (mut broken, mut longest, mut kept) = (0, Duration::ZERO, 0);
    for round in 0..times {
        let leader = cluster.leader();
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            a_while(400);
            let since = Instant::now();
            if round % 2 == 0 {
                let asked = round as usize / 2 % cluster.nodes.len();
                let answer = cluster.client.post_to(asked, "/fleet/v1/nodes:release", &Value::Null, None);
                if answer.status != 204 {
                    outcome.is_wrong(&format!("nodes:release: {} {}", answer.status, answer.body));
                }
            } else if !cluster.nodes[leader].terminate() {
                let said = cluster.nodes[leader].said();
                outcome.is_wrong(&format!("an orderly stop does not end well: {said}"));
            }
            outcome.recovered(since, flow.good_after(since + ASKED, RECOVERS));
            cluster.start_all(&mut outcome);
            a_while(400);
            in_order(flow, &mut outcome, &mut broken);
            longest = longest.max(flow.longest());
        });
        cluster.until_all_ready(&mut outcome);
        kept += u32::from(cluster.leader() == leader);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!(
        "longest write {} ms, {broken} connections broken, {kept} times the same one led again",
        longest.as_millis()
    );
    cluster.end(&mut load, outcome)
}

/// Every node is stopped and started again, one after the other.
pub fn rolling(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let (mut broken, mut longest) = (0, Duration::ZERO);
    for _ in 0..times {
        let client = cluster.client.of_its_own();
        load.run(&client, |flow| {
            for node in 0..cluster.nodes.len() {
                a_while(400);
                let since = Instant::now();
                if !cluster.nodes[node].terminate() {
                    let said = cluster.nodes[node].said();
                    outcome.is_wrong(&format!("an orderly stop does not end well: {said}"));
                }
                outcome.recovered(since, flow.good_after(since + ASKED, RECOVERS));
                cluster.start_all(&mut outcome);
                cluster.until_all_ready(&mut outcome);
            }
            in_order(flow, &mut outcome, &mut broken);
            longest = longest.max(flow.longest());
        });
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("longest write {} ms, {broken} connections broken", longest.as_millis());
    cluster.end(&mut load, outcome)
}
