//! How a server runs: plain settings. The command line makes them of flags, the environment and a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::proxy::Network;
use crate::alert;
use crate::cluster::ClusterSettings;
use crate::courier::smtp::Smtp;
use crate::panel::remote::DeviceSettings;
use crate::store::event::KEPT_EVENTS;
use crate::store::seal::{KEY_FILE, KEY_VARIABLE, KeyError, Seal};
use crate::store::{FILE_NAME, OpenError, Store};
use crate::telemetry::{Metrics, MetricsAccess};

/// How a server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Its certificate; without one it speaks HTTP.
    pub tls: Option<TlsFiles>,
    /// Where the key for device passwords comes from.
    pub key: KeySource,
    /// The largest body, in bytes: 16 MiB holds some 35,000 profiles.
    pub body_limit: usize,
    /// Items that one call may name.
    pub max_items: usize,
    /// Who may read the metrics.
    pub metrics_access: MetricsAccess,
    /// Listeners to events with one token or session.
    pub listeners_per_token: usize,
    /// How many batches are kept.
    pub keep_batches: u64,
    /// How long idempotency keys are kept.
    pub keep_keys: Duration,
    /// How many door-hours a batch may open or close unconfirmed; any without.
    pub door_hours_budget: Option<u64>,
    /// How long entries of the audit are kept at most.
    pub keep_audit: Duration,
    /// How long events at doors are kept at most.
    pub keep_events: Duration,
    /// How many of them.
    pub keep_events_number: u64,
    /// The password that devices show to this server as their Link server; without one it takes no events of them.
    pub link_password: Option<Secret>,
    /// Proxies whose word is taken for the client's address.
    pub trust_proxy: Vec<Network>,
    /// How long a backup waits for its reader to take the next piece.
    pub backup_patience: Duration,
    /// Panels at addresses of their own.
    pub panel_listen: Vec<(String, SocketAddr)>,
    /// How devices are treated.
    pub devices: DeviceSettings,
    /// HTTP threads. All panels and the coordinator share one more, and the store's writer has its own.
    pub workers: usize,
    /// The first admin's password, where the environment gives one.
    pub admin_password: Option<Secret>,
    /// The mail server of alerts, where there is one.
    pub smtp: Option<Smtp>,
    /// How alerts are looked for and sent.
    pub alerts: alert::Times,
    /// With several nodes: how this one is one of them.
    pub cluster: Option<ClusterSettings>,
}

/// The files of the server's certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate with the chain up to its root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Where the key comes from that device passwords are sealed with.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A file in the data folder, made at the first start.
    DataFolder,
    /// This file.
    File(PathBuf),
    /// The environment: 64 hex digits.
    Given(Secret),
}

impl KeySource {
    /// As the environment and a flag say: the key itself from the environment only, since the process list shows every
    /// flag.
    pub fn from(key_file: Option<PathBuf>) -> Self {
        match (std::env::var(KEY_VARIABLE), key_file) {
            (Ok(key), _) => Self::Given(Secret(key)),
            (Err(_), Some(path)) => Self::File(path),
            (Err(_), None) => Self::DataFolder,
        }
    }

    /// Opens the store in this folder. A key that belongs into the folder, and is not there or is none, is made
    /// once it is known that nothing was sealed with the one before.
    pub fn open(&self, data_dir: &Path, metrics: &Metrics) -> Result<Store, OpenError> {
        crate::store::make_folder(data_dir)?; // the key may be made in it
        let has_data = data_dir.join(FILE_NAME).exists();
        let seal = match self {
            Self::DataFolder => Seal::from_file(&data_dir.join(KEY_FILE)),
            Self::File(_) | Self::Given(_) => self.seal(data_dir),
        };
        match (self, seal) {
            (_, Ok(seal)) => Store::open_with(data_dir, seal, metrics),
            (Self::DataFolder, Err(error)) if error.is_lost() => {
                let path = data_dir.join(KEY_FILE);
                let (seal, key) = Seal::made()?;
                let opened = Store::open_with(data_dir, seal, metrics);
                if matches!(opened, Err(OpenError::WrongKey(_))) {
                    return Err(OpenError::KeyLost(path, data_dir.into()));
                }
                let store = opened?;
                key.write(&path)?;
                if has_data {
                    tracing::warn!(key = %path.display(), "the key was not there; a new one was made");
                }
                Ok(store)
            }
            (Self::File(path), Err(error)) if has_data && error.is_lost() => {
                Err(OpenError::KeyMissing(path.clone(), data_dir.into()))
            }
            (_, Err(error)) => Err(error.into()),
        }
    }

    /// The key, for this data folder.
    pub fn seal(&self, data_dir: &Path) -> Result<Seal, KeyError> {
        match self {
            Self::DataFolder => Seal::from_file_or_new(&data_dir.join(KEY_FILE)),
            Self::File(path) => Seal::from_file(path),
            Self::Given(Secret(key)) => Seal::from_hex(key, KEY_VARIABLE),
        }
    }
}

/// A text that `Debug` does not show.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Settings {
    /// Settings for a data folder and an address, with all defaults.
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            listen,
            data_dir: data_dir.into(),
            tls: None,
            key: KeySource::DataFolder,
            body_limit: 16 * 1024 * 1024,
            max_items: 100_000,
            metrics_access: MetricsAccess::Local,
            listeners_per_token: 32,
            keep_batches: 1000,
            keep_keys: Duration::from_hours(24),
            door_hours_budget: None,
            keep_audit: Duration::from_hours(365 * 24),
            keep_events: Duration::from_hours(90 * 24),
            keep_events_number: KEPT_EVENTS,
            link_password: None,
            trust_proxy: Vec::new(),
            backup_patience: Duration::from_mins(1),
            panel_listen: Vec::new(),
            devices: DeviceSettings::default(),
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            admin_password: None,
            smtp: None,
            alerts: alert::Times::default(),
            cluster: None,
        }
    }
}
