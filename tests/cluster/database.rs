//! The database dies, fails over, or has an entry that it did not get so.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Shape, begin};
use super::load::Load;
use super::postgres::{NAME, Postgres};
use super::{Outcome, RECOVERS, TTL};

/// SIGKILL to the database that takes writes, while writers write, until one is there again by `mended`. Gives how long after
/// that a write was acknowledged.
fn outage(
    cluster: &mut Cluster,
    load: &mut Load,
    outcome: &mut Outcome,
    mended: impl FnOnce(&mut Vec<Postgres>),
) -> Duration {
    let client = cluster.client.of_its_own();
    let mut after = Duration::ZERO;
    load.run(&client, |flow| {
        std::thread::sleep(Duration::from_millis(fastrand::u64(100..500)));
        let since = Instant::now();
        cluster.databases[0].kill();
        let dead = Instant::now();
        mended(&mut cluster.databases);
        let there = Instant::now();
        let good = flow.good_after(dead, RECOVERS);
        after = good.map_or(RECOVERS, |good| good.saturating_duration_since(there));
        outcome.recovered(since, good);
        std::thread::sleep(Duration::from_millis(300));
    });
    after
}

/// SIGKILL to all its processes, and started again: soon, or after longer than the lead lasts.
pub fn killed(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let mut after = Duration::ZERO;
    for round in 0..times {
        after = after.max(outage(&mut cluster, &mut load, &mut outcome, |databases| {
            std::thread::sleep(if round % 2 == 0 {
                Duration::from_millis(fastrand::u64(0..800))
            } else {
                TTL * 3 / 2
            });
            databases[0].start();
        }));
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("written {} ms after the database was there again", after.as_millis());
    cluster.end(&mut load, outcome)
}

/// The one that takes writes is killed, and its synchronous standby promoted; then it gets a standby of its own.
pub fn fails_over(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape { standby: true, ..Shape::default() });
    let mut after = Duration::ZERO;
    for _ in 0..times {
        after = after.max(outage(&mut cluster, &mut load, &mut outcome, |databases| databases[1].promote()));
        let lost = cluster.databases.remove(0).port;
        let standby = cluster.databases[0].synchronous_standby(Some(lost));
        cluster.databases.push(standby);
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("written {} ms after the standby was promoted", after.as_millis());
    cluster.end(&mut load, outcome)
}

/// A bit of an entry is turned in the database before a node reads it: the node stops at it and names it, and has never
/// anything else than the others. The others, who have read it, go on.
pub fn turned_bit(times: u32) -> Outcome {
    let (mut outcome, mut cluster, mut load) = begin(times, Shape::default());
    let mut copied = 0;
    for _ in 0..times {
        let client = cluster.client.of_its_own();
        load.run(&client, |_| std::thread::sleep(Duration::from_millis(200)));
        assert!(cluster.until_same(), "before: {:?}", cluster.listed());
        let follower = cluster.follower();
        cluster.nodes[follower].terminate();
        let applied = cluster.applied_by(follower, &mut outcome);
        load.run(&client, |_| std::thread::sleep(Duration::from_millis(400)));
        let entry = turn_bit(&cluster, applied);

        let said = cluster.nodes[follower].said_so_far();
        cluster.nodes[follower].start();
        let since = Instant::now();
        let names_it = |cluster: &Cluster| cluster.nodes[follower].said_since(said).contains(&entry);
        while !names_it(&cluster) && since.elapsed() < RECOVERS {
            std::thread::sleep(Duration::from_millis(50));
        }
        if !names_it(&cluster) {
            let said = cluster.nodes[follower].said_since(said);
            outcome.is_wrong(&format!("it does not name the entry {entry}: {said}"));
        }
        outcome.recovered(since, load.run(&client, |flow| flow.good_after(Instant::now(), RECOVERS)));

        // Perhaps it copies all again; else it is not ready, and a person empties its folder.
        std::thread::sleep(TTL);
        if cluster.nodes[follower].probe("readyz") == 200 && cluster.until_same() {
            copied += 1;
        } else {
            cluster.nodes[follower].kill();
            std::fs::remove_dir_all(&cluster.nodes[follower].data).expect("removed");
            cluster.start_all(&mut outcome);
        }
        cluster.until_all_ready(&mut outcome);
        load.check(&cluster.client, &mut outcome);
    }
    outcome.note = format!("{copied} copied all again by themselves");
    cluster.end(&mut load, outcome)
}

/// Of one of the entries after this one, which is named.
fn turn_bit(cluster: &Cluster, after: u64) -> String {
    let postgres = &cluster.databases[0];
    let pick = format!(
        "select number, length(body) from {NAME}.commits where number > {after} order by random() limit 1"
    );
    let picked = postgres.sql(NAME, &pick);
    let (entry, length) = picked.split_once('|').expect("there is one");
    let at = fastrand::usize(0..length.parse().expect("a number"));
    let bit = 1 << fastrand::u8(0..8);
    postgres.sql(
        NAME,
        &format!(
            "update {NAME}.commits set body = set_byte(body, {at}, get_byte(body, {at}) # {bit}) where number = {entry}"
        ),
    );
    entry.to_owned()
}
