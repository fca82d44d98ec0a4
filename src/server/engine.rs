//! The rooms below HTTP, started and stopped: the store, and the thread on which the coordinator and all panels live.

use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use actix_web::web;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::StartError;
use crate::clock;
use crate::config::Settings;
use crate::coordinator::{CloseDevices, Coordinator, Drain, Kept, RegisterReader};
use crate::parts;
use crate::store::{Store, StoreHandle, backup, damage};
use crate::telemetry::Metrics;

/// How long a stop waits for running batches; what is not done by then is taken up at the next start.
const DRAIN: Duration = Duration::from_secs(30);

/// How long a stop waits for calls to devices that are under way, and for the ends of their sessions.
const CLOSE: Duration = Duration::from_secs(10);

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
        let thread = PanelThread(Some(Arbiter::new())); // it ends with this, whatever comes next
        let (started, start) = oneshot::channel();
        let kept = Kept { batches: settings.keep_batches, keys: settings.keep_keys };
        let (handle, devices) = (store.handle(), settings.devices.clone());
        let metrics = metrics.batches.clone();
        let now = clock::now_ms();
        let first = handle.change(move |tables| tables.first_of_start(now)).await?;
        let PanelThread(Some(arbiter)) = &thread else { return Err(StartError::Engine) };
        arbiter.spawn_fn(move || {
            parts::this_thread_is("the thread of the coordinator and all panels");
            let mut coordinator = Coordinator::new(handle, kept, devices, metrics, first);
            let result = damage::guarded(|| coordinator.take_up()).and_then(|taken| taken);
            let register = coordinator.register();
            let result = result.map(|()| (coordinator.start(), register));
            let _ = started.send(result); // the other end waits below
        });
        let (coordinator, register) = start.await.map_err(|_| StartError::Engine)??;
        Ok(Self { store, coordinator, register, thread })
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

    /// Closes the sessions at devices within a time, and the store; what runs goes on where the fleet is led next.
    pub async fn hand_over(self, within: Duration) {
        if let Ok(Ok(closed)) = tokio::time::timeout(within, self.coordinator.send(CloseDevices)).await {
            let _ = tokio::time::timeout(within, join_all(closed)).await; // sessions end by themselves too
        }
        self.close().await;
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
        self.close().await;
    }

    /// Ends everything where it stands.
    pub async fn close(self) {
        drop(self.coordinator);
        let closed = web::block(move || {
            self.thread.join();
            self.store.close();
        });
        let _ = closed.await; // the store logs what goes wrong
    }
}

/// Every connection is an open file, and the usual limit of 1,024 is meant to be raised by who needs more.
pub(super) fn raise_file_limit() {
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
