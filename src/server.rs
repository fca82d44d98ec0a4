//! The composition root: store → panels and coordinator → HTTP, started from the end backwards, so that
//! whoever is asked can already ask.
//!
//! `serve`, `demo` and the tests all start a server here. [`Server::build`] gives the bound address;
//! [`Server::run`] serves until told to stop, and then lets what was accepted come to its end.

use std::net::SocketAddr;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use actix_web::dev::ServerHandle;
use actix_web::{HttpServer, web};
use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};

use crate::access::devices::DeviceSessions;
use crate::access::proxy::Proxies;
use crate::access::sessions::Sessions;
use crate::access::{Access, AccessError};
use crate::clock;
use crate::config::Settings;
use crate::coordinator::{CloseDevices, Coordinator, Drain, Kept, RegisterReader};
use crate::fleet::Fleet;
use crate::fleet::link::Link;
use crate::http::fleet_api::backup::Backups;
use crate::http::panel_api::OnlyPanel;
use crate::http::{self, Shared};
use crate::parts;
use crate::server::tls::TlsError;
use crate::store::{OpenError, Store, StoreError, StoreHandle, backup, damage};
use crate::telemetry::Metrics;

pub mod tls;

/// How long a stop waits for running batches; what is not done by then is taken up at the next start.
const DRAIN: Duration = Duration::from_secs(30);

/// How long a stop waits for calls to devices that are under way, and for the ends of their sessions.
const CLOSE: Duration = Duration::from_secs(10);

/// How long a stop waits for requests that are being answered, in seconds.
const GRACE_S: u64 = 10;

/// How long the head of a request may take to come.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Connections at most, per HTTP thread.
const MAX_CONNECTIONS: usize = 10_000;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stored state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first user.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("cannot listen on {0}: {1}; choose another with --listen")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The panels' thread.
    #[error("the thread of the panels could not start")]
    Engine,
}

/// A server that is bound and has taken up its work.
pub struct Server {
    address: SocketAddr,
    panel_addresses: Vec<(String, SocketAddr)>,
    first_password: Option<String>,
    http: Vec<actix_web::dev::Server>,
    engine: Engine,
    stopping: watch::Sender<bool>,
}

/// The rooms below HTTP: the store, and the thread on which the coordinator and all panels live.
pub struct Engine {
    store: Store,
    coordinator: Addr<Coordinator>,
    register: RegisterReader,
    thread: PanelThread,
}

/// The thread of the coordinator and all panels. It ends when this is dropped.
struct PanelThread(Option<Arbiter>);

impl PanelThread {
    /// Ends it and waits for its end.
    fn join(mut self) {
        if let Some(arbiter) = self.0.take() {
            arbiter.stop();
            let _ = arbiter.join(); // a panic there has been printed already
        }
    }
}

impl Drop for PanelThread {
    fn drop(&mut self) {
        if let Some(arbiter) = &self.0 {
            arbiter.stop();
        }
    }
}

impl Engine {
    /// Opens the folder and starts the coordinator with every registered panel.
    pub async fn start(settings: &Settings, metrics: &Metrics) -> Result<Self, StartError> {
        raise_file_limit();
        let store = settings.key.open(&settings.data_dir, metrics)?;
        backup::sweep(&settings.data_dir);
        Self::on(store, settings, metrics).await
    }

    /// Starts the coordinator with every panel that is registered in this store.
    pub async fn on(store: Store, settings: &Settings, metrics: &Metrics) -> Result<Self, StartError> {
        let arbiter = Arbiter::new();
        let (started, start) = oneshot::channel();
        let kept = Kept { batches: settings.keep_batches, keys: settings.keep_keys };
        let (handle, devices) = (store.handle(), settings.devices.clone());
        let metrics = metrics.batches.clone();
        let now = clock::now_ms();
        let first = handle.change(move |tables| tables.first_of_start(now)).await?;
        arbiter.spawn_fn(move || {
            parts::this_thread_is("the thread of the coordinator and all panels");
            let mut coordinator = Coordinator::new(handle, kept, devices, metrics, first);
            let result = damage::guarded(|| coordinator.take_up()).and_then(|taken| taken);
            let register = coordinator.register();
            let result = result.map(|()| (coordinator.start(), register));
            let _ = started.send(result); // the other end waits below
        });
        let (coordinator, register) = start.await.map_err(|_| StartError::Engine)??;
        Ok(Self { store, coordinator, register, thread: PanelThread(Some(arbiter)) })
    }

    /// For reads, and for what changes beside the panels.
    pub fn store(&self) -> StoreHandle {
        self.store.handle()
    }

    /// For everything else.
    pub fn coordinator(&self) -> Addr<Coordinator> {
        self.coordinator.clone()
    }

    /// The panels, as they are known.
    pub fn register(&self) -> RegisterReader {
        self.register.clone()
    }

