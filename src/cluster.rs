//! Several nodes, one fleet: one node leads and ships each commit to a log in PostgreSQL before it counts; the others follow,
//! and one of them takes over when it is gone.
//!
//! It is responsible for
//!
//! 1. the log: where its entries are, who leads, which nodes there are ([`log`]);
//! 2. what the store's writer does with it while this node leads ([`ledger`]);
//! 3. for how long this node leads, by its own clock ([`lead`]);
//! 4. which nodes there are ([`nodes`]), what they say to each other, and how that is believed ([`peers`]);
//! 5. those who talk to devices for the leader ([`worker`]).
//!
//! What protects the log is the number of each entry: a node appends the one after the last that it has applied, and where
//! somebody else has done that before, it does not lead. Who leads stands beside it as a sign of life. The life of a node,
//! which needs all rooms, is in [`crate::server::node`].

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Secret;

pub mod lead;
pub mod ledger;
pub mod log;
pub mod nodes;
pub mod peers;
pub mod worker;

/// How a node is asked to run.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The log's database, `postgres://…`. It may hold a password.
    pub database: Secret,
    /// The node's name, which no other has.
    pub node: String,
    /// The URL under which the other nodes reach this one.
    pub advertise: String,
    /// How long a leader is not heard of before another takes over.
    pub ttl: Duration,
    /// The CA of the database's and the other nodes' certificates; without one, what the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// Between two signs of life, for a leader that may be silent so long.
pub fn beat_every(ttl: Duration) -> Duration {
    ttl / 6
}

/// Between two looks at who leads and how the nodes are.
pub fn look_every(ttl: Duration) -> Duration {
    beat_every(ttl).min(Duration::from_secs(1))
}

/// A node that was not heard of for so long is away: a leader that may be silent for a moment only is given more.
pub fn away_after(ttl: Duration) -> Duration {
    ttl.max(Duration::from_secs(3))
}

/// For how long a leader leads after a sign of life was sent, where others take over after so long.
pub fn leads_for(ttl: Duration) -> Duration {
    ttl * 2 / 3
}
