//! The server's settings from flags, the environment and a file; what comes first of these wins.
//!
//! The file is TOML with the flags' names, `_` for `-`. A key that is not known, or a value that does not fit,
//! stops the start with its name and what it takes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::access::proxy::Network;
use crate::cluster::ClusterSettings;
use crate::config::{KeySource, Secret, Settings, TlsFiles};
use crate::telemetry::MetricsAccess;

mod mail;

pub use mail::SmtpTls;

/// How `serve` is asked to run.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "PANELSYNC_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Folder that holds everything that must survive [default: ./panelsync-data]
    #[arg(long, env = "PANELSYNC_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// TOML file with settings of the same names
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Speak HTTPS with this certificate chain, PEM; it is read again when it changes
    #[arg(long, env = "PANELSYNC_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, env = "PANELSYNC_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// File with the key that device passwords are sealed with, 64 hex digits [default: panelsync.key in the data folder]
    #[arg(long, env = "PANELSYNC_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Largest request body, in bytes [default: 16777216]
    #[arg(long, env = "PANELSYNC_BODY_LIMIT", value_name = "BYTES")]
    pub body_limit: Option<usize>,
    /// Items that one call may name at most: profiles, link_ids, panels [default: 100000]
    #[arg(long, env = "PANELSYNC_MAX_ITEMS", value_name = "N")]
    pub max_items: Option<usize>,
    /// Who may read /metrics [default: local]
    #[arg(long, env = "PANELSYNC_METRICS_ACCESS", value_name = "WHO")]
    pub metrics_access: Option<MetricsAccess>,
    /// Listeners to events with one token or session at most [default: 32]
    #[arg(long, env = "PANELSYNC_LISTENERS_PER_TOKEN", value_name = "N")]
    pub listeners_per_token: Option<usize>,
    /// How many finished batches are kept [default: 1000]
    #[arg(long, env = "PANELSYNC_KEEP_BATCHES", value_name = "N")]
    pub keep_batches: Option<u64>,
    /// How long an Idempotency-Key stands for the batch that was accepted under it [default: 24h]
    #[arg(long, env = "PANELSYNC_KEEP_KEYS", value_name = "TIME", value_parser = time)]
    pub keep_keys: Option<Duration>,
    /// How many door-hours a batch may open or close within four weeks; one beyond it is refused until it is sent with the
    /// number that the dry run said [default: any]
    #[arg(long, env = "PANELSYNC_DOOR_HOURS_BUDGET", value_name = "N")]
    pub door_hours_budget: Option<u64>,
    /// Remote panels talked to at once [default: 256]
    #[arg(long, env = "PANELSYNC_DEVICE_CONCURRENCY", value_name = "N")]
    pub device_concurrency: Option<usize>,
    /// Profiles in one call to a device at most [default: 50]
    #[arg(long, env = "PANELSYNC_DEVICE_CHUNK", value_name = "N")]
    pub device_chunk: Option<usize>,
    /// How long a connection to a device may take [default: 3s]
    #[arg(long, env = "PANELSYNC_DEVICE_CONNECT_TIMEOUT", value_name = "TIME", value_parser = time)]
    pub device_connect_timeout: Option<Duration>,
    /// How long a call to a device may take [default: 10s]
    #[arg(long, env = "PANELSYNC_DEVICE_TIMEOUT", value_name = "TIME", value_parser = time)]
    pub device_timeout: Option<Duration>,
    /// Between two looks at an idle device [default: 60s]
    #[arg(long, env = "PANELSYNC_CHECK_EVERY", value_name = "TIME", value_parser = time)]
    pub check_every: Option<Duration>,
    /// Between two readings of all that a device holds [default: 6h]
    #[arg(long, env = "PANELSYNC_READ_BACK_EVERY", value_name = "TIME", value_parser = time)]
    pub read_back_every: Option<Duration>,
    /// Bytes that are read of all that one device holds, at most [default: 16777216]
    #[arg(long, env = "PANELSYNC_DEVICE_READ_LIMIT", value_name = "BYTES")]
    pub device_read_limit: Option<usize>,
    /// What a device refuses for so long waits for a person: a password, rights, a call [default: 60s]
    #[arg(long, env = "PANELSYNC_DEVICE_PERSON_AFTER", value_name = "TIME", value_parser = time)]
    pub device_person_after: Option<Duration>,
    /// Proxies whose word is taken for the client's address and for TLS in front, such as 10.0.0.5 or 10.0.0.0/8; may be repeated
    #[arg(long, env = "PANELSYNC_TRUST_PROXY", value_name = "ADDR", value_delimiter = ',')]
    pub trust_proxy: Vec<Network>,
    /// How long entries of the audit are kept at most [default: 365d]
    #[arg(long, env = "PANELSYNC_KEEP_AUDIT", value_name = "TIME", value_parser = long_time)]
    pub keep_audit: Option<Duration>,
    /// Ask devices every --check-every for what happened at their doors, unless they tell that by themselves
    #[arg(long, env = "PANELSYNC_PULL_EVENTS")]
    pub pull_events: bool,
    /// How long events at doors are kept at most [default: 90d]
    #[arg(long, env = "PANELSYNC_KEEP_EVENTS", value_name = "TIME", value_parser = long_time)]
    pub keep_events: Option<Duration>,
    /// How many events at doors are kept at most [default: 1000000]
    #[arg(long, env = "PANELSYNC_KEEP_EVENTS_NUMBER", value_name = "N")]
    pub keep_events_number: Option<u64>,
    /// File with the password that devices show to this server as their Link server (or PANELSYNC_LINK_PASSWORD holds it); without
    /// one it takes no events of them
    #[arg(long, env = "PANELSYNC_LINK_PASSWORD_FILE", value_name = "FILE")]
    pub link_password_file: Option<PathBuf>,
    /// Be one of several nodes whose log is in this PostgreSQL database, such as postgres://panelsync@db1,db2/panelsync;
    /// a password in it belongs into PANELSYNC_CLUSTER, since the process list shows every flag
    #[arg(long, env = "PANELSYNC_CLUSTER", hide_env_values = true, value_name = "URL")]
    pub cluster: Option<String>,
    /// This node's name, which no other node has
    #[arg(long, env = "PANELSYNC_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Where the other nodes reach this one, such as https://10.0.0.5:8443
    #[arg(long, env = "PANELSYNC_ADVERTISE", value_name = "URL")]
    pub advertise: Option<String>,
    /// How long the node that leads is not heard of before another takes over; the same for all nodes [default: 6s]
    #[arg(long, env = "PANELSYNC_CLUSTER_TTL", value_name = "TIME", value_parser = time)]
    pub cluster_ttl: Option<Duration>,
    /// The CA of the database's and the other nodes' certificates, PEM [default: what the system trusts]
    #[arg(long, env = "PANELSYNC_CLUSTER_CA_FILE", value_name = "FILE")]
    pub cluster_ca_file: Option<PathBuf>,
    /// The mail server of alerts, such as smtp://alerts@mail.example:587 or smtps://mail.example; its password comes from
    /// PANELSYNC_SMTP_PASSWORD or --smtp-password-file
    #[arg(long, env = "PANELSYNC_SMTP", value_name = "URL")]
    pub smtp: Option<String>,
    /// File with the password of the account on the mail server
    #[arg(long, env = "PANELSYNC_SMTP_PASSWORD_FILE", value_name = "FILE")]
    pub smtp_password_file: Option<PathBuf>,
    /// Whom mails of alerts are from, such as "panelsync <alerts@example.org>" [default: the account, where that is an address]
    #[arg(long, env = "PANELSYNC_SMTP_FROM", value_name = "ADDRESS")]
    pub smtp_from: Option<String>,
    /// Whether mail is encrypted with smtp:// [default: required; offered on this machine]
    #[arg(long, env = "PANELSYNC_SMTP_TLS", value_name = "WHEN")]
    pub smtp_tls: Option<SmtpTls>,
    /// The CA of the mail server's certificate, or that very certificate, PEM [default: what the system trusts]
    #[arg(long, env = "PANELSYNC_SMTP_CA_FILE", value_name = "FILE")]
    pub smtp_ca_file: Option<PathBuf>,
    /// How long what comes at the same time is gathered into one message of an alert [default: 30s]
    #[arg(long, env = "PANELSYNC_ALERT_GATHER", value_name = "TIME", value_parser = time)]
    pub alert_gather: Option<Duration>,
    /// Serve one panel at the root of an address of its own; may be repeated
    #[arg(long, value_name = "ID=ADDR:PORT", value_parser = panel_listen)]
    pub panel_listen: Vec<(String, SocketAddr)>,
}

