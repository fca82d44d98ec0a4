//! The life of one of several nodes: it follows the log, takes the lead when nobody has it, and leads until it is deposed, gives
//! the lead away, or stops.
//!
//! Following: entries are applied as they come. The lead is taken once no sign of life was seen for the time that is set, by this
//! node's own clock, which begins anew with every connection: that the database was away deposes nobody. To take it is to be
//! the first to write down a new reign; then what the log has is applied to its end, and the first commit, which every start
//! makes, is the entry from which on nobody of an earlier reign can append.
//!
//! Leading: a sign of life goes out every sixth of that time, and the node leads for two thirds of it from when the last one
//! was *sent* that the log has taken. So it has stopped before anybody else begins, whatever pauses it.
//!
//! Stepping down: nothing is waited for. What was not answered is answered by nobody, or as perhaps done.

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use tokio::sync::watch;

use super::StartError;
use crate::cluster::lead::{Lead, Moment};
use crate::cluster::ledger::follows;
use crate::cluster::log::{Address, EntryRow, LeadRow, Log, LogError, Look, Me};
use crate::cluster::nodes::Nodes;
use crate::cluster::peers::Peers;
use crate::cluster::worker::{Shows, Worker};
use crate::cluster::{leads_for, look_every};
use crate::config::Settings;
use crate::http::front::{Front, Leader, Place as Answered};
use crate::panel::device::relay::Hello;
use crate::panel::settings::Trust;
use crate::store::OpenError;
use crate::store::entry::{Place, open_entry};
use crate::store::follower::Follower;
use crate::store::migrate::FORMAT;
use crate::store::seal::Seal;
use crate::store::shipped::Position;
use crate::telemetry::Metrics;

mod joining;
mod leading;
mod no_leader;

pub use joining::prepare;

/// Entries that are applied in one transaction at most.
const AT_ONCE: u32 = 64;

/// Between two tries to reach the log, or to open the database.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Between two tries to write on a disk that has failed.
const DISK_AGAIN: Duration = Duration::from_secs(1);

/// Between two looks for entries that nobody needs any more.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// What a node is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Follow, and lead when nobody does.
    Take,
    /// Follow only.
    Follow,
    /// End.
    End,
}

/// Why a node cannot be one of this fleet. Somebody has to look at it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The log's database.
    #[error("{0}")]
    Log(#[from] LogError),
    /// What it is asked to do cannot be done.
    #[error("{0}")]
    Cannot(String),
    /// Its history and the log's are not the same.
    #[error(
        "this node and the log went different ways at entry {0}: the log's database has lost entries, or was put back to an older copy. \
         Nothing is changed here. Look at `panelsync node ls` on another node; to follow the log again, move the data folder {1} away \
         and start with an empty one"
    )]
    Apart(u64, String),
    /// An entry that cannot be read.
    #[error(
        "entry {0} of the log cannot be opened: it was changed in the database, or this node's history is another one. Nothing is changed \
         here. To follow the log behind it, move the data folder {1} away and start with an empty one"
    )]
    Unreadable(u64, String),
    /// An entry of a later version.
    #[error(
        "entry {0} of the log has format {1}, and this version reads formats up to {FORMAT}; upgrade this node"
    )]
    Newer(u64, u32),
    /// Another run of a node with this name.
    #[error(
        "another node is called {0} now, and has taken this one's place; give each a --node name of its own"
    )]
    NameTaken(String),
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The rooms above.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process.
    #[error("the node's work ended: {0}")]
    Ended(String),
}

/// One of several nodes.
pub struct Node {
    settings: Settings,
    ttl: Duration,
    address: Arc<Address>,
    seal: Arc<Seal>,
    me: Me,
    metrics: Metrics,
    front: Arc<Front>,
    trust: Trust,
    nodes: Arc<Nodes>,
    wish: watch::Receiver<Wish>,
    /// Told where the leader is, to the part that talks to devices for it.
    hub: watch::Sender<Option<String>>,
    /// Told the first user's password, where one is made up.
    first_password: watch::Sender<Option<String>>,
    /// The alerts that are for when nobody leads.
    alerts: no_leader::Known,
}

