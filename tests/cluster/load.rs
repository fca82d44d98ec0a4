//! Writers through all nodes, that know what was acknowledged, and what must therefore be there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;
use super::client::{Answer, Client};
use super::listener;
use super::register::Register;

/// What was begun when the load is stopped is acknowledged within this time.
const ENDS: Duration = Duration::from_secs(40);

/// What was accepted is done within this time.
const DONE: Duration = Duration::from_secs(30);

/// Before a refused request is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// A body of so many profiles; `first` is in their link_ids, `version` in their names.
pub fn profiles(items: usize, first: u32, version: u64) -> Value {
    let items: Vec<_> = (0..items)
        .map(|n| {
            json!({
                "link_id": format!("5a1f0c1e-0000-4000-8000-{first:08x}{n:04x}"),
                "name": format!("version {version}"),
                "time_options": { "is_all_day": false, "date_from": 1_735_804_800, "date_to": 1_735_808_400 + version },
                "repeat_options": { "repeat_enable": true, "repeat_format": { "repeat_type": "day", "repeat_end": { "format": "never" } } },
            })
        })
        .collect();
    json!({ "list_items": items })
}

/// The version of a profile that a panel holds.
pub fn version_in(profile: &Value) -> Option<u64> {
    profile["name"].as_str()?.strip_prefix("version ")?.parse().ok()
}

/// How a writer writes.
enum Way {
    /// Batches to one panel.
    Batch(String),
    /// Batches to all panels of the writers.
    BatchToAll,
    /// Calls of the panel API.
    Link { panel: String, token: String },
}

/// Versions of the same profiles, one after the other.
struct Writer {
    way: Way,
    /// The node that it asks first.
    home: usize,
    first: u32,
    /// The last version that was acknowledged, and the last that was sent.
    acknowledged: u64,
    sent: u64,
    count: u64,
    /// Versions that got no answer once. A call of the panel API has no key by which a late one is known again.
    doubtful: Vec<u64>,
}

impl Writer {
    fn panel(&self) -> Option<&String> {
        match &self.way {
            Way::Batch(panel) | Way::Link { panel, .. } => Some(panel),
            Way::BatchToAll => None,
        }
    }

    fn try_once(&mut self, client: &Client, node: usize, load: &str, items: usize) -> Answer {
        let body = profiles(items, self.first, self.sent);
        let key = format!("{load}-{}-{}", self.first, self.sent);
        match &mut self.way {
            Way::Link { panel, token } => {
                if token.is_empty() {
                    let answer = client.log_in_to(node, panel);
                    match answer.body["token"].as_str() {
                        Some(new) => new.clone_into(token),
                        None => return answer,
                    }
                }
                let path = format!("/panels/{panel}/api/v1/access/timeprofile/items/link");
                let answer = client.with_token(token).post_to(node, &path, &body, None);
                if answer.status == 401 {
                    token.clear(); // sessions go with the leader, as with a panel's restart
                }
                answer
            }
            Way::Batch(panel) => {
                let batch = json!({ "panels": [panel], "upsert": body["list_items"] });
                client.post_to(node, "/fleet/v1/batches", &batch, Some(&key))
            }
            Way::BatchToAll => {
                let batch = json!({ "selector": "written=by-all", "upsert": body["list_items"] });
                client.post_to(node, "/fleet/v1/batches", &batch, Some(&key))
            }
        }
    }

    /// Writes the next version, at the next node where one does not take it, until it is acknowledged.
    fn write(&mut self, client: &Client, flow: &Flow, items: usize) {
        self.sent += 1;
        let begun = Instant::now();
        let mut node = self.home;
        loop {
            let sent = Instant::now();
            let answer = self.try_once(client, node, &flow.name, items);
            match answer.status {
                // 202: accepted and durable, and not done within the time that it was waited for. 410: its key says that it
                // was accepted by an earlier try, since when very many newer batches were.
                200 | 202 | 410 => {
                    self.acknowledged = self.sent;
                    self.count += 1;
                    return flow.note(Good { begun, sent, answered: Instant::now() });
                }
                401 if matches!(self.way, Way::Link { .. }) => {}
                _ => flow.note_other(&answer, sent),
            }
            if matches!(answer.status, 0 | 502) && !answer.refused {
                self.doubtful.push(self.sent);
            }
            if flow.is_over() {
                return;
            }
            node = (node + 1) % client.nodes();
            std::thread::sleep(PAUSE);
        }
    }
}

