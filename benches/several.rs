//! Nodes of one fleet on a PostgreSQL that is started for them, and one that watches how far a follower is behind.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::free_port;
use crate::line::{Line, request};
use crate::postgres::{NAME, Postgres};
use crate::served::{Running, Server, command};

/// Within this time a node is what it is to be.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long an answer to a batch may take, in seconds.
pub const WAIT: u32 = 300;

/// The nodes; the first one leads.
pub struct Several {
    pub nodes: Vec<Server>,
    key: NamedTempFile,
    pub postgres: Postgres,
}

impl Several {
    /// A database, and a node that leads.
    pub fn start() -> Self {
        let key = NamedTempFile::new().expect("a file"); // which nobody else may read, as a key's has to be
        std::fs::write(key.path(), (0..64).map(|_| fastrand::digit(16)).collect::<String>())
            .expect("written");
        let mut several = Self { nodes: Vec::new(), key, postgres: Postgres::new() };
        let leader = several.start_node();
        several.add(leader);
        several
    }

    pub fn leader(&self) -> &Server {
        &self.nodes[0]
    }

    /// Has a node more.
    pub fn add_follower(&mut self) {
        let follower = self.start_node();
        self.add(follower);
    }

    fn add(&mut self, running: Running) {
        let ready = || {
            let answer = ureq::get(format!("http://{}/readyz", running.addresses[0])).call();
            answer.is_ok() // another status is an error
        };
        until("a node is ready", ready);
        self.nodes.push(Server::of(running, WAIT));
    }

    /// One more, with an empty folder, which listens and perhaps no more than that.
    pub fn start_node(&self) -> Running {
        let address = format!("127.0.0.1:{}", free_port());
        let database = format!("postgres://{NAME}@127.0.0.1:{}/{NAME}", self.postgres.port);
        let (name, url) = (name_at(&address), format!("http://{address}"));
        let serve = ["serve", "--listen", &address, "--cluster", &database, "--node", &name];
        let mut command = command();
        command.args(serve).args(["--advertise", &url, "--key-file"]).arg(self.key.path());
        Running::start(&mut command, 1)
    }

    /// The number of the last entry of the log.
    pub fn last_entry(&self) -> u64 {
        self.postgres
            .sql(NAME, "select coalesce(max(number), 0) from panelsync.commits")
            .parse()
            .expect("a number")
    }

    /// Bytes of the entries from the one after the first of these to the second; nothing where the log has dropped some.
    pub fn bytes_of(&self, after: u64, last: u64) -> Option<u64> {
        let sum = format!(
            "select count(*) || ' ' || coalesce(sum(octet_length(body)), 0) from panelsync.commits where number > {after} and number <= {last}"
        );
        let sum = self.postgres.sql(NAME, &sum);
        let (count, bytes) = sum.split_once(' ').expect("two numbers");
        (count.parse() == Ok(last - after)).then(|| bytes.parse().expect("a number"))
    }

    /// Waits until every follower has what the log has.
    pub fn settle(&self) {
        let last = self.last_entry();
        for follower in &self.nodes[1..] {
            let url = format!("http://{}/metrics", follower.address());
            let metrics = || ureq::get(&url).call().ok()?.body_mut().read_to_vec().ok();
            until("a follower has all", || {
                metrics().and_then(|metrics| applied(&metrics)).is_some_and(|at| at >= last)
            });
        }
    }

    /// Whether the node that listens there is the same as the others, as the leader says.
    pub fn is_same(&self, node: SocketAddr) -> bool {
        let name = name_at(&node.to_string());
        let listed = self.leader().get("/nodes");
        let nodes = listed["items"].as_array().expect("a list");
        nodes.iter().any(|node| node["name"] == name && node["role"] == "follower" && node["same"] == true)
    }
}

fn name_at(address: &str) -> String {
    format!("at-{}", address.rsplit(':').next().unwrap_or_default())
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < patience, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last entry that a node has applied, by what it says of itself.
fn applied(metrics: &[u8]) -> Option<u64> {
    let metrics = std::str::from_utf8(metrics).ok()?;
    metrics.lines().find_map(|line| line.strip_prefix("panelsync_cluster_applied ")?.parse().ok())
}

/// Between two questions to the follower.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// Until it is over, hears of each entry when it is in the log, and asks the follower which one it has applied. Gives for each
/// entry the milliseconds in between, which are at most those of one question too many.
pub async fn watch(database: u16, follower: SocketAddr, over: &AtomicBool) -> Vec<f64> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(database).user(NAME).dbname(NAME);
    let (client, mut connection) = config.connect(NoTls).await.expect("a connection");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let hearing = tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let Ok(AsyncMessage::Notification(entry)) = message
                && let Ok(number) = entry.payload().parse::<u64>()
            {
                let _ = tell.send((number, Instant::now())); // nobody hears it at the end
            }
        }
    });
    client.batch_execute("listen panelsync").await.expect("it listens");
    let behind = follow(&mut told, follower, over).await;
    hearing.abort();
    behind
}

async fn follow(
    told: &mut UnboundedReceiver<(u64, Instant)>,
    follower: SocketAddr,
    over: &AtomicBool,
) -> Vec<f64> {
    let metrics = Rc::new(request("GET", "/metrics", "", "", ""));
    let mut line = Line::to(follower).await;
    let (mut waiting, mut behind) = (std::collections::VecDeque::new(), Vec::new());
    while !over.load(Ordering::Relaxed) || !waiting.is_empty() {
        let applied = applied(line.ask(&metrics).await).expect("it says so");
        let seen = Instant::now();
        while let Ok(entry) = told.try_recv() {
            waiting.push_back(entry);
        }
        while let Some((_, since)) = waiting.pop_front_if(|(number, _)| *number <= applied) {
            behind.push(seen.saturating_duration_since(since).as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    behind
}
