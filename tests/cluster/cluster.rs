//! Nodes and their database, and whether all nodes hold the same.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use panelsync::store::Store;
use panelsync::store::render;
use panelsync::store::seal::Seal;
use panelsync::telemetry::Metrics;
use tempfile::TempDir;

use super::client::Client;
use super::load::Load;
use super::node::{DATABASE, Node};
use super::postgres::{NAME, Postgres};
use super::{Outcome, TTL};

/// Within this time after a fault every node is as it should be.
const SOON: Duration = Duration::from_secs(40);

/// A node that has ended by itself is started again after this time.
const RESTARTED: Duration = Duration::from_millis(500);

/// So often nodes are compared anew where something was written in between.
const COMPARISONS: u32 = 6;

/// What it consists of.
pub struct Shape {
    pub nodes: usize,
    /// Whether the database has a synchronous standby.
    pub standby: bool,
    /// Whether the first node's clock can be set.
    pub clock: bool,
    pub ttl: Duration,
    /// Another fleet's key, where it is to have the same.
    pub key: Option<PathBuf>,
    /// Further options of `serve`.
    pub further: Vec<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 3, standby: false, clock: false, ttl: TTL, key: None, further: Vec::new() }
    }
}

/// What a node is listed as.
#[derive(Debug)]
pub struct Listed {
    pub name: String,
    pub role: String,
    pub applied: u64,
    pub behind: u64,
    pub same: Option<bool>,
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    /// The one that takes writes is the first.
    pub databases: Vec<Postgres>,
    pub client: Client,
    key: PathBuf,
    shape: Shape,
    folder: TempDir,
}

/// What a fault begins with: nodes that follow the first one, and writers that are known to it.
pub fn begin(times: u32, shape: Shape) -> (Outcome, Cluster, Load) {
    let cluster = Cluster::start(shape);
    let load = Load::new(cluster.nodes.len());
    load.prepare(&cluster.client);
    (Outcome::of(times), cluster, load)
}

