//! Panels to test clients against: many stand-alone panels in one process, which speak only the panel API.
//!
//! They are embedded panels of an engine of their own, behind the very routes that the server serves, so what is
//! tested is what ships. In front stand the [`faults`] that real devices have; [`control`] switches them at run
//! time, at an address of its own.
//!
//! Every panel has the one account `admin` with the password `123456`. Panels are at `/panels/sim-0001/api/…`, or
//! each at the root of a port of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::task::JoinHandle;
use actix_web::{App, HttpServer, web};
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;
use utoipa_actix_web::AppExt;

use crate::access::Access;
use crate::config::{Settings, TlsFiles};
use crate::coordinator::fleet::{AddError, AddPanels, NewPanel};
use crate::http::{self, panel_api};
use crate::panel::Origin;
use crate::panel::settings::{PanelRecord, Settings as PanelSettings};
use crate::server::tls::{self, TlsError};
use crate::server::{Engine, StartError, share};
use crate::telemetry::Metrics;

mod content;
pub mod control;
pub mod faults;
mod front;
pub mod latency;
pub mod quirk;

use faults::{Faults, Panels};
use front::Front;

/// The password of every simulated panel's account `admin`.
pub const PASSWORD: &str = "123456";

/// Connections at most, per thread.
const MAX_CONNECTIONS: usize = 25_000;

/// Connections that nobody has accepted yet at most, per port.
const WAITING_CONNECTIONS: i32 = 1024;

/// How the simulated panels are.
#[derive(Debug, Clone)]
pub struct SimulatorSettings {
    /// How many.
    pub panels: usize,
    /// Where they are; with a port per panel, the first one's address.
    pub listen: SocketAddr,
    /// Where the switches are.
    pub control: SocketAddr,
    /// Where they keep their profiles.
    pub data_dir: PathBuf,
    /// Each at the root of a port of its own, ascending from that of `listen`.
    pub port_per_panel: bool,
    /// Their family.
    pub api: String,
    /// The version that they say they speak; empty for their family's default.
    pub api_version: String,
    /// The zone in which they show the time.
    pub zone: String,
    /// How many profiles each holds at most.
    pub capacity: Option<u32>,
    /// How many identifiers each holds at most.
    pub identifier_capacity: Option<u32>,
    /// How many of these may be faces.
    pub face_capacity: Option<u32>,
    /// What each suffers from at first, in their order; panels beyond the list from nothing.
    pub faults: Vec<Faults>,
    /// For what is left to chance.
    pub seed: u64,
    /// Calls kept of each panel, for `GET /sim/calls`.
    pub keep_calls: usize,
    /// Panels speak HTTPS with this certificate.
    pub tls: Option<TlsFiles>,
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// As a server does not.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A panel cannot be like that.
    #[error("{0}")]
    Panel(String),
    /// The ports do not reach.
    #[error("{0} panels do not fit on ports from {1} on; give a lower --listen or fewer panels")]
    Ports(usize, u16),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Simulated panels that are bound and ready.
pub struct Simulator {
    address: SocketAddr,
    control: SocketAddr,
    http: Vec<(ServerHandle, JoinHandle<std::io::Result<()>>)>,
    engine: Engine,
    stopping: watch::Sender<bool>,
}

/// The id of the n-th panel, from 1 on.
pub fn panel_id(n: usize) -> String {
    format!("sim-{n:04}")
}

impl Simulator {
    /// Starts the panels, with what they held before where the data folder is not new.
    pub async fn build(settings: SimulatorSettings) -> Result<Self, SimulateError> {
        let metrics = Metrics::default();
        let usual = Settings::new(&settings.data_dir, settings.listen);
        let engine = Engine::start(&usual, &metrics).await?;
        add_panels(&engine, &settings).await?;
        let access = Access::new(engine.store()).map_err(StartError::from)?;
        access.first_start(Some(PASSWORD.to_owned())).await.map_err(StartError::from)?;
        let stopping = watch::Sender::new(false);
        let shared = share(&engine, access, &usual, &metrics, stopping.subscribe(), None);
        let door = http::front::Front::alone(Arc::clone(&shared));
        let shared = web::Data::from(shared);
        let first_port = settings.port_per_panel.then(|| settings.listen.port());
        let ids = (1..=settings.panels).map(panel_id).collect();
        let panels = Panels::new(ids, first_port, settings.faults, settings.seed, settings.keep_calls);
        let panels = web::Data::new(panels);
        let tls = settings.tls.map(tls::server_config).transpose()?;
        let ports = if settings.port_per_panel { settings.panels } else { 1 };
        if usize::from(settings.listen.port()) + ports > 65_536 {
            return Err(SimulateError::Ports(ports, settings.listen.port()));
        }
        let (of_app, of_panels) = (shared.clone(), panels.clone());
        let app = move || {
            let (app, document) = App::new()
                .into_utoipa_app()
                .app_data(web::PayloadConfig::new(of_app.body_limit)) // of a body that faults look at
                .app_data(of_app.clone())
                .app_data(of_panels.clone())
                .service(utoipa_actix_web::scope("/panels/{panel}/api").configure(panel_api::routes))
                .service(utoipa_actix_web::scope("/api").configure(panel_api::routes))
                .split_for_parts();
            app.app_data(http::methods_of(&document))
                .default_service(web::to(panel_api::not_found))
                .wrap(from_fn(faults::suffer))
                .wrap(from_fn(http::around))
                .wrap(from_fn({
                    let door = Arc::clone(&door);
                    move |request, next| http::front::receive(Arc::clone(&door), request, next)
                }))
        };
        let mut server = HttpServer::new(app.clone())
            .workers(std::thread::available_parallelism().map_or(2, usize::from))
            .max_connections(MAX_CONNECTIONS)
            .disable_signals()
            .shutdown_timeout(1);
        let mut listeners = Vec::new();
        for n in 0..ports {
            let address = SocketAddr::new(settings.listen.ip(), settings.listen.port() + n as u16);
            let wrong = |error| StartError::Listen(address, error);
            let listener = listen(address).map_err(wrong)?;
            listeners.push(listener.try_clone().map_err(wrong)?);
            let listens = match &tls {
                Some(tls) => server.listen_rustls_0_23(listener, tls.clone()),
                None => server.listen(listener),
            };
            server = listens.map_err(wrong)?;
        }
        let address = server.addrs().first().copied().unwrap_or(settings.listen);
        let own = SocketAddr::from(([127, 0, 0, 1], 0));
        let behind = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .bind(own)
            .map_err(|error| StartError::Listen(own, error))?;
        let port_behind = behind.addrs().first().copied().unwrap_or(own);
        panels.set_behind(port_behind.port());
        let mut http = vec![begin(server.run()), begin(behind.run())];
        let direct = http[0].0.clone();
        let front = Front::start(direct, listeners, port_behind, panels.clone(), tls, stopping.subscribe())
            .map_err(|error| StartError::Listen(address, error))?;
        front.switch().await;
        let front = web::Data::new(front);
        let switches = move || {
            App::new()
                .app_data(shared.clone())
                .app_data(panels.clone())
                .app_data(front.clone())
                .configure(control::routes)
        };
        let switches = HttpServer::new(switches)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .bind(settings.control)
            .map_err(|error| StartError::Listen(settings.control, error))?;
        let control = switches.addrs().first().copied().unwrap_or(settings.control);
        http.push(begin(switches.run()));
        Ok(Self { address, control, http, engine, stopping })
    }

