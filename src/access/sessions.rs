//! The sessions of the panel API: a token per panel, in memory, as a panel forgets its sessions when it restarts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Role, hash};
use crate::store::PanelNo;

/// How long a token of the panel API lives; there is no refresh.
pub const LIFE: Duration = Duration::from_hours(2);

/// Sessions at most, over all panels; beyond, the one that ends first goes.
const MAX: usize = 100_000;

/// Where a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On one panel.
    Panel(PanelNo),
    /// On the fleet behind the panel API.
    Fleet,
}

/// A logged-in client.
#[derive(Debug, Clone)]
pub struct Session {
    /// Where it holds.
    pub scope: Scope,
    /// The user's name.
    pub name: String,
    /// The user's role.
    pub role: Role,
    ends: Instant,
}

/// All sessions, under the hash of their tokens.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<HashMap<[u8; 32], Session>>,
}

impl Sessions {
    /// Opens a session and returns its token.
    pub fn open(&self, scope: Scope, name: &str, role: Role) -> String {
        let token = Uuid::new_v4().to_string();
        let now = Instant::now();
        let mut open = self.lock();
        if open.len() >= MAX {
            open.retain(|_, session| session.ends > now);
        }
        if open.len() >= MAX
            && let Some(first) = open.iter().min_by_key(|(_, session)| session.ends).map(|(token, _)| *token)
        {
            open.remove(&first);
        }
        open.insert(hash(&token), Session { scope, name: name.to_owned(), role, ends: now + LIFE });
        token
    }

    /// The session of this token, where it holds and has not ended.
    pub fn find(&self, scope: Scope, token: &str) -> Option<Session> {
        let open = self.lock();
        let session = open.get(&hash(token))?;
        (session.scope == scope && session.ends > Instant::now()).then(|| session.clone())
    }

    /// Ends the session of this token.
    pub fn close(&self, token: &str) {
        self.lock().remove(&hash(token));
    }

    /// Ends all sessions that hold there, as when a panel restarts.
    pub fn close_scope(&self, scope: Scope) {
        self.lock().retain(|_, session| session.scope != scope);
    }

    /// Ends all sessions of a user.
    pub fn close_user(&self, name: &str) {
        self.lock().retain(|_, session| session.name != name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