/// One acknowledged write.
struct Good {
    begun: Instant,
    /// The try that was answered.
    sent: Instant,
    answered: Instant,
}

/// What writers see while they write.
pub struct Flow {
    name: String,
    stopped: Mutex<Option<Instant>>,
    good: Mutex<Vec<Good>>,
    /// Answers that are no success, by status; 0 where a connection broke without one.
    others: Mutex<BTreeMap<u16, u64>>,
    stuck: Mutex<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flow {
    fn new() -> Self {
        Self {
            name: format!("{:016x}", fastrand::u64(..)),
            stopped: Mutex::default(),
            good: Mutex::default(),
            others: Mutex::default(),
            stuck: Mutex::default(),
        }
    }

    fn note(&self, good: Good) {
        locked(&self.good).push(good);
    }

    /// Nobody listens on a stopped node's port: that is no answer, and another node is asked.
    fn note_other(&self, answer: &Answer, sent: Instant) {
        if !answer.refused {
            *locked(&self.others).entry(answer.status).or_default() += 1;
        }
        if std::env::var_os("PANELSYNC_SHOW_ERRORS").is_some() && !answer.refused {
            println!("{} after {} ms: {}", answer.status, sent.elapsed().as_millis(), answer.body);
        }
    }

    fn stop(&self) {
        locked(&self.stopped).get_or_insert_with(Instant::now);
    }

    /// No other load has this name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_stopped(&self) -> bool {
        locked(&self.stopped).is_some()
    }

    /// Whether what is not acknowledged by now never will be.
    pub fn is_over(&self) -> bool {
        let over = locked(&self.stopped).is_some_and(|at| at.elapsed() > ENDS);
        *locked(&self.stuck) += u64::from(over);
        over
    }

