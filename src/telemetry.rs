//! Logs and metrics.
//!
//! Logs go to stderr, one event a line, as text or JSON; `RUST_LOG` overrides the level. The rules: a message
//! reads alone; values are fields with units in their names (`panel.id`, `batch.id`, `duration_ms`); a failure
//! is logged once, where it is handled; no secret and no body is ever a field.
//!
//! A request's span carries `request.id`; the spans of the batch (`batch.id`) and of each panel's part
//! (`panel.id`) carry it on, so one batch can be followed through all rooms.
//!
//! Metrics are counted where the work is done and served at `/metrics`, as OpenMetrics or Prometheus' text.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod lines;
mod prometheus;

use lines::Lines;

use crate::alert::Way;
use crate::batch::PanelState;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may read the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Whoever asks from this machine, and whoever shows a token.
    Local,
    /// Whoever shows a token.
    Token,
    /// Anybody.
    Open,
}

/// Starts logging to stderr. `verbose` counts `-v`: none is warnings on a terminal and news elsewhere.
pub fn start_logging(format: LogFormat, verbose: u8) {
    let quiet = std::io::stderr().is_terminal() && format == LogFormat::Text;
    let level = match (verbose, quiet) {
        // A body that breaks off is our own doing, and said where it is done.
        (0, true) => "warn,actix_http::h1::dispatcher=off",
        (0, false) => "warn,actix_http::h1::dispatcher=off,panelsync=info",
        (1, _) => "warn,panelsync=debug",
        _ => "debug",
    };
    let text = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let asked = text.as_deref().and_then(targets);
    let unread = text.filter(|_| asked.is_none());
    let Some(filter) = asked.or_else(|| targets(level)) else { return }; // ours can be read
    let Ok(written) = Lines::start(std::io::stderr()) else { return }; // a process without threads has other worries
    let written = LINES.get_or_init(|| written).clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(written).log_internal_errors(false); // they would go where lines cannot be written
    let logged = tracing_subscriber::registry();
    // Tests start more than one server in a process; the first subscriber stays.
    let _ = match format {
        LogFormat::Text => logged.with(lines.with_ansi(quiet)).with(filter).try_init(),
        LogFormat::Json => logged.with(lines.json().flatten_event(true)).with(filter).try_init(),
    };
    if let Some(text) = unread {
        tracing::warn!(
            text,
            "RUST_LOG cannot be read, so -v says what is logged; it takes levels and modules, such as warn,panelsync=debug"
        );
    }
}

/// What is logged: levels, for all or below a module (`warn,panelsync=debug`). None where it cannot be read.
fn targets(text: &str) -> Option<Targets> {
    let parts: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.join(",").parse().ok()
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// Waits a bounded time until what was logged is written; to be called before the process ends.
pub fn flush_logs() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// All metrics. Cheap to clone; every clone counts into the same numbers.
#[derive(Clone)]
pub struct Metrics {
    /// Commits of the store.
    pub store: StoreMetrics,
    /// Batches and their panels.
    pub batches: BatchMetrics,
    /// HTTP requests.
    pub http: HttpMetrics,
    /// Panels by connection, and how far their devices are behind.
    pub devices: DeviceMetrics,
    /// Events at doors.
    pub events: EventMetrics,
    /// Messages of alerts.
    pub alerts: AlertMetrics,
    /// The log of several nodes; counted, and shown with several nodes only.
    pub cluster: ClusterMetrics,
    registry: std::sync::Arc<Registry>,
}

/// Commits of the store.
#[derive(Clone)]
pub struct StoreMetrics {
    commits: Counter,
    failures: Counter,
    rows: Histogram,
    seconds: Histogram,
}

impl StoreMetrics {
    /// A commit of about so many rows has taken so long.
    pub fn committed(&self, rows: usize, took: Duration) {
        self.commits.inc();
        self.rows.observe(rows as f64);
        self.seconds.observe(took.as_secs_f64());
    }

    /// A commit has failed.
    pub fn failed(&self) {
        self.failures.inc();
    }
}

/// What a node does with the log of several nodes.
#[derive(Clone)]
pub struct ClusterMetrics {
    /// 1 while this node leads.
    pub leads: Gauge,
    /// The number of the last reign that this node knows.
    pub reign: Gauge,
    /// The last entry that is applied here.
    pub applied: Gauge,
    /// Entries of the log that are not applied here yet.
    pub behind: Gauge,
    /// Signs of life that the log did not take.
    pub beats_missed: Counter,
    /// Requests passed on to the leader.
    pub passed: Counter,
    append_seconds: Histogram,
    append_bytes: Counter,
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self {
            leads: Gauge::default(),
            reign: Gauge::default(),
            applied: Gauge::default(),
            behind: Gauge::default(),
            beats_missed: Counter::default(),
            passed: Counter::default(),
            append_seconds: seconds(),
            append_bytes: Counter::default(),
        }
    }
}

