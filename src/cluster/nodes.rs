//! The nodes, as this one has seen them last, and what can be asked of them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::lead::Moment;
use super::log::{Address, LogError, Look};
use super::peers::Peers;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// It was not heard of for a while.
    Away,
}

impl Role {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Away => "away",
        }
    }
}

/// A node, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Where it is.
    pub url: String,
    /// Its version.
    pub version: String,
    /// The last entry of the log that it has applied.
    pub applied: u64,
    /// Entries of the log that it has not applied.
    pub behind: u64,
    /// How long it was not seen.
    pub unseen: Duration,
    /// Whether its last entry is that of the log; nothing where the log does not have that one any more.
    pub same: Option<bool>,
}

/// What came of forgetting a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is forgotten.
    Removed,
    /// There is none of this name.
    NoSuchNode,
    /// It lives.
    Alive,
}

/// The nodes.
pub struct Nodes {
    /// Signs and checks what nodes say to each other.
    pub peers: Arc<Peers>,
    name: String,
    address: Arc<Address>,
    away_after: Duration,
    seen: ArcSwapOption<(Look, Moment)>,
    release: Notify,
}

impl Nodes {
    /// None is seen yet by the node of this name. One that was not heard of for so long is away.
    pub fn new(name: String, address: Arc<Address>, away_after: Duration, peers: Arc<Peers>) -> Self {
        Self { peers, name, address, away_after, seen: ArcSwapOption::default(), release: Notify::new() }
    }

    /// This was seen just now.
    pub fn see(&self, look: Look) {
        self.seen.store(Some(Arc::new((look, Moment::now()))));
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<NodeState> {
        let seen = self.seen.load();
        let Some((look, at)) = seen.as_deref() else { return Vec::new() };
        let since = at.elapsed();
        let states = look.nodes.iter().map(|node| {
            // Whoever is asked is here.
            let unseen = if node.name == self.name { Duration::ZERO } else { node.unseen + since };
            let role = if unseen > self.away_after || node.has_left() {
                Role::Away
            } else if node.name == look.lead.node {
                Role::Leader
            } else {
                Role::Follower
            };
            NodeState {
                name: node.name.clone(),
                role,
                url: node.url.clone(),
                version: node.version.clone(),
                applied: node.applied,
                behind: look.last.saturating_sub(node.applied),
                unseen,
                same: node.same,
            }
        });
        states.collect()
    }

    /// The number of the last reign that was seen.
    pub fn reign(&self) -> u64 {
        self.seen.load().as_deref().map_or(0, |(look, _)| look.lead.reign)
    }

    /// Whether another node is heard of.
    pub fn has_others(&self) -> bool {
        self.list().iter().any(|node| node.name != self.name && node.role != Role::Away)
    }

    /// The node that leads is to give the lead to another.
    pub fn release(&self) {
        self.release.notify_one();
    }

    /// Resolves when the lead is to be given to another.
    pub async fn released(&self) {
        self.release.notified().await;
    }

    /// Forgets a node that is away: the log need not be kept for it.
    pub async fn remove(&self, name: &str) -> Result<Removal, LogError> {
        if !self.list().iter().any(|node| node.name == name) {
            return Ok(Removal::NoSuchNode);
        }
        let log = self.address.open().await?;
        let removed = log.remove_node(name, self.away_after).await?;
        if let (true, Some(seen)) = (removed, self.seen.load_full()) {
            let (mut look, at) = (*seen).clone();
            look.nodes.retain(|node| node.name != name);
            self.seen.store(Some(Arc::new((look, at))));
        }
        Ok(if removed { Removal::Removed } else { Removal::Alive })
    }
}
