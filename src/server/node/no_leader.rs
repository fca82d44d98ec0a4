//! Telling that no node leads: what no leader can tell.
//!
//! Every node knows the fleet's alerts as far as it has applied the log, and whether it knows of a leader. One that has known
//! none for long leaves telling it to the first by name of the nodes that can be reached, which has no leader either, or knows
//! one. So one node tells it, and in each part of a fleet that fell apart one. The message has the same id wherever it comes
//! from: what was the last reign, and about when it ended. Nothing can be put into the store meanwhile, so what was told is
//! kept in a file beside it, and told as over by the node that told it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Node;
use crate::alert::message::{About, Kind, Message, News};
use crate::alert::{Alert, Times, Topic, Webhook, words};
use crate::clock;
use crate::cluster::lead::Moment;
use crate::cluster::nodes::Nodes;
use crate::courier::Outgoing;
use crate::courier::smtp::Smtp;
use crate::http::front::Front;
use crate::panel::device::line::connection::{Address, Connection};
use crate::panel::device::line::trust::Configs;
use crate::panel::settings::Trust;
use crate::parts;
use crate::store::private;
use crate::telemetry::AlertMetrics;

/// Alerts that are for this, as they were seen last.
pub(super) type Known = Arc<ArcSwap<Vec<(String, Alert, Option<Webhook>)>>>;

/// What was told, beside the database: while nobody leads, nothing can be put into that.
const FILE: &str = "panelsync.redb.no-leader";

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A leader must be known for so long before that is told.
const SETTLES: Duration = Duration::from_secs(3);

/// How long another node may take to say that it is there.
const PEER: Duration = Duration::from_secs(2);

/// Nodes that lost the leader within this time tell the same.
const SAME_MS: i64 = 600_000;

/// Without a leader for so many times the time after which another one takes over, it is told.
const TAKE_OVERS: u32 = 10;

/// What was told.
#[derive(Serialize, Deserialize)]
struct Told {
    since_ms: i64,
    id: Uuid,
    alerts: BTreeSet<String>,
}

/// Who tells it.
struct Teller {
    me: String,
    front: Arc<Front>,
    nodes: Arc<Nodes>,
    trust: Trust,
    known: Known,
    smtp: Option<Arc<Smtp>>,
    times: Times,
    after: Duration,
    file: PathBuf,
    metrics: AlertMetrics,
    /// When what went out within the hour.
    sent: BTreeMap<String, Vec<Moment>>,
    /// How often a message was tried in vain, and when it is tried again.
    again: BTreeMap<String, (u32, Moment, Duration)>,
}

impl Node {
    /// Tells that nobody leads, on a thread of its own.
    pub(super) fn tell_without_leader(&self) -> Arbiter {
        let arbiter = Arbiter::new();
        let teller = Teller {
            me: self.me.name.clone(),
            front: Arc::clone(&self.front),
            nodes: Arc::clone(&self.nodes),
            trust: self.trust.clone(),
            known: Arc::clone(&self.alerts),
            smtp: self.settings.smtp.clone().map(Arc::new),
            times: self.settings.alerts,
            after: self.ttl * TAKE_OVERS,
            file: self.settings.data_dir.join(FILE),
            metrics: self.metrics.alerts.clone(),
            sent: BTreeMap::new(),
            again: BTreeMap::new(),
        };
        arbiter.spawn_fn(move || {
            parts::this_thread_is("what tells that no node leads");
            actix_web::rt::spawn(teller.run());
        });
        arbiter
    }
}

impl Teller {
    async fn run(mut self) {
        let mut told = read(&self.file);
        let (mut without, mut with): (Option<(Moment, i64)>, Option<Moment>) = (None, None);
        loop {
            tokio::time::sleep(LOOK).await;
            if self.front.has_leader() {
                without = None;
                if with.get_or_insert_with(Moment::now).elapsed() < SETTLES {
                    continue;
                }
                if let Some(over) = told.take_if(|told| told.alerts.is_empty()) {
                    drop(over);
                    let _ = std::fs::remove_file(&self.file); // it is told again otherwise, as over
                }
                if let Some(told) = &mut told {
                    self.tell_over(told).await;
                }
            } else {
                with = None;
                let (at, since_ms) = *without.get_or_insert_with(|| (Moment::now(), clock::now_ms()));
                if at.elapsed() < self.after {
                    continue;
                }
                let told = told.get_or_insert_with(|| Told {
                    since_ms,
                    id: id_of(self.nodes.reign(), since_ms),
                    alerts: BTreeSet::new(),
                });
                self.tell(told).await;
            }
        }
    }

    /// Tells it to whom it was not told, where that is for this node to do.
    async fn tell(&mut self, told: &mut Told) {
        let known = self.known.load_full();
        let left: Vec<_> = known.iter().filter(|(name, ..)| !told.alerts.contains(name)).collect();
        if left.is_empty() || !self.is_first().await {
            return;
        }
        let about = About {
            since: Some(clock::rfc3339(told.since_ms)),
            since_local: Some(words::local(told.since_ms, &TimeZone::UTC)),
            why: Some(format!("as node {} sees it", self.me)),
            ..About::default()
        };
        let reached = self.send(&left, Kind::NoLeader, &about, told.id).await;
        if !reached.is_empty() {
            told.alerts.extend(reached);
            write(&self.file, told);
        }
    }

