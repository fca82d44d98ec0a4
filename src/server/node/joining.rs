//! How a node comes to a fleet: it founds the log, or it has a part of it already, or it copies everything from the leader.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Node, NodeError, Wish, blocking, leader_url};
use crate::clock;
use crate::cluster::ledger::follows;
use crate::cluster::log::{Address, FleetRow, Log, LogError, Me};
use crate::cluster::nodes::Nodes;
use crate::cluster::peers::{NODE, Peers, is_name};
use crate::cluster::{ClusterSettings, away_after, beat_every};
use crate::config::{KeySource, Settings};
use crate::http::front::{Front, NodeFront};
use crate::panel::device::line::connection::{self, Connection};
use crate::panel::device::line::trust::Configs;
use crate::panel::settings::Trust;
use crate::store::follower::{self, Standing};
use crate::store::migrate::FORMAT;
use crate::store::shipped::Position;
use crate::store::{FILE_NAME, Store, backup, private};
use crate::telemetry::Metrics;
use crate::web;

/// How long a leader may take to answer, and from one piece of the copy to the next.
const COPY_PATIENCE: Duration = Duration::from_mins(1);

/// So often it is looked whether a node of the same name shows itself, over three of its signs.
const LOOKS: u32 = 10;

/// The copy while it comes.
const COMING: &str = "panelsync.redb.coming";

/// The database that a copy replaces, until that is there.
const BEFORE: &str = "panelsync.redb.before";

fn cannot(why: impl Into<String>) -> NodeError {
    NodeError::Cannot(why.into())
}

/// Finds what is said in the settings, founds the log or joins the fleet, and gives the node and where its requests come in.
pub async fn prepare(
    settings: &Settings,
    cluster: &ClusterSettings,
    metrics: &Metrics,
    wish: watch::Receiver<Wish>,
    first_password: watch::Sender<Option<String>>,
) -> Result<(Node, Arc<Front>), NodeError> {
    let ClusterSettings { database, node, advertise, ttl, ca_file } = cluster;
    if !is_name(node) {
        return Err(cannot(format!(
            "--node {node:?} is no name: it takes up to 63 letters, digits, - _ and ., and begins with one of the first two"
        )));
    }
    let url = advertise.trim_end_matches('/').to_owned();
    let is_bare = url.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#', '@']));
    if connection::Address::parse(&url).is_err() || !is_bare {
        return Err(cannot(format!("--advertise {advertise:?} is no URL such as https://10.0.0.5:8443")));
    }
    if matches!(settings.key, KeySource::DataFolder) {
        return Err(cannot(
            "nodes share a key: give all of them the same with --key-file FILE or PANELSYNC_KEY; for a server that has run alone, a copy of panelsync.key from its data folder",
        ));
    }
    let trust = match ca_file {
        Some(file) => Trust::from_file(file).map_err(|why| cannot(format!("--cluster-ca-file: {why}")))?,
        None => Trust::System,
    };
    let seal = Arc::new(settings.key.seal(&settings.data_dir).map_err(crate::store::OpenError::from)?);
    let address = Address::parse(&database.0, &trust, node).map_err(|why| {
        cannot(format!("--cluster is no address such as postgres://panelsync@db1/panelsync: {why}"))
    })?;
    if address.is_open() {
        tracing::warn!(
            "what goes to the log's database is sealed, but its password is not; add sslmode=require to --cluster"
        );
    }
    crate::store::make_folder(&settings.data_dir)?;
    let address = Arc::new(address);
    let mut log = address.open().await.map_err(|error| {
        cannot(format!("{error} ({}); is --cluster right, and does PostgreSQL run there?", address.hosts()))
    })?;
    let me = Me { name: node.clone(), url, run: Uuid::new_v4() };
    let peers = Arc::new(Peers::new(&seal));
    let front = NodeFront::new(
        node.clone(),
        Arc::clone(&peers),
        trust.clone(),
        metrics.clone(),
        settings,
        web::nodes::nobody_leads,
    );
    let front = Front::of_node(front);
    let nodes = Arc::new(Nodes::new(node.clone(), Arc::clone(&address), away_after(*ttl), peers));
    let node = Node {
        settings: settings.clone(),
        ttl: *ttl,
        address,
        seal,
        me,
        metrics: metrics.clone(),
        front: Arc::clone(&front),
        trust,
        nodes,
        wish,
        hub: watch::Sender::new(None),
        first_password,
        alerts: super::no_leader::Known::default(),
    };
    node.join(&mut log).await?;
    Ok((node, front))
}

