//! What devices say to this server as to their Link server: who they are, and what happened at their doors.
//!
//! All devices know one password, and say their serial number. That is looked for among what the devices of panels have
//! said of themselves; where two have said the same, the panel that was added first has the device.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

use super::{Fleet, FleetError};
use crate::access::actor::Actor;
use crate::access::devices::DeviceSessions;
use crate::access::throttle::Throttle;
use crate::identifier::event::told::Told;
use crate::panel::Origin;
use crate::store::event::Source;
use crate::store::tables::Tables;
use crate::store::{PanelNo, StoreError};

/// Between two readings of all serial numbers, where none has changed since; and where one has.
const READ_EVERY: Duration = Duration::from_secs(5);
const READ_CHANGED: Duration = Duration::from_millis(200);

/// What is kept of the devices that speak to us.
pub struct Link {
    password: Option<[u8; 32]>,
    sessions: DeviceSessions,
    serials: Mutex<Serials>,
    throttle: Throttle,
}

#[derive(Default)]
struct Serials {
    panels: HashMap<Box<str>, PanelNo>,
    /// When they were read, and how often one had changed by then.
    read: Option<(Instant, u64)>,
}

/// A packet's place: a device has few at once.
pub struct Packet {
    panel: PanelNo,
    _place: OwnedSemaphorePermit,
}

/// Why a device is not let in, or its packet not taken.
#[derive(Debug, thiserror::Error)]
pub enum LinkRefusal {
    /// There is no password that devices could know.
    #[error(
        "this server takes no events of devices: it has no link password; give one with --link-password-file or PANELSYNC_LINK_PASSWORD"
    )]
    Closed,
    /// The password is wrong, or no panel has this device.
    #[error("the password is wrong, or no panel has a device with this serial number")]
    Unknown,
    /// The session is none, or has ended.
    #[error("log in again with POST /api/v0/devices/login")]
    NoSession,
    /// The device brings other packets.
    #[error("this device has packets under way; send one after the other")]
    Busy,
    /// Something else.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

impl From<StoreError> for LinkRefusal {
    fn from(error: StoreError) -> Self {
        Self::Fleet(error.into())
    }
}

/// How many events of a packet came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Kept.
    pub kept: usize,
    /// There already.
    pub again: usize,
}

impl Link {
    /// With the password that devices know, if there is one.
    pub fn new(password: Option<&str>, sessions: DeviceSessions) -> Self {
        let password = password.map(|password| Sha256::digest(password.as_bytes()).into());
        Self { password, sessions, serials: Mutex::default(), throttle: Throttle::default() }
    }

    fn is_password(&self, password: &str) -> Result<bool, LinkRefusal> {
        let ours = self.password.ok_or(LinkRefusal::Closed)?;
        Ok(ours.ct_eq(&Sha256::digest(password.as_bytes())).into())
    }

    /// The panel whose device said this of its serial number, when that was read last. While all are read, it waits for them.
    async fn known(&self, serial: &str) -> Option<PanelNo> {
        self.serials.lock().await.panels.get(serial).copied()
    }
}

impl Fleet {
    /// Opens a session for the device with this serial number, and gives its token.
    pub async fn log_device_in(
        &self,
        serial: &str,
        password: &str,
        origin: &Origin,
    ) -> Result<String, LinkRefusal> {
        let now = Instant::now();
        let refused = |looked_at| {
            let claimed = Actor::Claimed(serial.to_owned()).to_string();
            let entry = Origin { actor: claimed, ..origin.clone() }.audit("session.refused", "link");
            self.access.refused(entry, looked_at);
        };
        if self.link.password.is_none() {
            return Err(LinkRefusal::Closed);
        }
        if let Err(wait) = self.link.throttle.begin(serial, &origin.address, now) {
            refused(false);
            return Err(FleetError::TooManyLogins(wait.as_secs() + 1).into());
        }
        if !self.link.is_password(password)? {
            refused(true);
            return Err(LinkRefusal::Unknown);
        }
        self.link.throttle.right(serial, &origin.address, now);
        let Some(panel) = self.panel_of_serial(serial, now).await? else {
            refused(true);
            return Err(LinkRefusal::Unknown);
        };
        Ok(self.link.sessions.open(panel, serial, now))
    }

