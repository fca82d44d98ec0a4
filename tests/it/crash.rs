//! The real binary killed under load: everything acknowledged is there, and what was accepted goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::answer::Call;
use crate::support::binary::{Served, Shell};
use crate::support::profiles::{link, list, once};
use crate::support::server::{ADMIN_MD5, ADMIN_PASSWORD, rendered_state};
use crate::support::simulated::{Simulated, never_older};

/// A client of one process of the server.
struct Client {
    served: Served,
    token: String,
}

impl Client {
    fn start(folder: &std::path::Path) -> Self {
        let served = Served::start(folder, Some(ADMIN_PASSWORD), &[]);
        let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let answer = Call::new(served.address, "POST", "/fleet/v1/session").json(&login).send();
        Self { token: answer.value()["token"].as_str().expect("a token").to_owned(), served }
    }

    fn fleet(&self, method: &str, path: &str) -> Call {
        Call::new(self.served.address, method, &format!("/fleet/v1{path}")).bearer(&self.token)
    }

    fn batch(&self, id: &str) -> Value {
        self.fleet("GET", &format!("/batches/{id}")).send().value()
    }
}

#[test]
fn two_hundred_panels_on_two_sites_take_a_batch_survive_a_kill_and_read_back_through_the_panel_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::start(folder.path());
    let lines: Vec<_> = (0..200)
        .map(|i| {
            json!({ "id": format!("p{i:03}"), "labels": { "site": (["north", "south"][i % 2]) } }).to_string()
        })
        .collect();
    assert_eq!(client.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send().status, 201);
    let profiles: Vec<_> = (1..=10).map(|n| once(n, &format!("Profile {n}"))).collect();
    let first = client
        .fleet("POST", "/batches")
        .json(&json!({ "selector": "site in (north,south)", "upsert": profiles }))
        .send();
    assert_eq!((first.status, &first.value()["panels"]["applied"]), (200, &json!(200)));

    // Ten more are accepted and not waited for; then the process is killed in the middle of them.
    let mut accepted = Vec::new();
    for round in 1..=10 {
        let profiles: Vec<_> = (1..=200).map(|n| once(n, &format!("Round {round}"))).collect();
        let site = ["north", "south"][round % 2];
        let body = json!({ "selector": format!("site={site}"), "upsert": profiles });
        let answer = client.fleet("POST", "/batches").header("prefer", "wait=0").json(&body).send();
        assert!([200, 202].contains(&answer.status), "{answer}");
        accepted.push(answer.value()["id"].as_str().expect("an id").to_owned());
    }
    client.served.kill();

    let client = Client::start(folder.path());
    let until = Instant::now() + Duration::from_mins(1);
    for id in &accepted {
        while client.batch(id)["state"] == "running" {
            assert!(Instant::now() < until, "batch {id} does not go on");
            std::thread::sleep(Duration::from_millis(50));
        }
        let batch = client.batch(id);
        assert_eq!((&batch["state"], &batch["panels"]["applied"]), (&json!("done"), &json!(100)), "{batch}");
    }
    for (panel, last) in
        [("p000", "Round 10"), ("p001", "Round 9"), ("p198", "Round 10"), ("p199", "Round 9")]
    {
        let call = |method: &str, path: &str| {
            Call::new(client.served.address, method, &format!("/panels/{panel}/api/v1{path}"))
        };
        let login = call("GET", &format!("/login?username=admin&password={ADMIN_MD5}")).send().value();
        let token = login["token"].as_str().expect("a token");
        let page = call("GET", "/access/timeprofile/items/link?limit=50").bearer(token).send().value();
        assert_eq!(page["list_option"]["pagination"]["total_items"], 200);
        for item in page["list_items"].as_array().expect("a list") {
            assert_eq!(item["name"], last, "{panel}");
        }
    }
    assert_eq!(client.served.terminate(), Some(0), "it stops in order");
    rendered_state(folder.path()); // which checks that it does not contradict itself
}

