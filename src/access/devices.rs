//! Sessions of devices that speak to this server as to their Link server: in memory, as digests of their tokens. A device
//! whose session has ended logs in again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::tokens::hash;
use crate::store::PanelNo;

/// How long a session lasts.
const LIFE: Duration = Duration::from_hours(2);

/// Sessions of one device; beyond, its oldest goes.
const OF_DEVICE: usize = 4;

/// Packets of one device that are taken at once.
const AT_ONCE: usize = 2;

type TokenHash = [u8; 32];

#[derive(Debug)]
struct Device {
    tokens: VecDeque<TokenHash>,
    packets: Arc<Semaphore>,
}

#[derive(Debug)]
struct Session {
    panel: PanelNo,
    /// As the device said it when it logged in.
    serial: Box<str>,
    ends: Instant,
}

#[derive(Debug, Default)]
struct Open {
    tokens: HashMap<TokenHash, Session>,
    devices: HashMap<PanelNo, Device>,
}

/// The sessions of devices, by panel.
#[derive(Debug, Clone, Default)]
pub struct DeviceSessions(Arc<Mutex<Open>>);

impl DeviceSessions {
    /// Opens a session for a panel's device with this serial number, and returns its token.
    pub fn open(&self, panel: PanelNo, serial: &str, now: Instant) -> String {
        let token = Uuid::new_v4().to_string();
        let digest = hash(&token);
        let mut open = self.lock();
        let Open { tokens, devices } = &mut *open;
        let device = devices.entry(panel).or_insert_with(|| Device {
            tokens: VecDeque::new(),
            packets: Arc::new(Semaphore::new(AT_ONCE)),
        });
        while device.tokens.len() >= OF_DEVICE
            && let Some(oldest) = device.tokens.pop_front()
        {
            tokens.remove(&oldest);
        }
        device.tokens.push_back(digest);
        tokens.insert(digest, Session { panel, serial: serial.into(), ends: now + LIFE });
        token
    }

    /// The panel whose device shows this token, and the serial number that it had then.
    pub fn find(&self, token: &str, now: Instant) -> Option<(PanelNo, Box<str>)> {
        let open = self.lock();
        let session = open.tokens.get(&hash(token)).filter(|session| session.ends > now)?;
        Some((session.panel, session.serial.clone()))
    }

    /// Ends one session.
    pub fn end(&self, token: &str) {
        let (mut open, digest) = (self.lock(), hash(token));
        let Some(Session { panel, .. }) = open.tokens.remove(&digest) else { return };
        if let Some(device) = open.devices.get_mut(&panel) {
            device.tokens.retain(|token| *token != digest);
        }
    }

    /// Ends all sessions of a panel that is gone.
    pub fn forget(&self, panel: PanelNo) {
        let mut open = self.lock();
        let gone = open.devices.remove(&panel).map(|device| device.tokens).unwrap_or_default();
        for token in gone {
            open.tokens.remove(&token);
        }
    }

    /// A place to bring a packet; none while the device brings others.
    pub fn begin(&self, panel: PanelNo) -> Option<OwnedSemaphorePermit> {
        let packets = Arc::clone(&self.lock().devices.get(&panel)?.packets);
        packets.try_acquire_owned().ok()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock; if it did, the sessions would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_so_many_sessions_that_end_and_no_other_has_them() {
        let (sessions, now) = (DeviceSessions::default(), Instant::now());
        let other = sessions.open(2, "B", now);
        let tokens: Vec<_> = (0..=OF_DEVICE).map(|_| sessions.open(1, "A", now)).collect();
        assert_eq!(sessions.find(&tokens[0], now), None, "the oldest went");
        let first = Some((1, "A".into()));
        assert!(tokens[1..].iter().all(|token| sessions.find(token, now) == first));
        assert_eq!(sessions.find(&tokens[1], now + LIFE), None);
        sessions.end(&tokens[2]);
        assert_eq!((sessions.find(&tokens[2], now), sessions.find(&tokens[1], now)), (None, first));
        let held: Vec<_> = (0..9).map_while(|_| sessions.begin(1)).collect();
        assert_eq!(held.len(), AT_ONCE);
        drop(held);
        assert!(sessions.begin(1).is_some() && sessions.begin(3).is_none());
        sessions.forget(1);
        let second = Some((2, "B".into()));
        assert_eq!((sessions.find(&tokens[1], now), sessions.find(&other, now)), (None, second));
        assert_eq!(sessions.lock().tokens.len(), 1);
    }
}
