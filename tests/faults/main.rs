//! The real binary under faults: what was acknowledged is there afterwards, nothing panics, others are served on, and
//! it recovers without hands.
//!
//! `cargo test --release --test faults` runs all and prints a table; `-- kill disk` runs the faults whose names begin so,
//! `-- --half` all of them half as often, `-- --few` a few times. All traffic is on loopback, every fault is bounded in number and time, and
//! only processes that were started here are ended. It ends with 1 where something was lost or panicked.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a test")]

mod full;
mod gone;
mod hostile;
mod load;
mod server;
mod site;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use load::{Client, Load, profiles};
use serde_json::json;
use server::{Limits, Server};

/// What a fault did.
#[derive(Default)]
struct Outcome {
    times: u32,
    acknowledged: u64,
    lost: u64,
    panics: u64,
    /// From the fault's end to the first good answer, the longest.
    recovery: Duration,
    note: String,
}

impl Outcome {
    fn recovered(&mut self, since: Instant) {
        self.recovery = self.recovery.max(since.elapsed());
    }
}

/// A fault, by how often it is tried.
type Fault = fn(u32) -> Outcome;

fn main() {
    let asked: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let few = std::env::args().any(|arg| arg == "--few");
    let half = std::env::args().any(|arg| arg == "--half");
    let faults: [(&str, u32, Fault); 21] = [
        ("kill under load of four writers", 50, kill),
        ("kill while the file grows", 200, kill_while_growing),
        ("disk full, and room again", 200, disk_full),
        ("folder read-only", 1, read_only),
        ("database truncated", 20, truncated),
        ("database with a flipped bit", 40, flipped),
        ("clock jumps a year, both ways", 4, clock_jumps),
        ("out of file descriptors", 5, no_descriptors),
        ("mailbox full", 5, mailbox_full),
        ("event listeners that do not read", 40, slow_listeners),
        ("clients that vanish", 300, vanishing),
        ("stop under load", 10, stop),
        ("batch reports that nobody reads", 20, slow_reports),
        ("log that cannot be written", 3, gone::log),
        ("cancel and remove on a full disk", 12, full::cancel_and_remove),
        ("folder removed, database replaced", 4, gone::folder_gone),
        ("lost key", 1, gone::key),
        ("hostile devices, compared", 3, hostile::devices),
        ("a storm of logins", 2, hostile::logins),
        ("bodies of 5 million items", 8, hostile::bodies),
        ("a site of 200 doors, both killed", 1, site::site),
    ];
    println!(
        "{:<34} {:>5} {:>12} {:>5} {:>7} {:>12}",
        "FAULT", "TIMES", "ACKNOWLEDGED", "LOST", "PANICS", "RECOVERY"
    );
    let mut bad = 0;
    for (name, times, fault) in faults {
        if !asked.is_empty() && !asked.iter().any(|word| name.starts_with(word.as_str())) {
            continue;
        }
        let Outcome { times, acknowledged, lost, panics, recovery, note } = fault(if few {
            times.min(3)
        } else if half {
            times.div_ceil(2)
        } else {
            times
        });
        let recovery =
            if recovery.is_zero() { "–".to_owned() } else { format!("{} ms", recovery.as_millis()) };
        println!("{name:<34} {times:>5} {acknowledged:>12} {lost:>5} {panics:>7} {recovery:>12}   {note}");
        let _ = std::io::stdout().flush(); // whoever watches sees each line as it comes
        bad += lost + panics;
    }
    println!("\n{} passed, {bad} failed", usize::from(bad == 0));
    std::process::exit(i32::from(bad > 0));
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Stops the server, and looks at what it leaves.
fn end(mut outcome: Outcome, load: &Load, server: &Server, data: &Path) -> Outcome {
    outcome.acknowledged = load.acknowledged();
    outcome.panics += server.panics();
    server.terminate();
    outcome.panics += consistent(data);
    outcome
}

/// SIGKILL at a random moment, again and again on one folder.
fn kill(times: u32) -> Outcome {
    let data = folder();
    let mut outcome = Outcome { times, ..Outcome::default() };
    let mut load = Load::new(3, true);
    for round in 0..times {
        let server = Server::start(data.path());
        if round == 0 {
            load.prepare(&server);
        }
        load.run(&server, Duration::from_millis(fastrand::u64(20..300)), Server::kill);
        outcome.panics += server.panics();
        let since = Instant::now();
        let server = Server::start(data.path());
        outcome.lost += load.check(&server);
        outcome.recovered(since);
        server.kill();
    }
    outcome.acknowledged = load.acknowledged();
    outcome.panics += consistent(data.path());
    outcome
}

/// The same while every write is new and large, so that the file grows, with a new folder every time.
fn kill_while_growing(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let mut grown = 0;
    for _ in 0..times {
        let data = folder();
        let mut load = Load::new(3, false);
        load.items = 60;
        let server = Server::start(data.path());
        load.prepare(&server);
        let before = file_size(data.path());
        load.run(&server, Duration::from_millis(fastrand::u64(5..120)), Server::kill);
        grown += u64::from(file_size(data.path()) > before);
        outcome.panics += server.panics();
        let since = Instant::now();
        let server = Server::start(data.path());
        outcome.lost += load.check(&server);
        outcome.recovered(since);
        server.kill();
        outcome.acknowledged += load.acknowledged();
        outcome.panics += consistent(data.path());
    }
    outcome.note = format!("the file had grown {grown} times");
    outcome
}

fn file_size(data: &Path) -> u64 {
    std::fs::metadata(data.join("panelsync.redb")).map_or(0, |file| file.len())
}

/// No byte more may be written than there are, until there is room again; in one process, three times on a folder, since
/// a file that has grown has room within.
fn disk_full(times: u32) -> Outcome {
    let mut outcome = Outcome::default();
    for _ in 0..times {
        if outcome.times >= times {
            break;
        }
        let data = folder();
        let limits = Limits { survives_full_disk: true, ..Limits::default() };
        let server = Server::start_with(data.path(), limits);
        let mut load = Load::new(3, true);
        load.items = 40;
        load.prepare(&server);
        let client = Client::admin(&server);
        for _ in 0..3 {
            load.log_in_again(&server); // which is a write, too
            let size = file_size(data.path());
            server.limit_file_size(&(size + fastrand::u64(0..65_536)).to_string());
            outcome.times += u32::from(load.run_until_refused(Duration::from_secs(3)));
            // Reading goes on: at the latest when the database is open again.
            assert!(
                client.until_good("GET", "/fleet/v1/panels", Duration::from_secs(10)),
                "reads are not served: {}",
                server.said()
            );
            server.limit_file_size("unlimited");
            let since = Instant::now();
            assert!(
                load.writes_again(&server, Duration::from_secs(20)),
                "writes do not go on when there is room: {}",
                server.said()
            );
            outcome.recovered(since);
            outcome.lost += load.check(&server);
        }
        outcome.acknowledged += load.acknowledged();
        outcome.panics += server.panics();
        server.kill();
        let server = Server::start(data.path());
        outcome.lost += load.check(&server);
        outcome.panics += server.panics();
        server.kill();
        outcome.panics += consistent(data.path());
    }
    "in one process, without a restart".clone_into(&mut outcome.note);
    outcome
}

/// A folder that cannot be written is a clear error.
fn read_only(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    for _ in 0..times {
        let data = folder();
        let Some((exit, said)) = Server::refused_for_nobody(data.path()) else {
            "skipped: it needs root and setpriv".clone_into(&mut outcome.note);
            return outcome;
        };
        outcome.panics += u64::from(said.contains("panicked"));
        assert_eq!(exit, Some(2), "{said}");
        assert!(said.contains("cannot be used") || said.contains("cannot be opened"), "{said}");
        outcome.note = format!(
            "\"{}\"",
            said.lines().last().unwrap_or_default().replace(&data.path().display().to_string(), "DIR")
        );
    }
    outcome
}

/// A folder with profiles on some panels, of a server that was stopped.
fn filled(load: &mut Load) -> tempfile::TempDir {
    let data = folder();
    let server = Server::start(data.path());
    load.items = 20;
    load.prepare(&server);
    load.run(&server, Duration::from_millis(300), Server::terminate);
    data
}

/// Of a cut file nothing is served as if it were whole.
fn truncated(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let mut load = Load::new(3, true);
    let data = filled(&mut load);
    let whole = std::fs::read(data.path().join("panelsync.redb")).expect("readable");
    let mut refused = 0;
    for _ in 0..times {
        let length = fastrand::usize(0..whole.len());
        std::fs::write(data.path().join("panelsync.redb"), &whole[..length]).expect("written");
        match Server::try_start(data.path()) {
            Ok(server) => {
                // An empty file is a new database; what is left of another must be all there.
                if length > 0 {
                    outcome.lost += load.check(&server);
                }
                outcome.panics += server.panics();
                server.kill();
            }
            Err((exit, said)) => {
                refused += 1;
                outcome.panics += u64::from(said.contains("panicked"));
                assert_eq!(exit, Some(2), "{said}");
            }
        }
    }
    std::fs::write(data.path().join("panelsync.redb"), &whole).expect("written");
    let server = Server::start(data.path());
    outcome.lost += load.check(&server);
    server.kill();
    outcome.acknowledged = load.acknowledged();
    outcome.note = format!("refused with a clear error {refused} times");
    outcome
}

/// A bit that the disk turned, where something stands: refused, or of no matter, or found by the doctor. What is asked
/// for meanwhile is answered or is an error, and never the end of the process.
fn flipped(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let mut load = Load::new(3, true);
    let data = filled(&mut load);
    let path = data.path().join("panelsync.redb");
    let whole = std::fs::read(&path).expect("readable");
    let live: Vec<_> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let (mut refused, mut unharmed, mut found) = (0, 0, 0);
    for _ in 0..times {
        let mut bytes = whole.clone();
        bytes[live[fastrand::usize(0..live.len())]] ^= 1 << fastrand::u8(0..8);
        std::fs::write(&path, &bytes).expect("written");
        let doctor = Server::doctor(data.path());
        std::fs::write(&path, &bytes).expect("written"); // the doctor may have put it right
        match Server::try_start(data.path()) {
            Ok(server) => {
                if load.differs(&server) == 0 {
                    unharmed += 1;
                } else if doctor["verdict"] == "ok" {
                    outcome.lost += 1;
                } else {
                    found += 1;
                }
                outcome.panics += server.panics();
                server.kill();
            }
            Err((exit, said)) => {
                refused += 1;
                outcome.panics += u64::from(said.contains("panicked"));
                assert!(exit.is_some_and(|exit| exit == 1 || exit == 2), "{exit:?}: {said}");
            }
        }
    }
    std::fs::write(&path, &whole).expect("written");
    outcome.acknowledged = load.acknowledged();
    outcome.note = format!("{refused} refused, {unharmed} of no matter, {found} found by the doctor");
    outcome
}

/// The wall clock jumps while work goes on.
fn clock_jumps(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let clock = folder();
    let clock_file = clock.path().join("clock");
    std::fs::write(&clock_file, "+0").expect("written");
    let limits = Limits { clock: Some(clock_file.clone()), ..Limits::default() };
    if !Limits::clock_can_be_faked() {
        "skipped: it needs libfaketime (Debian: faketime)".clone_into(&mut outcome.note);
        return outcome;
    }
    let server = Server::start_with(data.path(), limits);
    let mut load = Load::new(3, true);
    load.prepare(&server);
    for n in 0..times {
        std::fs::write(&clock_file, ["+370d", "+0", "-370d", "+0"][n as usize % 4]).expect("written");
        let since = Instant::now();
        std::thread::sleep(Duration::from_millis(50));
        load.log_in_again(&server);
        assert!(load.writes_again(&server, Duration::from_secs(10)), "writes stop when the clock jumps");
        outcome.recovered(since);
        load.run(&server, Duration::from_millis(300), |_| {});
        outcome.lost += load.check(&server);
    }
    end(outcome, &load, &server, data.path())
}

/// More connections than files may be open; who is connected is served on.
fn no_descriptors(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let server = Server::start_with(data.path(), Limits { open_files: Some(64), ..Limits::default() });
    let mut load = Load::new(2, false);
    load.prepare(&server);
    let connected = Client::admin(&server);
    for _ in 0..times {
        assert!(connected.good("GET", "/fleet/v1/panels"), "before");
        let idle: Vec<_> = (0..150).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
        std::thread::sleep(Duration::from_millis(200));
        assert!(connected.good("GET", "/fleet/v1/panels"), "whoever is connected is served on");
        drop(idle);
        let since = Instant::now();
        let anew = Client::new(&server);
        assert!(
            anew.until_good("GET", "/healthz", Duration::from_secs(30)),
            "new connections are taken again"
        );
        outcome.recovered(since);
        load.run(&server, Duration::from_millis(200), |_| {});
        outcome.lost += load.check(&server);
    }
    end(outcome, &load, &server, data.path())
}

/// A thousand calls at once to one panel, whose mailbox has room for a few: each is answered, with 200 or 503.
fn mailbox_full(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let server = Server::start(data.path());
    let admin = Client::admin(&server);
    admin.post("/fleet/v1/panels", &json!({ "id": "one" }));
    let (mut good, mut busy) = (0_u64, 0_u64);
    for round in 0..times {
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..100_u32)
                .map(|thread| {
                    let mut client = Client::new(&server);
                    client.log_in_to("one");
                    scope.spawn(move || {
                        let path = "/panels/one/api/v1/access/timeprofile/items/link";
                        (0..10_u32)
                            .map(|n| client.post(path, &profiles(1, thread * 10 + n, u64::from(round))).0)
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("the clients")).collect()
        });
        good += answers.iter().filter(|status| **status == 200).count() as u64;
        busy += answers.iter().filter(|status| **status == 503).count() as u64;
        assert_eq!(answers.iter().filter(|status| ![200, 503].contains(*status)).count(), 0, "{answers:?}");
        assert!(admin.good("GET", "/healthz"));
    }
    outcome.acknowledged = good;
    let held = admin.get("/fleet/v1/panels/one")["state"]["profiles"].as_u64().unwrap_or(0);
    outcome.lost = if busy == 0 { 1000_u64.saturating_sub(held) } else { u64::from(held == 0) };
    outcome.panics += server.panics();
    server.terminate();
    outcome.panics += consistent(data.path());
    outcome.note = format!("{busy} were told to come back");
    outcome
}

/// Connections to the events that are never read, while batches run.
fn slow_listeners(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let server = Server::start(data.path());
    let mut load = Load::new(3, true);
    load.prepare(&server);
    let token = Client::admin(&server).token().to_owned();
    let listeners: Vec<_> = (0..times)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("connected");
            let head =
                format!("GET /fleet/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        })
        .collect();
    let before = server.memory();
    load.run(&server, Duration::from_secs(5), |_| {});
    let after = server.memory();
    outcome.lost += load.check(&server);
    outcome.acknowledged = load.acknowledged();
    drop(listeners);
    outcome.panics += server.panics();
    server.terminate();
    outcome.panics += consistent(data.path());
    outcome.note = format!("memory {} MiB before, {} MiB after", before >> 20, after >> 20);
    outcome
}

/// Requests whose senders are gone before the answer, or before the end of the body.
fn vanishing(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let server = Server::start(data.path());
    let mut load = Load::new(3, true);
    load.prepare(&server);
    let token = Client::admin(&server).token().to_owned();
    let address = server.address;
    load.run(&server, Duration::from_secs(3), |_| {
        for n in 0..times {
            let body = json!({ "all": true, "upsert": profiles(5, 9000, u64::from(n))["list_items"] }).to_string();
            let request = format!(
                "POST /fleet/v1/batches HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let sent = if n % 2 == 0 { request.len() } else { fastrand::usize(1..request.len()) };
            if let Ok(mut stream) = TcpStream::connect(address) {
                let _ = stream.write_all(&request.as_bytes()[..sent]); // it leaves either way
            }
        }
    });
    outcome.lost += load.check(&server);
    outcome.acknowledged = load.acknowledged();
    let since = Instant::now();
    let admin = Client::admin(&server);
    while admin.get("/fleet/v1/batches?limit=1000")["items"].to_string().contains("\"running\"") {
        assert!(since.elapsed() < Duration::from_secs(30), "a batch whose sender is gone does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    outcome.panics += server.panics();
    server.terminate();
    outcome.panics += consistent(data.path());
    outcome
}

/// SIGTERM in the middle of work: what is under way is answered, and the exit code is 0.
fn stop(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let mut load = Load::new(3, true);
    let mut longest = Duration::ZERO;
    for round in 0..times {
        let server = Server::start(data.path());
        if round == 0 {
            load.prepare(&server);
        }
        let mut exit = None;
        load.run(&server, Duration::from_millis(fastrand::u64(50..300)), |running| {
            let began = Instant::now();
            running.terminate();
            exit = running.exit();
            longest = longest.max(began.elapsed());
        });
        assert_eq!(exit, Some(0), "an ordered stop");
        outcome.panics += server.panics();
        let since = Instant::now();
        let server = Server::start(data.path());
        outcome.lost += load.check(&server);
        outcome.recovered(since);
        server.kill();
    }
    outcome.acknowledged = load.acknowledged();
    outcome.panics += consistent(data.path());
    outcome.note = format!("a stop took {} ms at most", longest.as_millis());
    outcome
}

/// Whole reports of a batch over many panels, asked for and not read.
fn slow_reports(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let data = folder();
    let server = Server::start(data.path());
    let admin = Client::admin(&server);
    let lines: Vec<_> = (0..20_000).map(|n| json!({ "id": format!("p{n}") }).to_string()).collect();
    admin.post_lines("/fleet/v1/panels:import", &lines.join("\n"));
    let batch = json!({ "all": true, "upsert": profiles(10, 0, 1)["list_items"] });
    let (status, answer) = admin.post("/fleet/v1/batches", &batch);
    assert_eq!(status, 200, "{answer}");
    let id = answer["id"].as_str().expect("an id").to_owned();
    let before = server.memory();
    let readers: Vec<_> = (0..times)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("connected");
            let head = format!(
                "GET /fleet/v1/batches/{id}/panels HTTP/1.1\r\nhost: x\r\naccept: application/x-ndjson\r\nauthorization: Bearer {}\r\n\r\n",
                admin.token()
            );
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let unread = server.memory();
    let lines = admin.lines(&format!("/fleet/v1/batches/{id}/panels"));
    let read = server.memory();
    outcome.acknowledged = 20_000;
    outcome.lost = 20_000_u64.abs_diff(lines);
    drop(readers);
    outcome.panics += server.panics();
    server.terminate();
    let mib = |bytes: u64| bytes >> 20;
    outcome.note = format!("20,000 lines; memory {}, {} and {} MiB", mib(before), mib(unread), mib(read));
    outcome
}

/// Reads the whole database and holds its tables against each other. Gives 1 where that is not as it should be.
fn consistent(data: &Path) -> u64 {
    let said = Server::doctor(data);
    let good = said["verdict"] == "ok";
    if !good {
        println!("the database is not as it should be: {said}");
    }
    u64::from(!good)
}
