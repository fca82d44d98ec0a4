//! Several nodes against one: what it costs that each commit is in PostgreSQL before it counts, how far a follower is behind,
//! and what passing on costs.
//!
//! `cargo bench --bench nodes` prints one table, of which each line begins with the number of its goal;
//! `-- 2 5` runs those goals only, `-- --test` everything once and small. It starts PostgreSQL itself, as `tests/cluster` does.
//! All nodes are processes of the real binary (`PANELSYNC_BIN` names another one than the one that was built), and so is
//! the one server without `--cluster` that does the same work in the same run, in rounds that take turns: the limit.
//! All of it, the database and whoever measures too, shares this machine. A follower takes from the same cores what it would
//! have of its own elsewhere: so what is held against one node is the leader alone, and with a follower there is a line
//! without a goal beside it.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

mod calls;
mod line;
#[path = "../tests/cluster/postgres.rs"]
#[allow(dead_code, reason = "the test needs more of it")]
mod postgres;
#[path = "../tests/cluster/process.rs"]
mod process;
mod served;
mod several;

use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use calls::{Calls, MANY, Requests, at, batch_request, calls, id, link_requests, lists, session};
use process::{free_port, send};
use served::{ITEMS, Server, median, profiles};
use several::{Several, WAIT, until};

/// Clients that have batches accepted.
const CLIENTS: usize = 8;

/// What is measured against one node.
const ALONE: &str = "leader alone ÷ one node";
const WITH_FOLLOWER: &str = "leader, and a follower on its cores, ÷ one node";

/// Profiles of a panel that gets many of its own.
const OWN: usize = 100;

/// How much is measured.
struct Size {
    panels: usize,
    most: usize,
    rounds: usize,
    seconds: f64,
}

fn main() {
    let asked = |what: &str| std::env::args().any(|arg| arg == what);
    let test = asked("--test");
    let size = if test {
        Size { panels: 100, most: 200, rounds: 1, seconds: 0.3 }
    } else {
        Size { panels: 10_000, most: 100_000, rounds: 5, seconds: 2.0 }
    };
    if let Some(missing) = postgres::missing() {
        println!("{missing}");
        std::process::exit(i32::from(!test));
    }
    let some = (0..100).any(|goal| asked(&goal.to_string()));
    let wanted = |goal: u32| !some || asked(&goal.to_string());
    let mut bench = Bench::new(size);
    println!("\n{:>4}  {:<74} {:>10}", "GOAL", "WHAT", "FIGURE");
    bench.grow(bench.size.panels);
    if wanted(2) {
        bench.alike(ALONE, Goal::Least(0.7));
    }
    if wanted(3) {
        bench.own_bodies();
    }
    if wanted(5) {
        bench.link_calls(1, ALONE, Goal::Most(1.5));
        bench.link_calls(MANY, ALONE, Goal::Least(0.7));
    }
    if wanted(6) {
        bench.accepted(false);
    }
    if [2, 4, 7, 14].into_iter().any(wanted) {
        bench.grow(bench.size.most);
    }
    if wanted(2) {
        bench.alike(ALONE, Goal::Least(0.7));
    }
    if wanted(4) {
        bench.bytes();
    }
    if [2, 5, 7, 14, 15].into_iter().any(wanted) {
        bench.several.add_follower();
        bench.several.settle();
    }
    if wanted(2) {
        bench.alike(WITH_FOLLOWER, Goal::None);
    }
    if wanted(5) {
        bench.link_calls(MANY, WITH_FOLLOWER, Goal::None);
    }
    if wanted(7) {
        bench.behind();
    }
    if wanted(14) {
        bench.new_node();
    }
    if wanted(15) {
        bench.through_follower();
    }
    if wanted(6) {
        bench.several.nodes.truncate(1);
        bench.accepted(true);
    }
}

/// A figure that is to be at least, or at most, this.
#[derive(Clone, Copy)]
enum Goal {
    Least(f64),
    Most(f64),
    None,
}

fn print(goal: u32, what: &str, value: f64, unit: &str, wanted: Goal) {
    let digits = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let said = |word: &str, goal: f64, met: bool| {
        format!("   goal {word} {goal}: {}", if met { "met" } else { "NOT met" })
    };
    let wanted = match wanted {
        Goal::Least(least) => said("at least", least, value >= least),
        Goal::Most(most) => said("at most", most, value <= most),
        Goal::None => String::new(),
    };
    let line = format!("{goal:>4}  {what:<74} {value:>10.digits$} {unit:<5}{wanted}");
    println!("{}", line.trim_end());
    let _ = std::io::stdout().flush(); // whoever watches sees each line as it comes
}

/// One server, several nodes, and who asks them.
struct Bench {
    size: Size,
    one: Server,
    several: Several,
    runtime: Runtime,
    panels: usize,
    /// Each body is another than the one before.
    variant: usize,
}