/// What follows after following.
enum Followed {
    /// The lead was taken.
    Led(Arc<Lead>),
    /// It is to end.
    Ended,
}

impl Node {
    /// What is said where the node's history is not the log's.
    fn folder(&self) -> String {
        self.settings.data_dir.display().to_string()
    }

    /// Lives until it is to end, or cannot go on.
    pub async fn run(mut self) -> Result<(), NodeError> {
        let talks_to_devices = self.talk_to_devices();
        let tells = self.tell_without_leader();
        let lived = self.live().await;
        tells.stop();
        talks_to_devices.stop();
        lived
    }

    /// Talks to devices for whoever leads, on a thread of its own.
    fn talk_to_devices(&self) -> Arbiter {
        let arbiter = Arbiter::new();
        let shows = Shows::Node(Arc::clone(&self.nodes.peers));
        let (trust, hub) = (self.trust.clone(), self.hub.subscribe());
        let hello = Hello {
            name: self.me.name.clone(),
            run: self.me.run,
            concurrency: self.settings.devices.concurrency,
            selector: None,
        };
        arbiter.spawn_fn(move || {
            actix_web::rt::spawn(Worker { hello, shows, trust, hub }.run());
        });
        arbiter
    }

    async fn live(&mut self) -> Result<(), NodeError> {
        loop {
            match self.follow().await? {
                Followed::Ended => break,
                Followed::Led(lead) => self.lead(lead).await?,
            }
        }
        self.front.set(Answered::Nowhere);
        if let Ok(log) = self.address.open().await {
            let _ = log.leave(&self.me).await; // it is found away a little later otherwise
        }
        Ok(())
    }

    fn wish(&self) -> Wish {
        *self.wish.borrow()
    }

