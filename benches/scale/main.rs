//! How fast panelsync is beside its limits, in one run: raw redb, `SQLite`, LMDB, one file per panel, a bare HTTP
//! handler; and how cost grows from 100 to 100,000 panels.
//!
//! `cargo run --release -p panelsync-scale` prints one table and writes it to `target/scale.json`.
//! `-- growth limits` runs these parts of start, growth, limits, many, latency, slow, told, http, link and listeners;
//! `-- --test` runs
//! everything once and small. Every round sends other bodies than the one before, so every item is
//! an update that is written and synced before it counts.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod contenders;
mod identifiers;
mod service;
mod slow;
mod start;

use std::time::{Duration, Instant};

use panelsync::coordinator::{Subscribe, Target};
use serde_json::{Value, json};

use contenders::{
    Actors, Contender, FilePerPanel, Lmdb, RawRedb, Sqlite, StoreAlone, operations, submit, zoned,
};
use service::Served;
use start::Held;

fn heading(text: &str) {
    println!("\n{text}\n");
}

/// One line of the table.
struct Line {
    what: String,
    value: f64,
    unit: &'static str,
    goal: Option<(char, f64)>,
}

/// All that is measured, as it comes.
#[derive(Default)]
struct Table(Vec<Line>);

impl Table {
    fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str, goal: Option<(char, f64)>) {
        let line = Line { what: what.into(), value, unit, goal };
        println!("{}", line.shown());
        self.0.push(line);
    }
}

impl Line {
    fn shown(&self) -> String {
        let Self { what, value, unit, goal } = self;
        let digits = match *value {
            ..10.0 => 2,
            ..100.0 => 1,
            _ => 0,
        };
        let goal = goal.map_or(String::new(), |(sign, goal)| {
            let met = if sign == '<' { *value <= goal } else { *value >= goal };
            let sign = if sign == '<' { "at most" } else { "at least" };
            format!("   {sign} {goal}: {}", if met { "met" } else { "NOT met" })
        });
        format!("{what:<58} {value:>10.digits$} {unit:<7}{goal}").trim_end().to_owned()
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "value": self.value, "unit": self.unit, "goal": self.goal.map(|(_, goal)| goal) })
    }
}

/// What measures some of it.
type Part = fn(&Size, &mut Table);

/// How much is measured.
struct Size {
    panels: Vec<usize>,
    items: Vec<usize>,
    middle: usize,
    rounds: usize,
    held: usize,
    seconds: f64,
}

fn main() {
    if let Some(folder) = std::env::var_os(start::FOLDER) {
        return start::child(folder.as_ref());
    }
    let size = if std::env::args().any(|arg| arg == "--test") {
        Size { panels: vec![10, 100], items: vec![1, 10], middle: 100, rounds: 1, held: 50, seconds: 0.2 }
    } else {
        Size {
            panels: vec![100, 1_000, 10_000, 100_000],
            items: vec![1, 10, 100],
            middle: 10_000,
            rounds: 7,
            held: 1000,
            seconds: 3.0,
        }
    };
    let mut table = Table::default();
    let parts: [(&str, Part); 11] = [
        ("start", start_up),
        ("growth", growth),
        ("limits", limits),
        ("identifiers", identifiers::measure),
        ("many", one_of_many),
        ("latency", latency),
        ("slow", slow_disk),
        ("told", told),
        ("http", http),
        ("link", link_call),
        ("listeners", listeners),
    ];
    let asked = |name: &str| std::env::args().any(|arg| arg == name);
    let some = parts.iter().any(|(name, _)| asked(name));
    for (_, measure) in parts.iter().filter(|(name, _)| !some || asked(name)) {
        measure(&size, &mut table);
    }
    let lines: Vec<_> = table.0.iter().map(Line::json).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/scale.json");
    std::fs::write(path, serde_json::to_vec_pretty(&lines).expect("JSON")).expect("written");
    println!("\nall of it is in target/scale.json");
}

