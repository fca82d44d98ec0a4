//! All that answers requests, on an open store: the coordinator, what handlers share, and what tidies up. One server has it from
//! its start to its end; a node has it while it leads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::StartError;
use super::engine::Engine;
use crate::access::Access;
use crate::access::devices::DeviceSessions;
use crate::access::proxy::Proxies;
use crate::access::sessions::Sessions;
use crate::clock;
use crate::cluster::nodes::Nodes;
use crate::config::Settings;
use crate::courier::{AtWork, Courier};
use crate::fleet::Fleet;
use crate::fleet::alerts::Sending;
use crate::fleet::link::Link;
use crate::http::fleet_api::backup::Backups;
use crate::http::{self, Shared};
use crate::store::StoreHandle;
use crate::telemetry::Metrics;

/// How long requests that are being answered are waited for where the lead is given away.
const LET_GO: Duration = Duration::from_secs(3);

/// How long the ends of sessions at devices are waited for then.
const LOG_OUT: Duration = Duration::from_millis(200);

/// It, while it is there.
pub struct Reign {
    engine: Engine,
    shared: Arc<Shared>,
    courier: AtWork,
    stopping: watch::Sender<bool>,
}

impl Reign {
    /// Starts all on this engine. Gives the first user's password, where one is made up.
    pub async fn begin(
        engine: Engine,
        settings: &Settings,
        metrics: &Metrics,
        nodes: Option<Arc<Nodes>>,
    ) -> Result<(Self, Option<String>), StartError> {
        let access = Access::new(engine.store())?;
        let admin_password = settings.admin_password.as_ref().map(|password| password.0.clone());
        let first_password = access.first_start(admin_password).await?;
        engine.store().events().keep(settings.keep_events_number);
        let stopping = watch::Sender::new(false);
        let shared = share(&engine, access, settings, metrics, stopping.subscribe(), nodes);
        let kept = KeptTimes { audit: settings.keep_audit, events: settings.keep_events };
        actix_web::rt::spawn(tidy(engine.store(), kept, stopping.subscribe()));
        let sending = &shared.fleet.alert_sending;
        let courier = Courier {
            store: engine.store(),
            register: engine.register(),
            smtp: sending.smtp.clone(),
            times: sending.times,
            metrics: metrics.alerts.clone(),
            wake: Arc::clone(&sending.wake),
            may_send: settings.devices.may_call.clone(),
        };
        let courier = courier.begin().map_err(|_| StartError::Engine)?;
        Ok((Self { engine, shared, courier, stopping }, first_password))
    }

    /// Has devices made sure of at these times from now on, in order, for which something waits now: the node that led before
    /// was perhaps talking to them, and a call of it is over by then.
    pub fn make_sure_of_devices(&self, times: [Duration; 2]) {
        let (shared, mut stopping) = (Arc::downgrade(&self.shared), self.stopping.subscribe());
        let pending = self.engine.store().read().and_then(|snapshot| snapshot.panels_with_pending());
        let began = tokio::time::Instant::now();
        actix_web::rt::spawn(async move {
            let pending = match pending {
                Ok(pending) if !pending.is_empty() => pending,
                Ok(_) => return,
                Err(error) => return tracing::warn!(%error, "devices are not made sure of"),
            };
            for time in times {
                let stops = stopping.wait_for(|stopping| *stopping);
                if tokio::time::timeout_at(began + time, stops).await.is_ok() {
                    return;
                }
                let Some(shared) = shared.upgrade() else { return };
                tracing::info!(
                    panels = pending.len(),
                    "reading devices to which another node was perhaps talking"
                );
                if let Err(error) = shared.fleet.make_sure_of(&pending).await {
                    tracing::warn!(%error, "devices are not made sure of");
                }
            }
        });
    }

    /// What handlers share.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Nobody waits for a device or a batch any more.
    pub fn stop_waiting(&self) {
        self.stopping.send_replace(true);
    }

    /// Lets running batches come to their end, for a bounded time, and closes the store.
    pub async fn stop(self) {
        self.stop_waiting();
        drop(self.shared);
        end(self.courier).await;
        self.engine.stop().await;
    }

    /// Lets requests that are being answered come to their end, for a bounded time, and closes the store. No other may come in
    /// any more.
    pub async fn hand_over(self) {
        self.stop_waiting();
        let until = Instant::now() + LET_GO;
        while Arc::strong_count(&self.shared) > 1 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(self.shared);
        end(self.courier).await;
        self.engine.hand_over(LOG_OUT).await;
    }

    /// Ends everything where it stands: another node leads, perhaps.
    pub async fn abandon(self) {
        self.stop_waiting();
        drop(self.shared);
        end(self.courier).await;
        self.engine.close().await;
    }
}

/// Ends the courier. What it has not sent goes out at the next start, or from the node that leads next.
async fn end(courier: AtWork) {
    let _ = actix_web::web::block(move || courier.stop()).await; // a panic there ends the process
}

/// What handlers share, over this engine.
pub fn share(
    engine: &Engine,
    access: Access,
    settings: &Settings,
    metrics: &Metrics,
    stopping: watch::Receiver<bool>,
    nodes: Option<Arc<Nodes>>,
) -> Arc<Shared> {
    let link_password = settings.link_password.as_ref().map(|password| password.0.as_str());
    Arc::new(Shared {
        fleet: Fleet {
            store: engine.store(),
            coordinator: engine.coordinator(),
            register: engine.register(),
            access,
            keep_keys: settings.keep_keys,
            door_hours_budget: settings.door_hours_budget,
            link: Link::new(link_password, DeviceSessions::default()),
            device_timeouts: settings.devices.timeouts,
            alert_sending: Sending {
                smtp: settings.smtp.clone().map(Arc::new),
                times: settings.alerts,
                wake: Arc::default(),
            },
            stopping,
        },
        sessions: Sessions::default(),
        metrics: metrics.clone(),
        data_dir: settings.data_dir.clone(),
        backups: Backups::new(settings.backup_patience),
        proxies: Proxies::new(settings.trust_proxy.clone()),
        body_limit: settings.body_limit,
        max_items: settings.max_items,
        turns: http::body::Turns::default(),
        listeners: http::listeners::Listeners::new(settings.listeners_per_token),
        metrics_access: settings.metrics_access,
        relay: Arc::clone(&settings.devices.relay),
        nodes,
    })
}

/// Between two looks for what has ended or is too old.
const TIDY_EVERY: Duration = Duration::from_hours(1);

/// How long what is kept, of which there is always more.
#[derive(Clone, Copy)]
struct KeptTimes {
    audit: Duration,
    events: Duration,
}

/// Drops tokens that have ended, and entries of the audit and events that are too old, now and from time to time.
async fn tidy(store: StoreHandle, kept: KeptTimes, mut stopping: watch::Receiver<bool>) {
    loop {
        let now = clock::now_ms();
        let before = |kept: Duration| now - kept.as_millis() as i64;
        let (audit, events) = (before(kept.audit), before(kept.events));
        let drop = store
            .change(move |tables| Ok(tables.drop_outdated(now, audit)? + tables.drop_old_events(events)?));
        let pause = match drop.await {
            Ok(0) => TIDY_EVERY,
            Ok(_) => Duration::ZERO, // there may be more
            Err(error) => {
                tracing::warn!(%error, "what is too old was not dropped");
                TIDY_EVERY
            }
        };
        if tokio::time::timeout(pause, stopping.wait_for(|stopping| *stopping)).await.is_ok() {
            return;
        }
    }
}
