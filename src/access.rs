//! Who may do what: roles, users, tokens and the sessions of the panel API.
//!
//! A password is verified in [`passwords`], and [`tokens`] are what is shown afterwards. A login goes through [`throttle`]
//! and [`queue`], where [`proxy`] says from whom it comes; [`sessions`] are what comes of it on the panel API. [`actor`] is
//! how the audit names who does something, and [`refusals`] what it says of what was refused.
//!
//! Clients of the panel API send the MD5 of a password and never the password, so the one verifier kept per
//! user is Argon2id over the lower-case MD5 hex. Tokens are random, sent once, and kept as SHA-256. Nothing
//! in this room prints a secret; the types that hold one have no `Debug`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot, watch};
use uuid::Uuid;

use crate::store::tables::{AuditRecord, Tables, UserRecord};
use crate::store::{StoreError, StoreHandle};

pub mod actor;
pub mod devices;
pub mod passwords;
pub mod proxy;
pub mod queue;
pub mod refusals;
pub mod sessions;
pub mod throttle;
pub mod tokens;

pub use passwords::{MIN_PASSWORD, PasswordMd5};
pub use tokens::{NewToken, SESSION};

use actor::Actor;
use passwords::VERIFYING;
use queue::Queue;
use refusals::Refusals;
use sessions::{Scope, Session, Sessions};
use throttle::Throttle;

/// The name of the first user.
pub const FIRST_ADMIN: &str = "admin";

/// The longest name of a user, in characters.
pub const MAX_NAME: usize = 63;

/// What a user or token may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Batches.
    Operator,
    /// Panels, users and tokens.
    Admin,
}

impl Role {
    /// The word in answers and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// From that word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The user's or token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Which token it showed.
    pub token: Uuid,
    /// Whether that is a user's session.
    pub session: bool,
    /// The user: the one who is logged in, or who made the token, be it through other tokens.
    owner: Option<String>,
}

impl Principal {
    /// As the audit names it.
    pub fn actor(&self) -> Actor {
        if self.session {
            Actor::User(self.name.clone())
        } else {
            Actor::Token(self.token, self.name.clone())
        }
    }
}

/// A user whose password was right, as the user was then.
#[derive(Clone)]
pub struct Proven {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// What was stored of the user.
    pub user: UserRecord,
}

impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proven({}, {})", self.name, self.role.as_str())
    }
}

impl Proven {
    /// Whether the user is still there with the same password and role.
    pub fn is(&self, stored: Option<&UserRecord>) -> bool {
        stored.is_some_and(|user| user.logs_in_as(&self.user))
    }
}

/// Whether a user can have this name at all.
pub fn can_be_a_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// Why a login or a change of access did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Hashing failed, for want of memory or randomness.
    #[error("a password could not be hashed")]
    Hashing,
    /// After too many failures; this one was not looked at.
    #[error("too many failed logins; try again in {} s", .0.as_secs() + 1)]
    TooMany(Duration),
    /// Too many are waiting to be looked at; this one was not.
    #[error("too many logins at once; try again in a moment")]
    Crowded,
}

/// Users and tokens, over the store.
pub struct Access {
    store: StoreHandle,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    key: [u8; 32],
    verifying: Arc<Semaphore>,
    queue: Queue,
    /// Passwords that are being verified: who has the same one waits for what comes of it.
    under_way: Mutex<HashMap<[u8; 32], watch::Receiver<()>>>,
    throttle: Throttle,
    refusals: Refusals,
    /// Counts up with every change of a user.
    users: Arc<AtomicU64>,
    /// When tokens were used, as far as it was stored, in Unix milliseconds.
    used: Mutex<HashMap<Uuid, i64>>,
}

impl Access {
    /// Access over this store.
    pub fn new(store: StoreHandle) -> Result<Self, AccessError> {
        Ok(Self {
            remembered: Mutex::default(),
            key: random()?,
            verifying: Arc::new(Semaphore::new(VERIFYING)),
            queue: Queue::default(),
            under_way: Mutex::default(),
            throttle: Throttle::default(),
            refusals: Refusals::new(store.clone()),
            users: Arc::default(),
            used: Mutex::default(),
            store,
        })
    }

    /// Makes the first user where there is none. Returns the password if it was made up here.
    pub async fn first_start(&self, given: Option<String>) -> Result<Option<String>, AccessError> {
        if !self.store.read()?.users()?.is_empty() {
            return Ok(None);
        }
        let made_up = given.is_none();
        let password = match given {
            Some(password) => password,
            None => readable(&random::<20>()?),
        };
        let record = self.user_record(PasswordMd5::of(&password), Role::Admin).await?;
        self.store.change(move |tables| tables.set_user(FIRST_ADMIN, &record)).await?;
        Ok(made_up.then_some(password))
    }

    /// Keeps in the audit that something was refused. What was not looked at is only counted with what was: anybody can
    /// send any number of that.
    pub fn refused(&self, entry: AuditRecord, looked_at: bool) {
        self.refusals.note(entry, looked_at);
    }

    /// A token of the panel API for a user whose password was right; nothing where the user has been removed or
    /// changed meanwhile. The entry goes into the audit before anybody has the token.
    pub async fn open_panel_session(
        &self,
        sessions: &Sessions,
        scope: Scope,
        proven: Proven,
        audit: AuditRecord,
    ) -> Result<Option<String>, AccessError> {
        let users = self.users.load(Ordering::Acquire);
        let Proven { name, user, .. } = proven.clone();
        let opened = self.store.change(move |tables| tables.open_panel_session(&name, &user, &audit)).await?;
        Ok(opened.then(|| sessions.open(scope, proven, users)))
    }

    /// The session of the panel API with this token, while its user is what the user was at its login. The store is asked
    /// only after some user has changed.
    pub fn session(
        &self,
        sessions: &Sessions,
        scope: Scope,
        token: &str,
    ) -> Result<Option<Session>, StoreError> {
        let Some(session) = sessions.find(scope, token) else { return Ok(None) };
        let users = self.users.load(Ordering::Acquire);
        if session.seen_at(users) {
            return Ok(Some(session));
        }
        if !session.proven.is(self.store.read()?.user(&session.name)?.as_ref()) {
            sessions.close(token);
            return Ok(None);
        }
        session.seen.store(users, Ordering::Release);
        Ok(Some(session))
    }

    /// A change of users: sessions of the panel API are looked at again before its answer is out.
    pub async fn change_users<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let users = Arc::clone(&self.users);
        let (done, committed) = oneshot::channel();
        self.store.submit_change(change, move |result| {
            users.fetch_add(1, Ordering::AcqRel);
            let _ = done.send(result); // whoever asked may have left
        });
        committed.await.unwrap_or(Err(StoreError::Closed))
    }
}

fn random<const N: usize>() -> Result<[u8; N], AccessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AccessError::Hashing)?;
    Ok(bytes)
}

/// Random bytes as letters and digits that are hard to mistake for each other; five bits each.
fn readable(random: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}
