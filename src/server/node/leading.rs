//! A node that leads: from the lead that was taken to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::{Node, NodeError, TRIM_EVERY, TRY_AGAIN, Wish, blocking, no_leader};
use crate::cluster::lead::{Lead, Moment};
use crate::cluster::ledger::{Over, PostgresLedger};
use crate::cluster::log::{Address, Log, LogError, Me};
use crate::cluster::{beat_every, leads_for, look_every};
use crate::http::front::Place as Answered;
use crate::panel::device::gate::MayCall;
use crate::panel::device::relay::ON_THE_WAY;
use crate::server::StartError;
use crate::server::engine::Engine;
use crate::server::reign::Reign;
use crate::store::{OpenError, Store, StoreError};
use crate::telemetry::Metrics;

/// How long a leader whose own disk takes nothing waits for it.
const FAILS: Duration = Duration::from_secs(2);

impl Node {
    /// Leads until that is over.
    pub(super) async fn lead(&mut self, lead: Arc<Lead>) -> Result<(), NodeError> {
        let over = watch::Sender::new(None);
        let led = self.lead_on(&lead, &over).await;
        lead.end();
        self.front.set_leads(false);
        match over.borrow().clone() {
            Some(Over::Apart(entry)) => return Err(NodeError::Apart(entry, self.folder())),
            Some(Over::Deposed) => tracing::warn!(reign = lead.reign(), "another node leads"),
            None => {}
        }
        led
    }

