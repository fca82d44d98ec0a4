//! Real conversations with devices, whose leader dies in the midst of them.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::cluster::{Cluster, Shape};
use super::load::{Load, profiles, version_in};
use super::node::binary;
use super::proxy::{Line, Proxy};
use super::{Outcome, RECOVERS, TTL, free_port};

const DEVICES: usize = 30;

const PROFILES: usize = 4;

/// A call that is longer under way is given up.
const CALL: Duration = Duration::from_secs(8);

/// So long after a call can no longer be under way devices hold what is newest.
const READ_BACK: Duration = Duration::from_secs(15);

/// Simulated devices in a process of their own, behind a line.
struct Devices {
    child: Child,
    line: Proxy,
    control: u16,
    agent: ureq::Agent,
    _folder: TempDir,
}

impl Devices {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, control) = (free_port(), free_port());
        let child = Command::new(binary())
            .env_clear()
            .env("RUST_LOG", "error")
            .args(["simulate", "--panels", &DEVICES.to_string(), "--latency", "10ms..150ms", "--data-dir"])
            .arg(folder.path())
            .args(["--listen", &format!("127.0.0.1:{port}"), "--control", &format!("127.0.0.1:{control}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let until = Instant::now() + RECOVERS;
        while [port, control].into_iter().any(|port| TcpStream::connect(("127.0.0.1", port)).is_err()) {
            assert!(Instant::now() < until, "the devices do not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        let timeout = Some(Duration::from_secs(20));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(timeout);
        Self { child, line: Proxy::to(port), control, agent: agent.build().new_agent(), _folder: folder }
    }

    /// The panels as they are registered.
    fn panels(&self) -> impl Iterator<Item = Value> {
        (1..=DEVICES).map(|n| {
            let url = format!("http://127.0.0.1:{}/panels/sim-{n:04}", self.line.port);
            json!({ "id": format!("door-{n:04}"), "driver": "http", "url": url, "username": "admin", "password": "123456" })
        })
    }

    /// The versions of the profiles that a device holds.
    fn versions(&self, device: usize) -> Vec<Option<u64>> {
        let url = format!("http://127.0.0.1:{}/sim/held?panel=sim-{device:04}", self.control);
        let answer = self.agent.get(url).call().expect("an answer").body_mut().read_to_string();
        let held: Value = serde_json::from_str(&answer.expect("a body")).expect("JSON");
        held["profiles"].as_array().into_iter().flatten().map(version_in).collect()
    }

    /// Devices that hold something else than this version.
    fn without(&self, version: u64) -> Vec<usize> {
        (1..=DEVICES).filter(|device| self.versions(*device) != vec![Some(version); PROFILES]).collect()
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be gone
        let _ = self.child.wait();
    }
}

/// Pushes a version to all devices, once it is accepted; by any node, and as often as it takes.
fn push(client: &Client, version: u64) {
    let panels: Vec<_> = (1..=DEVICES).map(|n| format!("door-{n:04}")).collect();
    let batch = json!({ "panels": panels, "upsert": profiles(PROFILES, 970, version)["list_items"] });
    let key = format!("push-{version}");
    let until = Instant::now() + RECOVERS;
    while !(0..client.nodes())
        .any(|node| client.post_to(node, "/fleet/v1/batches", &batch, Some(&key)).is_good())
    {
        assert!(Instant::now() < until, "nobody accepts version {version}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How the leader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// What it has sent last comes to the devices only when the next leader has pushed a newer version.
    CallsComeLate,
    /// It is stopped for longer than its lead lasts, and goes on.
    Paused,
    Killed,
}

const WAYS: [Way; 3] = [Way::CallsComeLate, Way::Paused, Way::Killed];

/// The leader goes while it pushes. Counts as acknowledged each device that holds the newest version in the end, and as lost
/// each other.
pub fn leader_goes(times: u32) -> Outcome {
    let mut outcome = Outcome::of(times);
    let devices = Devices::start();
    let further = ["--device-timeout".to_owned(), format!("{}s", CALL.as_secs())];
    let mut cluster = Cluster::start(Shape { further: further.to_vec(), ..Shape::default() });
    let mut load = Load::new(cluster.nodes.len());
    load.prepare(&cluster.client);
    cluster.client.import(devices.panels());
    let (mut version, mut late, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..times {
        version += 1;
        push(&cluster.client, version);
        let until = Instant::now() + RECOVERS;
        while !devices.without(version).is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let leader = cluster.leader();
        let way = WAYS[round as usize % WAYS.len()];
        let comes_late = way == Way::CallsComeLate;
        if comes_late {
            devices.line.set(Line::Holds);
        }
        version += 1;
        let others = cluster.nodes.iter().enumerate().filter(|(node, _)| *node != leader);
        let to_accept = cluster.client.at(others.map(|(_, node)| node.base()).collect());
        std::thread::scope(|scope| {
            let under_way = version;
            let to_accept = &to_accept;
            let pushing = scope.spawn(move || push(to_accept, under_way));
            std::thread::sleep(Duration::from_millis(if comes_late {
                1_000
            } else {
                fastrand::u64(20..400)
            }));
            if comes_late {
                // Its calls are under way, and the next leader's pass.
                devices.line.hold_open_ones();
                devices.line.set(Line::Passes);
            }
            let since = Instant::now();
            if way == Way::Paused {
                cluster.nodes[leader].pause();
            } else {
                cluster.nodes[leader].kill();
            }
            let killed = Instant::now();
            pushing.join().expect("it is accepted");
            let new = cluster.leader_but(Some(leader));
            version += 1;
            push(&cluster.client.at(vec![cluster.nodes[new].base()]), version);
            outcome.recovered(since, Some(Instant::now()));
            if way == Way::Paused {
                std::thread::sleep((TTL * 3 / 2).saturating_sub(killed.elapsed()));
                cluster.nodes[leader].resume();
            }
            if comes_late {
                std::thread::sleep((CALL * 3 / 4).saturating_sub(killed.elapsed()));
                let reached = devices.without(version);
                devices.line.let_go();
                std::thread::sleep(Duration::from_millis(500));
                let older =
                    devices.without(version).iter().filter(|device| !reached.contains(device)).count();
                if older == 0 {
                    outcome.is_wrong("no call came late, so that nothing was tried");
                }
                late += older;
            }
        });
        cluster.start_all(&mut outcome);
        let since = Instant::now();
        let until = since + CALL + TTL + READ_BACK;
        let mut without = devices.without(version);
        while !without.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
            without = devices.without(version);
        }
        longest = longest.max(since.elapsed());
        // And nothing older comes later.
        std::thread::sleep(TTL);
        without.extend(devices.without(version));
        without.sort_unstable();
        without.dedup();
        for device in without.iter().take(3) {
            println!("device {device} holds {:?}, not {version}", devices.versions(*device));
        }
        outcome.lost += without.len() as u64;
        outcome.acknowledged += (DEVICES - without.len().min(DEVICES)) as u64;
        cluster.until_all_ready(&mut outcome);
    }
    outcome.note = format!(
        "{late} devices were given an older version late; all right {} ms later",
        longest.as_millis()
    );
    let acknowledged = outcome.acknowledged;
    outcome = cluster.end(&mut load, outcome);
    outcome.acknowledged = acknowledged;
    outcome
}