impl ClusterMetrics {
    /// An entry of so many bytes was appended within this time.
    pub fn appended(&self, bytes: usize, took: Duration) {
        self.append_bytes.inc_by(bytes as u64);
        self.append_seconds.observe(took.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("cluster_leads", "1 while this node leads", self.leads.clone());
        registry.register("cluster_reign", "How often the lead has changed", self.reign.clone());
        registry.register("cluster_applied", "The last entry of the log applied here", self.applied.clone());
        registry.register(
            "cluster_behind_entries",
            "Entries of the log not applied here",
            self.behind.clone(),
        );
        registry.register(
            "cluster_beats_missed",
            "Signs of life that the log did not take",
            self.beats_missed.clone(),
        );
        registry.register("cluster_requests_passed", "Requests passed on to the leader", self.passed.clone());
        registry.register(
            "cluster_append_seconds",
            "Time of one append to the log",
            self.append_seconds.clone(),
        );
        registry.register("cluster_append_bytes", "Bytes appended to the log", self.append_bytes.clone());
    }
}

/// Batches and their panels.
#[derive(Clone)]
pub struct BatchMetrics {
    /// Batches accepted.
    pub accepted: Counter,
    /// Batches that are running.
    pub running: Gauge,
    /// Panels registered.
    pub panels: Gauge,
    /// In the order of [`PanelState::ALL`].
    panels_done: [Counter; PanelState::ALL.len()],
    panel_seconds: Histogram,
    seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl BatchMetrics {
    /// A panel has come to an outcome, so long after it was sent its part.
    pub fn panel_done(&self, outcome: PanelState, took: Duration) {
        if let Some(at) = PanelState::ALL.iter().position(|state| *state == outcome) {
            self.panels_done[at].inc();
        }
        self.panel_seconds.observe(took.as_secs_f64());
    }

    /// A batch has an outcome from every panel, so long after its acceptance.
    pub fn batch_done(&self, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
    }
}

/// Panels by connection, and how far their devices are behind.
#[derive(Clone)]
pub struct DeviceMetrics {
    connections: Family<ConnectionLabel, Gauge>,
    pending: Gauge,
    drifted: Gauge,
    rejected: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    connection: &'static str,
}

impl DeviceMetrics {
    /// As it is now. Connections are counted as online, offline, unknown.
    pub fn set(&self, connections: [u64; 3], pending: u64, drifted: u64, rejected: u64) {
        for (connection, count) in ["online", "offline", "unknown"].into_iter().zip(connections) {
            self.connections.get_or_create(&ConnectionLabel { connection }).set(count as i64);
        }
        self.pending.set(pending as i64);
        self.drifted.set(drifted as i64);
        self.rejected.set(rejected as i64);
    }
}

/// Events at doors that devices told.
#[derive(Clone, Default)]
pub struct EventMetrics {
    told: Family<ToldLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToldLabel {
    came_to: &'static str,
}

impl EventMetrics {
    /// Of what was told so many were kept, were there already, were about something else than a door, could not be read.
    pub fn told(&self, kept: usize, again: usize, others: usize, unreadable: usize) {
        for (came_to, count) in
            [("kept", kept), ("again", again), ("other", others), ("unreadable", unreadable)]
        {
            self.told.get_or_create(&ToldLabel { came_to }).inc_by(count as u64);
        }
    }
}

/// Messages of alerts.
#[derive(Clone, Default)]
pub struct AlertMetrics {
    messages: Family<MessageLabel, Counter>,
    held_back: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabel {
    way: &'static str,
    came_to: &'static str,
}

impl AlertMetrics {
    /// One went out.
    pub fn sent(&self, way: Way) {
        self.count(way, "sent");
    }

    /// One did not go out, and is tried again.
    pub fn tried(&self, way: Way) {
        self.count(way, "again");
    }

    /// One was given up.
    pub fn given_up(&self, way: Way) {
        self.count(way, "given_up");
    }

    /// So many were held back, since there were enough within the hour.
    pub fn held_back(&self, messages: u64) {
        self.held_back.inc_by(messages);
    }