    /// Tells whom it was told that it is over.
    async fn tell_over(&mut self, told: &mut Told) {
        let known = self.known.load_full();
        told.alerts.retain(|name| known.iter().any(|(known, ..)| known == name));
        let left: Vec<_> = known.iter().filter(|(name, ..)| told.alerts.contains(name)).collect();
        let lasted_ms = clock::now_ms().saturating_sub(told.since_ms).max(0);
        let about = About {
            since: Some(clock::rfc3339(told.since_ms)),
            lasted_s: Some(lasted_ms.unsigned_abs() / 1000),
            ..About::default()
        };
        let id = id_of(told.id.as_u128() as u64, told.since_ms);
        for name in self.send(&left, Kind::Leader, &about, id).await {
            told.alerts.remove(&name);
        }
        write(&self.file, told);
    }

    /// Sends to all of these at once, as far as it is time to. Gives who needs no more of it.
    async fn send(
        &mut self,
        to: &[&(String, Alert, Option<Webhook>)],
        kind: Kind,
        about: &About,
        id: Uuid,
    ) -> Vec<String> {
        let (mut done, mut sending) = (Vec::new(), Vec::new());
        let news = News { kind, count: 1, about: vec![about.clone()], sentences: Vec::new() };
        let made_ms = clock::now_ms();
        for (name, alert, webhook) in to {
            if self.again.get(name).is_some_and(|(_, at, pause)| at.elapsed() < *pause) {
                continue;
            }
            let sent = self.sent.entry(name.clone()).or_default();
            sent.retain(|at| at.elapsed() < self.times.hour);
            if sent.len() >= alert.per_hour as usize {
                self.metrics.held_back(1);
                done.push(name.clone());
                continue;
            }
            let message = words::message(&news, name, id, made_ms);
            sending.push(self.send_one(name, alert, webhook.as_ref(), message, made_ms));
        }
        for (name, alert, result) in join_all(sending).await {
            match result {
                Ok(()) => {
                    self.metrics.sent(alert.way());
                    self.again.remove(name);
                    self.sent.entry(name.clone()).or_default().push(Moment::now());
                    done.push(name.clone());
                }
                Err(why) => {
                    self.metrics.tried(alert.way());
                    tracing::warn!(alert = name, why, "that no node leads could not be told yet");
                    let tries = self.again.get(name).map_or(0, |(tries, ..)| *tries) + 1;
                    self.again.insert(name.clone(), (tries, Moment::now(), self.times.pause_after(tries)));
                }
            }
        }
        done
    }

    fn send_one<'s>(
        &self,
        name: &'s String,
        alert: &'s Alert,
        webhook: Option<&'s Webhook>,
        message: Message,
        made_ms: i64,
    ) -> impl Future<Output = (&'s String, &'s Alert, Result<(), String>)> + use<'s> {
        let (smtp, patience) = (self.smtp.clone(), self.times.patience);
        async move {
            let out = Outgoing { alert, webhook, message: &message, made_ms };
            let sent = out.send(smtp.as_deref(), &mut BTreeSet::new(), &Configs::default(), patience).await;
            (name, alert, sent.map(|_| ()).map_err(|error| error.why))
        }
    }

    /// Whether no node can be reached whose name comes before this one's.
    async fn is_first(&self) -> bool {
        let before: Vec<_> = self.nodes.list().into_iter().filter(|node| node.name < self.me).collect();
        let there = before.iter().map(|node| self.is_there(&node.url));
        !join_all(there).await.contains(&true)
    }

    async fn is_there(&self, url: &str) -> bool {
        let asking = async {
            let address = Address::parse(url).ok()?;
            let mut line = Connection::open(&address, &self.trust, &Configs::default(), PEER).await.ok()?;
            let request = address.request(Method::GET, "/healthz", Bytes::new()).ok()?;
            Some(line.send(request).await.ok()?.status.is_success())
        };
        tokio::time::timeout(PEER, asking).await.ok().flatten().unwrap_or(false)
    }
}

/// By this a message is the same, whichever node it comes from.
fn id_of(reign: u64, since_ms: i64) -> Uuid {
    let digest = Sha256::digest(format!("no leader after reign {reign}, {}", since_ms / SAME_MS));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn read(file: &Path) -> Option<Told> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Where it cannot be written, it is told again after a restart of this node.
fn write(file: &Path, told: &Told) {
    let text = serde_json::to_vec(told).unwrap_or_default(); // text keys, written to memory
    let written = private::file(file).and_then(|_| std::fs::write(file, text));
    if let Err(error) = written {
        tracing::warn!(%error, "that it was told that no node leads is not kept");
    }
}

/// The topic that alerts are looked through for.
pub(super) const TOPIC: Topic = Topic::NoLeader;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_lost_the_same_leader_tell_the_same() {
        let minute = 60_000;
        assert_eq!(id_of(3, 20 * minute), id_of(3, 20 * minute + 5_000));
        assert_ne!(id_of(3, 20 * minute), id_of(4, 20 * minute));
        assert_ne!(id_of(3, 20 * minute), id_of(3, 40 * minute));
        assert_eq!(id_of(3, 20 * minute).get_version_num(), 4);
    }

    #[test]
    fn what_was_told_is_known_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        assert!(read(&file).is_none());
        let told = Told { since_ms: 5, id: id_of(1, 5), alerts: BTreeSet::from(["ops".to_owned()]) };
        write(&file, &told);
        let again = read(&file).expect("it is kept");
        assert_eq!((again.since_ms, again.id, again.alerts), (told.since_ms, told.id, told.alerts));
        std::fs::write(&file, "{").expect("written");
        assert!(read(&file).is_none());
    }
}
