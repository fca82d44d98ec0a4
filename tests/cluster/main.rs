//! Three real nodes and a real PostgreSQL under faults: what was acknowledged is there afterwards, the whole durable
//! state is the same on all nodes byte for byte, nothing panics, and it recovers without hands.
//!
//! `cargo test --release --test cluster` runs all and prints a table; `-- leader database` runs the faults whose names
//! begin so, `-- --few` all of them a few times, `-- --times=7` each so often. `PANELSYNC_BIN` names another binary than the one that was built.
//! `RUST_LOG` is what the nodes log; `PANELSYNC_SHOW_ERRORS` prints what writers are answered that is no success.
//!
//! It starts PostgreSQL itself, in a temporary folder, as `postgres` or `nobody` where it runs as root. All traffic is on
//! loopback, every fault is bounded in number and time, and only processes that were started here are ended. It ends with
//! 1 where something was lost, unequal, wrong or panicked, and where there is no PostgreSQL.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a test")]

mod alerts;
mod client;
mod clocks;
mod cluster;
mod database;
mod devices;
mod disk;
mod harness;
mod leaders;
mod lines;
mod listener;
mod load;
mod members;
mod node;
mod older;
mod postgres;
mod process;
mod proxy;
mod refused;
mod register;
mod undo;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use process::{free_port, send};

/// After so long without a sign of life another node leads.
const TTL: Duration = Duration::from_secs(3);

/// After whatever is done to them, writes are acknowledged again within this time.
const RECOVERS: Duration = Duration::from_secs(40);

/// What a fault did.
#[derive(Default)]
struct Outcome {
    times: u32,
    acknowledged: u64,
    lost: u64,
    /// Answers and behaviour that nobody should see, each printed.
    wrong: u64,
    panics: u64,
    /// Comparisons of all nodes in which one was not like the others.
    unequal: u64,
    /// From the fault's begin to the first write that was sent later and acknowledged, the longest.
    recovery: Duration,
    note: String,
}

impl Outcome {
    fn of(times: u32) -> Self {
        Self { times, ..Self::default() }
    }

    /// When a write was acknowledged again, if it was.
    fn recovered(&mut self, since: Instant, good: Option<Instant>) {
        match good {
            Some(good) => self.recovery = self.recovery.max(good.saturating_duration_since(since)),
            None => self.is_wrong(&format!("no write is acknowledged within {RECOVERS:?}")),
        }
    }

    fn is_wrong(&mut self, what: &str) {
        println!("{what}");
        self.wrong += 1;
    }

    fn bad(&self) -> u64 {
        self.lost + self.wrong + self.panics + self.unequal
    }
}

/// A fault, by how often it is tried.
type Fault = fn(u32) -> Outcome;

fn main() {
    let asked: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let few = std::env::args().any(|arg| arg == "--few");
    let times_asked = std::env::args().find_map(|arg| arg.strip_prefix("--times=")?.parse::<u32>().ok());
    if let Some(missing) = postgres::missing() {
        println!("{missing}");
        std::process::exit(1);
    }
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    // How often; and how often with --few.
    let faults: [(&str, u32, u32, Fault); 25] = [
        ("harness: database, standby, lines", 3, 1, harness::harness),
        ("leader killed", 50, 3, leaders::killed),
        ("leader of 100,000 panels killed", 50, 0, leaders::killed_of_many),
        ("leader paused", 20, 2, leaders::paused),
        ("leader released, stopped", 10, 2, leaders::released),
        ("rolling restart", 3, 1, leaders::rolling),
        ("database killed", 20, 2, database::killed),
        ("database fails over", 10, 1, database::fails_over),
        ("database put back", 20, 1, older::put_back),
        ("entry with a turned bit", 10, 1, database::turned_bit),
        ("line leader to database", 20, 2, lines::leader_to_database),
        ("line follower to database", 20, 1, lines::follower_to_database),
        ("line node to leader", 20, 2, lines::node_to_leader),
        ("lines that are slow", 4, 1, lines::slow),
        ("follower away for long", 3, 1, members::away),
        ("follower killed", 20, 1, members::follower_killed),
        ("all nodes killed", 10, 1, members::all_killed),
        ("new node under load", 3, 1, members::new_node),
        ("copy of a new node broken", 12, 3, members::copy_broken),
        ("refused: name, key, fleet", 4, 4, refused::refused),
        ("devices, leader gone", 21, 2, devices::leader_goes),
        ("undo, leader gone", 10, 2, undo::leader_goes),
        ("disk of one node full", 6, 1, disk::full),
        ("clock jumps", 8, 2, clocks::jumps),
        ("alerts, and nobody leads", 3, 1, alerts::told),
    ];
    println!(
        "{:<34} {:>5} {:>12} {:>5} {:>6} {:>7} {:>8} {:>10}",
        "FAULT", "TIMES", "ACKNOWLEDGED", "LOST", "WRONG", "PANICS", "UNEQUAL", "RECOVERY"
    );
    let (mut bad, began) = (0, Instant::now());
    for (name, times, few_times, fault) in faults {
        if !asked.is_empty() && !asked.iter().any(|word| name.starts_with(word.as_str())) {
            continue;
        }
        let times = times_asked.unwrap_or(if few { few_times } else { times });
        if times == 0 {
            continue;
        }
        let began = Instant::now();
        // What does not even come to its end is a line of the table like the others.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| fault(times))).unwrap_or_else(|_| {
            let note = "did not come to its end: see above".to_owned();
            Outcome { times, wrong: 1, note, ..Outcome::default() }
        });
        bad += outcome.bad();
        let Outcome { times, acknowledged, lost, wrong, panics, unequal, recovery, note } = outcome;
        let recovery =
            if recovery.is_zero() { "–".to_owned() } else { format!("{} ms", recovery.as_millis()) };
        println!(
            "{name:<34} {times:>5} {acknowledged:>12} {lost:>5} {wrong:>6} {panics:>7} {unequal:>8} {recovery:>10}   {note} ({} s)",
            began.elapsed().as_secs()
        );
        let _ = std::io::stdout().flush(); // whoever watches sees each line as it comes
    }
    println!("\n{} passed, {bad} failed, in {} s", usize::from(bad == 0), began.elapsed().as_secs());
    std::process::exit(i32::from(bad > 0));
}