/// What a file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the flags' names")]
struct File {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    key_file: Option<PathBuf>,
    body_limit: Option<usize>,
    max_items: Option<usize>,
    metrics_access: Option<MetricsAccess>,
    listeners_per_token: Option<usize>,
    keep_batches: Option<u64>,
    keep_keys: Option<FileTime>,
    door_hours_budget: Option<u64>,
    device_concurrency: Option<usize>,
    device_chunk: Option<usize>,
    device_connect_timeout: Option<FileTime>,
    device_timeout: Option<FileTime>,
    check_every: Option<FileTime>,
    read_back_every: Option<FileTime>,
    device_read_limit: Option<usize>,
    device_person_after: Option<FileTime>,
    #[serde(default)]
    trust_proxy: Vec<Network>,
    keep_audit: Option<FileLongTime>,
    pull_events: Option<bool>,
    keep_events: Option<FileLongTime>,
    keep_events_number: Option<u64>,
    link_password_file: Option<PathBuf>,
    cluster: Option<String>,
    node: Option<String>,
    advertise: Option<String>,
    cluster_ttl: Option<FileTime>,
    cluster_ca_file: Option<PathBuf>,
    smtp: Option<String>,
    smtp_password_file: Option<PathBuf>,
    smtp_from: Option<String>,
    smtp_tls: Option<SmtpTls>,
    smtp_ca_file: Option<PathBuf>,
    alert_gather: Option<FileTime>,
    #[serde(default)]
    panel_listen: BTreeMap<String, SocketAddr>,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the settings file {0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file with the link password cannot be read.
    #[error("the file {0} with the link password cannot be read: {1}")]
    LinkPassword(PathBuf, #[source] std::io::Error),
    /// The file says something that is not understood.
    #[error("the settings file {0} is wrong: {1}")]
    Wrong(PathBuf, #[source] Box<toml::de::Error>),
    /// What was given of the mail server is wrong.
    #[error("{0}: {1}")]
    Mail(&'static str, String),
    /// A value is out of range.
    #[error("{0} takes {1}")]
    Range(&'static str, &'static str),
}

impl ServeArgs {
    /// From the flags (and their environment), then the file, then the defaults.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let file = self.config.as_deref().map_or(Ok(File::default()), File::read)?;
        let listen = self.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let data_dir = self.data_dir.clone().or(file.data_dir).unwrap_or_else(|| "./panelsync-data".into());
        let mut settings = Settings::new(data_dir, listen);
        settings.tls = match (self.tls_cert.clone().or(file.tls_cert), self.tls_key.clone().or(file.tls_key))
        {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(ConfigError::Range("tls_cert", "a tls_key with it")),
            (None, Some(_)) => return Err(ConfigError::Range("tls_key", "a tls_cert with it")),
        };
        settings.key = KeySource::from(self.key_file.clone().or(file.key_file));
        if let Some(body_limit) = self.body_limit.or(file.body_limit) {
            if body_limit == 0 {
                return Err(ConfigError::Range("body_limit", "at least one byte"));
            }
            settings.body_limit = body_limit;
        }
        settings.metrics_access =
            self.metrics_access.or(file.metrics_access).unwrap_or(settings.metrics_access);
        for (name, given, limit) in [
            ("max_items", self.max_items.or(file.max_items), &mut settings.max_items),
            (
                "listeners_per_token",
                self.listeners_per_token.or(file.listeners_per_token),
                &mut settings.listeners_per_token,
            ),
        ] {
            match given {
                Some(0) => return Err(ConfigError::Range(name, "at least 1")),
                given => *limit = given.unwrap_or(*limit),
            }
        }
        if let Some(keep_batches) = self.keep_batches.or(file.keep_batches) {
            if keep_batches == 0 {
                return Err(ConfigError::Range("keep_batches", "at least 1"));
            }
            settings.keep_batches = keep_batches;
        }
        settings.door_hours_budget = self.door_hours_budget.or(file.door_hours_budget);
        if let Some(keep_audit) = self.keep_audit.or(file.keep_audit.map(|time| time.0)) {
            settings.keep_audit = keep_audit;
        }
        if let Some(keep_events) = self.keep_events.or(file.keep_events.map(|time| time.0)) {
            settings.keep_events = keep_events;
        }
        if let Some(number) = self.keep_events_number.or(file.keep_events_number) {
            if number == 0 {
                return Err(ConfigError::Range("keep_events_number", "at least 1"));
            }
            settings.keep_events_number = number;
        }
        settings.link_password = link_password(self.link_password_file.clone().or(file.link_password_file))?;
        settings.trust_proxy =
            if self.trust_proxy.is_empty() { file.trust_proxy } else { self.trust_proxy.clone() };
        let devices = &mut settings.devices;
        for (name, given, limit) in [
            (
                "device_concurrency",
                self.device_concurrency.or(file.device_concurrency),
                &mut devices.concurrency,
            ),
            ("device_chunk", self.device_chunk.or(file.device_chunk), &mut devices.chunk),
        ] {
            match given {
                Some(1..=10_000) => *limit = given.unwrap_or(*limit),
                Some(_) => return Err(ConfigError::Range(name, "1 to 10000")),
                None => {}
            }
        }
        let from_file = |time: Option<FileTime>| time.map(|time| time.0);
        for (given, time) in [
            (
                self.device_connect_timeout.or(from_file(file.device_connect_timeout)),
                &mut devices.timeouts.connect,
            ),
            (self.device_timeout.or(from_file(file.device_timeout)), &mut devices.timeouts.request),
            (self.check_every.or(from_file(file.check_every)), &mut devices.check_every),
            (self.read_back_every.or(from_file(file.read_back_every)), &mut devices.read_every),
            (self.device_person_after.or(from_file(file.device_person_after)), &mut devices.person_after),
            (self.alert_gather.or(from_file(file.alert_gather)), &mut settings.alerts.gather),
            (self.keep_keys.or(from_file(file.keep_keys)), &mut settings.keep_keys),
        ] {
            *time = given.unwrap_or(*time);
        }
        devices.pull_events = self.pull_events || file.pull_events.unwrap_or(false);
        if let Some(bytes) = self.device_read_limit.or(file.device_read_limit) {
            if bytes == 0 {
                return Err(ConfigError::Range("device_read_limit", "at least one byte"));
            }
            devices.read_limits.bytes = bytes;
        }
        let node = self.node.clone().or(file.node);
        let advertise = self.advertise.clone().or(file.advertise);
        let ttl = self.cluster_ttl.or(from_file(file.cluster_ttl)).unwrap_or(Duration::from_secs(6));
        let ca_file = self.cluster_ca_file.clone().or(file.cluster_ca_file);
        settings.cluster = match (self.cluster.clone().or(file.cluster), node, advertise) {
            (None, None, None) => None,
            (None, ..) => return Err(ConfigError::Range("node and advertise", "a cluster with them")),
            (Some(_), None, _) => {
                return Err(ConfigError::Range("cluster", "a node with it: the name of this one"));
            }
            (Some(_), _, None) => {
                return Err(ConfigError::Range(
                    "cluster",
                    "an advertise with it: where the other nodes reach this one",
                ));
            }
            (Some(database), Some(node), Some(advertise)) => {
                if !(Duration::from_secs(1)..=Duration::from_mins(10)).contains(&ttl) {
                    return Err(ConfigError::Range("cluster_ttl", "1s to 10m"));
                }
                Some(ClusterSettings { database: Secret(database), node, advertise, ttl, ca_file })
            }
        };
        settings.smtp = mail::Given {
            url: self.smtp.clone().or(file.smtp),
            password_file: self.smtp_password_file.clone().or(file.smtp_password_file),
            from: self.smtp_from.clone().or(file.smtp_from),
            tls: self.smtp_tls.or(file.smtp_tls),
            ca_file: self.smtp_ca_file.clone().or(file.smtp_ca_file),
        }
        .settings()?;
        settings.panel_listen.clone_from(&self.panel_listen);
        settings.panel_listen.extend(file.panel_listen);
        // From the environment only: the process list shows every flag.
        settings.admin_password = std::env::var("PANELSYNC_ADMIN_PASSWORD").ok().map(Secret);
        Ok(settings)
    }
}

/// The password that devices know: from the environment or a file, since the process list shows every flag.
fn link_password(file: Option<PathBuf>) -> Result<Option<Secret>, ConfigError> {
    let given = std::env::var("PANELSYNC_LINK_PASSWORD").ok();
    let password = match (given, file) {
        (Some(password), _) => password,
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path);
            text.map_err(|error| ConfigError::LinkPassword(path, error))?
                .trim_end_matches(['\r', '\n'])
                .to_owned()
        }
        (None, None) => return Ok(None),
    };
    if password.is_empty() {
        return Err(ConfigError::Range("the link password", "at least one character"));
    }
    Ok(Some(Secret(password)))
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(path.into(), error))?;
        toml::from_str(&text).map_err(|error| ConfigError::Wrong(path.into(), Box::new(error)))
    }
}

