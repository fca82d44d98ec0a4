//! Alerts of a fleet with several nodes: what the leader was to tell is told by the next one, and that nobody leads is told
//! by one node, once, and once that it is over.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Shape, begin};
use super::{Outcome, TTL};

/// Without a leader for ten times this, it is told; and a moment for each node to find that out.
const TOLD_WITHIN: Duration = TTL.saturating_mul(10).saturating_add(Duration::from_mins(1));

/// Who is told: it answers everything well, and keeps what came.
struct Receiver {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let came: Arc<Mutex<Vec<Value>>> = Arc::default();
        let all = Arc::clone(&came);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(message) = hear(stream) {
                    all.lock().expect("whole").push(message);
                }
            }
        });
        Self { address, came }
    }

    /// The messages of a type, each once, and how many came.
    fn of(&self, kind: &str) -> (BTreeSet<String>, usize) {
        let came = self.came.lock().expect("whole");
        let ids =
            came.iter().filter(|message| message["type"] == kind).map(|message| message["id"].to_string());
        let ids: Vec<_> = ids.collect();
        (ids.iter().cloned().collect(), ids.len())
    }

    /// Waits until so many different ones of a type came.
    fn until(&self, kind: &str, count: usize, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.of(kind).0.len() < count {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }
}

fn hear(mut stream: TcpStream) -> Option<Value> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").ok()?;
    serde_json::from_slice(&body).ok()
}

pub fn told(times: u32) -> Outcome {
    let further = vec!["--alert-gather".to_owned(), "1ms".to_owned()];
    let (mut outcome, mut cluster, mut load) = begin(times, Shape { further, ..Shape::default() });
    let receiver = Receiver::start();
    let alert =
        json!({ "webhook": format!("http://{}/", receiver.address), "on": ["batch-failed", "no-leader"] });
    let set = cluster.client.put_to(0, "/fleet/v1/alerts/ops", &alert);
    if set.status != 201 {
        outcome.is_wrong(&format!("the alert was not made: {} {}", set.status, set.body));
    }
    cluster.client.post("/fleet/v1/panels", &json!({ "id": "alerts-01" }));
    let never = |n: u32| {
        json!({
            "panels": ["alerts-01"],
            "upsert": [{
                "link_id": format!("91c615e3-1040-4815-8ecb-{n:012x}"), "name": "Never",
                "time_options": { "is_all_day": false, "date_from": 1_735_804_800, "date_to": 1_735_804_800 },
                "repeat_options": { "repeat_enable": false }
            }]
        })
    };
    for round in 1..=times {
        // The leader dies right after the batch has ended: it has told it, or the next one does.
        let leader = cluster.leader();
        cluster.client.post("/fleet/v1/batches", &never(round));
        let since = Instant::now();
        cluster.nodes[leader].kill();
        if !receiver.until("batch.failed", round as usize, Duration::from_mins(1)) {
            outcome.lost += 1;
            outcome.is_wrong("a batch that failed was told by nobody");
        }
        outcome.recovery = outcome.recovery.max(since.elapsed());
        cluster.start_all(&mut outcome);
        cluster.until_all_ready(&mut outcome);

        cluster.databases[0].kill();
        if !receiver.until("cluster.no_leader", round as usize, TOLD_WITHIN) {
            outcome.is_wrong("that nobody leads was told by nobody");
        }
        // The one that told it is started again, and knows that it has.
        cluster.nodes[0].kill();
        cluster.databases[0].start();
        cluster.start_all(&mut outcome);
        cluster.until_all_ready(&mut outcome);
        if !receiver.until("cluster.leader", round as usize, Duration::from_mins(1)) {
            outcome.is_wrong("that a node leads again was told by nobody");
        }
    }
    let kinds = ["batch.failed", "cluster.no_leader", "cluster.leader"];
    let counts = kinds.map(|kind| receiver.of(kind));
    for (kind, (different, came)) in kinds.iter().zip(&counts) {
        // What was told by a node that was killed then may come twice, with one id.
        let most = 2 * times as usize;
        if different.len() != times as usize || *came > most {
            outcome.is_wrong(&format!("{kind}: {} different ones, {came} in all", different.len()));
        }
    }
    outcome.note = format!("{} messages came", receiver.came.lock().expect("whole").len());
    cluster.end(&mut load, outcome)
}