    /// Lets running batches come to their end, for a bounded time, and closes the store.
    pub async fn stop(self) {
        if let Ok(drained) = self.coordinator.send(Drain).await
            && tokio::time::timeout(DRAIN, drained).await.is_err()
        {
            tracing::warn!("some batches are not done; they go on at the next start");
        }
        if let Ok(closed) = self.coordinator.send(CloseDevices).await {
            let _ = tokio::time::timeout(CLOSE, join_all(closed)).await; // sessions end by themselves too
        }
        drop(self.coordinator);
        let closed = web::block(move || {
            self.thread.join();
            self.store.close();
        });
        let _ = closed.await; // the store logs what goes wrong
    }
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

/// Every connection is an open file, and the usual limit of 1,024 is meant to be raised by who needs more.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

impl Server {
    /// Opens the data folder, takes up interrupted batches, makes the first user where there is none, and
    /// binds the address.
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        let tls = settings.tls.clone().map(tls::server_config).transpose()?;
        let metrics = Metrics::default();
        let engine = Engine::start(&settings, &metrics).await?;
        let access = Access::new(engine.store())?;
        let first_password = access.first_start(settings.admin_password.map(|password| password.0)).await?;
        let link_password = settings.link_password.as_ref().map(|password| password.0.clone());
        engine.store().events().keep(settings.keep_events_number);
        let stopping = watch::Sender::new(false);
        let shared = web::Data::new(Shared {
            fleet: Fleet {
                store: engine.store(),
                coordinator: engine.coordinator(),
                register: engine.register(),
                access,
                keep_keys: settings.keep_keys,
                link: Link::new(link_password.as_deref(), DeviceSessions::default()),
                device_timeouts: settings.devices.timeouts,
                stopping: stopping.subscribe(),
            },
            sessions: Sessions::default(),
            metrics,
            data_dir: settings.data_dir.clone(),
            backups: Backups::new(settings.backup_patience),
            proxies: Proxies::new(settings.trust_proxy),
            body_limit: settings.body_limit,
            max_items: settings.max_items,
            turns: http::body::Turns::default(),
            listeners: http::listeners::Listeners::new(settings.listeners_per_token),
            metrics_access: settings.metrics_access,
        });
        let kept = KeptTimes { audit: settings.keep_audit, events: settings.keep_events };
        actix_web::rt::spawn(tidy(engine.store(), kept, stopping.subscribe()));
        let bind_error = |address| move |error| StartError::Listen(address, error);
        let app = shared.clone();
        let main = HttpServer::new(move || http::app(app.clone(), crate::web::routes))
            .workers(settings.workers)
            .max_connections(MAX_CONNECTIONS)
            .disable_signals()
            .shutdown_timeout(GRACE_S)
            .client_request_timeout(HEAD_TIME);
        let main = match &tls {
            Some(tls) => main.bind_rustls_0_23(settings.listen, tls.clone()),
            None => main.bind(settings.listen),
        };
        let main = main.map_err(bind_error(settings.listen))?;
        let address = main.addrs().first().copied().unwrap_or(settings.listen);
        let mut http = vec![main.run()];
        let mut panel_addresses = Vec::new();
        for (panel, listen) in settings.panel_listen {
            let (app, only) = (shared.clone(), OnlyPanel(panel.clone()));
            let server = HttpServer::new(move || http::panel_app(app.clone(), only.clone()))
                .workers(1)
                .max_connections(MAX_CONNECTIONS)
                .disable_signals()
                .shutdown_timeout(GRACE_S)
                .client_request_timeout(HEAD_TIME);
            let server = match &tls {
                Some(tls) => server.bind_rustls_0_23(listen, tls.clone()),
                None => server.bind(listen),
            };
            let server = server.map_err(bind_error(listen))?;
            panel_addresses.push((panel, server.addrs().first().copied().unwrap_or(listen)));
            http.push(server.run());
        }
        tracing::info!(%address, tls = tls.is_some(), "listening");
        let open = panel_addresses.iter().map(|(_, address)| address).chain([&address]);
        for address in open.filter(|address| tls.is_none() && !address.ip().is_loopback()) {
            tracing::warn!(%address, "passwords and tokens travel in clear beyond this machine; give --tls-cert and --tls-key, or put a proxy with TLS in front");
        }
        Ok(Self { address, panel_addresses, first_password, http, engine, stopping })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where panels with an address of their own listen.
    pub fn panel_addresses(&self) -> &[(String, SocketAddr)] {
        &self.panel_addresses
    }

    /// The first user's password, where it was made up at this start. Given once.
    pub fn take_first_password(&mut self) -> Option<String> {
        self.first_password.take()
    }

    /// Serves until `stop` resolves, then finishes what was accepted.
    pub async fn run(self, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        let handles: Vec<ServerHandle> = self.http.iter().map(actix_web::dev::Server::handle).collect();
        let serving: Vec<_> = self.http.into_iter().map(actix_web::rt::spawn).collect();
        stop.await;
        tracing::info!("stopping: finishing what was accepted");
        self.stopping.send_replace(true);
        for handle in handles {
            handle.stop(true).await;
        }
        let mut result = Ok(());
        for server in serving {
            if let Ok(Err(error)) = server.await {
                result = Err(error);
            }
        }
        self.engine.stop().await;
        result
    }
}
