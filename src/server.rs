//! The composition root: store → panels and coordinator → HTTP, started from the end backwards, so that
//! whoever is asked can already ask.
//!
//! `serve`, `demo` and the tests all start a server here. [`Server::build`] gives the bound address;
//! [`Server::run`] serves until told to stop, and then lets what was accepted come to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use tokio::sync::watch;

use crate::access::AccessError;
use crate::config::Settings;
use crate::http;
use crate::http::front::Front;
use crate::http::panel_api::OnlyPanel;
use crate::store::{OpenError, StoreError};
use crate::telemetry::Metrics;

mod engine;
pub mod node;
mod reign;
pub mod tls;

pub use engine::Engine;
use node::{Node, NodeError, Wish};
use reign::Reign;
pub use reign::share;
use tls::TlsError;

/// How long a stop waits for requests that are being answered, in seconds.
const GRACE_S: u64 = 10;

/// How long the head of a request may take to come.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a node that stops is given to give the lead away before it takes no more requests.
const GIVE_AWAY: Duration = Duration::from_secs(5);

/// How long it waits then for another to take it: what it was asked meanwhile can be passed on.
const TAKEN: Duration = Duration::from_secs(1);

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
    /// It cannot be a node of this fleet.
    #[error("{0}")]
    Node(Box<NodeError>),
}

impl From<NodeError> for StartError {
    fn from(error: NodeError) -> Self {
        Self::Node(Box::new(error))
    }
}

/// Why a server ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It does not listen any more.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is no node of its fleet any more.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A server that is bound and has taken up its work.
pub struct Server {
    address: SocketAddr,
    panel_addresses: Vec<(String, SocketAddr)>,
    first_password: Option<watch::Receiver<Option<String>>>,
    http: Vec<actix_web::dev::Server>,
    front: Arc<Front>,
    serving: Serving,
}

/// What answers.
enum Serving {
    /// This server, to its end.
    Alone(Reign),
    /// The node that leads.
    Node(Box<Node>, watch::Sender<Wish>),
}

impl Server {
    /// Opens the data folder, takes up interrupted batches, makes the first user where there is none, and
    /// binds the address. With several nodes it founds the log or joins the fleet; the rest is the leader's.
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        let tls = settings.tls.clone().map(tls::server_config).transpose()?;
        let metrics = Metrics::new(settings.cluster.is_some());
        let first_password = watch::Sender::new(None);
        let told_first_password = first_password.subscribe();
        let (serving, front) = match &settings.cluster {
            None => {
                let engine = Engine::start(&settings, &metrics).await?;
                let (reign, made_up) = Reign::begin(engine, &settings, &metrics, None).await?;
                first_password.send_replace(made_up);
                let front = Front::alone(reign.shared());
                (Serving::Alone(reign), front)
            }
            Some(cluster) => {
                engine::raise_file_limit();
                let (wish, wished) = watch::channel(Wish::Take);
                let (node, front) =
                    node::prepare(&settings, cluster, &metrics, wished, first_password).await?;
                (Serving::Node(Box::new(node), wish), front)
            }
        };
        let bind_error = |address| move |error| StartError::Listen(address, error);
        let app = Arc::clone(&front);
        let main = HttpServer::new(move || http::app(Arc::clone(&app), crate::web::routes))
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
            let (app, only) = (Arc::clone(&front), OnlyPanel(panel.clone()));
            let server = HttpServer::new(move || http::panel_app(Arc::clone(&app), only.clone()))
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
        let first_password = Some(told_first_password);
        Ok(Self { address, panel_addresses, first_password, http, front, serving })
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
        self.first_password.as_mut()?.borrow_and_update().clone()
    }

    /// Where the first user's password is told, which the first node of a fleet makes up once it leads. Given once.
    pub fn take_first_passwords(&mut self) -> Option<watch::Receiver<Option<String>>> {
        self.first_password.take()
    }

    /// Serves until `stop` resolves, then finishes what was accepted.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let handles: Vec<ServerHandle> = self.http.iter().map(actix_web::dev::Server::handle).collect();
        let serving: Vec<_> = self.http.into_iter().map(actix_web::rt::spawn).collect();
        let mut result = match self.serving {
            Serving::Alone(reign) => {
                stop.await;
                tracing::info!("stopping: finishing what was accepted");
                reign.stop_waiting();
                stop_all(&handles).await;
                reign.stop().await;
                Ok(())
            }
            Serving::Node(node, wish) => {
                let mut life = actix_web::rt::spawn(node.run());
                let ended = tokio::select! {
                    () = stop => None,
                    ended = &mut life => Some(ended),
                };
                let ended = match ended {
                    Some(ended) => {
                        for handle in &handles {
                            handle.stop(false).await; // it has nothing to say any more
                        }
                        ended
                    }
                    None => {
                        tracing::info!("stopping: giving the lead away");
                        wish.send_replace(Wish::Follow);
                        self.front.until_given_away(GIVE_AWAY, TAKEN).await;
                        stop_all(&handles).await;
                        wish.send_replace(Wish::End);
                        life.await
                    }
                };
                ended.unwrap_or_else(|error| Err(NodeError::Ended(error.to_string()))).map_err(RunError::from)
            }
        };
        for server in serving {
            if let Ok(Err(error)) = server.await {
                result = result.and(Err(error.into()));
            }
        }
        result
    }
}

/// Lets requests that are being answered come to their end.
async fn stop_all(handles: &[ServerHandle]) {
    for handle in handles {
        handle.stop(true).await;
    }
}