    /// Where the panels are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the switches are.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// Serves until `stop` resolves.
    pub async fn run(self, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        stop.await;
        self.stopping.send_replace(true);
        for (handle, _) in &self.http {
            handle.stop(true).await;
        }
        for (_, server) in self.http {
            if let Ok(Err(error)) = server.await {
                return Err(error);
            }
        }
        self.engine.stop().await;
        Ok(())
    }
}

fn begin(server: Server) -> (ServerHandle, JoinHandle<std::io::Result<()>>) {
    (server.handle(), actix_web::rt::spawn(server))
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING_CONNECTIONS)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Adds the panels that the folder does not hold yet.
async fn add_panels(engine: &Engine, settings: &SimulatorSettings) -> Result<(), SimulateError> {
    let gone = || SimulateError::Panel("the panels' thread has ended".to_owned());
    let register = engine.register().now();
    let there: std::collections::HashSet<_> =
        register.select(None, None).map(|entry| entry.settings.id.as_str().to_owned()).collect();
    let mut missing = Vec::new();
    for id in (1..=settings.panels).map(panel_id).filter(|id| !there.contains(id)) {
        let record = PanelRecord {
            api: settings.api.clone(),
            api_version: settings.api_version.clone(),
            zone: settings.zone.clone(),
            capacity: settings.capacity,
            identifier_capacity: settings.identifier_capacity,
            face_capacity: settings.face_capacity,
            ..PanelRecord::new(id)
        };
        let parsed = PanelSettings::parse(&record).map_err(|problems| {
            let problems: Vec<_> = problems
                .iter()
                .map(|p| format!("{}: {}", p.path.trim_start_matches('/'), p.message))
                .collect();
            SimulateError::Panel(problems.join("; "))
        })?;
        missing.push(NewPanel::new(parsed));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let origin = Origin {
        actor: "simulate".into(),
        address: String::new(),
        request_id: "".into(),
        span: tracing::Span::none(),
    };
    let added = engine.coordinator().send(AddPanels(missing, origin)).await.map_err(|_| gone())?;
    let added = match added {
        Ok(added) => added.await.map_err(|_| gone())?,
        Err(error) => Err(error),
    };
    added.map_err(|error| match error {
        AddError::Store(error) => StartError::from(error).into(),
        AddError::Taken(_) => gone(),
    })
}