    /// Waits for this long, or until something else is wished.
    async fn pause(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, self.wish.changed()).await;
    }

    async fn open_follower(&mut self) -> Result<Option<Follower>, NodeError> {
        loop {
            let (folder, seal) = (self.settings.data_dir.clone(), Arc::clone(&self.seal));
            match blocking(move || Follower::open(&folder, seal)).await? {
                Ok(follower) => {
                    self.know_alerts(&follower);
                    return Ok(Some(follower));
                }
                Err(OpenError::InUse(_)) if self.wish() == Wish::End => return Ok(None),
                Err(error) if is_of_the_disk(&error) && self.wish() == Wish::End => return Ok(None),
                // Somebody still reads what was led here.
                Err(OpenError::InUse(_)) => self.pause(TRY_AGAIN).await,
                Err(error) if is_of_the_disk(&error) => self.await_disk(error).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the disk perhaps has room again. Requests find the leader meanwhile.
    async fn await_disk(&mut self, error: OpenError) {
        tracing::warn!(%error, "what the log has cannot be written here; trying again");
        let seen = match self.address.open().await {
            Ok(log) => log.peek(&self.me).await,
            Err(error) => Err(error),
        };
        match seen {
            Ok(look) => self.say_who_leads(&look.lead),
            Err(_) => self.front.set(Answered::Nowhere),
        }
        self.pause(DISK_AGAIN).await;
    }

    /// Follows the log, until the lead is taken or the node is to end.
    async fn follow(&mut self) -> Result<Followed, NodeError> {
        let Some(mut follower) = self.open_follower().await? else { return Ok(Followed::Ended) };
        let mut said = false;
        loop {
            if self.wish() == Wish::End {
                return Ok(Followed::Ended);
            }
            let log = match self.connect().await {
                Ok(log) => log,
                Err(error) => {
                    if !said {
                        tracing::warn!(%error, "the log's database is not reached; trying again");
                    }
                    said = true;
                    self.front.set(Answered::Nowhere);
                    self.pause(TRY_AGAIN).await;
                    continue;
                }
            };
            said = false;
            match self.follow_on(&log, follower).await {
                Ok((_, Some(lead))) => return Ok(Followed::Led(lead)),
                Ok((_, None)) if self.wish() == Wish::End => return Ok(Followed::Ended),
                Ok((still, None)) => follower = still,
                Err(NodeError::Open(error)) if is_of_the_disk(&error) => {
                    self.await_disk(error).await;
                    let Some(again) = self.open_follower().await? else { return Ok(Followed::Ended) };
                    follower = again;
                }
                Err(NodeError::Log(error @ LogError::Unreachable(_))) => {
                    tracing::warn!(%error, "the log's database does not answer; trying again");
                    let Some(again) = self.open_follower().await? else { return Ok(Followed::Ended) };
                    follower = again;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self) -> Result<Log, LogError> {
        let log = self.address.open().await?;
        log.listen().await?;
        Ok(log)
    }

    /// Follows the log on one connection. Comes back without a lead when the database is to be opened again, or the node is
    /// to end.
    async fn follow_on(
        &mut self,
        log: &Log,
        follower: Follower,
    ) -> Result<(Follower, Option<Arc<Lead>>), NodeError> {
        let mut follower = self.catch_up_with_trimmed(log, follower).await?;
        let mut seen: Option<(LeadRow, Moment)> = None;
        let mut known: Option<(u64, Moment)> = None;
        let mut looked: Option<Moment> = None;
        let mut more = false;
        loop {
            let position = follower.position();
            let entries = log.after(position.number, AT_ONCE).await?;
            let had_more = std::mem::replace(&mut more, !entries.is_empty());
            if entries.first().is_some_and(|entry| entry.number != position.number + 1) {
                return Ok((follower, None)); // what comes next was dropped: it is looked at anew
            }
            if more {
                follower = self.apply(follower, entries).await?;
            }
            let applied = follower.position();
            if let (Some((last, at)), Some(node)) = (known, self.front.node())
                && applied.number >= last
            {
                node.caught_up.store(Arc::new(Some(at)));
            }
            self.metrics.cluster.applied.set(applied.number as i64);
            let is_due = looked.is_none_or(|at| at.elapsed() >= look_every(self.ttl));
            // While entries come, who leads is as it was; a look costs the log's database a write.
            if (more || had_more) && !is_due && self.wish() != Wish::End {
                if !more {
                    self.await_news(log).await;
                }
                continue;
            }
            let sent = Moment::now();
            looked = Some(sent);
            let look = log.look(&self.me, applied).await?;
            if !look.is_me {
                return Err(NodeError::NameTaken(self.me.name.clone()));
            }
            known = Some((look.last, sent));
            self.note(&look, applied);
            self.know_alerts(&follower);
            if self.wish() == Wish::End {
                return Ok((follower, None));
            }
            self.say_who_leads(&look.lead);
            if !seen.as_ref().is_some_and(|(lead, _)| *lead == look.lead) {
                seen = Some((look.lead.clone(), Moment::now())); // it may have been said since the look began
            }
            let silent = seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
            // What this name led in an earlier run, or before it stepped down, nobody leads.
            let is_free = look.lead.node.is_empty() || look.lead.node == self.me.name || silent > self.ttl;
            // One that has all goes first.
            let has_all = applied.number >= look.last || silent > self.ttl * 2;
            if is_free && has_all && self.wish() == Wish::Take {
                let sent = Moment::now();
                let url = self.nodes.peers.vouch(&self.me.name, &self.me.url);
                if let Some(reign) = log.take_lead(&look.lead, &self.me, &url).await? {
                    tracing::info!(reign, silent_ms = silent.as_millis() as u64, "taking the lead");
                    self.front.set(Answered::Nowhere); // the one before answers nothing any more
                    self.hub.send_replace(None);
                    let lead = Arc::new(Lead::new(reign, sent, leads_for(self.ttl)));
                    return Ok((follower, Some(lead)));
                }
                continue;
            }
            if !more {
                self.await_news(log).await;
            }
        }
    }

    /// Waits until something is perhaps new in the log, or something else is wished; as long as to the next look at most.
    async fn await_news(&mut self, log: &Log) {
        tokio::select! {
            () = log.news() => {}
            _ = self.wish.changed() => {}
            () = tokio::time::sleep(look_every(self.ttl)) => {}
        }
    }

    /// Tells whoever asks how the nodes are.
    fn note(&self, look: &Look, applied: Position) {
        let cluster = &self.metrics.cluster;
        cluster.reign.set(look.lead.reign as i64);
        cluster.applied.set(applied.number as i64);
        cluster.behind.set(look.last.saturating_sub(applied.number) as i64);
        self.nodes.see(look.clone());
    }

    fn say_who_leads(&self, lead: &LeadRow) {
        let url = leader_url(&self.nodes.peers, lead).filter(|_| lead.node != self.me.name);
        self.hub.send_if_modified(|hub| {
            let before = std::mem::replace(hub, url.clone());
            before != url
        });
        self.front.set(match url {
            Some(url) => Answered::There(Leader { node: lead.node.clone(), url }),
            None => Answered::Nowhere,
        });
    }

    /// Where the log does not reach back to what this node has, it is copied from the leader again. Where the log has another
    /// history, the node ends.
    async fn catch_up_with_trimmed(&mut self, log: &Log, follower: Follower) -> Result<Follower, NodeError> {
        let position = follower.position();
        if follows(log, position).await? {
            return Ok(follower);
        }
        let (_, range) = log.tag_at(position.number).await?;
        match range {
            Some((first, _)) if position.number + 1 < first => {
                tracing::warn!(
                    applied = position.number,
                    first,
                    "this node was away for so long that the log has dropped what it needs; copying everything from the leader"
                );
                drop(follower);
                joining::copy_again(self, log).await?;
                let opened = self.open_follower().await?;
                opened.ok_or_else(|| NodeError::Ended("it was to end while it copied".into()))
            }
            _ => Err(NodeError::Apart(position.number, self.folder())),
        }
    }

    /// Knows the alerts that are for when nobody leads.
    fn know_alerts(&self, follower: &Follower) {
        let alerts = follower.snapshot().map(|snapshot| snapshot.alerts_for(no_leader::TOPIC));
        if let Ok(Ok(alerts)) = alerts {
            self.alerts.store(Arc::new(alerts));
        }
    }

    async fn apply(&self, mut follower: Follower, rows: Vec<EntryRow>) -> Result<Follower, NodeError> {
        let (seal, folder) = (Arc::clone(&self.seal), self.folder());
        blocking(move || {
            let mut at = follower.position();
            let mut entries = Vec::with_capacity(rows.len());
            for row in rows {
                if row.number != at.number + 1 {
                    return Err(NodeError::Apart(at.number + 1, folder));
                }
                if row.format != FORMAT {
                    return Err(NodeError::Newer(row.number, row.format));
                }
                let place = Place { number: row.number, reign: row.reign, before: at.tag };
                let opened = open_entry(&seal, &place, &row.body);
                let (changes, tag) = opened.map_err(|_| NodeError::Unreadable(row.number, folder.clone()))?;
                at = Position { number: row.number, tag };
                entries.push((changes, tag));
            }
            follower.apply(&entries)?;
            Ok(follower)
        })
        .await?
    }
}

/// Where the leader is, where there is one, and it has vouched for that: whoever can write to the database could send
/// everybody elsewhere otherwise.
fn leader_url(peers: &Peers, lead: &LeadRow) -> Option<String> {
    if lead.node.is_empty() {
        return None;
    }
    let url = peers.vouched(&lead.node, &lead.url);
    if url.is_none() {
        tracing::error!(
            node = lead.node,
            "the address of the leader in the log's database is none of the fleet's"
        );
    }
    url
}

/// Whether it is the disk that fails, for a time or for want of room, rather than what stands on it.
fn is_of_the_disk(error: &OpenError) -> bool {
    match error {
        OpenError::Store(_, error) => error.is_of_the_disk(),
        OpenError::Database(_, error) => matches!(**error, redb::Error::Io(_)),
        _ => false,
    }
}

/// Does what takes a while on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| NodeError::Ended(error.to_string()))
}