impl Bench {
    fn new(size: Size) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (one, several) = (Server::start(WAIT, &[]), Several::start());
        Self { size, one, several, runtime, panels: 0, variant: 0 }
    }

    /// Has so many panels on both.
    fn grow(&mut self, panels: usize) {
        let lines: Vec<_> = (self.panels..panels).map(|n| json!({ "id": id(n) }).to_string()).collect();
        for server in [&self.one, self.several.leader()] {
            server.post("/panels:import", "application/x-ndjson", lines.join("\n"));
        }
        self.panels = panels;
        self.variant += 1;
        let all = to_all(self.variant);
        for server in [&self.one, self.several.leader()] {
            server.push(&all, panels); // what comes later changes what is there
        }
    }

    /// Waits until followers have all, and the disk is done with what was written before: nobody is to wait for somebody else's.
    fn settle(&self) {
        self.several.settle();
        let _ = std::process::Command::new("sync").status(); // without it the figures are only noisier
    }

    fn rounds(&self) -> usize {
        if self.panels > 10_000 { self.size.rounds.min(3) } else { self.size.rounds }
    }

    fn alike(&mut self, which: &str, goal: Goal) {
        let (mut one, mut several) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds() {
            self.variant += 1;
            let batch = to_all(self.variant);
            for (server, rates) in [(&self.one, &mut one), (self.several.leader(), &mut several)] {
                self.settle();
                rates.push((self.panels * ITEMS) as f64 / server.push(&batch, self.panels));
            }
        }
        let what = format!("{ITEMS} × {}, panels alike", self.panels);
        print(2, &format!("{what}: one node"), median(one.clone()), "/s", Goal::None);
        print(2, &format!("{what}: {which}"), ratio(&several, &one), "", goal);
    }

    /// A batch to each panel, of profiles that no other has.
    fn own_bodies(&mut self) {
        for (panels, own) in [(self.size.panels, ITEMS), (self.size.panels / 10, OWN)] {
            let (mut one, mut several) = (Vec::new(), Vec::new());
            for _ in 0..self.size.rounds.min(3) {
                self.variant += 1;
                let lists = |token: &str| lists(panels, own, self.variant, token);
                for (server, rates) in [(&self.one, &mut one), (self.several.leader(), &mut several)] {
                    let lists = lists(server.token());
                    self.settle();
                    let Calls { seconds, .. } = self.runtime.block_on(calls(server.address(), &lists, None));
                    rates.push((panels * own) as f64 / seconds);
                }
            }
            let what = format!("{own} × {panels}, a batch to each panel, all its own, {MANY} at once");
            print(3, &format!("{what}: one node"), median(one.clone()), "/s", Goal::None);
            print(3, "… leader alone ÷ one node", ratio(&several, &one), "", Goal::Least(0.3));
        }
    }

    fn bytes(&mut self) {
        // What all nodes have applied is dropped at any time: then again.
        let (bytes, entries) = loop {
            self.variant += 1;
            self.settle();
            let before = self.several.last_entry();
            self.several.leader().push(&to_all(self.variant), self.panels);
            let last = self.several.last_entry();
            if let Some(bytes) = self.several.bytes_of(before, last) {
                break (bytes, last - before);
            }
        };
        let what = format!("the log of {ITEMS} × {}, panels alike, in {entries} entries", self.panels);
        print(4, &what, bytes as f64 / 1000.0, "KB", Goal::Most(300.0));
    }

    /// Link calls of the panel API to one panel, over so many connections.
    fn link(&self, at: SocketAddr, token: &str, connections: usize) -> Calls {
        let lists = vec![link_requests(token); connections];
        self.runtime.block_on(calls(at, &lists, Some(self.size.seconds)))
    }

    fn link_calls(&self, connections: usize, which: &str, goal: Goal) {
        let sessions = [&self.one, self.several.leader()].map(|server| (server.address(), session(server)));
        let (mut one, mut several) = (Vec::new(), Vec::new());
        for _ in 0..self.size.rounds {
            for ((at, token), figures) in sessions.iter().zip([&mut one, &mut several]) {
                self.settle();
                let calls = self.link(*at, token, connections);
                figures.push(if connections == 1 { calls.p50() } else { calls.rate() });
            }
        }
        let (what, unit) = match connections {
            1 => ("a link call, p50".to_owned(), "ms"),
            many => (format!("link calls, {many} connections"), "/s"),
        };
        print(5, &format!("{what}: one node"), median(one.clone()), unit, Goal::None);
        print(5, &format!("{what}: {which}"), ratio(&several, &one), "", goal);
    }

    /// Batches that are accepted, and done later, each client's to a panel of its own.
    fn accepted(&mut self, standby: bool) {
        let standby = standby.then(|| self.several.postgres.synchronous_standby(None));
        let (mut one, mut several, mut syncs, mut length) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..self.size.rounds.min(3) {
            self.variant += CLIENTS * MANY;
            self.settle();
            syncs.push(sync_ms());
            for (server, rates) in [(&self.one, &mut one), (self.several.leader(), &mut several)] {
                let requests = |client: usize| -> Requests {
                    let variants = (0..MANY).map(|n| self.variant + client * MANY + n);
                    let ask = |variant| {
                        let batch = json!({ "panels": [id(client)], "upsert": profiles(variant) });
                        batch_request(&batch, server.token(), 0)
                    };
                    Rc::new(variants.map(ask).collect())
                };
                let lists: Vec<_> = (0..CLIENTS).map(requests).collect();
                length = lists[0][0].len();
                self.settle();
                let accepted = calls(server.address(), &lists, Some(self.size.seconds));
                rates.push(self.runtime.block_on(accepted).rate());
                until_done(server);
            }
        }
        let sync = median(syncs);
        let each_s = 1000.0 / sync;
        let with = if standby.is_some() { "with a synchronous standby" } else { "leader alone" };
        let what = format!("batches of {length} bytes accepted, {CLIENTS} clients");
        print(6, "fdatasync of what was appended to a file", sync, "ms", Goal::None);
        if standby.is_none() {
            print(6, &format!("{what}: one node"), median(one.clone()), "/s", Goal::None);
        }
        let least = if standby.is_some() { 1000.0 } else { 2000.0_f64 };
        let least = if sync <= 0.5 { least } else { least.min((3.0 * each_s).round()) };
        print(6, &format!("{what}: {with}"), median(several.clone()), "/s", Goal::Least(least));
        print(6, &format!("{what}: {with} ÷ one node"), ratio(&several, &one), "", Goal::None);
    }

    fn behind(&mut self) {
        let (over, follower) = (AtomicBool::new(false), self.several.nodes[1].address());
        let (database, several) = (self.several.postgres.port, &self.several);
        let mut batches = 0;
        let behind = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(several::watch(database, follower, &over))
            });
            std::thread::sleep(Duration::from_millis(200)); // it listens
            let end = Instant::now() + Duration::from_secs_f64(self.size.seconds * 5.0);
            while Instant::now() < end {
                self.variant += 1;
                several.leader().push(&to_all(self.variant), self.panels);
                batches += 1;
            }
            over.store(true, Ordering::Relaxed);
            watching.join().expect("no panic")
        });
        let (entries, p50, p99) = (behind.len(), at(&behind, 0.5), at(&behind, 0.99));
        let what =
            format!("an entry of {batches} batches of {ITEMS} × {}, until a follower has it", self.panels);
        print(7, &format!("{what}: p50 of {entries}"), p50, "ms", Goal::None);
        print(7, &format!("{what}: p99"), p99, "ms", Goal::Most(200.0));
    }

    /// A third node comes while batches go to all panels one after the other.
    fn new_node(&mut self) {
        let over = AtomicBool::new(false);
        let (several, first) = (&self.several, self.variant + 1);
        let (seconds, batches) = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut variant = first;
                while !over.load(Ordering::Relaxed) {
                    several.leader().push(&to_all(variant), self.panels);
                    variant += 1;
                }
                variant - first
            });
            std::thread::sleep(Duration::from_millis(500));
            let started = Instant::now();
            let new = several.start_node();
            until("the new node is the same", || several.is_same(new.addresses[0]));
            let seconds = started.elapsed().as_secs_f64();
            over.store(true, Ordering::Relaxed);
            (seconds, load.join().expect("no panic"))
        });
        self.variant = first + batches;
        let what =
            format!("a new node of {} panels, during batches to all, until it is the same", self.panels);
        print(14, &what, seconds, "s", Goal::Most(30.0));
    }

    fn through_follower(&self) {
        let leader = self.several.leader();
        let (token, follower) = (session(leader), self.several.nodes[1].address());
        let (mut to_leader, mut through) = (Vec::new(), Vec::new());
        for _ in 0..self.size.rounds {
            for (at, rates) in [(leader.address(), &mut to_leader), (follower, &mut through)] {
                self.settle();
                rates.push(self.link(at, &token, MANY).rate());
            }
        }
        let what = format!("link calls, {MANY} connections");
        print(15, &format!("{what}: to the leader"), median(to_leader.clone()), "/s", Goal::None);
        let ratio = ratio(&through, &to_leader);
        print(15, &format!("{what}: through a follower ÷ to the leader"), ratio, "", Goal::Least(0.5));
    }
}

fn to_all(variant: usize) -> Value {
    json!({ "all": true, "upsert": profiles(variant) })
}

/// Waits until what clients had accepted is done.
fn until_done(server: &Server) {
    let panels: Vec<_> = (0..CLIENTS).map(id).collect();
    server.push(&json!({ "panels": panels, "upsert": profiles(0) }), CLIENTS);
}

/// The median of what each round came to.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(of.iter().zip(to).map(|(of, to)| of / to).collect())
}

/// Milliseconds until what was appended to a file is on disk, on average.
fn sync_ms() -> f64 {
    const TIMES: u32 = 200;
    let mut file = tempfile::tempfile().expect("a file");
    let started = Instant::now();
    for _ in 0..TIMES {
        file.write_all(&[7; 8192]).expect("written");
        file.sync_data().expect("synced");
    }
    started.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES)
}
