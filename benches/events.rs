//! What happens at a thousand doors, told to the Link receiver while profiles go out to ten thousand panels: what that
//! costs the fan-out, beside the same run without events.
//!
//! `cargo bench --bench events` prints it; `-- --test` does everything once and small. The server, the devices that tell
//! and the simulated panels behind them are processes of their own. In rounds that take turns, fan-outs follow one another
//! without a pause: alone; while the devices tell a process that answers 200 to everything at once; and while they tell
//! the server, which keeps it durably first. The second shows what the devices themselves take of the two cores, so that
//! the third beside it shows what the server's receiving costs.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench")]

mod doors;
mod line;
mod served;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use doors::{Aside, EVENTS, Told, medians};
use served::{ITEMS, Running, Server, cards, median, profiles};

/// Cards that each device knows.
const CARDS: usize = 100;

/// How much is measured.
struct Size {
    devices: usize,
    panels: usize,
    rounds: usize,
    seconds: f64,
    /// Events that are there before, which is also how many are kept: each that comes pushes one out.
    kept: usize,
}

/// What one round came to.
#[derive(Default)]
struct Rounds {
    /// Items of fan-outs a second.
    rates: Vec<f64>,
    /// Of two cores, what the server took, and what those took who tell and are told.
    server: Vec<f64>,
    aside: Vec<f64>,
    told: Vec<Told>,
}