impl Node {
    /// Founds the log, or joins the fleet that it is of.
    async fn join(&self, log: &mut Log) -> Result<(), NodeError> {
        let folder = self.settings.data_dir.clone();
        let standing = blocking({
            let folder = folder.clone();
            move || {
                put_back(&folder);
                follower::look(&folder)
            }
        })
        .await??;
        let fleet = match log.fleet().await? {
            Some(fleet) => fleet,
            None => match self.found(log, standing).await? {
                Some(fleet) => fleet,
                None => return self.enrol(log).await,
            },
        };
        if self.seal.open_in("cluster", fleet.id.as_bytes(), &fleet.key_check).is_err() {
            return Err(cannot(
                "the fleet of this log has another key; give that one with --key-file or PANELSYNC_KEY",
            ));
        }
        if fleet.format > FORMAT {
            return Err(cannot(format!(
                "the log has format {}, and this version reads formats up to {FORMAT}; upgrade this node",
                fleet.format
            )));
        }
        if let Some(standing) = standing
            && standing.log != Some(fleet.id)
        {
            let of = if standing.log.is_some() { "another fleet" } else { "a server that has run alone" };
            return Err(cannot(format!(
                "the data folder {} is of {of}; start this node with an empty one",
                folder.display()
            )));
        }
        self.see_that_name_is_free(log).await?;
        match standing {
            Some(standing) if fleet.format < FORMAT => self.upgrade(log, &fleet, standing).await?,
            Some(standing) if standing.format == FORMAT => {}
            None if fleet.format < FORMAT => {
                return Err(cannot(
                    "the fleet is of an earlier version; stop all its nodes, and start one of them with this version first",
                ));
            }
            _ => {
                self.enrol(log).await?; // from now on the log is kept for it
                copy_again(self, log).await?;
            }
        }
        self.enrol(log).await
    }

    async fn enrol(&self, log: &Log) -> Result<(), NodeError> {
        let folder = self.settings.data_dir.clone();
        let standing = blocking(move || follower::look(&folder)).await??;
        let position = standing.map_or(Position::START, |standing| standing.position);
        Ok(log.enrol(&self.me, FORMAT, position).await?)
    }