/// A time in a settings file, such as `"10s"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct FileTime(Duration);

impl TryFrom<String> for FileTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        time(&text).map(Self)
    }
}

/// A time in a settings file of up to ten years.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct FileLongTime(Duration);

impl TryFrom<String> for FileLongTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        long_time(&text).map(Self)
    }
}

/// A time such as `500ms`, `10s`, `5m` or `6h`; at least a millisecond, at most thirty days.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    time_up_to(30, text).ok_or_else(|| format!("{text:?} is no time such as 500ms, 10s, 5m or 6h"))
}

/// A time such as `12h` or `365d`, at most ten years.
fn long_time(text: &str) -> Result<Duration, String> {
    time_up_to(3653, text)
        .ok_or_else(|| format!("{text:?} is no time such as 12h, 90d or 365d, up to ten years"))
}

fn time_up_to(days: u64, text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let ms = number.checked_mul(factor).filter(|ms| (1..=days * 86_400_000).contains(ms))?;
    Some(Duration::from_millis(ms))
}

fn panel_listen(text: &str) -> Result<(String, SocketAddr), String> {
    let (id, address) = text.split_once('=').ok_or("it takes ID=ADDR:PORT, such as p1=0.0.0.0:8101")?;
    let address = address.parse().map_err(|_| format!("{address} is no ADDR:PORT such as 0.0.0.0:8101"))?;
    Ok((id.to_owned(), address))
}
