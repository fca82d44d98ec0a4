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

#[derive(Debug, Default)]
struct Open {
    tokens: HashMap<TokenHash, (PanelNo, Instant)>,
    devices: HashMap<PanelNo, Device>,
}

/// The sessions of devices, by panel.
#[derive(Debug, Clone, Default)]
pub struct DeviceSessions(Arc<Mutex<Open>>);

impl DeviceSessions {
    /// Opens a session for a panel's device, and returns its token.
    pub fn open(&self, panel: PanelNo, now: Instant) -> String {
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
        tokens.insert(digest, (panel, now + LIFE));
        token
    }

    /// The panel whose device shows this token.
    pub fn find(&self, token: &str, now: Instant) -> Option<PanelNo> {
        let open = self.lock();
        let (panel, ends) = open.tokens.get(&hash(token))?;
        (*ends > now).then_some(*panel)
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
        let other = sessions.open(2, now);
        let tokens: Vec<_> = (0..=OF_DEVICE).map(|_| sessions.open(1, now)).collect();
        assert_eq!(sessions.find(&tokens[0], now), None, "the oldest went");
        assert!(tokens[1..].iter().all(|token| sessions.find(token, now) == Some(1)));
        assert_eq!(sessions.find(&tokens[1], now + LIFE), None);
        let held: Vec<_> = (0..9).map_while(|_| sessions.begin(1)).collect();
        assert_eq!(held.len(), AT_ONCE);
        drop(held);
        assert!(sessions.begin(1).is_some() && sessions.begin(3).is_none());
        sessions.forget(1);
        assert_eq!((sessions.find(&tokens[1], now), sessions.find(&other, now)), (None, Some(2)));
        assert_eq!(sessions.lock().tokens.len(), 1);
    }
}