impl Cluster {
    /// A database, and nodes that all follow the first one.
    pub fn start(shape: Shape) -> Self {
        let mut databases = vec![Postgres::new()];
        if shape.standby {
            let standby = databases[0].synchronous_standby(None);
            databases.push(standby);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        match &shape.key {
            Some(of_another) => drop(std::fs::copy(of_another, &key).expect("copied")),
            None => std::fs::write(&key, (0..64).map(|_| fastrand::digit(16)).collect::<String>())
                .expect("written"),
        }
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("set");
        let mut nodes = Vec::new();
        for n in 0..shape.nodes {
            let mut node = Node::new(&format!("node-{n}"), folder.path(), &key, &databases, &shape);
            if shape.clock && n == 0 {
                node.start_with_clock();
            } else {
                node.start();
            }
            node.until_healthy();
            until_ready(&mut node);
            nodes.push(node);
        }
        let client = Client::admin(nodes.iter().map(Node::base).collect());
        let mut cluster = Self { nodes, databases, client, key, shape, folder };
        assert!(cluster.until_same(), "they do not follow: {:?}", cluster.listed());
        cluster
    }

    /// One more with an empty folder, which does not run yet.
    pub fn add_node(&mut self) -> usize {
        let name = format!("node-{}", self.nodes.len());
        self.nodes.push(Node::new(&name, self.folder.path(), &self.key, &self.databases, &self.shape));
        self.client = self.client.at(self.nodes.iter().map(Node::base).collect());
        self.nodes.len() - 1
    }

    /// One that is no member, with files of its own.
    pub fn stranger(&self, name: &str) -> Node {
        let folder = self.folder.path().join(format!("stranger-{}", fastrand::u32(..)));
        std::fs::create_dir(&folder).expect("made");
        Node::new(name, &folder, &self.key, &self.databases, &self.shape)
    }

    /// The nodes, as the first one says that answers.
    pub fn listed(&self) -> Option<Vec<Listed>> {
        let awake = self.nodes.iter().enumerate().filter(|(_, node)| node.is_awake());
        let mut answers = awake.map(|(node, _)| self.client.get_from(node, "/fleet/v1/nodes"));
        let answer = answers.find(super::client::Answer::is_good)?;
        let listed = answer.body["items"].as_array()?.iter().map(|node| Listed {
            name: node["name"].as_str().unwrap_or_default().to_owned(),
            role: node["role"].as_str().unwrap_or_default().to_owned(),
            applied: node["applied"].as_u64().unwrap_or_default(),
            behind: node["behind"].as_u64().unwrap_or(u64::MAX),
            same: node["same"].as_bool(),
        });
        Some(listed.collect())
    }

    pub fn listed_as(&self, node: usize) -> Option<Listed> {
        self.listed()?.into_iter().find(|listed| listed.name == self.nodes[node].name)
    }

    /// The number of the last entry of the log.
    pub fn last_entry(&self) -> u64 {
        let last =
            self.databases[0].sql(NAME, &format!("select coalesce(max(number), 0) from {NAME}.commits"));
        last.parse().expect("a number")
    }

    /// The first and the last entry that the log has, for people.
    fn log_range(&self) -> String {
        let range = format!("select min(number) || ' to ' || max(number) from {NAME}.commits");
        self.databases[0].try_sql(NAME, &range).unwrap_or_else(|said| said)
    }

    /// The number of the last entry that a node, which does not run, has applied.
    pub fn applied_by(&mut self, node: usize, outcome: &mut Outcome) -> u64 {
        assert!(!self.nodes[node].runs());
        applied(&held(&self.nodes[node], outcome)).expect("it has applied some")
    }

    /// Which node leads.
    pub fn leader(&self) -> usize {
        self.leader_but(None)
    }

    /// The same, once it is another one than this.
    pub fn leader_but(&self, not: Option<usize>) -> usize {
        let until = Instant::now() + SOON;
        loop {
            let leaders: Vec<_> =
                self.listed().into_iter().flatten().filter(|node| node.role == "leader").collect();
            if let [leader] = leaders.as_slice()
                && let Some(leader) = self.nodes.iter().position(|node| node.name == leader.name)
                && Some(leader) != not
            {
                return leader;
            }
            assert!(Instant::now() < until, "no one node leads: {:?}", self.listed());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One that follows.
    pub fn follower(&self) -> usize {
        (self.leader() + 1) % self.nodes.len()
    }

    /// Starts all that do not run, and waits until they listen. One that ends by itself is started again, as whatever
    /// supervises it would; that it has ended is wrong.
    pub fn start_all(&mut self, outcome: &mut Outcome) {
        let until = Instant::now() + SOON;
        for node in &mut self.nodes {
            let mut told = false;
            while !node.runs() || node.probe("healthz") != 200 {
                if let Some(ended) = node.ended() {
                    if !told {
                        outcome.is_wrong(&format!("{} ended with {ended}: {}", node.name, node.said()));
                        told = true;
                    }
                    std::thread::sleep(RESTARTED);
                }
                assert!(Instant::now() < until, "{} does not start: {}", node.name, node.said());
                if !node.runs() {
                    node.kill(); // of one that ended by itself nothing is left
                    node.start();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Waits until every node says that it is ready; where one does not, that is wrong.
    pub fn until_all_ready(&mut self, outcome: &mut Outcome) {
        let until = Instant::now() + SOON;
        for node in 0..self.nodes.len() {
            while self.nodes[node].probe("readyz") != 200 {
                if Instant::now() > until || !self.nodes[node].runs() {
                    let (listed, range) = (self.listed(), self.log_range());
                    let node = &mut self.nodes[node];
                    let (ended, said, name) = (node.ended(), node.said(), &node.name);
                    outcome.is_wrong(&format!(
                        "{name} is not ready; it ended with {ended:?}; the log is {range}; {listed:?}; {said}"
                    ));
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until every node that runs has all that the log has, and the same of it.
    pub fn until_same(&mut self) -> bool {
        let until = Instant::now() + SOON;
        loop {
            let listed = self.listed().unwrap_or_default();
            let is_same = |node: &Node| {
                let of_it = listed.iter().find(|listed| listed.name == node.name);
                of_it.is_some_and(|listed| match listed.role.as_str() {
                    "leader" => listed.behind == 0 && listed.same != Some(false),
                    "follower" => listed.behind == 0 && listed.same == Some(true),
                    _ => false,
                })
            };
            let running: Vec<_> =
                self.nodes.iter_mut().filter_map(|node| node.runs().then_some(&*node)).collect();
            if running.iter().all(|node| is_same(node)) && !running.is_empty() {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills all nodes, once they say that they are the same, and compares all that they hold, byte for byte; again, a few
    /// times, where one had a further entry. They do not run afterwards.
    pub fn compare(&mut self, outcome: &mut Outcome) {
        for comparison in 1..=COMPARISONS {
            self.start_all(outcome);
            if !self.until_same() {
                println!("the nodes do not say that they are the same: {:?}", self.listed());
                for node in &self.nodes {
                    println!("{}: {}", node.name, node.said());
                }
                outcome.unequal += 1;
                break;
            }
            self.nodes.iter_mut().for_each(Node::kill);
            let texts: Vec<_> = self.nodes.iter().map(|node| held(node, outcome)).collect();
            if texts.iter().all(|text| *text == texts[0]) {
                break;
            }
            let as_far = texts.iter().all(|text| applied(text) == applied(&texts[0]));
            if as_far || comparison == COMPARISONS {
                outcome.unequal += 1;
                println!("the nodes do not hold the same, in comparison {comparison}:");
                for (node, text) in self.nodes.iter().zip(&texts) {
                    print_difference(&self.nodes[0].name, &texts[0], &node.name, text);
                }
                break;
            }
        }
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// The last look at it all.
    pub fn end(mut self, load: &mut Load, mut outcome: Outcome) -> Outcome {
        load.check(&self.client, &mut outcome);
        self.compare(&mut outcome);
        outcome.panics += self.panics();
        outcome
    }

    pub fn panics(&self) -> u64 {
        self.nodes.iter().map(Node::panics).sum()
    }
}

fn until_ready(node: &mut Node) {
    let until = Instant::now() + SOON;
    while node.probe("readyz") != 200 {
        let ended = node.ended();
        assert!(ended.is_none(), "{} ended with {ended:?}: {}", node.name, node.said());
        assert!(Instant::now() < until, "{} is not ready: {}", node.name, node.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that a node that does not run holds, as text; of a copy, so that its folder stays as it was left.
pub fn held(node: &Node, outcome: &mut Outcome) -> String {
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::copy(node.data.join(DATABASE), copy.path().join(DATABASE)).expect("copied");
    let seal = Seal::from_file(&node.key).expect("the key");
    let store = Store::open_of_node(copy.path(), seal, &Metrics::default()).expect("it opens");
    let snapshot = store.handle().read().expect("a snapshot");
    for contradiction in render::contradictions(&snapshot).expect("readable") {
        outcome.is_wrong(&format!("{}: {contradiction}", node.name));
    }
    let text = render::text(&snapshot).expect("readable");
    drop(snapshot);
    store.close();
    text
}

/// The number of the last entry that is in it.
fn applied(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("  applied ")?.parse().ok())
}

fn print_difference(one: &str, text: &str, other: &str, other_text: &str) {
    let (applied, other_applied) = (applied(text), applied(other_text));
    let differing =
        text.lines().zip(other_text.lines()).enumerate().filter(|(_, (line, other))| line != other);
    let differing: Vec<_> = differing.take(3).collect();
    if differing.is_empty() && text.len() == other_text.len() {
        return;
    }
    let lengths = (text.lines().count(), other_text.lines().count());
    println!("{one} (applied {applied:?}) and {other} ({other_applied:?}), of {lengths:?} lines:");
    for (n, (line, other)) in differing {
        println!("  {n}: {line}\n  {n}: {other}");
    }
}