    /// Waits for a write that was sent after this moment, and says when it was acknowledged.
    pub fn good_after(&self, moment: Instant, patience: Duration) -> Option<Instant> {
        let until = Instant::now() + patience;
        loop {
            let good = locked(&self.good);
            let first = good.iter().filter(|good| good.sent >= moment).map(|good| good.answered).min();
            drop(good);
            if first.is_some() || Instant::now() > until {
                return first;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How long a write took from its first try to its acknowledgement, at most.
    pub fn longest(&self) -> Duration {
        let longest = locked(&self.good).iter().map(|good| good.answered - good.begun).max();
        longest.unwrap_or_default()
    }

    /// Answers that are no success, and connections that broke without one.
    pub fn errors(&self) -> BTreeMap<u16, u64> {
        locked(&self.others).clone()
    }
}

/// Sees to it that the writers stop, also where the fault panics.
struct Stops<'f>(&'f Flow);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Several writers, and who reads.
pub struct Load {
    writers: Vec<Writer>,
    pub register: Register,
    /// Events that were listened to.
    pub events: u64,
    /// Profiles in a call.
    pub items: usize,
    /// Writes that never were acknowledged, and answers that nobody should get.
    wrong: u64,
}

impl Load {
    /// For each of so many nodes a writer of batches to one panel and one of calls of the panel API, and one of batches to
    /// all panels.
    pub fn new(nodes: usize) -> Self {
        let mut writers = Vec::new();
        let mut add = |home, way| {
            let first = writers.len() as u32;
            writers.push(Writer {
                way,
                home,
                first,
                acknowledged: 0,
                sent: 0,
                count: 0,
                doubtful: Vec::new(),
            });
        };
        for node in 0..nodes {
            add(node, Way::Batch(format!("batch-{node}")));
            add(node, Way::Link { panel: format!("link-{node}"), token: String::new() });
        }
        add(nodes - 1, Way::BatchToAll);
        Self { writers, register: Register::default(), events: 0, items: 3, wrong: 0 }
    }

    /// Registers the panels.
    pub fn prepare(&self, client: &Client) {
        let panels = self.writers.iter().filter_map(Writer::panel);
        client.import(panels.map(|id| json!({ "id": id, "labels": { "written": "by-all" } })));
        Register::prepare(client);
    }

    /// All write and read while `fault` does its work, and then stop.
    pub fn run<R>(&mut self, client: &Client, fault: impl FnOnce(&Flow) -> R) -> R {
        let flow = Flow::new();
        let items = self.items;
        let (result, (events, out_of_order)) = std::thread::scope(|scope| {
            let stops = Stops(&flow);
            for writer in &mut self.writers {
                let (flow, client) = (&flow, client.of_its_own());
                scope.spawn(move || {
                    while !flow.is_stopped() {
                        writer.write(&client, flow, items);
                    }
                });
            }
            let (flow, register) = (&flow, &self.register);
            let writes = client.of_its_own();
            scope.spawn(move || register.write(&writes, flow));
            for node in 0..client.nodes() {
                for by_one_connection in [true, false] {
                    scope.spawn(move || register.read(client, node, flow, by_one_connection));
                }
            }
            let listens = client.of_its_own();
            let listens = scope.spawn(move || listener::listen(&listens, flow));
            let result = fault(flow);
            drop(stops);
            (result, listens.join().expect("no panic"))
        });
        let stuck = *locked(&flow.stuck);
        if stuck > 0 {
            println!("{stuck} writes were not acknowledged within {ENDS:?}: {:?}", flow.errors());
        }
        // Whoever is let in is let in by every node, after every take-over; and no body is wrong.
        let unasked: Vec<_> =
            flow.errors().into_iter().filter(|(status, _)| (400..500).contains(status)).collect();
        if !unasked.is_empty() {
            println!("answers to good requests, by status: {unasked:?}");
        }
        self.events += events;
        let mut stale = self.register.stale();
        stale.extend(out_of_order);
        stale.iter().take(5).for_each(|stale| println!("{stale}"));
        self.wrong += stale.len() as u64 + stuck + unasked.iter().map(|(_, count)| count).sum::<u64>();
        result
    }

    pub fn acknowledged(&self) -> u64 {
        self.writers.iter().map(|writer| writer.count).sum()
    }

    /// Adds what was acknowledged and is not there, and what was wrong since the last time.
    pub fn check(&mut self, client: &Client, outcome: &mut Outcome) {
        let until = Instant::now() + DONE;
        loop {
            let lost = self.lost(client);
            // What was accepted and not done yet is done soon.
            if lost.is_empty() || Instant::now() > until {
                lost.iter().take(5).for_each(|lost| println!("{lost}"));
                outcome.lost += lost.len() as u64;
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        outcome.acknowledged = self.acknowledged();
        outcome.wrong += std::mem::take(&mut self.wrong);
    }

    /// Profiles that are not as the last acknowledged write left them, or a later one that was sent.
    fn lost(&self, client: &Client) -> Vec<String> {
        let mut lost = Vec::new();
        for panel in self.writers.iter().filter_map(Writer::panel) {
            let held = client.get(&format!("/fleet/v1/panels/{panel}/profiles?limit=1000"));
            let held = held["items"].as_array().cloned().unwrap_or_default();
            let of_it = |writer: &&Writer| writer.panel().is_none_or(|of| of == panel);
            for writer in self.writers.iter().filter(of_it).filter(|writer| writer.acknowledged > 0) {
                let expected = profiles(self.items, writer.first, 0);
                for expected in expected["list_items"].as_array().expect("a list") {
                    let found = held.iter().find(|profile| profile["link_id"] == expected["link_id"]);
                    let version = found.and_then(|profile| version_in(&profile["profile"]));
                    let good = version.is_some_and(|version| {
                        let late =
                            matches!(writer.way, Way::Link { .. }) && writer.doubtful.contains(&version);
                        late || (writer.acknowledged..=writer.sent).contains(&version)
                    });
                    if !good {
                        let link_id = &expected["link_id"];
                        let last = writer.acknowledged;
                        lost.push(format!("{panel} holds {link_id} in {version:?}; acknowledged is {last}"));
                    }
                }
            }
        }
        lost
    }
}
