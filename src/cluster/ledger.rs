//! What the store's writer does with the log while this node leads: each commit is appended before it counts.
//!
//! It runs on the writer's thread, with a connection of its own that nobody else asks on. What came of an append whose answer was
//! lost is found in the log, by the reign and the number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::lead::Lead;
use super::log::{Address, Log, LogError};
use crate::store::entry::{EntryTag, Place, open_entry, seal_entry, tag_of};
use crate::store::migrate::FORMAT;
use crate::store::seal::Seal;
use crate::store::shipped::{Changes, Ledger, Position, Refused};
use crate::telemetry::ClusterMetrics;

/// How long a commit waits for the log.
const APPEND_WITHIN: Duration = Duration::from_secs(5);

/// Why a reign is over, where the log says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// Another node has written in a later reign.
    Deposed,
    /// The log went another way than this node, at this entry.
    Apart(u64),
}

/// The log of one reign, for the writer.
pub struct PostgresLedger {
    address: Arc<Address>,
    seal: Arc<Seal>,
    lead: Arc<Lead>,
    /// Where the node hears that the reign is over.
    over: watch::Sender<Option<Over>>,
    metrics: ClusterMetrics,
    log: Option<Log>,
    runtime: Runtime,
}

impl PostgresLedger {
    /// For this reign.
    pub fn new(
        address: Arc<Address>,
        seal: Arc<Seal>,
        lead: Arc<Lead>,
        over: watch::Sender<Option<Over>>,
        metrics: ClusterMetrics,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address, seal, lead, over, metrics, log: None, runtime })
    }

    fn end(&mut self, over: Over) -> Refused {
        let refused = if over == Over::Deposed { Refused::Taken } else { Refused::Apart };
        self.lead.end();
        self.over.send_replace(Some(over));
        self.log = None;
        refused
    }

    /// What a failure means. The next call takes a new connection.
    fn refused(&mut self, error: &LogError) -> Refused {
        tracing::warn!(%error, "the log of all nodes did not take a commit, or did not say so");
        self.log = None;
        Refused::Gone
    }

    /// Connects, if there is no connection. A database that is another one now, by a failover or by hand, has perhaps lost
    /// entries: the last one that is applied here must be there.
    fn connect(&mut self, at: Position) -> Result<(), Refused> {
        if self.log.as_ref().is_some_and(|log| !log.is_closed()) {
            return Ok(());
        }
        let address = Arc::clone(&self.address);
        let opened = self.runtime.block_on(async {
            let log = address.open().await?;
            let follows = follows(&log, at).await?;
            Ok((log, follows))
        });
        match opened {
            Ok((log, true)) => {
                self.log = Some(log);
                Ok(())
            }
            Ok((_, false)) => Err(self.end(Over::Apart(at.number))),
            Err(error) => Err(self.refused(&error)),
        }
    }
}

/// The place of the entry after this one.
fn place_after(after: Position, reign: u64) -> Place {
    Place { number: after.number + 1, reign, before: after.tag }
}

/// Whether the log has this entry, as it is applied here, or begins after it. Where that was dropped, the entry after it
/// shows when it is opened whether it is the one after this.
pub async fn follows(log: &Log, at: Position) -> Result<bool, LogError> {
    let (tag, range) = log.tag_at(at.number).await?;
    if let Some(tag) = tag {
        return Ok(tag == at.tag);
    }
    if range.is_some_and(|(first, _)| first == at.number + 1) {
        return Ok(true);
    }
    let fleet = log.fleet().await?;
    Ok(fleet.is_some_and(|fleet| fleet.base == at))
}

impl Ledger for PostgresLedger {
    fn append(&mut self, after: Position, changes: &Changes) -> Result<EntryTag, Refused> {
        if self.over.borrow().is_some() {
            return Err(Refused::Taken);
        }
        if !self.lead.holds() {
            return Err(Refused::Gone); // others lead perhaps; if not, the next sign of life says so
        }
        self.connect(after)?;
        let place = place_after(after, self.lead.reign());
        let body = seal_entry(&self.seal, &place, changes).map_err(|_| Refused::Gone)?;
        let Some(tag) = tag_of(&body) else { return Err(Refused::Gone) };
        let Some(log) = &mut self.log else { return Err(Refused::Gone) };
        let began = Instant::now();
        let appending = log.append(place.number, place.reign, FORMAT, &body, APPEND_WITHIN);
        match self.runtime.block_on(appending) {
            Ok(()) => {
                self.metrics.appended(body.len(), began.elapsed());
                Ok(tag)
            }
            // Perhaps it is one of our own, whose answer was lost: that shows when it is read.
            Err(LogError::Taken) => Err(Refused::Gone),
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn entry(&mut self, after: Position) -> Result<Option<(Changes, EntryTag)>, Refused> {
        if self.over.borrow().is_some() {
            return Err(Refused::Taken);
        }
        self.connect(after)?;
        let Some(log) = &self.log else { return Err(Refused::Gone) };
        let entry = match self.runtime.block_on(log.after(after.number, 1)) {
            Ok(rows) => rows.into_iter().next(),
            Err(error) => return Err(self.refused(&error)),
        };
        let Some(entry) = entry else { return Ok(None) };
        if entry.number != after.number + 1 {
            return Err(self.end(Over::Apart(after.number + 1)));
        }
        if entry.reign > self.lead.reign() {
            return Err(self.end(Over::Deposed));
        }
        match open_entry(&self.seal, &place_after(after, entry.reign), &entry.body) {
            Ok(opened) => Ok(Some(opened)),
            Err(_) => Err(self.end(Over::Apart(entry.number))),
        }
    }
}