    async fn lead_on(
        &mut self,
        lead: &Arc<Lead>,
        over: &watch::Sender<Option<Over>>,
    ) -> Result<(), NodeError> {
        // Beside it, signs of life go out, however long the start takes.
        let beating = Beating {
            address: Arc::clone(&self.address),
            me: self.me.clone(),
            ttl: self.ttl,
            lead: Arc::clone(lead),
            over: over.clone(),
            metrics: self.metrics.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        beating.begin(stopped)?;
        let reign = self.begin_reign(lead, over).await;
        let result = match reign {
            Ok(Some(reign)) => self.lead_until_over(lead, over, reign).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        drop(stop);
        result
    }

    /// Starts everything on what the log has. Nothing where the lead is over before that has come about.
    async fn begin_reign(
        &mut self,
        lead: &Arc<Lead>,
        over: &watch::Sender<Option<Over>>,
    ) -> Result<Option<Reign>, NodeError> {
        loop {
            if over.borrow().is_some() || self.wish() != Wish::Take {
                return Ok(None);
            }
            let ledger = PostgresLedger::new(
                Arc::clone(&self.address),
                Arc::clone(&self.seal),
                Arc::clone(lead),
                over.clone(),
                self.metrics.cluster.clone(),
            );
            let ledger = ledger.map_err(|error| NodeError::Ended(error.to_string()))?;
            let (folder, seal, metrics) =
                (self.settings.data_dir.clone(), Arc::clone(&self.seal), self.metrics.clone());
            let opened = blocking(move || Store::open_leading(&folder, seal, &metrics, Box::new(ledger)));
            let store = match opened.await? {
                Ok(store) => store,
                Err(OpenError::InUse(_)) => {
                    self.pause(TRY_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut settings = self.settings.clone();
            let leads = Arc::clone(lead);
            settings.devices.relay = Arc::default(); // whoever talked to devices for another reign says so anew
            settings.devices.may_call = MayCall::when(move || leads.holds());
            let reign = async {
                let engine = Engine::on(store, &settings, &self.metrics).await?;
                Reign::begin(engine, &settings, &self.metrics, Some(Arc::clone(&self.nodes))).await
            };
            match reign.await {
                Ok((reign, password)) => {
                    let timeouts = settings.devices.timeouts;
                    // Calls of the node before are over then: most of them, and those in which a device looks at a photo.
                    let over = [timeouts.request, timeouts.slow];
                    reign.make_sure_of_devices(
                        over.map(|call| call + timeouts.connect + ON_THE_WAY + self.ttl),
                    );
                    if password.is_some() {
                        self.first_password.send_replace(password);
                    }
                    return Ok(Some(reign));
                }
                Err(error @ (StartError::Store(_) | StartError::Access(_))) => {
                    tracing::warn!(%error, "what is to be led could not be started yet; trying again");
                    self.pause(TRY_AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn lead_until_over(
        &mut self,
        lead: &Arc<Lead>,
        over: &watch::Sender<Option<Over>>,
        reign: Reign,
    ) -> Result<(), NodeError> {
        let mut is_over = over.subscribe();
        self.metrics.cluster.leads.set(1);
        self.front.set_leads(true);
        self.front.set(Answered::Here(reign.shared(), Some(Arc::clone(lead))));
        tracing::info!(reign = lead.reign(), "this node leads");
        let mut log: Option<Log> = None;
        let mut trimmed = Moment::now();
        let mut failed_since: Option<Moment> = None;
        let nodes = Arc::clone(&self.nodes);
        let released = loop {
            let mut wish = self.wish.clone();
            tokio::select! {
                _ = is_over.wait_for(Option::is_some) => break false,
                () = nodes.released() => break true,
                _ = wish.wait_for(|wish| *wish != Wish::Take) => break true,
                () = tokio::time::sleep(look_every(self.ttl)) => {}
            }
            // A disk that takes nothing is no reason that nobody is served: others have all that was acknowledged.
            let works = reign.shared().fleet.store.takes_work();
            failed_since = if works { None } else { failed_since.or_else(|| Some(Moment::now())) };
            if failed_since.is_some_and(|since| since.elapsed() > FAILS)
                && lead.holds()
                && self.nodes.has_others()
            {
                tracing::error!("the data folder's disk takes nothing; another node is to lead");
                break true;
            }
            // What is seen of the nodes, and tidying up, may fail: it is tried again.
            if self.look_around(&mut log, &reign, &mut trimmed).await.is_err() {
                log = None;
            }
        };
        self.front.set(Answered::Nowhere);
        self.metrics.cluster.leads.set(0);
        if released {
            tracing::info!(reign = lead.reign(), "giving the lead away");
            reign.hand_over().await;
            lead.end();
            if let Ok(log) = self.address.open().await {
                let _ = log.release_lead(lead.reign(), &self.me).await; // others take it a little later otherwise
            }
            self.front.set_leads(false);
            self.let_others_first().await;
        } else {
            lead.end();
            reign.abandon().await;
        }
        Ok(())
    }

    async fn look_around(
        &self,
        log: &mut Option<Log>,
        reign: &Reign,
        trimmed: &mut Moment,
    ) -> Result<(), LogError> {
        let log = match log {
            Some(log) => log,
            None => log.insert(self.address.open().await?),
        };
        let store = reign.shared().fleet.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let read = store.read()?;
            Ok::<_, StoreError>((read.position()?, read.alerts_for(no_leader::TOPIC)?))
        });
        let Ok(Ok((position, alerts))) = read.await else { return Ok(()) };
        self.alerts.store(Arc::new(alerts));
        let look = log.look(&self.me, position).await?;
        self.note(&look, position);
        if trimmed.elapsed() > TRIM_EVERY && log.trim().await? < 1000 {
            *trimmed = Moment::now();
        }
        Ok(())
    }

    /// Whoever has given the lead away takes it only if nobody else has for a while.
    async fn let_others_first(&mut self) {
        if self.wish() == Wish::Take && self.nodes.list().len() > 1 {
            self.pause(beat_every(self.ttl) * 2).await;
        }
    }
}

/// The signs of life of a reign.
struct Beating {
    address: Arc<Address>,
    me: Me,
    ttl: Duration,
    lead: Arc<Lead>,
    over: watch::Sender<Option<Over>>,
    metrics: Metrics,
}

impl Beating {
    /// On a thread of its own, since nothing may keep it waiting; until the other end of this is dropped.
    fn begin(self, stopped: oneshot::Receiver<()>) -> Result<(), NodeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| NodeError::Ended(error.to_string()))?;
        let beating = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run() => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("signs-of-life".into()).spawn(beating);
        thread.map(|_| ()).map_err(|error| NodeError::Ended(error.to_string()))
    }

    async fn run(self) {
        let mut log = None;
        loop {
            match self.beat(&mut log).await {
                Ok(Some(sent)) => self.lead.renew(sent, leads_for(self.ttl)),
                Ok(None) if self.lead.is_over() => return, // it was given away
                Ok(None) => {
                    self.lead.end();
                    self.over.send_if_modified(|over| {
                        let is_new = over.is_none();
                        over.get_or_insert(Over::Deposed);
                        is_new
                    });
                    return;
                }
                Err(error) => {
                    self.metrics.cluster.beats_missed.inc();
                    tracing::debug!(%error, "a sign of life was not taken");
                    log = None;
                }
            }
            let pause = if log.is_some() { beat_every(self.ttl) } else { TRY_AGAIN };
            tokio::time::sleep(pause).await;
        }
    }

    /// When the sign was sent that the log has taken; nothing where another node leads.
    async fn beat(&self, log: &mut Option<Log>) -> Result<Option<Moment>, LogError> {
        let log = match log {
            Some(log) => log,
            None => log.insert(self.address.open().await?),
        };
        let sent = Moment::now();
        let beat = tokio::time::timeout(leads_for(self.ttl), log.beat(self.lead.reign(), &self.me)).await;
        let beat = beat.unwrap_or_else(|_| Err(LogError::Unreachable("no answer".to_owned())))?;
        Ok(beat.then_some(sent))
    }
}