    /// Founds the log at the state of this folder. Gives the fleet of another one that did so at the same moment.
    async fn found(&self, log: &mut Log, standing: Option<Standing>) -> Result<Option<FleetRow>, NodeError> {
        if let Some(standing) = standing
            && standing.log.is_some()
            && standing.position != Position::START
        {
            return Err(cannot(format!(
                "the data folder {} is of a fleet, and there is no log in this database; is --cluster right? If the log is lost for good, \
                 take the node out of it with `panelsync node leave --data-dir {0}`, and found a new one with that folder",
                self.folder()
            )));
        }
        let made_here = standing.is_none();
        let id = standing.and_then(|standing| standing.log).unwrap_or_else(Uuid::new_v4);
        let (folder, metrics, seal) =
            (self.settings.data_dir.clone(), self.metrics.clone(), Arc::clone(&self.seal));
        blocking(move || {
            Store::open_of_node(&folder, seal, &metrics)?.close();
            follower::set_log(&folder, Some(id))
        })
        .await??;
        let key_check = self.seal.seal_in("cluster", id.as_bytes(), b"of this fleet");
        let key_check = key_check.map_err(|error| cannot(error.to_string()))?;
        let mine = FleetRow { id, key_check, format: FORMAT, base: Position::START };
        let there = match log.found(&mine).await {
            Ok(there) => there,
            // Nothing was made: a server that has run alone can go on alone.
            Err(error @ LogError::Refused(_)) => {
                self.leave_log().await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        if there.id == id {
            tracing::info!(fleet = %id, "founded the log of all nodes");
            return Ok(None);
        }
        if made_here {
            // What another one founded at the same moment is copied; here is nothing yet.
            std::fs::remove_file(self.settings.data_dir.join(FILE_NAME))
                .map_err(|error| cannot(error.to_string()))?;
            copy_again(self, log).await?;
            return Ok(None);
        }
        self.leave_log().await?;
        Ok(Some(there))
    }

    /// The folder is in no log any more.
    async fn leave_log(&self) -> Result<(), NodeError> {
        let folder = self.settings.data_dir.clone();
        Ok(blocking(move || follower::set_log(&folder, None)).await??)
    }

    /// A name is another node's while that shows itself under it.
    async fn see_that_name_is_free(&self, log: &Log) -> Result<(), NodeError> {
        let (mut before, mut signs) = (None, 0);
        for look in 0..=LOOKS {
            let seen = log.peek(&self.me).await?;
            let Some(other) = seen.nodes.into_iter().find(|node| node.name == self.me.name) else {
                return Ok(());
            };
            if other.has_left() || other.unseen > away_after(self.ttl) {
                return Ok(());
            }
            // What was seen less long ago than before has shown itself: once it may have done so with its last breath.
            signs += u32::from(before.is_some_and(|before| other.unseen < before));
            if signs > 1 {
                return Err(cannot(format!(
                    "a node that is called {} runs at {}; give each a --node name of its own",
                    other.name, other.url
                )));
            }
            before = Some(other.unseen);
            if look < LOOKS {
                tokio::time::sleep(beat_every(self.ttl) / 3).await;
            }
        }
        Ok(())
    }

    /// Brings the fleet to this version's format, which one node does while all others are stopped.
    async fn upgrade(&self, log: &Log, fleet: &FleetRow, standing: Standing) -> Result<(), NodeError> {
        let seen = log.peek(&self.me).await?;
        let away = away_after(self.ttl);
        let running = seen.nodes.iter().filter(|node| node.name != self.me.name && !node.has_left());
        let running = running.filter(|node| node.unseen < away);
        let running: Vec<_> = running.map(|node| node.name.as_str()).collect();
        if !running.is_empty() {
            return Err(cannot(format!(
                "the fleet has format {}, and this version brings it to {FORMAT}, for which all other nodes must be stopped; there run {}",
                fleet.format,
                running.join(", ")
            )));
        }
        if !follows(log, standing.position).await? || seen.last != standing.position.number {
            return Err(cannot(
                "this node has not applied all that the log has; start another one with this version first",
            ));
        }
        let (folder, metrics, seal) =
            (self.settings.data_dir.clone(), self.metrics.clone(), Arc::clone(&self.seal));
        blocking(move || Store::open_of_node(&folder, seal, &metrics).map(Store::close)).await??;
        Ok(log.set_format(FORMAT, standing.position).await?)
    }
}

/// Puts back what was put aside for a copy that did not come.
fn put_back(folder: &Path) {
    let (place, before) = (folder.join(FILE_NAME), folder.join(BEFORE));
    if !place.exists() && before.exists() {
        let _ = std::fs::rename(&before, &place); // else it is copied
    }
}

/// Copies everything from the leader, once there is one, over what is there.
pub(super) async fn copy_again(node: &Node, log: &Log) -> Result<(), NodeError> {
    let mut said = false;
    loop {
        if *node.wish.borrow() == Wish::End {
            return Err(NodeError::Ended("it was to end while it copied".into()));
        }
        let lead = log.peek(&node.me).await?.lead;
        let url = leader_url(&node.nodes.peers, &lead).filter(|_| lead.node != node.me.name);
        let copied = match url {
            None => Err("no node leads".to_owned()),
            Some(url) => copy_from(node, &url).await,
        };
        match copied {
            Ok(()) => return Ok(()),
            Err(why) if !said => {
                said = true;
                tracing::warn!("everything is to be copied from the leader, which is waited for: {why}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn copy_from(node: &Node, url: &str) -> Result<(), String> {
    let folder = &node.settings.data_dir;
    let coming = folder.join(COMING);
    download(node, url, &coming).await?;
    let folder = folder.clone();
    let taken = blocking(move || take(&folder, &coming)).await;
    taken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Puts a copy in the place of what is there.
fn take(folder: &Path, coming: &PathBuf) -> Result<(), backup::BackupError> {
    let (place, before) = (folder.join(FILE_NAME), folder.join(BEFORE));
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |error| backup::BackupError::File(path, error)
    };
    backup::look(coming)?;
    if place.exists() {
        std::fs::rename(&place, &before).map_err(unusable(&place))?;
    }
    backup::restore(coming, folder)?;
    let _ = std::fs::remove_file(coming); // it is overwritten by the next one
    let _ = std::fs::remove_file(&before);
    Ok(())
}

async fn download(node: &Node, url: &str, to: &Path) -> Result<(), String> {
    let address = connection::Address::parse(url)?;
    let opened = Connection::open(&address, &node.trust, &Configs::default(), COPY_PATIENCE / 6).await;
    let mut line = opened.map_err(|error| format!("{url} is not reached: {error:?}"))?;
    let mut request = address.request(hyper::Method::GET, "/cluster/v1/copy", Bytes::new())?;
    let shown = node.nodes.peers.show(&node.me.name, clock::now_ms());
    let shown = hyper::header::HeaderValue::from_str(&shown).map_err(|error| error.to_string())?;
    request.headers_mut().insert(NODE, shown);
    let head = tokio::time::timeout(COPY_PATIENCE * 10, line.send(request)).await;
    let head = head.map_err(|_| "the leader does not answer")?.map_err(|broken| broken.why)?;
    if !head.status.is_success() {
        let said = line.whole(64 * 1024).await.unwrap_or_default();
        return Err(format!("{url} answered {}: {}", head.status, String::from_utf8_lossy(&said)));
    }
    let _ = std::fs::remove_file(to); // of one that broke off
    let mut file = private::file(to).map_err(|error| error.to_string())?;
    loop {
        let piece = tokio::time::timeout(COPY_PATIENCE, line.piece()).await;
        match piece.map_err(|_| "the copy does not come")?.map_err(|broken| broken.why)? {
            Some(piece) => file.write_all(&piece).map_err(|error| error.to_string())?,
            None => break,
        }
    }
    file.sync_all().map_err(|error| error.to_string())
}