#[test]
fn every_answered_change_is_there_after_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged: Vec<u32> = Vec::new();
    let mut next = 1;
    for life in 0..4 {
        let client = Client::start(folder.path());
        if life == 0 {
            assert_eq!(client.fleet("POST", "/panels").json(&json!({ "id": "p1" })).send().status, 201);
        }
        let address = client.served.address;
        let login = format!("/panels/p1/api/v1/login?username=admin&password={ADMIN_MD5}");
        let token =
            Call::new(address, "GET", &login).send().value()["token"].as_str().expect("a token").to_owned();
        let held = Call::new(address, "GET", "/panels/p1/api/v1/access/timeprofile/items/link")
            .bearer(&token)
            .send()
            .value();
        let held = held["list_option"]["pagination"]["total_items"].as_u64().expect("a number");
        assert!(held >= acknowledged.len() as u64, "acknowledged {} and holds {held}", acknowledged.len());
        // Some clients write until the process is gone.
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (token, first) = (token.clone(), next + writer * 10_000);
                std::thread::spawn(move || {
                    let mut done = Vec::new();
                    for n in first..first + 10_000 {
                        let body = list(&[once(n, "x")]);
                        let call =
                            Call::new(address, "POST", "/panels/p1/api/v1/access/timeprofile/items/link");
                        let sent = std::panic::catch_unwind(|| call.bearer(&token).json(&body).send());
                        match sent {
                            Ok(answer) if answer.status == 200 => done.push(n),
                            _ => break,
                        }
                    }
                    done
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(150 + 130 * life));
        client.served.kill();
        for writer in writers {
            acknowledged.extend(writer.join().expect("a writer"));
        }
        next += 100_000;
    }
    assert!(acknowledged.len() > 20, "only {} were acknowledged", acknowledged.len());
    let state = rendered_state(folder.path());
    for n in acknowledged {
        assert!(state.contains(&format!(" {} body=", link(n))), "{n} was acknowledged and is lost");
    }
}

/// Adds the first `n` simulated panels.
fn add_devices(client: &Client, devices: &Simulated, n: usize) {
    let line = |i| {
        json!({ "id": format!("d{i}"), "driver": "http", "url": devices.url(i), "username": "admin",
            "password": "123456", "labels": { "site": (["north", "south"][i % 2]) } })
        .to_string()
    };
    let lines: Vec<_> = (1..=n).map(line).collect();
    let answer = client.fleet("POST", "/panels:import").ndjson(&lines.join("\n")).send();
    assert_eq!(answer.status, 201, "{answer}");
}

fn submit(client: &Client, batch: &Value) -> String {
    let answer = client.fleet("POST", "/batches").header("prefer", "wait=0").json(batch).send();
    assert!([200, 202].contains(&answer.status), "{answer}");
    answer.value()["id"].as_str().expect("an id").to_owned()
}

fn until_all_done(client: &Client, batches: &[String]) {
    let end = Instant::now() + Duration::from_mins(1);
    for id in batches {
        while client.batch(id)["state"] == "running" {
            assert!(Instant::now() < end, "not within a minute: {}", client.batch(id));
            std::thread::sleep(Duration::from_millis(50));
        }
        let batch = client.batch(id);
        assert_eq!(batch["panels"]["applied"], batch["panels"]["total"], "{batch}");
    }
}