/// Lets the disk finish with what was written before, so that nobody waits for somebody else's bytes.
fn settle() {
    let _ = std::process::Command::new("sync").status(); // without it the figures are only noisier
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Items a second of contenders that take turns, so that whatever slows the machine down slows all of them down.
fn rates<const N: usize>(
    contenders: [&mut dyn Contender; N],
    panels: usize,
    items: usize,
    rounds: usize,
) -> [f64; N] {
    let mut seconds = [const { Vec::new() }; N];
    let mut contenders = contenders;
    for variant in 0..=rounds as u64 {
        for (contender, seconds) in contenders.iter_mut().zip(&mut seconds) {
            let operations = operations(items, variant);
            settle();
            let started = Instant::now();
            contender.fan_out(operations);
            if variant > 0 {
                seconds.push(started.elapsed().as_secs_f64()); // the first one creates
            }
        }
    }
    seconds.map(|seconds| (panels * items) as f64 / median(seconds))
}

fn growth(size: &Size, table: &mut Table) {
    heading("items a second, durable, in process: through actors, and ÷ the same store without actors");
    let mut by_panels = Vec::new();
    for panels in &size.panels {
        for items in &size.items {
            let rounds = if panels * items > 1_000_000 { size.rounds.min(3) } else { size.rounds };
            let (mut actors, mut alone) = (Actors::new(*panels), StoreAlone::new(*panels));
            let [actors, alone] = rates([&mut actors, &mut alone], *panels, *items, rounds);
            let at_goal = (*panels, *items) == (size.middle, 10);
            table.add(format!("{items} × {panels}"), actors, "/s", None);
            table.add(
                format!("{items} × {panels} ÷ store"),
                actors / alone,
                "",
                at_goal.then_some(('>', 0.9)),
            );
            if *items == 10 {
                by_panels.push((*panels, actors));
            }
        }
    }
    if let (Some((_, thousand)), Some((panels, most))) =
        (by_panels.iter().find(|(panels, _)| *panels >= 1000).or(by_panels.first()), by_panels.last())
    {
        table.add(format!("10 × {panels} ÷ the rate of 10 × 1000"), most / thousand, "", Some(('>', 0.8)));
    }
}

fn limits(size: &Size, table: &mut Table) {
    let panels = size.middle;
    heading(&format!("10 × {panels}, durable, in process, ÷ what else would keep them"));
    let (mut actors, mut raw, mut sqlite, mut lmdb) =
        (Actors::new(panels), RawRedb::new(panels), Sqlite::new(panels), Lmdb::new(panels));
    let contenders: [&mut dyn Contender; 4] = [&mut actors, &mut sqlite, &mut lmdb, &mut raw];
    let [actors, sqlite, lmdb, raw] = rates(contenders, panels, 10, size.rounds);
    let files = size.middle / 10;
    let [files] = rates([&mut FilePerPanel::new(files)], files, 10, 1);
    table.add("panelsync", actors, "/s", None);
    table.add("÷ SQLite (WAL, full sync, full bodies, groups)", actors / sqlite, "", Some(('>', 5.0)));
    table.add("÷ LMDB (16-byte rows, groups)", actors / lmdb, "", Some(('>', 1.0)));
    table.add("÷ redb (full bodies, groups)", actors / raw, "", None);
    table.add("÷ one redb file and commit per panel", actors / files, "", Some(('>', 50.0)));
    let (alone, raw) = (StoreAlone::new(panels), RawRedb::new(panels));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=size.rounds.min(3) as u64 {
        let parts = || {
            let variant = |panel| (round + 1) * 1_000_000 + panel;
            (0..panels as u64).map(|panel| operations(10, variant(panel))).collect::<Vec<_>>()
        };
        let own = parts().into_iter().map(zoned).collect();
        settle();
        let started = Instant::now();
        alone.own_bodies(own);
        ours.push(started.elapsed().as_secs_f64());
        let own = parts();
        settle();
        let started = Instant::now();
        raw.own_bodies(&own);
        theirs.push(started.elapsed().as_secs_f64());
    }
    let what = "every panel its own bodies, ÷ redb insert of the same";
    table.add(what, median(theirs) / median(ours), "", Some(('>', 0.9)));
}

fn one_of_many(size: &Size, table: &mut Table) {
    let (panels, held) = (size.middle / 10, size.held);
    heading(&format!("{held} profiles held by each of {panels} panels, one changed"));
    let mut alone = StoreAlone::new(panels);
    alone.fan_out(operations(held, 0));
    let mut seconds = Vec::new();
    for round in 1..=size.rounds as u64 {
        let mut one = operations(held, round);
        one.upserts.retain(|upsert| upsert.item.link_id.as_bytes()[15] == (held / 2) as u8);
        one.upserts.truncate(1);
        settle();
        let started = Instant::now();
        alone.fan_out(one);
        seconds.push(started.elapsed().as_secs_f64());
    }
    let plain = median(RawRedb::new(panels).plain_rows(held, size.rounds as u64));
    table.add("packed, through the store", panels as f64 / median(seconds.clone()), "/s", None);
    table.add("÷ redb with plain rows of 16 bytes", plain / median(seconds), "", Some(('>', 0.9)));
}

/// What a lone change waits for while a flood is under way, and how soon a flood shows its first outcome.
fn latency(size: &Size, table: &mut Table) {
    let panels = size.middle;
    heading(&format!("a batch of one item to one panel, while 10 × {panels} to all others is under way"));
    let actors = Actors::new(panels + 1);
    let coordinator = actors.coordinator.clone();
    let flood = Target::Panels((0..panels).map(|n| format!("panel-{n:06}")).collect());
    let lone = || Target::Panels(vec![format!("panel-{panels:06}")]);
    let mut idle = Vec::new();
    let mut busy = Vec::new();
    actors.system.block_on(async {
        submit(&coordinator, flood.clone(), operations(10, 0)).await;
        for n in 0..50 {
            let started = Instant::now();
            submit(&coordinator, lone(), operations(1, n)).await;
            idle.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        let mut variant = 100;
        while busy.len() < 400 * size.rounds {
            variant += 1;
            let flooding = actix_web::rt::spawn({
                let (coordinator, flood) = (coordinator.clone(), flood.clone());
                let operations = operations(10, variant);
                async move { submit(&coordinator, flood, operations).await }
            });
            while !flooding.is_finished() {
                let operations = operations(1, busy.len() as u64 + 1000);
                let started = Instant::now();
                submit(&coordinator, lone(), operations).await;
                busy.push(started.elapsed().as_secs_f64() * 1000.0);
            }
            flooding.await.expect("it ends");
        }
    });
    let at = |times: &mut Vec<f64>, share: f64| {
        times.sort_by(f64::total_cmp);
        times[((times.len() - 1) as f64 * share) as usize]
    };
    table.add("p50 when nothing else is under way", at(&mut idle, 0.5), "ms", None);
    table.add("p50", at(&mut busy, 0.5), "ms", None);
    table.add("p99", at(&mut busy, 0.99), "ms", Some(('<', 15.0)));
    drop(actors);
    let most = *size.panels.last().expect("sizes");
    let actors = Actors::new(most);
    let coordinator = actors.coordinator.clone();
    let first = median(
        (0..size.rounds as u64)
            .map(|variant| {
                let operations = operations(10, variant);
                settle();
                actors.system.block_on(async {
                    let mut news = coordinator.send(Subscribe).await.expect("it runs").subscribe();
                    news.mark_unchanged();
                    let started = Instant::now();
                    let ended = actix_web::rt::spawn({
                        let coordinator = coordinator.clone();
                        async move { submit(&coordinator, Target::All, operations).await }
                    });
                    news.changed().await.expect("it runs");
                    let took = started.elapsed().as_secs_f64() * 1000.0;
                    ended.await.expect("it ends");
                    took
                })
            })
            .collect(),
    );
    table.add(format!("first outcome of 10 × {most}"), first, "ms", Some(('<', 10.0)));
}

/// Batches one after the other, some of them under way at once, while every sync takes long.
fn slow_disk(size: &Size, table: &mut Table) {
    let panels = size.middle * 2;
    heading(&format!("10 × {panels}, three batches under way, on a disk whose syncs take 25 ms longer"));
    let batches = if size.rounds > 1 { 8 } else { 3 };
    let (mut quiet, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds.min(3) {
        quiet.push(slow::sustained(panels, batches, Duration::ZERO));
        slow.push(slow::sustained(panels, batches, slow::SYNC));
    }
    let rates = |of: &[slow::Sustained]| median(of.iter().map(|run| run.rate).collect());
    let commits = |of: &[slow::Sustained]| median(of.iter().map(|run| run.commit).collect());
    table.add("quiet disk", rates(&quiet), "/s", None);
    table.add("quiet disk, items a commit", commits(&quiet), "", None);
    table.add("slow disk", rates(&slow), "/s", None);
    table.add("slow disk, items a commit", commits(&slow), "", None);
    table.add("slow disk ÷ quiet disk", rates(&slow) / rates(&quiet), "", Some(('>', 0.5)));
}

/// What whoever sent a batch to one panel waits for, beside the time until the batch's end is recorded.
fn told(size: &Size, table: &mut Table) {
    heading("a batch of one item to one panel: told ÷ recorded as ended");
    let batches = if size.rounds > 1 { 400 } else { 10 };
    let (told, recorded) = slow::told(batches, Duration::ZERO);
    table.add("told, p50", told, "ms", None);
    table.add("recorded, p50", recorded, "ms", None);
    table.add("told ÷ recorded, p50", told / recorded, "", Some(('<', 0.75)));
    let (told, recorded) = slow::told(batches.min(20), slow::SYNC);
    table.add("told ÷ recorded, p50, on a disk whose syncs take 25 ms longer", told / recorded, "", None);
}

fn http(size: &Size, table: &mut Table) {
    let panels = size.middle;
    heading(&format!("over HTTP: POST /fleet/v1/batches, 10 × {panels}, to the summary"));
    let served = Served::start();
    served.add_panels(panels);
    let mut actors = Actors::new(panels);
    let (mut through, mut inside) = (Vec::new(), Vec::new());
    for variant in 0..=size.rounds as u64 {
        settle();
        let (seconds, summary) = served.push(10, variant);
        assert_eq!(summary["panels"]["applied"], panels, "{summary}");
        through.push(seconds);
        let operations = operations(10, variant);
        settle();
        let started = Instant::now();
        actors.fan_out(operations);
        inside.push(started.elapsed().as_secs_f64());
    }
    drop((served, actors));
    let (through, inside) = (median(through), median(inside));
    table.add("over HTTP", (panels * 10) as f64 / through, "/s", None);
    table.add("÷ in process", inside / through, "", Some(('>', 0.7)));
}

fn listeners(size: &Size, table: &mut Table) {
    let (panels, count) = (size.middle, size.held);
    heading(&format!("over HTTP: 10 × {panels}, while {count} listen to all events"));
    let served = Served::start();
    served.add_panels(panels);
    let mut variant = 0;
    let mut round = || {
        let mut seconds = Vec::new();
        for _ in 0..=size.rounds {
            variant += 1;
            std::thread::sleep(std::time::Duration::from_secs(2)); // listeners are done with the one before
            settle();
            seconds.push(served.push(10, variant).0);
        }
        median(seconds)
    };
    let alone = round();
    let listening = served.listen(count);
    let with_listeners = round();
    let bytes = listening.stop();
    table.add("alone", alone * 1000.0, "ms", None);
    table.add(format!("with {count} listeners"), with_listeners * 1000.0, "ms", None);
    table.add("÷ alone", with_listeners / alone, "", Some(('<', 1.5)));
    table.add("what they were sent", bytes as f64 / 1e6, "MB", None);
}

fn link_call(size: &Size, table: &mut Table) {
    heading("one panel's link call, durable, ÷ a bare handler that parses the same body");
    for connections in [1, 16, 64] {
        settle();
        let (durable, bare) = service::link_calls(connections, size.seconds);
        let goal = (connections == 64).then_some(('>', 0.4));
        table.add(format!("{connections} connections"), durable, "/s", None);
        table.add(format!("{connections} connections ÷ bare"), durable / bare, "", goal);
    }
}

fn start_up(size: &Size, table: &mut Table) {
    heading("start with 10 profiles on each panel, until every actor has answered; memory above 10 panels");
    let profiles = Held { profiles: 10, identifiers: 0 };
    let (none, few) = start::start_up(10, profiles, false);
    for panels in size.panels.iter().filter(|panels| **panels >= size.middle) {
        for killed in [false, true] {
            let (ready, many) = start::start_up(*panels, profiles, killed);
            let goal = if *panels > 10_000 { 300.0 } else { 50.0 };
            let after = if killed { "after a kill" } else { "after a stop" };
            table.add(
                format!("{panels} panels, {after}, above 10 panels"),
                ready - none,
                "ms",
                Some(('<', goal)),
            );
            if !killed {
                let each = (many - few) / (*panels as f64 - 10.0);
                table.add(format!("{panels} panels, memory each"), each, "B", Some(('<', 2048.0)));
            }
        }
    }
    let (panels, identifiers) = (size.middle, Held { profiles: 2, identifiers: 100 });
    let memory = |panels| start::start_up(panels, identifiers, false).1;
    let each = (memory(panels) - memory(10)) / (panels as f64 - 10.0);
    let what = format!("{panels} panels of 2 profiles and 100 identifiers, memory each");
    table.add(what, each, "B", Some(('<', 4096.0)));
}
