//! What the server stands on goes away under it: its log, its folder, its key.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Client, Load, profiles};
use super::server::{BINARY, Limits, Server};
use super::{Outcome, consistent, end, folder};

/// A log on a full disk, into a pipe that nobody holds, and into one that nobody reads.
pub fn log(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    for n in 0..times {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (log, kept) = match n % 3 {
            0 => (OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into(), None),
            1 => (Stdio::from(writer), None),
            _ => (Stdio::from(writer), Some(reader)),
        };
        let data = folder();
        let server = Server::start_with(data.path(), Limits { log: Some(log), ..Limits::default() });
        let mut load = Load::new(3, true);
        load.prepare(&server);
        load.run(&server, Duration::from_millis(1500), |_| {});
        let since = Instant::now();
        if !Client::new(&server).until_good("GET", "/readyz", Duration::from_secs(10)) {
            println!("it is not ready with log {n}");
            outcome.lost += 1;
        }
        if !load.writes_again(&server, Duration::from_secs(10)) {
            println!("writes stop with log {n}");
            outcome.lost += 1;
        }
        outcome.recovered(since);
        outcome.lost += load.check(&server);
        outcome.acknowledged += load.acknowledged();
        // What it says is not there to be read; that it ends when it is asked to says that nothing panicked.
        if !server.ends_within(Duration::from_secs(30)) {
            println!("it does not end well with log {n}");
            outcome.panics += 1;
        }
        server.kill();
        drop(kept);
        let server = Server::start(data.path());
        outcome.lost += load.check(&server);
        outcome.panics += server.panics();
        server.kill();
        outcome.panics += consistent(data.path());
    }
    "full, without a reader, and unread".clone_into(&mut outcome.note);
    outcome
}

/// Within this time nothing is acknowledged any more.
const NOTICED: Duration = Duration::from_secs(3);

/// The folder is moved away while it is written, and then the database replaced by another file; and each is put back.
pub fn folder_gone(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    let parent = folder();
    let (data, aside) = (parent.path().join("data"), parent.path().join("aside"));
    let server = Server::start(&data);
    let mut load = Load::new(3, true);
    load.prepare(&server);
    let admin = Client::admin(&server);
    admin.post("/fleet/v1/panels", &json!({ "id": "looked-at" }));
    for n in 0..times {
        let database = data.join("panelsync.redb");
        let moved = if n % 2 == 0 { &data } else { &database };
        let mut wrong = Vec::new();
        load.run(&server, Duration::from_millis(300), |_| {
            std::fs::rename(moved, &aside).expect("moved away");
            if n % 2 == 1 {
                std::fs::write(&database, "another").expect("written");
            }
            wrong = while_gone(&admin, &server);
            std::fs::rename(&aside, moved).expect("moved back");
        });
        for wrong in &wrong {
            println!("{wrong}");
        }
        outcome.lost += wrong.len() as u64;
        let since = Instant::now();
        if !admin.until_good("GET", "/readyz", Duration::from_secs(20))
            || !load.writes_again(&server, Duration::from_secs(20))
        {
            println!("it does not go on when the file is back: {}", server.said());
            outcome.lost += 1;
        }
        outcome.recovered(since);
        outcome.lost += load.check(&server);
    }
    let mut outcome = end(outcome, &load, &server, &data);
    let server = Server::start(&data);
    outcome.lost += load.check(&server);
    server.kill();
    outcome
}

/// What is wrong while the file is not there.
fn while_gone(admin: &Client, server: &Server) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut version = 0;
    let mut write = || {
        version += 1;
        let batch = json!({ "panels": ["looked-at"], "upsert": profiles(1, 77, version)["list_items"] });
        admin.post("/fleet/v1/batches", &batch)
    };
    let until = Instant::now() + NOTICED;
    while write().0 / 100 == 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..10 {
        let (status, answer) = write();
        if status != 503 || answer["type"] != "urn:panelsync:problem:file-gone" {
            wrong.push(format!("it should say 503 file-gone: {status} {answer}"));
        }
    }
    let anybody = Client::new(server);
    while anybody.status("/readyz") != 503 {
        if Instant::now() > until + NOTICED {
            wrong.push("it says that it is ready".to_owned());
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    wrong
}

/// The key for devices' passwords is gone: of no matter where none is sealed, and otherwise an error that says what to do.
pub fn key(times: u32) -> Outcome {
    let mut outcome = Outcome { times, ..Outcome::default() };
    for _ in 0..times {
        let data = folder();
        let key = data.path().join("panelsync.key");
        let mut load = Load::new(2, true);
        let server = Server::start(data.path());
        load.prepare(&server);
        load.run(&server, Duration::from_millis(200), Server::terminate);
        std::fs::remove_file(&key).expect("it was made");
        let server = Server::start(data.path());
        outcome.lost += load.check(&server);
        let device = json!({ "id": "device", "driver": "http", "url": "http://127.0.0.1:9", "username": "admin", "password": "123456" });
        Client::admin(&server).post_lines("/fleet/v1/panels:import", &device.to_string());
        outcome.panics += server.panics();
        server.terminate();
        std::fs::remove_file(&key).expect("it was made again");
        match Server::try_start(data.path()) {
            Ok(server) => {
                println!("it starts though sealed passwords cannot be read: {}", server.said());
                outcome.lost += 1;
            }
            Err((exit, said)) => {
                outcome.panics += u64::from(said.contains("panicked"));
                if exit != Some(2) || !said.contains("key rotate --forget-passwords") {
                    println!("it should say what to do: {exit:?} {said}");
                    outcome.lost += 1;
                }
            }
        }
        let since = Instant::now();
        assert!(forget_passwords(data.path()), "the passwords are dropped");
        let server = Server::start(data.path());
        outcome.recovered(since);
        outcome.lost += load.check(&server);
        outcome.lost += u64::from(Client::admin(&server).status("/fleet/v1/panels/device") != 200);
        outcome = end(outcome, &load, &server, data.path());
    }
    outcome
}

fn forget_passwords(data: &Path) -> bool {
    let mut rotate = Command::new(BINARY);
    rotate.args(["key", "rotate", "--forget-passwords", "--data-dir"]).arg(data);
    let key = data.join("panelsync.key");
    let output = rotate.arg("--new-key-file").arg(key).env("HOME", data).output().expect("it runs");
    let good = output.status.success();
    if !good {
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    good
}