#[test]
fn fifty_devices_and_the_server_killed_in_the_middle_of_three_batches_hold_the_last_state_within_a_minute() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut devices = Simulated::start(50, &["--latency", "5ms..60ms"]);
    let client = Client::start(folder.path());
    add_devices(&client, &devices, 50);
    let profiles = |round: u32, numbers: std::ops::RangeInclusive<u32>| -> Vec<_> {
        numbers.map(|n| once(n, &format!("Round {round}"))).collect()
    };
    let first = submit(&client, &json!({ "all": true, "upsert": profiles(1, 1..=20) }));
    until_all_done(&client, &[first]);
    let batches = [
        submit(&client, &json!({ "selector": "site=north", "upsert": profiles(2, 1..=100) })),
        submit(&client, &json!({ "all": true, "upsert": profiles(3, 5..=60), "delete": [link(1), link(2)] })),
        submit(
            &client,
            &json!({ "selector": "site=south", "upsert": profiles(4, 50..=70), "delete": [link(3)] }),
        ),
    ];
    std::thread::sleep(Duration::from_millis(120));
    let under_way = client.batch(&batches[1]);
    assert_eq!(under_way["state"], "running", "in the middle: {under_way}");
    devices.kill();
    client.served.kill();

    devices.restart();
    let client = Client::start(folder.path());
    until_all_done(&client, &batches);
    let expected = |north: bool| -> BTreeMap<String, String> {
        let mut rounds: BTreeMap<u32, u32> = (1..=20).map(|n| (n, 1)).collect();
        if north {
            rounds.extend((1..=100).map(|n| (n, 2)));
        }
        rounds.extend((5..=60).map(|n| (n, 3)));
        rounds.remove(&1);
        rounds.remove(&2);
        if !north {
            rounds.extend((50..=70).map(|n| (n, 4)));
            rounds.remove(&3);
        }
        rounds.into_iter().map(|(n, round)| (link(n), format!("Round {round}"))).collect()
    };
    for n in 1..=50 {
        assert_eq!(devices.holds(n), expected(n % 2 == 0), "d{n}");
    }
    // By hand, on one device: found, and put right.
    devices.by_hand(7, "PATCH", "/access/timeprofile/item/9", Some(&once(1, "Edited by hand")));
    let shell = Shell::new(client.served.address, Some(&client.token));
    let found = shell.run(&["diff"]);
    assert_eq!((found.exit, found.stdout.matches("changed").count()), (Some(1), 1), "{found}");
    let repaired = shell.run(&["reconcile", "--all", "--yes"]);
    assert_eq!(repaired.exit, Some(0), "{repaired}");
    assert_eq!(devices.holds(7), expected(false));
    assert_eq!(shell.run(&["diff"]).exit, Some(0));
    assert_eq!(client.served.terminate(), Some(0));
    rendered_state(folder.path());
}

#[test]
fn either_side_killed_twenty_times_at_any_moment_loses_nothing_and_sends_nothing_older() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut devices = Simulated::start(6, &["--latency", "2ms..20ms"]);
    let mut client = Client::start(folder.path());
    add_devices(&client, &devices, 6);
    let mut batches = Vec::new();
    let mut newest: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); 6];
    let mut chance = 0x9e37_79b9_u64;
    for life in 1..=20_u32 {
        for step in 0..3 {
            let name = format!("{:04}", 10 * life + step);
            let upsert: Vec<_> = (1..=5).map(|n| once(n + 5 * (step % 2), &name)).collect();
            batches.push(submit(&client, &json!({ "all": true, "upsert": upsert })));
        }
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(chance >> 57)); // up to 127 ms
        if life % 2 == 0 {
            client.served.kill();
            client = Client::start(folder.path());
        } else {
            for (n, newest) in (1..).zip(&mut newest) {
                never_older(&devices.calls(n), newest);
            }
            devices.restart();
        }
    }
    until_all_done(&client, &batches);
    let expected: BTreeMap<_, _> =
        (1..=10).map(|n| (link(n), if n <= 5 { "0202" } else { "0201" }.to_owned())).collect();
    for (n, newest) in (1..).zip(&mut newest) {
        never_older(&devices.calls(n), newest);
        assert_eq!(devices.holds(n), expected, "d{n}");
    }
    client.served.kill();
    rendered_state(folder.path());
}

#[test]
fn two_servers_cannot_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Client::start(folder.path());
    let second = crate::support::binary::command()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .output()
        .expect("the binary runs");
    assert_eq!(second.status.code(), Some(2));
    let stderr = String::from_utf8(second.stderr).expect("a text");
    assert!(stderr.contains("is in use by another server"), "{stderr}");
    assert_eq!(first.batch(&link(1))["status"], 404, "the first goes on");
}