fn main() {
    if doors::is_child() {
        return;
    }
    let size = if std::env::args().any(|arg| arg == "--test") {
        Size { devices: 50, panels: 200, rounds: 1, seconds: 1.5, kept: 5_000 }
    } else {
        Size { devices: 1_000, panels: 10_000, rounds: 7, seconds: 4.0, kept: 1_000_000 }
    };
    let Size { devices, panels, rounds, .. } = size;
    println!(
        "\n{} events a second from {devices} devices, each {EVENTS} in a packet a second,",
        devices * EVENTS
    );
    println!(
        "while {ITEMS} profiles go to each of {panels} panels again and again; {rounds} rounds that take turns"
    );
    let fleet = Fleet::start(&size);
    let (taker, its) = Aside::taker();
    let mut to_taker = Aside::devices(its, &fleet.serials, CARDS);
    let mut to_server = Aside::devices(fleet.server.running.addresses[0], &fleet.serials, CARDS);
    to_server.tell_backlog(size.kept);
    let [mut alone, mut beside, mut with] = [const { Rounds::new() }; 3];
    let mut variant = 0;
    fleet.fan_outs(&mut variant, 1.0); // the first ones create
    for _ in 0..rounds {
        fleet.round(&mut alone, &mut variant, &size, &mut [], &[]);
        fleet.round(&mut beside, &mut variant, &size, &mut [&mut to_taker], &[taker.id()]);
        fleet.round(&mut with, &mut variant, &size, &mut [&mut to_server], &[]);
    }
    println!("\n{:<42} {:>10} {:>12} {:>12}", "", "items/s", "CPU, server", "CPU, devices");
    for (what, rounds) in [
        ("the fan-out alone", &alone),
        ("… while devices tell one that takes all", &beside),
        ("… while they tell the server", &with),
    ] {
        let cpu = |of: &[f64]| format!("{:.0} %", median(of.to_vec()) * 100.0);
        let (server, aside) = (cpu(&rounds.server), cpu(&rounds.aside));
        println!("{what:<42} {:>10.0} {server:>12} {aside:>12}", median(rounds.rates.clone()));
    }
    for (what, rounds) in [("told and taken at once", &beside), ("told, kept and on disk", &with)] {
        let Told { events, p50, p99 } = medians(&rounds.told);
        println!("{what:<42} {events:>10.0} /s, a packet's answer p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
    let ratio =
        |of: &Rounds, to: &Rounds| median(of.rates.iter().zip(&to.rates).map(|(of, to)| of / to).collect());
    let (costs, all) = (ratio(&with, &beside), ratio(&with, &alone));
    println!("the fan-out while the server receives ÷ while another does: {costs:.2} (goal: at least 0.8)");
    println!("the same ÷ alone, so that the devices' own share of two cores counts too: {all:.2}");
}

impl Rounds {
    const fn new() -> Self {
        Self { rates: Vec::new(), server: Vec::new(), aside: Vec::new(), told: Vec::new() }
    }
}

/// The server with its embedded panels, and devices of others.
struct Fleet {
    server: Server,
    serials: Vec<String>,
    panels: usize,
    _simulated: Running,
    _password: tempfile::NamedTempFile,
}

impl Fleet {
    fn start(size: &Size) -> Self {
        let password = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(password.path(), doors::PASSWORD).expect("written");
        let simulated = Running::devices(size.devices, &[]);
        let (path, kept) = (password.path().to_string_lossy(), size.kept.to_string());
        let args = ["--link-password-file", &*path, "--keep-events-number", &*kept, "--check-every", "30m"];
        let server = Server::start(300, &args);
        server.add(&simulated, size.devices);
        let wanted = json!({ "selector": "driver=http", "upsert": profiles(0), "identifiers": { "upsert": cards(CARDS) } });
        server.push(&wanted, size.devices);
        let serials =
            (0..size.devices.div_ceil(1000)).map(|_| server.get("/panels?selector=driver%3Dhttp&limit=1000"));
        let serial =
            |panel: &Value| panel["state"]["device"]["serial"].as_str().expect("a serial number").to_owned();
        let serials: Vec<_> = serials
            .flat_map(|page| page["items"].as_array().expect("a list").iter().map(serial).collect::<Vec<_>>())
            .collect();
        assert_eq!(serials.len(), size.devices);
        let lines: Vec<_> =
            (0..size.panels).map(|n| json!({ "id": format!("panel-{n:06}") }).to_string()).collect();
        server.post("/panels:import", "application/x-ndjson", lines.join("\n"));
        Self { server, serials, panels: size.panels, _simulated: simulated, _password: password }
    }

    /// Fan-outs one after the other for so many seconds; items a second.
    fn fan_outs(&self, variant: &mut usize, seconds: f64) -> f64 {
        let (mut items, mut took) = (0, 0.0);
        while took < seconds {
            *variant += 1;
            let batch = json!({ "selector": "driver=embedded", "upsert": profiles(*variant) });
            took += self.server.push(&batch, self.panels);
            items += self.panels * ITEMS;
        }
        items as f64 / took
    }

    /// Fan-outs while these tell; `others` take part in that.
    fn round(
        &self,
        rounds: &mut Rounds,
        variant: &mut usize,
        size: &Size,
        telling: &mut [&mut Aside],
        others: &[u32],
    ) {
        let _ = std::process::Command::new("sync").status(); // without it the figures are only noisier
        for telling in telling.iter_mut() {
            telling.begin();
        }
        std::thread::sleep(Duration::from_millis(1200)); // every device has told once
        let aside =
            || -> f64 { telling.iter().map(|aside| aside.id()).chain(others.iter().copied()).map(cpu).sum() };
        let server = || cpu(self.server.running.child.id());
        let (started, server_before, aside_before) = (Instant::now(), server(), aside());
        rounds.rates.push(self.fan_outs(variant, size.seconds));
        let cores = 2.0 * started.elapsed().as_secs_f64();
        rounds.server.push((server() - server_before) / cores);
        rounds.aside.push((aside() - aside_before) / cores);
        rounds.told.extend(telling.iter_mut().map(|telling| telling.end()));
    }
}

/// Seconds that a process has computed; NaN where the system does not tell it.
fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |n: usize| after_name.split_whitespace().nth(n)?.parse::<f64>().ok();
    ticks(11).zip(ticks(12)).map_or(f64::NAN, |(user, system)| (user + system) / 100.0)
}