    /// The panel whose device shows this token. It is good as long as the panel has that device: what another one takes the
    /// place of tells nothing of the door any more.
    pub fn device_of(&self, token: Option<&str>) -> Result<PanelNo, LinkRefusal> {
        let token = token.ok_or(LinkRefusal::NoSession)?;
        let found = self.link.sessions.find(token, Instant::now());
        let (panel, serial) = found.ok_or(LinkRefusal::NoSession)?;
        if self.register.now().by_number(panel).is_none() {
            self.link.sessions.forget(panel);
            return Err(LinkRefusal::NoSession);
        }
        if !self.has_device(panel, &serial)? {
            self.link.sessions.end(token);
            return Err(LinkRefusal::NoSession);
        }
        Ok(panel)
    }

    /// A place for a packet of this device, before anything of it is read.
    pub fn begin_packet(&self, panel: PanelNo) -> Result<Packet, LinkRefusal> {
        let place = self.link.sessions.begin(panel).ok_or(LinkRefusal::Busy)?;
        Ok(Packet { panel, _place: place })
    }

    /// Keeps what a device told. It is on disk when this returns.
    pub async fn take_packet(&self, packet: Packet, told: Told, now_ms: i64) -> Result<Taken, LinkRefusal> {
        let Packet { panel, _place: _until_it_is_kept } = packet;
        let events = told.events;
        let all = events.len();
        if all == 0 {
            self.store.events().told(panel);
            return Ok(Taken::default());
        }
        let keep = move |tables: &mut Tables<'_>| tables.keep_events(panel, &events, Source::Link, now_ms);
        let kept = self.store.change_along(all, keep).await?;
        self.store.events().told(panel);
        Ok(Taken { kept, again: all - kept })
    }

    async fn panel_of_serial(&self, serial: &str, now: Instant) -> Result<Option<PanelNo>, FleetError> {
        if serial.is_empty() {
            return Ok(None);
        }
        if let Some(panel) = self.link.known(serial).await
            && self.has_device(panel, serial)?
        {
            return Ok(Some(panel));
        }
        let mut serials = self.link.serials.lock().await;
        if let Some((read, changes)) = serials.read
            && changes != self.store.events().serial_changes()
        {
            // However many change one after the other, they are not all read for each.
            tokio::time::sleep(READ_CHANGED.saturating_sub(read.elapsed())).await;
        }
        let changes = self.store.events().serial_changes();
        let is_old = |(read, known): (Instant, u64)| {
            known != changes || now.saturating_duration_since(read) >= READ_EVERY
        };
        if serials.read.is_none_or(is_old) {
            let read_at = Instant::now();
            let read = self.read(|snapshot| {
                let mut panels = HashMap::new();
                snapshot.each_serial(|serial, panel| {
                    panels.entry(serial.into_boxed_str()).or_insert(panel);
                })?;
                Ok::<_, StoreError>(panels)
            });
            *serials = Serials { panels: read.await?, read: Some((read_at, changes)) };
        }
        drop(serials);
        match self.link.known(serial).await {
            Some(panel) if self.has_device(panel, serial)? => Ok(Some(panel)),
            _ => Ok(None),
        }
    }

    /// Whether the panel is there and its device has said this of its serial number.
    fn has_device(&self, panel: PanelNo, serial: &str) -> Result<bool, FleetError> {
        if self.register.now().by_number(panel).is_none_or(|entry| !entry.settings.is_device()) {
            return Ok(false);
        }
        Ok(self.store.read()?.device(panel)?.is_some_and(|device| device.serial == serial))
    }
}