    fn count(&self, way: Way, came_to: &'static str) {
        self.messages.get_or_create(&MessageLabel { way: way.as_str(), came_to }).inc();
    }
}

/// HTTP requests.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: Family<HttpLabels, Counter>,
    seconds: Family<ApiLabel, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    api: &'static str,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

impl HttpMetrics {
    /// A request was answered. `method` is one that HTTP defines, or the label would be the sender's choice.
    pub fn answered(&self, api: &'static str, method: &str, status: u16, took: Duration) {
        let method = match method {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        self.requests.get_or_create(&HttpLabels { api, method: method.into(), status }).inc();
        self.seconds.get_or_create(&ApiLabel { api }).observe(took.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Metrics {
    /// Those of one server, or of one of several nodes.
    pub fn new(several_nodes: bool) -> Self {
        let mut registry = Registry::with_prefix("panelsync");
        let store = StoreMetrics {
            commits: Counter::default(),
            failures: Counter::default(),
            rows: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
            seconds: seconds(),
        };
        registry.register("commits", "Commits of the store", store.commits.clone());
        registry.register("commit_failures", "Commits that failed", store.failures.clone());
        registry.register("commit_rows", "Rows in one commit, about", store.rows.clone());
        registry.register("commit_seconds", "Time of one commit", store.seconds.clone());
        let panels_done = Family::<OutcomeLabel, Counter>::default();
        let panels_in =
            |state: PanelState| panels_done.get_or_create(&OutcomeLabel { outcome: state.as_str() }).clone();
        let batches = BatchMetrics {
            accepted: Counter::default(),
            running: Gauge::default(),
            panels: Gauge::default(),
            panels_done: PanelState::ALL.map(panels_in),
            panel_seconds: seconds(),
            seconds: seconds(),
        };
        registry.register("batches_accepted", "Batches accepted", batches.accepted.clone());
        registry.register("batches_running", "Batches without all outcomes", batches.running.clone());
        registry.register("panels", "Panels registered", batches.panels.clone());
        registry.register("batch_panels", "Outcomes of panels in batches", panels_done);
        registry.register(
            "batch_panel_seconds",
            "From sending a panel its part of a batch to its outcome",
            batches.panel_seconds.clone(),
        );
        registry.register("batch_seconds", "From acceptance to the last outcome", batches.seconds.clone());
        let http = HttpMetrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
        };
        registry.register("http_requests", "HTTP requests answered", http.requests.clone());
        registry.register("http_seconds", "Time to answer an HTTP request", http.seconds.clone());
        let devices = DeviceMetrics {
            connections: Family::default(),
            pending: Gauge::default(),
            drifted: Gauge::default(),
            rejected: Gauge::default(),
        };
        registry.register("panel_connections", "Panels by connection", devices.connections.clone());
        registry.register(
            "profiles_pending",
            "Profiles that devices have not confirmed",
            devices.pending.clone(),
        );
        registry.register("profiles_drifted", "Profiles that differ on devices", devices.drifted.clone());
        registry.register("profiles_rejected", "Profiles that devices refuse", devices.rejected.clone());
        let events = EventMetrics::default();
        registry.register("door_events_told", "Events at doors that devices told", events.told.clone());
        let alerts = AlertMetrics::default();
        registry.register("alert_messages", "Tries to send messages of alerts", alerts.messages.clone());
        registry.register(
            "alert_messages_held_back",
            "Messages of alerts held back, which a digest counts",
            alerts.held_back.clone(),
        );
        let cluster = ClusterMetrics::default();
        if several_nodes {
            cluster.register(&mut registry);
        }
        Self {
            store,
            batches,
            http,
            devices,
            events,
            alerts,
            cluster,
            registry: std::sync::Arc::new(registry),
        }
    }

    /// All numbers in the text format of Prometheus.
    pub fn prometheus(&self) -> String {
        prometheus::from_open_metrics(&self.open_metrics())
    }

    /// All numbers in the text format of OpenMetrics.
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// From 0.1 ms to about 26 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn what_is_logged_is_said_by_level_and_by_module() {
        let logs = |text: &str, module: &str, level: Level| {
            targets(text).expect("can be read").would_enable(module, &level)
        };
        assert!(logs("warn,panelsync=debug", "panelsync::store", Level::DEBUG));
        assert!(!logs("warn,panelsync=debug", "actix_http", Level::INFO));
        assert!(logs(" WARN, ,panelsync", "panelsync::store", Level::TRACE));
        assert!(!logs("debug,panelsync::store=off", "panelsync::store", Level::ERROR));
        assert!(targets("panelsync=loud").is_none());
    }
}
