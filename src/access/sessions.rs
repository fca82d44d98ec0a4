//! The sessions of the panel API: a token per panel, in memory, as a panel forgets its sessions when it restarts.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::actor::Actor;
use super::tokens::hash;
use super::{Proven, Role};
use crate::store::PanelNo;

/// How long a token of the panel API lives; there is no refresh.
pub const LIFE: Duration = Duration::from_hours(2);

/// Sessions at most, over all panels; beyond, the oldest one of the user with the most goes.
const MAX: usize = 100_000;

/// Sessions of one user in one place at most; beyond, the oldest goes.
const MAX_OF_USER: usize = 100;

/// Where a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// What the user was when the password was right.
    pub(super) proven: Arc<Proven>,
    /// At which state of the users the user was seen to be that still.
    pub(super) seen: Arc<AtomicU64>,
}

impl Session {
    /// Of someone who shows the password with every call, so that nothing of it is kept.
    pub fn of(scope: Scope, proven: Proven) -> Self {
        Self {
            scope,
            name: proven.name.clone(),
            role: proven.role,
            ends: Instant::now(),
            proven: Arc::new(proven),
            seen: Arc::default(),
        }
    }

    /// As the audit names who has it.
    pub fn actor(&self) -> Actor {
        Actor::PanelUser(self.name.clone())
    }
}

type TokenHash = [u8; 32];

/// All sessions, under the hash of their tokens, and by who has them.
#[derive(Default)]
struct Open {
    tokens: HashMap<TokenHash, Session>,
    ends: BTreeSet<(Instant, TokenHash)>,
    users: HashMap<Box<str>, BTreeSet<(Scope, Instant, TokenHash)>>,
}

impl Open {
    fn add(&mut self, token: TokenHash, session: Session) {
        self.ends.insert((session.ends, token));
        self.users.entry(session.name.as_str().into()).or_default().insert((
            session.scope,
            session.ends,
            token,
        ));
        self.tokens.insert(token, session);
    }

    fn remove(&mut self, token: &TokenHash) {
        let Some(session) = self.tokens.remove(token) else { return };
        self.ends.remove(&(session.ends, *token));
        if let Some(own) = self.users.get_mut(session.name.as_str()) {
            own.remove(&(session.scope, session.ends, *token));
            if own.is_empty() {
                self.users.remove(session.name.as_str());
            }
        }
    }

    /// Makes room for one more of this user in this place.
    fn make_room(&mut self, name: &str, scope: Scope, now: Instant) {
        while let Some((ends, token)) = self.ends.first().copied()
            && ends <= now
        {
            self.remove(&token);
        }
        let of_user = self.users.get(name).map(|own| {
            own.range((scope, now, [0; 32])..).take_while(|(at, ..)| *at == scope).map(|(.., token)| *token)
        });
        let of_user: Vec<_> = of_user.into_iter().flatten().collect();
        for oldest in of_user.iter().take((of_user.len() + 1).saturating_sub(MAX_OF_USER)) {
            self.remove(oldest);
        }
        while self.tokens.len() >= MAX {
            let most = self.users.values().max_by_key(|own| own.len());
            let oldest =
                most.and_then(|own| own.iter().min_by_key(|(_, ends, _)| *ends)).map(|(.., token)| *token);
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
    }
}

/// All sessions.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<Open>,
}

impl Sessions {
    /// Opens a session for a user whose password was right, as the users were then, and returns its token.
    pub(super) fn open(&self, scope: Scope, proven: Proven, users: u64) -> String {
        let token = Uuid::new_v4().to_string();
        let now = Instant::now();
        let mut open = self.lock();
        open.make_room(&proven.name, scope, now);
        let seen = Arc::new(AtomicU64::new(users));
        let session = Session { ends: now + LIFE, seen, ..Session::of(scope, proven) };
        open.add(hash(&token), session);
        token
    }

    /// The session of this token, where it holds and has not ended. Whether its user is still there and the same is asked
    /// of [`super::Access::session`].
    pub(super) fn find(&self, scope: Scope, token: &str) -> Option<Session> {
        let open = self.lock();
        let session = open.tokens.get(&hash(token))?;
        (session.scope == scope && session.ends > Instant::now()).then(|| session.clone())
    }

    /// Ends the session of this token.
    pub fn close(&self, token: &str) {
        self.lock().remove(&hash(token));
    }

    /// Ends all sessions that hold there, as when a panel restarts.
    pub fn close_scope(&self, scope: Scope) {
        let mut open = self.lock();
        let there: Vec<_> = open
            .tokens
            .iter()
            .filter(|(_, session)| session.scope == scope)
            .map(|(token, _)| *token)
            .collect();
        for token in &there {
            open.remove(token);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether the user was seen to be the same at this state of the users.
    pub(super) fn seen_at(&self, users: u64) -> bool {
        self.seen.load(Ordering::Acquire) == users
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::UserRecord;

    fn proven(name: &str) -> Proven {
        let user = UserRecord { role: "viewer".into(), verifier: String::new(), created_at_ms: 0 };
        Proven { name: name.into(), role: Role::Viewer, user }
    }

    #[test]
    fn a_user_has_so_many_sessions_in_a_place_and_the_oldest_goes() {
        let sessions = Sessions::default();
        let other = sessions.open(Scope::Panel(2), proven("olena"), 0);
        let tokens: Vec<_> =
            (0..=MAX_OF_USER).map(|_| sessions.open(Scope::Panel(1), proven("olena"), 0)).collect();
        assert!(sessions.find(Scope::Panel(1), &tokens[0]).is_none());
        assert!(tokens[1..].iter().all(|token| sessions.find(Scope::Panel(1), token).is_some()));
        assert!(sessions.find(Scope::Panel(2), &other).is_some());
        sessions.close_scope(Scope::Panel(1));
        sessions.close(&other);
        let open = sessions.lock();
        assert!(open.tokens.is_empty() && open.ends.is_empty() && open.users.is_empty());
    }
}
